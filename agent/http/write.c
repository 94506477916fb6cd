/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/write.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/http/byte.h"
#include "base/cleanup.h"

#define FIRST_LINE(status, reason) { status, { "HTTP/1.1 " #status " " reason "\r\n", sizeof("HTTP/1.1 " #status " " reason "\r\n") - 1 } }

static const struct {
	int status;
	struct span line;
} first_lines[] = {
	FIRST_LINE(200, "OK"),
	FIRST_LINE(201, "Created"),
	FIRST_LINE(202, "Accepted"),
	FIRST_LINE(204, "No Content"),
	FIRST_LINE(400, "Bad Request"),
	FIRST_LINE(403, "Forbidden"),
	FIRST_LINE(404, "Not Found"),
	FIRST_LINE(405, "Method Not Allowed"),
	FIRST_LINE(408, "Request Timeout"),
	FIRST_LINE(409, "Conflict"),
	FIRST_LINE(413, "Content Too Large"),
	FIRST_LINE(414, "URI Too Long"),
	FIRST_LINE(417, "Expectation Failed"),
	FIRST_LINE(429, "Too Many Requests"),
	FIRST_LINE(431, "Request Header Fields Too Large"),
	FIRST_LINE(500, "Internal Server Error"),
	FIRST_LINE(501, "Not Implemented"),
	FIRST_LINE(503, "Service Unavailable"),
	FIRST_LINE(505, "HTTP Version Not Supported"),
	FIRST_LINE(507, "Insufficient Storage"),
};

const char *http_date_format(int64_t wall_s, char buffer[HTTP_DATE_BYTES])
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const time_t time = (time_t)wall_s;
	struct tm tm;

	gmtime_r(&time, &tm);
	snprintf(buffer, HTTP_DATE_BYTES, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100,
		 months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		 (unsigned)tm.tm_sec % 100);
	return buffer;
}

static bool name_may_be_sent(struct span name)
{
	static const struct span ours[] = { SPAN("Date"),	       SPAN("Content-Type"),	 SPAN("Content-Length"), SPAN("Connection"),
					    SPAN("Transfer-Encoding"), SPAN("Allow") };

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (span_equal_nocase(name, ours[i]))
			return false;
	return name.length > 0 && http_bytes_are(HTTP_BYTE_TOKEN, name);
}

static bool may_be_sent(const struct http_answer *answer)
{
	for (size_t i = 0; i < answer->header_count; i++)
		if (!name_may_be_sent(answer->headers[i].name) || !http_bytes_are(HTTP_BYTE_TEXT, answer->headers[i].value))
			return false;
	return !answer->content_type || http_bytes_are(HTTP_BYTE_TEXT, span_of(answer->content_type));
}

static void add(struct buffer *out, struct span text)
{
	buffer_append(out, text.data, text.length);
}

static void add_header(struct buffer *out, struct span name, struct span value)
{
	add(out, name);
	add(out, SPAN(": "));
	add(out, value);
	add(out, SPAN("\r\n"));
}

static void add_first_line(struct buffer *out, int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(first_lines); i++)
		if (first_lines[i].status == status)
			return add(out, first_lines[i].line);
	buffer_printf(out, "HTTP/1.1 %d \r\n", status); /* which RFC 9112 allows */
}

static void add_length(struct buffer *out, size_t length)
{
	char digits[24], *p = digits + sizeof(digits);

	do {
		*--p = (char)('0' + length % 10);
	} while (length /= 10);
	add_header(out, SPAN("Content-Length"), (struct span){ p, (size_t)(digits + sizeof(digits) - p) });
}

int http_write_head(struct buffer *out, const struct http_answer *answer, const struct http_frame *frame)
{
	if (!may_be_sent(answer))
		return -EINVAL;
	add_first_line(out, answer->status);
	add_header(out, SPAN("Date"), span_of(frame->date));
	if (answer->content_type)
		add_header(out, SPAN("Content-Type"), span_of(answer->content_type));
	if (answer->status != 204) /* RFC 9110 section 8.6 */
		add_length(out, answer->body.length);
	if (frame->allow)
		add_header(out, SPAN("Allow"), span_of(frame->allow));
	if (frame->connection)
		add_header(out, SPAN("Connection"), span_of(frame->connection));
	for (size_t i = 0; i < answer->header_count; i++)
		add_header(out, answer->headers[i].name, answer->headers[i].value);
	add(out, SPAN("\r\n"));
	return 0;
}
