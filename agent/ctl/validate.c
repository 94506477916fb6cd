/* SPDX-License-Identifier: Apache-2.0 */
/* weft validate: what weftd would say of resources in files, without weftd. */
#include <errno.h>
#include <string.h>

#include "agent/convert/convert.h"
#include "agent/ctl/command.h"
#include "agent/spec/resource.h"
#include "base/cleanup.h"

struct validate_arguments {
	struct ctl ctl;
	struct option_strings parameters;
};
static const struct option options[] = {
	CONVERT_OPTIONS(struct validate_arguments, parameters),
	CTL_OPTIONS_OFFLINE("for programs: {valid, resources, errors, unresolved, notInForce, notCarriedOver}")
};

struct origin {
	const struct resource *resource;
	const struct converted *item;
};

struct validation {
	struct inputs inputs;
	struct conversion conversion;
	struct resources set;
	struct origin *origins; /* as many as the set has resources, in the order of the documents */
	json_t *unresolved, *not_in_force;
	const struct origin *current;
	bool failed; /* no memory */
};

static int validation_init(struct validation *v)
{
	*v = (struct validation){ .unresolved = json_array(), .not_in_force = json_array() };
	resources_init(&v->set);
	return inputs_init(&v->inputs) < 0 || conversion_init(&v->conversion) < 0 || !v->unresolved || !v->not_in_force ? -ENOMEM : 0;
}

static void validation_done(struct validation *v)
{
	conversion_done(&v->conversion);
	inputs_done(&v->inputs);
	resources_done(&v->set);
	free(v->origins);
	json_decref(v->unresolved);
	json_decref(v->not_in_force);
}

static int add_resources(struct validation *v)
{
	const struct conversion *conversion = &v->conversion;

	v->origins = calloc(conversion->count + 1, sizeof(*v->origins));
	if (!v->origins)
		return -ENOMEM;
	for (size_t i = 0; i < conversion->count; i++) {
		const struct converted *item = &conversion->list[i];
		struct error err = {};
		struct resource *resource;
		int r = resource_new(item->document, NULL, document_file(item->from), &resource, &err);
		if (r == 0) {
			r = resources_add(&v->set, resource, &err);
			if (r == 0)
				v->origins[v->set.count - 1] = (struct origin){ resource, item };
			resource_unref(resource); /* the set has it */
		}
		if (r < 0 && (r == -ENOMEM || converted_problem(item, &v->inputs, NULL, &err) < 0))
			return -ENOMEM;
	}
	return 0;
}

static int check_together(struct validation *v)
{
	for (size_t i = 0; i < v->set.count; i++) {
		const struct origin *origin = &v->origins[i];
		struct error err = {};

		if (resource_check(&v->set, origin->resource, &err) < 0 &&
		    converted_problem(origin->item, &v->inputs, origin->resource->full_name, &err) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void note(struct validation *v, json_t *list, const char *field, const char *member, const char *text)
{
	const struct origin *origin = v->current;
	struct json_place place;

	converted_place(origin->item, field, &place);
	if (json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "file", document_file(origin->item->from), "line",
						  (int)place.line, "column", (int)place.column, "resource",
						  origin->resource->full_name, "field", field, member, text)) < 0)
		v->failed = true;
}

static void on_unresolved(const struct resource *from, const char *field, const char *missing, void *arg)
{
	struct validation *v = arg;

	(void)from;
	note(v, v->unresolved, field, "missing", missing);
}

static void on_not_in_force(const char *field, const char *meaning, void *arg)
{
	struct validation *v = arg;

	note(v, v->not_in_force, field, "meaning", meaning);
}

static int take_notes(struct validation *v)
{
	for (size_t i = 0; i < v->set.count; i++) {
		v->current = &v->origins[i];
		resources_unresolved(&v->set, v->current->resource, on_unresolved, v);
	}
	for (size_t i = 0; i < v->set.count; i++) {
		v->current = &v->origins[i];
		resource_not_in_force(v->current->resource, on_not_in_force, v);
	}
	return v->failed ? -ENOMEM : 0;
}

static void notes_print(const json_t *list, const char *says, const char *member)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)list, i, one)
		printf("%s:%d:%d: note: %s: %s%s\n", json_path_string(one, "file"), (int)json_path_int(one, "line", 0),
		       (int)json_path_int(one, "column", 0), json_path_string(one, "field"), says, json_path_string(one, member));
}

static void counts_print(const struct validation *v)
{
	const size_t errors = json_array_size(v->inputs.problems), files = v->inputs.text_count;

	printf("%zu resource%s in %zu file%s: ", v->set.count, v->set.count == 1 ? "" : "s", files, files == 1 ? "" : "s");
	if (errors)
		printf("%zu error%s\n", errors, errors == 1 ? "" : "s");
	else
		printf("valid\n");
	if (v->inputs.left_alone)
		printf("%zu file%s left alone: in directories, only what is called *.json is read\n", v->inputs.left_alone,
		       v->inputs.left_alone == 1 ? "" : "s");
}

static int show(const struct validation *v, bool json)
{
	const bool valid = json_array_size(v->inputs.problems) == 0;

	if (json) {
		_cleanup_json_ json_t *answer = json_pack("{s:b, s:I, s:O, s:O, s:O, s:O}", "valid", valid, "resources",
							  (json_int_t)v->set.count, "errors", v->inputs.problems, "unresolved",
							  v->unresolved, "notInForce", v->not_in_force, "notCarriedOver",
							  v->conversion.remarks);

		ctl_print_json(answer);
	} else {
		notes_print(v->unresolved, "not among these files: ", "missing");
		notes_print(v->not_in_force, "", "meaning");
		remarks_print(v->conversion.remarks, stdout);
		problems_print(v->inputs.problems, stdout);
		counts_print(v);
	}
	return valid ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int validate_run(const void *arguments, const struct words *words)
{
	const struct validate_arguments *a = arguments;
	_cleanup_(validation_done) struct validation v;
	struct error err = {};
	int r = validation_init(&v);

	if (words->count == 0) {
		error_set_field(&err, -EINVAL, "FILE", "is missing: a file, a directory, or - for standard input");
		return ctl_fail(&err);
	}
	for (size_t i = 0; i < a->parameters.count; i++)
		if (r == 0 && conversion_set(&v.conversion, a->parameters.values[i], &err) < 0)
			return ctl_fail(&err);
	for (size_t i = 0; i < words->count && r == 0; i++)
		r = inputs_read(&v.inputs, words->values[i], &err);
	if (r < 0 || conversion_run(&v.conversion, &v.inputs) < 0 || add_resources(&v) < 0 || check_together(&v) < 0 || take_notes(&v) < 0) {
		error_set(&err, -ENOMEM, "out of memory");
		return ctl_fail(&err);
	}
	if (v.inputs.document_count == 0 && json_array_size(v.inputs.problems) == 0) {
		error_set(&err, -ENOENT, "there is no resource in what was given, and %zu file%s not called *.json", v.inputs.left_alone,
			  v.inputs.left_alone == 1 ? " is" : "s are");
		return ctl_fail(&err);
	}
	return show(&v, a->ctl.json);
}

const struct command validate_command = {
	.name = "validate",
	.synopsis = "FILE... [options]",
	.summary = "checks resources in files as weftd does, without weftd",
	.more = "\nFILE is a file, a directory (whatever is called *.json in it and below), or - for standard input. They have\n"
		"resources in the form that `aws appmesh create-* --cli-input-json` takes, or in any of docs/cli.md. They are\n"
		"checked together, also against one another. What is wrong is told with file, line and column; exits 1 where anything is.",
	.options = options,
	.arguments_size = sizeof(struct validate_arguments),
	.words_max = SIZE_MAX,
	.run = validate_run,
};
