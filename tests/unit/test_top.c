/* SPDX-License-Identifier: Apache-2.0 */
/* `weft top` without a terminal: rates become text, keys change the view. */
#include <errno.h>

#include "agent/ctl/top_screen.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/unit/test_top.h"

/* --- text ------------------------------------------------------------------------------------------------------------------------------------ */

static const struct top_view everything = { .sort = TOP_CONNECTIONS, .bold = "", .plain = "" };

static char *text_of(const struct top *top, const struct top_view *view)
{
	struct buffer out = {};

	EXPECT_OK(top_print(top, view, &out));
	return buffer_take(&out) ?: calloc(1, 1);
}

static struct top_row row_of(const char *service, double connections)
{
	return (struct top_row){ .from = FULL_NODE("web"), .service = service, .target = FULL_NODE("pay-v1:8080"), .connections = connections };
}

TEST(a_table_without_a_limit_shows_every_column_with_short_names)
{
	struct top_row row = {
		.from = FULL_NODE("web"), .service = FULL_SERVICE("pay.shop"), .target = FULL_NODE("pay-v1:8080"), .connections = 1234.4,
		.open = 17, .failures = 0.25, .reason = "refused", .resets = 12, .rtt_ns = 85000, .connect_p50_ns = 1500000,
		.connect_p99_ns = 2000000000, .sent = 1536, .received = 0.4,
	};
	const struct top top = { .rows = &row, .row_count = 1 };
	_cleanup_free_ char *text = text_of(&top, &everything);

	EXPECT_STR(text, "FROM  SERVICE   TARGET       CONN/S   OPEN  FAIL/S  REASON    RESET/S     RTT     P50     P99     OUT/S      IN/S\n"
			 "web   pay.shop  pay-v1:8080    1234     17     0.2  refused        12    85us   1.5ms      2s   1.5 KiB       0 B\n");
}

TEST(names_say_their_mesh_where_there_are_several)
{
	struct top_row rows[] = { row_of("mesh/a/virtualService/pay", 2), row_of("mesh/b/virtualService/pay", 1) };
	const struct top top = { .rows = rows, .row_count = 2 };
	_cleanup_free_ char *text = NULL;

	rows[0].from = "mesh/a/virtualNode/x";
	rows[1].from = "mesh/b/virtualNode/x";
	text = text_of(&top, &everything);
	EXPECT_CONTAINS(text, "a/x ");
	EXPECT_CONTAINS(text, "b/pay ");
}

static void expect_sizes(const char *text, size_t width, size_t lines)
{
	size_t count = 0;

	for (const char *at = text, *end; *at; at = end + 1, count++) {
		size_t characters = 0;

		end = strchr(at, '\n');
		EXPECT(end);
		for (const char *c = at; c < end; c++)
			characters += ((unsigned char)*c & 0xc0) != 0x80;
		if (characters > width)
			fail_msg("%zu characters where %zu have room: %.*s", characters, width, (int)(end - at), at);
		EXPECT(utf8_sequence(at, (size_t)(end - at)) || at == end);
	}
	if (count > lines)
		fail_msg("%zu lines where %zu have room: %s", count, lines, text);
}

TEST(a_narrow_terminal_leaves_columns_out_and_cuts_names_between_characters)
{
	/* given: names of two-byte characters, longer than any column */
	char service[400] = "mesh/shop/virtualService/";
	struct top_row row = row_of(service, 5);
	const struct top top = { .rows = &row, .row_count = 1 };

	for (size_t i = strlen(service); i < 200; i += 2)
		memcpy(service + i, "\xc3\xbc", 3);
	for (size_t width = 40; width < 220; width++) {
		struct top_view view = everything;
		_cleanup_free_ char *text = NULL;

		view.width = width;
		text = text_of(&top, &view);
		expect_sizes(text, width, 2);
		EXPECT_CONTAINS(text, "CONN/S");
		if (width < 160)
			EXPECT_CONTAINS(text, "\xc3\xbc~");
		EXPECT(utf8_sequence(strstr(text, "\xc3"), 2) == 2);
		if (width >= 80) { /* what a plain terminal has shows what counts */
			EXPECT_CONTAINS(text, "TARGET");
			EXPECT_CONTAINS(text, "OUT/S");
			EXPECT_CONTAINS(text, "P99");
			EXPECT_CONTAINS(text, "FAIL/S");
		}
		if (width >= 130)
			EXPECT_CONTAINS(text, "RESET/S");
	}
}

TEST(a_low_terminal_says_how_many_rows_it_has_no_room_for)
{
	struct top_row rows[30];
	struct top_endpoint endpoints[30];
	const struct top top = { .rows = rows, .row_count = 30, .endpoints = endpoints, .endpoint_count = 30 };

	for (size_t i = 0; i < 30; i++) {
		rows[i] = row_of(FULL_SERVICE("pay"), (double)i);
		endpoints[i] = (struct top_endpoint){ .target = FULL_NODE("pay-v1:8080"), .address = "10.0.0.1:80", .health = "up" };
	}
	for (size_t height = 1; height < 70; height++) {
		struct top_view view = everything;
		_cleanup_free_ char *text = NULL;

		view.width = 100;
		view.height = height;
		view.endpoints = true;
		text = text_of(&top, &view);
		expect_sizes(text, 100, height);
		EXPECT_EQ(height >= 2 && height < 63, strstr(text, "more\n") != NULL);
		EXPECT_EQ(height > 6, strstr(text, "ENDPOINT OF") != NULL);
		if (height == 11) /* of 11 lines 4 are for endpoints: 7 - 1 - 1 */
			EXPECT_CONTAINS(text, "... and 25 more\n");
	}
}

static struct top_request request_of(const char *target, double requests, double success)
{
	return (struct top_request){ .from = FULL_NODE("web"), .service = FULL_SERVICE("pay"), .target = target, .requests = requests,
				     .success = success };
}

TEST(requests_are_a_table_of_their_own_between_connections_and_endpoints)
{
	struct top_row row = row_of(FULL_SERVICE("pay"), 2);
	struct top_request requests[] = { request_of(FULL_NODE("a:80"), 12.34, 99.994), request_of(FULL_NODE("b:80"), 0, -1) };
	const struct top top = { .rows = &row, .row_count = 1, .requests = requests, .request_count = 2 };
	struct top_view view = everything;
	_cleanup_free_ char *text = NULL;

	requests[0].active = 3;
	requests[0].p99_ns = 1500000;
	view.endpoints = true;
	text = text_of(&top, &view);
	EXPECT_CONTAINS(text, "\n\nREQUESTS OF  SERVICE  TARGET   REQ/S   OK %  RETRY/S  ACTIVE     P50     P99     OUT/S      IN/S\n"
			      "web          pay      a:80        12  99.99        0       3       -   1.5ms       0 B       0 B\n"
			      "web          pay      b:80         0      -        0       0       -       -       0 B       0 B\n"
			      "\nENDPOINT OF");
	free(TAKE_PTR(text));
	view.filter = "nothing";
	text = text_of(&top, &view);
	EXPECT(!strstr(text, "REQUESTS OF")); /* where there are none there is no table */
}

TEST(requests_by_route_are_in_the_place_of_those_by_target)
{
	struct top_row row = row_of(FULL_SERVICE("pay"), 2);
	struct top_request request = request_of(FULL_NODE("a:80"), 1, 50);
	struct top_route routes[] = {
		{ .from = FULL_NODE("web"), .service = FULL_SERVICE("pay"), .route = "all", .requests = 3, .success = 50, .retries = 1, .timeouts = 0.5 },
		{ .from = FULL_NODE("web"), .service = FULL_SERVICE("pay"), .requests = 2, .success = 100 },
		{ .from = FULL_NODE("in"), .route = "entry", .requests = 7, .success = -1 },
	};
	const struct top top = { .rows = &row, .row_count = 1, .requests = &request, .request_count = 1, .routes = routes, .route_count = 3 };
	struct top_view view = everything;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *object = NULL;

	view.routes = true;
	text = text_of(&top, &view);
	EXPECT(!strstr(text, "a:80"));
	EXPECT_CONTAINS(text, "\n\nREQUESTS OF  SERVICE  ROUTE    REQ/S   OK %  RETRY/S  TIME-OUT/S\n"
			      "in           -        entry      7.0      -        0           0\n"
			      "web          pay      all        3.0  50.00      1.0         0.5\n"
			      "web          pay      -          2.0    100        0           0\n");
	free(TAKE_PTR(text));
	view.filter = "entry";
	text = text_of(&top, &view);
	EXPECT_CONTAINS(text, "\nin ");
	EXPECT(!strstr(text, "\nweb          pay      all"));
	object = top_json(&top, &view);
	EXPECT_EQ(json_path_count(object, "routes"), 1);
	EXPECT(json_is_null(json_object_get(json_path_at(object, "routes", 0), "to")));
	EXPECT_RATE(json_real_value(json_object_get(json_path_at(object, "routes", 0), "requestsPerSecond")), 7);
}

TEST(names_say_their_mesh_where_a_route_is_of_another_one)
{
	struct top_row row = row_of(FULL_SERVICE("pay"), 2);
	struct top_route route = { .from = "mesh/other/virtualGateway/in", .route = "entry", .requests = 7 };
	const struct top top = { .rows = &row, .row_count = 1, .routes = &route, .route_count = 1 };
	struct top_view view = everything;
	_cleanup_free_ char *text = NULL;

	view.routes = true;
	text = text_of(&top, &view);
	EXPECT_CONTAINS(text, "shop/web");
	EXPECT_CONTAINS(text, "other/in");
}

TEST(each_table_is_sorted_by_the_column_or_by_its_first_number)
{
	struct top_request requests[] = { request_of(FULL_NODE("a:80"), 1, 50), request_of(FULL_NODE("b:80"), 3, 100), request_of(FULL_NODE("c:80"), 2, -1) };
	const struct top top = { .requests = requests, .request_count = 3 };
	static const struct {
		enum top_column sort;
		bool reverse;
		const char *order;
	} cases[] = {
		{ TOP_CONNECTIONS, false, "bca" }, { TOP_REQUESTS, false, "bca" }, { TOP_SUCCESS, false, "bac" },
		{ TOP_SUCCESS, true, "cab" },	   { TOP_TARGET, false, "abc" },   { TOP_TARGET, true, "cba" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct top_view view = everything;
		_cleanup_free_ char *text = NULL;
		char order[4] = "";
		char *line;

		view.sort = cases[i].sort;
		view.reverse = cases[i].reverse;
		text = text_of(&top, &view);
		line = strchr(strstr(text, "REQUESTS OF"), '\n');
		for (int n = 0; n < 3; n++, line = strchr(line + 1, '\n'))
			order[n] = line[1 + strlen("web          pay      ")];
		EXPECT_STR(order, cases[i].order);
	}
}

TEST(three_tables_share_any_height)
{
	struct top_row rows[30];
	struct top_request requests[30];
	struct top_endpoint endpoints[30];
	const struct top top = { .rows = rows, .row_count = 30, .requests = requests, .request_count = 30, .endpoints = endpoints, .endpoint_count = 30 };

	for (size_t i = 0; i < 30; i++) {
		rows[i] = row_of(FULL_SERVICE("pay"), (double)i);
		requests[i] = request_of(FULL_NODE("a:80"), 1, 100);
		endpoints[i] = (struct top_endpoint){ .target = FULL_NODE("pay-v1:8080"), .address = "10.0.0.1:80", .health = "up" };
	}
	for (size_t height = 1; height < 110; height++) {
		struct top_view view = everything;
		_cleanup_free_ char *text = NULL;

		view.width = 100;
		view.height = height;
		view.endpoints = true;
		text = text_of(&top, &view);
		expect_sizes(text, 100, height);
		EXPECT_EQ(height >= 2 && height < 95, strstr(text, "more\n") != NULL);
		EXPECT_EQ(height >= 6, strstr(text, "REQUESTS OF") != NULL);
		EXPECT_EQ(height > 10, strstr(text, "ENDPOINT OF") != NULL);
	}
}

TEST(rows_are_sorted_by_any_column_numbers_down_and_names_up)
{
	struct top_row rows[] = { row_of(FULL_SERVICE("b"), 1), row_of(FULL_SERVICE("c"), 3), row_of(FULL_SERVICE("a"), 3) };
	const struct top top = { .rows = rows, .row_count = 3 };
	static const struct {
		enum top_column sort;
		bool reverse;
		const char *order;
	} cases[] = {
		{ TOP_CONNECTIONS, false, "acb" }, { TOP_CONNECTIONS, true, "bac" }, { TOP_SERVICE, false, "abc" },
		{ TOP_SERVICE, true, "cba" },	   { TOP_OPEN, false, "bac" },	     { TOP_RTT, false, "cba" },
	};

	rows[0].open = 1; /* b */
	rows[1].rtt_ns = 9; /* c */
	rows[0].rtt_ns = 8;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct top_view view = everything;
		_cleanup_free_ char *text = NULL;
		char order[4] = "";
		char *line;

		view.sort = cases[i].sort;
		view.reverse = cases[i].reverse;
		text = text_of(&top, &view);
		line = strchr(text, '\n');
		for (int n = 0; n < 3; n++, line = strchr(line + 1, '\n'))
			order[n] = line[1 + strlen("web   ")];
		EXPECT_STR(order, cases[i].order);
	}
}

TEST(a_filter_lets_pass_what_has_it_in_a_name_or_address)
{
	struct top_row rows[] = { row_of(FULL_SERVICE("Payment"), 1), row_of(FULL_SERVICE("cart"), 2), row_of(NULL, 3) };
	struct top_endpoint endpoints[] = { { .target = FULL_NODE("pay-v1:8080"), .address = "10.0.0.1:80", .health = "up" },
					    { .target = FULL_NODE("other:8080"), .address = "10.0.0.2:80", .health = "up" } };
	const struct top top = { .rows = rows, .row_count = 3, .endpoints = endpoints, .endpoint_count = 2 };
	struct top_view view = everything;
	_cleanup_free_ char *text = NULL;

	rows[0].target = rows[2].target = NULL;
	view.endpoints = true;
	view.filter = "pay";
	text = text_of(&top, &view);
	EXPECT_CONTAINS(text, "Payment"); /* in any case */
	EXPECT_CONTAINS(text, "cart"); /* by its target */
	EXPECT_CONTAINS(text, "10.0.0.1:80");
	EXPECT(!strstr(text, "10.0.0.2:80"));
	EXPECT(!strstr(text, "\nweb   -"));

	free(TAKE_PTR(text));
	view.filter = "0.0.2:";
	text = text_of(&top, &view);
	EXPECT(!strstr(text, "cart"));
	EXPECT_CONTAINS(text, "10.0.0.2:80");

	free(TAKE_PTR(text));
	view.filter = "virtual"; /* the words of kinds are no names */
	text = text_of(&top, &view);
	EXPECT(!strstr(text, "web"));
}

TEST(columns_have_names_to_sort_by)
{
	for (int i = 0; i < TOP_COLUMN_COUNT; i++)
		EXPECT_EQ(top_column_by_name(top_column_name((enum top_column)i)), i);
	EXPECT_EQ(top_column_by_name("CONN/S"), TOP_CONNECTIONS);
	EXPECT_EQ(top_column_by_name("speed"), -EINVAL);
}

TEST(json_has_full_names_and_what_is_not_known_is_null)
{
	struct top_row row = row_of(FULL_SERVICE("pay"), 2.5);
	struct top_request request = request_of(FULL_NODE("a:80"), 1.5, -1);
	const struct top top = { .rows = &row, .row_count = 1, .requests = &request, .request_count = 1, .interval_ns = 1000, .generation = 7,
				 .open_known = true };
	_cleanup_json_ json_t *object = NULL;
	const json_t *first;

	row.target = NULL;
	row.connect_p99_ns = 55;
	request.active = 4;
	object = top_json(&top, &everything);
	EXPECT_EQ(json_path_int(object, "generation", 0), 7);
	EXPECT_EQ(json_path_int(object, "intervalNs", 0), 1000);
	EXPECT_EQ(json_path_count(object, "rows"), 1);
	first = json_path_at(object, "rows", 0);
	EXPECT_STR(json_path_string(first, "to"), FULL_SERVICE("pay"));
	EXPECT_RATE(json_real_value(json_object_get(first, "connectionsPerSecond")), 2.5);
	EXPECT(json_is_null(json_object_get(first, "target")));
	EXPECT(json_is_null(json_object_get(first, "connectP50Ns")));
	EXPECT_EQ(json_path_int(first, "connectP99Ns", 0), 55);
	first = json_path_at(object, "requests", 0);
	EXPECT_STR(json_path_string(first, "target"), FULL_NODE("a:80"));
	EXPECT_RATE(json_real_value(json_object_get(first, "requestsPerSecond")), 1.5);
	EXPECT(json_is_null(json_object_get(first, "successPercent")));
	EXPECT_EQ(json_path_int(first, "active", 0), 4);
}

/* --- keys ------------------------------------------------------------------------------------------------------------------------------------ */

static void type(struct top_screen *screen, const char *text)
{
	for (; *text; text++)
		top_screen_key(screen, (unsigned char)*text);
}

static char *drawn(const struct top_screen *screen, const char *trouble)
{
	struct top_row row = row_of(FULL_SERVICE("pay"), 1);
	const struct top top = { .rows = &row, .row_count = 1, .interval_ns = NSEC_PER_SEC, .generation = 7, .open_known = true };
	struct buffer out = {};

	EXPECT_OK(top_screen_draw(screen, &top, trouble, &out));
	return buffer_take(&out);
}

static struct top_screen screen_of(size_t height)
{
	return (struct top_screen){ .view = { .sort = TOP_CONNECTIONS, .bold = "", .plain = "", .width = 120, .height = height }, .instance = "default" };
}

TEST(a_filter_is_typed_taken_and_cleared)
{
	struct top_screen screen = screen_of(20);
	_cleanup_free_ char *text = NULL;

	type(&screen, "fq\xc3\xbcx"); /* q is text here */
	EXPECT(screen.typing && !screen.quit);
	top_screen_key(&screen, TOP_KEY_BACKSPACE);
	EXPECT_STR(screen.filter, "q\xc3\xbc");
	top_screen_key(&screen, TOP_KEY_BACKSPACE); /* a whole character */
	EXPECT_STR(screen.filter, "q");
	text = drawn(&screen, NULL);
	EXPECT_CONTAINS(text, "filter: q_");
	EXPECT(!strstr(text, "web")); /* works while it is typed */
	top_screen_key(&screen, TOP_KEY_ENTER);
	EXPECT(!screen.typing);
	EXPECT_STR(screen.filter, "q");

	type(&screen, "f");
	top_screen_key(&screen, TOP_KEY_ESCAPE);
	EXPECT_STR(screen.filter, "");
	EXPECT(!screen.typing);
	for (int i = 0; i < 3; i++)
		top_screen_key(&screen, TOP_KEY_BACKSPACE);
}

TEST(a_filter_longer_than_its_room_is_not_taken_further)
{
	struct top_screen screen = screen_of(20);

	type(&screen, "f");
	for (int i = 0; i < 200; i++)
		type(&screen, "x");
	EXPECT_EQ(strlen(screen.filter), TOP_FILTER_BYTES - 1);
}

TEST(keys_sort_reverse_pause_show_routes_and_endpoints_and_quit)
{
	struct top_screen screen = screen_of(20);
	_cleanup_free_ char *text = NULL;

	type(&screen, "s");
	EXPECT_EQ(screen.view.sort, TOP_OPEN);
	for (int i = 0; i < TOP_COLUMN_COUNT; i++)
		type(&screen, "s");
	EXPECT_EQ(screen.view.sort, TOP_OPEN);
	type(&screen, "rpoe");
	EXPECT(screen.view.reverse && screen.paused && screen.view.routes && screen.view.endpoints);
	text = drawn(&screen, NULL);
	EXPECT_CONTAINS(text, "by open reversed");
	EXPECT_CONTAINS(text, "PAUSED");
	EXPECT_CONTAINS(text, "ENDPOINT OF");
	type(&screen, "rpoe!\t");
	EXPECT(!screen.view.reverse && !screen.paused && !screen.view.routes && !screen.view.endpoints && !screen.quit);
	type(&screen, "q");
	EXPECT(screen.quit);
}

TEST(help_lists_every_key_and_any_key_leaves_it)
{
	struct top_screen screen = screen_of(20);
	_cleanup_free_ char *text = NULL;

	type(&screen, "?");
	text = drawn(&screen, NULL);
	for (const char *key = "srfoepq?"; *key; key++) {
		char line[8];

		snprintf(line, sizeof(line), "\n  %c  ", *key);
		EXPECT_CONTAINS(text, line);
	}
	type(&screen, "q"); /* leaves the help, not the program */
	EXPECT(!screen.help && !screen.quit);
}

TEST(trouble_is_shown_beside_the_last_figures)
{
	struct top_screen screen = screen_of(20);
	_cleanup_free_ char *text = drawn(&screen, "weftd is not running");

	EXPECT_CONTAINS(text, "weftd is not running");
	EXPECT_CONTAINS(text, "pay-v1:8080");
}

TEST(what_is_drawn_fits_any_height)
{
	for (size_t height = 1; height < 12; height++) {
		struct top_screen screen = screen_of(height);
		_cleanup_free_ char *text = NULL;

		screen.view.endpoints = true;
		text = drawn(&screen, NULL);
		expect_sizes(text, 120, height);
		free(TAKE_PTR(text));
		screen.help = true;
		text = drawn(&screen, NULL);
		expect_sizes(text, 120, height);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_without_a_limit_shows_every_column_with_short_names),
		cmocka_unit_test(names_say_their_mesh_where_there_are_several),
		cmocka_unit_test(a_narrow_terminal_leaves_columns_out_and_cuts_names_between_characters),
		cmocka_unit_test(a_low_terminal_says_how_many_rows_it_has_no_room_for),
		cmocka_unit_test(requests_by_route_are_in_the_place_of_those_by_target),
		cmocka_unit_test(requests_are_a_table_of_their_own_between_connections_and_endpoints),
		cmocka_unit_test(names_say_their_mesh_where_a_route_is_of_another_one),
		cmocka_unit_test(each_table_is_sorted_by_the_column_or_by_its_first_number),
		cmocka_unit_test(three_tables_share_any_height),
		cmocka_unit_test(rows_are_sorted_by_any_column_numbers_down_and_names_up),
		cmocka_unit_test(a_filter_lets_pass_what_has_it_in_a_name_or_address),
		cmocka_unit_test(columns_have_names_to_sort_by),
		cmocka_unit_test(json_has_full_names_and_what_is_not_known_is_null),
		cmocka_unit_test(a_filter_is_typed_taken_and_cleared),
		cmocka_unit_test(a_filter_longer_than_its_room_is_not_taken_further),
		cmocka_unit_test(keys_sort_reverse_pause_show_routes_and_endpoints_and_quit),
		cmocka_unit_test(help_lists_every_key_and_any_key_leaves_it),
		cmocka_unit_test(trouble_is_shown_beside_the_last_figures),
		cmocka_unit_test(what_is_drawn_fits_any_height),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
