/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/documents.h"

#include <errno.h>
#include <stdlib.h>

int documents_read_valid(struct documents *documents, const char *const *names, size_t count, const struct option_strings *parameters,
			 const char *done, struct error *err)
{
	int r = documents_read(documents, names, count, parameters, err);

	if (r < 0)
		return r;
	if (documents_check_together(documents) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (documents_are_valid(documents))
		return 0;
	problems_print(documents->inputs.problems, stderr);
	return error_set(err, -EBADMSG, "nothing was %s", done);
}

void documents_done(struct documents *d)
{
	conversion_done(&d->conversion);
	inputs_done(&d->inputs);
	resources_done(&d->set);
	free(d->origins);
}

bool documents_are_valid(const struct documents *d)
{
	return json_array_size(d->inputs.problems) == 0;
}

static int add_resource(struct documents *d, const struct converted *item, struct error *err)
{
	struct resource *resource;
	int r = resource_new(item->document, NULL, document_file(item->from), &resource, err);

	if (r < 0)
		return r;
	r = resources_add(&d->set, resource, err);
	if (r == 0)
		d->origins[d->set.count - 1] = (struct origin){ resource, item };
	resource_unref(resource); /* the set has it */
	return r;
}

static int add_resources(struct documents *d)
{
	const struct conversion *conversion = &d->conversion;

	d->origins = calloc(conversion->count + 1, sizeof(*d->origins));
	if (!d->origins)
		return -ENOMEM;
	for (size_t i = 0; i < conversion->count; i++) {
		struct error err = {};
		int r = add_resource(d, &conversion->list[i], &err);

		if (r == -ENOMEM || (r < 0 && converted_problem(&conversion->list[i], &d->inputs, NULL, &err) < 0))
			return -ENOMEM;
	}
	return 0;
}

int documents_read(struct documents *d, const char *const *names, size_t count, const struct option_strings *parameters,
		   struct error *err)
{
	int r;

	*d = (struct documents){};
	resources_init(&d->set);
	r = inputs_init(&d->inputs) < 0 || conversion_init(&d->conversion) < 0 ? -ENOMEM : 0;
	if (r == 0 && count == 0)
		return error_set_field(err, -EINVAL, "FILE", "is missing: a file, a directory, or - for standard input");
	for (size_t i = 0; i < parameters->count && r == 0; i++)
		if (conversion_set(&d->conversion, parameters->values[i], err) < 0)
			return err->code;
	for (size_t i = 0; i < count && r == 0; i++)
		r = inputs_read(&d->inputs, names[i], err);
	if (r == 0)
		r = conversion_run(&d->conversion, &d->inputs);
	if (r == 0)
		r = add_resources(d);
	if (r < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (d->inputs.document_count == 0 && documents_are_valid(d))
		return error_set(err, -ENOENT, "there is no resource in what was given, and %zu file%s not called *.json",
				 d->inputs.left_alone, d->inputs.left_alone == 1 ? " is" : "s are");
	return 0;
}

int documents_check_together(struct documents *d)
{
	for (size_t i = 0; i < d->set.count; i++) {
		const struct origin *origin = &d->origins[i];
		struct error err = {};

		if (resource_check(&d->set, origin->resource, &err) < 0 &&
		    converted_problem(origin->item, &d->inputs, origin->resource->full_name, &err) < 0)
			return -ENOMEM;
	}
	return 0;
}

void documents_print_left_alone(const struct documents *d, FILE *to)
{
	if (d->inputs.left_alone)
		fprintf(to, "%zu file%s left alone: in directories, only what is called *.json is read\n", d->inputs.left_alone,
			d->inputs.left_alone == 1 ? "" : "s");
}
