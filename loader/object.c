/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/object.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "loader/hooks.h"
#include "loader/loader.h"
#include "weft.skel.h"

#define HOOK_BIT(hook) (1u << ((hook)-hooks))
#define ALL_HOOKS ((1u << HOOK_COUNT) - 1)

static struct {
	bool known;
	char tags[HOOK_COUNT][PROGRAM_TAG_BYTES];
} build;
static char last_log[4096]; /* the end of it: a verifier log names its cause last */

const char *loader_log(void)
{
	return last_log;
}

static int log_capture(enum libbpf_print_level level, const char *format, va_list arguments)
{
	_cleanup_free_ char *text = NULL;
	size_t held = strlen(last_log), room = sizeof(last_log) - 1;
	int length;

	if (level != LIBBPF_WARN || (length = vasprintf(&text, format, arguments)) < 0)
		return 0;
	if ((size_t)length > room) {
		memcpy(last_log, text + length - room, room + 1);
	} else {
		size_t drop = held + length > room ? held + length - room : 0;

		memmove(last_log, last_log + drop, held - drop);
		memcpy(last_log + held - drop, text, length + 1);
	}
	return 0;
}

static void cleanup_object(struct bpf_object **object)
{
	bpf_object__close(*object);
}

/* Gives the map the pinned one, when there is one and it is the same kind of map. `least` is for maps whose size is chosen, 0 for the
 * others: one that has fewer entries is left alone, and a new one gets so many. */
static int map_reuse(struct bpf_map *map, const char *directory, uint32_t least, struct error *err)
{
	char path[PIN_PATH_BYTES];
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	snprintf(path, sizeof(path), "%s/%s", directory, bpf_map__name(map));
	fd = bpf_obj_get(path);
	if (fd < 0 && errno != ENOENT)
		return error_set(err, -errno, "cannot open pinned map '%s': %m", path);
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return error_set(err, -errno, "cannot inspect pinned map '%s': %m", path);
	if (fd >= 0 &&
	    (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
	     info.value_size != bpf_map__value_size(map) || (!least && info.max_entries != bpf_map__max_entries(map)) ||
	     info.map_flags != bpf_map__map_flags(map)))
		return error_set(err, -EPROTO, "pinned map '%s' has the layout of another version: uninstall, then install",
				 path);
	if (fd < 0 || info.max_entries < least)
		return least && bpf_map__set_max_entries(map, least) < 0 ? error_set(err, -errno, "cannot size map '%s': %m", path) : 0;
	if (bpf_map__reuse_fd(map, fd) < 0)
		return error_set(err, -errno, "cannot use pinned map '%s' again: %m", path);
	return 0;
}

/* Ready to load: all maps, and of the programs those of the hooks in the bit set `wanted`. */
static int object_open(const char *directory, const struct kernel_limits *limits, unsigned wanted, struct bpf_object **ret_object, struct error *err)
{
	_cleanup_(cleanup_object) struct bpf_object *object = NULL;
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weft_bpf");
	struct bpf_program *program;
	struct bpf_map *map;
	unsigned found = 0;
	size_t size;
	const void *elf = weft_bpf__elf_bytes(&size);

	object = bpf_object__open_mem(elf, size, &options);
	if (!object)
		return error_set(err, -errno, "cannot read the BPF object of this build: %m");
	bpf_object__for_each_program(program, object) {
		const struct hook *hook = hook_by_name(bpf_program__name(program));
		unsigned bit = hook ? HOOK_BIT(hook) : 0;

		found |= bit;
		bpf_program__set_autoload(program, wanted & bit);
	}
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++)
		if (!(found & HOOK_BIT(hook)))
			return error_set(err, -EINVAL, "the BPF object of this build has no program '%s'", hook->name);
	bpf_object__for_each_map(map, object) {
		int r = bpf_map__is_internal(map) ? 0 :
			map_reuse(map, directory, kernel_limits_entries(limits, bpf_map__name(map)), err);

		if (r < 0)
			return r;
	}
	*ret_object = TAKE_PTR(object);
	return 0;
}

static int object_start(struct bpf_object *object)
{
	libbpf_print_fn_t print;
	int r;

	last_log[0] = '\0';
	print = libbpf_set_print(log_capture);
	r = bpf_object__load(object);
	libbpf_set_print(print);
	if (r == 0)
		last_log[0] = '\0';
	return r;
}

/* Something was refused: asks one by one what it is, and gives the hooks that the kernel takes. */
static int object_probe(const char *directory, const struct kernel_limits *limits, unsigned *ret_usable, struct error *err)
{
	unsigned usable = 0;
	_cleanup_(cleanup_object) struct bpf_object *maps = NULL;
	int r = object_open(directory, limits, 0, &maps, err);

	if (r < 0)
		return r;
	r = object_start(maps);
	if (r < 0)
		return error_set(err, r, "cannot make the maps: %s", strerror(-r));
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		_cleanup_(cleanup_object) struct bpf_object *object = NULL;

		r = object_open(directory, limits, HOOK_BIT(hook), &object, err);
		if (r < 0)
			return r;
		r = object_start(object);
		if (r < 0 && hook->required)
			return error_set(err, -EOPNOTSUPP, "the kernel does not take the program '%s' (%s): %s", hook->name,
					 hook->purpose, strerror(-r));
		usable |= r == 0 ? HOOK_BIT(hook) : 0;
	}
	*ret_usable = usable;
	return 0;
}

int program_tag(int program_fd, char ret_tag[PROGRAM_TAG_BYTES])
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(info.tag); i++)
		snprintf(ret_tag + 2 * i, 3, "%02x", info.tag[i]);
	return 0;
}

const char *object_build_tag(size_t index)
{
	return build.known ? build.tags[index] : NULL;
}

static int tags_note(const struct object *object)
{
	for (size_t i = 0; i < HOOK_COUNT; i++) {
		int fd = object_program_fd(object, hooks[i].name);
		int r = fd < 0 ? 0 : program_tag(fd, build.tags[i]);

		if (r < 0)
			return r;
	}
	build.known = true;
	return 0;
}

/* All programs, or without the optional ones that the kernel does not take. */
static int object_load_usable(const char *directory, const struct kernel_limits *limits, struct bpf_object **ret_object, struct error *err)
{
	_cleanup_(cleanup_object) struct bpf_object *all = NULL, *usable = NULL;
	unsigned hooks_usable = 0;
	int r = object_open(directory, limits, ALL_HOOKS, &all, err);

	if (r < 0)
		return r;
	if (object_start(all) == 0) {
		*ret_object = TAKE_PTR(all);
		return 0;
	}
	if ((r = object_probe(directory, limits, &hooks_usable, err)) < 0 ||
	    (r = object_open(directory, limits, hooks_usable, &usable, err)) < 0)
		return r;
	r = object_start(usable);
	if (r < 0)
		return error_set(err, r, "cannot load: %s", strerror(-r));
	*ret_object = TAKE_PTR(usable);
	return 0;
}

int object_load(const char *directory, const struct kernel_limits *limits, struct object *ret_object, struct error *err)
{
	_cleanup_(object_done) struct object object = {};
	int r = object_load_usable(directory, limits, &object.bpf, err);

	if (r < 0)
		return r;
	r = tags_note(&object);
	if (r < 0)
		return error_set(err, r, "cannot inspect the programs: %s", strerror(-r));
	ret_object->bpf = TAKE_PTR(object.bpf);
	return 0;
}

void object_done(struct object *object)
{
	bpf_object__close(object->bpf);
	object->bpf = NULL;
}

int object_program_fd(const struct object *object, const char *name)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(object->bpf, name);
	int fd = program ? bpf_program__fd(program) : -ENOENT;

	return fd < 0 ? -ENOENT : fd;
}
