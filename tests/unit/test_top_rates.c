/* SPDX-License-Identifier: Apache-2.0 */
/* Two answers of /v1/top become rates. */
#include <errno.h>

#include "agent/ctl/top.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/time.h"
#include "tests/unit/test_top.h"

/* An answer of /v1/top at that second, to which rows are added. */
static json_t *answer_at(int second)
{
	return json_pack("{s:I, s:i, s:b, s:[], s:[], s:[]}", "timeNs", (json_int_t)(1000 + second) * (json_int_t)NSEC_PER_SEC, "generation",
			 7, "openKnown", 1, "rows", "endpoints", "reasons");
}

/* `members` are those that are not 0, as JSON. */
static void add(json_t *answer, const char *list, json_t *object, const char *members)
{
	_cleanup_json_ json_t *more = json_loads(members, 0, NULL);

	EXPECT(object && more);
	EXPECT_OK(json_object_update(object, more));
	EXPECT_OK(json_array_append_new(json_object_get(answer, list), object));
}

static void add_row_of(json_t *answer, const char *from, const char *to, const char *target, const char *members)
{
	add(answer, "rows", json_pack("{s:s, s:s, s:s}", "from", from, "to", to, "target", target), members);
}

static void add_row(json_t *answer, const char *members)
{
	add_row_of(answer, FULL_NODE("web"), FULL_SERVICE("pay"), FULL_NODE("pay-v1:8080"), members);
}

static void add_reason(json_t *answer, const char *to, const char *reason, int count)
{
	add(answer, "reasons", json_pack("{s:s, s:s?, s:s, s:i}", "from", FULL_NODE("web"), "to", to, "reason", reason, "count", count), "{}");
}

static void add_endpoint(json_t *answer, const char *target, const char *address, const char *members)
{
	add(answer, "endpoints", json_pack("{s:s, s:s, s:s}", "target", target, "address", address, "health", "up"), members);
}

static struct top made(const json_t *before, const json_t *now)
{
	struct error err = {};
	struct top top;

	EXPECT_OK(top_make(before, now, &top, &err), &err);
	return top;
}

TEST(what_grew_between_two_answers_is_a_rate_per_second)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(2);
	_cleanup_(top_done) struct top top = {};

	add_row(before, "{\"attempts\": 100, \"resetByPeer\": 1, \"refused\": 5, \"timedOut\": 2, \"abandoned\": 3}");
	add_row(now, "{\"attempts\": 150, \"resetByPeer\": 4, \"refused\": 6, \"timedOut\": 8, \"abandoned\": 9, \"open\": 3}");
	top = made(before, now);

	EXPECT_EQ(top.interval_ns, 2 * NSEC_PER_SEC);
	EXPECT_EQ(top.row_count, 1);
	EXPECT_RATE(top.rows[0].connections, 25);
	EXPECT_RATE(top.rows[0].resets, 1.5);
	EXPECT_RATE(top.rows[0].failures, 3.5); /* their own caller's giving up is none */
	EXPECT_STR(top.rows[0].reason, "timed-out"); /* of most in the interval, not of most ever */
	EXPECT_EQ(top.rows[0].open, 3);
}

TEST(bytes_of_open_connections_count_as_they_flow_and_not_again_at_the_end)
{
	_cleanup_json_ json_t *first = answer_at(0), *second = answer_at(1), *third = answer_at(2);
	_cleanup_(top_done) struct top top = {};

	add_row(first, "{\"sent\": 1000, \"openSent\": 0, \"received\": 0, \"openReceived\": 50}");
	add_row(second, "{\"sent\": 1000, \"openSent\": 4000, \"received\": 0, \"openReceived\": 150}");
	add_row(third, "{\"sent\": 5100, \"openSent\": 0, \"received\": 200, \"openReceived\": 0}");
	top = made(first, second);
	EXPECT_RATE(top.rows[0].sent, 4000);
	EXPECT_RATE(top.rows[0].received, 100);

	top_done(&top);
	top = made(second, third);
	EXPECT_RATE(top.rows[0].sent, 100);
	EXPECT_RATE(top.rows[0].received, 50);
}

TEST(percentiles_and_rtt_are_those_of_the_interval)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1);
	_cleanup_(top_done) struct top top = {};

	/* 1,000 slow connects before, then 99 of up to 2 us and one of up to 1 s; 10 closed with 300 us, 30 open with 100 us */
	add_row(before, "{\"connectBuckets\": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000],"
			" \"closed\": 1000, \"rttUsSum\": 9000000}");
	add_row(now, "{\"connectBuckets\": [0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1000],"
		     " \"closed\": 1010, \"rttUsSum\": 9003000, \"openCounted\": 30, \"meanOpenRttUs\": 100}");
	top = made(before, now);

	EXPECT(top.rows[0].connect_p50_ns > 1024 && top.rows[0].connect_p50_ns < 2048);
	EXPECT(top.rows[0].connect_p99_ns <= 2048);
	EXPECT_EQ(top.rows[0].rtt_ns, 150000);
}

TEST(an_interval_without_connections_has_no_percentiles)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1);
	_cleanup_(top_done) struct top top = {};

	add_row(before, "{\"connectBuckets\": [5], \"closed\": 5, \"rttUsSum\": 500}");
	add_row(now, "{\"connectBuckets\": [5], \"closed\": 5, \"rttUsSum\": 500}");
	top = made(before, now);
	EXPECT_EQ(top.rows[0].connect_p50_ns, 0);
	EXPECT_EQ(top.rows[0].rtt_ns, 0);
}

TEST(counters_that_went_back_have_no_rates_for_this_interval)
{
	static const char *const backwards[] = {
		"{\"attempts\": 40, \"sent\": 2000, \"open\": 2, \"connectBuckets\": [9]}",
		"{\"attempts\": 160, \"sent\": 10, \"openSent\": 20, \"open\": 2, \"connectBuckets\": [9]}",
		"{\"attempts\": 160, \"sent\": 2000, \"open\": 2, \"connectBuckets\": [3, 9]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(backwards); i++) {
		_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1);
		_cleanup_(top_done) struct top top = {};

		add_row(before, "{\"attempts\": 100, \"sent\": 1000, \"openSent\": 500, \"connectBuckets\": [5]}");
		add_row(now, backwards[i]);
		top = made(before, now);
		EXPECT_RATE(top.rows[0].connections, 0);
		EXPECT_RATE(top.rows[0].sent, 0);
		EXPECT_EQ(top.rows[0].connect_p50_ns, 0);
		EXPECT_EQ(top.rows[0].open, 2);
	}
}

TEST(the_first_answer_has_rows_and_open_connections_but_no_rates)
{
	_cleanup_json_ json_t *now = answer_at(1);
	_cleanup_(top_done) struct top top = {};

	add_row(now, "{\"attempts\": 100, \"open\": 4}");
	add_reason(now, FULL_SERVICE("secret"), "not-a-backend", 9);
	top = made(NULL, now);
	EXPECT_EQ(top.interval_ns, 0);
	EXPECT_EQ(top.row_count, 1);
	EXPECT_RATE(top.rows[0].connections, 0);
	EXPECT_EQ(top.rows[0].open, 4);
}

TEST(a_row_that_appears_began_at_zero_and_one_that_vanishes_is_gone)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1);
	_cleanup_(top_done) struct top top = {};

	add_row_of(before, FULL_NODE("web"), FULL_SERVICE("old"), FULL_NODE("old:80"), "{\"attempts\": 70}");
	add_row_of(now, FULL_NODE("web"), FULL_SERVICE("new"), FULL_NODE("new:80"), "{\"attempts\": 7}");
	top = made(before, now);
	EXPECT_EQ(top.row_count, 1);
	EXPECT_STR(top.rows[0].service, FULL_SERVICE("new"));
	EXPECT_RATE(top.rows[0].connections, 7);
}

TEST(refusals_are_a_row_without_target_while_they_happen)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1), *later = answer_at(2);
	_cleanup_(top_done) struct top top = {};

	add_reason(before, FULL_SERVICE("secret"), "not-a-backend", 10);
	for (json_t *answer = now; answer; answer = answer == now ? later : NULL) {
		add_reason(answer, NULL, "allow-all", 1000); /* passes */
		add_reason(answer, NULL, "dns-bypass", 1000);
		add_reason(answer, NULL, "not-in-mesh", 4);
		add_reason(answer, FULL_SERVICE("secret"), "no-endpoint", 5);
		add_reason(answer, FULL_SERVICE("secret"), "not-a-backend", 12);
	}
	top = made(before, now);
	EXPECT_EQ(top.row_count, 2);
	EXPECT_STR(top.rows[0].service, NULL);
	EXPECT_STR(top.rows[0].reason, "not-in-mesh");
	EXPECT_RATE(top.rows[0].failures, 4);
	EXPECT_STR(top.rows[1].service, FULL_SERVICE("secret"));
	EXPECT_STR(top.rows[1].target, NULL);
	EXPECT_STR(top.rows[1].reason, "no-endpoint");
	EXPECT_RATE(top.rows[1].failures, 7);

	top_done(&top);
	top = made(now, later);
	EXPECT_EQ(top.row_count, 0);
}

TEST(endpoints_have_rates_of_their_own)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(2);
	_cleanup_(top_done) struct top top = {};

	add_endpoint(before, FULL_NODE("pay-v1:8080"), "10.0.0.1:80", "{\"connects\": 10, \"failures\": 1}");
	add_endpoint(before, FULL_NODE("pay-v1:8080"), "10.0.0.2:80", "{\"connects\": 100}");
	add_endpoint(now, FULL_NODE("pay-v1:8080"), "10.0.0.1:80",
		     "{\"connects\": 30, \"failures\": 2, \"open\": 5, \"requests\": 40, \"requestFailures\": 3}");
	add_endpoint(now, FULL_NODE("pay-v1:8080"), "10.0.0.2:80", "{\"connects\": 3}"); /* its slot is another's by now */
	top = made(before, now);
	EXPECT_EQ(top.endpoint_count, 2);
	EXPECT_RATE(top.endpoints[0].connections, 10);
	EXPECT_RATE(top.endpoints[0].failures, 0.5);
	EXPECT_EQ(top.endpoints[0].open, 5);
	EXPECT_RATE(top.endpoints[0].requests, 20);
	EXPECT_RATE(top.endpoints[0].request_failures, 1.5);
	EXPECT_RATE(top.endpoints[1].connections, 0);
}

/* Rows of "requests" of an answer. */
static void add_requests(json_t *answer, const char *target, const char *members)
{
	json_t *requests = json_object_get(answer, "requests");

	if (!requests) {
		requests = json_pack("{s:[]}", "rows");
		EXPECT_OK(json_object_set_new(answer, "requests", requests));
	}
	add(requests, "rows", json_pack("{s:s, s:s, s:s}", "from", FULL_NODE("web"), "to", FULL_SERVICE("pay"), "target", target), members);
}

static void add_route(json_t *answer, const char *route, const char *members)
{
	json_t *requests = json_object_get(answer, "requests");

	if (!requests) {
		requests = json_pack("{s:[]}", "routes");
		EXPECT_OK(json_object_set_new(answer, "requests", requests));
	}
	add(requests, "routes", json_pack("{s:s, s:s, s:s?}", "from", FULL_NODE("web"), "to", FULL_SERVICE("pay"), "route", route), members);
}

TEST(routes_have_rates_of_their_own)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(2);
	_cleanup_(top_done) struct top top = {};

	add_route(before, "canary", "{\"requests\": 100, \"codes\": {\"2xx\": 90, \"5xx\": 10}}");
	add_route(before, "back", "{\"requests\": 100, \"retries\": 7}");
	add_route(now, "canary", "{\"requests\": 200, \"retries\": 4, \"timeouts\": 3, \"codes\": {\"2xx\": 180, \"4xx\": 5, \"5xx\": 13, \"none\": 2}}");
	add_route(now, "back", "{\"requests\": 150, \"retries\": 6}");
	add_route(now, NULL, "{\"requests\": 6, \"codes\": {\"4xx\": 6}}");
	top = made(before, now);
	EXPECT_EQ(top.route_count, 3);
	EXPECT_STR(top.routes[0].from, FULL_NODE("web"));
	EXPECT_STR(top.routes[0].service, FULL_SERVICE("pay"));
	EXPECT_STR(top.routes[0].route, "canary");
	EXPECT_RATE(top.routes[0].requests, 50);
	EXPECT_RATE(top.routes[0].success, 95);
	EXPECT_RATE(top.routes[0].retries, 2);
	EXPECT_RATE(top.routes[0].timeouts, 1.5);
	EXPECT_RATE(top.routes[1].requests, 0); /* it went back */
	EXPECT(top.routes[1].success < 0);
	EXPECT_STR(top.routes[2].route, NULL);
	EXPECT_RATE(top.routes[2].requests, 3);
}

TEST(requests_have_rates_percentiles_and_a_share_that_went_well)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(2);
	_cleanup_(top_done) struct top top = {};

	add_requests(before, FULL_NODE("a:80"), "{\"requests\": 100, \"codes\": {\"2xx\": 90, \"5xx\": 10}, \"timeBuckets\": [0, 0, 100]}");
	add_requests(now, FULL_NODE("a:80"), "{\"requests\": 200, \"active\": 7, \"retries\": 4, \"received\": 2000, \"sent\": 4000,"
		     " \"codes\": {\"2xx\": 180, \"4xx\": 5, \"5xx\": 13, \"none\": 2}, \"timeBuckets\": [0, 0, 100, 0, 0, 99, 0, 0, 0, 1]}");
	add_requests(now, FULL_NODE("b:80"), "{\"requests\": 1, \"codes\": {\"none\": 1}}");
	top = made(before, now);
	EXPECT_EQ(top.request_count, 2);
	EXPECT_STR(top.requests[0].target, FULL_NODE("a:80"));
	EXPECT_RATE(top.requests[0].requests, 50);
	EXPECT_RATE(top.requests[0].success, 95); /* an answer of 4xx is one */
	EXPECT_RATE(top.requests[0].retries, 2);
	EXPECT_RATE(top.requests[0].sent, 1000);
	EXPECT_RATE(top.requests[0].received, 2000);
	EXPECT_EQ(top.requests[0].active, 7);
	EXPECT(top.requests[0].p50_ns > 16384 && top.requests[0].p50_ns <= 32768);
	EXPECT(top.requests[0].p99_ns <= 32768);
	EXPECT_RATE(top.requests[1].success, 0);
}

TEST(requests_that_did_not_happen_have_no_share_and_those_that_went_back_no_rates)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1);
	_cleanup_(top_done) struct top top = {};

	add_requests(before, FULL_NODE("a:80"), "{\"requests\": 100}");
	add_requests(now, FULL_NODE("a:80"), "{\"requests\": 100, \"active\": 2}");
	add_requests(before, FULL_NODE("b:80"), "{\"requests\": 100, \"codes\": {\"5xx\": 5}}");
	add_requests(now, FULL_NODE("b:80"), "{\"requests\": 150, \"codes\": {\"5xx\": 4}}");
	top = made(before, now);
	EXPECT_EQ(top.requests[0].active, 2);
	EXPECT(top.requests[0].success < 0);
	EXPECT_RATE(top.requests[1].requests, 0);
	EXPECT(top.requests[1].success < 0);
}

TEST(what_is_no_answer_of_top_is_refused)
{
	static const char *const texts[] = { "{}", "{\"timeNs\": 5}", "{\"timeNs\": 5, \"rows\": 3}", "{\"rows\": []}" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *answer = json_loads(texts[i], 0, NULL);
		struct error err = {};
		struct top top;

		EXPECT_EQ(top_make(NULL, answer, &top, &err), -EPROTO);
	}
}

TEST(members_of_another_type_count_as_nothing)
{
	_cleanup_json_ json_t *before = answer_at(0), *now = answer_at(1);
	_cleanup_(top_done) struct top top = {};

	add_row(before, "{\"attempts\": \"many\", \"connectBuckets\": {}}");
	add_row(now, "{\"attempts\": -5, \"connectBuckets\": [\"x\", null], \"open\": null, \"openCounted\": 1.5}");
	top = made(before, now);
	EXPECT_RATE(top.rows[0].connections, 0);
	EXPECT_EQ(top.rows[0].open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_grew_between_two_answers_is_a_rate_per_second),
		cmocka_unit_test(bytes_of_open_connections_count_as_they_flow_and_not_again_at_the_end),
		cmocka_unit_test(percentiles_and_rtt_are_those_of_the_interval),
		cmocka_unit_test(an_interval_without_connections_has_no_percentiles),
		cmocka_unit_test(counters_that_went_back_have_no_rates_for_this_interval),
		cmocka_unit_test(the_first_answer_has_rows_and_open_connections_but_no_rates),
		cmocka_unit_test(a_row_that_appears_began_at_zero_and_one_that_vanishes_is_gone),
		cmocka_unit_test(refusals_are_a_row_without_target_while_they_happen),
		cmocka_unit_test(endpoints_have_rates_of_their_own),
		cmocka_unit_test(routes_have_rates_of_their_own),
		cmocka_unit_test(requests_have_rates_percentiles_and_a_share_that_went_well),
		cmocka_unit_test(requests_that_did_not_happen_have_no_share_and_those_that_went_back_no_rates),
		cmocka_unit_test(what_is_no_answer_of_top_is_refused),
		cmocka_unit_test(members_of_another_type_count_as_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
