/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/http/target.h"
#include "tests/lib/test.h"
#include "tests/unit/http_events.h"

static const char *events_on(enum http_side side, const char *data, size_t length, size_t piece_bytes)
{
	static struct buffer text;

	buffer_clear(&text);
	print_events(side, data, length, piece_bytes, 256, &text);
	return buffer_string(&text);
}

static const char *events(const char *data, size_t length, size_t piece_bytes)
{
	return events_on(HTTP_REQUESTS, data, length, piece_bytes);
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
		   "POST /3 1.1 5 Content-Length=5|hello|END|CLOSED");
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
	struct http_head head = {};
	struct http_codec *codec;
	struct http_event event;

	EXPECT_OK(http_codec_new(HTTP_REQUESTS, 256, &codec));
	EXPECT_EQ(http_codec_next(codec, &head, &p, &length, &event), HTTP_EVENT_MORE);
	p = "\1";
	length = 1;
	EXPECT_EQ(http_codec_next(codec, &head, &p, &length, &event), HTTP_EVENT_FAILED);
	p = good;
	length = strlen(good);
	EXPECT_EQ(http_codec_next(codec, &head, &p, &length, &event), HTTP_EVENT_FAILED);
	EXPECT_EQ(http_refusal_status(event.refusal), 400);
	EXPECT(p == good && length == strlen(good));
	EXPECT_EQ(http_codec_end(codec, &event), HTTP_EVENT_FAILED);
	http_codec_free(codec);
	http_head_done(&head);
}

TEST(the_end_right_behind_a_response_is_none_of_it)
{
	const char *p = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	size_t length = strlen(p);
	struct http_head head = {};
	struct http_codec *codec;
	struct http_event event;

	EXPECT_OK(http_codec_new(HTTP_RESPONSES, 256, &codec));
	EXPECT_EQ(http_codec_next(codec, &head, &p, &length, &event), HTTP_EVENT_HEAD);
	EXPECT_EQ(http_codec_next(codec, &head, &p, &length, &event), HTTP_EVENT_END);
	EXPECT_EQ(http_codec_end(codec, &event), HTTP_EVENT_CLOSED);
	http_codec_free(codec);
	http_head_done(&head);
}

#define LINE "GET / HTTP/1.1\r\n"
#define CHUNKED "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *request, *refusal;
} bad_requests[] = {
	{ "no HTTP\r\n\r\n", "400 bad-method" },
	{ "get / HTTP/1.1\r\n\r\n", "400 bad-method" },
	{ "\x16\x03\x01\x02", "400 bad-method" }, /* a TLS hello */
	{ "GET / \r\n\r\n", "400 bad-syntax" },
	{ "GET /\r\n\r\n", "505 bad-version" }, /* HTTP/0.9 */
	{ "GET  / HTTP/1.1\r\n\r\n", "400 bad-syntax" },
	{ "GET /  HTTP/1.1\r\n\r\n", "400 bad-syntax" },
	{ "GET / HTTP/1.1 \r\n\r\n", "505 bad-version" },
	{ "SOURCE / ICE/1.0\r\n\r\n", "400 bad-syntax" },
	{ "GET /\t HTTP/1.1\r\n\r\n", "400 bad-target" },
	{ "GET /\xc3\xa9 HTTP/1.1\r\n\r\n", "400 bad-target" },
	{ "GET / HTTP/2.0\r\n\r\n", "505 bad-version" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 bad-version" },
	{ LINE "Host : x\r\n\r\n", "400 bad-header-name" },
	{ LINE "A b: x\r\n\r\n", "400 bad-header-name" },
	{ LINE ": x\r\n\r\n", "400 bad-header-name" },
	{ LINE "A\r\n\r\n", "400 bad-header-name" },
	{ LINE "A: \1\r\n\r\n", "400 bad-header-value" },
	{ LINE "A: b\nB: c\r\n\r\n", "400 bare-line-end" },
	{ "GET / HTTP/1.1\nA: b\r\n\r\n", "400 bare-line-end" },
	{ LINE "A: b\r\n\n", "400 bare-line-end" },
	{ LINE "A: b\rB: c\r\n\r\n", "400 bare-line-end" },
	{ "\nGET / HTTP/1.1\r\n\r\n", "400 bare-line-end" },
	{ LINE "A: b\r\n c\r\n\r\n", "400 folded-line" },
	{ LINE "A: b\r\n\tc\r\n\r\n", "400 folded-line" },
	{ LINE " A: b\r\n\r\n", "400 folded-line" },
	{ LINE "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "400 two-lengths" },
	{ LINE "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400 two-lengths" },
	{ LINE "Content-Length: 3, 3\r\n\r\nabc", "400 bad-length" },
	{ LINE "Content-Length: +3\r\n\r\nabc", "400 bad-length" },
	{ LINE "Content-Length: -3\r\n\r\nabc", "400 bad-length" },
	{ LINE "Content-Length: 0x3\r\n\r\nabc", "400 bad-length" },
	{ LINE "Content-Length: 3 4\r\n\r\nabc", "400 bad-length" },
	{ LINE "Content-Length:\r\n\r\nabc", "400 bad-length" },
	{ LINE "Content-Length: 99999999999999999999\r\n\r\n", "400 bad-length" },
	{ LINE "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 length-and-coding" },
	{ LINE "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400 length-and-coding" },
	{ LINE "Content-Length: 3\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", "400 length-and-coding" },
	{ LINE "Transfer-Encoding: gzip\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: gzip, chunked\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: chunked, chunked\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: chunked, identity\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: xchunked\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: \"chunked\"\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding:\r\n\r\n", "501 unknown-coding" },
	{ LINE "Transfer-Encoding: \vchunked\r\n\r\n", "400 bad-header-value" },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 coding-in-1.0" },
	{ CHUNKED "-1\r\n", "400 bad-chunk" },
	{ CHUNKED "0x1\r\nx\r\n", "400 bad-chunk" },
	{ CHUNKED " 1\r\nx\r\n", "400 folded-line" },
	{ CHUNKED "\r\n", "400 bad-chunk" },
	{ CHUNKED "fffffffffffffffff\r\n", "400 bad-chunk" },
	{ CHUNKED "1\nx\r\n0\r\n\r\n", "400 bare-line-end" },
	{ CHUNKED "1\rxx\r\n0\r\n\r\n", "400 bare-line-end" },
	{ CHUNKED "1\r\nxyz\r\n0\r\n\r\n", "400 b" },
	{ CHUNKED "1\r\nx0\r\n\r\n", "400 b" },
	{ CHUNKED "1\r\nx\n0\r\n\r\n", "400 bare-line-end" },
	{ CHUNKED "0\r\nA b: c\r\n\r\n", "400 bad-header-name" },
	{ CHUNKED "0\r\nA: c\n\r\n", "400 bare-line-end" },
	{ "GET / HT", "400 cut-off" },
	{ LINE "Content-Length: 3\r\n\r\nab", "400 cut-off" },
	{ CHUNKED "3\r\nab", "400 cut-off" },
	{ CHUNKED "3\r\nabc\r\n0\r\n", "400 cut-off" },
};

TEST(what_is_no_request_fails_with_a_status_and_a_reason_however_it_is_cut)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_requests); i++) {
		const size_t length = strlen(bad_requests[i].request);

		for (size_t piece = 1; piece <= length; piece++) {
			const char *text = events(bad_requests[i].request, length, piece), *failed = strstr(text, "FAILED ");

			if (!failed || strncmp(failed + 7, bad_requests[i].refusal, strlen(bad_requests[i].refusal)) != 0)
				fail_msg("'%s' in pieces of %zu gives %s, not %s", bad_requests[i].request, piece, text, bad_requests[i].refusal);
		}
	}
}

TEST(a_nul_outside_of_a_body_is_refused)
{
	static const char in_head[] = LINE "A: b\0c\r\n\r\n", in_target[] = "GET /\0 HTTP/1.1\r\n\r\n", in_chunk[] = CHUNKED "1;\0\r\n",
			  in_body[] = LINE "Content-Length: 1\r\n\r\n\0", after_version[] = "GET / HTTP/2.1\0\0\r\n\r\n";

	for (size_t piece = 1; piece < 60; piece++) {
		EXPECT_CONTAINS(events(in_head, sizeof(in_head) - 1, piece), "FAILED 400 ");
		EXPECT_CONTAINS(events(in_target, sizeof(in_target) - 1, piece), "FAILED 400 ");
		EXPECT_CONTAINS(events(in_chunk, sizeof(in_chunk) - 1, piece), "FAILED 400 ");
		EXPECT_CONTAINS(events(after_version, sizeof(after_version) - 1, piece), "FAILED 505 ");
		EXPECT_STR(events(in_body, sizeof(in_body) - 1, piece) + strlen("GET / 1.1 1 Content-Length=1|") + 1, "|END|CLOSED");
	}
}

/* A request of `before`, `filler` bytes of 'x', and `after`. */
static const char *filled(const char *before, size_t filler, const char *after, size_t piece)
{
	static char request[32 * 1024];

	snprintf(request, sizeof(request), "%s%0*d%s", before, (int)filler, 0, after);
	return events(request, strlen(request), piece ? piece : strlen(request));
}

TEST(heads_and_what_is_between_have_a_limit_to_the_byte)
{
	const size_t fixed = strlen("GET / HTTP/1.1\r\nA: \r\n\r\n");

	for (size_t piece = 0; piece < 3; piece++) {
		EXPECT_CONTAINS(filled("GET / HTTP/1.1\r\nA: ", 256 - fixed, "\r\n\r\n", piece), "|END|");
		EXPECT_CONTAINS(filled("GET / HTTP/1.1\r\nA: ", 257 - fixed, "\r\n\r\n", piece), "FAILED 431 head-too-large");
		EXPECT_CONTAINS(filled("GET /", 300, " HTTP/1.1\r\n\r\n", piece), "FAILED 414 target-too-long");
		EXPECT_CONTAINS(filled(CHUNKED "1;", 300, "\r\nx\r\n0\r\n\r\n", piece), "FAILED 400 framing-too-large");
		EXPECT_CONTAINS(filled(CHUNKED "0\r\nA: ", 300, "\r\n\r\n", piece), "FAILED 400 framing-too-large");
		EXPECT_CONTAINS(filled("PUT / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", 9000, "", piece), "0|END|");
	}
}

TEST(a_request_may_have_128_headers)
{
	char request[HTTP_HEADERS_MAX * 8 + 64] = "GET / HTTP/1.1\r\n";
	_cleanup_(buffer_done) struct buffer text = {};

	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		strcat(request, "A:b\r\n");
	strcat(request, "\r\n");
	print_events(HTTP_REQUESTS, request, strlen(request), 1, 4096, &text);
	EXPECT_CONTAINS(buffer_string(&text), "END");
	buffer_clear(&text);
	strcpy(request + strlen(request) - 2, "A:b\r\n\r\n");
	print_events(HTTP_REQUESTS, request, strlen(request), 1, 4096, &text);
	EXPECT_CONTAINS(buffer_string(&text), "FAILED 431 too-many-headers");
}

TEST(names_values_and_the_target_are_the_bytes_that_came)
{
	static const char request[] = "GET //a/../%2e?B=2&a=%20+ HTTP/1.1\r\nhOsT: x\r\nX-Amz-Date:\t a  b \t\r\nEmpty:  \r\nX-Amz-Date: \xc3\xa9\r\n\r\n";

	for (size_t piece = 1; piece < sizeof(request); piece++)
		EXPECT_STR(events(request, strlen(request), piece),
			   "GET //a/../%2e?B=2&a=%20+ 1.1 0 hOsT=x X-Amz-Date=a  b Empty= X-Amz-Date=\xc3\xa9||END|CLOSED");
}

/* ---- responses ---- */

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
	const char *response, *events;
} responses[] = {
	{ OK "Content-Length: 2\r\n\r\nab" OK "Content-Length: 0\r\n\r\n", "200 1.1 2 Content-Length=2|ab|END|200 1.1 0 Content-Length=0||END|CLOSED" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "200 1.1 chunked 0 Transfer-Encoding=chunked|a|END|CLOSED" },
	{ OK "\r\nto the end", "200 1.1 close 0|to the end|END|" },
	{ "HTTP/1.0 200 OK\r\n\r\n", "200 1.0 close 0||END|" },
	{ "HTTP/1.1 204 No Content\r\n\r\n" OK "\r\n", "204 1.1 0||END|200 1.1 close 0||END|" },
	{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 1.1 9 Content-Length=9||END|CLOSED" },
	{ "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\na", "100 1.1 0||END|200 1.1 1 Content-Length=1|a|END|CLOSED" },
	{ OK "Connection: close\r\nContent-Length: 1\r\n\r\nabc", "200 1.1 close 1 Connection=close Content-Length=1|a|END|CLOSED" },
	{ "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\1\2",
	  "101 1.1 close 0 Connection=upgrade Upgrade=x||END|CLOSED" },
	{ "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 1.1 0 Content-Length=0||END|CLOSED" },
};

TEST(responses_end_where_rfc_9112_says)
{
	const char *head = OK "Content-Length: 9\r\n\r\n" OK, *p = head;
	size_t length = strlen(head);
	struct http_head into = {};
	struct http_codec *codec;
	struct http_event event;

	for (size_t i = 0; i < ARRAY_SIZE(responses); i++)
		for (size_t piece = 1; piece <= strlen(responses[i].response); piece++)
			EXPECT_STR(events_on(HTTP_RESPONSES, responses[i].response, strlen(responses[i].response), piece), responses[i].events);

	EXPECT_OK(http_codec_new(HTTP_RESPONSES, 256, &codec));
	http_codec_answers_head(codec, true);
	EXPECT_EQ(http_codec_next(codec, &into, &p, &length, &event), HTTP_EVENT_HEAD);
	EXPECT_EQ(http_codec_next(codec, &into, &p, &length, &event), HTTP_EVENT_END);
	EXPECT_EQ(length, strlen(OK));
	http_codec_free(codec);
	http_head_done(&into);
}

static const struct {
	const char *response, *refusal;
} bad_responses[] = {
	{ "GET / HTTP/1.1\r\n\r\n", "bad-syntax" },
	{ "\r\n" OK "\r\n", "bad-syntax" },
	{ "HTTP/2.0 200 OK\r\n\r\n", "bad-version" },
	{ OK "Content-Length: 3\r\n\r\nab", "cut-off" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "cut-off" },
	{ OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "length-and-coding" },
	{ OK "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "two-lengths" },
	{ OK "Transfer-Encoding: gzip\r\n\r\nabcd", "unknown-coding" },
	{ OK "A: b\nSet-Cookie: c\r\n\r\n", "bare-line-end" },
	{ "HTTP/1.1 200 OK\nA: b\r\n\r\n", "bare-line-end" },
};

TEST(what_is_no_response_fails)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_responses); i++)
		for (size_t piece = 1; piece <= strlen(bad_responses[i].response); piece++) {
			const char *text = events_on(HTTP_RESPONSES, bad_responses[i].response, strlen(bad_responses[i].response), piece);

			if (!strstr(text, "FAILED") || !strstr(text, bad_responses[i].refusal))
				fail_msg("'%s' in pieces of %zu gives %s, not %s", bad_responses[i].response, piece, text, bad_responses[i].refusal);
		}
}

/* ---- targets ---- */

TEST(a_target_is_decoded_into_path_and_parameters)
{
	struct http_target target;

	EXPECT_OK(http_target_init(SPAN("/a%20b+c?from=mesh%2fM&text=x+y%3D&flag&&empty=&from=second"), &target));
	EXPECT_STR(target.path, "/a b+c");
	EXPECT_STR(http_target_parameter(&target, "from"), "mesh/M");
	EXPECT_STR(http_target_parameter(&target, "text"), "x y=");
	EXPECT_STR(http_target_parameter(&target, "flag"), "");
	EXPECT_STR(http_target_parameter(&target, "empty"), "");
	EXPECT_STR(http_target_parameter(&target, "absent"), NULL);
	http_target_done(&target);

	EXPECT_OK(http_target_init(SPAN("http://weft/v1/status?x=1"), &target));
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

		if (http_target_init(span_of(bad[i]), &target) != -EINVAL)
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
		cmocka_unit_test(what_is_no_request_fails_with_a_status_and_a_reason_however_it_is_cut),
		cmocka_unit_test(a_nul_outside_of_a_body_is_refused),
		cmocka_unit_test(responses_end_where_rfc_9112_says),
		cmocka_unit_test(what_is_no_response_fails),
		cmocka_unit_test(names_values_and_the_target_are_the_bytes_that_came),
		cmocka_unit_test(heads_and_what_is_between_have_a_limit_to_the_byte),
		cmocka_unit_test(the_end_right_behind_a_response_is_none_of_it),
		cmocka_unit_test(a_request_may_have_128_headers),
		cmocka_unit_test(a_target_is_decoded_into_path_and_parameters),
		cmocka_unit_test(a_target_that_gives_no_text_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
