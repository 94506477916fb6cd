/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "loader/hooks.h"
#include "loader/loader.h"
#include "loader/object.h"
#include "maps/kernel.h"

_Static_assert(HOOK_COUNT <= LOADER_STATUS_MAX, "room for every hook");

#define MAP_PREFIX "w_"

/* Whether the tags of this build are known: only a load tells them. It takes the maps in place, so it costs no memory for
 * maps; where those have another layout nothing is current. */
static bool build_known(const char *directory)
{
	_cleanup_(object_done) struct object object = {};
	struct kernel_limits smallest;

	kernel_limits_for(1, &smallest);
	return object_build_tag(0) || object_load(directory, &smallest, &object, NULL) == 0;
}

static int hooks_read(const char *directory, struct loader_status *status, uint64_t *ret_cgroup_id, struct error *err)
{
	*ret_cgroup_id = 0;
	for (size_t i = 0; i < HOOK_COUNT; i++) {
		struct loader_hook_status *hook = &status->hooks[i];
		_cleanup_close_ int fd = -1;
		struct hook_state state;
		int r = hook_inspect(&hooks[i], directory, &state, err);

		if (r < 0)
			return r;
		*hook = (struct loader_hook_status){
			.name = hooks[i].name,
			.purpose = hooks[i].purpose,
			.required = hooks[i].required,
			.attached = state.attached,
			.program_id = state.program_id,
			.link_id = state.link_id,
		};
		status->installed &= state.attached || !hook->required;
		if (state.cgroup_id)
			*ret_cgroup_id = state.cgroup_id;
		fd = state.pinned ? bpf_prog_get_fd_by_id(state.program_id) : -1;
		if (fd >= 0)
			program_tag(fd, hook->program_tag);
	}
	status->hook_count = HOOK_COUNT;
	return 0;
}

/* The memory of a map as /proc/self/fdinfo shows it; 0: unknown. */
static uint64_t map_bytes(int fd)
{
	char path[64], line[128];
	_cleanup_fclose_ FILE *file = NULL;
	uint64_t bytes = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
			break;
	return bytes;
}

static int is_map(const struct dirent *entry)
{
	return !strncmp(entry->d_name, MAP_PREFIX, strlen(MAP_PREFIX));
}

static void maps_read(const char *directory, struct loader_status *status)
{
	struct dirent **entries = NULL;
	int count = scandir(directory, &entries, is_map, alphasort);

	for (int i = 0; i < count; i++) {
		char path[PIN_PATH_BYTES];
		_cleanup_close_ int fd = -1;
		_cleanup_free_ struct dirent *entry = entries[i];
		struct bpf_map_info info = {};
		__u32 size = sizeof(info);

		if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) < sizeof(path))
			fd = bpf_obj_get(path);
		if (fd < 0 || status->map_count == LOADER_STATUS_MAX || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
			continue;
		struct loader_map_status *map = &status->maps[status->map_count++];

		map->entries = info.max_entries;
		map->bytes = map_bytes(fd);
		snprintf(map->name, sizeof(map->name), "%s", info.name);
	}
	free(entries);
}

int loader_cgroup(const char *instance, char *buffer, size_t size, struct error *err)
{
	char directory[PIN_PATH_BYTES], root[PATH_MAX];
	struct hook_state state;
	int r = kernel_pin_path(instance, directory, sizeof(directory), err);

	if (r < 0 || (r = hook_inspect(hook_by_name("connect4"), directory, &state, err)) < 0 ||
	    (r = cgroup_root(root, sizeof(root), err)) < 0)
		return r;
	if (!state.attached)
		return error_set(err, -ENOENT, "instance '%s' is not installed: use `weft-loader install --instance %s`",
				 instance, instance);
	r = cgroup_path_of_id(root, state.cgroup_id, buffer, size);
	return r < 0 ? error_set(err, r, "cannot find the cgroup that '%s' is attached to: %s", instance, strerror(-r)) : 0;
}

int loader_status(const struct loader_options *options, struct loader_status *ret_status, struct error *err)
{
	struct loader_status status = { .installed = true };
	char directory[PIN_PATH_BYTES], root[sizeof(status.cgroup)];
	uint64_t cgroup_id;
	int r = kernel_pin_path(options->instance, directory, sizeof(directory), err);

	if (r < 0)
		return r;
	if (geteuid() != 0)
		return error_set(err, -EPERM, "the kernel part can be seen by root only");
	r = hooks_read(directory, &status, &cgroup_id, err);
	if (r < 0)
		return r;
	if (cgroup_id && ((r = cgroup_root(root, sizeof(root), err)) < 0 ||
			  (r = cgroup_path_of_id(root, cgroup_id, status.cgroup, sizeof(status.cgroup))) < 0))
		return error_set(err, r, "cannot find the cgroup with id %" PRIu64 ": %s", cgroup_id, strerror(-r));
	if (cgroup_id && build_known(directory))
		for (size_t i = 0; i < HOOK_COUNT; i++)
			status.hooks[i].current = status.hooks[i].program_tag[0] &&
						  !strcmp(status.hooks[i].program_tag, object_build_tag(i));
	maps_read(directory, &status);
	*ret_status = status;
	return 0;
}
