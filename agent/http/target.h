/* SPDX-License-Identifier: Apache-2.0 */
/* What a request asks for, decoded (RFC 3986, and `+` as space in queries). */
#pragma once

#include <stddef.h>

struct http_parameter {
	const char *name, *value;
};

struct http_target { /* strings point into `text` */
	char *text;
	const char *path;
	struct http_parameter *parameters;
	size_t parameter_count;
};

/* "/path?a=b&c", or the same behind "http://host". -EINVAL: another form, a bad escape, or one that gives a NUL or no UTF-8. */
int http_target_init(const char *text, struct http_target *ret_target);
void http_target_done(struct http_target *target);
/* The first value of that name; "" for a name without one; NULL: absent. */
const char *http_target_parameter(const struct http_target *target, const char *name);
