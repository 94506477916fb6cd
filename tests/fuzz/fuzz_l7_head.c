/* SPDX-License-Identifier: Apache-2.0 */
/* A request, or an answer, on its way through the proxy: what is written is read again, whole, as the same message with the same body, by
 * the same rules; headers that are nobody's business stay as they are, in their order, and none of one connection goes on to the next.
 * The first byte says how it is rewritten. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http/codec.h"
#include "agent/http/target.h"
#include "agent/l7/rewrite.h"
#include "agent/route/path.h"
#include "base/cleanup.h"

#define REQUIRE(condition)                                                                                                    \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n%s\n", __FILE__, __LINE__, #condition, buffer_string(&out));      \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)
#define LIMIT_BYTES (60 * 1024)

enum { REPLACES_HOST = 1, FROM_OUTSIDE = 2, FORWARDS = 4, HAS_ORIGINAL = 8, UPGRADES = 16, SECOND = 32, ANSWERS_HEAD = 64, OLD_CLIENT = 128 };

static struct buffer out; /* what was written last */

static bool head_read(enum http_side side, bool answers_head, const char *data, size_t size, struct http_head *head, size_t *ret_left)
{
	struct http_codec *codec;
	struct http_event event;
	bool whole;

	if (http_codec_new(side, LIMIT_BYTES, &codec) < 0)
		abort();
	http_codec_answers_head(codec, answers_head);
	whole = http_codec_next(codec, head, &data, &size, &event) == HTTP_EVENT_HEAD;
	http_codec_free(codec);
	*ret_left = size;
	return whole;
}

/* The next header from `*at` on with nothing but itself to say, and not of this connection alone; NULL: there is none. One that is named as
 * the option "close" is is nobody's. */
static const struct http_header *next_kept(const struct http_head *head, size_t *at)
{
	while (*at < head->header_count) {
		const struct http_header *h = &head->headers[(*at)++];

		if (header_rule_of(h->name) == HEADER_KEPT && !span_equal_nocase(h->name, SPAN("close")) &&
		    !header_names(head, SPAN("connection"), h->name))
			return h;
	}
	return NULL;
}

static void require_same_headers(const struct http_head *before, const struct http_head *after)
{
	size_t a = 0, b = 0;
	const struct http_header *from, *to;

	do {
		from = next_kept(before, &a);
		to = next_kept(after, &b);
		REQUIRE(!from == !to);
		REQUIRE(!from || (span_equal(from->name, to->name) && span_equal(from->value, to->value)));
	} while (from);
}

static size_t count_of(const struct http_head *head, struct span name)
{
	size_t count;

	return http_head_find(head, name, &count) ? count : 0;
}

/* What may be left of those of one connection is what was said of the next one. */
static void require_connection(const struct http_head *after, bool upgrade)
{
	size_t allowed = count_of(after, SPAN("connection"));

	REQUIRE(allowed <= 1);
	allowed += after->chunked + (upgrade ? count_of(after, SPAN("upgrade")) : 0);
	for (size_t i = 0; i < after->header_count; i++)
		if (header_rule_of(after->headers[i].name) == HEADER_OF_CONNECTION)
			REQUIRE(allowed-- > 0);
	REQUIRE(allowed == 0);
}

static void require_from_outside(const struct http_head *after, const struct request_rewrite *rewrite)
{
	size_t envoy = 0;

	for (size_t i = 0; i < after->header_count; i++) {
		const enum header_rule rule = header_rule_of(after->headers[i].name);

		REQUIRE(rule != HEADER_FROM_OUTSIDE);
		envoy += rule == HEADER_ENVOY;
	}
	REQUIRE(envoy == 1u + !!rewrite->original_path.data);
	REQUIRE(count_of(after, SPAN("x-request-id")) == 1 && count_of(after, SPAN("x-forwarded-proto")) == 1);
}

static void check_request(uint8_t how, const char *data, size_t size)
{
	_cleanup_(http_head_done) struct http_head before = {}, after = {};
	_cleanup_(buffer_done) struct buffer path = {}, again = {};
	struct route_target target, normal;
	struct request_rewrite rewrite = {
		.host = SPAN("service.example.com"),
		.host_replaced = how & REPLACES_HOST,
		.request_id = "01234567-89ab-4def-8123-456789abcdef",
		.forwarded_for = how & FORWARDS ? "fd00:1111:2222:3333:4444:5555:6666:7777" : NULL,
		.attempt = how & SECOND ? 4294967295u : 1,
		.upgrade = how & UPGRADES,
		.from_outside = how & FROM_OUTSIDE,
	};
	struct span origin;
	size_t left;

	if (!head_read(HTTP_REQUESTS, false, data, size, &before, &left))
		return;
	origin = http_target_origin(before.target);
	if (!origin.data || route_target_read(origin, &path, &target) < 0)
		return;
	REQUIRE(route_target_read(target.path, &again, &normal) == 0 && span_equal(normal.path, target.path) && !normal.has_query);
	rewrite.target = target.path;
	if (how & HAS_ORIGINAL)
		rewrite.original_path = origin;
	buffer_clear(&out);
	request_head_write(&out, &before, &rewrite);
	if (out.length > LIMIT_BYTES || before.header_count > HTTP_HEADERS_MAX - 8)
		return; /* grown beyond what is read here */
	REQUIRE(head_read(HTTP_REQUESTS, false, out.data, out.length, &after, &left) && left == 0);
	REQUIRE(!strcmp(after.method, before.method) && span_equal(after.target, rewrite.target) && after.minor == 1);
	REQUIRE(after.chunked == before.chunked && after.has_length == before.has_length && after.content_length == before.content_length);
	REQUIRE(count_of(&after, SPAN("host")) == (rewrite.host_replaced ? 1 : MAX(1u, count_of(&before, SPAN("host")))));
	REQUIRE(!rewrite.forwarded_for || count_of(&after, SPAN("x-forwarded-for")) == 1);
	REQUIRE(count_of(&after, SPAN("x-envoy-attempt-count")) == 1);
	require_connection(&after, rewrite.upgrade);
	require_same_headers(&before, &after);
	if (rewrite.from_outside)
		require_from_outside(&after, &rewrite);
}

/* As request.c has it. */
static enum body_framing framing_of(const struct http_head *head, uint8_t how)
{
	if (how & ANSWERS_HEAD || head->status / 100 == 1 || head->status == 204 || head->status == 304)
		return FRAMING_NONE;
	if (head->has_length)
		return FRAMING_LENGTH;
	return how & OLD_CLIENT ? FRAMING_CLOSE : FRAMING_CHUNKED;
}

static void check_answer(uint8_t how, const char *data, size_t size)
{
	_cleanup_(http_head_done) struct http_head before = {}, after = {};
	struct response_rewrite rewrite = { .service_ms = UINT64_MAX, .date = "Sun, 06 Nov 1994 08:49:37 GMT" };
	size_t left;

	if (!head_read(HTTP_RESPONSES, how & ANSWERS_HEAD, data, size, &before, &left) || before.status < 100)
		return;
	rewrite.framing = framing_of(&before, how);
	rewrite.upgrade = before.status == 101;
	rewrite.connection = rewrite.framing == FRAMING_CLOSE || how & SECOND ? "close" : how & OLD_CLIENT ? "keep-alive" : NULL;
	buffer_clear(&out);
	response_head_write(&out, &before, &rewrite);
	if (out.length > LIMIT_BYTES || before.header_count > HTTP_HEADERS_MAX - 8)
		return;
	REQUIRE(head_read(HTTP_RESPONSES, how & ANSWERS_HEAD, out.data, out.length, &after, &left) && left == 0);
	REQUIRE(after.status == before.status && after.minor == 1);
	REQUIRE(after.chunked == (rewrite.framing == FRAMING_CHUNKED));
	REQUIRE(rewrite.framing != FRAMING_LENGTH || (after.has_length && after.content_length == before.content_length));
	REQUIRE(rewrite.framing == FRAMING_LENGTH || rewrite.framing == FRAMING_NONE || !after.has_length);
	REQUIRE(count_of(&after, SPAN("server")) == 1);
	require_connection(&after, rewrite.upgrade);
	require_same_headers(&before, &after);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	check_request(bytes[0], (const char *)bytes + 1, size - 1);
	check_answer(bytes[0], (const char *)bytes + 1, size - 1);
	return 0;
}
