/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* What weft-proxy tells the hooks, and keeps beyond its own life. Written by weft-proxy alone. */
#pragma once

#include "types.h"

#define PROXY_BEAT_MAX_NS 2000000000ull /* an older heartbeat: the process hangs or is gone */
#define PROXY_FORMERS_MAX 2 /* that still serve what they had when another one took over */

/* X(symbol, name, meaning): how each query ended. */
#define DNS_OUTCOMES(X)                                                                                                       \
	X(ANSWERED, "answered", "a name of the mesh, with an address")                                                         \
	X(NODATA, "nodata", "a name of the mesh, of a type or family it has nothing of")                                       \
	X(FORWARDED, "forwarded", "any other name: the resolver's answer was handed back")                                     \
	X(UPSTREAM_TIMEOUT, "upstream-timeout", "the resolver did not answer in time")                                         \
	X(UPSTREAM_REFUSED, "upstream-refused", "nobody listens where the resolver should be: SERVFAIL")                       \
	X(UPSTREAM_FAILED, "upstream-failed", "the resolver could not be asked, or its answer was none: SERVFAIL")             \
	X(MALFORMED, "malformed", "no query that could be read: FORMERR, or nothing where even that is not possible")          \
	X(NOT_IMPLEMENTED, "not-implemented", "another operation, several questions, or a later EDNS: NOTIMP, BADVERS")        \
	X(OVERLOADED, "overloaded", "too many queries of this workload under way: the eldest was given up")                    \
	X(CLIENT_GONE, "client-gone", "the answer could not be sent: its connection or socket is gone")                        \
	X(STRAY, "stray", "an answer that nobody waits for, or that is to another question: dropped")

enum dns_outcome {
#define X(symbol, name, text) DNS_##symbol,
	DNS_OUTCOMES(X)
#undef X
	DNS_OUTCOME_COUNT,
};
#define DNS_OUTCOMES_MAX 32

struct proxy_state {
	__u64 beat_ns; /* CLOCK_MONOTONIC; beaten by the responder's own loop. 0: no proxy */
	__u64 cgroup_id; /* of the proxy, which has a cgroup to itself: its sockets are in workloads' namespaces, and are no workload's */
	__u64 agent_cgroup_id; /* likewise of the agent, where it checks health from within workloads; written by the agent. 0: none */
	__u64 former_cgroup_ids[PROXY_FORMERS_MAX]; /* of the proxy's predecessors, where they were not in the same one. 0: none */
	__u64 reserved[3];
	__u64 outcomes[DNS_OUTCOMES_MAX]; /* since the kernel part was installed */
};
WEFT_SIZE(struct proxy_state, 320);

#ifdef __bpf__
WEFT_MAP(w_proxy, BPF_MAP_TYPE_ARRAY, __u32, struct proxy_state, 1, BPF_F_MMAPABLE);
#endif
