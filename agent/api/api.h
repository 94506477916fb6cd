/* SPDX-License-Identifier: Apache-2.0 */
/* The local socket's answers (docs/local-api.md). */
#pragma once

#include "agent/agent.h"
#include "agent/rollback.h"
#include "agent/telemetry/counters.h"

/* Answers every request. `arg` is the agent. */
extern const struct http_service api_local;

/* One file each. */
void api_resources(struct agent *agent, struct http_exchange *exchange);
void api_configuration(struct agent *agent, struct http_exchange *exchange);
void api_discovery(struct agent *agent, struct http_exchange *exchange);
void api_explain(struct agent *agent, struct http_exchange *exchange);
void api_explain_request(struct agent *agent, struct http_exchange *exchange);
void api_dns(struct agent *agent, struct http_exchange *exchange);
void api_dns_queries(struct agent *agent, struct http_exchange *exchange);
void api_connections(struct agent *agent, struct http_exchange *exchange);
void api_status(struct agent *agent, struct http_exchange *exchange);
void api_health(struct agent *agent, struct http_exchange *exchange);
void api_top(struct agent *agent, struct http_exchange *exchange);
void api_instances_get(struct agent *agent, struct http_exchange *exchange);
void api_instances_put(struct agent *agent, struct http_exchange *exchange);
void api_instances_delete(struct agent *agent, struct http_exchange *exchange);
void api_exposed_get(struct agent *agent, struct http_exchange *exchange);
void api_exposed_put(struct agent *agent, struct http_exchange *exchange);
void api_exposed_delete(struct agent *agent, struct http_exchange *exchange);
void api_attached_get(struct agent *agent, struct http_exchange *exchange);
void api_attached_put(struct agent *agent, struct http_exchange *exchange);
void api_attached_delete(struct agent *agent, struct http_exchange *exchange);
void api_history(struct agent *agent, struct http_exchange *exchange);
void api_rollback(struct agent *agent, struct http_exchange *exchange);
void api_resume(struct agent *agent, struct http_exchange *exchange);
void api_workloads_get(struct agent *agent, struct http_exchange *exchange);
void api_workloads_post(struct agent *agent, struct http_exchange *exchange);

/* Pieces that several answers hold. New references. */
json_t *api_held_json(struct agent *agent); /* null: nothing is */
json_t *api_configuration_json(struct agent *agent);
json_t *api_workload_json(struct agent *agent, const struct workload *workload);
json_t *api_counter_json(const struct counter *counter); /* one of them */
json_t *api_counters_json(struct agent *agent); /* "counters" of /v1/status */
json_t *api_requests_json(const struct requests_report *report); /* "requests" of /v1/status and /v1/top; any thread */
json_t *api_endpoints_json(struct agent *agent); /* "endpoints" of /v1/status: how many of each health */
/* The limits of an HTTP listener of a node or gateway: {"port", "maxConnections", "maxPendingRequests": n or null, "default": it is
 * --default-pool}; null: it has none. */
json_t *api_pool_json(const struct agent *agent, const struct resource *resource, uint16_t port);
json_t *api_time_json(uint64_t wall_ns);
