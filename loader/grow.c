/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/grow.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loader/device.h"
#include "loader/hooks.h"
#include "loader/object.h"
#include "loader/transaction.h"
#include "maps/abi/directory.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/row.h"
#include "maps/generation.h"
#include "maps/limits.h"

/* Beside the pins of an instance while it grows: the new programs of its links, and what arrays that the kernel writes were copied as. */
#define SWAP_PREFIX "swap_"
#define BASE_PREFIX "base_"

struct places {
	const char *live;
	char next[PIN_PATH_BYTES];
};

static void places_init(struct places *places, const char *directory)
{
	const char *name = strrchr(directory, '/') + 1;

	places->live = directory;
	snprintf(places->next, sizeof(places->next), "%.*s" GROW_PREFIX "%s", (int)(name - directory), directory, name);
}

static int path_of(char path[PIN_PATH_BYTES], const char *directory, const char *prefix, const char *name)
{
	return (size_t)snprintf(path, PIN_PATH_BYTES, "%s/%s%s", directory, prefix, name) < PIN_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

static int pin_open(const char *directory, const char *prefix, const char *name)
{
	char path[PIN_PATH_BYTES];
	int fd;

	if (path_of(path, directory, prefix, name) < 0)
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static bool pin_exists(const char *directory, const char *prefix, const char *name)
{
	char path[PIN_PATH_BYTES];

	return path_of(path, directory, prefix, name) == 0 && access(path, F_OK) == 0;
}

/* Calls `fn` for each pin, until it returns negative. They may go meanwhile. */
typedef int pin_fn(const char *directory, const char *name, void *arg);
static int each_pin(const char *directory, pin_fn *fn, void *arg)
{
	struct dirent **entries = NULL;
	const int count = scandir(directory, &entries, NULL, alphasort);
	int r = count < 0 ? -errno : 0;

	for (int i = 0; i < count; i++) {
		if (r >= 0 && entries[i]->d_name[0] != '.')
			r = fn(directory, entries[i]->d_name, arg);
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? r : 0;
}

/* --- arrays ------------------------------------------------------------------------------------------------------------------ */

struct array {
	void *memory;
	size_t value_bytes, bytes;
};

static void array_done(struct array *array)
{
	if (array->memory)
		munmap(array->memory, array->bytes);
	*array = (struct array){};
}

static int array_map(int fd, struct array *ret_array)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	void *memory;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	if (info.value_size % 8)
		return -EPROTO;
	memory = mmap(NULL, (size_t)info.value_size * info.max_entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_array = (struct array){ memory, info.value_size, (size_t)info.value_size * info.max_entries };
	return 0;
}

static int array_open(const char *directory, const char *prefix, const char *map, struct array *ret_array)
{
	_cleanup_close_ int fd = pin_open(directory, prefix, map);

	return fd < 0 ? fd : array_map(fd, ret_array);
}

/* By words, each of which is of one moment: programs write to the array meanwhile. */
static void copy_words(const struct array *from, const struct array *to)
{
	const uint64_t *source = from->memory;
	uint64_t *words = to->memory;

	for (size_t i = 0; i < from->bytes / sizeof(*words); i++)
		words[i] = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
}

/* Arrays that the kernel writes: counters, to which what came since is added, and other words, which are taken over where they
 * changed here and not there. What comes before and after is the agent's. */
static const struct counted {
	const char *map;
	size_t counters, states, end; /* offsets into a value: where each begins */
} counted[] = {
	{ "w_row", offsetof(struct row, attempts), sizeof(struct row), sizeof(struct row) },
	{ "w_endpoint", offsetof(struct endpoint, open), offsetof(struct endpoint, ejected_until_ns), offsetof(struct endpoint, gone) },
};

static const struct counted *counted_by_map(const char *map)
{
	for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
		if (!strcmp(map, counted[i].map))
			return &counted[i];
	return NULL;
}

/* What `from` has now is what was copied, from then on: a second time carries what came after the first. */
static void carry_value(const struct counted *c, const char *from, char *base, char *to)
{
	for (size_t at = c->counters; at < c->end; at += sizeof(uint64_t)) {
		uint64_t *was = (uint64_t *)(base + at), *there = (uint64_t *)(to + at);
		const uint64_t now = __atomic_load_n((const uint64_t *)(from + at), __ATOMIC_RELAXED);
		uint64_t expected = *was;

		if (now == *was)
			continue;
		if (at < c->states)
			__atomic_fetch_add(there, now - *was, __ATOMIC_RELAXED);
		else
			__atomic_compare_exchange_n(there, &expected, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
		*was = now;
	}
}

/* What the kernel wrote in arrays of `source` since they were copied goes to those of `sink`. The copy is with the larger ones, which is
 * one of both, and is gone where all is done. */
static int carry(const char *source, const char *sink)
{
	for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
		_cleanup_(array_done) struct array from = {}, base = {}, to = {};
		int r = array_open(pin_exists(source, BASE_PREFIX, counted[i].map) ? source : sink, BASE_PREFIX, counted[i].map, &base);

		if (r == -ENOENT)
			continue;
		if (r < 0 || (r = array_open(source, "", counted[i].map, &from)) < 0 ||
		    (r = array_open(sink, "", counted[i].map, &to)) < 0)
			return r;
		for (size_t at = 0; at < MIN(MIN(from.bytes, to.bytes), base.bytes); at += from.value_bytes)
			carry_value(&counted[i], (char *)from.memory + at, (char *)base.memory + at, (char *)to.memory + at);
	}
	return 0;
}

/* --- the second set of pins -------------------------------------------------------------------------------------------------- */

struct preparation {
	const struct places *places;
	const struct object *object;
	const struct kernel_limits *limits;
	struct error *err;
};

static int next_pin(const struct preparation *p, int fd, const char *prefix, const char *name)
{
	char path[PIN_PATH_BYTES];

	if (path_of(path, p->places->next, prefix, name) < 0 || bpf_obj_pin(fd, path) < 0)
		return error_set(p->err, -errno, "cannot pin '%s/%s%s': %m", p->places->next, prefix, name);
	return 0;
}

/* Whether the pin is made anew for the programs that come. */
static bool is_of_programs(const char *directory, const char *name)
{
	char path[PIN_PATH_BYTES];

	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		hook_pin(hook, directory, path);
		if (hook->type != HOOK_CGROUP && !strcmp(strrchr(path, '/') + 1, name))
			return true;
	}
	return false;
}

static int map_prepare(const struct preparation *p, const char *map)
{
	const int fd = bpf_object__find_map_fd_by_name(p->object->bpf, map);

	if (fd < 0)
		return error_set(p->err, fd, "this build has no map '%s'", map);
	return next_pin(p, fd, "", map);
}

static int pin_prepare(const char *directory, const char *name, void *arg)
{
	const struct preparation *p = arg;
	char from[PIN_PATH_BYTES], to[PIN_PATH_BYTES];

	if (kernel_limits_entries(p->limits, name))
		return map_prepare(p, name);
	if (is_of_programs(directory, name))
		return 0;
	if (path_of(from, directory, "", name) < 0 || path_of(to, p->places->next, "", name) < 0)
		return error_set(p->err, -ENAMETOOLONG, "'%s/%s' is not weft's", directory, name);
	return link(from, to) < 0 ? error_set(p->err, -errno, "cannot link '%s': %m", from) : 0;
}

/* Maps that the build before had not. */
static int maps_add(const struct preparation *p)
{
	const struct bpf_map *map;
	int r = 0;

	bpf_object__for_each_map(map, p->object->bpf)
		if (r >= 0 && !bpf_map__is_internal(map) && !pin_exists(p->places->next, "", bpf_map__name(map)))
			r = next_pin(p, bpf_map__fd(map), "", bpf_map__name(map));
	return r;
}

static int programs_prepare(const struct preparation *p)
{
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		const int program_fd = object_program_fd(p->object, hook->name);
		_cleanup_close_ int link_fd = -1;
		char path[PIN_PATH_BYTES];
		int r;

		if (program_fd < 0)
			continue; /* the kernel does not take it */
		hook_pin(hook, p->places->next, path);
		if (hook_is_relinked(hook))
			link_fd = hook_link(hook, p->object);
		if (hook_is_relinked(hook) && link_fd < 0)
			continue; /* the same */
		r = hook->type == HOOK_CGROUP ? 0 : next_pin(p, link_fd < 0 ? program_fd : link_fd, "", strrchr(path, '/') + 1);
		if (r == 0)
			r = next_pin(p, program_fd, SWAP_PREFIX, hook->name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_array(const char *directory, const char *name, void *arg)
{
	const struct preparation *p = arg;
	_cleanup_(array_done) struct array from = {}, to = {}, base = {};
	_cleanup_close_ int base_fd = -1;
	int r;

	if (!kernel_limits_entries(p->limits, name))
		return 0;
	if ((r = array_open(directory, "", name, &from)) < 0 || (r = array_open(p->places->next, "", name, &to)) < 0)
		return error_set(p->err, r, "cannot copy '%s': %s", name, strerror(-r));
	if (!counted_by_map(name)) {
		memcpy(to.memory, from.memory, from.bytes);
		return 0;
	}
	base_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "w_base", 4, from.value_bytes, from.bytes / from.value_bytes,
				 &(struct bpf_map_create_opts){ .sz = sizeof(struct bpf_map_create_opts), .map_flags = BPF_F_MMAPABLE });
	r = base_fd < 0 ? base_fd : array_map(base_fd, &base);
	if (r < 0)
		return error_set(p->err, r, "cannot copy '%s': %s", name, strerror(-r));
	copy_words(&from, &base);
	memcpy(to.memory, base.memory, base.bytes);
	return next_pin(p, base_fd, BASE_PREFIX, name);
}

static int pin_drop(const char *directory, const char *name, void *arg)
{
	const char *prefix = arg;
	char path[PIN_PATH_BYTES];

	if (strncmp(name, prefix, strlen(prefix)) || path_of(path, directory, "", name) < 0)
		return 0;
	return unlink(path) < 0 ? -errno : 0; /* links live on by their other pin */
}

static int next_drop(const struct places *places)
{
	int r = each_pin(places->next, pin_drop, "");

	return r < 0 ? r : rmdir(places->next) < 0 ? -errno : 0;
}

/* --- programs change ---------------------------------------------------------------------------------------------------------- */

struct swap {
	const struct places *places;
	struct swapped {
		int link_fd, program_fd; /* what it ran before */
	} *done;
	size_t count;
	bool look_only;
	size_t swapped; /* that run new programs already */
	struct error *err;
};

static void swap_done(struct swap *swap)
{
	for (size_t i = 0; i < swap->count; i++) {
		fd_close(swap->done[i].link_fd);
		fd_close(swap->done[i].program_fd);
	}
	free(swap->done);
}

static bool is_link(int fd)
{
	char path[64], target[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	return length > 0 && (target[length] = '\0', strstr(target, "bpf_link") || strstr(target, "bpf-link"));
}

static int program_info(int fd, struct bpf_prog_info *ret_info)
{
	__u32 size = sizeof(*ret_info);

	*ret_info = (struct bpf_prog_info){};
	return bpf_obj_get_info_by_fd(fd, ret_info, &size) < 0 ? -errno : 0;
}

/* Gives the link, whatever it is attached to, the new program of the same name. */
static int link_swap(const char *directory, const char *name, void *arg)
{
	struct swap *swap = arg;
	_cleanup_close_ int link_fd = pin_open(directory, "", name), old_fd = -1, new_fd = -1;
	struct bpf_link_info link = {};
	struct bpf_prog_info old, new;
	__u32 size = sizeof(link);
	struct swapped *done;
	int r;

	if (is_of_programs(directory, name) || link_fd < 0 || !is_link(link_fd) || bpf_obj_get_info_by_fd(link_fd, &link, &size) < 0)
		return 0;
	old_fd = bpf_prog_get_fd_by_id(link.prog_id);
	if (old_fd < 0 || program_info(old_fd, &old) < 0)
		return 0; /* dead: its cgroup or device is gone */
	new_fd = pin_open(swap->places->next, SWAP_PREFIX, old.name);
	if (new_fd < 0)
		return 0;
	r = program_info(new_fd, &new);
	if (r < 0)
		return r;
	if (old.id == new.id) {
		swap->swapped++;
		return 0;
	}
	if (swap->look_only)
		return 0;
	done = reallocarray(swap->done, swap->count + 1, sizeof(*done));
	if (!done)
		return error_set(swap->err, -ENOMEM, "no memory to note which links have new programs");
	swap->done = done;
	if (bpf_link_update(link_fd, new_fd, NULL) < 0) {
		if (errno == ENOLINK)
			return 0; /* dead, as above */
		return error_set(swap->err, -errno, "cannot replace the program of '%s': %m", name);
	}
	swap->done[swap->count].link_fd = TAKE_FD(link_fd);
	swap->done[swap->count++].program_fd = TAKE_FD(old_fd);
	return 0;
}

static int swap_back(struct swap *swap, int r)
{
	for (size_t i = swap->count; i-- > 0;)
		bpf_link_update(swap->done[i].link_fd, swap->done[i].program_fd, NULL);
	if (grace_wait() >= 0 && carry(swap->places->next, swap->places->live) >= 0)
		next_drop(swap->places);
	return r;
}

/* From here on it goes forward: what is left undone by a failure, or by a kill, is done by grow_recover(). Most is carried over at
 * once, since open counts are compared with limits. */
static int exchange(const struct places *places, struct error *err)
{
	const int r = carry(places->live, places->next);

	if (r < 0)
		return error_set(err, r, "cannot carry counters over: %s; `weft-loader upgrade` tries again", strerror(-r));
	if (renameat2(AT_FDCWD, places->next, AT_FDCWD, places->live, RENAME_EXCHANGE) < 0)
		return error_set(err, -errno, "cannot exchange '%s': %m; `weft-loader upgrade` tries again", places->live);
	return 0;
}

/* After the exchange: filters of devices, which have no link, what is still counted by programs that run, and the smaller set. What is
 * needed to do it again goes in that order. */
static int finish(const struct places *places, struct error *err)
{
	int r = devices_refresh(places->live, err);

	if (r < 0)
		return r;
	if ((r = grace_wait()) < 0 || (r = carry(places->next, places->live)) < 0)
		return error_set(err, r, "cannot carry counters over: %s; `weft-loader upgrade` tries again", strerror(-r));
	r = each_pin(places->live, pin_drop, BASE_PREFIX);
	if (r >= 0)
		r = next_drop(places);
	if (r >= 0 || r == -ENOENT)
		r = each_pin(places->live, pin_drop, SWAP_PREFIX);
	return r < 0 ? error_set(err, r, "cannot remove the pins of smaller tables: %s", strerror(-r)) : 0;
}

static int links_swap(struct swap *swap)
{
	return each_pin(swap->places->live, link_swap, swap);
}

static int prepare(const struct places *places, const struct kernel_limits *limits, struct error *err)
{
	_cleanup_(object_done) struct object object = {};
	struct preparation p = { .places = places, .object = &object, .limits = limits, .err = err };
	int r = object_load(places->live, limits, &object, err);

	if (r < 0)
		return r;
	if (mkdir(places->next, 0700) < 0)
		return error_set(err, -errno, "cannot make '%s': %m", places->next);
	r = each_pin(places->live, pin_prepare, &p);
	if (r >= 0)
		r = maps_add(&p);
	if (r >= 0)
		r = programs_prepare(&p);
	if (r >= 0)
		r = each_pin(places->live, copy_array, &p);
	return r;
}

static int is_larger(const struct places *places, const struct kernel_limits *limits, struct error *err)
{
	_cleanup_close_ int fd = pin_open(places->live, "", "w_object");
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return error_set(err, fd < 0 ? fd : -errno, "cannot inspect the map 'w_object' of the instance");
	return limits->objects > info.max_entries;
}

int grow(const char *directory, uint32_t services, struct error *err)
{
	_cleanup_(swap_done) struct swap swap = { .err = err };
	struct kernel_limits limits;
	struct places places;
	int r;

	places_init(&places, directory);
	kernel_limits_for(services, &limits);
	r = is_larger(&places, &limits, err);
	if (r < 0)
		return r;
	if (r == 0)
		return error_set(err, -EALREADY, "the tables are made for as many services already");
	r = prepare(&places, &limits, err);
	if (r < 0) {
		next_drop(&places);
		return r;
	}
	swap.places = &places;
	r = links_swap(&swap);
	if (r < 0)
		return swap_back(&swap, r);
	r = exchange(&places, err);
	return r < 0 ? r : finish(&places, err);
}

bool grow_is_half_done(const char *directory)
{
	struct places places;

	places_init(&places, directory);
	return access(places.next, F_OK) == 0 || pin_exists(directory, SWAP_PREFIX, "connect4");
}

/* The last thing that is made before programs change. */
static bool is_prepared(const struct places *places)
{
	bool prepared = true;

	for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
		prepared &= pin_exists(places->next, BASE_PREFIX, counted[i].map);
	return prepared;
}

int grow_recover(const char *directory, struct error *err)
{
	struct places places;
	_cleanup_(swap_done) struct swap swap = { .places = &places, .err = err };
	struct swap look = { .places = &places, .look_only = true, .err = err };
	int r;

	places_init(&places, directory);
	if (!grow_is_half_done(directory))
		return 0;
	if (!pin_exists(directory, SWAP_PREFIX, "connect4")) { /* the directories have not changed places */
		r = is_prepared(&places) ? each_pin(directory, link_swap, &look) : 0;
		if (r >= 0 && !look.swapped) {
			r = next_drop(&places);
			return r < 0 ? error_set(err, r, "cannot remove '%s': %s", places.next, strerror(-r)) : 0;
		}
		if (r < 0 || (r = links_swap(&swap)) < 0 || (r = exchange(&places, err)) < 0)
			return r;
	}
	return finish(&places, err);
}
