/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/pinned.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"

#define BATCH_ENTRIES 1024

static void *place_of(const struct pinned_map *map, void *into)
{
	return (char *)into + map->offset;
}

static size_t bytes_of(const struct pinned_map *map)
{
	return (size_t)map->value_bytes * map->entries;
}

static int map_check(int fd, const char *path, const struct pinned_map *map, uint32_t *ret_entries, struct error *err)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return error_set(err, -errno, "cannot inspect pinned map '%s': %s", path, strerror(errno));
	if (info.type != map->type || info.key_size != map->key_bytes || info.value_size != map->value_bytes ||
	    (map->entries && info.max_entries != map->entries))
		return error_set(err, -EPROTO, "pinned map '%s' has the layout of another build: run `weft-loader upgrade`", path);
	*ret_entries = info.max_entries;
	return 0;
}

static int front_open(int *fd, uint32_t value_bytes, uint32_t entries, struct front *ret_front)
{
	struct front front;
	int r = front_init(&front, value_bytes, entries);

	if (r < 0)
		return r;
	r = front_take(&front, *fd, entries);
	if (r == 0) {
		*fd = -1;
		r = front_reach(&front, entries);
	}
	if (r < 0)
		front_done(&front);
	else
		*ret_front = front;
	return r;
}

static int map_take(int *fd, const struct pinned_map *map, uint32_t entries, void *place)
{
	void *memory;

	if (map->form == PINNED_AS_FRONT)
		return front_open(fd, map->value_bytes, entries, place);
	if (map->form == PINNED_AS_FD) {
		*(int *)place = TAKE_FD(*fd);
		return 0;
	}
	memory = mmap(NULL, bytes_of(map), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*(void **)place = memory;
	return 0;
}

static int map_open(const char *pin_path, const struct pinned_map *map, void *into, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char path[256];
	uint32_t entries = 0;
	int r;

	snprintf(path, sizeof(path), "%s/%s", pin_path, map->name);
	fd = bpf_obj_get(path);
	if (fd < 0 && errno == ENOENT)
		return error_set(err, -ENOENT, "there is no kernel part ('%s' is missing): run `weft-loader install` first", path);
	if (fd < 0)
		return error_set(err, -errno, "cannot open pinned map '%s': %s", path, strerror(errno));
	r = map_check(fd, path, map, &entries, err);
	if (r < 0)
		return r;
	if (map->entries_offset)
		*(uint32_t *)((char *)into + map->entries_offset) = entries;
	r = map_take(&fd, map, entries, place_of(map, into));
	return r < 0 ? error_set(err, r, "cannot map '%s' into memory: %s", path, strerror(-r)) : 0;
}

int pinned_maps_open(const char *pin_path, const struct pinned_map *maps, size_t count, void *into, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		int r = map_open(pin_path, &maps[i], into, err);

		if (r < 0) {
			pinned_maps_close(maps, i, into);
			return r;
		}
	}
	return 0;
}

void pinned_maps_close(const struct pinned_map *maps, size_t count, void *into)
{
	for (size_t i = 0; i < count; i++) {
		void *place = place_of(&maps[i], into);

		if (maps[i].form == PINNED_AS_FRONT)
			front_done(place);
		else if (maps[i].form == PINNED_IN_MEMORY)
			munmap(*(void **)place, bytes_of(&maps[i]));
		else
			fd_close(*(int *)place);
	}
}

int pinned_map_set(int fd, const void *key, const void *value)
{
	return bpf_map_update_elem(fd, key, value, BPF_ANY) < 0 ? -errno : 0;
}

int pinned_map_remove(int fd, const void *key)
{
	return bpf_map_delete_elem(fd, key) < 0 && errno != ENOENT ? -errno : 0;
}

/* By buckets of the kernel's hash (bpf_map_lookup_batch()), each read as it is at one moment: an entry never changes its bucket, so the
 * walk meets it once, and ends. */
int pinned_map_each(int fd, size_t key_bytes, size_t value_bytes, pinned_map_fn *visit, void *arg)
{
	_cleanup_free_ char *keys = NULL, *values = NULL;
	uint32_t bucket, room = BATCH_ENTRIES, count;
	bool begun = false, end = false;
	int r = 0;

	while (r >= 0 && !end) {
		if (!keys)
			keys = malloc(room * key_bytes);
		if (!values)
			values = malloc(room * value_bytes);
		if (!keys || !values)
			return -ENOMEM;
		count = room;
		if (bpf_map_lookup_batch(fd, begun ? &bucket : NULL, &bucket, keys, values, &count, NULL) < 0) {
			if (errno == ENOSPC) { /* a bucket holds more */
				room *= 2;
				free(TAKE_PTR(keys));
				free(TAKE_PTR(values));
				continue;
			}
			if (errno != ENOENT)
				return -errno;
			end = true;
		}
		begun = true;
		for (uint32_t i = 0; i < count && r >= 0; i++)
			r = visit(keys + i * key_bytes, values + i * value_bytes, arg);
	}
	return r < 0 ? r : 0;
}
