/* SPDX-License-Identifier: Apache-2.0 */
/* A change to pinned objects that holds as a whole or not at all: what was done is noted, and taken back in reverse order
 * unless it is committed.
 *
 *   _cleanup_(transaction_done) struct transaction t = {};
 *   … transaction_pin(&t, …) … return on failure …
 *   transaction_commit(&t); */
#pragma once

#include <stddef.h>

#include "base/error.h"

#define PIN_PATH_BYTES 160

enum step_type {
	STEP_DIRECTORY, /* made */
	STEP_PINNED, /* where nothing was */
	STEP_REPLACED, /* what was there before has the staging name now */
	STEP_UPDATED, /* a link runs another program */
};
struct step {
	enum step_type type;
	char path[PIN_PATH_BYTES];
	int link_fd, program_fd; /* STEP_UPDATED, owned: the link, and what it ran before */
};
#define TRANSACTION_STEPS 256 /* maps, programs and links of an instance: some 70 */
struct transaction {
	size_t count;
	struct step steps[TRANSACTION_STEPS];
};

void transaction_done(struct transaction *t);
void transaction_commit(struct transaction *t);

/* An existing directory is fine, and is left alone by the undo. */
int transaction_make_directory(struct transaction *t, const char *path, struct error *err);
/* In one step for those who open the path: at no time is there nothing where something was. */
int transaction_pin(struct transaction *t, int fd, const char *path, struct error *err);
/* bpf_link_update(). Takes `link_fd` and `old_program_fd` over in every case. */
int transaction_update_link(struct transaction *t, int link_fd, int program_fd, int old_program_fd);

/* Unpins. A link is detached first: the kernel lets go of an unpinned one only later, or not while somebody has it open. */
int pin_remove(const char *path);
/* What a loader that was killed left under staging names. */
void pin_remove_staged(const char *directory);
