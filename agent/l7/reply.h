/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that the proxy makes itself, and other ways in which a request comes to no answer of its target: status, body, response flag and
 * details as Envoy has them, for that is what alarms and dashboards of App Mesh users look at. Each is counted by its name. */
#pragma once

#include "agent/access_log/entry.h"
#include "base/span.h"

/* X(symbol, name, status, response flag (access_log/entry.h), details, body, what it means to a person); status 0:
 * nothing is answered. */
#define L7_REPLIES(X) \
	X(NO_ROUTE, "no-route", 404, NO_ROUTE_FOUND, "route_not_found", "", \
	  "no route of the service, or of the gateway, takes the request; or Host names no backend under DROP_ALL") \
	X(NO_SERVICE, "no-service", 404, NO_ROUTE_FOUND, "route_not_found", "", \
	  "the service that was connected to is none any more, or a gateway route's has no such port") \
	X(NO_TARGET, "no-target", 503, NO_CLUSTER_FOUND, "cluster_not_found", "", \
	  "the route leads to a virtual node that does not exist, or all its weights are 0") \
	X(NO_HEALTHY, "no-healthy-upstream", 503, NO_HEALTHY_UPSTREAM, "no_healthy_upstream", \
	  "no healthy upstream", \
	  "the target has no endpoint that can be used") \
	X(NEEDS_TLS, "needs-tls", 503, UPSTREAM_CONNECTION_FAILURE, "needs_tls", \
	  "the target demands TLS, which weft does not speak yet", \
	  "the target demands TLS, which weft does not speak yet") \
	X(CONNECT_FAILED, "connect-failed", 503, UPSTREAM_CONNECTION_FAILURE, "upstream_reset_before_response_started{connection_failure}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: connection failure", \
	  "the endpoint refused, or could not be reached, and there was no other try") \
	X(CONNECT_TIMEOUT, "connect-timeout", 503, UPSTREAM_CONNECTION_FAILURE, "upstream_reset_before_response_started{connection_timeout}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: connection timeout", \
	  "the endpoint did not answer within a second") \
	X(UPSTREAM_CLOSED, "upstream-closed", 503, UPSTREAM_CONNECTION_TERMINATION, "upstream_reset_before_response_started{connection_termination}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: connection termination", \
	  "the endpoint closed or reset before its answer") \
	X(UPSTREAM_PROTOCOL, "upstream-protocol", 502, UPSTREAM_PROTOCOL_ERROR, "upstream_reset_before_response_started{protocol_error}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: protocol error", \
	  "what the endpoint sent is no HTTP/1.1") \
	X(OVERFLOW, "overflow", 503, UPSTREAM_OVERFLOW, "upstream_reset_before_response_started{overflow}", \
	  "upstream connect error or disconnect/reset before headers. reset reason: overflow", \
	  "the listener has as many connections and waiting requests as its pool allows") \
	X(REQUEST_TIMEOUT, "request-timeout", 504, UPSTREAM_REQUEST_TIMEOUT, "response_timeout", \
	  "upstream request timeout", \
	  "the answer did not come in time (perRequest)") \
	X(TRY_TIMEOUT, "try-timeout", 504, UPSTREAM_REQUEST_TIMEOUT, "upstream_per_try_timeout", \
	  "upstream request timeout", \
	  "nor did the last try's (perRetryTimeout)") \
	X(IDLE_TIMEOUT, "idle-timeout", 504, STREAM_IDLE_TIMEOUT, "stream_idle_timeout", \
	  "stream timeout", \
	  "nothing moved for as long as the idle time-out") \
	X(SLOW_REQUEST, "slow-request", 408, STREAM_IDLE_TIMEOUT, "request_overall_timeout", \
	  "request timeout", \
	  "the request did not come in time") \
	X(BAD_REQUEST, "bad-request", 400, DOWNSTREAM_PROTOCOL_ERROR, "http1.codec_error", \
	  "Bad Request", \
	  "what the program sent is no HTTP/1.1, or could be read in two ways") \
	X(LARGE_HEAD, "large-head", 431, DOWNSTREAM_PROTOCOL_ERROR, "request_headers_too_large", \
	  "Request Header Fields Too Large", \
	  "the head has more than 60 KiB, or 128 headers") \
	X(NO_CODING, "unknown-coding", 501, DOWNSTREAM_PROTOCOL_ERROR, "http1.unsupported_transfer_encoding", \
	  "Not Implemented", \
	  "the only transfer coding known here is chunked, once") \
	X(BAD_VERSION, "bad-version", 505, DOWNSTREAM_PROTOCOL_ERROR, "http1.unsupported_version", \
	  "HTTP Version Not Supported", \
	  "only HTTP/1.1 and HTTP/1.0 are spoken here") \
	X(BAD_PATH, "bad-path", 400, DOWNSTREAM_PROTOCOL_ERROR, "path_normalization_failed", "", \
	  "the target is no path") \
	X(CONNECT_METHOD, "connect-method", 404, NO_ROUTE_FOUND, "route_not_found", "", \
	  "CONNECT: no route takes it") \
	X(NO_MEMORY, "no-memory", 503, OVERLOAD, "out_of_memory", \
	  "out of memory", \
	  "out of memory, or of descriptors") \
	X(CUT_OFF, "response-cut-off", 0, UPSTREAM_CONNECTION_TERMINATION, "upstream_reset_after_response_started{connection_termination}", "", \
	  "the endpoint closed amid its answer") \
	X(CUT_BY_TIMEOUT, "response-timeout", 0, UPSTREAM_REQUEST_TIMEOUT, "response_timeout", "", \
	  "the answer began in time, and did not end in time") \
	X(CUT_BY_IDLE, "response-idle", 0, STREAM_IDLE_TIMEOUT, "stream_idle_timeout", "", \
	  "amid an answer nothing moved for as long as the idle time-out") \
	X(CUT_PROTOCOL, "response-protocol", 0, UPSTREAM_PROTOCOL_ERROR, "upstream_reset_after_response_started{protocol_error}", "", \
	  "amid an answer came what is no HTTP/1.1") \
	X(CLIENT_GONE, "client-gone", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_remote_disconnect", "", \
	  "the program went before its answer was whole") \
	X(ENDED, "ended", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_local_disconnect", "", \
	  "the workload ended, or weft-proxy did") \
	X(DRAIN_LIMIT, "drain-limit", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_local_disconnect", "", \
	  "weft-proxy was replaced, and this took longer than it may") \
	X(FILTER_CLOSED, "filter-closed", 0, DOWNSTREAM_CONNECTION_TERMINATION, "downstream_local_disconnect", "", \
	  "it went past the mesh, whose egressFilter is DROP_ALL by now")

#define X(symbol, name, status, flag, details, body, text) L7_##symbol,
enum l7_reply { L7_REPLIES(X) L7_REPLY_COUNT };
#undef X

struct l7_reply_row {
	const char *name;
	int status;
	enum access_log_flag flag;
	const char *details;
	struct span body;
	const char *text;
};
extern const struct l7_reply_row l7_replies[L7_REPLY_COUNT];
