/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces as people name them. */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* "blue" -> "/run/netns/blue"; what has a slash is a path already. */
int ctl_netns_path(const char *name, char *buffer, size_t size, struct error *err);
/* Moves this process there. For a name with a directory /etc/netns/NAME, what is in it lies over /etc from now on, in a mount namespace of
 * this process's own, as with `ip netns exec` (ip-netns(8)); unlike there nothing else changes, so cgroup2 and bpffs stay in sight. What
 * has no counterpart in /etc is named on stderr and left out. */
int ctl_netns_enter(const char *name, struct error *err);
