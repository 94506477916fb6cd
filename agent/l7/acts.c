/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes, and gateways, workloads act for in which namespaces, and what follows from that and the configuration: the listeners of
 * gateways (gateways.c), and access logs, which are files of the workloads. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "agent/access_log/process.h"
#include "agent/identity/cgroup.h"
#include "agent/l7/internal.h"
#include "agent/spec/resource.h"
#include "base/log.h"

static struct act *act_find(const struct l7 *l7, uint64_t netns_cookie, const char *name)
{
	list_for_each(it, &l7->acts) {
		struct act *act = container_of(it, struct act, node);

		if (act->netns_cookie == netns_cookie && !strcmp(act->name, name))
			return act;
	}
	return NULL;
}

static struct act *act_free(struct act *act)
{
	list_remove(&act->node);
	access_log_unref(act->log);
	json_decref(act->log_file);
	fd_close(act->pidfd);
	fd_close(act->netns_fd);
	free(act->cgroup);
	free(act->name);
	free(act);
	return NULL;
}

static struct act *act_new(const struct l7_act *is)
{
	struct act *act = calloc(1, sizeof(*act));

	if (!act)
		return NULL;
	list_init(&act->node);
	act->netns_cookie = is->netns_cookie;
	act->workload = is->workload;
	act->pidfd = -1;
	act->netns_fd = fcntl(is->netns_fd, F_DUPFD_CLOEXEC, 0);
	act->name = strdup(is->name);
	act->cgroup = strdup(is->cgroup);
	return act->netns_fd >= 0 && act->name && act->cgroup ? act : act_free(act);
}

static int first_process(int pid, void *arg)
{
	if (pid <= 0)
		return 0;
	*(int *)arg = pid;
	return -ECANCELED;
}

/* Any process of the workload: they have one root, unless the workload makes another for some of them. */
static int process_of(const struct act *act)
{
	int pid = 0;

	cgroup_visit(act->cgroup, &(struct cgroup_visitor){ .process = first_process, .arg = &pid });
	return pid ? pidfd_open(pid, 0) : -1;
}

static bool has_process(const struct act *act)
{
	const int pidfd = process_of(act);

	fd_close(pidfd);
	return pidfd >= 0;
}

int l7_act_add(struct l7 *l7, const struct l7_act *is)
{
	struct act *before = act_find(l7, is->netns_cookie, is->name), *act;

	if (before && has_process(before))
		return 0;
	act = act_new(is);
	if (!act)
		return -ENOMEM;
	if (before) { /* its listeners and its place in the log go on */
		act->log = TAKE_PTR(before->log);
		act->log_file = TAKE_PTR(before->log_file);
		act->told_id = before->told_id;
		act_free(before);
	}
	list_append(&l7->acts, &act->node);
	acts_follow(l7);
	return 0;
}

void l7_act_remove(struct l7 *l7, uint64_t netns_cookie, const char *name)
{
	struct act *act = act_find(l7, netns_cookie, name);

	if (!act)
		return;
	for (unsigned int i = 0; act->log && i < l7->worker_count; i++)
		worker_tell_log(l7->workers[i], netns_cookie, act->told_id, NULL);
	act_free(act);
	gateways_follow(l7);
}

void acts_done(struct l7 *l7)
{
	list_for_each_safe(it, &l7->acts)
		act_free(container_of(it, struct act, node));
}

/* --- access logs --------------------------------------------------------------------------------------------------------- */

/* What the configuration says of a name, be it a node's or a gateway's. */
static const struct snapshot_object *configured(const struct snapshot *snapshot, const char *name, const json_t **ret_logging)
{
	const struct caller *caller = (const struct caller *)snapshot_named(snapshot, SNAPSHOT_NODE, name);
	const struct gateway *gateway = (const struct gateway *)snapshot_named(snapshot, SNAPSHOT_GATEWAY, name);

	*ret_logging = caller ? caller->logging : gateway ? gateway->logging : NULL;
	return caller ? &caller->object : gateway ? &gateway->object : NULL;
}

static void tell_workers(const struct l7 *l7, const struct act *act, uint32_t id, struct access_log *log)
{
	for (unsigned int i = 0; i < l7->worker_count; i++)
		if (worker_tell_log(l7->workers[i], act->netns_cookie, id, log) < 0)
			log_error("a worker does not know of an access log: out of memory", LOG_F("node", LOG_STR(act->name)));
}

static void open_log(struct l7 *l7, struct act *act, const struct snapshot_object *object, const json_t *file)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct access_log_request request = { .workload = act->workload, .file = file };
	struct resource_name_parts parts = {};
	struct access_log *log = NULL;
	struct error err = {};

	resource_name_split(act->name, &parts); /* l7_act_add() is given no other */
	request.mesh = parts.mesh;
	request.node = parts.name;
	fd_close(act->pidfd);
	request.pidfd = act->pidfd = process_of(act);
	if (access_log_open(l7->logs, &request, &log, &err) < 0) {
		l7->no_access_log++;
		log_limited(LOG_LEVEL_WARN, "there is no access log", LOG_F("node", LOG_STR(act->name)),
			    LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
	}
	if (act->log && act->told_id != object->id)
		tell_workers(l7, act, act->told_id, NULL);
	tell_workers(l7, act, object->id, log);
	access_log_unref(act->log);
	json_decref(act->log_file);
	act->log = log;
	act->log_file = json_deep_copy(file); /* the snapshot's own goes with it */
	act->told_id = object->id;
}

static void close_log(struct l7 *l7, struct act *act)
{
	tell_workers(l7, act, act->told_id, NULL);
	act->log = access_log_unref(act->log);
	json_decref(TAKE_PTR(act->log_file));
	act->pidfd = fd_close(act->pidfd);
}

static void log_follow(struct l7 *l7, struct act *act)
{
	const json_t *logging, *file;
	const struct snapshot_object *object = configured(l7->snapshot, act->name, &logging);

	file = json_path(logging, "accessLog.file");
	if (!file) {
		if (act->log)
			close_log(l7, act);
		return;
	}
	if (!act->log || act->told_id != object->id || !json_equal(act->log_file, file) || act->pidfd < 0 || !process_lives(act->pidfd))
		open_log(l7, act, object, file);
}

void l7_reopen_logs(struct l7 *l7, uint64_t netns_cookie)
{
	list_for_each(it, &l7->acts) {
		struct act *act = container_of(it, struct act, node);

		if (act->netns_cookie == netns_cookie && act->log)
			access_log_reopen(act->log);
	}
}

void acts_follow(struct l7 *l7)
{
	gateways_follow(l7);
	list_for_each(it, &l7->acts)
		log_follow(l7, container_of(it, struct act, node));
}
