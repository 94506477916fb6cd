/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/doctor/hook_probe.h"
#include "base/cleanup.h"

static FILE *open_file(const char *directory, const char *name)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", directory, name) < (int)sizeof(path) ? fopen(path, "re") : NULL;
}

/* false: there is no such file (the controller is not on), or it says "max". */
static bool read_number(const char *directory, const char *name, uint64_t *ret_value)
{
	_cleanup_fclose_ FILE *file = open_file(directory, name);

	return file && fscanf(file, "%" SCNu64, ret_value) == 1;
}

/* The sum of these members of a file of "name number" lines. */
static uint64_t read_members(const char *directory, const char *name, const char *const members[], size_t count)
{
	_cleanup_fclose_ FILE *file = open_file(directory, name);
	char member[64];
	uint64_t value, sum = 0;

	while (file && fscanf(file, "%63s %" SCNu64, member, &value) == 2)
		for (size_t i = 0; i < count; i++)
			if (!strcmp(member, members[i]))
				sum += value;
	return sum;
}

static int level_check(const char *directory, uint64_t memory_bytes, uint64_t processes, struct error *err)
{
	static const char *const reclaimable[] = { "inactive_file", "active_file", "slab_reclaimable" };
	static const char *const frozen[] = { "frozen" };
	uint64_t max, current;

	if (read_members(directory, "cgroup.events", frozen, ARRAY_SIZE(frozen)))
		return error_set(err, -EBUSY, "the cgroup '%s' is frozen", directory);
	if (read_number(directory, "pids.max", &max) && read_number(directory, "pids.current", &current) && current + processes > max)
		return error_set(err, -EAGAIN, "the cgroup '%s' is at its limit of processes, %" PRIu64 " of %" PRIu64, directory, current,
				 max);
	if (read_number(directory, "memory.max", &max) && read_number(directory, "memory.current", &current)) {
		const uint64_t back = read_members(directory, "memory.stat", reclaimable, ARRAY_SIZE(reclaimable));

		current -= MIN(back, current);
		if (current + memory_bytes > max)
			return error_set(err, -ENOMEM, "the cgroup '%s' is at its limit of memory, %" PRIu64 " of %" PRIu64 " MiB", directory,
					 current >> 20, max >> 20);
	}
	return 0;
}

int cgroup_headroom(const char *cgroup_root, const char *cgroup, uint64_t memory_bytes, uint64_t processes, struct error *err)
{
	const size_t root = strlen(cgroup_root);
	char path[PATH_MAX];
	int r = 0;

	if ((size_t)snprintf(path, sizeof(path), "%s%s", cgroup_root, cgroup) >= sizeof(path))
		return error_set(err, -ENAMETOOLONG, "the path of the cgroup '%s' is too long", cgroup);
	while (r == 0 && strlen(path) > root) {
		r = level_check(path, memory_bytes, processes, err);
		*strrchr(path, '/') = '\0';
	}
	return r;
}
