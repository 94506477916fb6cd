/* SPDX-License-Identifier: Apache-2.0 */
/* A workload as it is shown: a listener, two clusters, one of them with two hosts. */
#pragma once

#include "agent/l7/stats_view.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct view_world {
	struct l7_histogram times;
	struct l7_host_view hosts[2];
	struct l7_cluster_view clusters[2];
	struct l7_listener_view listeners[1];
	struct l7_http_view https[1];
	struct l7_mesh_target_view targets[1];
	struct l7_stats_view view;
};

static inline struct l7_address address_made(const char *text)
{
	struct l7_address address;
	__be16 port;

	EXPECT_OK(ip_port_parse(text, &address.ip, &port));
	address.port = (uint16_t)(port >> 8 | port << 8);
	return address;
}

static inline void view_world_init(struct view_world *w)
{
	*w = (struct view_world){};
	w->times.buckets[histogram_bucket(3000000)] = 3; /* 2.1 to 4.2 ms */
	w->times.buckets[histogram_bucket(30000000)] = 1; /* 16.8 to 33.6 ms */
	w->times.sum_ns = 39000000;
	w->hosts[0] = (struct l7_host_view){ .address = address_made("10.0.0.1:8080"), .hostname = "", .zone = "a", .weight = 1, .cx_total = 3,
					     .cx_active = 1, .rq_total = 7, .rq_success = 6, .rq_error = 1, .rq_pending_active = L7_STAT_NONE };
	w->hosts[1] = (struct l7_host_view){ .address = address_made("[fd00::1]:8080"), .hostname = "", .zone = "", .weight = 1,
					     .failed_active_check = true, .ejected = true };
	w->clusters[0] = (struct l7_cluster_view){ .name = "cds_egress_m_blue_http_8080", .max_connections = 2147483647,
						   .max_pending_requests = 2147483647, .max_requests = 2147483647, .max_retries = 2147483647,
						   .hosts = w->hosts, .host_count = 2, .rq_time = &w->times };
	l7_stats_none(&w->clusters[0].stats);
	w->clusters[0].stats.upstream_rq_total = 7;
	w->clusters[0].stats.upstream_cx_active = 1;
	w->clusters[0].stats.health_check_failure = 2;
	w->clusters[0].stats.outlier_ejections_active = 1;
	w->clusters[0].stats.codes[2] = 6;
	w->clusters[0].stats.codes[5] = 1;
	w->clusters[1] = (struct l7_cluster_view){ .name = "cds_egress_m_amazonaws" };
	l7_stats_none(&w->clusters[1].stats);
	w->clusters[1].stats.upstream_rq_total = 0;
	w->listeners[0] = (struct l7_listener_view){ .name = "lds_egress_0.0.0.0_15001", .address = address_made("0.0.0.0:15001") };
	l7_stats_none(&w->listeners[0].stats);
	w->listeners[0].stats.downstream_cx_total = 5;
	w->listeners[0].stats.downstream_cx_active = 2;
	w->https[0] = (struct l7_http_view){ .prefix = "egress" };
	l7_stats_none(&w->https[0].stats);
	w->https[0].stats.downstream_rq_total = 7;
	w->https[0].stats.codes[2] = 7;
	w->targets[0] = (struct l7_mesh_target_view){ .service = "blue.local", .node = "blue", .time = &w->times };
	l7_stats_none(&w->targets[0].stats);
	w->targets[0].stats.requests = 7;
	w->view = (struct l7_stats_view){
		.version = "0.1.0", .node_id = "mesh/m/virtualNode/front", .mesh = "m", .node_kind = "VirtualNode", .node = "front",
		.state = L7_SERVER_LIVE, .uptime_s = 12, .concurrency = 2, .listeners = w->listeners, .listener_count = 1, .https = w->https,
		.http_count = 1, .clusters = w->clusters, .cluster_count = 2, .mesh_targets = w->targets, .mesh_target_count = 1,
	};
	l7_stats_none(&w->view.server);
	w->view.server.live = 1;
	w->view.server.uptime_s = 12;
	l7_stats_none(&w->view.mesh_stats);
	w->view.mesh_stats.requests = 9;
}
