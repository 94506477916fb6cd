/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/route/match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spec/field.h"
#include "base/cleanup.h"

static const char *const criterion_names[] = {
	[ROUTE_MATCHES] = "matches",	[ROUTE_PORT] = "port",	     [ROUTE_METHOD] = "method",
	[ROUTE_SCHEME] = "scheme",	[ROUTE_PATH] = "path",	     [ROUTE_GRPC] = "content-type",
	[ROUTE_QUERY] = "query parameter", [ROUTE_HEADER] = "header", [ROUTE_HOSTNAME] = "hostname",
};

const char *route_criterion_name(enum route_criterion criterion)
{
	return criterion_names[criterion];
}

/* --- made from JSON ----------------------------------------------------------------------------------------------------------- */

static void test_done(struct route_value_test *test)
{
	free((char *)test->text.data);
	regex_free(test->regex);
	free(test->name);
}

void route_match_done(struct route_match *match)
{
	free(match->method);
	free(match->scheme);
	test_done(&match->path);
	for (size_t i = 0; i < match->query_count; i++)
		test_done(&match->queries[i]);
	for (size_t i = 0; i < match->header_count; i++)
		test_done(&match->headers[i]);
	free(match->queries);
	free(match->headers);
	*match = (struct route_match){};
}

/* The first member of `json` that is one of these is the test. */
static const struct {
	const char *member;
	enum route_test test;
} tests[] = {
	{ "exact", ROUTE_TEST_EXACT }, { "prefix", ROUTE_TEST_PREFIX }, { "suffix", ROUTE_TEST_SUFFIX },
	{ "regex", ROUTE_TEST_REGEX }, { "range", ROUTE_TEST_RANGE },
};

static int set_text(struct route_value_test *test, enum route_test kind, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	test->test = kind;
	test->text = span_of(copy);
	return 0;
}

static int test_init(struct route_value_test *test, const json_t *json, const char *field, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		const json_t *value = json_object_get(json, tests[i].member);
		int r;

		if (!value)
			continue;
		if (tests[i].test == ROUTE_TEST_RANGE) {
			test->test = ROUTE_TEST_RANGE;
			test->start = json_path_int(value, "start", 0);
			test->end = json_path_int(value, "end", 0);
			return 0;
		}
		r = set_text(test, tests[i].test, json_string_value(value));
		if (r < 0)
			return error_set(err, r, "out of memory");
		if (tests[i].test != ROUTE_TEST_REGEX)
			return 0;
		r = regex_new(test->text.data, &test->regex, err);
		if (r < 0 && err)
			text_cut(err->field, sizeof(err->field), FIELD("%s.regex", field));
		return r;
	}
	test->test = ROUTE_TEST_PRESENT;
	return 0;
}

/* Lists of {"name", "match", "invert"}: queryParameters, headers, metadata. */
static int tests_init(const json_t *match, const char *list, const char *field, struct route_value_test **ret_tests, size_t *ret_count,
		      struct error *err)
{
	const size_t count = json_path_count(match, list);
	struct route_value_test *made;

	if (!count)
		return 0;
	made = calloc(count, sizeof(*made));
	if (!made)
		return error_set(err, -ENOMEM, "out of memory");
	*ret_tests = made; /* released by route_match_done() from now on */
	*ret_count = count;
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_path_at(match, list, i);
		int r;

		made[i].name = strdup(json_path_string(one, "name"));
		if (!made[i].name)
			return error_set(err, -ENOMEM, "out of memory");
		made[i].invert = json_path_bool(one, "invert", false);
		r = test_init(&made[i], json_path(one, "match"), FIELD("%s.%s[%zu].match", field, list, i), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* gRPC's paths are "/package.Service/Method". */
static int grpc_path_init(struct route_value_test *path, const json_t *match)
{
	const char *service = json_path_string(match, "serviceName"), *method = json_path_string(match, "methodName");
	char text[1024];

	if (!service)
		return set_text(path, ROUTE_TEST_PREFIX, "/");
	if (snprintf(text, sizeof(text), "/%s/%s", service, method ?: "") >= (int)sizeof(text))
		return -ENAMETOOLONG;
	return set_text(path, method ? ROUTE_TEST_EXACT : ROUTE_TEST_PREFIX, text);
}

static int path_init(struct route_match *made, const json_t *match, const char *field, struct error *err)
{
	const char *prefix = json_path_string(match, "prefix");
	const json_t *path = json_path(match, "path");
	int r;

	if (made->grpc)
		r = grpc_path_init(&made->path, match);
	else if (path)
		return test_init(&made->path, path, FIELD("%s.path", field), err);
	else
		r = set_text(&made->path, ROUTE_TEST_PREFIX, prefix ?: "/");
	return r < 0 ? error_set_field(err, r, field, "%s", strerror(-r)) : 0;
}

static int copy_member(const json_t *match, const char *member, char **ret_text, struct error *err)
{
	const char *text = json_path_string(match, member);

	if (text && !(*ret_text = strdup(text)))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

int route_match_init(struct route_match *match, const json_t *json, const char *protocol, const char *field, struct error *err)
{
	struct route_match made = { .port = json_path_int(json, "port", 0), .grpc = !strcmp(protocol, "grpc") };
	int r = path_init(&made, json, field, err);

	if (r == 0)
		r = copy_member(json, "method", &made.method, err);
	if (r == 0)
		r = copy_member(json, "scheme", &made.scheme, err);
	if (r == 0)
		r = tests_init(json, "queryParameters", field, &made.queries, &made.query_count, err);
	if (r == 0)
		r = tests_init(json, made.grpc ? "metadata" : "headers", field, &made.headers, &made.header_count, err);
	if (r < 0) {
		route_match_done(&made);
		return r;
	}
	*match = made;
	return 0;
}

/* --- held against a request --------------------------------------------------------------------------------------------------- */

static bool starts_with(struct span text, struct span prefix)
{
	return text.length >= prefix.length && span_equal((struct span){ text.data, prefix.length }, prefix);
}

static bool ends_with(struct span text, struct span suffix)
{
	return text.length >= suffix.length &&
	       (!suffix.length || span_equal((struct span){ text.data + text.length - suffix.length, suffix.length }, suffix));
}

/* Decimal, with a sign, and nothing else. */
static bool integer_read(struct span text, int64_t *ret_value)
{
	const bool negative = text.length && text.data[0] == '-';
	int64_t value = 0;

	if (text.length == (size_t)negative)
		return false;
	for (size_t i = negative; i < text.length; i++) {
		const int digit = text.data[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, digit, &value)) /* below zero there is one more */
			return false;
	}
	if (!negative && value == INT64_MIN)
		return false;
	*ret_value = negative ? value : -value;
	return true;
}

static bool test_holds(const struct route_value_test *test, struct span value)
{
	int64_t number;

	switch (test->test) {
	case ROUTE_TEST_EXACT:
		return span_equal(value, test->text);
	case ROUTE_TEST_PREFIX:
		return starts_with(value, test->text);
	case ROUTE_TEST_SUFFIX:
		return ends_with(value, test->text);
	case ROUTE_TEST_REGEX:
		return regex_matches(test->regex, value);
	case ROUTE_TEST_RANGE:
		return integer_read(value, &number) && test->start <= number && number < test->end;
	default:
		return true;
	}
}

/* A header by its name in any case. */
enum found { FOUND_NONE, FOUND_ONE, FOUND_TOO_LONG };

static enum found join(const struct route_request *request, struct span name, char buffer[ROUTE_JOINED_BYTES], struct span *ret_value)
{
	size_t length = 0;
	bool any = false;

	for (size_t i = 0; i < request->header_count; i++) {
		const struct http_header *header = &request->headers[i];

		if (!span_equal_nocase(header->name, name))
			continue;
		if (length + any + header->value.length > ROUTE_JOINED_BYTES)
			return FOUND_TOO_LONG;
		if (any)
			buffer[length++] = ',';
		if (header->value.length)
			memcpy(buffer + length, header->value.data, header->value.length);
		length += header->value.length;
		any = true;
	}
	*ret_value = (struct span){ buffer, length };
	return FOUND_ONE;
}

static enum found header_find(const struct route_request *request, const char *name, char buffer[ROUTE_JOINED_BYTES],
			      struct span *ret_value)
{
	const struct {
		const char *name;
		struct span value;
	} own[] = { /* what HTTP/2 has as headers, and Host, which HTTP/2 has not */
		{ ":method", request->method },	      { ":path", request->path }, { ":scheme", request->scheme },
		{ ":authority", request->authority }, { "host", request->authority },
	};
	const struct span wanted = span_of(name);
	const struct http_header *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (span_equal_nocase(wanted, span_of(own[i].name))) {
			*ret_value = own[i].value;
			return own[i].value.data ? FOUND_ONE : FOUND_NONE;
		}
	for (size_t i = 0; i < request->header_count; i++) {
		if (!span_equal_nocase(request->headers[i].name, wanted))
			continue;
		if (found)
			return join(request, wanted, buffer, ret_value);
		found = &request->headers[i];
	}
	if (found)
		*ret_value = found->value;
	return found ? FOUND_ONE : FOUND_NONE;
}

static bool header_holds(const struct route_value_test *test, const struct route_request *request)
{
	char buffer[ROUTE_JOINED_BYTES];
	struct span value = {};
	const enum found found = header_find(request, test->name, buffer, &value);
	const bool holds = found == FOUND_ONE ? test_holds(test, value) : found == FOUND_TOO_LONG && test->test == ROUTE_TEST_PRESENT;

	return holds != test->invert;
}

/* The first parameter of that name, as it came: nothing is decoded, as in Envoy. */
static bool query_find(struct span query, struct span name, struct span *ret_value)
{
	size_t at = 0;

	while (at < query.length) {
		const char *begin = query.data + at;
		const char *end = memchr(begin, '&', query.length - at) ?: query.data + query.length;
		const char *equals = memchr(begin, '=', end - begin);
		const struct span found = { begin, (equals ?: end) - begin };

		if (span_equal(found, name)) {
			*ret_value = equals ? (struct span){ equals + 1, end - equals - 1 } : (struct span){ end, 0 };
			return true;
		}
		at = end - query.data + 1;
	}
	return false;
}

static bool query_holds(const struct route_value_test *test, const struct route_request *request)
{
	struct span value;

	return query_find(request->query, span_of(test->name), &value) && test_holds(test, value);
}

static bool is_grpc(const struct route_request *request)
{
	static const struct span grpc = SPAN("application/grpc");

	for (size_t i = 0; i < request->header_count; i++) {
		const struct span value = request->headers[i].value;

		if (!span_equal_nocase(request->headers[i].name, SPAN("content-type")))
			continue;
		return value.length >= grpc.length && span_equal_nocase((struct span){ value.data, grpc.length }, grpc) &&
		       (value.length == grpc.length || value.data[grpc.length] == '+' || value.data[grpc.length] == ';');
	}
	return false;
}

struct route_mismatch route_match_test(const struct route_match *match, const struct route_request *request)
{
	if (match->port && match->port != request->port)
		return (struct route_mismatch){ ROUTE_PORT, NULL };
	if (match->method && !span_equal(span_of(match->method), request->method))
		return (struct route_mismatch){ ROUTE_METHOD, NULL };
	if (match->scheme && !span_equal_nocase(span_of(match->scheme), request->scheme))
		return (struct route_mismatch){ ROUTE_SCHEME, NULL };
	if (!test_holds(&match->path, request->path))
		return (struct route_mismatch){ ROUTE_PATH, NULL };
	if (match->grpc && !is_grpc(request))
		return (struct route_mismatch){ ROUTE_GRPC, NULL };
	for (size_t i = 0; i < match->query_count; i++)
		if (!query_holds(&match->queries[i], request))
			return (struct route_mismatch){ ROUTE_QUERY, match->queries[i].name };
	for (size_t i = 0; i < match->header_count; i++)
		if (!header_holds(&match->headers[i], request))
			return (struct route_mismatch){ ROUTE_HEADER, match->headers[i].name };
	return (struct route_mismatch){ ROUTE_MATCHES, NULL };
}

int route_match_order(const struct route_match *a, const struct route_match *b)
{
	const bool exact_a = a->path.test == ROUTE_TEST_EXACT, exact_b = b->path.test == ROUTE_TEST_EXACT;

	if (a->path.text.length != b->path.text.length)
		return a->path.text.length > b->path.text.length ? -1 : 1;
	return (int)exact_b - (int)exact_a;
}
