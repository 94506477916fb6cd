/* SPDX-License-Identifier: Apache-2.0 */
/* weft history, weft rollback, weft resume: what changed with each generation, and the way back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/difference.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

static bool is_generation(const char *word)
{
	return *word && strspn(word, "0123456789") == strlen(word);
}

static int not_a_generation(const char *word, struct error *err)
{
	return error_set_field(err, -EINVAL, "GENERATION", "'%s' is no number: `weft history` lists them", word);
}

/* "held at generation 11 since 2026-…; 2 changes of resources wait for `weft resume`"; nothing where nothing is held. */
static void held_print(const json_t *answer)
{
	const json_t *held = json_path(answer, "held");
	const json_int_t waiting = json_path_int(held, "waiting", 0);

	if (!json_is_object(held))
		return;
	printf("%sheld at generation %lld%s since %s; %lld change%s of resources wait%s for `weft resume`\n", style(stdout, STYLE_WARN),
	       (long long)json_path_int(held, "generation", 0), style(stdout, STYLE_PLAIN), json_path_string(held, "since") ?: "?",
	       (long long)waiting, waiting == 1 ? "" : "s", waiting == 1 ? "s" : "");
}

/* --- weft history ------------------------------------------------------------------------------------------------------------- */

struct history_arguments {
	struct ctl ctl;
	const char *limit;
};
static const struct option history_options[] = {
	{ .name = "limit", .type = OPTION_STRING, .offset = OPTION(struct history_arguments, limit), .argument = "N",
	  .help = "the newest N lines (default: 100)" },
	CTL_OPTIONS_JSON("weftd's answer as it is; with GENERATION resources whole, before and now")
};

#define ENTRY_TEXT_BYTES 64

/* "17", "12..16" */
static const char *generations_text(const json_t *entry, char buffer[ENTRY_TEXT_BYTES])
{
	const json_int_t first = json_path_int(entry, "generation", 0), last = json_path_int(entry, "last", first);

	if (first == last)
		snprintf(buffer, ENTRY_TEXT_BYTES, "%lld", (long long)first);
	else
		snprintf(buffer, ENTRY_TEXT_BYTES, "%lld..%lld", (long long)first, (long long)last);
	return buffer;
}

static const char *cause_text(const json_t *entry, char buffer[ENTRY_TEXT_BYTES])
{
	if (!json_is_integer(json_path(entry, "asked")))
		return json_path_string(entry, "cause") ?: "?";
	snprintf(buffer, ENTRY_TEXT_BYTES, "rollback to %lld", (long long)json_path_int(entry, "asked", 0));
	return buffer;
}

static void first_cells(struct grid *grid, const json_t *entry)
{
	char text[ENTRY_TEXT_BYTES];

	grid_add(grid, generations_text(entry, text));
	grid_add(grid, json_path_string(entry, "at"));
	grid_add(grid, cause_text(entry, text));
}

/* A line for each resource that changed; what they have in common stands in the first. */
static void entry_rows(struct grid *grid, const json_t *entry)
{
	const size_t count = json_path_count(entry, "changes");

	first_cells(grid, entry);
	for (size_t i = 0; i < count; i++) {
		const json_t *change = json_path_at(entry, "changes", i);

		if (i > 0)
			for (int cell = 0; cell < 3; cell++)
				grid_add(grid, " ");
		grid_printf(grid, "%s %s", json_path_string(change, "change") ?: "?", json_path_string(change, "resource") ?: "?");
	}
	if (!count)
		grid_add(grid, NULL);
}

/* With GENERATION: member by member. */
static int entries_tell(const json_t *entries)
{
	char generations[ENTRY_TEXT_BYTES], cause[ENTRY_TEXT_BYTES];
	const json_t *entry, *change;
	size_t i, n;

	json_array_foreach(entries, i, entry) {
		printf("generation %s, %s: %s\n", generations_text(entry, generations), json_path_string(entry, "at") ?: "?",
		       cause_text(entry, cause));
		json_array_foreach(json_path(entry, "changes"), n, change) {
			_cleanup_json_ json_t *before = difference_subject(json_object_get(change, "before"));
			_cleanup_json_ json_t *now = difference_subject(json_object_get(change, "now"));

			if (!before || !now)
				return -ENOMEM;
			printf("%s %s\n", json_path_string(change, "change") ?: "?", json_path_string(change, "resource") ?: "?");
			difference_print(before, now);
		}
	}
	return 0;
}

static int entries_print(const json_t *entries)
{
	static const struct grid_column columns[] = {
		{ "GENERATION", true }, { .title = "WHEN" }, { .title = "CAUSE" }, { .title = "RESOURCES" }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	const json_t *entry;
	size_t i;

	grid_init(&grid, columns);
	json_array_foreach(entries, i, entry)
		entry_rows(&grid, entry);
	return grid_print(&grid, stdout);
}

static int history_run(const void *arguments, const struct words *words)
{
	const struct history_arguments *a = arguments;
	const char *generation = words->count ? words->values[0] : NULL;
	const struct parameter parameters[] = { { "limit", a->limit }, { "generation", generation }, {} };
	_cleanup_json_ json_t *answer = NULL;
	const json_t *entries;
	struct error err = {};

	if (generation && !is_generation(generation)) {
		not_a_generation(generation, &err);
		return ctl_fail(&err);
	}
	if (client_call(&a->ctl, "GET", "/v1/history", parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	if (generation && !json_path_count(answer, "entries")) {
		error_set(&err, -ENOENT, "nothing is known of generation %s: those from %lld to %lld are", generation,
			  (long long)json_path_int(answer, "oldest", 0), (long long)json_path_int(answer, "newest", 0));
		return ctl_fail(&err);
	}
	held_print(answer);
	entries = json_path(answer, "entries");
	return ctl_printed(generation ? entries_tell(entries) : entries_print(entries));
}

const struct command history_command = {
	.name = "history",
	.synopsis = "[options] [GENERATION]",
	.summary = "lists generations, the newest first, with what changed; `weft rollback` goes back to one",
	.more = "\nWith GENERATION: what of each resource changed with it, member by member.\n"
		"A generation is one state of everything the kernel decides by. Those that changed only where endpoints and workloads are\n"
		"stand in one line, until resources change again.",
	.options = history_options,
	.arguments_size = sizeof(struct history_arguments),
	.words_max = 1,
	.run = history_run,
};

/* --- weft rollback, weft resume ----------------------------------------------------------------------------------------------- */

static const struct option hold_options[] = { CTL_OPTIONS };

static int changed(const struct ctl *ctl, const char *path, const struct parameter *parameters)
{
	_cleanup_json_ json_t *answer = NULL, *history = NULL;
	const struct parameter newest[] = { { "limit", "1" }, {} };
	struct error err = {};

	if (client_call(ctl, "POST", path, parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (ctl->json)
		return ctl_print_json(answer);
	if (client_call(ctl, "GET", "/v1/history", newest, NULL, &history, &err) < 0)
		return ctl_fail(&err);
	printf("in force: generation %lld\n", (long long)json_path_int(answer, "generation", 0));
	held_print(history);
	return EXIT_SUCCESS;
}

static int rollback_run(const void *arguments, const struct words *words)
{
	const struct parameter parameters[] = { { "generation", words->count ? words->values[0] : NULL }, {} };
	struct error err = {};

	if (words->count && !is_generation(words->values[0])) {
		not_a_generation(words->values[0], &err);
		return ctl_fail(&err);
	}
	return changed(arguments, "/v1/rollback", parameters);
}

static int resume_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	return changed(arguments, "/v1/resume", NULL);
}

const struct command rollback_command = {
	.name = "rollback",
	.synopsis = "[options] [GENERATION]",
	.summary = "puts the resources of an earlier generation in force, and holds them",
	.more = "\nWithout GENERATION: those before the last change of resources. Endpoints and their health stay as they are now. What is\n"
		"configured meanwhile is read and checked, and waits for `weft resume`; that outlives weftd.",
	.options = hold_options,
	.arguments_size = sizeof(struct ctl),
	.words_max = 1,
	.run = rollback_run,
};

const struct command resume_command = {
	.name = "resume",
	.synopsis = "[options]",
	.summary = "ends what `weft rollback` began: the resources as they are configured now come into force",
	.options = hold_options,
	.arguments_size = sizeof(struct ctl),
	.run = resume_run,
};
