/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before the body of a message, request or response, as it came: nothing is decoded, joined, sorted or folded.
 * Whoever reads messages (codec.h now) fills it, whoever handles them reads it: both may be on any thread, one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/span.h"

#define HTTP_HEADERS_MAX 128

struct http_header {
	struct span name, value; /* without white space around */
};

/* All zero to begin with. It keeps its memory from one message to the next. */
struct http_head {
	const char *method; /* of a request; static */
	struct span target; /* of a request: "/v1/status?x=y", also "http://host/…" and "*" */
	int status; /* of a response; 0: it is a request */
	int minor; /* HTTP/1.minor */
	bool keep_alive; /* another message may follow */
	bool chunked;
	bool has_length;
	uint64_t content_length; /* 0 where it is not said */
	size_t header_count;
	struct http_header headers[HTTP_HEADERS_MAX]; /* in order, with repeats */
	struct buffer text; /* what the spans point into: the bytes of the message */
};

void http_head_done(struct http_head *head);
/* The first header of that name, in any case, or NULL; how often it is there. */
const struct http_header *http_head_find(const struct http_head *head, struct span name, size_t *ret_count);
