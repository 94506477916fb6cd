/* SPDX-License-Identifier: Apache-2.0 */
/* weft delete: takes resources away by name, or those that files have. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/collect.h"
#include "agent/ctl/documents.h"
#include "agent/ctl/steps.h"
#include "base/cleanup.h"

struct delete_arguments {
	struct ctl ctl;
	struct remote_options remote;
	struct option_strings files, parameters;
	bool dry_run, recursive;
};
static const struct option options[] = {
	{ .name = "file", .letter = 'f', .type = OPTION_STRINGS, .offset = OPTION(struct delete_arguments, files), .argument = "FILE",
	  .whole = true, .help = "the resources of a file, a directory, or - for standard input; -f as well, and several times" },
	{ .name = "recursive", .type = OPTION_FLAG, .offset = OPTION(struct delete_arguments, recursive),
	  .help = "of a mesh, a virtual router or a virtual gateway: what is in it as well" },
	{ .name = "dry-run", .type = OPTION_FLAG, .offset = OPTION(struct delete_arguments, dry_run), .help = "only say what would be done" },
	CONVERT_OPTIONS(struct delete_arguments, parameters),
	REMOTE_OPTIONS(struct delete_arguments, remote),
	CTL_OPTIONS_JSON("for programs: a list of {resource, action, done, error}")
};

/* A step for the target, unless there is one. Takes the target over. */
static int add(struct steps *steps, struct target *target, struct step **ret_step, struct error *err)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (strcmp(steps->list[i].target.full_name, target->full_name) != 0)
			continue;
		target_done(target);
		*ret_step = &steps->list[i];
		return 0;
	}
	if (steps_add(steps, target, ret_step) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	(*ret_step)->action = ACTION_DELETE;
	return 0;
}

static int add_files(struct steps *steps, const struct documents *documents, struct error *err)
{
	for (size_t i = 0; i < documents->set.count; i++) {
		const struct resource *resource = documents->origins[i].resource;
		struct target target;
		struct step *step;

		if (target_init(&target, resource->kind, resource->mesh, resource->parent, resource->name) < 0)
			return error_set(err, -ENOMEM, "out of memory");
		if (add(steps, &target, &step, err) < 0)
			return err->code;
		step->item = documents->origins[i].item;
	}
	return 0;
}

/* What is below a mesh, a router or a gateway: in its mesh, and its full name begins with that one's. */
static int add_below(struct steps *steps, const struct target *top, struct remote *remote, struct error *err)
{
	const char *mesh = json_path_string(top->input, resource_kinds[RESOURCE_MESH].name_member);
	_cleanup_free_ char *prefix = NULL;
	_cleanup_(collection_done) struct collection c = {};
	struct step *step;
	int r = collect(remote, COLLECT_REFS, mesh, &c, err);

	if (r < 0)
		return r;
	if (asprintf(&prefix, "%s/", top->full_name) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c.count && r == 0; i++)
		if (strncmp(c.list[i].target.full_name, prefix, strlen(prefix)) == 0)
			r = add(steps, &c.list[i].target, &step, err);
	return r;
}

static int add_names(struct steps *steps, const struct delete_arguments *a, const struct words *words, struct remote *remote,
		     struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < words->count && r == 0; i++) {
		struct target target = {};
		struct step *step;

		r = target_parse(&target, words->values[i], err);
		if (r == 0 && a->recursive)
			r = add_below(steps, &target, remote, err);
		if (r == 0)
			r = add(steps, &target, &step, err);
		else
			target_done(&target);
	}
	return r;
}

/* What files have and the API does not is gone already. */
static void forgive_absent(struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->list[i].item && steps->list[i].err.code == -ENOENT)
			steps->list[i].err = (struct error){};
}

static int run(const struct delete_arguments *a, struct steps *steps, struct remote *remote, struct error *err)
{
	_cleanup_json_ json_t *list = NULL;
	int r = 0;

	steps_sort(steps, true);
	if (!a->dry_run)
		r = steps_run(steps, remote, a->ctl.json, err);
	else if (!a->ctl.json)
		steps_show(steps);
	if (r < 0 && r != -ECANCELED)
		return ctl_fail(err);
	forgive_absent(steps);
	if (a->ctl.json) {
		list = steps_json(steps);
		ctl_print_json(list);
	} else {
		fflush(stdout);
		steps_print_faults(steps, stderr);
		steps_print_counts(steps, a->dry_run, stdout);
	}
	return steps_failed(steps) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int delete_run(const void *arguments, const struct words *words)
{
	const struct delete_arguments *a = arguments;
	_cleanup_(cleanup_remote) struct remote *remote = NULL;
	_cleanup_(documents_done) struct documents documents = {};
	_cleanup_(steps_done) struct steps steps = {};
	struct error err = {};
	int r = 0;

	if (words->count == 0 && a->files.count == 0)
		r = error_set(&err, -EINVAL, "neither a name nor a file is given");
	if (r == 0 && a->files.count)
		r = documents_read(&documents, a->files.values, a->files.count, &a->parameters, &err);
	if (r == 0 && !documents_are_valid(&documents)) {
		problems_print(documents.inputs.problems, stderr);
		r = error_set(&err, -EBADMSG, "nothing was deleted");
	}
	if (r == 0)
		r = remote_open(&a->ctl, &a->remote, &remote, &err);
	if (r == 0)
		r = add_files(&steps, &documents, &err);
	if (r == 0)
		r = add_names(&steps, a, words, remote, &err);
	return r < 0 ? ctl_fail(&err) : run(a, &steps, remote, &err);
}

const struct command delete_command = {
	.name = "delete",
	.synopsis = "[NAME...] [-f FILE] [options]",
	.summary = "takes resources away",
	.more = "\nNAME is a full name, as mesh/M/virtualRouter/R/route/T, or an ARN. With -f, those that `weft apply` would create; what of them\n"
		"is not there is no fault. What others need is deleted after them.",
	.options = options,
	.arguments_size = sizeof(struct delete_arguments),
	.words_max = SIZE_MAX,
	.run = delete_run,
};
