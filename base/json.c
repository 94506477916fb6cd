/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"

#define READ_BYTES (64 * 1024)

/* The library quotes what it met, cut anywhere: bytes that are no UTF-8 become '?', for messages go into JSON again. */
static const char *fault_text(json_error_t *e)
{
	for (char *at = e->text; *at;) {
		const size_t bytes = utf8_sequence(at, strlen(at));

		if (!bytes)
			*at = '?';
		at += bytes ?: 1;
	}
	return e->text;
}

int json_parse(const char *text, size_t length, json_t **ret_value, struct error *err)
{
	json_error_t e;
	json_t *value;

	if (length > JSON_TEXT_LIMIT_BYTES)
		return error_set(err, -E2BIG, "JSON text of more than %d bytes", JSON_TEXT_LIMIT_BYTES);
	value = json_loadb(text, length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);
	if (!value && json_error_code(&e) == json_error_out_of_memory)
		return error_set(err, -ENOMEM, "no memory to parse JSON");
	if (!value)
		return error_set(err, -EINVAL, "line %d, column %d: %s", MAX(e.line, 1), MAX(e.column, 0), fault_text(&e));
	*ret_value = value;
	return 0;
}

int json_parse_next(const char *text, size_t length, size_t *offset, json_t **ret_value, struct json_place *ret_place,
		    struct error *err)
{
	json_error_t e;
	json_t *value = json_loadb(text + *offset, length - *offset, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &e);

	if (!value && json_error_code(&e) == json_error_out_of_memory)
		return error_set(err, -ENOMEM, "no memory to parse JSON");
	if (!value) {
		json_place_of(text, length, *offset + (size_t)MAX(e.position - 1, 0), ret_place);
		return error_set(err, -EINVAL, "%s", fault_text(&e));
	}
	*offset += (size_t)e.position;
	*ret_value = value;
	return 0;
}

/* Up to a byte more than the limit. `size` is what there is said to be: files of /proc have more than none. */
static int read_text(int fd, size_t size, struct buffer *text)
{
	size_t room = size + 1; /* so that what comes short of it is all */
	ssize_t n;
	char *to;

	do {
		to = buffer_reserve(text, room);
		if (!to)
			return -ENOMEM;
		n = read(fd, to, room);
		if (n < 0)
			return -errno;
		text->length += (size_t)n;
		if (size && (size_t)n < room)
			break;
		room = READ_BYTES;
	} while (n > 0 && text->length <= JSON_TEXT_LIMIT_BYTES);
	return 0;
}

int json_parse_file_stat(const char *path, struct stat *ret_st, json_t **ret_value, struct error *err)
{
	/* A FIFO or a device in a directory of files must not hold its reader up, not even in open(). */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_(buffer_done) struct buffer text = {};
	struct stat st;
	int r;

	if (fd < 0)
		return error_set(err, -errno, "cannot open '%s': %m", path);
	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot inspect '%s': %m", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "'%s' is not a regular file", path);
	r = read_text(fd, (size_t)MIN(st.st_size, JSON_TEXT_LIMIT_BYTES), &text);
	if (r < 0)
		return error_set(err, r, "cannot read '%s': %s", path, strerror(-r));
	r = json_parse(buffer_string(&text), text.length, ret_value, err);
	if (r < 0)
		error_prefix(err, "'%s'", path);
	else
		*ret_st = st;
	return r;
}

int json_parse_file(const char *path, json_t **ret_value, struct error *err)
{
	struct stat st;

	return json_parse_file_stat(path, &st, ret_value, err);
}

static void print_string(const char *string, size_t length, struct buffer *text)
{
	static const char *const escapes[] = {
		['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t", ['"'] = "\\\"", ['\\'] = "\\\\",
	};
	size_t done = 0;

	buffer_append(text, "\"", 1);
	for (size_t i = 0; i < length; i++) {
		const unsigned char c = (unsigned char)string[i];

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		buffer_append(text, string + done, i - done);
		if (escapes[c])
			buffer_append(text, escapes[c], 2);
		else
			buffer_printf(text, "\\u%04X", c);
		done = i + 1;
	}
	buffer_append(text, string + done, length - done);
	buffer_append(text, "\"", 1);
}

static void print_object(const json_t *object, struct buffer *text)
{
	const char *separator = "{";
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value) {
		buffer_append(text, separator, 1);
		print_string(key, strlen(key), text);
		buffer_append(text, ":", 1);
		json_print(value, text);
		separator = ",";
	}
	buffer_add(text, *separator == '{' ? "{}" : "}");
}

static void print_array(const json_t *array, struct buffer *text)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		buffer_append(text, i ? "," : "[", 1);
		json_print(json_array_get(array, i), text);
	}
	buffer_add(text, json_array_size(array) ? "]" : "[]");
}

static int append(const char *bytes, size_t length, void *arg)
{
	buffer_append(arg, bytes, length);
	return 0;
}

void json_print(const json_t *value, struct buffer *text)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_OBJECT:
		print_object(value, text);
		return;
	case JSON_ARRAY:
		print_array(value, text);
		return;
	case JSON_STRING:
		print_string(json_string_value(value), json_string_length(value), text);
		return;
	case JSON_INTEGER:
		buffer_add_i64(text, json_integer_value(value));
		return;
	case JSON_REAL: /* of which none is in what is printed often */
		json_dump_callback(value, append, text, JSON_COMPACT | JSON_ENCODE_ANY);
		return;
	case JSON_TRUE:
		buffer_append(text, "true", 4);
		return;
	case JSON_FALSE:
		buffer_append(text, "false", 5);
		return;
	case JSON_NULL:
		buffer_append(text, "null", 4);
		return;
	}
}

static uint64_t object_hash(const json_t *object)
{
	uint64_t sum = 0; /* the same in any order */
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
		sum += hash_join(hash_string(key), json_hash(value));
	return hash_join(sum, json_object_size(object));
}

static uint64_t array_hash(const json_t *array)
{
	uint64_t hash = json_array_size(array);

	for (size_t i = 0; i < json_array_size(array); i++)
		hash = hash_join(hash, json_hash(json_array_get(array, i)));
	return hash;
}

static uint64_t real_bits(const json_t *real)
{
	const double value = json_real_value(real) + 0.0; /* -0.0 becomes 0.0 */
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

uint64_t json_hash(const json_t *value)
{
	uint64_t hash = 0; /* of true, false and null, which their types tell apart */

	if (json_is_object(value))
		hash = object_hash(value);
	else if (json_is_array(value))
		hash = array_hash(value);
	else if (json_is_string(value))
		hash = hash_bytes(json_string_value(value), json_string_length(value));
	else if (json_is_integer(value))
		hash = (uint64_t)json_integer_value(value);
	else if (json_is_real(value))
		hash = real_bits(value);
	return hash_join(hash, value ? (uint64_t)json_typeof(value) + 1 : 0);
}

json_t *json_path(const json_t *value, const char *path)
{
	while (*path) {
		size_t length = strcspn(path, ".");

		value = json_object_getn(value, path, length); /* NULL of anything but an object */
		path += length + (path[length] == '.');
	}
	return (json_t *)value;
}

const char *json_path_string(const json_t *value, const char *path)
{
	return json_string_value(json_path(value, path));
}

int64_t json_path_int(const json_t *value, const char *path, int64_t fallback)
{
	const json_t *found = json_path(value, path);

	return json_is_integer(found) ? json_integer_value(found) : fallback;
}

bool json_path_bool(const json_t *value, const char *path, bool fallback)
{
	const json_t *found = json_path(value, path);

	return json_is_boolean(found) ? json_is_true(found) : fallback;
}

size_t json_path_count(const json_t *value, const char *path)
{
	return json_array_size(json_path(value, path)); /* 0 of anything but an array */
}

json_t *json_path_at(const json_t *value, const char *path, size_t index)
{
	return json_array_get(json_path(value, path), index);
}
