/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/formers.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define END_NS (2 * NSEC_PER_SEC) /* one that was told to end takes no longer */

struct former {
	struct list node;
	struct formers *formers;
	pid_t pid;
	int pidfd; /* -1: in a PID namespace that we do not see */
	uint64_t since_ns; /* without the seat */
	int64_t requests, connections; /* at that time */
	uint64_t told_ns; /* to end; 0: it was not */
	bool killed;
	enum retire_reason reason;
	former_end_fn *end;
	void *arg;
};

void formers_init(struct formers *formers)
{
	*formers = (struct formers){};
	list_init(&formers->all);
}

/* Of those that were not told to end. */
static struct former *eldest_of(const struct formers *formers, size_t *ret_count)
{
	struct former *eldest = NULL;

	*ret_count = 0;
	list_for_each(it, &formers->all) {
		struct former *former = container_of(it, struct former, node);

		if (former->told_ns)
			continue;
		++*ret_count;
		if (!eldest || former->since_ns < eldest->since_ns)
			eldest = former;
	}
	return eldest;
}

static void limit(struct formers *formers)
{
	size_t count;
	struct former *eldest = eldest_of(formers, &count);

	if (count <= FORMERS_MAX)
		return;
	log_warn("too many former weft-proxies still serve: the eldest is ended", LOG_F("pid", LOG_INT(eldest->pid)),
		 LOG_F("reason", LOG_STR(retire_reason_names[RETIRE_DRAIN_LIMIT])),
		 LOG_F("after_ns", LOG_U64(time_now_ns() - eldest->since_ns)));
	eldest->told_ns = time_now_ns();
	eldest->end(eldest->arg);
}

int former_new(struct formers *formers, pid_t pid, const json_t *message, former_end_fn *end, void *arg, struct former **ret_former,
	       struct error *err)
{
	const int64_t since_ns = json_path_int(message, "since", 0);
	struct former *former;

	if (since_ns <= 0)
		return error_set_field(err, -EINVAL, "since", "missing, or no time");
	former = malloc(sizeof(*former));
	if (!former)
		return error_set(err, -ENOMEM, "out of memory");
	*former = (struct former){
		.formers = formers,
		.pid = pid,
		.pidfd = pid > 0 ? pidfd_open(pid, 0) : -1,
		.since_ns = (uint64_t)since_ns,
		.requests = json_path_int(message, "requests", 0),
		.connections = json_path_int(message, "connections", 0),
		.reason = RETIRE_LOST,
		.end = end,
		.arg = arg,
	};
	list_append(&formers->all, &former->node);
	log_info("a former weft-proxy still serves", LOG_F("pid", LOG_INT(pid)), LOG_F("requests", LOG_U64((uint64_t)former->requests)),
		 LOG_F("connections", LOG_U64((uint64_t)former->connections)));
	limit(formers);
	*ret_former = former;
	return 0;
}

int former_retired(struct former *former, const json_t *message, struct error *err)
{
	const char *reason = json_path_string(message, "reason");

	for (size_t i = 0; reason && i < RETIRE_REASON_COUNT; i++)
		if (!strcmp(reason, retire_reason_names[i])) {
			former->reason = (enum retire_reason)i;
			return 0;
		}
	return error_set_field(err, -EINVAL, "reason", "missing, or not known");
}

struct former *former_free(struct former *former)
{
	if (!former)
		return NULL;
	if (!former->formers->left) {
		former->formers->ends[former->reason]++;
		log_info("a former weft-proxy is gone", LOG_F("pid", LOG_INT(former->pid)),
			 LOG_F("reason", LOG_STR(retire_reason_names[former->reason])));
	}
	list_remove(&former->node);
	fd_close(former->pidfd);
	free(former);
	return NULL;
}

void formers_leave(struct formers *formers)
{
	formers->left = true;
}

void formers_look(struct formers *formers, uint64_t now_ns)
{
	list_for_each(it, &formers->all) {
		struct former *former = container_of(it, struct former, node);

		if (!former->told_ns || former->told_ns + END_NS > now_ns || former->killed)
			continue;
		former->killed = true;
		former->reason = RETIRE_DRAIN_LIMIT;
		log_error("a former weft-proxy does not end: it is killed", LOG_F("pid", LOG_INT(former->pid)));
		if (former->pidfd >= 0)
			pidfd_send_signal(former->pidfd, SIGKILL, NULL, 0);
	}
}

json_t *formers_json(const struct formers *formers)
{
	json_t *now = json_array(), *ends = json_object();

	list_for_each(it, &formers->all) {
		const struct former *former = container_of(it, struct former, node);
		char since[TIME_TEXT_BYTES];

		json_array_append_new(now, json_pack("{s:i, s:s, s:I, s:I}", "pid", (int)former->pid, "since",
						     time_format(time_to_wall_ns(former->since_ns), since), "requests",
						     (json_int_t)former->requests, "connections", (json_int_t)former->connections));
	}
	for (size_t i = 0; i < RETIRE_REASON_COUNT; i++)
		json_object_set_new(ends, retire_reason_names[i], json_integer((json_int_t)formers->ends[i]));
	return json_pack("{s:o, s:o}", "now", now, "ends", ends);
}
