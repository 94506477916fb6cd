/* SPDX-License-Identifier: Apache-2.0 */
/* weft top: what the mesh does now, interval by interval. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/top_screen.h"
#include "agent/ctl/top_terminal.h"
#include "base/cleanup.h"
#include "base/time.h"

#define INTERVAL_NS NSEC_PER_SEC
#define INTERVAL_MIN_NS (100 * NSEC_PER_MSEC) /* weftd reads its counters no more often */

struct top_arguments {
	struct ctl ctl;
	const char *sort;
	const char *filter;
	uint64_t interval_ns;
	uint32_t count;
	bool reverse;
	bool routes;
	bool once;
};
static const struct option options[] = {
	{ .name = "sort", .type = OPTION_STRING, .offset = OPTION(struct top_arguments, sort), .argument = "COLUMN",
	  .help = "by this column: from, conn/s, fail/s, req/s, ok%, p99, ... (default: conn/s)" },
	{ .name = "reverse", .type = OPTION_FLAG, .offset = OPTION(struct top_arguments, reverse), .help = "the other way round" },
	{ .name = "routes", .type = OPTION_FLAG, .offset = OPTION(struct top_arguments, routes), .help = "requests by route, and not by target" },
	{ .name = "filter", .type = OPTION_STRING, .offset = OPTION(struct top_arguments, filter), .argument = "TEXT",
	  .help = "only what has this in a name or address" },
	{ .name = "interval", .type = OPTION_SPAN, .offset = OPTION(struct top_arguments, interval_ns), .argument = "SPAN",
	  .help = "rates over so long, 100ms or more (default: 1s)" },
	{ .name = "count", .type = OPTION_U32, .offset = OPTION(struct top_arguments, count), .argument = "N", .min = 1,
	  .max = UINT32_MAX, .help = "print N tables, and end" },
	{ .name = "once", .type = OPTION_FLAG, .offset = OPTION(struct top_arguments, once), .help = "--count 1" },
	CTL_OPTIONS_JSON("one object a line and interval")
};

/* The last answer and the one before, and what they come to. */
struct readings {
	const struct ctl *ctl;
	json_t *before, *now;
	struct top top;
};

static void readings_done(struct readings *readings)
{
	top_done(&readings->top);
	json_decref(readings->before);
	json_decref(readings->now);
}

/* What was read before stays when it fails. */
static int readings_next(struct readings *readings, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	struct top top;
	int r = client_call(readings->ctl, "GET", "/v1/top", NULL, NULL, &answer, err);

	if (r == 0)
		r = top_make(readings->now, answer, &top, err);
	if (r < 0)
		return r;
	top_done(&readings->top);
	readings->top = top;
	json_decref(readings->before);
	readings->before = readings->now;
	readings->now = TAKE_PTR(answer);
	return 0;
}

/* --- one table after the other ------------------------------------------------------------------------------------------------------------ */

static void sleep_until(uint64_t at_ns)
{
	const struct timespec at = { (time_t)(at_ns / NSEC_PER_SEC), (long)(at_ns % NSEC_PER_SEC) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int print_json(const struct readings *readings, const struct top_view *view, const char *time)
{
	_cleanup_json_ json_t *object = top_json(&readings->top, view);

	if (!object || json_object_set_new(object, "time", json_string(time)) < 0)
		return -ENOMEM;
	return json_dumpf(object, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF ? -EIO : 0;
}

static int print_table(const struct readings *readings, const struct top_view *view, const char *time)
{
	_cleanup_(buffer_done) struct buffer text = {};
	char span[TIME_TEXT_BYTES];
	int r;

	buffer_printf(&text, "%s  generation %llu  %s%s\n", time, (unsigned long long)readings->top.generation,
		      time_format_span(readings->top.interval_ns, span),
		      readings->top.open_known ? "" : "  (open connections count when they close: this kernel cannot tell of them)");
	r = top_print(&readings->top, view, &text);
	if (r < 0)
		return r;
	return fputs(buffer_string(&text), stdout) == EOF || putchar('\n') == EOF ? -EIO : 0;
}

static int print_all(const struct top_arguments *a, const struct top_view *view, struct readings *readings, struct error *err)
{
	const uint32_t count = a->once ? 1 : a->count;
	uint64_t next_ns = time_now_ns();
	int r = readings_next(readings, err);

	for (uint32_t n = 0; r == 0 && (!count || n < count); n++) {
		char time[TIME_TEXT_BYTES];

		next_ns = MAX(next_ns + a->interval_ns, time_now_ns()); /* none is made up for */
		sleep_until(next_ns);
		r = readings_next(readings, err);
		if (r < 0)
			return r;
		time_format(time_to_wall_ns((uint64_t)json_path_int(readings->now, "timeNs", 0)), time);
		r = a->ctl.json ? print_json(readings, view, time) : print_table(readings, view, time);
		if (r == 0 && fflush(stdout) == EOF)
			r = -EIO;
		if (r < 0)
			error_set(err, r, "cannot write the answer: %s", strerror(-r));
	}
	return r;
}

/* --- live ------------------------------------------------------------------------------------------------------------------------------------ */

static int draw(struct top_screen *screen, const struct readings *readings, const char *trouble, struct error *err)
{
	_cleanup_(buffer_done) struct buffer frame = {};

	terminal_size(&screen->view.width, &screen->view.height);
	if (top_screen_draw(screen, &readings->top, trouble, &frame) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	terminal_draw(buffer_string(&frame));
	return 0;
}

/* weftd may be away for a while: that is shown, and it is asked again. */
static int live(const struct top_arguments *a, struct top_screen *screen, struct readings *readings, struct error *err)
{
	uint64_t next_ns = time_now_ns() + a->interval_ns;
	struct error trouble = {};
	int r = readings_next(readings, err); /* what is wrong from the start ends it, in words */

	if (r == 0)
		r = terminal_enter(err);
	if (r < 0)
		return r;
	while (r == 0 && !screen->quit) {
		int key;

		r = draw(screen, readings, trouble.code ? trouble.message : NULL, err);
		key = r == 0 ? terminal_wait(screen->paused ? UINT64_MAX : next_ns) : TERMINAL_CLOSED;
		if (key >= 0)
			top_screen_key(screen, key);
		else if (key == TERMINAL_CLOSED)
			screen->quit = true;
		if (!screen->paused && time_now_ns() >= next_ns) {
			trouble = (struct error){};
			readings_next(readings, &trouble);
			next_ns = MAX(next_ns + a->interval_ns, time_now_ns());
		}
	}
	terminal_leave();
	return r;
}

static bool is_terminal(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb");
}

static int top_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	struct top_arguments a = *(const struct top_arguments *)arguments;
	_cleanup_(readings_done) struct readings readings = { .ctl = &a.ctl };
	const int sort = a.sort ? top_column_by_name(a.sort) : TOP_CONNECTIONS;
	struct top_screen screen = {
		.view = { .sort = sort < 0 ? TOP_CONNECTIONS : (enum top_column)sort,
			  .reverse = a.reverse,
			  .routes = a.routes,
			  .endpoints = true,
			  .filter = a.filter,
			  .bold = style(stdout, STYLE_BOLD),
			  .plain = style(stdout, STYLE_PLAIN) },
		.instance = a.ctl.instance,
	};
	struct error err = {};
	int r = 0;

	a.interval_ns = a.interval_ns ?: INTERVAL_NS;
	if (sort < 0)
		r = error_set_field(&err, -EINVAL, "--sort", "there is no column '%s': see `weft top --help`", a.sort);
	else if (a.interval_ns < INTERVAL_MIN_NS)
		r = error_set_field(&err, -EINVAL, "--interval", "shorter than 100ms");
	else if (a.filter && strlen(a.filter) >= sizeof(screen.filter))
		r = error_set_field(&err, -EINVAL, "--filter", "longer than %zu bytes", sizeof(screen.filter) - 1);
	else
		snprintf(screen.filter, sizeof(screen.filter), "%s", a.filter ?: "");
	if (r == 0 && is_terminal() && !a.ctl.json && !a.once && !a.count)
		r = live(&a, &screen, &readings, &err);
	else if (r == 0)
		r = print_all(&a, &screen.view, &readings, &err);
	return r < 0 ? ctl_fail(&err) : EXIT_SUCCESS;
}

const struct command top_command = {
	.name = "top",
	.synopsis = "[--sort COLUMN] [--routes] [--filter TEXT] [--interval SPAN] [--count N | --once] [--json]",
	.summary = "shows what the mesh does now: rates of each interval, connections still open included",
	.more = "\nOn a terminal the table is live, and keys work: ? lists them. Elsewhere a table is printed each interval. Columns are from,\n"
		"service, target, conn/s (routed), open, fail/s (never established, or refused: then without a target), reason (of most\n"
		"of those), reset/s, rtt, p50 and p99 (of connect() in the interval), out/s, in/s. Where weft-proxy routes requests there is a\n"
		"table of them: req/s, ok% (answered, and with no 5xx), retry/s, active, p50 and p99 (from the head of a request to the end of\n"
		"its answer), out/s, in/s; by route it has time-out/s as well. Endpoints have req/s and rqfail/s of weft-proxy's tries. A table without the column to sort by is sorted by its first number.",
	.options = options,
	.arguments_size = sizeof(struct top_arguments),
	.run = top_run,
};
