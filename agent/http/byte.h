/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes may stand where in a head. */
#pragma once

#include <stdbool.h>

#include "base/span.h"

enum http_byte {
	HTTP_BYTE_TOKEN = 1, /* methods, names of headers (RFC 9110 section 5.6.2) */
	HTTP_BYTE_VISIBLE = 2, /* targets: what RFC 3986 has, and the rest of visible ASCII */
	HTTP_BYTE_TEXT = 4, /* values of headers (RFC 9110 section 5.5) */
};

bool http_bytes_are(enum http_byte kind, struct span text);
