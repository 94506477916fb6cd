/* SPDX-License-Identifier: Apache-2.0 */
/* weft quotas: how many resources there may be. */
#include <errno.h>

#include "agent/ctl/client.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

struct quotas_arguments {
	struct ctl ctl;
};
static const struct option options[] = { CTL_OPTIONS };

static int quotas_run(const void *arguments, const struct words *words)
{
	static const struct grid_column columns[] = { { .title = "QUOTA" }, { "VALUE", true }, { "DEFAULT", true }, {} };
	const struct quotas_arguments *a = arguments;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_(grid_done) struct grid grid;
	char number[FORMAT_BYTES];
	struct error err = {};

	(void)words;
	grid_init(&grid, columns);
	if (client_call(&a->ctl, "GET", "/v1/quotas", NULL, NULL, &answer, &err) < 0)
		return ctl_fail(&err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	for (size_t i = 0; i < json_path_count(answer, "quotas"); i++) {
		const json_t *quota = json_path_at(answer, "quotas", i);

		grid_add(&grid, json_path_string(quota, "quota"));
		grid_add(&grid, format_member_count(quota, "value", number));
		grid_add(&grid, format_member_count(quota, "default", number));
	}
	return ctl_printed(grid_print(&grid, stdout));
}

const struct command quotas_command = {
	.name = "quotas",
	.synopsis = "[options]",
	.summary = "shows how many resources there may be",
	.more = "\nThey are set by \"quotas\" in weftd's options file.",
	.options = options,
	.arguments_size = sizeof(struct quotas_arguments),
	.words_max = 0,
	.run = quotas_run,
};
