/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/edge.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/address.h"
#include "maps/pinned.h"

_Static_assert(sizeof(struct edge_connection) % 8 == 0, "parts of the table are whole pages");

static struct exposed_key key_of(const struct ip *address, __be16 port)
{
	return (struct exposed_key){ .address = *address, .port = port };
}

int edge_exposed_set(struct kernel *kernel, const struct ip *address, __be16 port, const struct exposed *exposed)
{
	const struct exposed_key key = key_of(address, port);

	return pinned_map_set(kernel->exposed_fd, &key, exposed);
}

int edge_exposed_remove(struct kernel *kernel, const struct ip *address, __be16 port)
{
	const struct exposed_key key = key_of(address, port);

	return pinned_map_remove(kernel->exposed_fd, &key);
}

int edge_device_set(struct kernel *kernel, uint32_t index, const struct edge_device *device)
{
	return pinned_map_set(kernel->edge_device_fd, &index, device);
}

int edge_device_remove(struct kernel *kernel, uint32_t index)
{
	return pinned_map_remove(kernel->edge_device_fd, &index);
}

struct exposed_visit {
	edge_exposed_fn *fn;
	void *arg;
};

static int exposed_visit(const void *key, const void *value, void *arg)
{
	const struct exposed_visit *visit = arg;

	return visit->fn(key, value, visit->arg);
}

int edge_exposed_each(struct kernel *kernel, edge_exposed_fn *fn, void *arg)
{
	return pinned_map_each(kernel->exposed_fd, sizeof(struct exposed_key), sizeof(struct exposed), exposed_visit,
			       &(struct exposed_visit){ fn, arg });
}

struct device_visit {
	edge_device_fn *fn;
	void *arg;
};

static int device_visit(const void *key, const void *value, void *arg)
{
	const struct device_visit *visit = arg;

	return visit->fn(*(const uint32_t *)key, value, visit->arg);
}

int edge_device_each(struct kernel *kernel, edge_device_fn *fn, void *arg)
{
	return pinned_map_each(kernel->edge_device_fd, sizeof(uint32_t), sizeof(struct edge_device), device_visit,
			       &(struct device_visit){ fn, arg });
}

/* As a socket of the client would stand: TCP_* of include/net/tcp_states.h. */
static uint8_t tcp_state(const struct edge_connection *c)
{
	switch (c->state) {
	case EDGE_SYN_SENT:
		return 2;
	case EDGE_SYN_ANSWERED:
		return 3;
	case EDGE_HALF_CLOSED:
		return c->flags & EDGE_CLIENT_FIN ? 5 : 8; /* fin-wait-2, close-wait */
	case EDGE_CLOSING:
		return 11;
	default:
		return 1;
	}
}

/* A copy that is of one connection, though it may be a moment apart from itself. False: there is none, or not any more. */
static bool take_live(const struct edge_connection *from, struct edge_connection *ret_copy)
{
	const uint32_t incarnation = __atomic_load_n(&from->incarnation, __ATOMIC_ACQUIRE);

	if (__atomic_load_n(&from->state, __ATOMIC_ACQUIRE) <= EDGE_CLOSED)
		return false;
	*ret_copy = *from;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&from->state, __ATOMIC_ACQUIRE) > EDGE_CLOSED &&
	       __atomic_load_n(&from->incarnation, __ATOMIC_ACQUIRE) == incarnation;
}

typedef int live_fn(const struct edge_connection *connection, void *arg);

/* The table is large, and as good as empty on most nodes: a part at a time is in this process's memory, for what is mapped of an array is
 * resident. Parts are whole pages, whatever a connection takes, for it takes a multiple of 8 bytes. */
static int each_live(const struct kernel *kernel, live_fn *fn, void *arg)
{
	const uint32_t count = (uint32_t)sysconf(_SC_PAGESIZE) / 8;
	const size_t bytes = count * sizeof(struct edge_connection);
	int r = 0;

	for (uint32_t first = 0; first < MAX_EDGE_CONNECTIONS && r >= 0; first += count) {
		const struct edge_connection *part = mmap(NULL, bytes, PROT_READ, MAP_SHARED, kernel->edge_fd,
							  (off_t)first * (off_t)sizeof(struct edge_connection));

		if (part == MAP_FAILED)
			return -errno;
		for (uint32_t i = 0; i < count && r >= 0; i++) {
			struct edge_connection c;

			if (take_live(&part[i], &c) && c.account.held)
				r = fn(&c, arg);
		}
		munmap((void *)part, bytes);
	}
	return r < 0 ? r : 0;
}

struct account_visit {
	kernel_account_fn *fn;
	void *arg;
};

static int visit_account(const struct edge_connection *connection, void *arg)
{
	const struct account_visit *visit = arg;

	return visit->fn(&connection->account, visit->arg);
}

int edge_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg)
{
	return each_live(kernel, visit_account, &(struct account_visit){ fn, arg });
}

struct open_visit {
	kernel_open_fn *fn;
	void *arg;
};

static int visit_open(const struct edge_connection *connection, void *arg)
{
	const struct open_visit *visit = arg;
	struct open_connection open = {
		.account = connection->account,
		.live = true,
		.state = tcp_state(connection),
		.bytes_sent = connection->bytes_sent,
		.bytes_received = connection->bytes_received,
		.retransmits = connection->retransmits,
	};

	open.account.local_port = connection->client_port;
	if (open.account.established_ns)
		open.rtt_us = (open.account.established_ns - open.account.connect_ns) / 1000;
	return visit->fn(&open, visit->arg);
}

int edge_open_each(struct kernel *kernel, kernel_open_fn *fn, void *arg)
{
	return each_live(kernel, visit_open, &(struct open_visit){ fn, arg });
}

int edge_sweep_run(struct kernel *kernel, uint64_t now_ns, struct edge_sweep *ret_sweep)
{
	struct edge_sweep request = { .now_ns = now_ns };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &request, .ctx_size_in = sizeof(request));

	if (kernel->edge_sweep_prog_fd < 0)
		return -EOPNOTSUPP;
	if (bpf_prog_test_run_opts(kernel->edge_sweep_prog_fd, &options) < 0)
		return -errno;
	*ret_sweep = request;
	return 0;
}
