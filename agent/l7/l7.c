/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/l7.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/identity/cgroup.h"
#include "agent/l7/internal.h"
#include "agent/l7/ledger.h"
#include "base/cleanup.h"
#include "base/log.h"

#define BACKLOG 4096
#define ENDPOINTS_MAX (MAX_SERVICES / DEFAULT_SERVICES * DEFAULT_ENDPOINTS) /* to which the kernel's slots may grow */

/* --- places -------------------------------------------------------------------------------------------------------------- */

void l7_place_unref(struct l7_place *place)
{
	if (__atomic_sub_fetch(&place->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	fd_close(place->listen_fd);
	fd_close(place->netns_fd);
	sidecar_unref(place->sidecar);
	free(place);
}

/* That of the namespace's other places, or a new one. NULL: no memory. */
static struct sidecar *sidecar_of(const struct l7 *l7, uint64_t netns_cookie)
{
	list_for_each(it, &l7->places) {
		const struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie == netns_cookie)
			return sidecar_ref(place->sidecar);
	}
	return sidecar_new(l7->worker_count);
}

/* What comes in is given to the socket, whatever it is bound to: any port will do. A gateway's is reached by others. */
static socklen_t address_of(const struct l7_place *place, struct sockaddr_storage *ret_address)
{
	const __be16 port = htons(place->role == L7_OUTBOUND ? PROXY_OUTBOUND_PORT : place->port);
	const bool any = place->role == L7_GATEWAY;
	const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = port,
					.sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK) };
	const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = port,
					 .sin6_addr = any ? in6addr_any : in6addr_loopback };

	if (place->family == LIST_V4)
		memcpy(ret_address, &v4, sizeof(v4));
	else
		memcpy(ret_address, &v6, sizeof(v6));
	return place->family == LIST_V4 ? sizeof(v4) : sizeof(v6);
}

static int listen_at(const struct l7_place *place)
{
	struct sockaddr_storage address;
	const socklen_t length = address_of(place, &address);
	_cleanup_close_ int fd = netns_socket(place->netns_fd, address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* what it accepts has it too */
	if (place->family == LIST_V6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Once, where it begins: it is tried again each half second. */
static void tell_taken(const struct l7_place *place)
{
	if (place->role == L7_OUTBOUND && place->why != -EADDRINUSE)
		log_warn("foreign-redirect: another program has the port that HTTP connections of a namespace are handed to, an Envoy of App Mesh maybe; "
			 "they are refused while it has it",
			 LOG_F("netns_cookie", LOG_U64(place->netns_cookie)), LOG_F("port", LOG_INT(PROXY_OUTBOUND_PORT)),
			 LOG_F("family", LOG_STR(place->family == LIST_V4 ? "IPv4" : "IPv6")));
}

/* The workers know it before the kernel does: the first connection finds one that accepts. */
void l7_place_open(struct l7 *l7, struct l7_place *place)
{
	int fd;

	if (l7->state != L7_ACCEPTS)
		return;
	fd = inherited_take(l7, place);
	if (fd < 0)
		fd = listen_at(place);
	if (fd == -EADDRINUSE)
		tell_taken(place);
	if (fd < 0) {
		place->why = fd;
		return;
	}
	place->listen_fd = fd;
	place->why = 0;
	for (unsigned int i = 0; i < l7->worker_count; i++)
		if (worker_tell_place(l7->workers[i], place) < 0)
			log_error("a worker is not told of a namespace: out of memory");
	for (unsigned int i = 0; i < l7->worker_count; i++)
		if (worker_tell_accept(l7->workers[i], place) < 0)
			log_error("a worker does not accept in a namespace: out of memory");
	if (place->role != L7_INBOUND)
		return;
	fd = l7->kernel.inbound_set(l7->kernel.arg, place->netns_cookie, place->family == LIST_V4 ? AF_INET : AF_INET6, place->listen_fd);
	if (fd < 0)
		log_error("nothing that comes in is taken in a namespace", LOG_F("error", LOG_STR(strerror(-fd))));
}

/* Which families the kernel may hand over there. */
static void tell_kernel(struct l7 *l7, uint64_t netns_cookie)
{
	static const uint32_t bits_of[LIST_COUNT] = { [LIST_V4] = PROXY_PLACE_V4, [LIST_V6] = PROXY_PLACE_V6 };
	static const uint32_t taken_bits_of[LIST_COUNT] = { [LIST_V4] = PROXY_PLACE_TAKEN_V4, [LIST_V6] = PROXY_PLACE_TAKEN_V6 };
	uint32_t bits = 0;
	int r;

	if (l7->state != L7_ACCEPTS)
		return;
	list_for_each(it, &l7->places) {
		const struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie != netns_cookie || place->role != L7_OUTBOUND)
			continue;
		if (place->listen_fd >= 0)
			bits |= bits_of[place->family];
		else if (place->why == -EADDRINUSE)
			bits |= taken_bits_of[place->family];
	}
	r = l7->kernel.place_set(l7->kernel.arg, netns_cookie, bits);
	if (r < 0)
		log_limited(LOG_LEVEL_ERROR, "no HTTP connections of a namespace are taken", LOG_F("error", LOG_STR(strerror(-r))));
}

int l7_place_new(const struct l7 *l7, uint64_t netns_cookie, int netns_fd, enum l7_role role, int family, struct l7_place **ret_place)
{
	struct l7_place *place = malloc(sizeof(*place));

	if (!place)
		return -ENOMEM;
	*place = (struct l7_place){ .refs = 1, .netns_cookie = netns_cookie, .role = role, .family = family, .netns_fd = -1,
				     .listen_fd = -1 };
	list_init(&place->node);
	place->sidecar = sidecar_of(l7, netns_cookie);
	if (!place->sidecar) {
		l7_place_unref(place);
		return -ENOMEM;
	}
	place->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
	if (place->netns_fd < 0) {
		const int r = -errno;

		l7_place_unref(place);
		return r;
	}
	*ret_place = place;
	return 0;
}

static bool has_place(const struct l7 *l7, uint64_t netns_cookie)
{
	list_for_each(it, &l7->places) {
		const struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie == netns_cookie && place->role != L7_GATEWAY)
			return true;
	}
	return false;
}

int l7_place_add(struct l7 *l7, uint64_t netns_cookie, int netns_fd)
{
	if (has_place(l7, netns_cookie))
		return -EEXIST;
	for (int i = 0; i < L7_GATEWAY * LIST_COUNT; i++) {
		struct l7_place *place = NULL;
		int r = l7_place_new(l7, netns_cookie, netns_fd, (enum l7_role)(i / LIST_COUNT), i % LIST_COUNT, &place);

		if (r < 0) {
			l7_place_remove(l7, netns_cookie);
			return r;
		}
		list_append(&l7->places, &place->node);
		l7_place_open(l7, place);
	}
	tell_kernel(l7, netns_cookie);
	return 0;
}

void l7_place_remove(struct l7 *l7, uint64_t netns_cookie)
{
	if (!has_place(l7, netns_cookie))
		return;
	if (l7->state == L7_ACCEPTS)
		l7->kernel.place_remove(l7->kernel.arg, netns_cookie);
	for (unsigned int i = 0; i < l7->worker_count; i++)
		if (worker_tell_no_place(l7->workers[i], netns_cookie) < 0)
			log_error("a namespace stays open: out of memory");
	list_for_each_safe(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->netns_cookie != netns_cookie)
			continue;
		list_remove(it);
		l7_place_unref(place);
	}
}

void l7_hold(struct l7 *l7)
{
	l7->state = L7_HOLDS;
}

void l7_accept(struct l7 *l7)
{
	l7->state = L7_ACCEPTS;
	list_for_each(it, &l7->places)
		l7_place_open(l7, container_of(it, struct l7_place, node));
	inherited_done(l7);
	list_for_each(it, &l7->places) {
		const struct l7_place *place = container_of(it, struct l7_place, node);

		if (place->role == L7_OUTBOUND)
			tell_kernel(l7, place->netns_cookie);
	}
}

void l7_retry(struct l7 *l7)
{
	acts_follow(l7);
	list_for_each(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		const int why = place->why;

		if (place->listen_fd >= 0)
			continue;
		l7_place_open(l7, place);
		if ((place->listen_fd >= 0 || place->why != why) && place->role == L7_OUTBOUND)
			tell_kernel(l7, place->netns_cookie);
	}
}

struct endpoint *l7_slot(const struct l7 *l7, const struct target_endpoint *endpoint)
{
	struct endpoint *slot;

	if (endpoint->slot >= __atomic_load_n(l7->kernel.endpoint_count, __ATOMIC_RELAXED))
		return NULL;
	slot = &l7->kernel.endpoints[endpoint->slot];
	return __atomic_load_n(&slot->incarnation, __ATOMIC_RELAXED) == endpoint->incarnation ? slot : NULL;
}

/* --- configuration ------------------------------------------------------------------------------------------------------- */

int l7_prepare(struct l7 *l7, uint64_t base, uint64_t generation, struct span text, struct snapshot **ret_snapshot, struct error *err)
{
	int r = snapshots_apply(l7->snapshots, base, generation, text, err);

	if (r == 0)
		*ret_snapshot = snapshot_ref(snapshots_now(l7->snapshots));
	return r;
}

int l7_publish(struct l7 *l7, struct snapshot *snapshot, struct error *err)
{
	int r = l7->kernel.endpoints_reach(l7->kernel.arg, snapshot_slots(snapshot), err); /* before anybody looks at them */

	if (r < 0) {
		snapshot_unref(snapshot);
		return r;
	}
	snapshot_unref(l7->snapshot);
	l7->snapshot = snapshot;
	for (unsigned int i = 0; r == 0 && i < l7->worker_count; i++)
		r = worker_tell_snapshot(l7->workers[i], snapshot);
	if (r < 0)
		return error_set(err, r, "out of memory");
	acts_follow(l7);
	return 0;
}

int l7_configure(struct l7 *l7, uint64_t base, uint64_t generation, struct span text, struct error *err)
{
	struct snapshot *snapshot = NULL;
	int r = l7_prepare(l7, base, generation, text, &snapshot, err);

	return r < 0 ? r : l7_publish(l7, snapshot, err);
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

static unsigned int usable_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned int)CPU_COUNT(&set);
}

/* Without the file limits hold for each process alone, as long as there is more than one. */
static int ledger_new(const char *path, struct ledger **ret_ledger)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};
	int r = ledger_open(path, ret_ledger, &err);

	if (r == 0 || !path)
		return r;
	log_warn("pools of listeners are counted by this weft-proxy alone", LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
	return ledger_open(NULL, ret_ledger, NULL);
}

int l7_new(struct loop *loop, const struct l7_kernel *kernel, const struct l7_options *options, struct l7 **ret_l7, struct error *err)
{
	struct l7 *l7 = calloc(1, sizeof(*l7));
	unsigned int workers = options->workers ?: usable_cpus();
	int r = l7 ? 0 : -ENOMEM;

	if (r == 0) {
		l7->loop = loop;
		l7->kernel = *kernel;
		list_init(&l7->places);
		list_init(&l7->acts);
		list_init(&l7->inherited);
		l7->active = calloc(ENDPOINTS_MAX, sizeof(*l7->active));
		l7->workers = calloc(workers, sizeof(struct worker *));
		r = l7->active && l7->workers ? snapshots_new(&l7->snapshots) : -ENOMEM;
	}
	if (r == 0)
		l7->snapshot = snapshot_ref(snapshots_now(l7->snapshots));
	if (r == 0)
		r = access_logs_new(&(struct access_logs_options){ .worker_count = workers, .workload_files = options->workload_files },
				    &l7->logs);
	if (r == 0)
		r = ledger_new(options->ledger, &l7->ledger);
	for (unsigned int i = 0; r == 0 && i < workers; i++) {
		r = worker_new(l7, i, &l7->workers[i]);
		l7->worker_count += r == 0;
	}
	if (r < 0) {
		l7_free(l7);
		return error_set(err, r, "cannot start the HTTP proxy's workers: %s", strerror(-r));
	}
	*ret_l7 = l7;
	return 0;
}

struct l7 *l7_free(struct l7 *l7)
{
	if (!l7)
		return NULL;
	for (unsigned int i = 0; i < l7->worker_count; i++)
		worker_stop(l7->workers[i]); /* one that runs may have a connection for another one */
	for (unsigned int i = 0; i < l7->worker_count; i++)
		worker_free(l7->workers[i]);
	list_for_each_safe(it, &l7->places) {
		struct l7_place *place = container_of(it, struct l7_place, node);

		if (l7->state == L7_ACCEPTS)
			l7->kernel.place_remove(l7->kernel.arg, place->netns_cookie);
		list_remove(it);
		l7_place_unref(place);
	}
	inherited_done(l7);
	acts_done(l7);
	access_logs_free(l7->logs);
	ledger_close(l7->ledger);
	snapshot_unref(l7->snapshot);
	snapshots_free(l7->snapshots);
	free(l7->workers);
	free(l7->active);
	free(l7);
	return NULL;
}
