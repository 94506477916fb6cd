/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of JSON files, one App Mesh resource each, as a source of resources. Names starting with "." and names
 * not ending in ".json" are left alone; sub-directories are walked, through symbolic links as well. Reading is all or nothing, and
 * costs as much as what changed: a file is read again when it did, many of them by several threads (base/in_order.h). Thread: the loop's. */
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

struct directory;
int directory_new(const char *path, struct directory **ret_directory); /* 0 or -ENOMEM. Reads nothing yet */
struct directory *directory_free(struct directory *directory);
size_t directory_files(const struct directory *directory); /* as of the last directory_read() */

/* Begins to look which files there are, on a thread of its own: whoever has other things to do before the first directory_read() finds that done.
 * Until then nothing but that and directory_free() is called. Where there is no thread to be had directory_read() looks itself. */
void directory_look_ahead(struct directory *directory);

/* Brings what `set` has from this directory in line with the files, and checks it: on success the caller goes on to
 * resources_commit(). `source` of each resource is the path of its file. On any fault -errno, and `set` is as the last commit left
 * it; what changed is looked at again by the next call. `field` is the member at fault, and the message names the file,
 * `'DIR/node.json': must be …`, or `cannot open 'DIR/node.json': …`. */
int directory_read(struct directory *directory, struct resources *set, struct error *err);

/* Calls `fn` soon after something in the directory (or below) changed: changes within 250 us count as one, but never later than
 * 10 ms after the first. Also when files are replaced by rename, when a symbolic link on the way to them is, and when the
 * directory itself goes and comes back. Changes between this and a read that follows it are not missed. Files
 * outside that a symbolic link of the directory points to are not watched. From then on directory_read() relies on it for which
 * files changed. Once for a directory, before directory_look_ahead(). `fn` may free the directory.
 * -ENOSPC: the kernel's limit of inotify watches; -errno. A directory that is not there yet is no error. */
typedef void directory_changed_fn(void *arg);
int directory_watch(struct directory *directory, struct loop *loop, directory_changed_fn *fn, void *arg, struct error *err);
