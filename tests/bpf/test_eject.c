/* SPDX-License-Identifier: Apache-2.0 */
/* Outlier detection, at times that the tests name: what counts, who is out and for how long, the way back. */
#include "base/cleanup.h"
#include "base/time.h"
#include "maps/endpoint.h"
#include "tests/bpf/lives.h"
#include "tests/lib/test.h"

#define PORT 8080
#define START (1000 * NSEC_PER_SEC)
#define BASE (10 * NSEC_PER_SEC)
#define INTERVAL (60 * NSEC_PER_SEC)
#define ERRORS 3
#define FLOW flow_to_service(SERVICE, PORT)

struct world {
	struct fixture f;
	struct lives lives;
	uint64_t now_ns;
};

static void world_done(struct world *w)
{
	lives_done(&w->lives);
	fixture_done(&w->f);
}

/* A target with so many endpoints, of which so many percent may be out. */
static void given_outlier_detection(struct world *w, unsigned endpoints, uint8_t max_pct)
{
	struct target_record *target;

	fixture_init(&w->f);
	lives_init(&w->lives, &w->f);
	w->now_ns = START;
	given_node(&w->f, NODE_DROP_ALL, (uint32_t[]){ SERVICE, 0 });
	given_service(&w->f, SERVICE, PORT, 1, (unsigned[]){ 1 });
	given_target(&w->f, TARGET, endpoints, 0);
	target = target_of(&w->f, TARGET);
	target->panic_pct = 0;
	target->max_errors = ERRORS;
	target->interval_ns = INTERVAL;
	target->base_ejection_ns = BASE;
	target->max_ejection_pct = max_pct;
}
#define WITH_WORLD(endpoints, max_pct)                                                                                        \
	_cleanup_(world_done) struct world w;                                                                                  \
	given_outlier_detection(&w, endpoints, max_pct)

static struct endpoint *slot(struct world *w, unsigned index)
{
	return endpoint_of(&w->f, TARGET, index);
}

/* A connection to this one endpoint, and whether it was the probe; the others are down for that moment. */
static struct life_step connect_to(struct world *w, unsigned index, uint32_t connection)
{
	const unsigned count = target_of(&w->f, TARGET)->count[LIST_V4];
	struct life_step step;

	for (unsigned i = 0; i < count; i++)
		slot(w, i)->health = i == index ? HEALTH_UP : HEALTH_DOWN;
	step = life_connect(&w->lives, connection, FLOW, w->now_ns);
	for (unsigned i = 0; i < count; i++)
		slot(w, i)->health = HEALTH_UP;
	return step;
}

static void connection_that_ends(struct world *w, unsigned index, enum flow_close how, uint64_t bytes_received)
{
	EXPECT_EQ(connect_to(w, index, 0).reason, REASON_ROUTED);
	if (how < FLOW_CONNECT_REFUSED)
		life_established(&w->lives, 0, w->now_ns);
	life_end(&w->lives, 0, how, bytes_received, w->now_ns);
}

static void given_errors(struct world *w, unsigned index, enum flow_close how, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		connection_that_ends(w, index, how, 0);
}

static bool is_out(struct world *w, unsigned index)
{
	return slot(w, index)->ejected_until_ns > w->now_ns;
}

static uint64_t stat(struct world *w, enum statistic stat)
{
	uint64_t stats[STAT_COUNT];

	assert_int_equal(kernel_stats(&w->f.kernel, stats), 0);
	return stats[stat];
}

/* Out, for as long as that, and the time is over then. */
static void expect_out_for(struct world *w, unsigned index, uint64_t for_ns)
{
	EXPECT_EQ(slot(w, index)->ejected_until_ns - w->now_ns, for_ns);
	w->now_ns = slot(w, index)->ejected_until_ns;
}

TEST(errors_in_a_row_put_an_endpoint_out_at_once)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS - 1);
	EXPECT_EQ(slot(&w, 0)->ejected_until_ns, 0);
	given_errors(&w, 0, FLOW_CONNECT_TIMED_OUT, 1);
	EXPECT_EQ(slot(&w, 0)->ejected_until_ns, START + BASE);
	EXPECT_EQ(slot(&w, 0)->ejections, 1);
	EXPECT_EQ(slot(&w, 1)->ejected_until_ns, 0);
	for (uint32_t i = 1; i < 50; i++)
		EXPECT_EQ(life_connect(&w.lives, i, FLOW, w.now_ns).slot, ref_of(&w.f, TARGET, 1)->slot);
	EXPECT_EQ(stat(&w, STAT_EJECTIONS), 1);
}

TEST(a_connection_that_is_established_ends_the_row)
{
	WITH_WORLD(2, 100);

	for (unsigned i = 0; i < 5; i++) {
		given_errors(&w, 0, FLOW_CONNECT_UNREACHABLE, ERRORS - 1);
		connection_that_ends(&w, 0, FLOW_CLOSED, 10);
	}
	EXPECT_EQ(slot(&w, 0)->ejections, 0);
	given_errors(&w, 0, FLOW_CONNECT_UNREACHABLE, ERRORS);
	EXPECT_EQ(is_out(&w, 0), true);
}

TEST(what_fails_or_is_closed_here_says_nothing_of_the_endpoint)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_ABANDONED, 20);
	given_errors(&w, 0, FLOW_CONNECT_FAILED, 20);
	given_errors(&w, 0, FLOW_ABORTED, 20);
	given_errors(&w, 0, FLOW_DRAINED, 20);
	given_errors(&w, 0, FLOW_POLICY_CHANGED, 20);
	EXPECT_EQ(slot(&w, 0)->connect_errors, 0);
	EXPECT_EQ(slot(&w, 0)->reset_errors, 0);
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS - 1);
	given_errors(&w, 0, FLOW_CONNECT_ABANDONED, 1); /* nor does it end the row */
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, 1);
	EXPECT_EQ(is_out(&w, 0), true);
}

TEST(resets_count_before_the_first_byte_of_an_answer)
{
	WITH_WORLD(2, 100);

	for (unsigned i = 0; i < 20; i++)
		connection_that_ends(&w, 0, FLOW_RESET_BY_PEER, 1);
	EXPECT_EQ(slot(&w, 0)->ejections, 0);
	given_errors(&w, 0, FLOW_RESET_BY_PEER, ERRORS - 1);
	connection_that_ends(&w, 0, FLOW_CLOSED, 0);
	given_errors(&w, 0, FLOW_RESET_BY_PEER, ERRORS - 1);
	EXPECT_EQ(slot(&w, 0)->ejections, 0);
	given_errors(&w, 0, FLOW_RESET_BY_PEER, 1);
	EXPECT_EQ(is_out(&w, 0), true);
}

TEST(one_that_was_readmitted_and_goes_on_resetting_is_out_with_the_first)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_RESET_BY_PEER, ERRORS);
	expect_out_for(&w, 0, BASE);
	connection_that_ends(&w, 0, FLOW_RESET_BY_PEER, 0); /* the probe: established, then reset */
	expect_out_for(&w, 0, 2 * BASE);
	connection_that_ends(&w, 0, FLOW_CLOSED, 5);
	given_errors(&w, 0, FLOW_RESET_BY_PEER, ERRORS - 1);
	EXPECT_EQ(slot(&w, 0)->ejected_until_ns, 0);
}

TEST(when_the_time_is_over_one_connection_is_the_probe)
{
	WITH_WORLD(2, 100);
	unsigned to_it = 0;

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	w.now_ns += BASE - 1;
	for (uint32_t i = 1; i < 50; i++)
		EXPECT_EQ(life_connect(&w.lives, i, FLOW, w.now_ns).slot, ref_of(&w.f, TARGET, 1)->slot);
	w.now_ns += 1;
	for (uint32_t i = 50; i < 250; i++) {
		const struct life_step step = life_connect(&w.lives, i, FLOW, w.now_ns);

		to_it += step.slot == ref_of(&w.f, TARGET, 0)->slot;
		EXPECT_EQ(step.probe, step.slot == ref_of(&w.f, TARGET, 0)->slot);
	}
	EXPECT_EQ(to_it, 1);
	EXPECT_EQ(is_out(&w, 0), true);
	EXPECT_EQ(stat(&w, STAT_PROBES), 1);
}

TEST(a_probe_that_is_established_readmits_the_endpoint)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	expect_out_for(&w, 0, BASE);
	EXPECT_EQ(connect_to(&w, 0, 0).probe, 1);
	EXPECT_EQ(connect_to(&w, 0, 1).reason, REASON_NO_ENDPOINT);
	life_established(&w.lives, 0, w.now_ns + 5);
	EXPECT_EQ(slot(&w, 0)->ejected_until_ns, 0);
	EXPECT_EQ(slot(&w, 0)->readmitted_ns, w.now_ns + 5);
	EXPECT_EQ(connect_to(&w, 0, 1).reason, REASON_ROUTED);
	EXPECT_EQ(connect_to(&w, 0, 2).probe, 0);
	life_end(&w.lives, 1, FLOW_CONNECT_REFUSED, 0, w.now_ns);
	EXPECT_EQ(slot(&w, 0)->ejections, 1); /* a new row has begun */
}

TEST(a_probe_that_says_nothing_leaves_it_to_the_next)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	expect_out_for(&w, 0, BASE);
	EXPECT_EQ(connect_to(&w, 0, 0).probe, 1);
	w.now_ns += NSEC_PER_SEC;
	life_end(&w.lives, 0, FLOW_CONNECT_ABANDONED, 0, w.now_ns);
	EXPECT_EQ(connect_to(&w, 0, 1).probe, 1);
	EXPECT_EQ(connect_to(&w, 0, 2).reason, REASON_NO_ENDPOINT);
	w.now_ns += BASE; /* without an answer for as long as the ejection was */
	EXPECT_EQ(connect_to(&w, 0, 3).probe, 1);
	EXPECT_EQ(slot(&w, 0)->ejections, 1);
}

TEST(each_ejection_is_longer_by_the_base_and_each_interval_in_rotation_makes_the_next_shorter)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	for (unsigned factor = 1; factor <= 4; factor++) {
		expect_out_for(&w, 0, factor * BASE);
		EXPECT_EQ(slot(&w, 0)->ejections, factor);
		connection_that_ends(&w, 0, FLOW_CONNECT_TIMED_OUT, 0); /* the probe, once is enough */
	}
	expect_out_for(&w, 0, 5 * BASE);
	connection_that_ends(&w, 0, FLOW_CLOSED, 1);
	w.now_ns += 2 * INTERVAL + 1;
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	expect_out_for(&w, 0, (5 - 2 + 1) * BASE);
	connection_that_ends(&w, 0, FLOW_CLOSED, 1);
	w.now_ns += 100 * INTERVAL;
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	expect_out_for(&w, 0, BASE);
}

TEST(no_ejection_is_longer_than_five_minutes_or_the_base)
{
	WITH_WORLD(2, 100);

	target_of(&w.f, TARGET)->base_ejection_ns = 110 * NSEC_PER_SEC;
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	for (unsigned factor = 1; factor <= 6; factor++) {
		expect_out_for(&w, 0, MIN(factor * 110, 300) * NSEC_PER_SEC);
		connection_that_ends(&w, 0, FLOW_CONNECT_REFUSED, 0);
	}
	EXPECT_EQ(slot(&w, 0)->ejection_factor, 3); /* grows no further, so that it falls in time */
	target_of(&w.f, TARGET)->base_ejection_ns = 1000 * NSEC_PER_SEC;
	given_errors(&w, 1, FLOW_CONNECT_REFUSED, ERRORS);
	for (unsigned i = 0; i < 3; i++) {
		expect_out_for(&w, 1, 1000 * NSEC_PER_SEC);
		connection_that_ends(&w, 1, FLOW_CONNECT_REFUSED, 0);
	}
}

TEST(no_more_than_the_given_share_is_out_but_one_may_always_be)
{
	static const struct {
		unsigned endpoints;
		uint8_t max_pct;
		unsigned out;
	} rows[] = { { 10, 50, 5 }, { 10, 0, 1 }, { 10, 19, 1 }, { 10, 20, 2 }, { 3, 66, 1 }, { 3, 67, 2 }, { 1, 0, 1 }, { 2, 50, 1 } };

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		WITH_WORLD(rows[i].endpoints, rows[i].max_pct);
		unsigned out = 0;

		for (unsigned n = 0; n < rows[i].endpoints; n++) {
			if (is_out(&w, n))
				continue;
			for (unsigned e = 0; e < ERRORS; e++) {
				connect_to(&w, n, 0);
				life_end(&w.lives, 0, FLOW_CONNECT_REFUSED, 0, w.now_ns);
			}
			out += is_out(&w, n);
		}
		EXPECT_EQ(out, rows[i].out);
		EXPECT_EQ(stat(&w, STAT_EJECTIONS_CAPPED), rows[i].endpoints - rows[i].out);
	}
}

TEST(who_was_not_put_out_for_the_share_is_with_the_next_error_when_there_is_room)
{
	WITH_WORLD(2, 50);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	given_errors(&w, 1, FLOW_CONNECT_REFUSED, ERRORS);
	EXPECT_EQ(slot(&w, 1)->ejected_until_ns, 0);
	expect_out_for(&w, 0, BASE);
	connection_that_ends(&w, 0, FLOW_CLOSED, 1);
	given_errors(&w, 1, FLOW_CONNECT_REFUSED, 1);
	expect_out_for(&w, 1, BASE);
}

TEST(the_ejected_count_as_unhealthy_for_panic)
{
	WITH_WORLD(4, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	given_errors(&w, 1, FLOW_CONNECT_REFUSED, ERRORS);
	given_errors(&w, 2, FLOW_CONNECT_REFUSED, ERRORS);
	target_of(&w.f, TARGET)->panic_pct = 25;
	for (uint32_t i = 1; i < 50; i++)
		EXPECT_EQ(life_connect(&w.lives, i, FLOW, w.now_ns).reason, REASON_ROUTED);
	target_of(&w.f, TARGET)->panic_pct = 26;
	unsigned panics = 0;

	for (uint32_t i = 50; i < 250; i++) {
		const struct life_step step = life_connect(&w.lives, i, FLOW, w.now_ns);

		panics += step.reason == REASON_PANIC;
		EXPECT_EQ(step.probe, 0);
	}
	EXPECT_EQ(panics > 100, true);
	EXPECT_EQ(slot(&w, 0)->ejections, 1);
}

TEST(connections_begun_before_an_ejection_do_not_end_or_renew_it)
{
	WITH_WORLD(2, 100);

	for (uint32_t i = 1; i < 5; i++)
		EXPECT_EQ(connect_to(&w, 0, i).reason, REASON_ROUTED);
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	w.now_ns += NSEC_PER_SEC;
	life_end(&w.lives, 1, FLOW_CONNECT_TIMED_OUT, 0, w.now_ns);
	life_established(&w.lives, 2, w.now_ns);
	life_end(&w.lives, 2, FLOW_CLOSED, 1, w.now_ns);
	EXPECT_EQ(slot(&w, 0)->ejected_until_ns, START + BASE);
	w.now_ns = START + BASE + 1;
	life_end(&w.lives, 3, FLOW_CONNECT_TIMED_OUT, 0, w.now_ns);
	EXPECT_EQ(slot(&w, 0)->ejected_until_ns, START + BASE);
	EXPECT_EQ(slot(&w, 0)->ejections, 1);
}

TEST(a_check_that_passes_ends_an_ejection_and_its_row)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	endpoint_readmit(slot(&w, 0), w.now_ns + 1);
	EXPECT_EQ(connect_to(&w, 0, 0).probe, 0);
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS - 1);
	EXPECT_EQ(slot(&w, 0)->ejections, 1);
	given_errors(&w, 0, FLOW_CONNECT_REFUSED, 1);
	expect_out_for(&w, 0, 2 * BASE);
}

TEST(without_outlier_detection_nobody_is_put_out_or_kept_out)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS);
	EXPECT_EQ(is_out(&w, 0), true);
	target_of(&w.f, TARGET)->max_errors = 0;
	EXPECT_EQ(connect_to(&w, 0, 0).reason, REASON_ROUTED);
	given_errors(&w, 1, FLOW_CONNECT_REFUSED, 20);
	EXPECT_EQ(slot(&w, 1)->ejections, 0);
}

TEST(a_target_that_left_the_generation_ejects_nobody)
{
	WITH_WORLD(2, 100);

	given_errors(&w, 0, FLOW_CONNECT_REFUSED, ERRORS - 1);
	EXPECT_EQ(connect_to(&w, 0, 1).reason, REASON_ROUTED);
	w.f.kernel.memory.root->generation = 2; /* an empty one */
	life_end(&w.lives, 1, FLOW_CONNECT_REFUSED, 0, w.now_ns);
	EXPECT_EQ(slot(&w, 0)->ejections, 0);
	EXPECT_EQ(slot(&w, 0)->open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_in_a_row_put_an_endpoint_out_at_once),
		cmocka_unit_test(a_connection_that_is_established_ends_the_row),
		cmocka_unit_test(what_fails_or_is_closed_here_says_nothing_of_the_endpoint),
		cmocka_unit_test(resets_count_before_the_first_byte_of_an_answer),
		cmocka_unit_test(one_that_was_readmitted_and_goes_on_resetting_is_out_with_the_first),
		cmocka_unit_test(when_the_time_is_over_one_connection_is_the_probe),
		cmocka_unit_test(a_probe_that_is_established_readmits_the_endpoint),
		cmocka_unit_test(a_probe_that_says_nothing_leaves_it_to_the_next),
		cmocka_unit_test(each_ejection_is_longer_by_the_base_and_each_interval_in_rotation_makes_the_next_shorter),
		cmocka_unit_test(no_ejection_is_longer_than_five_minutes_or_the_base),
		cmocka_unit_test(no_more_than_the_given_share_is_out_but_one_may_always_be),
		cmocka_unit_test(who_was_not_put_out_for_the_share_is_with_the_next_error_when_there_is_room),
		cmocka_unit_test(the_ejected_count_as_unhealthy_for_panic),
		cmocka_unit_test(connections_begun_before_an_ejection_do_not_end_or_renew_it),
		cmocka_unit_test(a_check_that_passes_ends_an_ejection_and_its_row),
		cmocka_unit_test(without_outlier_detection_nobody_is_put_out_or_kept_out),
		cmocka_unit_test(a_target_that_left_the_generation_ejects_nobody),
	};

	return cmocka_run_group_tests_name("eject", tests, NULL, NULL);
}
