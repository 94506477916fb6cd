/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/http/byte.h"
#include "base/cleanup.h"

static const char scheme_end[] = "://";

bool url_is(const char *text)
{
	return strstr(text, scheme_end) != NULL;
}

static int scheme_check(struct span scheme, struct error *err)
{
	if (span_equal_nocase(scheme, SPAN("http")))
		return 0;
	if (span_equal_nocase(scheme, SPAN("https")))
		return error_set(err, -EINVAL, "https: what a program encrypts itself is a connection to the mesh, and no request: "
					       "ask for HOST:PORT");
	return error_set(err, -EINVAL, "'%.*s' is no scheme of requests that are routed: http is", (int)scheme.length, scheme.data);
}

static int port_read(struct span text, uint16_t *ret_port, struct error *err)
{
	unsigned int port = 0;

	for (size_t i = 0; i < text.length && port <= UINT16_MAX; i++)
		port = text.data[i] >= '0' && text.data[i] <= '9' ? 10 * port + (unsigned int)(text.data[i] - '0') : UINT16_MAX + 1u;
	if (!text.length || !port || port > UINT16_MAX)
		return error_set(err, -EINVAL, "'%.*s' is no port from 1 to 65535", (int)text.length, text.data);
	*ret_port = (uint16_t)port;
	return 0;
}

/* "[fd00::1]:8080", "host:8080", "host" */
static int authority_read(struct span text, struct url *url, struct error *err)
{
	const char *end = text.data + text.length, *bracket = text.length && text.data[0] == '[' ? memchr(text.data, ']', text.length) : NULL;
	const char *colon = bracket ? bracket + 1 : memchr(text.data, ':', text.length) ?: end;
	const struct span host = bracket ? (struct span){ text.data + 1, (size_t)(bracket - text.data - 1) } :
					   (struct span){ text.data, (size_t)(colon - text.data) };
	int r = 0;

	if (memchr(text.data, '@', text.length))
		return error_set(err, -EINVAL, "it has a user name, which is not sent: give the header Authorization");
	if (text.length && text.data[0] == '[' && !bracket)
		return error_set(err, -EINVAL, "'[' without ']'");
	if (!host.length)
		return error_set(err, -EINVAL, "it has no host");
	if (colon < end && *colon != ':')
		return error_set(err, -EINVAL, "'%.*s' behind ']' is no port", (int)(end - colon), colon);
	url->port = 80;
	if (colon < end)
		r = port_read((struct span){ colon + 1, (size_t)(end - colon - 1) }, &url->port, err);
	if (r < 0)
		return r;
	url->is_v6 = bracket != NULL;
	url->host = strndup(host.data, host.length);
	if (!url->host || asprintf(&url->authority, url->port == 80 ? "%s%s%s" : "%s%s%s:%u", bracket ? "[" : "", url->host, bracket ? "]" : "",
				   url->port) < 0) {
		url->authority = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

int url_parse(const char *text, struct url *ret_url, struct error *err)
{
	_cleanup_(url_done) struct url url = {};
	const char *colon = strstr(text, scheme_end), *host, *rest;
	int r;

	if (!colon)
		return error_set(err, -EINVAL, "'%s' is no URL: http://HOST:PORT/PATH is", text);
	if (!http_bytes_are(HTTP_BYTE_VISIBLE, span_of(text)))
		return error_set(err, -EINVAL, "it has a byte that no URL has: spaces, control characters and letters beyond ASCII are escaped "
					       "(%%20)");
	r = scheme_check((struct span){ text, (size_t)(colon - text) }, err);
	if (r < 0)
		return r;
	host = colon + strlen(scheme_end);
	rest = host + strcspn(host, "/?#");
	if (strchr(rest, '#'))
		return error_set(err, -EINVAL, "it has a fragment ('#'), which is not sent");
	r = authority_read((struct span){ host, (size_t)(rest - host) }, &url, err);
	if (r < 0)
		return r;
	if (asprintf(&url.target, "%s%s", *rest == '/' ? "" : "/", rest) < 0) {
		url.target = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret_url = url;
	url = (struct url){};
	return 0;
}

void url_done(struct url *url)
{
	free(url->host);
	free(url->authority);
	free(url->target);
	*url = (struct url){};
}
