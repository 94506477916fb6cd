/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a directory (directory.c) and watching it (directory_watch.c) share. */
#pragma once

#include <limits.h>
#include <pthread.h>

#include "agent/spec/directory.h"
#include "base/hash.h"
#include "base/list.h"

struct directory_watch;
struct paths;

struct directory {
	char *path;
	struct table files; /* by path: all that are there, or were when they were looked at last */
	struct list changed; /* files to be read again */
	struct paths *paths; /* of files that the set has nothing from yet, which are all in `changed` */
	bool walk_needed; /* more may have changed than that */
	struct directory_watch *watch; /* NULL: none */
	struct { /* what directory_look_ahead() began */
		pthread_t thread;
		bool begun;
		int r;
		struct error err;
	} ahead;
};

int directory_join(char path[PATH_MAX], const char *directory, const char *name, struct error *err);
/* The file is new, gone, or has other contents. 0 or -ENOMEM. */
int directory_file_changed(struct directory *directory, const char *path);
struct directory_watch *directory_watch_free(struct directory_watch *watch);
