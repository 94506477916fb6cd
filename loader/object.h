/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF object of this build, loaded into the kernel over the maps that are pinned already. */
#pragma once

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "maps/limits.h"

struct object {
	struct bpf_object *bpf;
	const struct bpf_map *former, *former_near; /* accounts of the former layout, or in place of them nothing: not maps of ours */
};

/* Loads every program of the hook table. Maps pinned in `directory` are used again (-EPROTO when one has another layout); those that are
 * missing are made, arrays of the size that `limits` says. Nothing is pinned. Optional programs that the kernel does not take are left
 * out; -EOPNOTSUPP names the first required one, and loader_log() has what the verifier said. */
int object_load(const char *directory, const struct kernel_limits *limits, struct object *ret_object, struct error *err);
/* The same, but arrays that are smaller than `limits` says are made anew, and so are maps of another layout, whose contents can be taken
 * over (loader/takeover.h; -EPROTO, -EBUSY where they cannot). The programs look for accounts of the former layout too. */
int object_load_beside(const char *directory, const struct kernel_limits *limits, struct object *ret_object, struct error *err);
/* 1: some of the maps in `directory` have another layout, and can be taken over; 0: none has. Loads nothing. */
int object_compare(const char *directory, struct error *err);
/* Whether a map of the object is one that is pinned. */
bool object_pins(const struct object *object, const struct bpf_map *map);
void object_done(struct object *object); /* all zero is fine */
/* Borrowed; -ENOENT: left out. */
int object_program_fd(const struct object *object, const char *name);

/* "0123456789abcdef": the kernel's hash of a program's instructions. 0 or -errno. */
#define PROGRAM_TAG_BYTES 17
int program_tag(int program_fd, char ret_tag[PROGRAM_TAG_BYTES]);
/* Tag of this build's program of hooks[index], as the kernel relocated it at the last load of this process: it stays the same for
 * as long as the kernel runs. "": the kernel does not take it; NULL: nothing was loaded yet. */
const char *object_build_tag(size_t index);
