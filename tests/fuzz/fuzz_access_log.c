/* SPDX-License-Identifier: Apache-2.0 */
/* A format, a NUL, and what a peer sends: whatever they are, a format is refused with words or makes the same line twice; in text no
 * newline comes from a peer, and JSON is one object in one line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/access_log/format.h"
#include "base/cleanup.h"

#define CHECK(condition)                                                          \
	do {                                                                      \
		if (!(condition)) {                                               \
			fprintf(stderr, "does not hold: %s\n", #condition);       \
			abort();                                                  \
		}                                                                 \
	} while (0)

static size_t newlines(const char *data, size_t length)
{
	size_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += data[i] == '\n';
	return count;
}

/* NULL: it is refused, in words that JSON can carry. */
static struct access_log_format *made(const json_t *json)
{
	struct access_log_format *format;
	struct error err = {};
	json_t *message;

	if (access_log_format_new(json, "format", &format, &err) == 0)
		return format;
	message = json_string(err.message);
	CHECK(err.code < 0 && err.message[0] && message);
	json_decref(message);
	return NULL;
}

static void check_text(const char *text, const struct access_log_entry *entry)
{
	_cleanup_json_ json_t *json = json_pack("{s:s}", "text", text);
	struct access_log_format *format = json ? made(json) : NULL;
	struct buffer once = {}, twice = {};

	if (!format)
		return;
	access_log_format(format, entry, &once);
	access_log_format(format, entry, &twice);
	CHECK(once.length == twice.length && (once.length == 0 || memcmp(once.data, twice.data, once.length) == 0));
	CHECK(newlines(once.data, once.length) == newlines(text, strlen(text)));
	buffer_done(&once);
	buffer_done(&twice);
	access_log_format_free(format);
}

static void check_json(const char *text, const struct access_log_entry *entry)
{
	_cleanup_json_ json_t *json = json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "json", "key", "k", "value", text, "key", text, "value", "%REQ(X)%");
	struct access_log_format *format = json ? made(json) : NULL;
	struct buffer line = {};
	json_t *parsed;

	if (!format)
		return;
	access_log_format(format, entry, &line);
	CHECK(newlines(line.data, line.length) == 1 && line.data[line.length - 1] == '\n');
	parsed = json_loadb(line.data, line.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	CHECK(json_is_object(parsed));
	json_decref(parsed);
	buffer_done(&line);
	access_log_format_free(format);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	const size_t length = end ? (size_t)(end - data) : size;
	const struct span sent = { (const char *)data + length, size - length };
	char *text = strndup((const char *)data, length);
	const struct http_header headers[] = {
		{ SPAN("x"), sent },
		{ SPAN("content-type"), SPAN("application/grpc") },
		{ SPAN("grpc-status"), sent },
	};
	struct access_log_entry entry = {
		.start_wall_ns = size * 123456789123ull,
		.method = sent,
		.authority = sent,
		.path = sent,
		.original_path = sent,
		.request = { headers, ARRAY_SIZE(headers) },
		.response = { headers, ARRAY_SIZE(headers) },
		.trailers = { headers, ARRAY_SIZE(headers) },
		.flags = (uint32_t)size,
		.details = sent,
		.local_reply_body = sent,
		.route = sent,
		.cluster = sent,
		.hostname = sent,
	};

	if (!text)
		return 0;
	check_text(text, &entry);
	if (strcmp(text, "k") != 0)
		check_json(text, &entry);
	free(text);
	return 0;
}
