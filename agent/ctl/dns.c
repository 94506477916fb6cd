/* SPDX-License-Identifier: Apache-2.0 */
/* weft dns: who answers the names that workloads ask for, and with what. */
#include "agent/ctl/dns.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"
#include "maps/abi/proxy.h"

struct dns_arguments {
	struct ctl ctl;
	const char *from;
	uint32_t last;
};
static const struct option options[] = {
	{ .name = "from", .type = OPTION_STRING, .offset = OPTION(struct dns_arguments, from), .argument = "NODE",
	  .help = "who asks: mesh/M/virtualNode/N, or a virtual gateway" },
	{ .name = "last", .type = OPTION_U32, .offset = OPTION(struct dns_arguments, last), .argument = "N", .min = 1, .max = 4096,
	  .help = "the last N queries" },
	CTL_OPTIONS
};

static const struct {
	const char *name, *text;
} outcomes[] = {
#define X(symbol, name, text) { name, text },
	DNS_OUTCOMES(X)
#undef X
};

static enum style outcome_style(const char *outcome)
{
	static const char *const usual[] = { "answered", "nodata", "forwarded" };

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (!strcmp(outcome, usual[i]))
			return STYLE_GOOD;
	return STYLE_WARN;
}

/* What of an answer did not fit into weft-proxy's message. */
static void left_out_print(const json_t *answer, FILE *to)
{
	json_t *left_out = json_object_get(answer, "leftOut"), *value;
	const char *name;

	json_object_foreach(left_out, name, value)
		fprintf(to, "left out for want of room: %" JSON_INTEGER_FORMAT " %s\n", json_integer_value(value), name);
}

/* ---- the responder ---- */

static void proxy_print(const json_t *proxy, FILE *to)
{
	const char *state = json_path_string(proxy, "state") ?: "?", *end = json_path_string(proxy, "lastEnd");
	char pid[FORMAT_BYTES], beat[FORMAT_BYTES], restarts[FORMAT_BYTES];

	fprintf(to, "%-12s %s%s%s, version %s, process %s, since %s\n", "weft-proxy",
		style(to, !strcmp(state, "running") ? STYLE_GOOD : STYLE_WARN), state, style(to, STYLE_PLAIN),
		json_path_string(proxy, "version") ?: "-", format_member_count(proxy, "pid", pid),
		json_path_string(proxy, "startedAt") ?: "-");
	fprintf(to, "%-12s heartbeat %s ago, restarts %s%s%s\n", "", format_member_span(proxy, "beatAgeNs", beat),
		format_member_count(proxy, "restarts", restarts), end ? ", the last one " : "", end ?: "");
}

static int outcomes_print(const json_t *counts, FILE *to)
{
	static const struct grid_column columns[] = { { .title = "OUTCOME" }, { "QUERIES", true }, { .title = "MEANING" }, {} };
	_cleanup_(grid_done) struct grid grid;
	char text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		if (json_path_int(counts, outcomes[i].name, 0) == 0)
			continue;
		grid_add(&grid, outcomes[i].name);
		grid_add(&grid, format_member_count(counts, outcomes[i].name, text));
		grid_add(&grid, outcomes[i].text);
	}
	fprintf(to, grid_rows(&grid) ? "\nqueries by outcome:\n" : "\nno queries yet\n");
	return grid_rows(&grid) ? grid_print(&grid, to) : 0;
}

static int reasons_print(const json_t *answer, FILE *to)
{
	static const struct grid_column columns[] = {
		{ .title = "FROM" }, { .title = "REASON" }, { "COUNT", true }, { .title = "MEANING" }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "reasons"); i++) {
		const json_t *reason = json_path_at(answer, "reasons", i);

		grid_add(&grid, format_member_name(reason, "from", name));
		grid_add(&grid, json_path_string(reason, "reason"));
		grid_add(&grid, format_member_count(reason, "count", text));
		grid_add(&grid, json_path_string(reason, "text"));
	}
	if (!grid_rows(&grid))
		return 0;
	fprintf(to, "\nqueries past weft-proxy:\n");
	return grid_print(&grid, to);
}

static bool acts_in(const json_t *workload, const json_t *place)
{
	const char *node = json_path_string(workload, "node"), *place_node = json_path_string(place, "node");

	return json_path_int(workload, "netnsCookie", -1) == json_path_int(place, "netnsCookie", -2) && node && place_node &&
	       !strcmp(node, place_node);
}

/* "3, 5": the workloads of a place. */
static const char *workloads_of(const json_t *answer, const json_t *place, char *buffer, size_t size)
{
	size_t length = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < json_path_count(answer, "workloads") && length < size; i++) {
		const json_t *workload = json_path_at(answer, "workloads", i);

		if (acts_in(workload, place))
			length += (size_t)snprintf(buffer + length, size - length, "%s%" PRId64, length ? ", " : "",
						   json_path_int(workload, "workload", 0));
	}
	if (length >= size)
		strcpy(buffer + size - sizeof("..."), "...");
	return buffer;
}

static int places_print(const json_t *answer, FILE *to)
{
	static const struct grid_column columns[] = {
		{ .title = "VIRTUAL NODE" }, { "NETNS COOKIE", true }, { .title = "WORKLOADS" }, { .title = "RESOLVER" },
		{ .title = "ASKED AT" },     { "QUERIES", true },      { "UNDER WAY", true },	 { .title = "PROBLEM" },
		{},
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES], workloads[64];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "places"); i++) {
		const json_t *place = json_path_at(answer, "places", i);
		const size_t resolvers = json_path_count(place, "resolvers");

		for (size_t n = 0; n == 0 || n < resolvers; n++) {
			const json_t *resolver = json_path_at(place, "resolvers", n);

			grid_add(&grid, n ? " " : format_member_name(place, "node", name));
			grid_add(&grid, n ? " " : format_member_count(place, "netnsCookie", text));
			grid_add(&grid, n ? " " : workloads_of(answer, place, workloads, sizeof(workloads)));
			grid_add(&grid, resolvers ? json_path_string(resolver, "resolver") : "none");
			grid_add(&grid, json_path_string(resolver, "address"));
			grid_add(&grid, format_member_count(resolver, "queries", text));
			grid_add(&grid, format_member_count(resolver, "underWay", text));
			grid_add(&grid, json_path_string(resolver, "reason"));
		}
	}
	fprintf(to, "\nresolvers of workloads: %zu\n", grid_rows(&grid));
	return grid_rows(&grid) ? grid_print(&grid, to) : 0;
}

static void notes_print(const json_t *answer, FILE *to)
{
	static const struct {
		const char *member, *text;
	} bypasses[] = {
		{ "nscd", "a name service cache daemon answers its look-ups, and asks resolvers for it: not as this workload" },
		{ "nssResolve", "its nsswitch.conf asks systemd-resolved by a socket, which weft does not see" },
	};

	for (size_t i = 0; i < json_path_count(answer, "workloads"); i++) {
		const json_t *workload = json_path_at(answer, "workloads", i);
		const int64_t id = json_path_int(workload, "workload", 0), left_out = json_path_int(workload, "leftOut", 0);

		for (size_t n = 0; n < ARRAY_SIZE(bypasses); n++)
			if (json_path_bool(workload, bypasses[n].member, false))
				fprintf(to, "%sworkload %" PRId64 "%s: %s\n", style(to, STYLE_WARN), id, style(to, STYLE_PLAIN),
					bypasses[n].text);
		if (left_out)
			fprintf(to, "%sworkload %" PRId64 "%s: %" PRId64 " nameserver lines of its resolv.conf are left out: link-local "
				"addresses, no addresses, or more than 8\n", style(to, STYLE_WARN), id, style(to, STYLE_PLAIN), left_out);
	}
}

int dns_print_responder(const json_t *answer, FILE *to)
{
	proxy_print(json_object_get(answer, "proxy"), to);
	if (outcomes_print(json_object_get(answer, "outcomes"), to) < 0 || reasons_print(answer, to) < 0 || places_print(answer, to) < 0)
		return -ENOMEM;
	notes_print(answer, to);
	left_out_print(answer, to);
	return 0;
}

/* ---- one name ---- */

static void line(FILE *to, const char *label, const char *text)
{
	fprintf(to, "%-12s %s\n", label, text ?: "-");
}

/* Whether an earlier namespace has the same resolver with the same problem, or none: a person needs it once. */
static bool told_before(const json_t *answer, size_t index)
{
	const json_t *resolver = json_path_at(answer, "resolvers", index);

	for (size_t i = 0; i < index; i++) {
		const json_t *earlier = json_path_at(answer, "resolvers", i);

		if (json_equal(json_object_get(earlier, "resolver"), json_object_get(resolver, "resolver")) &&
		    !strcmp(json_path_string(earlier, "reason") ?: "", json_path_string(resolver, "reason") ?: ""))
			return true;
	}
	return false;
}

int dns_print_lookup(const json_t *answer, FILE *to)
{
	const char *reason = json_path_string(answer, "reason") ?: "?", *bypass = json_path_string(answer, "bypass");
	const size_t resolvers = json_path_count(answer, "resolvers");
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	line(to, "from", format_member_name(answer, "from", name));
	line(to, "name", json_path_string(answer, "name"));
	line(to, "source", json_path_string(answer, "source"));
	fprintf(to, "%-12s %s%s%s: %s\n", "outcome", style(to, outcome_style(reason)), reason, style(to, STYLE_PLAIN),
		json_path_string(answer, "text") ?: "-");
	line(to, "service", format_member_name(answer, "service", name));
	line(to, "A", json_path_string(answer, "v4"));
	line(to, "AAAA", json_path_string(answer, "v6"));
	line(to, "TTL", format_member_count(answer, "ttlSeconds", text));
	for (size_t i = 0; i < resolvers; i++) {
		const json_t *resolver = json_path_at(answer, "resolvers", i);
		const char *problem = json_path_string(resolver, "reason");

		if (told_before(answer, i))
			continue;
		fprintf(to, "%-12s %s%s%s%s\n", i ? "" : "resolvers", json_path_string(resolver, "resolver") ?: "-",
			problem ? " (past weft: " : "", problem ?: "", problem ? ")" : "");
	}
	if (!resolvers && !bypass)
		line(to, "resolvers", "none known: no process of the node's workloads was seen yet");
	if (bypass)
		fprintf(to, "%-12s %s%s%s\n", "note", style(to, STYLE_WARN), bypass, style(to, STYLE_PLAIN));
	return 0;
}

/* ---- the last queries ---- */

int dns_print_queries(const json_t *answer, FILE *to)
{
	static const struct grid_column columns[] = {
		{ .title = "TIME" },	{ .title = "FROM" },	 { .title = "NAME" }, { .title = "TYPE" }, { .title = "RESOLVER" },
		{ .title = "BY" }, { .title = "OUTCOME" }, { .title = "RCODE" }, { "TOOK", true }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "queries"); i++) {
		const json_t *query = json_path_at(answer, "queries", i);

		grid_add(&grid, json_path_string(query, "time"));
		grid_add(&grid, format_member_name(query, "node", name));
		grid_add(&grid, json_path_string(query, "name"));
		grid_add(&grid, json_path_string(query, "type"));
		grid_add(&grid, json_path_string(query, "resolver"));
		grid_add(&grid, json_path_string(query, "transport"));
		grid_add(&grid, json_path_string(query, "outcome"));
		grid_add(&grid, json_path_string(query, "rcode"));
		grid_add(&grid, format_member_span(query, "ns", text));
	}
	left_out_print(answer, to);
	if (!grid_rows(&grid)) {
		fprintf(to, "no queries\n");
		return 0;
	}
	return grid_print(&grid, to);
}

/* ---- the command ---- */

static int check(const struct dns_arguments *a, const char *name, struct error *err)
{
	if (name && a->last)
		return error_set_field(err, -EINVAL, "--last", "is for queries of any name: leave '%s' out", name);
	if (name && !a->from)
		return error_set_field(err, -EINVAL, "--from", "missing: the answer depends on who asks");
	if (a->from && !name && !a->last)
		return error_set_field(err, -EINVAL, "--from", "goes with a name, or with --last");
	return 0;
}

static int dns_run(const void *arguments, const struct words *words)
{
	const struct dns_arguments *a = arguments;
	const char *name = words->count ? words->values[0] : NULL;
	char limit[16];
	const struct parameter parameters[] = { { "from", a->from }, { "name", name }, { "limit", a->last ? limit : NULL }, {} };
	int (*print)(const json_t *answer, FILE *to) = name ? dns_print_lookup : a->last ? dns_print_queries : dns_print_responder;
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};

	snprintf(limit, sizeof(limit), "%" PRIu32, a->last);
	if (check(a, name, &err) < 0 ||
	    client_call(&a->ctl, "GET", a->last ? "/v1/dns/queries" : "/v1/dns", parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	return ctl_printed(print(answer, stdout));
}

const struct command dns_command = {
	.name = "dns",
	.synopsis = "[NAME --from NODE | --last N [--from NODE]] [options]",
	.summary = "shows who answers names for workloads, what a name means to one of them, and the last queries",
	.more = "\nWithout NAME: the responder, each workload's resolvers, and how queries ended. With NAME: what a workload of the\n"
		"node gets, from where, and why; nobody is asked.",
	.options = options,
	.arguments_size = sizeof(struct dns_arguments),
	.words_max = 1,
	.run = dns_run,
};
