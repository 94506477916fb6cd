/* SPDX-License-Identifier: Apache-2.0 */
/* What weft-proxies counted of requests: their text is read, what has grown is added by names, and nothing is counted twice or lost by a new
 * weft-proxy or a new weftd. */
#include <errno.h>
#include <stdio.h>

#include "agent/telemetry/request_book.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static struct request_reading read_text(const char *text)
{
	struct request_reading reading;
	struct error err = {};

	EXPECT_OK(request_reading_parse(text, strlen(text), &reading, &err), &err);
	return reading;
}
#define _cleanup_reading_ _cleanup_(request_reading_done)

#define HEAD(pid) "{\"pid\":" #pid ",\"startedAt\":\"2026-01-01T00:00:00Z\",\"generation\":7,\"workers\":2,\"places\":[],"

/* --- texts -------------------------------------------------------------------------------------------------------------------------------- */

TEST(a_text_gives_rows_sums_and_what_is_now)
{
	_cleanup_reading_ struct request_reading reading = read_text(HEAD(12)
		"\"totals\":{\"requests\":5,\"open\":2,\"upstreamOpen\":3,\"requestsActive\":4,\"replies\":{\"no-route\":1},\"retries\":{\"retry\":6}},"
		"\"rows\":[{\"source\":1,\"service\":2,\"target\":3,\"requests\":5,\"retries\":6,\"bytesReceived\":7,\"bytesSent\":8,\"timeNsSum\":9,"
		"\"active\":2,\"codes\":[0,0,4,0,1,0],\"timeNs\":[0,0,5]}]}");

	EXPECT_STR(reading.process, "12 2026-01-01T00:00:00Z");
	EXPECT_EQ(reading.generation, 7);
	EXPECT_EQ(reading.workers, 2);
	EXPECT_EQ(reading.now.open, 2);
	EXPECT_EQ(reading.now.upstream_open, 3);
	EXPECT_EQ(reading.now.active, 4);
	EXPECT_EQ(reading.sum_count, 3); /* what is now is no sum */
	EXPECT_STR(reading.sums[0].name, "requests");
	EXPECT_STR(reading.sums[1].name, "replies.no-route");
	EXPECT_STR(reading.sums[2].name, "retries.retry");
	EXPECT_EQ(reading.sums[2].count, 6);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].count, 1);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].ids.target, 3);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].counts.bytes_sent, 8);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].active, 2);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].counts.codes[4], 1);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].counts.time_ns[2], 5);
}

TEST(rows_come_in_order_and_each_once)
{
	_cleanup_reading_ struct request_reading reading = read_text(HEAD(12) "\"totals\":{},\"rows\":["
		"{\"source\":2,\"service\":1,\"target\":1,\"requests\":1},{\"source\":1,\"service\":9,\"target\":1,\"requests\":2},"
		"{\"source\":2,\"service\":1,\"target\":1,\"requests\":4}]}");

	EXPECT_EQ(reading.rows[REQUEST_TARGETS].count, 2);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].counts.requests, 2);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[1].counts.requests, 5);
}

TEST(what_is_no_such_text_is_refused)
{
	static const char *const texts[] = {
		"", "{", "[]", "{}", HEAD(12) "\"totals\":{}}", HEAD(12) "\"rows\":[]}", HEAD(0) "\"totals\":{},\"rows\":[]}",
		"{\"pid\":1,\"totals\":{},\"rows\":[]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct request_reading reading;

		EXPECT_EQ(request_reading_parse(texts[i], strlen(texts[i]), &reading, NULL), -EPROTO);
	}
}

TEST(members_of_another_build_are_let_be)
{
	_cleanup_reading_ struct request_reading reading = read_text(HEAD(12)
		"\"more\":[1],\"totals\":{\"list\":[1],\"text\":\"x\",\"deep\":{\"er\":{\"n\":1}}},\"rows\":[7,{\"requests\":-5,\"codes\":7}]}");

	EXPECT_EQ(reading.sum_count, 0);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].count, 1);
	EXPECT_EQ(reading.rows[REQUEST_TARGETS].list[0].counts.requests, 0);
}

TEST(routes_are_read_with_their_names_where_a_text_has_them)
{
	_cleanup_reading_ struct request_reading reading = read_text(HEAD(12) "\"totals\":{},\"rows\":[],\"routes\":["
		"{\"source\":3,\"service\":2,\"id\":7,\"route\":\"canary\",\"retries\":4,\"timeouts\":5,\"codes\":[1,0,2,0,0,3]},"
		"{\"source\":3,\"service\":2,\"id\":0,\"route\":null,\"codes\":[0,0,0,0,9,0]},"
		"{\"source\":3,\"service\":2,\"id\":7,\"route\":\"canary\",\"retries\":1,\"codes\":[0,0,1]}]}");
	const struct request_reading_rows *routes = &reading.rows[REQUEST_ROUTES];

	EXPECT_EQ(reading.rows[REQUEST_TARGETS].count, 0);
	EXPECT_EQ(routes->count, 2);
	EXPECT_STR(routes->list[0].route, NULL);
	EXPECT_EQ(routes->list[0].route_counts.codes[4], 9);
	EXPECT_STR(routes->list[1].route, "canary");
	EXPECT_EQ(routes->list[1].ids.target, 7);
	EXPECT_EQ(routes->list[1].route_counts.codes[0], 1);
	EXPECT_EQ(routes->list[1].route_counts.codes[2], 3);
	EXPECT_EQ(routes->list[1].route_counts.retries, 5);
	EXPECT_EQ(routes->list[1].route_counts.timeouts, 5);
}

/* --- the book ----------------------------------------------------------------------------------------------------------------------------- */

static const char *names[] = { NULL, "mesh/m/virtualNode/web", "mesh/m/virtualService/pay", "mesh/m/virtualNode/pay:80" };

static const char *name_of(uint32_t id, void *arg)
{
	(void)arg;
	return id < ARRAY_SIZE(names) ? names[id] : NULL;
}

static struct request_book *given_book(struct state *state)
{
	struct request_book *book;

	EXPECT_OK(request_book_new(state, &book));
	return book;
}

/* A reading with one row, and with the same number as "requests". */
static void take(struct request_book *book, int pid, uint32_t source, uint32_t service, uint32_t target, uint64_t requests)
{
	_cleanup_(buffer_done) struct buffer text = {};
	_cleanup_reading_ struct request_reading reading = {};

	buffer_printf(&text, "{\"pid\":%d,\"startedAt\":\"x\",\"totals\":{\"requests\":%llu},\"rows\":[{\"source\":%u,\"service\":%u,\"target\":%u,"
			     "\"requests\":%llu}]}", pid, (unsigned long long)requests, source, service, target, (unsigned long long)requests);
	reading = read_text(buffer_string(&text));
	EXPECT_OK(request_book_take(book, &reading, name_of, NULL));
}

static uint64_t requests_of(const struct request_book *book, const char *target)
{
	for (size_t i = 0; i < request_book_rows(book); i++) {
		const struct request_row row = request_book_row(book, i);

		if (target == row.target || (target && row.target && !strcmp(row.target, target)))
			return row.counts.requests;
	}
	return 0;
}

static void cleanup_book(struct request_book **book)
{
	request_book_free(*book);
}
static void cleanup_state(struct state **state)
{
	state_close(*state);
}
#define GIVEN_BOOK                                                                                                            \
	_cleanup_(cleanup_state) struct state *store = NULL;                                                                   \
	_cleanup_(cleanup_book) struct request_book *book = NULL;                                                              \
	EXPECT_OK(state_open_memory(&store));                                                                                  \
	book = given_book(store);

static void begin_anew(struct state *state, struct request_book **book)
{
	request_book_free(*book);
	*book = given_book(state);
}

TEST(what_has_grown_is_added_by_names)
{
	GIVEN_BOOK;

	take(book, 1, 1, 2, 3, 10);
	take(book, 1, 1, 2, 3, 15);
	take(book, 1, 1, 2, 3, 15);
	EXPECT_EQ(request_book_rows(book), 1);
	EXPECT_STR(request_book_row(book, 0).source, names[1]);
	EXPECT_STR(request_book_row(book, 0).service, names[2]);
	EXPECT_EQ(requests_of(book, names[3]), 15);
	EXPECT_EQ(request_book_sums(book), 1);
	EXPECT_EQ(request_book_sum(book, 0).count, 15);
}

TEST(what_is_under_way_is_what_the_last_readings_say)
{
	GIVEN_BOOK;
	struct request_reading_row row = { .ids = { 1, 2, 3 }, .active = 3 };
	const struct request_reading one = { .process = "1 x", .rows[REQUEST_TARGETS] = { 1, &row } },
				     other = { .process = "2 x", .rows[REQUEST_TARGETS] = { 1, &row } };

	request_book_begin(book);
	EXPECT_OK(request_book_take(book, &one, name_of, NULL));
	EXPECT_OK(request_book_take(book, &other, name_of, NULL));
	EXPECT_EQ(request_book_row(book, 0).active, 6);
	request_book_begin(book);
	row.active = 1;
	EXPECT_OK(request_book_take(book, &other, name_of, NULL));
	EXPECT_EQ(request_book_row(book, 0).active, 1);
}

TEST(the_next_weft_proxy_goes_on)
{
	GIVEN_BOOK;

	take(book, 1, 1, 2, 3, 10);
	take(book, 2, 1, 2, 3, 4);
	take(book, 2, 1, 2, 3, 6);
	EXPECT_EQ(requests_of(book, names[3]), 16);
	EXPECT_EQ(request_book_sum(book, 0).count, 16);
}

TEST(two_weft_proxies_at_a_time_are_counted_apart)
{
	GIVEN_BOOK;

	take(book, 1, 1, 2, 3, 10);
	for (uint64_t n = 1; n <= 5; n++) {
		take(book, 2, 1, 2, 3, 100 * n);
		take(book, 1, 1, 2, 3, 10 + n);
	}
	EXPECT_EQ(requests_of(book, names[3]), 515);
	EXPECT_EQ(request_book_sum(book, 0).count, 515);
}

TEST(the_next_weftd_goes_on_and_counts_nothing_twice)
{
	GIVEN_BOOK;

	take(book, 1, 1, 2, 3, 10);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	take(book, 1, 1, 2, 3, 20); /* is not stored: weft-proxy says it again */
	begin_anew(store, &book);
	EXPECT_EQ(requests_of(book, names[3]), 10);
	take(book, 1, 1, 2, 3, 25);
	EXPECT_EQ(requests_of(book, names[3]), 25);
	EXPECT_EQ(request_book_sum(book, 0).count, 25);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	begin_anew(store, &book);
	take(book, 2, 1, 2, 3, 5); /* while nobody looked another one began */
	EXPECT_EQ(requests_of(book, names[3]), 30);
	EXPECT_EQ(request_book_sum(book, 0).count, 30);
}

TEST(an_id_that_goes_to_another_name_takes_nothing_along)
{
	GIVEN_BOOK;
	const char *before = names[3], *after = "mesh/m/virtualNode/other:80";

	take(book, 1, 1, 2, 3, 10);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	names[3] = after;
	take(book, 1, 1, 2, 3, 14);
	EXPECT_EQ(requests_of(book, before), 10);
	EXPECT_EQ(requests_of(book, after), 4);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	begin_anew(store, &book);
	take(book, 1, 1, 2, 3, 15);
	EXPECT_EQ(requests_of(book, before), 10);
	EXPECT_EQ(requests_of(book, after), 5);
	names[3] = before;
}

TEST(rows_without_names_say_what_they_are)
{
	GIVEN_BOOK;

	take(book, 1, 1, 2, 0, 1); /* came to no target */
	take(book, 1, 1, 2, 77, 2); /* whose name nobody knows */
	take(book, 1, 0, 0, 3, 3); /* came in for it */
	take(book, 1, 0, 0, 0, 4); /* all others */
	EXPECT_EQ(request_book_rows(book), 4);
	EXPECT_STR(request_book_row(book, 0).target, NULL);
	EXPECT_STR(request_book_row(book, 1).target, "object 77");
	EXPECT_STR(request_book_row(book, 2).source, NULL);
	EXPECT_STR(request_book_row(book, 2).target, names[3]);
	EXPECT_STR(request_book_row(book, 3).source, NULL);
	EXPECT_STR(request_book_row(book, 3).target, NULL);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	begin_anew(store, &book);
	EXPECT_EQ(request_book_rows(book), 4);
	EXPECT_EQ(requests_of(book, "object 77"), 2);
	EXPECT_EQ(requests_of(book, names[3]), 3);
}

static const char *made_up_name(uint32_t id, void *arg)
{
	static char name[3][48];
	static unsigned int next;

	(void)arg;
	next = (next + 1) % ARRAY_SIZE(name);
	snprintf(name[next], sizeof(name[next]), "mesh/m/virtualNode/n%u", id);
	return name[next];
}

TEST(beyond_the_limit_all_is_one_row_and_what_is_saved_comes_in_pieces)
{
	enum { ROWS = REQUEST_ROWS_MAX + 100 };
	GIVEN_BOOK;
	struct request_reading_row *rows = calloc(ROWS, sizeof(*rows));
	struct request_reading reading = { .process = "1 x", .rows[REQUEST_TARGETS] = { ROWS, rows } };
	int left = 1, rounds = 0;

	assert_non_null(rows);
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = (struct request_reading_row){ .ids = { 1, 2, i + 1 }, .counts.requests = 1 };
	EXPECT_OK(request_book_take(book, &reading, made_up_name, NULL));
	EXPECT_EQ(request_book_rows(book), REQUEST_ROWS_MAX + 1);
	EXPECT_EQ(requests_of(book, NULL), 100);
	for (; left > 0; rounds++)
		left = request_book_save(book, 10000);
	EXPECT_EQ(left, 0);
	EXPECT_EQ(rounds, REQUEST_ROWS_MAX / 10000 + 1);
	begin_anew(store, &book);
	EXPECT_EQ(request_book_rows(book), REQUEST_ROWS_MAX + 1);
	EXPECT_OK(request_book_take(book, &reading, made_up_name, NULL));
	EXPECT_EQ(requests_of(book, NULL), 100);
	request_reading_done(&reading);
}

/* A reading with one route, whose requests were all answered with 2xx. */
static void take_route(struct request_book *book, int pid, uint32_t source, uint32_t service, uint32_t id, const char *route, uint64_t requests)
{
	_cleanup_(buffer_done) struct buffer text = {};
	_cleanup_reading_ struct request_reading reading = {};

	buffer_printf(&text, "{\"pid\":%d,\"startedAt\":\"x\",\"totals\":{},\"rows\":[],\"routes\":[{\"source\":%u,\"service\":%u,\"id\":%u,", pid, source,
		      service, id);
	buffer_printf(&text, route ? "\"route\":\"%s\"," : "", route);
	buffer_printf(&text, "\"timeouts\":1,\"codes\":[0,0,%llu]}]}", (unsigned long long)requests);
	reading = read_text(buffer_string(&text));
	EXPECT_OK(request_book_take(book, &reading, name_of, NULL));
}

static uint64_t routed(const struct request_book *book, const char *service, const char *route)
{
	for (size_t i = 0; i < request_book_routes(book); i++) {
		const struct request_route row = request_book_route(book, i);

		if (!strcmp(row.service ?: "", service ?: "") && !strcmp(row.route ?: "", route ?: ""))
			return row.counts.codes[2];
	}
	return 0;
}

TEST(routes_are_summed_by_name_over_processes_that_number_them_as_they_like)
{
	GIVEN_BOOK;

	take_route(book, 1, 1, 2, 7, "canary", 10);
	take_route(book, 1, 1, 2, 7, "canary", 15);
	take_route(book, 2, 1, 2, 1, "canary", 4);
	take_route(book, 2, 1, 2, 2, "all", 6);
	take_route(book, 1, 1, 2, 7, "canary", 16);
	EXPECT_EQ(request_book_routes(book), 2);
	EXPECT_EQ(request_book_rows(book), 0);
	EXPECT_STR(request_book_route(book, 0).source, names[1]);
	EXPECT_STR(request_book_route(book, 0).service, names[2]);
	EXPECT_EQ(routed(book, names[2], "canary"), 20);
	EXPECT_EQ(routed(book, names[2], "all"), 6);
	EXPECT_EQ(request_book_route(book, 0).counts.timeouts, 2);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	take_route(book, 2, 1, 2, 1, "canary", 5); /* is not stored: weft-proxy says it again */
	begin_anew(store, &book);
	EXPECT_EQ(routed(book, names[2], "canary"), 20);
	take_route(book, 2, 1, 2, 1, "canary", 7);
	take_route(book, 3, 1, 2, 1, "canary", 1);
	EXPECT_EQ(routed(book, names[2], "canary"), 24);
	EXPECT_EQ(routed(book, names[2], "all"), 6);
}

TEST(what_no_route_took_a_gateways_own_route_and_all_others_are_told_apart)
{
	GIVEN_BOOK;

	take_route(book, 1, 1, 2, 0, NULL, 1);
	take_route(book, 1, 1, 0, 5, "entry", 2);
	take_route(book, 1, 1, 0, 0, NULL, 3);
	take_route(book, 1, 0, 0, 0, NULL, 4);
	EXPECT_EQ(request_book_routes(book), 4);
	EXPECT_EQ(request_book_save(book, SIZE_MAX), 0);
	begin_anew(store, &book);
	EXPECT_EQ(request_book_routes(book), 4);
	EXPECT_EQ(routed(book, names[2], NULL), 1);
	EXPECT_EQ(routed(book, NULL, "entry"), 2);
	for (size_t i = 0; i < 4; i++) {
		const struct request_route row = request_book_route(book, i);

		if (!row.service && !row.route)
			EXPECT_EQ(row.counts.codes[2], row.source ? 3 : 4);
	}
}

TEST(what_another_version_stored_is_let_be)
{
	_cleanup_(cleanup_state) struct state *store = NULL;
	_cleanup_(cleanup_book) struct request_book *book = NULL;
	char bytes[4096] = { 99 };

	EXPECT_OK(state_open_memory(&store));
	EXPECT_OK(state_put(store, "requests/rows/1", bytes, sizeof(bytes), NULL));
	EXPECT_OK(state_put(store, "requests/rows/2", bytes, 3, NULL));
	EXPECT_OK(state_put(store, "requests/routes/1", bytes, sizeof(bytes), NULL));
	bytes[0] = 1;
	bytes[4] = 127; /* rows that are not there */
	EXPECT_OK(state_put(store, "requests/rows/3", bytes, sizeof(bytes), NULL));
	EXPECT_OK(state_put(store, "requests/sums", "no JSON", 7, NULL));
	book = given_book(store);
	EXPECT_EQ(request_book_rows(book), 0);
	EXPECT_EQ(request_book_routes(book), 0);
	EXPECT_EQ(request_book_sums(book), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_gives_rows_sums_and_what_is_now),
		cmocka_unit_test(rows_come_in_order_and_each_once),
		cmocka_unit_test(what_is_no_such_text_is_refused),
		cmocka_unit_test(members_of_another_build_are_let_be),
		cmocka_unit_test(routes_are_read_with_their_names_where_a_text_has_them),
		cmocka_unit_test(what_has_grown_is_added_by_names),
		cmocka_unit_test(what_is_under_way_is_what_the_last_readings_say),
		cmocka_unit_test(the_next_weft_proxy_goes_on),
		cmocka_unit_test(two_weft_proxies_at_a_time_are_counted_apart),
		cmocka_unit_test(the_next_weftd_goes_on_and_counts_nothing_twice),
		cmocka_unit_test(an_id_that_goes_to_another_name_takes_nothing_along),
		cmocka_unit_test(rows_without_names_say_what_they_are),
		cmocka_unit_test(beyond_the_limit_all_is_one_row_and_what_is_saved_comes_in_pieces),
		cmocka_unit_test(routes_are_summed_by_name_over_processes_that_number_them_as_they_like),
		cmocka_unit_test(what_no_route_took_a_gateways_own_route_and_all_others_are_told_apart),
		cmocka_unit_test(what_another_version_stored_is_let_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
