/* SPDX-License-Identifier: Apache-2.0 */
/* weft validate: what weftd would say of resources in files, without weftd. */
#include <errno.h>
#include <string.h>

#include "agent/ctl/documents.h"
#include "base/cleanup.h"

struct validate_arguments {
	struct ctl ctl;
	struct option_strings parameters;
};
static const struct option options[] = {
	CONVERT_OPTIONS(struct validate_arguments, parameters),
	CTL_OPTIONS_OFFLINE("for programs: {valid, resources, errors, unresolved, notInForce, notCarriedOver}")
};

struct validation {
	struct documents documents;
	json_t *unresolved, *not_in_force;
	const struct origin *current;
	bool failed; /* no memory */
};

static void validation_done(struct validation *v)
{
	documents_done(&v->documents);
	json_decref(v->unresolved);
	json_decref(v->not_in_force);
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
	const struct documents *d = &v->documents;

	for (size_t i = 0; i < d->set.count; i++) {
		v->current = &d->origins[i];
		resources_unresolved(&d->set, v->current->resource, on_unresolved, v);
	}
	for (size_t i = 0; i < d->set.count; i++) {
		v->current = &d->origins[i];
		resource_not_in_force(&d->set, v->current->resource, on_not_in_force, v);
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

static void counts_print(const struct documents *d)
{
	const size_t errors = json_array_size(d->inputs.problems), files = d->inputs.text_count;

	printf("%zu resource%s in %zu file%s: ", d->set.count, d->set.count == 1 ? "" : "s", files, files == 1 ? "" : "s");
	if (errors)
		printf("%zu error%s\n", errors, errors == 1 ? "" : "s");
	else
		printf("valid\n");
	documents_print_left_alone(d, stdout);
}

static int show(const struct validation *v, bool json)
{
	const struct documents *d = &v->documents;
	const bool valid = documents_are_valid(d);

	if (json) {
		_cleanup_json_ json_t *answer = json_pack("{s:b, s:I, s:O, s:O, s:O, s:O}", "valid", valid, "resources",
							  (json_int_t)d->set.count, "errors", d->inputs.problems, "unresolved", v->unresolved,
							  "notInForce", v->not_in_force, "notCarriedOver", d->conversion.remarks);

		ctl_print_json(answer);
	} else {
		notes_print(v->unresolved, "not among these files: ", "missing");
		notes_print(v->not_in_force, "", "meaning");
		remarks_print(d->conversion.remarks, "not carried over", stdout);
		problems_print(d->inputs.problems, stdout);
		counts_print(d);
	}
	return valid ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int validate_run(const void *arguments, const struct words *words)
{
	const struct validate_arguments *a = arguments;
	_cleanup_(validation_done) struct validation v = { .unresolved = json_array(), .not_in_force = json_array() };
	struct error err = {};
	int r = documents_read(&v.documents, (const char *const *)words->values, words->count, &a->parameters, &err);

	if (r == 0 && (!v.unresolved || !v.not_in_force || documents_check_together(&v.documents) < 0 || take_notes(&v) < 0))
		r = error_set(&err, -ENOMEM, "out of memory");
	return r < 0 ? ctl_fail(&err) : show(&v, a->ctl.json);
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
