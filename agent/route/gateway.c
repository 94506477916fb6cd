/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/route/route.h"
#include "agent/spec/field.h"
#include "agent/spec/kind.h"
#include "base/cleanup.h"

struct gateway_route *gateway_route_free(struct gateway_route *route)
{
	if (!route)
		return NULL;
	route_match_done(&route->match);
	free((char *)route->hostname.text.data);
	free(route->virtual_service);
	free(route->path_text);
	free(route->name);
	free(route);
	return NULL;
}

static void cleanup_route(struct gateway_route **route)
{
	gateway_route_free(*route);
}

static int hostname_read(struct gateway_route *route, const json_t *match)
{
	const char *exact = json_path_string(match, "hostname.exact"), *suffix = json_path_string(match, "hostname.suffix");
	char *text;

	if (!exact && !suffix)
		return 0;
	text = strdup(exact ?: suffix);
	if (!text)
		return -ENOMEM;
	route->hostname.test = exact ? ROUTE_TEST_EXACT : ROUTE_TEST_SUFFIX;
	route->hostname.text = span_of(text);
	return 0;
}

static bool is_disabled(const json_t *rewrite, const char *member)
{
	const char *value = json_path_string(rewrite, member);

	return value && !strcmp(value, "DISABLED");
}

/* Without a word a matched prefix becomes "/", and every other path stays. */
static int rewrite_read(struct gateway_route *route, const json_t *match, const json_t *rewrite)
{
	const char *value = json_path_string(rewrite, "prefix.value"), *whole = json_path_string(rewrite, "path.exact");
	const char *prefix = json_path_string(match, "prefix");

	route->host_kept = is_disabled(rewrite, "hostname.defaultTargetHostname");
	if (route->match.grpc)
		return 0;
	if (whole)
		route->path = GATEWAY_PATH_WHOLE;
	else if (prefix && strcmp(prefix, "/") && !is_disabled(rewrite, "prefix.defaultPrefix"))
		route->path = GATEWAY_PATH_PREFIX;
	else if (prefix && value)
		route->path = GATEWAY_PATH_PREFIX;
	if (route->path == GATEWAY_PATH_KEPT)
		return 0;
	route->path_text = strdup(whole ?: value ?: "/");
	return route->path_text ? 0 : -ENOMEM;
}

int gateway_route_new(const char *name, const json_t *spec, struct gateway_route **ret_route, struct error *err)
{
	_cleanup_(cleanup_route) struct gateway_route *route = calloc(1, sizeof(*route));
	const struct route_protocol *protocol;
	const json_t *json, *match;
	int r;

	if (!route)
		return error_set(err, -ENOMEM, "out of memory");
	r = route_protocol_find(spec, &protocol, err);
	if (r < 0)
		return r;
	json = json_object_get(spec, protocol->member);
	match = json_object_get(json, "match");
	r = route_match_init(&route->match, match, protocol->protocol, FIELD("spec.%s.match", protocol->member), err);
	if (r < 0)
		return r;
	route->priority = json_path_int(spec, "priority", ROUTE_PRIORITY_NONE);
	route->target_port = json_path_int(json, "action.target.port", 0);
	route->name = strdup(name);
	route->virtual_service = strdup(json_path_string(json, "action.target.virtualService.virtualServiceName"));
	if (!route->name || !route->virtual_service || hostname_read(route, match) < 0 ||
	    rewrite_read(route, match, json_path(json, "action.rewrite")) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	*ret_route = TAKE_PTR(route);
	return 0;
}

/* Host without its port: "example.com:8080", "[::1]:8080". */
static struct span host_of(struct span authority)
{
	const char *colon = authority.length ? memrchr(authority.data, ':', authority.length) : NULL;

	if (!colon || memchr(colon, ']', authority.data + authority.length - colon))
		return authority;
	return (struct span){ authority.data, colon - authority.data };
}

static bool hostname_holds(const struct route_value_test *hostname, struct span host)
{
	const struct span text = hostname->text;

	if (hostname->test == ROUTE_TEST_PRESENT)
		return true;
	if (hostname->test == ROUTE_TEST_EXACT)
		return span_equal_nocase(host, text);
	return host.length > text.length &&
	       span_equal_nocase((struct span){ host.data + host.length - text.length, text.length }, text);
}

struct route_mismatch gateway_route_test(const struct gateway_route *route, const struct route_request *request)
{
	if (!hostname_holds(&route->hostname, host_of(request->authority)))
		return (struct route_mismatch){ ROUTE_HOSTNAME, NULL };
	return route_match_test(&route->match, request);
}

/* --- tables ------------------------------------------------------------------------------------------------------------------- */

void gateway_table_done(struct gateway_table *table)
{
	for (size_t i = 0; i < table->routes.count; i++)
		gateway_route_free(table->routes.items[i]);
	ordered_done(&table->routes);
}

static size_t hostname_rank(const struct route_value_test *hostname)
{
	return hostname->test == ROUTE_TEST_EXACT ? SIZE_MAX : hostname->text.length;
}

static int order(const void *left, const void *right)
{
	const struct gateway_route *a = left, *b = right;
	const size_t rank_a = hostname_rank(&a->hostname), rank_b = hostname_rank(&b->hostname);

	if (rank_a != rank_b)
		return rank_a > rank_b ? -1 : 1;
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return route_match_order(&a->match, &b->match) ?: strcmp(a->name, b->name);
}

int gateway_table_add(struct gateway_table *table, struct gateway_route *route)
{
	return ordered_insert(&table->routes, route, order);
}

const struct gateway_route *gateway_table_find(const struct gateway_table *table, const struct route_request *request)
{
	for (size_t i = 0; i < table->routes.count; i++) {
		const struct gateway_route *route = table->routes.items[i];

		if (gateway_route_test(route, request).criterion == ROUTE_MATCHES)
			return route;
	}
	return NULL;
}

/* --- rewriting ---------------------------------------------------------------------------------------------------------------- */

int gateway_route_rewrite(const struct gateway_route *route, const struct route_request *request, struct buffer *buffer,
			  struct span *ret_path)
{
	const struct span path = request->path;
	const char *text = route->path_text;
	size_t cut;

	switch (route->path) {
	case GATEWAY_PATH_KEPT:
		*ret_path = path;
		return 0;
	case GATEWAY_PATH_WHOLE:
		*ret_path = span_of(text);
		return 0;
	case GATEWAY_PATH_PREFIX:
		break;
	}
	cut = route->match.path.text.length;
	/* "/chapter" of "/chapter/x" becomes "/": no second slash behind it */
	if (cut < path.length && path.data[cut] == '/' && text[strlen(text) - 1] == '/')
		cut++;
	buffer_clear(buffer);
	buffer_add(buffer, text);
	buffer_append(buffer, path.data + cut, path.length - cut);
	if (buffer_failed(buffer))
		return -ENOMEM;
	*ret_path = (struct span){ buffer->data, buffer->length };
	return 0;
}
