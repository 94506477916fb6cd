/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Reading one generation. The root is read once for each decision; everything newer than that is out of sight. What follows
 * hangs on addresses computed from that one load, so the order holds on weakly ordered machines as well. */
#pragma once

#include "bpf.h"
#include "maps/abi/directory.h"
#include "maps/abi/record.h"

static __always_inline __u64 generation_current(void)
{
	__u32 zero = 0;
	struct root *root = bpf_map_lookup_elem(&w_root, &zero);

	return root ? READ_ONCE(root->generation) : 0;
}

/* The record's index, or -1 when the generation has no such object of this kind. */
static __always_inline __s64 directory_index(__u64 generation, __u32 id, enum object_kind kind)
{
	__u32 key = directory_page(generation, id), ref;
	const struct directory_page *page = bpf_map_lookup_elem(&w_directory, &key);

	if (!page)
		return -1;
	ref = READ_ONCE(page->refs[masked(id, DIRECTORY_PAGE_IDS)]);
	return ref >> REF_KIND_SHIFT == kind ? ref & REF_INDEX_MASK : -1;
}

#define DEFINE_LOOKUP(type, name, map, object)                                                                                \
	static __always_inline const struct type *name(__u64 generation, __u32 id)                                             \
	{                                                                                                                      \
		__s64 index = directory_index(generation, id, object);                                                         \
		__u32 key = index;                                                                                             \
                                                                                                                               \
		return index < 0 ? NULL : bpf_map_lookup_elem(&map, &key);                                                     \
	}
DEFINE_LOOKUP(service_record, directory_service, w_service, OBJECT_SERVICE)
DEFINE_LOOKUP(target_record, directory_target, w_target, OBJECT_TARGET)
DEFINE_LOOKUP(node_record, directory_node, w_node, OBJECT_NODE)
#undef DEFINE_LOOKUP
