/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/rewrite.h"

#include <stdio.h>
#include <string.h>

#include "agent/http/write.h"
#include "base/cleanup.h"
#include "base/decimal.h"

const char *request_id_format(uint64_t high, uint64_t low, char buffer[REQUEST_ID_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *to = buffer;

	high = (high & ~0xf000ull) | 0x4000; /* version 4 */
	low = (low & ~(3ull << 62)) | 2ull << 62; /* variant 10 */
	for (int i = 0; i < 32; i++) {
		const uint64_t word = i < 16 ? high : low;

		if (i == 8 || i == 12 || i == 16 || i == 20)
			*to++ = '-';
		*to++ = digits[word >> (60 - 4 * (i % 16)) & 15];
	}
	*to = '\0';
	return buffer;
}

/* --- names --------------------------------------------------------------------------------------------------------------- */

static const struct name_rule {
	struct span name;
	enum header_rule rule;
} name_rules[] = {
	{ SPAN("te"), HEADER_OF_CONNECTION },
	{ SPAN("host"), HEADER_HOST },
	{ SPAN("date"), HEADER_DATE },
	{ SPAN("expect"), HEADER_EXPECT },
	{ SPAN("server"), HEADER_SERVER },
	{ SPAN("upgrade"), HEADER_OF_CONNECTION },
	{ SPAN("connection"), HEADER_OF_CONNECTION },
	{ SPAN("keep-alive"), HEADER_OF_CONNECTION },
	{ SPAN("x-request-id"), HEADER_REQUEST_ID },
	{ SPAN("http2-settings"), HEADER_OF_CONNECTION },
	{ SPAN("content-length"), HEADER_LENGTH },
	{ SPAN("x-forwarded-for"), HEADER_FORWARDED_FOR },
	{ SPAN("proxy-connection"), HEADER_OF_CONNECTION },
	{ SPAN("transfer-encoding"), HEADER_OF_CONNECTION },
	{ SPAN("x-forwarded-proto"), HEADER_FORWARDED_PROTO },
	{ SPAN("x-forwarded-client-cert"), HEADER_FROM_OUTSIDE },
	{ SPAN("x-app-mesh-virtual-service"), HEADER_FROM_OUTSIDE },
};

static bool begins_with(struct span name, struct span prefix)
{
	return name.length > prefix.length && span_equal_nocase((struct span){ name.data, prefix.length }, prefix);
}

/* One bit for each length that some name has. */
static uint64_t lengths_named(void)
{
	uint64_t lengths = 0;

	for (size_t i = 0; i < ARRAY_SIZE(name_rules); i++)
		lengths |= 1ull << name_rules[i].name.length;
	return lengths;
}

enum header_rule header_rule_of(struct span name)
{
	static uint64_t known; /* the same whoever writes it */
	const char first = name.length ? (char)(name.data[0] | 0x20) : '\0';
	uint64_t lengths = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (!lengths) {
		lengths = lengths_named();
		__atomic_store_n(&known, lengths, __ATOMIC_RELAXED);
	}
	if (first == 'x' && begins_with(name, SPAN("x-envoy-")))
		return HEADER_ENVOY;
	if (first == 'x' && begins_with(name, SPAN("x-weft-")))
		return HEADER_FROM_OUTSIDE;
	if (name.length > 63 || !(lengths >> name.length & 1))
		return HEADER_KEPT;
	for (size_t i = 0; i < ARRAY_SIZE(name_rules); i++)
		if (name_rules[i].name.data[0] == first && span_equal_nocase(name, name_rules[i].name))
			return name_rules[i].rule;
	return HEADER_KEPT;
}

bool header_names(const struct http_head *head, struct span name, struct span token)
{
	for (size_t i = 0; i < head->header_count; i++) {
		struct span list = head->headers[i].value;

		if (!span_equal_nocase(head->headers[i].name, name))
			continue;
		while (list.length) {
			const char *comma = memchr(list.data, ',', list.length);
			struct span item = { list.data, comma ? (size_t)(comma - list.data) : list.length };

			list.data += MIN(item.length + 1, list.length);
			list.length -= MIN(item.length + 1, list.length);
			while (item.length && (*item.data == ' ' || *item.data == '\t'))
				item.data++, item.length--;
			while (item.length && (item.data[item.length - 1] == ' ' || item.data[item.length - 1] == '\t'))
				item.length--;
			if (span_equal_nocase(item, token))
				return true;
		}
	}
	return false;
}

/* Whether a Connection header of the head binds it to that connection. */
static bool is_nominated(const struct http_head *head, struct span name)
{
	return header_names(head, SPAN("connection"), name);
}

/* More than "close" or "keep-alive": some header may be bound to the connection. */
static bool nominates(const struct http_head *head)
{
	for (size_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];

		if (span_equal_nocase(h->name, SPAN("connection")) && !span_equal_nocase(h->value, SPAN("keep-alive")) &&
		    !span_equal_nocase(h->value, SPAN("close")))
			return true;
	}
	return false;
}

/* --- writing ------------------------------------------------------------------------------------------------------------- */

/* Into memory that is there already: every length is known before. */
static char *put(char *to, struct span text)
{
	return text.length ? mempcpy(to, text.data, text.length) : to;
}

static char *put_header(char *to, struct span name, struct span value)
{
	to = put(to, name);
	*to++ = ':';
	*to++ = ' ';
	to = put(to, value);
	*to++ = '\r';
	*to++ = '\n';
	return to;
}

static size_t length_of_headers(const struct http_head *head)
{
	size_t length = 0;

	for (size_t i = 0; i < head->header_count; i++)
		length += head->headers[i].name.length + head->headers[i].value.length + 4;
	return length;
}

#define ADDED_BYTES 512 /* fixed texts of headers that are added, numbers in them, and the first line's */

static bool request_header_goes(const struct http_head *head, const struct http_header *h, enum header_rule rule,
				const struct request_rewrite *rewrite, bool nominated)
{
	switch (rule) {
	case HEADER_OF_CONNECTION:
		return rewrite->upgrade && span_equal_nocase(h->name, SPAN("upgrade"));
	case HEADER_EXPECT: /* was answered */
		return false;
	case HEADER_HOST:
		return !rewrite->host_replaced;
	case HEADER_ENVOY:
		return !rewrite->from_outside && !(rewrite->attempt && span_equal_nocase(h->name, SPAN("x-envoy-attempt-count"))) &&
		       !(rewrite->original_path.data && span_equal_nocase(h->name, SPAN("x-envoy-original-path")));
	case HEADER_FROM_OUTSIDE:
	case HEADER_REQUEST_ID:
	case HEADER_FORWARDED_PROTO:
		return !rewrite->from_outside;
	case HEADER_FORWARDED_FOR:
		return !rewrite->forwarded_for;
	case HEADER_KEPT:
		return !nominated || !is_nominated(head, h->name);
	default:
		return true;
	}
}

/* All that are there as one, with ours behind them. */
static char *put_forwarded_for(char *to, const struct http_head *head, struct span last)
{
	to = put(to, SPAN("x-forwarded-for: "));
	for (size_t i = 0; i < head->header_count; i++) {
		if (header_rule_of(head->headers[i].name) != HEADER_FORWARDED_FOR)
			continue;
		to = put(to, head->headers[i].value);
		*to++ = ',';
	}
	to = put(to, last);
	return put(to, SPAN("\r\n"));
}

void request_head_write(struct buffer *out, const struct http_head *head, const struct request_rewrite *rewrite)
{
	const struct span method = span_of(head->method);
	const bool nominated = nominates(head);
	bool has_id = false, has_proto = false, has_host = false;
	char number[DECIMAL_BYTES];
	char *to = buffer_reserve(out, method.length + rewrite->target.length + rewrite->host.length + rewrite->original_path.length +
				  (rewrite->forwarded_for ? strlen(rewrite->forwarded_for) : 0) + length_of_headers(head) + ADDED_BYTES);
	char *const begin = to;

	if (!to)
		return;
	to = put(to, method);
	*to++ = ' ';
	to = put(to, rewrite->target);
	to = put(to, SPAN(" HTTP/1.1\r\n"));
	if (rewrite->host_replaced)
		to = put_header(to, SPAN("host"), rewrite->host);
	for (size_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];
		const enum header_rule rule = header_rule_of(h->name);

		if (!request_header_goes(head, h, rule, rewrite, nominated))
			continue;
		has_id |= rule == HEADER_REQUEST_ID;
		has_proto |= rule == HEADER_FORWARDED_PROTO;
		has_host |= rule == HEADER_HOST;
		to = put_header(to, h->name, h->value);
	}
	if (!has_host && !rewrite->host_replaced)
		to = put_header(to, SPAN("host"), rewrite->host);
	if (rewrite->forwarded_for)
		to = put_forwarded_for(to, head, span_of(rewrite->forwarded_for));
	if (!has_proto)
		to = put_header(to, SPAN("x-forwarded-proto"), SPAN("http"));
	if (!has_id && rewrite->request_id)
		to = put_header(to, SPAN("x-request-id"), span_of(rewrite->request_id));
	if (rewrite->original_path.data)
		to = put_header(to, SPAN("x-envoy-original-path"), rewrite->original_path);
	if (rewrite->attempt == 1) {
		to = put(to, SPAN("x-envoy-attempt-count: 1\r\n"));
	} else if (rewrite->attempt) {
		to = put_header(to, SPAN("x-envoy-attempt-count"), (struct span){ number, decimal_write(number, rewrite->attempt) });
	}
	if (head->chunked)
		to = put(to, SPAN("transfer-encoding: chunked\r\n"));
	if (rewrite->upgrade)
		to = put(to, SPAN("connection: Upgrade\r\n"));
	to = put(to, SPAN("\r\n"));
	out->length += (size_t)(to - begin);
	out->data[out->length] = '\0';
}

static bool response_header_goes(const struct http_head *head, const struct http_header *h, enum header_rule rule,
				 const struct response_rewrite *rewrite, bool nominated)
{
	switch (rule) {
	case HEADER_OF_CONNECTION:
		return rewrite->upgrade && span_equal_nocase(h->name, SPAN("upgrade"));
	case HEADER_SERVER:
		return false;
	case HEADER_LENGTH: /* with FRAMING_NONE it answers HEAD, or is a 304: it says what there would be (RFC 9110 section 8.6) */
		return rewrite->framing == FRAMING_LENGTH ||
		       (rewrite->framing == FRAMING_NONE && head->status >= 200 && head->status != 204);
	case HEADER_ENVOY:
		return !span_equal_nocase(h->name, SPAN("x-envoy-upstream-service-time"));
	default:
		return !nominated || !is_nominated(head, h->name);
	}
}

void response_head_write(struct buffer *out, const struct http_head *head, const struct response_rewrite *rewrite)
{
	const bool nominated = nominates(head);
	char room[64], number[DECIMAL_BYTES];
	const struct span first = http_first_line(head->status, room);
	char *to = buffer_reserve(out, first.length + length_of_headers(head) + ADDED_BYTES);
	char *const begin = to;
	bool has_date = false;

	if (!to)
		return;
	to = put(to, first);
	for (size_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];
		const enum header_rule rule = header_rule_of(h->name);

		if (!response_header_goes(head, h, rule, rewrite, nominated))
			continue;
		has_date |= rule == HEADER_DATE;
		to = put_header(to, h->name, h->value);
	}
	if (!has_date && head->status >= 200)
		to = put_header(to, SPAN("date"), span_of(rewrite->date));
	to = put(to, SPAN("server: envoy\r\n"));
	if (head->status >= 200)
		to = put_header(to, SPAN("x-envoy-upstream-service-time"), (struct span){ number, decimal_write(number, rewrite->service_ms) });
	if (rewrite->framing == FRAMING_CHUNKED)
		to = put(to, SPAN("transfer-encoding: chunked\r\n"));
	if (rewrite->upgrade)
		to = put(to, SPAN("connection: Upgrade\r\n"));
	else if (rewrite->connection)
		to = put_header(to, SPAN("connection"), span_of(rewrite->connection));
	to = put(to, SPAN("\r\n"));
	out->length += (size_t)(to - begin);
	out->data[out->length] = '\0';
}

void chunk_begin(struct buffer *out, size_t length)
{
	char size[24];
	const int n = snprintf(size, sizeof(size), "%zx\r\n", length);

	buffer_append(out, size, (size_t)n);
}
