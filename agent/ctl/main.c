/* SPDX-License-Identifier: Apache-2.0 */
/* weft: what a person asks of the mesh on this node. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/command.h"
#include "base/cleanup.h"

static const struct command *const commands[] = {
	&get_command, &connections_command, &explain_command, &dns_command, &status_command, &health_command,
	&run_command, &register_command,    &deregister_command, &instances_command, &top_command,
	&doctor_command, &expose_command, &attach_command, &history_command, &rollback_command, &resume_command, &validate_command,
	&apply_command, &delete_command, &export_command, &import_command, &quotas_command, &audit_command, &iam_command,
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static void usage(FILE *to)
{
	fprintf(to, "usage: weft COMMAND [options]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(to, "\n`weft COMMAND --help` tells more of each.\n");
}

static void command_usage(const struct command *command)
{
	printf("usage: weft %s %s\n\n%s.\n", command->name, command->synopsis, command->summary);
	if (command->more)
		printf("%s\n", command->more);
	printf("\n");
	options_print(command->options);
}

/* Options and words may stand in any order; `--` ends the options. */
static int read_arguments(const struct command *command, void *arguments, int argc, char *argv[], struct words *ret_words,
			  struct error *err)
{
	size_t count = 0;
	int at = 0, rest = 0, r;

	for (;;) {
		/* argv[at] is the word before, which options_parse() skips as a program's name */
		r = options_parse(command->options, arguments, argc - at, argv + at, &rest, err);
		if (r < 0)
			return r;
		at += rest;
		if (at >= argc)
			break;
		if (command->program || !strcmp(argv[at - 1], "--")) {
			memmove(argv + 1 + count, argv + at, (size_t)(argc - at) * sizeof(*argv));
			count += (size_t)(argc - at);
			break;
		}
		argv[1 + count++] = argv[at];
	}
	if (!command->program && count > command->words_max)
		return error_set(err, -EINVAL, "unexpected argument '%s'", argv[1 + command->words_max]);
	argv[1 + count] = NULL;
	*ret_words = (struct words){ .count = count, .values = argv + 1 };
	return 0;
}

int main(int argc, char *argv[])
{
	_cleanup_free_ void *arguments = NULL;
	struct words words;
	struct error err = {};
	bool help = argc > 1 && (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help"));
	const struct command *current;
	struct ctl *ctl;
	int code;

	current = find(argc > (help ? 2 : 1) ? argv[help ? 2 : 1] : "");
	if (help && (current || argc == 2)) {
		if (current)
			command_usage(current);
		else
			usage(stdout);
		return EXIT_SUCCESS;
	}
	if (!current) {
		if (argc > 1)
			fprintf(stderr, "weft: there is no command '%s'\n", argv[help ? 2 : 1]);
		usage(stderr);
		return EXIT_MISUSED;
	}
	ctl_command = current->name;
	arguments = calloc(1, current->arguments_size);
	if (!arguments || curl_global_init(CURL_GLOBAL_NOTHING)) {
		error_set(&err, -ENOMEM, "out of memory");
		return ctl_fail(&err);
	}
	ctl = arguments;
	ctl->instance = "default";
	if (read_arguments(current, arguments, argc - 1, argv + 1, &words, &err) < 0)
		return ctl_fail(&err);
	if (ctl->help) {
		command_usage(current);
		return EXIT_SUCCESS;
	}
	if (options_check(current->options, arguments, &err) < 0)
		return ctl_fail(&err);
	code = current->run(arguments, &words);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "weft: cannot write the answer: %m\n");
		return EXIT_FAILURE;
	}
	return code;
}
