/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is tried again (App Mesh API: HttpRetryPolicy, GrpcRetryPolicy; user guide "Retry policy" for what the events mean and
 * for the policy of those that have none; back-off as Envoy's). No clock and no randomness of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/time.h"

enum retry_event { /* bits */
	RETRY_SERVER_ERROR = 1 << 0, /* 500..508, 510, 511, or no response */
	RETRY_GATEWAY_ERROR = 1 << 1, /* 502, 503, 504, or no response */
	RETRY_CLIENT_ERROR = 1 << 2, /* 409 */
	RETRY_STREAM_ERROR = 1 << 3, /* the stream was refused */
	RETRY_CONNECTION_ERROR = 1 << 4, /* no connection came about */
	RETRY_CANCELLED = 1 << 5, /* gRPC: status 1, in the response's headers */
	RETRY_DEADLINE_EXCEEDED = 1 << 6, /* 4 */
	RETRY_INTERNAL = 1 << 7, /* 13 */
	RETRY_RESOURCE_EXHAUSTED = 1 << 8, /* 8 */
	RETRY_UNAVAILABLE = 1 << 9, /* 14 */
	RETRY_RESET = 1 << 10, /* no response, without a status; part of the two above that have "no response" */
	RETRY_503 = 1 << 11, /* of the default policy */
};

struct retry_policy {
	uint32_t events;
	uint32_t max_retries; /* after the first try; 0: none */
	uint64_t try_timeout_ns; /* of each try, the first too; 0: none */
};

extern const struct retry_policy retry_default_policy;
/* "retryPolicy" of a route, checked by spec; NULL: the default policy. */
struct retry_policy retry_policy_read(const json_t *json);

/* Names of a policy's events, from i = 0 on, as resources have them; "reset" and "503" are the default policy's. NULL: no more of them. */
const char *retry_event_name(uint32_t events, size_t i);
bool retry_policy_is_default(const struct retry_policy *policy);

/* How a try ended. */
enum retry_outcome {
	RETRY_RESPONSE, /* `status`, and `grpc_status` where the headers have one */
	RETRY_NO_CONNECTION,
	RETRY_NO_RESPONSE, /* reset or closed before its head was whole */
	RETRY_REFUSED_STREAM,
	RETRY_TRY_TIMED_OUT,
};
struct retry_try {
	enum retry_outcome outcome;
	int status;
	int grpc_status; /* -1: none */
};
/* Whether the policy names what happened. */
bool retry_covers(const struct retry_policy *policy, const struct retry_try *ended);

/* Why there is another try, or none. Each is counted by its name. */
enum retry_verdict {
	RETRY_AGAIN,
	RETRY_NOT_COVERED, /* it went well, or no event of the policy is like it */
	RETRY_LIMIT, /* maxRetries */
	RETRY_BODY_TOO_LARGE, /* more was sent than is kept */
	RETRY_OVER_BUDGET,
	RETRY_NO_TIME, /* the request's own timeout would come first */
};
const char *retry_verdict_name(enum retry_verdict verdict); /* "retry", "retry-limit" … */

#define RETRY_BODY_BYTES (64 * 1024) /* of a request, kept to be sent again */
/* Retries at once on a node: up to the first number always, beyond it up to that share of the requests at once. */
#define RETRY_BUDGET_FREE 100
#define RETRY_BUDGET_PCT 20

struct retry_budget { /* of a node */
	uint64_t requests, retries; /* at this moment */
};
bool retry_budget_allows(const struct retry_budget *budget);

struct retry_state { /* of a request */
	uint32_t retries; /* made */
	bool body_lost; /* more than RETRY_BODY_BYTES went by */
	uint64_t deadline_ns; /* of the request; 0: none */
};
/* After a try. RETRY_AGAIN counts one more in `state`, and *ret_at_ns is when to begin. `random`: 32 bits. */
enum retry_verdict retry_decide(const struct retry_policy *policy, struct retry_state *state, const struct retry_budget *budget,
				const struct retry_try *ended, uint64_t now_ns, uint32_t random, uint64_t *ret_at_ns);
