/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of virtual gateways: wherever workloads act for a gateway of the configuration, weft-proxy listens at its ports, in their
 * namespace. A gateway has no program of its own to serve: such a workload may be a process that does nothing. */
#include <string.h>

#include "agent/l7/internal.h"
#include "base/log.h"

/* --- listeners ----------------------------------------------------------------------------------------------------------- */

static const struct gateway *gateway_named(const struct snapshot *snapshot, const char *name)
{
	return (const struct gateway *)snapshot_named(snapshot, SNAPSHOT_GATEWAY, name);
}

static struct l7_place *place_at(const struct l7 *l7, uint64_t netns_cookie, int family, uint16_t port)
{
	list_for_each(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->role == L7_GATEWAY && place->netns_cookie == netns_cookie && place->family == family && place->port == port)
			return place;
	}
	return NULL;
}

static void open_listener(struct l7 *l7, const struct act *act, const struct gateway *gateway, int family, uint16_t port)
{
	struct l7_place *place = place_at(l7, act->netns_cookie, family, port);

	if (place) {
		__atomic_store_n(&place->gateway, gateway->object.id, __ATOMIC_RELAXED);
		return;
	}
	if (l7_place_new(l7, act->netns_cookie, act->netns_fd, L7_GATEWAY, family, &place) < 0) {
		log_error("a gateway's listener is not opened: out of memory", LOG_F("gateway", LOG_STR(gateway->object.name)));
		return;
	}
	place->port = port;
	place->gateway = gateway->object.id;
	list_append(&l7->places, &place->node);
	l7_place_open(l7, place);
	if (place->why < 0)
		log_warn("a gateway cannot listen; it is tried again", LOG_F("gateway", LOG_STR(gateway->object.name)),
			 LOG_F("port", LOG_INT(port)), LOG_F("error", LOG_STR(strerror(-place->why))));
}

static bool is_wanted(const struct l7 *l7, const struct l7_place *place)
{
	list_for_each(it, &l7->acts) {
		const struct act *act = container_of(it, struct act, node);
		const struct gateway *gateway = gateway_named(l7->snapshot, act->name);

		if (act->netns_cookie == place->netns_cookie && gateway &&
		    listener_find(gateway->listeners, gateway->listener_count, place->port))
			return true;
	}
	return false;
}

static void close_unwanted(struct l7 *l7)
{
	list_for_each_safe(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->role != L7_GATEWAY || is_wanted(l7, place))
			continue;
		for (unsigned int i = 0; i < l7->worker_count; i++)
			if (worker_tell_place_gone(l7->workers[i], place) < 0)
				log_error("a gateway's listener stays open: out of memory");
		list_remove(it);
		l7_place_unref(place);
	}
}

void gateways_follow(struct l7 *l7)
{
	if (l7->state == L7_DRAINS)
		return; /* what there is ends by itself */
	close_unwanted(l7);
	list_for_each(it, &l7->acts) {
		const struct act *act = container_of(it, struct act, node);
		const struct gateway *gateway = gateway_named(l7->snapshot, act->name);

		for (size_t i = 0; gateway && i < gateway->listener_count; i++)
			for (int family = 0; family < LIST_COUNT; family++)
				open_listener(l7, act, gateway, family, gateway->listeners[i].port);
	}
}
