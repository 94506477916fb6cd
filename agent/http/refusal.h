/* SPDX-License-Identifier: Apache-2.0 */
/* Why a message was not taken, or a connection was closed by us: each has a name, which is counted and shown, and a status that
 * it is answered with (0: there is nothing to answer). docs/api.md explains them from this table. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HTTP_REFUSALS(X)												\
	X(HTTP_BAD_SYNTAX, "bad-syntax", 400, "this is no HTTP/1.1")							\
	X(HTTP_BAD_METHOD, "bad-method", 400, "no method of HTTP")							\
	X(HTTP_BAD_TARGET, "bad-target", 400, "the target is no path, or has characters or escapes that give no text") \
	X(HTTP_BAD_VERSION, "bad-version", 505, "only HTTP/1.1 and HTTP/1.0 are spoken here")				\
	X(HTTP_BAD_NAME, "bad-header-name", 400, "the name of a header is no token")					\
	X(HTTP_BAD_VALUE, "bad-header-value", 400, "a header has a control character in it")				\
	X(HTTP_BARE_LINE_END, "bare-line-end", 400, "a line does not end with CR LF")					\
	X(HTTP_FOLDED_LINE, "folded-line", 400, "a line begins with a space")						\
	X(HTTP_NUL, "nul", 400, "a NUL byte outside of a body")								\
	X(HTTP_BAD_HOST, "bad-host", 400, "not exactly one Host header")						\
	X(HTTP_BAD_LENGTH, "bad-length", 400, "Content-Length is no number, or too large a one")			\
	X(HTTP_TWO_LENGTHS, "two-lengths", 400, "more than one Content-Length")						\
	X(HTTP_LENGTH_AND_CODING, "length-and-coding", 400, "both Content-Length and Transfer-Encoding")		\
	X(HTTP_OLD_CODING, "coding-in-1.0", 400, "Transfer-Encoding in HTTP/1.0")					\
	X(HTTP_UNKNOWN_CODING, "unknown-coding", 501, "the only transfer coding known here is chunked, once")		\
	X(HTTP_BAD_CHUNK, "bad-chunk", 400, "a chunk is malformed")							\
	X(HTTP_LARGE_FRAMING, "framing-too-large", 400, "too much between messages or chunks, or in trailers")		\
	X(HTTP_CUT_OFF, "cut-off", 400, "the message ended before its end")						\
	X(HTTP_LARGE_HEAD, "head-too-large", 431, "the head is too long")						\
	X(HTTP_MANY_HEADERS, "too-many-headers", 431, "more than 128 headers")						\
	X(HTTP_LONG_TARGET, "target-too-long", 414, "the target is too long")						\
	X(HTTP_LARGE_BODY, "body-too-large", 413, "the body is too large")						\
	X(HTTP_UNKNOWN_EXPECTATION, "unknown-expectation", 417, "the only expectation known here is 100-continue")	\
	X(HTTP_OTHER_METHOD, "other-method", 405, "this method is not known here")					\
	X(HTTP_SLOW_HEAD, "slow-head", 408, "the head did not come in time")						\
	X(HTTP_SLOW_BODY, "slow-body", 408, "the body did not come in time")						\
	X(HTTP_NO_MEMORY, "no-memory", 503, "out of memory")								\
	X(HTTP_BAD_ANSWER, "bad-answer", 500, "a header of the answer cannot be sent")					\
	X(HTTP_SLOW_READER, "slow-reader", 0, "the client took nothing of its answer in time")				\
	X(HTTP_IDLE, "idle", 0, "no request came in time")								\
	X(HTTP_GAVE_WAY, "gave-way", 0, "an idle connection made room for a new one")

#define HTTP_REFUSAL_ENUM(refusal, name, status, text) refusal,
enum http_refusal { HTTP_REFUSALS(HTTP_REFUSAL_ENUM) HTTP_REFUSAL_COUNT };
#undef HTTP_REFUSAL_ENUM

const char *http_refusal_name(enum http_refusal refusal); /* "slow-head" */
int http_refusal_status(enum http_refusal refusal);
const char *http_refusal_text(enum http_refusal refusal);

struct http_counters { /* of a server; since it began */
	uint64_t connections, requests;
	uint64_t refused[HTTP_REFUSAL_COUNT];
};
