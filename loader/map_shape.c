/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/map_shape.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

int map_shape_of_fd(int map_fd, struct map_shape *ret_shape, struct error *err)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	struct btf *btf = NULL;

	if (bpf_obj_get_info_by_fd(map_fd, &info, &size) < 0)
		return error_set(err, -errno, "cannot inspect a pinned map: %m");
	if (info.btf_id) {
		btf = btf__load_from_kernel_by_id(info.btf_id);
		if (!btf)
			return error_set(err, -errno, "cannot read the types of the pinned map '%s': %m", info.name);
	}
	*ret_shape = (struct map_shape){
		.id = info.id,
		.type = info.type,
		.key_bytes = info.key_size,
		.value_bytes = info.value_size,
		.entries = info.max_entries,
		.flags = info.map_flags,
		.btf = btf,
		.own_btf = btf,
		.key_type = info.btf_key_type_id,
		.value_type = info.btf_value_type_id,
	};
	snprintf(ret_shape->name, sizeof(ret_shape->name), "%s", info.name);
	return 0;
}

void map_shape_of_build(const struct bpf_object *object, const struct bpf_map *map, struct map_shape *ret_shape)
{
	*ret_shape = (struct map_shape){
		.type = bpf_map__type(map),
		.key_bytes = bpf_map__key_size(map),
		.value_bytes = bpf_map__value_size(map),
		.entries = bpf_map__max_entries(map),
		.flags = bpf_map__map_flags(map),
		.btf = bpf_object__btf(object),
		.key_type = bpf_map__btf_key_type_id(map),
		.value_type = bpf_map__btf_value_type_id(map),
	};
	snprintf(ret_shape->name, sizeof(ret_shape->name), "%s", bpf_map__name(map));
}

void map_shape_done(struct map_shape *shape)
{
	btf__free(shape->own_btf);
	*shape = (struct map_shape){};
}

/* Keys or values. What says no type, as a ring buffer's, says all by its size. */
static int types_relate(const struct map_shape *from, const struct map_shape *to, bool key, struct type_layout *ret_layout,
			struct layout_conversion *ret_conversion, struct error *err)
{
	_cleanup_(type_layout_done) struct type_layout before = {};
	const uint32_t from_type = key ? from->key_type : from->value_type, to_type = key ? to->key_type : to->value_type;
	const uint32_t from_bytes = key ? from->key_bytes : from->value_bytes, to_bytes = key ? to->key_bytes : to->value_bytes;
	int r;

	if (!to_type && from_bytes == to_bytes) {
		*ret_conversion = (struct layout_conversion){ .from_bytes = from_bytes, .to_bytes = to_bytes, .same = true };
		return 0;
	}
	if (!from_type || !to_type)
		return error_set(err, -EPROTO, "nothing says how its %s lie in memory", key ? "keys" : "values");
	if ((r = type_layout_read(from->btf, from_type, &before, err)) < 0 || (r = type_layout_read(to->btf, to_type, ret_layout, err)) < 0)
		return r;
	if (before.bytes != from_bytes || ret_layout->bytes != to_bytes)
		return error_set(err, -EPROTO, "its %s are not as large as their type", key ? "keys" : "values");
	return layout_conversion_make(&before, ret_layout, ret_conversion, err);
}

int relation_make(const struct map_shape *from, const struct map_shape *to, struct relation *ret_relation, struct error *err)
{
	_cleanup_(relation_done) struct relation relation = { .from_entries = from->entries, .to_entries = to->entries };
	struct error why = {};
	int r;

	if (from->type != to->type || from->flags != to->flags)
		return error_set(err, -EPROTO, "pinned map '%s' is of another kind than that of this build: uninstall, then install", to->name);
	r = types_relate(from, to, true, &relation.key_layout, &relation.key, &why);
	if (r == 0)
		r = types_relate(from, to, false, &relation.value_layout, &relation.value, &why);
	if (r < 0)
		return error_set(err, r, "pinned map '%s' has a layout that this build cannot take over: %s", to->name, why.message);
	relation.same = relation.key.same && relation.value.same;
	*ret_relation = relation;
	relation = (struct relation){};
	return 0;
}

void relation_done(struct relation *relation)
{
	layout_conversion_done(&relation->key);
	layout_conversion_done(&relation->value);
	type_layout_done(&relation->key_layout);
	type_layout_done(&relation->value_layout);
}
