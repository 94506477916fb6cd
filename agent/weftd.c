/* SPDX-License-Identifier: Apache-2.0 */
/* weftd, the node agent: compiles the mesh's resources into BPF maps. May be killed at any time: traffic goes on. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/grow.h"
#include "agent/serve.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/notify.h"

enum { EXIT_FAILED = 1, EXIT_MISUSED = 2 };

static int complain(const struct error *err, int status)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	fprintf(stderr, "weftd: %s\n", error_text(err, text, sizeof(text)));
	return status;
}

static void on_signal(int signal, void *arg)
{
	struct agent *agent = arg;

	agent->grow_services = 0; /* not again */
	log_info("stopping; the kernel goes on deciding", LOG_F("signal", LOG_STR(strsignal(signal))));
	agent_end(agent);
}

/* Units that are ordered after this one may start. Whoever we start is not asked. */
static void tell_ready(void)
{
	notify_manager("READY=1");
	unsetenv("NOTIFY_SOCKET");
}

/* Returns where that is impossible. Without larger tables the plan is refused, next time. */
static int grow_and_restart(const struct agent *agent, int argc, char *argv[])
{
	struct error err = {};
	const bool grown = grow_tables(agent->options.instance, agent->grow_services, &err) == 0;
	int r;

	if (!grown)
		log_error("the tables did not grow", LOG_F("error", LOG_STR(err.message)));
	agent_control_restore(agent);
	r = grow_restart(argc, argv, grown ? NULL : "--grow=off");
	error_set(&err, r, "cannot start again: %s", strerror(-r));
	return complain(&err, EXIT_FAILED);
}

int main(int argc, char *argv[])
{
	static struct agent agent;
	struct error err = {};
	int r;

	r = agent_options_read(&agent.options, argc, argv, &err);
	if (r > 0)
		return 0;
	if (r < 0 || log_setup_named(agent.options.log_level, agent.options.log_format, &err) < 0)
		return complain(&err, EXIT_MISUSED);
	if (geteuid() != 0) {
		error_set(&err, -EPERM, "must run as root: it writes BPF maps and enters network namespaces");
		return complain(&err, EXIT_FAILED);
	}
	memory_settle();
	signal(SIGPIPE, SIG_IGN);
	r = loop_new(&agent.loop);
	if (r == 0)
		r = loop_signal_add(agent.loop, SIGTERM, on_signal, &agent);
	if (r == 0)
		r = loop_signal_add(agent.loop, SIGINT, on_signal, &agent);
	if (r < 0) {
		error_set(&err, r, "cannot make an event loop: %s", strerror(-r));
		return complain(&err, EXIT_FAILED);
	}
	if (agent_start(&agent, &err) < 0)
		return complain(&err, EXIT_FAILED);
	log_info("weftd runs", LOG_F("version", LOG_STR(WEFT_VERSION)), LOG_F("instance", LOG_STR(agent.options.instance)),
		 LOG_F("pid", LOG_INT(getpid())));
	tell_ready();
	r = loop_run(agent.loop);
	agent_stop(&agent);
	agent.loop = loop_free(agent.loop);
	if (r == 0 && agent.grow_services)
		return grow_and_restart(&agent, argc, argv);
	json_decref(agent.options.workloads);
	json_decref(agent.options.quotas);
	json_decref(agent.options.pool);
	return r < 0 ? EXIT_FAILED : 0;
}
