/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/ctl/client.h"
#include "agent/ctl/dns.h"
#include "agent/ctl/format.h"
#include "agent/ctl/get.h"
#include "agent/ctl/grid.h"
#include "agent/ctl/netns.h"
#include "agent/ctl/target.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static const char *name_of(const char *full_name)
{
	static char buffer[NAME_TEXT_BYTES];

	return format_name(full_name, buffer);
}

TEST(a_full_name_is_shown_without_the_words_for_its_kinds)
{
	EXPECT_STR(name_of("mesh/shop"), "shop");
	EXPECT_STR(name_of("mesh/shop/virtualNode/web"), "shop/web");
	EXPECT_STR(name_of("mesh/shop/virtualNode/pay-v1:8080"), "shop/pay-v1:8080");
	EXPECT_STR(name_of("mesh/shop/virtualRouter/pay/route/r"), "shop/pay/r");
}

TEST(what_is_no_full_name_is_shown_as_it_is)
{
	EXPECT_STR(name_of("deleted#17"), "deleted#17");
	EXPECT_STR(name_of("meshes/are/fun"), "meshes/are/fun");
	EXPECT_STR(name_of(NULL), "-");
}

TEST(a_name_too_long_to_show_says_so)
{
	char longest[600] = "mesh/";

	memset(longest + 5, 'x', 400);
	EXPECT_EQ(strlen(name_of(longest)), NAME_TEXT_BYTES - 1);
	EXPECT_STR(name_of(longest) + NAME_TEXT_BYTES - 5, "x...");
	memset(longest, 'y', 405);
	EXPECT_STR(name_of(longest) + NAME_TEXT_BYTES - 5, "y...");
}

TEST(bytes_have_at_most_three_digits_and_a_unit)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },		{ 999, "999 B" },	  { 1000, "1.0 KiB" },	    { 1536, "1.5 KiB" },
		{ 10240, "10 KiB" },	{ 1023487, "999 KiB" },	  { 1024 * 1024, "1.0 MiB" }, { 99999999, "95 MiB" },
		{ 1ull << 40, "1.0 TiB" }, { UINT64_MAX, "16 EiB" },
	};
	char buffer[FORMAT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_STR(format_bytes(cases[i].bytes, buffer), cases[i].text);
}

TEST(members_that_are_absent_null_or_of_another_type_show_as_a_dash)
{
	_cleanup_json_ json_t *object = json_pack("{s:n, s:s, s:i, s:i}", "none", "text", "x", "spanNs", 1500, "minus", -1);
	char buffer[NAME_TEXT_BYTES];

	EXPECT_STR(format_member_span(object, "none", buffer), "-");
	EXPECT_STR(format_member_span(object, "text", buffer), "-");
	EXPECT_STR(format_member_count(object, "minus", buffer), "-");
	EXPECT_STR(format_member_bytes(object, "absent", buffer), "-");
	EXPECT_STR(format_member_name(object, "spanNs", buffer), "-");
	EXPECT_STR(format_member_span(object, "spanNs", buffer), "1.5us");
}

TEST(control_characters_in_an_answer_cannot_reach_a_terminal)
{
	/* given: an escape sequence, its 8-bit form (U+009B), a line feed, and text that only looks like them */
	_cleanup_json_ json_t *answer = json_pack("{s:[s, {s:s}], s:s, s:i}", "list", "a\x1b[31mb", "deep", "x\n\x7fy",
						  "k\x1by", "\xc2\x9b" "31m", "number", 5);

	EXPECT(answer);

	EXPECT_OK(format_clean(answer));

	EXPECT_STR(json_string_value(json_path_at(answer, "list", 0)), "a?[31mb");
	EXPECT_STR(json_path_string(json_path_at(answer, "list", 1), "deep"), "x??y");
	EXPECT_STR(json_path_string(answer, "k?y"), "??31m");
	EXPECT(!json_object_get(answer, "k\x1by"));
	EXPECT_EQ(json_path_int(answer, "number", 0), 5);
	EXPECT_EQ(json_object_size(answer), 3);
}

TEST(text_in_any_language_is_left_alone)
{
	_cleanup_json_ json_t *text = json_string("Z\xc3\xbcrich \xe4\xb8\xad \xc2\xa0");

	EXPECT_OK(format_clean(text));
	EXPECT_STR(json_string_value(text), "Z\xc3\xbcrich \xe4\xb8\xad \xc2\xa0");
}

static char *printed(const struct grid *grid)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	EXPECT(file);
	EXPECT_OK(grid_print(grid, file));
	fclose(file);
	return text;
}

TEST(a_table_aligns_text_left_and_numbers_right)
{
	static const struct grid_column columns[] = { { .title = "NAME" }, { "COUNT", true }, { .title = "TEXT" }, {} };
	_cleanup_(grid_done) struct grid grid;
	_cleanup_free_ char *text = NULL;

	grid_init(&grid, columns);
	grid_add(&grid, "a");
	grid_printf(&grid, "%d", 12345678);
	grid_add(&grid, "first");
	grid_add(&grid, "longer");
	grid_add(&grid, "7");
	grid_add(&grid, NULL);
	text = printed(&grid);
	EXPECT_EQ(grid_rows(&grid), 2);
	EXPECT_STR(text, "NAME       COUNT  TEXT\n"
			 "a       12345678  first\n"
			 "longer         7  -\n");
}

TEST(a_table_counts_characters_and_not_bytes)
{
	static const struct grid_column columns[] = { { .title = "N" }, { .title = "X" }, {} };
	_cleanup_(grid_done) struct grid grid;
	_cleanup_free_ char *text = NULL;

	grid_init(&grid, columns);
	grid_add(&grid, "\xc3\xbc\xc3\xbc"); /* two characters of two bytes */
	grid_add(&grid, "x");
	grid_add(&grid, "abc");
	grid_add(&grid, "y");
	text = printed(&grid);
	EXPECT_STR(text, "N    X\n\xc3\xbc\xc3\xbc   x\nabc  y\n");
}

TEST(what_goes_to_a_file_has_no_colour)
{
	_cleanup_fclose_ FILE *file = tmpfile();

	EXPECT(file);
	EXPECT_STR(style(file, STYLE_BAD), "");
	EXPECT_STR(style(file, STYLE_PLAIN), "");
}

TEST(kinds_are_understood_in_any_case_hyphenated_and_in_the_plural)
{
	EXPECT_STR(get_kind("virtualNode"), "virtualNode");
	EXPECT_STR(get_kind("virtual-nodes"), "virtualNode");
	EXPECT_STR(get_kind("VIRTUALSERVICES"), "virtualService");
	EXPECT_STR(get_kind("meshes"), "mesh");
	EXPECT_STR(get_kind("gateway-route"), "gatewayRoute");
	EXPECT_STR(get_kind("route"), "route");
	EXPECT_STR(get_kind("virtualNodex"), NULL);
	EXPECT_STR(get_kind(""), NULL);
	EXPECT_STR(get_kind("a-word-that-is-longer-than-any-kind-there-is"), NULL);
}

TEST(a_namespace_is_a_name_below_run_netns_or_a_path)
{
	char path[32];
	struct error err = {};

	EXPECT_OK(ctl_netns_path("blue", path, sizeof(path), &err), &err);
	EXPECT_STR(path, "/run/netns/blue");
	EXPECT_OK(ctl_netns_path("/proc/1/ns/net", path, sizeof(path), &err), &err);
	EXPECT_STR(path, "/proc/1/ns/net");
	EXPECT_EQ(ctl_netns_path("", path, sizeof(path), &err), -EINVAL);
	EXPECT_STR(err.field, "--netns");
	EXPECT_EQ(ctl_netns_path("a-name-longer-than-the-buffer-has-room", path, sizeof(path), &err), -EINVAL);
}

/* A weftd that answers one request: what it was asked goes to `heard`. */
struct fake {
	char path[64];
	const char *status, *body;
	char heard[4096];
	int listener;
	pthread_t thread;
};

static void *fake_answer(void *arg)
{
	struct fake *fake = arg;
	_cleanup_close_ int fd = accept(fake->listener, NULL, NULL);
	size_t length = 0;
	ssize_t n;

	while ((n = read(fd, fake->heard + length, sizeof(fake->heard) - 1 - length)) > 0) {
		const char *end, *length_at;

		length += (size_t)n;
		fake->heard[length] = '\0';
		end = strstr(fake->heard, "\r\n\r\n");
		length_at = strstr(fake->heard, "Content-Length: ");
		if (end && (!length_at || strlen(end + 4) >= strtoul(length_at + strlen("Content-Length: "), NULL, 10)))
			break;
	}
	dprintf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", fake->status, strlen(fake->body), fake->body);
	return NULL;
}

static void fake_start(struct fake *fake, const char *status, const char *body)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	fake->status = status;
	fake->body = body;
	snprintf(fake->path, sizeof(fake->path), "/tmp/weft-test-ctl-%d.sock", (int)getpid());
	strcpy(address.sun_path, fake->path);
	fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EXPECT_OK(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)));
	EXPECT_OK(listen(fake->listener, 1));
	EXPECT_EQ(pthread_create(&fake->thread, NULL, fake_answer, fake), 0);
}

static void fake_stop(struct fake *fake)
{
	pthread_join(fake->thread, NULL);
	fd_close(fake->listener);
	unlink(fake->path);
}

TEST(a_request_carries_its_parameters_escaped_and_leaves_out_those_not_given)
{
	const struct parameter parameters[] = { { "from", "mesh/a b/virtualNode/c&d" }, { "none", NULL }, { "open", "1" }, {} };
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};
	struct fake fake = {};

	fake_start(&fake, "200 OK", "{\"ok\": 1}");
	const struct ctl ctl = { .instance = "test", .socket = fake.path };
	EXPECT_OK(client_call(&ctl, "GET", "/v1/connections", parameters, NULL, &answer, &err), &err);
	fake_stop(&fake);
	EXPECT_EQ(json_path_int(answer, "ok", 0), 1);
	EXPECT_CONTAINS(fake.heard, "GET /v1/connections?from=mesh%2Fa%20b%2FvirtualNode%2Fc%26d&open=1 HTTP/1.1\r\n");
}

TEST(an_error_of_weftd_keeps_its_words_its_field_and_the_code_of_its_status)
{
	_cleanup_json_ json_t *answer = NULL, *body = json_pack("{s:i}", "pid", 7);
	struct error err = {};
	struct fake fake = {};

	fake_start(&fake, "409 Conflict", "{\"error\": \"taken\", \"field\": \"pid\"}");
	const struct ctl ctl = { .instance = "test", .socket = fake.path };
	EXPECT_EQ(client_call(&ctl, "POST", "/v1/workloads", NULL, body, &answer, &err), -EBUSY);
	fake_stop(&fake);
	EXPECT(!answer);
	EXPECT_STR(err.message, "taken");
	EXPECT_STR(err.field, "pid");
	EXPECT_CONTAINS(fake.heard, "POST /v1/workloads HTTP/1.1\r\n");
	EXPECT_CONTAINS(fake.heard, "\r\n\r\n{\"pid\":7}");
}

TEST(an_answer_that_is_no_json_object_is_an_error)
{
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};
	struct fake fake = {};

	fake_start(&fake, "200 OK", "hello");
	const struct ctl ctl = { .instance = "test", .socket = fake.path };
	EXPECT_EQ(client_call(&ctl, "GET", "/v1/status", NULL, NULL, &answer, &err), -EPROTO);
	fake_stop(&fake);
}

TEST(where_nobody_listens_the_message_names_what_starts_weftd)
{
	const struct ctl ctl = { .instance = "blue", .socket = "/tmp/weft-test-ctl-nobody.sock" };
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};

	EXPECT_EQ(client_call(&ctl, "GET", "/v1/status", NULL, NULL, &answer, &err), -ECONNREFUSED);
	EXPECT_CONTAINS(err.message, "`weftd --instance blue` starts it");
}

/* ---- weft dns ---- */

static const char *dns_text(int (*print)(const json_t *answer, FILE *to), json_t *answer)
{
	static char text[4096];
	_cleanup_json_ json_t *owned = answer;
	FILE *file = fmemopen(text, sizeof(text), "w");

	EXPECT(answer);
	EXPECT(file);
	EXPECT_OK(print(answer, file));
	fclose(file);
	return text;
}

TEST(a_name_of_the_mesh_is_shown_with_its_addresses_and_whom_the_node_asks)
{
	const char *text = dns_text(dns_print_lookup,
				    json_pack("{s:s, s:s, s:s, s:s, s:s, s:n, s:i, s:s, s:s, s:[{s:s, s:n}, {s:s, s:s}], s:n}", "from",
					      "mesh/m/virtualNode/n", "name", "pay.example", "source", "mesh", "service",
					      "mesh/m/virtualService/pay.example", "v4", "240.240.0.1", "v6", "ttlSeconds", 10,
					      "reason", "answered", "text", "a name of the mesh", "resolvers", "resolver", "10.0.0.2",
					      "reason", "resolver", "::1", "reason", "lo is down", "bypass"));

	EXPECT_STR(text, "from         m/n\n"
			 "name         pay.example\n"
			 "source       mesh\n"
			 "outcome      answered: a name of the mesh\n"
			 "service      m/pay.example\n"
			 "A            240.240.0.1\n"
			 "AAAA         -\n"
			 "TTL          10\n"
			 "resolvers    10.0.0.2\n"
			 "             ::1 (past weft: lo is down)\n");
}

TEST(a_name_that_nobody_answers_at_the_moment_says_so)
{
	const char *text = dns_text(dns_print_lookup, json_pack("{s:s, s:s, s:n, s:s}", "source", "resolver", "reason", "forwarded",
								"resolvers", "bypass", "weft-proxy is not there"));

	EXPECT_CONTAINS(text, "outcome      forwarded: -\n");
	EXPECT_CONTAINS(text, "note         weft-proxy is not there\n");
	EXPECT(!strstr(text, "resolvers")); /* they are not known */
}

TEST(the_responder_is_shown_with_its_outcomes_its_places_and_what_goes_past_it)
{
	const char *text = dns_text(
		dns_print_responder,
		json_pack("{s:{s:s, s:i, s:s, s:n, s:i}, s:{s:i, s:i, s:i}, s:[{s:s, s:s, s:i, s:s}], s:[{s:i, s:s, s:[{s:s, s:s, s:n, s:i, "
			  "s:i}, {s:s, s:n, s:s}]}, {s:i, s:s, s:[]}], s:[{s:i, s:i, s:s, s:b}, {s:i, s:i, s:s, s:i}], s:{s:i}}",
			  "proxy", "state", "running", "pid", 7, "version", "0.1.0", "lastEnd", "restarts", 0, "outcomes", "answered", 12,
			  "forwarded", 3, "stray", 0, "reasons", "from", "mesh/m/virtualNode/n", "reason", "dns-bypass", "count", 2, "text",
			  "past", "places", "netnsCookie", 40, "node", "mesh/m/virtualNode/n", "resolvers", "resolver", "10.0.0.2",
			  "address", "127.53.0.1:15053", "reason", "queries", 15, "underWay", 1, "resolver", "10.0.0.3", "address", "reason",
			  "lo is down", "netnsCookie", 41, "node", "mesh/m/virtualNode/n", "resolvers", "workloads", "workload", 3,
			  "netnsCookie", 40, "node", "mesh/m/virtualNode/n", "nscd", 1, "workload", 5, "netnsCookie", 40, "node",
			  "mesh/m/virtualNode/n", "leftOut", 2, "leftOut", "places", 9));

	EXPECT_CONTAINS(text, "weft-proxy   running, version 0.1.0, process 7, since -\n             heartbeat - ago, restarts 0\n");
	EXPECT_CONTAINS(text, "answered        12  a name of the mesh, with an address\nforwarded        3  ");
	EXPECT(!strstr(text, "stray"));
	EXPECT_CONTAINS(text, "queries past weft-proxy:\nFROM  REASON      COUNT  MEANING\nm/n   dns-bypass      2  past\n");
	EXPECT_CONTAINS(text, "m/n                     40  3, 5       10.0.0.2  127.53.0.1:15053       15          1  -\n");
	EXPECT_CONTAINS(text, "                                       10.0.0.3  -                       -          -  lo is down\n");
	EXPECT_CONTAINS(text, "m/n                     41  -          none      -");
	EXPECT_CONTAINS(text, "workload 3: a name service cache daemon");
	EXPECT_CONTAINS(text, "workload 5: 2 nameserver lines");
	EXPECT_CONTAINS(text, "left out for want of room: 9 places\n");
}

TEST(queries_are_shown_with_how_they_ended)
{
	const char *text = dns_text(dns_print_queries,
				    json_pack("{s:[{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i}]}", "queries", "time", "T", "node",
					      "mesh/m/virtualNode/n", "resolver", "10.0.0.2", "name", "a.b", "type", "A", "transport", "udp",
					      "outcome", "forwarded", "rcode", "NXDOMAIN", "ns", 1500));

	EXPECT_STR(text, "TIME  FROM  NAME  TYPE  RESOLVER  BY   OUTCOME    RCODE      TOOK\n"
			 "T     m/n   a.b   A     10.0.0.2  udp  forwarded  NXDOMAIN  1.5us\n");
	EXPECT_STR(dns_text(dns_print_queries, json_pack("{s:[]}", "queries")), "no queries\n");
}

TEST(a_resource_is_named_in_full_or_by_its_arn)
{
	static const struct {
		const char *text, *full_name; /* NULL: none */
	} cases[] = {
		{ "mesh/m", "mesh/m" },
		{ "mesh/m/virtualNode/n", "mesh/m/virtualNode/n" },
		{ "mesh/m/virtualRouter/r/route/t", "mesh/m/virtualRouter/r/route/t" },
		{ "mesh/m/virtualGateway/g/gatewayRoute/t", "mesh/m/virtualGateway/g/gatewayRoute/t" },
		{ "arn:aws:appmesh:eu-west-1:123456789012:mesh/m/virtualService/s.local", "mesh/m/virtualService/s.local" },
		{ "", NULL },
		{ "m", NULL },
		{ "mesh", NULL },
		{ "mesh/", NULL },
		{ "mesh/m/", NULL },
		{ "mesh/m/virtualNode", NULL },
		{ "mesh/m/virtualNode/n/x/y/z/a", NULL },
		{ "mesh/m/route/t", NULL },
		{ "mesh/m/virtualNode/n/route/t", NULL },
		{ "mesh/m/virtualRouter/r/virtualNode/n", NULL },
		{ "virtualNode/n", NULL },
		{ "mesh/m/mesh/n", NULL },
		{ "arn:aws:appmesh", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(target_done) struct target target = {};
		struct error err = {};
		const int r = target_parse(&target, cases[i].text, &err);

		EXPECT_EQ(r, cases[i].full_name ? 0 : -EINVAL);
		EXPECT_STR(target.full_name, cases[i].full_name);
	}
}

TEST(what_others_name_comes_before_them)
{
	static const enum resource_kind order[] = { RESOURCE_MESH,	     RESOURCE_VIRTUAL_NODE,    RESOURCE_ROUTE,
						    RESOURCE_VIRTUAL_SERVICE, RESOURCE_GATEWAY_ROUTE };

	for (size_t i = 1; i < ARRAY_SIZE(order); i++)
		EXPECT(target_rank(order[i - 1]) < target_rank(order[i]));
	EXPECT(target_rank(RESOURCE_VIRTUAL_ROUTER) < target_rank(RESOURCE_ROUTE));
	EXPECT(target_rank(RESOURCE_VIRTUAL_GATEWAY) < target_rank(RESOURCE_GATEWAY_ROUTE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_resource_is_named_in_full_or_by_its_arn),
		cmocka_unit_test(what_others_name_comes_before_them),
		cmocka_unit_test(a_full_name_is_shown_without_the_words_for_its_kinds),
		cmocka_unit_test(what_is_no_full_name_is_shown_as_it_is),
		cmocka_unit_test(a_name_too_long_to_show_says_so),
		cmocka_unit_test(bytes_have_at_most_three_digits_and_a_unit),
		cmocka_unit_test(members_that_are_absent_null_or_of_another_type_show_as_a_dash),
		cmocka_unit_test(control_characters_in_an_answer_cannot_reach_a_terminal),
		cmocka_unit_test(text_in_any_language_is_left_alone),
		cmocka_unit_test(a_table_aligns_text_left_and_numbers_right),
		cmocka_unit_test(a_table_counts_characters_and_not_bytes),
		cmocka_unit_test(what_goes_to_a_file_has_no_colour),
		cmocka_unit_test(kinds_are_understood_in_any_case_hyphenated_and_in_the_plural),
		cmocka_unit_test(a_namespace_is_a_name_below_run_netns_or_a_path),
		cmocka_unit_test(a_request_carries_its_parameters_escaped_and_leaves_out_those_not_given),
		cmocka_unit_test(an_error_of_weftd_keeps_its_words_its_field_and_the_code_of_its_status),
		cmocka_unit_test(an_answer_that_is_no_json_object_is_an_error),
		cmocka_unit_test(where_nobody_listens_the_message_names_what_starts_weftd),
		cmocka_unit_test(a_name_of_the_mesh_is_shown_with_its_addresses_and_whom_the_node_asks),
		cmocka_unit_test(a_name_that_nobody_answers_at_the_moment_says_so),
		cmocka_unit_test(the_responder_is_shown_with_its_outcomes_its_places_and_what_goes_past_it),
		cmocka_unit_test(queries_are_shown_with_how_they_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
