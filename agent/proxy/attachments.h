/* SPDX-License-Identifier: Apache-2.0 */
/* Which workloads act where, as weftd (or a predecessor) told, and what follows from that: the places of the responder with the
 * resolvers that the workloads' resolv.conf name, and their end with a workload's last process, whether weftd is there or not.
 *
 * An attachment is a workload in a namespace; those of one node in one namespace are one place. The end of a place closes everything in
 * its namespace, which our sockets would keep alive. In this process's own they cannot, so there a workload may wait for its next one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/dns/resolv_watch.h"
#include "agent/dns/responder.h"
#include "agent/identity/liveness.h"
#include "agent/l7/l7.h"
#include "agent/loop/loop.h"
#include "agent/proxy/admin_ports.h"
#include "base/error.h"
#include "base/json.h"
#include "maps/proxy.h"

struct attachments;

/* `owner` attached it; 0: nobody yet, it came from a predecessor. May come from inside any call below. */
struct attachment_events {
	/* Whom it asks is known, or has changed: `found`; the responder has been told. */
	void (*resolvers)(uint64_t owner, uint64_t workload, uint64_t netns_cookie, const struct resolv_found *found, void *arg);
	/* It is no more: its last process is gone, or another one took its place. */
	void (*ended)(uint64_t owner, uint64_t workload, uint64_t netns_cookie, void *arg);
	void *arg;
};

struct attachments_parts { /* borrowed */
	struct loop *loop;
	struct responder *responder;
	struct l7 *l7; /* NULL: nothing is handed over (tests) */
	struct admin_ports *admin_ports;
	struct resolv_watches *watches;
	struct liveness *liveness;
	struct proxy_maps *maps;
};
int attachments_new(const struct attachments_parts *parts, const struct attachment_events *events,
		    struct attachments **ret_attachments, struct error *err);
/* Leaves the responder as it is. NULL is fine. */
struct attachments *attachments_free(struct attachments *all);

struct attachment_request {
	uint64_t workload;
	uint64_t netns_cookie;
	const char *node; /* "mesh/M/virtualNode/N", or of a virtual gateway */
	uint32_t node_id;
	const char *cgroup; /* below the cgroup2 mount */
	uint64_t cgroup_id;
	bool waits; /* in this process's own namespace it ends with its cgroup, not with its last process */
};
/* The same (workload, namespace) again replaces what it was. -EINVAL: the descriptor is of no network namespace, or of another
 * one; -ENOENT: no such cgroup, or no process in it. Dups `netns_fd`. */
int attachments_add(struct attachments *all, const struct attachment_request *request, int netns_fd, uint64_t owner, struct error *err);
void attachments_remove(struct attachments *all, uint64_t workload, uint64_t netns_cookie); /* fine where there is none */
/* `owner` has told all: what is another's goes, and so do entries of the kernel that nobody claims. Returns how many went. */
size_t attachments_keep(struct attachments *all, uint64_t owner);
bool attachments_synced(const struct attachments *all);
/* What could not be done before (no memory, a full map) is tried again. */
void attachments_retry(struct attachments *all);
json_t *attachments_json(const struct attachments *all); /* "workloads" of the status: new reference */

/* --- handing over ------------------------------------------------------------------------------------------------------------ */

/* From here on no resolvers change, until it is taken back. Returns the number of places. */
size_t attachments_freeze(struct attachments *all);
void attachments_thaw(struct attachments *all);
/* The next place, or more workloads of one: a message for the control socket, and descriptors, borrowed: the namespace's, two for each of
 * "sockets", one for each of "listens". -ENOENT: that was all. */
int attachments_next(struct attachments *all, json_t **ret_message, int *ret_fds, size_t *ret_fd_count);
/* The successor's side: takes the descriptors, also on failure. -EBADMSG: not what attachments_next() makes; another error, such as
 * -ENOENT for workloads that have ended: these sockets are not taken, and are opened anew when their resolvers are known. */
int attachments_adopt(struct attachments *all, const json_t *message, int *fds, size_t fd_count, struct error *err);
void attachments_adopted(struct attachments *all, bool synced); /* that was all */
/* All of it is another's by now, the responder's places too. What is left is the end of workloads, which closes their connections here. */
void attachments_retire(struct attachments *all);
