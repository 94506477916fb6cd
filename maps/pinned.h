/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned maps, opened by a table: each is checked against the layout this build knows, and then mapped into memory or kept as a
 * descriptor. What kernel.c, proxy.c and the loader share. */
#pragma once

#include <bpf/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/front.h"

#define PINNED_OTHER_LAYOUT "the kernel part is that of another build: run `weft-loader upgrade`"

struct pinned_map {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_bytes, value_bytes;
	uint32_t entries; /* 0: as many as it was made with */
	enum pinned_form { PINNED_AS_FD, PINNED_IN_MEMORY, PINNED_AS_FRONT } form;
	size_t offset; /* into what is filled: of a descriptor, of a pointer to the memory, or of a struct front, all of it mapped */
	size_t entries_offset; /* into the same: of a uint32_t that gets the number of entries where that is not fixed; 0: none does */
};
/* Rows. Array maps step by multiples of 8 bytes: what user space indexes must do so as well. */
#define PINNED_ARRAY_OF(pin, value, count, form, into, member, count_offset)                                                  \
	{ pin, BPF_MAP_TYPE_ARRAY, 4, sizeof(value) + 0 * sizeof(struct { _Static_assert(sizeof(value) % 8 == 0,               \
	  #value " does not lie in a mapped array as C lays it out"); int one; }), count, form, offsetof(into, member), count_offset }
#define PINNED_ARRAY(pin, value, count, into, member) PINNED_ARRAY_OF(pin, value, count, PINNED_IN_MEMORY, into, member, 0)
#define PINNED_FRONT(pin, value, into, member, count_offset)                                                                  \
	PINNED_ARRAY_OF(pin, value, 0, PINNED_AS_FRONT, into, member, count_offset)
#define PINNED_FD(pin, map_type, key, value, count, into, member)                                                             \
	{ pin, map_type, key, value, count, PINNED_AS_FD, offsetof(into, member), 0 }

/* All or none. -ENOENT names `weft-loader install`; -EPROTO: a map of another layout. */
int pinned_maps_open(const char *pin_path, const struct pinned_map *maps, size_t count, void *into, struct error *err);
/* What pinned_maps_open() filled, and nothing else. */
void pinned_maps_close(const struct pinned_map *maps, size_t count, void *into);

/* 0 or -errno; -E2BIG when the table is full; -ENOENT on removal is no error. */
int pinned_map_set(int fd, const void *key, const void *value);
int pinned_map_remove(int fd, const void *key);
/* Calls visit(key, value) for every entry of a hash or an array, and returns a negative value of its at once. The table may change meanwhile, also
 * by visit(): an entry that is there all the time is seen once. */
typedef int pinned_map_fn(const void *key, const void *value, void *arg);
int pinned_map_each(int fd, size_t key_bytes, size_t value_bytes, pinned_map_fn *visit, void *arg);
