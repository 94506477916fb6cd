/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of the kernel part: where each is attached, and what is missing without it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loader/object.h"
#include "loader/transaction.h"

enum hook_type {
	HOOK_CGROUP, /* a link to the cgroup, pinned as link_NAME; the type of attachment is that of the program's section */
	HOOK_PROGRAM, /* run by hand, or attached by others: the program, pinned as prog_NAME */
	HOOK_ITERATOR, /* a link over files or over the TCP sockets of whoever's namespace it is run in; pinned as NAME */
	HOOK_TRACEPOINT, /* a link to a tracepoint of the kernel, for all processes, pinned as NAME */
};

struct hook {
	const char *name; /* of the program in the object */
	enum hook_type type;
	bool required;
	const char *purpose;
};
/* In the order of attaching, and of replacing: whoever looks at accounts is there before who ends one, and that before the hooks that open
 * one (bpf/lib/former.h). Detaching goes backwards. */
#define HOOK_COUNT 23
extern const struct hook hooks[HOOK_COUNT];

const struct hook *hook_by_name(const char *name); /* NULL: none */
void hook_pin(const struct hook *hook, const char *directory, char path[PIN_PATH_BYTES]);

struct hook_state {
	bool pinned;
	bool attached; /* false for a link whose cgroup is gone */
	uint32_t link_id;
	uint32_t program_id;
	uint64_t cgroup_id; /* HOOK_CGROUP: where it is attached, 0: nowhere */
};
/* Whether its link takes no other program: a new link takes its place. */
bool hook_is_relinked(const struct hook *hook);
/* Of such a hook: a link to the program of `object`, which is neither pinned nor has an owner yet. -errno. */
int hook_link(const struct hook *hook, const struct object *object);
/* What is pinned for the hook; nothing is a state too. */
int hook_inspect(const struct hook *hook, const char *directory, struct hook_state *ret_state, struct error *err);

/* Puts the object's program in force: behind the pinned link when there is a live one, by a new link otherwise. Undone with the
 * transaction. -EOPNOTSUPP for an optional hook that the kernel does not take. */
int hook_attach(const struct hook *hook, const char *directory, const struct object *object, int cgroup_fd,
		struct transaction *transaction, struct error *err);
