/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/difference.h"
#include "agent/ctl/format.h"
#include "agent/ctl/progress.h"
#include "base/cleanup.h"

static const struct {
	const char *name, *past, *would;
} actions[] = {
	[ACTION_CREATE] = { "create", "created", "would create" },
	[ACTION_UPDATE] = { "update", "updated", "would update" },
	[ACTION_TAG] = { "tag", "tagged", "would tag" },
	[ACTION_DELETE] = { "delete", "deleted", "would delete" },
	[ACTION_NONE] = { "none", "unchanged", "unchanged" },
};

void steps_done(struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		struct step *step = &steps->list[i];

		target_done(&step->target);
		json_decref(step->input);
		json_decref(step->before);
		json_decref(step->after);
		json_decref(step->answer);
	}
	free(steps->list);
	*steps = (struct steps){};
}

int steps_add(struct steps *steps, struct target *target, struct step **ret_step)
{
	struct step *grown = reallocarray(steps->list, steps->count + 1, sizeof(*grown));

	if (!grown) {
		target_done(target);
		return -ENOMEM;
	}
	steps->list = grown;
	*ret_step = &grown[steps->count++];
	**ret_step = (struct step){ .target = *target, .action = ACTION_NONE };
	*target = (struct target){};
	return 0;
}

static int compare_steps(const void *a, const void *b)
{
	const struct step *x = a, *y = b;
	const int ranks = target_rank(x->target.kind) - target_rank(y->target.kind);

	return ranks ? ranks : strcmp(x->target.full_name, y->target.full_name);
}

static int compare_backwards(const void *a, const void *b)
{
	return compare_steps(b, a);
}

void steps_sort(struct steps *steps, bool backwards)
{
	qsort(steps->list, steps->count, sizeof(*steps->list), backwards ? compare_backwards : compare_steps);
}

int steps_plan(struct steps *steps, const struct documents *documents, struct remote *remote, steps_plan_fn *plan, struct error *err)
{
	for (size_t i = 0; i < documents->set.count; i++) {
		const struct origin *origin = &documents->origins[i];
		const struct resource *resource = origin->resource;
		struct target target;
		struct step *step;
		int r = target_init(&target, resource->kind, resource->mesh, resource->parent, resource->name);

		if (r == 0)
			r = steps_add(steps, &target, &step);
		if (r < 0)
			return error_set(err, r, "out of memory");
		step->item = origin->item;
		step->input = json_incref(origin->item->document);
		r = plan(remote, step, resource, err);
		if (r < 0)
			return r;
		progress_show("compared", i + 1, documents->set.count);
	}
	progress_clear();
	steps_sort(steps, false);
	return 0;
}

/* --- one ----------------------------------------------------------------------------------------------------------------------- */

static int call(struct remote *remote, const struct step *step, enum operation_verb verb, enum resource_kind kind, const json_t *input,
		struct error *err)
{
	const struct remote_call request = { .verb = verb, .kind = kind, .input = input, .region = step->region,
					     .identity = verb == OPERATION_CREATE ? step->identity : NULL };
	_cleanup_json_ json_t *answer = NULL;

	return remote_call(remote, &request, &answer, err);
}

static int update_spec(struct remote *remote, const struct step *step, struct error *err)
{
	_cleanup_json_ json_t *input = json_copy(step->target.input);

	if (json_object_get(step->input, "meshOwner"))
		json_object_set(input, "meshOwner", json_object_get(step->input, "meshOwner"));
	if (!input || json_object_set(input, "spec", json_object_get(step->after, "spec")) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return call(remote, step, OPERATION_UPDATE, step->target.kind, input, err);
}

/* Sets the tags that are new or differ, and takes those away that are not in the document. */
static int update_tags(struct remote *remote, const struct step *step, struct error *err)
{
	const json_t *before = json_object_get(step->before, "tags"), *after = json_object_get(step->after, "tags");
	_cleanup_json_ json_t *set = json_array(), *gone = json_array(), *input = json_pack("{s:s}", "resourceArn", step->arn);
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)after, key, value)
		if (!json_equal(value, json_object_get(before, key)))
			json_array_append_new(set, json_pack("{s:s, s:O}", "key", key, "value", value));
	json_object_foreach((json_t *)before, key, value)
		if (!json_object_get(after, key))
			json_array_append_new(gone, json_string(key));
	if (!set || !gone || json_object_set(input, "tags", set) < 0 || json_object_set(input, "tagKeys", gone) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (json_array_size(gone))
		r = call(remote, step, OPERATION_UNTAG, RESOURCE_KIND_COUNT, input, err);
	if (r == 0 && json_array_size(set))
		r = call(remote, step, OPERATION_TAG, RESOURCE_KIND_COUNT, input, err);
	return r;
}

static int do_step(struct remote *remote, const struct step *step, struct error *err)
{
	int r = 0;

	switch (step->action) {
	case ACTION_CREATE:
		return call(remote, step, OPERATION_CREATE, step->target.kind, step->input, err);
	case ACTION_UPDATE:
		r = update_spec(remote, step, err);
		return r == 0 && json_object_get(step->after, "tags") ? update_tags(remote, step, err) : r;
	case ACTION_TAG:
		return update_tags(remote, step, err);
	case ACTION_DELETE:
		return call(remote, step, OPERATION_DELETE, step->target.kind, step->target.input, err);
	case ACTION_NONE:
		break;
	}
	return 0;
}

/* --- what is said ---------------------------------------------------------------------------------------------------------------- */

static void step_print(const struct step *step, const char *verb)
{
	_cleanup_json_ json_t *name = json_string(step->target.full_name);

	if (name && format_clean(name) == 0)
		printf("%s %s\n", verb, json_string_value(name));
	if (step->before)
		difference_print(step->before, step->after);
}

void steps_show(const struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->list[i].action != ACTION_NONE)
			step_print(&steps->list[i], actions[steps->list[i].action].would);
}

static bool has_failed(const struct step *step)
{
	return !step->done && step->err.code;
}

bool steps_failed(const struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (has_failed(&steps->list[i]))
			return true;
	return false;
}

void steps_print_faults(const struct steps *steps, FILE *to)
{
	for (size_t i = 0; i < steps->count; i++) {
		const struct step *step = &steps->list[i];
		struct json_place place;

		if (!has_failed(step))
			continue;
		if (step->item) {
			converted_place(step->item, step->err.field, &place);
			fprintf(to, "%s:%u:%u: ", document_file(step->item->from), place.line, place.column);
		}
		fprintf(to, "%s: %s\n", step->target.full_name, step->err.message);
	}
}

void steps_print_counts(const struct steps *steps, bool would, FILE *to)
{
	size_t counts[ARRAY_SIZE(actions)] = {}, failed = 0;
	const char *separator = "";

	for (size_t i = 0; i < steps->count; i++) {
		failed += has_failed(&steps->list[i]);
		counts[steps->list[i].action] += steps->list[i].done || steps->list[i].action == ACTION_NONE || would;
	}
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!counts[i])
			continue;
		fprintf(to, "%s%zu %s%s", separator, counts[i], would && i != ACTION_NONE ? "to be " : "", actions[i].past);
		separator = ", ";
	}
	if (failed)
		fprintf(to, "%s%zu failed", separator, failed);
	fprintf(to, "\n");
}

json_t *steps_json(const struct steps *steps)
{
	json_t *list = json_array();

	for (size_t i = 0; i < steps->count; i++) {
		const struct step *step = &steps->list[i];
		json_t *changes = step->before ? difference_json(step->before, step->after) : json_array(), *one;
		struct json_place place;

		one = json_pack("{s:s, s:s, s:b, s:o, s:s?}", "resource", step->target.full_name, "action", actions[step->action].name, "done",
				step->done, "changes", changes, "error", has_failed(step) ? step->err.message : NULL);
		if (one && step->item) {
			converted_place(step->item, step->err.field, &place);
			json_object_set_new(one, "file", json_string(document_file(step->item->from)));
			json_object_set_new(one, "line", json_integer(place.line));
			json_object_set_new(one, "column", json_integer(place.column));
		}
		json_array_append_new(list, one);
	}
	return list;
}

/* --- all ------------------------------------------------------------------------------------------------------------------------- */

/* "spec.listeners[0]: must be ...", as the API words what is wrong with a member: for the place in the file. */
static void take_field(struct error *err)
{
	const char *text = strstr(err->message, ": "), *end = text ? strstr(text + 2, ": ") : NULL;
	size_t length = end ? (size_t)(end - text - 2) : 0;

	if (!length || length >= sizeof(err->field) || memchr(text + 2, ' ', length))
		return;
	memcpy(err->field, text + 2, length);
	err->field[length] = '\0';
}

/* Refused, and perhaps not once others are done. */
static bool may_pass_later(int code)
{
	return code == -ENOENT || code == -EBUSY || code == -EPROTO;
}

/* One round over what is left. *ret_left: how many are; true: at least one was done. */
static int run_round(struct steps *steps, struct remote *remote, bool quiet, size_t *ret_left, bool *ret_progress, struct error *err)
{
	size_t done = 0;

	*ret_left = 0;
	*ret_progress = false;
	for (size_t i = 0; i < steps->count; i++) {
		struct step *step = &steps->list[i];
		int r;

		done += step->done || step->action == ACTION_NONE;
		if (step->done || step->action == ACTION_NONE || (step->err.code && !may_pass_later(step->err.code)))
			continue;
		step->err = (struct error){};
		r = do_step(remote, step, &step->err);
		if (r == -ECONNREFUSED || r == -ENOMEM || r == -EACCES || r == -EIO) {
			*err = step->err;
			return r;
		}
		take_field(&step->err);
		step->done = r == 0;
		*ret_progress |= r == 0;
		*ret_left += r < 0 && may_pass_later(r);
		if (r == 0 && !quiet) {
			progress_clear();
			step_print(step, actions[step->action].past);
		}
		progress_show("done", done += r == 0, steps->count);
	}
	return 0;
}

int steps_run(struct steps *steps, struct remote *remote, bool quiet, struct error *err)
{
	bool progress = true;
	size_t left = 1;
	int r = 0;

	while (left > 0 && progress && r == 0)
		r = run_round(steps, remote, quiet, &left, &progress, err);
	progress_clear();
	return r == 0 && steps_failed(steps) ? -ECANCELED : r;
}
