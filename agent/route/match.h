/* SPDX-License-Identifier: Apache-2.0 */
/* What a request must be like for a route, or a gateway route, to take it (App Mesh API: HttpRouteMatch, GrpcRouteMatch,
 * HttpGatewayRouteMatch, GrpcGatewayRouteMatch). All that is given must hold. A gateway route's hostname is gateway.h's. Any thread once
 * made. */
#pragma once

#include <stdint.h>

#include "agent/route/request.h"
#include "base/json.h"
#include "base/regex.h"

/* Why a request is not meant: the first criterion, in this order, that does not hold. */
enum route_criterion {
	ROUTE_MATCHES,
	ROUTE_PORT,
	ROUTE_METHOD,
	ROUTE_SCHEME,
	ROUTE_PATH,
	ROUTE_GRPC, /* content-type is not application/grpc */
	ROUTE_QUERY, /* `name` says which parameter */
	ROUTE_HEADER, /* `name` says which header, or metadata */
	ROUTE_HOSTNAME, /* of gateway routes */
};
const char *route_criterion_name(enum route_criterion criterion); /* "path", "query parameter" */

struct route_mismatch {
	enum route_criterion criterion;
	const char *name; /* borrowed from the match; NULL: there is but one */
};

enum route_test { /* of a path or a value */
	ROUTE_TEST_PRESENT,
	ROUTE_TEST_EXACT,
	ROUTE_TEST_PREFIX,
	ROUTE_TEST_SUFFIX,
	ROUTE_TEST_REGEX, /* the whole value, whatever the API's own note says of "include" */
	ROUTE_TEST_RANGE, /* an integer, start <= value < end */
};

struct route_value_test {
	enum route_test test;
	bool invert; /* an absent value passes every inverted test, as in Envoy */
	struct span text;
	struct regex *regex;
	int64_t start, end;
	char *name; /* of the header or parameter */
};

struct route_match {
	uint16_t port; /* 0: any */
	char *method, *scheme; /* NULL: any */
	bool grpc;
	struct route_value_test path;
	struct route_value_test *queries, *headers;
	size_t query_count, header_count;
};

/* `match`, checked by spec, is borrowed during the call; `protocol` is "http", "http2" or "grpc". -EINVAL: a regular expression is
 * none; `field` (of `match`) is where it is looked for: "spec.httpRoute.match". -ENOMEM. */
int route_match_init(struct route_match *match, const json_t *json, const char *protocol, const char *field, struct error *err);
void route_match_done(struct route_match *match);

/* Header values that are there more than once are joined by commas, up to ROUTE_JOINED_BYTES; beyond that they do not match. */
#define ROUTE_JOINED_BYTES 8192
struct route_mismatch route_match_test(const struct route_match *match, const struct route_request *request);

/* For the order of routes: an exact path before a prefix or a regex of the same length, longer ones first. Negative: `a` first. */
int route_match_order(const struct route_match *a, const struct route_match *b);
