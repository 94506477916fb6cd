/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/target.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

static int hex_digit(char c)
{
	const char digits[] = "0123456789abcdef", *found = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return found ? (int)(found - digits) : -1;
}

/* In place: what comes out is never longer. */
static int decode(char *text, bool plus_is_space)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		int high, low;

		if (*from != '%') {
			*to++ = *from == '+' && plus_is_space ? ' ' : *from;
			continue;
		}
		high = hex_digit(from[1]);
		low = high < 0 ? -1 : hex_digit(from[2]);
		if (low < 0 || high * 16 + low == 0)
			return -EINVAL;
		*to++ = (char)(high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return utf8_valid(text, (size_t)(to - text)) ? 0 : -EINVAL;
}

static int decode_parameters(char *query, struct http_target *target)
{
	size_t count = 1;
	char *part;

	for (const char *c = query; *c; c++)
		count += *c == '&';
	target->parameters = reallocarray(NULL, count, sizeof(*target->parameters));
	if (!target->parameters)
		return -ENOMEM;
	while ((part = strsep(&query, "&"))) {
		char *name = strsep(&part, "=");
		const struct http_parameter parameter = { name, part ? part : "" };

		if (!*name && !part) /* "a=b&&c=d" */
			continue;
		if (decode(name, true) < 0 || (part && decode(part, true) < 0))
			return -EINVAL;
		target->parameters[target->parameter_count++] = parameter;
	}
	return 0;
}

struct span http_target_origin(struct span target)
{
	const struct span scheme = SPAN("http://");
	size_t skip = 0;

	if (target.length > scheme.length && span_equal_nocase((struct span){ target.data, scheme.length }, scheme)) {
		skip = scheme.length;
		while (skip < target.length && target.data[skip] != '/' && target.data[skip] != '?')
			skip++;
	}
	if (skip == target.length || target.data[skip] != '/' || memchr(target.data, '#', target.length))
		return (struct span){};
	return (struct span){ target.data + skip, target.length - skip };
}

int http_target_init(struct span text, struct http_target *ret_target)
{
	_cleanup_(http_target_done) struct http_target target = {};
	const struct span origin = http_target_origin(text);
	char *query;
	int r = 0;

	if (!origin.data || memchr(origin.data, '\0', origin.length))
		return -EINVAL;
	target.text = strndup(origin.data, origin.length);
	if (!target.text)
		return -ENOMEM;
	query = target.text;
	target.path = strsep(&query, "?");
	if (decode(target.text, false) < 0)
		return -EINVAL;
	if (query)
		r = decode_parameters(query, &target);
	if (r < 0)
		return r;
	*ret_target = target;
	target = (struct http_target){};
	return 0;
}

void http_target_done(struct http_target *target)
{
	free(target->text);
	free(target->parameters);
	*target = (struct http_target){};
}

const char *http_target_parameter(const struct http_target *target, const char *name)
{
	for (size_t i = 0; i < target->parameter_count; i++)
		if (strcmp(target->parameters[i].name, name) == 0)
			return target->parameters[i].value;
	return NULL;
}
