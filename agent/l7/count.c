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

void count_target(struct request *request)
{
	const struct downstream *d = request->downstream;

	request->cluster_row = sidecar_cluster(d->part, request->service ? request->service->object.lineage : 0, lineage_of(request),
					       d->inbound ? d->came_to.listener : 0);
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

void count_set_out(struct request *request)
{
	request->row = row_of(request);
	request->row->active++;
}

/* --- tries --------------------------------------------------------------------------------------------------------------- */

void count_endpoint(struct request *request)
{
	const struct downstream *d = request->downstream;

	if (request->passes)
		request->host_row = &d->part->passed;
	else
		request->host_row = sidecar_host(d->part, request->cluster_row->target, d->inbound ? d->came_to.listener : 0,
						 &request->endpoint->address, request->endpoint->port);
}

void count_try(struct request *request)
{
	request->under_way = true;
	if (request->endpoint->slot != SLOT_NONE)
		__atomic_add_fetch(&request->worker->l7->active[request->endpoint->slot], 1, __ATOMIC_RELAXED);
	request->cluster_row->tries++;
	request->cluster_row->tries_active++;
	request->host_row->tries++;
	request->host_row->tries_active++;
}

void count_try_done(struct request *request)
{
	if (!request->under_way)
		return;
	request->under_way = false;
	if (request->endpoint->slot != SLOT_NONE)
		__atomic_sub_fetch(&request->worker->l7->active[request->endpoint->slot], 1, __ATOMIC_RELAXED);
	request->cluster_row->tries_active--;
	request->host_row->tries_active--;
}

void count_try_failed(struct request *request, enum l7_reply why)
{
	request->cluster_row->failed[why]++;
	request->host_row->failed += why != L7_NO_MEMORY; /* which is ours */
	request->host_row->connect_failed += why == L7_CONNECT_FAILED || why == L7_CONNECT_TIMEOUT;
	request->host_row->timed_out += why == L7_TRY_TIMEOUT;
}

void count_answer(struct request *request, int status)
{
	if (status >= 500)
		request->host_row->failed++;
	else
		request->host_row->answered++;
}

/* --- requests ------------------------------------------------------------------------------------------------------------ */

static size_t code_of(int status)
{
	return status / 100 < 6 ? (size_t)status / 100 : 0;
}

static void count_on_node(struct request *request, int status, uint64_t took_ns)
{
	struct worker *worker = request->worker;
	struct stats_row *row = request->row ?: row_of(request);

	worker->stats.requests++;
	worker->stats.requests_active--;
	worker->stats.retries_active -= request->retry.retries > 0;
	row->active -= request->row != NULL;
	row->requests++;
	row->codes[code_of(status)]++;
	row->retries += request->retry.retries;
	row->bytes_received += request->bytes_received;
	row->bytes_sent += request->bytes_sent;
	row->time_ns_sum += took_ns;
	row->time_ns[histogram_bucket(took_ns)]++;
	if (request->reply != L7_REPLY_COUNT)
		worker->stats.replies[request->reply]++;
}

static void count_of_cluster(struct request *request, int status, uint64_t now_ns)
{
	struct sidecar_cluster *cluster = request->cluster_row;
	const uint64_t took_ns = request->received ? now_ns - request->received_ns : 0;

	cluster->requests++;
	cluster->codes[code_of(status)]++;
	if (request->reply != L7_REPLY_COUNT) {
		cluster->replies[request->reply]++;
		return;
	}
	cluster->retry_success += request->retry.retries > 0 && status < 500;
	cluster->time_ns_sum += took_ns;
	cluster->time_ns[histogram_bucket(took_ns)]++;
}

void count_begin(struct request *request)
{
	struct sidecar_http *http = request->downstream->http;

	request->worker->stats.requests_active++;
	http->requests++;
	http->requests_active++;
}

void count_request(struct request *request, int status)
{
	const uint64_t now_ns = time_now_ns(), took_ns = now_ns - request->begun_ns;
	struct sidecar_http *http = request->downstream->http;

	count_on_node(request, status, took_ns);
	http->requests_active--;
	http->upgrades_active -= request->state == REQUEST_TUNNEL;
	http->codes[code_of(status)]++;
	http->time_ns_sum += took_ns;
	http->time_ns[histogram_bucket(took_ns)]++;
	if (request->reply != L7_REPLY_COUNT)
		http->replies[request->reply]++;
	if (request->cluster_row)
		count_of_cluster(request, status, now_ns);
}
