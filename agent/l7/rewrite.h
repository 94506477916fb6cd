/* SPDX-License-Identifier: Apache-2.0 */
/* Heads on their way through the proxy: what is of one connection only is left out (RFC 9110 section 7.6.1), what Envoy adds in App Mesh is
 * added (Envoy documentation, "HTTP header manipulation"), everything else stays as it came. Pure. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/http/head.h"
#include "base/bytes.h"

#define REQUEST_ID_BYTES 37
/* "xxxxxxxx-xxxx-4xxx-…", a version 4 UUID (RFC 9562) of 128 random bits. Returns `buffer`. */
const char *request_id_format(uint64_t high, uint64_t low, char buffer[REQUEST_ID_BYTES]);

/* What to do with a header by its name alone. */
enum header_rule {
	HEADER_KEPT,
	HEADER_OF_CONNECTION, /* Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade: of one connection */
	HEADER_EXPECT,
	HEADER_HOST,
	HEADER_REQUEST_ID,
	HEADER_FORWARDED_PROTO,
	HEADER_FORWARDED_FOR,
	HEADER_ENVOY, /* x-envoy-…: some are ours to give, none is believed where it comes from outside */
	HEADER_FROM_OUTSIDE, /* x-forwarded-client-cert, x-app-mesh-virtual-service, x-weft-…: not believed where it comes from outside */
	HEADER_SERVER,
	HEADER_DATE,
	HEADER_LENGTH,
};
enum header_rule header_rule_of(struct span name);
/* Whether a list of tokens, as Connection has one, names it, in any case. */
bool header_names(const struct http_head *head, struct span list, struct span token);

struct request_rewrite {
	struct span target; /* "/path?query" */
	struct span host; /* where the head has none, or another one is to be sent */
	bool host_replaced;
	const char *request_id; /* where the head has none; NULL: none is added */
	const char *forwarded_for; /* to be appended; NULL: X-Forwarded-For stays as it is */
	struct span original_path; /* no data: the path was not rewritten */
	uint32_t attempt; /* 1: the first; 0: the head says it already */
	bool upgrade; /* Upgrade goes through */
	bool from_outside; /* a gateway's: what only the mesh may say is left out */
};
/* Appends the head of a request, HTTP/1.1, with its last line. Out of memory is the buffer's to tell. */
void request_head_write(struct buffer *out, const struct http_head *head, const struct request_rewrite *rewrite);

enum body_framing { /* of what is sent */
	FRAMING_NONE, /* there is no body */
	FRAMING_LENGTH,
	FRAMING_CHUNKED,
	FRAMING_CLOSE, /* it ends with the connection */
};

struct response_rewrite {
	enum body_framing framing;
	const char *connection; /* "close", "keep-alive"; NULL: the header is left out */
	uint64_t service_ms; /* x-envoy-upstream-service-time */
	const char *date; /* where the head has none */
	bool upgrade;
};
void response_head_write(struct buffer *out, const struct http_head *head, const struct response_rewrite *rewrite);

/* "1f\r\n" before, "\r\n" behind a piece of a chunked body; the last chunk. */
void chunk_begin(struct buffer *out, size_t length);
#define CHUNK_END SPAN("\r\n")
#define CHUNK_LAST SPAN("0\r\n\r\n")
