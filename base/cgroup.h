/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup2 hierarchy, wherever it is mounted (also beside v1 controllers, as in hybrid layouts). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* `weft run` makes WHERE-IT-IS-ATTACHED/weft/INSTANCE/run-PID-N; the upper two go with the instance. */
#define CGROUP_RUN_DIRECTORY "weft"

/* Mount point of the cgroup2 file system, from /proc/self/mounts. -ENOENT names what is missing. */
int cgroup_root(char *buffer, size_t size, struct error *err);
/* The directory of the cgroup with this id (bpf_get_current_cgroup_id(), or a link's) below the mount point `root`. -ENOENT: it
 * was removed, or lies outside. Needs CAP_DAC_READ_SEARCH. */
int cgroup_path_of_id(const char *root, uint64_t id, char *buffer, size_t size);
