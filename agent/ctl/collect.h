/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of the API, by its lists: what `weft get` over the network, export and delete --recursive go through. */
#pragma once

#include "agent/ctl/remote.h"
#include "agent/ctl/target.h"

struct collected {
	struct target target;
	json_t *body; /* as describe answers, or the list's entry */
	json_t *tags; /* list; NULL: not asked for */
};
struct collection {
	struct collected *list; /* in the order of the API's lists, parents before what is theirs */
	size_t count;
};
void collection_done(struct collection *c);

enum collect_what { COLLECT_REFS, COLLECT_DESCRIPTIONS, COLLECT_WITH_TAGS };
/* All resources of a mesh, which must be there, or of every mesh (NULL), meshes included. What is gone by the time that it is described is
 * left out. */
int collect(struct remote *remote, enum collect_what what, const char *mesh, struct collection *ret_collection, struct error *err);
/* The API's list of a resource's tags. */
int collect_tags(struct remote *remote, const char *arn, json_t **ret_tags, struct error *err);
/* Takes over the target. 0 or -ENOMEM. */
int collection_add(struct collection *c, struct target *target, json_t *body);
