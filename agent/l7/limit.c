/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/internal.h"

#define KEY_BYTES 96

unsigned int limit_owner(const struct l7 *l7, uint64_t netns_cookie, __be16 port)
{
	const uint64_t hash = (netns_cookie << 16 | port) * 0x9e3779b97f4a7c15ull;

	return (unsigned int)((hash >> 32) % l7->worker_count);
}

void limit_adjust(struct listener_limit *limit, const struct listener *listener)
{
	limit->max_connections = listener ? listener->max_connections : LISTENER_UNLIMITED;
	limit->max_pending = listener ? listener->max_pending : LISTENER_UNLIMITED;
	while (limit->connections > limit->max_connections && !list_empty(&limit->spares))
		upstream_close(container_of(limit->spares.next, struct upstream, limit_node));
}

struct listener_limit *limit_use(const struct downstream *d, const struct listener *listener)
{
	struct worker *worker = d->worker;
	char key[KEY_BYTES], address[IP_TEXT_BYTES];
	const int length = snprintf(key, sizeof(key), "%llx %x %x %s", (unsigned long long)d->place->place->netns_cookie, d->handover.source,
				    d->handover.port, ip_format(&d->came_to.address, address));
	struct table_node *node = table_get(&worker->limits, key);
	struct listener_limit *limit = node ? container_of(node, struct listener_limit, node) : NULL;

	if (!limit) {
		limit = calloc(1, sizeof(*limit) + (size_t)length + 1);
		if (!limit)
			return NULL;
		memcpy(limit->key, key, (size_t)length + 1);
		limit->worker = worker;
		list_init(&limit->spares);
		list_init(&limit->waiting);
		list_init(&limit->due_node);
		if (table_add(&worker->limits, &limit->node, limit->key) < 0) {
			free(limit);
			return NULL;
		}
	}
	limit->users++;
	limit_adjust(limit, listener);
	return limit;
}

/* What became possible, or superfluous, is seen to when the callback at hand is done: whoever leaves is in the middle of something. */
static void mark_due(struct listener_limit *limit)
{
	if (list_empty(&limit->due_node))
		list_append(&limit->worker->limits_due, &limit->due_node);
}

void limit_unuse(struct listener_limit *limit)
{
	limit->users--;
	mark_due(limit);
}

enum limit_verdict limit_enter(struct listener_limit *limit, struct request *request)
{
	/* One that waits for another client's next request gives way. */
	if (limit->connections >= limit->max_connections && !list_empty(&limit->spares)) {
		upstream_close(container_of(limit->spares.next, struct upstream, limit_node));
		limit->connections++;
		return LIMIT_ROOM;
	}
	if (limit->connections < limit->max_connections && list_empty(&limit->waiting)) {
		limit->connections++;
		return LIMIT_ROOM;
	}
	if (limit->pending >= limit->max_pending)
		return LIMIT_OVER;
	limit->pending++;
	request->cluster_row->pending++;
	request->cluster_row->pending_active++;
	request->state = REQUEST_PENDING;
	list_append(&limit->waiting, &request->node);
	return LIMIT_WAIT;
}

void limit_leave(struct listener_limit *limit)
{
	limit->connections--;
	mark_due(limit);
}

void limit_forget(struct request *request)
{
	list_remove(&request->node);
	request->downstream->limit->pending--;
	request->cluster_row->pending_active--;
}

bool limit_is_short(const struct listener_limit *limit)
{
	return !list_empty(&limit->waiting) || limit->connections > limit->max_connections;
}

static void limit_run(struct listener_limit *limit)
{
	while (limit->connections < limit->max_connections && !list_empty(&limit->waiting)) {
		struct request *request = container_of(limit->waiting.next, struct request, node);
		struct downstream *d = request->downstream;

		limit_forget(request);
		limit->connections++;
		request->has_place = true;
		request_try(request);
		downstream_run(d);
	}
	if (limit->users || limit->connections)
		return;
	table_remove(&limit->worker->limits, &limit->node);
	list_remove(&limit->due_node);
	free(limit);
}

void limits_run(struct worker *worker)
{
	while (!list_empty(&worker->limits_due)) {
		struct listener_limit *limit = container_of(worker->limits_due.next, struct listener_limit, due_node);

		list_remove(&limit->due_node);
		limit_run(limit);
	}
}
