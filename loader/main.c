/* SPDX-License-Identifier: Apache-2.0 */
/* weft-loader: the kernel part of an instance, from the command line. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "loader/loader.h"
#include "maps/limits.h"

enum { EXIT_MISUSED = 2 };

struct arguments {
	const char *instance;
	const char *cgroup;
	uint32_t services;
	bool json;
	bool help;
};
static const struct option option_table[] = {
	{ .name = "instance", .type = OPTION_STRING, .offset = OPTION(struct arguments, instance), .argument = "NAME",
	  .help = "which instance (default: default)" },
	{ .name = "cgroup", .type = OPTION_STRING, .offset = OPTION(struct arguments, cgroup), .argument = "DIR",
	  .help = "subtree to attach to (default: the root of the cgroup2 hierarchy)" },
	{ .name = "services", .type = OPTION_U32, .offset = OPTION(struct arguments, services), .argument = "N", .max = MAX_SERVICES,
	  .help = "install, grow: how many services the tables are made for (default of install: 256)" },
	{ .name = "json", .type = OPTION_FLAG, .offset = OPTION(struct arguments, json), .help = "status as JSON" },
	{ .name = "help", .type = OPTION_FLAG, .offset = OPTION(struct arguments, help), .help = "this" },
	{}
};

/* Only an option can be at fault as a field. */
static int fail(const struct error *err)
{
	char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];

	fprintf(stderr, "weft-loader: %s\n", error_text(err, text, sizeof(text)));
	if (err->field[0])
		return EXIT_MISUSED;
	if (loader_log()[0])
		fprintf(stderr, "The kernel's verifier and libbpf said last:\n%s", loader_log());
	return EXIT_FAILURE;
}

/* What is installed, in a line, and what had to be left out. */
static int report(const struct loader_options *options, const char *done)
{
	_cleanup_free_ struct loader_status *status = calloc(1, sizeof(*status));
	struct error err = {};

	if (!status || loader_status(options, status, &err) < 0)
		return fail(&err);
	printf("%s: instance %s at %s\n", done, options->instance, status->cgroup);
	for (size_t i = 0; i < status->hook_count; i++)
		if (!status->hooks[i].attached)
			printf("without %s, which this kernel does not take: %s\n", status->hooks[i].name,
			       status->hooks[i].purpose);
	return EXIT_SUCCESS;
}

static int command_install(const struct loader_options *options, bool json __attribute__((unused)))
{
	struct error err = {};

	return loader_install(options, &err) < 0 ? fail(&err) : report(options, "installed");
}

static int command_upgrade(const struct loader_options *options, bool json __attribute__((unused)))
{
	struct error err = {};

	return loader_upgrade(options, &err) < 0 ? fail(&err) : report(options, "upgraded");
}

static int command_grow(const struct loader_options *options, bool json __attribute__((unused)))
{
	struct error err = {};

	return loader_grow(options, &err) < 0 ? fail(&err) : report(options, "grown");
}

static int command_uninstall(const struct loader_options *options, bool json __attribute__((unused)))
{
	struct error err = {};

	if (loader_uninstall(options, &err) < 0)
		return fail(&err);
	printf("uninstalled: instance %s\n", options->instance);
	return EXIT_SUCCESS;
}

static json_t *status_json(const struct loader_options *options, const struct loader_status *status)
{
	json_t *hooks = json_array(), *maps = json_array();

	for (size_t i = 0; i < status->hook_count; i++) {
		const struct loader_hook_status *h = &status->hooks[i];

		json_array_append_new(hooks, json_pack("{ss ss sb sb sb sI sI ss}", "name", h->name, "purpose", h->purpose,
						       "required", h->required, "attached", h->attached, "current", h->current,
						       "programId", (json_int_t)h->program_id, "linkId", (json_int_t)h->link_id,
						       "programTag", h->program_tag));
	}
	for (size_t i = 0; i < status->map_count; i++)
		json_array_append_new(maps, json_pack("{ss sI sI}", "name", status->maps[i].name, "entries",
						      (json_int_t)status->maps[i].entries, "bytes",
						      (json_int_t)status->maps[i].bytes));
	return json_pack("{ss sb ss so so}", "instance", options->instance, "installed", status->installed, "cgroup",
			 status->cgroup, "hooks", hooks, "maps", maps);
}

static const char *hook_state(const struct loader_hook_status *hook)
{
	if (!hook->attached)
		return hook->link_id ? "cgroup gone" : "missing";
	return hook->current ? "attached" : "other build";
}

static void status_print(const struct loader_options *options, const struct loader_status *status)
{
	uint64_t total_bytes = 0;

	printf("instance   %s\n", options->instance);
	printf("installed  %s\n", status->installed ? "yes" : "no");
	printf("cgroup     %s\n", status->cgroup[0] ? status->cgroup : "-");
	printf("\n%-14s %-12s %8s  %-16s  %s\n", "HOOK", "STATE", "PROGRAM", "TAG", "PURPOSE");
	for (size_t i = 0; i < status->hook_count; i++) {
		const struct loader_hook_status *h = &status->hooks[i];

		printf("%-14s %-12s %8" PRIu32 "  %-16s  %s%s\n", h->name, hook_state(h), h->program_id, h->program_tag,
		       h->purpose, h->required ? "" : " (optional)");
	}
	if (!status->map_count)
		return;
	printf("\n%-16s %8s %9s\n", "MAP", "ENTRIES", "KIB");
	for (size_t i = 0; i < status->map_count; i++) {
		const struct loader_map_status *m = &status->maps[i];

		printf("%-16s %8" PRIu32 " %9" PRIu64 "\n", m->name, m->entries, m->bytes / 1024);
		total_bytes += m->bytes;
	}
	printf("%-16s %8s %9" PRIu64 "\n", "all", "", total_bytes / 1024);
}

static int command_status(const struct loader_options *options, bool json)
{
	_cleanup_free_ struct loader_status *status = calloc(1, sizeof(*status));
	struct error err = {};

	if (!status || loader_status(options, status, &err) < 0)
		return fail(&err);
	if (json) {
		_cleanup_json_ json_t *value = status_json(options, status);

		json_dumpf(value, stdout, JSON_INDENT(2));
		printf("\n");
	} else {
		status_print(options, status);
	}
	return status->installed ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct command {
	const char *name;
	int (*run)(const struct loader_options *options, bool json);
	const char *help;
} commands[] = {
	{ "install", command_install, "load, pin and attach the kernel part; completes what is half there" },
	{ "upgrade", command_upgrade, "put this build's programs in place of the attached ones; all that is in maps stays, or is taken over" },
	{ "grow", command_grow, "larger tables in place of those that are there, under running connections; weftd asks for it by itself" },
	{ "uninstall", command_uninstall, "detach and remove everything of the instance" },
	{ "status", command_status, "what is attached, and the maps; exits 1 unless all that is required is attached" },
};

static void usage(FILE *to)
{
	fprintf(to, "usage: weft-loader COMMAND [options]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(to, "\n");
}

int main(int argc, char *argv[])
{
	struct arguments arguments = { .instance = "default" };
	const struct command *command = NULL;
	struct error err = {};
	int rest = 0, skip;

	for (size_t i = 0; i < ARRAY_SIZE(commands) && argc > 1; i++)
		if (!strcmp(argv[1], commands[i].name))
			command = &commands[i];
	skip = command ? 1 : 0;
	if (options_parse(option_table, &arguments, argc - skip, argv + skip, &rest, &err) < 0) {
		fail(&err);
		return EXIT_MISUSED;
	}
	if (arguments.help) {
		usage(stdout);
		options_print(option_table);
		return EXIT_SUCCESS;
	}
	if (!command || rest < argc - skip) {
		if (rest < argc - skip)
			fprintf(stderr, "weft-loader: unexpected argument '%s'\n", argv[skip + rest]);
		usage(stderr);
		return EXIT_MISUSED;
	}
	return command->run(&(struct loader_options){ .instance = arguments.instance, .cgroup = arguments.cgroup, .services = arguments.services },
			    arguments.json);
}
