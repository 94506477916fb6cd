/* SPDX-License-Identifier: Apache-2.0 */
/* The text that Prometheus reads, from readings made by hand; tests/net/test_metrics.py has the real ones. */
#include <arpa/inet.h>

#include "agent/telemetry/metrics.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"

struct fixture {
	struct tally tally;
	struct proxy_state proxy;
	struct metrics_input input;
	struct buffer text;
};

static const char *text_of(struct fixture *f)
{
	f->input.tally = &f->tally;
	f->input.proxy = &f->proxy;
	metrics_write(&f->input, &f->text);
	EXPECT(!buffer_failed(&f->text));
	return buffer_string(&f->text);
}

static void cleanup_fixture(struct fixture *f)
{
	buffer_done(&f->text);
}
#define FIXTURE _cleanup_(cleanup_fixture) struct fixture f = {}

static void with_row(struct fixture *f, const struct tally_row *row)
{
	static const struct tally_row *rows[1];

	rows[0] = row;
	f->tally.rows = rows;
	f->tally.row_count = 1;
}

static struct tally_row row_of(const char *source, const char *service, const char *target)
{
	return (struct tally_row){ .counter = { .source = source, .service = service, .target = target, .sums.attempts = 1 } };
}

static struct tally_row plain_row(void)
{
	return row_of("mesh/shop/virtualNode/web", "mesh/shop/virtualService/pay.shop", "mesh/shop/virtualNode/pay-v1:8080");
}

#define LABELS "mesh=\"shop\",source=\"web\",service=\"pay.shop\",target=\"pay-v1:8080\""

TEST(names_are_short_and_the_mesh_is_a_label_of_its_own)
{
	FIXTURE;
	struct tally_row row = plain_row();

	row.counter.sums.established = 12;
	with_row(&f, &row);
	EXPECT_CONTAINS(text_of(&f), "\n# TYPE weft_connections_established_total counter\n"
				     "weft_connections_established_total{" LABELS "} 12\n");
}

TEST(values_of_labels_are_escaped)
{
	FIXTURE;
	const struct tally_row row = row_of("mesh/m/virtualNode/a\"b\\c\nd", "object 17", "mesh/m/virtualNode/\xc3\xbc:80");

	with_row(&f, &row);
	EXPECT_CONTAINS(text_of(&f), "{mesh=\"m\",source=\"a\\\"b\\\\c\\nd\",service=\"object 17\",target=\"\xc3\xbc:80\"} 1\n");
}

TEST(a_triple_without_traffic_has_no_series)
{
	FIXTURE;
	struct tally_row row = plain_row();

	row.counter.sums.attempts = 0;
	with_row(&f, &row);
	EXPECT(!strstr(text_of(&f), "pay-v1"));
	EXPECT_CONTAINS(buffer_string(&f.text), "# TYPE weft_connections_open gauge\n");
}

TEST(bytes_and_retransmissions_of_open_connections_are_added_to_those_of_closed_ones)
{
	FIXTURE;
	struct tally_row row = plain_row();

	row.counter.sums.bytes_sent = 1000;
	row.counter.sums.bytes_received = 5;
	row.counter.sums.retransmits = 1;
	row.open_sent = 234;
	row.open_received = 1;
	row.open_retransmits = 2;
	with_row(&f, &row);
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_sent_bytes_total{" LABELS "} 1234\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_received_bytes_total{" LABELS "} 6\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_retransmissions_total{" LABELS "} 3\n");
}

TEST(a_histogram_is_cumulative_over_all_buckets_of_the_kernel)
{
	FIXTURE;
	struct tally_row row = plain_row();
	struct row *sums = &row.counter.sums;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		sums->connect_ns[i] = 1;
	sums->connect_ns_sum = 3000000001;
	sums->duration_ns[HISTOGRAM_BUCKETS - 1] = 7;
	with_row(&f, &row);
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "# TYPE weft_connect_seconds histogram\n"
				     "weft_connect_seconds_bucket{" LABELS ",le=\"8.192e-06\"} 4\n"
				     "weft_connect_seconds_bucket{" LABELS ",le=\"3.2768e-05\"} 6\n");
	EXPECT_CONTAINS(f.text.data, "weft_connect_seconds_bucket{" LABELS ",le=\"34.359738368\"} 26\n"
				     "weft_connect_seconds_bucket{" LABELS ",le=\"+Inf\"} 32\n"
				     "weft_connect_seconds_sum{" LABELS "} 3.000000001\n"
				     "weft_connect_seconds_count{" LABELS "} 32\n");
	EXPECT_CONTAINS(f.text.data, "weft_connection_duration_seconds_bucket{" LABELS ",le=\"1099.51162778\"} 0\n"
				     "weft_connection_duration_seconds_bucket{" LABELS ",le=\"+Inf\"} 7\n"
				     "weft_connection_duration_seconds_count{" LABELS "} 7\n");
}

TEST(servers_tell_what_they_took_and_what_they_refused_by_reason)
{
	FIXTURE;

	f.input.http_count = 2;
	f.input.http[0] = (struct http_totals){ .service = "local", .open = 3, .counters = { .connections = 10, .requests = 20 } };
	f.input.http[1] = (struct http_totals){ .service = "metrics" };
	f.input.http[1].counters.refused[HTTP_SLOW_HEAD] = 7;
	f.input.api.refused[SIGV4_MISMATCH] = 4;
	f.input.api.writer[WRITER_COUNT_RETRIES] = 5;
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_http_connections_open{server=\"local\"} 3\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_http_connections_total{server=\"local\"} 10\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_http_requests_total{server=\"local\"} 20\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_http_refusals_total{server=\"metrics\",reason=\"slow-head\"} 7\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_http_refusals_total{server=\"local\",reason=\"slow-head\"} 0\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_api_signatures_refused_total{reason=\"mismatch\"} 4\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_api_writer_total{event=\"retries\"} 5\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_api_audit_lost_total 0\n");
}

static struct tally_endpoint endpoint_of(const char *target, const char *address, uint32_t health, uint64_t open)
{
	struct tally_endpoint e = { .target = target, .port = htons(80), .state = { .health = health, .open = open } };

	EXPECT_OK(ip_parse(address, &e.address));
	return e;
}

TEST(unchecked_counts_as_healthy_and_pending_as_unhealthy)
{
	FIXTURE;
	const struct tally_endpoint endpoints[] = {
		endpoint_of("mesh/shop/virtualNode/a:80", "10.0.0.1", HEALTH_UNCHECKED, 1),
		endpoint_of("mesh/shop/virtualNode/a:80", "10.0.0.2", HEALTH_UP, 2),
		endpoint_of("mesh/shop/virtualNode/a:80", "fd00::3", HEALTH_DOWN, 3),
		endpoint_of("mesh/shop/virtualNode/b:80", "10.0.0.4", HEALTH_PENDING, 4),
	};

	f.tally.endpoints = endpoints;
	f.tally.endpoint_count = ARRAY_SIZE(endpoints);
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_healthy_host_count{mesh=\"shop\",target=\"a:80\"} 2\n"
				     "weft_healthy_host_count{mesh=\"shop\",target=\"b:80\"} 0\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_unhealthy_host_count{mesh=\"shop\",target=\"a:80\"} 1\n"
				     "weft_unhealthy_host_count{mesh=\"shop\",target=\"b:80\"} 1\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_open{mesh=\"shop\",target=\"a:80\",address=\"[fd00::3]:80\"} 3\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_healthy{mesh=\"shop\",target=\"a:80\",address=\"10.0.0.1:80\"} 1\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_healthy{mesh=\"shop\",target=\"b:80\",address=\"10.0.0.4:80\"} 0\n");
}

TEST(the_same_address_in_several_namespaces_is_one_series_and_several_hosts)
{
	FIXTURE;
	const struct tally_endpoint endpoints[] = {
		endpoint_of("mesh/shop/virtualNode/a:80", "127.0.0.1", HEALTH_UP, 1),
		endpoint_of("mesh/shop/virtualNode/a:80", "127.0.0.1", HEALTH_DOWN, 2),
		endpoint_of("mesh/shop/virtualNode/b:80", "127.0.0.1", HEALTH_UP, 4),
	};

	f.tally.endpoints = endpoints;
	f.tally.endpoint_count = ARRAY_SIZE(endpoints);
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_healthy_host_count{mesh=\"shop\",target=\"a:80\"} 1\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_open{mesh=\"shop\",target=\"a:80\",address=\"127.0.0.1:80\"} 3\n"
				     "weft_endpoint_open{mesh=\"shop\",target=\"b:80\",address=\"127.0.0.1:80\"} 4\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_healthy{mesh=\"shop\",target=\"a:80\",address=\"127.0.0.1:80\"} 0\n"
				     "weft_endpoint_healthy{mesh=\"shop\",target=\"b:80\",address=\"127.0.0.1:80\"} 1\n");
}

TEST(reasons_name_whom_they_are_about_as_far_as_that_is_known)
{
	FIXTURE;
	const struct tally_reason reasons[] = {
		{ NULL, NULL, REASON_NO_NODE, 3 },
		{ "mesh/shop/virtualNode/web", NULL, REASON_NOT_IN_MESH, 4 },
		{ "mesh/shop/virtualNode/web", "mesh/shop/virtualService/pay", REASON_NOT_A_BACKEND, 5 },
	};

	f.tally.reasons = reasons;
	f.tally.reason_count = ARRAY_SIZE(reasons);
	EXPECT_CONTAINS(text_of(&f), "\nweft_decisions_total{mesh=\"\",source=\"\",service=\"\",reason=\"no-node\"} 3\n"
				     "weft_decisions_total{mesh=\"shop\",source=\"web\",service=\"\",reason=\"not-in-mesh\"} 4\n"
				     "weft_decisions_total{mesh=\"shop\",source=\"web\",service=\"pay\",reason=\"not-a-backend\"} 5\n");
}

TEST(the_heartbeat_of_weft_proxy_has_an_age_or_never_was)
{
	FIXTURE;
	const char *age;

	EXPECT_CONTAINS(text_of(&f), "\nweft_proxy_heartbeat_age_seconds +Inf\n");

	buffer_clear(&f.text);
	f.proxy.beat_ns = time_now_ns() - 90 * NSEC_PER_SEC;
	f.proxy.outcomes[DNS_NODATA] = 6;
	age = strstr(text_of(&f), "\nweft_proxy_heartbeat_age_seconds 9");
	EXPECT(age && strtod(strchr(age, ' ') + 1, NULL) < 95);
	EXPECT_CONTAINS(f.text.data, "\nweft_dns_queries_total{outcome=\"nodata\"} 6\n");

	buffer_clear(&f.text);
	f.proxy.beat_ns = time_now_ns() + 90 * NSEC_PER_SEC; /* beaten since we looked at the clock */
	EXPECT_CONTAINS(text_of(&f), "\nweft_proxy_heartbeat_age_seconds 0\n");
}

static size_t series_in(const char *text)
{
	size_t count = 0;

	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		count += *line != '#';
	return count;
}

static size_t lines_with(const char *text, const char *beginning)
{
	size_t count = 0;

	for (; (text = strstr(text, beginning)); text++)
		count++;
	return count;
}

TEST(series_beyond_the_limit_are_left_out_whole_and_counted)
{
	enum { ROWS = 600 }; /* room for all counters and the first histogram, not for all of the second */
	FIXTURE;
	_cleanup_free_ struct tally_row *rows = calloc(ROWS, sizeof(*rows));
	_cleanup_free_ const struct tally_row **list = calloc(ROWS, sizeof(*list));
	static char targets[ROWS][48];
	size_t all, dropped, whole;
	const char *last;

	for (size_t i = 0; i < ROWS; i++) {
		snprintf(targets[i], sizeof(targets[i]), "mesh/shop/virtualNode/t%zu:80", i);
		rows[i] = row_of("mesh/shop/virtualNode/web", "mesh/shop/virtualService/s", targets[i]);
		list[i] = &rows[i];
	}
	f.tally.rows = list;
	f.tally.row_count = 1;
	all = series_in(text_of(&f));
	buffer_clear(&f.text);
	f.tally.row_count = 2;
	all += (ROWS - 1) * (series_in(text_of(&f)) - all);

	buffer_clear(&f.text);
	f.tally.row_count = ROWS;
	text_of(&f);
	last = strstr(f.text.data, "\nweft_metrics_dropped_series ");
	dropped = strtoul(strchr(last, ' '), NULL, 10);
	EXPECT(series_in(f.text.data) <= METRICS_SERIES_MAX + 1); /* the count itself has always room */
	EXPECT(series_in(f.text.data) > METRICS_SERIES_MAX - 20); /* a histogram is whole, or not there */
	EXPECT_EQ(series_in(f.text.data) + dropped, all);
	EXPECT_EQ(lines_with(f.text.data, "\nweft_retransmissions_total{"), ROWS);
	EXPECT_EQ(lines_with(f.text.data, "\nweft_connect_seconds_count{"), ROWS);
	whole = lines_with(f.text.data, "\nweft_connection_duration_seconds_count{");
	EXPECT(whole > 0 && whole < ROWS);
	EXPECT_EQ(lines_with(f.text.data, "\nweft_connection_duration_seconds_bucket{"), whole * 13);
}

/* --- requests ------------------------------------------------------------------------------------------------------------------------------- */

static struct request_row request_row_of(const char *source, const char *service, const char *target)
{
	return (struct request_row){ .source = source, .service = service, .target = target, .counts.requests = 1 };
}

TEST(requests_are_told_by_class_with_every_bucket_of_their_time)
{
	FIXTURE;
	struct request_row row = request_row_of("mesh/shop/virtualNode/web", "mesh/shop/virtualService/pay.shop", "mesh/shop/virtualNode/pay-v1:8080");

	row.counts.codes[0] = 1;
	row.counts.codes[2] = 40;
	row.counts.codes[5] = 2;
	row.counts.retries = 3;
	row.counts.bytes_received = 100;
	row.counts.bytes_sent = 200;
	row.counts.time_ns[8] = 40;
	row.counts.time_ns[31] = 3;
	row.counts.time_ns_sum = 5000000007;
	f.tally.requests.rows = &row;
	f.tally.requests.row_count = 1;
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_requests_total{" LABELS ",code=\"none\"} 1\n"
				     "weft_requests_total{" LABELS ",code=\"1xx\"} 0\nweft_requests_total{" LABELS ",code=\"2xx\"} 40\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_requests_total{" LABELS ",code=\"5xx\"} 2\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_request_retries_total{" LABELS "} 3\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_request_body_bytes_total{" LABELS "} 100\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_response_body_bytes_total{" LABELS "} 200\n");
	EXPECT_CONTAINS(f.text.data, "# TYPE weft_request_seconds histogram\nweft_request_seconds_bucket{" LABELS ",le=\"0.000131072\"} 0\n"
				     "weft_request_seconds_bucket{" LABELS ",le=\"0.000262144\"} 40\n");
	EXPECT_CONTAINS(f.text.data, "weft_request_seconds_bucket{" LABELS ",le=\"68.719476736\"} 40\n"
				     "weft_request_seconds_bucket{" LABELS ",le=\"+Inf\"} 43\nweft_request_seconds_sum{" LABELS "} 5.000000007\n"
				     "weft_request_seconds_count{" LABELS "} 43\n");
}

TEST(a_request_that_came_in_has_a_target_alone)
{
	FIXTURE;
	struct request_row row = request_row_of(NULL, NULL, "mesh/shop/virtualNode/pay-v1");

	f.tally.requests.rows = &row;
	f.tally.requests.row_count = 1;
	EXPECT_CONTAINS(text_of(&f), "\nweft_request_retries_total{mesh=\"shop\",source=\"\",service=\"\",target=\"pay-v1\"} 0\n");
}

TEST(rows_of_requests_beyond_the_limit_are_one_of_others)
{
	enum { ROWS = METRICS_REQUEST_ROWS_MAX + 50 };
	FIXTURE;
	_cleanup_free_ struct request_row *rows = calloc(ROWS, sizeof(*rows));
	static char targets[ROWS][48];

	for (size_t i = 0; i < ROWS; i++) {
		snprintf(targets[i], sizeof(targets[i]), "mesh/shop/virtualNode/t%zu:80", i);
		rows[i] = request_row_of("mesh/shop/virtualNode/web", "mesh/shop/virtualService/s", targets[i]);
		rows[i].counts.retries = 2;
	}
	rows[0] = request_row_of(NULL, NULL, NULL); /* what weft-proxy has no row for is one of them, and takes no place */
	rows[0].counts.retries = 7;
	f.tally.requests.rows = rows;
	f.tally.requests.row_count = ROWS;
	text_of(&f);
	EXPECT_EQ(lines_with(f.text.data, "\nweft_request_retries_total{mesh=\"shop\""), METRICS_REQUEST_ROWS_MAX);
	EXPECT_CONTAINS(f.text.data, "\nweft_request_retries_total{mesh=\"\",source=\"other\",service=\"other\",target=\"other\"} 105\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_metrics_dropped_series 0\n");
}

TEST(requests_are_told_by_route)
{
	FIXTURE;
	struct request_route routes[] = {
		{ "mesh/shop/virtualNode/web", "mesh/shop/virtualService/pay.shop", "canary", { .codes = { [2] = 40, [5] = 2 }, .retries = 3, .timeouts = 1 } },
		{ "mesh/shop/virtualNode/web", "mesh/shop/virtualService/pay.shop", NULL, { .codes = { [4] = 7 } } },
		{ "mesh/shop/virtualGateway/in", NULL, "entry", { .codes = { [2] = 5 } } },
	};

	f.tally.requests.routes = routes;
	f.tally.requests.route_count = ARRAY_SIZE(routes);
	text_of(&f);
#define ROUTE_LABELS "mesh=\"shop\",source=\"web\",service=\"pay.shop\",route=\"canary\""
	EXPECT_CONTAINS(f.text.data, "\nweft_route_requests_total{" ROUTE_LABELS ",code=\"none\"} 0\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_route_requests_total{" ROUTE_LABELS ",code=\"2xx\"} 40\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_route_requests_total{" ROUTE_LABELS ",code=\"5xx\"} 2\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_route_retries_total{" ROUTE_LABELS "} 3\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_route_timeouts_total{" ROUTE_LABELS "} 1\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_route_requests_total{mesh=\"shop\",source=\"web\",service=\"pay.shop\",route=\"\",code=\"4xx\"} 7\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_route_requests_total{mesh=\"shop\",source=\"in\",service=\"\",route=\"entry\",code=\"2xx\"} 5\n");
}

TEST(routes_beyond_the_limit_are_one_of_others)
{
	enum { ROUTES = METRICS_ROUTES_MAX + 50 };
	FIXTURE;
	_cleanup_free_ struct request_route *routes = calloc(ROUTES, sizeof(*routes));
	static char names[ROUTES][16];

	for (size_t i = 0; i < ROUTES; i++) {
		snprintf(names[i], sizeof(names[i]), "r%zu", i);
		routes[i] = (struct request_route){ "mesh/shop/virtualNode/web", "mesh/shop/virtualService/s", names[i], { .retries = 2 } };
	}
	routes[0] = (struct request_route){ .counts.retries = 7 }; /* what weft-proxy has no row for is one of them, and takes no place */
	f.tally.requests.routes = routes;
	f.tally.requests.route_count = ROUTES;
	text_of(&f);
	EXPECT_EQ(lines_with(f.text.data, "\nweft_route_retries_total{mesh=\"shop\""), METRICS_ROUTES_MAX);
	EXPECT_CONTAINS(f.text.data, "\nweft_route_retries_total{mesh=\"\",source=\"other\",service=\"other\",route=\"other\"} 105\n");
}

TEST(requests_are_told_by_endpoint_and_those_of_all_others_together)
{
	FIXTURE;
	struct tally_endpoint endpoints[4];

	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++)
		endpoints[i] = (struct tally_endpoint){
			.target = "mesh/shop/virtualNode/pay-v1:8080",
			.port = htons((uint16_t)(80 + i / 2)), /* the first two are one address, of two namespaces */
			.own_requests = i < 2,
			.state = { .requests = 10 + i, .request_failures = i },
		};
	EXPECT_EQ(ip_parse("10.0.0.1", &endpoints[0].address), 0);
	for (size_t i = 1; i < ARRAY_SIZE(endpoints); i++)
		endpoints[i].address = endpoints[0].address;
	f.tally.endpoints = endpoints;
	f.tally.endpoint_count = ARRAY_SIZE(endpoints);
	f.tally.other_endpoints = (struct endpoint_requests){ 25, 5 };
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_requests_total{mesh=\"shop\",target=\"pay-v1:8080\",address=\"10.0.0.1:80\"} 21\n"
				     "weft_endpoint_requests_total{mesh=\"\",target=\"other\",address=\"other\"} 25\n# ");
	EXPECT_CONTAINS(f.text.data, "\nweft_endpoint_request_failures_total{mesh=\"shop\",target=\"pay-v1:8080\",address=\"10.0.0.1:80\"} 1\n"
				     "weft_endpoint_request_failures_total{mesh=\"\",target=\"other\",address=\"other\"} 5\n# ");
}

TEST(sums_of_weft_proxy_are_told_by_name_whatever_build_it_is_of)
{
	FIXTURE;
	struct request_sum sums[] = {
		{ "upstreamConnections", 4 }, { "replies.no-route", 5 }, { "retries.retry-limit", 6 }, { "replies.of-another-build", 7 },
		{ "accessLogDrops.not-open", 8 },
	};

	f.tally.requests.sums = sums;
	f.tally.requests.sum_count = ARRAY_SIZE(sums);
	f.tally.requests.known = true;
	f.tally.requests.now = (struct request_now){ .open = 1, .upstream_open = 2, .active = 3 };
	text_of(&f);
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_events_total{event=\"upstream-connections\"} 4\n# ");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_replies_total{reply=\"no-route\"} 5\nweft_proxy_replies_total{reply=\"of-another-build\"} 7\n# ");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_retry_verdicts_total{verdict=\"retry-limit\"} 6\n# ");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_access_log_dropped_total{reason=\"not-open\"} 8\n# ");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_requests_known 1\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_connections_open 1\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_upstream_connections_open 2\n");
	EXPECT_CONTAINS(f.text.data, "\nweft_proxy_requests_active 3\n");
}

TEST(the_process_tells_its_memory_and_time)
{
	struct metrics_process process = { .start_wall_ns = 5 };

	metrics_process_read(&process);
	EXPECT(process.resident_bytes > 100000 && process.resident_bytes < 1ull << 40);
	EXPECT(process.cpu_ns > 0);
	EXPECT_EQ(process.start_wall_ns, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_short_and_the_mesh_is_a_label_of_its_own),
		cmocka_unit_test(values_of_labels_are_escaped),
		cmocka_unit_test(a_triple_without_traffic_has_no_series),
		cmocka_unit_test(bytes_and_retransmissions_of_open_connections_are_added_to_those_of_closed_ones),
		cmocka_unit_test(servers_tell_what_they_took_and_what_they_refused_by_reason),
		cmocka_unit_test(a_histogram_is_cumulative_over_all_buckets_of_the_kernel),
		cmocka_unit_test(unchecked_counts_as_healthy_and_pending_as_unhealthy),
		cmocka_unit_test(the_same_address_in_several_namespaces_is_one_series_and_several_hosts),
		cmocka_unit_test(reasons_name_whom_they_are_about_as_far_as_that_is_known),
		cmocka_unit_test(the_heartbeat_of_weft_proxy_has_an_age_or_never_was),
		cmocka_unit_test(series_beyond_the_limit_are_left_out_whole_and_counted),
		cmocka_unit_test(requests_are_told_by_class_with_every_bucket_of_their_time),
		cmocka_unit_test(a_request_that_came_in_has_a_target_alone),
		cmocka_unit_test(rows_of_requests_beyond_the_limit_are_one_of_others),
		cmocka_unit_test(requests_are_told_by_route),
		cmocka_unit_test(routes_beyond_the_limit_are_one_of_others),
		cmocka_unit_test(requests_are_told_by_endpoint_and_those_of_all_others_together),
		cmocka_unit_test(sums_of_weft_proxy_are_told_by_name_whatever_build_it_is_of),
		cmocka_unit_test(the_process_tells_its_memory_and_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
