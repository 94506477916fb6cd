/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/convert/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/convert/form.h"
#include "agent/convert/yaml.h"
#include "agent/spec/directory.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#define READ_BYTES (64 * 1024)

struct input_text {
	char *name;
	struct buffer bytes;
	json_t *places; /* of YAML; NULL: it is JSON */
	struct json_place_memory memory; /* of JSON */
};

static void cleanup_text(struct input_text **text)
{
	if (!*text)
		return;
	free((*text)->name);
	buffer_done(&(*text)->bytes);
	json_decref((*text)->places);
	free(*text);
}

int inputs_init(struct inputs *inputs)
{
	*inputs = (struct inputs){ .problems = json_array() };
	return inputs->problems ? 0 : -ENOMEM;
}

void inputs_done(struct inputs *inputs)
{
	for (size_t i = 0; i < inputs->document_count; i++)
		json_decref(inputs->documents[i].value);
	for (size_t i = 0; i < inputs->text_count; i++)
		cleanup_text(&inputs->texts[i]);
	free(inputs->documents);
	free(inputs->texts);
	json_decref(inputs->problems);
	*inputs = (struct inputs){};
}

/* --- what is wrong ------------------------------------------------------------------------------------------------------- */

int inputs_problem_at(struct inputs *inputs, const char *file, const struct json_place *place, const char *resource,
		      const struct error *err)
{
	json_t *problem = json_pack("{s:s*, s:s*, s:s*, s:s}", "file", file, "resource", resource, "field",
				    err->field[0] ? err->field : NULL, "error", err->message);

	if (problem && place) {
		json_object_set_new(problem, "line", json_integer(place->line));
		json_object_set_new(problem, "column", json_integer(place->column));
	}
	return json_array_append_new(inputs->problems, problem) < 0 ? -ENOMEM : 0;
}

const char *document_file(const struct document *document)
{
	return document->text->name;
}

static void yaml_place(const json_t *places, char *path, struct json_place *ret_place)
{
	const json_t *place;

	while (!(place = json_object_get(places, path)) && *path) {
		char *dot = strrchr(path, '.'), *bracket = strrchr(path, '[');

		*(dot > bracket ? dot : bracket ?: path) = '\0';
	}
	*ret_place = (struct json_place){ 1, 1 };
	if (place)
		*ret_place = (struct json_place){ (unsigned int)json_integer_value(json_array_get(place, 0)),
						  (unsigned int)json_integer_value(json_array_get(place, 1)) };
}

void document_place(const struct document *document, const char *field, struct json_place *ret_place)
{
	const struct buffer *bytes = &document->text->bytes;
	char path[sizeof(document->prefix) + 1 + ERROR_FIELD_BYTES];

	snprintf(path, sizeof(path), "%s%s%s", document->prefix, document->prefix[0] && field[0] ? "." : "", field);
	if (document->text->places)
		yaml_place(document->text->places, path, ret_place);
	else
		json_place_find(buffer_string(bytes), bytes->length, document->offset, path, &document->text->memory, ret_place);
}

int inputs_problem(struct inputs *inputs, const struct document *document, const char *resource, const struct error *err)
{
	struct json_place place;

	document_place(document, err->field, &place);
	return inputs_problem_at(inputs, document_file(document), &place, resource, err);
}

void problems_print(const json_t *problems, FILE *to)
{
	const json_t *problem;
	size_t i;

	json_array_foreach((json_t *)problems, i, problem) {
		const char *file = json_path_string(problem, "file"), *field = json_path_string(problem, "field");
		const json_int_t line = json_path_int(problem, "line", 0), column = json_path_int(problem, "column", 0);

		if (file)
			fprintf(to, "%s:", file);
		if (file && line > 0)
			fprintf(to, "%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ":", line, column);
		fprintf(to, "%s%s%s%s\n", file ? " " : "", field ?: "", field ? ": " : "", json_path_string(problem, "error"));
	}
}

/* --- reading -------------------------------------------------------------------------------------------------------------- */

static int add_text(struct inputs *inputs, const char *name, struct input_text **ret_text)
{
	_cleanup_(cleanup_text) struct input_text *text = calloc(1, sizeof(*text));
	struct input_text **grown = reallocarray(inputs->texts, inputs->text_count + 1, sizeof(*grown));

	if (grown)
		inputs->texts = grown;
	if (!grown || !text || !(text->name = strdup(name)))
		return -ENOMEM;
	*ret_text = inputs->texts[inputs->text_count++] = TAKE_PTR(text);
	return 0;
}

static int add_document(struct inputs *inputs, struct input_text *text, size_t offset, const char *prefix, json_t *value)
{
	struct document *grown = reallocarray(inputs->documents, inputs->document_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	inputs->documents = grown;
	grown[inputs->document_count] = (struct document){ .value = json_incref(value), .text = text, .offset = offset };
	snprintf(grown[inputs->document_count++].prefix, sizeof(grown->prefix), "%s", prefix);
	return 0;
}

static int read_bytes(int fd, struct buffer *bytes, struct error *err)
{
	ssize_t n;
	char *to;

	do {
		to = buffer_reserve(bytes, READ_BYTES);
		if (!to)
			return error_set(err, -ENOMEM, "no memory to read it");
		n = read(fd, to, READ_BYTES);
		if (n < 0)
			return error_set(err, -errno, "cannot be read: %m");
		bytes->length += (size_t)n;
	} while (n > 0 && bytes->length <= INPUT_LIMIT_BYTES);
	if (bytes->length > INPUT_LIMIT_BYTES)
		return error_set(err, -E2BIG, "has more than %d bytes", INPUT_LIMIT_BYTES);
	return 0;
}

static size_t skip_space(const struct buffer *bytes, size_t at)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";

	if (at == 0 && bytes->length >= 3 && memcmp(bytes->data, byte_order_mark, 3) == 0)
		at = 3;
	while (at < bytes->length && strchr(" \t\r\n", bytes->data[at]) && bytes->data[at])
		at++;
	return at;
}

/* A value of the text: a document, or a list of them. */
static int add_value(struct inputs *inputs, struct input_text *text, size_t offset, json_t *value)
{
	char prefix[sizeof(((struct document *)0)->prefix)];
	json_t *element;
	size_t i;
	int r = 0;

	if (!json_is_array(value))
		return add_document(inputs, text, offset, "", value);
	json_array_foreach(value, i, element) {
		snprintf(prefix, sizeof(prefix), "[%zu]", i);
		r = r < 0 ? r : add_document(inputs, text, offset, prefix, element);
	}
	return r;
}

/* A template of CloudFormation, or nothing that is read here. */
static int parse_yaml(struct inputs *inputs, struct input_text *text, struct error *err)
{
	_cleanup_json_ json_t *value = NULL;
	enum document_form form;
	struct json_place place;
	bool more = false;
	int r = yaml_parse(text->bytes.data, text->bytes.length, &value, &text->places, &more, &place, err);

	if (r == 0)
		place = (struct json_place){ 1, 1 };
	if (r == 0 && json_is_object(value))
		r = form_of_document(value, &form, err);
	if (r == 0 && (!json_is_object(value) || form != FORM_TEMPLATE))
		r = error_set(err, -EINVAL, "is no JSON, which begins with { or [; of YAML, templates of CloudFormation are read");
	if (r == 0 && more)
		r = error_set(err, -EINVAL, "is several documents of YAML; a template is one");
	if (r == -EINVAL)
		return inputs_problem_at(inputs, text->name, &place, NULL, err);
	return r < 0 ? r : add_document(inputs, text, 0, "", value);
}

static int parse(struct inputs *inputs, struct input_text *text, struct error *err)
{
	const struct buffer *bytes = &text->bytes;
	size_t at = skip_space(bytes, 0);
	struct json_place place = { 1, 1 };
	int r;

	if (at == bytes->length)
		r = error_set(err, -EINVAL, "is empty");
	else
		r = form_is_json(text->name, bytes->data[at], err);
	if (r < 0)
		return inputs_problem_at(inputs, text->name, NULL, NULL, err);
	if (r == 0)
		return parse_yaml(inputs, text, err);
	while (at < bytes->length) {
		_cleanup_json_ json_t *value = NULL;
		const size_t offset = at;

		r = json_parse_next(bytes->data, bytes->length, &at, &value, &place, err);
		if (r == -EINVAL)
			return inputs_problem_at(inputs, text->name, &place, NULL, err);
		if (r == 0)
			r = add_value(inputs, text, offset, value);
		if (r < 0)
			return r;
		at = skip_space(bytes, at);
	}
	return 0;
}

static int read_fd(struct inputs *inputs, int fd, const char *name, struct error *err)
{
	struct input_text *text;
	struct error own = {};
	int r = add_text(inputs, name, &text);

	if (r < 0)
		return r;
	r = read_bytes(fd, &text->bytes, &own);
	if (r < 0 && r != -ENOMEM)
		return inputs_problem_at(inputs, name, NULL, NULL, &own);
	return r < 0 ? r : parse(inputs, text, err);
}

static int read_path(struct inputs *inputs, const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct error own = {};

	if (fd >= 0)
		return read_fd(inputs, fd, path, err);
	error_set(&own, -errno, "cannot be opened: %m");
	return inputs_problem_at(inputs, path, NULL, NULL, &own);
}

static int read_below(const char *path, void *arg, struct error *err)
{
	struct inputs *inputs = arg;
	struct stat st;

	if (!directory_is_json(path)) {
		inputs->left_alone++;
		return 0;
	}
	/* A FIFO that lies among files must not hold the reader up; one that is named is meant. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		struct error own = {};

		error_set(&own, -EINVAL, "is not a regular file");
		return inputs_problem_at(inputs, path, NULL, NULL, &own);
	}
	return read_path(inputs, path, err);
}

int inputs_read(struct inputs *inputs, const char *path, struct error *err)
{
	struct error own = {};
	struct stat st;
	int r;

	if (strcmp(path, "-") == 0) {
		r = read_fd(inputs, STDIN_FILENO, "(standard input)", &own);
	} else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		r = directory_each(path, read_below, inputs, &own);
		if (r < 0 && r != -ENOMEM)
			r = inputs_problem_at(inputs, NULL, NULL, NULL, &own);
	} else {
		r = read_path(inputs, path, &own);
	}
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}
