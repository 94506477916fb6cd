/* SPDX-License-Identifier: Apache-2.0 */
/* llhttp calls back; we want to be asked. So it is paused after each head, piece and message, and resumed by the next call. It
 * is never given a byte after it failed, nor after the last message of a connection: what it would do then depends on how the
 * distribution built it. So does what it lets pass, as bare LFs, folded lines, and any byte in place of the LF behind a chunk's
 * size: every line is looked at here as well.
 *
 * The bytes of a head are copied into head->text as they are used; there is room for the longest one from the beginning, so
 * spans point to their place there already when llhttp finds them. */
#include "agent/http/codec.h"

#include <assert.h>
#include <errno.h>
#include <llhttp/llhttp.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http/byte.h"
#include "base/cleanup.h"

enum line { LINE_BEGINS, LINE_GOES_ON, LINE_ENDS /* its CR was there */ };

struct http_codec {
	llhttp_t parser;
	enum http_side side;
	size_t limit, run; /* bytes since the last piece of a body, head or message */
	bool paused; /* by us, in a callback */
	bool between; /* messages */
	bool in_head;
	bool in_target;
	bool closed;
	bool answers_head;
	bool until_end; /* the body ends with the connection */
	enum line line;
	size_t name_length; /* of the header at hand */
	bool in_value;
	enum http_event_type type; /* what the callbacks of this call found */
	struct http_event event;
	struct http_head *head; /* during a call */
	const char *input; /* during a call: what llhttp has */
};

static struct http_codec *codec_of(llhttp_t *parser)
{
	return parser->data;
}

static int fail(struct http_codec *codec, enum http_refusal refusal)
{
	codec->type = HTTP_EVENT_FAILED;
	codec->event = (struct http_event){ .refusal = refusal };
	return HPE_USER;
}

/* ---- lines ---- */

/* Of everything that is not of a body. */
static void look_at_lines(struct http_codec *codec, const char *data, size_t length)
{
	enum line line = codec->line;

	for (size_t i = 0; i < length; i++) {
		size_t skipped = 8; /* neither NUL nor the end of a line */
		char c;

		while (line == LINE_GOES_ON && skipped == 8 && i + 8 <= length)
			i += skipped = http_bytes_first_below(http_bytes_load(data + i), '\r' + 1);
		if (i == length)
			break;
		c = data[i];
		if (line == LINE_ENDS ? c != '\n' : c == '\n') {
			fail(codec, HTTP_BARE_LINE_END);
			return;
		}
		if (c == '\0' || (line == LINE_BEGINS && (c == ' ' || c == '\t'))) {
			fail(codec, c ? HTTP_FOLDED_LINE : HTTP_NUL);
			return;
		}
		line = c == '\r' ? LINE_ENDS : c == '\n' ? LINE_BEGINS : LINE_GOES_ON;
	}
	codec->line = line;
}

/* ---- callbacks ---- */

static void span_grow(const struct http_codec *codec, struct span *span, const char *data, size_t length)
{
	const struct buffer *text = &codec->head->text;

	if (!span->data)
		span->data = text->data + text->length + (data - codec->input);
	span->length += length;
}

static int on_url(llhttp_t *parser, const char *data, size_t length)
{
	struct http_codec *codec = codec_of(parser);

	codec->in_target = true;
	if (!http_bytes_are(HTTP_BYTE_VISIBLE, (struct span){ data, length }))
		return fail(codec, HTTP_BAD_TARGET);
	span_grow(codec, &codec->head->target, data, length);
	return 0;
}

static int on_url_complete(llhttp_t *parser)
{
	codec_of(parser)->in_target = false;
	return 0;
}

static int on_field(llhttp_t *parser, const char *data, size_t length)
{
	struct http_codec *codec = codec_of(parser);
	struct http_head *head = codec->head;

	if (!http_bytes_are(HTTP_BYTE_TOKEN, (struct span){ data, length }))
		return fail(codec, HTTP_BAD_NAME);
	codec->name_length += length;
	if (!codec->in_head)
		return 0; /* of a trailer */
	if (head->header_count == HTTP_HEADERS_MAX)
		return fail(codec, HTTP_MANY_HEADERS);
	span_grow(codec, &head->headers[head->header_count].name, data, length);
	return 0;
}

static int on_field_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	if (codec->name_length == 0)
		return fail(codec, HTTP_BAD_NAME);
	codec->name_length = 0;
	codec->in_value = true;
	return 0;
}

static int on_value(llhttp_t *parser, const char *data, size_t length)
{
	struct http_codec *codec = codec_of(parser);

	if (!http_bytes_are(HTTP_BYTE_TEXT, (struct span){ data, length }))
		return fail(codec, HTTP_BAD_VALUE);
	if (codec->in_head)
		span_grow(codec, &codec->head->headers[codec->head->header_count].value, data, length);
	return 0;
}

static int on_value_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);
	struct http_head *head = codec->head;

	codec->in_value = false;
	if (codec->in_head && ++head->header_count < HTTP_HEADERS_MAX)
		head->headers[head->header_count] = (struct http_header){};
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);
	struct http_head *head = codec->head;

	head->minor = parser->http_minor;
	head->chunked = parser->flags & F_CHUNKED;
	head->has_length = parser->flags & F_CONTENT_LENGTH;
	head->content_length = head->has_length ? parser->content_length : 0;
	if (codec->side == HTTP_REQUESTS) {
		head->method = llhttp_method_name(parser->method);
	} else {
		head->status = parser->status_code;
		if (codec->answers_head || head->status / 100 == 1 || head->status == 204 || head->status == 304)
			parser->flags |= F_SKIPBODY; /* RFC 9112 section 6.3; llhttp believes the Content-Length of a 304 */
		codec->until_end = llhttp_message_needs_eof(parser);
	}
	head->keep_alive = llhttp_should_keep_alive(parser) && !parser->upgrade;
	codec->type = HTTP_EVENT_HEAD;
	return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *data, size_t length)
{
	struct http_codec *codec = codec_of(parser);

	if (length == 0) /* resumed at the end of the input */
		return 0;
	codec->type = HTTP_EVENT_BODY;
	codec->event = (struct http_event){ .body = { data, length } };
	return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	codec->closed = !codec->head->keep_alive;
	codec->between = true;
	codec->type = HTTP_EVENT_END;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_url_complete = on_url_complete,
	.on_header_field = on_field,
	.on_header_field_complete = on_field_complete,
	.on_header_value = on_value,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* ---- heads ---- */

static void message_begin(struct http_codec *codec)
{
	struct http_head *head = codec->head;

	codec->between = false;
	codec->in_head = true;
	codec->until_end = false;
	head->target = (struct span){};
	head->method = NULL;
	head->status = 0;
	head->header_count = 0;
	head->headers[0] = (struct http_header){};
	buffer_clear(&head->text);
	if (!buffer_reserve(&head->text, codec->limit))
		fail(codec, HTTP_NO_MEMORY);
}

static struct span trimmed(struct span value)
{
	while (value.length > 0 && (value.data[value.length - 1] == ' ' || value.data[value.length - 1] == '\t'))
		value.length--;
	return value;
}

/* llhttp skips spaces, and has other protocols. */
static bool first_line_is_good(const struct http_head *head)
{
	const size_t method_length = strlen(head->method);
	const char *text = head->text.data, *after = head->target.data + head->target.length;

	return head->target.data == text + method_length + 1 && text[method_length] == ' ' &&
	       head->text.length - (size_t)(after - text) > 11 && memcmp(after, " HTTP/1.", 8) == 0 &&
	       memcmp(after + 9, "\r\n", 2) == 0;
}

static bool is_number(struct span text)
{
	for (size_t i = 0; i < text.length; i++)
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	return text.length > 0;
}

/* RFC 9112 section 6.3 */
static int check_framing(struct http_codec *codec, const llhttp_t *parser)
{
	const struct http_head *head = codec->head;
	const struct http_header *length, *coding;
	size_t lengths, codings;

	length = http_head_find(head, SPAN("Content-Length"), &lengths);
	coding = http_head_find(head, SPAN("Transfer-Encoding"), &codings);
	if (length && coding)
		return fail(codec, HTTP_LENGTH_AND_CODING);
	if (lengths > 1)
		return fail(codec, HTTP_TWO_LENGTHS);
	if (length && (!is_number(length->value) || !head->has_length))
		return fail(codec, HTTP_BAD_LENGTH);
	if (!coding)
		return 0;
	if (parser->http_minor == 0)
		return fail(codec, HTTP_OLD_CODING); /* section 6.1 */
	if (codings > 1 || !head->chunked || !span_equal_nocase(coding->value, SPAN("chunked")))
		return fail(codec, HTTP_UNKNOWN_CODING);
	return 0;
}

static void head_end(struct http_codec *codec)
{
	struct http_head *head = codec->head;

	codec->in_head = false;
	if (codec->parser.http_major != 1) {
		fail(codec, HTTP_BAD_VERSION);
		return;
	}
	if (codec->side == HTTP_REQUESTS && !first_line_is_good(head)) {
		fail(codec, HTTP_BAD_SYNTAX);
		return;
	}
	for (size_t i = 0; i < head->header_count; i++)
		head->headers[i].value = trimmed(head->headers[i].value);
	check_framing(codec, &codec->parser);
}

/* ---- what callers see ---- */

int http_codec_new(enum http_side side, size_t limit_bytes, struct http_codec **ret_codec)
{
	struct http_codec *codec = calloc(1, sizeof(*codec));

	if (!codec)
		return -ENOMEM;
	codec->side = side;
	codec->limit = limit_bytes;
	codec->between = true;
	llhttp_init(&codec->parser, side == HTTP_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
	codec->parser.data = codec;
	*ret_codec = codec;
	return 0;
}

struct http_codec *http_codec_free(struct http_codec *codec)
{
	free(codec);
	return NULL;
}

void http_codec_answers_head(struct http_codec *codec, bool answers_head)
{
	codec->answers_head = answers_head;
}

static enum http_refusal refusal_of(const struct http_codec *codec, llhttp_errno_t error)
{
	const uint16_t flags = codec->parser.flags;

	switch (error) {
	case HPE_INVALID_METHOD:
		return HTTP_BAD_METHOD;
	case HPE_INVALID_URL:
		return HTTP_BAD_TARGET;
	case HPE_INVALID_VERSION:
	case HPE_PAUSED_H2_UPGRADE:
		return HTTP_BAD_VERSION;
	case HPE_INVALID_HEADER_TOKEN:
	case HPE_UNEXPECTED_SPACE:
		return codec->in_value ? HTTP_BAD_VALUE : HTTP_BAD_NAME;
	case HPE_INVALID_CONTENT_LENGTH:
		return HTTP_BAD_LENGTH;
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return flags & (F_TRANSFER_ENCODING | F_CHUNKED) ? HTTP_LENGTH_AND_CODING : HTTP_TWO_LENGTHS;
	case HPE_INVALID_TRANSFER_ENCODING:
		return flags & F_CONTENT_LENGTH ? HTTP_LENGTH_AND_CODING : HTTP_UNKNOWN_CODING;
	case HPE_INVALID_CHUNK_SIZE:
		return HTTP_BAD_CHUNK;
	default:
		return codec->in_head ? HTTP_BAD_SYNTAX : HTTP_BAD_CHUNK;
	}
}

static void over_limit(struct http_codec *codec)
{
	fail(codec, codec->in_target ? HTTP_LONG_TARGET : codec->in_head ? HTTP_LARGE_HEAD : HTTP_LARGE_FRAMING);
}

/* Between messages: a blank line before a request is let pass (RFC 9112 section 2.2). */
static void skip_blank(struct http_codec *codec, const char **data, size_t *length)
{
	size_t blank = 0;

	while (codec->side == HTTP_REQUESTS && blank < *length && ((*data)[blank] == '\r' || (*data)[blank] == '\n'))
		blank++;
	blank = MIN(blank, codec->limit - codec->run);
	look_at_lines(codec, *data, blank);
	codec->run += blank;
	*data += blank;
	*length -= blank;
	if (codec->type == HTTP_EVENT_MORE && *length > 0) {
		if (codec->run == codec->limit)
			over_limit(codec);
		else if (codec->side == HTTP_RESPONSES && **data != 'H')
			fail(codec, HTTP_BAD_SYNTAX);
		else
			message_begin(codec);
	}
}

/* Gives llhttp one stretch of input, at most as much as the limit leaves. */
static void parse(struct http_codec *codec, const char **data, size_t *length)
{
	const bool in_head = codec->in_head;
	const bool only_body = !in_head && !codec->head->chunked; /* nothing to be limited comes before its end */
	size_t used = only_body ? *length : MIN(*length, codec->limit - codec->run), given = used;
	llhttp_errno_t error;

	if (used == 0 && !codec->paused) {
		over_limit(codec);
		return;
	}
	if (codec->paused)
		llhttp_resume(&codec->parser);
	codec->input = *data;
	error = llhttp_execute(&codec->parser, *data, used);
	codec->paused = error == HPE_PAUSED;
	if (error != HPE_OK)
		used = (size_t)(llhttp_get_error_pos(&codec->parser) - *data);
	if (error != HPE_OK && !codec->paused && codec->type != HTTP_EVENT_FAILED) {
		fail(codec, refusal_of(codec, error));
		if (http_refusal_status(codec->event.refusal) == 400)
			used = MIN(used + 1, given); /* the byte at fault may be one for look_at_lines() to name */
	}
	look_at_lines(codec, *data, codec->type == HTTP_EVENT_BODY ? (size_t)(codec->event.body.data - *data) : used);
	if (in_head)
		buffer_append(&codec->head->text, *data, used);
	*data += used;
	*length -= used;
	codec->run = codec->type == HTTP_EVENT_MORE ? codec->run + used : 0;
	if (codec->type == HTTP_EVENT_HEAD)
		head_end(codec);
}

enum http_event_type http_codec_next(struct http_codec *codec, struct http_head *head, const char **data, size_t *length,
				     struct http_event *ret_event)
{
	if (codec->type != HTTP_EVENT_FAILED) {
		codec->event = (struct http_event){};
		codec->type = codec->closed ? HTTP_EVENT_CLOSED : HTTP_EVENT_MORE;
	}
	assert(*data); /* to llhttp a NULL would mean that no piece of a body is under way */
	codec->head = head;
	if (codec->between && codec->type == HTTP_EVENT_MORE)
		skip_blank(codec, data, length);
	while (codec->type == HTTP_EVENT_MORE && !codec->between && (*length > 0 || codec->paused))
		parse(codec, data, length);
	codec->head = NULL;
	*ret_event = codec->event;
	return codec->type;
}

enum http_event_type http_codec_end(struct http_codec *codec, struct http_event *ret_event)
{
	codec->event = (struct http_event){};
	if ((codec->type == HTTP_EVENT_MORE || codec->type == HTTP_EVENT_END) && codec->between) {
		codec->type = HTTP_EVENT_CLOSED;
		codec->closed = true;
	} else if (codec->type == HTTP_EVENT_MORE && codec->until_end && !codec->in_head) {
		codec->type = HTTP_EVENT_END;
		codec->closed = codec->between = true;
	} else if (codec->type == HTTP_EVENT_MORE) {
		fail(codec, HTTP_CUT_OFF);
	}
	*ret_event = codec->event;
	return codec->type;
}
