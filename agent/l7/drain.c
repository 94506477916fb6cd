/* SPDX-License-Identifier: Apache-2.0 */
/* How everything goes to another process: what is listened on, what is known, and connections between two requests. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/l7/internal.h"
#include "agent/net/tcp.h"
#include "base/log.h"

/* --- what is known ------------------------------------------------------------------------------------------------------- */

uint64_t l7_generation(const struct l7 *l7)
{
	return snapshot_generation(l7->snapshot);
}

int l7_configuration(const struct l7 *l7, uint64_t *ret_generation, struct buffer *text)
{
	const struct snapshot *snapshot = l7->snapshot;
	int r = snapshot_print(snapshot, text);

	if (r == 0)
		*ret_generation = snapshot_generation(snapshot);
	return r;
}

/* --- what is listened on ------------------------------------------------------------------------------------------------- */

struct inherited {
	struct list node;
	uint64_t netns_cookie;
	enum l7_role role;
	int family;
	uint16_t port;
	int fd;
};

json_t *l7_listens(const struct l7 *l7, uint64_t netns_cookie, int ret_fds[L7_LISTENS_MAX], size_t *ret_fd_count)
{
	json_t *listens = json_array();
	size_t count = 0;

	list_for_each(it, &l7->places) {
		const struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie != netns_cookie || place->listen_fd < 0)
			continue;
		if (count == L7_LISTENS_MAX) {
			log_warn("a namespace has too many listeners to hand over: some open anew", LOG_F("role", LOG_STR(l7_role_names[place->role])));
			break;
		}
		json_array_append_new(listens, json_pack("{s:s, s:s, s:i}", "role", l7_role_names[place->role], "family",
							 l7_family_names[place->family], "port", (int)place->port));
		ret_fds[count++] = place->listen_fd;
	}
	*ret_fd_count = count;
	if (json_array_size(listens) == count)
		return listens;
	json_decref(listens);
	return NULL;
}

static int option_of(int fd, int option)
{
	socklen_t length = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0 ? -1 : value;
}

static int index_of(const char *text, const char *const *names, int count)
{
	for (int i = 0; text && i < count; i++)
		if (!strcmp(text, names[i]))
			return i;
	return -1;
}

/* -ENOTSUP: of another build, and nothing that we know. */
static int listen_read(const json_t *json, int fd, struct inherited *ret_one)
{
	const int role = index_of(json_path_string(json, "role"), l7_role_names, L7_GATEWAY + 1);
	const int family = index_of(json_path_string(json, "family"), l7_family_names, LIST_COUNT);

	if (option_of(fd, SO_ACCEPTCONN) != 1)
		return -EBADMSG;
	if (role < 0 || family < 0 || option_of(fd, SO_DOMAIN) != (family == LIST_V4 ? AF_INET : AF_INET6) ||
	    option_of(fd, SO_PROTOCOL) != IPPROTO_TCP)
		return -ENOTSUP;
	*ret_one = (struct inherited){ .role = (enum l7_role)role, .family = family, .port = (uint16_t)json_path_int(json, "port", 0), .fd = fd };
	return 0;
}

static int inherit_one(struct l7 *l7, uint64_t netns_cookie, const json_t *json, int fd)
{
	struct inherited *one = malloc(sizeof(*one));
	int r = one ? listen_read(json, fd, one) : -ENOMEM;

	if (r < 0) {
		fd_close(fd);
		free(one);
		return r == -ENOTSUP ? 0 : r;
	}
	one->netns_cookie = netns_cookie;
	list_append(&l7->inherited, &one->node);
	return 0;
}

int l7_inherit(struct l7 *l7, uint64_t netns_cookie, const json_t *listens, const int *fds, size_t fd_count, struct error *err)
{
	int result = 0;

	if (json_array_size(listens) != fd_count)
		result = error_set_field(err, -EBADMSG, "listens", "%zu with %zu descriptors", json_array_size(listens), fd_count);
	for (size_t i = 0; i < fd_count; i++) {
		int r = inherit_one(l7, netns_cookie, json_array_get(listens, i), fds[i]);

		if (r < 0 && result == 0)
			result = error_set_field(err, r, "listens", "element %zu: %s", i,
						 r == -EBADMSG ? "its descriptor is no socket that listens" : strerror(-r));
	}
	return result;
}

static void inherited_free(struct inherited *one)
{
	list_remove(&one->node);
	fd_close(one->fd);
	free(one);
}

int inherited_take(struct l7 *l7, const struct l7_place *place)
{
	list_for_each_safe(it, &l7->inherited) {
		struct inherited *one = container_of(it, struct inherited, node);
		int fd;

		if (one->netns_cookie != place->netns_cookie || one->role != place->role || one->family != place->family ||
		    one->port != place->port)
			continue;
		fd = TAKE_FD(one->fd);
		inherited_free(one);
		return fd;
	}
	return -1;
}

void inherited_done(struct l7 *l7)
{
	list_for_each_safe(it, &l7->inherited)
		inherited_free(container_of(it, struct inherited, node));
}

/* --- the end ------------------------------------------------------------------------------------------------------------- */

static void stop_accepting(struct worker *worker, void *arg)
{
	(void)arg;
	worker->draining = true;
	list_for_each(it, &worker->places) {
		struct worker_place *place = container_of(it, struct worker_place, node);

		place->io = loop_io_remove(place->io);
	}
	upstreams_expire(worker, UINT64_MAX);
	downstreams_drain(worker);
	limits_look(worker); /* from here on a successor has its part of them */
}

static void run_all(struct l7 *l7, worker_fn *fn, void *arg)
{
	for (unsigned int i = 0; i < l7->worker_count; i++)
		if (worker_run(l7->workers[i], fn, arg) < 0)
			log_error("a worker is not told of the end: out of memory", LOG_F("worker", LOG_U64(i)));
}

static void nothing(struct worker *worker, void *arg)
{
	(void)worker;
	(void)arg;
}

void l7_drain(struct l7 *l7, bool handed_over)
{
	run_all(l7, stop_accepting, NULL);
	run_all(l7, nothing, NULL); /* what one of them accepted for another has arrived, and counts as open */
	list_for_each(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		if (!handed_over && place->role == L7_OUTBOUND)
			l7->kernel.place_remove(l7->kernel.arg, place->netns_cookie);
		place->listen_fd = fd_close(place->listen_fd); /* it would go on listening where a successor does not any more */
	}
	l7->state = L7_DRAINS;
}

static void count_parked(struct worker *worker, void *arg)
{
	uint64_t *count = arg;

	list_for_each(it, &worker->parked)
		++*count;
}

struct l7_left l7_left(struct l7 *l7)
{
	struct l7_left left = {};

	run_all(l7, count_parked, &left.parked); /* and what l7_take() has told them counts as well */
	left.requests = L7_COUNTED(l7, requests_active);
	left.connections = L7_COUNTED(l7, open);
	return left;
}

static void look_for_strangers(struct worker *worker, void *arg)
{
	bool *any = arg;

	list_for_each(p, &worker->places) {
		const struct worker_place *place = container_of(p, struct worker_place, node);

		if (place->place->role != L7_OUTBOUND)
			continue;
		list_for_each(it, &place->downstreams)
			*any |= !container_of(it, struct downstream, place_node)->handover.service;
	}
}

bool l7_may_leave(struct l7 *l7)
{
	bool any = false;

	run_all(l7, look_for_strangers, &any);
	return any;
}

static void cut(struct worker *worker, void *arg)
{
	(void)arg;
	worker->end = L7_DRAIN_LIMIT;
	list_for_each(p, &worker->places)
		list_for_each_safe(it, &container_of(p, struct worker_place, node)->downstreams)
			downstream_close(container_of(it, struct downstream, place_node));
}

void l7_cut(struct l7 *l7)
{
	run_all(l7, cut, NULL);
}

/* --- connections --------------------------------------------------------------------------------------------------------- */

static json_t *connection_json(const struct downstream *d)
{
	const struct l7_place *place = d->place->place;
	const struct handover *handover = &d->handover;
	char destination[IP_TEXT_BYTES], came_to[IP_TEXT_BYTES];

	return json_pack("{s:I, s:s, s:I, s:I, s:s, s:i, s:I, s:I, s:b, s:i, s:s}", "netnsCookie", (json_int_t)place->netns_cookie, "role",
			 l7_role_names[place->role], "generation", (json_int_t)handover->generation, "socketCookie",
			 (json_int_t)handover->socket_cookie, "destination", ip_format(&handover->destination, destination), "port",
			 ntohs(handover->port), "source", (json_int_t)handover->source, "service", (json_int_t)handover->service, "audit",
			 handover->audit, "listener", (int)d->came_to.listener, "listenerAddress", ip_format(&d->came_to.address, came_to));
}

struct given {
	json_t *list;
	int *fds;
	size_t max;
};

/* The duplicate keeps the connection open when ours is closed, and what nobody has read yet stays in it. */
static bool give(struct downstream *d, struct given *given)
{
	const size_t count = json_array_size(given->list);
	int fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (json_array_append_new(given->list, connection_json(d)) < 0) {
		fd_close(fd);
		return false;
	}
	given->fds[count] = fd;
	COUNT(d->worker->stats.given, 1);
	downstream_close(d);
	return true;
}

static void give_idle(struct worker *worker, void *arg)
{
	struct given *given = arg;

	list_for_each_safe(it, &worker->waits[WAIT_REQUEST]) {
		struct downstream *d = container_of(it, struct downstream, node);

		if (json_array_size(given->list) == given->max)
			return;
		if (downstream_is_idle(d) && !give(d, given))
			return;
	}
}

json_t *l7_give(struct l7 *l7, int *ret_fds, size_t max)
{
	struct given given = { .list = json_array(), .fds = ret_fds, .max = max };

	if (given.list)
		run_all(l7, give_idle, &given);
	return given.list;
}

/* Builds before this one say nothing of it. */
static int came_to_read(const json_t *json, struct came_to *ret_came_to)
{
	const char *address = json_path_string(json, "listenerAddress");
	const int64_t listener = json_path_int(json, "listener", 0);

	if (listener < 0 || listener > UINT16_MAX || (address && ip_parse(address, &ret_came_to->address) < 0))
		return -EBADMSG;
	ret_came_to->listener = (uint16_t)listener;
	return 0;
}

static int connection_read(const json_t *json, uint64_t *ret_cookie, enum l7_role *ret_role, struct handover *ret_handover)
{
	const int role = index_of(json_path_string(json, "role"), l7_role_names, L7_GATEWAY + 1);
	const char *destination = json_path_string(json, "destination");
	const int64_t port = json_path_int(json, "port", -1), source = json_path_int(json, "source", -1);
	const int64_t service = json_path_int(json, "service", -1);

	if (role < 0 || !destination || ip_parse(destination, &ret_handover->destination) < 0 || port < 0 || port > UINT16_MAX || source < 0 ||
	    source > UINT32_MAX || service < 0 || service > UINT32_MAX)
		return -EBADMSG;
	ret_handover->generation = (uint64_t)json_path_int(json, "generation", 0);
	ret_handover->socket_cookie = (uint64_t)json_path_int(json, "socketCookie", 0);
	ret_handover->port = htons((uint16_t)port);
	ret_handover->source = (uint32_t)source;
	ret_handover->service = (uint32_t)service;
	ret_handover->audit = json_path_bool(json, "audit", false);
	*ret_cookie = (uint64_t)json_path_int(json, "netnsCookie", 0);
	*ret_role = (enum l7_role)role;
	return 0;
}

static struct l7_place *place_of(const struct l7 *l7, uint64_t netns_cookie, enum l7_role role, const struct accepted *accepted)
{
	const int family = ip_is_v4(&accepted->peer) ? LIST_V4 : LIST_V6;

	list_for_each(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie == netns_cookie && place->role == role && place->family == family &&
		    (role != L7_GATEWAY || htons(place->port) == accepted->handover.port))
			return place;
	}
	return NULL;
}

static int take(struct l7 *l7, const json_t *connection, struct accepted *accepted)
{
	struct sockaddr_storage address = {};
	socklen_t length = sizeof(address);
	struct l7_place *place;
	uint64_t netns_cookie;
	enum l7_role role;
	unsigned int worker;
	int r = connection_read(connection, &netns_cookie, &role, &accepted->handover);

	if (r == 0)
		r = came_to_read(connection, &accepted->came_to);
	if (r < 0)
		return r;
	if (getpeername(accepted->fd, (struct sockaddr *)&address, &length) < 0) /* it was reset meanwhile */
		return -errno;
	if (address.ss_family != AF_INET && address.ss_family != AF_INET6)
		return -EBADMSG;
	tcp_address_read((struct sockaddr *)&address, &accepted->peer, &accepted->peer_port);
	place = place_of(l7, netns_cookie, role, accepted);
	if (!place)
		return -ENOENT;
	/* Listeners with limits are one worker's, and this may be such a one. */
	worker = role == L7_OUTBOUND ? (unsigned int)(l7->taken % l7->worker_count) : limit_owner(l7, netns_cookie, accepted->handover.port);
	return worker_tell_connection(l7->workers[worker], place, accepted);
}

int l7_take(struct l7 *l7, const json_t *connection, int fd)
{
	struct accepted accepted = { .fd = fd };
	int r = take(l7, connection, &accepted);

	if (r < 0)
		fd_close(fd);
	else
		l7->taken++;
	return r;
}
