/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that the proxy makes itself, and other ways in which a request comes to no answer of its target: status, body, response flag and
 * details as Envoy has them, for that is what alarms and dashboards of App Mesh users look at. Each is counted by its name. */
#pragma once

#include "agent/access_log/entry.h"
#include "base/span.h"

/* X(symbol, name, status, response flag (access_log/entry.h), details, body); status 0: nothing is answered. */
#define L7_REPLIES(X)                                                                                                         \
	X(NO_ROUTE, "no-route", 404, NO_ROUTE_FOUND, "route_not_found", "") \
	X(NO_SERVICE, "no-service", 404, NO_ROUTE_FOUND, "route_not_found", "") \
	X(NO_TARGET, "no-target", 503, NO_CLUSTER_FOUND, "cluster_not_found", "") \
	X(NO_HEALTHY, "no-healthy-upstream", 503, NO_HEALTHY_UPSTREAM, "no_healthy_upstream", "no healthy upstream") \
	X(NEEDS_TLS, "needs-tls", 503, UPSTREAM_CONNECTION_FAILURE, "needs_tls", "the target demands TLS, which weft does not speak yet") \
	X(CONNECT_FAILED, "connect-failed", 503, UPSTREAM_CONNECTION_FAILURE, "upstream_reset_before_response_started{connection_failure}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: connection failure")                       \
	X(CONNECT_TIMEOUT, "connect-timeout", 503, UPSTREAM_CONNECTION_FAILURE, "upstream_reset_before_response_started{connection_timeout}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: connection timeout")                       \
	X(UPSTREAM_CLOSED, "upstream-closed", 503, UPSTREAM_CONNECTION_TERMINATION, "upstream_reset_before_response_started{connection_termination}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: connection termination")                   \
	X(UPSTREAM_PROTOCOL, "upstream-protocol", 502, UPSTREAM_PROTOCOL_ERROR, "upstream_reset_before_response_started{protocol_error}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: protocol error")                           \
	X(OVERFLOW, "overflow", 503, UPSTREAM_OVERFLOW, "upstream_reset_before_response_started{overflow}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: overflow")                                 \
	X(REQUEST_TIMEOUT, "request-timeout", 504, UPSTREAM_REQUEST_TIMEOUT, "response_timeout", "upstream request timeout") \
	X(TRY_TIMEOUT, "try-timeout", 504, UPSTREAM_REQUEST_TIMEOUT, "upstream_per_try_timeout", "upstream request timeout") \
	X(IDLE_TIMEOUT, "idle-timeout", 504, STREAM_IDLE_TIMEOUT, "stream_idle_timeout", "stream timeout") \
	X(SLOW_REQUEST, "slow-request", 408, STREAM_IDLE_TIMEOUT, "request_overall_timeout", "request timeout") \
	X(BAD_REQUEST, "bad-request", 400, DOWNSTREAM_PROTOCOL_ERROR, "http1.codec_error", "Bad Request") \
	X(LARGE_HEAD, "large-head", 431, DOWNSTREAM_PROTOCOL_ERROR, "request_headers_too_large", "Request Header Fields Too Large") \
	X(NO_CODING, "unknown-coding", 501, DOWNSTREAM_PROTOCOL_ERROR, "http1.unsupported_transfer_encoding", "Not Implemented") \
	X(BAD_VERSION, "bad-version", 505, DOWNSTREAM_PROTOCOL_ERROR, "http1.unsupported_version", "HTTP Version Not Supported") \
	X(BAD_PATH, "bad-path", 400, DOWNSTREAM_PROTOCOL_ERROR, "path_normalization_failed", "") \
	X(CONNECT_METHOD, "connect-method", 404, NO_ROUTE_FOUND, "route_not_found", "") \
	X(NO_MEMORY, "no-memory", 503, OVERLOAD, "out_of_memory", "out of memory") \
	X(CUT_OFF, "response-cut-off", 0, UPSTREAM_CONNECTION_TERMINATION, "upstream_reset_after_response_started{connection_termination}", "") \
	X(CUT_BY_TIMEOUT, "response-timeout", 0, UPSTREAM_REQUEST_TIMEOUT, "response_timeout", "") \
	X(CUT_BY_IDLE, "response-idle", 0, STREAM_IDLE_TIMEOUT, "stream_idle_timeout", "") \
	X(CUT_PROTOCOL, "response-protocol", 0, UPSTREAM_PROTOCOL_ERROR, "upstream_reset_after_response_started{protocol_error}", "") \
	X(CLIENT_GONE, "client-gone", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_remote_disconnect", "") \
	X(ENDED, "ended", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_local_disconnect", "") \
	X(DRAIN_LIMIT, "drain-limit", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_local_disconnect", "")

#define X(symbol, name, status, flag, details, body) L7_##symbol,
enum l7_reply { L7_REPLIES(X) L7_REPLY_COUNT };
#undef X

struct l7_reply_row {
	const char *name;
	int status;
	enum access_log_flag flag;
	const char *details;
	struct span body;
};
extern const struct l7_reply_row l7_replies[L7_REPLY_COUNT];
