/* SPDX-License-Identifier: Apache-2.0 */
/* A set of socket cookies. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cookies { /* empty when all zero */
	uint64_t *places; /* 0: free */
	size_t count, capacity; /* a power of two */
};

int cookies_add(struct cookies *cookies, uint64_t cookie); /* 1: added; 0: it was there; -ENOMEM */
void cookies_done(struct cookies *cookies);
