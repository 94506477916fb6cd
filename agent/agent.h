/* SPDX-License-Identifier: Apache-2.0 */
/* The node agent: its modules, wired together, and what the handlers of the local socket may ask of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/api/control/control.h"
#include "agent/compile/apply.h"
#include "agent/compile/compile.h"
#include "agent/discovery/dns.h"
#include "agent/discovery/registry.h"
#include "agent/edge/edge.h"
#include "agent/drain/drain.h"
#include "agent/health/health.h"
#include "agent/history/history.h"
#include "agent/http/http.h"
#include "agent/identity/claims.h"
#include "agent/identity/workloads.h"
#include "agent/inbound/inbound.h"
#include "agent/loop/loop.h"
#include "agent/proxy/own_cgroup.h"
#include "agent/proxy/supervisor.h"
#include "agent/spec/resource.h"
#include "agent/telemetry/flows.h"
#include "agent/telemetry/tally.h"
#include "base/options.h"
#include "loader/loader.h"
#include "maps/kernel.h"

struct agent_options {
	const char *instance;
	const char *state_dir;
	const char *config_dir;
	const char *options_file;
	const char *zone;
	const char *account;
	struct option_strings regions;
	const char *vip4_network;
	const char *vip6_network;
	struct option_strings audit_meshes;
	struct option_strings resolvers;
	struct option_strings ignored_ips;
	struct option_strings ignored_ports;
	struct option_strings reserved_ports;
	uint32_t panic_pct;
	uint32_t flows_per_second;
	uint64_t drain_ns, drain_max_ns;
	const char *health_from; /* "agent" or "workload" */
	const char *metrics; /* ADDR:PORT; NULL: nowhere */
	uint32_t time_scale; /* for tests: spans of discovery, health checks and outlier detection are divided by it */
	const char *grow; /* "auto" or "off" */
	const char *environment; /* "on" or "off" */
	const char *proxy; /* "start", "external" or "off" */
	const char *default_pool; /* CONNECTIONS,PENDING; NULL: there is no limit */
	const char *api; /* ADDR:PORT; NULL: over the local socket alone */
	bool api_plaintext;
	const char *api_audit; /* "write" or "all" */
	bool strict_references;
	const char *log_level;
	const char *log_format;
	bool help;
	bool version;
	json_t *quotas; /* "quotas" of the options file: {"virtualNodesPerMesh": 1000}, or NULL */
	json_t *pool; /* what `default_pool` says, as a listener's "connectionPool"; NULL: none */
	json_t *workloads; /* "workloads" of the options file: [{"cgroup", "virtualNode" or "virtualGateway", "zone"}], or NULL */
};

/* Defaults, the options file, then the command line, each over the one before. Prints --help and --version itself.
 * 1: printed, nothing else to do; 0; or -EINVAL that names the option. */
int agent_options_read(struct agent_options *options, int argc, char *const argv[], struct error *err);

/* The resources: those that are stored, or the configuration directory as it was last read without a fault. While `error` is set the last good state stays in force, whole. */
struct agent_configuration {
	struct resources resources;
	size_t files;
	uint64_t read_wall_ns;
	uint64_t applied_wall_ns;
	uint64_t generation;
	bool ever_read;
	bool read_failed; /* `failed` for a fault of a file, not of what it compiles to */
	bool failed;
	uint64_t failed_since_wall_ns;
	struct error error;
};

struct agent {
	struct agent_options options;
	struct loop *loop;
	struct offload *offload;
	struct kernel kernel;
	struct state *state;
	struct vips *vips;
	struct registry *registry;
	struct dns_discovery *dns;
	struct workloads *workloads;
	struct claims *claims;
	struct supervisor *supervisor;
	struct apply *apply;
	struct edge *edge;
	struct health_checks *health;
	struct drain *drain;
	struct inbound *inbound;
	struct own_cgroup cgroup; /* all zero: none is needed */
	struct flows *flows;
	struct requests *requests;
	struct tallies *tallies;
	struct control_options control_options;
	struct control *control;
	struct store *store; /* NULL: the resources are those of a directory */
	bool root_from_environment;
	struct http_server *server;
	struct metrics_listener *metrics;
	struct directory *directory;
	struct compiler *compiler;
	struct loop_timer *compile_timer;
	struct loop_timer *rest_timer; /* configuration_rest() */
	struct loop_timer *end_timer; /* the agent ends */
	unsigned int draining; /* servers that have not ended yet, then */
	struct agent_configuration configuration;
	struct history *history;
	struct resources held; /* in force instead of those configured, while history_held() says so */
	struct list waiters; /* rollback.c */
	bool noted; /* a change that is in no plan yet */
	size_t unrested; /* how much changed since configuration_rest() */
	uint32_t grow_services; /* the loop ends so that tables for so many can be made; 0: it does not */
	uint64_t started_wall_ns;
	char account[13];
	char left_directory[320]; /* where weft-proxies leave their counts */
	int lock_fd;
};

/* Starts everything in order: lock, kernel part, state, then adoption of what runs, the configuration, and the local socket. On
 * failure what was started is stopped again. -EBUSY: another agent has the instance. -ENOENT: no kernel part. */
int agent_start(struct agent *agent, struct error *err);
/* Ends loop_run() when those who asked something have their answer; a second time, or AGENT_END_LIMIT_S later: at once. */
#define AGENT_END_LIMIT_S 5
void agent_end(struct agent *agent);
/* In reverse. What the kernel does goes on. */
void agent_stop(struct agent *agent);

/* What its HTTP servers have done. Returns how many there are. */
#define AGENT_SERVERS_MAX 4
size_t agent_http_totals(const struct agent *agent, struct http_totals ret_totals[AGENT_SERVERS_MAX]);

/* Full name of an object id for people: what it is, or "deleted#ID". Borrowed until the next call. */
const char *agent_object_name(struct agent *agent, uint32_t id);
