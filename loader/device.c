/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/device.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "loader/transaction.h"

/* enum bpf_attach_type of Linux 6.6, which the distribution's headers may be older than */
#define TCX_INGRESS 46
#define TCX_EGRESS 47

#define FILTER_PRIORITY 7757 /* any would do: our verdict hands the packet on to the others */
#define DEVICES_MAX 4096

static const struct side {
	const char *program, *pin;
	int attach_type;
	enum bpf_tc_attach_point point;
} sides[] = {
	/* answers first: a connection whose answers are not translated is of no use */
	{ "prog_edge_egress", "out", TCX_EGRESS, BPF_TC_EGRESS },
	{ "prog_edge_ingress", "in", TCX_INGRESS, BPF_TC_INGRESS },
};

static void link_path(const char *pin_path, uint32_t index, const struct side *side, char path[PIN_PATH_BYTES])
{
	snprintf(path, PIN_PATH_BYTES, "%s/dev_%u_%s", pin_path, index, side->pin);
}

/* Instances tell their filters on one device by this. */
static uint32_t filter_handle(const char *pin_path)
{
	return (uint32_t)hash_string(pin_path) | 1;
}

static int program_open(const char *pin_path, const struct side *side, int *ret_fd, struct error *err)
{
	char path[PIN_PATH_BYTES];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", pin_path, side->program);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return error_set(err, -errno, "cannot open pinned program '%s': %m", path);
	*ret_fd = fd;
	return 0;
}

/* The link that is pinned, where its device is still there. -1: none. A dead one is unpinned. */
static int link_open(const char *path)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);

	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.xdp.ifindex) /* tcx.ifindex is at the same place */
		return TAKE_FD(fd);
	pin_remove(path);
	return -1;
}

static int link_attach(const char *pin_path, uint32_t index, const struct side *side, int program_fd)
{
	_cleanup_close_ int fd = -1;
	char path[PIN_PATH_BYTES];

	link_path(pin_path, index, side, path);
	fd = link_open(path);
	if (fd >= 0)
		return bpf_link_update(fd, program_fd, NULL) < 0 ? -errno : 0;
	fd = bpf_link_create(program_fd, index, side->attach_type, NULL);
	if (fd < 0)
		return fd == -1 ? -errno : fd;
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static int filter_attach(const char *pin_path, uint32_t index, const struct side *side, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = side->point);
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program_fd, .flags = BPF_TC_F_REPLACE, .handle = filter_handle(pin_path),
		    .priority = FILTER_PRIORITY);
	libbpf_print_fn_t print = libbpf_set_print(quiet); /* it speaks of a qdisc that is there already */
	int r = bpf_tc_hook_create(&hook);

	if (r == 0 || r == -EEXIST)
		r = bpf_tc_attach(&hook, &options);
	libbpf_set_print(print);
	return r;
}

static int filter_query(const char *pin_path, uint32_t index, const struct side *side)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = side->point);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = filter_handle(pin_path), .priority = FILTER_PRIORITY);
	libbpf_print_fn_t print = libbpf_set_print(quiet);
	int r = bpf_tc_query(&hook, &options);

	libbpf_set_print(print);
	return r;
}

static void filter_detach(const char *pin_path, uint32_t index, const struct side *side)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = side->point);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = filter_handle(pin_path), .priority = FILTER_PRIORITY);
	libbpf_print_fn_t print = libbpf_set_print(quiet);

	bpf_tc_detach(&hook, &options);
	libbpf_set_print(print);
}

int device_probe(const char *pin_path, enum device_how *ret_how, struct error *err)
{
	_cleanup_close_ int program_fd = -1, link_fd = -1;
	int r = program_open(pin_path, &sides[1], &program_fd, err);

	if (r < 0)
		return r;
	link_fd = bpf_link_create(program_fd, if_nametoindex("lo"), TCX_INGRESS, NULL);
	*ret_how = link_fd < 0 ? DEVICE_BY_FILTER : DEVICE_BY_LINK;
	return 0;
}

int device_attach(const char *pin_path, uint32_t index, enum device_how how, struct error *err)
{
	for (const struct side *side = sides; side < sides + ARRAY_SIZE(sides); side++) {
		_cleanup_close_ int program_fd = -1;
		int r = program_open(pin_path, side, &program_fd, err);

		if (r < 0)
			return r;
		r = how == DEVICE_BY_LINK ? link_attach(pin_path, index, side, program_fd) :
					    filter_attach(pin_path, index, side, program_fd);
		if (r < 0)
			return error_set(err, r, "cannot attach to the device with index %u: %s", index, strerror(-r));
	}
	return 0;
}

bool device_attached(const char *pin_path, uint32_t index, enum device_how how)
{
	for (const struct side *side = sides; side < sides + ARRAY_SIZE(sides); side++) {
		_cleanup_close_ int fd = -1;
		char path[PIN_PATH_BYTES];

		link_path(pin_path, index, side, path);
		if (how == DEVICE_BY_LINK ? (fd = link_open(path)) < 0 : filter_query(pin_path, index, side) < 0)
			return false;
	}
	return true;
}

void device_detach(const char *pin_path, uint32_t index)
{
	for (const struct side *side = sides + ARRAY_SIZE(sides); side-- > sides;) {
		char path[PIN_PATH_BYTES];

		link_path(pin_path, index, side, path);
		if (pin_remove(path) == -ENOENT)
			filter_detach(pin_path, index, side);
	}
}

/* The keys of w_edge_device. 0: there are none, or there is no such map. */
static size_t devices_list(const char *pin_path, uint32_t indices[DEVICES_MAX])
{
	char path[PIN_PATH_BYTES];
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	size_t count = 0;

	snprintf(path, sizeof(path), "%s/w_edge_device", pin_path);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || info.key_size != sizeof(indices[0]))
		return 0;
	while (count < DEVICES_MAX && bpf_map_get_next_key(fd, count ? &indices[count - 1] : NULL, &indices[count]) == 0)
		count++;
	return count;
}

int devices_refresh(const char *pin_path, struct error *err)
{
	_cleanup_free_ uint32_t *indices = calloc(DEVICES_MAX, sizeof(*indices));
	const size_t count = indices ? devices_list(pin_path, indices) : 0;
	int failed = indices ? 0 : error_set(err, -ENOMEM, "out of memory");

	for (size_t i = 0; i < count; i++)
		for (enum device_how how = DEVICE_BY_LINK; how <= DEVICE_BY_FILTER; how++) {
			int r = device_attached(pin_path, indices[i], how) ? device_attach(pin_path, indices[i], how, err) : 0;

			failed = failed ?: r;
		}
	return failed;
}

void devices_detach(const char *pin_path)
{
	_cleanup_free_ uint32_t *indices = calloc(DEVICES_MAX, sizeof(*indices));
	const size_t count = indices ? devices_list(pin_path, indices) : 0;

	for (size_t i = 0; i < count; i++)
		device_detach(pin_path, indices[i]);
}
