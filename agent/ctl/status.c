/* SPDX-License-Identifier: Apache-2.0 */
/* weft status: the agent, the kernel part, workloads, table fill, and everything that is counted. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

struct status_arguments {
	struct ctl ctl;
};
static const struct option options[] = { CTL_OPTIONS };

enum cell_type { CELL_STRING, CELL_NAME, CELL_COUNT, CELL_SPAN, CELL_BYTES, CELL_YES, CELL_SCOPE };

/* A section is an array of the answer as a table: one row here for each column there. */
struct column {
	const char *title;
	const char *member;
	enum cell_type type;
};
#define SECTION_COLUMNS_MAX 14
struct section {
	const char *title;
	const char *path;
	bool eventful; /* leave out rows whose counts are all 0 */
	struct column columns[SECTION_COLUMNS_MAX];
};
/* Of requests: how they were answered. */
#define ANSWERS					\
	{ "REQUESTS", "requests", CELL_COUNT },	\
	{ "2XX", "codes.2xx", CELL_COUNT },	\
	{ "3XX", "codes.3xx", CELL_COUNT },	\
	{ "4XX", "codes.4xx", CELL_COUNT },	\
	{ "5XX", "codes.5xx", CELL_COUNT },	\
	{ "NONE", "codes.none", CELL_COUNT },	\
	{ "RETRIES", "retries", CELL_COUNT }

static const struct section sections[] = {
	{ "workloads", "workloads", false, {
		{ "ID", "id", CELL_COUNT },
		{ "VIRTUAL NODE", "virtualNode", CELL_NAME },
		{ "CONFIGURED", "known", CELL_YES },
		{ "SCOPE", "ownNetns", CELL_SCOPE },
		{ "CGROUP", "cgroup", CELL_STRING },
		{ "NETNS", "netns", CELL_STRING },
		{ "ZONE", "zone", CELL_STRING },
		{ "ORIGIN", "origin", CELL_STRING },
		{ "PID", "pid", CELL_COUNT },
		{ "SINCE", "since", CELL_STRING },
		{ "EARLIER SOCKETS", "earlierSockets", CELL_COUNT },
	} },
	{ "workloads by their environment", "environment.outcomes", true, {
		{ "OUTCOME", "outcome", CELL_STRING },
		{ "COUNT", "count", CELL_COUNT },
		{ "MEANING", "text", CELL_STRING },
	} },
	{ "hooks", "hooks", false, {
		{ "HOOK", "name", CELL_STRING },
		{ "ATTACHED", "attached", CELL_YES },
		{ "THIS BUILD", "current", CELL_YES },
		{ "PURPOSE", "purpose", CELL_STRING },
	} },
	{ "tables", "tables", false, {
		{ "TABLE", "name", CELL_STRING },
		{ "USED", "used", CELL_COUNT },
		{ "SIZE", "size", CELL_COUNT },
	} },
	{ "listeners with maxConnections, or that weft-proxy serves", "listeners", false, {
		{ "TARGET", "target", CELL_NAME },
		{ "ADDRESS", "address", CELL_STRING },
		{ "MAX", "maxConnections", CELL_COUNT },
		{ "OPEN", "open", CELL_COUNT },
		{ "HANDSHAKES", "handshakes", CELL_COUNT },
		{ "ACCEPTED", "accepted", CELL_COUNT },
		{ "REFUSED", "refused", CELL_COUNT },
		{ "STATE", "state", CELL_STRING },
	} },
	{ "connections by source, service and target", "counters", false, {
		{ "FROM", "from", CELL_NAME },
		{ "TO", "to", CELL_NAME },
		{ "TARGET", "target", CELL_NAME },
		{ "ATTEMPTS", "attempts", CELL_COUNT },
		{ "OPEN", "open", CELL_COUNT },
		{ "ESTABLISHED", "established", CELL_COUNT },
		{ "CLOSED", "closed", CELL_COUNT },
		{ "RESET", "resetByPeer", CELL_COUNT },
		{ "ABORTED", "aborted", CELL_COUNT },
		{ "SENT", "sent", CELL_BYTES },
		{ "RECEIVED", "received", CELL_BYTES },
		{ "CONNECT P50", "connectP50Ns", CELL_SPAN },
		{ "P99", "connectP99Ns", CELL_SPAN },
	} },
	{ "connections that failed, or sent again", "counters", true, {
		{ "FROM", "from", CELL_NAME },
		{ "TO", "to", CELL_NAME },
		{ "TARGET", "target", CELL_NAME },
		{ "REFUSED", "refused", CELL_COUNT },
		{ "TIMED OUT", "timedOut", CELL_COUNT },
		{ "UNREACHABLE", "unreachable", CELL_COUNT },
		{ "ABANDONED", "abandoned", CELL_COUNT },
		{ "OTHER", "failedOther", CELL_COUNT },
		{ "RETRANSMITS", "retransmits", CELL_COUNT },
	} },
	{ "requests by source, service and target", "requests.rows", false, {
		{ "FROM", "from", CELL_NAME },
		{ "TO", "to", CELL_NAME },
		{ "TARGET", "target", CELL_NAME },
		ANSWERS,
		{ "SENT", "sent", CELL_BYTES },
		{ "RECEIVED", "received", CELL_BYTES },
		{ "P50", "p50Ns", CELL_SPAN },
		{ "P99", "p99Ns", CELL_SPAN },
	} },
	{ "requests by route", "requests.routes", false, {
		{ "FROM", "from", CELL_NAME },
		{ "TO", "to", CELL_NAME },
		{ "ROUTE", "route", CELL_STRING },
		ANSWERS,
		{ "TIME-OUTS", "timeouts", CELL_COUNT },
	} },
	{ "servers", "http", false, {
		{ "SERVER", "server", CELL_STRING },
		{ "OPEN", "open", CELL_COUNT },
		{ "CONNECTIONS", "connections", CELL_COUNT },
		{ "REQUESTS", "requests", CELL_COUNT },
	} },
	{ "refused by servers", "httpRefusals", false, {
		{ "SERVER", "server", CELL_STRING },
		{ "REASON", "reason", CELL_STRING },
		{ "COUNT", "count", CELL_COUNT },
		{ "MEANING", "text", CELL_STRING },
	} },
	{ "decisions", "reasons", false, {
		{ "FROM", "from", CELL_NAME },
		{ "TO", "to", CELL_NAME },
		{ "REASON", "reason", CELL_STRING },
		{ "COUNT", "count", CELL_COUNT },
		{ "MEANING", "text", CELL_STRING },
	} },
};

static bool is_number(enum cell_type type)
{
	return type == CELL_COUNT || type == CELL_SPAN || type == CELL_BYTES;
}

static void cell_add(struct grid *grid, const struct column *column, const json_t *row)
{
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	switch (column->type) {
	case CELL_STRING:
		return grid_add(grid, json_path_string(row, column->member));
	case CELL_NAME:
		return grid_add(grid, format_member_name(row, column->member, name));
	case CELL_COUNT:
		return grid_add(grid, format_member_count(row, column->member, text));
	case CELL_SPAN:
		return grid_add(grid, format_member_span(row, column->member, text));
	case CELL_BYTES:
		return grid_add(grid, format_member_bytes(row, column->member, text));
	case CELL_YES:
		return grid_add(grid, json_path_bool(row, column->member, false) ? "yes" : "NO");
	case CELL_SCOPE:
		return grid_add(grid, json_path_bool(row, column->member, false) ? "namespace" : "cgroup");
	}
}

static bool is_eventful(const struct section *section, const json_t *row)
{
	for (size_t c = 0; c < SECTION_COLUMNS_MAX && section->columns[c].title; c++)
		if (section->columns[c].type == CELL_COUNT && json_path_int(row, section->columns[c].member, 0))
			return true;
	return false;
}

static int section_print(const struct section *section, const json_t *answer)
{
	struct grid_column columns[SECTION_COLUMNS_MAX + 1] = {};
	_cleanup_(grid_done) struct grid grid;

	for (size_t i = 0; i < SECTION_COLUMNS_MAX && section->columns[i].title; i++)
		columns[i] = (struct grid_column){
			.title = section->columns[i].title,
			.right = is_number(section->columns[i].type),
		};
	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, section->path); i++) {
		const json_t *row = json_path_at(answer, section->path, i);

		if (section->eventful && !is_eventful(section, row))
			continue;
		for (size_t c = 0; c < SECTION_COLUMNS_MAX && section->columns[c].title; c++)
			cell_add(&grid, &section->columns[c], row);
	}
	printf("\n%s: %zu\n", section->title, grid_rows(&grid));
	return grid_rows(&grid) ? grid_print(&grid, stdout) : 0;
}

static void configuration_print(const json_t *answer)
{
	const json_t *error = json_path(answer, "configuration.error"), *configuration = json_path(answer, "configuration");
	const char *directory = json_path_string(configuration, "directory");
	char text[FORMAT_BYTES];

	printf("%-14s %s, %s %s, applied %s\n", "configuration", directory ?: "what the API was given",
	       format_member_count(configuration, directory ? "files" : "resources", text), directory ? "files" : "resources",
	       json_path_string(configuration, "appliedAt") ?: "never");
	if (json_is_object(error)) {
		printf("%-14s ", "");
		print_configuration_error(stdout, error);
	if (json_is_object(json_path(answer, "configuration.held")))
		printf("%-14s held at generation %lld since %s (weft resume)\n", "", (long long)json_path_int(answer, "configuration.held.generation", 0),
		       json_path_string(answer, "configuration.held.since") ?: "?");
	}
}

static void proxy_print(const json_t *proxy)
{
	const char *state = json_path_string(proxy, "state") ?: "-";
	char pid[FORMAT_BYTES], restarts[FORMAT_BYTES];

	printf("%-14s %s%s%s, version %s, process %s, restarts %s (`weft dns` tells more)\n", "weft-proxy",
	       style(stdout, strcmp(state, "running") ? STYLE_WARN : STYLE_PLAIN), state, style(stdout, STYLE_PLAIN),
	       json_path_string(proxy, "version") ?: "-", format_member_count(proxy, "pid", pid),
	       format_member_count(proxy, "restarts", restarts));
}

static void warnings_print(const json_t *answer)
{
	for (size_t i = 0; i < json_path_count(answer, "workloads"); i++) {
		const json_t *workload = json_path_at(answer, "workloads", i);
		char name[NAME_TEXT_BYTES];

		if (json_path_string(workload, "foreignRedirect"))
			printf("%s%-14s %s%s in '%s': another proxy redirects its connections: %s. What is for weft-proxy is refused there "
			       "(foreign-redirect) until these rules are gone\n",
			       style(stdout, STYLE_WARN), "warning", style(stdout, STYLE_PLAIN), format_member_name(workload, "virtualNode", name),
			       json_path_string(workload, "cgroup") ?: "?", json_path_string(workload, "foreignRedirect"));
	}
	for (size_t i = 0; i < json_path_count(answer, "warnings"); i++)
		printf("%s%-14s %s%s\n", style(stdout, STYLE_WARN), "warning", json_string_value(json_path_at(answer, "warnings", i)),
		       style(stdout, STYLE_PLAIN));
}

static void endpoints_print(const json_t *endpoints)
{
	static const char *const states[] = { "up", "down", "pending", "unchecked", "ejected" };
	char text[FORMAT_BYTES];

	printf("%-14s", "endpoints");
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		printf("%s %s %s", i ? "," : "", format_member_count(endpoints, states[i], text), states[i]);
	printf("\n");
}

static void environment_print(const json_t *environment)
{
	const json_t *window = json_path(environment, "window");
	const char *refusal = json_path_string(environment, "lastRefusal.error");
	char last[FORMAT_BYTES], mean[FORMAT_BYTES], max[FORMAT_BYTES];

	if (!json_path_bool(environment, "on", false)) {
		printf("%-14s %s\n", "environment", json_path_string(environment, "off") ?: "-");
		return;
	}
	printf("%-14s looked at; from exec to enrolment: last %s, mean %s, at most %s\n", "environment", format_member_span(window, "lastNs", last),
	       format_member_span(window, "meanNs", mean), format_member_span(window, "maxNs", max));
	if (refusal)
		printf("%-14s last refused %s: %s\n", "", json_path_string(environment, "lastRefusal.at") ?: "-", refusal);
}

/* The members of an object, but for those that are 0 where `eventful`. */
static int counts_print(json_t *counts, const char *title, bool eventful)
{
	const struct grid_column columns[] = { { .title = title }, { "COUNT", true }, {} };
	_cleanup_(grid_done) struct grid grid;
	const char *name;
	json_t *value;
	char text[FORMAT_BYTES];

	grid_init(&grid, columns);
	json_object_foreach(counts, name, value) {
		if (!json_is_integer(value) || (eventful && !json_integer_value(value)))
			continue;
		grid_add(&grid, name);
		grid_add(&grid, format_member_count(counts, name, text));
	}
	if (!grid_rows(&grid))
		return 0;
	printf("\n");
	return grid_print(&grid, stdout);
}

static void requests_print(const json_t *requests)
{
	char active[FORMAT_BYTES], open[FORMAT_BYTES], upstream[FORMAT_BYTES];

	if (!json_path_bool(requests, "known", false))
		return; /* what is known of weft-proxy is said already */
	printf("%-14s %s in hand; connections: %s of programs, %s to endpoints\n", "requests",
	       format_member_count(requests, "active", active), format_member_count(requests, "open", open),
	       format_member_count(requests, "upstreamOpen", upstream));
}

/* What weft-proxy did and met, how requests ended without an answer of their target, what became of tries that failed, and lines that are
 * in no access log. */
static int request_totals_print(json_t *totals)
{
	int r = counts_print(totals, "WEFT-PROXY", true);

	if (r == 0)
		r = counts_print(json_object_get(totals, "replies"), "REPLY", true);
	if (r == 0)
		r = counts_print(json_object_get(totals, "retries"), "RETRY", true);
	return r == 0 ? counts_print(json_object_get(totals, "accessLogDrops"), "LINES DROPPED", true) : r;
}

static int answer_print(const json_t *answer)
{
	char text[FORMAT_BYTES], oldest[FORMAT_BYTES], pid[FORMAT_BYTES];

	printf("%-14s %s, version %s, process %s, since %s\n", "instance", json_path_string(answer, "instance") ?: "-",
	       json_path_string(answer, "version") ?: "-", format_member_count(answer, "pid", pid),
	       json_path_string(answer, "startedAt") ?: "-");
	printf("%-14s %s (kept from %s on)\n", "generation", format_member_count(answer, "generation", text),
	       format_member_count(answer, "oldestGeneration", oldest));
	printf("%-14s %s\n", "zone", json_path_string(answer, "zone") ?: "-");
	printf("%-14s %s\n", "attached to", json_path_string(answer, "cgroup") ?: "-");
	endpoints_print(json_object_get(answer, "endpoints"));
	proxy_print(json_object_get(answer, "proxy"));
	requests_print(json_object_get(answer, "requests"));
	environment_print(json_object_get(answer, "environment"));
	configuration_print(answer);
	warnings_print(answer);
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		if (section_print(&sections[i], answer) < 0)
			return -ENOMEM;
	if (request_totals_print(json_path(answer, "requests.totals")) < 0)
		return -ENOMEM;
	return counts_print(json_object_get(answer, "stats"), "STATISTIC", false);
}

static int status_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct status_arguments *a = arguments;
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};

	if (client_call(&a->ctl, "GET", "/v1/status", NULL, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	return ctl_printed(answer_print(answer));
}

const struct command status_command = {
	.name = "status",
	.synopsis = "[options]",
	.summary = "shows workloads, hooks, table fill, and all that is counted",
	.options = options,
	.arguments_size = sizeof(struct status_arguments),
	.run = status_run,
};
