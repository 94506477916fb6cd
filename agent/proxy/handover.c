/* SPDX-License-Identifier: Apache-2.0 */
/* Places on their way from one weft-proxy to the next. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "agent/proxy/attachments_internal.h"
#include "agent/proxy/control.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"

#define LOOK_NS (5 * NSEC_PER_SEC) /* far longer than it takes to look at what a workload's processes see */
_Static_assert(1 + 2 * RESOLVERS_MAX + L7_LISTENS_MAX <= CONTROL_FDS_MAX, "a message takes all descriptors of a place");

#define ATTACHMENTS_A_MESSAGE 32 /* a path has at most 4 KiB, six times that as JSON, and a message 256 KiB */

size_t attachments_freeze(struct attachments *all)
{
	size_t count = 0;

	all->frozen = true;
	list_for_each(p, &all->places) {
		struct place *place = container_of(p, struct place, node);

		count++;
		place->handed = false;
		list_for_each(it, &place->attachments)
			container_of(it, struct attachment, node)->handed = false;
	}
	return count;
}

void attachments_thaw(struct attachments *all)
{
	all->frozen = false;
	loop_timer_arm(all->sweep_timer, 0);
	attachments_retry(all);
}

struct export {
	const struct place *place;
	json_t *sockets;
	int *fds;
	size_t fd_count;
};

static int export_sockets(const struct responder_place *at, const struct responder_sockets *sockets, size_t count, void *arg)
{
	struct export *e = arg;
	char resolver[IP_TEXT_BYTES], address[IP_TEXT_BYTES];

	if (at->netns_cookie != e->place->netns_cookie || at->node_id != e->place->node_id)
		return 0;
	assert(count <= RESOLVERS_MAX);
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(e->sockets, json_pack("{s:s, s:s, s:i}", "resolver", ip_format(&sockets[i].resolver, resolver),
							    "address", ip_format(&sockets[i].address, address), "port",
							    sockets[i].port));
		e->fds[e->fd_count++] = sockets[i].udp_fd;
		e->fds[e->fd_count++] = sockets[i].tcp_fd;
	}
	return -ECANCELED; /* the others are of no interest */
}

/* Those that no message has named yet, as many as surely fit into one. */
static json_t *attachments_left(struct place *place)
{
	json_t *list = json_array();

	list_for_each(it, &place->attachments) {
		struct attachment *a = container_of(it, struct attachment, node);

		if (a->handed)
			continue;
		if (json_array_size(list) == ATTACHMENTS_A_MESSAGE)
			break;
		json_array_append_new(list, json_pack("{s:I, s:s, s:I, s:b}", "workload", (json_int_t)a->workload, "cgroup", a->cgroup,
						      "cgroupId", (json_int_t)a->cgroup_id, "waits", a->waits));
		a->handed = true;
	}
	return list;
}

static json_t *listens_of(const struct place *place, int *ret_fds, size_t *ret_fd_count)
{
	const struct l7 *l7 = place->all->parts.l7;

	*ret_fd_count = 0;
	return l7 && !place->handed ? l7_listens(l7, place->netns_cookie, ret_fds, ret_fd_count) : json_array();
}

int attachments_next(struct attachments *all, json_t **ret_message, int *ret_fds, size_t *ret_fd_count)
{
	list_for_each(it, &all->places) {
		struct place *place = container_of(it, struct place, node);
		struct export export = { .place = place, .fds = ret_fds, .fd_count = 1 };
		_cleanup_json_ json_t *attachments = attachments_left(place), *sockets = json_array(), *listens = NULL;
		size_t listen_count;

		if (!json_array_size(attachments))
			continue;
		ret_fds[0] = place->netns_fd;
		export.sockets = sockets;
		if (place->open && !place->handed)
			responder_export(all->parts.responder, export_sockets, &export);
		listens = listens_of(place, ret_fds + export.fd_count, &listen_count);
		place->handed = true;
		*ret_message = json_pack("{s:I, s:s, s:I, s:O, s:O, s:O}", "netnsCookie", (json_int_t)place->netns_cookie, "node", place->name,
					 "nodeId", (json_int_t)place->node_id, "sockets", sockets, "listens", listens, "attachments",
					 attachments);
		*ret_fd_count = export.fd_count + listen_count;
		return *ret_message ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static const struct control_member place_members[] = {
	{ "netnsCookie", CONTROL_ID, offsetof(struct attachment_request, netns_cookie) },
	{ "node", CONTROL_TEXT, offsetof(struct attachment_request, node) },
	{ "nodeId", CONTROL_U32, offsetof(struct attachment_request, node_id) },
	{},
};
static const struct control_member workload_members[] = {
	{ "workload", CONTROL_ID, offsetof(struct attachment_request, workload) },
	{ "cgroup", CONTROL_TEXT, offsetof(struct attachment_request, cgroup) },
	{ "cgroupId", CONTROL_ID, offsetof(struct attachment_request, cgroup_id) },
	{},
};

/* The descriptors are the namespace's, then theirs, then `listens` more. */
static int read_sockets(const json_t *list, size_t listens, const int *fds, size_t fd_count, struct responder_sockets *sockets,
			struct error *err)
{
	const size_t count = json_array_size(list);

	if (count > RESOLVERS_MAX || fd_count != 1 + 2 * count + listens)
		return error_set_field(err, -EBADMSG, "sockets", "%zu, and %zu that listen, with %zu descriptors", count, listens, fd_count);
	for (size_t i = 0; i < count; i++) {
		const char *resolver = json_path_string(json_array_get(list, i), "resolver");
		const char *address = json_path_string(json_array_get(list, i), "address");
		const int64_t port = json_path_int(json_array_get(list, i), "port", 0);

		if (!resolver || ip_parse(resolver, &sockets[i].resolver) < 0 || !address || ip_parse(address, &sockets[i].address) < 0 ||
		    port <= 0 || port > UINT16_MAX)
			return error_set_field(err, -EBADMSG, "sockets", "element %zu is no pair of addresses with a port", i);
		sockets[i].port = (uint16_t)port;
		sockets[i].udp_fd = fds[1 + 2 * i];
		sockets[i].tcp_fd = fds[2 + 2 * i];
	}
	return 0;
}

/* The attachments of a place whose cgroup still has a process. */
static int adopt_attachments(struct place *place, const json_t *list, struct attachment_request *request, struct error *err)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		struct error ended = {};

		if (control_members(one, workload_members, request, err) < 0 || attachment_check(request, err) < 0)
			return err->code = -EBADMSG;
		request->waits = json_path_bool(one, "waits", false);
		if (!attachment_find(place->all, request->workload, request->netns_cookie))
			attachment_new(place, request, 0, &ended);
	}
	return list_empty(&place->attachments) ? error_set(err, -ENOENT, "none of its workloads has a process") : 0;
}

/* The place of a message: made, or begun by the one before. */
static int adopt_place(struct attachments *all, const json_t *message, const int *fds, size_t fd_count, struct place **ret_place,
		       struct error *err)
{
	struct attachment_request request = {};
	struct place *place;
	int r = control_members(message, place_members, &request, err);

	if (r < 0 || fd_count == 0)
		return error_set_field(err, -EBADMSG, err->field, "%s", fd_count ? err->message : "no descriptor of a namespace");
	r = attachment_check_namespace(fds[0], request.netns_cookie, err);
	if (r < 0)
		return r;
	place = place_by_name(all, request.netns_cookie, request.node);
	r = place ? 0 : place_new(all, &request, fds[0], &place);
	if (r < 0)
		return error_set(err, r, "%s", strerror(-r));
	r = adopt_attachments(place, json_object_get(message, "attachments"), &request, err);
	if (list_empty(&place->attachments))
		place_free(place);
	if (r == 0)
		*ret_place = place;
	return r;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(fds[i]);
}

/* What HTTP connections come to. It is used when the place is opened, if it is. */
static int inherit(struct attachments *all, const json_t *message, const json_t *listens, const int *fds, size_t count, struct error *err)
{
	const uint64_t netns_cookie = (uint64_t)json_path_int(message, "netnsCookie", 0);

	if (all->parts.l7)
		return l7_inherit(all->parts.l7, netns_cookie, listens, fds, count, err);
	close_all(fds, count);
	return 0;
}

int attachments_adopt(struct attachments *all, const json_t *message, int *fds, size_t fd_count, struct error *err)
{
	struct responder_sockets sockets[RESOLVERS_MAX] = {};
	const json_t *list = json_object_get(message, "sockets"), *listens = json_object_get(message, "listens");
	const size_t listen_count = json_array_size(listens);
	struct responder_place at;
	struct place *place = NULL;
	int r = read_sockets(list, listen_count, fds, fd_count, sockets, err);

	if (r == 0) {
		fd_count -= listen_count;
		r = inherit(all, message, listens, fds + fd_count, listen_count, err);
	}
	if (r == 0)
		r = adopt_place(all, message, fds, fd_count, &place, err);
	if (r < 0 || place->open || json_array_size(list) == 0) {
		close_all(fds, fd_count);
		return r;
	}
	at = responder_place_of(place);
	r = responder_adopt(all->parts.responder, &at, sockets, json_array_size(list), err);
	place->open = place->dirty = r == 0;
	place->patience_ns = loop_now_ns(all->parts.loop) + LOOK_NS;
	close_all(fds, r == 0 ? 1 : fd_count); /* the namespace's was dup'ed */
	return r;
}

void attachments_retire(struct attachments *all)
{
	all->frozen = true;
	loop_timer_disarm(all->sweep_timer);
	list_for_each(p, &all->places) {
		struct place *place = container_of(p, struct place, node);

		place->open = place->known = place->dirty = false;
		list_for_each(it, &place->attachments) {
			struct attachment *a = container_of(it, struct attachment, node);

			a->watch = resolv_watch_free(a->watch);
		}
	}
}

void attachments_adopted(struct attachments *all, bool synced)
{
	all->synced = synced;
	loop_timer_arm(all->sweep_timer, 0);
}
