/* SPDX-License-Identifier: Apache-2.0 */
/* URLs that people ask about: what is taken says the same when it is put together and read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/http/byte.h"
#include "agent/http/url.h"
#include "base/cleanup.h"

static void check(const char *text, const struct url *url)
{
	_cleanup_(url_done) struct url again = {};
	_cleanup_free_ char *made = NULL;

	if (!*url->host || !url->port || url->target[0] != '/' || strchr(url->target, '#') ||
	    !http_bytes_are(HTTP_BYTE_VISIBLE, span_of(url->target))) {
		fprintf(stderr, "%s: taken, with a bad part\n", text);
		abort();
	}
	if (asprintf(&made, "http://%s%s", url->authority, url->target) < 0)
		abort();
	if (url_parse(made, &again, NULL) < 0 || strcmp(url->host, again.host) || url->port != again.port || url->is_v6 != again.is_v6 ||
	    strcmp(url->target, again.target)) {
		fprintf(stderr, "%s: taken, but '%s' is not the same\n", text, made);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = strndup((const char *)data, size);
	_cleanup_(url_done) struct url url = {};
	struct error err = {};
	int r = url_parse(text, &url, &err);

	if (r == 0)
		check(text, &url);
	else if (!err.message[0] || err.code != r)
		abort();
	return 0;
}
