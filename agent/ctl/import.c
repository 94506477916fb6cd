/* SPDX-License-Identifier: Apache-2.0 */
/* weft import: resources from elsewhere, with the identity that they had. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/collect.h"
#include "agent/ctl/documents.h"
#include "agent/ctl/steps.h"
#include "base/cleanup.h"

struct import_arguments {
	struct ctl ctl;
	struct remote_options remote; /* its region only */
	struct option_strings parameters;
	bool dry_run;
};
static const struct option options[] = {
	{ .name = "dry-run", .type = OPTION_FLAG, .offset = OPTION(struct import_arguments, dry_run),
	  .help = "only say what would be done, and what would not carry over" },
	{ .name = "region", .type = OPTION_STRING, .offset = OPTION(struct import_arguments, remote.region), .argument = "REGION",
	  .help = "of what does not say its own (default: as for the aws command line, else weftd's first)" },
	CONVERT_OPTIONS(struct import_arguments, parameters),
	CTL_OPTIONS_JSON("for programs: {resources: [{resource, action, done, error, file, line, column}], notCarriedOver, notInForce}")
};

/* The same resource, imported before: nothing to do. Another of its name: it stays, and that is a fault. */
static void compare(struct step *step, const struct resource *resource)
{
	const char *uid = json_path_string(step->item->metadata, "uid"), *there = json_path_string(step->answer, "metadata.uid");
	_cleanup_json_ json_t *spec = resource_spec(resource);

	if ((!uid || (there && strcmp(uid, there) == 0)) && json_equal(json_object_get(step->answer, "spec"), spec))
		return;
	error_set(&step->err, -EEXIST, "there is one already, which differs in its %s: `weft delete` takes it away, `weft apply` changes it",
		  uid && there && strcmp(uid, there) != 0 ? "uid" : "spec");
}

static int plan_step(struct remote *remote, struct step *step, const struct resource *resource, struct error *err)
{
	const struct converted *item = step->item;
	const struct remote_call call = { .verb = OPERATION_DESCRIBE, .kind = step->target.kind, .input = step->target.input,
					  .region = item->region };
	int r = remote_call(remote, &call, &step->answer, err);

	step->region = item->region;
	if (r == 0) {
		compare(step, resource);
		return 0;
	}
	if (r != -ENOENT)
		return r;
	step->action = ACTION_CREATE;
	if (*item->account && json_object_set_new(item->metadata, "account", json_string(item->account)) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	step->identity = item->metadata;
	return 0;
}

/* --- what is carried over, and not in force here ----------------------------------------------------------------------------------- */

struct notes {
	const struct origin *origin;
	json_t *list; /* as the conversion's remarks */
	bool failed; /* no memory */
};

static void on_not_in_force(const char *field, const char *meaning, void *arg)
{
	struct notes *notes = arg;
	const struct converted *item = notes->origin->item;
	struct json_place place;

	converted_place(item, field, &place);
	if (json_array_append_new(notes->list, json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "file", document_file(item->from), "line",
							 (int)place.line, "column", (int)place.column, "origin",
							 notes->origin->resource->full_name, "field", field, "what", meaning)) < 0)
		notes->failed = true;
}

/* NULL: no memory. */
static json_t *not_in_force(const struct documents *documents)
{
	struct notes notes = { .list = json_array() };

	for (size_t i = 0; i < documents->set.count; i++) {
		notes.origin = &documents->origins[i];
		resource_not_in_force(&documents->set, notes.origin->resource, on_not_in_force, &notes);
	}
	if (!notes.failed)
		return notes.list;
	json_decref(notes.list);
	return NULL;
}

static int run(const struct import_arguments *a, const struct documents *documents, struct remote *remote, struct error *err)
{
	_cleanup_(steps_done) struct steps steps = {};
	_cleanup_json_ json_t *answer = NULL, *dormant = not_in_force(documents);
	int r = dormant ? steps_plan(&steps, documents, remote, plan_step, err) : error_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return ctl_fail(err);
	if (!a->dry_run)
		r = steps_run(&steps, remote, a->ctl.json, err);
	else if (!a->ctl.json)
		steps_show(&steps);
	if (r < 0 && r != -ECANCELED)
		return ctl_fail(err);
	if (a->ctl.json) {
		answer = json_pack("{s:o, s:O, s:O}", "resources", steps_json(&steps), "notCarriedOver", documents->conversion.remarks,
				   "notInForce", dormant);
		ctl_print_json(answer);
	} else {
		remarks_print(documents->conversion.remarks, "not carried over", stdout);
		remarks_print(dormant, "carried over, not in force", stdout);
		fflush(stdout);
		steps_print_faults(&steps, stderr);
		steps_print_counts(&steps, a->dry_run, stdout);
	}
	return steps_failed(&steps) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int import_run(const void *arguments, const struct words *words)
{
	const struct import_arguments *a = arguments;
	_cleanup_(cleanup_remote) struct remote *remote = NULL;
	_cleanup_(documents_done) struct documents documents = {};
	struct error err = {};
	int r = documents_read_valid(&documents, (const char *const *)words->values, words->count, &a->parameters, "imported", &err);

	if (r == 0)
		r = remote_open_local(&a->ctl, &a->remote, &remote, &err);
	if (r < 0)
		return ctl_fail(&err);
	if (!a->ctl.json)
		documents_print_left_alone(&documents, stderr);
	return run(a, &documents, remote, &err);
}

const struct command import_command = {
	.name = "import",
	.synopsis = "FILE... [options]",
	.summary = "takes resources over from AWS, Terraform or CloudFormation, or from another weft",
	.more = "\nFILE is a file, a directory, or - for standard input: what `aws appmesh describe-*` prints, terraform.tfstate, templates of\n"
		"CloudFormation, what `weft export` wrote. Account, region, ARN, uid, version, times and tags stay what they were, as far as the\n"
		"source has them; the rest is told field by field. Nothing is done where a file is wrong. What is there already is not changed.",
	.options = options,
	.arguments_size = sizeof(struct import_arguments),
	.words_max = SIZE_MAX,
	.run = import_run,
};
