/* SPDX-License-Identifier: Apache-2.0 */
/* llhttp calls back; we want to be asked. So it is paused after each head, piece and message, and resumed by the next call.
 * It is never given a byte after it failed, nor after the last message of a connection: what it would do then depends on how
 * the distribution built it. */
#include "agent/http/codec.h"

#include <assert.h>
#include <errno.h>
#include <llhttp/llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

struct http_codec {
	llhttp_t parser;
	size_t run_limit, run; /* bytes since the last piece of a body, head or message */
	bool paused; /* by us, in a callback */
	bool in_head;
	bool closed;
	enum http_event_type type; /* what the callbacks of this call found */
	struct http_event event;
	struct http_head head;
	struct http_header headers[HTTP_HEADERS_MAX];
	char *string; /* the one that is growing, in `text` */
	size_t text_length;
	char text[]; /* run_limit bytes: each string takes the place of its separator for its NUL, so a head always fits */
};

static struct http_codec *codec_of(llhttp_t *parser)
{
	return parser->data;
}

static int fail(struct http_codec *codec, int status, const char *reason)
{
	codec->type = HTTP_EVENT_FAILED;
	codec->event = (struct http_event){ .status = status, .reason = reason };
	return HPE_USER;
}

/* ---- strings of the head ---- */

static void string_begin(struct http_codec *codec)
{
	codec->string = codec->text + codec->text_length;
}

static int string_add(struct http_codec *codec, const char *data, size_t length)
{
	if (length >= codec->run_limit - codec->text_length)
		return fail(codec, 431, "the head is too long");
	if (memchr(data, '\0', length))
		return fail(codec, 400, "a NUL byte in the head");
	memcpy(codec->text + codec->text_length, data, length);
	codec->text_length += length;
	return 0;
}

static const char *string_end(struct http_codec *codec)
{
	codec->text[codec->text_length++] = '\0';
	return codec->string;
}

static void string_trim(struct http_codec *codec)
{
	char *end = codec->text + codec->text_length;

	while (end > codec->string && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	codec->text_length = (size_t)(end - codec->text);
}

/* llhttp as the distribution builds it lets spaces into names, and control characters into targets. */
static bool is_token(const char *name) /* RFC 9110 section 5.6.2 */
{
	const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *name && name[strspn(name, allowed)] == '\0';
}

static bool is_visible(const char *target)
{
	while (*target > ' ' && *target < 0x7f)
		target++;
	return !*target;
}

/* ---- callbacks ---- */

static int on_message_begin(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	codec->in_head = true;
	codec->head = (struct http_head){ .headers = codec->headers };
	codec->text_length = 0;
	string_begin(codec);
	return 0;
}

static int on_text(llhttp_t *parser, const char *data, size_t length)
{
	struct http_codec *codec = codec_of(parser);

	return codec->in_head ? string_add(codec, data, length) : 0; /* trailers are left out */
}

static int on_url_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	codec->head.target = string_end(codec);
	if (!is_visible(codec->head.target))
		return fail(codec, 400, "a character in the target that must be %-encoded");
	string_begin(codec);
	return 0;
}

static int on_field_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	if (!codec->in_head)
		return 0;
	if (codec->head.header_count == HTTP_HEADERS_MAX)
		return fail(codec, 431, "more than 100 headers");
	codec->headers[codec->head.header_count].name = string_end(codec);
	if (!is_token(codec->string))
		return fail(codec, 400, "the name of a header is no token");
	string_begin(codec);
	return 0;
}

static int on_value_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	if (!codec->in_head)
		return 0;
	string_trim(codec);
	codec->headers[codec->head.header_count++].value = string_end(codec);
	string_begin(codec);
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	if (parser->http_major != 1)
		return fail(codec, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	if (parser->http_minor == 0 && (parser->flags & F_TRANSFER_ENCODING))
		return fail(codec, 400, "Transfer-Encoding in an HTTP/1.0 request"); /* RFC 9112 section 6.1 */
	codec->in_head = false;
	codec->head.method = llhttp_method_name(parser->method);
	codec->head.minor = parser->http_minor;
	codec->head.keep_alive = llhttp_should_keep_alive(parser) && !parser->upgrade;
	codec->head.chunked = parser->flags & F_CHUNKED;
	codec->head.content_length = parser->flags & F_CONTENT_LENGTH ? parser->content_length : 0;
	codec->type = HTTP_EVENT_HEAD;
	return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *data, size_t length)
{
	struct http_codec *codec = codec_of(parser);

	if (length == 0) /* resumed at the end of the input */
		return 0;
	codec->type = HTTP_EVENT_BODY;
	codec->event = (struct http_event){ .body = data, .body_bytes = length };
	return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
	struct http_codec *codec = codec_of(parser);

	codec->closed = !codec->head.keep_alive;
	codec->type = HTTP_EVENT_END;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_message_begin = on_message_begin,
	.on_url = on_text,
	.on_url_complete = on_url_complete,
	.on_header_field = on_text,
	.on_header_field_complete = on_field_complete,
	.on_header_value = on_text,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* ---- what callers see ---- */

int http_codec_new(size_t run_limit_bytes, struct http_codec **ret_codec)
{
	struct http_codec *codec = calloc(1, sizeof(*codec) + run_limit_bytes);

	if (!codec)
		return -ENOMEM;
	codec->run_limit = run_limit_bytes;
	llhttp_init(&codec->parser, HTTP_REQUEST, &settings);
	codec->parser.data = codec;
	*ret_codec = codec;
	return 0;
}

struct http_codec *http_codec_free(struct http_codec *codec)
{
	free(codec);
	return NULL;
}

static void parser_failed(struct http_codec *codec, llhttp_errno_t error)
{
	if (codec->type == HTTP_EVENT_FAILED) /* a callback has said why */
		return;
	if (error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE)
		fail(codec, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	else
		fail(codec, 400, llhttp_get_error_reason(&codec->parser));
}

/* Gives llhttp one stretch of input, at most as much as the limit leaves. */
static void parse(struct http_codec *codec, const char **data, size_t *length)
{
	size_t used = MIN(*length, codec->run_limit - codec->run);
	llhttp_errno_t error;

	if (used == 0 && !codec->paused) {
		if (codec->in_head)
			fail(codec, 431, "the head is too long");
		else
			fail(codec, 400, "too much between requests or chunks");
		return;
	}
	if (codec->paused)
		llhttp_resume(&codec->parser);
	error = llhttp_execute(&codec->parser, *data, used);
	codec->paused = error == HPE_PAUSED;
	if (codec->paused)
		used = (size_t)(llhttp_get_error_pos(&codec->parser) - *data);
	else if (error != HPE_OK)
		parser_failed(codec, error);
	*data += used;
	*length -= used;
	codec->run = codec->type == HTTP_EVENT_MORE ? codec->run + used : 0;
}

enum http_event_type http_codec_next(struct http_codec *codec, const char **data, size_t *length, struct http_event *ret_event)
{
	if (codec->type != HTTP_EVENT_FAILED) {
		codec->event = (struct http_event){};
		codec->type = codec->closed ? HTTP_EVENT_CLOSED : HTTP_EVENT_MORE;
	}
	assert(*data); /* to llhttp a NULL would mean that no piece of a body is under way */
	while (codec->type == HTTP_EVENT_MORE && (*length > 0 || codec->paused))
		parse(codec, data, length);
	*ret_event = codec->event;
	return codec->type;
}

const struct http_head *http_codec_head(const struct http_codec *codec)
{
	return &codec->head;
}

const char *http_head_value(const struct http_head *head, const char *name, size_t *ret_count)
{
	const char *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < head->header_count; i++)
		if (strcasecmp(head->headers[i].name, name) == 0 && count++ == 0)
			first = head->headers[i].value;
	*ret_count = count;
	return first;
}
