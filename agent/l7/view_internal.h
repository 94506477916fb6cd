/* SPDX-License-Identifier: Apache-2.0 */
/* Between view.c (which clusters, hosts, listeners and routes a namespace has, by the configuration) and view_numbers.c (what was counted
 * of them). */
#pragma once

#include "agent/l7/internal.h"
#include "agent/l7/stats_view.h"

struct drawn_pair { /* a service, and a target that its routes lead to */
	const struct service *service;
	const struct target *target;
	struct sidecar_cluster sum;
};

struct drawn_cluster {
	struct sidecar_cluster sum; /* .target and .port are its key */
	const struct target *target;
	const struct caller *caller; /* whose listener is served here, or who may send requests past the mesh */
	const struct listener *listener; /* NULL: the latter */
	size_t first_host, host_count;
};

struct drawn_host {
	struct sidecar_host sum; /* with its key */
	const struct target_endpoint *endpoint; /* NULL: an application here */
};

struct drawn_listener {
	enum l7_role role;
	uint16_t port; /* a gateway's */
};

struct view_block {
	struct view_block *next;
	_Alignas(max_align_t) char data[];
};

struct drawing { /* a view, and all that it points to */
	struct l7_stats_view view;
	struct view_block *blocks;
	struct snapshot *snapshot;
	const struct l7 *l7;
	const struct sidecar *sidecar;
	uint64_t netns_cookie, now_ns;
	const struct caller **callers;
	const struct gateway **gateways;
	const struct service **services; /* by lineage, each once, as those that follow are */
	struct drawn_pair *pairs; /* by target, then service */
	struct drawn_cluster *clusters; /* by target, then listener */
	struct drawn_host *hosts; /* by target, listener, address and port */
	struct drawn_listener *listeners;
	size_t caller_count, gateway_count, service_count, pair_count, cluster_count, host_count, listener_count;
	/* What the view shows of these: as many, in the same order; its own. */
	struct l7_cluster_view *cluster_views;
	struct l7_host_view *host_views;
	struct l7_listener_view *listener_views;
	struct l7_http_view *http_views;
	struct sidecar_http https[SIDECAR_SIDES];
	bool clusters_lost, hosts_lost; /* more than could be told apart */
};

/* Zeroed, and freed with the view. NULL: no memory. */
void *view_room(struct drawing *d, size_t count, size_t size);

/* A new element, zeroed, of a list that doubles. NULL: no memory. */
#define view_add(list, count)                                                                                                 \
	({                                                                                                                     \
		const size_t _count = (count);                                                                                 \
		__typeof__(list) _grown = (list);                                                                              \
		if ((_count & (_count - 1)) == 0)                                                                              \
			_grown = reallocarray(_grown, _count ? 2 * _count : 1, sizeof(*_grown));                               \
		if (_grown) {                                                                                                  \
			(list) = _grown;                                                                                       \
			(count) = _count + 1;                                                                                  \
			memset(&_grown[_count], 0, sizeof(*_grown));                                                           \
		}                                                                                                              \
		_grown ? &_grown[_count] : NULL;                                                                               \
	})

/* view_numbers.c: sums up what was counted, then writes it down. -ENOMEM. */
int view_sum(struct drawing *d);
int view_write_numbers(struct drawing *d);
