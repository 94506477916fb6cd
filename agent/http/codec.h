/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 messages read, on llhttp: requests for servers, responses for clients; bytes in, events out. No sockets, no clock.
 * However the bytes are cut, the events are the same, but for where the pieces of a body end, and which of two faults is told.
 * RFC 9112; where it leaves a choice between lenient and strict, strict, for what two readers of a message could take for two
 * different ones is how requests are smuggled (section 11.2): lines end with CR LF and begin with no space, there are no NULs
 * and no controls, no space before a colon, one Content-Length that is a number, or one Transfer-Encoding that is "chunked",
 * never both. A session of HTTP/2 gives the same events, per stream. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/http/head.h"
#include "agent/http/refusal.h"

enum http_event_type {
	HTTP_EVENT_MORE, /* all bytes are used; it goes on with more */
	HTTP_EVENT_HEAD, /* the head is filled, and stays so until after HTTP_EVENT_END */
	HTTP_EVENT_BODY, /* a piece, decoded */
	HTTP_EVENT_END, /* of the message; trailers are left out */
	HTTP_EVENT_CLOSED, /* the last message was the last, or asks for another protocol: what follows is not looked at */
	HTTP_EVENT_FAILED, /* and so it stays: no byte is looked at any more */
};

struct http_event {
	struct span body; /* HTTP_EVENT_BODY: borrowed from the input */
	enum http_refusal refusal; /* HTTP_EVENT_FAILED */
};

enum http_side {
	HTTP_REQUESTS,
	HTTP_RESPONSES, /* "1xx" are messages of their own */
};

struct http_codec;

/* A head, and what is neither head nor body (blank lines before a request, chunk sizes and extensions, trailers), may not have
 * more than `limit_bytes` on end. 0 or -ENOMEM. */
int http_codec_new(enum http_side side, size_t limit_bytes, struct http_codec **ret_codec);
struct http_codec *http_codec_free(struct http_codec *codec); /* NULL is fine */

/* HTTP_RESPONSES, before the first byte of each: whether it answers HEAD, and so has no body whatever it says. */
void http_codec_answers_head(struct http_codec *codec, bool answers_head);

/* The next event of the input, which it moves past what it used. Call again, also with nothing, until HTTP_EVENT_MORE. `head` is
 * the same from the first byte of a message to its end. */
enum http_event_type http_codec_next(struct http_codec *codec, struct http_head *head, const char **data, size_t *length,
				     struct http_event *ret_event);
/* No more input will come, after HTTP_EVENT_MORE or HTTP_EVENT_END: HTTP_EVENT_END where that is the end of a response,
 * HTTP_EVENT_CLOSED between messages, else HTTP_EVENT_FAILED. */
enum http_event_type http_codec_end(struct http_codec *codec, struct http_event *ret_event);
