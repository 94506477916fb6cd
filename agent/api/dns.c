/* SPDX-License-Identifier: Apache-2.0 */
/* Names on the local socket: /v1/dns and /v1/dns/queries. What weft-proxy knows is asked of it; what it would answer for a name is in
 * the map that it reads, and is looked up there the way it does. */
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/dns/responder.h"
#include "agent/proxy/supervisor.h"
#include "agent/serve.h"
#include "agent/telemetry/names.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "maps/proxy.h"

#define QUERIES_DEFAULT 20

/* A request that waits for weft-proxy. */
struct question {
	struct agent *agent;
	struct http_exchange *exchange;
	json_t *proxy; /* as the supervisor saw it */
	json_t *answer; /* of a look-up, without what weft-proxy knows */
};

static void ask(struct agent *agent, struct http_exchange *exchange, json_t *answer, json_t *request, supervisor_done_fn *done)
{
	struct question *question = calloc(1, sizeof(*question));
	struct error err = {};

	if (!question || !request) {
		json_decref(answer);
		json_decref(request);
		free(question);
		error_set(&err, -ENOMEM, "out of memory");
		return http_reply_error(exchange, &err);
	}
	*question = (struct question){
		.agent = agent, .exchange = exchange, .proxy = supervisor_json(agent->supervisor), .answer = answer
	};
	supervisor_ask(agent->supervisor, request, done, question);
}

static void question_free(struct question *question)
{
	json_decref(question->proxy);
	json_decref(question->answer);
	free(question);
}

static void reply_unavailable(const struct question *question, const struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	http_reply_json(question->exchange, 503,
			json_pack("{s:s, s:O?}", "error", error_text(err, text, sizeof(text)), "proxy", question->proxy));
}

/* ---- the responder ---- */

struct reasons {
	struct agent *agent;
	json_t *list;
};

static int append_reason(const struct reason_key *key, uint64_t count, void *arg)
{
	struct reasons *reasons = arg;

	if (!count || (key->reason != REASON_DNS_BYPASS && key->reason != REASON_DNS_OTHER))
		return 0;
	return json_array_append_new(reasons->list,
				     json_pack("{s:s?, s:s, s:I, s:s}", "from",
					       key->source ? agent_object_name(reasons->agent, key->source) : NULL, "reason",
					       reason_name(key->reason), "count", (json_int_t)count, "text", reason_text(key->reason)));
}

static json_t *reasons_json(struct agent *agent)
{
	struct reasons reasons = { agent, json_array() };

	kernel_reason_each(&agent->kernel, append_reason, &reasons);
	return reasons.list;
}

static void on_status(const json_t *status, int fd __attribute__((unused)), const struct error *err, void *arg)
{
	static const char *const members[] = { "outcomes", "places", "workloads", "adminPorts", "accessLogs", "former", "leftOut" };
	struct question *question = arg;
	json_t *answer;

	if (err) {
		reply_unavailable(question, err);
		return question_free(question);
	}
	answer = json_pack("{s:O?, s:o}", "proxy", question->proxy, "reasons", reasons_json(question->agent));
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(status, members[i]))
			json_object_set(answer, members[i], json_object_get(status, members[i]));
	http_reply_json(question->exchange, 200, answer);
	question_free(question);
}

/* ---- one name ---- */

static int find_node(const struct workload *workload, void *arg)
{
	return !strcmp(workload->node, arg) ? -ECANCELED : 0;
}

/* "from" in its short form, of a node that some workload acts for. */
static int node_parse(struct agent *agent, const char *from, char *ret_node, size_t size, struct error *err)
{
	int r = agent_actor_name(agent, from, ret_node, size, err);

	if (r < 0) {
		error_prefix(err, "from");
		return r;
	}
	if (workloads_each(agent->workloads, find_node, ret_node) == 0)
		return error_set_field(err, -ENOENT, "from", "no workload here acts for %s", ret_node);
	return 0;
}

static int entry_find(struct agent *agent, const char *node, const char *name, struct name_entry *ret_entry, struct error *err)
{
	_cleanup_free_ char *mesh = strndup(node, strcspn(node + strlen("mesh/"), "/") + strlen("mesh/"));
	const char *const scopes[] = { node, mesh };
	struct name_key key;
	int r = mesh ? -ENOENT : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(scopes) && r == -ENOENT; i++) {
		if (name_key_make(scopes[i], name, &key) < 0)
			return error_set_field(err, -EINVAL, "name", "'%s' is no DNS name (RFC 1035 section 2.3.4)", name);
		r = kernel_name_get(&agent->kernel, &key, ret_entry);
	}
	return r < 0 && r != -ENOENT ? error_set(err, r, "cannot look the name up: %s", strerror(-r)) : r;
}

static json_t *address_json(const struct ip *ip)
{
	char text[IP_TEXT_BYTES];

	return ip->halves[0] || ip->halves[1] ? json_string(ip_format(ip, text)) : json_null();
}

static json_t *mesh_answer(struct agent *agent, const struct name_entry *entry)
{
	json_t *v4 = address_json(&entry->vip4), *v6 = address_json(&entry->vip6);
	const bool both = !json_is_null(v4) && !json_is_null(v6), none = json_is_null(v4) && json_is_null(v6);
	const char *text = both ? "a name of the mesh" :
			   none ? "a name of the mesh, without an endpoint that could serve it: neither A nor AAAA" :
			   json_is_null(v4) ? "a name of the mesh, without an endpoint that has an IPv4 address: no A" :
					      "a name of the mesh, without an endpoint that has an IPv6 address: no AAAA";

	return json_pack("{s:s, s:s, s:o, s:o, s:i, s:s, s:s}", "source", "mesh", "service", agent_object_name(agent, entry->service), "v4",
			 v4, "v6", v6, "ttlSeconds", none ? DNS_NEGATIVE_TTL_SECONDS : DNS_TTL_SECONDS, "reason",
			 none ? "nodata" : "answered", "text", text);
}

/* The service that the name may be meant for, though no responder answers for it to this node. */
static bool is_service(const struct agent *agent, const char *node, const char *name)
{
	const int mesh_bytes = (int)(strcspn(node + strlen("mesh/"), "/") + strlen("mesh/"));
	const size_t length = strlen(name);
	_cleanup_free_ char *full_name = NULL;

	if (asprintf(&full_name, "%.*s/virtualService/%.*s", mesh_bytes, node,
		     (int)(length && name[length - 1] == '.' ? length - 1 : length), name) < 0) {
		full_name = NULL;
		return false;
	}
	return resources_get(agent_in_force(agent), full_name);
}

static json_t *forwarded_answer(const struct agent *agent, const char *node, const char *name)
{
	return json_pack("{s:s, s:n, s:n, s:n, s:n, s:s, s:s}", "source", "resolver", "service", "v4", "v6", "ttlSeconds", "reason",
			 "forwarded", "text",
			 is_service(agent, node, name) ?
				 "a service of the mesh, but none of the node's backends, and other names may pass (ALLOW_ALL): the "
				 "resolver answers" :
				 "no name of the mesh: the resolver answers");
}

/* Whom the node's workloads ask; where nothing listens for it, why. */
static json_t *resolvers_json(const json_t *status, const char *node)
{
	json_t *list = json_array();

	for (size_t i = 0; i < json_path_count(status, "places"); i++) {
		const json_t *place = json_path_at(status, "places", i);
		const char *place_node = json_path_string(place, "node");

		if (!place_node || strcmp(place_node, node))
			continue;
		for (size_t n = 0; n < json_path_count(place, "resolvers"); n++) {
			json_t *resolver = json_path_at(place, "resolvers", n);

			json_array_append_new(list, json_pack("{s:O?, s:O?, s:O?, s:O?}", "netnsCookie",
							      json_object_get(place, "netnsCookie"), "resolver",
							      json_object_get(resolver, "resolver"), "address",
							      json_object_get(resolver, "address"), "reason",
							      json_object_get(resolver, "reason")));
		}
	}
	return list;
}

/* The names of the mesh are in the map also while weft-proxy is away; then nobody answers them, and that is told. */
static void on_lookup_status(const json_t *status, int fd __attribute__((unused)), const struct error *err, void *arg)
{
	struct question *question = arg;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	const char *node = json_path_string(question->answer, "from");

	json_object_set_new(question->answer, "resolvers", err ? json_null() : resolvers_json(status, node));
	json_object_set_new(question->answer, "bypass",
			    err ? json_sprintf("queries go to the resolvers themselves: %s", error_text(err, text, sizeof(text))) :
				  json_null());
	http_reply_json(question->exchange, 200, TAKE_PTR(question->answer));
	question_free(question);
}

static void lookup(struct agent *agent, struct http_exchange *exchange)
{
	const char *from = http_query(exchange, "from"), *name = http_query(exchange, "name");
	char node[RESOURCE_FULL_NAME_BYTES];
	struct name_entry entry;
	struct error err = {};
	json_t *answer;
	int r;

	if (!from || !name)
		r = error_set_field(&err, -EINVAL, from ? "name" : "from", "missing");
	else
		r = node_parse(agent, from, node, sizeof(node), &err);
	if (r == 0)
		r = entry_find(agent, node, name, &entry, &err);
	if (r < 0 && err.code)
		return http_reply_error(exchange, &err);
	answer = r == 0 ? mesh_answer(agent, &entry) : forwarded_answer(agent, node, name);
	json_object_set_new(answer, "from", json_string(node));
	json_object_set_new(answer, "name", json_string(name));
	ask(agent, exchange, answer, json_pack("{s:s}", "op", "status"), on_lookup_status);
}

void api_dns(struct agent *agent, struct http_exchange *exchange)
{
	if (http_query(exchange, "from") || http_query(exchange, "name"))
		return lookup(agent, exchange);
	ask(agent, exchange, NULL, json_pack("{s:s}", "op", "status"), on_status);
}

/* ---- the last queries ---- */

static void on_queries(const json_t *queries, int fd __attribute__((unused)), const struct error *err, void *arg)
{
	struct question *question = arg;

	if (err)
		reply_unavailable(question, err);
	else
		http_reply_json(question->exchange, 200, json_copy((json_t *)queries));
	question_free(question);
}

void api_dns_queries(struct agent *agent, struct http_exchange *exchange)
{
	const char *from = http_query(exchange, "from"), *limit = http_query(exchange, "limit");
	char node[RESOURCE_FULL_NAME_BYTES], *end;
	unsigned long count = QUERIES_DEFAULT;
	struct error err = {};

	if (from && agent_actor_name(agent, from, node, sizeof(node), &err) < 0) {
		error_prefix(&err, "from");
		return http_reply_error(exchange, &err);
	}
	if (limit) {
		count = strtoul(limit, &end, 10);
		if (!*limit || *end || !count || count > DNS_QUERIES_KEPT) {
			error_set_field(&err, -EINVAL, "limit", "'%s' is not a number from 1 to %d", limit, DNS_QUERIES_KEPT);
			return http_reply_error(exchange, &err);
		}
	}
	ask(agent, exchange, NULL,
	    json_pack("{s:s, s:s?, s:I}", "op", "queries", "node", from ? node : NULL, "limit", (json_int_t)count), on_queries);
}
