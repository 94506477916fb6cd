/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/retry.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static struct retry_policy of_events(const char *list, const char *event)
{
	_cleanup_json_ json_t *json = json_pack("{s:i, s:{s:s, s:i}, s:[s]}", "maxRetries", 3, "perRetryTimeout", "unit", "s", "value", 2, list,
						event);

	return retry_policy_read(json);
}

static struct retry_try status(int status)
{
	return (struct retry_try){ RETRY_RESPONSE, status, -1 };
}

static struct retry_try grpc(int grpc_status)
{
	return (struct retry_try){ RETRY_RESPONSE, 200, grpc_status };
}

static struct retry_try outcome(enum retry_outcome outcome)
{
	return (struct retry_try){ outcome, 0, -1 };
}

TEST(each_http_event_covers_its_statuses)
{
	static const struct {
		const char *event;
		int covered[12];
	} events[] = {
		{ "server-error", { 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511 } },
		{ "gateway-error", { 502, 503, 504 } },
		{ "client-error", { 409 } },
		{ "stream-error", { 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		const struct retry_policy policy = of_events("httpRetryEvents", events[i].event);

		for (int code = 100; code < 600; code++) {
			const struct retry_try ended = status(code);
			bool expected = false;

			for (size_t n = 0; n < ARRAY_SIZE(events[i].covered); n++)
				expected |= events[i].covered[n] == code;
			if (retry_covers(&policy, &ended) != expected)
				fail_msg("%s and %d", events[i].event, code);
		}
	}
}

TEST(each_event_covers_its_outcomes)
{
	static const struct {
		const char *list, *event;
		bool no_connection, no_response, refused, timed_out;
	} events[] = {
		{ "httpRetryEvents", "server-error", false, true, true, true },
		{ "httpRetryEvents", "gateway-error", false, true, true, true },
		{ "httpRetryEvents", "client-error", false, false, false, false },
		{ "httpRetryEvents", "stream-error", false, false, true, false },
		{ "tcpRetryEvents", "connection-error", true, false, false, false },
		{ "grpcRetryEvents", "unavailable", false, false, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		const struct retry_policy policy = of_events(events[i].list, events[i].event);
		const struct retry_try tries[] = { outcome(RETRY_NO_CONNECTION), outcome(RETRY_NO_RESPONSE), outcome(RETRY_REFUSED_STREAM),
						   outcome(RETRY_TRY_TIMED_OUT) };

		EXPECT_EQ(retry_covers(&policy, &tries[0]), events[i].no_connection);
		EXPECT_EQ(retry_covers(&policy, &tries[1]), events[i].no_response);
		EXPECT_EQ(retry_covers(&policy, &tries[2]), events[i].refused);
		EXPECT_EQ(retry_covers(&policy, &tries[3]), events[i].timed_out);
	}
}

TEST(each_grpc_event_covers_its_status_in_the_headers)
{
	static const struct {
		const char *event;
		int status;
	} events[] = { { "cancelled", 1 }, { "deadline-exceeded", 4 }, { "resource-exhausted", 8 }, { "internal", 13 }, { "unavailable", 14 } };

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		const struct retry_policy policy = of_events("grpcRetryEvents", events[i].event);

		for (int code = 0; code <= 16; code++) {
			const struct retry_try ended = grpc(code);

			EXPECT_EQ(retry_covers(&policy, &ended), code == events[i].status);
		}
	}
}

TEST(without_a_policy_the_documented_one_holds)
{
	const struct retry_policy policy = retry_policy_read(NULL);
	const struct retry_try covered[] = { status(503), grpc(14), outcome(RETRY_NO_CONNECTION), outcome(RETRY_REFUSED_STREAM),
					     outcome(RETRY_NO_RESPONSE) };
	const struct retry_try others[] = { status(500), status(502), status(200), grpc(13), status(409) };

	EXPECT_EQ(policy.max_retries, 2);
	EXPECT_EQ(policy.try_timeout_ns, 0);
	for (size_t i = 0; i < ARRAY_SIZE(covered); i++)
		EXPECT(retry_covers(&policy, &covered[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		EXPECT(!retry_covers(&policy, &others[i]));
}

TEST(a_policy_is_read_whole)
{
	const struct retry_policy policy = of_events("httpRetryEvents", "server-error");

	EXPECT_EQ(policy.max_retries, 3);
	EXPECT_EQ(policy.try_timeout_ns, 2 * NSEC_PER_SEC);
}

static const struct retry_budget idle = { 1, 0 };

TEST(retries_wait_longer_each_time_up_to_250_ms)
{
	static const uint64_t bounds_ms[] = { 25, 75, 175, 250, 250, 250, 250, 250, 250, 250 };
	const struct retry_policy policy = { .events = RETRY_SERVER_ERROR, .max_retries = 10 };
	const struct retry_try ended = status(500);
	struct retry_state longest = {}, shortest = {};
	uint64_t at_ns;

	for (size_t i = 0; i < ARRAY_SIZE(bounds_ms); i++) {
		EXPECT_EQ(retry_decide(&policy, &shortest, &idle, &ended, 1000, 0, &at_ns), RETRY_AGAIN);
		EXPECT_EQ(at_ns, 1000);
		EXPECT_EQ(retry_decide(&policy, &longest, &idle, &ended, 1000, UINT32_MAX, &at_ns), RETRY_AGAIN);
		EXPECT(at_ns - 1000 < bounds_ms[i] * NSEC_PER_MSEC && at_ns - 1000 > bounds_ms[i] * NSEC_PER_MSEC - 1000);
	}
	EXPECT_EQ(retry_decide(&policy, &longest, &idle, &ended, 1000, 0, &at_ns), RETRY_LIMIT);
}

TEST(each_reason_against_a_retry_has_its_name)
{
	const struct retry_policy policy = { .events = RETRY_SERVER_ERROR, .max_retries = 1 };
	const struct retry_try failed = status(500), well = status(200);
	const struct retry_budget spent = { 100, 100 };
	struct retry_state fresh = {}, lost = { .body_lost = true }, late = { .deadline_ns = 1000 };
	uint64_t at_ns = 77;

	EXPECT_EQ(retry_decide(&policy, &fresh, &idle, &well, 1000, 0, &at_ns), RETRY_NOT_COVERED);
	EXPECT_EQ(retry_decide(&policy, &lost, &idle, &failed, 1000, 0, &at_ns), RETRY_BODY_TOO_LARGE);
	EXPECT_EQ(retry_decide(&policy, &late, &idle, &failed, 1000, 0, &at_ns), RETRY_NO_TIME);
	EXPECT_EQ(retry_decide(&policy, &fresh, &spent, &failed, 1000, 0, &at_ns), RETRY_OVER_BUDGET);
	EXPECT_EQ(at_ns, 77);
	EXPECT_EQ(fresh.retries + lost.retries + late.retries, 0);
	EXPECT_STR(retry_verdict_name(RETRY_OVER_BUDGET), "retry-over-budget");
}

TEST(a_hundred_retries_at_once_are_free_and_then_a_fifth_of_the_requests)
{
	static const struct {
		struct retry_budget budget;
		bool allowed;
	} cases[] = {
		{ { 0, 99 }, true }, { { 0, 100 }, false }, { { 500, 100 }, false }, { { 505, 100 }, true }, { { 1000, 199 }, true },
		{ { 1000, 200 }, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_EQ(retry_budget_allows(&cases[i].budget), cases[i].allowed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_http_event_covers_its_statuses),
		cmocka_unit_test(each_event_covers_its_outcomes),
		cmocka_unit_test(each_grpc_event_covers_its_status_in_the_headers),
		cmocka_unit_test(without_a_policy_the_documented_one_holds),
		cmocka_unit_test(a_policy_is_read_whole),
		cmocka_unit_test(retries_wait_longer_each_time_up_to_250_ms),
		cmocka_unit_test(each_reason_against_a_retry_has_its_name),
		cmocka_unit_test(a_hundred_retries_at_once_are_free_and_then_a_fifth_of_the_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
