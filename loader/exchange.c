/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/exchange.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loader/device.h"
#include "loader/hooks.h"
#include "loader/lock.h"
#include "loader/lookup.h"
#include "loader/object.h"
#include "loader/pins.h"
#include "loader/takeover.h"
#include "maps/generation.h"

#define SWAP_PREFIX "swap_" /* programs of the second set, for the links that have those of the first */
#define MAP_PREFIX "w_"
#define LINK_PREFIX "link_"
#define LAST_MADE "connect6" /* of those: the last hook */
#define LAST_DROPPED "sock_release" /* the last in the order of names */

struct places {
	const char *live;
	char next[PIN_PATH_BYTES];
};

static void places_init(struct places *places, const char *directory)
{
	const char *name = strrchr(directory, '/') + 1;

	places->live = directory;
	snprintf(places->next, sizeof(places->next), "%.*s" EXCHANGE_PREFIX "%s", (int)(name - directory), directory, name);
}

static void cleanup_takeover(struct takeover **takeover)
{
	takeover_free(*takeover);
}

/* --- the second set of pins -------------------------------------------------------------------------------------------------- */

struct preparation {
	const struct places *places;
	const struct object *object;
	struct error *err;
};

static int pin_link(const struct preparation *p, const char *name)
{
	char from[PIN_PATH_BYTES], to[PIN_PATH_BYTES];

	if (pin_path(from, p->places->live, "", name) < 0 || pin_path(to, p->places->next, "", name) < 0)
		return error_set(p->err, -ENAMETOOLONG, "'%s/%s' is not weft's", p->places->live, name);
	return link(from, to) < 0 ? error_set(p->err, -errno, "cannot link '%s': %m", from) : 0;
}

/* One that stays keeps its inode as well, by which weft-proxy knows that it is not uninstalled. */
static int map_prepare(const struct preparation *p, const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	_cleanup_close_ int live_fd = pin_open(p->places->live, "", name);

	if (!object_pins(p->object, map))
		return 0;
	return map_id(live_fd) == map_id(bpf_map__fd(map)) ? pin_link(p, name) :
							     pin_make(bpf_map__fd(map), p->places->next, "", name, p->err);
}

/* Maps of this build, those that stay among them. */
static int maps_prepare(const struct preparation *p)
{
	const struct bpf_map *map;
	int r = 0;

	bpf_object__for_each_map(map, p->object->bpf)
		if (r >= 0)
			r = map_prepare(p, map);
	return r;
}

static const struct hook *hook_by_pin(const char *name)
{
	char path[PIN_PATH_BYTES];

	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		hook_pin(hook, "", path);
		if (!strcmp(strrchr(path, '/') + 1, name))
			return hook;
	}
	return NULL;
}

/* A link to an attachment that goes on: of a hook that this build has, of a device, or of a namespace. */
static bool goes_on(const char *directory, const char *name)
{
	const struct hook *hook = hook_by_pin(name);

	if (hook)
		return hook->type == HOOK_CGROUP;
	return strncmp(name, MAP_PREFIX, strlen(MAP_PREFIX)) && strncmp(name, LINK_PREFIX, strlen(LINK_PREFIX)) &&
	       pin_is_link(directory, name);
}

static int link_prepare(const char *directory, const char *name, void *arg)
{
	return goes_on(directory, name) ? pin_link(arg, name) : 0;
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
		r = hook->type == HOOK_CGROUP ? 0 :
			pin_make(link_fd < 0 ? program_fd : link_fd, p->places->next, "", strrchr(path, '/') + 1, p->err);
		if (r == 0)
			r = pin_make(program_fd, p->places->next, SWAP_PREFIX, hook->name, p->err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The pins of programs come last, and of those that of LAST_MADE: where it is, all is there. */
static int prepare(const struct places *places, const struct kernel_limits *limits, struct error *err)
{
	_cleanup_(object_done) struct object object = {};
	_cleanup_(cleanup_takeover) struct takeover *takeover = NULL;
	struct preparation p = { .places = places, .object = &object, .err = err };
	int r = object_load_beside(places->live, limits, &object, err);

	if (r < 0)
		return r;
	if (mkdir(places->next, 0700) < 0)
		return error_set(err, -errno, "cannot make '%s': %m", places->next);
	if ((r = maps_prepare(&p)) < 0 || (r = pin_each(places->live, link_prepare, &p)) < 0 ||
	    (r = takeover_new(places->live, places->next, &takeover, err)) < 0 || (r = takeover_copy(takeover, err)) < 0)
		return r;
	return programs_prepare(&p);
}

static bool is_prepared(const struct places *places)
{
	return pin_exists(places->next, SWAP_PREFIX, LAST_MADE);
}

static bool is_exchanged(const struct places *places)
{
	return pin_exists(places->live, SWAP_PREFIX, LAST_DROPPED);
}

/* What is attached by a hook that the other set does not have ends with its pin. */
static int pin_end(const char *directory, const char *name, void *arg)
{
	const struct places *places = arg;
	char path[PIN_PATH_BYTES];

	if (strncmp(name, LINK_PREFIX, strlen(LINK_PREFIX)) || pin_exists(places->live, "", name) || pin_path(path, directory, "", name) < 0)
		return 0;
	return pin_remove(path);
}

static int next_drop(const struct places *places)
{
	int r = pin_drop_all(places->next, "");

	return r < 0 ? r : rmdir(places->next) < 0 ? -errno : 0;
}

/* --- programs change ---------------------------------------------------------------------------------------------------------- */

struct swap {
	const struct places *places;
	bool look_only;
	size_t swapped; /* that run new programs already */
	struct error *err;
};

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
	_cleanup_close_ int link_fd = goes_on(directory, name) ? pin_open(directory, "", name) : -1, old_fd = -1, new_fd = -1;
	struct bpf_link_info link = {};
	struct bpf_prog_info old, new;
	__u32 size = sizeof(link);
	int r;

	if (link_fd < 0 || bpf_obj_get_info_by_fd(link_fd, &link, &size) < 0)
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
	if (swap->look_only || bpf_link_update(link_fd, new_fd, NULL) == 0 || errno == ENOLINK) /* dead, as above */
		return 0;
	return error_set(swap->err, -errno, "cannot replace the program of '%s': %m; `weft-loader upgrade` tries again", name);
}

/* In the order of the hooks: the programs that end accounts look for those of the former build, which knows nothing of ours. */
static int links_swap(struct swap *swap)
{
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		char path[PIN_PATH_BYTES];
		int r;

		hook_pin(hook, swap->places->live, path);
		r = link_swap(swap->places->live, strrchr(path, '/') + 1, swap);
		if (r < 0)
			return r;
	}
	return pin_each(swap->places->live, link_swap, swap);
}

/* Counts are carried over at once, since open ones are compared with limits. */
static int change_places(const struct places *places, struct error *err)
{
	_cleanup_(cleanup_takeover) struct takeover *takeover = NULL;
	int r = takeover_new(places->live, places->next, &takeover, err);

	if (r < 0 || (r = takeover_counts(takeover, err)) < 0)
		return r;
	if (renameat2(AT_FDCWD, places->next, AT_FDCWD, places->live, RENAME_EXCHANGE) < 0)
		return error_set(err, -errno, "cannot exchange '%s': %m; `weft-loader upgrade` tries again", places->live);
	return 0;
}

static int former_programs_wait(struct error *err)
{
	const int r = grace_wait();

	return r < 0 ? error_set(err, r, "cannot wait for programs to end: %s; `weft-loader upgrade` tries again", strerror(-r)) : 0;
}

/* Connections without a local socket stand still until then, so this comes first. */
static int edge_carry(const struct places *places, struct error *err)
{
	_cleanup_(cleanup_takeover) struct takeover *takeover = NULL;
	int r;

	if (access(places->next, F_OK) < 0)
		return 0;
	if ((r = former_programs_wait(err)) < 0 || (r = takeover_new(places->next, places->live, &takeover, err)) < 0)
		return r;
	return takeover_edge(takeover, err);
}

/* After that: filters of devices, which have no link; the programs of namespaces, which are each their own; what is left in the former
 * maps; and those maps. What is needed to do it again goes in that order. */
static int finish(const struct places *places, struct error *err)
{
	_cleanup_(cleanup_takeover) struct takeover *takeover = NULL;
	int r = devices_refresh(places->live, err);

	if (r < 0 || (r = edge_carry(places, err)) < 0 || (r = lookup_refresh(places->live, err)) < 0 || access(places->next, F_OK) < 0)
		return r;
	if ((r = former_programs_wait(err)) < 0)
		return r;
	if ((r = takeover_new(places->next, places->live, &takeover, err)) < 0 || (r = takeover_complete(takeover, err)) < 0)
		return r;
	if ((r = pin_drop_all(places->live, TAKEOVER_BASE_PREFIX)) < 0 || (r = pin_each(places->next, pin_end, (void *)places)) < 0 ||
	    (r = next_drop(places)) < 0)
		return error_set(err, r, "cannot remove the pins of former maps: %s", strerror(-r));
	return 0;
}

static int complete(const struct places *places, struct error *err)
{
	int r = finish(places, err);

	if (r < 0)
		return r;
	r = pin_drop_all(places->live, SWAP_PREFIX);
	return r < 0 ? error_set(err, r, "cannot remove the pins of programs: %s", strerror(-r)) : 0;
}

int exchange(const char *directory, const struct kernel_limits *limits, struct error *err)
{
	struct places places;
	struct swap swap = { .places = &places, .err = err };
	int r;

	places_init(&places, directory);
	r = prepare(&places, limits, err);
	if (r < 0) {
		next_drop(&places);
		return r;
	}
	if ((r = links_swap(&swap)) < 0 || (r = change_places(&places, err)) < 0)
		return r;
	return complete(&places, err);
}

bool exchange_is_half_done(const char *directory)
{
	struct places places;

	places_init(&places, directory);
	return access(places.next, F_OK) == 0 || is_exchanged(&places);
}

/* Numbers that were added, and what a program gets to add them, have the meaning of the build that began. */
static int build_check(const char *directory, struct error *err)
{
	const int differs = object_compare(directory, err);

	if (differs <= 0)
		return differs;
	return error_set(err, -EPROTO, "another build of weft-loader was killed in the midst of an upgrade to it: its `weft-loader upgrade` "
			 "completes that");
}

int exchange_recover(const char *directory, const char *instance, struct error *err)
{
	_cleanup_close_ int agent_fd = -1;
	struct places places;
	struct swap swap = { .places = &places, .err = err }, look = { .places = &places, .look_only = true, .err = err };
	int r;

	places_init(&places, directory);
	if (!exchange_is_half_done(directory))
		return 0;
	r = lock_take_agent(instance, &agent_fd, err);
	if (r < 0)
		return r;
	if (is_exchanged(&places)) {
		r = build_check(places.live, err);
		return r < 0 ? r : complete(&places, err);
	}
	r = is_prepared(&places) ? links_swap(&look) : 0;
	if (r >= 0 && !look.swapped) {
		r = next_drop(&places);
		return r < 0 ? error_set(err, r, "cannot remove '%s': %s", places.next, strerror(-r)) : 0;
	}
	if (r < 0 || (r = build_check(places.next, err)) < 0 || (r = links_swap(&swap)) < 0 || (r = change_places(&places, err)) < 0)
		return r;
	return complete(&places, err);
}
