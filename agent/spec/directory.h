/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of JSON files, one App Mesh resource each, as the source of a resource set. Names starting with "." and names
 * not ending in ".json" are left alone; sub-directories are walked, through symbolic links as well. Reading is all or nothing. */
#pragma once

#include "agent/loop/loop.h"
#include "agent/spec/resource.h"

/* Deeper than this is refused: a symbolic link that leads back up never ends. */
#define DIRECTORY_DEPTH 8

/* Calls `fn` for every file below, in order of their names (by bytes); a negative return ends the walk and is returned. -errno of a
 * directory that cannot be read, -ELOOP, -ENAMETOOLONG. */
typedef int directory_file_fn(const char *path, void *arg, struct error *err);
int directory_each(const char *path, directory_file_fn *fn, void *arg, struct error *err);
bool directory_is_json(const char *path); /* by its name */

/* Reads and checks everything. On success what `ret_set` (initialised before) held is released and it holds what was read;
 * `source` of each resource is the path of its file. On any fault -errno, and `ret_set` is as it was: `field` is the member at
 * fault, and the message names the file, `'DIR/node.json': must be …`, or `cannot open 'DIR/node.json': …`. */
int directory_read(const char *path, struct resources *ret_set, struct error *err);

/* Calls `fn` soon after something in the directory (or below) changed: changes within 2 ms count as one, but never later than
 * 100 ms after the first. Also when files are replaced by rename, when a symbolic link on the way to them is, and when the
 * directory itself goes and comes back. Changes between directory_watch_new() and a read that follows it are not missed. Files
 * outside that a symbolic link of the directory points to are not watched. `fn` may free the watch.
 * -ENOSPC: the kernel's limit of inotify watches; -errno. A directory that is not there yet is no error. */
struct directory_watch;
typedef void directory_changed_fn(void *arg);
int directory_watch_new(struct loop *loop, const char *path, directory_changed_fn *fn, void *arg,
			struct directory_watch **ret_watch, struct error *err);
struct directory_watch *directory_watch_free(struct directory_watch *watch);
