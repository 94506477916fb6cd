/* SPDX-License-Identifier: Apache-2.0 */
/* What a notification says is not read: it only means that everything is looked up again, a moment later, so that a burst of them is
 * one look. */
#include "agent/edge/devices.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "loader/device.h"

#define SETTLE_NS (20 * NSEC_PER_MSEC)
#define RETRY_NS NSEC_PER_SEC
#define READS_PER_TURN 64

struct device {
	struct list node;
	char name[IFNAMSIZ];
	uint32_t owner; /* object id, or 0 */
	uint32_t index; /* 0: there is no such device now */
	struct edge_device record; /* as the kernel has it for `index` */
	bool attached;
	char state[128];
};

struct job_step {
	uint32_t index;
	bool attach;
	int r;
	struct error err;
};

/* Owns what the offload thread uses, so that `devices` may go meanwhile. */
struct job {
	struct devices *devices; /* the loop's; NULL: freed */
	struct kernel *kernel;
	char pin_path[160];
	size_t count;
	struct job_step steps[];
};

struct devices {
	struct loop *loop;
	struct offload *offload;
	struct kernel *kernel;
	char pin_path[160];
	struct list list;
	int fd; /* rtnetlink; -1 until some device is wanted */
	struct loop_io *io;
	struct loop_timer *timer;
	struct job *job;
	bool pruned; /* what earlier agents left has been looked at */
};

/* --- what this namespace has ------------------------------------------------------------------------------------------------------ */

int device_check(const char *name, struct error *err)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};

	if (fd < 0)
		return error_set(err, -errno, "cannot look at devices: %m");
	if (strlen(name) >= IFNAMSIZ || !if_nametoindex(name))
		return error_set_field(err, -ENOENT, "device", "there is no device '%s' in the network namespace of weftd", name);
	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return error_set_field(err, -errno, "device", "cannot look at '%s': %m", name);
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return error_set_field(err, -EOPNOTSUPP, "device", "the packets of '%s' have no Ethernet header: that is not there yet", name);
	return 0;
}

static bool sockaddr_ip(const struct sockaddr *from, struct ip *ret_ip)
{
	*ret_ip = (struct ip){};
	if (from && from->sa_family == AF_INET) {
		ret_ip->words[2] = htonl(0xffff);
		ret_ip->words[3] = ((const struct sockaddr_in *)(const void *)from)->sin_addr.s_addr;
		return true;
	}
	if (from && from->sa_family == AF_INET6) {
		memcpy(ret_ip, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, sizeof(*ret_ip));
		return true;
	}
	return false;
}

static bool is_link_local6(const struct ip *ip)
{
	return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

/* An IPv4 address may be listed under a label, "eth0:1". */
static bool is_of_device(const struct ifaddrs *one, const char *name)
{
	const size_t length = strcspn(one->ifa_name, ":");

	return strlen(name) == length && !strncmp(one->ifa_name, name, length);
}

int device_of_address(const struct ip *address, char ret_name[IFNAMSIZ])
{
	struct ifaddrs *all = NULL;
	int r = -ENOENT;

	if (getifaddrs(&all) < 0)
		return -errno;
	for (const struct ifaddrs *one = all; one && r < 0; one = one->ifa_next) {
		struct ip ip;

		if (!sockaddr_ip(one->ifa_addr, &ip) || !ip_equal(&ip, address))
			continue;
		snprintf(ret_name, IFNAMSIZ, "%.*s", (int)strcspn(one->ifa_name, ":"), one->ifa_name);
		r = 0;
	}
	freeifaddrs(all);
	return r;
}

/* The first address of each family, which is the one that Linux itself would take. */
static struct edge_device record_of(const struct device *device, const struct ifaddrs *all)
{
	struct edge_device record = { .node = device->owner };

	for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
		struct ip ip, *own;

		if (!is_of_device(one, device->name) || !sockaddr_ip(one->ifa_addr, &ip) || is_link_local6(&ip))
			continue;
		own = &record.masquerade[ip_is_v4(&ip) ? LIST_V4 : LIST_V6];
		if (!(own->halves[0] | own->halves[1]))
			*own = ip;
	}
	return record;
}

/* --- attaching -------------------------------------------------------------------------------------------------------------------- */

/* On the offload thread. A device's entry goes after its programs: see loader/device.h. */
static void job_work(void *arg)
{
	struct job *job = arg;
	enum device_how how;
	struct error err = {};
	int r = device_probe(job->pin_path, &how, &err);

	for (size_t i = 0; i < job->count; i++) {
		struct job_step *step = &job->steps[i];

		if (!step->attach) {
			device_detach(job->pin_path, step->index);
			edge_device_remove(job->kernel, step->index);
			continue;
		}
		step->err = err;
		step->r = r < 0 ? r : device_attach(job->pin_path, step->index, how, &step->err);
	}
}

static void devices_look(struct devices *d);

static void step_done(struct devices *d, const struct job_step *step)
{
	list_for_each(it, &d->list) {
		struct device *device = container_of(it, struct device, node);

		if (!step->attach || device->index != step->index)
			continue;
		device->attached = step->r == 0;
		snprintf(device->state, sizeof(device->state), "%s", step->r == 0 ? "attached" : step->err.message);
		if (step->r == 0) {
			log_info("device attached", LOG_F("device", LOG_STR(device->name)));
			continue;
		}
		log_limited(LOG_LEVEL_WARN, "a device is not attached", LOG_F("device", LOG_STR(device->name)),
			    LOG_F("error", LOG_STR(step->err.message)));
		loop_timer_arm(d->timer, loop_now_ns(d->loop) + RETRY_NS);
	}
}

static void job_done(void *arg)
{
	struct job *job = arg;
	struct devices *d = job->devices;

	if (d) {
		d->job = NULL;
		for (size_t i = 0; i < job->count; i++)
			step_done(d, &job->steps[i]);
		devices_look(d); /* what has changed meanwhile */
	}
	free(job);
}

struct steps {
	size_t count, capacity;
	struct job_step *steps;
	bool failed;
};

static void steps_add(struct steps *s, uint32_t index, bool attach)
{
	if (s->count == s->capacity) {
		const size_t capacity = s->capacity ? s->capacity * 2 : 16;
		struct job_step *grown = realloc(s->steps, capacity * sizeof(*grown));

		if (!grown) {
			s->failed = true;
			return;
		}
		s->steps = grown;
		s->capacity = capacity;
	}
	s->steps[s->count++] = (struct job_step){ .index = index, .attach = attach };
}

static void steps_run(struct devices *d, const struct steps *s)
{
	struct job *job;

	if (!s->count)
		return;
	job = calloc(1, sizeof(*job) + s->count * sizeof(job->steps[0]));
	if (job) {
		*job = (struct job){ .devices = d, .kernel = d->kernel, .count = s->count };
		memcpy(job->pin_path, d->pin_path, sizeof(job->pin_path));
		memcpy(job->steps, s->steps, s->count * sizeof(job->steps[0]));
	}
	if (job && offload_submit(d->offload, job_work, job_done, job) == 0) {
		d->job = job;
		return;
	}
	free(job);
	loop_timer_arm(d->timer, loop_now_ns(d->loop) + RETRY_NS);
}

/* --- looking ---------------------------------------------------------------------------------------------------------------------- */

static void device_look(struct devices *d, struct device *device, const struct ifaddrs *all, struct steps *steps)
{
	const uint32_t index = if_nametoindex(device->name);
	struct edge_device record = record_of(device, all);
	int r;

	if (index != device->index) {
		if (device->index)
			steps_add(steps, device->index, false);
		device->attached = false;
		device->record = (struct edge_device){ .pad = 1 }; /* like none that is written */
	}
	device->index = index;
	if (!index) {
		snprintf(device->state, sizeof(device->state), "there is no such device");
		return;
	}
	if (memcmp(&record, &device->record, sizeof(record)) != 0) {
		r = edge_device_set(d->kernel, index, &record);
		if (r < 0) {
			snprintf(device->state, sizeof(device->state), "cannot be written to the kernel: %s", strerror(-r));
			return;
		}
		device->record = record;
	}
	if (!device->attached) {
		snprintf(device->state, sizeof(device->state), "pending");
		steps_add(steps, index, true);
	}
}

struct prune {
	const struct devices *devices;
	struct steps *steps;
};

static int prune_one(uint32_t index, const struct edge_device *record, void *arg)
{
	const struct prune *prune = arg;

	(void)record;
	list_for_each(it, &prune->devices->list)
		if (container_of(it, struct device, node)->index == index)
			return 0;
	steps_add(prune->steps, index, false);
	return 0;
}

static void devices_look(struct devices *d)
{
	struct steps steps = {};
	struct ifaddrs *all = NULL;

	if (d->job)
		return; /* looks again when it is done */
	if (getifaddrs(&all) < 0) {
		loop_timer_arm(d->timer, loop_now_ns(d->loop) + RETRY_NS);
		return;
	}
	list_for_each(it, &d->list)
		device_look(d, container_of(it, struct device, node), all, &steps);
	freeifaddrs(all);
	if (!d->pruned)
		d->pruned = edge_device_each(d->kernel, prune_one, &(struct prune){ d, &steps }) == 0;
	if (steps.failed)
		loop_timer_arm(d->timer, loop_now_ns(d->loop) + RETRY_NS);
	steps_run(d, &steps);
	free(steps.steps);
}

static void on_timer(struct loop_timer *timer __attribute__((unused)), void *arg)
{
	devices_look(arg);
}

static void on_notified(struct loop_io *io __attribute__((unused)), uint32_t events __attribute__((unused)), void *arg)
{
	struct devices *d = arg;
	char buffer[8192];

	for (int i = 0; i < READS_PER_TURN && (recv(d->fd, buffer, sizeof(buffer), 0) >= 0 || errno == ENOBUFS); i++)
		;
	loop_timer_arm(d->timer, loop_now_ns(d->loop) + SETTLE_NS);
}

static int devices_follow(struct devices *d)
{
	const struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	_cleanup_close_ int fd = -1;
	int r;

	if (d->fd >= 0)
		return 0;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) < 0)
		return -errno;
	r = loop_io_add(d->loop, fd, EPOLLIN, on_notified, d, &d->io);
	if (r == 0)
		d->fd = TAKE_FD(fd);
	return r;
}

/* --- what is wanted --------------------------------------------------------------------------------------------------------------- */

static struct device *device_find(const struct devices *d, const char *name)
{
	list_for_each(it, &d->list) {
		struct device *device = container_of(it, struct device, node);

		if (!strcmp(device->name, name))
			return device;
	}
	return NULL;
}

static struct device *device_add(struct devices *d, const char *name)
{
	struct device *device = calloc(1, sizeof(*device));

	if (!device)
		return NULL;
	snprintf(device->name, sizeof(device->name), "%s", name);
	snprintf(device->state, sizeof(device->state), "pending");
	list_append(&d->list, &device->node);
	return device;
}

static void device_drop(struct device *device)
{
	list_remove(&device->node);
	free(device);
}

int devices_want(struct devices *d, const struct device_want wants[], size_t count)
{
	int r = count ? devices_follow(d) : 0;

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (!device_find(d, wants[i].name) && !device_add(d, wants[i].name))
			return -ENOMEM;
	list_for_each_safe(it, &d->list) {
		struct device *device = container_of(it, struct device, node);
		size_t i = 0;

		while (i < count && strcmp(wants[i].name, device->name))
			i++;
		if (i < count) {
			device->owner = wants[i].node;
			continue;
		}
		device_drop(device);
		d->pruned = false; /* its entry is nobody's now */
	}
	devices_look(d);
	return 0;
}

const char *devices_state(const struct devices *d, const char *name)
{
	const struct device *device = device_find(d, name);

	return device ? device->state : "pending";
}

int devices_new(struct loop *loop, struct offload *offload, struct kernel *kernel, const char *instance, struct devices **ret_devices,
		struct error *err)
{
	struct devices *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return error_set(err, -ENOMEM, "out of memory");
	*d = (struct devices){ .loop = loop, .offload = offload, .kernel = kernel, .fd = -1 };
	list_init(&d->list);
	r = kernel_pin_path(instance, d->pin_path, sizeof(d->pin_path), err);
	if (r == 0 && (r = loop_timer_new(loop, on_timer, d, &d->timer)) < 0)
		error_set(err, r, "out of memory");
	if (r < 0) {
		devices_free(d);
		return r;
	}
	*ret_devices = d;
	return 0;
}

struct devices *devices_free(struct devices *d)
{
	if (!d)
		return NULL;
	if (d->job)
		d->job->devices = NULL;
	list_for_each_safe(it, &d->list)
		device_drop(container_of(it, struct device, node));
	loop_timer_free(d->timer);
	loop_io_remove(d->io);
	fd_close(d->fd);
	free(d);
	return NULL;
}
