/* SPDX-License-Identifier: Apache-2.0 */
/* What a map is, of this build or of the one that made the pins, and how the contents of one become those of the other. */
#pragma once

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loader/type_layout.h"

struct map_shape {
	char name[16];
	uint32_t id; /* of the map in the kernel; 0: it is none yet */
	uint32_t type, key_bytes, value_bytes, entries, flags;
	const struct btf *btf; /* NULL: nothing says how keys and values lie */
	struct btf *own_btf;
	uint32_t key_type, value_type;
};
int map_shape_of_fd(int map_fd, struct map_shape *ret_shape, struct error *err);
/* Borrows the object's BTF. */
void map_shape_of_build(const struct bpf_object *object, const struct bpf_map *map, struct map_shape *ret_shape);
void map_shape_done(struct map_shape *shape); /* all zero is fine */

/* From a map to its namesake of another build. */
struct relation {
	bool same; /* one map serves both, but for the number of entries */
	uint32_t from_entries, to_entries;
	struct type_layout key_layout, value_layout; /* of `to` */
	struct layout_conversion key, value;
};
/* -EPROTO names the map, and the member that stands in the way. */
int relation_make(const struct map_shape *from, const struct map_shape *to, struct relation *ret_relation, struct error *err);
void relation_done(struct relation *relation); /* all zero is fine */
