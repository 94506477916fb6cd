/* SPDX-License-Identifier: Apache-2.0 */
/* A format is a row of segments: text that is the same in each line, and operations. */
#include "agent/access_log/format.h"

#include <stdlib.h>
#include <string.h>

#include "agent/access_log/internal.h"
#include "agent/access_log/put.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"

static const char default_text[] =
	"[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% "
	"%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
	"\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

enum segment_form {
	SEGMENT_LITERAL,
	SEGMENT_TEXT, /* of a text format */
	SEGMENT_PART, /* of a JSON string */
	SEGMENT_MEMBER, /* a whole JSON value */
};

struct segment {
	enum segment_form form;
	size_t at, length; /* of a literal, in `literals` */
	struct operation operation;
};

struct access_log_format {
	struct segment *segments;
	size_t segment_count;
	struct buffer literals;
	char *source; /* canonical, to compare */
	bool needs_hostname;
};

/* --- segments --------------------------------------------------------------------------------------------------------------- */

static int segment_add(struct access_log_format *format, const struct segment *segment)
{
	struct segment *segments = reallocarray(format->segments, format->segment_count + 1, sizeof(*segments));

	if (!segments)
		return -ENOMEM;
	format->segments = segments;
	segments[format->segment_count++] = *segment;
	return 0;
}

static int literal_add(struct access_log_format *format, struct span text, bool json)
{
	struct segment *last = format->segment_count > 0 ? &format->segments[format->segment_count - 1] : NULL;
	struct segment segment = { .form = SEGMENT_LITERAL, .at = format->literals.length };
	size_t length;

	if (json) {
		struct put put;

		put_begin(&put, &format->literals);
		put_json_text(&put, text);
		put_end(&put);
	} else {
		buffer_append(&format->literals, text.data, text.length);
	}
	if (buffer_failed(&format->literals))
		return -ENOMEM;
	length = format->literals.length - segment.at;
	if (length == 0)
		return 0;
	if (last && last->form == SEGMENT_LITERAL) {
		last->length += length;
		return 0;
	}
	segment.length = length;
	return segment_add(format, &segment);
}

/* --- operators found in text ------------------------------------------------------------------------------------------------ */

struct found {
	struct span name, parameters; /* data NULL: no brackets */
	bool has_length;
	size_t truncate;
	size_t used; /* bytes, from per cent to per cent */
};

#define TRUNCATE_MAX 1000000000

static bool name_byte(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* %NAME%, %NAME(PARAMETERS)%, %NAME(PARAMETERS):LENGTH%. -EINVAL says what is wrong; the name is filled as far as there is one. */
static int find_operator(struct span at, struct found *found, struct error *err)
{
	const char *c = at.data + 1, *end = at.data + at.length;

	*found = (struct found){ .name.data = c };
	while (c < end && name_byte(*c))
		c++;
	found->name.length = (size_t)(c - found->name.data);
	if (found->name.length == 0)
		return error_set(err, -EINVAL, "no operator behind \"%%\" (\"%%%%\" is a per cent sign)");
	if (c < end && *c == '(') {
		const char *close = memchr(c, ')', (size_t)(end - c));

		if (!close)
			return error_set(err, -EINVAL, "\"(\" without \")\"");
		found->parameters = (struct span){ c + 1, (size_t)(close - c - 1) };
		c = close + 1;
	}
	if (c < end && *c == ':') {
		const char *digits = ++c;

		for (; c < end && *c >= '0' && *c <= '9' && found->truncate < TRUNCATE_MAX; c++)
			found->truncate = found->truncate * 10 + (size_t)(*c - '0');
		found->has_length = true;
		if (c == digits)
			return error_set(err, -EINVAL, "\":\" without a length");
	}
	if (c >= end || *c != '%')
		return error_set(err, -EINVAL, "no \"%%\" at its end");
	found->used = (size_t)(c + 1 - at.data);
	return 0;
}

#define NAME_SHOWN_BYTES 64

/* `start` is the text that `at` is in. */
static int operator_error(const struct found *found, struct span at, struct span start, const char *field, const struct error *why,
			  struct error *err)
{
	const size_t byte = (size_t)(at.data - start.data) + 1;

	if (found->name.length == 0)
		return error_set_field(err, why->code, field, "at byte %zu: %s", byte, why->message);
	return error_set_field(err, why->code, field, "operator %%%.*s%% at byte %zu: %s", (int)MIN(found->name.length, NAME_SHOWN_BYTES),
			       found->name.data, byte, why->message);
}

static int operation_add(struct access_log_format *format, enum segment_form form, const struct found *found, struct error *err)
{
	struct segment segment = { .form = form };
	int r = operation_init(&segment.operation, found->name, found->parameters, found->has_length, found->truncate, err);

	if (r == 0)
		r = segment_add(format, &segment);
	if (r < 0)
		operation_done(&segment.operation);
	else
		format->needs_hostname |= operation_needs_hostname(&segment.operation);
	return r == -ENOMEM ? error_set(err, r, "out of memory") : r;
}

/* The next piece of `text`: literal text, or an operator. */
static int text_step(struct access_log_format *format, struct span *text, struct span start, enum segment_form form, const char *field,
		     struct error *err)
{
	const char *percent = memchr(text->data, '%', text->length);
	size_t used = percent ? (size_t)(percent - text->data) : text->length;
	struct error why = {};
	struct found found;
	int r;

	if (used == 0 && text->length > 1 && text->data[1] == '%') {
		r = literal_add(format, SPAN("%"), false);
		used = 2;
	} else if (used > 0) {
		r = literal_add(format, (struct span){ text->data, used }, form != SEGMENT_TEXT);
	} else {
		r = find_operator(*text, &found, &why);
		if (r == 0)
			r = operation_add(format, form, &found, &why);
		if (r < 0)
			return operator_error(&found, *text, start, field, &why, err);
		used = found.used;
	}
	if (r < 0)
		return error_set(err, r, "out of memory");
	text->data += used;
	text->length -= used;
	return 0;
}

static int text_add(struct access_log_format *format, struct span text, enum segment_form form, const char *field, struct error *err)
{
	const struct span start = text;
	int r = 0;

	while (r == 0 && text.length > 0)
		r = text_step(format, &text, start, form, field, err);
	return r;
}

/* --- JSON ------------------------------------------------------------------------------------------------------------------- */

/* Whether the text is one operator and nothing else. */
static bool is_one_operator(struct span text)
{
	struct found found;

	return text.length > 1 && text.data[0] == '%' && text.data[1] != '%' && find_operator(text, &found, NULL) == 0 &&
	       found.used == text.length;
}

static int member_add(struct access_log_format *format, struct span key, struct span value, const char *field, struct error *err)
{
	const bool alone = is_one_operator(value);
	int r = literal_add(format, format->segment_count > 0 ? SPAN(",\"") : SPAN("{\""), false);

	if (r == 0)
		r = literal_add(format, key, true);
	if (r == 0)
		r = literal_add(format, alone ? SPAN("\":") : SPAN("\":\""), false);
	if (r < 0)
		return error_set(err, r, "out of memory");
	r = text_add(format, value, alone ? SEGMENT_MEMBER : SEGMENT_PART, field, err);
	if (r == 0 && !alone)
		r = literal_add(format, SPAN("\""), false);
	return r == -ENOMEM ? error_set(err, r, "out of memory") : r;
}

struct key {
	struct table_node node;
	size_t index;
};

/* One object has no member twice. */
static int check_keys(const json_t *list, const char *field, struct error *err)
{
	const size_t count = json_array_size(list);
	_cleanup_free_ struct key *keys = calloc(count + 1, sizeof(*keys));
	_cleanup_(table_done) struct table seen = {};
	char place[ERROR_FIELD_BYTES];

	for (size_t i = 0; keys && i < count; i++) {
		const char *name = json_path_string(json_array_get(list, i), "key");
		int r;

		keys[i].index = i;
		r = table_add(&seen, &keys[i].node, name);
		if (r == -ENOMEM)
			return error_set(err, r, "out of memory");
		if (r == 0)
			continue;
		snprintf(place, sizeof(place), "%s.json[%zu].key", field, i);
		return error_set_field(err, -EINVAL, place, "is \"%s\", as json[%zu].key is", name,
				       container_of(table_get(&seen, name), struct key, node)->index);
	}
	return keys ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int json_add(struct access_log_format *format, const json_t *list, const char *field, struct error *err)
{
	char place[ERROR_FIELD_BYTES];
	int r = check_keys(list, field, err);

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *member = json_array_get(list, i);

		snprintf(place, sizeof(place), "%s.json[%zu].value", field, i);
		r = member_add(format, span_of(json_path_string(member, "key")), span_of(json_path_string(member, "value")), place, err);
	}
	if (r < 0)
		return r;
	r = literal_add(format, format->segment_count > 0 ? SPAN("}\n") : SPAN("{}\n"), false);
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

/* --- a format's life -------------------------------------------------------------------------------------------------------- */

static int compile(struct access_log_format *format, const json_t *json, const char *field, struct error *err)
{
	const json_t *list = json_object_get(json, "json");
	const char *text = json_path_string(json, "text");
	char place[ERROR_FIELD_BYTES];

	format->source = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : strdup("");
	if (!format->source)
		return error_set(err, -ENOMEM, "out of memory");
	if (list)
		return json_add(format, list, field, err);
	snprintf(place, sizeof(place), "%s.text", field);
	return text_add(format, span_of(text ? text : default_text), SEGMENT_TEXT, place, err);
}

int access_log_format_new(const json_t *json, const char *field, struct access_log_format **ret_format, struct error *err)
{
	struct access_log_format *format = calloc(1, sizeof(*format));
	int r = format ? compile(format, json, field, err) : error_set(err, -ENOMEM, "out of memory");

	if (r < 0) {
		access_log_format_free(format);
		return r;
	}
	*ret_format = format;
	return 0;
}

struct access_log_format *access_log_format_free(struct access_log_format *format)
{
	if (!format)
		return NULL;
	for (size_t i = 0; i < format->segment_count; i++)
		operation_done(&format->segments[i].operation);
	free(format->segments);
	buffer_done(&format->literals);
	free(format->source);
	free(format);
	return NULL;
}

bool access_log_format_equal(const struct access_log_format *a, const struct access_log_format *b)
{
	return strcmp(a->source, b->source) == 0;
}

bool access_log_format_needs_hostname(const struct access_log_format *format)
{
	return format->needs_hostname;
}

/* --- a line ----------------------------------------------------------------------------------------------------------------- */

static void put_value(struct put *put, enum segment_form form, const struct value *value)
{
	const bool member = form == SEGMENT_MEMBER;

	if (value->kind == VALUE_ABSENT) {
		put_bytes(put, member ? "null" : "-", member ? 4 : 1);
	} else if (value->kind == VALUE_NUMBER) {
		put_number(put, value->number);
	} else if (form == SEGMENT_TEXT) {
		put_foreign_text(put, value->text);
	} else {
		if (member)
			put_byte(put, '"');
		put_json_text(put, value->text);
		if (member)
			put_byte(put, '"');
	}
}

void access_log_format(const struct access_log_format *format, const struct access_log_entry *entry, struct buffer *line)
{
	const size_t before = line->length;
	struct put put;

	put_begin(&put, line);
	for (size_t i = 0; i < format->segment_count; i++) {
		const struct segment *segment = &format->segments[i];
		struct value value;

		if (segment->form == SEGMENT_LITERAL) {
			put_bytes(&put, format->literals.data + segment->at, segment->length);
			continue;
		}
		operation_value(&segment->operation, entry, &value);
		put_value(&put, segment->form, &value);
	}
	put_end(&put);
	if (buffer_failed(line) && line->data)
		line->length = before;
}
