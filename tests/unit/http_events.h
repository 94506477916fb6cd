/* SPDX-License-Identifier: Apache-2.0 */
/* What the codec makes of some bytes, as text to compare: the unit test and the fuzz target share it. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "agent/http/codec.h"
#include "base/bytes.h"
#include "base/cleanup.h"

static inline void print_span(struct span span, struct buffer *text)
{
	buffer_append(text, span.data, span.length);
}

static inline void print_head(const struct http_head *head, struct buffer *text)
{
	if (head->status)
		buffer_printf(text, "%d", head->status);
	else
		buffer_printf(text, "%s ", head->method);
	print_span(head->target, text);
	buffer_printf(text, " 1.%d%s%s %llu", head->minor, head->keep_alive ? "" : " close", head->chunked ? " chunked" : "",
		      (unsigned long long)head->content_length);
	for (size_t i = 0; i < head->header_count; i++) {
		buffer_add(text, " ");
		print_span(head->headers[i].name, text);
		buffer_add(text, "=");
		print_span(head->headers[i].value, text);
	}
	buffer_add(text, "|");
}

static inline void print_event(enum http_event_type type, const struct http_event *event, const struct http_head *head,
			       struct buffer *text)
{
	switch (type) {
	case HTTP_EVENT_MORE:
		break;
	case HTTP_EVENT_HEAD:
		print_head(head, text);
		break;
	case HTTP_EVENT_BODY:
		print_span(event->body, text);
		break;
	case HTTP_EVENT_END:
		buffer_add(text, "|END|");
		break;
	case HTTP_EVENT_CLOSED:
		buffer_add(text, "CLOSED");
		break;
	case HTTP_EVENT_FAILED:
		buffer_printf(text, "FAILED %d %s", http_refusal_status(event->refusal), http_refusal_name(event->refusal));
		break;
	}
}

/* Gives the codec pieces of `piece_bytes`, and then the end; the pieces of a body are put together again. */
static inline void print_events(enum http_side side, const char *data, size_t length, size_t piece_bytes, size_t limit_bytes,
				struct buffer *text)
{
	struct http_head *head = calloc(1, sizeof(*head));
	struct http_codec *codec;
	enum http_event_type type = HTTP_EVENT_MORE;
	struct http_event event;

	if (!head || http_codec_new(side, limit_bytes, &codec) < 0)
		abort();
	while (length > 0 && type != HTTP_EVENT_FAILED && type != HTTP_EVENT_CLOSED) {
		size_t piece = MIN(piece_bytes, length), left = piece;
		char *copy = malloc(piece); /* its own, so that the sanitizer sees a byte too far */
		const char *p = copy;

		memcpy(copy, data, piece);
		do {
			type = http_codec_next(codec, head, &p, &left, &event);
			print_event(type, &event, head, text);
		} while (type == HTTP_EVENT_HEAD || type == HTTP_EVENT_BODY || type == HTTP_EVENT_END);
		free(copy);
		data += piece;
		length -= piece;
	}
	if (type == HTTP_EVENT_MORE)
		print_event(http_codec_end(codec, &event), &event, head, text);
	http_codec_free(codec);
	http_head_done(head);
	free(head);
}
