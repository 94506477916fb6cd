/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/lookup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "loader/transaction.h"
#include "lookup.skel.h"

#define PIN_PREFIX "netns_"

static void cleanup_skeleton(struct weft_lookup **skeleton)
{
	weft_lookup__destroy(*skeleton);
}

static void pin_of(const char *pin_path, uint64_t netns_cookie, char path[PIN_PATH_BYTES])
{
	snprintf(path, PIN_PATH_BYTES, "%s/" PIN_PREFIX "%" PRIx64, pin_path, netns_cookie);
}

/* Maps are the instance's, which were checked when it was opened. */
static int program_load(const char *pin_path, uint64_t netns_cookie, struct weft_lookup **ret_skeleton, struct error *err)
{
	_cleanup_(cleanup_skeleton) struct weft_lookup *skeleton = weft_lookup__open();
	struct bpf_map *map;
	int r;

	if (!skeleton)
		return error_set(err, -errno, "cannot read the program 'lookup' of this build: %m");
	skeleton->rodata->own_netns_cookie = netns_cookie;
	bpf_object__for_each_map(map, skeleton->obj) {
		char path[PIN_PATH_BYTES];
		_cleanup_close_ int fd = -1;

		if (bpf_map__is_internal(map))
			continue;
		snprintf(path, sizeof(path), "%s/%s", pin_path, bpf_map__name(map));
		fd = bpf_obj_get(path);
		if (fd < 0 || bpf_map__reuse_fd(map, fd) < 0)
			return error_set(err, -errno, "cannot use pinned map '%s': %m", path);
	}
	r = weft_lookup__load(skeleton);
	if (r < 0)
		return error_set(err, r, "the kernel does not take the program 'lookup': %s", strerror(-r));
	*ret_skeleton = TAKE_PTR(skeleton);
	return 0;
}

/* -1: none, or its namespace is gone. */
static int link_open(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.netns.netns_ino ? TAKE_FD(fd) : -1;
}

int lookup_attach(const char *pin_path, uint64_t netns_cookie, int netns_fd, struct error *err)
{
	_cleanup_(cleanup_skeleton) struct weft_lookup *skeleton = NULL;
	_cleanup_close_ int link_fd = -1;
	char path[PIN_PATH_BYTES];
	int program_fd, r = program_load(pin_path, netns_cookie, &skeleton, err);

	if (r < 0)
		return r;
	program_fd = bpf_program__fd(skeleton->progs.lookup);
	pin_of(pin_path, netns_cookie, path);
	link_fd = link_open(path);
	if (link_fd >= 0)
		return bpf_link_update(link_fd, program_fd, NULL) < 0 ? error_set(err, -errno, "cannot replace the program of '%s': %m", path) : 0;
	pin_remove(path);
	link_fd = bpf_link_create(program_fd, netns_fd, BPF_SK_LOOKUP, NULL);
	if (link_fd < 0)
		return error_set(err, link_fd == -1 ? -errno : link_fd, "cannot attach to a network namespace: %m");
	return bpf_obj_pin(link_fd, path) < 0 ? error_set(err, -errno, "cannot pin '%s': %m", path) : 0;
}

bool lookup_attached(const char *pin_path, uint64_t netns_cookie)
{
	_cleanup_close_ int fd = -1;
	char path[PIN_PATH_BYTES];

	pin_of(pin_path, netns_cookie, path);
	fd = link_open(path);
	return fd >= 0;
}

void lookup_detach(const char *pin_path, uint64_t netns_cookie)
{
	char path[PIN_PATH_BYTES];

	pin_of(pin_path, netns_cookie, path);
	pin_remove(path);
}

int lookup_each(const char *pin_path, lookup_fn *fn, void *arg)
{
	struct dirent **entries = NULL;
	const int count = scandir(pin_path, &entries, NULL, alphasort);
	int r = count < 0 ? -errno : 0;

	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		char *end;

		if (r >= 0 && !strncmp(name, PIN_PREFIX, strlen(PIN_PREFIX))) {
			const uint64_t cookie = strtoull(name + strlen(PIN_PREFIX), &end, 16);

			r = *end ? 0 : fn(cookie, arg);
		}
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? r : 0;
}

struct refresh {
	const char *pin_path;
	int failed;
	struct error *err;
};

static int refresh_one(uint64_t netns_cookie, void *arg)
{
	struct refresh *refresh = arg;
	int r = lookup_attached(refresh->pin_path, netns_cookie) ? lookup_attach(refresh->pin_path, netns_cookie, -1, refresh->err) : 0;

	refresh->failed = refresh->failed ?: r;
	return 0;
}

int lookup_refresh(const char *pin_path, struct error *err)
{
	struct refresh refresh = { .pin_path = pin_path, .err = err };
	int r = lookup_each(pin_path, refresh_one, &refresh);

	return r < 0 ? r : refresh.failed;
}
