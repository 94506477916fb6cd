/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* Generations. A directory is one slice of w_directory: object id -> record. The root names the current generation; its
 * directory is the slice `generation % RING_DIRECTORIES`, in pages. A commit copies the current slice into the next one, points
 * changed ids at new records and publishes with one release-store of root.generation, so that a change over many objects is
 * visible as a whole or not at all. Records are immutable from the commit that first names them until they are reused.
 *
 * Slices `oldest..generation` are whole and may be read. Before a commit overwrites a slice it moves `oldest` past it, and
 * it does that only after a grace period, since readers that took the root before may still be in that slice. Who asks for
 * an older generation than the root's reads `oldest` again after everything else: above that generation, what was read is void. */
#pragma once

#include "limits.h"
#include "types.h"

enum object_kind {
	OBJECT_NONE,
	OBJECT_SERVICE,
	OBJECT_TARGET,
	OBJECT_NODE,
};

struct root {
	WEFT_TEST_SHIFT(__u64)
	__u64 generation; /* 0: nothing was ever committed */
	__u64 oldest; /* the oldest generation that is still whole */
};
WEFT_SIZE(struct root, 16);

/* A directory entry: kind in the upper four bits, index into that kind's record array below. 0: no such object. */
#define REF_KIND_SHIFT 28
#define REF_INDEX_MASK ((1u << REF_KIND_SHIFT) - 1)
#define REF(kind, index) ((__u32)(kind) << REF_KIND_SHIFT | (__u32)(index))

/* A page of a slice: the ids from a multiple of DIRECTORY_PAGE_IDS on. Pages of the same ids stand side by side, so that a map for
 * more ids begins as the smaller one did, and its number of entries is the only bound. (An array map of single words would be
 * twice the size, since these step by multiples of 8 bytes.) */
struct directory_page {
	__u32 refs[DIRECTORY_PAGE_IDS];
};
WEFT_SIZE(struct directory_page, DIRECTORY_PAGE_IDS * 4);

static inline __attribute__((always_inline)) __u32 directory_page(__u64 generation, __u32 id)
{
	return id / DIRECTORY_PAGE_IDS * RING_DIRECTORIES + (__u32)(generation % RING_DIRECTORIES);
}

/* objects: which object an id stands for, by a 128-bit hash of kind and full name, so that an agent finds its ids again
 * whatever happened to the one before. Written before an id is first published; all zero: the id is free. Id 0 is never used. */
struct object_name {
	__u64 hash[2];
};
WEFT_SIZE(struct object_name, 16);

#ifdef __bpf__
WEFT_MAP(w_root, BPF_MAP_TYPE_ARRAY, __u32, struct root, 1, BPF_F_MMAPABLE);
WEFT_MAP(w_directory, BPF_MAP_TYPE_ARRAY, __u32, struct directory_page, DEFAULT_OBJECTS / DIRECTORY_PAGE_IDS * RING_DIRECTORIES,
	 BPF_F_MMAPABLE);
WEFT_MAP(w_object, BPF_MAP_TYPE_ARRAY, __u32, struct object_name, DEFAULT_OBJECTS, BPF_F_MMAPABLE);
#endif
