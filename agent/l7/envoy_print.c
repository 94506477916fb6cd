/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/envoy_print.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/address.h"
#include "base/cleanup.h"

const char *l7_server_state_name(enum l7_server_state state)
{
	static const char *const names[] = {
		[L7_SERVER_LIVE] = "LIVE",
		[L7_SERVER_DRAINING] = "DRAINING",
		[L7_SERVER_PRE_INITIALIZING] = "PRE_INITIALIZING",
		[L7_SERVER_INITIALIZING] = "INITIALIZING",
	};

	return names[state];
}

static const char *address_text(const struct l7_address *address, char buffer[ENDPOINT_TEXT_BYTES])
{
	return ip_port_format(&address->ip, htons(address->port), buffer);
}

static json_t *address_json(const struct l7_address *address)
{
	char text[IP_TEXT_BYTES];

	return json_pack("{s:{s:s, s:i}}", "socket_address", "address", ip_format(&address->ip, text), "port_value", (int)address->port);
}

/* --- clusters --------------------------------------------------------------------------------------------------------------- */

#define NUMBER(member, kind) { #member, kind, offsetof(struct l7_host_view, member) }
static const struct {
	const char *name;
	enum l7_stat_kind kind;
	size_t offset;
} host_numbers[] = { /* in Envoy's order in text */
	NUMBER(cx_active, L7_GAUGE),	     NUMBER(cx_connect_fail, L7_COUNTER), NUMBER(cx_total, L7_COUNTER),
	NUMBER(rq_active, L7_GAUGE),	     NUMBER(rq_error, L7_COUNTER),	  NUMBER(rq_pending_active, L7_GAUGE),
	NUMBER(rq_success, L7_COUNTER),     NUMBER(rq_timeout, L7_COUNTER),	  NUMBER(rq_total, L7_COUNTER),
};

static uint64_t host_number(const struct l7_host_view *host, size_t i)
{
	return *(const uint64_t *)((const char *)host + host_numbers[i].offset);
}

static bool wanted(const struct l7_cluster_view *cluster, const struct regex *filter)
{
	return !filter || regex_matches(filter, span_of(cluster->name));
}

#define LIMIT(member) { #member, offsetof(struct l7_cluster_view, member) }
static const struct {
	const char *name;
	size_t offset;
} limits[] = { LIMIT(max_connections), LIMIT(max_pending_requests), LIMIT(max_requests), LIMIT(max_retries) };

static uint64_t limit_of(const struct l7_cluster_view *cluster, size_t i)
{
	return *(const uint64_t *)((const char *)cluster + limits[i].offset);
}

static void limits_text(const struct l7_cluster_view *cluster, const char *priority, struct buffer *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		buffer_printf(out, "%s::%s::%s::%llu\n", cluster->name, priority, limits[i].name,
			      (unsigned long long)limit_of(cluster, i));
}

static void host_line(const struct l7_cluster_view *cluster, const char *address, const char *name, const char *value, struct buffer *out)
{
	buffer_printf(out, "%s::%s::%s::%s\n", cluster->name, address, name, value);
}

static void host_text(const struct l7_cluster_view *cluster, const struct l7_host_view *host, struct buffer *out)
{
	const bool healthy = !host->failed_active_check && !host->ejected;
	char address[ENDPOINT_TEXT_BYTES], flags[64], weight[16];

	address_text(&host->address, address);
	snprintf(flags, sizeof(flags), "%s%s%s", healthy ? "healthy" : "", host->failed_active_check ? "/failed_active_hc" : "",
		 host->ejected ? "/failed_outlier_check" : "");
	snprintf(weight, sizeof(weight), "%u", host->weight);
	for (size_t i = 0; i < ARRAY_SIZE(host_numbers); i++)
		if (host_number(host, i) != L7_STAT_NONE)
			buffer_printf(out, "%s::%s::%s::%llu\n", cluster->name, address, host_numbers[i].name,
				      (unsigned long long)host_number(host, i));
	host_line(cluster, address, "hostname", host->hostname, out);
	host_line(cluster, address, "health_flags", flags, out);
	host_line(cluster, address, "weight", weight, out);
	host_line(cluster, address, "region", "", out);
	host_line(cluster, address, "zone", host->zone, out);
	host_line(cluster, address, "sub_zone", "", out);
	host_line(cluster, address, "canary", "false", out);
	host_line(cluster, address, "priority", "0", out);
	host_line(cluster, address, "success_rate", "-1", out);
	host_line(cluster, address, "local_origin_success_rate", "-1", out);
}

void envoy_clusters_text(const struct l7_stats_view *view, const struct regex *filter, struct buffer *out)
{
	for (size_t i = 0; i < view->cluster_count; i++) {
		const struct l7_cluster_view *cluster = &view->clusters[i];

		if (!wanted(cluster, filter))
			continue;
		buffer_printf(out, "%s::observability_name::%s\n", cluster->name, cluster->name);
		limits_text(cluster, "default_priority", out);
		limits_text(cluster, "high_priority", out);
		buffer_printf(out, "%s::added_via_api::true\n", cluster->name);
		for (size_t k = 0; k < cluster->host_count; k++)
			host_text(cluster, &cluster->hosts[k], out);
	}
}

/* As protobuf's JSON has it: 64-bit numbers in quotes, and nothing of what is 0. */
static json_t *host_stats_json(const struct l7_host_view *host)
{
	json_t *stats = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(host_numbers); i++) {
		const uint64_t number = host_number(host, i);
		json_t *stat = json_object();
		char text[24];

		if (number == L7_STAT_NONE) {
			json_decref(stat);
			continue;
		}
		if (host_numbers[i].kind == L7_GAUGE)
			json_object_set_new(stat, "type", json_string("GAUGE"));
		snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
		if (number > 0)
			json_object_set_new(stat, "value", json_string(text));
		json_object_set_new(stat, "name", json_string(host_numbers[i].name));
		json_array_append_new(stats, stat);
	}
	return stats;
}

static json_t *host_json(const struct l7_host_view *host)
{
	json_t *health = json_object(), *locality = json_object(), *json;

	if (host->failed_active_check)
		json_object_set_new(health, "failed_active_health_check", json_true());
	if (host->ejected)
		json_object_set_new(health, "failed_outlier_check", json_true());
	json_object_set_new(health, "eds_health_status", json_string("HEALTHY"));
	if (*host->zone)
		json_object_set_new(locality, "zone", json_string(host->zone));
	json = json_pack("{s:o, s:o, s:o, s:I, s:o}", "address", address_json(&host->address), "stats", host_stats_json(host),
			 "health_status", health, "weight", (json_int_t)host->weight, "locality", locality);
	if (*host->hostname)
		json_object_set_new(json, "hostname", json_string(host->hostname));
	return json;
}

static json_t *limits_json(const struct l7_cluster_view *cluster, const char *priority)
{
	json_t *json = json_object();

	if (priority)
		json_object_set_new(json, "priority", json_string(priority));
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		json_object_set_new(json, limits[i].name, json_integer((json_int_t)limit_of(cluster, i)));
	return json;
}

static json_t *cluster_json(const struct l7_cluster_view *cluster)
{
	json_t *hosts = json_array();

	for (size_t i = 0; i < cluster->host_count; i++)
		json_array_append_new(hosts, host_json(&cluster->hosts[i]));
	return json_pack("{s:s, s:b, s:o, s:{s:[o, o]}, s:s}", "name", cluster->name, "added_via_api", 1, "host_statuses", hosts,
			 "circuit_breakers", "thresholds", limits_json(cluster, NULL), limits_json(cluster, "HIGH"),
			 "observability_name", cluster->name);
}

json_t *envoy_clusters_json(const struct l7_stats_view *view, const struct regex *filter)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->cluster_count; i++)
		if (wanted(&view->clusters[i], filter))
			json_array_append_new(list, cluster_json(&view->clusters[i]));
	return json_pack("{s:o}", "cluster_statuses", list);
}

/* --- listeners -------------------------------------------------------------------------------------------------------------- */

void envoy_listeners_text(const struct l7_stats_view *view, struct buffer *out)
{
	char address[ENDPOINT_TEXT_BYTES];

	for (size_t i = 0; i < view->listener_count; i++)
		buffer_printf(out, "%s::%s\n", view->listeners[i].name, address_text(&view->listeners[i].address, address));
}

json_t *envoy_listeners_json(const struct l7_stats_view *view)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->listener_count; i++)
		json_array_append_new(list, json_pack("{s:s, s:o}", "name", view->listeners[i].name, "local_address",
						      address_json(&view->listeners[i].address)));
	return json_pack("{s:o}", "listener_statuses", list);
}

/* --- the server ------------------------------------------------------------------------------------------------------------- */

static json_t *node_json(const struct l7_stats_view *view)
{
	return json_pack("{s:s, s:s, s:s}", "id", view->node_id, "cluster", view->node_id, "user_agent_name", "weft");
}

json_t *envoy_server_info_json(const struct l7_stats_view *view)
{
	char version[64], uptime[32];

	snprintf(version, sizeof(version), "weft/%s", view->version);
	snprintf(uptime, sizeof(uptime), "%llus", (unsigned long long)view->uptime_s);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:I, s:s, s:s, s:s}, s:o}", "version", version, "state",
			 l7_server_state_name(view->state), "uptime_current_epoch", uptime, "uptime_all_epochs", uptime,
			 "hot_restart_version", "disabled", "command_line_options", "concurrency", (json_int_t)view->concurrency,
			 "service_cluster", view->node_id, "service_node", view->node_id, "mode", "Serve", "node", node_json(view));
}

json_t *envoy_certs_json(const struct l7_stats_view *view)
{
	return json_pack("{s:o}", "certificates", view->certificates ? json_incref((json_t *)view->certificates) : json_array());
}

json_t *envoy_memory_json(const struct l7_stats_view *view)
{
	const struct {
		const char *name;
		uint64_t bytes;
	} rows[] = {
		{ "allocated", view->server.memory_allocated },
		{ "heap_size", view->server.memory_heap_size },
		{ "total_physical_bytes", view->server.memory_physical_size },
	};
	json_t *json = json_object();
	char text[24];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)rows[i].bytes);
		if (rows[i].bytes != L7_STAT_NONE)
			json_object_set_new(json, rows[i].name, json_string(text));
	}
	return json;
}

/* --- configuration ---------------------------------------------------------------------------------------------------------- */

#define ADMIN_TYPE "type.googleapis.com/envoy.admin.v3."
#define CONFIG_TYPE "type.googleapis.com/envoy.config."

static json_t *dumped_cluster_json(const struct l7_cluster_view *cluster)
{
	json_t *endpoints = json_array();

	for (size_t i = 0; i < cluster->host_count; i++)
		json_array_append_new(endpoints, json_pack("{s:{s:o}, s:I}", "endpoint", "address",
							   address_json(&cluster->hosts[i].address), "load_balancing_weight",
							   (json_int_t)cluster->hosts[i].weight));
	return json_pack("{s:{s:s, s:s, s:s, s:{s:s, s:[{s:o}]}, s:{s:[o]}}}", "cluster", "@type", CONFIG_TYPE "cluster.v3.Cluster", "name",
			 cluster->name, "type", "EDS", "load_assignment", "cluster_name", cluster->name, "endpoints", "lb_endpoints",
			 endpoints, "circuit_breakers", "thresholds", limits_json(cluster, NULL));
}

static json_t *clusters_dump(const struct l7_stats_view *view)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->cluster_count; i++)
		json_array_append_new(list, dumped_cluster_json(&view->clusters[i]));
	return json_pack("{s:s, s:o}", "@type", ADMIN_TYPE "ClustersConfigDump", "dynamic_active_clusters", list);
}

static json_t *listeners_dump(const struct l7_stats_view *view)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->listener_count; i++) {
		const struct l7_listener_view *listener = &view->listeners[i];

		json_array_append_new(list, json_pack("{s:s, s:{s:{s:s, s:s, s:o}}}", "name", listener->name, "active_state", "listener",
						      "@type", CONFIG_TYPE "listener.v3.Listener", "name", listener->name, "address",
						      address_json(&listener->address)));
	}
	return json_pack("{s:s, s:o}", "@type", ADMIN_TYPE "ListenersConfigDump", "dynamic_listeners", list);
}

static json_t *routes_dump(const struct l7_stats_view *view)
{
	json_t *list = json_array();

	for (size_t i = 0; i < view->route_count; i++)
		json_array_append_new(list, json_pack("{s:{s:s, s:s, s:O}}", "route_config", "@type",
						      CONFIG_TYPE "route.v3.RouteConfiguration", "name", view->routes[i].name,
						      "virtual_hosts", view->routes[i].virtual_hosts));
	return json_pack("{s:s, s:o}", "@type", ADMIN_TYPE "RoutesConfigDump", "dynamic_route_configs", list);
}

json_t *envoy_config_dump_json(const struct l7_stats_view *view)
{
	return json_pack("{s:[{s:s, s:{s:o}}, o, o, o, {s:s}]}", "configs", "@type", ADMIN_TYPE "BootstrapConfigDump", "bootstrap", "node",
			 node_json(view), clusters_dump(view), listeners_dump(view), routes_dump(view), "@type",
			 ADMIN_TYPE "SecretsConfigDump");
}
