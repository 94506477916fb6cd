/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/write.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/http/byte.h"
#include "base/cleanup.h"
#include "base/decimal.h"

#define OWN_HEADERS 5

#define FIRST_LINE(status, reason) { status, SPAN("HTTP/1.1 " #status " " reason "\r\n") }

static const struct {
	int status;
	struct span line;
} first_lines[] = {
	FIRST_LINE(101, "Switching Protocols"),
	FIRST_LINE(200, "OK"),
	FIRST_LINE(201, "Created"),
	FIRST_LINE(202, "Accepted"),
	FIRST_LINE(204, "No Content"),
	FIRST_LINE(206, "Partial Content"),
	FIRST_LINE(301, "Moved Permanently"),
	FIRST_LINE(302, "Found"),
	FIRST_LINE(303, "See Other"),
	FIRST_LINE(304, "Not Modified"),
	FIRST_LINE(307, "Temporary Redirect"),
	FIRST_LINE(308, "Permanent Redirect"),
	FIRST_LINE(400, "Bad Request"),
	FIRST_LINE(401, "Unauthorized"),
	FIRST_LINE(403, "Forbidden"),
	FIRST_LINE(404, "Not Found"),
	FIRST_LINE(405, "Method Not Allowed"),
	FIRST_LINE(408, "Request Timeout"),
	FIRST_LINE(409, "Conflict"),
	FIRST_LINE(410, "Gone"),
	FIRST_LINE(412, "Precondition Failed"),
	FIRST_LINE(413, "Content Too Large"),
	FIRST_LINE(414, "URI Too Long"),
	FIRST_LINE(416, "Range Not Satisfiable"),
	FIRST_LINE(417, "Expectation Failed"),
	FIRST_LINE(422, "Unprocessable Content"),
	FIRST_LINE(429, "Too Many Requests"),
	FIRST_LINE(431, "Request Header Fields Too Large"),
	FIRST_LINE(500, "Internal Server Error"),
	FIRST_LINE(501, "Not Implemented"),
	FIRST_LINE(502, "Bad Gateway"),
	FIRST_LINE(503, "Service Unavailable"),
	FIRST_LINE(504, "Gateway Timeout"),
	FIRST_LINE(505, "HTTP Version Not Supported"),
	FIRST_LINE(507, "Insufficient Storage"),
};

const char *http_date_format(int64_t wall_s, char buffer[HTTP_DATE_BYTES])
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const time_t time = (time_t)wall_s;
	struct tm tm;

	gmtime_r(&time, &tm);
	snprintf(buffer, HTTP_DATE_BYTES, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * tm.tm_wday,
		 (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000,
		 (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
	return buffer;
}

static bool name_may_be_sent(struct span name)
{
	static const struct span ours[] = {
		SPAN("Date"), SPAN("Content-Type"), SPAN("Content-Length"), SPAN("Connection"), SPAN("Transfer-Encoding"), SPAN("Allow"),
	};

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

static char *put(char *to, struct span text)
{
	return mempcpy(to, text.data, text.length);
}

static char *put_header(char *to, struct span name, struct span value)
{
	to = put(to, name);
	to = put(to, SPAN(": "));
	to = put(to, value);
	return put(to, SPAN("\r\n"));
}

struct span http_first_line(int status, char *room)
{
	for (size_t i = 0; i < ARRAY_SIZE(first_lines); i++)
		if (first_lines[i].status == status)
			return first_lines[i].line;
	/* Without words, which RFC 9112 allows. */
	return (struct span){ room, (size_t)snprintf(room, HTTP_FIRST_LINE_BYTES, "HTTP/1.1 %d \r\n", status) };
}

/* Ours, and how many: those that are there. */
static size_t own_headers(const struct http_answer *answer, const struct http_frame *frame, char digits[DECIMAL_BYTES],
			  struct http_header headers[OWN_HEADERS])
{
	size_t count = 0;

	headers[count++] = (struct http_header){ SPAN("Date"), { frame->date, HTTP_DATE_BYTES - 1 } };
	if (answer->content_type)
		headers[count++] = (struct http_header){ SPAN("Content-Type"), span_of(answer->content_type) };
	if (answer->status != 204) /* RFC 9110 section 8.6 */
		headers[count++] = (struct http_header){ SPAN("Content-Length"), { digits, decimal_write(digits, answer->body.length) } };
	if (frame->allow)
		headers[count++] = (struct http_header){ SPAN("Allow"), span_of(frame->allow) };
	if (frame->connection)
		headers[count++] = (struct http_header){ SPAN("Connection"), span_of(frame->connection) };
	return count;
}

static size_t length_of(const struct http_header *headers, size_t count)
{
	size_t length = 0;

	for (size_t i = 0; i < count; i++)
		length += headers[i].name.length + headers[i].value.length + strlen(": \r\n");
	return length;
}

int http_write_head(struct buffer *out, const struct http_answer *answer, const struct http_frame *frame)
{
	char status[HTTP_FIRST_LINE_BYTES], digits[DECIMAL_BYTES];
	const struct span first_line = http_first_line(answer->status, status);
	struct http_header own[OWN_HEADERS];
	const size_t own_count = own_headers(answer, frame, digits, own);
	const size_t length = first_line.length + length_of(own, own_count) + length_of(answer->headers, answer->header_count) + 2;
	char *to;

	if (!may_be_sent(answer))
		return -EINVAL;
	to = buffer_reserve(out, length);
	if (!to)
		return 0;
	to = put(to, first_line);
	for (size_t i = 0; i < own_count; i++)
		to = put_header(to, own[i].name, own[i].value);
	for (size_t i = 0; i < answer->header_count; i++)
		to = put_header(to, answer->headers[i].name, answer->headers[i].value);
	put(to, SPAN("\r\n"));
	out->length += length;
	out->data[out->length] = '\0';
	return 0;
}
