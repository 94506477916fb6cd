/* SPDX-License-Identifier: Apache-2.0 */
/* What Envoy's administration interface would show of one workload: a plain snapshot, all borrowed for the time of a call. Whoever has the
 * numbers fills it; stats_print.h and envoy_print.h print it. Names of statistics, of listeners and of clusters are those that App Mesh's
 * proxies have, so that dashboards go on.
 *
 * A statistic that nobody counts is L7_STAT_NONE, and is left out: never a 0 that means nothing. l7_stats_none() makes all of them so. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "maps/abi/row.h"
#include "maps/abi/types.h"

#define L7_STAT_NONE UINT64_MAX

enum l7_stat_kind { L7_COUNTER, L7_GAUGE };

struct l7_histogram { /* buckets of maps/abi/row.h */
	uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t sum_ns;
};

/* Each list is STAT(member, kind, name). */

#define L7_SERVER_STATS(STAT)                                                                                                 \
	STAT(live, L7_GAUGE, "server.live")                                                                                    \
	STAT(state, L7_GAUGE, "server.state")                                                                                  \
	STAT(uptime_s, L7_GAUGE, "server.uptime")                                                                              \
	STAT(concurrency, L7_GAUGE, "server.concurrency")                                                                      \
	STAT(total_connections, L7_GAUGE, "server.total_connections")                                                          \
	STAT(memory_allocated, L7_GAUGE, "server.memory_allocated")                                                            \
	STAT(memory_heap_size, L7_GAUGE, "server.memory_heap_size")                                                            \
	STAT(memory_physical_size, L7_GAUGE, "server.memory_physical_size")                                                    \
	STAT(connected_state, L7_GAUGE, "control_plane.connected_state")                                                       \
	STAT(active_clusters, L7_GAUGE, "cluster_manager.active_clusters")                                                     \
	STAT(total_listeners_active, L7_GAUGE, "listener_manager.total_listeners_active")

#define L7_LISTENER_STATS(STAT)                                                                                               \
	STAT(downstream_cx_total, L7_COUNTER, "downstream_cx_total")                                                           \
	STAT(downstream_cx_active, L7_GAUGE, "downstream_cx_active")                                                           \
	STAT(downstream_cx_destroy, L7_COUNTER, "downstream_cx_destroy")                                                       \
	STAT(downstream_cx_overflow, L7_COUNTER, "downstream_cx_overflow")                                                     \
	STAT(no_filter_chain_match, L7_COUNTER, "no_filter_chain_match")                                                       \
	STAT(ssl_handshake, L7_COUNTER, "ssl.handshake")                                                                       \
	STAT(ssl_no_certificate, L7_COUNTER, "ssl.no_certificate")                                                             \
	STAT(ssl_fail_verify_san, L7_COUNTER, "ssl.fail_verify_san")                                                           \
	STAT(ssl_fail_verify_no_cert, L7_COUNTER, "ssl.fail_verify_no_cert")                                                   \
	STAT(ssl_fail_verify_error, L7_COUNTER, "ssl.fail_verify_error")                                                       \
	STAT(ssl_connection_error, L7_COUNTER, "ssl.connection_error")                                                         \
	STAT(ssl_session_reused, L7_COUNTER, "ssl.session_reused")

#define L7_HTTP_STATS(STAT)                                                                                                   \
	STAT(downstream_cx_total, L7_COUNTER, "downstream_cx_total")                                                           \
	STAT(downstream_cx_active, L7_GAUGE, "downstream_cx_active")                                                           \
	STAT(downstream_cx_destroy, L7_COUNTER, "downstream_cx_destroy")                                                       \
	STAT(downstream_cx_idle_timeout, L7_COUNTER, "downstream_cx_idle_timeout")                                             \
	STAT(downstream_cx_protocol_error, L7_COUNTER, "downstream_cx_protocol_error")                                         \
	STAT(downstream_cx_rx_bytes_total, L7_COUNTER, "downstream_cx_rx_bytes_total")                                         \
	STAT(downstream_cx_tx_bytes_total, L7_COUNTER, "downstream_cx_tx_bytes_total")                                         \
	STAT(downstream_cx_upgrades_total, L7_COUNTER, "downstream_cx_upgrades_total")                                         \
	STAT(downstream_cx_upgrades_active, L7_GAUGE, "downstream_cx_upgrades_active")                                         \
	STAT(downstream_rq_total, L7_COUNTER, "downstream_rq_total")                                                           \
	STAT(downstream_rq_active, L7_GAUGE, "downstream_rq_active")                                                           \
	STAT(downstream_rq_completed, L7_COUNTER, "downstream_rq_completed")                                                   \
	STAT(downstream_rq_http1_total, L7_COUNTER, "downstream_rq_http1_total")                                               \
	STAT(downstream_rq_http2_total, L7_COUNTER, "downstream_rq_http2_total")                                               \
	STAT(downstream_rq_timeout, L7_COUNTER, "downstream_rq_timeout")                                                       \
	STAT(downstream_rq_idle_timeout, L7_COUNTER, "downstream_rq_idle_timeout")                                             \
	STAT(downstream_rq_header_timeout, L7_COUNTER, "downstream_rq_header_timeout")                                         \
	STAT(downstream_rq_too_large, L7_COUNTER, "downstream_rq_too_large")                                                   \
	STAT(downstream_rq_rx_reset, L7_COUNTER, "downstream_rq_rx_reset")                                                     \
	STAT(downstream_rq_tx_reset, L7_COUNTER, "downstream_rq_tx_reset")                                                     \
	STAT(no_route, L7_COUNTER, "no_route")                                                                                 \
	STAT(rq_total, L7_COUNTER, "rq_total")

#define L7_CLUSTER_STATS(STAT)                                                                                                \
	STAT(upstream_cx_total, L7_COUNTER, "upstream_cx_total")                                                               \
	STAT(upstream_cx_active, L7_GAUGE, "upstream_cx_active")                                                               \
	STAT(upstream_cx_http1_total, L7_COUNTER, "upstream_cx_http1_total")                                                   \
	STAT(upstream_cx_http2_total, L7_COUNTER, "upstream_cx_http2_total")                                                   \
	STAT(upstream_cx_connect_fail, L7_COUNTER, "upstream_cx_connect_fail")                                                 \
	STAT(upstream_cx_connect_timeout, L7_COUNTER, "upstream_cx_connect_timeout")                                           \
	STAT(upstream_cx_destroy, L7_COUNTER, "upstream_cx_destroy")                                                           \
	STAT(upstream_cx_idle_timeout, L7_COUNTER, "upstream_cx_idle_timeout")                                                 \
	STAT(upstream_cx_none_healthy, L7_COUNTER, "upstream_cx_none_healthy")                                                 \
	STAT(upstream_cx_overflow, L7_COUNTER, "upstream_cx_overflow")                                                         \
	STAT(upstream_cx_protocol_error, L7_COUNTER, "upstream_cx_protocol_error")                                             \
	STAT(upstream_cx_rx_bytes_total, L7_COUNTER, "upstream_cx_rx_bytes_total")                                             \
	STAT(upstream_cx_tx_bytes_total, L7_COUNTER, "upstream_cx_tx_bytes_total")                                             \
	STAT(upstream_rq_total, L7_COUNTER, "upstream_rq_total")                                                               \
	STAT(upstream_rq_active, L7_GAUGE, "upstream_rq_active")                                                               \
	STAT(upstream_rq_completed, L7_COUNTER, "upstream_rq_completed")                                                       \
	STAT(upstream_rq_cancelled, L7_COUNTER, "upstream_rq_cancelled")                                                       \
	STAT(upstream_rq_timeout, L7_COUNTER, "upstream_rq_timeout")                                                           \
	STAT(upstream_rq_per_try_timeout, L7_COUNTER, "upstream_rq_per_try_timeout")                                           \
	STAT(upstream_rq_rx_reset, L7_COUNTER, "upstream_rq_rx_reset")                                                         \
	STAT(upstream_rq_tx_reset, L7_COUNTER, "upstream_rq_tx_reset")                                                         \
	STAT(upstream_rq_retry, L7_COUNTER, "upstream_rq_retry")                                                               \
	STAT(upstream_rq_retry_success, L7_COUNTER, "upstream_rq_retry_success")                                               \
	STAT(upstream_rq_retry_overflow, L7_COUNTER, "upstream_rq_retry_overflow")                                             \
	STAT(upstream_rq_retry_limit_exceeded, L7_COUNTER, "upstream_rq_retry_limit_exceeded")                                 \
	STAT(upstream_rq_pending_total, L7_COUNTER, "upstream_rq_pending_total")                                               \
	STAT(upstream_rq_pending_active, L7_GAUGE, "upstream_rq_pending_active")                                               \
	STAT(upstream_rq_pending_overflow, L7_COUNTER, "upstream_rq_pending_overflow")                                         \
	STAT(upstream_rq_pending_failure_eject, L7_COUNTER, "upstream_rq_pending_failure_eject")                               \
	STAT(membership_total, L7_GAUGE, "membership_total")                                                                   \
	STAT(membership_healthy, L7_GAUGE, "membership_healthy")                                                               \
	STAT(membership_change, L7_COUNTER, "membership_change")                                                               \
	STAT(lb_healthy_panic, L7_COUNTER, "lb_healthy_panic")                                                                 \
	STAT(health_check_attempt, L7_COUNTER, "health_check.attempt")                                                         \
	STAT(health_check_success, L7_COUNTER, "health_check.success")                                                         \
	STAT(health_check_failure, L7_COUNTER, "health_check.failure")                                                         \
	STAT(health_check_healthy, L7_GAUGE, "health_check.healthy")                                                           \
	STAT(outlier_ejections_active, L7_GAUGE, "outlier_detection.ejections_active")                                         \
	STAT(outlier_ejections_enforced_total, L7_COUNTER, "outlier_detection.ejections_enforced_total")                       \
	STAT(outlier_ejections_consecutive_5xx, L7_COUNTER, "outlier_detection.ejections_enforced_consecutive_5xx")            \
	STAT(outlier_ejections_overflow, L7_COUNTER, "outlier_detection.ejections_overflow")                                   \
	STAT(cx_open, L7_GAUGE, "circuit_breakers.default.cx_open")                                                            \
	STAT(rq_open, L7_GAUGE, "circuit_breakers.default.rq_open")                                                            \
	STAT(rq_pending_open, L7_GAUGE, "circuit_breakers.default.rq_pending_open")                                            \
	STAT(rq_retry_open, L7_GAUGE, "circuit_breakers.default.rq_retry_open")

/* The metrics extension of App Mesh (user guide, "Metrics extension"). */
#define L7_MESH_STATS(STAT)                                                                                                   \
	STAT(active_connections, L7_GAUGE, "ActiveConnectionCount")                                                            \
	STAT(new_connections, L7_COUNTER, "NewConnectionCount")                                                                \
	STAT(processed_bytes, L7_COUNTER, "ProcessedBytes")                                                                    \
	STAT(requests, L7_COUNTER, "RequestCount")                                                                             \
	STAT(grpc_requests, L7_COUNTER, "GrpcRequestCount")
#define L7_MESH_TARGET_STATS(STAT)                                                                                            \
	STAT(processed_bytes, L7_COUNTER, "TargetProcessedBytes")                                                              \
	STAT(requests, L7_COUNTER, "RequestCountPerTarget")                                                                    \
	STAT(codes_2xx, L7_COUNTER, "HTTPCode_Target_2XX_Count")                                                               \
	STAT(codes_3xx, L7_COUNTER, "HTTPCode_Target_3XX_Count")                                                               \
	STAT(codes_4xx, L7_COUNTER, "HTTPCode_Target_4XX_Count")                                                               \
	STAT(codes_5xx, L7_COUNTER, "HTTPCode_Target_5XX_Count")

#define L7_STAT_MEMBER(member, kind, name) uint64_t member;
struct l7_server_stats {
	L7_SERVER_STATS(L7_STAT_MEMBER)
};
struct l7_listener_stats {
	L7_LISTENER_STATS(L7_STAT_MEMBER)
};
struct l7_http_stats {
	L7_HTTP_STATS(L7_STAT_MEMBER)
	uint64_t codes[6]; /* [2]: 2xx; [0] is nothing */
};
struct l7_cluster_stats {
	L7_CLUSTER_STATS(L7_STAT_MEMBER)
	uint64_t codes[6];
};
struct l7_mesh_stats {
	L7_MESH_STATS(L7_STAT_MEMBER)
};
struct l7_mesh_target_stats {
	L7_MESH_TARGET_STATS(L7_STAT_MEMBER)
};
#undef L7_STAT_MEMBER

/* `stats` is one of the structs above. */
#define l7_stats_none(stats) memset((stats), 0xff, sizeof(*(stats)))

struct l7_tag {
	const char *name, *value;
};

struct l7_address {
	struct ip ip;
	uint16_t port;
};

struct l7_listener_view {
	const char *name; /* "lds_egress_0.0.0.0_15001" */
	struct l7_address address;
	struct l7_listener_stats stats;
};

struct l7_http_view { /* an HTTP connection manager */
	const char *prefix; /* "ingress", "egress" */
	struct l7_http_stats stats;
	const struct l7_histogram *rq_time; /* NULL: not counted */
};

struct l7_host_view {
	struct l7_address address;
	const char *hostname; /* "": none */
	const char *zone; /* "": none */
	uint32_t weight;
	bool failed_active_check, ejected;
	uint64_t cx_total, cx_active, cx_connect_fail, rq_total, rq_active, rq_pending_active, rq_success, rq_error, rq_timeout;
};

struct l7_cluster_view {
	const char *name; /* "cds_egress_MESH_NODE_http_8080" */
	uint64_t max_connections, max_pending_requests, max_requests, max_retries; /* 2147483647: no limit */
	struct l7_cluster_stats stats;
	const struct l7_histogram *rq_time, *cx_connect; /* NULL: not counted */
	const struct l7_host_view *hosts;
	size_t host_count;
};

struct l7_mesh_target_view {
	const char *service, *node; /* names */
	struct l7_mesh_target_stats stats;
	const struct l7_histogram *time; /* NULL: not counted */
};

struct l7_route_config_view {
	const char *name; /* "rds_egress_http_8080" */
	const json_t *virtual_hosts; /* as Envoy has them, or weft's own routes */
};

enum l7_server_state { L7_SERVER_LIVE, L7_SERVER_DRAINING, L7_SERVER_PRE_INITIALIZING, L7_SERVER_INITIALIZING };

struct l7_stats_view {
	const char *version; /* "0.1.0" */
	const char *node_id; /* "mesh/M/virtualNode/N" */
	const char *mesh, *node_kind, *node; /* for labels: "M", "VirtualNode" or "VirtualGateway", "N" */
	enum l7_server_state state;
	uint64_t uptime_s;
	unsigned int concurrency; /* worker threads */
	bool metrics_extension; /* APPMESH_METRIC_EXTENSION_VERSION=1: mesh metrics, and mesh and node as labels of everything */
	const struct l7_tag *tags; /* beyond that, labels of everything */
	size_t tag_count;
	struct l7_server_stats server;
	const struct l7_listener_view *listeners;
	size_t listener_count;
	const struct l7_http_view *https;
	size_t http_count;
	const struct l7_cluster_view *clusters;
	size_t cluster_count;
	struct l7_mesh_stats mesh_stats;
	const struct l7_mesh_target_view *mesh_targets;
	size_t mesh_target_count;
	const struct l7_route_config_view *routes;
	size_t route_count;
	const json_t *certificates; /* list as in Envoy's /certs; NULL: none */
};
