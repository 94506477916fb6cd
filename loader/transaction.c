/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/transaction.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define STAGING "new_" /* bpffs reserves names with dots */

static struct step *transaction_step(struct transaction *t, enum step_type type, const char *path)
{
	struct step *step = &t->steps[t->count++];

	assert(t->count <= ARRAY_SIZE(t->steps));
	*step = (struct step){ .type = type, .link_fd = -1, .program_fd = -1 };
	snprintf(step->path, sizeof(step->path), "%s", path);
	return step;
}

static void staging_path(const char *path, char staging[PIN_PATH_BYTES])
{
	const char *name = strrchr(path, '/') + 1;

	snprintf(staging, PIN_PATH_BYTES, "%.*s" STAGING "%s", (int)(name - path), path, name);
}

int pin_remove(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);

	if (fd >= 0)
		bpf_link_detach(fd); /* refused for what is no link, or has no such operation */
	return unlink(path) < 0 ? -errno : 0;
}

void transaction_done(struct transaction *t)
{
	while (t->count) {
		struct step *step = &t->steps[--t->count];
		char staging[PIN_PATH_BYTES];

		switch (step->type) {
		case STEP_DIRECTORY:
			rmdir(step->path);
			break;
		case STEP_PINNED:
			pin_remove(step->path);
			break;
		case STEP_REPLACED:
			staging_path(step->path, staging);
			renameat2(AT_FDCWD, staging, AT_FDCWD, step->path, RENAME_EXCHANGE);
			pin_remove(staging);
			break;
		case STEP_UPDATED:
			bpf_link_update(step->link_fd, step->program_fd, NULL);
			break;
		}
		fd_close(step->link_fd);
		fd_close(step->program_fd);
	}
}

void transaction_commit(struct transaction *t)
{
	while (t->count) {
		struct step *step = &t->steps[--t->count];
		char staging[PIN_PATH_BYTES];

		if (step->type == STEP_REPLACED) {
			staging_path(step->path, staging);
			pin_remove(staging);
		}
		fd_close(step->link_fd);
		fd_close(step->program_fd);
	}
}

int transaction_make_directory(struct transaction *t, const char *path, struct error *err)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : error_set(err, -errno, "cannot make the directory '%s': %m", path);
	transaction_step(t, STEP_DIRECTORY, path);
	return 0;
}

int transaction_pin(struct transaction *t, int fd, const char *path, struct error *err)
{
	char staging[PIN_PATH_BYTES];
	int r;

	if (bpf_obj_pin(fd, path) == 0) {
		transaction_step(t, STEP_PINNED, path);
		return 0;
	}
	if (errno != EEXIST)
		return error_set(err, -errno, "cannot pin '%s': %m", path);
	staging_path(path, staging);
	if (bpf_obj_pin(fd, staging) < 0)
		return error_set(err, -errno, "cannot pin '%s': %m", staging);
	if (renameat2(AT_FDCWD, staging, AT_FDCWD, path, RENAME_EXCHANGE) < 0) {
		r = -errno;
		pin_remove(staging);
		return error_set(err, r, "cannot replace '%s': %s", path, strerror(-r));
	}
	transaction_step(t, STEP_REPLACED, path);
	return 0;
}

int transaction_update_link(struct transaction *t, int link_fd, int program_fd, int old_program_fd)
{
	struct step *step;

	if (bpf_link_update(link_fd, program_fd, NULL) < 0) {
		int r = -errno;

		fd_close(link_fd);
		fd_close(old_program_fd);
		return r;
	}
	step = transaction_step(t, STEP_UPDATED, "");
	step->link_fd = link_fd;
	step->program_fd = old_program_fd;
	return 0;
}

void pin_remove_staged(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	char path[PIN_PATH_BYTES];

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, STAGING, strlen(STAGING)))
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) < sizeof(path))
			pin_remove(path);
	}
	if (dir)
		closedir(dir);
}
