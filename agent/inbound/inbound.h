/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of this node's workloads where connections come in (plan->servings): puts those that have a limit (maxConnections), and those
 * that weft-proxy serves, into the kernel's tables (maps/abi/serving.h, maps/abi/inbound.h), and the program that refuses and gives into
 * their namespaces (loader/lookup.h). All outlives the agent, counts included; the next one takes up what is there, and corrects counts
 * that are wrong.
 *
 * Nothing is given to weft-proxy before it has said that it knows the listener; what was given stays so while it is away, and clients are
 * refused (proxy-down). Until it is given a limit that the listener had stays.
 *
 * Thread: the loop's; programs are loaded and attached on the offload thread. All this holds from then on: some ms after the generation
 * that it came with, or after a workload was enrolled. */
#pragma once

#include "agent/compile/apply.h"
#include "agent/identity/workloads.h"
#include "agent/loop/loop.h"
#include "base/address.h"
#include "base/error.h"
#include "maps/kernel.h"

struct inbound;
struct inbound_options {
	const char *instance;
	uint32_t (*node_id)(const char *node, void *arg); /* object id of a virtual node's name; 0: none could be made */
	/* Whether weft-proxy knows the configuration in force, and is there in the namespace. */
	bool (*proxy_serves)(uint64_t netns_cookie, void *arg);
	void *arg;
};

/* Reads the kernel's tables. Everything is borrowed. */
int inbound_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply, const struct workloads *workloads,
		const struct inbound_options *options, struct inbound **ret_inbound, struct error *err);
/* Before `workloads`, `apply` and the offload thread end. NULL is fine. */
struct inbound *inbound_free(struct inbound *inbound);

/* The plan in force (apply_current()) has changed. */
void inbound_sync(struct inbound *inbound);
/* proxy_serves() may say otherwise: looks again, soon. */
void inbound_proxy_changed(struct inbound *inbound);

/* The namespace in which what comes to an address and port is weft-proxy's; 0: none. Of a loopback address in `netns_cookie`.
 * NULL is fine. */
uint64_t inbound_given_in(const struct inbound *inbound, const struct ip *address, __be16 port, uint64_t netns_cookie);

struct inbound_listener { /* a copy of one moment */
	char *target; /* "mesh/M/virtualNode/N:8080" */
	char address[ENDPOINT_TEXT_BYTES]; /* "10.0.0.1:8080"; "*:8080": all of the namespace but loopback ones */
	bool proxied; /* weft-proxy's to serve: the counts below are none */
	char state[128]; /* "enforced", with what is not, "served by weft-proxy", "pending" or what is in the way */
	uint64_t netns_cookie;
	uint64_t max_connections, open, handshakes, accepted, refused;
};
/* In order of namespace, address and port; the caller's to free. 0 or -ENOMEM. */
int inbound_listeners(const struct inbound *inbound, struct inbound_listener **ret_listeners, size_t *ret_count);
void inbound_listeners_free(struct inbound_listener *listeners, size_t count);
