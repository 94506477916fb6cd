/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of an access log says of a request: mostly what is there anyway, borrowed for the call. */
#include "agent/l7/internal.h"
#include "base/decimal.h"

#define HEADERS_SET 4

struct line {
	struct http_header request_set[HEADERS_SET], response_set[HEADERS_SET];
	char service_ms[DECIMAL_BYTES], attempts[DECIMAL_BYTES];
};

static bool head_has(const struct http_head *head, struct span name)
{
	size_t count;

	return http_head_find(head, name, &count);
}

/* What the proxy wrote into the head that it sent on. */
static void request_headers(const struct request *request, struct line *line, struct access_log_entry *entry)
{
	const bool outside = request->downstream->gateway;
	struct http_header *set = line->request_set;
	size_t count = 0;

	if (outside || !head_has(&request->head, SPAN("x-request-id")))
		set[count++] = (struct http_header){ SPAN("x-request-id"), span_of(request->id) };
	if (outside || !head_has(&request->head, SPAN("x-forwarded-proto")))
		set[count++] = (struct http_header){ SPAN("x-forwarded-proto"), SPAN("http") };
	if (!request->downstream->inbound && request->tries)
		set[count++] = (struct http_header){ SPAN("x-envoy-attempt-count"),
						     { line->attempts, decimal_write(line->attempts, request->tries) } };
	if (request->original_target.data)
		set[count++] = (struct http_header){ SPAN("x-envoy-original-path"), request->original_target };
	entry->request_set = (struct access_log_headers){ set, count };
	entry->request = (struct access_log_headers){ request->head.headers, request->head.header_count };
}

static void response_headers(const struct request *request, struct line *line, struct access_log_entry *entry)
{
	struct http_header *set = line->response_set;
	size_t count = 0;

	set[count++] = (struct http_header){ SPAN("server"), SPAN("envoy") };
	if (request->first_byte_ns) {
		const uint64_t ms = (request->first_byte_ns - request->sent_ns) / NSEC_PER_MSEC;

		set[count++] = (struct http_header){ SPAN("x-envoy-upstream-service-time"),
						     { line->service_ms, decimal_write(line->service_ms, ms) } };
		entry->response = (struct access_log_headers){ request->answer.headers, request->answer.header_count };
	}
	entry->response_set = (struct access_log_headers){ set, count };
}

static uint64_t since(const struct request *request, uint64_t at_ns)
{
	return at_ns ? at_ns - request->begun_ns : ACCESS_LOG_NO_DURATION;
}

static struct access_log_address address_of(const struct ip *ip, __be16 port)
{
	return (struct access_log_address){ .ip = *ip, .port = port, .known = true };
}

static void outcome(const struct request *request, int status, struct access_log_entry *entry)
{
	const struct l7_reply_row *row = request->reply == L7_REPLY_COUNT ? NULL : &l7_replies[request->reply];

	entry->status = status;
	entry->details = row ? span_of(row->details) : SPAN("via_upstream");
	entry->flags = row ? 1u << row->flag : 0;
	if (request->out_of_retries)
		entry->flags |= ACCESS_LOG_FLAG(UPSTREAM_RETRY_LIMIT_EXCEEDED);
	if (row && row->status)
		entry->local_reply_body = row->body;
	entry->attempts = request->tries;
	entry->bytes_received = request->bytes_received;
	entry->bytes_sent = request->bytes_sent;
}

static void who(const struct request *request, struct access_log_entry *entry)
{
	const struct downstream *d = request->downstream;

	entry->connection_id = d->number;
	entry->downstream_remote = entry->downstream_direct_remote = address_of(&d->peer, d->peer_port);
	entry->downstream_local = address_of(&d->handover.destination, d->handover.port);
	if (request->endpoint) {
		entry->upstream_host = address_of(&request->endpoint->address, request->endpoint->port);
		entry->upstream_protocol = ACCESS_LOG_HTTP_1_1;
	}
	if (request->target)
		entry->cluster = span_of(request->target->cluster);
	if (request->route && request->route->name)
		entry->route = span_of(request->route->name);
}

static void write_line(const struct request *request, int status)
{
	struct worker *worker = request->worker;
	const uint64_t now_ns = time_now_ns();
	const struct http_head *head = &request->head;
	struct line line;
	struct access_log_entry entry = {
		.start_wall_ns = worker->wall_ns + request->begun_ns,
		.protocol = !head->method ? ACCESS_LOG_NO_PROTOCOL : head->minor ? ACCESS_LOG_HTTP_1_1 : ACCESS_LOG_HTTP_1_0,
		.method = head->method ? span_of(head->method) : (struct span){},
		.scheme = SPAN("http"),
		.authority = request->host,
		.path = request->tries && request->sent_target.length ?
				(struct span){ request->sent_target.data, request->sent_target.length } : head->target,
		.original_path = request->original_target,
		.duration_ns = now_ns - request->begun_ns,
		.request_end_ns = since(request, request->received_ns),
		.request_sent_ns = request->tries ? since(request, request->received_ns) : ACCESS_LOG_NO_DURATION,
		.response_begin_ns = since(request, request->first_byte_ns),
		.response_sent_ns = status ? now_ns - request->begun_ns : ACCESS_LOG_NO_DURATION,
	};

	request_headers(request, &line, &entry);
	response_headers(request, &line, &entry);
	outcome(request, status, &entry);
	who(request, &entry);
	if (access_log_write(request->downstream->log->log, worker->index, &entry))
		loop_timer_arm(worker->log_timer, loop_now_ns(worker->loop) + ACCESS_LOG_FLUSH_NS);
}

void request_log(struct request *request, int status)
{
	struct downstream *d = request->downstream;

	if (!d->log && !list_empty(&request->worker->logs))
		d->log = worker_log_get(request->worker, d->place->place->netns_cookie, d->handover.source);
	if (d->log && d->log->log)
		write_line(request, status);
}
