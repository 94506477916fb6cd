/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 requests, on llhttp: bytes in, events out. No sockets, no clock. However the bytes are cut, the events are the same,
 * but for where the pieces of a body end. RFC 9112. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEADERS_MAX 100

enum http_event_type {
	HTTP_EVENT_MORE, /* all bytes are used; it goes on with more */
	HTTP_EVENT_HEAD, /* http_codec_head() has it, until HTTP_EVENT_END */
	HTTP_EVENT_BODY, /* a piece, decoded */
	HTTP_EVENT_END, /* of the message */
	HTTP_EVENT_CLOSED, /* the last message was the last, or asks for another protocol: what follows is not looked at */
	HTTP_EVENT_FAILED, /* and so it stays: no byte is looked at any more */
};

struct http_event {
	const char *body; /* HTTP_EVENT_BODY: borrowed from the input */
	size_t body_bytes;
	int status; /* HTTP_EVENT_FAILED: what to answer, 400, 431 or 505 */
	const char *reason; /* static text */
};

struct http_header {
	const char *name, *value; /* without white space around */
};

struct http_head { /* strings live as long as the head */
	const char *method;
	const char *target; /* as it came: "/v1/status?x=y" */
	int minor; /* HTTP/1.minor */
	bool keep_alive; /* another message may follow */
	bool chunked;
	uint64_t content_length; /* 0 where it is not said */
	const struct http_header *headers;
	size_t header_count;
};

struct http_codec;

/* A head, and what is neither head nor body (blank lines before a request, chunk sizes and extensions, trailers, which are
 * left out) may not have more than `run_limit_bytes` on end. 0 or -ENOMEM. */
int http_codec_new(size_t run_limit_bytes, struct http_codec **ret_codec);
struct http_codec *http_codec_free(struct http_codec *codec); /* NULL is fine */

/* The next event of the input, which it moves past what it used. Call again, also with nothing, until HTTP_EVENT_MORE. */
enum http_event_type http_codec_next(struct http_codec *codec, const char **data, size_t *length, struct http_event *ret_event);
const struct http_head *http_codec_head(const struct http_codec *codec);
/* The first value of that name, in any case, or NULL; how often it is there. */
const char *http_head_value(const struct http_head *head, const char *name, size_t *ret_count);
