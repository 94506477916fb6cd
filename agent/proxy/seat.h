/* SPDX-License-Identifier: Apache-2.0 */
/* The seat of an instance's weft-proxy: /run/weft/INSTANCE with proxy.lock, which says who has it, and proxy.sock, where it is spoken
 * to. A successor gets the lock as a descriptor, so there is no moment at which a third could take it, and puts its socket in the
 * place of the old one by rename(2), so there is none at which nobody listens. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct seat {
	char directory[64];
	int lock_fd; /* -1: not ours */
	int listen_fd; /* -1: not listening */
};

/* Nobody has the lock. For the moment of this call somebody does, and whoever wants it tries again. */
bool seat_is_vacant(const char *instance);
/* Makes the directory. Nothing is taken yet. */
int seat_init(const char *instance, struct seat *ret_seat, struct error *err);
/* -EBUSY names the process that has it. */
int seat_lock(struct seat *seat, struct error *err);
/* The lock of a predecessor: takes the descriptor, also on failure. */
int seat_inherit(struct seat *seat, int lock_fd, struct error *err);
/* Listens at proxy.sock (mode 0600, non-blocking), whatever was there. With the lock only. */
int seat_listen(struct seat *seat, struct error *err);
/* To a successor, which has the lock by now: closes, and leaves the files. */
void seat_hand_over(struct seat *seat);
/* Closes and removes what it has; with `uninstalled` the lock's file and the directory as well, if nothing else is in there. */
void seat_leave(struct seat *seat, bool uninstalled);
