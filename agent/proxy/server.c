/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of weft-proxy: connections, and what is asked on them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/proxy/build.h"
#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define PEERS_MAX 32
#define MESSAGES_A_TURN 64
#define HEIR_NS (5 * NSEC_PER_SEC) /* in which a successor takes what it asked for */

struct peer {
	struct list node;
	struct server *server;
	struct loop_io *io;
	int fd;
	pid_t pid;
	uint64_t id; /* as owner of attachments */
	struct former *former; /* that it is; NULL: none */
	bool configures; /* it is weftd */
	struct list replies; /* from the first that is not there yet on: they go in the order of the questions */
	bool broken; /* does not read; is disconnected at the next chance */
};

struct server {
	struct proxy *proxy;
	struct loop_io *io;
	struct list peers;
	size_t peer_count;
	uint64_t next_id;
	struct peer *heir; /* takes over at the moment; nobody else is heard meanwhile */
	struct loop_timer *heir_timer;
	struct loop_timer *cut_timer; /* disconnects broken peers, outside of what they are in the middle of */
};

struct request {
	struct peer *peer;
	struct proxy *proxy;
	const json_t *message;
	int *fds; /* closed afterwards, but for those that are made -1 */
	size_t fd_count;
};

struct reply { /* that waits */
	struct list node;
	json_t *message; /* NULL: it is not there yet */
	int fd; /* -1: none */
};

struct answer {
	bool later; /* as the next reply that is not there yet */
	json_t *message;
	int fds[CONTROL_FDS_MAX]; /* borrowed */
	size_t fd_count;
	int made_fd; /* the first of them, to be closed once it was sent; 0: none */
};

/* --- who takes over ----------------------------------------------------------------------------------------------------------- */

static void hear_others(struct server *server, bool hear)
{
	list_for_each(it, &server->peers) {
		struct peer *peer = container_of(it, struct peer, node);

		if (peer != server->heir)
			loop_io_events(peer->io, hear ? EPOLLIN : 0);
	}
}

static void heir_gone(struct server *server)
{
	loop_timer_disarm(server->heir_timer);
	hear_others(server, true);
	server->heir = NULL;
	if (server->proxy->retirement)
		return; /* it has everything */
	log_warn("a successor asked for everything and did not take it");
	attachments_thaw(server->proxy->attachments);
}

static void reply_free(struct reply *reply)
{
	list_remove(&reply->node);
	json_decref(reply->message);
	fd_close(reply->fd);
	free(reply);
}

static void peer_free(struct peer *peer)
{
	struct server *server = peer->server;

	if (server->heir == peer)
		heir_gone(server);
	list_for_each_safe(it, &peer->replies)
		reply_free(container_of(it, struct reply, node));
	former_free(peer->former);
	list_remove(&peer->node);
	server->peer_count--;
	loop_io_remove(peer->io);
	fd_close(peer->fd);
	free(peer);
}

static void on_heir_late(struct loop_timer *timer, void *arg)
{
	struct server *server = arg;

	(void)timer;
	peer_free(server->heir);
}

/* --- what is asked ------------------------------------------------------------------------------------------------------------ */

static json_t *time_json(uint64_t wall_ns)
{
	char text[TIME_TEXT_BYTES];

	return json_string(time_format(wall_ns, text));
}

static int op_hello(const struct request *q, struct answer *answer, struct error *err)
{
	char build[BUILD_TEXT_BYTES];
	const bool asked = json_path_bool(q->message, "build", true);
	int r = asked ? build_of(BUILD_OWN, build, err) : 0;

	if (r < 0)
		return r;
	answer->message = json_pack("{s:i, s:s, s:o, s:s*}", "pid", getpid(), "version", WEFT_VERSION, "startedAt",
				    time_json(q->proxy->started_wall_ns), "build", asked ? build : NULL);
	return 0;
}

static int op_attach(const struct request *q, struct answer *answer, struct error *err)
{
	static const struct control_member members[] = {
		{ "workload", CONTROL_ID, offsetof(struct attachment_request, workload) },
		{ "netnsCookie", CONTROL_ID, offsetof(struct attachment_request, netns_cookie) },
		{ "node", CONTROL_TEXT, offsetof(struct attachment_request, node) },
		{ "nodeId", CONTROL_U32, offsetof(struct attachment_request, node_id) },
		{ "cgroup", CONTROL_TEXT, offsetof(struct attachment_request, cgroup) },
		{ "cgroupId", CONTROL_ID, offsetof(struct attachment_request, cgroup_id) },
		{},
	};
	struct attachment_request request = {};
	int r = control_members(q->message, members, &request, err);

	request.waits = json_path_bool(q->message, "waits", false);
	answer->message = json_object();
	return r < 0 ? r : attachments_add(q->proxy->attachments, &request, q->fds[0], q->peer->id, err);
}

static int op_detach(const struct request *q, struct answer *answer, struct error *err)
{
	static const struct control_member members[] = {
		{ "workload", CONTROL_ID, offsetof(struct attachment_request, workload) },
		{ "netnsCookie", CONTROL_ID, offsetof(struct attachment_request, netns_cookie) },
		{},
	};
	struct attachment_request request = {};
	int r = control_members(q->message, members, &request, err);

	if (r < 0)
		return r;
	attachments_remove(q->proxy->attachments, request.workload, request.netns_cookie);
	answer->message = json_object();
	return 0;
}

static int op_synced(const struct request *q, struct answer *answer, struct error *err)
{
	const size_t count = attachments_keep(q->proxy->attachments, q->peer->id);

	(void)err;
	q->peer->configures = true;
	answer->message = json_pack("{s:I}", "detached", (json_int_t)count);
	return 0;
}

static json_t *outcomes_json(const uint64_t *outcomes)
{
	static const char *const names[] = {
#define X(symbol, name, text) [DNS_##symbol] = name,
		DNS_OUTCOMES(X)
#undef X
	};
	json_t *object = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set_new(object, names[i], json_integer((json_int_t)__atomic_load_n(&outcomes[i], __ATOMIC_RELAXED)));
	return object;
}

static int op_status(const struct request *q, struct answer *answer, struct error *err)
{
	const struct proxy *p = q->proxy;
	const struct proxy_state *state = p->maps.state;

	(void)err;
	answer->message = responder_json(p->responder);
	if (!answer->message)
		return 0;
	json_object_set_new(answer->message, "pid", json_integer(getpid()));
	json_object_set_new(answer->message, "version", json_string(WEFT_VERSION));
	json_object_set_new(answer->message, "startedAt", time_json(p->started_wall_ns));
	json_object_set_new(answer->message, "beatAgeNs",
			    json_integer((json_int_t)(time_now_ns() - __atomic_load_n(&state->beat_ns, __ATOMIC_RELAXED))));
	json_object_set_new(answer->message, "outcomes", outcomes_json((const uint64_t *)state->outcomes));
	json_object_set_new(answer->message, "workloads", attachments_json(p->attachments));
	json_object_set_new(answer->message, "adminPorts", admin_ports_json(p->admin_ports));
	json_object_set_new(answer->message, "accessLogs", l7_logs_json(p->l7));
	json_object_set_new(answer->message, "former", formers_json(&p->formers));
	return 0;
}

static int op_queries(const struct request *q, struct answer *answer, struct error *err)
{
	const json_t *node = json_object_get(q->message, "node");
	const int64_t limit = json_path_int(q->message, "limit", -1);
	json_t *queries;

	if (node && !json_is_null(node) && !json_is_string(node))
		return error_set_field(err, -EINVAL, "node", "neither null nor a string");
	if (limit < 1 || limit > DNS_QUERIES_KEPT)
		return error_set_field(err, -EINVAL, "limit", "missing, or not an integer from 1 to %d", DNS_QUERIES_KEPT);
	queries = responder_queries_json(q->proxy->responder, json_string_value(node), (size_t)limit);
	answer->message = json_pack("{s:o}", "queries", queries);
	return 0;
}

static void on_configured(struct proxy *proxy, uint64_t whose, const struct error *err);

static int op_configuration(const struct request *q, struct answer *answer, struct error *err)
{
	const int64_t base = json_path_int(q->message, "base", -1), generation = json_path_int(q->message, "generation", -1);
	struct configuration told = { .fd = q->fds[0] };

	if (base < 0)
		return error_set_field(err, -EINVAL, "base", "missing, or no generation");
	if (generation < 1)
		return error_set_field(err, -EINVAL, "generation", "missing, or no generation");
	if (q->peer->server->heir == q->peer)
		return error_set_field(err, -EINVAL, "op", "a successor tells nothing");
	q->peer->configures = true;
	told.base = (uint64_t)base;
	told.generation = (uint64_t)generation;
	q->fds[0] = -1;
	answer->later = true;
	return proxy_configure(q->proxy, &told, on_configured, q->peer->id) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;
}

static int op_requests(const struct request *q, struct answer *answer, struct error *err)
{
	_cleanup_(buffer_done) struct buffer text = {};
	int r = counts_write(q->proxy, &text);

	if (r == 0)
		r = control_file_make("weft-requests", &text, &answer->made_fd);
	if (r < 0)
		return error_set(err, r, "cannot tell what was counted: %s", strerror(-r));
	answer->fds[answer->fd_count++] = answer->made_fd;
	answer->message = json_object();
	return 0;
}

static int op_explain(const struct request *q, struct answer *answer, struct error *err)
{
	_cleanup_(buffer_done) struct buffer text = {};
	int r = explain_write(q->proxy, q->message, &text, err);

	if (r < 0)
		return r;
	r = control_file_make("weft-explain", &text, &answer->made_fd);
	if (r < 0)
		return error_set(err, r, "cannot answer: %s", strerror(-r));
	answer->fds[answer->fd_count++] = answer->made_fd;
	answer->message = json_object();
	return 0;
}

/* What weftd has told us, or our predecessor; nothing where that is nothing. */
static int add_configuration(const struct proxy *proxy, struct answer *answer, uint64_t *ret_generation)
{
	_cleanup_(buffer_done) struct buffer text = {};
	int r = l7_configuration(proxy->l7, ret_generation, &text);

	if (r < 0 || *ret_generation == 0)
		return r;
	r = control_file_make("weft-configuration", &text, &answer->made_fd);
	if (r == 0)
		answer->fds[answer->fd_count++] = answer->made_fd;
	return r;
}

static int op_takeover(const struct request *q, struct answer *answer, struct error *err)
{
	struct server *server = q->peer->server;
	struct attachments *attachments = q->proxy->attachments;
	uint64_t generation;
	int r;

	if (q->peer->configures)
		return error_set_field(err, -EINVAL, "op", "who tells the configuration is no successor");
	r = add_configuration(q->proxy, answer, &generation);
	if (r < 0)
		return error_set(err, r, "cannot hand over the configuration: %s", strerror(-r));
	server->heir = q->peer; /* two at once cannot be: the second is not heard */
	hear_others(server, false);
	loop_timer_arm(server->heir_timer, loop_now_ns(q->proxy->loop) + HEIR_NS);
	answer->message = json_pack("{s:I, s:b, s:I}", "places", (json_int_t)attachments_freeze(attachments), "synced",
				    attachments_synced(attachments), "generation", (json_int_t)generation);
	return 0;
}

static int check_heir(const struct request *q, struct error *err)
{
	return q->peer->server->heir == q->peer ? 0 : error_set_field(err, -EINVAL, "op", "comes after \"takeover\" only");
}

static int op_place(const struct request *q, struct answer *answer, struct error *err)
{
	int r = check_heir(q, err);

	if (r == 0) {
		loop_timer_arm(q->peer->server->heir_timer, loop_now_ns(q->proxy->loop) + HEIR_NS);
		r = attachments_next(q->proxy->attachments, &answer->message, answer->fds, &answer->fd_count);
	}
	if (r != -ENOENT)
		return r;
	answer->message = json_pack("{s:b}", "done", 1);
	answer->fds[0] = q->proxy->seat.lock_fd;
	answer->fd_count = 1;
	return 0;
}

static int op_taken(const struct request *q, struct answer *answer, struct error *err)
{
	int r = check_heir(q, err);

	if (r < 0)
		return r;
	log_info("handed over to a successor", LOG_F("pid", LOG_INT(q->peer->pid)));
	loop_timer_disarm(q->peer->server->heir_timer);
	proxy_hand_over(q->proxy);
	answer->message = json_object();
	return 0;
}

/* --- former weft-proxies ------------------------------------------------------------------------------------------------------ */

static void peer_send(struct peer *peer, const json_t *message, const int *fds, size_t fd_count);

static void tell_end(void *arg)
{
	_cleanup_json_ json_t *event = json_pack("{s:s}", "event", "end");

	if (event)
		peer_send(arg, event, NULL, 0);
}

static int op_retiring(const struct request *q, struct answer *answer, struct error *err)
{
	struct peer *peer = q->peer;

	answer->message = json_object();
	if (peer->former)
		return error_set_field(err, -EINVAL, "op", "was said before");
	return former_new(&q->proxy->formers, peer->pid, q->message, tell_end, peer, &peer->former, err);
}

static int op_retired(const struct request *q, struct answer *answer, struct error *err)
{
	answer->message = json_object();
	if (!q->peer->former)
		return error_set_field(err, -EINVAL, "op", "comes after \"retiring\" only");
	return former_retired(q->peer->former, q->message, err);
}

/* Connections of programs, between two requests. What becomes of each is its own matter: the others are taken. */
static int op_connections(const struct request *q, struct answer *answer, struct error *err)
{
	const json_t *list = json_object_get(q->message, "connections");
	size_t taken = 0;

	if (json_array_size(list) != q->fd_count)
		return error_set_field(err, -EINVAL, "connections", "%zu with %zu descriptors", json_array_size(list), q->fd_count);
	for (size_t i = 0; i < q->fd_count; i++) {
		int r = l7_take(q->proxy->l7, json_array_get(list, i), q->fds[i]);

		q->fds[i] = -1;
		taken += r == 0;
		if (r < 0)
			log_limited(LOG_LEVEL_WARN, "a connection of a former weft-proxy is not taken", LOG_F("pid", LOG_INT(q->peer->pid)),
				    LOG_F("error", LOG_STR(strerror(-r))));
	}
	answer->message = json_pack("{s:I}", "taken", (json_int_t)taken);
	return 0;
}

/* Of one that is not told of generations any more, and has something that a newer one may concern. */
static int op_snapshot(const struct request *q, struct answer *answer, struct error *err)
{
	const int64_t after = json_path_int(q->message, "after", 0);
	uint64_t generation = l7_generation(q->proxy->l7);
	int r = (int64_t)generation > after ? add_configuration(q->proxy, answer, &generation) : 0;

	if (r < 0)
		return error_set(err, r, "cannot tell the configuration: %s", strerror(-r));
	answer->message = json_pack("{s:I}", "generation", (json_int_t)generation);
	return 0;
}

#define ANY_FDS SIZE_MAX
static const struct {
	const char *op;
	size_t fds;
	int (*run)(const struct request *request, struct answer *answer, struct error *err);
} ops[] = {
	{ "hello", 0, op_hello },
	{ "attach", 1, op_attach },
	{ "detach", 0, op_detach },
	{ "synced", 0, op_synced },
	{ "status", 0, op_status },
	{ "queries", 0, op_queries },
	{ "configuration", 1, op_configuration },
	{ "requests", 0, op_requests },
	{ "explain", 0, op_explain },
	{ "takeover", 0, op_takeover },
	{ "place", 0, op_place },
	{ "taken", 0, op_taken },
	{ "retiring", 0, op_retiring },
	{ "retired", 0, op_retired },
	{ "connections", ANY_FDS, op_connections },
	{ "snapshot", 0, op_snapshot },
};

static int run(const struct request *request, struct answer *answer, struct error *err)
{
	const char *op = json_string_value(json_object_get(request->message, "op"));
	int r;

	for (size_t i = 0; op && i < ARRAY_SIZE(ops); i++) {
		if (strcmp(op, ops[i].op))
			continue;
		if (request->proxy->retirement)
			return error_set(err, -ESHUTDOWN, "a successor has taken over");
		if (request->fd_count != ops[i].fds && ops[i].fds != ANY_FDS)
			return error_set_field(err, -EINVAL, "op", "\"%s\" comes with %zu descriptors, not %zu", op, ops[i].fds,
					       request->fd_count);
		r = ops[i].run(request, answer, err);
		return r == 0 && !answer->message && !answer->later ? error_set(err, -ENOMEM, "out of memory") : r;
	}
	return error_set_field(err, -EINVAL, "op", "%s%s%s", op ? "there is no \"" : "missing, or not a string", op ?: "", op ? "\"" : "");
}

/* --- answers ------------------------------------------------------------------------------------------------------------------- */

/* Halves the longest list of an answer that is too long for a message, and says so, until it fits. */
static void cut_to_fit(json_t *answer)
{
	json_t *left_out = NULL, *value, *longest;
	const char *name, *longest_name = NULL;
	size_t keep;

	while (json_dumpb(answer, NULL, 0, JSON_COMPACT) > CONTROL_MESSAGE_MAX_BYTES) {
		longest = NULL;
		json_object_foreach(answer, name, value)
			if (json_array_size(value) > json_array_size(longest)) {
				longest = value;
				longest_name = name;
			}
		if (!longest)
			return; /* it will not be sent, which is told */
		if (!left_out) {
			left_out = json_object();
			json_object_set_new(answer, "leftOut", left_out);
		}
		keep = json_array_size(longest) / 2;
		json_object_set_new(left_out, longest_name,
				    json_integer(json_integer_value(json_object_get(left_out, longest_name)) +
						 (json_int_t)(json_array_size(longest) - keep)));
		while (json_array_size(longest) > keep)
			json_array_remove(longest, json_array_size(longest) - 1);
	}
}

static void peer_break(struct peer *peer)
{
	peer->broken = true;
	loop_timer_arm(peer->server->cut_timer, 0);
}

static void peer_send(struct peer *peer, const json_t *message, const int *fds, size_t fd_count)
{
	int r = peer->broken ? 0 : control_send(peer->fd, message, fds, fd_count);

	if (r == 0)
		return;
	if (r != -EPIPE)
		log_warn("disconnecting who does not take an answer", LOG_F("pid", LOG_INT(peer->pid)),
			 LOG_F("error", LOG_STR(strerror(-r))));
	peer_break(peer);
}

/* Takes both. `message` NULL: it comes later. */
static void reply_wait(struct peer *peer, json_t *message, int fd)
{
	struct reply *reply = malloc(sizeof(*reply));

	if (!reply) {
		json_decref(message);
		fd_close(fd);
		peer_break(peer);
		return;
	}
	*reply = (struct reply){ .message = message, .fd = fd };
	list_append(&peer->replies, &reply->node);
}

static void replies_send(struct peer *peer)
{
	list_for_each_safe(it, &peer->replies) {
		struct reply *reply = container_of(it, struct reply, node);

		if (!reply->message)
			return;
		peer_send(peer, reply->message, &reply->fd, reply->fd >= 0);
		reply_free(reply);
	}
}

/* Takes the message, and what was made for it. */
static void answer_send(struct peer *peer, const struct answer *answer)
{
	const int made_fd = answer->made_fd > 0 ? answer->made_fd : -1;

	if (!answer->message) {
		fd_close(made_fd);
		peer_break(peer);
		return;
	}
	if (!list_empty(&peer->replies)) { /* of none that borrows descriptors: those are a successor's, which waits for nothing */
		reply_wait(peer, answer->message, made_fd);
		return;
	}
	peer_send(peer, answer->message, answer->fds, answer->fd_count);
	json_decref(answer->message);
	fd_close(made_fd);
}

static void serve(struct peer *peer, const json_t *message, int *fds, size_t fd_count)
{
	const struct request request = { .peer = peer, .proxy = peer->server->proxy, .message = message, .fds = fds, .fd_count = fd_count };
	struct answer answer = {};
	struct error err = {};
	int r = run(&request, &answer, &err);

	if (r < 0) {
		json_decref(answer.message);
		answer.message = control_error_json(&err);
		answer.fd_count = 0;
	} else if (answer.later) {
		reply_wait(peer, NULL, -1);
		return;
	} else {
		cut_to_fit(answer.message);
	}
	answer_send(peer, &answer);
}

static void on_readable(struct loop_io *io, uint32_t events, void *arg)
{
	struct peer *peer = arg;
	const struct peer *heir = peer->server->heir;

	(void)io;
	(void)events;
	if (heir && heir != peer) { /* not heard at the moment: it has hung up */
		peer_free(peer);
		return;
	}
	for (int i = 0; i < MESSAGES_A_TURN && !peer->broken; i++) {
		_cleanup_json_ json_t *message = NULL;
		int fds[CONTROL_FDS_MAX];
		size_t fd_count = 0;
		struct error err = {};
		int r = control_receive(peer->fd, &message, fds, ARRAY_SIZE(fds), &fd_count, &err);

		if (r == -EAGAIN)
			return;
		if (r == -EBADMSG) {
			answer_send(peer, &(struct answer){ .message = control_error_json(&err) });
			continue;
		}
		if (r < 0) {
			peer_free(peer);
			return;
		}
		serve(peer, message, fds, fd_count);
		for (size_t fd = 0; fd < fd_count; fd++)
			fd_close(fds[fd]);
	}
}

static void on_cut(struct loop_timer *timer, void *arg)
{
	struct server *server = arg;

	(void)timer;
	list_for_each_safe(it, &server->peers) {
		struct peer *peer = container_of(it, struct peer, node);

		if (peer->broken)
			peer_free(peer);
	}
}

/* --- events --------------------------------------------------------------------------------------------------------------------- */

static struct peer *peer_find(const struct proxy *proxy, uint64_t id)
{
	if (!proxy->server)
		return NULL; /* still starting: what was adopted is told nobody */
	list_for_each(it, &proxy->server->peers) {
		struct peer *peer = container_of(it, struct peer, node);

		if (peer->id == id)
			return peer;
	}
	return NULL;
}

static void on_configured(struct proxy *proxy, uint64_t whose, const struct error *err)
{
	struct peer *peer = peer_find(proxy, whose);

	if (!peer)
		return; /* it has hung up */
	list_for_each(it, &peer->replies) {
		struct reply *reply = container_of(it, struct reply, node);

		if (reply->message)
			continue;
		reply->message = err ? control_error_json(err) : json_pack("{s:I}", "generation", (json_int_t)l7_generation(proxy->l7));
		if (!reply->message)
			peer_break(peer);
		break;
	}
	replies_send(peer);
}

static void tell_resolvers(uint64_t owner, uint64_t workload, uint64_t netns_cookie, const struct resolv_found *found, void *arg)
{
	struct peer *peer = peer_find(arg, owner);
	_cleanup_json_ json_t *event = NULL;

	if (!peer)
		return;
	event = json_pack("{s:s, s:I, s:I, s:I, s:I, s:b, s:b}", "event", "resolvers", "workload", (json_int_t)workload, "netnsCookie",
			  (json_int_t)netns_cookie, "leftOut", (json_int_t)found->conf.left_out, "unseen", (json_int_t)found->unseen,
			  "nscd", found->nscd, "nssResolve", found->nss_resolve);
	peer_send(peer, event, NULL, 0);
}

static void tell_ended(uint64_t owner, uint64_t workload, uint64_t netns_cookie, void *arg)
{
	struct peer *peer = peer_find(arg, owner);
	_cleanup_json_ json_t *event = NULL;

	if (!peer)
		return;
	event = json_pack("{s:s, s:I, s:I}", "event", "ended", "workload", (json_int_t)workload, "netnsCookie", (json_int_t)netns_cookie);
	peer_send(peer, event, NULL, 0);
}

const struct attachment_events server_events = { .resolvers = tell_resolvers, .ended = tell_ended };

/* --- connections ------------------------------------------------------------------------------------------------------------------ */

static int peer_new(struct server *server, int fd, const struct ucred *who)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int r = peer ? loop_io_add(server->proxy->loop, fd, server->heir ? 0 : EPOLLIN, on_readable, peer, &peer->io) : -ENOMEM;

	if (r < 0) {
		free(peer);
		return r;
	}
	peer->server = server;
	peer->fd = fd;
	peer->pid = who->pid;
	peer->id = server->next_id++;
	list_init(&peer->replies);
	list_append(&server->peers, &peer->node);
	server->peer_count++;
	return 0;
}

static void on_connection(struct loop_io *io, uint32_t events, void *arg)
{
	struct server *server = arg;
	_cleanup_close_ int fd = accept4(server->proxy->seat.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct ucred who = {};
	socklen_t size = sizeof(who);
	int r;

	(void)io;
	(void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED)
			log_limited(LOG_LEVEL_WARN, "cannot accept a connection to the control socket",
				    LOG_F("error", LOG_STR(strerror(errno))));
		return;
	}
	r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ? -errno : 0;
	if (r == 0)
		r = who.uid != 0 ? -EPERM : server->peer_count == PEERS_MAX ? -EMFILE : peer_new(server, fd, &who);
	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "a connection to the control socket is refused", LOG_F("pid", LOG_INT(who.pid)),
			    LOG_F("uid", LOG_U64(who.uid)), LOG_F("error", LOG_STR(strerror(-r))));
	else
		fd = -1;
}

int server_new(struct proxy *proxy, struct server **ret_server, struct error *err)
{
	struct server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return error_set(err, -ENOMEM, "out of memory");
	server->proxy = proxy;
	server->next_id = 1;
	list_init(&server->peers);
	r = loop_timer_new(proxy->loop, on_heir_late, server, &server->heir_timer);
	if (r == 0)
		r = loop_timer_new(proxy->loop, on_cut, server, &server->cut_timer);
	if (r == 0)
		r = loop_io_add(proxy->loop, proxy->seat.listen_fd, EPOLLIN, on_connection, server, &server->io);
	if (r < 0) {
		server_free(server);
		return error_set(err, r, "cannot serve the control socket: %s", strerror(-r));
	}
	*ret_server = server;
	return 0;
}

static void server_close(struct server *server, const struct peer *except)
{
	server->io = loop_io_remove(server->io);
	formers_leave(&server->proxy->formers);
	list_for_each_safe(it, &server->peers)
		if (container_of(it, struct peer, node) != except)
			peer_free(container_of(it, struct peer, node));
}

bool server_has_agent(const struct server *server)
{
	if (!server)
		return false;
	list_for_each(it, &server->peers)
		if (container_of(it, struct peer, node)->configures)
			return true;
	return false;
}

void server_retire(struct server *server)
{
	server_close(server, server->heir);
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	server->heir = NULL;
	server_close(server, NULL);
	loop_timer_free(server->heir_timer);
	loop_timer_free(server->cut_timer);
	free(server);
	return NULL;
}
