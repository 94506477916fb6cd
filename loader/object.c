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
#include "loader/numbers.h"
#include "loader/pins.h"
#include "loader/map_shape.h"
#include "loader/takeover.h"
#include "maps/abi/upgrade.h"
#include "weft.skel.h"

#define ACCOUNTS "w_account"
#define NEAR_ACCOUNTS_MAP "w_account_near"
#define FORMER_ACCOUNTS "former_accounts"
#define FORMER_NEAR "former_near"
#define EDGE_CONNECTIONS "w_edge"

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

/* What is to be opened. */
struct opening {
	const char *directory;
	const struct kernel_limits *limits;
	bool beside; /* maps that are not as they should be are made anew */
	unsigned wanted; /* programs: those of the hooks in this bit set */
	bool differs; /* out: some map has another layout */
	struct bpf_map *former, *former_near; /* out: of the object; libbpf gives them the names of the maps that they are given */
};

bool object_pins(const struct object *object, const struct bpf_map *map)
{
	return !bpf_map__is_internal(map) && map != object->former && map != object->former_near;
}

/* What a ring buffer holds: it has no type of its own. */
static const struct {
	const char *map, *record;
} rings[] = { { "w_flow", "flow_record" }, { "w_exec", "exec_record" } };

/* Whoever made maps before there was w_layout had other records. */
static bool records_are_same(const struct opening *o, const struct bpf_object *object, const char *map)
{
	_cleanup_close_ int fd = pin_open(o->directory, "", "w_layout");
	_cleanup_(map_shape_done) struct map_shape pinned = {};
	_cleanup_(type_layout_done) struct type_layout from = {}, to = {};
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};
	const struct btf *btf = bpf_object__btf(object);
	const char *record = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(rings); i++)
		if (!strcmp(map, rings[i].map))
			record = rings[i].record;
	if (!record || fd < 0 || map_shape_of_fd(fd, &pinned, NULL) < 0 || !pinned.btf)
		return false;
	return type_layout_read(pinned.btf, btf__find_by_name_kind(pinned.btf, record, BTF_KIND_STRUCT), &from, NULL) == 0 &&
	       type_layout_read(btf, btf__find_by_name_kind(btf, record, BTF_KIND_STRUCT), &to, NULL) == 0 &&
	       layout_conversion_make(&from, &to, &conversion, NULL) == 0 && conversion.same;
}

/* Reasons are the first thing that a program counts, so every build has w_reason; its BTF is that of all its programs. */
static int meanings_check(const struct opening *o, const struct bpf_object *object, struct error *err)
{
	_cleanup_close_ int fd = pin_open(o->directory, "", pin_exists(o->directory, "", "w_layout") ? "w_layout" : "w_reason");
	_cleanup_(map_shape_done) struct map_shape pinned = {};
	int r = fd < 0 ? 0 : map_shape_of_fd(fd, &pinned, err);

	return r < 0 || !pinned.btf ? r : numbers_check(pinned.btf, bpf_object__btf(object), err);
}

/* What the programs that take over know of the former build; NULL: there is no place for it. */
static struct former_account *former_of(const struct bpf_object *object)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata");
	size_t size = 0;
	void *former = constants ? (void *)bpf_map__initial_value(constants, &size) : NULL;

	return size < sizeof(struct former_account) ? NULL : former;
}

/* Each byte of an account of this build, of one that is so long. */
static void former_read_by(struct former_account *former, const struct layout_conversion *conversion, uint32_t bytes)
{
	former->bytes = bytes;
	memset(former->from, FORMER_NONE, sizeof(former->from));
	for (size_t i = 0; i < conversion->count; i++) {
		const struct layout_step *step = &conversion->steps[i];

		for (uint32_t n = 0; n < step->count; n++)
			for (uint32_t byte = 0; byte < step->from_bytes; byte++) {
				const uint32_t to = step->to + n * step->to_bytes + byte;

				if (to < sizeof(former->from)) /* what is beyond is the owner's */
					former->from[to] = step->from + n * step->from_bytes + byte;
			}
	}
}

/* The programs that take over find accounts of the former layout, in the map that is `fd`. */
static int former_accounts_use(struct opening *o, const struct bpf_object *object, const char *name, const struct relation *relation, int fd,
			       struct error *err)
{
	const bool near = !strcmp(name, NEAR_ACCOUNTS_MAP);
	struct bpf_map *accounts = near ? o->former_near : o->former;
	const struct layout_conversion *conversion = &relation->value;
	struct former_account *former = former_of(object);

	if (!accounts || !former || conversion->to_bytes > (near ? sizeof(struct near_account) : sizeof(former->from)))
		return error_set(err, -EINVAL, "the BPF object of this build has no place for accounts of another");
	if (near) {
		former->near_entries = relation->from_entries;
		former->near_owner = layout_conversion_source(conversion, "owner", 8); /* takeover_check() */
		former_read_by(former, conversion, former->near_owner);
	} else {
		former->in_table = 1;
		former_read_by(former, conversion, conversion->from_bytes);
	}
	return bpf_map__reuse_fd(accounts, fd) < 0 ? error_set(err, -errno, "cannot use the former accounts: %m") : 0;
}

static int map_reuse(struct opening *o, const struct bpf_object *object, struct bpf_map *map, struct error *err)
{
	const char *name = bpf_map__name(map);
	const uint32_t least = kernel_limits_entries(o->limits, name); /* 0: its size is fixed */
	_cleanup_close_ int fd = pin_open(o->directory, "", name);
	_cleanup_(map_shape_done) struct map_shape pinned = {}, built = {};
	_cleanup_(relation_done) struct relation relation = {};
	bool same, usable;
	int r;

	if (fd < 0 && fd != -ENOENT)
		return error_set(err, fd, "cannot open the pinned map '%s': %s", name, strerror(-fd));
	if (least && bpf_map__set_max_entries(map, least) < 0)
		return error_set(err, -errno, "cannot size map '%s': %m", name);
	if (fd < 0 || (o->beside && takeover_remakes(name)))
		return 0;
	map_shape_of_build(object, map, &built);
	if ((r = map_shape_of_fd(fd, &pinned, err)) < 0 || (r = relation_make(&pinned, &built, &relation, err)) < 0)
		return r;
	same = relation.same && (least || pinned.entries == built.entries) &&
	       (built.type != BPF_MAP_TYPE_RINGBUF || records_are_same(o, object, name));
	usable = same && (!o->beside || pinned.entries >= built.entries);
	o->differs |= !same;
	if (!same && !o->beside)
		return error_set(err, -EPROTO, "pinned map '%s' has the layout of another build", name);
	if (usable)
		return bpf_map__reuse_fd(map, fd) < 0 ? error_set(err, -errno, "cannot use pinned map '%s' again: %m", name) : 0;
	r = takeover_check(o->directory, &pinned, &built, &relation, err);
	if (r == 0 && (!strcmp(name, ACCOUNTS) || !strcmp(name, NEAR_ACCOUNTS_MAP)))
		r = former_accounts_use(o, object, name, &relation, fd, err);
	if (r == 0 && !same && !strcmp(name, EDGE_CONNECTIONS) && former_of(object))
		former_of(object)->edge_waits = pinned.id;
	return r;
}

/* Ready to load: all maps, and the programs that are wanted. */
static int object_open(struct opening *o, struct bpf_object **ret_object, struct error *err)
{
	_cleanup_(cleanup_object) struct bpf_object *object = NULL;
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weft_bpf");
	struct bpf_program *program;
	struct bpf_map *map;
	unsigned found = 0;
	size_t size;
	const void *elf = weft_bpf__elf_bytes(&size);
	int r;

	object = bpf_object__open_mem(elf, size, &options);
	if (!object)
		return error_set(err, -errno, "cannot read the BPF object of this build: %m");
	bpf_object__for_each_program(program, object) {
		const struct hook *hook = hook_by_name(bpf_program__name(program));
		unsigned bit = hook ? HOOK_BIT(hook) : 0;

		found |= bit;
		bpf_program__set_autoload(program, o->wanted & bit);
	}
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++)
		if (!(found & HOOK_BIT(hook)))
			return error_set(err, -EINVAL, "the BPF object of this build has no program '%s'", hook->name);
	r = meanings_check(o, object, err);
	if (r < 0)
		return r;
	o->former = bpf_object__find_map_by_name(object, FORMER_ACCOUNTS);
	o->former_near = bpf_object__find_map_by_name(object, FORMER_NEAR);
	bpf_object__for_each_map(map, object) {
		r = !bpf_map__is_internal(map) && map != o->former && map != o->former_near ? map_reuse(o, object, map, err) : 0;

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
static int object_probe(struct opening *o, unsigned *ret_usable, struct error *err)
{
	unsigned usable = 0;
	_cleanup_(cleanup_object) struct bpf_object *maps = NULL;
	int r;

	o->wanted = 0;
	r = object_open(o, &maps, err);

	if (r < 0)
		return r;
	r = object_start(maps);
	if (r < 0)
		return error_set(err, r, "cannot make the maps: %s", strerror(-r));
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		_cleanup_(cleanup_object) struct bpf_object *object = NULL;

		o->wanted = HOOK_BIT(hook);
		r = object_open(o, &object, err);
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
static int object_load_usable(struct opening *o, struct bpf_object **ret_object, struct error *err)
{
	_cleanup_(cleanup_object) struct bpf_object *all = NULL, *usable = NULL;
	unsigned hooks_usable = 0;
	int r;

	o->wanted = ALL_HOOKS;
	r = object_open(o, &all, err);
	if (r < 0)
		return r;
	if (object_start(all) == 0) {
		*ret_object = TAKE_PTR(all);
		return 0;
	}
	r = object_probe(o, &hooks_usable, err);
	if (r < 0)
		return r;
	o->wanted = hooks_usable;
	r = object_open(o, &usable, err);
	if (r < 0)
		return r;
	r = object_start(usable);
	if (r < 0)
		return error_set(err, r, "cannot load: %s", strerror(-r));
	*ret_object = TAKE_PTR(usable);
	return 0;
}

static int load(struct opening *o, struct object *ret_object, struct error *err)
{
	_cleanup_(object_done) struct object object = {};
	int r = object_load_usable(o, &object.bpf, err);

	if (r < 0)
		return r;
	r = tags_note(&object);
	if (r < 0)
		return error_set(err, r, "cannot inspect the programs: %s", strerror(-r));
	ret_object->bpf = TAKE_PTR(object.bpf);
	ret_object->former = o->former;
	ret_object->former_near = o->former_near;
	return 0;
}

int object_load(const char *directory, const struct kernel_limits *limits, struct object *ret_object, struct error *err)
{
	return load(&(struct opening){ .directory = directory, .limits = limits }, ret_object, err);
}

int object_load_beside(const char *directory, const struct kernel_limits *limits, struct object *ret_object, struct error *err)
{
	return load(&(struct opening){ .directory = directory, .limits = limits, .beside = true }, ret_object, err);
}

int object_compare(const char *directory, struct error *err)
{
	_cleanup_(cleanup_object) struct bpf_object *object = NULL;
	struct kernel_limits largest;
	struct opening o = { .directory = directory, .limits = &largest, .beside = true };
	int r;

	kernel_limits_for(MAX_SERVICES, &largest);
	r = object_open(&o, &object, err);
	return r < 0 ? r : o.differs;
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
