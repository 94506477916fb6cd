/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include "agent/dns/responder_internal.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"

static struct place *place_free(struct place *place)
{
	list_for_each_safe(it, &place->pairs)
		pair_free(container_of(it, struct pair, node));
	list_remove(&place->node);
	node_name_unref(place->name);
	free(place);
	return NULL;
}

/* ---- namespaces ---- */

static struct namespace *namespace_free(struct namespace *namespace)
{
	list_for_each_safe(it, &namespace->places)
		place_free(container_of(it, struct place, node));
	namespace_unwatch(namespace);
	fd_close(namespace->fd);
	list_remove(&namespace->node);
	free(namespace);
	return NULL;
}

static struct namespace *namespace_find(const struct responder *responder, uint64_t cookie)
{
	list_for_each(it, &responder->namespaces) {
		struct namespace *namespace = container_of(it, struct namespace, node);

		if (namespace->cookie == cookie)
			return namespace;
	}
	return NULL;
}

static int namespace_new(struct responder *responder, uint64_t cookie, int fd, struct namespace **ret_namespace)
{
	struct namespace *namespace = calloc(1, sizeof(*namespace));
	int r;

	if (!namespace)
		return -ENOMEM;
	namespace->responder = responder;
	namespace->cookie = cookie;
	namespace->link_fd = -1;
	list_init(&namespace->places);
	list_init(&namespace->queries);
	list_append(&responder->namespaces, &namespace->node);
	namespace->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	r = namespace->fd < 0 ? -errno : namespace_watch(namespace);
	if (r < 0) {
		namespace_free(namespace);
		return r;
	}
	*ret_namespace = namespace;
	return 0;
}

static void namespace_put(struct namespace *namespace)
{
	if (list_empty(&namespace->places))
		namespace_free(namespace);
}

/* ---- places ---- */

static struct place *place_find(const struct responder *responder, uint64_t cookie, uint32_t node_id)
{
	struct namespace *namespace = namespace_find(responder, cookie);

	if (!namespace)
		return NULL;
	list_for_each(it, &namespace->places) {
		struct place *place = container_of(it, struct place, node);

		if (place->node_id == node_id)
			return place;
	}
	return NULL;
}

static void place_remove(struct place *place)
{
	struct namespace *namespace = place->namespace;

	place_free(place);
	namespace_put(namespace);
}

static int place_new(struct responder *responder, const struct responder_place *what, struct place **ret_place)
{
	struct namespace *namespace = namespace_find(responder, what->netns_cookie);
	struct place *place = calloc(1, sizeof(*place));
	int r = place ? 0 : -ENOMEM;

	if (r == 0 && !namespace)
		r = namespace_new(responder, what->netns_cookie, what->netns_fd, &namespace);
	if (r < 0) {
		free(place);
		return r;
	}
	place->namespace = namespace;
	place->node_id = what->node_id;
	list_init(&place->pairs);
	list_append(&namespace->places, &place->node);
	place->name = node_name_new(what->node);
	if (!place->name) {
		place_remove(place);
		return -ENOMEM;
	}
	*ret_place = place;
	return 0;
}

static struct pair *pair_find(const struct place *place, const struct ip *resolver)
{
	list_for_each(it, &place->pairs) {
		struct pair *pair = container_of(it, struct pair, node);

		if (ip_equal(&pair->resolver, resolver))
			return pair;
	}
	return NULL;
}

static bool is_configured(const struct resolv_conf *conf, const struct ip *resolver)
{
	for (size_t i = 0; i < conf->count; i++)
		if (ip_equal(&conf->resolvers[i], resolver))
			return true;
	return false;
}

/* Resolvers that are configured no longer are on their way out. Whose file changes all the time has not many of those: the eldest go. */
static void place_leave(struct place *place, const struct resolv_conf *conf)
{
	size_t leaving = 0;

	list_for_each(it, &place->pairs) {
		struct pair *pair = container_of(it, struct pair, node);

		if (is_configured(conf, &pair->resolver))
			pair->leaving_ns = 0;
		else if (!pair->leaving_ns)
			pair->leaving_ns = loop_now_ns(place->namespace->responder->loop);
		leaving += pair->leaving_ns > 0;
	}
	list_for_each_safe(it, &place->pairs) {
		struct pair *pair = container_of(it, struct pair, node);

		if (leaving > RESOLVERS_MAX && pair->leaving_ns) {
			pair_free(pair);
			leaving--;
		}
	}
}

/* ---- the tick ---- */

/* True: it was freed. */
static bool pair_tick(struct pair *pair, uint64_t now_ns)
{
	if (pair->leaving_ns && (pair->under_way == 0 || now_ns >= pair->leaving_ns + QUERY_LIMIT_NS)) {
		pair_free(pair);
		return true;
	}
	upstreams_tick(pair, now_ns);
	connections_tick(pair, now_ns);
	if (pair->reason && !pair->place->namespace->responder->stopped)
		pair_open(pair);
	return false;
}

static bool namespace_tick(struct namespace *namespace, uint64_t now_ns)
{
	bool connected = false;

	queries_expire(namespace, now_ns);
	list_for_each(it, &namespace->places)
		list_for_each_safe(jt, &container_of(it, struct place, node)->pairs) {
			struct pair *pair = container_of(jt, struct pair, node);

			if (!pair_tick(pair, now_ns))
				connected |= pair->connection_count > 0;
		}
	return connected;
}

static void on_tick(struct loop_timer *timer, void *arg)
{
	struct responder *responder = arg;
	const uint64_t now_ns = loop_now_ns(responder->loop);
	responder_idle_fn *idle = responder->idle;
	bool connected = false;

	list_for_each(it, &responder->namespaces)
		connected |= namespace_tick(container_of(it, struct namespace, node), now_ns);
	loop_timer_arm(timer, now_ns + TICK_NS);
	if (idle && ((responder->under_way == 0 && !connected) || now_ns >= responder->stopped_ns + QUERY_LIMIT_NS)) {
		responder->idle = NULL;
		idle(responder->idle_arg); /* may free the responder */
	}
}

/* ---- the responder ---- */

uint16_t responder_random(struct responder *responder)
{
	if (responder->random_left == 0) {
		/* Up to 256 bytes come whole (getrandom(2)); without them ids could be guessed. */
		if (getrandom(responder->random, sizeof(responder->random), 0) != sizeof(responder->random))
			abort();
		responder->random_left = ARRAY_SIZE(responder->random);
	}
	return responder->random[--responder->random_left];
}

void responder_count(struct responder *responder, enum dns_outcome outcome)
{
	/* A predecessor may be counting there as well. */
	__atomic_fetch_add(&responder->maps.outcomes[outcome], 1, __ATOMIC_RELAXED);
}

int responder_new(struct loop *loop, const struct responder_maps *maps, uint16_t port, struct responder **ret_responder)
{
	struct responder *responder = calloc(1, sizeof(*responder));
	int r;

	if (!responder)
		return -ENOMEM;
	responder->loop = loop;
	responder->maps = *maps;
	responder->port = port;
	list_init(&responder->namespaces);
	responder->batch = udp_batch_new();
	r = responder->batch ? query_log_init(&responder->log) : -ENOMEM;
	if (r == 0)
		r = loop_timer_new(loop, on_tick, responder, &responder->tick);
	if (r < 0) {
		responder_free(responder);
		return r;
	}
	loop_timer_arm(responder->tick, loop_now_ns(loop) + TICK_NS);
	*ret_responder = responder;
	return 0;
}

struct responder *responder_free(struct responder *responder)
{
	if (!responder)
		return NULL;
	list_for_each_safe(it, &responder->namespaces)
		namespace_free(container_of(it, struct namespace, node));
	loop_timer_free(responder->tick);
	query_log_done(&responder->log);
	udp_batch_free(responder->batch);
	free(responder);
	return NULL;
}

int responder_set(struct responder *responder, const struct responder_place *what, const struct resolv_conf *conf, struct error *err)
{
	struct place *place = place_find(responder, what->netns_cookie, what->node_id);
	int r = place ? 0 : place_new(responder, what, &place), failed = 0;

	if (r < 0)
		return error_set(err, r, "cannot answer names for '%s': %s", what->node, strerrordesc_np(-r));
	place_leave(place, conf);
	for (size_t i = 0; i < conf->count; i++) {
		struct pair *pair = pair_find(place, &conf->resolvers[i]);

		r = pair ? 0 : pair_new(place, &conf->resolvers[i], &pair);
		if (r == 0)
			r = pair_open(pair);
		if (r < 0 && !failed) {
			char resolver[IP_TEXT_BYTES];

			failed = error_set(err, r, "cannot answer for the resolver %s of '%s': %s",
					   ip_format(&conf->resolvers[i], resolver), what->node, strerrordesc_np(-r));
		}
	}
	return failed;
}

void responder_remove(struct responder *responder, uint64_t netns_cookie, uint32_t node_id)
{
	struct place *place = place_find(responder, netns_cookie, node_id);

	if (place)
		place_remove(place);
}

int responder_renumber(struct responder *responder, uint64_t netns_cookie, uint32_t old_node_id, uint32_t node_id)
{
	struct place *place = place_find(responder, netns_cookie, old_node_id);
	int failed = 0;

	if (!place)
		return -ENOENT;
	if (node_id == old_node_id)
		return 0;
	if (place_find(responder, netns_cookie, node_id))
		return -EEXIST;
	place->node_id = node_id;
	list_for_each(it, &place->pairs) {
		struct pair *pair = container_of(it, struct pair, node);
		int r = pair_publish(pair);

		if (r == 0)
			r = pair_unpublish(pair, old_node_id);
		if (r == 0)
			r = pair_publish(pair); /* the way back, which both had, went with the old one */
		if (r < 0 && !failed)
			failed = r;
	}
	return failed;
}

/* ---- handing over ---- */

/* Resolvers that are on their way out stay with us: what was asked there is answered, and nobody asks there again. */
static int place_export(const struct place *place, responder_export_fn *fn, void *arg)
{
	const struct responder_place what = { .netns_cookie = place->namespace->cookie, .netns_fd = place->namespace->fd,
					      .node_id = place->node_id, .node = place->name->text };
	struct responder_sockets sockets[RESOLVERS_MAX];
	size_t count = 0;

	list_for_each(it, &place->pairs) {
		const struct pair *pair = container_of(it, struct pair, node);

		if (!pair->reason && !pair->leaving_ns)
			sockets[count++] = (struct responder_sockets){ .resolver = pair->resolver, .address = pair->address,
								       .port = pair->port, .udp_fd = pair->udp_fd,
								       .tcp_fd = pair->tcp_fd };
	}
	return fn(&what, sockets, count, arg);
}

int responder_export(struct responder *responder, responder_export_fn *fn, void *arg)
{
	list_for_each(it, &responder->namespaces)
		list_for_each(jt, &container_of(it, struct namespace, node)->places) {
			int r = place_export(container_of(jt, struct place, node), fn, arg);

			if (r < 0)
				return r;
		}
	return 0;
}

int responder_adopt(struct responder *responder, const struct responder_place *what, const struct responder_sockets *sockets,
		    size_t count, struct error *err)
{
	struct place *place = place_find(responder, what->netns_cookie, what->node_id);
	int r = place ? -EEXIST : count > RESOLVERS_MAX ? -E2BIG : place_new(responder, what, &place);

	if (r < 0)
		return error_set(err, r, "cannot take '%s' over: %s", what->node, strerrordesc_np(-r));
	for (size_t i = 0; i < count && r == 0; i++) {
		struct pair *pair = NULL;

		r = pair_find(place, &sockets[i].resolver) ? -EEXIST : pair_new(place, &sockets[i].resolver, &pair);
		if (r == 0)
			r = pair_adopt(pair, &sockets[i]);
	}
	if (r == 0)
		return 0;
	list_for_each(it, &place->pairs) {
		struct pair *pair = container_of(it, struct pair, node);

		pair->udp_fd = pair->tcp_fd = -1; /* still the caller's */
	}
	place_remove(place);
	return error_set(err, r, "cannot take the sockets of '%s' over: %s", what->node, strerrordesc_np(-r));
}

void responder_stop(struct responder *responder, responder_idle_fn *idle, void *arg)
{
	responder->stopped = true;
	responder->stopped_ns = loop_now_ns(responder->loop);
	responder->idle = idle;
	responder->idle_arg = arg;
	list_for_each(it, &responder->namespaces)
		list_for_each(jt, &container_of(it, struct namespace, node)->places)
			list_for_each(kt, &container_of(jt, struct place, node)->pairs)
				pair_stop(container_of(kt, struct pair, node));
	loop_timer_arm(responder->tick, 0);
}

/* ---- as JSON ---- */

static json_t *pair_json(const struct pair *pair)
{
	char resolver[IP_TEXT_BYTES], address[ENDPOINT_TEXT_BYTES];

	return json_pack("{s:s, s:s?, s:s?, s:I, s:I}", "resolver", ip_format(&pair->resolver, resolver), "address",
			 pair->reason ? NULL : ip_port_format(&pair->address, htons(pair->port), address), "reason", pair->reason,
			 "queries", (json_int_t)pair->queries, "underWay", (json_int_t)pair->under_way);
}

static json_t *place_json(const struct place *place)
{
	_cleanup_json_ json_t *resolvers = json_array();

	list_for_each(it, &place->pairs) {
		const struct pair *pair = container_of(it, struct pair, node);

		if (!pair->leaving_ns && json_array_append_new(resolvers, pair_json(pair)) < 0)
			return NULL;
	}
	return json_pack("{s:I, s:s, s:O?}", "netnsCookie", (json_int_t)place->namespace->cookie, "node", place->name->text,
			 "resolvers", resolvers);
}

json_t *responder_json(const struct responder *responder)
{
	_cleanup_json_ json_t *places = json_array();

	list_for_each(it, &responder->namespaces)
		list_for_each(jt, &container_of(it, struct namespace, node)->places)
			if (json_array_append_new(places, place_json(container_of(jt, struct place, node))) < 0)
				return NULL;
	return places ? json_pack("{s:O}", "places", places) : NULL;
}

json_t *responder_queries_json(const struct responder *responder, const char *node, size_t limit)
{
	return query_log_json(&responder->log, node, limit);
}
