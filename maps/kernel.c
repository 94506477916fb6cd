/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "maps/abi/version.h"
#include "maps/edge.h"
#include "maps/iterator.h"
#include "maps/pinned.h"
#include "maps_layout.h"

/* Every pinned map that the agent uses. */
static const struct pinned_map map_rows[] = {
	PINNED_ARRAY("w_layout", struct layout_note, 1, struct kernel, layout),
	PINNED_ARRAY("w_root", struct root, 1, struct kernel, memory.root),
#define RECORDS(pin, value, member)                                                                                           \
	PINNED_FRONT(pin, value, struct kernel, memory.fronts[KERNEL_ARRAY(member)], offsetof(struct kernel, memory.limits.member))
	RECORDS("w_object", struct object_name, objects),
	RECORDS("w_service", struct service_record, services),
	RECORDS("w_route", struct route_record, routes),
	RECORDS("w_target", struct target_record, targets),
	RECORDS("w_ref", struct endpoint_ref, refs),
	RECORDS("w_node", struct node_record, nodes),
	RECORDS("w_backend", struct backend, backends),
	RECORDS("w_endpoint", struct endpoint, endpoints),
	RECORDS("w_row", struct row, rows),
#undef RECORDS
	PINNED_FRONT("w_directory", struct directory_page, struct kernel, memory.fronts[KERNEL_DIRECTORIES], 0),
	PINNED_ARRAY("w_config", struct config, 1, struct kernel, memory.config),
	PINNED_ARRAY("w_proxy", struct proxy_state, 1, struct kernel, memory.proxy),
	PINNED_ARRAY("w_exec_state", struct exec_state, 1, struct kernel, memory.exec),
	PINNED_ARRAY("w_serving_place", struct serving, MAX_SERVINGS, struct kernel, servings),
#define FD(pin, type, key, value, count, member) PINNED_FD(pin, type, key, value, count, struct kernel, member)
	FD("w_vip", BPF_MAP_TYPE_HASH, sizeof(struct ip), 4, MAX_VIPS, vip_fd),
	FD("w_netns", BPF_MAP_TYPE_HASH, 8, sizeof(struct owner), MAX_OWNERS, netns_fd),
	FD("w_cgroup", BPF_MAP_TYPE_HASH, 8, sizeof(struct owner), MAX_OWNERS, cgroup_fd),
	FD("w_own_address", BPF_MAP_TYPE_HASH, sizeof(struct netns_address), 1, MAX_OWN_ADDRESSES, own_address_fd),
	FD("w_exempt", BPF_MAP_TYPE_HASH, sizeof(struct netns_address), sizeof(struct exemption), MAX_EXEMPT, exempt_fd),
	FD("w_name", BPF_MAP_TYPE_HASH, sizeof(struct name_key), sizeof(struct name_entry), MAX_NAMES, name_fd),
	FD("w_reason", BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct reason_key), 8, MAX_REASON_ROWS, reason_fd),
	FD("w_stat", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, STAT_COUNT, stat_fd),
	FD("w_flow", BPF_MAP_TYPE_RINGBUF, 0, 0, FLOW_RING_BYTES, flow_fd),
	FD("w_exec", BPF_MAP_TYPE_RINGBUF, 0, 0, EXEC_RING_BYTES, exec_fd),
	FD("w_explain", BPF_MAP_TYPE_HASH, sizeof(struct explain_key), 8, 4096, explain_fd),
	FD("w_account", BPF_MAP_TYPE_HASH, 8, sizeof(struct account), MAX_ACCOUNTS, account_fd),
	FD("w_account_near", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct near_account), NEAR_ACCOUNTS, account_near_fd),
	FD("w_exposed", BPF_MAP_TYPE_HASH, sizeof(struct exposed_key), sizeof(struct exposed), MAX_EXPOSED, exposed_fd),
	FD("w_edge_device", BPF_MAP_TYPE_HASH, 4, sizeof(struct edge_device), MAX_EDGE_DEVICES, edge_device_fd),
	FD("w_edge", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct edge_connection), MAX_EDGE_CONNECTIONS, edge_fd),
	FD("w_serving", BPF_MAP_TYPE_HASH, sizeof(struct serving_key), 4, MAX_SERVINGS, serving_fd),
	FD("w_served", BPF_MAP_TYPE_HASH, 8, sizeof(struct served), MAX_ACCOUNTS, served_fd),
	FD("w_intercept", BPF_MAP_TYPE_HASH, sizeof(struct serving_key), sizeof(struct intercept), MAX_SERVINGS, intercept_fd),
	FD("w_way", BPF_MAP_TYPE_HASH, sizeof(struct proxy_way_key), sizeof(struct proxy_way), MAX_WAYS, way_fd),
#undef FD
};

static const struct {
	const char *pin;
	size_t member;
} programs[] = {
	{ "prog_explain", offsetof(struct kernel, explain_prog_fd) },
	{ "prog_look_standing", offsetof(struct kernel, standing_prog_fd) },
}, optional[] = {
	{ "prog_edge_sweep", offsetof(struct kernel, edge_sweep_prog_fd) },
	{ "iter_live", offsetof(struct kernel, live_iter_fd) },
	{ "iter_end", offsetof(struct kernel, end_iter_fd) },
	{ "iter_earlier", offsetof(struct kernel, earlier_iter_fd) },
	{ "exec_claim", offsetof(struct kernel, exec_link_fd) },
};

int kernel_pin_path(const char *instance, char *buffer, size_t size, struct error *err)
{
	const size_t length = strlen(instance);

	if (!length || length > 32 || strspn(instance, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
		return error_set_field(err, -EINVAL, "instance", "'%s' is not 1 to 32 of a-z, 0-9 and -", instance);
	if (snprintf(buffer, size, "%s/%s/abi%d", PIN_ROOT, instance, MAPS_ABI) >= (int)size)
		return error_set_field(err, -ENAMETOOLONG, "instance", "the pin path is too long");
	return 0;
}

/* Whatever made the maps, the bitmaps over them go by words, and ids are all in the directory or none of theirs is. */
static int sizes_check(const struct kernel *kernel, struct error *err)
{
	const struct kernel_limits *limits = &kernel->memory.limits;
	const struct {
		const char *map;
		uint32_t entries;
	} arrays[] = {
		{ "w_object", limits->objects }, { "w_service", limits->services }, { "w_route", limits->routes },
		{ "w_target", limits->targets }, { "w_ref", limits->refs }, { "w_node", limits->nodes },
		{ "w_backend", limits->backends }, { "w_endpoint", limits->endpoints }, { "w_row", limits->rows },
	};

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		if (arrays[i].entries % 64 || arrays[i].entries > REF_INDEX_MASK)
			return error_set(err, -EPROTO, "pinned map '%s' has %u entries, which cannot be", arrays[i].map, arrays[i].entries);
	if (limits->objects % DIRECTORY_PAGE_IDS ||
	    kernel->memory.fronts[KERNEL_DIRECTORIES].size != kernel_limits_entries(limits, "w_directory"))
		return error_set(err, -EPROTO, "pinned maps 'w_object' and 'w_directory' do not go together");
	return 0;
}

static int layout_check(const struct kernel *kernel, struct error *err)
{
	return kernel->layout->layout == MAPS_LAYOUT ? 0 : error_set(err, -EPROTO, PINNED_OTHER_LAYOUT);
}

/* A loader that exchanges maps (loader/exchange.h) has its second set of pins beside these, and some programs may run over that. */
static int exchange_check(const char *pin_path, struct error *err)
{
	const char *name = strrchr(pin_path, '/') + 1;
	char path[256];

	snprintf(path, sizeof(path), "%.*snext_%s", (int)(name - pin_path), pin_path, name);
	if (access(path, F_OK) == 0)
		return error_set(err, -EBUSY, "a loader exchanges the maps, or was killed while it did: `weft-loader upgrade` completes that");
	return 0;
}

int kernel_open(const char *instance, struct kernel *ret_kernel, struct error *err)
{
	struct kernel kernel = {
		.explain_prog_fd = -1, .standing_prog_fd = -1, .edge_sweep_prog_fd = -1, .live_iter_fd = -1, .end_iter_fd = -1,
		.earlier_iter_fd = -1, .exec_link_fd = -1,
	};
	char pin_path[160], path[256];
	int r = kernel_pin_path(instance, pin_path, sizeof(pin_path), err);

	if (r < 0 || (r = exchange_check(pin_path, err)) < 0)
		return r;
	kernel.cpu_count = libbpf_num_possible_cpus();
	if (kernel.cpu_count < 0)
		return error_set(err, kernel.cpu_count, "cannot tell how many CPUs there can be");
	r = pinned_maps_open(pin_path, map_rows, ARRAY_SIZE(map_rows), &kernel, err);
	if (r < 0)
		return r;
	r = layout_check(&kernel, err);
	if (r == 0)
		r = sizes_check(&kernel, err);
	if (r < 0) {
		pinned_maps_close(map_rows, ARRAY_SIZE(map_rows), &kernel);
		return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		int *fd = (int *)((char *)&kernel + programs[i].member);

		snprintf(path, sizeof(path), "%s/%s", pin_path, programs[i].pin);
		*fd = bpf_obj_get(path);
		if (*fd < 0) {
			r = error_set(err, -errno, "cannot open pinned program '%s': %s; run `weft-loader install`", path, strerror(errno));
			kernel_close(&kernel);
			return r;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_path, optional[i].pin);
		*(int *)((char *)&kernel + optional[i].member) = bpf_obj_get(path);
	}
	kernel_memory_point(&kernel.memory);
	*ret_kernel = kernel;
	return 0;
}

static bool was_opened(const struct kernel *kernel)
{
	return kernel->cpu_count > 0;
}

void kernel_close(struct kernel *kernel)
{
	if (!was_opened(kernel))
		return;
	pinned_maps_close(map_rows, ARRAY_SIZE(map_rows), kernel);
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		fd_close(*(int *)((char *)kernel + programs[i].member));
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		fd_close(*(int *)((char *)kernel + optional[i].member));
	memset(kernel, 0, sizeof(*kernel));
}

/* --- arrays ------------------------------------------------------------------------------------------------------------------- */

static uint32_t directory_pages(uint32_t ids)
{
	return (ids + DIRECTORY_PAGE_IDS - 1) / DIRECTORY_PAGE_IDS * RING_DIRECTORIES;
}

int kernel_memory_reach(struct kernel_memory *memory, size_t array, uint32_t count)
{
	int r = front_reach(&memory->fronts[array], count);

	return r == 0 && array == KERNEL_ARRAY(objects) ? front_reach(&memory->fronts[KERNEL_DIRECTORIES], directory_pages(count)) : r;
}

void kernel_memory_trim(struct kernel_memory *memory, size_t array, uint32_t count)
{
	struct front *directories = &memory->fronts[KERNEL_DIRECTORIES];
	const uint32_t pages = directory_pages(count);

	front_trim(&memory->fronts[array], count);
	if (array != KERNEL_ARRAY(objects) || pages >= directories->count)
		return;
	memset(&memory->directories[pages], 0, (directories->count - pages) * sizeof(*memory->directories));
	front_trim(directories, pages);
}

uint32_t kernel_memory_ids(const struct kernel_memory *memory)
{
	return memory->fronts[KERNEL_DIRECTORIES].count / RING_DIRECTORIES * DIRECTORY_PAGE_IDS;
}

void kernel_memory_point(struct kernel_memory *memory)
{
#define X(symbol, member, map, per_service, multiple) memory->member = (void *)memory->fronts[KERNEL_ARRAY(member)].memory;
	ARRAY_TABLES(X)
#undef X
	memory->directories = (void *)memory->fronts[KERNEL_DIRECTORIES].memory;
}

/* --- key maps ----------------------------------------------------------------------------------------------------------------- */

int kernel_vip_set(struct kernel *kernel, const struct ip *vip, uint32_t service)
{
	return pinned_map_set(kernel->vip_fd, vip, &service);
}

int kernel_vip_remove(struct kernel *kernel, const struct ip *vip)
{
	return pinned_map_remove(kernel->vip_fd, vip);
}

int kernel_netns_set(struct kernel *kernel, uint64_t cookie, const struct owner *owner)
{
	return pinned_map_set(kernel->netns_fd, &cookie, owner);
}

int kernel_netns_get(struct kernel *kernel, uint64_t cookie, struct owner *ret_owner)
{
	struct owner owner;

	if (bpf_map_lookup_elem(kernel->netns_fd, &cookie, &owner) < 0)
		return -errno;
	*ret_owner = owner;
	return 0;
}

int kernel_netns_remove(struct kernel *kernel, uint64_t cookie)
{
	return pinned_map_remove(kernel->netns_fd, &cookie);
}

int kernel_cgroup_set(struct kernel *kernel, uint64_t id, const struct owner *owner)
{
	return pinned_map_set(kernel->cgroup_fd, &id, owner);
}

int kernel_cgroup_remove(struct kernel *kernel, uint64_t id)
{
	return pinned_map_remove(kernel->cgroup_fd, &id);
}

int kernel_own_address_set(struct kernel *kernel, uint64_t cookie, const struct ip *address)
{
	const struct netns_address key = { .netns_cookie = cookie, .address = *address };
	const uint8_t one = 1;

	return pinned_map_set(kernel->own_address_fd, &key, &one);
}

int kernel_own_address_remove(struct kernel *kernel, uint64_t cookie, const struct ip *address)
{
	const struct netns_address key = { .netns_cookie = cookie, .address = *address };

	return pinned_map_remove(kernel->own_address_fd, &key);
}

bool kernel_own_address_has(const struct kernel *kernel, uint64_t cookie, const struct ip *address)
{
	const struct netns_address key = { .netns_cookie = cookie, .address = *address };
	uint8_t one;

	return bpf_map_lookup_elem(kernel->own_address_fd, &key, &one) == 0;
}

int kernel_exempt_set(struct kernel *kernel, const struct ip *address, const struct exemption *exemption)
{
	const struct netns_address key = { .address = *address };

	return pinned_map_set(kernel->exempt_fd, &key, exemption);
}

int kernel_exempt_remove(struct kernel *kernel, const struct ip *address)
{
	const struct netns_address key = { .address = *address };

	return pinned_map_remove(kernel->exempt_fd, &key);
}

int kernel_name_set(struct kernel *kernel, const struct name_key *key, const struct name_entry *entry)
{
	return pinned_map_set(kernel->name_fd, key, entry);
}

int kernel_name_remove(struct kernel *kernel, const struct name_key *key)
{
	return pinned_map_remove(kernel->name_fd, key);
}

int kernel_name_get(const struct kernel *kernel, const struct name_key *key, struct name_entry *ret_entry)
{
	struct name_entry entry;

	if (bpf_map_lookup_elem(kernel->name_fd, key, &entry) < 0)
		return -errno;
	*ret_entry = entry;
	return 0;
}

#define DEFINE_EACH(name, fn_type, fd, key_type, value_type, ...)                                                             \
	struct name##_visit {                                                                                                  \
		fn_type *fn;                                                                                                   \
		void *arg;                                                                                                     \
	};                                                                                                                     \
	static int name##_visit(const void *k, const void *v, void *arg)                                                       \
	{                                                                                                                      \
		const struct name##_visit *visit = arg;                                                                        \
		const key_type *key = k;                                                                                       \
		const value_type *value __attribute__((unused)) = v;                                                           \
                                                                                                                               \
		return visit->fn(__VA_ARGS__, visit->arg);                                                                     \
	}                                                                                                                      \
	int name(struct kernel *kernel, fn_type *fn, void *arg)                                                                \
	{                                                                                                                      \
		return pinned_map_each(kernel->fd, sizeof(key_type), sizeof(value_type), name##_visit, &(struct name##_visit){ fn, arg });\
	}

DEFINE_EACH(kernel_vip_each, kernel_vip_fn, vip_fd, struct ip, uint32_t, key, *value)
DEFINE_EACH(kernel_netns_each, kernel_netns_fn, netns_fd, uint64_t, struct owner, *key, value)
DEFINE_EACH(kernel_cgroup_each, kernel_cgroup_fn, cgroup_fd, uint64_t, struct owner, *key, value)
DEFINE_EACH(kernel_own_address_each, kernel_own_address_fn, own_address_fd, struct netns_address, uint8_t, key)
DEFINE_EACH(kernel_exempt_each, kernel_exempt_fn, exempt_fd, struct netns_address, struct exemption, key, value)
DEFINE_EACH(kernel_name_each, kernel_name_fn, name_fd, struct name_key, struct name_entry, key, value)

/* --- what the kernel counted ---------------------------------------------------------------------------------------------------- */

static uint64_t sum(const uint64_t *values, int count)
{
	uint64_t total = 0;

	for (int i = 0; i < count; i++)
		total += values[i];
	return total;
}

struct reason_visit {
	kernel_reason_fn *fn;
	void *arg;
	int cpu_count;
};

static int reason_visit(const void *key, const void *value, void *arg)
{
	const struct reason_visit *visit = arg;

	return visit->fn(key, sum(value, visit->cpu_count), visit->arg);
}

int kernel_reason_each(struct kernel *kernel, kernel_reason_fn *fn, void *arg)
{
	struct reason_visit visit = { fn, arg, kernel->cpu_count };

	return pinned_map_each(kernel->reason_fd, sizeof(struct reason_key), sizeof(uint64_t) * kernel->cpu_count, reason_visit, &visit);
}

int kernel_stats(struct kernel *kernel, uint64_t ret_stats[STAT_COUNT])
{
	_cleanup_free_ uint64_t *values = calloc(kernel->cpu_count, sizeof(*values));
	uint64_t stats[STAT_COUNT];

	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < STAT_COUNT; i++) {
		if (bpf_map_lookup_elem(kernel->stat_fd, &i, values) < 0)
			return -errno;
		stats[i] = sum(values, kernel->cpu_count);
	}
	memcpy(ret_stats, stats, sizeof(stats));
	return 0;
}

struct account_visit {
	kernel_account_fn *fn;
	void *arg;
};

/* One that nobody holds is about to be taken, or to go. */
static int account_visit(const void *key, const void *value, void *arg)
{
	const struct account_visit *visit = arg;
	const struct account *account = value;

	return account->held && account->held == *(const uint64_t *)key ? visit->fn(account, visit->arg) : 0;
}

static int account_near_visit(const void *key, const void *value, void *arg)
{
	const struct near_account *near = value;

	(void)key;
	return account_visit(&near->owner, &near->account, arg);
}

int kernel_socket_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg)
{
	struct account_visit visit = { fn, arg };
	int r = pinned_map_each(kernel->account_near_fd, sizeof(uint32_t), sizeof(struct near_account), account_near_visit, &visit);

	return r < 0 ? r : pinned_map_each(kernel->account_fd, sizeof(uint64_t), sizeof(struct account), account_visit, &visit);
}

int kernel_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg)
{
	int r = kernel_socket_account_each(kernel, fn, arg);

	return r < 0 ? r : edge_account_each(kernel, fn, arg);
}

int kernel_standing_look(struct kernel *kernel, uint64_t now_ns, struct standing_look *ret_look)
{
	struct standing_look request = { .now_ns = now_ns };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &request, .ctx_size_in = sizeof(request));

	if (bpf_prog_test_run_opts(kernel->standing_prog_fd, &options) < 0)
		return -errno;
	*ret_look = request;
	return 0;
}

struct ended_visit {
	kernel_ended_fn *fn;
	void *arg;
};

static int ended_visit(const void *record, void *arg)
{
	const struct ended_visit *visit = arg;

	return visit->fn(record, visit->arg);
}

int kernel_ended_each(struct kernel *kernel, kernel_ended_fn *fn, void *arg)
{
	return iterator_each(kernel->end_iter_fd, sizeof(struct ended_connection), ended_visit, &(struct ended_visit){ fn, arg });
}

static int explain_clear(const void *key, const void *value, void *arg)
{
	(void)value;
	return pinned_map_remove(*(int *)arg, key);
}

static int explain_empty(int fd)
{
	return pinned_map_each(fd, sizeof(struct explain_key), sizeof(uint64_t), explain_clear, &fd);
}

struct explain_visit {
	kernel_explain_fn *fn;
	void *arg;
};

static int explain_visit(const void *key, const void *value, void *arg)
{
	const struct explain_visit *visit = arg;

	return visit->fn(key, *(const uint64_t *)value, visit->arg);
}

int kernel_explain(struct kernel *kernel, struct explain *request, kernel_explain_fn *fn, void *arg)
{
	/* for this kind of program the kernel writes the context back to where it came from */
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = request, .ctx_size_in = sizeof(*request));
	int r = request->count ? explain_empty(kernel->explain_fd) : 0;

	if (r < 0)
		return r;
	if (bpf_prog_test_run_opts(kernel->explain_prog_fd, &options) < 0)
		return -errno;
	if ((int)options.retval < 0)
		return (int)options.retval;
	if (!request->count || !fn)
		return 0;
	return pinned_map_each(kernel->explain_fd, sizeof(struct explain_key), sizeof(uint64_t), explain_visit, &(struct explain_visit){ fn, arg });
}
