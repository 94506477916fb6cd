/* SPDX-License-Identifier: Apache-2.0 */
/* weft doctor: what is wrong on this node, why, and what to do about it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/doctor/doctor.h"
#include "base/cleanup.h"

struct doctor_arguments {
	struct ctl ctl;
};
static const struct option options[] = { CTL_OPTIONS_JSON("checks and findings as JSON") };

#define PATIENCE_SECONDS 10 /* a weftd that needs longer is one that is wrong */

/* weftd's part; without it, why not. */
static void ask_agent(const struct ctl *ctl, struct sighting *s)
{
	struct ctl hurried = *ctl;
	const struct {
		const char *path;
		json_t **answer;
	} questions[] = {
		{ "/v1/status", &s->status },
		{ "/v1/resources", &s->resources },
		{ "/v1/discovery", &s->discovery },
		{ "/v1/health", &s->health },
	};

	hurried.patience_seconds = PATIENCE_SECONDS;
	for (size_t i = 0; i < ARRAY_SIZE(questions) && !s->agent_error.code; i++)
		client_call(&hurried, "GET", questions[i].path, NULL, NULL, questions[i].answer, &s->agent_error);
}

static void sighting_free(struct sighting *s)
{
	json_decref(s->status);
	json_decref(s->resources);
	json_decref(s->discovery);
	json_decref(s->health);
	sighting_done(s);
	free(s);
}
static void cleanup_sighting(struct sighting **s)
{
	if (*s)
		sighting_free(*s);
}

static void finding_print(const json_t *finding)
{
	const bool wrong = !strcmp(json_path_string(finding, "weight") ?: "", "wrong");

	printf("    %s%s%s\n      do: %s\n", style(stdout, wrong ? STYLE_BAD : STYLE_WARN), json_path_string(finding, "cause") ?: "?",
	       style(stdout, STYLE_PLAIN), json_path_string(finding, "remedy") ?: "?");
}

static void check_print(const json_t *check)
{
	static const struct {
		const char *name, *text;
		enum style style;
		bool is_what; /* what the check is about is true */
	} states[] = {
		{ "ok", "ok", STYLE_GOOD, true },
		{ "note", "note", STYLE_WARN },
		{ "wrong", "WRONG", STYLE_BAD },
		{ "skipped", "skipped", STYLE_WARN },
	};
	const char *state = json_path_string(check, "state") ?: "?";
	const int64_t left_out = json_path_int(check, "leftOut", 0);

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(states[i].name, state))
			printf("%-14s %s%-8s%s %s\n", json_path_string(check, "name") ?: "?", style(stdout, states[i].style), states[i].text,
			       style(stdout, STYLE_PLAIN), states[i].is_what ? json_path_string(check, "what") ?: "?" : "");
	if (json_path_string(check, "skipped"))
		printf("    not looked at: %s\n", json_path_string(check, "skipped"));
	for (size_t i = 0; i < json_path_count(check, "findings"); i++)
		finding_print(json_path_at(check, "findings", i));
	if (left_out)
		printf("    and %lld more like these\n", (long long)left_out);
}

static void verdict_print(const json_t *verdict)
{
	const long long wrong = json_path_int(verdict, "wrong", 0), notes = json_path_int(verdict, "notes", 0);
	const long long skipped = json_path_int(verdict, "skipped", 0);

	for (size_t i = 0; i < json_path_count(verdict, "checks"); i++)
		check_print(json_path_at(verdict, "checks", i));
	if (wrong || skipped)
		printf("\n%lld %s wrong, %lld to note, %lld checks could not be made\n", wrong, wrong == 1 ? "thing is" : "things are",
		       notes, skipped);
	else
		printf("\nall is well, %lld to note\n", notes);
}

static int doctor_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct doctor_arguments *a = arguments;
	_cleanup_(cleanup_sighting) struct sighting *s = calloc(1, sizeof(*s));
	_cleanup_json_ json_t *verdict = NULL;
	struct error err = {};
	int code;

	if (geteuid() != 0) {
		error_set(&err, -EPERM, "the kernel part and weftd can be seen by root only");
		return ctl_fail(&err);
	}
	if (s) {
		s->instance = a->ctl.instance;
		ask_agent(&a->ctl, s);
		sighting_take(s);
		verdict = doctor_judge(s);
	}
	if (!verdict || (!a->ctl.json && format_clean(verdict) < 0)) {
		error_set(&err, -ENOMEM, "out of memory");
		return ctl_fail(&err);
	}
	code = json_path_bool(verdict, "healthy", false) ? EXIT_SUCCESS : EXIT_FAILURE;
	if (a->ctl.json)
		ctl_print_json(verdict);
	else
		verdict_print(verdict);
	return code;
}

const struct command doctor_command = {
	.name = "doctor",
	.synopsis = "[options]",
	.summary = "looks what is wrong on this node, why, and what to do about it",
	.more = "\nExits 0 when all is well, 1 when something is wrong. Without weftd it looks at what it can. In each workload's cgroup\n"
		"and namespace a process of a few ms asks the hooks whether they are there; nothing is sent.",
	.options = options,
	.arguments_size = sizeof(struct doctor_arguments),
	.run = doctor_run,
};
