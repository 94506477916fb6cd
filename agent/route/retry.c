/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/retry.h"

#include <string.h>

#include "agent/spec/field.h"
#include "base/cleanup.h"

/* Envoy's: full jitter over (2^n - 1) times the base, up to the cap. */
#define BACKOFF_BASE_NS (25 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (250 * NSEC_PER_MSEC)

const struct retry_policy retry_default_policy = {
	.events = RETRY_UNAVAILABLE | RETRY_503 | RETRY_CONNECTION_ERROR | RETRY_STREAM_ERROR | RETRY_RESET,
	.max_retries = 2,
};

static const struct {
	const char *name;
	uint32_t event;
} event_names[] = {
	{ "server-error", RETRY_SERVER_ERROR },	    { "gateway-error", RETRY_GATEWAY_ERROR },
	{ "client-error", RETRY_CLIENT_ERROR },	    { "stream-error", RETRY_STREAM_ERROR },
	{ "connection-error", RETRY_CONNECTION_ERROR }, { "cancelled", RETRY_CANCELLED },
	{ "deadline-exceeded", RETRY_DEADLINE_EXCEEDED }, { "internal", RETRY_INTERNAL },
	{ "resource-exhausted", RETRY_RESOURCE_EXHAUSTED }, { "unavailable", RETRY_UNAVAILABLE },
};
const char *retry_event_name(uint32_t events, size_t i)
{
	static const struct {
		const char *name;
		uint32_t event;
	} others[] = { { "reset", RETRY_RESET }, { "503", RETRY_503 } }; /* no resource names them */

	for (size_t n = 0; n < ARRAY_SIZE(event_names); n++)
		if (events & event_names[n].event && i-- == 0)
			return event_names[n].name;
	for (size_t n = 0; n < ARRAY_SIZE(others); n++)
		if (events & others[n].event && i-- == 0)
			return others[n].name;
	return NULL;
}

bool retry_policy_is_default(const struct retry_policy *policy)
{
	return policy->events == retry_default_policy.events && policy->max_retries == retry_default_policy.max_retries &&
	       policy->try_timeout_ns == retry_default_policy.try_timeout_ns;
}

static uint32_t events_read(const json_t *json, const char *list)
{
	uint32_t events = 0;

	for (size_t i = 0; i < json_path_count(json, list); i++)
		for (size_t n = 0; n < ARRAY_SIZE(event_names); n++)
			if (!strcmp(json_string_value(json_path_at(json, list, i)), event_names[n].name))
				events |= event_names[n].event;
	return events;
}

struct retry_policy retry_policy_read(const json_t *json)
{
	if (!json)
		return retry_default_policy;
	return (struct retry_policy){
		.events = events_read(json, "httpRetryEvents") | events_read(json, "tcpRetryEvents") | events_read(json, "grpcRetryEvents"),
		.max_retries = json_path_int(json, "maxRetries", 0),
		.try_timeout_ns = duration_ns(json_path(json, "perRetryTimeout"), 0),
	};
}

static uint32_t events_of_status(int status)
{
	uint32_t events = 0;

	if ((status >= 500 && status <= 508) || status == 510 || status == 511)
		events |= RETRY_SERVER_ERROR;
	if (status >= 502 && status <= 504)
		events |= RETRY_GATEWAY_ERROR;
	if (status == 503)
		events |= RETRY_503;
	if (status == 409)
		events |= RETRY_CLIENT_ERROR;
	return events;
}

static uint32_t events_of_grpc_status(int status)
{
	switch (status) {
	case 1:
		return RETRY_CANCELLED;
	case 4:
		return RETRY_DEADLINE_EXCEEDED;
	case 8:
		return RETRY_RESOURCE_EXHAUSTED;
	case 13:
		return RETRY_INTERNAL;
	case 14:
		return RETRY_UNAVAILABLE;
	default:
		return 0;
	}
}

#define NO_RESPONSE (RETRY_SERVER_ERROR | RETRY_GATEWAY_ERROR | RETRY_RESET)

static uint32_t events_of(const struct retry_try *ended)
{
	switch (ended->outcome) {
	case RETRY_RESPONSE:
		return events_of_status(ended->status) | events_of_grpc_status(ended->grpc_status);
	case RETRY_NO_CONNECTION:
		return RETRY_CONNECTION_ERROR;
	case RETRY_REFUSED_STREAM:
		return RETRY_STREAM_ERROR | NO_RESPONSE;
	default:
		return NO_RESPONSE;
	}
}

bool retry_covers(const struct retry_policy *policy, const struct retry_try *ended)
{
	return policy->events & events_of(ended);
}

bool retry_budget_allows(const struct retry_budget *budget)
{
	return budget->retries < MAX((uint64_t)RETRY_BUDGET_FREE, budget->requests * RETRY_BUDGET_PCT / 100);
}

static uint64_t backoff_ns(uint32_t nth, uint32_t random)
{
	const uint64_t bound_ns = nth < 8 ? MIN(((1ull << nth) - 1) * BACKOFF_BASE_NS, BACKOFF_MAX_NS) : BACKOFF_MAX_NS;

	return bound_ns * random >> 32;
}

static const char *const verdict_names[] = {
	[RETRY_AGAIN] = "retry",
	[RETRY_NOT_COVERED] = "retry-not-covered",
	[RETRY_LIMIT] = "retry-limit",
	[RETRY_BODY_TOO_LARGE] = "retry-body-too-large",
	[RETRY_OVER_BUDGET] = "retry-over-budget",
	[RETRY_NO_TIME] = "retry-no-time",
};

const char *retry_verdict_name(enum retry_verdict verdict)
{
	return verdict_names[verdict];
}

enum retry_verdict retry_decide(const struct retry_policy *policy, struct retry_state *state, const struct retry_budget *budget,
				const struct retry_try *ended, uint64_t now_ns, uint32_t random, uint64_t *ret_at_ns)
{
	uint64_t at_ns;

	if (!retry_covers(policy, ended))
		return RETRY_NOT_COVERED;
	if (state->retries >= policy->max_retries)
		return RETRY_LIMIT;
	if (state->body_lost)
		return RETRY_BODY_TOO_LARGE;
	if (!retry_budget_allows(budget))
		return RETRY_OVER_BUDGET;
	at_ns = now_ns + backoff_ns(state->retries + 1, random);
	if (state->deadline_ns && at_ns >= state->deadline_ns)
		return RETRY_NO_TIME;
	state->retries++;
	*ret_at_ns = at_ns;
	return RETRY_AGAIN;
}
