/* SPDX-License-Identifier: Apache-2.0 */
/* The network namespaces that workloads are in, each shared by its holders: the kernel's netns entry, and the own
 * addresses. A namespace acts as one node, or is shared by cgroups; never both. The last holder's release takes
 * everything of it away. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/identity/redirects.h"
#include "agent/identity/workloads.h"
#include "base/list.h"

struct netns {
	struct list node;
	struct namespaces *all;
	uint64_t cookie;
	char *owner; /* node it acts as; NULL: cgroups act in it */
	size_t holders;
	bool followed; /* has its socket */
	bool wanted; /* to be published as soon as its addresses are known */
	bool published;
	int ready; /* -EINPROGRESS until its addresses are in the map; 0, or why they are not */
	struct own_addresses *addresses;
	struct redirects redirects; /* of another proxy, as last seen */
	bool foreign; /* there are, or were when the agent before us looked last: the entry says so */
};

struct namespaces {
	struct loop *loop;
	struct kernel *kernel;
	const struct workloads_callbacks *callbacks; /* node_id, changed */
	struct list list;
	void (*ready)(void *arg); /* some namespace is */
	void *arg;
};

void namespaces_init(struct namespaces *namespaces);
void namespaces_done(struct namespaces *namespaces); /* the kernel's entries stay */

/* Copies `owner` (NULL: shared). -EBUSY: it is held for something else; *ret_netns is set then as well, to tell what for. */
int netns_hold(struct namespaces *namespaces, uint64_t cookie, const char *owner, struct netns **ret_netns);
void netns_release(struct netns *netns); /* NULL is fine */
struct netns *netns_find(const struct namespaces *namespaces, uint64_t cookie); /* NULL: not held */

/* Takes *route_fd, leaving -1, unless the namespace is followed already. namespaces->ready() comes later; for one that was adopted
 * callbacks->changed() at once: there is a descriptor of it now. */
int netns_follow(struct netns *netns, int *route_fd);
/* Writes the netns entry: connections from the namespace are decided from now on. Before its addresses are known: once
 * they are. */
int netns_publish(struct netns *netns);
/* The same for one that acted before this agent started: at once, for its addresses are in the map as they were then. What it said of
 * redirections holds until the first look. */
int netns_adopt(struct netns *netns);
/* What redirects_look() has found there: the entry follows, and a change is logged. 0 or -errno of the entry. */
int netns_redirects(struct netns *netns, const struct redirects *found);
/* An id was made anew: writes the entry again. */
int netns_refresh(struct netns *netns);
