/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a request, its response and its connections when a line is written about it: plain data, all of it borrowed from
 * whoever handled the request, for as long as a call takes. Zero stands for what is not there, unless said otherwise.
 * Names and meanings are those of Envoy's access log (v1.29, configuration/observability/access_log/usage). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/http/head.h"
#include "base/span.h"
#include "maps/abi/types.h"

/* %RESPONSE_FLAGS%, in the order in which Envoy prints several. */
#define ACCESS_LOG_FLAGS(FLAG)                                                                                                \
	FLAG(FAILED_LOCAL_HEALTH_CHECK, "LH", "FailedLocalHealthCheck")                                                        \
	FLAG(NO_HEALTHY_UPSTREAM, "UH", "NoHealthyUpstream")                                                                   \
	FLAG(UPSTREAM_REQUEST_TIMEOUT, "UT", "UpstreamRequestTimeout")                                                         \
	FLAG(LOCAL_RESET, "LR", "LocalReset")                                                                                  \
	FLAG(UPSTREAM_REMOTE_RESET, "UR", "UpstreamRemoteReset")                                                               \
	FLAG(UPSTREAM_CONNECTION_FAILURE, "UF", "UpstreamConnectionFailure")                                                   \
	FLAG(UPSTREAM_CONNECTION_TERMINATION, "UC", "UpstreamConnectionTermination")                                           \
	FLAG(UPSTREAM_OVERFLOW, "UO", "UpstreamOverflow")                                                                      \
	FLAG(NO_ROUTE_FOUND, "NR", "NoRouteFound")                                                                             \
	FLAG(RATE_LIMITED, "RL", "RateLimited")                                                                                \
	FLAG(DOWNSTREAM_CONNECTION_TERMINATION, "DC", "DownstreamConnectionTermination")                                       \
	FLAG(UPSTREAM_RETRY_LIMIT_EXCEEDED, "URX", "UpstreamRetryLimitExceeded")                                               \
	FLAG(STREAM_IDLE_TIMEOUT, "SI", "StreamIdleTimeout")                                                                   \
	FLAG(INVALID_REQUEST_HEADERS, "IH", "InvalidEnvoyRequestHeaders")                                                      \
	FLAG(DOWNSTREAM_PROTOCOL_ERROR, "DPE", "DownstreamProtocolError")                                                      \
	FLAG(UPSTREAM_MAX_STREAM_DURATION_REACHED, "UMSDR", "UpstreamMaxStreamDurationReached")                                \
	FLAG(DURATION_TIMEOUT, "DT", "DurationTimeout")                                                                        \
	FLAG(UPSTREAM_PROTOCOL_ERROR, "UPE", "UpstreamProtocolError")                                                          \
	FLAG(NO_CLUSTER_FOUND, "NC", "NoClusterFound")                                                                         \
	FLAG(OVERLOAD, "OM", "OverloadManagerTerminated")                                                                      \
	FLAG(DNS_FAILURE, "DF", "DnsResolutionFailed")

enum access_log_flag { /* numbers of bits */
#define ACCESS_LOG_FLAG_NAME(name, short_text, long_text) ACCESS_LOG_##name,
	ACCESS_LOG_FLAGS(ACCESS_LOG_FLAG_NAME)
#undef ACCESS_LOG_FLAG_NAME
	ACCESS_LOG_FLAG_COUNT,
};
#define ACCESS_LOG_FLAG(name) (1u << ACCESS_LOG_##name)

enum access_log_protocol { ACCESS_LOG_NO_PROTOCOL, ACCESS_LOG_HTTP_1_0, ACCESS_LOG_HTTP_1_1, ACCESS_LOG_HTTP_2 };

struct access_log_address {
	struct ip ip;
	__be16 port;
	bool known;
};

struct access_log_headers {
	const struct http_header *list;
	size_t count;
};

#define ACCESS_LOG_NO_DURATION UINT64_MAX

struct access_log_entry {
	/* The request. */
	uint64_t start_wall_ns; /* since the epoch */
	enum access_log_protocol protocol, upstream_protocol;
	struct span method, scheme, authority;
	struct span path; /* with its query, as it went upstream */
	struct span original_path; /* as it came, where it was rewritten */
	/* Headers: what the proxy set stands before what came; a value without data (NULL) is one that the proxy took out. */
	struct access_log_headers request_set, request;
	struct access_log_headers response_set, response, trailers; /* trailers of the response */

	/* What became of it. */
	int status; /* 0: no response was begun */
	uint32_t flags; /* ACCESS_LOG_FLAG() */
	struct span details; /* "via_upstream", "route_not_found": Envoy's response code details */
	struct span local_reply_body;
	uint64_t attempts; /* upstream */
	uint64_t bytes_received, bytes_sent; /* of bodies */

	/* Since start_wall_ns, by the monotonic clock, or ACCESS_LOG_NO_DURATION. */
	uint64_t duration_ns; /* until now: the last byte went out */
	uint64_t request_end_ns; /* the last byte of the request came */
	uint64_t request_sent_ns; /* the last byte of it went upstream */
	uint64_t response_begin_ns; /* the first byte came from upstream */
	uint64_t response_sent_ns; /* the last byte went downstream */

	/* Who with whom. */
	uint64_t connection_id;
	struct access_log_address downstream_remote, downstream_direct_remote, downstream_local; /* direct: whatever x-forwarded-for says */
	struct access_log_address upstream_host;
	struct span cluster, route;
	struct span hostname; /* of the workload */
};
