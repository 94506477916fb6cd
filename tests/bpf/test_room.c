/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on this node's connections to an endpoint: who has room, who is refused, and that no place is ever lost. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "tests/bpf/lives.h"
#include "tests/lib/test.h"

#define PORT 8080
#define NOW 1000000000000ull
#define WITH_LIVES                                                                                                            \
	_cleanup_(fixture_done) struct fixture f;                                                                              \
	_cleanup_(lives_done) struct lives lives;                                                                              \
	fixture_init(&f);                                                                                                      \
	lives_init(&lives, &f)

static void given_limit(struct fixture *f, unsigned endpoints, uint32_t limit)
{
	given_node(f, NODE_DROP_ALL, (uint32_t[]){ SERVICE, 0 });
	given_service(f, SERVICE, PORT, 1, (unsigned[]){ 1 });
	given_target(f, TARGET, endpoints, 0);
	target_of(f, TARGET)->max_connections = limit;
}

TEST(an_endpoint_without_room_is_passed_over)
{
	_cleanup_(fixture_done) struct fixture f;

	fixture_init(&f);
	given_limit(&f, 20, 5);
	for (unsigned i = 0; i < 20; i++)
		endpoint_of(&f, TARGET, i)->open = i == 13 ? 4 : 5;

	const struct tally tally = decide_many(&f, flow_to_service(SERVICE, PORT), 10000);

	EXPECT_EQ(tally.by_slot[ref_of(&f, TARGET, 13)->slot], 10000);
	EXPECT_EQ(tally.by_reason[REASON_ROUTED], 10000);
}

TEST(where_nobody_has_room_the_reason_is_the_limit)
{
	_cleanup_(fixture_done) struct fixture f;

	fixture_init(&f);
	given_limit(&f, 3, 1);
	for (unsigned i = 0; i < 3; i++)
		endpoint_of(&f, TARGET, i)->open = 1;
	EXPECT_EQ(decide_in_kernel(&f, flow_to_service(SERVICE, PORT)).reason, REASON_OVER_MAX_CONNECTIONS);

	endpoint_of(&f, TARGET, 0)->health = HEALTH_DOWN; /* a third: no panic */
	endpoint_of(&f, TARGET, 0)->open = 0;
	EXPECT_EQ(decide_in_kernel(&f, flow_to_service(SERVICE, PORT)).reason, REASON_OVER_MAX_CONNECTIONS);
	endpoint_of(&f, TARGET, 1)->health = HEALTH_DOWN; /* panic: whoever has room */
	const struct decision d = decide_in_kernel(&f, flow_to_service(SERVICE, PORT));

	EXPECT_EQ(d.reason, REASON_PANIC);
	EXPECT_EQ(d.slot, ref_of(&f, TARGET, 0)->slot);
	endpoint_of(&f, TARGET, 0)->open = 1;
	EXPECT_EQ(decide_in_kernel(&f, flow_to_service(SERVICE, PORT)).reason, REASON_OVER_MAX_CONNECTIONS);

	target_of(&f, TARGET)->panic_pct = 0;
	endpoint_of(&f, TARGET, 2)->health = HEALTH_DOWN;
	EXPECT_EQ(decide_in_kernel(&f, flow_to_service(SERVICE, PORT)).reason, REASON_NO_ENDPOINT);
}

TEST(a_connection_that_ends_makes_room_whatever_its_end)
{
	WITH_LIVES;
	const enum flow_close ends[] = { FLOW_CLOSED, FLOW_RESET_BY_PEER, FLOW_ABORTED, FLOW_CONNECT_REFUSED, FLOW_CONNECT_ABANDONED,
					 FLOW_CONNECT_FAILED };

	given_limit(&f, 1, 2);
	EXPECT_EQ(life_connect(&lives, 0, flow_to_service(SERVICE, PORT), NOW).reason, REASON_ROUTED);
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		EXPECT_EQ(life_connect(&lives, 1, flow_to_service(SERVICE, PORT), NOW).reason, REASON_ROUTED);
		EXPECT_EQ(life_connect(&lives, 2, flow_to_service(SERVICE, PORT), NOW).reason, REASON_OVER_MAX_CONNECTIONS);
		EXPECT_EQ(endpoint_of(&f, TARGET, 0)->open, 2);
		life_end(&lives, 2, ends[i], 0, NOW); /* it never took a place */
		EXPECT_EQ(endpoint_of(&f, TARGET, 0)->open, 2);
		life_end(&lives, 1, ends[i], 0, NOW);
		life_end(&lives, 1, ends[i], 0, NOW);
		EXPECT_EQ(endpoint_of(&f, TARGET, 0)->open, 1);
	}
}

enum { LIMIT = 3, ENDPOINTS = 2, THREADS = 4, HELD = 3, ROUNDS = 3000 };

struct crowd {
	const struct lives *lives;
	const struct fixture *fixture;
	unsigned first; /* connection */
	_Atomic int *held; /* by slot, known from the answers: never more than are really held */
	unsigned refused, routed;
	int most;
};

static void *crowd_connect(void *arg)
{
	struct crowd *c = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct life_step steps[HELD];

		for (unsigned i = 0; i < HELD; i++) {
			steps[i] = life_connect(c->lives, c->first + i, flow_to_service(SERVICE, PORT), NOW);
			if (steps[i].reason != REASON_ROUTED) {
				c->refused += steps[i].reason == REASON_OVER_MAX_CONNECTIONS;
				continue;
			}
			const int now = atomic_fetch_add(&c->held[steps[i].slot % 64], 1) + 1;

			c->routed++;
			c->most = now > c->most ? now : c->most;
		}
		for (unsigned i = 0; i < HELD; i++) {
			if (steps[i].reason != REASON_ROUTED)
				continue;
			atomic_fetch_sub(&c->held[steps[i].slot % 64], 1);
			life_end(c->lives, c->first + i, FLOW_CLOSED, 0, NOW);
		}
	}
	return NULL;
}

/* 12 connections at a time want 6 places. */
TEST(never_more_than_the_limit_are_held_however_many_claim_at_once)
{
	WITH_LIVES;
	struct crowd crowds[THREADS];
	pthread_t threads[THREADS];
	_Atomic int held[64] = {};
	unsigned routed = 0, refused = 0;

	given_limit(&f, ENDPOINTS, LIMIT);
	for (unsigned i = 0; i < THREADS; i++) {
		crowds[i] = (struct crowd){ .lives = &lives, .fixture = &f, .first = i * HELD, .held = held };
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_connect, &crowds[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(crowds[i].most <= LIMIT, true);
		routed += crowds[i].routed;
		refused += crowds[i].refused;
	}
	EXPECT_EQ(routed + refused, THREADS * HELD * ROUNDS);
	EXPECT_EQ(refused > 0, true);
	for (unsigned i = 0; i < ENDPOINTS; i++)
		EXPECT_EQ(endpoint_of(&f, TARGET, i)->open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_endpoint_without_room_is_passed_over),
		cmocka_unit_test(where_nobody_has_room_the_reason_is_the_limit),
		cmocka_unit_test(a_connection_that_ends_makes_room_whatever_its_end),
		cmocka_unit_test(never_more_than_the_limit_are_held_however_many_claim_at_once),
	};

	return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
