/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

struct walk {
	struct buffer path;
	json_diff_fn *fn;
	void *arg;
	bool failed;
};

static void compare(struct walk *w, const json_t *before, const json_t *after);

static void compare_below(struct walk *w, const char *step, const json_t *before, const json_t *after)
{
	const size_t length = w->path.length;

	buffer_add(&w->path, length || *step != '.' ? step : step + 1);
	if (buffer_failed(&w->path))
		w->failed = true;
	else
		compare(w, before, after);
	if (w->path.data)
		w->path.data[w->path.length = length] = '\0';
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of both, each once, in order. NULL: no memory. */
static const char **names_of(const json_t *before, const json_t *after, size_t *ret_count)
{
	const char **names = calloc(json_object_size(before) + json_object_size(after) + 1, sizeof(*names));
	const char *name;
	size_t count = 0;
	json_t *value;

	if (!names)
		return NULL;
	json_object_foreach((json_t *)before, name, value)
		names[count++] = name;
	json_object_foreach((json_t *)after, name, value)
		if (!json_object_get(before, name))
			names[count++] = name;
	qsort(names, count, sizeof(*names), compare_names);
	*ret_count = count;
	return names;
}

static void compare_objects(struct walk *w, const json_t *before, const json_t *after)
{
	size_t count = 0;
	_cleanup_free_ const char **names = names_of(before, after, &count);

	w->failed |= !names;
	for (size_t i = 0; names && i < count; i++) {
		_cleanup_(buffer_done) struct buffer step = {};

		buffer_printf(&step, ".%s", names[i]);
		compare_below(w, buffer_string(&step), json_object_get(before, names[i]), json_object_get(after, names[i]));
	}
}

static void compare_arrays(struct walk *w, const json_t *before, const json_t *after)
{
	size_t old_count = json_array_size(before), new_count = json_array_size(after), first = 0;
	char step[32];

	while (first < MIN(old_count, new_count) && json_equal(json_array_get(before, first), json_array_get(after, first)))
		first++;
	while (MIN(old_count, new_count) > first &&
	       json_equal(json_array_get(before, old_count - 1), json_array_get(after, new_count - 1))) {
		old_count--;
		new_count--;
	}
	for (size_t i = first; i < MAX(old_count, new_count); i++) {
		snprintf(step, sizeof(step), "[%zu]", i);
		compare_below(w, step, i < old_count ? json_array_get(before, i) : NULL, i < new_count ? json_array_get(after, i) : NULL);
	}
}

static void compare(struct walk *w, const json_t *before, const json_t *after)
{
	if (before && after && json_equal(before, after))
		return;
	if (json_is_object(before) && json_is_object(after))
		compare_objects(w, before, after);
	else if (json_is_array(before) && json_is_array(after))
		compare_arrays(w, before, after);
	else
		w->fn(buffer_string(&w->path), before, after, w->arg);
}

int json_diff(const char *path, const json_t *before, const json_t *after, json_diff_fn *fn, void *arg)
{
	struct walk w = { .fn = fn, .arg = arg };

	buffer_add(&w.path, path);
	compare(&w, before, after);
	buffer_done(&w.path);
	return w.failed ? -ENOMEM : 0;
}
