/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of requests that people ask about (RFC 3986): "http://HOST[:PORT][/PATH][?QUERY]". What a program would not send, or what is not
 * http, is refused by name. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct url {
	char *host; /* an IPv6 address without its brackets */
	bool is_v6;
	uint16_t port; /* 80 where none is given */
	char *target; /* "/path?query", as it is sent */
	char *authority; /* "host", or "host:8080" where the port is not 80: what Host is */
};

/* Whether it is meant as one: it has "://". */
bool url_is(const char *text);
/* -EINVAL says what it has that no such URL has; -ENOMEM. */
int url_parse(const char *text, struct url *ret_url, struct error *err);
void url_done(struct url *url);
