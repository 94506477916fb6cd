/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of real servers on loopback, and the slots they write. */
#include "agent/health/health.h"

#include <arpa/inet.h>
#include <sys/resource.h>

#include "agent/health/runner.h"
#include "tests/unit/apply_world.h"
#include "tests/unit/http_peer.h"

#define V1 M "virtualNode/v1:8080"
#define LONG_NS (60 * NSEC_PER_SEC)
#define SHORT_NS (10 * NSEC_PER_MSEC)

struct scene {
	struct world w;
	struct kernel kernel;
	struct peer peer;
	struct health_checks *health;
};

static void checks_start(struct scene *s)
{
	const struct health_options options = { .from = HEALTH_FROM_AGENT, .time_scale = 1 };
	struct error err = {};

	s->kernel.memory = s->w.memory.arrays;
	EXPECT_OK(health_new(s->w.loop, s->w.offload, &s->kernel, s->w.apply, NULL, &options, &s->health, &err), &err);
}

static void scene_init(struct scene *s)
{
	world_init(&s->w);
	peer_init(&s->peer, s->w.loop);
	checks_start(s);
}

static void scene_done(struct scene *s)
{
	health_free(s->health);
	peer_done(&s->peer);
	world_done(&s->w);
}
#define SCENE(s)                                                                                                              \
	_cleanup_(scene_done) struct scene s;                                                                                  \
	scene_init(&s)

static const struct plan_check http_ping = {
	.protocol = CHECK_HTTP, .healthy_threshold = 2, .unhealthy_threshold = 3, .interval_ns = SHORT_NS, .timeout_ns = LONG_NS
};

/* A target with one endpoint, the peer. */
static struct plan_target *add_checked(struct plan *plan, const char *node, const char *address, const struct plan_check *check,
				       const char *path)
{
	const uint32_t index = TARGET(plan, node, address);
	struct plan_target *target = plan->targets[index];

	target->check = *check;
	target->check.path = path ? strdup(path) : NULL;
	for (size_t i = 0; i < target->endpoint_count; i++)
		target->endpoints[i].health = HEALTH_PENDING;
	return target;
}

static void sync_plan(struct scene *s, struct plan *plan)
{
	in_force(&s->w, plan);
	EXPECT_OK(health_sync(s->health));
}

static void check_peer(struct scene *s, const struct plan_check *check, const char *path)
{
	struct plan *plan = plan_new();

	add_checked(plan, "v1", s->peer.address, check, path);
	sync_plan(s, plan);
}

static enum health health_of(struct scene *s, const char *target)
{
	return s->w.memory.arrays.endpoints[slot_of(&s->w, target, s->peer.address)].health;
}

static json_int_t told(struct scene *s, const char *member)
{
	_cleanup_json_ json_t *list = health_json(s->health);

	return json_path_int(json_array_get(list, 0), member, -1);
}

/* The last result of the first endpoint; valid until the next call. */
static const char *last_result(struct scene *s)
{
	static char text[128];
	_cleanup_json_ json_t *list = health_json(s->health);

	snprintf(text, sizeof(text), "%s", json_path_string(json_array_get(list, 0), "lastResult") ?: "none");
	return text;
}

/* --- one endpoint -------------------------------------------------------------------------------------------------------- */

TEST(an_endpoint_is_pending_until_its_first_result)
{
	SCENE(s);

	s.peer.manner = PEER_HOLDS;
	check_peer(&s, &http_ping, "/ping");
	TURN_UNTIL(&s.w, s.peer.requests == 1);
	EXPECT_EQ(health_of(&s, V1), HEALTH_PENDING);
	peer_answer_all(&s.peer);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
}

TEST(the_request_is_a_plain_get_of_the_path)
{
	char expected[256];
	SCENE(s);

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	check_peer(&s, &http_ping, "/ping?deep=1");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	unsetenv("http_proxy");
	snprintf(expected, sizeof(expected),
		 "GET /ping?deep=1 HTTP/1.1\r\nHost: %s\r\nUser-Agent: weft-health-check\r\nAccept: */*\r\n\r\n", s.peer.address);
	EXPECT_STR(s.peer.request, expected);
}

TEST(a_path_cannot_become_a_header)
{
	SCENE(s);

	check_peer(&s, &http_ping, "a b\r\nEvil: \x7f\xc3\xa4");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	EXPECT_CONTAINS(s.peer.request, "GET /a%20b%0D%0AEvil:%20%7F%C3%A4 HTTP/1.1\r\nHost: ");
}

TEST(without_a_path_the_root_is_asked_for)
{
	SCENE(s);

	check_peer(&s, &http_ping, NULL);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	EXPECT_CONTAINS(s.peer.request, "GET / HTTP/1.1\r\nHost: ");
}

TEST(status_200_alone_is_healthy_whatever_else_is_in_the_answer)
{
	static char long_line[70000];
	static const struct {
		enum peer_manner manner;
		const char *answer, *refrain;
		enum health health;
		const char *result;
	} rows[] = {
		{ PEER_ANSWERS, "HTTP/1.1 200 OK\r\n\r\n", NULL, HEALTH_UP, "200" },
		{ PEER_ANSWERS, "HTTP/1.0 200 OK\r\n\r\nbody", NULL, HEALTH_UP, "200" },
		{ PEER_ANSWERS, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL, HEALTH_UP, "200" },
		{ PEER_ANSWERS, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", NULL, HEALTH_DOWN, "201" },
		{ PEER_ANSWERS, "HTTP/1.1 204 No Content\r\n\r\n", NULL, HEALTH_DOWN, "204" },
		{ PEER_ANSWERS, "HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", NULL, HEALTH_DOWN, "301" },
		{ PEER_ANSWERS, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", NULL, HEALTH_DOWN, "500" },
		{ PEER_ANSWERS, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbod", NULL, HEALTH_DOWN, "closed before the answer's end" },
		{ PEER_ANSWERS, "SSH-2.0-OpenSSH_9.2\r\n", NULL, HEALTH_DOWN, "the answer is not HTTP/1" },
		{ PEER_ANSWERS, "HTTP/9.9 999 \r\n\r\n", NULL, HEALTH_DOWN, "the answer is not HTTP/1" },
		{ PEER_ANSWERS, "", NULL, HEALTH_DOWN, "closed without an answer" },
		{ PEER_RESETS, NULL, NULL, HEALTH_DOWN, "connection reset by peer" },
		{ PEER_RUNS_ON, "HTTP/1.1 200 OK\r\n\r\n", long_line, HEALTH_UP, "200" },
		{ PEER_RUNS_ON, "HTTP/1.1 500 No\r\n\r\n", long_line, HEALTH_DOWN, "500" },
		{ PEER_RUNS_ON, "HTTP/1.1 200 ", long_line, HEALTH_DOWN, "the answer's head is too long" },
		{ PEER_RUNS_ON, "HTTP/1.1 200 OK\r\nX: ", long_line, HEALTH_DOWN, "the answer's head is too long" },
		{ PEER_RUNS_ON, "HTTP/1.1 200 OK\r\n", "X-Another: header\r\n", HEALTH_DOWN, "the answer's head is too long" },
		{ PEER_RUNS_ON, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", HEALTH_DOWN, "the answer's head is too long" },
	};

	memset(long_line, 'x', sizeof(long_line) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		SCENE(s);

		s.peer.manner = rows[i].manner;
		s.peer.answer = rows[i].answer;
		s.peer.refrain = rows[i].refrain;
		check_peer(&s, &http_ping, "/");
		TURN_UNTIL(&s.w, health_of(&s, V1) != HEALTH_PENDING);
		EXPECT_STR(last_result(&s), rows[i].result);
		EXPECT_EQ(health_of(&s, V1), rows[i].health);
		EXPECT_EQ(s.peer.requests, 1);
	}
}

TEST(an_answer_that_takes_too_long_is_a_failure)
{
	struct plan_check check = http_ping;
	SCENE(s);

	check.timeout_ns = SHORT_NS;
	s.peer.manner = PEER_HOLDS;
	check_peer(&s, &check, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
	EXPECT_STR(last_result(&s), "timeout");
	EXPECT(told(&s, "lastNs") >= (json_int_t)SHORT_NS);
	TURN_UNTIL(&s.w, told(&s, "failures") >= 3);
	TURN_UNTIL(&s.w, s.peer.open <= 1); /* nothing is left of those before */
}

TEST(a_drip_of_body_does_not_outlast_the_timeout)
{
	struct plan_check check = http_ping;
	SCENE(s);

	check.timeout_ns = SHORT_NS;
	s.peer.manner = PEER_RUNS_ON;
	s.peer.answer = "HTTP/1.1 200 OK\r\n\r\n";
	s.peer.refrain = "x";
	check_peer(&s, &check, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
	EXPECT_STR(last_result(&s), "timeout");
}

TEST(tcp_wants_a_connection_and_no_more)
{
	struct plan_check check = http_ping;
	SCENE(s);

	check.protocol = CHECK_TCP;
	check_peer(&s, &check, NULL);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	EXPECT_STR(last_result(&s), "connected");
	peer_stop_listening(&s.peer);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
	EXPECT_STR(last_result(&s), "connection refused");
	EXPECT_EQ(told(&s, "failures"), 3);
	EXPECT_EQ(s.peer.requests, 0);
}

TEST(http_to_nobody_is_refused)
{
	SCENE(s);

	peer_stop_listening(&s.peer);
	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
	EXPECT_STR(last_result(&s), "connection refused");
}

TEST(what_no_proxy_speaks_yet_is_checked_as_tcp)
{
	static const struct {
		enum check_protocol protocol;
		uint32_t flags;
	} rows[] = { { CHECK_HTTP2, 0 }, { CHECK_GRPC, 0 }, { CHECK_HTTP, TARGET_NEEDS_TLS } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_check check = http_ping;
		struct plan *plan = plan_new();
		_cleanup_json_ json_t *list = NULL;
		SCENE(s);

		s.peer.manner = PEER_HOLDS;
		check.protocol = rows[i].protocol;
		add_checked(plan, "v1", s.peer.address, &check, "/")->flags = rows[i].flags;
		sync_plan(&s, plan);
		TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
		EXPECT_EQ(s.peer.requests, 0);
		list = health_json(s.health);
		EXPECT_STR(json_path_string(json_array_get(list, 0), "checkAs"), "tcp");
		EXPECT(!json_object_get(json_array_get(list, 0), "path"));
	}
}

TEST(an_endpoint_that_fails_and_comes_back_takes_its_thresholds_and_no_generation)
{
	uint64_t generation;
	SCENE(s);

	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	generation = generations_current(apply_generations(s.w.apply));
	s.peer.requests = 0;
	s.peer.answer = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
	EXPECT_EQ(told(&s, "inARow"), 3);
	s.peer.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	EXPECT_EQ(told(&s, "inARow"), 2);
	EXPECT_EQ(generations_current(apply_generations(s.w.apply)), generation);
}

TEST(what_this_host_cannot_do_says_nothing_of_the_endpoint)
{
	struct rlimit limit, none;
	SCENE(s);

	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	TURN_UNTIL(&s.w, told(&s, "notRun") >= 5);
	EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	EXPECT_STR(last_result(&s), "not run: too many open files");
	EXPECT_EQ(told(&s, "failures"), 0);
	EXPECT_EQ(health_of(&s, V1), HEALTH_UP);
}

/* --- slots, and plans that change ----------------------------------------------------------------------------------------- */

TEST(two_targets_with_the_same_check_share_it)
{
	struct plan *plan = plan_new();
	SCENE(s);

	add_checked(plan, "v1", s.peer.address, &http_ping, "/");
	add_checked(plan, "v2", s.peer.address, &http_ping, "/");
	s.peer.manner = PEER_HOLDS;
	sync_plan(&s, plan);
	TURN_UNTIL(&s.w, s.peer.requests == 1);
	for (int i = 0; i < 10; i++)
		loop_turn(s.w.loop, 2 * SHORT_NS);
	EXPECT_EQ(s.peer.accepted, 1);
	peer_answer_all(&s.peer);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	EXPECT_EQ(health_of(&s, M "virtualNode/v2:8080"), HEALTH_UP);
}

TEST(a_target_that_joins_a_check_is_told_what_is_known)
{
	struct plan *plan = plan_new();
	SCENE(s);

	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	s.peer.manner = PEER_HOLDS;
	add_checked(plan, "v1", s.peer.address, &http_ping, "/");
	add_checked(plan, "v2", s.peer.address, &http_ping, "/");
	sync_plan(&s, plan);
	EXPECT_EQ(health_of(&s, M "virtualNode/v2:8080"), HEALTH_UP);
}

TEST(another_interval_keeps_what_is_known)
{
	struct plan_check check = http_ping;
	json_int_t checks;
	SCENE(s);

	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, told(&s, "checks") >= 3);
	checks = told(&s, "checks");
	check.interval_ns = LONG_NS;
	s.peer.answer = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
	check_peer(&s, &check, "/");
	EXPECT_EQ(told(&s, "checks"), checks);
	EXPECT_EQ(told(&s, "inARow"), checks);
	EXPECT_EQ(health_of(&s, V1), HEALTH_UP);
	check.interval_ns = SHORT_NS;
	check_peer(&s, &check, "/other");
	TURN_UNTIL(&s.w, told(&s, "failures") == 2);
	EXPECT_EQ(health_of(&s, V1), HEALTH_UP); /* as its threshold says, not as if it were new */
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
}

TEST(an_endpoint_that_is_removed_ends_its_check_also_under_way)
{
	SCENE(s);

	s.peer.manner = PEER_HOLDS;
	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, s.peer.requests == 1);
	sync_plan(&s, plan_new());
	TURN_UNTIL(&s.w, s.peer.open == 0);
	for (int i = 0; i < 5; i++)
		loop_turn(s.w.loop, 2 * SHORT_NS);
	EXPECT_EQ(s.peer.accepted, 1);
}

TEST(a_listener_that_loses_its_check_has_usable_endpoints)
{
	struct plan *plan = plan_new();
	_cleanup_json_ json_t *list = NULL;
	SCENE(s);

	s.peer.manner = PEER_RESETS;
	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
	TARGET(plan, "v1", s.peer.address);
	sync_plan(&s, plan);
	EXPECT_EQ(health_of(&s, V1), HEALTH_UNCHECKED);
	list = health_json(s.health);
	EXPECT_STR(json_path_string(json_array_get(list, 0), "health"), "unchecked");
	EXPECT(!json_object_get(json_array_get(list, 0), "protocol"));
}

TEST(a_slot_that_has_become_another_endpoints_is_not_written)
{
	struct endpoint *slot;
	SCENE(s);

	s.peer.manner = PEER_HOLDS;
	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, s.peer.requests == 1);
	slot = &s.w.memory.arrays.endpoints[slot_of(&s.w, V1, s.peer.address)];
	slot->incarnation += 2;
	peer_answer_all(&s.peer);
	s.peer.manner = PEER_ANSWERS;
	TURN_UNTIL(&s.w, s.peer.requests >= 5);
	EXPECT_EQ(slot->health, HEALTH_PENDING);
}

TEST(a_new_agent_keeps_what_the_slots_say_until_its_own_results_say_otherwise)
{
	struct plan *plan = plan_new();
	SCENE(s);

	check_peer(&s, &http_ping, "/");
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	s.health = health_free(s.health);
	agent_restart(&s.w);
	checks_start(&s);
	s.peer.manner = PEER_HOLDS;
	s.peer.answer = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
	s.peer.requests = 0;
	add_checked(plan, "v1", s.peer.address, &http_ping, "/");
	sync_plan(&s, plan);
	TURN_UNTIL(&s.w, s.peer.requests == 1);
	EXPECT_EQ(health_of(&s, V1), HEALTH_UP);
	s.peer.manner = PEER_ANSWERS;
	peer_answer_all(&s.peer);
	TURN_UNTIL(&s.w, told(&s, "failures") == 2);
	EXPECT_EQ(health_of(&s, V1), HEALTH_UP);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_DOWN);
}

TEST(endpoints_are_counted_by_health)
{
	struct plan *plan = plan_new();
	struct health_counts counts;
	SCENE(s);

	add_checked(plan, "v1", s.peer.address, &http_ping, "/");
	TARGET(plan, "v2", "127.0.0.1:1", "127.0.0.1:2");
	sync_plan(&s, plan);
	health_count(s.health, &counts);
	EXPECT_EQ(counts.by_health[HEALTH_PENDING], 1);
	EXPECT_EQ(counts.by_health[HEALTH_UNCHECKED], 2);
	TURN_UNTIL(&s.w, health_of(&s, V1) == HEALTH_UP);
	health_count(s.health, &counts);
	EXPECT_EQ(counts.by_health[HEALTH_PENDING], 0);
	EXPECT_EQ(counts.by_health[HEALTH_UP], 1);
	EXPECT_EQ(counts.by_health[HEALTH_DOWN], 0);
	s.w.memory.arrays.endpoints[slot_of(&s.w, V1, s.peer.address)].ejected_until_ns = 1;
	health_count(s.health, &counts);
	EXPECT_EQ(counts.by_health[HEALTH_UP], 0);
	EXPECT_EQ(counts.ejected, 1);
}

TEST(a_thousand_checks_share_the_places_and_all_get_their_turn)
{
	enum { CHECKS = 1000 };
	struct plan *plan = plan_new();
	struct health_counts counts;
	SCENE(s);

	s.peer.manner = PEER_HOLDS;
	for (int i = 0; i < CHECKS; i++) {
		char node[16], path[16];

		snprintf(node, sizeof(node), "n-%04d", i);
		snprintf(path, sizeof(path), "/%d", i);
		add_checked(plan, node, s.peer.address, &http_ping, path);
	}
	sync_plan(&s, plan);
	TURN_UNTIL(&s.w, s.peer.requests == RUNNER_PLACES);
	for (int i = 0; i < 10; i++)
		loop_turn(s.w.loop, SHORT_NS);
	EXPECT_EQ(s.peer.accepted, RUNNER_PLACES); /* the others wait */
	do {
		peer_answer_all(&s.peer);
		loop_turn(s.w.loop, NSEC_PER_MSEC);
		health_count(s.health, &counts);
	} while (s.peer.requests < 100 * CHECKS && counts.by_health[HEALTH_UP] < CHECKS);
	EXPECT_EQ(counts.by_health[HEALTH_UP], CHECKS);
	EXPECT(s.peer.requests < 2 * CHECKS); /* nobody comes twice while others have not had their turn */
	EXPECT_EQ(s.peer.open_max, RUNNER_PLACES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_endpoint_is_pending_until_its_first_result),
		cmocka_unit_test(the_request_is_a_plain_get_of_the_path),
		cmocka_unit_test(a_path_cannot_become_a_header),
		cmocka_unit_test(without_a_path_the_root_is_asked_for),
		cmocka_unit_test(status_200_alone_is_healthy_whatever_else_is_in_the_answer),
		cmocka_unit_test(an_answer_that_takes_too_long_is_a_failure),
		cmocka_unit_test(a_drip_of_body_does_not_outlast_the_timeout),
		cmocka_unit_test(tcp_wants_a_connection_and_no_more),
		cmocka_unit_test(http_to_nobody_is_refused),
		cmocka_unit_test(what_no_proxy_speaks_yet_is_checked_as_tcp),
		cmocka_unit_test(an_endpoint_that_fails_and_comes_back_takes_its_thresholds_and_no_generation),
		cmocka_unit_test(what_this_host_cannot_do_says_nothing_of_the_endpoint),
		cmocka_unit_test(two_targets_with_the_same_check_share_it),
		cmocka_unit_test(a_target_that_joins_a_check_is_told_what_is_known),
		cmocka_unit_test(another_interval_keeps_what_is_known),
		cmocka_unit_test(an_endpoint_that_is_removed_ends_its_check_also_under_way),
		cmocka_unit_test(a_listener_that_loses_its_check_has_usable_endpoints),
		cmocka_unit_test(a_slot_that_has_become_another_endpoints_is_not_written),
		cmocka_unit_test(a_new_agent_keeps_what_the_slots_say_until_its_own_results_say_otherwise),
		cmocka_unit_test(endpoints_are_counted_by_health),
		cmocka_unit_test(a_thousand_checks_share_the_places_and_all_get_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
