/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/admin_ports.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/environment.h"
#include "agent/l7/l7.h"
#include "agent/proxy/admin.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"

#define PROCESSES_MAX 64 /* of a workload, in a look */
#define VALUE_BYTES 64 /* more than any that is one */

enum variable { VARIABLE_PORT, VARIABLE_EXTENSION, VARIABLE_TAGS, VARIABLES };
static const char *const variables[VARIABLES] = {
	[VARIABLE_PORT] = "ENVOY_ADMIN_ACCESS_PORT",
	[VARIABLE_EXTENSION] = "APPMESH_METRIC_EXTENSION_VERSION",
	[VARIABLE_TAGS] = "ENABLE_ENVOY_STATS_TAGS",
};

struct said {
	char values[VARIABLES][VALUE_BYTES]; /* "": nothing */
};

struct look { /* on the offload thread */
	struct port *port; /* NULL: gone, or another look is due */
	ino_t netns_inode;
	size_t processes;
	struct said said;
	char cgroup[];
};

struct port {
	struct list node;
	struct admin_ports *ports;
	uint64_t netns_cookie;
	int netns_fd;
	ino_t netns_inode;
	char *cgroup;
	struct loop_timer *timer; /* the next look */
	struct look *look; /* NULL: none is under way */
	bool looked;
	struct said said;
	uint16_t number;
	bool extension, tagged;
	struct l7_tag tags[2]; /* of the view at hand */
};

struct admin_ports {
	struct admin_ports_parts parts;
	struct admins *admins; /* NULL: closed for good */
	struct list all;
};

static struct port *port_find(const struct admin_ports *ports, uint64_t netns_cookie)
{
	list_for_each(it, &ports->all) {
		struct port *port = container_of(it, struct port, node);

		if (port->netns_cookie == netns_cookie)
			return port;
	}
	return NULL;
}

/* --- what processes say --------------------------------------------------------------------------------------------------------- */

static void take_value(struct span value, char to[VALUE_BYTES])
{
	/* What is too long is none, and shows as such. */
	const size_t length = MIN(value.length, (size_t)VALUE_BYTES - 1);

	memcpy(to, value.data, length);
	to[length] = '\0';
}

static bool is_there(const struct look *look, int pid)
{
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat(path, &st) == 0 && st.st_ino == look->netns_inode;
}

static int on_process(int pid, void *arg)
{
	_cleanup_(buffer_done) struct buffer text = {};
	struct look *look = arg;
	struct span value;

	if (pid == 0 || !is_there(look, pid)) /* 0: outside of our pid namespace */
		return 0;
	environment_read(pid, &text);
	for (size_t i = 0; i < VARIABLES; i++)
		if (!look->said.values[i][0] && environment_get(text.data, text.length, variables[i], &value))
			take_value(value, look->said.values[i]);
	return ++look->processes == PROCESSES_MAX ? -ECANCELED : 0;
}

static void look_work(void *arg)
{
	struct look *look = arg;

	cgroup_visit(look->cgroup, &(struct cgroup_visitor){ .process = on_process, .arg = look });
}

/* --- what follows from it ------------------------------------------------------------------------------------------------------- */

static void warn(const struct port *port, enum variable which, const char *instead)
{
	log_warn("what a workload says of its administration port is no value", LOG_F("variable", LOG_STR(variables[which])),
		 LOG_F("value", LOG_STR(port->said.values[which])), LOG_F("cgroup", LOG_STR(port->cgroup)),
		 LOG_F("instead", LOG_STR(instead)));
}

static uint16_t port_number(const struct port *port)
{
	const char *text = port->said.values[VARIABLE_PORT];
	char *end;
	const unsigned long number = strtoul(text, &end, 10);

	if (!*text)
		return ADMIN_PORT;
	if (*text >= '0' && *text <= '9' && !*end && number > 0 && number <= UINT16_MAX)
		return (uint16_t)number;
	warn(port, VARIABLE_PORT, "9901");
	return ADMIN_PORT;
}

/* As the agent of App Mesh's image reads them. */
static bool flag(const struct port *port, enum variable which, bool version)
{
	static const struct {
		const char *text;
		bool is;
	} words[] = { { "1", true }, { "true", true }, { "0", false }, { "false", false }, { "", false } };
	const char *text = port->said.values[which];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i].text, text) && (!version || !*text || !strcmp(text, "1")))
			return words[i].is;
	warn(port, which, "0");
	return false;
}

static void port_open(struct port *port)
{
	const struct admin_ports *ports = port->ports;
	int r = ports->admins ? admins_add(ports->admins, port->netns_cookie, port->netns_fd, port->number) : 0;

	if (r < 0)
		log_error("a workload has no administration port", LOG_F("cgroup", LOG_STR(port->cgroup)),
			  LOG_F("error", LOG_STR(strerror(-r))));
}

/* What is not said any more was said by a process that has ended: the next one of its kind will say the same. */
static void take_said(struct port *port, const struct said *said)
{
	bool changed = !port->looked;

	for (size_t i = 0; i < VARIABLES; i++) {
		if (!said->values[i][0] || !strcmp(said->values[i], port->said.values[i]))
			continue;
		memcpy(port->said.values[i], said->values[i], VALUE_BYTES);
		changed = true;
	}
	port->looked = true;
	if (!changed)
		return;
	port->number = port_number(port);
	port->extension = flag(port, VARIABLE_EXTENSION, true);
	port->tagged = flag(port, VARIABLE_TAGS, false);
	port_open(port);
}

static void look_done(void *arg)
{
	struct look *look = arg;
	struct port *port = look->port;

	if (port) {
		port->look = NULL;
		loop_timer_arm(port->timer, loop_now_ns(port->ports->parts.loop) + ADMIN_LOOK_NS);
		take_said(port, &look->said);
	}
	free(look);
}

static int look_start(struct port *port)
{
	struct look *look = calloc(1, sizeof(*look) + strlen(port->cgroup) + 1);
	int r;

	if (!look)
		return -ENOMEM;
	strcpy(look->cgroup, port->cgroup);
	look->netns_inode = port->netns_inode;
	look->port = port;
	r = offload_submit(port->ports->parts.offload, look_work, look_done, look);
	if (r < 0)
		free(look);
	else
		port->look = look;
	return r;
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct port *port = arg;

	if (!port->look && look_start(port) < 0)
		loop_timer_arm(timer, loop_now_ns(port->ports->parts.loop) + ADMIN_LOOK_NS);
}

/* --- what is shown -------------------------------------------------------------------------------------------------------------- */

static const struct l7_stats_view *on_view(uint64_t netns_cookie, unsigned int parts, void *arg)
{
	const struct admin_ports *ports = arg;
	struct port *port = port_find(ports, netns_cookie);
	struct l7_stats_view *view = port ? l7_view(ports->parts.l7, netns_cookie, parts) : NULL;
	bool gateway;

	if (!view)
		return NULL;
	view->server.connected_state = ports->parts.connected(ports->parts.arg);
	view->metrics_extension = port->extension;
	gateway = !strcmp(view->node_kind, "VirtualGateway");
	port->tags[0] = (struct l7_tag){ "appmesh.mesh", view->mesh };
	port->tags[1] = (struct l7_tag){ gateway ? "appmesh.virtual_gateway" : "appmesh.virtual_node", view->node };
	view->tags = port->tags;
	view->tag_count = port->tagged ? ARRAY_SIZE(port->tags) : 0;
	return view;
}

static void on_view_done(const struct l7_stats_view *view, void *arg)
{
	(void)arg;
	l7_view_free(view);
}

static void on_reopen_logs(uint64_t netns_cookie, void *arg)
{
	const struct admin_ports *ports = arg;

	l7_reopen_logs(ports->parts.l7, netns_cookie);
}

/* --- namespaces ----------------------------------------------------------------------------------------------------------------- */

static void forget_look(struct port *port)
{
	if (port->look)
		port->look->port = NULL;
	port->look = NULL;
}

static void port_free(struct port *port)
{
	list_remove(&port->node);
	forget_look(port);
	loop_timer_free(port->timer);
	fd_close(port->netns_fd);
	free(port->cgroup);
	free(port);
}

static int port_new(struct admin_ports *ports, uint64_t netns_cookie, int netns_fd, struct port **ret_port)
{
	struct port *port = calloc(1, sizeof(*port));
	struct stat st;
	int r = 0;

	if (!port)
		return -ENOMEM;
	list_append(&ports->all, &port->node);
	port->ports = ports;
	port->netns_cookie = netns_cookie;
	port->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
	if (port->netns_fd < 0 || fstat(port->netns_fd, &st) < 0)
		r = -errno;
	if (r == 0)
		r = loop_timer_new(ports->parts.loop, on_timer, port, &port->timer);
	if (r < 0) {
		port_free(port);
		return r;
	}
	port->netns_inode = st.st_ino;
	*ret_port = port;
	return 0;
}

int admin_ports_follow(struct admin_ports *ports, uint64_t netns_cookie, int netns_fd, const char *cgroup)
{
	struct port *port = port_find(ports, netns_cookie);
	char *copy;
	int r = 0;

	if (port && !strcmp(port->cgroup, cgroup))
		return 0;
	copy = strdup(cgroup);
	if (!copy)
		return -ENOMEM;
	if (!port)
		r = port_new(ports, netns_cookie, netns_fd, &port);
	if (r < 0) {
		free(copy);
		return r;
	}
	free(port->cgroup);
	port->cgroup = copy;
	forget_look(port);
	port->looked = false;
	port->said = (struct said){};
	loop_timer_arm(port->timer, 0);
	return 0;
}

void admin_ports_remove(struct admin_ports *ports, uint64_t netns_cookie)
{
	struct port *port = port_find(ports, netns_cookie);

	if (!port)
		return;
	if (ports->admins)
		admins_remove(ports->admins, netns_cookie);
	port_free(port);
}

void admin_ports_retry(struct admin_ports *ports)
{
	if (ports->admins)
		admins_retry(ports->admins);
}

void admin_ports_close(struct admin_ports *ports)
{
	ports->admins = admins_free(ports->admins);
}

json_t *admin_ports_json(const struct admin_ports *ports)
{
	return ports->admins ? admins_json(ports->admins) : json_array();
}

int admin_ports_new(const struct admin_ports_parts *parts, struct admin_ports **ret_ports)
{
	struct admin_ports *ports = calloc(1, sizeof(*ports));
	const struct admins_source source = { .view = on_view, .view_done = on_view_done, .reopen_logs = on_reopen_logs, .arg = ports };
	int r = ports ? admins_new(parts->loop, &source, &ports->admins) : -ENOMEM;

	if (r < 0) {
		free(ports);
		return r;
	}
	ports->parts = *parts;
	list_init(&ports->all);
	*ret_ports = ports;
	return 0;
}

struct admin_ports *admin_ports_free(struct admin_ports *ports)
{
	if (!ports)
		return NULL;
	list_for_each_safe(it, &ports->all)
		port_free(container_of(it, struct port, node));
	admins_free(ports->admins);
	free(ports);
	return NULL;
}
