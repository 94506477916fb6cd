/* SPDX-License-Identifier: Apache-2.0 */
/* When checks run, and from where: again and again, at most RUNNER_PLACES at once; who finds no place waits for the next one that is
 * free, first come, first served. Thread: the loop's; sockets of other namespaces are made by the offload thread. */
#pragma once

#include "agent/health/check.h"
#include "agent/health/probe.h"
#include "agent/identity/workloads.h"
#include "agent/loop/loop.h"
#include "maps/kernel.h"

#define RUNNER_PLACES 256

/* Where weft-proxy accepts in the place of an application (maps/abi/inbound.h), connect() says nothing of that one: a TCP check goes past
 * weft-proxy, from the application's own namespace. One of HTTP gets its answer by weft-proxy, as clients do. */
struct runner_inbound {
	/* As inbound_given_in(); NULL: nowhere. */
	uint64_t (*given_in)(const struct ip *address, __be16 port, uint64_t netns_cookie, void *arg);
	void *arg;
	struct kernel *kernel;
};

struct runner;
/* Everything is borrowed. `workloads` give the namespaces; NULL where no run has one. 0 or -ENOMEM. */
int runner_new(struct loop *loop, struct offload *offload, struct workloads *workloads, const struct runner_inbound *inbound,
	       struct runner **ret_runner);
struct runner *runner_free(struct runner *runner); /* after its runs; NULL is fine */

struct run;
struct run_settings {
	struct probe_request request; /* its path is borrowed */
	uint64_t interval_ns; /* from the end of one check to the next, a tenth more or less by chance */
	uint64_t timeout_ns; /* what takes longer has failed */
	uint64_t netns_cookie; /* 0: our own namespace */
};
typedef void run_result_fn(const struct check_result *result, void *arg);
/* The first check comes within a tenth of the interval, and results from there on, by the loop. One that did not run is tried again
 * after a tenth of the interval. */
int run_new(struct runner *runner, const struct run_settings *settings, run_result_fn *fn, void *arg, struct run **ret_run);
struct run *run_free(struct run *run); /* also while a check is under way, and from its `fn`; NULL is fine */
void run_move(struct run *run, uint64_t netns_cookie); /* from the next check on */
uint64_t run_from(const struct run *run); /* the namespace that the last check was made from; 0: our own */
