/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/configuration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rollback.h"
#include "agent/serve.h"
#include "agent/spec/directory.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/time.h"

/* After so many changes there may be megabytes of what they took for a while between what stays: parsed files, drafts, what was told. libc
 * gives back by itself what is free at the heap's end alone. It is looked for, page by page, when nothing has changed for a while. */
#define REST_CHANGES 500
#define REST_NS (2 * NSEC_PER_SEC)

static uint64_t wall_now_ns(void)
{
	return time_to_wall_ns(time_now_ns());
}

struct node_names {
	const char **names;
	size_t count, capacity;
};

static int node_names_add(struct node_names *n, const char *node)
{
	for (size_t i = 0; i < n->count; i++)
		if (!strcmp(n->names[i], node))
			return 0;
	if (n->count == n->capacity) {
		const size_t capacity = n->capacity ? n->capacity * 2 : 32;
		const char **grown = realloc(n->names, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		n->names = grown;
		n->capacity = capacity;
	}
	n->names[n->count++] = node;
	return 0;
}

static int node_names_add_workload(const struct workload *workload, void *arg)
{
	return node_names_add(arg, workload->node);
}

/* Of whom packets or connections are decided here. */
static int node_names_collect(const struct agent *agent, struct node_names *names)
{
	int r = workloads_each(agent->workloads, node_names_add_workload, names);
	size_t count;
	const char *const *attached = edge_nodes(agent->edge, &count);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = node_names_add(names, attached[i]);
	if (r == 0 && claims_node(agent->claims))
		r = node_names_add(names, claims_node(agent->claims));
	return r;
}

struct places {
	struct compile_place *places;
	size_t count, capacity;
};

static int places_add(const struct workload *workload, uint64_t netns_cookie, void *arg)
{
	struct places *p = arg;

	if (p->count == p->capacity) {
		const size_t capacity = p->capacity ? p->capacity * 2 : 32;
		struct compile_place *grown = reallocarray(p->places, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->places = grown;
		p->capacity = capacity;
	}
	p->places[p->count++] = (struct compile_place){ workload->node, netns_cookie, workload->own_netns };
	return 0;
}

static bool owns_address(uint64_t netns_cookie, const struct ip *address, void *arg)
{
	struct agent *agent = arg;

	return kernel_own_address_has(&agent->kernel, netns_cookie, address);
}

static void configuration_fail(struct agent *agent, const struct error *err)
{
	struct agent_configuration *c = &agent->configuration;
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	if (!c->failed)
		c->failed_since_wall_ns = wall_now_ns();
	c->failed = true;
	c->error = *err;
	log_error("the configuration is not taken; the last good one stays in force", LOG_F("error", LOG_STR(error_text(err, text, sizeof(text)))),
		  LOG_F("generation", LOG_U64(c->generation)));
}

/* A plan is in force, or the one in force is what was asked for once more. */
static void plan_stands(struct agent *agent, uint64_t generation)
{
	struct agent_configuration *c = &agent->configuration;

	rollback_applied(agent, generation, NULL);
	if (c->failed && !c->read_failed)
		c->failed = false;
	if (health_sync(agent->health) < 0)
		log_error("out of memory: some health checks are as they were");
	edge_sync(agent->edge);
	claims_planned(agent->claims);
}

void configuration_compile(struct loop_timer *timer, void *arg)
{
	struct agent *agent = arg;
	struct node_names nodes = {};
	struct places places = {};
	const char *const *exposed;
	size_t exposed_count;
	struct plan *plan = NULL;
	struct error err = {};
	int r = 0;

	(void)timer;
	if (!agent->configuration.ever_read)
		return; /* the kernel keeps what it has until there is something good to replace it */
	if (!agent->workloads || !agent->edge)
		return; /* the agent stops */
	exposed = edge_services(agent->edge, &exposed_count);
	if (compiler_wants_callers(agent->compiler)) {
		r = node_names_collect(agent, &nodes);
		if (r == 0)
			r = workloads_each_place(agent->workloads, places_add, &places);
	}
	if (r == 0)
		r = compile(agent->compiler,
			&(struct compile_input){
				.resources = agent_in_force(agent),
				.registry = agent->registry,
				.dns = agent->dns,
				.vips = agent->vips,
				.mesh_owner = agent->account,
				.nodes = nodes.names,
				.node_count = nodes.count,
				.places = places.places,
				.place_count = places.count,
				.owns = owns_address,
				.owns_arg = agent,
				.exposed = exposed,
				.exposed_count = exposed_count,
				.audit_meshes = agent->options.audit_meshes.values,
				.audit_count = agent->options.audit_meshes.count,
				.default_pool = agent->options.pool,
				.proxy = strcmp(agent->options.proxy, "off") != 0,
				.zone = agent->options.zone,
				.panic_pct = agent->options.panic_pct,
				.time_scale = agent->options.time_scale,
				.now_wall_ns = wall_now_ns(),
			},
			&plan, &err);
	free(nodes.names);
	free(places.places);
	if (r < 0) {
		if (!err.code)
			error_set(&err, r, "out of memory");
		configuration_fail(agent, &err);
		rollback_refused(agent, &err);
		return;
	}
	rollback_compiled(agent);
	if (plan) {
		apply_plan(agent->apply, plan);
	} else {
		inbound_sync(agent->inbound); /* namespaces may be there now that were not */
		plan_stands(agent, agent->configuration.generation);
	}
}

void configuration_rest(struct loop_timer *timer, void *arg)
{
	struct agent *agent = arg;

	(void)timer;
	agent->unrested = 0;
	resource_specs_forget();
	memory_give_back();
}

static void compile_soon(struct agent *agent)
{
	if (++agent->unrested >= REST_CHANGES)
		loop_timer_arm(agent->rest_timer, loop_now_ns(agent->loop) + REST_NS);
	loop_timer_arm(agent->compile_timer, loop_now_ns(agent->loop));
}

void agent_changed(struct agent *agent)
{
	compiler_callers_changed(agent->compiler);
	compile_soon(agent);
}

void agent_resource_changed(struct agent *agent, const struct resource *before, const struct resource *now)
{
	compiler_resource_changed(agent->compiler, agent_in_force(agent), before, now);
	compile_soon(agent);
}

/* Whether the tables can be larger: then the agent stops for that, and finds the plan fitting when it starts again. */
static bool grow_for_plan(struct agent *agent)
{
	const uint32_t made_for = kernel_limits_services(&agent->kernel.memory.limits);
	const uint32_t wanted = apply_services_wanted(agent->apply);

	if (!wanted || made_for >= MAX_SERVICES || strcmp(agent->options.grow, "auto"))
		return false;
	agent->grow_services = MIN(MAX(2 * made_for, wanted), (uint32_t)MAX_SERVICES);
	log_info("the tables grow, and weftd starts again; the kernel goes on deciding", LOG_F("from", LOG_U64(made_for)),
		 LOG_F("services", LOG_U64(agent->grow_services)));
	loop_stop(agent->loop, 0);
	return true;
}

void configuration_applied(uint64_t generation, const struct error *err, void *arg)
{
	struct agent *agent = arg;
	struct agent_configuration *c = &agent->configuration;

	if (err) {
		claims_planned(agent->claims);
		compiler_refused(agent->compiler);
		if (!grow_for_plan(agent))
			configuration_fail(agent, err);
		rollback_applied(agent, generation, err);
		return;
	}
	/* Before the rest: connections by the new generation are being handed over already. What weft-proxy is to know no more is taken
	 * back from it first; what it is to know now is given to it when it has said that it does. */
	inbound_sync(agent->inbound);
	supervisor_configured(agent->supervisor);
	plan_stands(agent, generation);
	if (generation == c->generation)
		return;
	c->generation = generation;
	c->applied_wall_ns = wall_now_ns();
	supervisor_changed(agent->supervisor); /* ids of nodes may be others */
	drain_changed(agent->drain);
	log_info("in force", LOG_F("generation", LOG_U64(generation)), LOG_F("resources", LOG_U64(agent_in_force(agent)->count)));
}

static void log_unresolved(const struct resource *from, const char *field, const char *missing, void *arg)
{
	(void)arg;
	log_warn("a reference names nothing that exists yet", LOG_F("resource", LOG_STR(from->full_name)), LOG_F("field", LOG_STR(field)),
		 LOG_F("missing", LOG_STR(missing)));
}

static void log_lost(const struct resource *from, void *arg)
{
	log_warn("a reference names nothing any more", LOG_F("resource", LOG_STR(from->full_name)), LOG_F("missing", LOG_STR(arg)));
}

/* The one place where a change of resources becomes a generation: what came, went or was replaced since the last one. */
static void resource_changed(const struct resource *before, const struct resource *now, void *arg)
{
	struct agent *agent = arg;
	const struct resources *set = &agent->configuration.resources;

	if (now)
		resources_unresolved(set, now, log_unresolved, NULL);
	else
		resources_referrers(set, before->full_name, log_lost, (char *)before->full_name);
	agent_control_show(agent, before, now);
	rollback_configured(agent, before, now);
}

void agent_commit(struct agent *agent)
{
	resources_commit(&agent->configuration.resources, resource_changed, agent);
}

void configuration_read(void *arg)
{
	struct agent *agent = arg;
	struct agent_configuration *c = &agent->configuration;
	struct error err = {};

	if (directory_read(agent->directory, &c->resources, &err) < 0) {
		c->read_failed = true;
		configuration_fail(agent, &err);
		return;
	}
	c->files = directory_files(agent->directory);
	c->read_wall_ns = wall_now_ns();
	if (!c->ever_read || c->failed)
		compile_soon(agent);
	c->ever_read = true;
	c->read_failed = c->failed = false;
	agent_commit(agent);
	log_info("configuration read", LOG_F("resources", LOG_U64(c->resources.count)));
}

void agent_instances_changed(const char *namespace_name, const char *service_name, void *arg)
{
	struct agent *agent = arg;

	compiler_instances_changed(agent->compiler, namespace_name, service_name);
	compile_soon(agent);
}

void agent_host_changed(const char *hostname, void *arg)
{
	struct agent *agent = arg;

	compiler_host_changed(agent->compiler, hostname);
	compile_soon(agent);
}
