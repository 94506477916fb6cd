/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/open.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "maps/edge.h"
#include "maps/iterator.h"

struct join {
	kernel_open_fn *fn;
	void *arg;
	struct live_socket *live; /* by cookie */
	size_t live_count, live_capacity;
};

static int add_live(const void *record, void *arg)
{
	struct join *join = arg;

	if (join->live_count == join->live_capacity) {
		const size_t capacity = join->live_capacity ? 2 * join->live_capacity : 256;
		struct live_socket *grown = reallocarray(join->live, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		join->live = grown;
		join->live_capacity = capacity;
	}
	join->live[join->live_count++] = *(const struct live_socket *)record;
	return 0;
}

static int by_cookie(const void *a, const void *b)
{
	const uint64_t left = ((const struct live_socket *)a)->cookie, right = ((const struct live_socket *)b)->cookie;

	return (left > right) - (left < right);
}

static int join_account(const struct account *account, void *arg)
{
	struct join *join = arg;
	struct open_connection open = { .account = *account };
	const struct live_socket key = { .cookie = account->held };
	const struct live_socket *live = bsearch(&key, join->live, join->live_count, sizeof(*join->live), by_cookie);

	if (live) {
		open.live = true;
		open.state = live->state;
		open.rtt_us = live->rtt_us;
		open.retransmits = live->retransmits;
		open.bytes_sent = live->bytes_sent;
		open.bytes_received = live->bytes_received;
	}
	return join->fn(&open, join->arg);
}

int kernel_open_each(struct kernel *kernel, kernel_open_fn *fn, void *arg)
{
	struct join join = { .fn = fn, .arg = arg };
	int r = iterator_each(kernel->live_iter_fd, sizeof(struct live_socket), add_live, &join);

	if (r == 0 || r == -EOPNOTSUPP) {
		if (join.live_count)
			qsort(join.live, join.live_count, sizeof(*join.live), by_cookie);
		r = kernel_socket_account_each(kernel, join_account, &join);
	}
	free(join.live);
	return r < 0 ? r : edge_open_each(kernel, fn, arg);
}
