/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "loader/device.h"
#include "loader/exchange.h"
#include "loader/hooks.h"
#include "loader/lock.h"
#include "loader/lookup.h"
#include "loader/object.h"
#include "loader/pins.h"
#include "loader/transaction.h"
#include "maps/abi/proxy.h"
#include "maps/abi/upgrade.h"
#include "maps/abi/version.h"
#include "maps/kernel.h"
#include "maps_layout.h"

#define BPFFS "/sys/fs/bpf"

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* The directory of one instance: PIN_ROOT/INSTANCE, above those of its ABIs. */
static void instance_directory(const char *pin_path, char directory[PIN_PATH_BYTES])
{
	snprintf(directory, PIN_PATH_BYTES, "%.*s", (int)(strrchr(pin_path, '/') - pin_path), pin_path);
}

static int bpffs_mount(struct error *err)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs) < 0)
		return error_set(err, errno == ENOENT ? -EOPNOTSUPP : -errno, "cannot use " BPFFS " (kernel without BPF?): %m");
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return error_set(err, -errno, "cannot mount bpffs on " BPFFS ": %m");
	return 0;
}

/* What there is of the instance before a change. */
struct presence {
	bool whole; /* every required hook is attached */
	bool any;
	uint64_t cgroup_id; /* where its links are; 0: none lives */
};

static int presence_read(const char *directory, struct presence *ret_presence, struct error *err)
{
	struct presence p = { .whole = true };

	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		struct hook_state state;
		int r = hook_inspect(hook, directory, &state, err);

		if (r < 0)
			return r;
		p.whole &= state.attached || !hook->required;
		p.any |= state.attached && hook->type == HOOK_CGROUP;
		if (state.cgroup_id)
			p.cgroup_id = state.cgroup_id;
	}
	*ret_presence = p;
	return 0;
}

/* Maps of two ABIs of one instance would be fed by one agent at most, while the hooks of both decide. */
static int other_abi_check(const char *pin_path, struct error *err)
{
	char directory[PIN_PATH_BYTES];
	_cleanup_(cleanup_dir) DIR *dir = NULL;
	const struct dirent *entry;

	instance_directory(pin_path, directory);
	dir = opendir(directory);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, strrchr(pin_path, '/') + 1) &&
		    strncmp(entry->d_name, EXCHANGE_PREFIX, strlen(EXCHANGE_PREFIX)))
			return error_set(err, -EPROTO, "'%s' holds the kernel part of another version (%s, this is abi%d): "
					 "uninstall, then install", directory, entry->d_name, MAPS_ABI);
	return 0;
}

/* The directory to attach to: what the links in place have, what was asked for, or the root of the hierarchy. */
static int cgroup_choose(const struct loader_options *options, uint64_t present_id, int *ret_fd, struct error *err)
{
	char root[256], path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	struct statfs fs;
	struct stat st;
	int r = cgroup_root(root, sizeof(root), err);

	if (r < 0)
		return r;
	if (options->cgroup)
		snprintf(path, sizeof(path), "%s", options->cgroup);
	else if (!present_id)
		snprintf(path, sizeof(path), "%s", root);
	else if ((r = cgroup_path_of_id(root, present_id, path, sizeof(path))) < 0)
		return error_set(err, r, "cannot find the cgroup with id %llu below '%s': %s", (unsigned long long)present_id,
				 root, strerror(-r));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return error_set_field(err, -errno, "cgroup", "cannot open '%s': %m", path);
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_set_field(err, -EINVAL, "cgroup", "'%s' is not in the cgroup2 hierarchy, which is at '%s'", path,
				       root);
	if (present_id && st.st_ino != present_id)
		return error_set_field(err, -EINVAL, "cgroup",
				       "the instance is attached to another cgroup than '%s': uninstall, then install there", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int maps_pin(const struct object *object, const char *directory, struct transaction *t, struct error *err)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object->bpf) {
		char path[PIN_PATH_BYTES];
		int r;

		snprintf(path, sizeof(path), "%s/%s", directory, bpf_map__name(map));
		if (!object_pins(object, map) || access(path, F_OK) == 0)
			continue; /* used again */
		r = transaction_pin(t, bpf_map__fd(map), path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool holds(const char *directory, const struct kernel_limits *limits)
{
	static const char *const arrays[] = {
#define X(symbol, member, map, per_service, multiple) map,
		ARRAY_TABLES(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		_cleanup_close_ int fd = pin_open(directory, "", arrays[i]);
		struct bpf_map_info info = {};
		__u32 size = sizeof(info);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.max_entries > kernel_limits_entries(limits, arrays[i]))
			return false;
	}
	return true;
}

/* The sizes of arrays that are made now: for as many services as those that are pinned already, or as were asked for. */
static int limits_choose(const struct loader_options *options, const char *directory, struct kernel_limits *ret_limits,
			 struct error *err)
{
	uint32_t services = pin_exists(directory, "", "w_object") ? SERVICES_STEP : options->services ?: DEFAULT_SERVICES;

	if (services > MAX_SERVICES)
		return error_set_field(err, -EINVAL, "services", "%u is more than %d", services, MAX_SERVICES);
	for (kernel_limits_for(services, ret_limits); !holds(directory, ret_limits); kernel_limits_for(services, ret_limits)) {
		services += SERVICES_STEP;
		if (services > MAX_SERVICES)
			return error_set(err, -EPROTO, "the tables in '%s' are larger than any of this build: uninstall, then install", directory);
	}
	return 0;
}

/* The agent of this build may use the maps from here on, and that of no other. */
static int layout_note(const char *directory, struct error *err)
{
	_cleanup_close_ int fd = pin_open(directory, "", "w_layout");
	const struct layout_note note = { .layout = MAPS_LAYOUT };
	const __u32 zero = 0;

	if (fd < 0 || bpf_map_update_elem(fd, &zero, &note, BPF_ANY) < 0)
		return error_set(err, fd < 0 ? fd : -errno, "cannot note whose maps are in '%s'", directory);
	return 0;
}

/* Loads, and puts everything in force. Hooks come last: from the first of them on, connections are decided. */
static int apply(const struct loader_options *options, const char *directory, uint64_t present_id, struct error *err)
{
	_cleanup_(transaction_done) struct transaction t = {};
	_cleanup_(object_done) struct object object = {};
	_cleanup_close_ int cgroup_fd = -1;
	struct kernel_limits limits;
	char instance[PIN_PATH_BYTES];
	int r = limits_choose(options, directory, &limits, err);

	if (r < 0 || (r = cgroup_choose(options, present_id, &cgroup_fd, err)) < 0)
		return r;
	r = object_load(directory, &limits, &object, err);
	if (r < 0)
		return r;
	instance_directory(directory, instance);
	if ((r = transaction_make_directory(&t, PIN_ROOT, err)) < 0 ||
	    (r = transaction_make_directory(&t, instance, err)) < 0 || (r = transaction_make_directory(&t, directory, err)) < 0)
		return r;
	r = maps_pin(&object, directory, &t, err);
	if (r < 0)
		return r;
	for (const struct hook *hook = hooks; hook < hooks + HOOK_COUNT; hook++) {
		r = hook_attach(hook, directory, &object, cgroup_fd, &t, err);
		if (r < 0 && (r != -EOPNOTSUPP || hook->required))
			return r;
	}
	r = layout_note(directory, err);
	if (r < 0)
		return r;
	transaction_commit(&t);
	r = devices_refresh(directory, err);
	return r < 0 ? r : lookup_refresh(directory, err);
}

/* Maps of another layout, before programs are replaced that go with those of this build. */
static int layout_change(const struct loader_options *options, const char *directory, struct error *err)
{
	_cleanup_close_ int agent_fd = -1;
	struct kernel_limits limits;
	int r = object_compare(directory, err);

	if (r <= 0)
		return r;
	if ((r = lock_take_agent(options->instance, &agent_fd, err)) < 0 || (r = limits_choose(options, directory, &limits, err)) < 0)
		return r;
	return exchange(directory, &limits, err);
}

int loader_install(const struct loader_options *options, struct error *err)
{
	_cleanup_close_ int lock_fd = -1;
	char directory[PIN_PATH_BYTES];
	struct presence present;
	int r = kernel_pin_path(options->instance, directory, sizeof(directory), err);

	if (r < 0 || (r = lock_take(options->instance, &lock_fd, err)) < 0 || (r = bpffs_mount(err)) < 0 ||
	    (r = other_abi_check(directory, err)) < 0 || (r = exchange_recover(directory, options->instance, err)) < 0 ||
	    (r = presence_read(directory, &present, err)) < 0)
		return r;
	if (present.whole)
		return error_set(err, -EEXIST, "instance '%s' is installed already: use `weft-loader upgrade --instance %s`",
				 options->instance, options->instance);
	pin_remove_staged(directory);
	return apply(options, directory, present.cgroup_id, err);
}

int loader_upgrade(const struct loader_options *options, struct error *err)
{
	_cleanup_close_ int lock_fd = -1;
	char directory[PIN_PATH_BYTES];
	struct presence present;
	int r = kernel_pin_path(options->instance, directory, sizeof(directory), err);

	if (r < 0 || (r = lock_take(options->instance, &lock_fd, err)) < 0 || (r = other_abi_check(directory, err)) < 0 ||
	    (r = exchange_recover(directory, options->instance, err)) < 0 || (r = presence_read(directory, &present, err)) < 0)
		return r;
	if (!present.any)
		return error_set(err, -ENOENT, "instance '%s' is not installed: use `weft-loader install --instance %s`",
				 options->instance, options->instance);
	pin_remove_staged(directory);
	r = layout_change(options, directory, err);
	return r < 0 ? r : apply(options, directory, present.cgroup_id, err);
}

/* -EALREADY where no array would be larger. */
static int larger_limits(const char *directory, uint32_t services, struct kernel_limits *ret_limits, struct error *err)
{
	_cleanup_close_ int fd = pin_open(directory, "", "w_service");
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return error_set(err, fd < 0 ? fd : -errno, "cannot inspect the map 'w_service' of the instance");
	kernel_limits_for(services, ret_limits);
	return ret_limits->services > info.max_entries ? 0 : error_set(err, -EALREADY, "the tables are made for as many services already");
}

int loader_grow(const struct loader_options *options, struct error *err)
{
	_cleanup_close_ int lock_fd = -1, agent_fd = -1;
	char directory[PIN_PATH_BYTES];
	struct presence present;
	struct kernel_limits limits;
	int r = kernel_pin_path(options->instance, directory, sizeof(directory), err);

	if (!options->services || options->services > MAX_SERVICES)
		return error_set_field(err, -EINVAL, "services", "%u is not from 1 to %d", options->services, MAX_SERVICES);
	if (r < 0 || (r = lock_take(options->instance, &lock_fd, err)) < 0 || (r = other_abi_check(directory, err)) < 0 ||
	    (r = exchange_recover(directory, options->instance, err)) < 0 || (r = lock_take_agent(options->instance, &agent_fd, err)) < 0 ||
	    (r = presence_read(directory, &present, err)) < 0)
		return r;
	if (!present.whole)
		return error_set(err, -ENOENT, "instance '%s' is not installed, or not as a whole: use `weft-loader install --instance %s`",
				 options->instance, options->instance);
	pin_remove_staged(directory);
	if ((r = larger_limits(directory, options->services, &limits, err)) < 0)
		return r;
	r = object_compare(directory, err);
	if (r > 0)
		return error_set(err, -EPROTO, "the instance has the maps of another build: use `weft-loader upgrade --instance %s` first",
				 options->instance);
	if (r == 0)
		r = exchange(directory, &limits, err);
	return r < 0 ? r : layout_note(directory, err);
}

/* Hooks first, and those that route before those that account; then everything else. */
static int abi_remove(const char *directory, struct error *err)
{
	_cleanup_(cleanup_dir) DIR *dir = NULL;
	const struct dirent *entry;
	char path[PIN_PATH_BYTES];
	int r;

	devices_detach(directory);
	for (const struct hook *hook = hooks + HOOK_COUNT; hook-- > hooks;) {
		hook_pin(hook, directory, path);
		r = pin_remove(path);
		if (r < 0 && r != -ENOENT)
			return error_set(err, r, "cannot remove '%s': %s", path, strerror(-r));
	}
	dir = opendir(directory);
	if (!dir)
		return error_set(err, -errno, "cannot read '%s': %m", directory);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >= sizeof(path))
			return error_set(err, -ENAMETOOLONG, "'%s/%s' is not weft's", directory, entry->d_name);
		r = pin_remove(path);
		if (r < 0 && r != -ENOENT)
			return error_set(err, r, "cannot remove '%s': %s", path, strerror(-r));
	}
	if (rmdir(directory) < 0)
		return error_set(err, -errno, "cannot remove '%s': %m", directory);
	return 0;
}

/* Where the instance is attached, and where weft-proxy and weftd say they are; 0: nowhere. Other ABIs that have such pins name them
 * alike. */
struct instance_cgroups {
	uint64_t attached_id;
	uint64_t proxy_id, agent_id, former_ids[PROXY_FORMERS_MAX];
};

static void own_cgroups_note(const char *directory, struct instance_cgroups *cgroups)
{
	char path[PIN_PATH_BYTES];
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {};
	struct proxy_state state;
	__u32 size = sizeof(info), zero = 0;

	if ((size_t)snprintf(path, sizeof(path), "%s/w_proxy", directory) >= sizeof(path) || (fd = bpf_obj_get(path)) < 0 ||
	    bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || info.value_size != sizeof(state) ||
	    bpf_map_lookup_elem(fd, &zero, &state) < 0)
		return;
	cgroups->proxy_id = state.cgroup_id ?: cgroups->proxy_id;
	cgroups->agent_id = state.agent_cgroup_id ?: cgroups->agent_id;
	for (size_t i = 0; i < PROXY_FORMERS_MAX; i++)
		cgroups->former_ids[i] = state.former_cgroup_ids[i] ?: cgroups->former_ids[i];
}

static void cgroups_note(const char *directory, struct instance_cgroups *cgroups)
{
	struct presence present;

	if (presence_read(directory, &present, NULL) == 0 && present.cgroup_id)
		cgroups->attached_id = present.cgroup_id;
	own_cgroups_note(directory, cgroups);
}

/* A cgroup that the program only found itself in has another name. */
static void own_cgroup_remove(const char *root, uint64_t id, const char *program, const char *instance)
{
	char path[PATH_MAX], name[64];

	snprintf(name, sizeof(name), "/%s-%s", program, instance);
	if (id && cgroup_path_of_id(root, id, path, sizeof(path)) == 0 && !strcmp(strrchr(path, '/'), name))
		rmdir(path);
}

/* What `weft run` made above the cgroups of its programs, and what weft-proxy and weftd made for themselves. Where something still
 * runs they stay, and so does what is above. */
static void cgroups_remove(const struct instance_cgroups *cgroups, const char *instance)
{
	char root[256], path[PATH_MAX];
	size_t length;

	if (cgroup_root(root, sizeof(root), NULL) < 0)
		return;
	own_cgroup_remove(root, cgroups->proxy_id, "weft-proxy", instance);
	for (size_t i = 0; i < PROXY_FORMERS_MAX; i++)
		own_cgroup_remove(root, cgroups->former_ids[i], "weft-proxy", instance);
	own_cgroup_remove(root, cgroups->agent_id, "weftd", instance);
	if (!cgroups->attached_id || cgroup_path_of_id(root, cgroups->attached_id, path, sizeof(path)) < 0)
		return;
	length = strlen(path);
	if (snprintf(path + length, sizeof(path) - length, "/" CGROUP_RUN_DIRECTORY "/%s", instance) >= (int)(sizeof(path) - length))
		return;
	rmdir(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

int loader_uninstall(const struct loader_options *options, struct error *err)
{
	_cleanup_close_ int lock_fd = -1;
	_cleanup_(cleanup_dir) DIR *dir = NULL;
	const struct dirent *entry;
	char pin_path[PIN_PATH_BYTES], directory[PIN_PATH_BYTES], abi[PIN_PATH_BYTES];
	struct instance_cgroups cgroups = {};
	int r = kernel_pin_path(options->instance, pin_path, sizeof(pin_path), err);

	if (r < 0 || (r = lock_take(options->instance, &lock_fd, err)) < 0)
		return r;
	instance_directory(pin_path, directory);
	dir = opendir(directory);
	if (!dir && errno != ENOENT)
		return error_set(err, -errno, "cannot read '%s': %m", directory);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if ((size_t)snprintf(abi, sizeof(abi), "%s/%s", directory, entry->d_name) >= sizeof(abi))
			return error_set(err, -ENAMETOOLONG, "'%s/%s' is not weft's", directory, entry->d_name);
		cgroups_note(abi, &cgroups);
		r = abi_remove(abi, err);
		if (r < 0)
			return r;
	}
	if (dir && rmdir(directory) < 0)
		return error_set(err, -errno, "cannot remove '%s': %m", directory);
	rmdir(PIN_ROOT); /* other instances may be in it */
	cgroups_remove(&cgroups, options->instance);
	lock_remove(options->instance);
	return 0;
}
