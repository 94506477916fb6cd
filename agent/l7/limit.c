/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/internal.h"
#include "agent/l7/ledger.h"

#define LOOK_NS (10 * NSEC_PER_MSEC) /* at what other processes have, while somebody waits for it */

unsigned int limit_owner(const struct l7 *l7, uint64_t netns_cookie, __be16 port)
{
	const uint64_t hash = (netns_cookie << 16 | port) * 0x9e3779b97f4a7c15ull;

	return (unsigned int)((hash >> 32) % l7->worker_count);
}

/* --- what all processes have of it (ledger.h) ---------------------------------------------------------------------------- */

static struct ledger *ledger_of(const struct listener_limit *limit)
{
	return limit->worker->l7->ledger;
}

/* Who has the seat knows the configuration: one that drains goes by what that one says. */
static uint32_t max_of(const struct listener_limit *limit, enum ledger_kind kind)
{
	const uint32_t said = limit->worker->draining ? ledger_said(limit->row, kind) : 0;

	if (said)
		return said;
	return kind == LEDGER_CONNECTIONS ? limit->max_connections : limit->max_pending;
}

static bool has_too_many(const struct listener_limit *limit)
{
	return (uint64_t)limit->connections + ledger_others(ledger_of(limit), limit->row, LEDGER_CONNECTIONS) >
	       max_of(limit, LEDGER_CONNECTIONS);
}

/* Requests of those before us that wait have come before ours. */
static uint32_t before_us(const struct listener_limit *limit)
{
	return limit->worker->draining ? 0 : ledger_others_wait(ledger_of(limit), limit->row, loop_now_ns(limit->worker->loop));
}

/* A place for one more connection, or none. */
static bool take_place(struct listener_limit *limit)
{
	const uint32_t max = max_of(limit, LEDGER_CONNECTIONS), left = max - MIN(max, before_us(limit));

	if (!ledger_enter(ledger_of(limit), limit->row, LEDGER_CONNECTIONS, limit->connections, left))
		return false;
	limit->connections++;
	return true;
}

/* --- limits -------------------------------------------------------------------------------------------------------------- */

void limit_adjust(struct listener_limit *limit, const struct listener *listener)
{
	limit->max_connections = listener ? listener->max_connections : LISTENER_UNLIMITED;
	limit->max_pending = listener ? listener->max_pending : LISTENER_UNLIMITED;
	if (!limit->worker->draining) {
		ledger_say(limit->row, LEDGER_CONNECTIONS, limit->max_connections);
		ledger_say(limit->row, LEDGER_PENDING, limit->max_pending);
	}
	while (has_too_many(limit) && !list_empty(&limit->spares))
		upstream_close(container_of(limit->spares.next, struct upstream, limit_node));
}

static void limit_free(struct listener_limit *limit)
{
	if (limit->row)
		ledger_put(ledger_of(limit), limit->row);
	free(limit);
}

struct listener_limit *limit_use(const struct downstream *d, const struct listener *listener)
{
	struct worker *worker = d->worker;
	char key[LEDGER_KEY_BYTES], address[IP_TEXT_BYTES];
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
		limit->row = ledger_get(worker->l7->ledger, key);
		if (!limit->row || table_add(&worker->limits, &limit->node, limit->key) < 0) {
			limit_free(limit);
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

/* What others let go of, or want, is told by nobody. */
static void look_soon(struct worker *worker)
{
	if (worker->limits_looked_at_ns)
		return;
	worker->limits_looked_at_ns = loop_now_ns(worker->loop) + LOOK_NS;
	loop_timer_arm(worker->limit_timer, worker->limits_looked_at_ns);
}

void limit_unuse(struct listener_limit *limit)
{
	limit->users--;
}

enum limit_verdict limit_enter(struct listener_limit *limit, struct request *request)
{
	if (list_empty(&limit->waiting) && take_place(limit))
		return LIMIT_ROOM;
	/* One that waits for another client's next request gives way. */
	if (!list_empty(&limit->spares)) {
		upstream_close(container_of(limit->spares.next, struct upstream, limit_node));
		if (take_place(limit))
			return LIMIT_ROOM;
	}
	if (ledger_is_shared(ledger_of(limit), limit->row))
		look_soon(limit->worker);
	if (!ledger_enter(ledger_of(limit), limit->row, LEDGER_PENDING, limit->pending, max_of(limit, LEDGER_PENDING)))
		return LIMIT_OVER;
	limit->pending++;
	COUNT(request->cluster_row->pending, 1);
	COUNT(request->cluster_row->pending_active, 1);
	request->state = REQUEST_PENDING;
	list_append(&limit->waiting, &request->node);
	return LIMIT_WAIT;
}

void limit_leave(struct listener_limit *limit)
{
	ledger_leave(ledger_of(limit), limit->row, LEDGER_CONNECTIONS, --limit->connections);
	mark_due(limit);
}

void limit_forget(struct request *request)
{
	struct listener_limit *limit = request->downstream->limit;

	list_remove(&request->node);
	ledger_leave(ledger_of(limit), limit->row, LEDGER_PENDING, --limit->pending);
	COUNT(request->cluster_row->pending_active, -1);
}

bool limit_is_short(const struct listener_limit *limit)
{
	return !list_empty(&limit->waiting) || has_too_many(limit) || before_us(limit) > 0;
}

void limit_keep(struct listener_limit *limit, struct upstream *u)
{
	list_append(&limit->spares, &u->limit_node);
	if (ledger_is_shared(ledger_of(limit), limit->row))
		mark_due(limit);
}

/* --- turns --------------------------------------------------------------------------------------------------------------- */

static bool looks_on(const struct listener_limit *limit)
{
	return (limit->worker->draining || ledger_is_shared(ledger_of(limit), limit->row)) &&
	       (!list_empty(&limit->waiting) || !list_empty(&limit->spares));
}

static void limit_run(struct listener_limit *limit)
{
	struct worker *worker = limit->worker;

	while (before_us(limit) > 0 && !list_empty(&limit->spares))
		upstream_close(container_of(limit->spares.next, struct upstream, limit_node));
	while (!list_empty(&limit->waiting) && take_place(limit)) {
		struct request *request = container_of(limit->waiting.next, struct request, node);
		struct downstream *d = request->downstream;

		limit_forget(request);
		request->has_place = true;
		request_try(request);
		downstream_run(d);
	}
	if (looks_on(limit)) {
		ledger_wait(ledger_of(limit), limit->row, loop_now_ns(worker->loop));
		look_soon(worker);
	}
}

void limits_run(struct worker *worker)
{
	while (!list_empty(&worker->limits_due)) {
		struct listener_limit *limit = container_of(worker->limits_due.next, struct listener_limit, due_node);

		list_remove(&limit->due_node);
		limit_run(limit);
	}
}

void limits_look(struct worker *worker)
{
	bool shared = false;

	worker->limits_looked_at_ns = 0;
	for (struct table_node *node = table_first(&worker->limits), *next; node; node = next) {
		struct listener_limit *limit = container_of(node, struct listener_limit, node);

		next = table_next(&worker->limits, node);
		if (!limit->users && !limit->connections) {
			table_remove(&worker->limits, node);
			list_remove(&limit->due_node);
			limit_free(limit);
			continue;
		}
		shared |= ledger_is_shared(ledger_of(limit), limit->row);
		if (!list_empty(&limit->waiting) || looks_on(limit)) /* who had the rest of it may be gone by now */
			mark_due(limit);
	}
	if (shared)
		ledger_sweep(worker->l7->ledger, loop_now_ns(worker->loop));
}
