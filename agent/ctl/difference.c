/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/difference.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/format.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"
#include "base/json_diff.h"

#define VALUE_SHOWN_BYTES 200

json_t *difference_tags(const json_t *list)
{
	json_t *object = json_object(), *tag;
	size_t i;

	json_array_foreach((json_t *)list, i, tag)
		json_object_set(object, json_path_string(tag, "key") ?: "", json_object_get(tag, "value"));
	return object;
}

json_t *difference_subject(const json_t *document)
{
	const json_t *list = json_object_get(document, "tags");
	json_t *tags = list ? difference_tags(list) : NULL;

	if (list && !tags)
		return NULL;
	return json_pack("{s:O*, s:o*}", "spec", json_object_get(document, "spec"), "tags", tags);
}

static void path_print(char sign, const char *path)
{
	_cleanup_json_ json_t *copy = json_string(path);

	printf("  %c %s: ", sign, copy && format_clean(copy) == 0 ? json_string_value(copy) : "?");
}

static void value_print(const json_t *value)
{
	_cleanup_json_ json_t *copy = json_deep_copy(value);
	_cleanup_free_ char *text = NULL;
	char shown[VALUE_SHOWN_BYTES];

	if (copy && format_clean(copy) == 0)
		text = json_dumps(copy, JSON_ENCODE_ANY | JSON_COMPACT);
	text_cut(shown, sizeof(shown), text ?: "?");
	printf("%s", shown);
}

static void change_print(const char *path, const json_t *before, const json_t *after, void *arg __attribute__((unused)))
{
	path_print(before && after ? '~' : after ? '+' : '-', path);
	if (before)
		value_print(before);
	if (before && after)
		printf(" -> ");
	if (after)
		value_print(after);
	printf("\n");
}

void difference_print(const json_t *before, const json_t *after)
{
	if (json_diff("", before, after, change_print, NULL) < 0)
		printf("  ?\n");
}

static void change_append(const char *path, const json_t *before, const json_t *after, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s, s:O?, s:O?}", "path", path, "before", before, "after", after));
}

json_t *difference_json(const json_t *before, const json_t *after)
{
	json_t *changes = json_array();

	json_diff("", before, after, change_append, changes);
	return changes;
}
