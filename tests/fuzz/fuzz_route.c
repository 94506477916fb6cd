/* SPDX-License-Identifier: Apache-2.0 */
/* A match in JSON in the first line, a target in the second, then headers: whatever they are, paths come out normalised, and matching
 * ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/route/match.h"
#include "agent/route/path.h"
#include "agent/spec/model.h"
#include "base/cleanup.h"

#define CHECK(condition)                                                          \
	do {                                                                      \
		if (!(condition)) {                                               \
			fprintf(stderr, "does not hold: %s\n", #condition);       \
			abort();                                                  \
		}                                                                 \
	} while (0)

static struct span line_take(struct span *text)
{
	const char *end = text->length ? memchr(text->data, '\n', text->length) : NULL;
	const struct span line = { text->data, end ? (size_t)(end - text->data) : text->length };

	text->data += line.length + (end != NULL);
	text->length -= line.length + (end != NULL);
	return line;
}

static bool is_normal(struct span path)
{
	for (size_t i = 0; i < path.length; i++) {
		const char *at = path.data + i;
		const size_t left = path.length - i;

		if (*at == '\\' || (*at == '/' && left > 1 && at[1] == '/'))
			return false;
		if (*at == '/' && left > 1 && at[1] == '.' && (left == 2 || at[2] == '/'))
			return false;
		if (*at == '/' && left > 2 && at[1] == '.' && at[2] == '.' && (left == 3 || at[3] == '/'))
			return false;
	}
	return path.length && path.data[0] == '/';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const shapes[] = { "HttpRouteMatch", "GrpcRouteMatch" };
	struct span text = { (const char *)data, size };
	const struct span json = line_take(&text), target = line_take(&text);
	_cleanup_json_ json_t *value = NULL;
	struct http_header headers[16];
	struct buffer buffer = {};
	struct route_target read = {};
	struct route_request request = { .method = SPAN("GET"), .scheme = SPAN("http"), .authority = SPAN("h"), .port = 80, .headers = headers };

	if (route_target_read(target, &buffer, &read) == 0)
		CHECK(is_normal(read.path));
	request.path = read.path;
	request.query = read.query;
	while (text.length && request.header_count < ARRAY_SIZE(headers)) {
		headers[request.header_count].name = line_take(&text);
		headers[request.header_count++].value = line_take(&text);
	}
	if (json_parse(json.data, json.length, &value, NULL) == 0)
		for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
			struct route_match match;

			if (shape_validate(shape_find(shapes[i]), value, NULL) < 0 ||
			    route_match_init(&match, value, i ? "grpc" : "http", "", NULL) < 0)
				continue;
			route_match_test(&match, &request);
			route_match_done(&match);
		}
	buffer_done(&buffer);
	return 0;
}
