/* SPDX-License-Identifier: Apache-2.0 */
/* weft validate: what weftd would say of resources in files, without weftd. */
#include <errno.h>
#include <string.h>

#include "agent/convert/form.h"
#include "agent/convert/input.h"
#include "agent/ctl/command.h"
#include "agent/spec/resource.h"
#include "base/cleanup.h"

struct validate_arguments {
	struct ctl ctl;
};
static const struct option options[] = { CTL_OPTIONS_OFFLINE("for programs: {valid, resources, errors, unresolved, notInForce}") };

struct origin {
	const struct resource *resource;
	const struct document *document;
};

struct validation {
	struct inputs inputs;
	struct resources set;
	struct origin *origins; /* in the order of the resources' addresses, once all are there */
	json_t *unresolved, *not_in_force;
	const struct origin *current;
	bool failed; /* no memory */
};

static int validation_init(struct validation *v)
{
	*v = (struct validation){ .unresolved = json_array(), .not_in_force = json_array() };
	resources_init(&v->set);
	return inputs_init(&v->inputs) < 0 || !v->unresolved || !v->not_in_force ? -ENOMEM : 0;
}

static void validation_done(struct validation *v)
{
	inputs_done(&v->inputs);
	resources_done(&v->set);
	free(v->origins);
	json_decref(v->unresolved);
	json_decref(v->not_in_force);
}

static int compare_origins(const void *a, const void *b)
{
	const struct origin *x = a, *y = b;

	return x->resource < y->resource ? -1 : x->resource > y->resource;
}

static const struct origin *origin_of(const struct validation *v, const struct resource *resource)
{
	return bsearch(&(struct origin){ .resource = resource }, v->origins, v->set.count, sizeof(*v->origins), compare_origins);
}

static int add_document(struct validation *v, const struct document *document, struct error *err)
{
	enum document_form form;
	int r = form_of_document(document->value, &form, err);

	if (r == 0 && form != FORM_CREATE)
		return error_set(err, -EINVAL, "is not in the form that `aws appmesh create-* --cli-input-json` takes");
	return r < 0 ? r : resources_add_json(&v->set, document->value, document_file(document), err);
}

static int add_documents(struct validation *v)
{
	const struct inputs *inputs = &v->inputs;

	v->origins = calloc(inputs->document_count + 1, sizeof(*v->origins));
	if (!v->origins)
		return -ENOMEM;
	for (size_t i = 0; i < inputs->document_count; i++) {
		const struct document *document = &inputs->documents[i];
		struct error err = {};
		int r = add_document(v, document, &err);

		if (r == 0)
			v->origins[v->set.count - 1] = (struct origin){ .resource = container_of(v->set.list.prev, struct resource, link),
									.document = document };
		else if (r == -ENOMEM || inputs_problem(&v->inputs, document, NULL, &err) < 0)
			return -ENOMEM;
	}
	qsort(v->origins, v->set.count, sizeof(*v->origins), compare_origins);
	return 0;
}

static int check_together(struct validation *v)
{
	list_for_each(it, &v->set.list) {
		const struct resource *resource = container_of(it, struct resource, link);
		struct error err = {};

		if (resource_check(&v->set, resource, &err) < 0 &&
		    inputs_problem(&v->inputs, origin_of(v, resource)->document, resource->full_name, &err) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void note(struct validation *v, json_t *list, const struct origin *origin, const char *field, const char *member, const char *text)
{
	struct json_place place;

	document_place(origin->document, field, &place);
	if (json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "file", document_file(origin->document), "line",
						  (int)place.line, "column", (int)place.column, "resource",
						  origin->resource->full_name, "field", field, member, text)) < 0)
		v->failed = true;
}

static void on_unresolved(const struct resource *from, const char *field, const char *missing, void *arg)
{
	struct validation *v = arg;

	note(v, v->unresolved, origin_of(v, from), field, "missing", missing);
}

static void on_not_in_force(const char *field, const char *meaning, void *arg)
{
	struct validation *v = arg;

	note(v, v->not_in_force, v->current, field, "meaning", meaning);
}

static int take_notes(struct validation *v)
{
	resources_unresolved(&v->set, on_unresolved, v);
	list_for_each(it, &v->set.list) {
		const struct resource *resource = container_of(it, struct resource, link);

		v->current = origin_of(v, resource);
		resource_not_in_force(resource, on_not_in_force, v);
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
		_cleanup_json_ json_t *answer = json_pack("{s:b, s:I, s:O, s:O, s:O}", "valid", valid, "resources",
							  (json_int_t)v->set.count, "errors", v->inputs.problems, "unresolved",
							  v->unresolved, "notInForce", v->not_in_force);

		ctl_print_json(answer);
	} else {
		notes_print(v->unresolved, "not among these files: ", "missing");
		notes_print(v->not_in_force, "", "meaning");
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
	for (size_t i = 0; i < words->count && r == 0; i++)
		r = inputs_read(&v.inputs, words->values[i], &err);
	if (r < 0 || add_documents(&v) < 0 || check_together(&v) < 0 || take_notes(&v) < 0) {
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
	.synopsis = "FILE... [--json]",
	.summary = "checks resources in files as weftd does, without weftd",
	.more = "\nFILE is a file, a directory (whatever is called *.json in it and below), or - for standard input. Each has one JSON\n"
		"document or several, in the form that `aws appmesh create-* --cli-input-json` takes. They are checked together, also\n"
		"against one another. What is wrong is told with file, line and column; exits 1 where anything is.",
	.options = options,
	.arguments_size = sizeof(struct validate_arguments),
	.words_max = SIZE_MAX,
	.run = validate_run,
};
