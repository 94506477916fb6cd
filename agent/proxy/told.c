/* SPDX-License-Identifier: Apache-2.0 */
/* What weft-proxy was told of workloads, and what it said of their names. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/proxy/supervisor_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define KEY_BYTES 48
#define AWAIT_NS NSEC_PER_SEC

struct told { /* a workload in a namespace */
	struct table_node table;
	char key[KEY_BYTES]; /* "workload/cookie" */
	uint64_t workload, netns_cookie;
	char *node;
	uint32_t node_id;
	bool sent; /* and not refused */
	bool taken; /* it said so */
	bool seen; /* in the round at hand */
	bool looked; /* whom it asks is known: its names are the mesh's */
	uint64_t left_out, unseen;
	bool nscd, nss_resolve;
};

struct waiter {
	struct list node;
	uint64_t workload;
	uint64_t deadline_ns;
	supervisor_ready_fn *done;
	void *arg;
};

static struct told *told_of(const struct table_node *node)
{
	return node ? container_of((struct table_node *)node, struct told, table) : NULL;
}

static void key_of(uint64_t workload, uint64_t netns_cookie, char key[KEY_BYTES])
{
	snprintf(key, KEY_BYTES, "%" PRIu64 "/%" PRIu64, workload, netns_cookie);
}

static struct told *told_find(const struct supervisor *s, uint64_t workload, uint64_t netns_cookie)
{
	char key[KEY_BYTES];

	key_of(workload, netns_cookie, key);
	return told_of(table_get(&s->told, key));
}

static void told_free(struct supervisor *s, struct told *t)
{
	table_remove(&s->told, &t->table);
	free(t->node);
	free(t);
}

static struct told *told_new(struct supervisor *s, uint64_t workload, uint64_t netns_cookie)
{
	struct told *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->workload = workload;
	t->netns_cookie = netns_cookie;
	key_of(workload, netns_cookie, t->key);
	if (table_add(&s->told, &t->table, t->key) < 0) {
		free(t);
		return NULL;
	}
	return t;
}

/* --- attach, detach, synced -------------------------------------------------------------------------------------------------------- */

static void on_attached(struct supervisor *s, const struct ask_request *request, const json_t *answer, const struct error *err)
{
	struct told *t = told_find(s, request->workload, request->netns_cookie);
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	(void)answer;
	if (!t || s->fd < 0)
		return;
	t->taken = !err;
	if (!err) {
		s->options.serves(s->options.arg);
		return;
	}
	t->sent = false;
	s->again = true;
	if (err->code == -ENOENT) /* it ended just now, or has no process yet */
		return;
	log_limited(LOG_LEVEL_WARN, "weft-proxy does not take a workload", LOG_F("workload", LOG_U64(t->workload)),
		    LOG_F("node", LOG_STR(t->node)), LOG_F("error", LOG_STR(error_text(err, text, sizeof(text)))));
}

static int attach(struct supervisor *s, struct told *t, const struct workload *w)
{
	_cleanup_close_ int netns_fd = workloads_netns_fd(s->workloads, t->netns_cookie);
	_cleanup_json_ json_t *message = NULL;
	int r;

	if (netns_fd < 0) { /* we are not in there yet, or not any more: a change follows */
		s->again = true;
		return 0;
	}
	message = json_pack("{s:s, s:I, s:I, s:s, s:I, s:s, s:I, s:b}", "op", "attach", "workload", (json_int_t)t->workload, "netnsCookie",
			    (json_int_t)t->netns_cookie, "node", t->node, "nodeId", (json_int_t)t->node_id, "cgroup", w->cgroup,
			    "cgroupId", (json_int_t)w->cgroup_id, "waits", strcmp(w->origin, "run") != 0);
	r = supervisor_send(s, &(struct ask_request){ .message = message, .fd = netns_fd, .done = on_attached, .workload = t->workload,
						      .netns_cookie = t->netns_cookie });
	t->sent = r == 0;
	return r;
}

static int sync_place(const struct workload *w, uint64_t netns_cookie, void *arg)
{
	struct supervisor *s = arg;
	struct told *t = told_find(s, w->id, netns_cookie) ?: told_new(s, w->id, netns_cookie);
	const uint32_t node_id = s->options.node_id(w->node, s->options.arg);

	if (!t)
		return -ENOMEM;
	t->seen = true;
	if (!t->node || strcmp(t->node, w->node)) {
		char *node = strdup(w->node);

		if (!node)
			return -ENOMEM;
		free(t->node);
		t->node = node;
		t->sent = false;
	}
	t->sent &= t->node_id == node_id;
	t->node_id = node_id;
	if (node_id == 0) /* no id is free, which was logged */
		s->again = true;
	return t->sent || node_id == 0 ? 0 : attach(s, t, w);
}

static int detach(struct supervisor *s, const struct told *t)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:I, s:I}", "op", "detach", "workload", (json_int_t)t->workload, "netnsCookie",
						   (json_int_t)t->netns_cookie);

	return supervisor_send(s, &(struct ask_request){ .message = message });
}

static int say_synced(struct supervisor *s)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "op", "synced");
	int r = supervisor_send(s, &(struct ask_request){ .message = message });

	s->synced = r == 0;
	return r;
}

static int sync_all(struct supervisor *s)
{
	struct table_node *next;
	int r;

	for (struct table_node *node = table_first(&s->told); node; node = table_next(&s->told, node))
		told_of(node)->seen = false;
	s->again = false;
	r = workloads_each_place(s->workloads, sync_place, s);
	for (struct table_node *node = table_first(&s->told); r == 0 && node; node = next) {
		struct told *t = told_of(node);

		next = table_next(&s->told, node);
		if (t->seen)
			continue;
		r = t->sent ? detach(s, t) : 0;
		if (r == 0)
			told_free(s, t);
	}
	/* Until everything has been told, what another weftd told before us stays. */
	return r == 0 && !s->synced && !s->again ? say_synced(s) : r;
}

void told_sync(struct supervisor *s)
{
	int r;

	if (!s->greeted)
		return;
	r = sync_all(s);
	if (r == 0)
		return;
	s->again = true;
	if (r == -EAGAIN)
		loop_io_events(s->io, EPOLLIN | EPOLLOUT);
	else if (r != -EPIPE) /* the end of the connection is noticed by who reads from it */
		log_limited(LOG_LEVEL_WARN, "weft-proxy cannot be told of workloads", LOG_F("error", LOG_STR(strerror(-r))));
}

void told_tick(struct supervisor *s)
{
	if (s->again)
		told_sync(s);
}

static void on_sync(struct loop_timer *timer, void *arg)
{
	(void)timer;
	told_sync(arg);
}

void supervisor_changed(struct supervisor *s)
{
	if (s)
		loop_timer_arm(s->sync_timer, 0);
}

/* --- who waits for names ---------------------------------------------------------------------------------------------------------- */

static bool has_names(const struct supervisor *s, uint64_t workload)
{
	bool any = false;

	for (struct table_node *node = table_first(&s->told); node; node = table_next(&s->told, node)) {
		const struct told *t = told_of(node);

		if (t->workload != workload)
			continue;
		if (!t->looked)
			return false;
		any = true;
	}
	return any;
}

static void waiter_finish(struct waiter *waiter)
{
	list_remove(&waiter->node);
	waiter->done(waiter->arg);
	free(waiter);
}

static void on_waiters(struct loop_timer *timer, void *arg)
{
	struct supervisor *s = arg;
	const uint64_t now_ns = loop_now_ns(s->loop);

	list_for_each_safe(it, &s->waiters) {
		struct waiter *waiter = container_of(it, struct waiter, node);
		const bool late = waiter->deadline_ns <= now_ns;

		if (!late && (s->greeted || s->process) && !has_names(s, waiter->workload))
			continue;
		if (late)
			log_limited(LOG_LEVEL_WARN, "a program starts before its names are the mesh's",
				    LOG_F("workload", LOG_U64(waiter->workload)));
		waiter_finish(waiter);
	}
	if (!list_empty(&s->waiters)) /* the first is the eldest */
		loop_timer_arm(timer, container_of(s->waiters.next, struct waiter, node)->deadline_ns);
}

void supervisor_await(struct supervisor *s, uint64_t workload, supervisor_ready_fn *done, void *arg)
{
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter)
		return done(arg);
	*waiter = (struct waiter){ .workload = workload, .deadline_ns = loop_now_ns(s->loop) + AWAIT_NS, .done = done, .arg = arg };
	list_append(&s->waiters, &waiter->node);
	loop_timer_arm(s->waiter_timer, 0);
}

/* --- what it says ------------------------------------------------------------------------------------------------------------------- */

void told_event(struct supervisor *s, const json_t *event)
{
	const char *what = json_path_string(event, "event") ?: "";
	struct told *t = told_find(s, (uint64_t)json_path_int(event, "workload", 0), (uint64_t)json_path_int(event, "netnsCookie", 0));

	if (!t)
		return; /* we have taken it back meanwhile */
	t->looked = !strcmp(what, "resolvers");
	t->left_out = (uint64_t)json_path_int(event, "leftOut", 0);
	t->unseen = (uint64_t)json_path_int(event, "unseen", 0);
	t->nscd = json_path_bool(event, "nscd", false);
	t->nss_resolve = json_path_bool(event, "nssResolve", false);
	if (!strcmp(what, "ended")) {
		t->sent = t->taken = false;
		s->again = true;
	}
	loop_timer_arm(s->waiter_timer, 0);
}

bool supervisor_serves(const struct supervisor *s, uint64_t netns_cookie)
{
	if (!s || !configuration_is_known(s))
		return false;
	for (struct table_node *node = table_first(&s->told); node; node = table_next(&s->told, node))
		if (told_of(node)->netns_cookie == netns_cookie && told_of(node)->taken)
			return true;
	return false;
}

void told_forget(struct supervisor *s)
{
	struct told *t;

	while ((t = told_of(table_first(&s->told))))
		told_free(s, t);
	s->synced = s->again = false;
}

static void warn(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(json_t *list, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	json_array_append_new(list, json_vsprintf(format, args));
	va_end(args);
}

static void warn_of(const struct told *t, json_t *list)
{
	if (t->nscd)
		warn(list, "%s: nscd answers the names of its processes: they do not get the mesh's (workload %" PRIu64 ")", t->node,
		     t->workload);
	if (t->nss_resolve)
		warn(list, "%s: nsswitch.conf asks systemd-resolved by its socket: names are not the mesh's (workload %" PRIu64 ")",
		     t->node, t->workload);
	if (t->left_out)
		warn(list, "%s: %" PRIu64 " resolvers of resolv.conf cannot be stood in for (workload %" PRIu64 ")", t->node, t->left_out,
		     t->workload);
	if (t->unseen)
		warn(list, "%s: the resolv.conf of %" PRIu64 " processes was not looked at: too many (workload %" PRIu64 ")", t->node,
		     t->unseen, t->workload);
}

void supervisor_warnings(const struct supervisor *s, json_t *list)
{
	if (s->options.supervision == SUPERVISION_OFF)
		return;
	if (!s->greeted)
		warn(list, "weft-proxy is not there: names go to the resolvers themselves");
	if (s->configuration.refusal[0])
		warn(list, "weft-proxy does not take the configuration, HTTP services are as they were: %s", s->configuration.refusal);
	for (struct table_node *node = table_first(&s->told); node; node = table_next(&s->told, node))
		warn_of(told_of(node), list);
}

/* --- life --------------------------------------------------------------------------------------------------------------------------- */

int told_init(struct supervisor *s)
{
	int r;

	list_init(&s->waiters);
	r = loop_timer_new(s->loop, on_sync, s, &s->sync_timer);
	return r < 0 ? r : loop_timer_new(s->loop, on_waiters, s, &s->waiter_timer);
}

void told_done(struct supervisor *s)
{
	while (!list_empty(&s->waiters))
		waiter_finish(container_of(s->waiters.next, struct waiter, node));
	told_forget(s);
	table_done(&s->told);
	loop_timer_free(s->sync_timer);
	loop_timer_free(s->waiter_timer);
}
