/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/type_layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "maps/abi/types.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a number grows at its end");

enum { DEPTH_MAX = 16, MODIFIERS_MAX = 32, TYPES_MAX = 8 * LAYOUT_MEMBERS_MAX };

struct walk {
	const struct btf *btf;
	struct type_layout *layout;
	struct error *err;
	char path[LAYOUT_PATH_BYTES];
	unsigned depth, types; /* types: looked at so far */
};

static int refuse(const struct walk *walk, const char *what)
{
	return error_set(walk->err, -EPROTO, "member '%s' %s", walk->path, what);
}

/* Without typedefs and qualifiers. NULL: there is no such type, or no end to it. */
static const struct btf_type *type_of(const struct btf *btf, uint32_t *id)
{
	const struct btf_type *type = btf__type_by_id(btf, *id);

	for (unsigned i = 0; type && i < MODIFIERS_MAX; i++) {
		if (!btf_is_mod(type) && !btf_is_typedef(type))
			return type;
		*id = type->type;
		type = btf__type_by_id(btf, *id);
	}
	return NULL;
}

static const char *name_at(const struct btf *btf, uint32_t offset)
{
	return btf__name_by_offset(btf, offset) ?: "";
}

/* By a tag of the member in BTF, which says it to builds that are older than the member. */
static bool may_drop(const struct btf *btf, uint32_t struct_id, int member)
{
	for (uint32_t id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *type = btf__type_by_id(btf, id);

		if (type && btf_is_decl_tag(type) && type->type == struct_id && btf_decl_tag(type)->component_idx == member &&
		    !strcmp(name_at(btf, type->name_off), WEFT_TAG_MAY_DROP))
			return true;
	}
	return false;
}

static int member_add(struct walk *walk, uint64_t offset, uint64_t bytes, uint64_t count, bool whole, bool droppable)
{
	struct type_layout *layout = walk->layout;
	struct layout_member *members;

	if (!bytes || !count || offset + bytes * count > layout->bytes)
		return refuse(walk, "lies outside of its structure");
	if (layout->count == LAYOUT_MEMBERS_MAX)
		return refuse(walk, "is one of too many");
	members = reallocarray(layout->members, layout->count + 1, sizeof(*members));
	if (!members)
		return error_set(walk->err, -ENOMEM, "no memory for the layout of a map");
	layout->members = members;
	members += layout->count++;
	*members = (struct layout_member){ .offset = offset, .bytes = bytes, .count = count, .whole = whole, .may_drop = droppable };
	snprintf(members->path, sizeof(members->path), "%s", walk->path);
	return 0;
}

static int walk_type(struct walk *walk, uint32_t id, uint64_t offset, bool droppable);

static int path_add(struct walk *walk, const char *format, const char *name, uint32_t index)
{
	const size_t length = strlen(walk->path), room = sizeof(walk->path) - length;

	return (size_t)snprintf(walk->path + length, room, format, name, index) < room ? 0 : refuse(walk, "has too long a path");
}

/* Members without a name, as in `struct { union { … }; }`, have the path of what they are in. */
static int walk_struct(struct walk *walk, const struct btf_type *type, uint32_t id, uint64_t offset, bool droppable)
{
	const struct btf_member *members = btf_members(type);
	const size_t length = strlen(walk->path);

	for (int i = 0; i < btf_vlen(type); i++) {
		const char *name = name_at(walk->btf, members[i].name_off);
		int r = name[0] ? path_add(walk, length ? ".%s" : "%s", name, 0) : 0;

		if (r == 0 && (btf_member_bitfield_size(type, i) || btf_member_bit_offset(type, i) % 8))
			r = refuse(walk, "is a bit field");
		if (r == 0)
			r = walk_type(walk, members[i].type, offset + btf_member_bit_offset(type, i) / 8,
				      droppable || may_drop(walk->btf, id, i));
		if (r < 0)
			return r;
		walk->path[length] = '\0';
	}
	return 0;
}

static int walk_array(struct walk *walk, const struct btf_type *type, uint64_t offset, bool droppable)
{
	const struct btf_array *array = btf_array(type);
	const size_t length = strlen(walk->path);
	uint32_t element = array->type;
	const struct btf_type *of = type_of(walk->btf, &element);
	const int64_t bytes = of ? btf__resolve_size(walk->btf, element) : -EINVAL;

	if (!array->nelems)
		return 0;
	if (bytes <= 0)
		return refuse(walk, "is an array of what a map cannot hold");
	if (!btf_is_struct(of) && !btf_is_array(of))
		return member_add(walk, offset, bytes, array->nelems, btf_is_union(of), droppable);
	for (uint32_t i = 0; i < array->nelems; i++) {
		int r = path_add(walk, "%s[%u]", "", i);

		if (r == 0)
			r = walk_type(walk, element, offset + (uint64_t)i * bytes, droppable);
		if (r < 0)
			return r;
		walk->path[length] = '\0';
	}
	return 0;
}

static int walk_type(struct walk *walk, uint32_t id, uint64_t offset, bool droppable)
{
	const struct btf_type *type = type_of(walk->btf, &id);
	int r;

	if (!type || walk->depth == DEPTH_MAX || walk->types++ == TYPES_MAX)
		return refuse(walk, "has no type that ends");
	walk->depth++;
	if (btf_is_struct(type))
		r = walk_struct(walk, type, id, offset, droppable);
	else if (btf_is_array(type))
		r = walk_array(walk, type, offset, droppable);
	else if (btf_is_union(type) || btf_is_int(type) || btf_is_any_enum(type))
		r = member_add(walk, offset, type->size, 1, btf_is_union(type), droppable);
	else
		r = refuse(walk, "is of a kind that a map cannot hold");
	walk->depth--;
	return r;
}

static int by_offset(const void *a, const void *b)
{
	const struct layout_member *left = a, *right = b;

	return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static int overlaps_check(const struct type_layout *layout, struct error *err)
{
	for (size_t i = 1; i < layout->count; i++) {
		const struct layout_member *before = &layout->members[i - 1];

		if (before->offset + before->bytes * before->count > layout->members[i].offset)
			return error_set(err, -EPROTO, "members '%s' and '%s' overlap", before->path, layout->members[i].path);
	}
	return 0;
}

int type_layout_read(const struct btf *btf, uint32_t type_id, struct type_layout *ret_layout, struct error *err)
{
	_cleanup_(type_layout_done) struct type_layout layout = {};
	struct walk walk = { .btf = btf, .layout = &layout, .err = err };
	const int64_t bytes = type_id ? btf__resolve_size(btf, type_id) : -EINVAL;
	int r;

	if (bytes <= 0 || bytes > LAYOUT_BYTES_MAX)
		return error_set(err, -EPROTO, "type %u has no size that a map can hold", type_id);
	layout.bytes = bytes;
	r = walk_type(&walk, type_id, 0, false);
	if (r < 0)
		return r;
	if (layout.count)
		qsort(layout.members, layout.count, sizeof(*layout.members), by_offset);
	r = overlaps_check(&layout, err);
	if (r < 0)
		return r;
	*ret_layout = layout;
	layout = (struct type_layout){};
	return 0;
}

void type_layout_done(struct type_layout *layout)
{
	free(layout->members);
	*layout = (struct type_layout){};
}

/* --- from one to another ------------------------------------------------------------------------------------------------------ */

static const struct layout_member *member_by_path(const struct type_layout *layout, const char *path)
{
	for (size_t i = 0; i < layout->count; i++)
		if (!strcmp(layout->members[i].path, path))
			return &layout->members[i];
	return NULL;
}

/* pad, pad2, reserved: nobody writes those. */
static bool is_padding(const struct layout_member *member)
{
	const char *dot = strrchr(member->path, '.'), *name = dot ? dot + 1 : member->path;

	return (!strncmp(name, "pad", 3) && strspn(name + 3, "0123456789") == strlen(name + 3)) || !strcmp(name, "reserved");
}

static int step_make(const struct layout_member *from, const struct layout_member *to, struct layout_step *ret_step,
		     struct error *err)
{
	if (from->whole != to->whole || (from->whole ? from->bytes != to->bytes : from->bytes > to->bytes))
		return error_set(err, -EPROTO, "member '%s' does not fit: it has %u bytes, and %u in this build", from->path, from->bytes,
				 to->bytes);
	if (from->count > to->count && !from->may_drop)
		return error_set(err, -EPROTO, "member '%s' does not fit: it has %u elements, and %u in this build", from->path,
				 from->count, to->count);
	*ret_step = (struct layout_step){
		.from = from->offset,
		.to = to->offset,
		.from_bytes = from->bytes,
		.to_bytes = to->bytes,
		.count = MIN(from->count, to->count),
		.path = to->path,
	};
	return 0;
}

static bool is_same(const struct layout_member *from, const struct layout_member *to)
{
	return from->offset == to->offset && from->bytes == to->bytes && from->count == to->count && from->whole == to->whole;
}

int layout_conversion_make(const struct type_layout *from, const struct type_layout *to, struct layout_conversion *ret_conversion,
			   struct error *err)
{
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {
		.from_bytes = from->bytes,
		.to_bytes = to->bytes,
		.same = from->bytes == to->bytes,
		.steps = calloc(from->count, sizeof(*conversion.steps)),
	};

	if (!conversion.steps)
		return error_set(err, -ENOMEM, "no memory for the conversion of a map");
	for (size_t i = 0; i < from->count; i++) {
		const struct layout_member *member = &from->members[i], *namesake = member_by_path(to, member->path);
		int r;

		if (is_padding(member))
			continue;
		if (member_by_path(from, member->path) != member)
			return error_set(err, -EPROTO, "there are two members '%s'", member->path);
		conversion.same &= namesake && is_same(member, namesake);
		if (!namesake && member->may_drop)
			continue;
		if (!namesake)
			return error_set(err, -EPROTO, "member '%s' would be lost: this build does not know it", member->path);
		r = step_make(member, namesake, &conversion.steps[conversion.count++], err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < to->count; i++)
		conversion.same &= is_padding(&to->members[i]) || member_by_path(from, to->members[i].path);
	*ret_conversion = conversion;
	conversion = (struct layout_conversion){};
	return 0;
}

uint32_t layout_conversion_source(const struct layout_conversion *conversion, const char *path, uint32_t bytes)
{
	for (size_t i = 0; i < conversion->count; i++)
		if (!strcmp(conversion->steps[i].path, path) && conversion->steps[i].from_bytes == bytes)
			return conversion->steps[i].from;
	return UINT32_MAX;
}

void layout_conversion_done(struct layout_conversion *conversion)
{
	free(conversion->steps);
	*conversion = (struct layout_conversion){};
}

static void step_apply(const struct layout_step *step, const char *from, char *to)
{
	if (step->from_bytes == step->to_bytes) {
		memcpy(to + step->to, from + step->from, (size_t)step->to_bytes * step->count);
		return;
	}
	for (uint32_t i = 0; i < step->count; i++)
		memcpy(to + step->to + i * step->to_bytes, from + step->from + i * step->from_bytes, step->from_bytes);
}

void layout_conversion_apply(const struct layout_conversion *conversion, const void *from, void *to)
{
	memset(to, 0, conversion->to_bytes);
	for (size_t i = 0; i < conversion->count; i++)
		step_apply(&conversion->steps[i], from, to);
}
