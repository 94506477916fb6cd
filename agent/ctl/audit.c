/* SPDX-License-Identifier: Apache-2.0 */
/* weft audit: who did what by the API. */
#include <errno.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"
#include "base/time.h"

#define PAGE 1000
#define USUAL 100

struct audit_arguments {
	struct ctl ctl;
	uint64_t since_ns;
	uint32_t limit;
};
static const struct option options[] = {
	{ .name = "since", .type = OPTION_SPAN, .offset = OPTION(struct audit_arguments, since_ns), .argument = "TIME",
	  .help = "no longer ago than this, as 10m, 2h, 1d" },
	{ .name = "limit", .type = OPTION_U32, .offset = OPTION(struct audit_arguments, limit), .argument = "N", .min = 1,
	  .max = 1000000, .help = "the last N (default: 100)" },
	CTL_OPTIONS_JSON("the whole records, {\"Records\": [...]}, in the form of CloudTrail")
};

/* Adds a page to the list. *ret_next: where the next one begins; NULL: there is none. */
static int take_page(const struct audit_arguments *a, json_t *records, size_t limit, json_t **next, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	char count[32], since[32];
	const struct parameter parameters[] = { { "limit", count }, { "since", a->since_ns ? since : NULL },
						{ "next", json_string_value(*next) }, {} };
	int r;

	snprintf(count, sizeof(count), "%zu", MIN(limit, (size_t)PAGE));
	snprintf(since, sizeof(since), "%llu", (unsigned long long)(time_to_wall_ns(time_now_ns()) - a->since_ns));
	r = client_call(&a->ctl, "GET", "/v1/audit", parameters, NULL, &answer, err);
	json_decref(*next);
	*next = NULL;
	if (r < 0)
		return r;
	if (json_array_extend(records, json_object_get(answer, "Records")) < 0)
		return error_set(err, -EPROTO, "weftd answered with no records");
	if (json_is_string(json_object_get(answer, "next")))
		*next = json_incref(json_object_get(answer, "next"));
	return 0;
}

/* The names of what it was done to, as the request has them. */
static void add_object(struct grid *grid, const json_t *record)
{
	static const char *const members[] = { "meshName",	     "virtualServiceName", "virtualNodeName",  "virtualRouterName", "routeName",
					       "virtualGatewayName", "gatewayRouteName",   "resourceArn",      "userName",	    "accessKeyId" };
	const json_t *parameters = json_object_get(record, "requestParameters");
	_cleanup_(buffer_done) struct buffer text = {};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_path_string(parameters, members[i]))
			buffer_printf(&text, "%s%s", text.length ? "/" : "", json_path_string(parameters, members[i]));
	grid_add(grid, buffer_string(&text));
}

static int print_records(const json_t *records)
{
	static const struct grid_column columns[] = { { .title = "TIME" }, { .title = "REGION" }, { .title = "EVENT" }, { .title = "OF" },
						      { .title = "BY" },   { .title = "FROM" },	  { .title = "ERROR" }, {} };
	_cleanup_(grid_done) struct grid grid;
	const json_t *record;
	size_t i;

	grid_init(&grid, columns);
	json_array_foreach((json_t *)records, i, record) {
		grid_add(&grid, json_path_string(record, "eventTime"));
		grid_add(&grid, json_path_string(record, "awsRegion"));
		grid_add(&grid, json_path_string(record, "eventName"));
		add_object(&grid, record);
		grid_add(&grid, json_path_string(record, "userIdentity.userName") ?: json_path_string(record, "userIdentity.type"));
		grid_add(&grid, json_path_string(record, "sourceIPAddress"));
		grid_add(&grid, json_path_string(record, "errorCode"));
	}
	if (!grid_rows(&grid)) {
		printf("no records\n");
		return 0;
	}
	return grid_print(&grid, stdout);
}

static int audit_run(const void *arguments, const struct words *words)
{
	const struct audit_arguments *a = arguments;
	_cleanup_json_ json_t *records = json_array(), *next = NULL, *whole = NULL;
	const size_t limit = a->limit ?: USUAL;
	struct error err = {};
	int r = records ? 0 : error_set(&err, -ENOMEM, "out of memory");

	(void)words;
	do
		r = r < 0 ? r : take_page(a, records, limit - json_array_size(records), &next, &err);
	while (r == 0 && next && json_array_size(records) < limit);
	if (r == 0 && a->ctl.json) {
		whole = json_pack("{s:O}", "Records", records);
		return ctl_print_json(whole);
	}
	if (r == 0 && print_records(records) < 0)
		r = error_set(&err, -ENOMEM, "out of memory");
	return r < 0 ? ctl_fail(&err) : EXIT_SUCCESS;
}

const struct command audit_command = {
	.name = "audit",
	.synopsis = "[options]",
	.summary = "lists what was done by the API, newest first",
	.more = "\nWrites; reads and refusals as well where weftd has --api-audit all.",
	.options = options,
	.arguments_size = sizeof(struct audit_arguments),
	.words_max = 0,
	.run = audit_run,
};
