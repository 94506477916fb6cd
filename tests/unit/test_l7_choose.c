/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a request goes to: by zone, by load, past what is down, ejected, tried, or not for this namespace. */
#include "agent/l7/internal.h"
#include "tests/lib/test.h"

enum { COUNT = 4, DRAWS = 4000 };

struct chosen {
	struct endpoint slots[COUNT + 1];
	uint32_t slot_count, active[COUNT + 1];
	struct target_endpoint endpoints[COUNT];
	struct zone_run zones[2];
	struct target target;
	struct l7 l7;
	struct l7_place l7_place;
	struct worker_place place;
	struct downstream downstream;
	struct worker *worker;
	struct request *request;
	unsigned int to[COUNT + 1]; /* by slot; 0: to none */
};

static struct chosen *given(void)
{
	struct chosen *c = calloc(1, sizeof(*c));

	c->slot_count = COUNT + 1;
	c->worker = calloc(1, sizeof(*c->worker));
	c->request = calloc(1, sizeof(*c->request));
	c->l7.kernel.endpoints = c->slots;
	c->l7.kernel.endpoint_count = &c->slot_count;
	c->l7.active = c->active;
	c->worker->l7 = &c->l7;
	c->worker->random[0] = 1;
	c->worker->random[1] = 2;
	c->l7_place.netns_cookie = 7;
	c->place.place = &c->l7_place;
	c->downstream.place = &c->place;
	EXPECT_OK(ip_parse("240.240.0.1", &c->downstream.handover.destination));
	c->request->worker = c->worker;
	c->request->downstream = &c->downstream;
	for (uint32_t i = 0; i < COUNT; i++) {
		c->slots[i + 1].incarnation = 1;
		c->endpoints[i].slot = i + 1;
		c->endpoints[i].incarnation = 1;
	}
	c->target.panic_pct = 50;
	c->target.lists[LIST_V4] = (struct target_list){ .count = COUNT, .endpoints = c->endpoints };
	return c;
}

static void chosen_free(struct chosen **c)
{
	free((*c)->worker);
	free((*c)->request);
	free(*c);
}
#define _cleanup_chosen_ _cleanup_(chosen_free)

static void draw(struct chosen *c)
{
	memset(c->to, 0, sizeof(c->to));
	for (int i = 0; i < DRAWS; i++) {
		const struct target_endpoint *e = choose_endpoint(c->request, &c->target);

		c->to[e ? e->slot : 0]++;
	}
}

/* 1, 2 are of the caller's zone, and get that share. */
static void given_zones(struct chosen *c, uint32_t below)
{
	c->endpoints[2].run = c->endpoints[3].run = 1;
	c->zones[0] = (struct zone_run){ 2, below };
	c->zones[1] = (struct zone_run){ 2, SHARE_ALL };
	c->target.lists[LIST_V4].zone_count = 2;
	c->target.lists[LIST_V4].zones = c->zones;
}

static bool about(unsigned int count, unsigned int expected)
{
	return count > expected - DRAWS / 20 && count < expected + DRAWS / 20;
}

TEST(all_that_are_alike_get_alike)
{
	_cleanup_chosen_ struct chosen *c = given();

	draw(c);
	for (int i = 1; i <= COUNT; i++)
		EXPECT(about(c->to[i], DRAWS / COUNT));
}

TEST(of_two_the_less_busy_one_is_taken)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->active[1] = 5;
	draw(c);
	EXPECT(about(c->to[1], DRAWS / 16)); /* only where it is drawn twice */
}

TEST(zones_get_their_shares)
{
	_cleanup_chosen_ struct chosen *c = given();

	given_zones(c, SHARE_ALL / 4 * 3);
	draw(c);
	EXPECT(about(c->to[1] + c->to[2], DRAWS / 4 * 3));
	EXPECT_EQ(c->to[0], 0);
}

TEST(who_is_down_gone_or_ejected_gets_nothing)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->target.panic_pct = 0;
	c->target.max_errors = 5;
	c->slots[1].health = HEALTH_DOWN;
	c->slots[2].incarnation = 3;
	c->slots[3].ejected_until_ns = UINT64_MAX / 2;
	draw(c);
	EXPECT_EQ(c->to[4], DRAWS);
}

TEST(an_ejection_means_nothing_to_a_target_without_outlier_detection)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->slots[3].ejected_until_ns = UINT64_MAX / 2;
	draw(c);
	EXPECT(about(c->to[3], DRAWS / COUNT));
}

TEST(in_panic_all_that_are_offered_are_used)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->slots[1].health = c->slots[2].health = c->slots[3].health = HEALTH_DOWN;
	draw(c);
	EXPECT(c->to[1] && c->to[2] && c->to[3] && c->to[4]);
	c->target.panic_pct = 25; /* one of four is enough */
	draw(c);
	EXPECT_EQ(c->to[4], DRAWS);
}

TEST(an_endpoint_of_another_namespace_is_not_offered)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->endpoints[0].netns_cookie = 8;
	c->endpoints[1].netns_cookie = 7;
	draw(c);
	EXPECT_EQ(c->to[1], 0);
	EXPECT(c->to[2] && c->to[3] && c->to[4]);
}

TEST(what_was_tried_is_avoided_while_there_is_another_one)
{
	_cleanup_chosen_ struct chosen *c = given();

	for (uint32_t i = 0; i < 3; i++)
		c->request->tried[c->request->tries++] = i + 1;
	draw(c);
	EXPECT_EQ(c->to[4], DRAWS);
	c->request->tried[c->request->tries++] = 4;
	draw(c);
	EXPECT_EQ(c->to[0], 0);
}

TEST(in_panic_what_was_tried_is_avoided_as_well)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->slots[1].health = c->slots[2].health = c->slots[3].health = c->slots[4].health = HEALTH_DOWN;
	c->request->tried[c->request->tries++] = 1;
	draw(c);
	EXPECT_EQ(c->to[1], 0);
	EXPECT(c->to[2] && c->to[3] && c->to[4]);
}

TEST(where_a_pick_fails_the_callers_zone_comes_first)
{
	_cleanup_chosen_ struct chosen *c = given();

	given_zones(c, SHARE_ALL);
	c->slots[1].health = HEALTH_DOWN;
	draw(c);
	EXPECT_EQ(c->to[2], DRAWS);
	c->slots[2].health = HEALTH_DOWN;
	draw(c);
	EXPECT_EQ(c->to[1] + c->to[2], 0);
}

TEST(none_is_none)
{
	_cleanup_chosen_ struct chosen *c = given();

	c->target.panic_pct = 0;
	for (int i = 1; i <= COUNT; i++)
		c->slots[i].health = HEALTH_PENDING;
	draw(c);
	EXPECT_EQ(c->to[0], DRAWS);
	c->target.lists[LIST_V4].count = 0;
	draw(c);
	EXPECT_EQ(c->to[0], DRAWS);
}

TEST(an_ejection_that_is_over_is_probed_by_one_request)
{
	_cleanup_chosen_ struct chosen *c = given();
	unsigned int probes = 0;

	c->target.max_errors = 5;
	c->slots[1].ejected_until_ns = 1;
	c->slots[1].ejected_for_ns = 3600 * NSEC_PER_SEC;
	for (int i = 0; i < DRAWS; i++) {
		const struct target_endpoint *e = choose_endpoint(c->request, &c->target);

		EXPECT(e);
		probes += c->request->probe_ns != 0;
		EXPECT_EQ(e->slot == 1, c->request->probe_ns != 0);
	}
	EXPECT_EQ(probes, 1);
}

TEST(a_probe_that_comes_to_nothing_leaves_it_to_the_next_request)
{
	_cleanup_chosen_ struct chosen *c = given();
	unsigned int probes = 0;

	c->target.max_errors = 5;
	c->slots[1].ejected_until_ns = 1;
	c->slots[1].ejected_for_ns = 3600 * NSEC_PER_SEC;
	for (int i = 0; i < DRAWS; i++) {
		c->request->endpoint = choose_endpoint(c->request, &c->target);
		probes += c->request->probe_ns != 0;
		outlier_unsaid(c->request);
	}
	EXPECT(probes > DRAWS / 8);
	EXPECT(!outlier_is_out(&c->slots[1], time_now_ns()));
	EXPECT(c->slots[1].ejected_until_ns > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_are_alike_get_alike),
		cmocka_unit_test(of_two_the_less_busy_one_is_taken),
		cmocka_unit_test(zones_get_their_shares),
		cmocka_unit_test(who_is_down_gone_or_ejected_gets_nothing),
		cmocka_unit_test(an_ejection_means_nothing_to_a_target_without_outlier_detection),
		cmocka_unit_test(in_panic_all_that_are_offered_are_used),
		cmocka_unit_test(an_endpoint_of_another_namespace_is_not_offered),
		cmocka_unit_test(what_was_tried_is_avoided_while_there_is_another_one),
		cmocka_unit_test(in_panic_what_was_tried_is_avoided_as_well),
		cmocka_unit_test(where_a_pick_fails_the_callers_zone_comes_first),
		cmocka_unit_test(none_is_none),
		cmocka_unit_test(an_ejection_that_is_over_is_probed_by_one_request),
		cmocka_unit_test(a_probe_that_comes_to_nothing_leaves_it_to_the_next_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
