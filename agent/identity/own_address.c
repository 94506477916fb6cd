/* SPDX-License-Identifier: Apache-2.0 */
/* A dump says which addresses there are, notifications what changes; both come by one socket, in an order that may differ
 * from that of the changes: a dump may tell of an address whose removal was told before. So during a dump a removal is
 * remembered, and only a notification brings the address back (one comes for every addition). Addresses that a whole dump
 * left out are gone.
 *
 * Where notifications were lost, those that are left in the queue may tell of addresses whose removal was among the lost:
 * they are read before the next dump is asked for, so that it does not seem to confirm them. */
#include "agent/identity/own_address.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/net/netlink.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"

#define REPLY_BYTES 32768 /* what the kernel puts into one message of a dump, at most */
#define READS_PER_TURN 32 /* others want the loop as well */

/* One interface's address. The prefix belongs to its name: 10.0.0.1/24 and 10.0.0.1/32 may be on one interface. */
struct holder {
	uint32_t interface; /* 0: taken over from the agent before */
	uint8_t prefix_bits;
	bool removed; /* by a notification during the dump at hand */
	uint32_t dump; /* that told of it last */
};

struct own_address {
	struct table_node node;
	char key[IP_TEXT_BYTES];
	struct ip address;
	bool in_kernel;
	size_t holder_count;
	struct holder *holders;
};

struct own_addresses {
	struct loop *loop;
	struct kernel *kernel;
	uint64_t netns_cookie;
	struct table addresses;
	int fd; /* -1 until followed */
	struct loop_io *io;
	uint32_t port_id; /* ours: what carries it answers our dump */
	uint32_t dump; /* number of the last one */
	bool dumping;
	bool disturbed; /* messages were lost, or the dump is inconsistent: take another when the queue is empty */
	int first_error; /* of writing to the map, until `ready` was told */
	own_addresses_fn *ready; /* NULL once called */
	void *arg;
};

/* ---- the set, and its copy in the kernel ---- */

static void address_publish(struct own_addresses *set, struct own_address *a)
{
	bool held = false;
	int r = 0;

	for (size_t i = 0; i < a->holder_count; i++)
		held |= !a->holders[i].removed;
	if (held && !a->in_kernel) {
		r = kernel_own_address_set(set->kernel, set->netns_cookie, &a->address);
		a->in_kernel = r == 0;
	} else if (!held && a->in_kernel) {
		r = kernel_own_address_remove(set->kernel, set->netns_cookie, &a->address);
		a->in_kernel = r < 0;
	}
	if (r == 0)
		return;
	if (set->ready && set->first_error == 0)
		set->first_error = r;
	log_limited(LOG_LEVEL_WARN, "cannot write an address of a workload's namespace", LOG_F("address", LOG_STR(a->key)),
		    LOG_F("netns_cookie", LOG_U64(set->netns_cookie)), LOG_F("error", LOG_STR(strerror(-r))));
}

static struct own_address *address_drop(struct own_addresses *set, struct own_address *a)
{
	table_remove(&set->addresses, &a->node);
	free(a->holders);
	free(a);
	return NULL;
}

static struct own_address *address_get(struct own_addresses *set, const struct ip *ip, bool make)
{
	char key[IP_TEXT_BYTES];
	struct table_node *node = table_get(&set->addresses, ip_format(ip, key));
	struct own_address *a;

	if (node || !make)
		return node ? container_of(node, struct own_address, node) : NULL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->address = *ip;
	memcpy(a->key, key, sizeof(key));
	if (table_add(&set->addresses, &a->node, a->key) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

static struct holder *holder_get(struct own_address *a, uint32_t interface, uint8_t prefix_bits, bool make)
{
	struct holder *holders;

	for (size_t i = 0; i < a->holder_count; i++)
		if (a->holders[i].interface == interface && a->holders[i].prefix_bits == prefix_bits)
			return &a->holders[i];
	if (!make)
		return NULL;
	holders = reallocarray(a->holders, a->holder_count + 1, sizeof(*holders));
	if (!holders)
		return NULL;
	a->holders = holders;
	holders[a->holder_count] = (struct holder){ .interface = interface, .prefix_bits = prefix_bits };
	return &holders[a->holder_count++];
}

/* Forgets the holders that were removed, and those that `whole_dump` did not tell of (0: there was none). */
static void address_sweep(struct own_addresses *set, struct own_address *a, uint32_t whole_dump)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->holder_count; i++)
		if (!a->holders[i].removed && (whole_dump == 0 || a->holders[i].dump == whole_dump))
			a->holders[kept++] = a->holders[i];
	a->holder_count = kept;
	address_publish(set, a);
	if (kept == 0 && !a->in_kernel)
		address_drop(set, a);
}

static void sweep(struct own_addresses *set, uint32_t whole_dump)
{
	struct table_node *node = table_first(&set->addresses);

	while (node) {
		struct own_address *a = container_of(node, struct own_address, node);

		node = table_next(&set->addresses, node);
		address_sweep(set, a, whole_dump);
	}
}

static int note(struct own_addresses *set, const struct ip *ip, uint32_t interface, uint8_t prefix_bits, bool added,
		bool from_dump)
{
	/* A removal has to be remembered while a dump is under way. */
	const bool make = added || set->dumping;
	struct own_address *a = address_get(set, ip, make);
	struct holder *holder = a ? holder_get(a, interface, prefix_bits, make) : NULL;

	if (!holder)
		return make ? -ENOMEM : 0;
	if (from_dump && holder->removed)
		return 0;
	holder->removed = !added;
	holder->dump = set->dump;
	if (added || set->dumping)
		address_publish(set, a);
	else
		address_sweep(set, a, 0);
	return 0;
}

/* ---- netlink ---- */

static int start_dump(struct own_addresses *set)
{
	const struct {
		struct nlmsghdr header;
		struct ifaddrmsg address;
	} request = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)), .nlmsg_type = RTM_GETADDR,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = set->dump + 1 },
		.address = { .ifa_family = AF_UNSPEC },
	};

	if (send(set->fd, &request, request.header.nlmsg_len, 0) < 0)
		return -errno;
	set->dump++;
	set->dumping = true;
	set->disturbed = false;
	return 0;
}

static void tell_ready(struct own_addresses *set, int r)
{
	own_addresses_fn *ready = set->ready;

	set->ready = NULL;
	if (ready)
		ready(r, set->arg); /* may free us */
}

/* These return false where `ready` may have been told, for we may be gone then. */
static bool dump_failed(struct own_addresses *set, int r)
{
	set->dumping = false;
	log_limited(LOG_LEVEL_ERROR, "cannot list the addresses of a workload's namespace",
		    LOG_F("netns_cookie", LOG_U64(set->netns_cookie)), LOG_F("error", LOG_STR(strerror(-r))));
	tell_ready(set, r);
	return false;
}

static bool dump_ended(struct own_addresses *set)
{
	set->dumping = false;
	/* A disturbed one may have left out an address that was there all the time: only removals that we were told of
	 * count. */
	sweep(set, set->disturbed ? 0 : set->dump);
	if (set->disturbed || !set->ready)
		return true;
	tell_ready(set, set->first_error);
	return false;
}

static int on_address(struct own_addresses *set, const struct nlmsghdr *message, bool from_dump)
{
	const struct ifaddrmsg *header = NLMSG_DATA(message);
	const struct rtattr *attribute = IFA_RTA(header);
	int length = (int)IFA_PAYLOAD(message);
	const struct rtattr *local = NULL;
	struct ip ip = {};

	/* IFA_LOCAL is ours where there is one (IPv4; IPv6 with a peer); IFA_ADDRESS is then the prefix's, or the peer's. */
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
		if (attribute->rta_type == IFA_LOCAL || (attribute->rta_type == IFA_ADDRESS && !local))
			local = attribute;
	if (!local)
		return 0;
	if (header->ifa_family == AF_INET && RTA_PAYLOAD(local) == 4) {
		ip.bytes[10] = ip.bytes[11] = 0xff;
		memcpy(&ip.bytes[12], RTA_DATA(local), 4);
	} else if (header->ifa_family == AF_INET6 && RTA_PAYLOAD(local) == 16) {
		memcpy(ip.bytes, RTA_DATA(local), 16);
	} else {
		return 0;
	}
	return note(set, &ip, header->ifa_index, header->ifa_prefixlen, message->nlmsg_type == RTM_NEWADDR, from_dump);
}

static bool on_message(struct own_addresses *set, const struct nlmsghdr *message)
{
	const bool from_dump = message->nlmsg_pid == set->port_id && message->nlmsg_seq == set->dump;
	int error;

	if (from_dump && message->nlmsg_flags & NLM_F_DUMP_INTR)
		set->disturbed = true;
	switch (message->nlmsg_type) {
	case NLMSG_ERROR:
	case NLMSG_DONE:
		if (!from_dump)
			return true;
		error = *(const int *)NLMSG_DATA(message); /* both begin with it */
		return error < 0 ? dump_failed(set, error) : dump_ended(set);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg)) && on_address(set, message, from_dump) < 0)
			set->disturbed = true; /* out of memory */
	}
	return true;
}

static void on_readable(struct loop_io *io, uint32_t events, void *arg)
{
	char buffer[REPLY_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct own_addresses *set = arg;
	int r;

	(void)io;
	(void)events;
	/* An empty queue calls for no further turn, so one that has to be emptied before a dump is emptied here. */
	for (int i = 0; i < READS_PER_TURN || (set->disturbed && !set->dumping); i++) {
		ssize_t received = netlink_receive(set->fd, buffer, sizeof(buffer));
		struct nlmsghdr *message = (struct nlmsghdr *)buffer;

		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0 && errno == ENOBUFS) { /* notifications were lost; what is left of a dump still comes */
			set->disturbed = true;
			continue;
		}
		if (received < 0) {
			if (set->disturbed && !set->dumping && (r = start_dump(set)) < 0)
				dump_failed(set, r);
			return;
		}
		for (size_t left = (size_t)received; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
			if (!on_message(set, message))
				return;
	}
}

/* ---- life ---- */

int own_addresses_new(struct loop *loop, struct kernel *kernel, uint64_t netns_cookie, struct own_addresses **ret_addresses)
{
	struct own_addresses *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	set->loop = loop;
	set->kernel = kernel;
	set->netns_cookie = netns_cookie;
	set->fd = -1;
	*ret_addresses = set;
	return 0;
}

int own_addresses_adopt(struct own_addresses *set, const struct ip *ip)
{
	struct own_address *a = address_get(set, ip, true);

	if (!a || !holder_get(a, 0, 0, true))
		return -ENOMEM;
	a->in_kernel = true;
	return 0;
}

int own_addresses_follow(struct own_addresses *set, int route_fd, own_addresses_fn *ready, void *arg)
{
	struct sockaddr_nl name = {};
	socklen_t length = sizeof(name);
	int r;

	if (getsockname(route_fd, (struct sockaddr *)&name, &length) < 0)
		return -errno;
	r = loop_io_add(set->loop, route_fd, EPOLLIN, on_readable, set, &set->io);
	if (r < 0)
		return r;
	set->fd = route_fd;
	set->port_id = name.nl_pid;
	r = start_dump(set);
	if (r < 0) {
		set->io = loop_io_remove(set->io);
		set->fd = -1;
		return r;
	}
	set->ready = ready;
	set->arg = arg;
	return 0;
}

int own_addresses_netns_fd(const struct own_addresses *set)
{
	const int fd = set->fd < 0 ? -1 : ioctl(set->fd, SIOCGSKNS); /* close-on-exec */

	return fd >= 0 ? fd : set->fd < 0 ? -EAGAIN : -errno;
}

struct own_addresses *own_addresses_leave(struct own_addresses *set)
{
	struct table_node *node, *next;

	if (!set)
		return NULL;
	loop_io_remove(set->io);
	fd_close(set->fd);
	for (node = table_first(&set->addresses); node; node = next) {
		next = table_next(&set->addresses, node);
		address_drop(set, container_of(node, struct own_address, node));
	}
	table_done(&set->addresses);
	free(set);
	return NULL;
}

struct own_addresses *own_addresses_free(struct own_addresses *set)
{
	int r;

	if (!set)
		return NULL;
	for (struct table_node *node = table_first(&set->addresses); node; node = table_next(&set->addresses, node)) {
		struct own_address *a = container_of(node, struct own_address, node);

		r = a->in_kernel ? kernel_own_address_remove(set->kernel, set->netns_cookie, &a->address) : 0;
		if (r < 0)
			log_limited(LOG_LEVEL_WARN, "cannot remove an address of a namespace that ended",
				    LOG_F("address", LOG_STR(a->key)), LOG_F("error", LOG_STR(strerror(-r))));
	}
	return own_addresses_leave(set);
}
