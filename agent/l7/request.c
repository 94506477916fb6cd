/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "agent/http/target.h"
#include "agent/l7/internal.h"
#include "base/cleanup.h"
#include "base/time.h"

#define COPIED_BYTES (16 * 1024) /* pieces of bodies up to that are put behind what waits, others sent from where they are */
#define SPARE_REPLAY_BYTES (4 * 1024) /* what the next request may find in its place */
#define PARKED_LIMIT_NS (2 * NSEC_PER_SEC)

/* --- life ---------------------------------------------------------------------------------------------------------------- */

static void request_reset(struct request *request, struct downstream *d)
{
	const size_t kept = offsetof(struct request, downstream);

	memset((char *)request + kept, 0, sizeof(*request) - kept);
	buffer_clear(&request->replay);
	request->downstream = d;
	request->reply = L7_REPLY_COUNT;
}

struct request *request_free(struct request *request)
{
	loop_timer_free(request->timer);
	http_head_done(&request->head);
	http_head_done(&request->answer);
	buffer_done(&request->path_buffer);
	buffer_done(&request->sent_target);
	buffer_done(&request->rewritten);
	buffer_done(&request->replay);
	free(request);
	return NULL;
}

struct request *request_new(struct downstream *d)
{
	struct worker *worker = d->worker;
	struct request *request;

	if (!list_empty(&worker->spare_requests)) {
		request = container_of(worker->spare_requests.prev, struct request, node);
		list_remove(&request->node);
		worker->spare_request_count--;
	} else {
		request = calloc(1, sizeof(*request));
		if (!request)
			return NULL;
		request->worker = worker;
		list_init(&request->node);
		if (loop_timer_new(worker->loop, request_on_timer, request, &request->timer) < 0) {
			free(request);
			return NULL;
		}
	}
	request_reset(request, d);
	request->begun_ns = request->active_ns = loop_now_ns(worker->loop);
	count_begin(request);
	return request;
}

/* Where it goes is known: it is under way. */
static void set_out(struct request *request)
{
	count_set_out(request);
	request_try_received(request);
	request_try(request);
}

/* Over: counted, and the memory is for the next one. */
static void request_done(struct request *request, int status)
{
	struct worker *worker = request->worker;

	if (request->state == REQUEST_PENDING)
		limit_forget(request);
	if (request->has_place)
		limit_leave(request->downstream->limit);
	request_try_done(request);
	if (request->upstream)
		upstream_release(TAKE_PTR(request->upstream), false);
	count_request(request, status);
	request_log(request, status);
	if (request->view)
		view_unref(request->view);
	request->downstream = NULL;
	if (request->replay.capacity > SPARE_REPLAY_BYTES)
		buffer_done(&request->replay);
	list_remove(&request->node);
	list_append(&worker->spare_requests, &request->node);
	worker->spare_request_count++;
}

void request_abandon(struct request *request, enum l7_reply why)
{
	request->reply = why;
	request_done(request, 0);
}

/* --- answers of our own -------------------------------------------------------------------------------------------------- */

static void write_reply(struct request *request, const struct l7_reply_row *row)
{
	struct downstream *d = request->downstream;
	const struct http_header headers[] = {
		{ SPAN("server"), SPAN("envoy") },
		{ SPAN("x-envoy-overloaded"), SPAN("true") },
	};
	const struct http_answer answer = {
		.status = row->status,
		.content_type = row->body.length ? "text/plain" : NULL,
		.headers = headers,
		.header_count = request->reply == L7_OVERFLOW ? 2 : 1,
		.body = row->body,
	};
	const struct http_frame frame = {
		.date = worker_date(request->worker),
		.connection = downstream_is_last(d) ? "close" : request->head.minor == 0 ? "keep-alive" : NULL,
	};

	http_write_head(&d->output.bytes, &answer, &frame);
	if (!request->head_only)
		buffer_append(&d->output.bytes, row->body.data, row->body.length);
	request->bytes_sent = request->head_only ? 0 : row->body.length;
}

void request_refuse(struct request *request, enum l7_reply reply)
{
	const struct l7_reply_row *row = &l7_replies[reply];
	struct downstream *d = request->downstream;
	const bool begun = request->state == REQUEST_ANSWERING || request->state == REQUEST_TUNNEL;

	request->reply = reply;
	if (begun) { /* whoever reads must see that it is not whole: a plain end would look like the answer's, or the tunnel's */
		if (request->framing == FRAMING_CLOSE || (request->state == REQUEST_TUNNEL && !request->from_upstream_eof))
			setsockopt(d->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
		d->request = NULL;
		request_done(request, request->answer.status);
		downstream_send(d, (struct span){});
		downstream_close(d);
		return;
	}
	d->last |= !request->whole; /* where the next one begins is not known, or not waited for */
	write_reply(request, row);
	request_done(request, row->status);
	downstream_answered(d);
	downstream_run(d);
}

/* --- the head ------------------------------------------------------------------------------------------------------------ */

/* "host:80" is "host". An IPv6 address stands in brackets. */
static struct span without_port(struct span host)
{
	for (size_t i = host.length; i > 0; i--) {
		if (host.data[i - 1] == ':')
			return (struct span){ host.data, i - 1 };
		if (host.data[i - 1] < '0' || host.data[i - 1] > '9')
			break;
	}
	return host;
}

/* False: it is refused. */
static bool read_host(struct request *request, struct span origin)
{
	static const char scheme[] = "http://";
	const struct span target = request->head.target;
	const struct http_header *header;
	size_t hosts;

	header = http_head_find(&request->head, SPAN("Host"), &hosts);
	if (hosts > 1 || (hosts == 0 && request->head.minor > 0)) { /* RFC 9112 section 3.2 */
		request_refuse(request, L7_BAD_REQUEST);
		return false;
	}
	if (origin.data != target.data) { /* "http://host/path": whatever Host says (section 3.2.2) */
		request->host = (struct span){ target.data + strlen(scheme), (size_t)(origin.data - target.data) - strlen(scheme) };
		request->host_replaced = true;
	} else if (header) {
		request->host = header->value;
	}
	return true;
}

static const struct service *backend_named(const struct snapshot *snapshot, const struct caller *caller, struct span host, uint16_t port)
{
	for (size_t i = 0; caller && i < caller->backend_count; i++) {
		const struct service *service = snapshot_service(snapshot, caller->backends[i]);

		if (service && span_equal_nocase(service->host, host) && service_port_handed(service, port))
			return service;
	}
	return NULL;
}

/* Envoy in App Mesh goes by Host alone; what was connected to says it as well here, and stands where Host names no backend. */
const struct service *service_meant(const struct snapshot *snapshot, const struct handover *handover, struct span host)
{
	const struct service *asked = snapshot_service(snapshot, handover->service), *named = NULL;

	host = without_port(host);
	if (host.length && (!asked || !span_equal_nocase(host, asked->host)))
		named = backend_named(snapshot, snapshot_caller(snapshot, handover->source), host, ntohs(handover->port));
	return named ?: asked;
}

static const struct service_port *find_service(struct request *request)
{
	const struct handover *handover = &request->downstream->handover;
	const struct snapshot *snapshot = request->view->snapshot;

	request->caller = snapshot_caller(snapshot, handover->source);
	request->service = service_meant(snapshot, handover, request->host);
	return request->service ? service_port_handed(request->service, ntohs(handover->port)) : NULL;
}

static void park(struct request *request)
{
	request->caller = NULL; /* of the view */
	request->service = NULL;
	view_unref(TAKE_PTR(request->view));
	request->state = REQUEST_PARKED;
	if (!request->total_until_ns)
		request->total_until_ns = loop_now_ns(request->worker->loop) + PARKED_LIMIT_NS;
	list_append(&request->worker->parked, &request->node);
	request_arm(request);
}

static struct route_request asked_of(const struct request *request, uint16_t port)
{
	return (struct route_request){
		.method = span_of(request->head.method),
		.path = request->target_text.path,
		.query = request->target_text.query,
		.scheme = SPAN("http"),
		.authority = request->host,
		.port = port,
		.headers = request->head.headers,
		.header_count = request->head.header_count,
	};
}

static void choose_target(struct request *request, const struct service_port *port)
{
	const struct route_request asked = asked_of(request, port->port);
	int chosen;

	request->route = route_table_find(&port->table, &asked);
	if (!request->route) {
		request_refuse(request, L7_NO_ROUTE);
		return;
	}
	chosen = route_pick(request->route, (uint32_t)(worker_random(request->worker) >> 32));
	request->target = chosen < 0 ? NULL : snapshot_target(request->view->snapshot, request->route->targets[chosen].id);
	if (!request->target) {
		request_refuse(request, L7_NO_TARGET);
		return;
	}
	count_target(request);
	if (request->target->needs_tls) {
		request_refuse(request, L7_NEEDS_TLS);
		return;
	}
	request->timeouts = route_timeouts_to(request->route, request->target->timeouts);
	set_out(request);
}

/* As the listener is now. A connection that came before the listener had a limit is in none, and may be another worker's than those that are:
 * it gets this answer, and the next one counts. */
static void hold_to_limit(struct downstream *d, const struct listener *listener)
{
	if (d->limit)
		limit_adjust(d->limit, listener);
	else if (listener && listener->max_connections != LISTENER_UNLIMITED)
		d->last = true;
}

static const struct route everything; /* tried once, and by no route's name */

/* To the application here: all of it, by no route of anybody's. */
static void serve(struct request *request)
{
	struct downstream *d = request->downstream;
	const struct listener *listener;

	request->caller = snapshot_caller(request->view->snapshot, d->handover.source);
	listener = request->caller ? listener_find(request->caller->listeners, request->caller->listener_count, d->came_to.listener) : NULL;
	hold_to_limit(d, listener);
	request->timeouts = listener ? listener->timeouts : route_timeouts_read(NULL);
	request->route = &everything;
	count_target(request);
	set_out(request);
}

const struct service_port *gateway_route_port(const struct gateway_route *route, const struct service *service)
{
	if (!route->target_port)
		return service->port_count == 1 ? &service->ports[0] : NULL;
	return service_port_find(service, route->target_port);
}

/* What a gateway's route makes of it, from where on it is a request to the service like any other. */
static int pass_gateway(struct request *request, const struct gateway_route *route, const struct route_request *asked)
{
	struct span path;
	int r = gateway_route_rewrite(route, asked, &request->rewritten, &path);

	if (r < 0)
		return r;
	if (!span_equal(path, request->target_text.path)) {
		request->original_target = http_target_origin(request->head.target);
		request->target_text.path = path;
	}
	if (!route->host_kept) {
		request->host = request->service->host;
		request->host_replaced = true;
	}
	return 0;
}

/* From outside: the gateway's routes say which service it is for. */
static void enter_gateway(struct request *request)
{
	struct downstream *d = request->downstream;
	const struct snapshot *snapshot = request->view->snapshot;
	const struct gateway *gateway = snapshot_gateway(snapshot, d->handover.source);
	const struct route_request asked = asked_of(request, ntohs(d->handover.port));
	const struct gateway_route *route = gateway ? gateway_table_find(&gateway->table, &asked) : NULL;
	const struct service_port *port;

	hold_to_limit(d, gateway ? listener_find(gateway->listeners, gateway->listener_count, d->came_to.listener) : NULL);
	if (!route) {
		request_refuse(request, L7_NO_ROUTE);
		return;
	}
	count_entry(request, route->number);
	request->service = snapshot_service(snapshot, route->id);
	port = request->service ? gateway_route_port(route, request->service) : NULL;
	if (!port)
		request_refuse(request, L7_NO_SERVICE);
	else if (route->needs_tls)
		request_refuse(request, L7_NEEDS_TLS);
	else if (pass_gateway(request, route, &asked) < 0)
		request_refuse(request, L7_NO_MEMORY);
	else
		choose_target(request, port);
}

static bool is_filtered(const struct caller *caller)
{
	return caller->drop_all && !caller->audit;
}

/* To an address that the mesh does not know, on a port where a backend of the caller may be meant: Host names none. Envoy in App Mesh has no
 * route for that, whatever the mesh's egress filter; here what may leave the mesh goes on to where it was meant. */
static void pass(struct request *request)
{
	const struct caller *caller = request->caller;

	if (!caller || is_filtered(caller)) {
		request_refuse(request, L7_NO_ROUTE);
		return;
	}
	request->passes = true;
	list_append(&request->worker->passing, &request->node);
	count_target(request);
	request->timeouts = route_timeouts_read(NULL);
	request->route = &everything;
	set_out(request);
}

void request_hold_to_filter(struct request *request)
{
	const struct caller *caller = snapshot_caller(request->worker->view->snapshot, request->downstream->handover.source);
	const bool begun = request->state == REQUEST_ANSWERING || request->state == REQUEST_TUNNEL;

	if (caller && is_filtered(caller))
		request_refuse(request, begun ? L7_FILTER_CLOSED : L7_NO_ROUTE);
}

void request_route(struct request *request)
{
	const struct handover *handover = &request->downstream->handover;
	const struct service_port *port;

	request->view = view_ref(request->worker->view);
	if (request->downstream->inbound) {
		serve(request);
		return;
	}
	if (request->downstream->gateway) {
		enter_gateway(request);
		return;
	}
	port = find_service(request);
	if (port) {
		if (!request->host.data) /* HTTP/1.0 without Host */
			request->host = request->service->host;
		request->total_until_ns = 0;
		choose_target(request, port);
	} else if (snapshot_generation(request->view->snapshot) < handover->generation) {
		park(request);
	} else if (handover->service) {
		request_refuse(request, L7_NO_SERVICE);
	} else {
		pass(request);
	}
}

void request_head_read(struct request *request)
{
	const struct http_head *head = &request->head;
	const struct span origin = http_target_origin(head->target);
	struct downstream *d = request->downstream;
	size_t count;
	int r;

	request->head_only = !strcmp(head->method, "HEAD");
	request_id_format(worker_random(request->worker), worker_random(request->worker), request->id);
	if (!strcmp(head->method, "CONNECT")) {
		request_refuse(request, L7_CONNECT_METHOD);
		return;
	}
	if (!origin.data) {
		request_refuse(request, L7_BAD_PATH);
		return;
	}
	if (!read_host(request, origin))
		return;
	r = route_target_read(origin, &request->path_buffer, &request->target_text);
	if (r < 0) {
		request_refuse(request, r == -ENOMEM ? L7_NO_MEMORY : L7_BAD_PATH);
		return;
	}
	/* To HTTP/2 it would go past the routes. */
	request->upgrade = http_head_find(head, SPAN("Upgrade"), &count) && !head->keep_alive && head->minor > 0 &&
			   header_names(head, SPAN("Connection"), SPAN("upgrade")) && !header_names(head, SPAN("Upgrade"), SPAN("h2c"));
	if (head->minor > 0 && !request->whole && d->length == 0 && header_names(head, SPAN("Expect"), SPAN("100-continue")))
		buffer_add(&d->output.bytes, "HTTP/1.1 100 Continue\r\n\r\n"); /* as Envoy does; the body is streamed anyway */
	request_route(request);
}

/* --- the body ------------------------------------------------------------------------------------------------------------ */

bool request_takes_body(const struct request *request)
{
	switch (request->state) {
	case REQUEST_HEAD:
		return true;
	case REQUEST_TRYING:
	case REQUEST_ANSWERING:
	case REQUEST_TUNNEL:
		return request->upstream && queue_length(&request->upstream->output) <= L7_HIGH_WATER_BYTES;
	case REQUEST_WAITING:
	case REQUEST_PENDING:
	case REQUEST_PARKED: /* kept, to be sent with the next try */
		return request->replay.length < RETRY_BODY_BYTES;
	}
	return false;
}

static void keep_for_replay(struct request *request, const void *data, size_t length)
{
	if (request->retry.body_lost)
		return;
	/* Before there is a connection nothing may be lost: what was read in one turn is kept, and then no more is read. */
	if (!request->upstream || request->replay.length + length <= RETRY_BODY_BYTES)
		buffer_append(&request->replay, data, length);
	else
		request->retry.body_lost = true;
	if (request->retry.body_lost || buffer_failed(&request->replay)) {
		request->retry.body_lost = true;
		buffer_done(&request->replay);
	}
}

static void send_framed(struct request *request, struct span piece)
{
	struct upstream *u = request->upstream;

	if (piece.length > COPIED_BYTES) {
		upstream_send(u, piece);
		return;
	}
	buffer_append(&u->output.bytes, piece.data, piece.length);
}

void request_body(struct request *request, struct span piece)
{
	request->bytes_received += piece.length;
	request_active(request);
	if (request->head.chunked) {
		struct buffer framed = {};

		chunk_begin(&framed, piece.length);
		keep_for_replay(request, framed.data, framed.length);
		if (request->upstream)
			send_framed(request, (struct span){ framed.data, framed.length });
		buffer_done(&framed);
	}
	keep_for_replay(request, piece.data, piece.length);
	if (request->upstream)
		send_framed(request, piece);
	if (request->head.chunked) {
		keep_for_replay(request, CHUNK_END.data, CHUNK_END.length);
		if (request->upstream)
			send_framed(request, CHUNK_END);
	}
}

void request_received(struct request *request)
{
	struct worker *worker = request->worker;

	request->whole = request->received = true;
	request->received_ns = loop_now_ns(worker->loop);
	request_active(request);
	if (request->head.chunked) {
		keep_for_replay(request, CHUNK_LAST.data, CHUNK_LAST.length);
		if (request->upstream)
			send_framed(request, CHUNK_LAST);
	}
	request_try_received(request);
	request_arm(request);
}

/* --- the answer ---------------------------------------------------------------------------------------------------------- */

static enum body_framing framing_of(const struct request *request)
{
	const struct http_head *answer = &request->answer;

	if (request->head_only || answer->status == 204 || answer->status == 304 || answer->status == 101)
		return FRAMING_NONE;
	if (answer->has_length)
		return FRAMING_LENGTH;
	return request->head.minor > 0 ? FRAMING_CHUNKED : FRAMING_CLOSE;
}

void request_upstream_head(struct request *request)
{
	struct downstream *d = request->downstream;
	const int status = request->answer.status;
	struct response_rewrite rewrite;

	request->first_byte_ns = loop_now_ns(request->worker->loop);
	request_active(request);
	if (status == 101 && !request->upgrade) { /* nobody asked for it */
		upstream_release(TAKE_PTR(request->upstream), false);
		request_upstream_failed(request, L7_UPSTREAM_PROTOCOL);
		return;
	}
	if (request_answer_retried(request, status))
		return;
	request->framing = framing_of(request);
	request->try_until_ns = 0;
	d->last |= request->framing == FRAMING_CLOSE;
	rewrite = (struct response_rewrite){
		.framing = request->framing,
		.connection = downstream_is_last(d) ? "close" : request->head.minor == 0 ? "keep-alive" : NULL,
		.service_ms = (request->first_byte_ns - request->sent_ns) / NSEC_PER_MSEC,
		.date = worker_date(request->worker),
		.upgrade = status == 101,
	};
	response_head_write(&d->output.bytes, &request->answer, &rewrite);
	if (status == 101) {
		request->state = REQUEST_TUNNEL;
		COUNT(d->http->upgrades, 1);
		COUNT(d->http->upgrades_active, 1);
		request->total_until_ns = 0;
		downstream_run(d);
	} else {
		request->state = REQUEST_ANSWERING;
	}
}

/* Behind what waits, or at once where it is long. False: the program is gone, and the request with it. */
static bool answer_send(struct request *request, struct span piece)
{
	struct downstream *d = request->downstream;

	request->bytes_sent += piece.length;
	if (piece.length > COPIED_BYTES)
		return downstream_send(d, piece);
	buffer_append(&d->output.bytes, piece.data, piece.length);
	return true;
}

void request_upstream_body(struct request *request, struct span piece)
{
	struct downstream *d = request->downstream;

	request_active(request);
	if (request->framing == FRAMING_CHUNKED)
		chunk_begin(&d->output.bytes, piece.length);
	if (!answer_send(request, piece))
		return;
	if (request->framing == FRAMING_CHUNKED)
		buffer_append(&d->output.bytes, CHUNK_END.data, CHUNK_END.length);
}

void request_upstream_flush(struct request *request)
{
	struct downstream *d = request->downstream;

	downstream_run(d);
	if (d->closed || d->request != request || !request->upstream)
		return;
	if (queue_length(&d->output) > L7_HIGH_WATER_BYTES && !request->upstream->paused)
		upstream_pause(request->upstream, true);
}

void request_upstream_end(struct request *request, bool keep)
{
	struct downstream *d = request->downstream;
	struct upstream *u = TAKE_PTR(request->upstream);

	if (request->framing == FRAMING_CHUNKED)
		buffer_append(&d->output.bytes, CHUNK_LAST.data, CHUNK_LAST.length);
	upstream_release(u, keep && request->received);
	d->last |= !request->received;
	request_done(request, request->answer.status);
	downstream_answered(d);
	downstream_run(d);
}

/* An end goes behind all that was said before it; with both of them the tunnel is over. */
static void tunnel_pass_ends(struct request *request)
{
	struct downstream *d = request->downstream;
	struct upstream *u = request->upstream;
	const bool to_program = request->from_upstream_eof && queue_length(&d->output) == 0;
	const bool to_endpoint = request->from_downstream_eof && queue_length(&u->output) == 0;

	if (to_program)
		shutdown(d->fd, SHUT_WR);
	if (to_endpoint)
		shutdown(u->fd, SHUT_WR);
	if (!to_program || !to_endpoint)
		return;
	d->request = NULL;
	d->eof = true;
	request_done(request, request->answer.status);
	downstream_close(d);
}

void request_downstream_drained(struct request *request)
{
	if (request->from_upstream_eof)
		tunnel_pass_ends(request);
	else if (request->upstream && request->upstream->paused)
		upstream_pause(request->upstream, false);
}

void request_upstream_drained(struct request *request)
{
	request_active(request);
	if (request->from_downstream_eof)
		tunnel_pass_ends(request);
	else
		downstream_run(request->downstream);
}

/* --- tunnels ------------------------------------------------------------------------------------------------------------- */

void request_tunnel(struct request *request, struct span piece)
{
	struct upstream *u = request->upstream;

	request_active(request);
	request->bytes_received += piece.length;
	if (piece.length) {
		upstream_send(u, piece);
		return;
	}
	request->from_downstream_eof = true;
	tunnel_pass_ends(request);
}

void request_upstream_raw(struct request *request, struct span piece)
{
	struct downstream *d = request->downstream;

	request_active(request);
	request->bytes_sent += piece.length;
	if (piece.length) {
		if (downstream_send(d, piece))
			request_upstream_flush(request);
		return;
	}
	request->from_upstream_eof = true;
	upstream_pause(request->upstream, true);
	downstream_run(d);
}
