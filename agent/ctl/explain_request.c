/* SPDX-License-Identifier: Apache-2.0 */
/* weft explain --to http://…: which route takes a request, why the others do not, and where it goes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/explain.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/bytes.h"
#include "base/cleanup.h"

static void add_span(struct buffer *text, const json_t *object, const char *member)
{
	char span[FORMAT_BYTES];

	buffer_add(text, json_is_integer(json_path(object, member)) ? format_member_span(object, member, span) : "none");
}

/* "15s (route 60s, listener 15s)": the lower of both ends. */
static void timeout_add(struct buffer *text, const json_t *request, const json_t *target, const char *member, const char *what)
{
	char path[32];

	snprintf(path, sizeof(path), "timeouts.%s", member);
	buffer_printf(text, "%s%s ", text->length ? ", " : "", what);
	add_span(text, target, path);
	buffer_add(text, " (route ");
	add_span(text, request, path);
	snprintf(path, sizeof(path), "listener.%s", member);
	buffer_add(text, ", listener ");
	add_span(text, target, path);
	buffer_add(text, ")");
}

/* Those of the target that was drawn; each may have others. */
static void timeouts_print(const json_t *request)
{
	const char *drawn = json_path_string(request, "target");
	_cleanup_(buffer_done) struct buffer text = {};

	for (size_t i = 0; drawn && i < json_path_count(request, "targets"); i++) {
		const json_t *target = json_path_at(request, "targets", i);
		const char *name = json_path_string(target, "target");

		if (text.length || !name || strcmp(name, drawn))
			continue;
		timeout_add(&text, request, target, "requestNs", "request");
		timeout_add(&text, request, target, "idleNs", "idle");
	}
	if (text.length)
		explain_line("time-outs", buffer_string(&text));
}

static void retry_print(const json_t *retry)
{
	_cleanup_(buffer_done) struct buffer text = {};
	const int64_t most = json_path_int(retry, "maxRetries", 0);
	char span[FORMAT_BYTES];

	if (!json_is_object(retry))
		return;
	if (!most) {
		explain_line("retries", "none");
		return;
	}
	buffer_printf(&text, "up to %lld%s for ", (long long)most, json_path_bool(retry, "default", false) ? " (the default policy)," : "");
	for (size_t i = 0; i < json_path_count(retry, "events"); i++)
		buffer_printf(&text, "%s%s", i ? ", " : "", json_string_value(json_path_at(retry, "events", i)));
	if (json_is_integer(json_object_get(retry, "tryTimeoutNs")))
		buffer_printf(&text, "; %s for each try", format_member_span(retry, "tryTimeoutNs", span));
	explain_line("retries", buffer_string(&text));
}

static void result_add(struct grid *grid, const json_t *route)
{
	const char *result = json_path_string(route, "result") ?: "?", *criterion = json_path_string(route, "criterion");
	const char *name = json_path_string(route, "name");

	if (!strcmp(result, "mismatch"))
		grid_printf(grid, "%s%s%s does not match", criterion ?: "?", name ? " " : "", name ?: "");
	else
		grid_add(grid, !strcmp(result, "not-tried") ? "not tried" : result);
}

/* Of the target that was drawn, where it is served on this node. */
static void pool_print(const json_t *request)
{
	const char *drawn = json_path_string(request, "target");

	for (size_t i = 0; drawn && i < json_path_count(request, "targets"); i++) {
		const json_t *target = json_path_at(request, "targets", i), *pool = json_object_get(target, "pool");
		const char *name = json_path_string(target, "target");
		char text[POOL_TEXT_BYTES];

		if (!json_is_object(pool) || !name || strcmp(name, drawn))
			continue;
		explain_line("pool", format_pool(pool, text));
		return;
	}
}

/* In order, with why each does not take the request; `title` says whose they are. */
static int routes_print(const json_t *request, const char *title)
{
	const struct grid_column columns[] = { { .title = title }, { "PRIORITY", true }, { .title = "RESULT" }, {} };
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(request, "routes"); i++) {
		const json_t *route = json_path_at(request, "routes", i);
		const char *own = json_path_string(route, "route");

		grid_add(&grid, own && *own ? format_member_name(route, "route", name) : "all to the virtual node");
		grid_add(&grid, format_member_count(route, "priority", text));
		result_add(&grid, route);
	}
	if (!grid_rows(&grid))
		return 0;
	printf("\n");
	return grid_print(&grid, stdout);
}

/* "unhealthy, used: too few are healthy"; "usable". */
static void fit_add(struct grid *grid, const json_t *endpoint, const json_t *target)
{
	const char *fit = json_path_string(endpoint, "fit") ?: "?";
	const bool used = json_path_bool(endpoint, "used", false), panic = json_path_bool(target, "panic", false);

	if (!strcmp(fit, "usable"))
		grid_add(grid, used ? "yes" : "no: of the other family");
	else if (!strcmp(fit, "elsewhere"))
		grid_add(grid, "no: in another namespace");
	else if (!strcmp(fit, "gone"))
		grid_add(grid, "no: gone");
	else if (used && panic)
		grid_printf(grid, "yes: %s, but too few are healthy", fit);
	else
		grid_printf(grid, "no: %s", fit);
}

static int targets_print(const json_t *request)
{
	static const struct grid_column columns[] = {
		{ .title = "TARGET" }, { "WEIGHT", true }, { "SHARE", true }, { .title = "ENDPOINT" }, { .title = "HEALTH" },
		{ .title = "MAY BE CHOSEN" }, { "ACTIVE", true }, { "EJECTED", true }, { .title = "ZONE" }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	char name[NAME_TEXT_BYTES], text[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(request, "targets"); i++) {
		const json_t *target = json_path_at(request, "targets", i);
		const size_t endpoints = json_path_count(target, "endpoints");
		const bool there = json_path_string(target, "target") != NULL;

		for (size_t n = 0; n == 0 || n < endpoints; n++) {
			const json_t *endpoint = json_path_at(target, "endpoints", n);

			grid_add(&grid, n ? " " : there ? format_member_name(target, "target", name) : json_path_string(target, "virtualNode"));
			grid_add(&grid, n ? " " : format_member_count(target, "weight", text));
			grid_add(&grid, n ? " " : format_share(json_number_value(json_object_get(target, "share")), text));
			grid_add(&grid, endpoints ? json_path_string(endpoint, "address") : there ? "none" : "no such virtual node");
			grid_add(&grid, json_path_string(endpoint, "health"));
			if (endpoints)
				fit_add(&grid, endpoint, target);
			else
				grid_add(&grid, NULL);
			grid_add(&grid, format_member_count(endpoint, "active", text));
			grid_add(&grid, format_member_span(endpoint, "ejectedForNs", text));
			grid_add(&grid, json_path_string(endpoint, "zone"));
		}
	}
	if (!grid_rows(&grid))
		return 0;
	printf("\n");
	return grid_print(&grid, stdout);
}

static void route_print(const json_t *request)
{
	char name[NAME_TEXT_BYTES];

	if (json_path_bool(request, "passes", false))
		explain_line("route", "none: Host names no backend, and the mesh lets it pass (ALLOW_ALL) to where it is connected to");
	else if (json_path_string(request, "route"))
		explain_line("route", format_member_name(request, "route", name));
	else if (json_path_count(request, "targets"))
		explain_line("route", "all to the virtual node");
	else
		explain_line("route", NULL);
}

/* Which of the gateway's routes, and what it makes of the request. */
static void gateway_print(const json_t *request, const json_t *gateway)
{
	const char *host = json_path_string(gateway, "host"), *query = json_path_string(request, "query");
	char name[NAME_TEXT_BYTES];

	if (!json_is_object(gateway))
		return;
	explain_line("gateway", format_member_name(gateway, "route", name));
	if (host)
		printf("%-12s %s%s%s, Host %s\n", "sent on as", json_path_string(gateway, "path") ?: "-", query ? "?" : "", query ?: "", host);
	if (json_path_string(request, "service"))
		explain_line("service", format_member_name(request, "service", name));
}

int explain_request_print(const json_t *answer)
{
	const json_t *request = json_object_get(answer, "request"), *reply = json_object_get(request, "reply");
	const json_t *gateway = json_object_get(request, "gateway");
	const char *query = json_path_string(request, "query"), *path = json_path_string(request, "path");
	char name[NAME_TEXT_BYTES];

	printf("%-12s %s %s%s%s, Host %s\n", "request", json_path_string(answer, "method") ?: "-", path ?: "(no path)", query ? "?" : "",
	       query ?: "", json_path_string(request, "host") ?: "-");
	if (json_path_bool(request, "byHost", false))
		printf("%-12s Host names %s, which counts\n", "", format_member_name(request, "service", name));
	gateway_print(request, gateway);
	route_print(request);
	if (json_is_object(reply))
		printf("%-12s %s%lld %s%s: %s\n", "reply", style(stdout, STYLE_BAD), (long long)json_path_int(reply, "status", 0),
		       json_path_string(reply, "name") ?: "?", style(stdout, STYLE_PLAIN), json_path_string(reply, "text") ?: "-");
	explain_line("target", format_member_name(request, "target", name));
	explain_line("endpoint", json_path_string(request, "endpoint"));
	retry_print(json_object_get(request, "retry"));
	timeouts_print(request);
	pool_print(request);
	if (routes_print(gateway, "GATEWAY ROUTE") < 0 || routes_print(request, "ROUTE") < 0 || targets_print(request) < 0)
		return -ENOMEM;
	return explain_distribution_print(request, "requests");
}
