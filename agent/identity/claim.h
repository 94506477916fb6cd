/* SPDX-License-Identifier: Apache-2.0 */
/* What a process says it is by its environment, and whether it may say so.
 *
 * App Mesh's proxies were told their virtual node, or virtual gateway, by APPMESH_RESOURCE_ARN, or by its older names APPMESH_RESOURCE_NAME and
 * APPMESH_VIRTUAL_NODE_NAME, in this order (App Mesh user guide, and the agent of its Envoy image); blanks around the value do not count.
 *
 * A process in a network namespace of its own speaks for that namespace; in the host's for its cgroup, if every process there says the
 * same. Nobody but root may have made that place: else whoever may start a program could choose whom the mesh takes it for. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CLAIM_VALUE_BYTES 4096

/* How a claim ends: symbol, name, and what it means. */
#define CLAIM_OUTCOMES(X)                                                                                                     \
	X(ENROLLED, "enrolled", "the namespace or cgroup acts as the node since then")                                         \
	X(KNOWN, "known", "it acted as that node already")                                                                     \
	X(BAD_NAME, "bad-name", "the value names no virtual node and no virtual gateway")                                      \
	X(OTHER_ACCOUNT, "other-account", "the value names another account than weftd's (--account)")                          \
	X(OTHER_REGION, "other-region", "the value names another region than weftd's (--region)")                              \
	X(NOT_ROOTS, "not-roots", "the namespace or cgroup was made by somebody else than root")                               \
	X(MIXED_CGROUP, "mixed-cgroup", "in the host's namespace, and not every process of the cgroup says the same")          \
	X(OTHER_NODE, "other-node", "the namespace or cgroup acts as another node")                                            \
	X(FAILED, "failed", "it could not be enrolled; the log says why")

enum claim_outcome {
#define X(symbol, name, text) CLAIM_##symbol,
	CLAIM_OUTCOMES(X)
#undef X
	CLAIM_OUTCOME_COUNT,
};
const char *claim_outcome_name(enum claim_outcome outcome);
const char *claim_outcome_text(enum claim_outcome outcome);

/* The value in an environment (environment.h). False: no such variable, or one without a value. An oversized value is cut, and so names
 * nothing. `ret_variable` is static. */
bool claim_in_environment(const char *environment, size_t bytes, char ret_value[CLAIM_VALUE_BYTES], const char **ret_variable);

struct claim {
	/* asked */
	int pid;
	char root[PATH_MAX]; /* of the cgroup2 hierarchy, without '/' at the end */
	char scope[PATH_MAX]; /* only what is in this cgroup or below is looked at */

	/* found */
	bool found; /* false: it says nothing, is elsewhere, or has ended */
	bool refused; /* with `outcome` and `err` */
	enum claim_outcome outcome;
	struct error err;
	const char *variable;
	char value[CLAIM_VALUE_BYTES];
	char cgroup[PATH_MAX]; /* absolute */
	char program[16];
	bool own_netns;
	uint64_t netns_cookie;
};

/* This process never says anything; nor do those that it starts from now on. */
void claim_leave_out_of_children(void);
/* Whether the process says anything at all. Blocks. */
bool claim_is_made(int pid);
/* Looks at the process. Blocks, and enters its namespace: for the offload thread. */
void claim_look(struct claim *claim);
