/* SPDX-License-Identifier: Apache-2.0 */
/* What a request asks for, decoded (RFC 3986, and `+` as space in queries). */
#pragma once

#include <stddef.h>

#include "base/span.h"

struct http_parameter {
	const char *name, *value;
};

struct http_target { /* strings point into `text` */
	char *text;
	const char *path;
	struct http_parameter *parameters;
	size_t parameter_count;
};

/* "/path?a=b&c" of that, or of the same behind "http://host", which a server must take as well (RFC 9112 section 3.2.2); no
 * data: it is another form. */
struct span http_target_origin(struct span target);

/* -EINVAL: another form, a bad escape, or one that gives a NUL or no UTF-8; -ENOMEM. */
int http_target_init(struct span target, struct http_target *ret_target);
void http_target_done(struct http_target *target);
/* The first value of that name; "" for a name without one; NULL: absent. */
const char *http_target_parameter(const struct http_target *target, const char *name);
