/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent writes into an endpoint's kernel slot beside its health. */
#pragma once

#include <stdint.h>

#include "maps/abi/endpoint.h"

/* Ends an ejection and forgets errors, as a probe that succeeded does. `now_ns`: CLOCK_MONOTONIC. */
static inline void endpoint_readmit(struct endpoint *endpoint, uint64_t now_ns)
{
	__atomic_store_n(&endpoint->connect_errors, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&endpoint->reset_errors, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&endpoint->http_errors, 0, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&endpoint->ejected_until_ns, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&endpoint->readmitted_ns, now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&endpoint->ejected_until_ns, 0, __ATOMIC_RELEASE);
}
