/* SPDX-License-Identifier: Apache-2.0 */
/* The question "explain" of the control socket, read for the HTTP proxy. */
#include <arpa/inet.h>
#include <errno.h>

#include "agent/l7/explain.h"
#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/address.h"
#include "base/cleanup.h"

static int headers_read(const json_t *list, struct http_header headers[HTTP_HEADERS_MAX], size_t *ret_count, struct error *err)
{
	const size_t count = json_array_size(list);

	if (count > HTTP_HEADERS_MAX)
		return error_set_field(err, -EINVAL, "headers", "%zu are given, %d are possible", count, HTTP_HEADERS_MAX);
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_array_get(list, i), *name = json_array_get(one, 0), *value = json_array_get(one, 1);

		if (!json_is_string(name) || !json_is_string(value))
			return error_set_field(err, -EINVAL, "headers", "not a list of names and values");
		headers[i] = (struct http_header){ { json_string_value(name), json_string_length(name) },
						   { json_string_value(value), json_string_length(value) } };
	}
	*ret_count = count;
	return 0;
}

static int question_read(const json_t *message, struct l7_question *q, struct http_header headers[HTTP_HEADERS_MAX], struct error *err)
{
	struct {
		uint64_t netns_cookie;
		uint32_t source, port;
		const char *method, *target, *destination;
	} m = {};
	static const struct control_member members[] = {
		{ "netnsCookie", CONTROL_ID, offsetof(__typeof__(m), netns_cookie) },
		{ "source", CONTROL_U32, offsetof(__typeof__(m), source) },
		{ "port", CONTROL_U32, offsetof(__typeof__(m), port) },
		{ "method", CONTROL_TEXT, offsetof(__typeof__(m), method) },
		{ "target", CONTROL_TEXT, offsetof(__typeof__(m), target) },
		{ "destination", CONTROL_TEXT, offsetof(__typeof__(m), destination) },
		{},
	};
	const int64_t service = json_path_int(message, "service", 0), count = json_path_int(message, "count", 0);
	const char *host = json_path_string(message, "host");
	int r = control_members(message, members, &m, err);

	if (r < 0)
		return r;
	if (m.port > UINT16_MAX || service < 0 || service > UINT32_MAX || count < 0 || count > EXPLAIN_DRAWS_MAX)
		return error_set_field(err, -EINVAL, m.port > UINT16_MAX ? "port" : service < 0 || service > UINT32_MAX ? "service" : "count",
				       "out of range");
	if (ip_parse(m.destination, &q->handover.destination) < 0)
		return error_set_field(err, -EINVAL, "destination", "not an address");
	q->handover.source = m.source;
	q->handover.service = (uint32_t)service;
	q->handover.port = htons((uint16_t)m.port);
	q->gateway = json_path_bool(message, "gateway", false);
	q->netns_cookie = m.netns_cookie;
	q->method = m.method;
	q->target = span_of(m.target);
	q->host = span_of(host ?: "");
	q->count = (uint32_t)count;
	q->headers = headers;
	return headers_read(json_object_get(message, "headers"), headers, &q->header_count, err);
}

int explain_write(struct proxy *proxy, const json_t *message, struct buffer *text, struct error *err)
{
	struct http_header headers[HTTP_HEADERS_MAX];
	struct l7_question question = {};
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_free_ char *dump = NULL;
	int r = question_read(message, &question, headers, err);

	if (r < 0)
		return r;
	answer = l7_explain(proxy->l7, &question);
	dump = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	if (dump)
		buffer_add(text, dump);
	return !dump || buffer_failed(text) ? error_set(err, -ENOMEM, "out of memory") : 0;
}
