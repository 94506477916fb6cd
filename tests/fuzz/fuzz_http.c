/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and responses: however the bytes are cut, the codec finds the same. Targets: whatever decodes is text. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/http/target.h"
#include "base/utf8.h"
#include "tests/unit/http_events.h"

#define RUN_LIMIT_BYTES 512 /* small, so that inputs of a few hundred bytes reach it */

/* Without the reason of a failure: where a message has two faults, any of them may be told. */
static size_t length_to_compare(const struct buffer *text)
{
	const char *failed = text->length ? memmem(text->data, text->length, "FAILED ", 7) : NULL;

	return failed ? (size_t)(failed - text->data) + strlen("FAILED 400") : text->length;
}

static void check_same(enum http_side side, const struct buffer *whole, const char *data, size_t size, size_t piece_bytes)
{
	_cleanup_(buffer_done) struct buffer cut = {};

	print_events(side, data, size, piece_bytes, RUN_LIMIT_BYTES, &cut);
	if (length_to_compare(&cut) != length_to_compare(whole) ||
	    memcmp(buffer_string(&cut), buffer_string(whole), length_to_compare(&cut)) != 0) {
		fprintf(stderr, "pieces of %zu give: %s\nall at once: %s\n", piece_bytes, buffer_string(&cut),
			buffer_string(whole));
		abort();
	}
}

static void check_target(const char *data, size_t size)
{
	_cleanup_(http_target_done) struct http_target target = {};

	if (http_target_init((struct span){ data, size }, &target) < 0)
		return;
	if (!utf8_valid(target.path, strlen(target.path)) || target.path[0] != '/')
		abort();
	for (size_t i = 0; i < target.parameter_count; i++) {
		const struct http_parameter *p = &target.parameters[i];

		if (!utf8_valid(p->name, strlen(p->name)) || !utf8_valid(p->value, strlen(p->value)) ||
		    !http_target_parameter(&target, p->name))
			abort();
	}
}

static void check_messages(enum http_side side, const char *data, size_t size)
{
	_cleanup_(buffer_done) struct buffer whole = {};

	print_events(side, data, size, size, RUN_LIMIT_BYTES, &whole);
	check_same(side, &whole, data, size, 1);
	check_same(side, &whole, data, size, 2);
	check_same(side, &whole, data, size, 1 + size / 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *data = (const char *)bytes;

	check_messages(HTTP_REQUESTS, data, size);
	check_messages(HTTP_RESPONSES, data, size);
	check_target(data, size);
	return 0;
}
