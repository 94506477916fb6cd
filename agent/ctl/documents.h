/* SPDX-License-Identifier: Apache-2.0 */
/* The resources of files, read, converted and checked, as validate, apply, delete and import have them. */
#pragma once

#include "agent/convert/convert.h"
#include "agent/ctl/command.h"
#include "agent/spec/resource.h"

struct origin {
	const struct resource *resource; /* the set's */
	const struct converted *item; /* the conversion's */
};

struct documents {
	struct inputs inputs; /* `problems`: whatever is wrong */
	struct conversion conversion;
	struct resources set;
	struct origin *origins; /* as many as the set has resources, in the order of the documents */
};

/* Reads what is named, converts it, and checks every resource alone; those that are wrong are problems, and not in the set. -EINVAL: no
 * name, or a parameter that is none; -ENOENT: there is nothing in it. `documents` is to be released in any case. */
int documents_read(struct documents *documents, const char *const *names, size_t count, const struct option_strings *parameters,
		   struct error *err);
/* Against one another. 0 or -ENOMEM. */
int documents_check_together(struct documents *documents);
/* Both, for who needs all of them valid: what is wrong is printed to stderr, and -EBADMSG says that "nothing was `done`". */
int documents_read_valid(struct documents *documents, const char *const *names, size_t count, const struct option_strings *parameters,
			 const char *done, struct error *err);
void documents_done(struct documents *documents);
bool documents_are_valid(const struct documents *documents);
/* A line, where files of directories were left alone. */
void documents_print_left_alone(const struct documents *documents, FILE *to);
