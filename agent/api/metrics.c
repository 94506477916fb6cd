/* SPDX-License-Identifier: Apache-2.0 */
/* One reading and one text serve all who asked before it began: many clients cost what one does. */
#include "agent/api/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/telemetry/metrics.h"
#include "base/cleanup.h"
#include "base/list.h"

_Static_assert(METRICS_SERVERS_MAX == AGENT_SERVERS_MAX, "each server is told");

#define TABLES_MAX 16
#define METRICS_CONNECTIONS_MAX 32 /* of peers that nobody vouches for, each of which may hold an answer of some MiB */

struct waiting {
	struct list node;
	struct http_exchange *exchange;
};

struct metrics_listener {
	struct agent *agent;
	struct http_server *server;
	struct list asked; /* whom the reading under way is for */
	struct list next; /* who asked since it began */
	bool busy; /* a reading is under way */
	bool gone; /* freed, but for that */
	struct generations_fill tables[TABLES_MAX];
	struct inbound_listener *listeners;
	size_t listener_count;
	struct metrics_input input;
	struct buffer text;
};

static void answer_all(struct list *list, const struct buffer *text, const struct error *err)
{
	list_for_each_safe(it, list) {
		struct waiting *waiting = container_of(it, struct waiting, node);

		list_remove(it);
		if (err->code)
			http_reply_error(waiting->exchange, err);
		else
			http_reply(waiting->exchange, 200, METRICS_CONTENT_TYPE, text->data, text->length);
		free(waiting);
	}
}

static void write_text(const struct tally *tally, void *arg)
{
	struct metrics_listener *l = arg;

	l->input.tally = tally;
	metrics_process_read(&l->input.process);
	metrics_write(&l->input, &l->text);
}

static void begin(struct metrics_listener *l);

static void drop_listeners(struct metrics_listener *l)
{
	inbound_listeners_free(l->listeners, l->listener_count);
	l->listeners = NULL;
	l->listener_count = 0;
}

static void written(int r, void *arg)
{
	struct metrics_listener *l = arg;
	struct error err = {};

	if (r == 0 && buffer_failed(&l->text))
		r = -ENOMEM;
	if (r == 0 && l->gone)
		r = -ECANCELED;
	if (r < 0)
		error_set(&err, r, "cannot read what was counted: %s", strerror(-r));
	answer_all(&l->asked, &l->text, &err); /* may bring more, to `next` */
	buffer_done(&l->text);
	drop_listeners(l);
	l->busy = false;
	if (l->gone) {
		answer_all(&l->next, NULL, &err);
		free(l);
	} else if (!list_empty(&l->next)) {
		begin(l);
	}
}

static void begin(struct metrics_listener *l)
{
	const struct agent *agent = l->agent;
	struct error err = {};

	list_for_each_safe(it, &l->next) {
		list_remove(it);
		list_append(&l->asked, it);
	}
	l->busy = inbound_listeners(agent->inbound, &l->listeners, &l->listener_count) == 0;
	l->input = (struct metrics_input){
		.configuration_failed = agent->configuration.failed,
		.configuration_held = history_held(agent->history)->generation != 0,
		.misnamed = apply_misnamed(agent->apply),
		.tables = l->tables,
		.table_count = generations_fill(apply_generations(agent->apply), l->tables, TABLES_MAX),
		.listener_count = l->listener_count,
		.listeners = l->listeners,
		.proxy = agent->kernel.memory.proxy,
		.process.start_wall_ns = agent->started_wall_ns,
	};
	l->input.http_count = agent_http_totals(agent, l->input.http);
	control_totals(agent->control, &l->input.api);
	claims_report(agent->claims, &l->input.claims);
	l->busy = l->busy && tallies_take(agent->tallies, write_text, written, l) == 0;
	if (!l->busy) {
		drop_listeners(l);
		error_set(&err, -ENOMEM, "out of memory");
		answer_all(&l->asked, NULL, &err);
	}
}

static void serve_metrics(struct metrics_listener *l, struct http_exchange *exchange)
{
	struct waiting *waiting = malloc(sizeof(*waiting));
	struct error err = {};

	if (!waiting) {
		error_set(&err, -ENOMEM, "out of memory");
		http_reply_error(exchange, &err);
		return;
	}
	waiting->exchange = exchange;
	list_append(&l->next, &waiting->node);
	if (!l->busy)
		begin(l);
}

static void serve(struct http_exchange *exchange, void *arg)
{
	static const char where[] = "weft: metrics for Prometheus are at /metrics\n";
	struct error err = {};

	if (!http_path(exchange)) {
		http_refuse(exchange, HTTP_BAD_TARGET);
	} else if (!strcmp(http_path(exchange), "/metrics")) {
		serve_metrics(arg, exchange);
	} else if (!strcmp(http_path(exchange), "/")) {
		http_reply(exchange, 200, "text/plain; charset=utf-8", where, sizeof(where) - 1);
	} else {
		error_set(&err, -ENOENT, "there is nothing at %s, but metrics at /metrics", http_path(exchange));
		http_reply_error(exchange, &err);
	}
}

static const struct http_service metrics_service = {
	.name = "metrics",
	.handler = serve,
	.methods = "GET, HEAD",
	.connections_max = METRICS_CONNECTIONS_MAX,
};

int metrics_listener_new(struct agent *agent, const char *address, struct metrics_listener **ret_listener, struct error *err)
{
	struct metrics_listener *l = calloc(1, sizeof(*l));
	struct error cause = {};
	int r;

	if (!l)
		return error_set(err, -ENOMEM, "out of memory");
	l->agent = agent;
	list_init(&l->asked);
	list_init(&l->next);
	r = http_server_new(agent->loop, address, &metrics_service, l, &l->server, &cause);
	if (r < 0) {
		free(l);
		return error_set_field(err, r, "metrics", "%s", cause.message);
	}
	*ret_listener = l;
	return 0;
}

struct http_server *metrics_listener_server(struct metrics_listener *l)
{
	return l->server;
}

struct metrics_listener *metrics_listener_free(struct metrics_listener *l)
{
	if (!l)
		return NULL;
	l->server = http_server_free(l->server);
	l->gone = true;
	if (!l->busy)
		free(l);
	return NULL;
}
