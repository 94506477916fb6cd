/* SPDX-License-Identifier: Apache-2.0 */
/* The maps that weft-proxy uses, opened: a few, so that it stays small. Checked against this build as kernel.h says. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/handover.h"
#include "maps/abi/identity.h"
#include "maps/abi/inbound.h"
#include "maps/abi/limits.h"
#include "maps/abi/name.h"
#include "maps/abi/proxy.h"
#include "maps/abi/resolver.h"
#include "maps/abi/upgrade.h"
#include "maps/front.h"

struct proxy_maps {
	const struct layout_note *layout;
	struct proxy_state *state; /* shared with the kernel and the agent: single words, atomically */
	struct endpoint *endpoints; /* likewise; see proxy_endpoints_reach() */
	struct front endpoints_front; /* of them; its count grows */
	int name_fd, resolver_fd, asked_fd, exempt_fd, place_fd, handover_fd, inbound_fd, way_fd, intercept_fd;
	uint64_t pin; /* inode of w_proxy's */
	uint64_t endpoints_pin; /* of w_endpoint's */
};

/* -ENOENT when the instance has no kernel part: the message names `weft-loader install`. -EPROTO: maps of another build. */
int proxy_maps_open(const char *instance, struct proxy_maps *ret_maps, struct error *err);
void proxy_maps_close(struct proxy_maps *maps); /* all zero is fine */
/* false: the instance was uninstalled since, also where it was installed anew: the pins are gone, or of other maps. One system call. */
bool proxy_maps_installed(const struct proxy_maps *maps, const char *instance);

/* 0 or -errno; -ENOENT on removal is no error; -E2BIG when the table is full. The way back is written before the way there, and
 * removed after it. */
int proxy_resolver_set(struct proxy_maps *maps, const struct resolver_key *key, const struct resolver *resolver);
int proxy_resolver_remove(struct proxy_maps *maps, const struct resolver_key *key);
typedef int proxy_resolver_fn(const struct resolver_key *key, const struct resolver *resolver, void *arg);
int proxy_resolver_each(struct proxy_maps *maps, proxy_resolver_fn *fn, void *arg);
/* -ENOENT: no such name. */
int proxy_name_get(struct proxy_maps *maps, const struct name_key *key, struct name_entry *ret_entry);
/* Only ever extends an exemption that is there. -E2BIG: full, also after what has run out was removed. */
int proxy_exempt_set(struct proxy_maps *maps, uint64_t netns_cookie, const struct ip *address, uint64_t until_ns);

/* Slots below `count` are in memory from then on, as far as there are so many: mmap() of an array makes all that it maps resident, so no more
 * of it is mapped than somebody needs. Readers in other threads see the count of maps->endpoints_front grow. 0 or -errno. One thread. */
int proxy_endpoints_reach(struct proxy_maps *maps, const char *instance, uint32_t count, struct error *err);
/* Where `weft-loader grow` has put a larger array in the place of that of endpoints: it is at the same address from then on, and readers in
 * other threads meet either. 0, also where nothing changed, at the price of one system call. One thread. */
int proxy_endpoints_renew(struct proxy_maps *maps, const char *instance, struct error *err);

/* What a connection that was handed over asked for, for as long as it lives. Safe from several threads. -ENOENT: nothing was handed over
 * from there. */
int proxy_handover_get(struct proxy_maps *maps, const struct handover_key *key, struct handover *ret_handover);
/* From now on, and while the descriptor is open, which is the caller's, getsockopt() answers SO_ORIGINAL_DST at SOL_IP, and IP6T_SO_ORIGINAL_DST
 * at SOL_IPV6, by that, for sockets accepted where a process of this cgroup (a directory) listens. Others pay nothing for it. -ENOENT: the
 * kernel has not taken the program, or there is no such cgroup; -EPERM: a program at a cgroup above allows no others. */
int proxy_original_attach(const char *instance, const char *cgroup, int *ret_link_fd);
/* Where connections are taken from now on: PROXY_PLACE_*. As for resolvers. */
int proxy_place_set(struct proxy_maps *maps, uint64_t netns_cookie, uint32_t families);
int proxy_place_remove(struct proxy_maps *maps, uint64_t netns_cookie);
typedef int proxy_place_fn(uint64_t netns_cookie, uint32_t families, void *arg);
int proxy_place_each(struct proxy_maps *maps, proxy_place_fn *fn, void *arg);

/* Where weft-proxy takes what comes in for listeners that it serves (maps/abi/inbound.h): a listening TCP socket, for packets of this
 * family; an earlier one is replaced. It leaves when it is closed by all who have it. */
int proxy_inbound_set(struct proxy_maps *maps, uint64_t netns_cookie, int family, int listen_fd);
int proxy_inbound_remove(struct proxy_maps *maps, uint64_t netns_cookie, int family); /* what is not there is fine */

/* The listener that weft-proxy serves at an address and port of a namespace. `key` becomes that of the entry which says so: its address is all
 * zero where that is for every address. Safe from several threads. -ENOENT: none. */
int proxy_intercept_get(struct proxy_maps *maps, struct serving_key *key, struct intercept *ret_intercept);

/* The way to an application: set between bind() and connect(), removed before the socket is closed, for the kernel does so only where the
 * application's side was established. The socket is bound without SO_REUSEADDR: its end must be nobody else's. `client_port` 0: the
 * application sees weft-proxy itself. Safe from several threads. 0 or -errno; -ENOENT on removal is no error; -E2BIG: too many. */
int proxy_way_set(struct proxy_maps *maps, const struct proxy_way_key *key, const struct ip *client, __be16 client_port);
int proxy_way_remove(struct proxy_maps *maps, const struct proxy_way_key *key);
/* Those that a process left which was killed: older than WAY_MAX_NS at `now_ns`, they mean nothing. */
int proxy_ways_clean(struct proxy_maps *maps, uint64_t now_ns);

/* The key of a name in a scope ("mesh/M" or "mesh/M/virtualNode/N"); `name` in any case, with or without a dot at its end.
 * -EINVAL: no DNS name (empty, a label of 0 or over 63 bytes, over 253 bytes in all). RFC 1035 section 2.3.4. */
int name_key_make(const char *scope, const char *name, struct name_key *ret_key);
