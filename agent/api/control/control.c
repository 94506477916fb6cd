/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "agent/api/control/control_internal.h"
#include "agent/aws/service.h"
#include "agent/http/target.h"
#include "agent/iam/sts.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define JSON_TYPE "application/json"
#define API_PREFIX "/v20190125"
#define REGION_HEADER "X-Weft-Region"
#define IDENTITY_HEADER "X-Weft-Identity"
#define SOURCE_SUFFIX ".amazonaws.com"

struct call { /* a request to App Mesh on its way */
	struct writer_call base; /* first */
	struct control *control;
	struct http_exchange *exchange;
	struct control_caller caller;
	struct appmesh_identity identity;
};

uint64_t control_wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

void control_make_id(char ret_id[AUDIT_ID_BYTES])
{
	uint8_t random[16] = {};

	if (getrandom(random, sizeof(random), 0) != sizeof(random)) /* whole up to 256 bytes (getrandom(2)) */
		log_error("no random bytes for an id", LOG_F("errno", LOG_INT(errno)));
	appmesh_uid(random, ret_id);
}

/* --- answers ------------------------------------------------------------------------------------------------------------------ */

static void answer(struct http_exchange *exchange, const char *request_id, int status, const char *error, const char *content_type,
		   const char *body, size_t length)
{
	const struct http_header headers[] = {
		{ SPAN("x-amzn-RequestId"), span_of(request_id) },
		{ SPAN("x-amzn-ErrorType"), span_of(error ? error : "") },
	};

	http_answer(exchange, &(struct http_answer){ .status = status, .content_type = content_type, .headers = headers,
						     .header_count = error ? 2 : 1, .body = { body, length } });
}

static void answer_json(struct http_exchange *exchange, const char *request_id, int status, const char *error, const json_t *body)
{
	_cleanup_free_ char *text = body ? appmesh_text(body) : NULL;

	if (text)
		answer(exchange, request_id, status, error, JSON_TYPE, text, strlen(text));
	else
		http_refuse(exchange, HTTP_NO_MEMORY);
}

/* In the way of the service, or of one like it. */
static void answer_error(struct http_exchange *exchange, const char *request_id, int status, bool is_query, const char *error,
			 const char *message)
{
	_cleanup_(buffer_done) struct buffer xml = {};
	_cleanup_json_ json_t *json = NULL;

	if (is_query) {
		sts_error(error, message, request_id, &xml);
		answer(exchange, request_id, status, error, STS_CONTENT_TYPE, buffer_string(&xml), xml.length);
		return;
	}
	json = json_pack("{s:s, s:s}", "__type", error, "message", message);
	answer_json(exchange, request_id, status, error, json);
}

/* What AWS calls, or would, what the HTTP server itself refuses. */
static const char *error_of_status(int status)
{
	switch (status) {
	case 413:
		return "RequestEntityTooLargeException";
	case 500:
		return "InternalServerErrorException";
	case 501:
		return "NotImplemented";
	case 503:
		return "ServiceUnavailableException";
	case 505:
		return "HttpVersionNotSupportedException";
	default:
		return "BadRequestException";
	}
}

static void refuse(enum http_refusal refusal, struct http_answer *ret_answer, void *arg)
{
	static struct http_header headers[2];
	static char body[256];
	struct control *control = arg;
	const char *error = error_of_status(ret_answer->status);

	control_make_id(control->next_id);
	headers[0] = (struct http_header){ SPAN("x-amzn-RequestId"), span_of(control->next_id) };
	headers[1] = (struct http_header){ SPAN("x-amzn-ErrorType"), span_of(error) };
	snprintf(body, sizeof(body), "{\"__type\":\"%s\",\"message\":\"%s\"}", error, http_refusal_text(refusal));
	ret_answer->headers = headers;
	ret_answer->header_count = ARRAY_SIZE(headers);
	ret_answer->content_type = JSON_TYPE;
	ret_answer->body = span_of(body);
}

/* --- who asks ----------------------------------------------------------------------------------------------------------------- */

static void copy_text(struct span text, char *to, size_t size)
{
	const size_t length = MIN(text.length, size - 1);

	memcpy(to, text.data, length);
	to[length] = '\0';
	for (char *c = to; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

void control_caller_init(struct http_exchange *exchange, struct control_caller *ret_caller)
{
	const struct http_peer *peer = http_peer(exchange);
	const struct http_header *agent;
	size_t count;

	memset(ret_caller, 0, sizeof(*ret_caller));
	ret_caller->time_ns = control_wall_ns();
	control_make_id(ret_caller->request_id);
	agent = http_head_find(http_head(exchange), SPAN("User-Agent"), &count);
	if (agent)
		copy_text(agent->value, ret_caller->agent, sizeof(ret_caller->agent));
	if (peer->local)
		snprintf(ret_caller->address, sizeof(ret_caller->address), "local, process %d", peer->pid);
	else
		ip_format(&peer->address, ret_caller->address);
}

void control_caller_identify(const struct control *control, const struct iam_key *key, struct control_caller *caller)
{
	iam_principal_init(key, control->options->settings.account, &caller->principal);
	snprintf(caller->user, sizeof(caller->user), "%s", caller->principal.user);
	caller->principal.user = caller->user; /* outlives the key */
	if (key)
		snprintf(caller->access_key, sizeof(caller->access_key), "%s", key->credential.id);
}

/* --- App Mesh ----------------------------------------------------------------------------------------------------------------- */

static void event_of(const struct call *call, json_t *output, struct control_event *ret_event)
{
	const struct appmesh_answer *a = &call->base.answer;

	*ret_event = (struct control_event){
		.source = "appmesh" SOURCE_SUFFIX,
		.name = a->operation ? a->operation->name : "UnknownOperation",
		.error = a->error,
		.message = a->error ? json_path_string(a->body, "message") : NULL,
		.input = a->input,
		.output = output,
		.is_read = !a->operation || strcmp(a->operation->method, "GET") == 0,
	};
}

static void record_call(struct writer_call *base, char **ret_key, char **ret_value)
{
	struct call *call = (struct call *)base;
	const struct appmesh_answer *a = &base->answer;
	_cleanup_json_ json_t *output = a->operation->result ? json_pack("{s:O}", a->operation->result, a->body) : NULL;
	struct control_event event;

	event_of(call, output, &event);
	control_record(call->control, &call->caller, &event, ret_key, ret_value);
}

static void call_done(struct writer_call *base)
{
	struct call *call = (struct call *)base;
	struct appmesh_answer *a = &base->answer;
	struct control_event event;

	if (!a->change.op_count) { /* a read, or refused: nothing was recorded with it */
		event_of(call, NULL, &event);
		control_note(call->control, &call->caller, &event);
	}
	answer_json(call->exchange, call->caller.request_id, a->status, a->error, a->body);
	appmesh_answer_done(a);
	free(call);
}

/* `identity` NULL: none is taken over. */
static void call_appmesh(struct control *control, struct http_exchange *exchange, const struct control_caller *caller,
			 const struct appmesh_identity *identity)
{
	struct call *call = calloc(1, sizeof(*call));
	size_t length;

	if (!call) {
		http_refuse(exchange, HTTP_NO_MEMORY);
		return;
	}
	call->control = control;
	call->exchange = exchange;
	call->caller = *caller;
	call->caller.principal.user = call->caller.user;
	call->base.request = (struct appmesh_request){
		.method = span_of(http_method(exchange)),
		.target = http_target_origin(http_head(exchange)->target),
		.region = call->caller.region,
		.now_ns = caller->time_ns,
	};
	call->base.request.body.data = http_body(exchange, &length);
	call->base.request.body.length = length;
	control_make_id(call->base.request.uid);
	if (identity) {
		call->identity = *identity;
		call->base.request.identity = &call->identity;
	}
	call->base.record = record_call;
	call->base.done = call_done;
	writer_call(control->writer, &call->base);
}

/* --- STS ---------------------------------------------------------------------------------------------------------------------- */

/* Parameters are those of the query, and of a form. */
static int read_form(struct http_exchange *exchange, struct http_target *ret_target)
{
	_cleanup_(buffer_done) struct buffer text = {};
	const struct span target = http_target_origin(http_head(exchange)->target);
	size_t length;
	const char *body = http_body(exchange, &length);

	if (!length)
		return http_target_init(target, ret_target);
	buffer_add(&text, "/?");
	buffer_append(&text, body, length);
	return buffer_failed(&text) ? -ENOMEM : http_target_init((struct span){ text.data, text.length }, ret_target);
}

static void call_sts(struct control *control, struct http_exchange *exchange, const struct control_caller *caller)
{
	_cleanup_(buffer_done) struct buffer body = {};
	struct http_target target;
	struct sts_request request;
	int status, r = read_form(exchange, &target);

	if (r < 0) {
		answer_error(exchange, caller->request_id, 400, true, "MalformedInput", "the parameters are badly encoded");
		return;
	}
	request = (struct sts_request){ http_target_parameter(&target, "Action"), http_target_parameter(&target, "Version"),
					caller->request_id };
	status = sts_answer(&request, &caller->principal, &body);
	control_note(control, caller,
		     &(struct control_event){ .source = "sts" SOURCE_SUFFIX, .name = request.action ? request.action : "UnknownOperation",
					      .error = status == 200 ? NULL : "InvalidAction", .is_read = true });
	http_target_done(&target);
	if (buffer_failed(&body))
		http_refuse(exchange, HTTP_NO_MEMORY);
	else
		answer(exchange, caller->request_id, status, NULL, STS_CONTENT_TYPE, body.data, body.length);
}

/* --- signed requests ---------------------------------------------------------------------------------------------------------- */

/* A client of a service that is not here reads errors in its own way: XML where it sent a form. */
static bool sends_form(const struct http_exchange *exchange)
{
	size_t count;
	const struct http_header *type = http_head_find(http_head(exchange), SPAN("Content-Type"), &count);

	return type && text_has_prefix(type->value, "application/x-www-form-urlencoded");
}

static void refuse_signature(struct control *control, struct http_exchange *exchange, const struct control_caller *caller,
			     const struct sigv4_refusal *refusal)
{
	const struct aws_service *service = NULL;
	struct aws_scope scope = {};
	_cleanup_(buffer_done) struct buffer message = {};
	const char *error;
	bool is_query;

	snprintf(scope.service, sizeof(scope.service), "%s", refusal->service);
	is_query = aws_service_find(&scope, &service, NULL) == 0 ? service->is_query_protocol : sends_form(exchange);
	error = sigv4_error_code(refusal->reason, is_query);
	control->totals.refused[refusal->reason]++;
	log_limited(LOG_LEVEL_WARN, "a signature is refused", LOG_F("reason", LOG_STR(sigv4_reason_name(refusal->reason))),
		    LOG_F("address", LOG_STR(caller->address)));
	control_note(control, caller,
		     &(struct control_event){ .source = "appmesh" SOURCE_SUFFIX, .name = "UnknownOperation", .error = error,
					      .message = refusal->message, .is_read = true });
	buffer_add(&message, refusal->message);
	if (refusal->detail)
		buffer_printf(&message, "\n\n%s", refusal->detail);
	answer_error(exchange, caller->request_id, 403, is_query, error, buffer_string(&message));
}

static int verify(struct control *control, const struct http_exchange *exchange, uint64_t now_ns, struct sigv4_identity *ret_identity,
		  struct sigv4_refusal *ret_refusal)
{
	const struct http_head *head = http_head(exchange);
	struct sigv4_header headers[HTTP_HEADERS_MAX];
	struct sigv4_request request = { .method = span_of(head->method), .target = http_target_origin(head->target), .headers = headers,
					 .header_count = head->header_count, .now_s = (int64_t)(now_ns / NSEC_PER_SEC) };
	const struct sigv4_rules rules = { .lookup = iam_keys_look_up, .arg = control->keys, .regions = control->options->regions,
					   .region_count = control->options->region_count };
	size_t length;
	const void *body = http_body(exchange, &length);

	digest_sha256(body, length, request.body_sha256);
	for (size_t i = 0; i < head->header_count; i++)
		headers[i] = (struct sigv4_header){ head->headers[i].name, head->headers[i].value };
	return sigv4_verify(control->sigv4, &rules, &request, ret_identity, ret_refusal);
}

static void serve(struct http_exchange *exchange, void *arg)
{
	struct control *control = arg;
	const struct aws_service *service;
	struct control_caller caller;
	struct sigv4_identity identity;
	struct sigv4_refusal refusal = {};
	struct error err = {};
	int r;

	control->totals.requests++;
	control_caller_init(exchange, &caller);
	r = verify(control, exchange, caller.time_ns, &identity, &refusal);
	if (r == -EACCES) {
		refuse_signature(control, exchange, &caller, &refusal);
		return;
	}
	if (r < 0) {
		http_refuse(exchange, HTTP_NO_MEMORY);
		return;
	}
	snprintf(caller.region, sizeof(caller.region), "%s", identity.scope.region);
	control_caller_identify(control, iam_key_of(identity.credential), &caller);
	control_key_used(control, identity.credential, caller.time_ns);
	if (aws_service_find(&identity.scope, &service, &err) < 0) {
		control->totals.other_service++;
		control_note(control, &caller,
			     &(struct control_event){ .source = identity.scope.service, .name = "UnknownOperation", .error = "NotImplemented",
						      .message = err.message, .is_read = true });
		answer_error(exchange, caller.request_id, 501, sends_form(exchange), "NotImplemented", err.message);
	} else if (service->is_query_protocol) {
		call_sts(control, exchange, &caller);
	} else {
		call_appmesh(control, exchange, &caller, NULL);
	}
}

/* --- the local socket --------------------------------------------------------------------------------------------------------- */

bool control_is_api(struct span target)
{
	const struct span path = http_target_origin(target);
	const size_t length = strlen(API_PREFIX);

	return path.length > length && memcmp(path.data, API_PREFIX, length) == 0 && path.data[length] == '/';
}

bool control_serves(const struct control *control, const char *region)
{
	const struct control_options *options = control->options;

	for (size_t i = 0; i < options->region_count; i++)
		if (strcmp(options->regions[i], region) == 0)
			return true;
	return !options->region_count;
}

void control_answer(struct control *control, struct http_exchange *exchange)
{
	struct control_caller caller;
	const struct http_header *region, *header;
	struct appmesh_identity identity;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES], message[sizeof(IDENTITY_HEADER) + sizeof(text)];
	struct error err = {};
	size_t count;

	control_caller_init(exchange, &caller);
	control_caller_identify(control, NULL, &caller);
	region = http_head_find(http_head(exchange), SPAN(REGION_HEADER), &count);
	copy_text(region ? region->value : span_of(control->options->home_region), caller.region, sizeof(caller.region));
	if (!aws_is_scope_name(span_of(caller.region)) || !control_serves(control, caller.region)) {
		answer_error(exchange, caller.request_id, 400, false, "BadRequestException", REGION_HEADER ": the region is not served here");
		return;
	}
	header = http_head_find(http_head(exchange), SPAN(IDENTITY_HEADER), &count);
	if (header && appmesh_identity_read(header->value, control->options->settings.account, &identity, &err) < 0) {
		snprintf(message, sizeof(message), IDENTITY_HEADER ": %s", error_text(&err, text, sizeof(text)));
		answer_error(exchange, caller.request_id, appmesh_error_find(err.code)->status, false, appmesh_error_find(err.code)->name,
			     message);
		return;
	}
	call_appmesh(control, exchange, &caller, header ? &identity : NULL);
}

void control_quotas(struct control *control, struct http_exchange *exchange)
{
	json_t *list = json_array();

	for (size_t i = 0; i < APPMESH_QUOTA_COUNT; i++)
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "quota", appmesh_quotas[i].name, "value",
						      (json_int_t)control->options->settings.quotas[i], "default",
						      (json_int_t)appmesh_quotas[i].usual));
	http_reply_json(exchange, 200, json_pack("{s:o}", "quotas", list));
}

struct http_server *control_server(const struct control *control)
{
	return control->server;
}

void control_totals(const struct control *control, struct control_totals *ret_totals)
{
	*ret_totals = control->totals;
	for (int i = 0; i < WRITER_COUNTS; i++)
		ret_totals->writer[i] = writer_count(control->writer, (enum writer_count)i);
	ret_totals->audit_lost = control->audit ? audit_lost(control->audit) : 0;
}

static json_t *store_json(const struct store *store)
{
	json_t *counts = store ? json_object() : NULL;

	for (int i = 0; counts && i < STORE_COUNTS; i++)
		json_object_set_new(counts, store_count_name((enum store_count)i), json_integer((json_int_t)store_count(store, (enum store_count)i)));
	return counts;
}

static json_t *audit_json(const struct audit *audit)
{
	return audit ? json_pack("{s:I, s:I, s:I}", "records", (json_int_t)audit_records(audit), "removed", (json_int_t)audit_removed(audit),
				 "lost", (json_int_t)audit_lost(audit)) :
		       NULL;
}

void control_counts(struct control *control, struct http_exchange *exchange)
{
	json_t *refused = json_object(), *writer = json_object();
	struct control_totals totals;

	control_totals(control, &totals);
	for (int i = 0; i < SIGV4_REASON_COUNT; i++)
		if (totals.refused[i])
			json_object_set_new(refused, sigv4_reason_name((enum sigv4_reason)i), json_integer((json_int_t)totals.refused[i]));
	for (int i = 0; i < WRITER_COUNTS; i++)
		json_object_set_new(writer, writer_count_name((enum writer_count)i), json_integer((json_int_t)totals.writer[i]));
	http_reply_json(exchange, 200,
			json_pack("{s:s?, s:s?, s:I, s:o, s:I, s:o, s:o?, s:o?}", "address", control->options->address, "readOnly",
				  control->options->settings.read_only, "requests", (json_int_t)totals.requests, "refused", refused,
				  "otherService", (json_int_t)totals.other_service, "writer", writer, "store", store_json(control->store),
				  "audit", audit_json(control->audit)));
}

/* --- resources that come from elsewhere ---------------------------------------------------------------------------------------- */

int control_show(struct control *control, const struct resource *before, const struct resource *now)
{
	const struct resource *resource = now ? now : before;
	const struct appmesh_scope scope = { control->options->settings.account, control->options->home_region };
	char key[APPMESH_KEY_BYTES];

	if (appmesh_resource_key(key, scope, resource->kind, resource->mesh, resource->parent, resource->name) < 0)
		return -ENOMEM;
	return writer_show(control->writer, key, now, (int64_t)(control_wall_ns() / NSEC_PER_MSEC));
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

static const struct http_service control_service = {
	.name = "api",
	.handler = serve,
	.refuse = refuse,
	.body_limit_bytes = WRITER_BODY_LIMIT_BYTES,
	.connections_max = CONTROL_CONNECTIONS_MAX,
};

static int listen_api(struct control *control, struct error *err)
{
	const char *address = control->options->address;
	struct error cause = {};
	struct ip ip;
	__be16 port;
	int r;

	if (!address)
		return 0;
	if (ip_port_parse(address, &ip, &port) < 0)
		return error_set_field(err, -EINVAL, "api", "'%s' is no address and port, as 127.0.0.1:9080", address);
	if (!ip_is_loopback(&ip) && !control->options->plaintext)
		return error_set_field(err, -EINVAL, "api",
				       "'%s' can be reached from outside, and requests are not encrypted: say --api-plaintext if that is meant",
				       address);
	r = http_server_new(control->loop, address, &control_service, control, &control->server, &cause);
	if (r < 0)
		return error_set_field(err, r, "api", "%s", cause.message);
	log_info("the control API listens", LOG_F("address", LOG_STR(address)));
	return 0;
}

int control_new(struct loop *loop, struct store *store, const struct control_options *options,
		const struct writer_callbacks *callbacks, struct control **ret_control, struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control)
		return error_set(err, -ENOMEM, "out of memory");
	control->loop = loop;
	control->store = store;
	control->options = options;
	r = writer_new(store, options->home_region, &options->settings, callbacks, &control->writer, err);
	if (r == 0 && ((store && audit_new(loop, store, &control->audit) < 0) || iam_keys_new(&options->root, &control->keys) < 0 ||
		       sigv4_new(&control->sigv4) < 0))
		r = error_set(err, -ENOMEM, "out of memory");
	if (r == 0 && store)
		r = control_keys_start(control, err);
	if (r == 0)
		r = listen_api(control, err);
	if (r < 0) {
		control_stop(control);
		control_free(control);
		return r;
	}
	*ret_control = control;
	return 0;
}

void control_stop(struct control *control)
{
	control->server = http_server_free(control->server);
	if (control->writer)
		writer_stop(control->writer);
	if (control->audit)
		audit_stop(control->audit);
	control->keys_mirror = mirror_free(control->keys_mirror);
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	writer_free(control->writer);
	audit_free(control->audit);
	iam_keys_free(control->keys);
	sigv4_free(control->sigv4);
	free(control);
	return NULL;
}
