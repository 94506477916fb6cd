/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is explained: its connection by the kernel, as any other; where that is handed over, or comes to a virtual gateway,
 * weft-proxy is asked, whose matcher it is (agent/l7/explain.h). What it says is told with names that it does not know: those of routes in
 * full, and of zones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/explain.h"
#include "agent/http/byte.h"
#include "agent/http/url.h"
#include "agent/proxy/control.h"
#include "base/address.h"
#include "base/cleanup.h"

struct explain_request {
	struct url url;
	char *text, *method, *to, *host;
	json_t *headers; /* [[NAME, VALUE]…] */
	uint32_t count;
	/* once it is under way: */
	struct agent *agent;
	struct http_exchange *exchange;
	json_t *answer;
};

struct explain_request *explain_request_free(struct explain_request *request)
{
	if (!request)
		return NULL;
	url_done(&request->url);
	free(request->text);
	free(request->method);
	free(request->to);
	free(request->host);
	json_decref(request->headers);
	json_decref(request->answer);
	free(request);
	return NULL;
}

static void cleanup_request(struct explain_request **request)
{
	explain_request_free(*request);
}

const char *explain_request_to(const struct explain_request *request)
{
	return request->to;
}

uint16_t explain_request_port(const struct explain_request *request)
{
	return request->url.port;
}

/* --- what is asked ------------------------------------------------------------------------------------------------------- */

static int header_read(struct explain_request *request, const json_t *one, struct error *err)
{
	const char *name = json_path_string(one, "name"), *value = json_path_string(one, "value");

	if (!name || !*name || !http_bytes_are(HTTP_BYTE_TOKEN, span_of(name)))
		return error_set_field(err, -EINVAL, "headers", "'%s' is no name of a header", name ?: "");
	if (!value || !http_bytes_are(HTTP_BYTE_TEXT, span_of(value)))
		return error_set_field(err, -EINVAL, "headers", "the value of '%s' is none that a header has", name);
	if (!strcasecmp(name, "host")) {
		free(request->host);
		request->host = strdup(value);
		return request->host ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	return json_array_append_new(request->headers, json_pack("[s, s]", name, value)) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;
}

static int headers_read(struct explain_request *request, const json_t *headers, struct error *err)
{
	request->headers = json_array();
	if (!request->headers)
		return error_set(err, -ENOMEM, "out of memory");
	if (json_array_size(headers) > HTTP_HEADERS_MAX)
		return error_set_field(err, -EINVAL, "headers", "%zu are given, %d are possible", json_array_size(headers), HTTP_HEADERS_MAX);
	for (size_t i = 0; i < json_array_size(headers); i++) {
		int r = header_read(request, json_array_get(headers, i), err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_all(const json_t *body, struct explain_request *request, struct error *err)
{
	const char *to = json_path_string(body, "to"), *method = json_path_string(body, "method") ?: "GET";
	const int64_t count = json_path_int(body, "count", 0);
	struct error cause = {};
	int r;

	if (!to)
		return error_set_field(err, -EINVAL, "to", "missing, or not a string");
	r = url_parse(to, &request->url, &cause);
	if (r < 0)
		return error_set_field(err, r, "to", "%s", cause.message);
	if (!*method || !http_bytes_are(HTTP_BYTE_TOKEN, span_of(method)))
		return error_set_field(err, -EINVAL, "method", "'%s' is no method", method);
	if (count < 0 || count > EXPLAIN_DRAWS_MAX)
		return error_set_field(err, -EINVAL, "count", "for requests it is a number from 1 to %d", EXPLAIN_DRAWS_MAX);
	request->count = (uint32_t)count;
	request->text = strdup(to);
	request->method = strdup(method);
	if (!request->text || !request->method ||
	    asprintf(&request->to, request->url.is_v6 ? "[%s]:%u" : "%s:%u", request->url.host, request->url.port) < 0) {
		request->to = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return headers_read(request, json_object_get(body, "headers"), err);
}

int explain_request_read(const json_t *body, struct explain_request **ret_request, struct error *err)
{
	_cleanup_(cleanup_request) struct explain_request *request = calloc(1, sizeof(*request));
	int r = request ? read_all(body, request, err) : error_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		*ret_request = TAKE_PTR(request);
	return r;
}

/* --- names --------------------------------------------------------------------------------------------------------------- */

static const struct plan_port *port_of(const struct plan *plan, const json_t *said)
{
	const char *name = json_path_string(said, "service");
	const struct plan_service *service = plan && name ? plan_find_service(plan, name) : NULL;

	for (size_t i = 0; service && i < service->port_count; i++)
		if (service->ports[i].port == json_path_int(said, "port", 0))
			return &service->ports[i];
	return NULL;
}

static bool name_as(json_t *object, const char *full_name)
{
	if (strcmp(strrchr(full_name, '/') + 1, json_path_string(object, "route") ?: ""))
		return false;
	json_object_set_new(object, "route", json_string(full_name));
	return true;
}

/* weft-proxy knows a route by its own name, which is one of its router's; */
static void name_route(const struct plan_port *port, json_t *object)
{
	if (port && port->by_weights && port->route)
		name_as(object, port->route);
	for (size_t i = 0; port && port->l7 && i < port->l7->route_count; i++)
		if (name_as(object, port->l7->routes[i].resource->full_name))
			return;
}

/* or of its gateway's. */
static void name_gateway_route(const struct plan_node *gateway, json_t *object)
{
	for (size_t i = 0; gateway && i < gateway->route_count; i++)
		if (name_as(object, gateway->routes[i].resource->full_name))
			return;
}

static const char *zone_of_slot(struct agent *agent, const struct target_record *record, uint32_t slot)
{
	for (int family = 0; record && family < LIST_COUNT; family++)
		for (uint32_t i = 0; i < record->count[family]; i++) {
			const struct endpoint_ref *ref = &agent->kernel.memory.refs[record->first[family] + i];

			if (ref->slot == slot)
				return plan_zone_name(apply_current(agent->apply), ref->zone);
		}
	return NULL;
}

static void name_zones(struct agent *agent, const json_t *target)
{
	const char *name = json_path_string(target, "target");
	const struct target_record *record = name ? explain_target_record(agent, name) : NULL;
	json_t *endpoint;
	size_t i;

	json_array_foreach(json_object_get(target, "endpoints"), i, endpoint) {
		const char *zone = zone_of_slot(agent, record, (uint32_t)json_path_int(endpoint, "slot", 0));

		json_object_set_new(endpoint, "zone", zone ? json_string(zone) : json_null());
	}
}

/* The limits of a target that workloads here serve; of one elsewhere they are that node's affair. */
static void tell_pool(struct agent *agent, json_t *target)
{
	const struct plan *plan = apply_current(agent->apply);
	const char *name = json_path_string(target, "target");

	for (size_t i = 0; plan && name && i < plan->serving_count; i++) {
		const struct plan_serving *serving = &plan->servings[i];
		const struct resource *node = strcmp(serving->target, name) ? NULL : resources_get(agent_in_force(agent), serving->node);

		if (node) {
			json_object_set_new(target, "pool", api_pool_json(agent, node, serving->listener));
			return;
		}
	}
}

static void name_all(const struct explain_request *request, json_t *said)
{
	const struct plan *plan = apply_current(request->agent->apply);
	const struct plan_port *port = port_of(plan, said);
	json_t *gateway = json_object_get(said, "gateway"), *one;
	const struct plan_node *node = plan_find_gateway(plan, json_path_string(request->answer, "from") ?: "");
	size_t i;

	name_gateway_route(node, gateway);
	json_array_foreach(json_object_get(gateway, "routes"), i, one)
		name_gateway_route(node, one);
	name_route(port, said);
	json_array_foreach(json_object_get(said, "routes"), i, one)
		name_route(port, one);
	json_array_foreach(json_object_get(said, "targets"), i, one) {
		name_zones(request->agent, one);
		tell_pool(request->agent, one);
	}
}

/* --- the answer ---------------------------------------------------------------------------------------------------------- */

static void reply(struct explain_request *request, json_t *said, const char *trouble)
{
	json_t *answer = TAKE_PTR(request->answer);

	json_object_set_new(answer, "url", json_string(request->text));
	json_object_set_new(answer, "method", json_string(request->method));
	json_object_set_new(answer, "request", said ?: json_null());
	json_object_set_new(answer, "requestError", trouble ? json_string(trouble) : json_null());
	http_reply_json(request->exchange, 200, answer);
	explain_request_free(request);
}

static void on_explained(const json_t *nothing, int fd, const struct error *err, void *arg)
{
	struct explain_request *request = arg;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error cause = {};
	json_t *said = NULL;
	size_t length;

	(void)nothing;
	if (!err && control_file_read(fd, &said, &length, &cause) < 0)
		err = &cause;
	if (!err && request->agent->apply)
		name_all(request, said);
	reply(request, said, err ? error_text(err, text, sizeof(text)) : NULL);
}

void explain_request_answer(struct agent *agent, struct http_exchange *exchange, struct explain_request *request,
			    const struct explain_way *way, json_t *answer)
{
	char destination[IP_TEXT_BYTES];
	json_t *question;

	request->agent = agent;
	request->exchange = exchange;
	request->answer = answer;
	if (!way->proxied && !way->gateway)
		return reply(request, NULL, NULL);
	question = json_pack("{s:s, s:I, s:b, s:I, s:I, s:s, s:i, s:s, s:s, s:s, s:O, s:I}", "op", "explain", "source", (json_int_t)way->node,
			     "gateway", way->gateway, "service", (json_int_t)way->service, "netnsCookie", (json_int_t)way->netns_cookie, "destination",
			     ip_format(&way->destination, destination), "port", (int)way->port, "method", request->method, "target",
			     request->url.target, "host", request->host ?: request->url.authority, "headers", request->headers, "count",
			     (json_int_t)request->count);
	supervisor_ask(agent->supervisor, question, on_explained, request);
}
