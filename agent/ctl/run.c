/* SPDX-License-Identifier: Apache-2.0 */
/* weft run: starts a program as a virtual node. This process moves into a cgroup of its own, and into the namespace, has weftd
 * enrol it, and becomes the program: nothing it does comes before its identity. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ctl/client.h"
#include "agent/ctl/netns.h"
#include "agent/identity/cgroup.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "loader/loader.h"

enum { EXIT_REFUSED = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 }; /* as env(1) and nohup(1) have them */

#define CGROUPS_MAX 1000

struct run_arguments {
	struct ctl ctl;
	const char *virtual_node, *virtual_gateway;
	const char *netns;
	const char *zone;
	const char *cgroup_parent;
	struct option_strings addresses;
};
static const struct option options[] = {
	{ .name = "virtual-node", .type = OPTION_STRING, .offset = OPTION(struct run_arguments, virtual_node),
	  .argument = "NODE", .help = "mesh/M/virtualNode/N, which the program acts for" },
	{ .name = "virtual-gateway", .type = OPTION_STRING, .offset = OPTION(struct run_arguments, virtual_gateway), .argument = "GATEWAY",
	  .help = "mesh/M/virtualGateway/G, instead: weft-proxy serves its listeners where the program runs, as long as it does" },
	{ .name = "netns", .type = OPTION_STRING, .offset = OPTION(struct run_arguments, netns), .argument = "NS",
	  .help = "run in this namespace, all of which acts for the node: a name under /run/netns, or a path; what is "
		  "in /etc/netns/NS then lies over /etc" },
	{ .name = "zone", .type = OPTION_STRING, .offset = OPTION(struct run_arguments, zone), .argument = "ZONE",
	  .help = "where it runs (default: weftd's)" },
	{ .name = "register", .type = OPTION_STRINGS, .offset = OPTION(struct run_arguments, addresses),
	  .argument = "ADDR:PORT", .help = "offer this endpoint of the node while it runs; may be given several times" },
	{ .name = "cgroup-parent", .type = OPTION_STRING, .offset = OPTION(struct run_arguments, cgroup_parent),
	  .argument = "DIR", .help = "make its cgroup below this one (default: where weft is attached)" },
	CTL_OPTIONS
};

/* As execvp() would find it: asked before anything is made, so that a slip of the pen is no endpoint for a moment. */
static int program_find(const char *name)
{
	const char *path = getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin";
	int r = -ENOENT;

	if (strchr(name, '/'))
		return access(name, X_OK) < 0 ? -errno : 0;
	for (const char *at = path; at;) {
		const char *end = strchrnul(at, ':');
		char file[PATH_MAX];

		if (snprintf(file, sizeof(file), "%.*s/%s", end == at ? 1 : (int)(end - at), end == at ? "." : at, name) <
			    (int)sizeof(file) && access(file, F_OK) == 0) {
			if (access(file, X_OK) == 0)
				return 0;
			r = -EACCES;
		}
		at = *end ? end + 1 : NULL;
	}
	return r;
}

static int program_fail(const char *name, int code)
{
	struct error err = {};

	error_set(&err, code, "%s: %s", name, strerror(-code));
	ctl_fail(&err);
	return code == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int enter_cgroup(const char *path)
{
	char file[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (snprintf(file, sizeof(file), "%s/cgroup.procs", path) >= (int)sizeof(file))
		return -ENAMETOOLONG;
	fd = open(file, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "0", 1) < 0 ? -errno : 0;
}

/* This process's place while it is not enrolled: left again, and removed, unless it is kept. */
struct place {
	char before[PATH_MAX]; /* cgroup it was in; "" while it has not moved */
	char directories[3][PATH_MAX]; /* PARENT/weft, PARENT/weft/INSTANCE, and the cgroup itself */
};

static void place_leave(struct place *place)
{
	if (place->before[0])
		enter_cgroup(place->before);
	for (size_t i = ARRAY_SIZE(place->directories); i-- > 0;)
		if (place->directories[i][0])
			rmdir(place->directories[i]); /* the upper ones stay while others use them */
}

static int directory_make(char directory[PATH_MAX], const char *above, const char *name, struct error *err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", above, name) >= (int)sizeof(path))
		return error_set(err, -ENAMETOOLONG, "the path of the cgroup '%s/%s' is too long", above, name);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_set(err, -errno, "cannot make the cgroup '%s': %m", path);
	strcpy(directory, path);
	return 0;
}

/* PARENT/weft/INSTANCE/run-PID-N, where N makes it new. */
static int place_make(struct place *place, const char *parent, const char *instance, struct error *err)
{
	for (int n = 1; n <= CGROUPS_MAX; n++) {
		char path[PATH_MAX];
		int r;

		/* again each time: they go when the last program of the instance ends */
		if ((r = directory_make(place->directories[0], parent, CGROUP_RUN_DIRECTORY, err)) < 0 ||
		    (r = directory_make(place->directories[1], place->directories[0], instance, err)) < 0)
			return r;
		if (snprintf(path, sizeof(path), "%s/run-%d-%d", place->directories[1], (int)getpid(), n) >= (int)sizeof(path))
			return error_set(err, -ENAMETOOLONG, "the path of a cgroup below '%s' is too long", parent);
		if (mkdir(path, 0755) == 0) {
			strcpy(place->directories[2], path);
			return 0;
		}
		if (errno != EEXIST && errno != ENOENT)
			return error_set(err, -errno, "cannot make the cgroup '%s': %m", path);
	}
	return error_set(err, -EEXIST, "there are %d cgroups of process %d below '%s'", CGROUPS_MAX, (int)getpid(),
			 place->directories[1]);
}

static int place_enter(struct place *place, struct error *err)
{
	char root[PATH_MAX / 2], below[PATH_MAX / 2];
	int r = cgroup_root(root, sizeof(root), err);

	if (r < 0)
		return r;
	r = cgroup_of_pid((int)getpid(), below, sizeof(below));
	if (r < 0)
		return error_set(err, r, "cannot read the cgroup of this process: %s", strerror(-r));
	r = enter_cgroup(place->directories[2]);
	if (r < 0)
		return error_set(err, r, "cannot enter the cgroup '%s': %s", place->directories[2], strerror(-r));
	snprintf(place->before, sizeof(place->before), "%s%s", root, below);
	return 0;
}

/* Below where the instance is attached: elsewhere nothing would be decided for the program. */
static int parent_choose(const struct run_arguments *a, char buffer[PATH_MAX], struct error *err)
{
	char attached[PATH_MAX];
	int r = loader_cgroup(a->ctl.instance, attached, sizeof(attached), err);
	const size_t length = r < 0 ? 0 : strlen(attached);

	if (r < 0)
		return r;
	if (!a->cgroup_parent) {
		strcpy(buffer, attached);
		return 0;
	}
	if (!realpath(a->cgroup_parent, buffer))
		return error_set_field(err, -errno, "--cgroup-parent", "cannot use '%s': %m", a->cgroup_parent);
	if (strncmp(buffer, attached, length) || (buffer[length] && buffer[length] != '/'))
		return error_set_field(err, -EINVAL, "--cgroup-parent", "'%s' is not below '%s', where weft is attached",
				       a->cgroup_parent, attached);
	return 0;
}

static json_t *request_make(const struct run_arguments *a, const char *cgroup)
{
	json_t *addresses = json_array();

	for (size_t i = 0; i < a->addresses.count; i++)
		json_array_append_new(addresses, json_string(a->addresses.values[i]));
	return json_pack("{s:s, s:s, s:i, s:b, s:s*, s:s*, s:b, s:o}", a->virtual_node ? "virtualNode" : "virtualGateway",
			 a->virtual_node ?: a->virtual_gateway, "cgroup", cgroup, "pid",
			 (int)getpid(), "ownNetns", a->netns != NULL, "netns", a->netns, "zone", a->zone, "removeCgroup", true,
			 "register", addresses);
}

static int enrol_at(const struct run_arguments *a, struct place *place, struct error *err)
{
	_cleanup_json_ json_t *request = NULL, *answer = NULL;
	char parent[PATH_MAX];
	int r;

	if ((r = parent_choose(a, parent, err)) < 0 ||
	    (r = place_make(place, parent, a->ctl.instance, err)) < 0 || (r = place_enter(place, err)) < 0 ||
	    (a->netns && (r = ctl_netns_enter(a->netns, err)) < 0))
		return r;
	request = request_make(a, place->directories[2]);
	if (!request)
		return error_set(err, -EINVAL, "an argument is no text in UTF-8");
	return client_call(&a->ctl, "POST", "/v1/workloads", NULL, request, &answer, err);
}

static int run_run(const void *arguments, const struct words *words)
{
	const struct run_arguments *a = arguments;
	struct place place = {};
	struct error err = {};
	struct ip ip;
	__be16 port;
	int r;

	if (!words->count) {
		error_set(&err, -EINVAL, "name the program to run, after --");
		return ctl_fail(&err);
	}
	if (!a->virtual_node == !a->virtual_gateway) {
		error_set(&err, -EINVAL, "give either --virtual-node or --virtual-gateway");
		return ctl_fail(&err);
	}
	for (size_t i = 0; i < a->addresses.count; i++)
		if (ip_port_parse(a->addresses.values[i], &ip, &port) < 0) {
			error_set_field(&err, -EINVAL, "--register", "'%s' is not ADDRESS:PORT", a->addresses.values[i]);
			return ctl_fail(&err);
		}
	r = program_find(words->values[0]);
	if (r < 0)
		return program_fail(words->values[0], r);
	if (enrol_at(a, &place, &err) < 0) {
		place_leave(&place);
		ctl_fail(&err);
		return EXIT_REFUSED;
	}
	execvp(words->values[0], words->values);
	return program_fail(words->values[0], -errno); /* weftd removes the cgroup, as after any program */
}

const struct command run_command = {
	.name = "run",
	.synopsis = "(--virtual-node NODE | --virtual-gateway GATEWAY) [options] -- PROGRAM [ARGUMENTS]",
	.summary = "starts a program that acts for a virtual node or a virtual gateway",
	.more = "\nWithout --netns the program's cgroup acts for the node, in the namespace of this process.\n"
		"Exits as the program does; 125 when it was not enrolled, 126 when it cannot be executed, 127 when it is not\n"
		"found.",
	.options = options,
	.arguments_size = sizeof(struct run_arguments),
	.program = true,
	.run = run_run,
};
