/* SPDX-License-Identifier: Apache-2.0 */
/* weft expose: services for clients that are not on this host. */
#include <stdio.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/edge.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/address.h"
#include "base/cleanup.h"

struct expose_arguments {
	struct ctl ctl;
	const char *address;
	struct option_strings devices;
	uint32_t port;
	bool remove;
};

static const struct option options[] = {
	{ .name = "address", .type = OPTION_STRING, .offset = OPTION(struct expose_arguments, address), .argument = "IP:PORT",
	  .help = "where clients connect to" },
	{ .name = "device", .type = OPTION_STRINGS, .offset = OPTION(struct expose_arguments, devices), .argument = "DEV",
	  .help = "by which they come in, and by which endpoints on other hosts are reached (the device that has the address)" },
	{ .name = "port", .type = OPTION_U32, .offset = OPTION(struct expose_arguments, port), .argument = "PORT", .min = 1, .max = 65535,
	  .help = "of the service (that of the address)" },
	{ .name = "remove", .type = OPTION_FLAG, .offset = OPTION(struct expose_arguments, remove), .help = "expose nothing at the address" },
	CTL_OPTIONS
};

static void devices_text(struct buffer *text, const json_t *exposed)
{
	for (size_t i = 0; i < json_path_count(exposed, "devices"); i++) {
		const json_t *one = json_path_at(exposed, "devices", i);
		const char *state = json_path_string(one, "state") ?: "?";

		buffer_printf(text, "%s%s", i ? ", " : "", json_path_string(one, "device") ?: "?");
		if (strcmp(state, "attached"))
			buffer_printf(text, " (%s)", state);
	}
}

static void exposed_row(struct grid *grid, const json_t *exposed)
{
	_cleanup_(buffer_done) struct buffer devices = {};
	char name[NAME_TEXT_BYTES];

	devices_text(&devices, exposed);
	grid_add(grid, json_path_string(exposed, "address"));
	grid_add(grid, format_member_name(exposed, "service", name));
	grid_printf(grid, "%lld", (long long)json_path_int(exposed, "port", 0));
	grid_add(grid, buffer_string(&devices));
	grid_add(grid, json_path_string(exposed, "state"));
}

static void warnings_print(const json_t *answer)
{
	for (size_t i = 0; i < json_path_count(answer, "warnings"); i++)
		fprintf(stderr, "weft expose: warning: %s\n", json_string_value(json_path_at(answer, "warnings", i)) ?: "?");
}

static int list(const struct expose_arguments *a, struct error *err)
{
	static const struct grid_column columns[] = {
		{ .title = "ADDRESS" }, { .title = "SERVICE" }, { "PORT", true }, { .title = "DEVICE" }, { .title = "STATE" }, {},
	};
	_cleanup_(grid_done) struct grid grid;
	_cleanup_json_ json_t *answer = NULL;

	grid_init(&grid, columns);
	if (client_call(&a->ctl, "GET", "/v1/exposed", NULL, NULL, &answer, err) < 0)
		return ctl_fail(err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	for (size_t i = 0; i < json_path_count(answer, "exposed"); i++)
		exposed_row(&grid, json_path_at(answer, "exposed", i));
	if (grid_rows(&grid))
		return ctl_printed(grid_print(&grid, stdout));
	printf("no service is exposed\n");
	return EXIT_SUCCESS;
}

/* Every device too. */
static const char *exposed_state(const json_t *one)
{
	const char *state = json_path_string(one, "state") ?: "?";

	if (strcmp(state, "ready"))
		return state;
	for (size_t i = 0; i < json_path_count(one, "devices"); i++) {
		state = json_path_string(json_path_at(one, "devices", i), "state") ?: "?";
		if (strcmp(state, "attached"))
			return state;
	}
	return NULL;
}

static int expose(const struct expose_arguments *a, const char *service, struct error *err)
{
	_cleanup_json_ json_t *devices = json_array(), *body = NULL, *answer = NULL;
	char address[ENDPOINT_TEXT_BYTES]; /* as weftd writes it */
	struct ip ip;
	__be16 port;

	if (ip_port_parse(a->address, &ip, &port) < 0) {
		error_set_field(err, -EINVAL, "--address", "'%s' is not ADDRESS:PORT", a->address);
		return ctl_fail(err);
	}
	ip_port_format(&ip, port, address);
	for (size_t i = 0; i < a->devices.count; i++)
		json_array_append_new(devices, json_string(a->devices.values[i]));
	body = json_pack("{s:s, s:s, s:O}", "service", service, "address", address, "devices", devices);
	if (!body || (a->port && json_object_set_new(body, "port", json_integer(a->port)))) {
		error_set(err, -EINVAL, "an argument is no text in UTF-8");
		return ctl_fail(err);
	}
	if (client_call(&a->ctl, "PUT", "/v1/exposed", NULL, body, &answer, err) < 0)
		return ctl_fail(err);
	json_decref(answer);
	answer = NULL;
	if (edge_wait(&a->ctl, "/v1/exposed", "exposed", "address", address, exposed_state, &answer, err) < 0)
		return ctl_fail(err);
	warnings_print(answer);
	if (a->ctl.json)
		return ctl_print_json(answer);
	printf("exposed: %s at %s\n", service, address);
	return EXIT_SUCCESS;
}

static int unexpose(const struct expose_arguments *a, struct error *err)
{
	const struct parameter parameters[] = { { "address", a->address }, {} };
	_cleanup_json_ json_t *answer = NULL;

	if (client_call(&a->ctl, "DELETE", "/v1/exposed", parameters, NULL, &answer, err) < 0)
		return ctl_fail(err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	printf("no longer exposed: %s\n", a->address);
	return EXIT_SUCCESS;
}

static int run(const void *arguments, const struct words *words)
{
	const struct expose_arguments *a = arguments;
	struct error err = {};

	if (!words->count && !a->address && !a->remove && !a->devices.count && !a->port)
		return list(a, &err);
	if (!a->address)
		error_set_field(&err, -EINVAL, "--address", "missing");
	else if (a->remove && (words->count || a->devices.count || a->port))
		error_set_field(&err, -EINVAL, "--remove", "needs --address and nothing else");
	else if (!a->remove && !words->count)
		error_set(&err, -EINVAL, "say which virtual service");
	if (err.code)
		return ctl_fail(&err);
	return a->remove ? unexpose(a, &err) : expose(a, words->values[0], &err);
}

const struct command expose_command = {
	.name = "expose",
	.synopsis = "[mesh/M/virtualService/S --address IP:PORT [--device DEV]… [--port PORT] | --remove --address IP:PORT]",
	.summary = "makes a service reachable from other hosts, at an address of this one; alone: lists what is",
	.more = "\nTCP connections that come in by a device are routed as those of workloads are. The client's address reaches\n"
		"endpoints on this host; towards endpoints that are reached by one of the devices it is this host's.",
	.options = options,
	.arguments_size = sizeof(struct expose_arguments),
	.words_max = 1,
	.run = run,
};
