/* SPDX-License-Identifier: Apache-2.0 */
/* Health on the local socket: /v1/health, and the sums in /v1/status. */
#include <errno.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/telemetry/names.h"
#include "base/cleanup.h"

/* By its full name, or the last part of it. */
static bool is_named(const char *full_name, const char *asked)
{
	const char *last = strrchr(full_name, '/');

	return !strcmp(full_name, asked) || (last && !strcmp(last + 1, asked));
}

static int find_node(const struct resource *r, void *arg)
{
	return r->kind == RESOURCE_VIRTUAL_NODE && is_named(r->full_name, arg) ? -EEXIST : 0;
}

static bool is_node(const struct agent *agent, const char *asked)
{
	return resources_each(agent_in_force(agent), find_node, (char *)asked) == -EEXIST;
}

void api_health(struct agent *agent, struct http_exchange *exchange)
{
	const char *node = http_query(exchange, "node");
	_cleanup_json_ json_t *all = NULL;
	json_t *checks, *one;
	struct error err = {};
	size_t i;

	if (node && !is_node(agent, node)) {
		error_set_field(&err, -ENOENT, "node", "there is no virtual node '%s'", node);
		return http_reply_error(exchange, &err);
	}
	all = health_json(agent->health);
	checks = json_array();
	json_array_foreach(all, i, one)
		if (!node || is_named(json_path_string(one, "node"), node))
			json_array_append(checks, one);
	http_reply_json(exchange, 200, json_pack("{s:o}", "checks", checks));
}

json_t *api_endpoints_json(struct agent *agent)
{
	struct health_counts counts;
	json_t *object = json_object();

	health_count(agent->health, &counts);
	for (uint32_t i = 0; i < HEALTH_STATES; i++)
		json_object_set_new(object, health_name(i), json_integer((json_int_t)counts.by_health[i]));
	json_object_set_new(object, "ejected", json_integer((json_int_t)counts.ejected));
	return object;
}
