/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup that a weft-proxy, or a weftd, has to itself, by which hooks tell its sockets from those of the workloads in whose
 * namespaces they are. Blocks shortly: before the loop runs and after it. */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "base/error.h"

struct own_cgroup {
	uint64_t id;
	char parent[PATH_MAX]; /* where this process came from; empty: it was alone there and stayed */
	char path[PATH_MAX];
};

/* The cgroup that a "PROGRAM" of this instance enters when this process starts it, made where there is none: a program that begins in it need
 * not move. The caller owns the descriptor. */
int own_cgroup_for(const char *program, const char *instance, int *ret_fd, struct error *err);
/* Moves this process into "PROGRAM-INSTANCE" below its cgroup (made, or left by an earlier one), unless it is alone where it
 * is. Started in the cgroup that a weftd made for itself, it goes beside that one, so that each can be removed; in one that was
 * made for its kind it stays. -errno of cgroup2 with what could not be done. */
int own_cgroup_enter(const char *program, const char *instance, struct own_cgroup *ret_cgroup, struct error *err);
/* Back to where it came from, and removes the cgroup unless another one is in there, such as its successor. All zero is fine. */
void own_cgroup_leave(const struct own_cgroup *cgroup);
