/* SPDX-License-Identifier: Apache-2.0 */
/* What the codec makes of some bytes, as text to compare: the unit test and the fuzz target share it. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "agent/http/codec.h"
#include "base/bytes.h"
#include "base/cleanup.h"

static inline void print_head(const struct http_head *head, struct buffer *text)
{
	buffer_printf(text, "%s %s 1.%d%s%s %llu", head->method, head->target, head->minor, head->keep_alive ? "" : " close",
		      head->chunked ? " chunked" : "", (unsigned long long)head->content_length);
	for (size_t i = 0; i < head->header_count; i++)
		buffer_printf(text, " %s=%s", head->headers[i].name, head->headers[i].value);
	buffer_add(text, "|");
}

/* Gives the codec pieces of `piece_bytes`; the pieces of a body are put together again. */
static inline void print_events(const char *data, size_t length, size_t piece_bytes, size_t run_limit_bytes,
				struct buffer *text)
{
	struct http_codec *codec;
	enum http_event_type type = HTTP_EVENT_MORE;

	if (http_codec_new(run_limit_bytes, &codec) < 0)
		abort();
	while (length > 0 && type != HTTP_EVENT_FAILED && type != HTTP_EVENT_CLOSED) {
		size_t piece = MIN(piece_bytes, length), left = piece;
		char *copy = malloc(piece); /* its own, so that the sanitizer sees a byte too far */
		const char *p = copy;
		struct http_event event;

		memcpy(copy, data, piece);
		while ((type = http_codec_next(codec, &p, &left, &event)) != HTTP_EVENT_MORE) {
			if (type == HTTP_EVENT_HEAD)
				print_head(http_codec_head(codec), text);
			else if (type == HTTP_EVENT_BODY)
				buffer_append(text, event.body, event.body_bytes);
			else if (type == HTTP_EVENT_END)
				buffer_add(text, "|END|");
			else
				break;
		}
		if (type == HTTP_EVENT_FAILED)
			buffer_printf(text, "FAILED %d %s", event.status, event.reason);
		if (type == HTTP_EVENT_CLOSED)
			buffer_add(text, "CLOSED");
		free(copy);
		data += piece;
		length -= piece;
	}
	http_codec_free(codec);
}
