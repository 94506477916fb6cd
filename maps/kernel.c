/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "maps/abi/version.h"

/* Array maps step by multiples of 8 bytes: what user space indexes must do so as well. */
#define STEPS_BY_8(type) _Static_assert(sizeof(type) % 8 == 0, #type " does not lie in a mapped array as C lays it out")
STEPS_BY_8(struct root);
STEPS_BY_8(struct directory);
STEPS_BY_8(struct object_name);
STEPS_BY_8(struct service_record);
STEPS_BY_8(struct route_record);
STEPS_BY_8(struct target_record);
STEPS_BY_8(struct endpoint_ref);
STEPS_BY_8(struct node_record);
STEPS_BY_8(struct backend);
STEPS_BY_8(struct endpoint);
STEPS_BY_8(struct row);
STEPS_BY_8(struct config);

enum { NOT_MAPPED = SIZE_MAX };

/* Every pinned map: its layout as this build knows it, and where it goes in struct kernel: memory, or a descriptor. */
static const struct map_row {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_bytes, value_bytes, entries;
	size_t memory_offset; /* into struct kernel_memory, or NOT_MAPPED */
	size_t fd_offset; /* into struct kernel */
} map_rows[] = {
#define MEMORY(pin, value, count, member)                                                                                     \
	{ pin, BPF_MAP_TYPE_ARRAY, 4, sizeof(value), count, offsetof(struct kernel_memory, member), 0 }
#define FD(pin, map_type, key, value, count, member)                                                                          \
	{ pin, map_type, key, value, count, NOT_MAPPED, offsetof(struct kernel, member) }
	MEMORY("w_root", struct root, 1, root),
	MEMORY("w_directory", struct directory, RING_DIRECTORIES, directories),
	MEMORY("w_object", struct object_name, MAX_OBJECTS, objects),
	MEMORY("w_service", struct service_record, MAX_SERVICES, services),
	MEMORY("w_route", struct route_record, MAX_ROUTES, routes),
	MEMORY("w_target", struct target_record, MAX_TARGETS, targets),
	MEMORY("w_ref", struct endpoint_ref, MAX_ENDPOINT_REFS, refs),
	MEMORY("w_node", struct node_record, MAX_NODES, nodes),
	MEMORY("w_backend", struct backend, MAX_BACKENDS, backends),
	MEMORY("w_endpoint", struct endpoint, MAX_ENDPOINTS, endpoints),
	MEMORY("w_row", struct row, MAX_ROWS, rows),
	MEMORY("w_config", struct config, 1, config),
	FD("w_vip", BPF_MAP_TYPE_HASH, sizeof(struct ip), 4, MAX_VIPS, vip_fd),
	FD("w_netns", BPF_MAP_TYPE_HASH, 8, sizeof(struct owner), MAX_OWNERS, netns_fd),
	FD("w_cgroup", BPF_MAP_TYPE_HASH, 8, sizeof(struct owner), MAX_OWNERS, cgroup_fd),
	FD("w_own_address", BPF_MAP_TYPE_HASH, sizeof(struct own_address_key), 1, MAX_OWN_ADDRESSES, own_address_fd),
	FD("w_exempt", BPF_MAP_TYPE_HASH, sizeof(struct ip), sizeof(struct exemption), MAX_EXEMPT, exempt_fd),
	FD("w_reason", BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct reason_key), 8, MAX_REASON_ROWS, reason_fd),
	FD("w_stat", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, STAT_COUNT, stat_fd),
	FD("w_flow", BPF_MAP_TYPE_RINGBUF, 0, 0, FLOW_RING_BYTES, flow_fd),
	FD("w_explain", BPF_MAP_TYPE_HASH, sizeof(struct explain_key), 8, 4096, explain_fd),
	FD("w_account", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(struct account), 0, account_fd),
#undef MEMORY
#undef FD
};

static void *mapped(const struct kernel *kernel, const struct map_row *row)
{
	return *(void **)((char *)&kernel->memory + row->memory_offset);
}

int kernel_pin_path(const char *instance, char *buffer, size_t size, struct error *err)
{
	const size_t length = strlen(instance);

	if (!length || length > 32 || strspn(instance, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
		return error_set_field(err, -EINVAL, "instance", "'%s' is not 1 to 32 of a-z, 0-9 and -", instance);
	if (snprintf(buffer, size, "%s/%s/abi%d", PIN_ROOT, instance, MAPS_ABI) >= (int)size)
		return error_set_field(err, -ENAMETOOLONG, "instance", "the pin path is too long");
	return 0;
}

static int map_check(int fd, const char *path, const struct map_row *row, struct error *err)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return error_set(err, -errno, "cannot inspect pinned map '%s': %s", path, strerror(errno));
	if (info.type != row->type || info.key_size != row->key_bytes || info.value_size != row->value_bytes ||
	    info.max_entries != row->entries)
		return error_set(err, -EPROTO, "pinned map '%s' has the layout of another version: `weft-loader upgrade`", path);
	return 0;
}

static int map_open(struct kernel *kernel, const char *pin_path, const struct map_row *row, struct error *err)
{
	const size_t bytes = (size_t)row->value_bytes * row->entries;
	_cleanup_close_ int fd = -1;
	char path[256];
	void *memory;
	int r;

	snprintf(path, sizeof(path), "%s/%s", pin_path, row->name);
	fd = bpf_obj_get(path);
	if (fd < 0 && errno == ENOENT)
		return error_set(err, -ENOENT, "there is no kernel part ('%s' is missing): run `weft-loader install` first", path);
	if (fd < 0)
		return error_set(err, -errno, "cannot open pinned map '%s': %s", path, strerror(errno));
	r = map_check(fd, path, row, err);
	if (r < 0)
		return r;
	if (row->memory_offset == NOT_MAPPED) {
		*(int *)((char *)kernel + row->fd_offset) = TAKE_FD(fd);
		return 0;
	}
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return error_set(err, -errno, "cannot map '%s' into memory: %s", path, strerror(errno));
	*(void **)((char *)&kernel->memory + row->memory_offset) = memory;
	return 0;
}

int kernel_open(const char *instance, struct kernel *ret_kernel, struct error *err)
{
	struct kernel kernel = { .explain_prog_fd = -1, .account_iter_fd = -1 };
	char pin_path[160], path[256];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(map_rows); i++)
		if (map_rows[i].memory_offset == NOT_MAPPED)
			*(int *)((char *)&kernel + map_rows[i].fd_offset) = -1;
	r = kernel_pin_path(instance, pin_path, sizeof(pin_path), err);
	if (r < 0)
		return r;
	kernel.cpu_count = libbpf_num_possible_cpus();
	if (kernel.cpu_count < 0)
		return error_set(err, kernel.cpu_count, "cannot tell how many CPUs there can be");
	for (size_t i = 0; i < ARRAY_SIZE(map_rows) && r == 0; i++)
		r = map_open(&kernel, pin_path, &map_rows[i], err);
	if (r == 0) {
		snprintf(path, sizeof(path), "%s/prog_explain", pin_path);
		kernel.explain_prog_fd = bpf_obj_get(path);
		if (kernel.explain_prog_fd < 0)
			r = error_set(err, -errno, "cannot open pinned program '%s': %s; run `weft-loader install`", path,
				      strerror(errno));
		snprintf(path, sizeof(path), "%s/iter_account", pin_path);
		kernel.account_iter_fd = bpf_obj_get(path); /* optional */
	}
	if (r < 0) {
		kernel_close(&kernel);
		return r;
	}
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
	for (size_t i = 0; i < ARRAY_SIZE(map_rows); i++) {
		const struct map_row *row = &map_rows[i];

		if (row->memory_offset == NOT_MAPPED)
			fd_close(*(int *)((char *)kernel + row->fd_offset));
		else if (mapped(kernel, row))
			munmap(mapped(kernel, row), (size_t)row->value_bytes * row->entries);
	}
	fd_close(kernel->explain_prog_fd);
	fd_close(kernel->account_iter_fd);
	memset(kernel, 0, sizeof(*kernel));
}

/* --- key maps ----------------------------------------------------------------------------------------------------------------- */

static int set(int fd, const void *key, const void *value)
{
	return bpf_map_update_elem(fd, key, value, BPF_ANY) < 0 ? -errno : 0;
}

static int removed(int fd, const void *key)
{
	return bpf_map_delete_elem(fd, key) < 0 && errno != ENOENT ? -errno : 0;
}

int kernel_vip_set(struct kernel *kernel, const struct ip *vip, uint32_t service)
{
	return set(kernel->vip_fd, vip, &service);
}

int kernel_vip_remove(struct kernel *kernel, const struct ip *vip)
{
	return removed(kernel->vip_fd, vip);
}

int kernel_netns_set(struct kernel *kernel, uint64_t cookie, const struct owner *owner)
{
	return set(kernel->netns_fd, &cookie, owner);
}

int kernel_netns_remove(struct kernel *kernel, uint64_t cookie)
{
	return removed(kernel->netns_fd, &cookie);
}

int kernel_cgroup_set(struct kernel *kernel, uint64_t id, const struct owner *owner)
{
	return set(kernel->cgroup_fd, &id, owner);
}

int kernel_cgroup_remove(struct kernel *kernel, uint64_t id)
{
	return removed(kernel->cgroup_fd, &id);
}

int kernel_own_address_set(struct kernel *kernel, uint64_t cookie, const struct ip *address)
{
	const struct own_address_key key = { .netns_cookie = cookie, .address = *address };
	const uint8_t one = 1;

	return set(kernel->own_address_fd, &key, &one);
}

int kernel_own_address_remove(struct kernel *kernel, uint64_t cookie, const struct ip *address)
{
	const struct own_address_key key = { .netns_cookie = cookie, .address = *address };

	return removed(kernel->own_address_fd, &key);
}

int kernel_exempt_set(struct kernel *kernel, const struct ip *address, const struct exemption *exemption)
{
	return set(kernel->exempt_fd, address, exemption);
}

int kernel_exempt_remove(struct kernel *kernel, const struct ip *address)
{
	return removed(kernel->exempt_fd, address);
}

/* Calls visit(key, value) for every entry. The keys are taken down first: a walk by bpf_map_get_next_key() starts again from the
 * front when its key is deleted under it, and would meet entries twice without end in a busy table. */
typedef int visit_fn(const void *key, const void *value, void *arg);

static int each(int fd, size_t key_bytes, size_t value_bytes, visit_fn *visit, void *arg)
{
	_cleanup_free_ char *keys = NULL;
	_cleanup_free_ void *value = malloc(value_bytes);
	size_t count = 0, capacity = 0;
	int r = 0;

	if (!value)
		return -ENOMEM;
	for (;;) {
		if (count == capacity) {
			char *grown;

			capacity = capacity ? capacity * 2 : 64;
			if (capacity > 4 * MAX_OWN_ADDRESSES) /* more than any table holds: it keeps changing under the walk */
				return -EAGAIN;
			grown = realloc(keys, capacity * key_bytes);
			if (!grown)
				return -ENOMEM;
			keys = grown;
		}
		if (bpf_map_get_next_key(fd, count ? keys + (count - 1) * key_bytes : NULL, keys + count * key_bytes) < 0) {
			if (errno == ENOENT)
				break;
			return -errno;
		}
		count++;
	}
	for (size_t i = 0; i < count && r >= 0; i++) {
		if (bpf_map_lookup_elem(fd, keys + i * key_bytes, value) < 0) {
			if (errno == ENOENT)
				continue; /* gone meanwhile */
			return -errno;
		}
		r = visit(keys + i * key_bytes, value, arg);
	}
	return r < 0 ? r : 0;
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
		return each(kernel->fd, sizeof(key_type), sizeof(value_type), name##_visit, &(struct name##_visit){ fn, arg });\
	}

DEFINE_EACH(kernel_vip_each, kernel_vip_fn, vip_fd, struct ip, uint32_t, key, *value)
DEFINE_EACH(kernel_netns_each, kernel_netns_fn, netns_fd, uint64_t, struct owner, *key, value)
DEFINE_EACH(kernel_cgroup_each, kernel_cgroup_fn, cgroup_fd, uint64_t, struct owner, *key, value)
DEFINE_EACH(kernel_own_address_each, kernel_own_address_fn, own_address_fd, struct own_address_key, uint8_t, key)
DEFINE_EACH(kernel_exempt_each, kernel_exempt_fn, exempt_fd, struct ip, struct exemption, key, value)

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

	return each(kernel->reason_fd, sizeof(struct reason_key), sizeof(uint64_t) * kernel->cpu_count, reason_visit, &visit);
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

int kernel_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg)
{
	_cleanup_close_ int fd = -1;
	struct open_connection batch[64];
	size_t held_bytes = 0;
	int r = 0;

	if (kernel->account_iter_fd < 0)
		return -EOPNOTSUPP;
	fd = bpf_iter_create(kernel->account_iter_fd);
	if (fd < 0)
		return -errno;
	while (r >= 0) {
		const ssize_t n = read(fd, (char *)batch + held_bytes, sizeof(batch) - held_bytes);
		size_t whole;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		held_bytes += n;
		whole = held_bytes / sizeof(batch[0]);
		for (size_t i = 0; i < whole && r >= 0; i++)
			r = fn(&batch[i], arg);
		held_bytes -= whole * sizeof(batch[0]);
		memmove(batch, &batch[whole], held_bytes);
	}
	return r < 0 ? r : 0;
}

static int explain_clear(const void *key, const void *value, void *arg)
{
	(void)value;
	return removed(*(int *)arg, key);
}

static int explain_empty(int fd)
{
	return each(fd, sizeof(struct explain_key), sizeof(uint64_t), explain_clear, &fd);
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
	return each(kernel->explain_fd, sizeof(struct explain_key), sizeof(uint64_t), explain_visit, &(struct explain_visit){ fn, arg });
}
