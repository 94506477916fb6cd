/* SPDX-License-Identifier: Apache-2.0 */
/* What was counted of requests, as it is told, and left behind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

int counts_write(const struct proxy *proxy, struct buffer *text)
{
	char started_at[TIME_TEXT_BYTES];
	int r;

	buffer_printf(text, "{\"pid\":%d,\"startedAt\":\"%s\",", (int)getpid(), time_format(proxy->started_wall_ns, started_at));
	r = l7_write(proxy->l7, text);
	buffer_add(text, "}\n");
	return r < 0 ? r : buffer_failed(text) ? -ENOMEM : 0;
}

static int write_file(const char *path, const struct buffer *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd_write(fd, text->data, text->length);
}

void counts_leave(const struct proxy *proxy)
{
	_cleanup_(buffer_done) struct buffer text = {};
	char path[sizeof(proxy->seat.directory) + 64], made[sizeof(path) + 8];
	int r = counts_write(proxy, &text);

	snprintf(path, sizeof(path), "%s/" CONTROL_LEFT_PREFIX "%d", proxy->seat.directory, (int)getpid());
	snprintf(made, sizeof(made), "%s" CONTROL_LEFT_UNFINISHED, path);
	if (r == 0)
		r = write_file(made, &text);
	if (r == 0 && rename(made, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(made);
		log_warn("counts of requests are not left to weftd", LOG_F("error", LOG_STR(strerror(-r))));
	}
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

void counts_clear(const struct proxy *proxy)
{
	_cleanup_(cleanup_dir) DIR *dir = opendir(proxy->seat.directory);

	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		if (!strncmp(entry->d_name, CONTROL_LEFT_PREFIX, strlen(CONTROL_LEFT_PREFIX)))
			unlinkat(dirfd(dir), entry->d_name, 0);
}
