/* SPDX-License-Identifier: Apache-2.0 */
/* Asks DNS servers for addresses: c-ares on the loop, which does what a stub resolver has to (several servers, retries, EDNS, TCP
 * where an answer is truncated, chains of CNAMEs). Names are absolute; no hosts file, no search list. Without servers of its own it
 * asks those of /etc/resolv.conf, and follows changes of that file. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/error.h"
#include "maps/abi/types.h"

struct resolver;

/* `servers`: "IP[:PORT]"; none: those of /etc/resolv.conf. A server has `timeout_ns` for its first try, twice as long for a second
 * one. -EINVAL names the server. */
int resolver_new(struct loop *loop, const char *const *servers, size_t server_count, uint64_t timeout_ns,
		 struct resolver **ret_resolver, struct error *err);
/* Questions under way end with -ECANCELED before this returns. NULL is fine. */
struct resolver *resolver_free(struct resolver *resolver);

struct resolver_answer { /* borrowed by the callback */
	/* 0, also when there is no address; -ENOENT: no such name, which is an answer as well; -ECANCELED; another -errno: nobody gave
	 * a usable answer. */
	int result;
	const char *text; /* what `result` means here, for people; lives for ever; NULL where it is 0 */
	const struct ip *addresses; /* of the family asked for, in the order of the answer */
	size_t count;
	uint32_t ttl_seconds; /* the least of the chain; 0 without addresses */
};
typedef void resolver_fn(const struct resolver_answer *answer, void *arg);

/* `fn` is called once, perhaps from inside this call. It may not call anything here. */
void resolver_ask(struct resolver *resolver, const char *hostname, bool v6, resolver_fn *fn, void *arg);
