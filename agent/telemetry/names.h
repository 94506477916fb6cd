/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers of the maps are called. The tables of maps/abi are the only list. */
#pragma once

#include <stdint.h>

#include "maps/abi/endpoint.h"
#include "maps/abi/event.h"
#include "maps/abi/reason.h"

const char *reason_name(uint32_t reason); /* "not-a-backend"; "?" for a number out of range */
const char *reason_text(uint32_t reason); /* what it means, one line */
int reason_by_name(const char *name); /* -1: no such reason */
const char *verdict_name(enum verdict verdict); /* "route", "pass", "refuse", "deny", "unmanaged" */
const char *flow_close_name(uint32_t how); /* "closed", "reset-by-peer", … */
const char *stat_name(enum statistic stat);
const char *stat_text(enum statistic stat);
const char *health_name(uint32_t health); /* "unchecked", "up", "down", "pending" */
/* The health, or "ejected" where that alone keeps the endpoint from being used. */
const char *endpoint_state_name(const struct endpoint *endpoint);
const char *tcp_state_name(uint32_t state); /* "established"; include/net/tcp_states.h */
