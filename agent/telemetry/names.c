/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/names.h"

#include <string.h>

#include "base/cleanup.h"

#define NAME_OF(table, index) ((index) < ARRAY_SIZE(table) && (table)[index] ? (table)[index] : "?")

static const char *const reason_names[] = {
#define X(symbol, name, verdict, text) [REASON_##symbol] = name,
	REASONS(X)
#undef X
};
static const char *const reason_texts[] = {
#define X(symbol, name, verdict, text) [REASON_##symbol] = text,
	REASONS(X)
#undef X
};
static const char *const stat_names[] = {
#define X(symbol, name, text) [STAT_##symbol] = name,
	STATS(X)
#undef X
};
static const char *const stat_texts[] = {
#define X(symbol, name, text) [STAT_##symbol] = text,
	STATS(X)
#undef X
};
static const char *const verdict_names[] = {
	[VERDICT_UNMANAGED] = "unmanaged", [VERDICT_PASS] = "pass", [VERDICT_ROUTE] = "route",
	[VERDICT_REFUSE] = "refuse",	   [VERDICT_DENY] = "deny",
};
static const char *const close_names[] = {
	[FLOW_REFUSED_HERE] = "refused-here",
	[FLOW_CLOSED] = "closed",
	[FLOW_RESET_BY_PEER] = "reset-by-peer",
	[FLOW_ABORTED] = "aborted",
	[FLOW_DRAINED] = "drained",
	[FLOW_POLICY_CHANGED] = "policy-changed",
	[FLOW_CONNECT_REFUSED] = "connect-refused",
	[FLOW_CONNECT_TIMED_OUT] = "connect-timed-out",
	[FLOW_CONNECT_UNREACHABLE] = "connect-unreachable",
	[FLOW_CONNECT_ABANDONED] = "connect-abandoned",
	[FLOW_CONNECT_FAILED] = "connect-failed",
};
static const char *const health_names[] = {
	[HEALTH_UNCHECKED] = "unchecked",
	[HEALTH_UP] = "up",
	[HEALTH_DOWN] = "down",
	[HEALTH_PENDING] = "pending",
};
static const char *const state_names[] = {
	[1] = "established", [2] = "syn-sent",	[3] = "syn-received", [4] = "fin-wait-1", [5] = "fin-wait-2", [6] = "time-wait",
	[7] = "close",	     [8] = "close-wait", [9] = "last-ack",     [10] = "listen",    [11] = "closing",
};

const char *reason_name(uint32_t reason)
{
	return NAME_OF(reason_names, reason);
}

const char *reason_text(uint32_t reason)
{
	return NAME_OF(reason_texts, reason);
}

int reason_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(reason_names); i++)
		if (!strcmp(reason_names[i], name))
			return i;
	return -1;
}

const char *verdict_name(enum verdict verdict)
{
	return NAME_OF(verdict_names, (size_t)verdict);
}

const char *flow_close_name(uint32_t how)
{
	return NAME_OF(close_names, how);
}

const char *stat_name(enum statistic stat)
{
	return NAME_OF(stat_names, (size_t)stat);
}

const char *stat_text(enum statistic stat)
{
	return NAME_OF(stat_texts, (size_t)stat);
}

const char *endpoint_state_name(const struct endpoint *endpoint)
{
	return endpoint->health < HEALTH_DOWN && endpoint->ejected_until_ns ? "ejected" : health_name(endpoint->health);
}

const char *health_name(uint32_t health)
{
	return NAME_OF(health_names, health);
}

const char *tcp_state_name(uint32_t state)
{
	return NAME_OF(state_names, state);
}
