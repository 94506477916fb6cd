/* SPDX-License-Identifier: Apache-2.0 */
/* weft attach: devices that stand for virtual nodes. */
#include <stdio.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/edge.h"
#include "agent/ctl/format.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

struct attach_arguments {
	struct ctl ctl;
	const char *device;
	const char *virtual_node;
	bool remove;
};

static const struct option options[] = {
	{ .name = "device", .type = OPTION_STRING, .offset = OPTION(struct attach_arguments, device), .argument = "DEV",
	  .help = "this host's end of what the workload sends by: a veth, a tap" },
	{ .name = "virtual-node", .type = OPTION_STRING, .offset = OPTION(struct attach_arguments, virtual_node), .argument = "NODE",
	  .help = "mesh/M/virtualNode/N" },
	{ .name = "remove", .type = OPTION_FLAG, .offset = OPTION(struct attach_arguments, remove),
	  .help = "the device stands for nobody any more" },
	CTL_OPTIONS
};

static int list(const struct attach_arguments *a, struct error *err)
{
	static const struct grid_column columns[] = { { .title = "DEVICE" }, { .title = "VIRTUAL NODE" }, { .title = "STATE" }, {} };
	_cleanup_(grid_done) struct grid grid;
	_cleanup_json_ json_t *answer = NULL;

	grid_init(&grid, columns);
	if (client_call(&a->ctl, "GET", "/v1/attached", NULL, NULL, &answer, err) < 0)
		return ctl_fail(err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	for (size_t i = 0; i < json_path_count(answer, "attached"); i++) {
		const json_t *one = json_path_at(answer, "attached", i);
		char name[NAME_TEXT_BYTES];

		grid_add(&grid, json_path_string(one, "device"));
		grid_add(&grid, format_member_name(one, "virtualNode", name));
		grid_add(&grid, json_path_string(one, "state"));
	}
	if (grid_rows(&grid))
		return ctl_printed(grid_print(&grid, stdout));
	printf("no device is attached\n");
	return EXIT_SUCCESS;
}

static const char *attached_state(const json_t *one)
{
	const char *state = json_path_string(one, "state") ?: "?";

	return strcmp(state, "attached") ? state : NULL;
}

static int attach(const struct attach_arguments *a, struct error *err)
{
	_cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "device", a->device, "virtualNode", a->virtual_node), *answer = NULL;

	if (!body) {
		error_set(err, -EINVAL, "an argument is no text in UTF-8");
		return ctl_fail(err);
	}
	if (client_call(&a->ctl, "PUT", "/v1/attached", NULL, body, &answer, err) < 0)
		return ctl_fail(err);
	json_decref(answer);
	answer = NULL;
	if (edge_wait(&a->ctl, "/v1/attached", "attached", "device", a->device, attached_state, &answer, err) < 0)
		return ctl_fail(err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	printf("attached: %s as %s\n", a->device, a->virtual_node);
	return EXIT_SUCCESS;
}

static int detach(const struct attach_arguments *a, struct error *err)
{
	const struct parameter parameters[] = { { "device", a->device }, {} };
	_cleanup_json_ json_t *answer = NULL;

	if (client_call(&a->ctl, "DELETE", "/v1/attached", parameters, NULL, &answer, err) < 0)
		return ctl_fail(err);
	if (a->ctl.json)
		return ctl_print_json(answer);
	printf("no longer attached: %s\n", a->device);
	return EXIT_SUCCESS;
}

static int run(const void *arguments, const struct words *words __attribute__((unused)))
{
	const struct attach_arguments *a = arguments;
	struct error err = {};

	if (!a->device && !a->virtual_node && !a->remove)
		return list(a, &err);
	if (!a->device)
		error_set_field(&err, -EINVAL, "--device", "missing");
	else if (a->remove ? a->virtual_node != NULL : !a->virtual_node)
		error_set(&err, -EINVAL, "give either --virtual-node or --remove");
	if (err.code)
		return ctl_fail(&err);
	return a->remove ? detach(a, &err) : attach(a, &err);
}

const struct command attach_command = {
	.name = "attach",
	.synopsis = "[--device DEV (--virtual-node NODE | --remove)]",
	.summary = "makes a device stand for a virtual node, as of a pod in a virtual machine; alone: lists what does",
	.more = "\nTCP connections that come from the device are decided as those of a workload: services by their VIPs, backends,\n"
		"and the mesh's egress filter. Names are not answered there: the workload must know VIPs by other means.",
	.options = options,
	.arguments_size = sizeof(struct attach_arguments),
	.run = run,
};
