/* SPDX-License-Identifier: Apache-2.0 */
/* VIPs: an address of each family for every virtual service, a hash of (mesh owner and region, mesh, name) with probing in two networks,
 * kept in the state: the same after restart and re-creation, not given to another name for 24 h after its last use. They
 * never leave the host. */
#pragma once

#include <stdint.h>

#include "agent/state/state.h"
#include "base/error.h"
#include "maps/abi/types.h"

struct vips;

/* `network4` "240.240.0.0/16" (an IPv4 prefix of /8../28), `network6` "2001:2::/48" (/32../112). -EINVAL names which is wrong. */
int vips_new(struct state *state, const char *network4, const char *network6, struct vips **ret_vips, struct error *err);
struct vips *vips_free(struct vips *vips);

/* The addresses of a service, given out now where it has none. -ENOSPC: the network is full. `now_ns` is wall-clock time. What is
 * given out may be used once vips_commit() has kept it. */
int vips_get(struct vips *vips, const char *mesh_owner, const char *mesh, const char *service, uint64_t now_ns, struct ip *ret_v4,
	     struct ip *ret_v6, struct error *err);
/* The service left the plan: its 24 h begin. One that is not known is fine. */
void vips_let_go(struct vips *vips, const char *mesh_owner, const char *mesh, const char *service, uint64_t now_ns);
/* The same for all that are in use and were not asked for since vips_new(), or since the last call: those of an agent before
 * this one. */
void vips_let_go_unasked(struct vips *vips, uint64_t now_ns);
/* Writes what changed, if anything did, in one transaction. */
int vips_commit(struct vips *vips, struct error *err);
/* Network and mask of both, for config.h. */
void vips_networks(const struct vips *vips, struct ip *ret_network4, struct ip *ret_mask4, struct ip *ret_network6,
		   struct ip *ret_mask6);
