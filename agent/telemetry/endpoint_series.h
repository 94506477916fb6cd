/* SPDX-License-Identifier: Apache-2.0 */
/* Requests by endpoint, as weft-proxy counts them in the kernel's slots (maps/abi/endpoint.h): which endpoints are told of by themselves, and what
 * all others have had together, which never goes back. That an endpoint is among the first is found out when it has its first request, and
 * stays so for as long as it is there. No two threads at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maps/abi/endpoint.h"

#define ENDPOINT_SERIES_MAX 1024

struct endpoint_requests {
	uint64_t requests, failures;
};

struct endpoint_series;
struct endpoint_series *endpoint_series_new(void); /* NULL: no memory */
struct endpoint_series *endpoint_series_free(struct endpoint_series *series); /* NULL is fine */

/* A reading: begun, each slot that there is now, ended. */
void endpoint_series_begin(struct endpoint_series *series);
/* Whether it is told of by itself. A slot may come several times. Without memory it is not, and not among the others either. */
bool endpoint_series_take(struct endpoint_series *series, uint32_t slot, const struct endpoint *state);
struct endpoint_requests endpoint_series_end(struct endpoint_series *series); /* what the others have had */
