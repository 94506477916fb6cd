/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/telemetry/flow_log.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

#define KEPT 10000 /* more than two chunks */
static const struct flows_filter everything = { .reason = -1 };

static struct flow_log *given_log(uint64_t records)
{
	struct flow_log *log = NULL;

	EXPECT_OK(flow_log_new(KEPT, &log));
	for (uint64_t i = 0; i < records; i++)
		EXPECT_OK(flow_log_add(log, &(struct flow_record){
						    .end_ns = i,
						    .source = (uint32_t)(i % 7) + 1,
						    .service = (uint32_t)(i % 5) + 1,
						    .target = (uint32_t)(i % 3) + 1,
						    .reason = (uint8_t)(i % 2),
					    }));
	return log;
}

struct seen {
	uint64_t count, first, last;
	uint64_t wanted_source, wanted_service, wanted_target; /* 0: any */
	int wanted_reason; /* -1: any */
	uint64_t stop_after;
};

static int note(const struct flow_record *r, void *arg)
{
	struct seen *s = arg;

	EXPECT(s->count == 0 || r->end_ns > s->last);
	EXPECT(!s->wanted_source || r->source == s->wanted_source);
	EXPECT(!s->wanted_service || r->service == s->wanted_service);
	EXPECT(!s->wanted_target || r->target == s->wanted_target);
	EXPECT(s->wanted_reason < 0 || r->reason == s->wanted_reason);
	if (s->count++ == 0)
		s->first = r->end_ns;
	s->last = r->end_ns;
	return s->count == s->stop_after ? -ECANCELED : 0;
}

static struct seen seen_with(const struct flow_log *log, const struct flows_filter *filter)
{
	struct seen s = { .wanted_source = filter->source, .wanted_service = filter->service, .wanted_target = filter->target,
			  .wanted_reason = filter->reason };

	EXPECT_OK(flow_log_each(log, filter, note, &s));
	return s;
}

static void cleanup_log(struct flow_log **log)
{
	flow_log_free(*log);
}

TEST(an_empty_log_shows_nothing)
{
	_cleanup_(cleanup_log) struct flow_log *log = given_log(0);

	EXPECT_EQ(seen_with(log, &everything).count, 0);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = -1, .limit = 5 }).count, 0);
}

TEST(the_newest_are_kept_and_shown_oldest_first)
{
	static const uint64_t sizes[] = { 1, 4095, 4096, 4097, KEPT - 1, KEPT, KEPT + 1, 12288, 16384, 16385, 50000 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(cleanup_log) struct flow_log *log = given_log(sizes[i]);
		const struct seen s = seen_with(log, &everything);

		EXPECT_EQ(s.count, MIN(sizes[i], (uint64_t)KEPT));
		EXPECT_EQ(s.first, sizes[i] - s.count);
		EXPECT_EQ(s.last, sizes[i] - 1);
		EXPECT_EQ(flow_log_added(log), sizes[i]);
	}
}

TEST(each_filter_leaves_what_matches_it_and_they_add_up)
{
	_cleanup_(cleanup_log) struct flow_log *log = given_log(4200);

	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = -1, .source = 3 }).count, 600);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = -1, .service = 5 }).count, 840);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = -1, .target = 1 }).count, 1400);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = 0 }).count, 2100);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = -1, .since_ns = 4000 }).count, 200);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = 1, .source = 3, .service = 5, .target = 1 }).count, 20);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = -1, .source = 8 }).count, 0);
	EXPECT_EQ(seen_with(log, &(struct flows_filter){ .reason = 2 }).count, 0);
}

TEST(a_limit_counts_what_matches_from_the_newest_back)
{
	_cleanup_(cleanup_log) struct flow_log *log = given_log(KEPT + 500);
	struct seen s = seen_with(log, &(struct flows_filter){ .reason = -1, .limit = 3 });

	EXPECT_EQ(s.count, 3);
	EXPECT_EQ(s.first, KEPT + 497);
	s = seen_with(log, &(struct flows_filter){ .reason = 0, .limit = 3 });
	EXPECT_EQ(s.count, 3);
	EXPECT_EQ(s.first, KEPT + 494);
	EXPECT_EQ(s.last, KEPT + 498);
	s = seen_with(log, &(struct flows_filter){ .reason = -1, .limit = 2 * KEPT });
	EXPECT_EQ(s.count, KEPT);
}

TEST(the_callback_ends_the_walk_with_its_own_error)
{
	_cleanup_(cleanup_log) struct flow_log *log = given_log(10);
	struct seen s = { .wanted_reason = -1, .stop_after = 4 };

	EXPECT_EQ(flow_log_each(log, &everything, note, &s), -ECANCELED);
	EXPECT_EQ(s.count, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_log_shows_nothing),
		cmocka_unit_test(the_newest_are_kept_and_shown_oldest_first),
		cmocka_unit_test(each_filter_leaves_what_matches_it_and_they_add_up),
		cmocka_unit_test(a_limit_counts_what_matches_from_the_newest_back),
		cmocka_unit_test(the_callback_ends_the_walk_with_its_own_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
