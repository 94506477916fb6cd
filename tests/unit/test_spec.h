/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of agent/spec share: documents as text with single quotes, and changes to documents that are known good. */
#pragma once

#include "agent/spec/resource.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* JSON with ' for ", so that it can be read in C. */
static inline json_t *json_of(const char *text)
{
	_cleanup_free_ char *quoted = strdup(text);
	json_t *value = NULL;
	struct error err = {};

	for (char *c = quoted; *c; c++)
		if (*c == '\'')
			*c = '"';
	EXPECT_OK(json_parse(quoted, strlen(quoted), &value, &err), &err);
	return value;
}

/* `count` times one character. */
static inline json_t *json_repeat(const char *character, size_t count)
{
	_cleanup_free_ char *text = calloc(count + 1, strlen(character));

	for (size_t i = 0; i < count; i++)
		strcat(text + i * strlen(character), character);
	return json_string(text);
}

/* Sets the member or element at a dotted path ("spec.listeners.0.portMapping.port"), takes it out where `value` is NULL. Steals
 * the value. */
static inline void json_put(json_t *document, const char *path, json_t *value)
{
	_cleanup_free_ char *copy = strdup(path);
	char *rest = copy, *step;

	while ((step = strsep(&rest, "."))) {
		const size_t index = json_is_array(document) ? strtoul(step, NULL, 10) : 0;

		if (rest) {
			document = json_is_array(document) ? json_array_get(document, index) : json_object_get(document, step);
			if (!document)
				fail_msg("the document has no '%s' of '%s'", step, path);
		} else if (json_is_array(document)) {
			EXPECT_EQ(index == json_array_size(document) ? json_array_append_new(document, value) :
								       json_array_set_new(document, index, value),
				  0);
		} else {
			EXPECT_EQ(value ? json_object_set_new(document, step, value) : json_object_del(document, step), 0);
		}
	}
}

static inline void cleanup_resource(struct resource **resource)
{
	resource_unref(*resource);
}

/* The set takes the document. */
static inline void given(struct resources *set, const char *text)
{
	_cleanup_json_ json_t *document = json_of(text);
	struct error err = {};

	EXPECT_OK(resources_add_json(set, document, NULL, &err), &err);
}

/* Alone in a set the document is refused with this field and a message with these words, or accepted where `field` is NULL. */
static inline void expect_verdict(const json_t *document, const char *field, const char *words)
{
	_cleanup_(resources_done) struct resources set;
	_cleanup_free_ char *text = json_dumps(document, JSON_ENCODE_ANY);
	struct error err = {};
	int r;

	resources_init(&set);
	r = resources_add_json(&set, document, NULL, &err);
	if (!field && r < 0)
		fail_msg("refused: %s: %s\n%s", err.field, err.message, text);
	if (!field)
		return;
	if (r != -EINVAL || strcmp(err.field, field) != 0 || !strstr(err.message, words))
		fail_msg("got %d, \"%s\": \"%s\"\nexpected \"%s\": \"…%s…\"\n%.300s", r, err.field, err.message, field, words, text);
	EXPECT_EQ(set.count, 0);
}
