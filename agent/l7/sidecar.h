/* SPDX-License-Identifier: Apache-2.0 */
/* What Envoy beside the workloads of a namespace would have counted: the administration port of the namespace shows it, of them alone
 * (stats_view.h). Each worker has a part that it alone writes, word by word; others read at any time, and see each word whole. What was
 * counted stays until the namespace goes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/l7/reply.h"
#include "agent/l7/rows.h"
#include "agent/route/retry.h"
#include "maps/abi/row.h"
#include "maps/abi/types.h"

#define SIDECAR_CLUSTERS_MAX 4096 /* rows of a part; what is beyond is counted, and not shown */
#define SIDECAR_HOSTS_MAX 8192
#define SIDECAR_LISTENERS_MAX 256

enum sidecar_side { SIDECAR_EGRESS, SIDECAR_INGRESS, SIDECAR_SIDES };

struct sidecar_http { /* of all connections of one side */
	uint64_t cx_idle_timeout;
	uint64_t received_bytes, sent_bytes; /* heads and bodies */
	uint64_t upgrades, upgrades_active;
	uint64_t requests, requests_active;
	uint64_t codes[6]; /* [0]: it got no answer */
	uint64_t replies[L7_REPLY_COUNT];
	uint64_t time_ns_sum, time_ns[HISTOGRAM_BUCKETS]; /* from the head to the end of the answer */
};

struct sidecar_listener {
	uint32_t role, port; /* enum l7_role; a gateway's */
	uint64_t connections, open;
};

struct sidecar_cluster { /* requests for a service that went to a target; or from a listener to the application */
	/* Their lineages (snapshot.h); of a listener: 0, and the node's; both 0: they went where their connections were meant to. */
	uint64_t service, target;
	uint64_t port; /* a listener's */
	uint64_t requests; /* that are over */
	uint64_t codes[6];
	uint64_t replies[L7_REPLY_COUNT];
	uint64_t time_ns_sum, time_ns[HISTOGRAM_BUCKETS]; /* of what the target answered: from the whole request to the whole answer */
	uint64_t tries, tries_active;
	uint64_t failed[L7_REPLY_COUNT]; /* tries that came to no answer, by why */
	uint64_t verdicts[RETRY_NO_TIME + 1];
	uint64_t retry_success;
	uint64_t pending, pending_active; /* waited for one of the connections that the listener may have */
	uint64_t connections, open;
	uint64_t received_bytes, sent_bytes; /* heads and bodies, from and to the endpoint */
};

struct sidecar_host { /* an endpoint of a target; the application behind a listener */
	uint64_t target;
	struct ip address;
	uint32_t port; /* in host order */
	uint32_t listener; /* 0: none */
	uint32_t slot, incarnation; /* the kernel's slot of it, as the last try has it */
	uint64_t told_tries, told_failed; /* that the slot has got already */
	uint64_t connections, open, connect_failed;
	uint64_t tries, tries_active, answered, failed, timed_out; /* `failed`: by 5xx, or without an answer */
};

struct sidecar_part {
	struct sidecar_http https[SIDECAR_SIDES];
	struct rows listeners, clusters, hosts;
	struct sidecar_host passed; /* whatever addresses that the mesh does not know */
	/* For what has no row of its own: */
	struct sidecar_listener other_listeners;
	struct sidecar_cluster other_clusters;
	struct sidecar_host other_hosts;
};

struct sidecar {
	uint32_t refs; /* atomic */
	uint64_t since_ns;
	unsigned int part_count;
	struct sidecar_part *parts[]; /* by worker; NULL: it has counted nothing */
};

struct sidecar *sidecar_new(unsigned int workers); /* NULL: no memory */
struct sidecar *sidecar_ref(struct sidecar *sidecar);
struct sidecar *sidecar_unref(struct sidecar *sidecar); /* NULL is fine */

/* By that worker. NULL: no memory. */
struct sidecar_part *sidecar_part(struct sidecar *sidecar, unsigned int worker);
/* Never NULL. */
struct sidecar_listener *sidecar_listener(struct sidecar_part *part, uint32_t role, uint16_t port);
struct sidecar_cluster *sidecar_cluster(struct sidecar_part *part, uint64_t service, uint64_t target, uint16_t port);
struct sidecar_host *sidecar_host(struct sidecar_part *part, uint64_t target, uint16_t listener, const struct ip *address, __be16 port);
