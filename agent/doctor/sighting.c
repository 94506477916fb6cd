/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/doctor/sighting.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <sys/vfs.h>

#include "agent/identity/cgroup.h"
#include "agent/net/routes.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "maps/kernel.h"

#define AGENT_MEMORY_BYTES (16ull * 1024 * 1024) /* of a cgroup with less left, weftd may soon be killed */

/* --- the host ---------------------------------------------------------------------------------------------------------------------- */

static int mounts_see(char root[PATH_MAX], struct error *err)
{
	struct statfs fs;
	int r;

	if (statfs("/sys/fs/bpf", &fs) < 0 || fs.f_type != BPF_FS_MAGIC)
		return error_set(err, -ENOENT, "no bpffs is mounted on /sys/fs/bpf: mount -t bpf bpf /sys/fs/bpf");
	r = cgroup_root(root, PATH_MAX, err);
	if (r < 0)
		return r;
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return error_set(err, -ENOENT, "the kernel has no BTF (/sys/kernel/btf/vmlinux), as by CONFIG_DEBUG_INFO_BTF");
	return 0;
}

static bool clock_see(void)
{
	struct timex now = {};

	return adjtimex(&now) != TIME_ERROR && !(now.status & STA_UNSYNC);
}

static uint64_t descriptors_count(int pid)
{
	char path[64];
	DIR *dir;
	uint64_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count > 2 ? count - 2 : 0; /* without "." and ".." */
}

static void process_see(struct process_sighting *process, const char *root)
{
	char cgroup[PATH_MAX];
	struct rlimit limit;
	struct error err = {};

	if (!process->pid || prlimit(process->pid, RLIMIT_NOFILE, NULL, &limit) < 0)
		return;
	process->descriptors = descriptors_count(process->pid);
	process->descriptors_max = limit.rlim_cur;
	if (cgroup_of_pid(process->pid, cgroup, sizeof(cgroup)) == 0 && cgroup_headroom(root, cgroup, AGENT_MEMORY_BYTES, 1, &err) < 0)
		strcpy(process->short_of, err.message);
}

/* --- the kernel part --------------------------------------------------------------------------------------------------------------- */

/* Entries of a hash map, one system call each; `size` where there are more by the time of looking. */
static uint64_t entries_count(int fd, uint32_t key_bytes, uint64_t size)
{
	_cleanup_free_ char *key = malloc(key_bytes), *next = malloc(key_bytes);
	uint64_t count = 0;
	bool any = false;

	while (key && next && count < size && bpf_map_get_next_key(fd, any ? key : NULL, next) == 0) {
		memcpy(key, next, key_bytes);
		any = true;
		count++;
	}
	return count;
}

static void table_see(struct sighting *s, const char *pin_path, const char *name)
{
	struct table_fill *table = &s->tables[s->table_count];
	char path[PIN_PATH_BYTES];
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", pin_path, name) < sizeof(path))
		fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || s->table_count == SIGHTING_TABLES_MAX ||
	    (info.type != BPF_MAP_TYPE_HASH && info.type != BPF_MAP_TYPE_PERCPU_HASH))
		return;
	*table = (struct table_fill){ .used = entries_count(fd, info.key_size, info.max_entries), .size = info.max_entries };
	snprintf(table->name, sizeof(table->name), "%.15s", name);
	s->table_count++;
}

/* Hash maps are counted here; how full the arrays are weftd alone knows. */
static void tables_see(struct sighting *s)
{
	char pin_path[PIN_PATH_BYTES];

	if (kernel_pin_path(s->instance, pin_path, sizeof(pin_path), NULL) < 0)
		return;
	for (size_t i = 0; i < s->loader.map_count; i++)
		if (strcmp(s->loader.maps[i].name, "w_explain")) /* made anew by each use */
			table_see(s, pin_path, s->loader.maps[i].name);
}

static uint64_t probes_counted(const struct kernel *kernel, uint32_t node)
{
	const struct reason_key key = { .source = node, .reason = REASON_PROBE };
	_cleanup_free_ uint64_t *counts = calloc((size_t)kernel->cpu_count, sizeof(*counts));
	uint64_t sum = 0;

	if (!counts || bpf_map_lookup_elem(kernel->reason_fd, &key, counts) < 0)
		return 0;
	for (int i = 0; i < kernel->cpu_count; i++)
		sum += counts[i];
	return sum;
}

/* --- the places -------------------------------------------------------------------------------------------------------------------- */

static void routes_see(const struct sighting *s, char ret_text[ROUTE_TEXT_BYTES])
{
	const struct {
		const struct ip *network, *mask;
	} networks[] = { { &s->vip4, &s->vip4_mask }, { &s->vip6, &s->vip6_mask } };
	struct error err = {};

	for (size_t i = 0; i < ARRAY_SIZE(networks) && !err.code; i++)
		if (networks[i].mask->halves[0] | networks[i].mask->halves[1])
			routes_check(networks[i].network, networks[i].mask, "", &err);
	strcpy(ret_text, err.message);
}

/* As routes_see() does, in the namespace; there is nothing to do where this process could not come back. */
static void routes_see_in(const struct sighting *s, struct place *place)
{
	_cleanup_close_ int own_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (own_fd < 0 || setns(place->netns_fd, CLONE_NEWNET) < 0)
		return;
	routes_see(s, place->routes);
	if (setns(own_fd, CLONE_NEWNET) < 0)
		abort();
}

static bool is_first_there(const struct places *places, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (places->list[i].netns_cookie == places->list[at].netns_cookie)
			return false;
	return true;
}

static void place_see(struct sighting *s, struct kernel *kernel, const char *root, struct place *place)
{
	const uint64_t before = probes_counted(kernel, place->node);

	place_ask_effects(place, root, &s->loader);
	if (hook_probe_run(root, place->cgroup, place->netns_fd, &s->vip4, &s->vip6, &place->probe, &place->probe_error) == 0)
		place->probe.counted = probes_counted(kernel, place->node) - before;
}

static void places_see(struct sighting *s, struct kernel *kernel, const char *root)
{
	_cleanup_close_ int own_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	uint64_t own_cookie = 0;

	if (places_find(kernel, root, &s->places, &s->places_error) < 0)
		return;
	if (own_fd >= 0)
		netns_cookie(own_fd, &own_cookie);
	for (size_t i = 0; i < s->places.count; i++) {
		place_see(s, kernel, root, &s->places.list[i]);
		if (s->places.list[i].netns_cookie != own_cookie && is_first_there(&s->places, i))
			routes_see_in(s, &s->places.list[i]);
		if (is_first_there(&s->places, i)) /* what cannot be told is weftd's to say */
			redirects_look(s->places.list[i].netns_fd, &s->places.list[i].redirects);
	}
}

/* --- all of it --------------------------------------------------------------------------------------------------------------------- */

static void maps_see(struct sighting *s, const char *root)
{
	struct kernel kernel = {};
	uint64_t beat_ns;

	if (kernel_open(s->instance, &kernel, &s->maps_error) < 0) {
		s->places_error = s->maps_error;
		return;
	}
	kernel_stats(&kernel, s->stats_before);
	s->vip4 = kernel.memory.config->vip4;
	s->vip4_mask = kernel.memory.config->vip4_mask;
	s->vip6 = kernel.memory.config->vip6;
	s->vip6_mask = kernel.memory.config->vip6_mask;
	beat_ns = __atomic_load_n(&kernel.memory.proxy->beat_ns, __ATOMIC_RELAXED);
	s->beat_age_ns = beat_ns ? time_now_ns() - MIN(beat_ns, time_now_ns()) : SIGHTING_NEVER;
	routes_see(s, s->own_routes);
	places_see(s, &kernel, root);
	tables_see(s);
	kernel_stats(&kernel, s->stats);
	kernel_close(&kernel);
}

void sighting_take(struct sighting *s)
{
	const struct loader_options options = { .instance = s->instance };
	char root[PATH_MAX] = "";

	s->clock_synchronised = clock_see();
	uname(&s->kernel);
	s->weftd = (struct process_sighting){ .name = "weftd", .pid = (int)json_path_int(s->status, "pid", 0) };
	s->proxy = (struct process_sighting){ .name = "weft-proxy", .pid = (int)json_path_int(s->status, "proxy.pid", 0) };
	s->beat_age_ns = SIGHTING_NEVER;
	if (mounts_see(root, &s->mounts_error) < 0) {
		s->kernel_error = s->maps_error = s->places_error = s->mounts_error;
		return;
	}
	process_see(&s->weftd, root);
	process_see(&s->proxy, root);
	instances_see(s);
	if (loader_status(&options, &s->loader, &s->kernel_error) < 0) {
		s->maps_error = s->places_error = s->kernel_error;
		return;
	}
	maps_see(s, root);
}

void sighting_done(struct sighting *s)
{
	places_done(&s->places);
}
