/* SPDX-License-Identifier: Apache-2.0 */
/* What weft-proxy was told of the configuration: all there is when it is met, then what differs. One telling at a time: while it is under way
 * newer generations wait, and of several that wait the last one is told, by its difference to what weft-proxy has by then. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/proxy/control.h"
#include "agent/proxy/supervisor_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/time.h"

#define BACKOFF_MIN_NS (500 * NSEC_PER_MSEC) /* until it is told again what it did not take */
#define BACKOFF_MAX_NS (60 * NSEC_PER_SEC)

static uint64_t generation_of(const struct in_force *held)
{
	return held ? in_force_generation(held) : 0;
}

/* Nothing is known of what it has: it is told all. */
static void forget(struct configuration_told *told)
{
	told->known = in_force_unref(told->known);
	told->telling = in_force_unref(told->telling);
}

static void on_told(struct supervisor *s, const struct ask_request *request, const json_t *answer, const struct error *err)
{
	struct configuration_told *told = &s->configuration;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	const bool had_base = told->known != NULL;

	(void)request, (void)answer;
	if (s->fd < 0 || !told->telling)
		return; /* it is forgotten already */
	told->took_ns = time_now_ns() - told->since_ns;
	told->known = in_force_unref(told->known);
	if (!err) {
		told->known = TAKE_PTR(told->telling);
		told->backoff_ns = 0;
		told->refusal[0] = '\0';
		configuration_sync(s); /* what came meanwhile */
		s->options.serves(s->options.arg);
		if (!had_base) /* the text of everything, and what it grew through, which libc would keep */
			memory_give_back();
		return;
	}
	forget(told);
	if (err->code == -ESTALE && had_base) {
		told->stale++;
		configuration_sync(s);
		return;
	}
	told->refused++;
	snprintf(told->refusal, sizeof(told->refusal), "%s", error_text(err, text, sizeof(text)));
	told->backoff_ns = MIN(MAX(2 * told->backoff_ns, BACKOFF_MIN_NS), BACKOFF_MAX_NS);
	told->not_before_ns = loop_now_ns(s->loop) + told->backoff_ns;
	log_limited(LOG_LEVEL_ERROR, "weft-proxy does not take the configuration", LOG_F("error", LOG_STR(told->refusal)));
}

static int tell(struct supervisor *s, const struct in_force *now)
{
	struct configuration_told *told = &s->configuration;
	_cleanup_(buffer_done) struct buffer text = {};
	_cleanup_json_ json_t *message = json_pack("{s:s, s:I, s:I}", "op", "configuration", "base", (json_int_t)generation_of(told->known),
						   "generation", (json_int_t)generation_of(now));
	_cleanup_close_ int fd = -1;
	int r;

	told->since_ns = time_now_ns();
	r = apply_snapshot(s->options.apply, told->known, &text);
	if (r == 0)
		r = control_file_make("weft-configuration", &text, &fd);
	if (r == 0)
		r = supervisor_send(s, &(struct ask_request){ .message = message, .fd = fd, .done = on_told });
	if (r == 0)
		*(told->known ? &told->changes : &told->whole) += 1;
	return r;
}

void configuration_sync(struct supervisor *s)
{
	struct configuration_told *told = &s->configuration;
	struct in_force *now;
	int r;

	if (!s->greeted || told->telling || loop_now_ns(s->loop) < told->not_before_ns)
		return;
	now = apply_in_force(s->options.apply);
	if (now == told->known || !generation_of(now)) { /* there was no first one yet: nothing is in force */
		in_force_unref(now);
		return;
	}
	r = tell(s, now);
	if (r == 0) {
		told->telling = now;
		return;
	}
	in_force_unref(now);
	if (r == -EAGAIN)
		loop_io_events(s->io, EPOLLIN | EPOLLOUT);
	else if (r != -EPIPE) /* the end of the connection is noticed by who reads from it */
		log_limited(LOG_LEVEL_ERROR, "weft-proxy cannot be told of the configuration", LOG_F("error", LOG_STR(strerror(-r))));
}

void configuration_forget(struct supervisor *s)
{
	struct configuration_told *told = &s->configuration;

	forget(told);
	told->backoff_ns = told->not_before_ns = 0;
	told->refusal[0] = '\0';
}

bool configuration_is_known(const struct supervisor *s)
{
	struct in_force *now = apply_in_force(s->options.apply);
	const bool known = now && s->configuration.known && generation_of(now) == generation_of(s->configuration.known);

	in_force_unref(now);
	return known;
}

void supervisor_configured(struct supervisor *s)
{
	if (s)
		configuration_sync(s);
}

json_t *configuration_json(const struct supervisor *s)
{
	const struct configuration_told *told = &s->configuration;

	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:s?}", "generation",
			 told->known ? json_integer((json_int_t)generation_of(told->known)) : json_null(), "whole", (json_int_t)told->whole,
			 "changes", (json_int_t)told->changes, "stale", (json_int_t)told->stale, "refused", (json_int_t)told->refused,
			 "lastNs", (json_int_t)told->took_ns, "lastRefusal", told->refusal[0] ? told->refusal : NULL);
}
