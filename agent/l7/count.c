/* SPDX-License-Identifier: Apache-2.0 */
/* What requests add to the counters: of the node (stats.h), and of the namespace that they came in (sidecar.h). */
#include <arpa/inet.h>

#include "agent/l7/internal.h"
#include "maps/abi/row.h"

/* --- where it goes ------------------------------------------------------------------------------------------------------- */

static uint64_t lineage_of(const struct request *request)
{
	if (request->target)
		return request->target->object.lineage;
	return request->downstream->inbound && request->caller ? request->caller->object.lineage : 0;
}

static struct stats_row *row_of(const struct request *request)
{
	const struct handover *handover = &request->downstream->handover;
	struct stats *stats = &request->worker->stats;

	if (request->downstream->inbound)
		return stats_row_get(stats, 0, 0, handover->source);
	return stats_row_get(stats, handover->source, request->service ? request->service->object.id : handover->service,
			     request->target ? request->target->object.id : 0);
}

static struct stats_route *route_row_get(struct request *request, const struct service *service, uint32_t route)
{
	return stats_route_get(&request->worker->stats, request->downstream->handover.source, service ? service->object.id : 0, route);
}

void count_entry(struct request *request, uint32_t route)
{
	request->entry_row = route_row_get(request, NULL, route);
}

static bool is_counted(const struct counted *at, const struct counted *key)
{
	return at->part == key->part && at->service == key->service && at->target == key->target && at->source == key->source &&
	       at->route == key->route && at->listener == key->listener;
}

void count_target(struct request *request)
{
	const struct downstream *d = request->downstream;
	struct counted key = {
		.part = d->part,
		.service = request->service ? request->service->object.lineage : 0,
		.target = lineage_of(request),
		.source = d->handover.source,
		.route = request->route ? request->route->number : 0,
		.listener = d->inbound ? d->came_to.listener : 0,
	};
	struct counted *at = &request->worker->counted[(key.service + 3 * key.target + 7 * key.route + 11 * key.source) % COUNTED_KEPT];

	if (!is_counted(at, &key)) {
		key.row = row_of(request);
		key.cluster_row = sidecar_cluster(d->part, key.service, key.target, key.listener);
		key.route_row = key.route ? route_row_get(request, request->service, key.route) : NULL;
		*at = key;
	}
	request->target_row = at->row;
	request->cluster_row = at->cluster_row;
	request->route_row = at->route_row;
}

void count_set_out(struct request *request)
{
	request->row = request->target_row;
	COUNT(request->row->active, 1);
}

/* --- tries --------------------------------------------------------------------------------------------------------------- */

void count_endpoint(struct request *request)
{
	const struct downstream *d = request->downstream;
	struct sidecar_host *host;

	if (request->passes)
		host = &d->part->passed;
	else
		host = sidecar_host(d->part, request->cluster_row->target, d->inbound ? d->came_to.listener : 0,
				    &request->endpoint->address, request->endpoint->port);
	host->slot = request->endpoint->slot;
	host->incarnation = request->endpoint->incarnation;
	request->host_row = host;
}

void count_try(struct request *request)
{
	request->under_way = true;
	if (request->endpoint->slot != SLOT_NONE)
		__atomic_add_fetch(&request->worker->l7->active[request->endpoint->slot], 1, __ATOMIC_RELAXED);
	COUNT(request->cluster_row->tries, 1);
	COUNT(request->cluster_row->tries_active, 1);
	COUNT(request->host_row->tries, 1);
	COUNT(request->host_row->tries_active, 1);
}

void count_try_done(struct request *request)
{
	if (!request->under_way)
		return;
	request->under_way = false;
	if (request->endpoint->slot != SLOT_NONE)
		__atomic_sub_fetch(&request->worker->l7->active[request->endpoint->slot], 1, __ATOMIC_RELAXED);
	COUNT(request->cluster_row->tries_active, -1);
	COUNT(request->host_row->tries_active, -1);
}

void count_try_failed(struct request *request, enum l7_reply why)
{
	COUNT(request->cluster_row->failed[why], 1);
	COUNT(request->host_row->failed, why != L7_NO_MEMORY); /* which is ours */
	COUNT(request->host_row->connect_failed, why == L7_CONNECT_FAILED || why == L7_CONNECT_TIMEOUT);
	COUNT(request->host_row->timed_out, why == L7_TRY_TIMEOUT);
}

void count_timed_out(struct request *request)
{
	COUNT(request->host_row->failed, request->state == REQUEST_TRYING); /* else its answer has said how it did */
	COUNT(request->host_row->timed_out, 1);
}

void count_answer(struct request *request, int status)
{
	if (status >= 500)
		COUNT(request->host_row->failed, 1);
	else
		COUNT(request->host_row->answered, 1);
}

static void tell_slot(const struct l7 *l7, struct sidecar_host *host)
{
	const uint64_t tries = host->tries - host->told_tries, failed = host->failed - host->told_failed;
	struct endpoint *slot;

	if (!tries && !failed)
		return;
	host->told_tries = host->tries;
	host->told_failed = host->failed;
	slot = l7_slot(l7, &(struct target_endpoint){ .slot = host->slot, .incarnation = host->incarnation });
	if (!slot) /* an application here, or an endpoint that is gone */
		return;
	__atomic_add_fetch(&slot->requests, tries, __ATOMIC_RELAXED);
	__atomic_add_fetch(&slot->request_failures, failed, __ATOMIC_RELAXED);
}

void count_endpoints(struct worker *worker, const struct sidecar *sidecar)
{
	struct sidecar_part *part = sidecar->parts[worker->index];
	struct rows_walk walk = part ? rows_walk(&part->hosts) : (struct rows_walk){};
	struct sidecar_host *host;

	while ((host = rows_next(&walk)))
		tell_slot(worker->l7, host);
}

/* --- requests ------------------------------------------------------------------------------------------------------------ */

static size_t code_of(int status)
{
	return status / 100 < 6 ? (size_t)status / 100 : 0;
}

static void count_on_node(struct request *request, size_t code, uint64_t took_ns)
{
	struct worker *worker = request->worker;
	struct stats_row *row = request->target_row ?: row_of(request);

	COUNT(worker->stats.requests, 1);
	COUNT(worker->stats.requests_active, -1);
	COUNT(worker->stats.retries_active, -(request->retry.retries > 0));
	COUNT(row->active, -(request->row != NULL));
	COUNT(row->requests, 1);
	COUNT(row->codes[code], 1);
	COUNT(row->retries, request->retry.retries);
	COUNT(row->bytes_received, request->bytes_received);
	COUNT(row->bytes_sent, request->bytes_sent);
	COUNT(row->time_ns_sum, took_ns);
	COUNT(row->time_ns[histogram_bucket(took_ns)], 1);
}

static bool is_timeout(enum l7_reply reply)
{
	return reply == L7_REQUEST_TIMEOUT || reply == L7_TRY_TIMEOUT || reply == L7_IDLE_TIMEOUT || reply == L7_CUT_BY_TIMEOUT ||
	       reply == L7_CUT_BY_IDLE;
}

static void count_on_route(struct stats_route *row, const struct request *request, size_t code)
{
	COUNT(row->codes[code], 1);
	COUNT(row->retries, request->retry.retries);
	COUNT(row->timeouts, request->reply != L7_REPLY_COUNT && is_timeout(request->reply));
}

static void count_of_cluster(struct request *request, int status, size_t code, uint64_t now_ns)
{
	struct sidecar_cluster *cluster = request->cluster_row;
	const uint64_t took_ns = request->received ? now_ns - request->received_ns : 0;

	COUNT(cluster->requests, 1);
	COUNT(cluster->codes[code], 1);
	if (request->reply != L7_REPLY_COUNT) {
		COUNT(cluster->replies[request->reply], 1);
		return;
	}
	COUNT(cluster->retry_success, request->retry.retries > 0 && status < 500);
	COUNT(cluster->time_ns_sum, took_ns);
	COUNT(cluster->time_ns[histogram_bucket(took_ns)], 1);
}

void count_begin(struct request *request)
{
	struct sidecar_http *http = request->downstream->http;

	COUNT(request->worker->stats.requests_active, 1);
	COUNT(http->requests, 1);
	COUNT(http->requests_active, 1);
}

/* Weft's own answers, and ends without one. */
static void count_reply(struct request *request, size_t code)
{
	COUNT(request->worker->stats.replies[request->reply], 1);
	COUNT(request->downstream->http->replies[request->reply], 1);
	if (request->reply == L7_NO_ROUTE)
		count_on_route(route_row_get(request, request->service, 0), request, code);
	else if (request->route && request->route->number && !request->route_row) /* it leads nowhere */
		count_on_route(route_row_get(request, request->service, request->route->number), request, code);
}

void count_request(struct request *request, int status)
{
	const uint64_t now_ns = time_now_ns(), took_ns = now_ns - request->begun_ns;
	struct sidecar_http *http = request->downstream->http;
	const size_t code = code_of(status);

	count_on_node(request, code, took_ns);
	COUNT(http->requests_active, -1);
	COUNT(http->upgrades_active, -(request->state == REQUEST_TUNNEL));
	COUNT(http->codes[code], 1);
	COUNT(http->time_ns_sum, took_ns);
	COUNT(http->time_ns[histogram_bucket(took_ns)], 1);
	if (request->cluster_row)
		count_of_cluster(request, status, code, now_ns);
	if (request->route_row)
		count_on_route(request->route_row, request, code);
	if (request->entry_row)
		count_on_route(request->entry_row, request, code);
	if (request->reply != L7_REPLY_COUNT)
		count_reply(request, code);
}
