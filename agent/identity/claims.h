/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads by their environment: whoever says by an App Mesh variable which virtual node it is (claim.h) is enrolled as that.
 *
 * The kernel part tells of every program that begins with such a variable (maps/abi/exec.h); those that began before weftd are found by a
 * look at all processes at its start, and again where the kernel had no room to tell. One after the other is looked at, its node is put
 * into the plan, and then it is enrolled: so there is a window, from exec to enrolment, in which its connections are not decided. It is
 * measured. What came by `weft run` or a pattern goes first. Thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/identity/claim.h"
#include "agent/identity/workloads.h"

#define CLAIM_ORIGIN "environment" /* of its workloads */

struct claims;

struct claims_options {
	bool wanted; /* false: nothing is looked at, and claims_report() says so */
	const char *scope; /* the cgroup that the instance is attached to: who is elsewhere is nobody's here */
	/* The full name of the virtual node, or gateway, that a value means. Negative: what is wrong, as a CLAIM_… and in words. */
	int (*resolve)(const char *value, char *ret_node, size_t size, enum claim_outcome *ret_outcome, struct error *err, void *arg);
	/* Whether the plan in force has the node; where not, claims_node() is asked for when `changed` was called. */
	bool (*planned)(const char *node, void *arg);
	void (*changed)(void *arg);
	void *arg;
};
/* Never fails for what the kernel cannot do: claims_report() says what is missing. Copies `scope`. */
int claims_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct workloads *workloads,
	       const struct claims_options *options, struct claims **ret_claims, struct error *err);
struct claims *claims_free(struct claims *claims); /* before workloads_free(). NULL is fine */

/* The node that somebody is about to act for, and which the plan should have by then. NULL: none. */
const char *claims_node(const struct claims *claims);
/* A plan was decided, for better or worse. */
void claims_planned(struct claims *claims);

struct claims_report {
	const char *off; /* why nothing is looked at; NULL: it is */
	uint64_t outcomes[CLAIM_OUTCOME_COUNT];
	uint64_t lost; /* programs that the kernel or weftd had no room to remember; they are looked for */
	uint64_t waiting; /* yet to be looked at */
	/* From exec to enrolment, of those that the kernel told of. */
	uint64_t window_count, window_sum_ns, window_last_ns, window_max_ns;
	struct error last_refusal; /* in words, with the process; code 0: none yet */
	uint64_t last_refusal_wall_ns;
};
void claims_report(const struct claims *claims, struct claims_report *ret_report);
