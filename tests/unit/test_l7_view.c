/* SPDX-License-Identifier: Apache-2.0 */
/* What a namespace shows of itself: numbers by App Mesh's names, from requests that were made there. */
#include "agent/l7/envoy_print.h"
#include "agent/l7/internal.h"
#include "agent/l7/stats_print.h"
#include "tests/unit/l7_world.h"

#define ONCE "'retryPolicy':{'maxRetries':0,'perRetryTimeout':{'unit':'s','value':5},'tcpRetryEvents':['connection-error']}"
#define CLUSTER "cluster.cds_egress_M_n11_http_8080."

static void given_act(struct l7_world *w, const char *name)
{
	EXPECT_OK(l7_act_add(w->l7, &(struct l7_act){ .netns_cookie = w->cookie, .netns_fd = w->netns_fd, .name = name, .workload = 1,
						      .cgroup = "/nowhere" }));
}

static struct l7_world *given_world(void)
{
	struct l7_world *w = l7_world_new(2);

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	given_act(w, "mesh/M/virtualNode/c");
	return w;
}

/* What /stats says; freed by the caller. */
static char *stats_of(struct l7_stats_view *view)
{
	struct buffer text = {};

	EXPECT_OK(stats_print(view, &(struct stats_query){ .format = STATS_TEXT, .types = STATS_ALL }, &text));
	return buffer_take(&text);
}

/* -1: it is not there. */
static int64_t stat_in(const char *text, const char *name)
{
	const size_t length = strlen(name);

	for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (!strncmp(line, name, length) && line[length] == ':')
			return strtoll(line + length + 1, NULL, 10);
	return -1;
}

static int64_t stat_of(struct l7_world *w, const char *name)
{
	struct l7_stats_view *view = l7_view(w->l7, w->cookie, L7_VIEW_NUMBERS);
	_cleanup_free_ char *text = NULL;
	int64_t number;

	EXPECT(view);
	text = stats_of(view);
	number = stat_in(text, name);
	l7_view_free(view);
	return number;
}
#define EXPECT_STAT(w, name, expected)                                                                                        \
	do {                                                                                                                   \
		if (!WAITED_FOR(stat_of(w, name) == (expected), WORLD_WAIT_MS * NSEC_PER_MSEC))                                \
			fail_msg("%s is %lld, expected %lld", name, (long long)stat_of(w, name), (long long)(expected));       \
	} while (0)

static const struct l7_host_view *host_at(const struct l7_cluster_view *cluster, uint16_t port)
{
	for (size_t i = 0; i < cluster->host_count; i++)
		if (cluster->hosts[i].address.port == port)
			return &cluster->hosts[i];
	fail_msg("%s has no host with port %u", cluster->name, port);
	return NULL;
}

TEST(requests_are_counted_by_the_names_of_app_mesh)
{
	_cleanup_world_ struct l7_world *w = given_world();
	struct l7_stats_view *view;
	const struct l7_host_view *host;

	backend_serve(w, 1);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(ask_status(w, GET("/")), 200);
	EXPECT_EQ(ask_status(w, GET("/status/503")), 503); /* and two more, by the default policy */
	EXPECT_STAT(w, "listener.0.0.0.0_15001.downstream_cx_active", 0);
	EXPECT_STAT(w, "listener.0.0.0.0_15001.downstream_cx_total", 9);
	EXPECT_STAT(w, "http.egress.downstream_cx_total", 9);
	EXPECT_STAT(w, "http.egress.downstream_rq_total", 9);
	EXPECT_STAT(w, "http.egress.downstream_rq_active", 0);
	EXPECT_STAT(w, "http.egress.downstream_rq_completed", 9);
	EXPECT_STAT(w, "http.egress.downstream_rq_2xx", 8);
	EXPECT_STAT(w, "http.egress.downstream_rq_5xx", 1);
	EXPECT_STAT(w, CLUSTER "upstream_rq_total", 11);
	EXPECT_STAT(w, CLUSTER "upstream_rq_active", 0);
	EXPECT_STAT(w, CLUSTER "upstream_rq_completed", 9);
	EXPECT_STAT(w, CLUSTER "upstream_rq_2xx", 8);
	EXPECT_STAT(w, CLUSTER "upstream_rq_5xx", 1);
	EXPECT_STAT(w, CLUSTER "upstream_rq_retry", 2);
	EXPECT_STAT(w, CLUSTER "upstream_rq_retry_limit_exceeded", 1);
	EXPECT_STAT(w, CLUSTER "membership_total", 1);
	EXPECT_STAT(w, CLUSTER "membership_healthy", 1);
	EXPECT(stat_of(w, CLUSTER "upstream_cx_total") > 0);
	EXPECT(stat_of(w, CLUSTER "upstream_cx_rx_bytes_total") > 0);
	EXPECT(stat_of(w, CLUSTER "upstream_cx_tx_bytes_total") > 0);
	EXPECT(stat_of(w, "http.egress.downstream_cx_rx_bytes_total") >= (int64_t)(8 * strlen(GET("/"))));
	EXPECT(stat_of(w, "http.egress.downstream_cx_tx_bytes_total") > 0);
	EXPECT_STAT(w, "server.total_connections", 0);
	EXPECT_STAT(w, "listener_manager.total_listeners_active", 1); /* what comes in goes past weft-proxy */

	view = l7_view(w->l7, w->cookie, L7_VIEW_NUMBERS);
	EXPECT_EQ(view->cluster_count, 2);
	EXPECT_STR(view->clusters[0].name, "cds_egress_M_mesh-allow-all");
	EXPECT_EQ(view->clusters[0].stats.upstream_rq_total, 0);
	EXPECT_EQ(view->clusters[0].stats.membership_total, L7_STAT_NONE);
	host = host_at(&view->clusters[1], WORLD_BACKEND_PORT);
	EXPECT_EQ(host->rq_total, 11);
	EXPECT_EQ(host->rq_success, 8);
	EXPECT_EQ(host->rq_error, 3);
	EXPECT_EQ(host->rq_active, 0);
	EXPECT(host->cx_total >= host->cx_active && host->cx_total > 0);
	EXPECT(!host->failed_active_check && !host->ejected);
	EXPECT_EQ(view->mesh_target_count, 1);
	EXPECT_STR(view->mesh_targets[0].service, WORLD_HOST);
	EXPECT_STR(view->mesh_targets[0].node, "n11");
	EXPECT_EQ(view->mesh_targets[0].stats.requests, 9);
	EXPECT_EQ(view->mesh_targets[0].stats.codes_2xx, 8);
	EXPECT_EQ(view->mesh_stats.requests, L7_STAT_NONE);
	l7_view_free(view);
}

TEST(what_fails_is_counted_by_how)
{
	_cleanup_world_ struct l7_world *w = given_world();

	given_no_routes(w);
	given_http_route(w, "slow", "{'prefix':'/slow'}", "12", "'timeout':{'perRequest':{'unit':'ms','value':50}}," ONCE);
	given_http_route(w, "r", "{'prefix':'/x'}", "11", ONCE);
	world_configure(w);
	EXPECT_EQ(ask_status(w, GET("/nowhere")), 404);
	EXPECT_STAT(w, "http.egress.no_route", 1);
	EXPECT_EQ(ask_status(w, GET("/slow")), 504); /* nobody accepts */
	EXPECT_STAT(w, "cluster.cds_egress_M_n12_http_8080.upstream_rq_timeout", 1);
	EXPECT_STAT(w, "cluster.cds_egress_M_n12_http_8080.upstream_rq_tx_reset", 1);
	backend_stop(w, 1);
	EXPECT_EQ(ask_status(w, GET("/x")), 503);
	EXPECT_STAT(w, CLUSTER "upstream_cx_connect_fail", 1);
	EXPECT_STAT(w, CLUSTER "upstream_rq_5xx", 1);
	w->endpoints[1].health = HEALTH_DOWN;
	w->endpoints[2].health = HEALTH_UP;
	EXPECT_STAT(w, CLUSTER "membership_healthy", 0);
	EXPECT_STAT(w, CLUSTER "health_check.healthy", 0);
	EXPECT_STAT(w, "cluster.cds_egress_M_n12_http_8080.health_check.healthy", 1);
	EXPECT_STAT(w, "http.egress.downstream_rq_4xx", 1);
	EXPECT_STAT(w, "http.egress.downstream_rq_5xx", 2);
}

TEST(what_is_not_counted_is_left_out)
{
	_cleanup_world_ struct l7_world *w = given_world();
	struct l7_stats_view *view = l7_view(w->l7, w->cookie, L7_VIEW_NUMBERS);
	_cleanup_free_ char *text = stats_of(view);

	l7_view_free(view);
	EXPECT_EQ(stat_in(text, CLUSTER "upstream_rq_total"), 0);
	EXPECT_EQ(stat_in(text, CLUSTER "upstream_cx_http2_total"), -1);
	EXPECT_EQ(stat_in(text, CLUSTER "health_check.healthy"), -1); /* there is no check */
	EXPECT_EQ(stat_in(text, CLUSTER "circuit_breakers.default.cx_open"), -1);
	EXPECT_EQ(stat_in(text, "listener.0.0.0.0_15000.downstream_cx_total"), -1);
	EXPECT_EQ(stat_in(text, "listener.0.0.0.0_15001.ssl.handshake"), -1);
}

TEST(an_ejected_endpoint_is_shown_as_such)
{
	_cleanup_world_ struct l7_world *w = given_world();
	struct buffer text = {};
	struct l7_stats_view *view;

	given_targets(w, "'outlier':{'maxErrors':5,'intervalNs':1000000000,'baseEjectionNs':1000000000,'maxEjectionPct':50}");
	world_configure(w);
	w->endpoints[1].ejected_until_ns = time_now_ns() + 60 * NSEC_PER_SEC;
	EXPECT_STAT(w, CLUSTER "outlier_detection.ejections_active", 1);
	view = l7_view(w->l7, w->cookie, L7_VIEW_NUMBERS);
	envoy_clusters_text(view, NULL, &text);
	EXPECT_CONTAINS(buffer_string(&text), "cds_egress_M_n11_http_8080::127.0.0.1:8081::health_flags::/failed_outlier_check\n");
	buffer_done(&text);
	l7_view_free(view);
}

TEST(counts_of_a_target_go_on_when_it_changes_and_begin_anew_when_it_is_another_one)
{
	_cleanup_world_ struct l7_world *w = given_world();

	backend_serve(w, 1);
	EXPECT_EQ(ask_status(w, GET("/")), 200);
	w->panic_pct = 40;
	world_configure(w);
	EXPECT_EQ(ask_status(w, GET("/")), 200);
	EXPECT_STAT(w, CLUSTER "upstream_rq_total", 2);
	EXPECT_OK(l7_configure(w->l7, w->generation, w->generation + 1, SPAN("{\"targets\":{\"11\":null}}"), NULL));
	w->generation++;
	world_configure(w);
	EXPECT_STAT(w, CLUSTER "upstream_rq_total", 0);
}

TEST(a_namespace_is_live_once_the_configuration_has_its_node)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	struct l7_stats_view *view;

	EXPECT(!l7_view(w->l7, w->cookie, 0)); /* nobody acts there */
	given_act(w, "mesh/M/virtualNode/c");
	EXPECT(!l7_view(w->l7, w->cookie + 1, 0));
	view = l7_view(w->l7, w->cookie, 0);
	EXPECT_EQ(view->state, L7_SERVER_PRE_INITIALIZING);
	EXPECT_STR(view->node_id, "mesh/M/virtualNode/c");
	EXPECT_STR(view->mesh, "M");
	EXPECT_STR(view->node_kind, "VirtualNode");
	EXPECT_STR(view->node, "c");
	EXPECT_EQ(view->server.live, 0);
	l7_view_free(view);
	given_any_route(w, NULL);
	world_configure(w);
	view = l7_view(w->l7, w->cookie, 0);
	EXPECT_EQ(view->state, L7_SERVER_LIVE);
	EXPECT_EQ(view->concurrency, 1);
	l7_view_free(view);
	l7_act_remove(w->l7, w->cookie, "mesh/M/virtualNode/c");
	given_act(w, "mesh/M/virtualNode/unknown");
	view = l7_view(w->l7, w->cookie, 0);
	EXPECT_EQ(view->state, L7_SERVER_INITIALIZING);
	l7_view_free(view);
	l7_drain(w->l7, false);
	view = l7_view(w->l7, w->cookie, 0);
	EXPECT_EQ(view->state, L7_SERVER_DRAINING);
	l7_view_free(view);
}

TEST(routes_are_shown_as_they_are_configured)
{
	_cleanup_world_ struct l7_world *w = given_world();
	struct l7_stats_view *view = l7_view(w->l7, w->cookie, L7_VIEW_NUMBERS | L7_VIEW_ROUTES);
	const json_t *host;

	EXPECT_EQ(view->route_count, 1);
	EXPECT_STR(view->routes[0].name, "rds_egress_http_8080");
	host = json_array_get(view->routes[0].virtual_hosts, 0);
	EXPECT_STR(json_path_string(host, "name"), WORLD_HOST);
	EXPECT_STR(json_string_value(json_path_at(host, "domains", 1)), WORLD_HOST ":8080");
	EXPECT_STR(json_path_string(json_path_at(host, "routes", 0), "spec.httpRoute.match.prefix"), "/");
	l7_view_free(view);
}

TEST(a_gateway_shows_its_listeners_and_where_its_routes_lead)
{
	static const char text[] =
		"{\"services\":{\"1\":{\"name\":\"mesh/M/virtualService/web.example.com\",\"ports\":[{\"port\":80,\"node\":9,"
		"\"virtualNode\":\"n\"}]}},\"targets\":{\"9\":{\"name\":\"mesh/M/virtualNode/n:8080\",\"virtualNode\":\"n\","
		"\"port\":8080}},"
		"\"gateways\":{\"20\":{\"name\":\"mesh/M/virtualGateway/g\",\"listeners\":[{\"port\":8088},{\"port\":8089}],\"routes\":["
		"{\"name\":\"r\",\"service\":1,\"spec\":{\"httpRoute\":{\"match\":{\"prefix\":\"/\"},\"action\":{\"target\":"
		"{\"virtualService\":"
		"{\"virtualServiceName\":\"web.example.com\"}}}}}}]}}}";
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	struct l7_stats_view *view;
	struct error err = {};

	EXPECT_OK(l7_configure(w->l7, 0, 1, span_of(text), &err), &err);
	given_act(w, "mesh/M/virtualGateway/g");
	view = l7_view(w->l7, w->cookie, L7_VIEW_NUMBERS | L7_VIEW_ROUTES);
	EXPECT_STR(view->node_kind, "VirtualGateway");
	EXPECT_EQ(view->state, L7_SERVER_LIVE);
	EXPECT_EQ(view->listener_count, 2);
	EXPECT_STR(view->listeners[1].name, "lds_ingress_0.0.0.0_8089");
	EXPECT_EQ(view->http_count, 1);
	EXPECT_STR(view->https[0].prefix, "ingress");
	EXPECT_EQ(view->cluster_count, 1);
	EXPECT_STR(view->clusters[0].name, "cds_egress_M_n_http_8080");
	EXPECT_EQ(view->mesh_stats.requests, 0);
	EXPECT_EQ(view->route_count, 3);
	l7_view_free(view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_counted_by_the_names_of_app_mesh),
		cmocka_unit_test(what_fails_is_counted_by_how),
		cmocka_unit_test(what_is_not_counted_is_left_out),
		cmocka_unit_test(an_ejected_endpoint_is_shown_as_such),
		cmocka_unit_test(counts_of_a_target_go_on_when_it_changes_and_begin_anew_when_it_is_another_one),
		cmocka_unit_test(a_namespace_is_live_once_the_configuration_has_its_node),
		cmocka_unit_test(routes_are_shown_as_they_are_configured),
		cmocka_unit_test(a_gateway_shows_its_listeners_and_where_its_routes_lead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
