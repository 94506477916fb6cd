/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/discovery/instance.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/cleanup.h"

#define NAME_MAX_CHARACTERS 1024
#define ID_MAX_CHARACTERS 64
#define ATTRIBUTE_KEY_MAX_CHARACTERS 255
#define ATTRIBUTE_VALUE_MAX_CHARACTERS 1024

/* --- attributes ---------------------------------------------------------------------------------------------------------- */

/* Name and value, one pair after the other, by name, each with its NUL, and an empty name at the end: a node may have instances by
 * the hundred thousand, and seldom asks for one's attributes. */

static const char *after(const char *text)
{
	return text + strlen(text) + 1;
}

const char *instance_attribute(const struct instance *instance, const char *name)
{
	for (const char *at = instance->attributes; *at; at = after(after(at)))
		if (strcmp(at, name) == 0)
			return after(at);
	return NULL;
}

json_t *instance_attributes(const struct instance *instance)
{
	_cleanup_json_ json_t *attributes = json_object();

	for (const char *at = instance->attributes; *at; at = after(after(at)))
		if (json_object_set_new(attributes, at, json_string(after(at))) < 0)
			return NULL;
	return TAKE_PTR(attributes);
}

static bool same_attributes(const struct instance *a, const struct instance *b)
{
	const char *x = a->attributes, *y = b->attributes;

	for (; *x && strcmp(x, y) == 0; x = after(x), y = after(y)) {
		x = after(x);
		y = after(y);
		if (strcmp(x, y) != 0)
			return false;
	}
	return !*x && !*y;
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Code points of UTF-8: all bytes but those that continue one. */
static size_t characters(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static int check_attribute(const char *name, const char *value, struct error *err)
{
	char field[ERROR_FIELD_BYTES];

	if (!*name || characters(name) > ATTRIBUTE_KEY_MAX_CHARACTERS)
		return error_set_field(err, -EINVAL, "attributes", "have a name that is not 1 to %d characters long",
				       ATTRIBUTE_KEY_MAX_CHARACTERS);
	if (value && characters(value) <= ATTRIBUTE_VALUE_MAX_CHARACTERS)
		return 0;
	snprintf(field, sizeof(field), "attributes.%s", name);
	if (!value)
		return error_set_field(err, -EINVAL, field, "must be a string");
	return error_set_field(err, -EINVAL, field, "has more than %d characters", ATTRIBUTE_VALUE_MAX_CHARACTERS);
}

static int too_many_attributes(struct error *err)
{
	return error_set_field(err, -EINVAL, "attributes", "are more than %d", INSTANCE_ATTRIBUTES_MAX);
}

static void add_text(struct buffer *to, const char *text)
{
	buffer_append(to, text, strlen(text) + 1);
}

/* Those of an object, checked. */
static int take_attributes(const json_t *attributes, struct buffer *to, struct error *err)
{
	const char *names[INSTANCE_ATTRIBUTES_MAX], *key;
	size_t count = 0;
	json_t *value;
	int r;

	if (!json_is_object(attributes))
		return error_set_field(err, -EINVAL, "attributes", "must be an object of strings");
	if (json_object_size(attributes) > INSTANCE_ATTRIBUTES_MAX)
		return too_many_attributes(err);
	json_object_foreach((json_t *)attributes, key, value) {
		r = check_attribute(key, json_string_value(value), err);
		if (r < 0)
			return r;
		names[count++] = key;
	}
	qsort(names, count, sizeof(*names), name_order);
	for (size_t i = 0; i < count; i++) {
		add_text(to, names[i]);
		add_text(to, json_string_value(json_object_get(attributes, names[i])));
	}
	add_text(to, "");
	return buffer_failed(to) ? error_set(err, -ENOMEM, "out of memory") : 0;
}

/* --- instances ------------------------------------------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool instance_equal(const struct instance *a, const struct instance *b)
{
	return same_attributes(a, b) && a->netns_cookie == b->netns_cookie && a->workload == b->workload &&
	       same_text(a->zone, b->zone);
}

static int check_text(const char *field, const char *text, size_t max, bool in_key, struct error *err)
{
	if (!text || !*text)
		return error_set_field(err, -EINVAL, field, "is missing");
	if (characters(text) > max)
		return error_set_field(err, -EINVAL, field, "has more than %zu characters", max);
	if (in_key && strchr(text, '/'))
		return error_set_field(err, -EINVAL, field, "must not contain '/'");
	return 0;
}

static const struct address_attribute {
	const char *key, *field;
	bool is_v4;
	size_t offset;
} address_attributes[] = {
	{ "AWS_INSTANCE_IPV4", "attributes.AWS_INSTANCE_IPV4", true, offsetof(struct instance, v4) },
	{ "AWS_INSTANCE_IPV6", "attributes.AWS_INSTANCE_IPV6", false, offsetof(struct instance, v6) },
};

static int read_addresses(struct instance *i, struct error *err)
{
	bool any = false;

	for (size_t n = 0; n < ARRAY_SIZE(address_attributes); n++) {
		const struct address_attribute *a = &address_attributes[n];
		const char *text = instance_attribute(i, a->key);
		struct ip ip = {};

		if (text) {
			if (ip_parse(text, &ip) < 0 || ip_is_v4(&ip) != a->is_v4)
				return error_set_field(err, -EINVAL, a->field, "'%s' is no IPv%c address", text,
						       a->is_v4 ? '4' : '6');
			if (!ip_is_connectable(&ip))
				return error_set_field(err, -EINVAL, a->field, "'%s' is no address to connect to", text);
			if (ip_is_loopback(&ip) && i->netns_cookie == 0)
				return error_set_field(err, -EINVAL, a->field,
						       "'%s' is a loopback address: say in which network namespace", text);
			any = true;
		}
		*(struct ip *)((char *)i + a->offset) = ip;
	}
	return any ? 0 : error_set_field(err, -EINVAL, "attributes", "need AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6");
}

static int read_port(struct instance *i, struct error *err)
{
	const char *text = instance_attribute(i, "AWS_INSTANCE_PORT");
	unsigned long port = 0;

	if (text) {
		bool digits = *text && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text);

		port = digits ? strtoul(text, NULL, 10) : 0;
		if (port < 1 || port > UINT16_MAX)
			return error_set_field(err, -EINVAL, "attributes.AWS_INSTANCE_PORT", "'%s' is no port, 1 to 65535", text);
	}
	i->port = (uint16_t)port;
	return 0;
}

/* The bytes that follow the copy of `text`, at `to`. */
static char *put_text(char *to, const char *text)
{
	return stpcpy(to, text) + 1;
}

/* In one piece of memory with all its texts. NULL: there is none. */
static struct instance *instance_make(const struct instance *from, const char *attributes, size_t attributes_bytes)
{
	const size_t bytes = strlen(from->namespace_name) + strlen(from->service_name) + strlen(from->id) + 3 +
			     (from->zone ? strlen(from->zone) + 1 : 0) + attributes_bytes;
	struct instance *i = malloc(sizeof(*i) + bytes);

	if (!i)
		return NULL;
	*i = (struct instance){ .netns_cookie = from->netns_cookie, .workload = from->workload };
	i->namespace_name = (char *)(i + 1);
	i->service_name = put_text(i->namespace_name, from->namespace_name);
	i->id = put_text(i->service_name, from->service_name);
	i->attributes = put_text(i->id, from->id);
	if (from->zone) {
		i->zone = (char *)i->attributes;
		i->attributes = put_text(i->zone, from->zone);
	}
	memcpy((char *)i->attributes, attributes, attributes_bytes);
	return i;
}

/* Checks names, copies, and fills in what attributes say, which are checked. */
static int instance_copy(const struct instance *from, const char *attributes, size_t attributes_bytes, struct instance **ret_instance,
			 struct error *err)
{
	_cleanup_free_ struct instance *i = NULL;
	int r;

	r = check_text("namespace", from->namespace_name, NAME_MAX_CHARACTERS, true, err);
	if (r == 0)
		r = check_text("service", from->service_name, NAME_MAX_CHARACTERS, true, err);
	if (r == 0)
		r = check_text("id", from->id, ID_MAX_CHARACTERS, false, err);
	if (r < 0)
		return r;
	i = instance_make(from, attributes, attributes_bytes);
	if (!i)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_addresses(i, err);
	if (r == 0)
		r = read_port(i, err);
	if (r < 0)
		return r;
	*ret_instance = TAKE_PTR(i);
	return 0;
}

int instance_new(const struct instance *from, const json_t *attributes, struct instance **ret_instance, struct error *err)
{
	_cleanup_(buffer_done) struct buffer texts = {};
	int r = take_attributes(attributes, &texts, err);

	return r < 0 ? r : instance_copy(from, texts.data, texts.length, ret_instance, err);
}

/* --- as the state has it ---------------------------------------------------------------------------------------------------- */

/* A byte that tells the form; zone (empty: none), cookie of the namespace, boot id and workload, as texts each with its NUL; and the
 * attributes as they are in memory. Earlier builds wrote JSON, whose parsing was a fourth of a start. */
#define FORM 1

void instance_write(const struct instance *instance, const char *boot_id, struct buffer *value)
{
	const char *end = instance->attributes;
	const char form = FORM;

	while (*end)
		end = after(after(end));
	buffer_append(value, &form, 1);
	add_text(value, instance->zone ?: "");
	buffer_printf(value, "%" PRIu64, instance->netns_cookie);
	buffer_append(value, "", 1);
	add_text(value, boot_id);
	buffer_printf(value, "%" PRIu64, instance->workload);
	buffer_append(value, "", 1);
	buffer_append(value, instance->attributes, (size_t)(end + 1 - instance->attributes));
}

/* The text that begins at *at, which is moved behind its NUL. NULL: there is none. */
static const char *next_text(const char **at, const char *end)
{
	const char *text = *at, *nul = memchr(text, '\0', (size_t)(end - text));

	if (nul)
		*at = nul + 1;
	return nul ? text : NULL;
}

static bool next_number(const char **at, const char *end, uint64_t *ret_number)
{
	const char *text = next_text(at, end);
	char *rest;

	if (!text || *text < '0' || *text > '9')
		return false;
	*ret_number = strtoull(text, &rest, 10);
	return !*rest;
}

/* Up to the empty name, which is at the end. */
static int check_texts(const char *at, const char *end, struct error *err)
{
	const char *before = "", *name, *value;
	size_t count = 0;
	int r;

	while ((name = next_text(&at, end)) && *name) {
		value = next_text(&at, end);
		if (!value || strcmp(before, name) >= 0)
			return error_set_field(err, -EINVAL, "attributes", "do not read");
		r = check_attribute(name, value, err);
		if (r < 0)
			return r;
		if (++count > INSTANCE_ATTRIBUTES_MAX)
			return too_many_attributes(err);
		before = name;
	}
	return name && at == end ? 0 : error_set_field(err, -EINVAL, "attributes", "do not read");
}

static int read_texts(const struct instance *names, const char *at, const char *end, struct instance **ret_instance,
		      const char **ret_boot_id, struct error *err)
{
	struct instance given = *names;
	int r;

	given.zone = (char *)next_text(&at, end);
	if (!given.zone || !next_number(&at, end, &given.netns_cookie) || !(*ret_boot_id = next_text(&at, end)) ||
	    !next_number(&at, end, &given.workload))
		return error_set(err, -EINVAL, "does not read");
	if (!*given.zone)
		given.zone = NULL;
	r = check_texts(at, end, err);
	return r < 0 ? r : instance_copy(&given, at, (size_t)(end - at), ret_instance, err);
}

static bool has_loopback(const struct instance *i)
{
	return ip_is_loopback(&i->v4) || ip_is_loopback(&i->v6);
}

int instance_read(const struct instance *names, const void *value, size_t bytes, const char *boot_id, struct instance **ret_instance,
		  struct error *err)
{
	_cleanup_free_ struct instance *instance = NULL;
	_cleanup_json_ json_t *json = NULL;
	const char *text = value, *stored_boot_id = NULL;
	int r;

	if (bytes && *text == FORM) {
		r = read_texts(names, text + 1, text + bytes, &instance, &stored_boot_id, err);
	} else {
		struct instance given = *names;

		r = json_parse(value, bytes, &json, err);
		given.zone = (char *)json_path_string(json, "zone");
		given.netns_cookie = (uint64_t)json_path_int(json, "netnsCookie", 0);
		given.workload = (uint64_t)json_path_int(json, "workload", 0);
		stored_boot_id = json_path_string(json, "bootId");
		if (r == 0)
			r = instance_new(&given, json_object_get(json, "attributes"), &instance, err);
	}
	if (r < 0)
		return r;
	if (!stored_boot_id || strcmp(stored_boot_id, boot_id) != 0) {
		if (has_loopback(instance))
			return 1;
		instance->netns_cookie = 0;
	}
	*ret_instance = TAKE_PTR(instance);
	return 0;
}
