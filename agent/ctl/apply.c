/* SPDX-License-Identifier: Apache-2.0 */
/* weft apply: makes the API's resources those of files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/collect.h"
#include "agent/ctl/difference.h"
#include "agent/ctl/documents.h"
#include "agent/ctl/steps.h"
#include "base/cleanup.h"

struct apply_arguments {
	struct ctl ctl;
	struct remote_options remote;
	struct option_strings files, parameters;
	bool dry_run;
};
static const struct option options[] = {
	{ .name = "file", .letter = 'f', .type = OPTION_STRINGS, .offset = OPTION(struct apply_arguments, files), .argument = "FILE",
	  .whole = true, .help = "a file, a directory, or - for standard input; -f as well, and several times" },
	{ .name = "dry-run", .type = OPTION_FLAG, .offset = OPTION(struct apply_arguments, dry_run),
	  .help = "only say what would be done, and what would change" },
	CONVERT_OPTIONS(struct apply_arguments, parameters),
	REMOTE_OPTIONS(struct apply_arguments, remote),
	CTL_OPTIONS_JSON("for programs: a list of {resource, action, done, changes, error, file, line, column}")
};

/* Tags are the document's affair only where it has them. */
static int plan_tags(struct remote *remote, struct step *step, const struct resource *resource, struct error *err)
{
	_cleanup_json_ json_t *tags = NULL, *wanted = resource_tags(resource);
	int r;

	if (!wanted)
		return 0;
	r = collect_tags(remote, step->arn ?: "", &tags, err);
	if (r < 0)
		return r;
	json_object_set_new(step->before, "tags", difference_tags(tags));
	json_object_set_new(step->after, "tags", difference_tags(wanted));
	if (!json_equal(json_object_get(step->before, "tags"), json_object_get(step->after, "tags")) && step->action == ACTION_NONE)
		step->action = ACTION_TAG;
	return 0;
}

/* What has to be done for one resource, by what there is now. */
static int plan_step(struct remote *remote, struct step *step, const struct resource *resource, struct error *err)
{
	_cleanup_json_ json_t *names = json_copy(step->target.input);
	const struct remote_call call = { .verb = OPERATION_DESCRIBE, .kind = step->target.kind, .input = names };
	_cleanup_json_ json_t *spec = NULL;
	int r;

	if (json_object_get(step->input, "meshOwner"))
		json_object_set(names, "meshOwner", json_object_get(step->input, "meshOwner"));
	r = remote_call(remote, &call, &step->answer, err);
	if (r == -ENOENT) {
		step->action = ACTION_CREATE;
		return 0;
	}
	if (r < 0)
		return r;
	step->arn = json_path_string(step->answer, "metadata.arn");
	step->before = json_pack("{s:O?}", "spec", json_object_get(step->answer, "spec"));
	spec = resource_spec(resource);
	step->after = json_pack("{s:O}", "spec", spec);
	if (!step->before || !step->after)
		return error_set(err, -ENOMEM, "out of memory");
	if (!json_equal(json_object_get(step->before, "spec"), spec))
		step->action = ACTION_UPDATE;
	return plan_tags(remote, step, resource, err);
}

static int run(const struct apply_arguments *a, const struct documents *documents, struct remote *remote, struct error *err)
{
	_cleanup_(steps_done) struct steps steps = {};
	_cleanup_json_ json_t *list = NULL;
	int r = steps_plan(&steps, documents, remote, plan_step, err);

	if (r < 0)
		return ctl_fail(err);
	if (!a->dry_run)
		r = steps_run(&steps, remote, a->ctl.json, err);
	else if (!a->ctl.json)
		steps_show(&steps);
	if (a->ctl.json) {
		list = steps_json(&steps);
		ctl_print_json(list);
	} else {
		fflush(stdout);
		steps_print_faults(&steps, stderr);
		steps_print_counts(&steps, a->dry_run, stdout);
	}
	if (r < 0 && r != -ECANCELED)
		return ctl_fail(err);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int apply_run(const void *arguments, const struct words *words)
{
	const struct apply_arguments *a = arguments;
	_cleanup_(cleanup_remote) struct remote *remote = NULL;
	_cleanup_(documents_done) struct documents documents = {};
	struct error err = {};

	(void)words;
	if (documents_read_valid(&documents, a->files.values, a->files.count, &a->parameters, "applied", &err) < 0)
		return ctl_fail(&err);
	if (remote_open(&a->ctl, &a->remote, &remote, &err) < 0)
		return ctl_fail(&err);
	if (!a->ctl.json)
		documents_print_left_alone(&documents, stderr);
	return run(a, &documents, remote, &err);
}

const struct command apply_command = {
	.name = "apply",
	.synopsis = "-f FILE [options]",
	.summary = "creates and updates resources as files have them",
	.more = "\nReads what `weft validate` reads. Nothing is done where a file is wrong. What is not there is created, in the order of what\n"
		"depends on what; what differs is updated; tags are made those of documents that have tags. Nothing is deleted.",
	.options = options,
	.arguments_size = sizeof(struct apply_arguments),
	.words_max = 0,
	.run = apply_run,
};
