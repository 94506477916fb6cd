/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/http/target.h"
#include "tests/lib/test.h"
#include "tests/unit/http_events.h"

static const char *events(const char *data, size_t length, size_t piece_bytes)
{
	static struct buffer text;

	buffer_clear(&text);
	print_events(data, length, piece_bytes, 256, &text);
	return buffer_string(&text);
}

static const char *events_of(const char *request)
{
	return events(request, strlen(request), strlen(request));
}

static const char two_requests[] = "GET /a?b HTTP/1.1\r\nHost: x\r\nEmpty:\r\nSpaces:  a b \r\n\r\n"
				   "PUT /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
				   "\r\nPOST /3 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";

TEST(messages_in_a_row_become_heads_bodies_and_ends)
{
	EXPECT_STR(events_of(two_requests),
		   "GET /a?b 1.1 0 Host=x Empty= Spaces=a b||END|"
		   "PUT /2 1.1 chunked 0 Host=x Transfer-Encoding=chunked|abcde|END|"
		   "POST /3 1.1 5 Content-Length=5|hello|END|");
}

TEST(wherever_the_bytes_are_cut_the_events_are_the_same)
{
	char expected[1024];

	snprintf(expected, sizeof(expected), "%s", events_of(two_requests));
	for (size_t piece = 1; piece < sizeof(two_requests); piece++)
		EXPECT_STR(events(two_requests, strlen(two_requests), piece), expected);
}

TEST(nothing_is_looked_at_after_the_last_message)
{
	const char *garbage_after_close = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n\1\2 no HTTP";

	EXPECT_STR(events_of(garbage_after_close), "GET / 1.1 close 0 Connection=close||END|CLOSED");
	EXPECT_STR(events_of("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "GET / 1.0 close 0||END|CLOSED");
	EXPECT_STR(events_of("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\1\2"),
		   "GET / 1.1 close 0 Connection=upgrade Upgrade=x||END|CLOSED");
	EXPECT_STR(events_of("CONNECT a:1 HTTP/1.1\r\n\r\n\1\2"), "CONNECT a:1 1.1 close 0||END|CLOSED");
}

TEST(nothing_is_looked_at_after_a_failure)
{
	const char *bad = "GET / HTTP/1.1\r\nbad", *good = "GET / HTTP/1.1\r\n\r\n", *p = bad;
	size_t length = strlen(bad) - 3;
	struct http_codec *codec;
	struct http_event event;

	EXPECT_OK(http_codec_new(256, &codec));
	EXPECT_EQ(http_codec_next(codec, &p, &length, &event), HTTP_EVENT_MORE);
	p = "\1";
	length = 1;
	EXPECT_EQ(http_codec_next(codec, &p, &length, &event), HTTP_EVENT_FAILED);
	EXPECT_EQ(event.status, 400);
	p = good;
	length = strlen(good);
	EXPECT_EQ(http_codec_next(codec, &p, &length, &event), HTTP_EVENT_FAILED);
	EXPECT_EQ(event.status, 400);
	EXPECT(event.reason && p == good && length == strlen(good));
	http_codec_free(codec);
}

static const struct {
	const char *request, *outcome; /* how the events end */
} bad_requests[] = {
	{ "no HTTP\r\n\r\n", "FAILED 400" },
	{ "\x16\x03\x01\x02", "FAILED 400" }, /* a TLS hello */
	{ "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "FAILED 400" },
	{ "GET / HTTP/1.1\r\nA b: x\r\n\r\n", "FAILED 400" },
	{ "GET / HTTP/1.1\r\n: x\r\n\r\n", "FAILED 400" },
	{ "GET /\t HTTP/1.1\r\n\r\n", "FAILED 400" },
	{ "GET /\xc3\xa9 HTTP/1.1\r\n\r\n", "FAILED 400" },
	{ "GET / HTTP/1.1\r\nA: \1\r\n\r\n", "FAILED 400" },
	{ "GET / HTTP/2.0\r\n\r\n", "FAILED 505" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "FAILED 505" },
	{ "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "FAILED 400" },
	{ "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "FAILED 400" },
	{ "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "FAILED 400" },
	{ "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "FAILED 400" },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "FAILED 400" },
	{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "FAILED 400" },
	{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "FAILED 400" },
};

TEST(what_is_no_request_fails_with_a_status)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_requests); i++) {
		const char *text = events_of(bad_requests[i].request), *failed = strstr(text, "FAILED");

		if (!failed || strncmp(failed, bad_requests[i].outcome, strlen(bad_requests[i].outcome)) != 0)
			fail_msg("'%s' gives %s", bad_requests[i].request, text);
	}
}

/* A request of `before`, `filler` bytes of 'x', and `after`. */
static const char *filled(const char *before, size_t filler, const char *after, size_t piece)
{
	static char request[32 * 1024];

	snprintf(request, sizeof(request), "%s%0*d%s", before, (int)filler, 0, after);
	return events(request, strlen(request), piece ? piece : strlen(request));
}

#define CHUNKED "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

TEST(heads_and_what_is_between_have_a_limit_to_the_byte)
{
	const size_t fixed = strlen("GET / HTTP/1.1\r\nA: \r\n\r\n");

	for (size_t piece = 0; piece < 3; piece++) {
		EXPECT_CONTAINS(filled("GET / HTTP/1.1\r\nA: ", 256 - fixed, "\r\n\r\n", piece), "|END|");
		EXPECT_CONTAINS(filled("GET / HTTP/1.1\r\nA: ", 257 - fixed, "\r\n\r\n", piece), "FAILED 431");
		EXPECT_CONTAINS(filled("GET /", 300, " HTTP/1.1\r\n\r\n", piece), "FAILED 431");
		EXPECT_CONTAINS(filled(CHUNKED "1;", 300, "\r\nx\r\n0\r\n\r\n", piece), "FAILED 400 too much between");
		EXPECT_CONTAINS(filled(CHUNKED "0\r\nA: ", 300, "\r\n\r\n", piece), "FAILED 400 too much between");
		EXPECT_CONTAINS(filled("PUT / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", 9000, "", piece), "0|END|");
	}
}

TEST(a_request_may_have_100_headers)
{
	char request[HTTP_HEADERS_MAX * 8 + 64] = "GET / HTTP/1.1\r\n";
	_cleanup_(buffer_done) struct buffer text = {};

	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		strcat(request, "A:b\r\n");
	strcat(request, "\r\n");
	print_events(request, strlen(request), 1, 4096, &text);
	EXPECT_CONTAINS(buffer_string(&text), "END");
	buffer_clear(&text);
	strcpy(request + strlen(request) - 2, "A:b\r\n\r\n");
	print_events(request, strlen(request), 1, 4096, &text);
	EXPECT_CONTAINS(buffer_string(&text), "FAILED 431");
}

/* ---- targets ---- */

TEST(a_target_is_decoded_into_path_and_parameters)
{
	struct http_target target;

	EXPECT_OK(http_target_init("/a%20b+c?from=mesh%2fM&text=x+y%3D&flag&&empty=&from=second", &target));
	EXPECT_STR(target.path, "/a b+c");
	EXPECT_STR(http_target_parameter(&target, "from"), "mesh/M");
	EXPECT_STR(http_target_parameter(&target, "text"), "x y=");
	EXPECT_STR(http_target_parameter(&target, "flag"), "");
	EXPECT_STR(http_target_parameter(&target, "empty"), "");
	EXPECT_STR(http_target_parameter(&target, "absent"), NULL);
	http_target_done(&target);

	EXPECT_OK(http_target_init("http://weft/v1/status?x=1", &target));
	EXPECT_STR(target.path, "/v1/status");
	EXPECT_STR(http_target_parameter(&target, "x"), "1");
	http_target_done(&target);
}

TEST(a_target_that_gives_no_text_is_refused)
{
	static const char *const bad[] = { "",	    "*",       "a:80",	  "/%",	   "/%4",     "/%zz",	    "/%00",
					   "/%ff",  "/?a=%00", "/?%c0%af", "/a#b", "http://", "http://host", "/%ed%a0%80" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_target target;

		if (http_target_init(bad[i], &target) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_in_a_row_become_heads_bodies_and_ends),
		cmocka_unit_test(wherever_the_bytes_are_cut_the_events_are_the_same),
		cmocka_unit_test(nothing_is_looked_at_after_the_last_message),
		cmocka_unit_test(nothing_is_looked_at_after_a_failure),
		cmocka_unit_test(what_is_no_request_fails_with_a_status),
		cmocka_unit_test(heads_and_what_is_between_have_a_limit_to_the_byte),
		cmocka_unit_test(a_request_may_have_100_headers),
		cmocka_unit_test(a_target_is_decoded_into_path_and_parameters),
		cmocka_unit_test(a_target_that_gives_no_text_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
