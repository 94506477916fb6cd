/* SPDX-License-Identifier: Apache-2.0 */
/* One loader at a time for an instance: flock(2) on /run/weft/INSTANCE/loader.lock, which ends with its process. */
#pragma once

#include "base/error.h"

/* -EBUSY: another has it; -EPERM: not root. The descriptor is the lock. */
int lock_take(const char *instance, int *ret_fd, struct error *err);
/* Keeps weftd of the instance from starting for as long as the descriptor is open. -EBUSY: it runs. */
int lock_take_agent(const char *instance, int *ret_fd, struct error *err);
/* Removes the file while it is held, what a weftd left that runs no more, and the directories where they are empty. */
void lock_remove(const char *instance);
