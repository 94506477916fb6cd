/* SPDX-License-Identifier: Apache-2.0 */
/* The table of listeners that weft-proxy serves (maps/abi/inbound.h), for the agent. It works where the namespace has the program `lookup`
 * (loader/lookup.h). */
#pragma once

#include "maps/kernel.h"

/* 0 or -errno; -ENOENT on removal is no error; -E2BIG when the table is full. Takes effect with the next connection. From the first one on hooks
 * look for such listeners, and for what came by weft-proxy (SERVING_PROXIED). */
int intercept_set(struct kernel *kernel, const struct serving_key *key, const struct intercept *intercept);
int intercept_remove(struct kernel *kernel, const struct serving_key *key);

/* A walk, as in maps/kernel.h. */
typedef int intercept_fn(const struct serving_key *key, const struct intercept *intercept, void *arg);
int intercept_each(struct kernel *kernel, intercept_fn *fn, void *arg);

/* The agent's own way to an application that is behind weft-proxy: as proxy_way_set() and proxy_way_remove(), which are weft-proxy's. */
int intercept_way_set(struct kernel *kernel, const struct proxy_way_key *key);
int intercept_way_remove(struct kernel *kernel, const struct proxy_way_key *key);
