/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of JSON files, one App Mesh resource each, as the source of a resource set. Names starting with "." and names
 * not ending in ".json" are left alone; sub-directories are walked. Reading is all or nothing. */
#pragma once

#include "agent/loop/loop.h"
#include "agent/spec/resource.h"

/* Reads and checks everything. On any fault -errno, `err` names file, field and reason, and `set` is as it was. */
int directory_read(const char *path, struct resources *ret_set, struct error *err);

/* Calls `fn` soon after something in the directory (or below) changed: changes within 20 ms count as one, but never later than
 * 100 ms after the first. Also when files are replaced by rename, and when the directory itself comes back. */
struct directory_watch;
typedef void directory_changed_fn(void *arg);
int directory_watch_new(struct loop *loop, const char *path, directory_changed_fn *fn, void *arg,
			struct directory_watch **ret_watch, struct error *err);
struct directory_watch *directory_watch_free(struct directory_watch *watch);
