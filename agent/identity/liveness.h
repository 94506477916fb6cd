/* SPDX-License-Identifier: Apache-2.0 */
/* Tells when a cgroup gets its first process, loses its last, and is removed, by inotify: on its "cgroup.events"
 * (cgroup-v2.rst, "populated"), and on its parent directory, for kernfs tells nobody else about a removal, and the kernel
 * drops the last event of a cgroup that goes within 10 ms of the one before. */
#pragma once

#include <stdint.h>

#include "agent/loop/loop.h"

struct liveness;
struct life;

int liveness_new(struct loop *loop, struct liveness **ret_liveness);
struct liveness *liveness_free(struct liveness *liveness); /* its lives as well. NULL is fine */

/* `state` is 1 (there are processes), 0 (none), or -ENODEV (it was removed). May come without a change. */
typedef void life_fn(int state, void *arg);
/* -ENOENT: the directory is not there, or is another cgroup than `id`. Call life_check() afterwards: what happened before
 * counts. */
int life_new(struct liveness *liveness, const char *path, uint64_t id, life_fn *fn, void *arg, struct life **ret_life);
struct life *life_free(struct life *life); /* NULL is fine; also from the callback */
int life_check(const struct life *life);
