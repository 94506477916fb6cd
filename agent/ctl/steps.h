/* SPDX-License-Identifier: Apache-2.0 */
/* What apply, import and delete do: a step for each resource, in the order of what depends on what. A step that is refused for what is not
 * there yet, or still there, is tried again after the others, as long as that leads on: an order that is right for every mesh cannot be
 * told from a resource alone. */
#pragma once

#include "agent/convert/convert.h"
#include "agent/ctl/documents.h"
#include "agent/ctl/remote.h"
#include "agent/ctl/target.h"
#include "base/bytes.h"

enum action { ACTION_CREATE, ACTION_UPDATE, ACTION_TAG, ACTION_DELETE, ACTION_NONE };

struct step {
	struct target target;
	enum action action;
	bool done;
	struct error err; /* of the last try; code 0: none */

	const struct converted *item; /* where it came from; NULL: it was named */
	json_t *input; /* of a create */
	json_t *before, *after; /* {"spec", "tags"}: what differs is shown; NULL: nothing is */
	const char *arn; /* for tags; borrowed from `answer` */
	json_t *answer; /* what describe said before; NULL: it is not there */
	const char *region; /* NULL: the usual */
	const json_t *identity; /* of an import */
};

struct steps {
	struct step *list;
	size_t count;
};
void steps_done(struct steps *steps);
/* A step that does nothing yet; takes the target over. 0 or -ENOMEM. */
int steps_add(struct steps *steps, struct target *target, struct step **ret_step);
/* By kind, and within a kind by name; `backwards`: for deleting. */
void steps_sort(struct steps *steps, bool backwards);
/* Says what has to be done for a resource, by what there is now; `step` has its target, where it came from and the input of a create. */
typedef int steps_plan_fn(struct remote *remote, struct step *step, const struct resource *resource, struct error *err);
/* A step for each document, in order. What `plan` fails by, or -ENOMEM. */
int steps_plan(struct steps *steps, const struct documents *documents, struct remote *remote, steps_plan_fn *plan, struct error *err);

/* Does all that are not ACTION_NONE, and says so of each on stdout unless `quiet`. 0: all are done; -ECANCELED: some are not, their `err`
 * says why; other errors: the API could not be asked any more. */
int steps_run(struct steps *steps, struct remote *remote, bool quiet, struct error *err);
bool steps_failed(const struct steps *steps); /* one of them at least */
/* Says what would be done. */
void steps_show(const struct steps *steps);
/* The faults of those that are not done: with their place, or their name. */
void steps_print_faults(const struct steps *steps, FILE *to);
/* "2 created, 1 updated, 7 unchanged, 1 failed" */
void steps_print_counts(const struct steps *steps, bool would, FILE *to);
/* [{"resource", "action", "done", "changes": [{"path", "before", "after"}], "error", "file", "line", "column"}] */
json_t *steps_json(const struct steps *steps);
