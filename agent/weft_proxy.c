/* SPDX-License-Identifier: Apache-2.0 */
/* weft-proxy: answers names while the agent is away. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/proxy/process.h"
#include "agent/proxy/proxy.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/time.h"

enum { EXIT_FAILED = 1, EXIT_MISUSED = 2 };

#define ARGUMENTS_MAX 32 /* more than there are options */

struct arguments {
	const char *instance;
	const char *log_level;
	const char *log_format;
	uint64_t drain_max_ns, drain_time_ns;
	uint32_t workers;
	const char *workload_files;
	bool help;
	bool version;
};

#define OPT(member) OPTION(struct arguments, member)

static const struct option table[] = {
	{ .name = "instance", .type = OPTION_STRING, .offset = OPT(instance), .argument = "NAME",
	  .help = "which kernel part and socket (default)" },
	{ .name = "drain-max", .type = OPTION_SPAN, .offset = OPT(drain_max_ns), .argument = "SPAN",
	  .help = "with a successor there, how long requests and tunnels may go on here (1h)" },
	{ .name = "drain-time", .type = OPTION_SPAN, .offset = OPT(drain_time_ns), .argument = "SPAN",
	  .help = "at SIGTERM, how long requests under way may (5s)" },
	{ .name = "workers", .type = OPTION_U32, .offset = OPT(workers), .argument = "N", .min = 1, .max = 1024,
	  .help = "threads that serve HTTP (one for each CPU)" },
	{ .name = "workload-files", .type = OPTION_STRING, .offset = OPT(workload_files), .argument = "DIR",
	  .help = "where access logs of workloads without a process go: DIR/MESH/NODE/PATH (nowhere)" },
	{ .name = "log-level", .type = OPTION_STRING, .offset = OPT(log_level), .argument = "LEVEL",
	  .help = "debug, info, warn or error (info)" },
	{ .name = "log-format", .type = OPTION_STRING, .offset = OPT(log_format), .argument = "FORMAT",
	  .help = "text or json (text)" },
	{ .name = "help", .type = OPTION_FLAG, .offset = OPT(help), .help = "this text" },
	{ .name = "version", .type = OPTION_FLAG, .offset = OPT(version), .help = "the version" },
	{},
};

static int complain(const struct error *err, int status)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	fprintf(stderr, "weft-proxy: %s\n", error_text(err, text, sizeof(text)));
	return status;
}

/* 1: printed, nothing else to do; 0; or -EINVAL. */
static int read_arguments(struct arguments *arguments, int argc, char *const argv[], struct error *err)
{
	int rest, r = options_parse(table, arguments, argc, argv, &rest, err);

	if (r < 0)
		return r;
	if (arguments->help) {
		printf("weft-proxy [--instance NAME] …: answers names of the mesh; takes over from the one that runs\n\n");
		options_print(table);
		return 1;
	}
	if (arguments->version) {
		printf("weft-proxy %s\n", WEFT_VERSION);
		return 1;
	}
	if (rest < argc)
		return error_set(err, -EINVAL, "'%s' is no option", argv[rest]);
	return log_setup_named(arguments->log_level, arguments->log_format, err);
}

struct running {
	struct loop *loop;
	char *const *argv;
	struct proxy *proxy;
	struct process *successor; /* that we have started; NULL: none */
};

static void on_signal(int signal, void *arg)
{
	const struct running *running = arg;

	log_info("stopping; names go to the resolvers themselves", LOG_F("signal", LOG_STR(strsignal(signal))));
	proxy_end(running->proxy);
}

static void on_successor_ended(struct process *process, const char *how, void *arg)
{
	struct running *running = arg;

	log_warn("the successor that was started has ended", LOG_F("pid", LOG_INT(process->pid)), LOG_F("how", LOG_STR(how)));
	running->successor = process_free(process);
}

/* What is where this program was started from, another build maybe, takes over. */
static void on_hangup(int signal, void *arg)
{
	struct running *running = arg;
	const char *argv[ARGUMENTS_MAX + 1] = {};
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};

	(void)signal;
	if (running->successor || proxy_is_ending(running->proxy)) {
		log_warn("no successor is started: there is one, or the end is near");
		return;
	}
	for (size_t i = 0; i < ARGUMENTS_MAX && running->argv[i]; i++)
		argv[i] = running->argv[i];
	if (!strchr(argv[0], '/'))
		argv[0] = "/proc/self/exe"; /* it was looked for along PATH */
	if (process_spawn(running->loop, argv, -1, on_successor_ended, running, &running->successor, &err) < 0)
		log_error("no successor is started", LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
	else
		log_info("a successor was started", LOG_F("pid", LOG_INT(running->successor->pid)));
}

/* Two sockets for each resolver of each namespace: far more than the usual soft limit, which is for programs that use select(2). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void tell_manager(void)
{
	char state[64];

	snprintf(state, sizeof(state), "MAINPID=%d\nREADY=1", (int)getpid());
	notify_manager(state);
}

static int run(const struct arguments *arguments, char *const argv[], struct loop *loop, struct error *err)
{
	const struct proxy_options options = { .instance = arguments->instance, .drain_max_ns = arguments->drain_max_ns,
					       .drain_time_ns = arguments->drain_time_ns, .workers = arguments->workers,
					       .workload_files = arguments->workload_files };
	struct running running = { .loop = loop, .argv = argv };
	int r = loop_signal_add(loop, SIGTERM, on_signal, &running); /* they are heard when the loop runs */

	if (r == 0)
		r = loop_signal_add(loop, SIGINT, on_signal, &running);
	if (r == 0)
		r = loop_signal_add(loop, SIGHUP, on_hangup, &running);
	if (r < 0)
		return error_set(err, r, "cannot wait for signals: %s", strerror(-r));
	r = proxy_start(loop, &options, &running.proxy, err);
	if (r < 0)
		return r;
	tell_manager();
	log_info("weft-proxy runs", LOG_F("version", LOG_STR(WEFT_VERSION)), LOG_F("instance", LOG_STR(arguments->instance)),
		 LOG_F("pid", LOG_INT(getpid())));
	r = loop_run(loop);
	process_free(running.successor);
	proxy_stop(running.proxy);
	return r < 0 ? error_set(err, r, "the event loop failed: %s", strerror(-r)) : 0;
}

int main(int argc, char *argv[])
{
	struct arguments arguments = { .instance = "default", .log_level = "info", .log_format = "text", .drain_max_ns = 3600 * NSEC_PER_SEC,
				       .drain_time_ns = 5 * NSEC_PER_SEC };
	struct error err = {};
	struct loop *loop;
	int r = read_arguments(&arguments, argc, argv, &err);

	if (r > 0)
		return 0;
	if (r < 0)
		return complain(&err, EXIT_MISUSED);
	if (geteuid() != 0) {
		error_set(&err, -EPERM, "must run as root: it writes BPF maps and enters network namespaces");
		return complain(&err, EXIT_FAILED);
	}
	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	r = loop_new(&loop);
	if (r < 0) {
		error_set(&err, r, "cannot make an event loop: %s", strerror(-r));
		return complain(&err, EXIT_FAILED);
	}
	r = run(&arguments, argv, loop, &err);
	loop_free(loop);
	return r < 0 ? complain(&err, EXIT_FAILED) : 0;
}
