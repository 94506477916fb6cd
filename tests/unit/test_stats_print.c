/* SPDX-License-Identifier: Apache-2.0 */
/* /stats, /clusters and the rest as Envoy has them; expected texts were compared with what Envoy itself prints. */
#include <math.h>

#include "agent/l7/envoy_print.h"
#include "agent/l7/stats_print.h"
#include "tests/unit/stats_view_world.h"

/* What is printed, whose memory is the next call's. */
static const char *printed(const struct l7_stats_view *view, enum stats_format format, const char *filter, bool used_only)
{
	static struct buffer out;
	struct stats_query query = { .format = format, .types = STATS_ALL, .used_only = used_only };
	struct regex *regex = NULL;

	if (filter)
		EXPECT_OK(stats_filter_new(filter, &regex, NULL));
	query.filter = regex;
	buffer_clear(&out);
	EXPECT_OK(stats_print(view, &query, &out));
	regex_free(regex);
	return buffer_string(&out);
}

/* Steals it. */
static const char *dumped(json_t *json)
{
	static char *text;

	free(text);
	text = json_dumps(json, JSON_INDENT(1));
	EXPECT(text);
	json_decref(json);
	return text;
}

TEST(text_has_numbers_by_name_and_then_histograms)
{
	struct view_world w;

	view_world_init(&w);
	EXPECT_STR(printed(&w.view, STATS_TEXT, "^(cluster|server)", false),
		   "cluster.cds_egress_m_amazonaws.upstream_rq_total: 0\n"
		   "cluster.cds_egress_m_blue_http_8080.health_check.failure: 2\n"
		   "cluster.cds_egress_m_blue_http_8080.outlier_detection.ejections_active: 1\n"
		   "cluster.cds_egress_m_blue_http_8080.upstream_cx_active: 1\n"
		   "cluster.cds_egress_m_blue_http_8080.upstream_rq_2xx: 6\n"
		   "cluster.cds_egress_m_blue_http_8080.upstream_rq_5xx: 1\n"
		   "cluster.cds_egress_m_blue_http_8080.upstream_rq_total: 7\n"
		   "server.live: 1\n"
		   "server.uptime: 12\n"
		   "cluster.cds_egress_m_blue_http_8080.upstream_rq_time: P0(nan,2.09715) P25(nan,2.7962) P50(nan,3.49525) P75(nan,4.1943) "
		   "P90(nan,26.8435) P95(nan,30.199) P99(nan,32.8833) P99.5(nan,33.2189) P99.9(nan,33.4873) P100(nan,33.5544)\n");
	EXPECT_CONTAINS(printed(&w.view, STATS_TEXT, NULL, false), "listener.0.0.0.0_15001.downstream_cx_active: 2\n");
	EXPECT_CONTAINS(printed(&w.view, STATS_TEXT, NULL, false), "http.egress.downstream_rq_2xx: 7\n");
}

TEST(what_nobody_counts_is_left_out_and_what_is_unused_where_that_is_asked)
{
	struct view_world w;

	view_world_init(&w);
	EXPECT(!strstr(printed(&w.view, STATS_TEXT, NULL, false), "upstream_rq_retry"));
	EXPECT(!strstr(printed(&w.view, STATS_TEXT, NULL, false), "appmesh"));
	EXPECT(strstr(printed(&w.view, STATS_TEXT, NULL, false), "amazonaws"));
	EXPECT(!strstr(printed(&w.view, STATS_TEXT, NULL, true), "amazonaws"));
	memset(&w.times, 0, sizeof(w.times));
	EXPECT_STR(printed(&w.view, STATS_TEXT, "rq_time", false), "cluster.cds_egress_m_blue_http_8080.upstream_rq_time: No recorded values\n");
	EXPECT_STR(printed(&w.view, STATS_TEXT, "rq_time", true), "");
}

TEST(filters_match_anywhere_and_have_to_be_expressions)
{
	struct view_world w;
	struct regex *regex;
	struct error err = {};

	view_world_init(&w);
	EXPECT_STR(printed(&w.view, STATS_TEXT, "amazon", false), "cluster.cds_egress_m_amazonaws.upstream_rq_total: 0\n");
	EXPECT_STR(printed(&w.view, STATS_TEXT, "_2xx$", false),
		   "cluster.cds_egress_m_blue_http_8080.upstream_rq_2xx: 6\nhttp.egress.downstream_rq_2xx: 7\n");
	EXPECT_EQ(stats_filter_new("(", &regex, &err), -EINVAL);
	EXPECT_EQ(stats_filter_new(")(", &regex, &err), -EINVAL);
}

TEST(json_has_the_same)
{
	struct view_world w;

	view_world_init(&w);
	EXPECT_STR(printed(&w.view, STATS_JSON, "upstream_rq_[25]xx", false),
		   "{\"stats\":[{\"name\":\"cluster.cds_egress_m_blue_http_8080.upstream_rq_2xx\",\"value\":6},"
		   "{\"name\":\"cluster.cds_egress_m_blue_http_8080.upstream_rq_5xx\",\"value\":1}]}");
	EXPECT_CONTAINS(printed(&w.view, STATS_JSON, "upstream_rq_time", false),
			"{\"stats\":[{\"histograms\":{\"supported_quantiles\":[0.0,25.0,50.0,75.0,90.0,95.0,99.0,99.5,99.9,100.0],"
			"\"computed_quantiles\":[{\"name\":\"cluster.cds_egress_m_blue_http_8080.upstream_rq_time\",\"values\":["
			"{\"interval\":null,\"cumulative\":2.09715},");
	memset(&w.times, 0, sizeof(w.times));
	EXPECT_CONTAINS(printed(&w.view, STATS_JSON, "upstream_rq_time", false), "{\"interval\":null,\"cumulative\":null}");
}

TEST(prometheus_has_names_of_scopes_as_labels)
{
	struct view_world w;

	view_world_init(&w);
	EXPECT_STR(printed(&w.view, STATS_PROMETHEUS, "upstream_rq_(.xx|total)|cx_active|live", false),
		   "# TYPE envoy_cluster_upstream_rq_total counter\n"
		   "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"cds_egress_m_amazonaws\"} 0\n"
		   "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"cds_egress_m_blue_http_8080\"} 7\n"
		   "# TYPE envoy_cluster_upstream_rq_xx counter\n"
		   "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"cds_egress_m_blue_http_8080\"} 6\n"
		   "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"cds_egress_m_blue_http_8080\"} 1\n"
		   "# TYPE envoy_cluster_upstream_cx_active gauge\n"
		   "envoy_cluster_upstream_cx_active{envoy_cluster_name=\"cds_egress_m_blue_http_8080\"} 1\n"
		   "# TYPE envoy_listener_downstream_cx_active gauge\n"
		   "envoy_listener_downstream_cx_active{envoy_listener_address=\"0.0.0.0_15001\"} 2\n"
		   "# TYPE envoy_server_live gauge\n"
		   "envoy_server_live{} 1\n");
}

TEST(prometheus_histograms_are_cumulative)
{
	struct view_world w;
	const char *text;

	view_world_init(&w);
	text = printed(&w.view, STATS_PROMETHEUS, "upstream_rq_time", false);
	EXPECT_EQ(strncmp(text, "# TYPE envoy_cluster_upstream_rq_time histogram\nenvoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"cds_egress_m_"
				"blue_http_8080\",le=\"0.065536\"} 0\n", 150), 0);
	EXPECT_CONTAINS(text, "le=\"2.097152\"} 0\n");
	EXPECT_CONTAINS(text, "le=\"4.194304\"} 3\n");
	EXPECT_CONTAINS(text, "le=\"33.554432\"} 4\n");
	EXPECT_CONTAINS(text, "le=\"137438.953\"} 4\n");
	EXPECT_CONTAINS(text, "le=\"+Inf\"} 4\n"
			      "envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"cds_egress_m_blue_http_8080\"} 39\n"
			      "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"cds_egress_m_blue_http_8080\"} 4\n");
}

TEST(the_metrics_extension_has_app_meshs_metrics_and_labels_everything)
{
	static const struct l7_tag tags[] = { { "appmesh.mesh", "m \"x\"\n\\" } };
	struct view_world w;

	view_world_init(&w);
	w.view.metrics_extension = true;
	EXPECT_STR(printed(&w.view, STATS_PROMETHEUS, "appmesh.*Request|live", false),
		   "# TYPE envoy_appmesh_RequestCount counter\n"
		   "envoy_appmesh_RequestCount{Mesh=\"m\",VirtualNode=\"front\"} 9\n"
		   "# TYPE envoy_appmesh_RequestCountPerTarget counter\n"
		   "envoy_appmesh_RequestCountPerTarget{TargetVirtualService=\"blue.local\",TargetVirtualNode=\"blue\",Mesh=\"m\","
		   "VirtualNode=\"front\"} 7\n"
		   "# TYPE envoy_server_live gauge\n"
		   "envoy_server_live{Mesh=\"m\",VirtualNode=\"front\"} 1\n");
	EXPECT_CONTAINS(printed(&w.view, STATS_TEXT, "appmesh", false), "appmesh.RequestCount: 9\n");
	w.view.metrics_extension = false;
	w.view.tags = tags;
	w.view.tag_count = 1;
	EXPECT_CONTAINS(printed(&w.view, STATS_PROMETHEUS, "live", false), "envoy_server_live{appmesh_mesh=\"m \\\"x\\\"\\n\\\\\"} 1\n");
}

TEST(quantiles_lie_in_their_buckets)
{
	struct l7_histogram histogram = {};

	EXPECT(isnan(histogram_quantile_ms(&histogram, 0.5)));
	histogram.buckets[0] = 1;
	EXPECT(histogram_quantile_ms(&histogram, 0) == 0);
	EXPECT(fabs(histogram_quantile_ms(&histogram, 1) - 0.001024) < 1e-9);
	histogram.buckets[HISTOGRAM_BUCKETS - 1] = 1;
	EXPECT(histogram_quantile_ms(&histogram, 1) > 1e6);
}

TEST(clusters_in_text)
{
	struct view_world w;
	struct buffer out = {};
	struct regex *regex;

	view_world_init(&w);
	EXPECT_OK(stats_filter_new("blue", &regex, NULL));
	envoy_clusters_text(&w.view, regex, &out);
	EXPECT_CONTAINS(buffer_string(&out), "cds_egress_m_blue_http_8080::observability_name::cds_egress_m_blue_http_8080\n"
					     "cds_egress_m_blue_http_8080::default_priority::max_connections::2147483647\n");
	EXPECT_CONTAINS(buffer_string(&out), "cds_egress_m_blue_http_8080::10.0.0.1:8080::cx_active::1\n");
	EXPECT_CONTAINS(buffer_string(&out), "cds_egress_m_blue_http_8080::10.0.0.1:8080::rq_total::7\n");
	EXPECT_CONTAINS(buffer_string(&out), "cds_egress_m_blue_http_8080::10.0.0.1:8080::health_flags::healthy\n");
	EXPECT_CONTAINS(buffer_string(&out), "cds_egress_m_blue_http_8080::10.0.0.1:8080::zone::a\n");
	EXPECT_CONTAINS(buffer_string(&out),
			"cds_egress_m_blue_http_8080::[fd00::1]:8080::health_flags::/failed_active_hc/failed_outlier_check\n");
	EXPECT(!strstr(buffer_string(&out), "10.0.0.1:8080::rq_pending_active"));
	EXPECT(!strstr(buffer_string(&out), "amazonaws"));
	regex_free(regex);
	buffer_done(&out);
}

TEST(clusters_in_json)
{
	struct view_world w;
	const char *text;

	view_world_init(&w);
	w.view.clusters = &w.clusters[0];
	w.view.cluster_count = 1;
	text = dumped(envoy_clusters_json(&w.view, NULL));
	EXPECT_CONTAINS(text, "{\n \"cluster_statuses\": [\n  {\n   \"name\": \"cds_egress_m_blue_http_8080\",\n   \"added_via_api\": true,\n"
			      "   \"host_statuses\": [\n    {\n     \"address\": {\n      \"socket_address\": {\n       \"address\": \"10.0.0.1\",\n"
			      "       \"port_value\": 8080\n      }\n     },\n     \"stats\": [\n      {\n       \"type\": \"GAUGE\",\n"
			      "       \"value\": \"1\",\n       \"name\": \"cx_active\"\n      },\n      {\n       \"name\": \"cx_connect_fail\"\n");
	EXPECT_CONTAINS(text, "\"health_status\": {\n      \"failed_active_health_check\": true,\n      \"failed_outlier_check\": true,\n"
			      "      \"eds_health_status\": \"HEALTHY\"\n");
	EXPECT_CONTAINS(text, "\"thresholds\": [\n     {\n      \"max_connections\": 2147483647,");
}

TEST(listeners_server_and_configuration)
{
	struct view_world w;
	struct buffer out = {};
	_cleanup_json_ json_t *hosts = json_pack("[{s:s}]", "name", "blue.local"), *dump = NULL;
	const struct l7_route_config_view routes[] = { { "rds_egress_http_8080", hosts } };

	view_world_init(&w);
	envoy_listeners_text(&w.view, &out);
	EXPECT_STR(buffer_string(&out), "lds_egress_0.0.0.0_15001::0.0.0.0:15001\n");
	buffer_done(&out);
	EXPECT_CONTAINS(dumped(envoy_listeners_json(&w.view)), "\"name\": \"lds_egress_0.0.0.0_15001\",\n   \"local_address\": {");
	EXPECT_CONTAINS(dumped(envoy_server_info_json(&w.view)), "\n \"state\": \"LIVE\",\n");
	EXPECT_CONTAINS(dumped(envoy_server_info_json(&w.view)), "\"service_node\": \"mesh/m/virtualNode/front\"");
	EXPECT_STR(dumped(envoy_certs_json(&w.view)), "{\n \"certificates\": []\n}");
	EXPECT_STR(dumped(envoy_memory_json(&w.view)), "{}");
	w.view.routes = routes;
	w.view.route_count = 1;
	dump = envoy_config_dump_json(&w.view);
	EXPECT_EQ(json_path_count(dump, "configs"), 5);
	EXPECT_STR(json_path_string(json_path_at(dump, "configs", 0), "@type"), "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump");
	EXPECT_CONTAINS(dumped(json_incref(dump)), "\"name\": \"rds_egress_http_8080\",\n      \"virtual_hosts\": [");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_has_numbers_by_name_and_then_histograms),
		cmocka_unit_test(what_nobody_counts_is_left_out_and_what_is_unused_where_that_is_asked),
		cmocka_unit_test(filters_match_anywhere_and_have_to_be_expressions),
		cmocka_unit_test(json_has_the_same),
		cmocka_unit_test(prometheus_has_names_of_scopes_as_labels),
		cmocka_unit_test(prometheus_histograms_are_cumulative),
		cmocka_unit_test(the_metrics_extension_has_app_meshs_metrics_and_labels_everything),
		cmocka_unit_test(quantiles_lie_in_their_buckets),
		cmocka_unit_test(clusters_in_text),
		cmocka_unit_test(clusters_in_json),
		cmocka_unit_test(listeners_server_and_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
