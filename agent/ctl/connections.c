/* SPDX-License-Identifier: Apache-2.0 */
/* weft connections: what is open now, and the flow records of what was closed or refused. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

#define LIMIT_DEFAULT 100

struct connections_arguments {
	struct ctl ctl;
	const char *since;
	const char *from;
	const char *to;
	const char *reason;
	bool open;
	uint32_t limit;
};
static const struct option options[] = {
	{ .name = "since", .type = OPTION_STRING, .offset = OPTION(struct connections_arguments, since), .argument = "SPAN",
	  .help = "closed in the last 10s, 5m, 2h" },
	{ .name = "from", .type = OPTION_STRING, .offset = OPTION(struct connections_arguments, from), .argument = "NODE",
	  .help = "of this virtual node" },
	{ .name = "to", .type = OPTION_STRING, .offset = OPTION(struct connections_arguments, to), .argument = "SERVICE",
	  .help = "to this virtual service" },
	{ .name = "reason", .type = OPTION_STRING, .offset = OPTION(struct connections_arguments, reason), .argument = "REASON",
	  .help = "decided with this reason (routed, not-a-backend, ...)" },
	{ .name = "open", .type = OPTION_FLAG, .offset = OPTION(struct connections_arguments, open), .help = "open ones only" },
	{ .name = "limit", .type = OPTION_U32, .offset = OPTION(struct connections_arguments, limit), .argument = "N", .min = 1,
	  .max = UINT32_MAX, .help = "the newest N closed ones (default: 100)" },
	CTL_OPTIONS
};

static void common_cells(struct grid *grid, const json_t *c)
{
	char name[NAME_TEXT_BYTES];

	grid_add(grid, json_path_string(c, "time"));
	grid_add(grid, format_member_name(c, "from", name));
	grid_add(grid, format_member_name(c, "to", name));
	grid_add(grid, json_path_string(c, "asked"));
	grid_add(grid, json_path_string(c, "address"));
}

static void figure_cells(struct grid *grid, const json_t *c)
{
	char text[FORMAT_BYTES];

	grid_add(grid, format_member_span(c, "connectNs", text));
	grid_add(grid, format_member_span(c, "durationNs", text));
	grid_add(grid, format_member_bytes(c, "sent", text));
	grid_add(grid, format_member_bytes(c, "received", text));
	grid_add(grid, format_member_count(c, "pid", text));
}

static int open_print(const json_t *answer)
{
	static const struct grid_column columns[] = {
		{ .title = "SINCE" }, { .title = "FROM" }, { .title = "TO" },	{ .title = "ASKED" }, { .title = "ADDRESS" },
		{ .title = "STATE" }, { "CONNECT", true }, { "AGE", true },	{ "SENT", true },     { "RECEIVED", true },
		{ "PID", true },      {},
	};
	_cleanup_(grid_done) struct grid grid;

	if (!json_is_array(json_object_get(answer, "open"))) {
		printf("open connections: this kernel has no iterator to list them\n");
		return 0;
	}
	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "open"); i++) {
		const json_t *c = json_path_at(answer, "open", i);

		common_cells(&grid, c);
		grid_add(&grid, json_path_string(c, "leavesAt") ? "draining" : json_path_string(c, "state"));
		figure_cells(&grid, c);
	}
	printf("open: %zu\n", grid_rows(&grid));
	return grid_rows(&grid) ? grid_print(&grid, stdout) : 0;
}

static int closed_print(const json_t *answer)
{
	static const struct grid_column columns[] = {
		{ .title = "END" },    { .title = "FROM" },  { .title = "TO" },	  { .title = "ASKED" }, { .title = "ADDRESS" },
		{ .title = "REASON" }, { .title = "CLOSE" }, { "CONNECT", true }, { "DURATION", true }, { "SENT", true },
		{ "RECEIVED", true },  { "PID", true },	     {},
	};
	_cleanup_(grid_done) struct grid grid;
	char lost[FORMAT_BYTES], sampled_out[FORMAT_BYTES];

	grid_init(&grid, columns);
	for (size_t i = 0; i < json_path_count(answer, "closed"); i++) {
		const json_t *c = json_path_at(answer, "closed", i);

		common_cells(&grid, c);
		grid_add(&grid, json_path_string(c, "reason"));
		grid_add(&grid, json_path_string(c, "close"));
		figure_cells(&grid, c);
	}
	printf("\nclosed or refused: %zu (lost for want of room %s, left out by sampling %s)\n", grid_rows(&grid),
	       format_member_count(answer, "lost", lost), format_member_count(answer, "sampledOut", sampled_out));
	return grid_rows(&grid) ? grid_print(&grid, stdout) : 0;
}

static int connections_run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct connections_arguments *a = arguments;
	char limit[16];
	const struct parameter parameters[] = {
		{ "since", a->since }, { "from", a->from },	      { "to", a->to },
		{ "reason", a->reason }, { "open", a->open ? "1" : NULL }, { "limit", limit },
		{},
	};
	_cleanup_json_ json_t *answer = NULL;
	struct error err = {};
	int r;

	snprintf(limit, sizeof(limit), "%" PRIu32, a->limit ?: LIMIT_DEFAULT);
	if (client_call(&a->ctl, "GET", "/v1/connections", parameters, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	r = open_print(answer);
	return ctl_printed(r == 0 && !a->open ? closed_print(answer) : r);
}

const struct command connections_command = {
	.name = "connections",
	.synopsis = "[options]",
	.summary = "lists open connections, and the records of closed and refused ones",
	.more = "\nThe last 100,000 records are kept. Names may be full (mesh/M/virtualNode/N) or, where no other has it, the last\n"
		"part.",
	.options = options,
	.arguments_size = sizeof(struct connections_arguments),
	.run = connections_run,
};
