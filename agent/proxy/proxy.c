/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/l7/ledger.h"
#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define FORMERS_COME_NS (30 * NSEC_PER_SEC) /* one that served when we came has told us until then, or is gone */

/* --- the kernel's maps, as the parts see them ----------------------------------------------------------------------------- */

static int name_get(void *arg, const struct name_key *key, struct name_entry *ret_entry)
{
	return proxy_name_get(arg, key, ret_entry);
}

static int resolver_set(void *arg, const struct resolver_key *key, const struct resolver *resolver)
{
	return proxy_resolver_set(arg, key, resolver);
}

static int resolver_remove(void *arg, const struct resolver_key *key)
{
	return proxy_resolver_remove(arg, key);
}

static int exempt_set(void *arg, uint64_t netns_cookie, const struct ip *address, uint64_t until_ns)
{
	return proxy_exempt_set(arg, netns_cookie, address, until_ns);
}

static int handover_get(void *arg, const struct handover_key *key, struct handover *ret_handover)
{
	return proxy_handover_get(arg, key, ret_handover);
}

static int place_set(void *arg, uint64_t netns_cookie, uint32_t families)
{
	return proxy_place_set(arg, netns_cookie, families);
}

static int place_remove(void *arg, uint64_t netns_cookie)
{
	return proxy_place_remove(arg, netns_cookie);
}

static int inbound_set(void *arg, uint64_t netns_cookie, int family, int listen_fd)
{
	return proxy_inbound_set(arg, netns_cookie, family, listen_fd);
}

static int intercept_get(void *arg, struct serving_key *key, struct intercept *ret_intercept)
{
	return proxy_intercept_get(arg, key, ret_intercept);
}

static int way_set(void *arg, const struct proxy_way_key *key, const struct ip *client, __be16 client_port)
{
	return proxy_way_set(arg, key, client, client_port);
}

static int way_remove(void *arg, const struct proxy_way_key *key)
{
	return proxy_way_remove(arg, key);
}

static int endpoints_reach(void *arg, uint32_t count, struct error *err)
{
	struct proxy_maps *maps = arg;
	const struct proxy *proxy = container_of(maps, struct proxy, maps);

	return proxy_endpoints_reach(maps, proxy->instance, count, err);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

void proxy_beat(struct proxy *proxy)
{
	__atomic_store_n(&proxy->maps.state->beat_ns, time_now_ns(), __ATOMIC_RELEASE);
}

/* Whose sockets are nobody's: ours, and those of who had the seat before us, for they go on. First theirs, so that none is ever missed. */
static void tell_cgroups(struct proxy *proxy)
{
	struct proxy_state *state = proxy->maps.state;
	const uint64_t before = __atomic_load_n(&state->cgroup_id, __ATOMIC_RELAXED);

	if (before && before != proxy->cgroup.id) {
		__atomic_store_n(&state->former_cgroup_ids[1], state->former_cgroup_ids[0], __ATOMIC_RELEASE);
		__atomic_store_n(&state->former_cgroup_ids[0], before, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&state->cgroup_id, proxy->cgroup.id, __ATOMIC_RELEASE);
	proxy->formers_until_ns = loop_now_ns(proxy->loop) + FORMERS_COME_NS;
}

static void forget_cgroups(struct proxy *proxy)
{
	if (!list_empty(&proxy->formers.all) || loop_now_ns(proxy->loop) < proxy->formers_until_ns)
		return;
	for (size_t i = 0; i < PROXY_FORMERS_MAX; i++)
		__atomic_store_n(&proxy->maps.state->former_cgroup_ids[i], 0, __ATOMIC_RELEASE);
}

/* Nothing here asks: it is for those who look at connections of weft-proxy's from outside. */
static void answer_original(struct proxy *proxy)
{
	const int r = proxy_original_attach(proxy->instance, proxy->cgroup.path, &proxy->original_fd);

	if (r < 0 && r != -ENOENT)
		log_warn("SO_ORIGINAL_DST is not answered for connections that are handed over", LOG_F("error", LOG_STR(strerror(-r))));
}

static void on_beat(struct loop_timer *timer, void *arg)
{
	struct proxy *proxy = arg;
	struct error err = {};

	if (!proxy_maps_installed(&proxy->maps, proxy->instance)) {
		log_info("the instance was uninstalled: ending");
		proxy->uninstalled = true;
		proxy_end(proxy);
		return;
	}
	if (proxy_endpoints_renew(&proxy->maps, proxy->instance, &err) < 0)
		log_limited(LOG_LEVEL_WARN, "cannot use the array of endpoints that has grown", LOG_F("error", LOG_STR(err.message)));
	proxy_beat(proxy);
	attachments_retry(proxy->attachments);
	l7_retry(proxy->l7);
	admin_ports_retry(proxy->admin_ports);
	proxy_ways_clean(&proxy->maps, loop_now_ns(proxy->loop));
	formers_look(&proxy->formers, loop_now_ns(proxy->loop));
	forget_cgroups(proxy);
	loop_timer_arm(timer, loop_now_ns(proxy->loop) + PROXY_BEAT_NS);
}

static bool is_connected(void *arg)
{
	const struct proxy *proxy = arg;

	return server_has_agent(proxy->server);
}

static int make_parts(struct proxy *proxy, struct error *err)
{
	char ledger[128];
	int r = offload_new(proxy->loop, "weft-proxy-look", &proxy->offload);

	if (r == 0)
		r = offload_new(proxy->loop, "weft-proxy-read", &proxy->reader);
	if (r == 0)
		r = liveness_new(proxy->loop, &proxy->liveness);
	if (r == 0)
		r = resolv_watches_new(proxy->loop, proxy->offload, &proxy->watches);
	if (r == 0)
		r = responder_new(proxy->loop, &proxy->responder_maps, DNS_PORT, &proxy->responder);
	snprintf(ledger, sizeof(ledger), "%s/" LEDGER_FILE, proxy->seat.directory);
	if (r == 0)
		r = l7_new(proxy->loop,
			   &(struct l7_kernel){
				   .handover_get = handover_get,
				   .place_set = place_set,
				   .place_remove = place_remove,
				   .inbound_set = inbound_set,
				   .intercept_get = intercept_get,
				   .way_set = way_set,
				   .way_remove = way_remove,
				   .endpoints_reach = endpoints_reach,
				   .arg = &proxy->maps,
				   .endpoints = proxy->maps.endpoints,
				   .endpoint_count = &proxy->maps.endpoints_front.count,
			   },
			   &(struct l7_options){ .workers = proxy->options.workers,
						 .workload_files = proxy->options.workload_files,
						 .ledger = ledger },
			   &proxy->l7, err);
	if (r == 0)
		r = admin_ports_new(&(struct admin_ports_parts){ proxy->loop, proxy->offload, proxy->l7, is_connected, proxy },
				    &proxy->admin_ports);
	if (r == 0)
		r = loop_timer_new(proxy->loop, on_beat, proxy, &proxy->beat_timer);
	if (r < 0)
		return error_set(err, r, "cannot start: %s", strerror(-r));
	l7_hold(proxy->l7);
	return attachments_new(
		&(struct attachments_parts){
			.loop = proxy->loop,
			.responder = proxy->responder,
			.l7 = proxy->l7,
			.admin_ports = proxy->admin_ports,
			.watches = proxy->watches,
			.liveness = proxy->liveness,
			.maps = &proxy->maps,
		},
		&(struct attachment_events){ server_events.resolvers, server_events.ended, proxy }, &proxy->attachments, err);
}

static int start(struct proxy *proxy, struct error *err)
{
	int r = own_cgroup_enter("weft-proxy", proxy->instance, &proxy->cgroup, err); /* first: where it was started in it, it is removed */

	if (r == 0)
		r = proxy_maps_open(proxy->instance, &proxy->maps, err);
	if (r == 0)
		answer_original(proxy);
	proxy->responder_maps = (struct responder_maps){
		.name_get = name_get,
		.resolver_set = resolver_set,
		.resolver_remove = resolver_remove,
		.exempt_set = exempt_set,
		.arg = &proxy->maps,
		.outcomes = proxy->maps.state ? (uint64_t *)proxy->maps.state->outcomes : NULL,
	};
	if (r == 0)
		r = seat_init(proxy->instance, &proxy->seat, err);
	if (r == 0)
		r = make_parts(proxy, err);
	if (r == 0)
		r = proxy_take_seat(proxy, err);
	if (r < 0)
		return r;
	/* First whose sockets are not to be steered, then that there is somebody to steer to. */
	tell_cgroups(proxy);
	l7_accept(proxy->l7);
	proxy_beat(proxy);
	loop_timer_arm(proxy->beat_timer, loop_now_ns(proxy->loop) + PROXY_BEAT_NS);
	return server_new(proxy, &proxy->server, err);
}

int proxy_start(struct loop *loop, const struct proxy_options *options, struct proxy **ret_proxy, struct error *err)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));
	int r;

	if (!proxy)
		return error_set(err, -ENOMEM, "out of memory");
	proxy->loop = loop;
	proxy->instance = options->instance;
	proxy->options = *options;
	proxy->original_fd = -1;
	formers_init(&proxy->formers);
	proxy->started_wall_ns = time_to_wall_ns(time_now_ns());
	proxy->seat = (struct seat){ .lock_fd = -1, .listen_fd = -1 };
	r = start(proxy, err);
	if (r < 0) {
		proxy_stop(proxy);
		return r;
	}
	*ret_proxy = proxy;
	return 0;
}

static void ignore(void *arg)
{
	(void)arg;
}

struct proxy *proxy_stop(struct proxy *proxy)
{
	if (!proxy)
		return NULL;
	/* Without the seat the hooks look for another one: its heartbeat and its entries are not ours to end. */
	if (proxy->seat.lock_fd >= 0)
		__atomic_store_n(&proxy->maps.state->beat_ns, 0, __ATOMIC_RELEASE);
	else if (proxy->responder)
		responder_stop(proxy->responder, ignore, NULL);
	if (proxy->uninstalled)
		counts_clear(proxy);
	else if (proxy->server || proxy->retirement)
		counts_leave(proxy);
	proxy->retirement = retirement_free(proxy->retirement);
	proxy->server = server_free(proxy->server);
	attachments_free(proxy->attachments);
	admin_ports_free(proxy->admin_ports);
	offload_free(proxy->reader);
	proxy->l7 = l7_free(proxy->l7);
	responder_free(proxy->responder);
	resolv_watches_free(proxy->watches);
	offload_free(proxy->offload);
	loop_turn(proxy->loop, 0); /* what the threads had under way is reported, and finds them gone */
	liveness_free(proxy->liveness);
	loop_timer_free(proxy->beat_timer);
	fd_close(proxy->original_fd);
	own_cgroup_leave(&proxy->cgroup);
	seat_leave(&proxy->seat, proxy->uninstalled); /* last: whoever sees it free finds nothing of ours any more */
	proxy_maps_close(&proxy->maps);
	free(proxy);
	return NULL;
}
