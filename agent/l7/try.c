/* SPDX-License-Identifier: Apache-2.0 */
/* The tries of a request, and its times. The time of a try, and that of the request, begin when the request is here as a whole (Envoy's
 * route and per-try time-outs); that of the try ends with the head of the answer. */
#include <errno.h>

#include "agent/l7/internal.h"
#include "base/cleanup.h"
#include "base/time.h"

/* --- times --------------------------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : MIN(a, b);
}

static uint64_t idle_until(const struct request *request)
{
	const bool begun = request->state != REQUEST_HEAD && request->state != REQUEST_PARKED;

	return begun && request->timeouts.idle_ns ? request->active_ns + request->timeouts.idle_ns : 0;
}

void request_arm(struct request *request)
{
	uint64_t next_ns = earlier(request->total_until_ns, idle_until(request));

	next_ns = earlier(next_ns, earlier(request->try_until_ns, request->connect_until_ns));
	next_ns = earlier(next_ns, request->again_ns);
	/* A timer that comes too early is armed again then: mostly the request is over by that time, and nothing was done for it. */
	if (!next_ns || (request->armed_ns && request->armed_ns <= next_ns))
		return;
	request->armed_ns = next_ns;
	loop_timer_arm(request->timer, next_ns);
}

void request_active(struct request *request)
{
	request->active_ns = loop_now_ns(request->worker->loop);
}

static void arm_try(struct request *request)
{
	const uint64_t limit_ns = request->route->retry.try_timeout_ns;

	if (limit_ns && request->received && request->state == REQUEST_TRYING)
		request->try_until_ns = loop_now_ns(request->worker->loop) + limit_ns;
}

/* --- a try --------------------------------------------------------------------------------------------------------------- */

void request_try_done(struct request *request)
{
	count_try_done(request);
	outlier_unsaid(request);
	request->try_until_ns = request->connect_until_ns = 0;
}

/* False: there is none, and there will be none. */
static bool again(struct request *request, const struct retry_try *ended)
{
	struct worker *worker = request->worker;
	const struct retry_budget budget = {
		.requests = L7_COUNTED(worker->l7, requests_active),
		.retries = L7_COUNTED(worker->l7, retries_active),
	};
	const enum retry_verdict verdict = retry_decide(&request->route->retry, &request->retry, &budget, ended,
							loop_now_ns(worker->loop), (uint32_t)(worker_random(worker) >> 32),
							&request->again_ns);

	COUNT(worker->stats.verdicts[verdict], 1);
	COUNT(request->cluster_row->verdicts[verdict], 1);
	request->out_of_retries = verdict == RETRY_LIMIT;
	if (verdict != RETRY_AGAIN)
		return false;
	COUNT(worker->stats.retries_active, request->retry.retries == 1);
	request->state = REQUEST_WAITING;
	request_arm(request);
	return true;
}

/* A connection that waited for its next request may be closed by its endpoint at any time, also just as one is sent. What means the same
 * however often it is said is sent once more then, by no one's policy (RFC 9112 section 9.3.1). */
static bool may_be_resent(const struct request *request, enum l7_reply why)
{
	static const char *const idempotent[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };

	if (why != L7_UPSTREAM_CLOSED || !request->on_spare || request->resent || request->retry.body_lost)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(idempotent); i++)
		if (!strcmp(request->head.method, idempotent[i]))
			return true;
	return false;
}

static enum retry_outcome outcome_of(const struct request *request, enum l7_reply why)
{
	if (why == L7_TRY_TIMEOUT)
		return RETRY_TRY_TIMED_OUT;
	return request->connected ? RETRY_NO_RESPONSE : RETRY_NO_CONNECTION;
}

static void try_failed(struct request *request, enum l7_reply why)
{
	const struct retry_try ended = { .outcome = outcome_of(request, why), .grpc_status = -1 };

	if (may_be_resent(request, why)) {
		request_try_done(request);
		request->resent = true;
		COUNT(request->worker->stats.resent, 1);
		request_try(request);
		return;
	}
	count_try_failed(request, why);
	if (why != L7_NO_MEMORY) /* nobody's fault but ours */
		outlier_note(request, true);
	request_try_done(request);
	if (!again(request, &ended))
		request_refuse(request, why);
}

void request_upstream_failed(struct request *request, enum l7_reply why)
{
	request->upstream = NULL;
	switch (request->state) {
	case REQUEST_TRYING:
		try_failed(request, why);
		break;
	case REQUEST_ANSWERING:
		request_refuse(request, why == L7_UPSTREAM_PROTOCOL ? L7_CUT_PROTOCOL : L7_CUT_OFF);
		break;
	default:
		request_refuse(request, L7_CUT_OFF);
	}
}

bool request_answer_retried(struct request *request, int status)
{
	const struct retry_try ended = { .outcome = RETRY_RESPONSE, .status = status, .grpc_status = -1 };
	struct upstream *u = request->upstream;

	count_answer(request, status);
	outlier_note(request, status >= 500);
	if (!retry_covers(&request->route->retry, &ended) || !again(request, &ended))
		return false;
	request->upstream = NULL;
	request_try_done(request);
	upstream_release(u, false);
	return true;
}

void request_connected(struct request *request)
{
	request->connected = true;
	request->connect_until_ns = 0;
}

static void send_head(struct request *request, struct upstream *u)
{
	const struct route_target *text = &request->target_text;
	char peer[IP_TEXT_BYTES];
	struct span target = request->head.target;
	struct request_rewrite rewrite = {
		.host = request->host,
		.request_id = request->id,
		.attempt = request->downstream->inbound ? 0 : request->tries,
		.upgrade = request->upgrade,
	};

	/* Envoy sends the path as it has normalised it. */
	buffer_clear(&request->sent_target);
	if (text->path.data == request->path_buffer.data || target.data != text->path.data) {
		buffer_append(&request->sent_target, text->path.data, text->path.length);
		if (text->has_query) {
			buffer_append(&request->sent_target, "?", 1);
			buffer_append(&request->sent_target, text->query.data, text->query.length);
		}
		target = (struct span){ request->sent_target.data, request->sent_target.length };
	}
	if (request->downstream->gateway) {
		rewrite.from_outside = true;
		rewrite.forwarded_for = ip_format(&request->downstream->peer, peer);
		rewrite.original_path = request->original_target;
	}
	rewrite.target = target;
	rewrite.host_replaced = request->host_replaced;
	request_head_write(&u->output.bytes, &request->head, &rewrite);
	buffer_append(&u->output.bytes, request->replay.data, request->replay.length);
}

static int start_try(struct request *request, const struct target_endpoint *endpoint)
{
	struct upstream *u;
	int r = upstream_get(request, endpoint, &u);

	if (r < 0)
		return r;
	request->upstream = u;
	request->connected = u->connected;
	request->on_spare = u->used;
	count_try(request);
	if (!u->connected)
		request->connect_until_ns = loop_now_ns(request->worker->loop) + L7_CONNECT_LIMIT_NS;
	send_head(request, u);
	return 0;
}

/* False: the request waits for a place among the connections that its listener may have, or is refused. Of a gateway it is a place among the
 * requests that it may have under way, each of which has a connection (App Mesh: the pool is that of the gateway's inner hop). */
static bool has_room(struct request *request)
{
	struct downstream *d = request->downstream;

	if (!d->limit || request->has_place || (d->inbound && !list_empty(&d->own_pool->spares)))
		return true;
	switch (limit_enter(d->limit, request)) {
	case LIMIT_ROOM:
		request->has_place = true;
		return true;
	case LIMIT_WAIT:
		request_arm(request);
		return false;
	default:
		request_refuse(request, L7_OVERFLOW);
		return false;
	}
}

void request_try(struct request *request)
{
	struct downstream *d = request->downstream;
	const struct target_endpoint *endpoint;
	int r;

	request->again_ns = 0;
	if (!has_room(request))
		return;
	endpoint = d->inbound || request->passes ? &d->application : choose_endpoint(request, request->target);
	request->state = REQUEST_TRYING;
	request->endpoint = endpoint;
	if (!endpoint) {
		request_refuse(request, L7_NO_HEALTHY);
		return;
	}
	count_endpoint(request);
	request->tried[request->tries++ % L7_TRIED_MAX] = endpoint->slot;
	request->sent_ns = loop_now_ns(request->worker->loop);
	request->connected = false;
	r = start_try(request, endpoint);
	if (r < 0) {
		try_failed(request, r == -ENOMEM || r == -EMFILE || r == -ENFILE ? L7_NO_MEMORY : L7_CONNECT_FAILED);
		return;
	}
	arm_try(request);
	request_arm(request);
	downstream_run(d); /* sends it, after what is here of the body and had to wait */
}

void request_try_received(struct request *request)
{
	if (!request->route || !request->received)
		return;
	if (request->timeouts.request_ns && !request->upgrade)
		request->total_until_ns = request->retry.deadline_ns = request->received_ns + request->timeouts.request_ns;
	arm_try(request);
}

/* --- out of time --------------------------------------------------------------------------------------------------------- */

static bool is_due(uint64_t at_ns, uint64_t now_ns)
{
	return at_ns && at_ns <= now_ns;
}

static void drop_try(struct request *request, enum l7_reply why)
{
	struct upstream *u = TAKE_PTR(request->upstream);

	upstream_release(u, false);
	try_failed(request, why);
}

/* One of its times has come, the most final first. */
static void run_out(struct request *request, uint64_t now_ns)
{
	const bool answering = request->state == REQUEST_ANSWERING || request->state == REQUEST_TUNNEL;

	if (is_due(request->total_until_ns, now_ns) && request->under_way)
		count_timed_out(request);
	if (is_due(request->total_until_ns, now_ns))
		request_refuse(request, answering ? L7_CUT_BY_TIMEOUT : request->state == REQUEST_PARKED ? L7_NO_SERVICE : L7_REQUEST_TIMEOUT);
	else if (is_due(idle_until(request), now_ns))
		request_refuse(request, answering ? L7_CUT_BY_IDLE : request->received ? L7_IDLE_TIMEOUT : L7_SLOW_REQUEST);
	else if (is_due(request->try_until_ns, now_ns))
		drop_try(request, L7_TRY_TIMEOUT);
	else if (is_due(request->connect_until_ns, now_ns))
		drop_try(request, L7_CONNECT_TIMEOUT);
	else if (is_due(request->again_ns, now_ns))
		request_try(request);
	else
		request_arm(request);
}

void request_on_timer(struct loop_timer *timer, void *arg)
{
	struct request *request = arg;
	struct worker *worker = request->worker;

	(void)timer;
	request->armed_ns = 0;
	if (request->downstream) /* else it is a spare one */
		run_out(request, loop_now_ns(worker->loop));
	worker_reap(worker);
}
