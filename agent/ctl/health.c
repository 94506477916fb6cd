/* SPDX-License-Identifier: Apache-2.0 */
/* weft health: what the checks of this node say of each endpoint. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

struct health_arguments {
	struct ctl ctl;
	const char *node;
};
static const struct option options[] = {
	{ .name = "node", .type = OPTION_STRING, .offset = OPTION(struct health_arguments, node), .argument = "NODE",
	  .help = "endpoints of this virtual node" },
	CTL_OPTIONS
};

/* "http /ping every 5s, 2 up 3 down" */
static void check_cell(struct grid *grid, const json_t *check)
{
	const char *path = json_path_string(check, "path"), *from = json_path_string(check, "from");
	char interval[FORMAT_BYTES], up[FORMAT_BYTES], down[FORMAT_BYTES];

	if (!json_path_string(check, "protocol")) {
		grid_add(grid, NULL);
		return;
	}
	grid_printf(grid, "%s%s%s every %s, %s up %s down%s%s%s", json_path_string(check, "protocol"), path ? " " : "", path ?: "",
		    format_member_span(check, "intervalNs", interval), format_member_count(check, "healthyThreshold", up),
		    format_member_count(check, "unhealthyThreshold", down), json_path_string(check, "checkAs") ? " (check-as-tcp)" : "",
		    from && strcmp(from, "agent") ? ", from " : "", from && strcmp(from, "agent") ? from : "");
}

static void check_row(struct grid *grid, const json_t *check)
{
	char name[NAME_TEXT_BYTES], count[FORMAT_BYTES];

	grid_add(grid, format_member_name(check, "target", name));
	grid_add(grid, json_path_string(check, "address"));
	grid_add(grid, json_path_string(check, "health"));
	grid_add(grid, json_path_string(check, "changedAt"));
	grid_add(grid, json_path_string(check, "lastResult"));
	grid_add(grid, format_member_count(check, "inARow", count));
	check_cell(grid, check);
}

static int answer_print(const json_t *answer)
{
	static const struct grid_column columns[] = {
		{ .title = "TARGET" },	    { .title = "ADDRESS" }, { .title = "HEALTH" }, { .title = "SINCE" },
		{ .title = "LAST RESULT" }, { "IN A ROW", true },   { .title = "CHECK" },  {},
	};
	static const char *const worst_first[] = { "down", "pending", "up", "unchecked" };
	_cleanup_(grid_done) struct grid grid;

	grid_init(&grid, columns);
	for (size_t rank = 0; rank < ARRAY_SIZE(worst_first); rank++)
		for (size_t i = 0; i < json_path_count(answer, "checks"); i++) {
			const json_t *check = json_path_at(answer, "checks", i);
			const char *health = json_path_string(check, "health");

			if (health && !strcmp(health, worst_first[rank]))
				check_row(&grid, check);
		}
	return grid_print(&grid, stdout);
}

static int health_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct health_arguments *a = arguments;
	const struct parameter parameters[] = { { "node", a->node }, {} };
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};

	if (client_call(&a->ctl, "GET", "/v1/health", parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	return ctl_printed(answer_print(answer));
}

const struct command health_command = {
	.name = "health",
	.synopsis = "[options]",
	.summary = "lists endpoints with what health checks say of them, unhealthy ones first",
	.more = "\nEndpoints of nodes that a workload of this host may call. NODE may be full (mesh/M/virtualNode/N) or the last part.",
	.options = options,
	.arguments_size = sizeof(struct health_arguments),
	.run = health_run,
};
