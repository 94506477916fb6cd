/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces as people name them. */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* "blue" -> "/run/netns/blue"; what has a slash is a path already. */
int ctl_netns_path(const char *name, char *buffer, size_t size, struct error *err);
/* Moves this process there. */
int ctl_netns_enter(const char *name, struct error *err);
