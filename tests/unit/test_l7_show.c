/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP proxy tells of what it counted. */
#include "agent/l7/internal.h"
#include "agent/l7/route_names.h"
#include "tests/unit/l7_world.h"

static int64_t number(const json_t *list, size_t i)
{
	return json_integer_value(json_array_get(list, i));
}

TEST(requests_are_told_by_caller_service_and_target_over_all_workers)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(2);
	_cleanup_json_ json_t *json = NULL;
	const json_t *row;
	int64_t sum = 0;

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(ask_status(w, GET("/")), 200);
	EXPECT_EQ(ask_status(w, GET("/status/503")), 503); /* and two more, by the default policy */
	EXPECT_COUNT(w, "totals.requestsActive", 0);
	EXPECT_COUNT(w, "totals.open", 0);

	json = l7_json(w->l7);
	EXPECT_EQ(json_path_int(json, "workers", 0), 2);
	EXPECT_EQ(json_path_int(json, "totals.retries.retry", 0), 2);
	EXPECT_EQ(json_path_count(json, "rows"), 1);
	row = json_path_at(json, "rows", 0);
	EXPECT_EQ(json_path_int(row, "source", 0), WORLD_CALLER);
	EXPECT_EQ(json_path_int(row, "service", 0), WORLD_SERVICE);
	EXPECT_EQ(json_path_int(row, "target", 0), 11);
	EXPECT_EQ(json_path_int(row, "requests", 0), 9);
	EXPECT_EQ(json_path_int(row, "retries", 0), 2);
	EXPECT_EQ(number(json_path(row, "codes"), 2), 8);
	EXPECT_EQ(number(json_path(row, "codes"), 5), 1);
	for (size_t i = 0; i < json_path_count(row, "timeNs"); i++)
		sum += number(json_path(row, "timeNs"), i);
	EXPECT_EQ(sum, 9);
	EXPECT(number(json_path(row, "timeNs"), json_path_count(row, "timeNs") - 1) > 0); /* no zeros at the end */
	EXPECT(json_path_int(row, "timeNsSum", 0) > 0);
	EXPECT_EQ(json_path_int(json_path_at(json, "places", 0), "port", -1), 0);
}

TEST(a_request_is_active_in_its_row_until_it_is_answered)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire client, endpoint;
	_cleanup_message_ struct message m = {}, asked = {};
	_cleanup_json_ json_t *during = NULL, *after = NULL;

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	program(w, &client);
	wire_say(&client, GET("/"));
	backend_accept(w, 1, &endpoint);
	wire_read(&endpoint, &asked);
	during = l7_json(w->l7);
	EXPECT_EQ(json_path_int(json_path_at(during, "rows", 0), "active", -1), 1);
	EXPECT_EQ(json_path_int(json_path_at(during, "rows", 0), "requests", -1), 0);
	wire_say(&endpoint, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_read(&client, &m);
	EXPECT_COUNT(w, "totals.requestsActive", 0);
	after = l7_json(w->l7);
	EXPECT_EQ(json_path_int(json_path_at(after, "rows", 0), "active", -1), 0);
	EXPECT_EQ(json_path_int(json_path_at(after, "rows", 0), "requests", -1), 1);
}

TEST(a_request_that_no_route_takes_has_a_row_without_a_target)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_json_ json_t *json = NULL;

	world_configure(w);
	EXPECT_EQ(ask_status(w, GET("/")), 404);
	EXPECT_REPLY(w, "no-route", 1);
	json = l7_json(w->l7);
	EXPECT_EQ(json_path_count(json, "rows"), 1);
	EXPECT_EQ(json_path_int(json_path_at(json, "rows", 0), "target", -1), 0);
	EXPECT_EQ(number(json_path(json_path_at(json, "rows", 0), "codes"), 4), 1);
}

TEST(many_rows_are_told_whole_in_order_and_each_once)
{
	enum { ROWS = 10000 }; /* of each worker, half of them the other one's too */
	_cleanup_world_ struct l7_world *w = l7_world_new(2);
	_cleanup_json_ json_t *json = NULL;
	uint64_t requests = 0;
	json_t *row;
	size_t i;

	for (unsigned int worker = 0; worker < 2; worker++)
		for (uint32_t n = 0; n < ROWS; n++) {
			struct stats_row *counted = stats_row_get(&w->l7->workers[worker]->stats, 1 + n % 7, 1 + n / 7, 1 + n + worker * ROWS / 2);

			counted->requests += UINT64_C(1) << 53;
			counted->time_ns[HISTOGRAM_BUCKETS - 1] = 1;
		}
	w->l7->workers[0]->stats.others.requests = 5;
	json = l7_json(w->l7);
	EXPECT_EQ(json_path_count(json, "rows"), 2 * ROWS + 1);
	json_array_foreach(json_object_get(json, "rows"), i, row) {
		const json_t *before = i ? json_array_get(json_object_get(json, "rows"), i - 1) : NULL;

		requests += (uint64_t)json_path_int(row, "requests", 0);
		if (before)
			EXPECT(json_path_int(before, "source", 0) <= json_path_int(row, "source", 0));
	}
	EXPECT_EQ(requests, 2ull * ROWS * (UINT64_C(1) << 53) + 5);
	EXPECT_EQ(json_path_int(json_path_at(json, "rows", 0), "source", -1), 0); /* the row for all others */
}

/* The row of a route; NULL as the name: of what none took. */
static const json_t *route_row(const json_t *json, const char *name)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(json, "routes"), i, row)
		if (!strcmp(json_path_string(row, "route") ?: "", name ?: ""))
			return row;
	fail_msg("there is no route '%s'", name ?: "");
	return NULL;
}

static int64_t took(const struct l7_world *w, const char *name, size_t code)
{
	_cleanup_json_ json_t *json = l7_json(w->l7);

	return number(json_object_get(route_row(json, name), "codes"), code);
}

TEST(requests_are_told_by_the_route_that_took_them_over_all_workers)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(2);
	_cleanup_json_ json_t *json = NULL;
	const json_t *row;

	given_http_route(w, "one", "{'prefix':'/status'}", "11", NULL);
	given_http_route(w, "two", "{'prefix':'/bytes'}", "11 12", NULL);
	given_http_route(w, "slow", "{'prefix':'/slow'}", "13", "'timeout': {'perRequest': {'unit': 'ms', 'value': 50}}");
	given_http_route(w, "lost", "{'prefix':'/lost'}", "0", NULL);
	world_configure(w);
	backend_serve(w, 1);
	backend_serve(w, 2);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(ask_status(w, GET("/bytes/10")), 200);
	EXPECT_EQ(ask_status(w, GET("/status/503")), 503); /* and two more, by the default policy */
	EXPECT_EQ(ask_status(w, GET("/status/404")), 404);
	EXPECT_EQ(ask_status(w, GET("/nowhere")), 404);
	EXPECT_EQ(ask_status(w, GET("/lost")), 503);
	EXPECT_EQ(ask_status(w, GET("/slow")), 504); /* the third backend does not answer */
	EXPECT_COUNT(w, "totals.requestsActive", 0);

	json = l7_json(w->l7);
	EXPECT_EQ(json_path_count(json, "routes"), 5);
	EXPECT_EQ(number(json_path(route_row(json, "lost"), "codes"), 5), 1); /* to no virtual node that there is */
	row = route_row(json, "two");
	EXPECT_EQ(json_path_int(row, "source", 0), WORLD_CALLER);
	EXPECT_EQ(json_path_int(row, "service", 0), WORLD_SERVICE);
	EXPECT_EQ(number(json_path(row, "codes"), 2), 8);
	EXPECT_EQ(json_path_int(row, "retries", -1), 0);
	row = route_row(json, "one");
	EXPECT_EQ(number(json_path(row, "codes"), 4), 1);
	EXPECT_EQ(number(json_path(row, "codes"), 5), 1);
	EXPECT_EQ(json_path_int(row, "retries", -1), 2);
	EXPECT_EQ(json_path_int(row, "timeouts", -1), 0);
	row = route_row(json, "slow");
	EXPECT_EQ(number(json_path(row, "codes"), 5), 1);
	EXPECT_EQ(json_path_int(row, "timeouts", -1), 1);
	row = route_row(json, NULL);
	EXPECT_EQ(json_path_int(row, "service", 0), WORLD_SERVICE);
	EXPECT_EQ(number(json_path(row, "codes"), 4), 1);
}

static void nothing(struct worker *worker, void *arg)
{
	(void)worker, (void)arg;
}

/* And its worker has it. */
static void configure_one(struct l7_world *w)
{
	world_configure(w);
	EXPECT_OK(worker_run(w->l7->workers[0], nothing, NULL));
}

static void ask_once_more(struct l7_world *w, struct wire *client)
{
	_cleanup_message_ struct message answer = {};

	wire_say(client, GET("/"));
	wire_read(client, &answer);
	EXPECT_COUNT(w, "totals.requestsActive", 0);
}

TEST(a_route_that_changes_or_goes_and_comes_again_counts_on)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(1);
	_cleanup_wire_ struct wire client = {};

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	configure_one(w);
	backends_serve(w);
	program(w, &client); /* one connection: what it was counted by before is not taken for what it is now */
	ask_once_more(w, &client);
	EXPECT_EQ(took(w, "r", 2), 1);
	given_no_routes(w);
	given_http_route(w, "other", "{'prefix':'/'}", "11", NULL);
	configure_one(w);
	ask_once_more(w, &client);
	EXPECT_EQ(took(w, "r", 2), 1);
	EXPECT_EQ(took(w, "other", 2), 1);
	given_no_routes(w);
	given_http_route(w, "r", "{'prefix':'/'}", "12", NULL);
	configure_one(w);
	ask_once_more(w, &client);
	EXPECT_EQ(took(w, "r", 2), 2);
	EXPECT_EQ(world_counted(w, "totals.requests"), 3);
}

TEST(routes_beyond_the_limit_are_counted_as_one)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(2);
	_cleanup_json_ json_t *json = NULL;

	for (unsigned int worker = 0; worker < 2; worker++)
		for (uint32_t n = 0; n < STATS_ROWS_MAX + 10; n++)
			stats_route_get(&w->l7->workers[worker]->stats, 1, 1, 1 + n)->codes[2]++;
	stats_route_get(&w->l7->workers[0]->stats, 1, 1, ROUTE_NUMBER_OTHER)->codes[2]++;
	json = l7_json(w->l7);
	EXPECT_EQ(json_path_count(json, "routes"), STATS_ROWS_MAX + 1);
	EXPECT_EQ(json_path_int(json_path_at(json, "routes", 0), "source", -1), 0);
	EXPECT_EQ(number(json_path(json_path_at(json, "routes", 0), "codes"), 2), 21);
	EXPECT_EQ(number(json_path(json_path_at(json, "routes", 1), "codes"), 2), 2);
}

TEST(what_is_tried_at_an_endpoint_is_counted_in_its_slot)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(2);
	const struct endpoint *slot = &w->endpoints[1];

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(ask_status(w, GET("/bytes/10")), 200);
	EXPECT_EQ(ask_status(w, GET("/status/503")), 503); /* three tries */
	EXPECT_EQ(ask_status(w, GET("/status/404")), 404);
	WAIT_FOR(__atomic_load_n(&slot->requests, __ATOMIC_RELAXED) >= 9, WORLD_WAIT_MS * NSEC_PER_MSEC); /* each second */
	EXPECT_EQ(__atomic_load_n(&slot->requests, __ATOMIC_RELAXED), 9);
	EXPECT_EQ(__atomic_load_n(&slot->request_failures, __ATOMIC_RELAXED), 3);
	EXPECT_EQ(w->endpoints[2].requests, 0);
}

TEST(what_an_endpoint_was_sent_is_in_its_slot_when_the_proxy_ends)
{
	_cleanup_world_ struct l7_world *w = l7_world_new(2);

	given_http_route(w, "r", "{'prefix':'/'}", "11", NULL);
	world_configure(w);
	backend_serve(w, 1);
	EXPECT_EQ(ask_status(w, GET("/bytes/10")), 200);
	w->l7 = l7_free(w->l7);
	EXPECT_EQ(w->endpoints[1].requests, 1);
	EXPECT_EQ(w->endpoints[1].request_failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_told_by_caller_service_and_target_over_all_workers),
		cmocka_unit_test(a_request_is_active_in_its_row_until_it_is_answered),
		cmocka_unit_test(a_request_that_no_route_takes_has_a_row_without_a_target),
		cmocka_unit_test(many_rows_are_told_whole_in_order_and_each_once),
		cmocka_unit_test(requests_are_told_by_the_route_that_took_them_over_all_workers),
		cmocka_unit_test(a_route_that_changes_or_goes_and_comes_again_counts_on),
		cmocka_unit_test(routes_beyond_the_limit_are_counted_as_one),
		cmocka_unit_test(what_is_tried_at_an_endpoint_is_counted_in_its_slot),
		cmocka_unit_test(what_an_endpoint_was_sent_is_in_its_slot_when_the_proxy_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
