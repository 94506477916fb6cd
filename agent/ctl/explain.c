/* SPDX-License-Identifier: Apache-2.0 */
/* weft explain: what the kernel decides for a connection, and weft-proxy for a request, and why. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/explain.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "agent/http/url.h"
#include "base/cleanup.h"

struct explain_arguments {
	struct ctl ctl;
	const char *from;
	const char *to;
	const char *generation;
	const char *method;
	struct option_strings headers;
	uint32_t count;
	bool ipv6;
};
static const struct option options[] = {
	{ .name = "from", .type = OPTION_STRING, .offset = OPTION(struct explain_arguments, from), .argument = "NODE",
	  .required = true, .help = "who asks: mesh/M/virtualNode/N, or a virtual gateway" },
	{ .name = "to", .type = OPTION_STRING, .offset = OPTION(struct explain_arguments, to), .argument = "HOST:PORT",
	  .required = true, .help = "for whom: a virtual service, its address, or any other address; or http://HOST:PORT/PATH, for a request" },
	{ .name = "method", .letter = 'X', .type = OPTION_STRING, .offset = OPTION(struct explain_arguments, method), .argument = "METHOD",
	  .help = "of the request (default: GET)" },
	{ .name = "header", .letter = 'H', .type = OPTION_STRINGS, .offset = OPTION(struct explain_arguments, headers),
	  .argument = "'NAME: VALUE'", .whole = true, .help = "of the request; may be given several times" },
	{ .name = "count", .type = OPTION_U32, .offset = OPTION(struct explain_arguments, count), .argument = "N", .min = 1,
	  .max = 8000000, .help = "decide N times, and show the distribution (of requests: 100000 at most)" },
	{ .name = "ipv6", .type = OPTION_FLAG, .offset = OPTION(struct explain_arguments, ipv6),
	  .help = "for a name: ask for its IPv6 address" },
	{ .name = "generation", .type = OPTION_STRING, .offset = OPTION(struct explain_arguments, generation), .argument = "G",
	  .help = "of an earlier generation that is still kept" },
	CTL_OPTIONS
};

static enum style verdict_style(const char *verdict)
{
	if (!strcmp(verdict, "refuse") || !strcmp(verdict, "deny"))
		return STYLE_BAD;
	return !strcmp(verdict, "route") ? STYLE_GOOD : STYLE_WARN;
}

void explain_line(const char *label, const char *text)
{
	printf("%-12s %s\n", label, text ?: "-");
}

/* What the route offers, or each of several: weights, and the endpoints behind each. */
static int targets_print(const json_t *answer)
{
	static const struct grid_column columns[] = {
		{ .title = "ROUTE" },  { .title = "TARGET" }, { "WEIGHT", true }, { "SHARE", true }, { .title = "ENDPOINT" },
		{ .title = "HEALTH" }, { "EJECTED", true },   { "OPEN", true },   { .title = "ZONE" }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "targets"); i++) {
		const json_t *target = json_path_at(answer, "targets", i);
		const size_t endpoints = json_path_count(target, "endpoints");

		for (size_t n = 0; n == 0 || n < endpoints; n++) {
			const json_t *endpoint = json_path_at(target, "endpoints", n);

			grid_add(&grid, n ? " " : json_path_string(target, "route"));
			grid_add(&grid, n ? " " : format_member_name(target, "target", name));
			grid_add(&grid, n ? " " : format_member_count(target, "weight", text));
			grid_add(&grid, n ? " " : format_share(json_number_value(json_object_get(target, "share")), text));
			grid_add(&grid, endpoints ? json_path_string(endpoint, "address") : "none");
			grid_add(&grid, json_path_string(endpoint, "health"));
			grid_add(&grid, format_member_span(endpoint, "ejectedForNs", text));
			grid_add(&grid, format_member_count(endpoint, "open", text));
			grid_add(&grid, json_path_string(endpoint, "zone"));
		}
	}
	if (!grid_rows(&grid))
		return 0;
	printf("\n");
	return grid_print(&grid, stdout);
}

/* Where zones make a difference: what each gets as things stand, the callers' own first. */
static int zones_print(const json_t *answer)
{
	static const struct grid_column columns[] = {
		{ .title = "TARGET" }, { .title = "ZONE" }, { "ENDPOINTS", true }, { "USABLE", true }, { "SHARE", true }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "targets"); i++) {
		const json_t *target = json_path_at(answer, "targets", i);

		for (size_t z = 0; z < json_path_count(target, "zones"); z++) {
			const json_t *zone = json_path_at(target, "zones", z);

			grid_add(&grid, z ? " " : format_member_name(target, "target", name));
			grid_add(&grid, json_path_string(zone, "zone"));
			grid_add(&grid, format_member_count(zone, "endpoints", text));
			grid_add(&grid, format_member_count(zone, "usable", text));
			grid_add(&grid, format_share(json_number_value(json_object_get(zone, "share")), text));
		}
	}
	if (!grid_rows(&grid))
		return 0;
	printf("\n");
	return grid_print(&grid, stdout);
}

static int by_count(const void *a, const void *b)
{
	const int64_t x = json_path_int(*(json_t *const *)a, "count", 0), y = json_path_int(*(json_t *const *)b, "count", 0);

	return x < y ? 1 : x > y ? -1 : 0;
}

int explain_distribution_print(const json_t *object, const char *what)
{
	static const struct grid_column columns[] = {
		{ .title = "TARGET" }, { .title = "ENDPOINT" }, { .title = "REASON" }, { "COUNT", true }, { "SHARE", true }, {},
	};
	const double total = (double)json_path_int(object, "count", 0);
	const size_t count = json_path_count(object, "distribution");
	_cleanup_(grid_done) struct grid grid;
	_cleanup_free_ json_t **outcomes = calloc(count + 1, sizeof(*outcomes));
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	if (!total)
		return 0;
	if (!outcomes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		outcomes[i] = json_path_at(object, "distribution", i);
	qsort(outcomes, count, sizeof(*outcomes), by_count);
	for (size_t i = 0; i < count; i++) {
		const json_t *outcome = outcomes[i];

		grid_add(&grid, format_member_name(outcome, "target", name));
		grid_add(&grid, json_path_string(outcome, "endpoint"));
		grid_add(&grid, json_path_string(outcome, "reason"));
		grid_add(&grid, format_member_count(outcome, "count", text));
		grid_add(&grid, format_share((double)json_path_int(outcome, "count", 0) / total, text));
	}
	printf("\n%.0f %s:\n", total, what);
	return grid_print(&grid, stdout);
}

/* Where the kernel alone decides, or nobody further. */
static int connection_print(const json_t *answer)
{
	char name[NAME_TEXT_BYTES];

	explain_line("route", format_member_name(answer, "route", name));
	if (json_path_bool(answer, "l7AsL4", false))
		explain_line("", "l7-as-l4: an HTTP or gRPC route of weights only, balanced per connection");
	if (json_path_bool(answer, "proxied", false))
		explain_line("", "weft-proxy chooses a route, a target and an endpoint for each request: ask for http://HOST:PORT/PATH");
	explain_line("target", format_member_name(answer, "target", name));
	printf("%-12s %s%s\n", "endpoint", json_path_string(answer, "endpoint") ?: "-",
	       json_path_bool(answer, "panic", false) ? " (panic: too few are healthy, so all of them are used)" : "");
	if (targets_print(answer) < 0 || zones_print(answer) < 0)
		return -ENOMEM;
	return explain_distribution_print(answer, "decisions");
}

static int answer_print(const json_t *answer)
{
	const char *verdict = json_path_string(answer, "verdict") ?: "?", *note = json_path_string(answer, "note");
	const char *to = json_path_string(answer, "url") ?: json_path_string(answer, "to") ?: "-";
	const char *destination = json_path_string(answer, "destination") ?: "-";
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	explain_line("from", format_member_name(answer, "from", name));
	if (!json_path_string(answer, "verdict")) { /* to a virtual gateway: nobody decides the connection */
		explain_line("to", to);
		explain_line("generation", format_member_count(answer, "generation", text));
		return json_is_object(json_object_get(answer, "request")) ? explain_request_print(answer) : 0;
	}
	printf(strcmp(to, destination) ? "%-12s %s (%s)\n" : "%-12s %s\n", "to", to, destination);
	explain_line("service", format_member_name(answer, "service", name));
	printf("%-12s %s%s%s: %s (%s)\n", "verdict", style(stdout, verdict_style(verdict)), verdict, style(stdout, STYLE_PLAIN),
	       json_path_string(answer, "reason") ?: "?", json_path_string(answer, "text") ?: "-");
	if (json_path_bool(answer, "audit", false))
		explain_line("policy", "audit mode: what would be refused is routed, and counted");
	if (note && !json_is_object(json_object_get(answer, "request")))
		explain_line("note", note);
	explain_line("generation", format_member_count(answer, "generation", text));
	if (json_is_object(json_object_get(answer, "request")))
		return explain_request_print(answer);
	if (json_path_string(answer, "url") && !json_path_bool(answer, "proxied", false))
		explain_line("request", "none is looked at: what is decided for the connection holds for all of it");
	return connection_print(answer);
}

/* "name: value" */
static int header_json(const char *text, json_t **ret_header, struct error *err)
{
	const char *colon = strchr(text, ':'), *value = colon ? colon + 1 + strspn(colon + 1, " \t") : NULL;

	if (!colon)
		return error_set_field(err, -EINVAL, "--header", "'%s' is not NAME: VALUE", text);
	*ret_header = json_pack("{s:s%, s:s}", "name", text, (size_t)(colon - text), "value", value);
	return *ret_header ? 0 : error_set_field(err, -EINVAL, "--header", "'%s' is no UTF-8", text);
}

static int ask_for_request(const struct explain_arguments *a, json_t **ret_answer, struct error *err)
{
	_cleanup_json_ json_t *body = json_pack("{s:s, s:s, s:s, s:[], s:I, s:i}", "from", a->from, "to", a->to, "method", a->method ?: "GET",
						"headers", "count", (json_int_t)a->count, "family", a->ipv6 ? 6 : 4);

	if (a->generation)
		return error_set_field(err, -EINVAL, "--generation", "is for connections: of requests, what is in force can be asked for");
	for (size_t i = 0; i < a->headers.count; i++) {
		json_t *header;
		int r = header_json(a->headers.values[i], &header, err);

		if (r < 0)
			return r;
		json_array_append_new(json_object_get(body, "headers"), header);
	}
	return client_call(&a->ctl, "POST", "/v1/explain", NULL, body, ret_answer, err);
}

static int ask_for_connection(const struct explain_arguments *a, json_t **ret_answer, struct error *err)
{
	char count[16];
	const struct parameter parameters[] = {
		{ "from", a->from }, { "to", a->to }, { "count", a->count ? count : NULL },
		{ "generation", a->generation }, { "family", a->ipv6 ? "6" : NULL }, {},
	};

	if (a->method || a->headers.count)
		return error_set_field(err, -EINVAL, a->method ? "--method" : "--header", "is for requests: --to http://HOST:PORT/PATH");
	snprintf(count, sizeof(count), "%" PRIu32, a->count);
	return client_call(&a->ctl, "GET", "/v1/explain", parameters, NULL, ret_answer, err);
}

static int explain_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct explain_arguments *a = arguments;
	_cleanup_json_ json_t *answer = NULL;
	const char *trouble;
	struct error err = {};
	int r = url_is(a->to) ? ask_for_request(a, &answer, &err) : ask_for_connection(a, &answer, &err);

	if (r < 0)
		return ctl_fail(&err);
	trouble = json_path_string(answer, "requestError");
	if (a->ctl.json)
		ctl_print_json(answer);
	else if (answer_print(answer) < 0)
		trouble = "out of memory";
	if (!trouble)
		return EXIT_SUCCESS;
	error_set(&err, -EIO, "%s", trouble);
	return ctl_fail(&err);
}

const struct command explain_command = {
	.name = "explain",
	.synopsis = "--from NODE --to HOST:PORT | URL [options]",
	.summary = "asks what is decided for a connection or a request, and why",
	.more = "\nThe kernel's own decision code answers for a connection, on the state that is in force; for a request weft-proxy's matcher goes\n"
		"on where the kernel hands it over: which route takes it, and why the others do not. From a virtual gateway a request is one that\n"
		"comes to it from outside, at the port of the URL and with its host. Nothing is connected or sent.",
	.options = options,
	.arguments_size = sizeof(struct explain_arguments),
	.run = explain_run,
};
