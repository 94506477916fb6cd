/* SPDX-License-Identifier: Apache-2.0 */
/* The `weft` command: one file and one table row for each of its commands. main.c finds the command, reads its options and
 * prints its help; the command asks weftd and shows the answer. Exit codes: 0, 1 (failed), 2 (misused). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"

enum { EXIT_MISUSED = 2 };

/* What every command takes; the first member of its arguments. */
struct ctl {
	const char *instance;
	const char *socket; /* NULL: the instance's */
	long patience_seconds; /* with weftd, until it has answered; 0: the usual */
	bool json;
	bool help;
};
#define CTL_OPTIONS CTL_OPTIONS_JSON("weftd's answer as it is")
#define CTL_OPTIONS_JSON(json_help)                                                                                           \
	{ .name = "instance", .type = OPTION_STRING, .offset = OPTION(struct ctl, instance), .argument = "NAME",               \
	  .help = "which instance of weft (default: default)" },                                                               \
	{ .name = "socket", .type = OPTION_STRING, .offset = OPTION(struct ctl, socket), .argument = "PATH",                   \
	  .help = "socket of weftd (default: /run/weft/INSTANCE/weftd.sock)" },                                                \
	{ .name = "json", .type = OPTION_FLAG, .offset = OPTION(struct ctl, json), .help = json_help },                        \
	{ .name = "help", .type = OPTION_FLAG, .offset = OPTION(struct ctl, help), .help = "this" },                           \
	{}

/* Of commands that ask nobody. */
#define CTL_OPTIONS_OFFLINE(json_help)                                                                                        \
	{ .name = "json", .type = OPTION_FLAG, .offset = OPTION(struct ctl, json), .help = json_help },                        \
	{ .name = "help", .type = OPTION_FLAG, .offset = OPTION(struct ctl, help), .help = "this" },                           \
	{}

/* Of commands that read templates of CloudFormation. */
#define CONVERT_OPTIONS(owner, member)                                                                                        \
	{ .name = "parameter", .type = OPTION_STRINGS, .offset = OPTION(owner, member), .argument = "NAME=VALUE", .whole = true, \
	  .help = "a parameter of a CloudFormation template, or what it names and does not have; may be given several times" }

struct words {
	size_t count;
	char *const *values; /* ends with NULL */
};

struct command {
	const char *name;
	const char *synopsis; /* what follows the name */
	const char *summary; /* one line */
	const char *more; /* for --help; may be NULL */
	const struct option *options;
	size_t arguments_size; /* of the struct that `options` fill, zeroed before */
	size_t words_max; /* words that are no options */
	bool program; /* the first word and all after it are another program and its arguments */
	int (*run)(const void *arguments, const struct words *words); /* returns the exit code */
};
extern const struct command get_command, connections_command, explain_command, dns_command, status_command, health_command,
	run_command, register_command, deregister_command, instances_command, top_command, doctor_command,
	expose_command, attach_command, history_command, rollback_command, resume_command, validate_command, apply_command,
	delete_command, export_command, import_command, quotas_command, audit_command, iam_command;

extern const char *ctl_command; /* the one that runs, for messages; NULL: none yet */

/* Says on stderr what went wrong. Returns the exit code: misused for -EINVAL. */
int ctl_fail(const struct error *err);
/* What was printed for people, 0, or could not be, -ENOMEM, which is said on stderr. Returns the exit code. */
int ctl_printed(int r);
/* Prints the answer for programs. Returns the exit code. */
int ctl_print_json(const json_t *value);
