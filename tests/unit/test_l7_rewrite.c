/* SPDX-License-Identifier: Apache-2.0 */
/* Heads on their way through the proxy: what goes, what stays, what is added. */
#include "agent/http/codec.h"
#include "agent/l7/rewrite.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static void head_read(enum http_side side, const char *text, struct http_head *head)
{
	const char *data = text;
	size_t length = strlen(text);
	struct http_codec *codec;
	struct http_event event;

	*head = (struct http_head){};
	EXPECT_OK(http_codec_new(side, 60 * 1024, &codec));
	EXPECT_EQ(http_codec_next(codec, head, &data, &length, &event), HTTP_EVENT_HEAD);
	http_codec_free(codec);
}

static struct request_rewrite plain(void)
{
	return (struct request_rewrite){
		.target = SPAN("/"),
		.host = SPAN("service"),
		.request_id = "an-id",
		.attempt = 1,
	};
}

/* What is sent, with its first line; until the next one. */
static const char *sent(const char *headers, const struct request_rewrite *rewrite)
{
	_cleanup_(http_head_done) struct http_head head;
	static struct buffer out;
	char text[8192];

	buffer_clear(&out);
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n", headers);
	head_read(HTTP_REQUESTS, text, &head);
	request_head_write(&out, &head, rewrite);
	EXPECT(!buffer_failed(&out));
	return buffer_string(&out);
}

static const char *answered(const char *text, const struct response_rewrite *rewrite)
{
	_cleanup_(http_head_done) struct http_head head;
	static struct buffer out;

	buffer_clear(&out);
	head_read(HTTP_RESPONSES, text, &head);
	response_head_write(&out, &head, rewrite);
	EXPECT(!buffer_failed(&out));
	return buffer_string(&out);
}

#define ADDED "x-forwarded-proto: http\r\nx-request-id: an-id\r\nx-envoy-attempt-count: 1\r\n\r\n"

TEST(headers_of_a_request_go_or_stay_by_their_names)
{
	static const struct {
		const char *headers, *kept;
	} rows[] = {
		{ "Host: a\r\nAccept: */*\r\naccept: b\r\nX-Empty:\r\n", "Host: a\r\nAccept: */*\r\naccept: b\r\nX-Empty: \r\n" },
		{ "Host: a\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: trailers\r\n", "Host: a\r\n" },
		{ "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", "Host: a\r\n" },
		{ "Host: a\r\nHTTP2-Settings: x\r\n", "Host: a\r\n" },
		{ "Host: a\r\nExpect: 100-continue\r\n", "Host: a\r\n" },
		{ "Host: a\r\nConnection: X-Mine , keep-alive\r\nX-Mine: 1\r\nx-mine: 2\r\nX-Mine-2: 3\r\n", "Host: a\r\nX-Mine-2: 3\r\n" },
		{ "Host: a\r\nConnection: ,\tX-B\t,\r\nConnection: x-c\r\nX-B: 1\r\nX-C: 2\r\n", "Host: a\r\n" },
		{ "Connection: Host, X-Forwarded-For\r\nHost: a\r\nX-Forwarded-For: c\r\n", "Host: a\r\nX-Forwarded-For: c\r\n" },
		{ "Host: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n",
		  "Host: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n" },
		{ "Host: a\r\nx-envoy-attempt-count: 7\r\nx-envoy-other: 1\r\n", "Host: a\r\nx-envoy-other: 1\r\n" },
		{ "Host: a\r\nX-Forwarded-Client-Cert: x\r\nX-Weft-Peer: y\r\nX-App-Mesh-Virtual-Service: z\r\n",
		  "Host: a\r\nX-Forwarded-Client-Cert: x\r\nX-Weft-Peer: y\r\nX-App-Mesh-Virtual-Service: z\r\n" },
		{ "Host: a\r\nServer: s\r\nDate: d\r\n", "Host: a\r\nServer: s\r\nDate: d\r\n" },
		{ "Host: a\r\nContent-Length: 3\r\nConnection: content-length\r\n", "Host: a\r\nContent-Length: 3\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct request_rewrite rewrite = plain();
		char expected[1024];

		snprintf(expected, sizeof(expected), "GET / HTTP/1.1\r\n%s" ADDED, rows[i].kept);
		EXPECT_STR(sent(rows[i].headers, &rewrite), expected);
	}
}

TEST(what_is_there_already_is_not_added_again)
{
	const struct request_rewrite rewrite = plain();

	EXPECT_STR(sent("Host: a\r\nX-Request-ID: mine\r\nX-Forwarded-Proto: https\r\n", &rewrite),
		   "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\nX-Forwarded-Proto: https\r\nx-envoy-attempt-count: 1\r\n\r\n");
}

TEST(host_is_added_kept_or_replaced)
{
	struct request_rewrite rewrite = plain();

	EXPECT_STR(sent("", &rewrite), "GET / HTTP/1.1\r\nhost: service\r\n" ADDED);
	EXPECT_STR(sent("Host:\r\n", &rewrite), "GET / HTTP/1.1\r\nHost: \r\n" ADDED);
	rewrite.host_replaced = true;
	EXPECT_STR(sent("Accept: x\r\nHost: a\r\n", &rewrite), "GET / HTTP/1.1\r\nhost: service\r\nAccept: x\r\n" ADDED);
}

TEST(a_gateway_believes_nothing_that_only_the_mesh_may_say)
{
	struct request_rewrite rewrite = plain();

	rewrite.from_outside = true;
	rewrite.attempt = 2;
	rewrite.forwarded_for = "10.0.0.9";
	rewrite.original_path = SPAN("/was?q");
	EXPECT_STR(sent("Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Weft-Peer: y\r\n"
			"X-Forwarded-Client-Cert: x\r\nX-Request-Id: theirs\r\nX-Forwarded-Proto: https\r\nX-Envoy-Original-Path: /lie\r\n"
			"Accept: x\r\n",
			&rewrite),
		   "GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nx-forwarded-for: 1.1.1.1,10.0.0.9\r\nx-forwarded-proto: http\r\n"
		   "x-request-id: an-id\r\nx-envoy-original-path: /was?q\r\nx-envoy-attempt-count: 2\r\n\r\n");
}

TEST(the_clients_address_is_put_behind_all_that_are_there)
{
	struct request_rewrite rewrite = plain();
	char headers[8192] = "Host: a\r\n";

	rewrite.forwarded_for = "fd00::9";
	EXPECT_CONTAINS(sent("Host: a\r\n", &rewrite), "\r\nx-forwarded-for: fd00::9\r\n");
	EXPECT_CONTAINS(sent("X-Forwarded-For: a\r\nHost: a\r\nx-forwarded-for: b, c\r\n", &rewrite),
			"\r\nx-forwarded-for: a,b, c,fd00::9\r\n");
	/* As many as there may be, each apart from the next: longer than what is added otherwise. */
	for (int i = 0; i < 62; i++)
		strcat(headers, "X-Forwarded-For:\r\nA: b\r\n");
	rewrite.forwarded_for = "fd00:1111:2222:3333:4444:5555:6666:7777";
	EXPECT_CONTAINS(sent(headers, &rewrite), ",,,fd00:1111:2222:3333:4444:5555:6666:7777\r\n");
}

TEST(an_upgrade_goes_through_where_it_may)
{
	struct request_rewrite rewrite = plain();

	rewrite.upgrade = true;
	EXPECT_STR(sent("Host: a\r\nConnection: Upgrade, X-A\r\nX-A: b\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n", &rewrite),
		   "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
		   "x-forwarded-proto: http\r\nx-request-id: an-id\r\nx-envoy-attempt-count: 1\r\nconnection: Upgrade\r\n\r\n");
}

TEST(a_chunked_body_stays_chunked)
{
	const struct request_rewrite rewrite = plain();

	EXPECT_STR(sent("Host: a\r\nTransfer-Encoding: Chunked\r\n", &rewrite),
		   "GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-proto: http\r\nx-request-id: an-id\r\nx-envoy-attempt-count: 1\r\n"
		   "transfer-encoding: chunked\r\n\r\n");
}

static struct response_rewrite answer(enum body_framing framing, const char *connection)
{
	return (struct response_rewrite){ .framing = framing, .connection = connection, .service_ms = 12, .date = "now" };
}

TEST(headers_of_an_answer_go_or_stay_by_their_names)
{
	static const struct {
		const char *text;
		enum body_framing framing;
		const char *connection, *expected;
	} rows[] = {
		{ "HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nServer: nginx\r\nX-A: b\r\n\r\n", FRAMING_LENGTH, NULL,
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\ndate: now\r\nserver: envoy\r\nx-envoy-upstream-service-time: 12\r\n\r\n" },
		{ "HTTP/1.1 299 Odd\r\nDate: then\r\nConnection: close, X-A\r\nX-A: b\r\nX-Envoy-Upstream-Service-Time: 1\r\n\r\n", FRAMING_CHUNKED,
		  "close",
		  "HTTP/1.1 299 \r\nDate: then\r\nserver: envoy\r\nx-envoy-upstream-service-time: 12\r\ntransfer-encoding: chunked\r\n"
		  "connection: close\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nKeep-Alive: 5\r\n\r\n", FRAMING_CLOSE, "close",
		  "HTTP/1.1 200 OK\r\nTrailer: x\r\ndate: now\r\nserver: envoy\r\nx-envoy-upstream-service-time: 12\r\nconnection: close\r\n\r\n" },
		{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", FRAMING_NONE, NULL,
		  "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\ndate: now\r\nserver: envoy\r\nx-envoy-upstream-service-time: 12\r\n\r\n" },
		{ "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", FRAMING_NONE, NULL,
		  "HTTP/1.1 204 No Content\r\ndate: now\r\nserver: envoy\r\nx-envoy-upstream-service-time: 12\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nConnection: content-length, date\r\nContent-Length: 3\r\nDate: then\r\n\r\n", FRAMING_LENGTH, NULL,
		  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\ndate: now\r\nserver: envoy\r\nx-envoy-upstream-service-time: 12\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\nUpgrade: h2c\r\n\r\n", FRAMING_LENGTH, "keep-alive",
		  "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\ndate: now\r\nserver: envoy\r\n"
		  "x-envoy-upstream-service-time: 12\r\nconnection: keep-alive\r\n\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct response_rewrite rewrite = answer(rows[i].framing, rows[i].connection);

		EXPECT_STR(answered(rows[i].text, &rewrite), rows[i].expected);
	}
}

TEST(an_answer_that_switches_protocols_says_so)
{
	struct response_rewrite rewrite = answer(FRAMING_NONE, NULL);

	rewrite.upgrade = true;
	EXPECT_STR(answered("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\nSec-WebSocket-Accept: k\r\n\r\n",
			    &rewrite),
		   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\nserver: envoy\r\n"
		   "connection: Upgrade\r\n\r\n");
}

TEST(as_many_headers_as_a_message_may_have_fit)
{
	_cleanup_(buffer_done) struct buffer text = {};
	const struct response_rewrite rewrite = answer(FRAMING_CHUNKED, "keep-alive");
	struct request_rewrite out = plain();
	const char *result;
	size_t names = 0;

	out.from_outside = true;
	out.forwarded_for = "1.2.3.4";
	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		buffer_add(&text, "a:\r\n");
	for (result = sent(buffer_string(&text), &out); (result = strstr(result, "\r\na: ")); result += 2)
		names++;
	EXPECT_EQ(names, HTTP_HEADERS_MAX);
	buffer_clear(&text);
	buffer_add(&text, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		buffer_add(&text, "a:\r\n");
	buffer_add(&text, "\r\n");
	EXPECT_CONTAINS(answered(buffer_string(&text), &rewrite), "\r\nconnection: keep-alive\r\n\r\n");
}

TEST(a_request_id_is_a_uuid_of_version_4)
{
	char id[REQUEST_ID_BYTES];

	EXPECT_STR(request_id_format(0, 0, id), "00000000-0000-4000-8000-000000000000");
	EXPECT_STR(request_id_format(UINT64_MAX, UINT64_MAX, id), "ffffffff-ffff-4fff-bfff-ffffffffffff");
	EXPECT_STR(request_id_format(0x0123456789abcdef, 0x0123456789abcdef, id), "01234567-89ab-4def-8123-456789abcdef");
}

TEST(a_list_names_a_token_in_any_case_and_with_any_spaces)
{
	_cleanup_(http_head_done) struct http_head head;

	head_read(HTTP_REQUESTS, "GET / HTTP/1.1\r\nHost: a\r\nConnection: a ,B\t,, c\r\nConnection: d\r\n\r\n", &head);
	EXPECT(header_names(&head, SPAN("connection"), SPAN("A")));
	EXPECT(header_names(&head, SPAN("Connection"), SPAN("b")));
	EXPECT(header_names(&head, SPAN("connection"), SPAN("c")));
	EXPECT(header_names(&head, SPAN("connection"), SPAN("d")));
	EXPECT(!header_names(&head, SPAN("connection"), SPAN("a ")));
	EXPECT(!header_names(&head, SPAN("connection"), SPAN("e")));
	EXPECT(!header_names(&head, SPAN("host"), SPAN("b")));
}

TEST(chunks_have_their_length_in_hexadecimal)
{
	_cleanup_(buffer_done) struct buffer out = {};

	chunk_begin(&out, 1);
	chunk_begin(&out, 255);
	chunk_begin(&out, SIZE_MAX);
	EXPECT_STR(buffer_string(&out), "1\r\nff\r\nffffffffffffffff\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_of_a_request_go_or_stay_by_their_names),
		cmocka_unit_test(what_is_there_already_is_not_added_again),
		cmocka_unit_test(host_is_added_kept_or_replaced),
		cmocka_unit_test(a_gateway_believes_nothing_that_only_the_mesh_may_say),
		cmocka_unit_test(the_clients_address_is_put_behind_all_that_are_there),
		cmocka_unit_test(an_upgrade_goes_through_where_it_may),
		cmocka_unit_test(a_chunked_body_stays_chunked),
		cmocka_unit_test(headers_of_an_answer_go_or_stay_by_their_names),
		cmocka_unit_test(an_answer_that_switches_protocols_says_so),
		cmocka_unit_test(as_many_headers_as_a_message_may_have_fit),
		cmocka_unit_test(a_request_id_is_a_uuid_of_version_4),
		cmocka_unit_test(a_list_names_a_token_in_any_case_and_with_any_spaces),
		cmocka_unit_test(chunks_have_their_length_in_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
