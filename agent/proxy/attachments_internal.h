/* SPDX-License-Identifier: Apache-2.0 */
/* Places and attachments, for attachments.c and handover.c alone. */
#pragma once

#include <limits.h>

#include "agent/proxy/attachments.h"
#include "base/list.h"

struct place {
	struct list node;
	struct attachments *all;
	struct list attachments;
	uint64_t netns_cookie;
	uint64_t netns_inode;
	int netns_fd;
	uint32_t node_id;
	char *name; /* of the virtual node */
	struct resolv_conf conf; /* as the responder was told */
	bool open; /* the responder has it */
	bool known; /* ... with these resolvers; otherwise with those that a predecessor opened */
	bool dirty; /* is to be told again */
	uint64_t patience_ns; /* until then an adopted one keeps its resolvers, for all of its workloads to be looked at */
	bool handed; /* with its sockets; its attachments may take several messages */
};

struct attachment {
	struct list node;
	struct place *place;
	uint64_t workload;
	uint64_t owner;
	uint64_t cgroup_id;
	char *cgroup;
	struct life *life;
	bool waits; /* also without a process, in our own namespace */
	struct resolv_watch *watch;
	struct resolv_found found;
	bool looked; /* `found` is filled */
	bool told; /* its owner knows */
	bool handed;
};

struct attachments {
	struct attachments_parts parts;
	struct attachment_events events;
	struct list places;
	struct loop_timer *sweep_timer;
	char root[PATH_MAX]; /* of the cgroup2 hierarchy, without '/' at the end */
	uint64_t own_cookie; /* of this process's namespace */
	bool synced;
	bool frozen;
};

struct place *place_by_name(const struct attachments *all, uint64_t netns_cookie, const char *name); /* NULL: none */
/* Dups `netns_fd`. A place without attachments is not left behind. */
int place_new(struct attachments *all, const struct attachment_request *request, int netns_fd, struct place **ret_place);
void place_free(struct place *place);
struct responder_place responder_place_of(const struct place *place);

struct attachment *attachment_find(const struct attachments *all, uint64_t workload, uint64_t netns_cookie); /* NULL: none */
/* -ENOENT: no such cgroup, or no process in it. */
int attachment_new(struct place *place, const struct attachment_request *request, uint64_t owner, struct error *err);

/* -EINVAL names the member. */
int attachment_check(const struct attachment_request *request, struct error *err);
int attachment_check_namespace(int netns_fd, uint64_t expected_cookie, struct error *err);
