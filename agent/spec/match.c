/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"
#include "base/cleanup.h"
#include "base/regex.h"

const struct route_protocol route_protocols[] = {
	{ "httpRoute", "http" }, { "http2Route", "http2" }, { "grpcRoute", "grpc" }, { "tcpRoute", "tcp" }, {},
};

int route_protocol_find(const json_t *spec, const struct route_protocol **ret_protocol, struct error *err)
{
	const struct route_protocol *found = NULL;

	for (const struct route_protocol *p = route_protocols; p->member; p++) {
		if (!json_object_get(spec, p->member))
			continue;
		if (found)
			return error_set_field(err, -EINVAL, "spec", "has both %s and %s, must have exactly one route", found->member,
					       p->member);
		found = p;
	}
	if (!found)
		return error_set_field(err, -EINVAL, "spec", "has no route: must have exactly one member whose name ends in Route");
	*ret_protocol = found;
	return 0;
}

static int check_ranges(const json_t *match, const char *list, const char *field, struct error *err)
{
	for (size_t i = 0; i < json_path_count(match, list); i++) {
		const json_t *range = json_path(json_path_at(match, list, i), "match.range");
		const int64_t start = json_path_int(range, "start", 0), end = json_path_int(range, "end", 0);

		if (range && start >= end)
			return error_set_field(err, -EINVAL, FIELD("%s.%s[%zu].match.range", field, list, i),
					       "is empty: start %lld must be below end %lld", (long long)start, (long long)end);
	}
	return 0;
}

/* Compiled only to see that it can be: RE2, the whole value (user guide, route match). */
static int check_regex(const json_t *parent, const char *field, struct error *err)
{
	const json_t *pattern = json_path(parent, "regex");
	struct regex *regex;
	struct error why = {};
	int r = pattern ? regex_new(json_string_value(pattern), &regex, &why) : -ENOENT;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_set_field(err, r, FIELD("%s.regex", field), "%s", why.message);
	regex_free(regex);
	return 0;
}

static int check_regexes(const json_t *match, const char *list, const char *field, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_path_count(match, list); i++)
		r = check_regex(json_path(json_path_at(match, list, i), "match"), FIELD("%s.%s[%zu].match", field, list, i), err);
	return r;
}

int match_check(const json_t *match, const char *field, struct error *err)
{
	static const char *const lists[] = { "headers", "metadata" };
	const json_t *prefix = json_object_get(match, "prefix");
	int r;

	if (prefix && json_string_value(prefix)[0] != '/')
		return error_set_field(err, -EINVAL, FIELD("%s.prefix", field), "is %s, must start with \"/\"", VALUE(prefix));
	if (prefix && json_object_get(match, "path"))
		return error_set_field(err, -EINVAL, field, "has both prefix and path, must have one of them");
	r = check_regex(json_path(match, "path"), FIELD("%s.path", field), err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++) {
		r = check_ranges(match, lists[i], field, err);
		if (r == 0)
			r = check_regexes(match, lists[i], field, err);
	}
	return r;
}
