/* SPDX-License-Identifier: Apache-2.0 */
/* Answers written. No sockets; whoever asks brings the time. */
#pragma once

#include <stdint.h>

#include "agent/http/http.h"
#include "base/bytes.h"

#define HTTP_DATE_BYTES 30
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7) */
const char *http_date_format(int64_t wall_s, char buffer[HTTP_DATE_BYTES]);

struct http_frame { /* what is around an answer */
	const char *date;
	const char *connection; /* "close"; NULL: the header is left out */
	const char *allow; /* as `connection` */
};

/* Appends what stands before the body. -EINVAL, and nothing is appended: a header that may not be sent. Out of memory is the
 * buffer's to tell. */
int http_write_head(struct buffer *out, const struct http_answer *answer, const struct http_frame *frame);

/* "HTTP/1.1 200 OK\r\n"; of a status without words in `room`, of at least HTTP_FIRST_LINE_BYTES. */
#define HTTP_FIRST_LINE_BYTES 32
struct span http_first_line(int status, char *room);
