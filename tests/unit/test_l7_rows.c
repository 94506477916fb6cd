/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of counters, read while they are made. */
#include <pthread.h>

#include "agent/l7/rows.h"
#include "tests/lib/test.h"

struct row {
	uint32_t a, b;
	uint64_t count;
};
static const struct rows_kind kind = { .key_bytes = 2 * sizeof(uint32_t), .row_bytes = sizeof(struct row), .max = 50000 };

static struct row *row_get(struct rows *rows, uint32_t a, uint32_t b)
{
	return rows_get(rows, &kind, (const uint32_t[]){ a, b });
}

static size_t rows_counted(const struct rows *rows)
{
	struct rows_walk walk = rows_walk(rows);
	size_t count = 0;

	while (rows_next(&walk))
		count++;
	return count;
}

TEST(a_row_is_found_again_and_stays_where_it_is)
{
	struct rows rows = {};
	struct row *first = row_get(&rows, 1, 2);

	EXPECT_EQ(first->a, 1);
	EXPECT_EQ(first->b, 2);
	EXPECT_EQ(first->count, 0);
	for (uint32_t i = 0; i < 1000; i++)
		row_get(&rows, i, 7)->count++;
	EXPECT(row_get(&rows, 1, 2) == first);
	EXPECT_EQ(row_get(&rows, 999, 7)->count, 1);
	EXPECT_EQ(rows_counted(&rows), 1001);
	rows_done(&rows);
	EXPECT_EQ(rows_counted(&rows), 0);
}

TEST(there_are_no_more_rows_than_there_may_be)
{
	struct rows rows = {};

	for (uint32_t i = 0; i < kind.max; i++)
		EXPECT(row_get(&rows, i, i));
	EXPECT(!row_get(&rows, 1, 0));
	EXPECT(row_get(&rows, 1, 1));
	EXPECT_EQ(rows_counted(&rows), kind.max);
	rows_done(&rows);
}

static void *make_rows(void *arg)
{
	for (uint32_t i = 0; i < kind.max; i++)
		row_get(arg, i, ~i)->count = 1;
	return NULL;
}

TEST(who_reads_while_rows_are_made_misses_none_that_was_there)
{
	struct rows rows = {};
	pthread_t thread;
	size_t before = 0;

	EXPECT_EQ(pthread_create(&thread, NULL, make_rows, &rows), 0);
	while (before < kind.max) {
		const size_t now = rows_counted(&rows);

		EXPECT(now >= before);
		before = now;
	}
	pthread_join(thread, NULL);
	rows_done(&rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_is_found_again_and_stays_where_it_is),
		cmocka_unit_test(there_are_no_more_rows_than_there_may_be),
		cmocka_unit_test(who_reads_while_rows_are_made_misses_none_that_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
