/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/api/api.h"
#include "agent/api/metrics.h"
#include "agent/configuration.h"
#include "agent/identity/cgroup.h"
#include "agent/net/routes.h"
#include "agent/rollback.h"
#include "agent/serve.h"
#include "agent/spec/directory.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define LOCK_WAIT_NS (2 * NSEC_PER_SEC)

const char *agent_object_name(struct agent *agent, uint32_t id)
{
	static char deleted[24];
	const char *name = apply_object_name(agent->apply, id);

	if (name)
		return name;
	snprintf(deleted, sizeof(deleted), "deleted#%u", id);
	return deleted;
}

/* --- callbacks of modules ----------------------------------------------------------------------------------------------------- */

static uint32_t node_id(const char *node, void *arg)
{
	struct agent *agent = arg;

	return apply_node_id(agent->apply, node);
}

static void workloads_have_changed(void *arg)
{
	struct agent *agent = arg;

	agent_changed(agent);
	supervisor_changed(agent->supervisor);
}

static bool proxy_serves(uint64_t netns_cookie, void *arg)
{
	struct agent *agent = arg;

	return supervisor_serves(agent->supervisor, netns_cookie);
}

static void proxy_has_changed(void *arg)
{
	struct agent *agent = arg;

	inbound_proxy_changed(agent->inbound);
}

static void claims_have_changed(void *arg)
{
	agent_changed(arg);
}

/* A node that is not configured will not be in a plan either. */
static bool claim_planned(const char *node, void *arg)
{
	struct agent *agent = arg;
	const struct plan *plan = apply_current(agent->apply);

	if (!resources_get(agent_in_force(agent), node))
		return true;
	for (size_t i = 0; plan && i < plan->node_count; i++)
		if (plan->nodes[i] && !strcmp(plan->nodes[i]->name, node))
			return true;
	return false;
}

/* Short names are of this account and region; what a name says itself must be them. */
static int claim_resolve(const char *value, char *ret_node, size_t size, enum claim_outcome *ret_outcome, struct error *err, void *arg)
{
	const enum resource_kind kind = resource_actor_kind(value) == RESOURCE_VIRTUAL_GATEWAY ? RESOURCE_VIRTUAL_GATEWAY : RESOURCE_VIRTUAL_NODE;
	const struct agent *agent = arg;
	struct resource_scope scope;
	const char *account;

	resource_name_scope(value, &scope);
	account = scope.account[0] && strcmp(scope.account, agent->account) ? scope.account : scope.mesh_owner;
	if (resource_name_parse(value, kind, ret_node, size, err) < 0) {
		*ret_outcome = CLAIM_BAD_NAME;
		ret_node[0] = '\0';
		return -EINVAL;
	}
	if (account[0] && strcmp(account, agent->account)) {
		*ret_outcome = CLAIM_OTHER_ACCOUNT;
		return error_set(err, -EINVAL, "the account is %s, that of this weftd is %s (--account)", account, agent->account);
	}
	if (agent->store && scope.region[0] && control_serves(agent->control, scope.region))
		return agent_resource_name(agent, value, kind, ret_node, size, err);
	if (scope.region[0] && strcmp(scope.region, agent->control_options.home_region)) {
		*ret_outcome = CLAIM_OTHER_REGION;
		return error_set(err, -EINVAL, "the region is %s, that of this weftd is %s (--region)", scope.region, agent->control_options.home_region);
	}
	return 0;
}

static void edge_has_changed(void *arg)
{
	agent_changed(arg);
}

static void workload_gone(const struct workload *workload, void *arg)
{
	struct agent *agent = arg;

	log_info("workload ended", LOG_F("id", LOG_U64(workload->id)), LOG_F("node", LOG_STR(workload->node)));
	registry_remove_workload(agent->registry, workload->id);
}

/* --- start ------------------------------------------------------------------------------------------------------------------------ */

static int make_directory(const char *path, mode_t mode, struct error *err)
{
	char copy[512];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return error_set(err, -ENAMETOOLONG, "'%s' is too long", path);
	for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(copy, slash ? 0755 : mode) < 0 && errno != EEXIST)
			return error_set(err, -errno, "cannot make directory '%s': %s", copy, strerror(errno));
		if (!slash)
			return 0;
		*slash = '/';
	}
}

static int take_lock(struct agent *agent, char *run_dir, size_t size, struct error *err)
{
	char path[320];
	int r;

	snprintf(run_dir, size, "/run/weft/%s", agent->options.instance);
	r = make_directory(run_dir, 0755, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/weftd.lock", run_dir);
	agent->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (agent->lock_fd < 0)
		return error_set(err, -errno, "cannot open '%s': %s", path, strerror(errno));
	/* an agent that was killed holds its lock until the kernel is done with the corpse */
	for (const uint64_t deadline_ns = time_now_ns() + LOCK_WAIT_NS; flock(agent->lock_fd, LOCK_EX | LOCK_NB) < 0;) {
		if (time_now_ns() > deadline_ns)
			return error_set(err, -EBUSY, "another weftd runs instance '%s' ('%s' is locked)", agent->options.instance,
					 path);
		nanosleep(&(struct timespec){ .tv_nsec = 10 * NSEC_PER_MSEC }, NULL);
	}
	return 0;
}

static bool is_account(const char *text)
{
	return strlen(text) == 12 && strspn(text, "0123456789") == 12;
}

/* --account, else the one that was made at the first start. */
static int take_account(struct agent *agent, struct error *err)
{
	_cleanup_free_ void *kept = NULL;
	uint64_t random = 0;
	size_t length;
	int r;

	if (agent->options.account) {
		if (!is_account(agent->options.account))
			return error_set_field(err, -EINVAL, "account", "'%s' is not 12 digits", agent->options.account);
		memcpy(agent->account, agent->options.account, sizeof(agent->account));
		return 0;
	}
	r = state_get(agent->state, "account", &kept, &length, NULL);
	if (r == 0 && is_account(kept)) {
		memcpy(agent->account, kept, sizeof(agent->account));
		return 0;
	}
	if (r < 0 && r != -ENOENT)
		return error_set(err, r, "cannot read the account from the state directory");
	if (getrandom(&random, sizeof(random), 0) < 0)
		return error_set(err, -errno, "no randomness: %s", strerror(errno));
	snprintf(agent->account, sizeof(agent->account), "%012llu", (unsigned long long)(random % 900000000000ull + 100000000000ull));
	return state_put(agent->state, "account", agent->account, 12, err);
}

static int parse_ports(const struct option_strings *strings, const char *option, __be16 ret_ports[MAX_CONFIG_PORTS], struct error *err)
{
	memset(ret_ports, 0, MAX_CONFIG_PORTS * sizeof(*ret_ports));
	if (strings->count > MAX_CONFIG_PORTS)
		return error_set_field(err, -E2BIG, option, "%zu ports are given, %d are possible", strings->count, MAX_CONFIG_PORTS);
	for (size_t i = 0; i < strings->count; i++) {
		char *end;
		const unsigned long port = strtoul(strings->values[i], &end, 10);

		if (*end || !port || port > 65535)
			return error_set_field(err, -EINVAL, option, "'%s' is not a port from 1 to 65535", strings->values[i]);
		ret_ports[i] = htons(port);
	}
	return 0;
}

struct stale_exemptions {
	struct agent *agent;
	struct ip stale[64];
	size_t count;
};

static int exemption_check(const struct netns_address *key, const struct exemption *exemption, void *arg)
{
	struct stale_exemptions *s = arg;
	struct ip wanted;

	if (exemption->reason != REASON_IGNORED_IP || key->netns_cookie)
		return 0;
	for (size_t i = 0; i < s->agent->options.ignored_ips.count; i++)
		if (ip_parse(s->agent->options.ignored_ips.values[i], &wanted) == 0 && ip_equal(&wanted, &key->address))
			return 0;
	if (s->count < ARRAY_SIZE(s->stale))
		s->stale[s->count++] = key->address;
	return 0;
}

static int write_exemptions(struct agent *agent, struct error *err)
{
	const struct exemption exemption = { .reason = REASON_IGNORED_IP };
	struct stale_exemptions stale = { .agent = agent };
	struct ip ip;
	int r;

	for (size_t i = 0; i < agent->options.ignored_ips.count; i++) {
		if (ip_parse(agent->options.ignored_ips.values[i], &ip) < 0)
			return error_set_field(err, -EINVAL, "egress-ignored-ips", "'%s' is no IP address",
					       agent->options.ignored_ips.values[i]);
		r = kernel_exempt_set(&agent->kernel, &ip, &exemption);
		if (r < 0)
			return error_set_field(err, r, "egress-ignored-ips", "cannot be written to the kernel: %s", strerror(-r));
	}
	do { /* of an earlier agent with other options */
		stale.count = 0;
		kernel_exempt_each(&agent->kernel, exemption_check, &stale);
		for (size_t i = 0; i < stale.count; i++)
			kernel_exempt_remove(&agent->kernel, &stale.stale[i]);
	} while (stale.count);
	return 0;
}

/* The cgroup that the instance is attached to. */
static int scope_find(const struct agent *agent, uint64_t *ret_id, struct error *err)
{
	char scope[PATH_MAX];
	int r = loader_cgroup(agent->options.instance, scope, sizeof(scope), err);

	if (r == 0 && (r = cgroup_id(scope, ret_id)) < 0)
		error_set(err, r, "cannot look at the cgroup '%s': %s", scope, strerror(-r));
	return r;
}

/* Options that hooks read. Member by member: running hooks read along. */
static int write_config(struct agent *agent, struct error *err)
{
	struct config *live = agent->kernel.memory.config;
	struct config c = {};
	uint64_t scope_id;
	int r;

	r = parse_ports(&agent->options.ignored_ports, "egress-ignored-ports", c.ignored_ports, err);
	if (r == 0)
		r = parse_ports(&agent->options.reserved_ports, "reserved-ports", c.reserved_ports, err);
	if (r < 0)
		return r;
	if ((r = scope_find(agent, &scope_id, err)) < 0)
		return r;
	vips_networks(agent->vips, &c.vip4, &c.vip4_mask, &c.vip6, &c.vip6_mask);
	r = routes_check(&c.vip4, &c.vip4_mask, "vip-network4", err);
	if (r == 0)
		r = routes_check(&c.vip6, &c.vip6_mask, "vip-network6", err);
	if (r < 0)
		return r;
	live->vip4 = c.vip4;
	live->vip4_mask = c.vip4_mask;
	live->vip6 = c.vip6;
	live->vip6_mask = c.vip6_mask;
	memcpy(live->ignored_ports, c.ignored_ports, sizeof(c.ignored_ports));
	memcpy(live->reserved_ports, c.reserved_ports, sizeof(c.reserved_ports));
	__atomic_store_n(&live->scope_id, scope_id, __ATOMIC_RELAXED);
	__atomic_store_n(&live->drain_ns, agent->options.drain_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&live->flows_per_second, agent->options.flows_per_second, __ATOMIC_RELEASE);
	return write_exemptions(agent, err);
}

static int add_patterns(struct agent *agent, struct error *err)
{
	json_t *one;
	size_t i;
	int r;

	json_array_foreach(agent->options.workloads, i, one) {
		char node[1024];

		r = agent_member_actor(agent, one, node, sizeof(node), err);
		if (r == 0)
			r = workloads_add_pattern(agent->workloads, json_path_string(one, "cgroup"), node, json_path_string(one, "zone"), err);
		if (r < 0) {
			error_prefix(err, "workloads[%zu]", i);
			return r;
		}
	}
	return 0;
}

/* By it the hooks tell our sockets in workloads' namespaces from the workloads' own. 0: we have none; an agent that was killed
 * before may have left its own there. */
static void publish_cgroup(struct agent *agent, uint64_t id)
{
	__atomic_store_n(&agent->kernel.memory.proxy->agent_cgroup_id, id, __ATOMIC_RELEASE);
}

static uint64_t given_in(const struct ip *address, __be16 port, uint64_t netns_cookie, void *arg)
{
	const struct agent *agent = arg;

	return inbound_given_in(agent->inbound, address, port, netns_cookie);
}

static int start_health(struct agent *agent, struct error *err)
{
	const struct health_options options = {
		.from = strcmp(agent->options.health_from, "workload") ? HEALTH_FROM_AGENT : HEALTH_FROM_WORKLOAD,
		.time_scale = agent->options.time_scale,
		.given_in = given_in,
		.arg = agent,
	};
	int r = options.from == HEALTH_FROM_WORKLOAD ? own_cgroup_enter("weftd", agent->options.instance, &agent->cgroup, err) : 0;

	if (r < 0)
		return r;
	publish_cgroup(agent, agent->cgroup.id);
	return health_new(agent->loop, agent->offload, &agent->kernel, agent->apply, agent->workloads, &options, &agent->health, err);
}

static int start_supervisor(struct agent *agent, struct error *err)
{
	struct supervisor_options options = {
		.instance = agent->options.instance,
		.log_level = agent->options.log_level,
		.log_format = agent->options.log_format,
		.drain_max_ns = agent->options.drain_max_ns,
		.node_id = node_id,
		.serves = proxy_has_changed,
		.arg = agent,
		.apply = agent->apply,
	};

	if (supervision_by_name(agent->options.proxy, &options.supervision) < 0)
		return error_set_field(err, -EINVAL, "proxy", "'%s' is none of start, external, off", agent->options.proxy);
	return supervisor_new(agent->loop, &agent->kernel, agent->workloads, &options, &agent->supervisor, err);
}

/* --- what weft-proxy counts --- */

static void on_requests(const json_t *answer, int fd, const struct error *err, void *arg)
{
	(void)answer;
	requests_answered(arg, fd, err);
}

static void ask_requests(struct requests *requests, void *arg)
{
	struct agent *agent = arg;

	supervisor_ask(agent->supervisor, json_pack("{s:s}", "op", "requests"), on_requests, requests);
}

static const char *object_name(uint32_t id, void *arg)
{
	struct agent *agent = arg;

	return apply_object_name(agent->apply, id);
}

static int start_counting(struct agent *agent, const char *run_dir, struct error *err)
{
	const struct requests_options options = {
		.ask = ask_requests, .name = object_name, .arg = agent, .left_directory = agent->left_directory
	};
	int r;

	snprintf(agent->left_directory, sizeof(agent->left_directory), "%s", run_dir);
	r = requests_new(agent->loop, agent->offload, agent->state, &options, &agent->requests);
	if (r == 0)
		r = tallies_new(agent->loop, agent->offload, &agent->kernel, agent->apply, agent->state, agent->requests, &agent->tallies);
	return r < 0 ? error_set(err, r, "cannot prepare to read counters: %s", strerror(-r)) : 0;
}

static int start_claims(struct agent *agent, struct error *err)
{
	char scope[PATH_MAX];
	const struct claims_options options = {
		.wanted = !strcmp(agent->options.environment, "on"),
		.scope = scope,
		.resolve = claim_resolve,
		.planned = claim_planned,
		.changed = claims_have_changed,
		.arg = agent,
	};
	int r = loader_cgroup(agent->options.instance, scope, sizeof(scope), err);

	return r < 0 ? r : claims_new(agent->loop, agent->offload, &agent->kernel, agent->workloads, &options, &agent->claims, err);
}

/* It is read when all else has started, and looked at meanwhile. */
static int start_directory(struct agent *agent, struct error *err)
{
	int r = directory_new(agent->options.config_dir, &agent->directory);

	if (r < 0)
		return error_set(err, r, "out of memory");
	r = directory_watch(agent->directory, agent->loop, configuration_read, agent, err);
	if (r == 0)
		directory_look_ahead(agent->directory);
	return r;
}

static int start_modules(struct agent *agent, struct error *err)
{
	const struct workloads_callbacks callbacks = {
		.node_id = node_id, .changed = workloads_have_changed, .gone = workload_gone, .arg = agent
	};
	const struct dns_discovery_options discovery = {
		.servers = agent->options.resolvers.values,
		.server_count = agent->options.resolvers.count,
		.time_scale = agent->options.time_scale,
		.changed = agent_host_changed,
		.arg = agent,
	};
	char run_dir[256], path[640];
	int r;

	r = take_lock(agent, run_dir, sizeof(run_dir), err);
	if (r == 0)
		r = kernel_open(agent->options.instance, &agent->kernel, err);
	if (r == 0 && agent->options.config_dir)
		r = start_directory(agent, err);
	if (r == 0)
		r = make_directory(agent->options.state_dir, 0700, err);
	snprintf(path, sizeof(path), "%s/state.db", agent->options.state_dir);
	if (r == 0)
		r = state_open_sqlite(path, &agent->state, err);
	if (r == 0)
		r = take_account(agent, err);
	if (r == 0)
		r = rollback_start(agent, err);
	if (r == 0)
		r = vips_new(agent->state, agent->options.vip4_network, agent->options.vip6_network, &agent->vips, err);
	if (r == 0)
		r = write_config(agent, err);
	if (r == 0 && (r = offload_new(agent->loop, "weftd-offload", &agent->offload)) < 0)
		error_set(err, r, "cannot start a thread: %s", strerror(-r));
	if (r == 0 && (r = loop_timer_new(agent->loop, configuration_compile, agent, &agent->compile_timer)) < 0)
		error_set(err, r, "out of memory");
	if (r == 0 && (r = loop_timer_new(agent->loop, configuration_rest, agent, &agent->rest_timer)) < 0)
		error_set(err, r, "out of memory");
	if (r == 0 && (r = compiler_new(&agent->compiler)) < 0)
		error_set(err, r, "out of memory");
	if (r == 0)
		r = agent_control_start(agent, err);
	if (r == 0)
		r = registry_new(agent->state, agent_instances_changed, agent, &agent->registry, err);
	if (r == 0)
		r = dns_discovery_new(agent->loop, agent->state, &discovery, &agent->dns, err);
	if (r == 0)
		r = apply_new(agent->loop, agent->offload, &agent->kernel, agent->state, configuration_applied, agent, &agent->apply, err);
	if (r == 0)
		r = flows_new(agent->loop, &agent->kernel, &agent->flows, err);
	if (r == 0)
		r = start_counting(agent, run_dir, err);
	if (r == 0)
		r = workloads_new(agent->loop, agent->offload, &agent->kernel, agent->state, &callbacks, &agent->workloads, err);
	if (r == 0)
		r = add_patterns(agent, err);
	if (r == 0)
		r = edge_new(agent->loop, agent->offload, &agent->kernel, agent->state, agent->apply,
			     &(struct edge_options){ .instance = agent->options.instance, .changed = edge_has_changed, .arg = agent },
			     &agent->edge, err);
	if (r == 0)
		r = start_claims(agent, err);
	if (r == 0)
		r = start_health(agent, err);
	if (r == 0 && (r = drain_new(agent->loop, agent->offload, &agent->kernel, agent->workloads, &agent->drain)) < 0)
		error_set(err, r, "out of memory");
	if (r == 0)
		r = inbound_new(agent->loop, agent->offload, &agent->kernel, agent->apply, agent->workloads,
				&(struct inbound_options){ .instance = agent->options.instance, .node_id = node_id,
							   .proxy_serves = proxy_serves, .arg = agent },
				&agent->inbound, err);
	if (r == 0)
		r = start_supervisor(agent, err);
	if (r < 0)
		return r;
	if (agent->directory)
		configuration_read(agent);
	snprintf(path, sizeof(path), "%s/weftd.sock", run_dir);
	r = http_server_new(agent->loop, path, &api_local, agent, &agent->server, err);
	if (r == 0 && agent->options.metrics)
		r = metrics_listener_new(agent, agent->options.metrics, &agent->metrics, err);
	return r;
}

int agent_start(struct agent *agent, struct error *err)
{
	int r;

	agent->lock_fd = -1;
	agent->started_wall_ns = time_to_wall_ns(time_now_ns());
	resources_init(&agent->configuration.resources);
	resources_init(&agent->held);
	list_init(&agent->waiters);
	r = start_modules(agent, err);
	if (r < 0)
		agent_stop(agent);
	return r;
}

static void end_now(struct loop_timer *timer, void *arg)
{
	struct agent *agent = arg;

	(void)timer;
	loop_stop(agent->loop, 0);
}

static void drained(void *arg)
{
	struct agent *agent = arg;

	if (--agent->draining == 0)
		loop_stop(agent->loop, 0);
}

/* Those that are there. */
static size_t servers(const struct agent *agent, struct http_server *ret_servers[AGENT_SERVERS_MAX])
{
	size_t count = 0;

	ret_servers[count++] = agent->server;
	if (agent->metrics)
		ret_servers[count++] = metrics_listener_server(agent->metrics);
	if (agent->control && control_server(agent->control))
		ret_servers[count++] = control_server(agent->control);
	return count;
}

size_t agent_http_totals(const struct agent *agent, struct http_totals ret_totals[AGENT_SERVERS_MAX])
{
	struct http_server *all[AGENT_SERVERS_MAX];
	const size_t count = servers(agent, all);

	for (size_t i = 0; i < count; i++)
		ret_totals[i] = http_server_totals(all[i]);
	return count;
}

void agent_end(struct agent *agent)
{
	struct http_server *all[AGENT_SERVERS_MAX];

	if (agent->end_timer || loop_timer_new(agent->loop, end_now, agent, &agent->end_timer) < 0) {
		loop_stop(agent->loop, 0);
		return;
	}
	loop_timer_arm(agent->end_timer, loop_now_ns(agent->loop) + AGENT_END_LIMIT_S * NSEC_PER_SEC);
	agent->draining = (unsigned int)servers(agent, all);
	for (size_t i = 0; i < agent->draining; i++)
		http_server_drain(all[i], drained, agent);
}

void agent_stop(struct agent *agent)
{
	agent->end_timer = loop_timer_free(agent->end_timer);
	agent->server = http_server_free(agent->server);
	agent->metrics = metrics_listener_free(agent->metrics);
	agent->directory = directory_free(agent->directory);
	agent_control_stop(agent);
	/* Modules give up their jobs on the offload thread before it ends; what the thread had under way is reported to the loop
	 * and finds them gone. The kernel part is closed after that. */
	agent->supervisor = supervisor_free(agent->supervisor);
	if (agent->cgroup.id)
		publish_cgroup(agent, 0);
	agent->inbound = inbound_free(agent->inbound);
	agent->drain = drain_free(agent->drain);
	agent->health = health_free(agent->health);
	own_cgroup_leave(&agent->cgroup);
	agent->edge = edge_free(agent->edge);
	agent->claims = claims_free(agent->claims);
	agent->workloads = workloads_free(agent->workloads);
	agent->tallies = tallies_free(agent->tallies);
	agent->requests = requests_free(agent->requests);
	agent->apply = apply_free(agent->apply);
	agent->offload = offload_free(agent->offload);
	loop_turn(agent->loop, 0);
	agent->flows = flows_free(agent->flows);
	agent->registry = registry_free(agent->registry);
	agent->dns = dns_discovery_free(agent->dns);
	agent->compile_timer = loop_timer_free(agent->compile_timer);
	agent->rest_timer = loop_timer_free(agent->rest_timer);
	agent->compiler = compiler_free(agent->compiler);
	agent->vips = vips_free(agent->vips);
	rollback_stop(agent);
	agent->state = state_close(agent->state);
	kernel_close(&agent->kernel);
	resources_done(&agent->configuration.resources);
	agent->lock_fd = fd_close(agent->lock_fd);
}
