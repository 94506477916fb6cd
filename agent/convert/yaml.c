/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/convert/yaml.h"

#include <string.h>
#include <yaml.h>

#include "base/bytes.h"
#include "base/cleanup.h"

struct reader {
	yaml_parser_t parser;
	struct buffer path; /* of the node at hand */
	json_t *places;
	struct json_place *fault;
	struct error *err;
};

static int read_node(struct reader *reader, const yaml_event_t *event, size_t depth, json_t **ret_value);

static void cleanup_event(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static int refuse(struct reader *reader, const yaml_mark_t *mark, const char *what)
{
	*reader->fault = (struct json_place){ (unsigned int)mark->line + 1, (unsigned int)mark->column + 1 };
	return error_set(reader->err, -EINVAL, "YAML: %s", what);
}

static int no_memory(struct reader *reader)
{
	return error_set(reader->err, -ENOMEM, "no memory to parse YAML");
}

static int next(struct reader *reader, yaml_event_t *event)
{
	if (yaml_parser_parse(&reader->parser, event))
		return 0;
	memset(event, 0, sizeof(*event));
	if (reader->parser.error == YAML_MEMORY_ERROR)
		return no_memory(reader);
	return refuse(reader, &reader->parser.problem_mark, reader->parser.problem ?: "cannot be read");
}

static int note_place(struct reader *reader, const yaml_mark_t *mark)
{
	json_t *place = json_pack("[i, i]", (int)mark->line + 1, (int)mark->column + 1);

	return buffer_failed(&reader->path) || json_object_set_new(reader->places, buffer_string(&reader->path), place) < 0 ?
		       no_memory(reader) :
		       0;
}

static void leave(struct reader *reader, size_t length)
{
	if (reader->path.data)
		reader->path.data[reader->path.length = length] = '\0';
}

/* --- tags ------------------------------------------------------------------------------------------------------------------ */

/* "!GetAtt A.B" */
static json_t *split_attribute(json_t *value)
{
	const char *text = json_string_value(value), *dot = text ? strchr(text, '.') : NULL;
	json_t *pair;

	if (!dot)
		return value;
	pair = json_pack("[o, s]", json_stringn(text, (size_t)(dot - text)), dot + 1);
	json_decref(value);
	return pair;
}

/* Takes the value over, whatever happens. */
static int apply_tag(struct reader *reader, const yaml_event_t *event, const char *tag, json_t *value, json_t **ret_value)
{
	static const char standard[] = "tag:yaml.org,2002:";
	char function[64];

	if (!tag || strcmp(tag, "!") == 0 || strncmp(tag, standard, strlen(standard)) == 0) {
		*ret_value = value;
		return 0;
	}
	if (tag[0] != '!' || strlen(tag) > 40) {
		json_decref(value);
		return refuse(reader, &event->start_mark, "a tag that is no function of CloudFormation");
	}
	tag++;
	snprintf(function, sizeof(function), "%s%s", strcmp(tag, "Ref") == 0 || strcmp(tag, "Condition") == 0 ? "" : "Fn::", tag);
	if (strcmp(tag, "GetAtt") == 0)
		value = split_attribute(value);
	*ret_value = json_pack("{s:o}", function, value);
	return *ret_value ? 0 : no_memory(reader);
}

/* --- nodes ----------------------------------------------------------------------------------------------------------------- */

static bool is_null(const yaml_event_t *event)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || event->data.scalar.tag)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i], (const char *)event->data.scalar.value) == 0)
			return true;
	return false;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, json_t **ret_value)
{
	const char *text = (const char *)event->data.scalar.value;
	json_t *value;

	if (memchr(text, '\0', event->data.scalar.length))
		return refuse(reader, &event->start_mark, "text with a NUL");
	value = is_null(event) ? json_null() : json_stringn(text, event->data.scalar.length);
	if (!value)
		return refuse(reader, &event->start_mark, "text that is no UTF-8");
	return apply_tag(reader, event, (const char *)event->data.scalar.tag, value, ret_value);
}

static int read_pair(struct reader *reader, const yaml_event_t *key, json_t *into, size_t depth)
{
	const char *name = (const char *)key->data.scalar.value;
	const size_t length = reader->path.length;
	_cleanup_(cleanup_event) yaml_event_t event = {};
	json_t *value = NULL;
	int r;

	if (key->type != YAML_SCALAR_EVENT || memchr(name, '\0', key->data.scalar.length))
		return refuse(reader, &key->start_mark, "a name must be text");
	if (json_object_get(into, name))
		return refuse(reader, &key->start_mark, "the name is there twice");
	buffer_printf(&reader->path, "%s%s", length ? "." : "", name);
	r = note_place(reader, &key->start_mark);
	if (r == 0)
		r = next(reader, &event);
	if (r == 0)
		r = read_node(reader, &event, depth, &value);
	if (r == 0 && json_object_set_new(into, name, value) < 0)
		r = refuse(reader, &key->start_mark, "a name that is no UTF-8");
	leave(reader, length);
	return r;
}

static int read_element(struct reader *reader, const yaml_event_t *event, json_t *into, size_t depth)
{
	const size_t length = reader->path.length;
	json_t *value = NULL;
	int r;

	buffer_printf(&reader->path, "[%zu]", json_array_size(into));
	r = note_place(reader, &event->start_mark);
	if (r == 0)
		r = read_node(reader, event, depth, &value);
	if (r == 0 && json_array_append_new(into, value) < 0)
		r = no_memory(reader);
	leave(reader, length);
	return r;
}

static int read_collection(struct reader *reader, const yaml_event_t *begin, size_t depth, json_t **ret_value)
{
	const bool is_mapping = begin->type == YAML_MAPPING_START_EVENT;
	const yaml_event_type_t end = is_mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
	const yaml_char_t *tag = is_mapping ? begin->data.mapping_start.tag : begin->data.sequence_start.tag;
	_cleanup_json_ json_t *into = is_mapping ? json_object() : json_array();
	int r = into ? 0 : no_memory(reader);

	if (depth > YAML_DEPTH)
		return refuse(reader, &begin->start_mark, "is too deep");
	while (r == 0) {
		_cleanup_(cleanup_event) yaml_event_t event = {};

		r = next(reader, &event);
		if (r < 0 || event.type == end)
			break;
		r = is_mapping ? read_pair(reader, &event, into, depth + 1) : read_element(reader, &event, into, depth + 1);
	}
	return r < 0 ? r : apply_tag(reader, begin, (const char *)tag, TAKE_PTR(into), ret_value);
}

static int read_node(struct reader *reader, const yaml_event_t *event, size_t depth, json_t **ret_value)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(reader, event, ret_value);
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		return read_collection(reader, event, depth, ret_value);
	case YAML_ALIAS_EVENT:
		return refuse(reader, &event->start_mark, "aliases are not taken, as in CloudFormation");
	default:
		return refuse(reader, &event->start_mark, "a value is missing");
	}
}

static int read_stream(struct reader *reader, json_t **ret_value, bool *ret_more)
{
	static const yaml_event_type_t before[] = { YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT };
	_cleanup_json_ json_t *value = NULL;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(before) && r == 0; i++) {
		_cleanup_(cleanup_event) yaml_event_t event = {};

		r = next(reader, &event);
		if (r == 0 && event.type != before[i])
			r = refuse(reader, &event.start_mark, "there is no document");
	}
	if (r == 0) {
		_cleanup_(cleanup_event) yaml_event_t event = {};

		r = next(reader, &event);
		if (r == 0)
			r = read_node(reader, &event, 0, &value);
	}
	if (r == 0) {
		_cleanup_(cleanup_event) yaml_event_t document_end = {}, event = {};

		r = next(reader, &document_end);
		if (r == 0)
			r = next(reader, &event);
		*ret_more = event.type != YAML_STREAM_END_EVENT;
	}
	if (r == 0)
		*ret_value = TAKE_PTR(value);
	return r;
}

int yaml_parse(const char *text, size_t length, json_t **ret_value, json_t **ret_places, bool *ret_more, struct json_place *ret_place,
	       struct error *err)
{
	struct reader reader = { .places = json_object(), .fault = ret_place, .err = err };
	int r;

	*ret_place = (struct json_place){ 1, 1 };
	if (!reader.places || !yaml_parser_initialize(&reader.parser)) {
		json_decref(reader.places);
		return no_memory(&reader);
	}
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
	r = read_stream(&reader, ret_value, ret_more);
	yaml_parser_delete(&reader.parser);
	buffer_done(&reader.path);
	if (r == 0)
		*ret_places = reader.places;
	else
		json_decref(reader.places);
	return r;
}
