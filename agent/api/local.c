/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/api/api.h"
#include "base/cleanup.h"
#include "base/time.h"

#define CONTROL(name)                                                                                                          \
	static void api_##name(struct agent *agent, struct http_exchange *exchange)                                            \
	{                                                                                                                      \
		control_##name(agent->control, exchange);                                                                      \
	}
CONTROL(keys_list)
CONTROL(keys_create)
CONTROL(keys_update)
CONTROL(keys_delete)
CONTROL(audit)
CONTROL(quotas)
CONTROL(counts)
#undef CONTROL

static const struct {
	const char *method;
	const char *path;
	void (*handle)(struct agent *agent, struct http_exchange *exchange);
} routes[] = {
	{ "GET", "/v1/status", api_status },
	{ "GET", "/v1/health", api_health },
	{ "GET", "/v1/top", api_top },
	{ "GET", "/v1/configuration", api_configuration },
	{ "GET", "/v1/resources", api_resources },
	{ "GET", "/v1/discovery", api_discovery },
	{ "GET", "/v1/explain", api_explain },
	{ "POST", "/v1/explain", api_explain_request },
	{ "GET", "/v1/dns", api_dns },
	{ "GET", "/v1/dns/queries", api_dns_queries },
	{ "GET", "/v1/connections", api_connections },
	{ "GET", "/v1/history", api_history },
	{ "POST", "/v1/rollback", api_rollback },
	{ "POST", "/v1/resume", api_resume },
	{ "GET", "/v1/instances", api_instances_get },
	{ "PUT", "/v1/instances", api_instances_put },
	{ "DELETE", "/v1/instances", api_instances_delete },
	{ "GET", "/v1/exposed", api_exposed_get },
	{ "PUT", "/v1/exposed", api_exposed_put },
	{ "DELETE", "/v1/exposed", api_exposed_delete },
	{ "GET", "/v1/attached", api_attached_get },
	{ "PUT", "/v1/attached", api_attached_put },
	{ "DELETE", "/v1/attached", api_attached_delete },
	{ "GET", "/v1/access-keys", api_keys_list },
	{ "POST", "/v1/access-keys", api_keys_create },
	{ "PUT", "/v1/access-keys", api_keys_update },
	{ "DELETE", "/v1/access-keys", api_keys_delete },
	{ "GET", "/v1/audit", api_audit },
	{ "GET", "/v1/quotas", api_quotas },
	{ "GET", "/v1/api", api_counts },
	{ "GET", "/v1/workloads", api_workloads_get },
	{ "POST", "/v1/workloads", api_workloads_post },
};

static void serve(struct http_exchange *exchange, void *arg)
{
	struct error err = {};
	bool path_known = false;

	if (control_is_api(http_head(exchange)->target)) {
		control_answer(((struct agent *)arg)->control, exchange);
		return;
	}
	if (!http_path(exchange)) {
		http_refuse(exchange, HTTP_BAD_TARGET);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, http_path(exchange)))
			continue;
		path_known = true;
		if (!strcmp(routes[i].method, http_method(exchange))) {
			routes[i].handle(arg, exchange);
			return;
		}
	}
	if (path_known) {
		http_reply_json(exchange, 405,
				json_pack("{s:o}", "error",
					  json_sprintf("%s is not possible on %s", http_method(exchange), http_path(exchange))));
		return;
	}
	error_set(&err, -ENOENT, "there is nothing at %s; docs/local-api.md lists what there is", http_path(exchange));
	http_reply_error(exchange, &err);
}

const struct http_service api_local = {
	.name = "local",
	.handler = serve,
	.methods = "GET, PUT, POST, DELETE",
	.body_limit_bytes = 1024 * 1024,
	.connections_max = 256,
};

json_t *api_time_json(uint64_t wall_ns)
{
	char text[TIME_TEXT_BYTES];

	return wall_ns ? json_string(time_format(wall_ns, text)) : json_null();
}
