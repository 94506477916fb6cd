/* SPDX-License-Identifier: Apache-2.0 */
/* The wefts of this host, by their pins and by what they have in /run/weft. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/doctor/sighting.h"
#include "base/cgroup.h"
#include "base/cleanup.h"
#include "loader/hooks.h"
#include "maps/abi/version.h"
#include "maps/kernel.h"

#define RUN_ROOT "/run/weft"

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static const struct dirent *next_entry(DIR *dir)
{
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			return entry;
	return NULL;
}

static bool weftd_answers(const char *instance)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), RUN_ROOT "/%.40s/weftd.sock", instance);
	return fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN);
}

/* Where its hooks are attached; "" where they are not any more. */
static void find_cgroup(struct instance_sighting *instance)
{
	char directory[PIN_PATH_BYTES], root[256];
	struct hook_state state;

	if (snprintf(directory, sizeof(directory), PIN_ROOT "/%s/%s", instance->name, instance->abi) < (int)sizeof(directory) &&
	    hook_inspect(hook_by_name("connect4"), directory, &state, NULL) == 0 && state.cgroup_id &&
	    cgroup_root(root, sizeof(root), NULL) == 0 &&
	    cgroup_path_of_id(root, state.cgroup_id, instance->cgroup, sizeof(instance->cgroup)) < 0)
		instance->cgroup[0] = '\0';
}

static bool is_seen(const struct sighting *sighting, const char *name)
{
	for (size_t i = 0; i < sighting->instance_count; i++)
		if (!strcmp(sighting->instances[i].name, name))
			return true;
	return false;
}

static void add(struct sighting *sighting, const char *name, const char *abi)
{
	struct instance_sighting *instance = &sighting->instances[sighting->instance_count];

	if (sighting->instance_count == SIGHTING_INSTANCES_MAX || strlen(name) >= sizeof(instance->name) ||
	    strlen(abi) >= sizeof(instance->abi))
		return;
	*instance = (struct instance_sighting){ .answers = weftd_answers(name) };
	strcpy(instance->name, name);
	strcpy(instance->abi, abi);
	if (abi[0])
		find_cgroup(instance);
	sighting->instance_count++;
}

void instances_see(struct sighting *sighting)
{
	_cleanup_(cleanup_dir) DIR *pins = opendir(PIN_ROOT), *run = opendir(RUN_ROOT);
	const struct dirent *instance, *abi;
	char own[16];

	snprintf(own, sizeof(own), "abi%d", MAPS_ABI);
	while ((instance = next_entry(pins))) {
		char path[320];

		snprintf(path, sizeof(path), PIN_ROOT "/%s", instance->d_name);
		_cleanup_(cleanup_dir) DIR *dir = opendir(path);

		while ((abi = next_entry(dir)))
			if (strcmp(instance->d_name, sighting->instance) || strcmp(abi->d_name, own))
				add(sighting, instance->d_name, abi->d_name);
	}
	while ((instance = next_entry(run)))
		if (instance->d_type == DT_DIR && strcmp(instance->d_name, sighting->instance) && !is_seen(sighting, instance->d_name))
			add(sighting, instance->d_name, "");
}
