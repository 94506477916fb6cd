/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/attachments_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "agent/spec/resource.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"

static struct place *place_find(const struct attachments *all, uint64_t netns_cookie, uint32_t node_id)
{
	list_for_each(it, &all->places) {
		struct place *place = container_of(it, struct place, node);

		if (place->netns_cookie == netns_cookie && place->node_id == node_id)
			return place;
	}
	return NULL;
}

struct place *place_by_name(const struct attachments *all, uint64_t netns_cookie, const char *name)
{
	list_for_each(it, &all->places) {
		struct place *place = container_of(it, struct place, node);

		if (place->netns_cookie == netns_cookie && !strcmp(place->name, name))
			return place;
	}
	return NULL;
}

struct attachment *attachment_find(const struct attachments *all, uint64_t workload, uint64_t netns_cookie)
{
	list_for_each(p, &all->places) {
		const struct place *place = container_of(p, struct place, node);

		if (place->netns_cookie != netns_cookie)
			continue;
		list_for_each(it, &place->attachments) {
			struct attachment *a = container_of(it, struct attachment, node);

			if (a->workload == workload)
				return a;
		}
	}
	return NULL;
}

/* --- entries that nobody claims ---------------------------------------------------------------------------------------------- */

static bool has_resolver(const struct resolv_conf *conf, const struct ip *resolver)
{
	for (size_t i = 0; i < conf->count; i++)
		if (ip_equal(&conf->resolvers[i], resolver))
			return true;
	return false;
}

/* An entry without a socket means dns-bypass, none at all dns-other-resolver: so one of a workload that may still come back stays. */
static int sweep_entry(const struct resolver_key *key, const struct resolver *resolver, void *arg)
{
	const struct attachments *all = arg;
	const struct place *place = place_find(all, key->netns_cookie, key->node);

	(void)resolver;
	if (place ? !place->known || has_resolver(&place->conf, &key->address) : !all->synced)
		return 0;
	return proxy_resolver_remove(all->parts.maps, key);
}

static void on_sweep(struct loop_timer *timer, void *arg)
{
	struct attachments *all = arg;
	int r;

	(void)timer;
	if (all->frozen)
		return;
	r = proxy_resolver_each(all->parts.maps, sweep_entry, all);
	if (r < 0)
		log_warn("cannot remove the resolvers of an earlier weft-proxy", LOG_F("error", LOG_STR(strerror(-r))));
}

/* --- places ------------------------------------------------------------------------------------------------------------------- */

struct responder_place responder_place_of(const struct place *place)
{
	return (struct responder_place){ .netns_cookie = place->netns_cookie, .netns_fd = place->netns_fd, .node_id = place->node_id,
					 .node = place->name };
}

static void place_close(struct place *place)
{
	if (place->open)
		responder_remove(place->all->parts.responder, place->netns_cookie, place->node_id);
	place->open = place->known = place->dirty = false;
}

/* Requests of all workloads of a namespace come to one place. */
static void l7_open(const struct place *place)
{
	struct l7 *l7 = place->all->parts.l7;
	int r = l7 ? l7_place_add(l7, place->netns_cookie, place->netns_fd) : 0;

	if (r < 0 && r != -EEXIST)
		log_error("a workload's HTTP connections are refused", LOG_F("node", LOG_STR(place->name)), LOG_F("error", LOG_STR(strerror(-r))));
}

/* Of several nodes in a namespace. NULL: there is none (any more). */
static const struct place *first_place(const struct attachments *all, uint64_t netns_cookie)
{
	list_for_each(it, &all->places) {
		const struct place *place = container_of(it, struct place, node);

		if (place->netns_cookie == netns_cookie)
			return place;
	}
	return NULL;
}

/* The first workload of a place, by the path of its cgroup. */
static const struct attachment *first_attachment(const struct place *place, char path[PATH_MAX])
{
	const struct attachment *first = container_of(place->attachments.next, struct attachment, node);

	snprintf(path, PATH_MAX, "%s%s", place->all->root, first->cgroup);
	return first;
}

/* One port for a namespace, as its first workload says. Not in our own, where it would be the host's. */
static void admin_port_follow(const struct attachments *all, uint64_t netns_cookie)
{
	const struct place *place = first_place(all, netns_cookie);
	char path[PATH_MAX];
	int r;

	if (!all->parts.admin_ports || netns_cookie == all->own_cookie)
		return;
	if (!place) {
		admin_ports_remove(all->parts.admin_ports, netns_cookie);
		return;
	}
	if (list_empty(&place->attachments))
		return;
	first_attachment(place, path);
	r = admin_ports_follow(all->parts.admin_ports, netns_cookie, place->netns_fd, path);
	if (r < 0)
		log_error("a workload has no administration port", LOG_F("node", LOG_STR(place->name)),
			  LOG_F("error", LOG_STR(strerror(-r))));
}

static void l7_close(const struct place *place)
{
	const struct attachments *all = place->all;

	if (all->parts.l7 && place->name)
		l7_act_remove(all->parts.l7, place->netns_cookie, place->name);
	if (all->parts.l7 && !first_place(all, place->netns_cookie))
		l7_place_remove(all->parts.l7, place->netns_cookie);
	admin_port_follow(all, place->netns_cookie);
}

void place_free(struct place *place)
{
	list_remove(&place->node);
	l7_close(place);
	fd_close(place->netns_fd);
	free(place->name);
	free(place);
}

int place_new(struct attachments *all, const struct attachment_request *request, int netns_fd, struct place **ret_place)
{
	struct place *place = calloc(1, sizeof(*place));
	struct stat st;

	if (!place)
		return -ENOMEM;
	list_init(&place->attachments);
	list_append(&all->places, &place->node);
	place->all = all;
	place->netns_cookie = request->netns_cookie;
	place->node_id = request->node_id;
	place->name = strdup(request->node);
	place->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
	if (!place->name || place->netns_fd < 0 || fstat(place->netns_fd, &st) < 0) {
		int r = place->name ? -errno : -ENOMEM;

		place_free(place);
		return r;
	}
	place->netns_inode = st.st_ino;
	l7_open(place);
	*ret_place = place;
	return 0;
}

/* What its workloads ask, together. False: not known yet. */
static bool place_resolvers(const struct place *place, struct resolv_conf *ret_conf)
{
	struct resolv_conf conf = {};
	bool any = false;

	list_for_each(it, &place->attachments) {
		const struct attachment *a = container_of(it, struct attachment, node);

		if (!a->looked && loop_now_ns(place->all->parts.loop) < place->patience_ns)
			return false;
		if (!a->looked)
			continue;
		any = true;
		conf.left_out += a->found.conf.left_out;
		for (size_t i = 0; i < a->found.conf.count; i++) {
			if (has_resolver(&conf, &a->found.conf.resolvers[i]))
				continue;
			if (conf.count < RESOLVERS_MAX)
				conf.resolvers[conf.count++] = a->found.conf.resolvers[i];
			else
				conf.left_out++;
		}
	}
	*ret_conf = conf;
	return any;
}

static void place_tell(struct place *place)
{
	struct attachments *all = place->all;

	list_for_each_safe(it, &place->attachments) {
		struct attachment *a = container_of(it, struct attachment, node);

		if (!a->looked || a->told)
			continue;
		a->told = true;
		all->events.resolvers(a->owner, a->workload, place->netns_cookie, &a->found, all->events.arg);
	}
}

/* Makes the responder do what the attachments say now. */
static void place_apply(struct place *place)
{
	struct attachments *all = place->all;
	const struct responder_place at = responder_place_of(place);
	struct resolv_conf conf;
	struct error err = {};
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	if (!place_resolvers(place, &conf))
		return; /* the look that is missing comes back here */
	place->dirty = true;
	if (all->frozen)
		return;
	if (responder_set(all->parts.responder, &at, &conf, &err) < 0) {
		log_limited(LOG_LEVEL_WARN, "the names of a workload have to wait", LOG_F("node", LOG_STR(place->name)),
			    LOG_F("netns_cookie", LOG_U64(place->netns_cookie)),
			    LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
		return;
	}
	place->dirty = false;
	place->conf = conf;
	place->open = true;
	if (!place->known)
		loop_timer_arm(all->sweep_timer, 0); /* of an earlier process, for resolvers that are not asked any more */
	place->known = true;
	place_tell(place);
}

/* One of its workloads acts for the node as far as that has files. */
static void l7_act(const struct place *place)
{
	const struct attachments *all = place->all;
	char path[PATH_MAX];
	const struct attachment *first = first_attachment(place, path);

	if (all->parts.l7 && l7_act_add(all->parts.l7, &(struct l7_act){
						 .netns_cookie = place->netns_cookie,
						 .netns_fd = place->netns_fd,
						 .name = place->name,
						 .workload = first->workload,
						 .cgroup = path,
					 }) < 0)
		log_error("a workload has no access log, and no listeners as a gateway: out of memory", LOG_F("node", LOG_STR(place->name)));
	admin_port_follow(all, place->netns_cookie);
}

/* --- attachments ---------------------------------------------------------------------------------------------------------------- */

static void attachment_free(struct attachment *a)
{
	list_remove(&a->node);
	resolv_watch_free(a->watch);
	life_free(a->life);
	free(a->cgroup);
	free(a);
}

/* Also ends its place, where it was the last one there. */
static void attachment_end(struct attachment *a)
{
	struct place *place = a->place;

	attachment_free(a);
	if (!list_empty(&place->attachments)) {
		l7_act(place);
		place_apply(place);
		return;
	}
	place_close(place);
	place_free(place);
}

static void attachment_end_and_tell(struct attachment *a)
{
	struct attachments *all = a->place->all;
	const uint64_t owner = a->owner, workload = a->workload, netns_cookie = a->place->netns_cookie;

	attachment_end(a);
	all->events.ended(owner, workload, netns_cookie, all->events.arg);
}

static void on_resolvers(const struct resolv_found *found, void *arg)
{
	struct attachment *a = arg;

	a->found = *found;
	a->looked = true;
	a->told = false;
	place_apply(a->place);
}

static void on_life(int state, void *arg)
{
	struct attachment *a = arg;

	if (state > 0 || (state == 0 && a->waits && a->place->netns_cookie == a->place->all->own_cookie))
		return;
	log_debug("a workload ended", LOG_F("workload", LOG_U64(a->workload)), LOG_F("node", LOG_STR(a->place->name)),
		  LOG_F("netns_cookie", LOG_U64(a->place->netns_cookie)));
	attachment_end_and_tell(a);
}

int attachment_new(struct place *place, const struct attachment_request *request, uint64_t owner, struct error *err)
{
	struct attachments *all = place->all;
	struct attachment *a = calloc(1, sizeof(*a));
	char path[PATH_MAX];
	int r, state;

	if (!a)
		return error_set(err, -ENOMEM, "out of memory");
	list_append(&place->attachments, &a->node);
	a->place = place;
	a->workload = request->workload;
	a->owner = owner;
	a->cgroup_id = request->cgroup_id;
	a->waits = request->waits;
	a->cgroup = strdup(request->cgroup);
	r = a->cgroup ? 0 : -ENOMEM;
	if (r == 0 && snprintf(path, sizeof(path), "%s%s", all->root, request->cgroup) >= (int)sizeof(path))
		r = -ENAMETOOLONG;
	if (r == 0)
		r = life_new(all->parts.liveness, path, request->cgroup_id, on_life, a, &a->life);
	state = r == 0 ? life_check(a->life) : r;
	if (state > 0 || (state == 0 && a->waits && place->netns_cookie == all->own_cookie))
		r = resolv_watch_new(all->parts.watches, path, place->netns_inode, on_resolvers, a, &a->watch);
	else
		r = state < 0 ? state : -ENOENT;
	if (r == -ENOENT || r == -ENODEV)
		r = error_set_field(err, -ENOENT, "cgroup", "'%s' is gone, or has no process", request->cgroup);
	else if (r < 0)
		r = error_set_field(err, r, "cgroup", "cannot follow '%s': %s", request->cgroup, strerror(-r));
	if (r < 0)
		attachment_free(a);
	else
		l7_act(place);
	return r;
}

/* --- calls ------------------------------------------------------------------------------------------------------------------------ */

static bool leads_upwards(const char *path)
{
	while ((path = strstr(path, "/.."))) {
		path += strlen("/..");
		if (!*path || *path == '/')
			return true;
	}
	return false;
}

int attachment_check(const struct attachment_request *request, struct error *err)
{
	if (request->cgroup[0] != '/' || !request->cgroup[1] || leads_upwards(request->cgroup))
		return error_set_field(err, -EINVAL, "cgroup", "'%s' is no path below the cgroup2 mount", request->cgroup);
	if (resource_actor_kind(request->node) == RESOURCE_KIND_COUNT)
		return error_set_field(err, -EINVAL, "node", "'%s' is not of the form mesh/M/virtualNode/N, or of a virtual gateway", request->node);
	return 0;
}

int attachment_check_namespace(int netns_fd, uint64_t expected_cookie, struct error *err)
{
	uint64_t cookie;
	int r = netns_cookie(netns_fd, &cookie);

	if (r < 0)
		return error_set(err, -EINVAL, "the descriptor is of no network namespace that can be entered: %s", strerror(-r));
	if (cookie != expected_cookie)
		return error_set_field(err, -EINVAL, "netnsCookie", "%llu is not the cookie of the namespace that came along: %llu",
				       (unsigned long long)expected_cookie, (unsigned long long)cookie);
	return 0;
}

/* Its id has become another node's: who acted for it is told anew. */
static void place_evict(struct place *place)
{
	while (place->attachments.next->next != &place->attachments)
		attachment_end_and_tell(container_of(place->attachments.next, struct attachment, node));
	attachment_end_and_tell(container_of(place->attachments.next, struct attachment, node)); /* and the place with it */
}

/* The place of a request, made where there is none, under the id that the node has now. */
static int place_get(struct attachments *all, const struct attachment_request *request, int netns_fd, struct place **ret_place)
{
	struct place *place = place_by_name(all, request->netns_cookie, request->node);
	struct place *other = place_find(all, request->netns_cookie, request->node_id);
	int r = 0;

	if (other && other != place)
		place_evict(other);
	if (!place)
		return place_new(all, request, netns_fd, ret_place);
	if (place->node_id != request->node_id && place->open)
		r = responder_renumber(all->parts.responder, place->netns_cookie, place->node_id, request->node_id);
	if (r < 0)
		return r;
	place->node_id = request->node_id;
	*ret_place = place;
	return 0;
}

int attachments_add(struct attachments *all, const struct attachment_request *request, int netns_fd, uint64_t owner, struct error *err)
{
	struct attachment *before;
	struct place *place;
	int r = attachment_check(request, err);

	if (r == 0)
		r = attachment_check_namespace(netns_fd, request->netns_cookie, err);
	if (r < 0)
		return r;
	r = place_get(all, request, netns_fd, &place);
	if (r < 0)
		return error_set(err, r, "cannot take the place: %s", strerror(-r));
	before = attachment_find(all, request->workload, request->netns_cookie);
	if (before && before->place == place && before->cgroup_id == request->cgroup_id &&
	    before->waits == request->waits) {
		before->owner = owner;
		before->told = false;
		if (place->known)
			place_tell(place);
		return 0;
	}
	r = attachment_new(place, request, owner, err);
	if (list_empty(&place->attachments))
		place_free(place);
	if (before)
		attachment_end(before); /* after the new one came, so that a place they share stays */
	return r;
}

void attachments_remove(struct attachments *all, uint64_t workload, uint64_t netns_cookie)
{
	struct attachment *a = attachment_find(all, workload, netns_cookie);

	if (a)
		attachment_end(a);
}

/* One that is another's. */
static struct attachment *foreign_find(const struct attachments *all, uint64_t owner)
{
	list_for_each(p, &all->places)
		list_for_each(it, &container_of(p, struct place, node)->attachments) {
			struct attachment *a = container_of(it, struct attachment, node);

			if (a->owner != owner)
				return a;
		}
	return NULL;
}

size_t attachments_keep(struct attachments *all, uint64_t owner)
{
	struct attachment *a;
	size_t count = 0;

	for (; (a = foreign_find(all, owner)); count++)
		attachment_end(a);
	all->synced = true;
	loop_timer_arm(all->sweep_timer, 0);
	return count;
}

bool attachments_synced(const struct attachments *all)
{
	return all->synced;
}

void attachments_retry(struct attachments *all)
{
	list_for_each(it, &all->places) {
		struct place *place = container_of(it, struct place, node);

		if (place->dirty)
			place_apply(place);
	}
}

static json_t *attachment_json(const struct attachment *a)
{
	const struct resolv_found *found = &a->found;
	json_t *resolvers = json_array();
	size_t left_out = found->conf.left_out;
	char text[IP_TEXT_BYTES];

	for (size_t i = 0; a->looked && i < found->conf.count; i++) {
		json_array_append_new(resolvers, json_string(ip_format(&found->conf.resolvers[i], text)));
		left_out += a->place->known && !has_resolver(&a->place->conf, &found->conf.resolvers[i]);
	}
	return json_pack("{s:I, s:I, s:s, s:o, s:I, s:I, s:b, s:b}", "workload", (json_int_t)a->workload, "netnsCookie",
			 (json_int_t)a->place->netns_cookie, "node", a->place->name, "resolvers", resolvers, "leftOut",
			 (json_int_t)left_out, "unseen", (json_int_t)found->unseen, "nscd", found->nscd, "nssResolve", found->nss_resolve);
}

json_t *attachments_json(const struct attachments *all)
{
	json_t *list = json_array();

	list_for_each(p, &all->places)
		list_for_each(it, &container_of(p, struct place, node)->attachments)
			json_array_append_new(list, attachment_json(container_of(it, struct attachment, node)));
	return list;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */

static int own_cookie(uint64_t *ret_cookie)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : netns_cookie_of_socket(fd, ret_cookie);
}

int attachments_new(const struct attachments_parts *parts, const struct attachment_events *events,
		    struct attachments **ret_attachments, struct error *err)
{
	struct attachments *all = calloc(1, sizeof(*all));
	size_t length;
	int r;

	if (!all)
		return error_set(err, -ENOMEM, "out of memory");
	all->parts = *parts;
	all->events = *events;
	list_init(&all->places);
	r = cgroup_root(all->root, sizeof(all->root), err);
	if (r < 0) {
		attachments_free(all);
		return r;
	}
	length = strlen(all->root);
	if (length > 0 && all->root[length - 1] == '/')
		all->root[length - 1] = '\0';
	r = own_cookie(&all->own_cookie);
	if (r == 0)
		r = loop_timer_new(parts->loop, on_sweep, all, &all->sweep_timer);
	if (r < 0) {
		attachments_free(all);
		return error_set(err, r, "cannot follow workloads: %s", strerror(-r));
	}
	*ret_attachments = all;
	return 0;
}

struct attachments *attachments_free(struct attachments *all)
{
	if (!all)
		return NULL;
	list_for_each_safe(p, &all->places) {
		struct place *place = container_of(p, struct place, node);

		list_for_each_safe(it, &place->attachments)
			attachment_free(container_of(it, struct attachment, node));
		place_free(place);
	}
	loop_timer_free(all->sweep_timer);
	free(all);
	return NULL;
}
