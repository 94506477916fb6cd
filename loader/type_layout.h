/* SPDX-License-Identifier: Apache-2.0 */
/* How the keys and values of a map lie in memory, as the BTF that the kernel keeps with it says, and how those of one build become those
 * of another: member by member, by name. What is read may come from any build, or from nobody in his right mind: it is checked. */
#pragma once

#include <bpf/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { LAYOUT_PATH_BYTES = 96, LAYOUT_MEMBERS_MAX = 2048, LAYOUT_BYTES_MAX = 65536 };

/* A number, a union (which is one member, whatever it is made of), or an array of either. */
struct layout_member {
	char path[LAYOUT_PATH_BYTES]; /* "zones[0][3].below"; "": the type itself */
	uint32_t offset;
	uint32_t bytes; /* of one element */
	uint32_t count; /* of elements; 1: no array */
	bool whole; /* a union: taken as it is, or not at all */
	bool may_drop; /* WEFT_MAY_DROP: a build that does not know it may leave it out */
};
struct type_layout {
	uint32_t bytes;
	size_t count;
	struct layout_member *members; /* by offset */
};

/* -EPROTO: the type is none that a map of ours could have; -ENOMEM. */
int type_layout_read(const struct btf *btf, uint32_t type_id, struct type_layout *ret_layout, struct error *err);
void type_layout_done(struct type_layout *layout); /* all zero is fine */

/* Every member of `from` that has a namesake in `to` goes there: smaller numbers into larger ones, shorter arrays into longer ones.
 * What `to` has beyond that is zero. Members named pad or reserved are zero on both sides. */
struct layout_step {
	uint32_t from, to; /* offsets */
	uint32_t from_bytes, to_bytes; /* of one element */
	uint32_t count;
	const char *path; /* borrowed of `to` */
};
struct layout_conversion {
	uint32_t from_bytes, to_bytes;
	bool same; /* every byte that says something stays where it is */
	size_t count;
	struct layout_step *steps;
};
/* -EPROTO names the member that would be lost, or does not fit; -ENOMEM. `to` outlives the conversion. */
int layout_conversion_make(const struct type_layout *from, const struct type_layout *to, struct layout_conversion *ret_conversion,
			   struct error *err);
/* Where the former build has a member of so many bytes, by its path; UINT32_MAX: it has none. */
uint32_t layout_conversion_source(const struct layout_conversion *conversion, const char *path, uint32_t bytes);
void layout_conversion_done(struct layout_conversion *conversion); /* all zero is fine */
void layout_conversion_apply(const struct layout_conversion *conversion, const void *from, void *to);
