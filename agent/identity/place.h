/* SPDX-License-Identifier: Apache-2.0 */
/* A namespace that a workload acts in. Our socket there pins it, so one process of the workload that is in it is watched: when it
 * ends, the workload looks whether another one is. Internal to agent/identity. */
#pragma once

#include "agent/identity/entry.h"
#include "agent/identity/probe.h"

struct place {
	struct list node;
	struct entry *entry;
	struct netns *netns;
	int pidfd; /* -1: no process known (yet) */
	struct loop_io *io;
	bool own; /* the agent's, which pattern workloads always act in: held while the workload is */
	bool seen;
	unsigned misses;
};

struct place *place_find(const struct entry *entry, uint64_t cookie); /* NULL: it does not act there */
/* Holds the namespace for the entry: -EBUSY when it acts for another node, or otherwise than the entry would. */
int place_new(struct entry *entry, uint64_t cookie, struct place **ret_place, struct error *err);
/* What a probe found: makes the place if need be, takes socket and process (leaving -1 for each it took), marks it as seen. */
int place_take(struct entry *entry, struct probe_netns *found, struct error *err);
/* Gives the namespace up, and frees. */
void place_leave(struct place *place);
/* Frees only: kernel entries stay. */
void place_free(struct place *place);
