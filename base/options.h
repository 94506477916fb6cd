/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options as table rows. One table parses the command line, reads the same names from a JSON config file, and
 * prints --help. `--name VALUE` and `--name=VALUE`, and `-n VALUE` where a row has a letter; a lone `--` ends the options. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum option_type {
	OPTION_FLAG, /* bool */
	OPTION_STRING, /* const char *: borrowed from argv, or strdup'ed from a file and never freed */
	OPTION_STRINGS, /* struct option_strings: may be given several times, or as comma list */
	OPTION_U32, /* uint32_t within min..max */
	OPTION_SPAN, /* uint64_t ns: "500ms", "10s" */
};

#define OPTION_STRINGS_MAX 64
struct option_strings {
	size_t count;
	const char *values[OPTION_STRINGS_MAX];
};

struct option {
	const char *name; /* "state-dir"; NULL ends the table */
	enum option_type type;
	size_t offset; /* into the caller's struct */
	const char *argument; /* "DIR", for help; NULL for flags */
	const char *help; /* one line */
	bool required;
	bool command_line_only;
	uint64_t min, max; /* OPTION_U32; both 0: any */
	char letter; /* 'f': -f VALUE as well; 0: none */
	bool whole; /* OPTION_STRINGS: a comma is part of a value */
};
#define OPTION(struct_type, member) offsetof(struct_type, member)

/* Parses argv[1..]; `target` holds the defaults before. Stops at the first word that is no option, or after `--`; its index
 * is *ret_rest. -EINVAL names the option. */
int options_parse(const struct option *table, void *target, int argc, char *const argv[], int *ret_rest, struct error *err);
/* Members of a JSON object file by the same names; a member that is no option is an error unless `extra(name, json_t *value,
 * arg, err)` takes it. What the command line gave wins when options_parse() runs after this. */
typedef int options_extra_fn(const char *name, void *json_value, void *arg, struct error *err);
int options_read_file(const struct option *table, void *target, const char *path, options_extra_fn *extra, void *arg,
		      struct error *err);
/* -EINVAL naming the first required option that is still NULL. */
int options_check(const struct option *table, const void *target, struct error *err);
/* Two columns on stdout. */
void options_print(const struct option *table);
