/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/top: what `weft top` makes rates of, put together on the offload thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/telemetry/names.h"
#include "agent/telemetry/tally.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"

struct top {
	struct http_exchange *exchange;
	struct buffer text;
};

/* Trailing zeros are left out. */
static json_t *buckets_json(const __u64 buckets[HISTOGRAM_BUCKETS])
{
	json_t *list = json_array();
	int count = HISTOGRAM_BUCKETS;

	while (count && !buckets[count - 1])
		count--;
	for (int i = 0; i < count; i++)
		json_array_append_new(list, json_integer((json_int_t)buckets[i]));
	return list;
}

static json_t *row_json(const struct tally_row *row)
{
	const struct row *sums = &row->counter.sums;
	json_t *one = api_counter_json(&row->counter);

	json_object_set_new(one, "rttUsSum", json_integer((json_int_t)sums->rtt_us_sum));
	json_object_set_new(one, "connectBuckets", buckets_json(sums->connect_ns));
	json_object_set_new(one, "openSent", json_integer((json_int_t)row->open_sent));
	json_object_set_new(one, "openReceived", json_integer((json_int_t)row->open_received));
	json_object_set_new(one, "openRetransmits", json_integer((json_int_t)row->open_retransmits));
	json_object_set_new(one, "openCounted", json_integer((json_int_t)row->open_counted));
	json_object_set_new(one, "meanOpenRttUs",
			    row->open_counted ? json_integer((json_int_t)(row->open_rtt_us_sum / row->open_counted)) : json_null());
	return one;
}

static json_t *endpoint_json(const struct tally_endpoint *e)
{
	const struct endpoint *s = &e->state;
	char text[ENDPOINT_TEXT_BYTES];

	return json_pack("{s:s, s:s, s:s, s:s?, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "target", e->target, "address",
			 ip_port_format(&e->address, e->port, text), "health", endpoint_state_name(s), "zone", e->zone, "local", e->local, "open",
			 (json_int_t)s->open, "connects", (json_int_t)s->connects, "failures", (json_int_t)s->failures, "resets",
			 (json_int_t)s->resets, "sent", (json_int_t)s->bytes_sent, "received", (json_int_t)s->bytes_received, "ejections",
			 (json_int_t)s->ejections, "requests", (json_int_t)s->requests, "requestFailures", (json_int_t)s->request_failures);
}

static json_t *reason_json(const struct tally_reason *r)
{
	return json_pack("{s:s?, s:s?, s:s, s:I, s:s}", "from", r->source, "to", r->service, "reason", reason_name(r->reason), "count",
			 (json_int_t)r->count, "text", reason_text(r->reason));
}

static void top_write(const struct tally *tally, void *arg)
{
	struct top *top = arg;
	_cleanup_json_ json_t *answer = NULL;
	json_t *rows = json_array(), *endpoints = json_array(), *reasons = json_array();

	for (size_t i = 0; i < tally->row_count; i++)
		if (tally_row_is_used(tally->rows[i]))
			json_array_append_new(rows, row_json(tally->rows[i]));
	for (size_t i = 0; i < tally->endpoint_count; i++)
		json_array_append_new(endpoints, endpoint_json(&tally->endpoints[i]));
	for (size_t i = 0; i < tally->reason_count; i++)
		json_array_append_new(reasons, reason_json(&tally->reasons[i]));
	answer = json_pack("{s:I, s:I, s:b, s:o, s:o, s:o, s:o}", "timeNs", (json_int_t)tally->time_ns, "generation",
			   (json_int_t)tally->generation, "openKnown", tally->open_known, "rows", rows, "endpoints", endpoints, "reasons",
			   reasons, "requests", api_requests_json(&tally->requests));
	top->text.failed |= !answer;
	json_print(answer, &top->text);
	buffer_add(&top->text, "\n");
}

static void top_written(int r, void *arg)
{
	struct top *top = arg;
	struct error err = {};

	if (r == 0 && buffer_failed(&top->text))
		r = -ENOMEM;
	if (r < 0) {
		error_set(&err, r, "cannot read what was counted: %s", strerror(-r));
		http_reply_error(top->exchange, &err);
	} else {
		http_reply(top->exchange, 200, "application/json", top->text.data, top->text.length);
	}
	buffer_done(&top->text);
	free(top);
}

void api_top(struct agent *agent, struct http_exchange *exchange)
{
	struct top *top = calloc(1, sizeof(*top));
	struct error err = {};

	if (top) {
		top->exchange = exchange;
		if (tallies_take(agent->tallies, top_write, top_written, top) == 0)
			return;
		free(top);
	}
	error_set(&err, -ENOMEM, "out of memory");
	http_reply_error(exchange, &err);
}
