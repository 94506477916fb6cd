/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/retire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define LOOK_NS (100 * NSEC_PER_MSEC)
#define COUNTS_NS (5 * NSEC_PER_SEC) /* weftd reads what is left to it as often */
#define FILTER_NS NSEC_PER_SEC /* so late at most it hears that an egress filter has closed: the answer may be all there is to configure */
#define MESSAGES_A_TURN 64

const char *const retire_reason_names[RETIRE_REASON_COUNT] = {
#define X(symbol, name, text) [RETIRE_##symbol] = name,
	RETIRE_REASONS(X)
#undef X
};

struct retirement {
	struct proxy *proxy;
	struct loop_timer *timer;
	uint64_t since_ns, until_ns;
	uint64_t counts_ns; /* are left again then */
	uint64_t filter_ns; /* whether one has closed is asked again then */
	enum retire_reason late; /* why it ends at `until_ns` */
	bool ended;
	int fd; /* to who has the seat; -1: nobody does, or does not answer */
	struct loop_io *io;
	unsigned int asked; /* and not answered yet; the first is "retiring" */
	bool known; /* that was answered */
	bool configures; /* with what came with an answer */
	json_t *given; /* on their way, unanswered: ours, unless they are taken. NULL: none */
	int given_fds[CONTROL_FDS_MAX];
};

/* --- who has the seat now ------------------------------------------------------------------------------------------------------ */

static int say(struct retirement *r, const json_t *message, const int *fds, size_t fd_count)
{
	int result = message ? control_send(r->fd, message, fds, fd_count) : -ENOMEM;

	r->asked += result == 0;
	return result;
}

/* What is on its way is the other's, or it is ours again. */
static void settle(struct retirement *r, bool taken)
{
	for (size_t i = 0; i < json_array_size(r->given); i++) {
		if (taken)
			fd_close(r->given_fds[i]);
		else
			l7_take(r->proxy->l7, json_array_get(r->given, i), r->given_fds[i]);
	}
	json_decref(r->given);
	r->given = NULL;
}

static void hang_up(struct retirement *r)
{
	r->io = loop_io_remove(r->io);
	r->fd = fd_close(r->fd);
	r->asked = 0;
	r->known = false;
	settle(r, false);
}

static void end(struct retirement *r, enum retire_reason why)
{
	const struct l7_left left = l7_left(r->proxy->l7);
	_cleanup_json_ json_t *message = json_pack("{s:s, s:s, s:I}", "op", "retired", "reason", retire_reason_names[why], "cut",
						   (json_int_t)left.requests);

	if (r->ended)
		return;
	r->ended = true;
	l7_cut(r->proxy->l7);
	log_write(left.requests ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "nothing is served any more: ending",
		  LOG_FIELDS(LOG_F("reason", LOG_STR(retire_reason_names[why])), LOG_F("after_ns", LOG_U64(time_now_ns() - r->since_ns)),
			     LOG_F("requests_cut", LOG_U64(left.requests)), LOG_F("connections", LOG_U64(left.connections))));
	if (r->fd >= 0 && say(r, message, NULL, 0) < 0)
		hang_up(r);
	loop_timer_arm(r->timer, r->asked ? loop_now_ns(r->proxy->loop) + LOOK_NS : 0); /* the answer, or none */
}

static void on_configured(struct proxy *proxy, uint64_t whose, const struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	(void)whose;
	if (proxy->retirement)
		proxy->retirement->configures = false;
	if (err)
		log_limited(LOG_LEVEL_WARN, "the successor's configuration is not taken",
			    LOG_F("error", LOG_STR(error_text(err, text, sizeof(text)))));
}

/* What it asked for. Takes the descriptor. */
static void take_configuration(struct retirement *r, const json_t *answer, int fd)
{
	const int64_t generation = json_path_int(answer, "generation", 0);

	if (generation <= 0)
		fd_close(fd);
	else
		r->configures = proxy_configure(r->proxy, &(struct configuration){ .generation = (uint64_t)generation, .fd = fd }, on_configured,
						0) == 0;
}

static void take_answer(struct retirement *r, const json_t *answer)
{
	const bool first = !r->known, gave = r->given;
	struct error err = {};
	int result = control_error_read(answer, &err);

	if (result < 0)
		log_limited(LOG_LEVEL_WARN, "the successor does not take what it is told", LOG_F("error", LOG_STR(err.message)));
	r->asked -= r->asked > 0;
	if (gave)
		settle(r, result == 0);
	r->known |= result == 0;
	if (r->ended || (result == 0 && (first || gave)))
		loop_timer_arm(r->timer, 0); /* there is nothing to wait for, or maybe more to give */
}

static void take_message(struct retirement *r, const json_t *message)
{
	const char *event = json_path_string(message, "event");

	if (!event)
		take_answer(r, message);
	else if (!strcmp(event, "end"))
		end(r, RETIRE_DRAIN_LIMIT);
}

static void on_message(struct loop_io *io, uint32_t events, void *arg)
{
	struct retirement *r = arg;
	int gone = 0;

	(void)io;
	(void)events;
	for (int i = 0; i < MESSAGES_A_TURN && r->fd >= 0; i++) {
		_cleanup_json_ json_t *message = NULL;
		struct error err = {};
		int fds[1];
		size_t fd_count = 0;
		int result = control_receive(r->fd, &message, fds, ARRAY_SIZE(fds), &fd_count, &err);

		if (result == -EAGAIN)
			return;
		/* A reset is told before the answers that came before it: what was taken must not be ours again. */
		if (result < 0 && gone++) {
			hang_up(r);
		} else if (result == 0) {
			if (fd_count)
				take_configuration(r, message, fds[0]);
			take_message(r, message);
		}
	}
}

static void look_for_successor(struct retirement *r)
{
	const struct l7_left left = l7_left(r->proxy->l7);
	_cleanup_json_ json_t *message = NULL;
	struct error err = {};

	if (r->fd >= 0 || control_connect(r->proxy->instance, &r->fd, &err) < 0)
		return;
	message = json_pack("{s:s, s:I, s:I, s:I}", "op", "retiring", "since", (json_int_t)r->since_ns, "requests", (json_int_t)left.requests,
			    "connections", (json_int_t)left.connections);
	if (loop_io_add(r->proxy->loop, r->fd, EPOLLIN, on_message, r, &r->io) < 0 || say(r, message, NULL, 0) < 0)
		hang_up(r);
}

/* One question at a time, for it may not be read any more by who is replaced just then. */
static void give(struct retirement *r)
{
	_cleanup_json_ json_t *message = NULL;
	int result;

	if (!r->known || r->asked)
		return;
	r->given = l7_give(r->proxy->l7, r->given_fds, ARRAY_SIZE(r->given_fds));
	if (json_array_size(r->given) == 0) {
		settle(r, true);
		return;
	}
	message = json_pack("{s:s, s:O}", "op", "connections", "connections", r->given);
	result = say(r, message, r->given_fds, json_array_size(r->given));
	if (result < 0)
		settle(r, false);
}

/* Of what is under way a newer configuration concerns two things: requests that wait for it, and those that left a mesh whose filter has closed. */
static bool needs_configuration(struct retirement *r, const struct l7_left *left, uint64_t now_ns)
{
	if (!r->known || r->asked || r->configures)
		return false;
	if (left->parked)
		return true;
	if (now_ns < r->filter_ns)
		return false;
	r->filter_ns = now_ns + FILTER_NS;
	return l7_may_leave(r->proxy->l7);
}

static void ask_configuration(struct retirement *r)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:I}", "op", "snapshot", "after", (json_int_t)l7_generation(r->proxy->l7));

	if (say(r, message, NULL, 0) < 0)
		log_limited(LOG_LEVEL_WARN, "a newer configuration is not asked for");
}

/* --- until then ---------------------------------------------------------------------------------------------------------------- */

/* It was told to end, or there is nothing any more that it would be a part of. */
static void shorten(struct retirement *r)
{
	if (r->late == RETIRE_DRAIN_TIME)
		return;
	r->late = RETIRE_DRAIN_TIME;
	r->until_ns = MIN(r->until_ns, loop_now_ns(r->proxy->loop) + r->proxy->options.drain_time_ns);
}

static void on_look(struct loop_timer *timer, void *arg)
{
	struct retirement *r = arg;
	struct proxy *proxy = r->proxy;
	const uint64_t now_ns = loop_now_ns(proxy->loop);
	struct error err = {};
	struct l7_left left;

	if (r->ended) {
		loop_stop(proxy->loop, 0);
		return;
	}
	loop_timer_arm(timer, now_ns + LOOK_NS);
	if (proxy->responder || l7_left(proxy->l7).connections > 0) /* else there is nothing to tell */
		look_for_successor(r);
	give(r);
	if (proxy_endpoints_renew(&proxy->maps, proxy->instance, &err) < 0)
		log_limited(LOG_LEVEL_WARN, "cannot use the array of endpoints that has grown", LOG_F("error", LOG_STR(err.message)));
	if (!proxy_maps_installed(&proxy->maps, proxy->instance)) {
		proxy->uninstalled = true;
		shorten(r);
	} else if (now_ns >= r->counts_ns) {
		r->counts_ns = now_ns + COUNTS_NS;
		counts_leave(proxy);
	}
	left = l7_left(proxy->l7);
	if (needs_configuration(r, &left, now_ns))
		ask_configuration(r);
	if (now_ns >= r->until_ns)
		end(r, r->late);
	else if (r->given)
		return;
	else if (!proxy->responder && left.connections == 0)
		end(r, RETIRE_DRAINED);
	else if (r->late == RETIRE_DRAIN_TIME && left.requests == 0 && !r->known)
		end(r, RETIRE_DRAINED); /* nobody takes those that wait */
}

static int retire(struct proxy *proxy, enum retire_reason late, uint64_t limit_ns)
{
	struct retirement *r = calloc(1, sizeof(*r));
	int result = r ? loop_timer_new(proxy->loop, on_look, r, &r->timer) : -ENOMEM;

	if (result < 0) {
		free(r);
		return result;
	}
	r->proxy = proxy;
	r->since_ns = loop_now_ns(proxy->loop);
	r->until_ns = r->since_ns + limit_ns;
	r->counts_ns = r->since_ns + COUNTS_NS;
	r->late = late;
	r->fd = -1;
	loop_timer_arm(r->timer, 0);
	proxy->retirement = r;
	return 0;
}

static void on_answered(void *arg)
{
	struct proxy *proxy = arg;

	proxy->responder = responder_free(proxy->responder); /* its sockets are the successor's, and would stay bound */
}

void proxy_hand_over(struct proxy *proxy)
{
	loop_timer_disarm(proxy->beat_timer);
	l7_drain(proxy->l7, true);
	admin_ports_close(proxy->admin_ports);
	attachments_retire(proxy->attachments);
	server_retire(proxy->server);
	seat_hand_over(&proxy->seat);
	responder_stop(proxy->responder, on_answered, proxy);
	if (retire(proxy, RETIRE_DRAIN_MAX, proxy->options.drain_max_ns) < 0)
		loop_stop(proxy->loop, 0);
}

/* The seat is free from here on: another one may start, and will know us by what we tell it. */
static void leave(struct proxy *proxy)
{
	loop_timer_disarm(proxy->beat_timer);
	__atomic_store_n(&proxy->maps.state->beat_ns, 0, __ATOMIC_RELEASE);
	l7_drain(proxy->l7, false);
	admin_ports_close(proxy->admin_ports); /* the next one wants them */
	attachments_retire(proxy->attachments);
	proxy->responder = responder_free(proxy->responder);
	proxy->server = server_free(proxy->server);
	if (proxy->uninstalled)
		counts_clear(proxy);
	seat_leave(&proxy->seat, proxy->uninstalled);
}

void proxy_end(struct proxy *proxy)
{
	struct retirement *r = proxy->retirement;

	if (l7_left(proxy->l7).requests == 0 || (r && r->late == RETIRE_DRAIN_TIME)) {
		loop_stop(proxy->loop, 0);
		return;
	}
	log_info("requests under way have some time to end", LOG_F("requests", LOG_U64(l7_left(proxy->l7).requests)),
		 LOG_F("limit_ns", LOG_U64(proxy->options.drain_time_ns)));
	if (r) {
		shorten(r);
		return;
	}
	leave(proxy);
	if (retire(proxy, RETIRE_DRAIN_TIME, proxy->options.drain_time_ns) < 0)
		loop_stop(proxy->loop, 0);
}

bool proxy_is_ending(const struct proxy *proxy)
{
	return proxy->retirement;
}

struct retirement *retirement_free(struct retirement *r)
{
	if (!r)
		return NULL;
	hang_up(r);
	loop_timer_free(r->timer);
	free(r);
	return NULL;
}
