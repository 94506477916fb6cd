/* SPDX-License-Identifier: Apache-2.0 */
/* The table of checks. Each has the kernel slots that its results are written to; health_sync() brings both in line with those virtual nodes
 * of the plan that changed. */
#include "agent/health/health.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/health/check.h"
#include "agent/health/place.h"
#include "agent/health/runner.h"
#include "agent/telemetry/names.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "maps/endpoint.h"

/* Changes that are told one by one in a second: where a whole rack fails, a count says the rest. */
#define LINES_PER_SECOND 50

/* A slot that a check writes. */
struct member {
	uint32_t slot;
	uint32_t incarnation; /* of the slot, while it stands for this endpoint */
	uint32_t target; /* in the plan in force */
};

struct check {
	struct health_checks *all;
	struct table_node node; /* of all->checks */
	char *key;
	char *path; /* NULL: TCP */
	struct ip address;
	__be16 port;
	uint64_t endpoint_netns; /* of a loopback address */
	struct check_thresholds thresholds;
	struct check_history history;
	struct run *run;
	struct member *members;
	size_t member_count, member_capacity;
	uint64_t round; /* of the last health_sync() that looked at it */
	struct list unused; /* in all->unused while it has no members */
};

struct slot_check {
	struct check *check; /* NULL: none */
	uint64_t round; /* when it was given the slot */
	bool stale; /* it is about to lose it, unless it gets it again */
};

/* What a target of the plan had when it was looked at last. */
struct target_checks {
	uint64_t serial; /* 0: there was none */
	uint64_t netns_cookie; /* where it is checked from */
	uint32_t *slots;
	size_t slot_count;
	bool due; /* to be looked at */
};

struct health_checks {
	struct kernel_memory *memory;
	struct apply *apply;
	struct workloads *workloads;
	struct health_options options;
	struct runner *runner;
	struct table checks; /* by key */
	struct slot_check *slots; /* of each there is; zero pages until used */
	struct target_checks *targets; /* by place */
	size_t target_count;
	struct list unused;
	uint64_t round;
	struct buffer key; /* at hand */
	uint64_t lines_since_ns;
	unsigned lines;
};

static const char *const protocol_names[] = {
	[CHECK_TCP] = "tcp", [CHECK_HTTP] = "http", [CHECK_HTTP2] = "http2", [CHECK_GRPC] = "grpc",
};

/* Until the proxy speaks the protocol, or TLS: an HTTP request in the clear would fail where everything is well. */
static bool runs_as_tcp(const struct plan_target *target)
{
	return target->check.protocol == CHECK_HTTP2 || target->check.protocol == CHECK_GRPC ||
	       (target->check.protocol == CHECK_HTTP && target->flags & TARGET_NEEDS_TLS);
}

static const char *path_of(const struct plan_target *target)
{
	if (target->check.protocol != CHECK_HTTP || runs_as_tcp(target))
		return NULL;
	return target->check.path ?: "/";
}

/* --- results ------------------------------------------------------------------------------------------------------------- */

static bool is_known(const struct check *check)
{
	return check->history.health == HEALTH_UP || check->history.health == HEALTH_DOWN;
}

/* What is known from before this run never replaces what another slot of the endpoint says. */
static void publish(const struct check *check)
{
	for (size_t i = 0; is_known(check) && i < check->member_count; i++) {
		const struct member *m = &check->members[i];
		struct endpoint *endpoint = &check->all->memory->endpoints[m->slot];

		if (endpoint->incarnation != m->incarnation || endpoint->health == check->history.health)
			continue;
		if (check->history.checks || endpoint->health == HEALTH_PENDING)
			__atomic_store_n(&endpoint->health, check->history.health, __ATOMIC_RELAXED);
	}
}

/* A check that passes ends an ejection before its time. */
static void readmit(const struct check *check, uint64_t now_ns)
{
	for (size_t i = 0; i < check->member_count; i++) {
		struct endpoint *endpoint = &check->all->memory->endpoints[check->members[i].slot];

		if (endpoint->incarnation == check->members[i].incarnation)
			endpoint_readmit(endpoint, now_ns);
	}
}

static const char *target_name(const struct check *check)
{
	const struct plan *plan = apply_current(check->all->apply);
	const uint32_t target = check->member_count ? check->members[0].target : PLAN_NONE;

	return plan && target < plan->target_count && plan->targets[target] ? plan->targets[target]->name : NULL;
}

static void log_change(const struct check *check, enum health before)
{
	const struct check_history *h = &check->history;
	struct health_checks *all = check->all;
	char address[ENDPOINT_TEXT_BYTES];

	if (h->last.at_ns - all->lines_since_ns >= NSEC_PER_SEC) {
		all->lines_since_ns = h->last.at_ns;
		all->lines = 0;
	}
	if (all->lines++ < LINES_PER_SECOND)
		log_info("the health of an endpoint changed",
			 LOG_F("endpoint", LOG_STR(ip_port_format(&check->address, check->port, address))),
			 LOG_F("target", LOG_STR(target_name(check))), LOG_F("from", LOG_STR(health_name(before))),
			 LOG_F("to", LOG_STR(health_name(h->health))), LOG_F("why", LOG_STR(h->last.text)),
			 LOG_F("inARow", LOG_U64(h->in_a_row)), LOG_F("targets", LOG_U64(check->member_count)));
	else
		log_limited(LOG_LEVEL_INFO, "the health of many endpoints changes: not all are told");
}

static void on_result(const struct check_result *result, void *arg)
{
	struct check *check = arg;
	const enum health before = is_known(check) ? check->history.health : HEALTH_PENDING;
	char address[ENDPOINT_TEXT_BYTES];

	if (result->outcome == CHECK_NOT_RUN)
		log_limited(LOG_LEVEL_WARN, "a health check could not be run",
			    LOG_F("endpoint", LOG_STR(ip_port_format(&check->address, check->port, address))),
			    LOG_F("target", LOG_STR(target_name(check))), LOG_F("why", LOG_STR(result->text)));
	if (check_add(&check->history, &check->thresholds, result))
		log_change(check, before);
	publish(check);
	if (result->outcome == CHECK_PASSED)
		readmit(check, result->at_ns);
}

/* --- checks -------------------------------------------------------------------------------------------------------------- */

/* Its slots are nobody's from now on; they keep their health. */
static void forget_members(struct check *check)
{
	for (size_t i = 0; i < check->member_count; i++) {
		struct slot_check *slot = &check->all->slots[check->members[i].slot];

		if (slot->check == check)
			slot->check = NULL;
	}
	check->member_count = 0;
}

static struct check *check_free(struct check *check)
{
	if (!check)
		return NULL;
	forget_members(check);
	list_remove(&check->unused);
	run_free(check->run);
	free(check->members);
	free(check->path);
	free(check->key);
	free(check);
	return NULL;
}

static void cleanup_check(struct check **check)
{
	check_free(*check);
}

static int key_make(struct buffer *key, const struct plan_target *target, const struct plan_endpoint *endpoint)
{
	const struct plan_check *c = &target->check;
	const char *path = path_of(target);
	char address[ENDPOINT_TEXT_BYTES];

	buffer_clear(key);
	buffer_printf(key, "%s %llx %llu %llu %u %u %s%s", ip_port_format(&endpoint->address, endpoint->port, address),
		      (unsigned long long)endpoint->netns_cookie, (unsigned long long)c->interval_ns,
		      (unsigned long long)c->timeout_ns, c->healthy_threshold, c->unhealthy_threshold, path ? "http " : "tcp", path ?: "");
	return buffer_failed(key) ? -ENOMEM : 0;
}

/* What the check that the slot had until now has found, if it was of this endpoint: another interval makes no other endpoint. */
static void take_history(struct check *check, uint32_t slot)
{
	const struct check *before = check->all->slots[slot].check;

	if (before && ip_equal(&before->address, &check->address) && before->port == check->port &&
	    before->endpoint_netns == check->endpoint_netns)
		check->history = before->history;
}

static int check_new(struct health_checks *all, const struct plan_target *target, const struct plan_endpoint *endpoint,
		     uint64_t netns_cookie, struct check **ret_check)
{
	_cleanup_(cleanup_check) struct check *check = calloc(1, sizeof(*check));
	const struct plan_check *c = &target->check;
	const uint32_t scale = all->options.time_scale;
	const char *path = path_of(target);
	int r;

	if (!check)
		return -ENOMEM;
	check->all = all;
	list_init(&check->unused);
	check->key = strdup(buffer_string(&all->key));
	check->path = path ? strdup(path) : NULL;
	check->address = endpoint->address;
	check->port = endpoint->port;
	check->endpoint_netns = endpoint->netns_cookie;
	check->thresholds = (struct check_thresholds){ c->healthy_threshold, c->unhealthy_threshold };
	if (!check->key || (path && !check->path))
		return -ENOMEM;
	r = run_new(all->runner,
		    &(struct run_settings){
			    .request = { .address = check->address, .port = check->port, .path = check->path },
			    .interval_ns = c->interval_ns / scale,
			    .timeout_ns = c->timeout_ns / scale,
			    .netns_cookie = netns_cookie,
		    },
		    on_result, check, &check->run);
	if (r == 0)
		r = table_add(&all->checks, &check->node, check->key);
	if (r < 0)
		return r;
	*ret_check = TAKE_PTR(check);
	return 0;
}

static int check_join(struct check *check, uint32_t slot, uint32_t target)
{
	const struct endpoint *endpoint = &check->all->memory->endpoints[slot];

	if (check->member_count == check->member_capacity) {
		const size_t capacity = check->member_capacity ? 2 * check->member_capacity : 1;
		struct member *members = reallocarray(check->members, capacity, sizeof(*members));

		if (!members)
			return -ENOMEM;
		check->members = members;
		check->member_capacity = capacity;
	}
	check->members[check->member_count++] = (struct member){ slot, endpoint->incarnation, target };
	list_remove(&check->unused);
	check->all->slots[slot] = (struct slot_check){ .check = check, .round = check->all->round };
	if (!is_known(check))
		check_adopt(&check->history, endpoint->health);
	return 0;
}

/* --- the plan ------------------------------------------------------------------------------------------------------------ */

static int sync_endpoint(struct health_checks *all, uint32_t place, const struct plan_target *target,
			 const struct plan_endpoint *endpoint, uint64_t netns_cookie)
{
	const int64_t slot = apply_endpoint_slot(all->apply, target, endpoint);
	struct target_checks *kept = &all->targets[place];
	struct table_node *known;
	struct check *check;
	int r;

	if (slot < 0 || all->slots[slot].round == all->round)
		return 0; /* of two listeners that lead to one endpoint the first decides */
	r = key_make(&all->key, target, endpoint);
	if (r < 0)
		return r;
	known = table_get(&all->checks, buffer_string(&all->key));
	if (known) {
		check = container_of(known, struct check, node);
	} else {
		r = check_new(all, target, endpoint, netns_cookie, &check);
		if (r < 0)
			return r;
		list_append(&all->unused, &check->unused);
		take_history(check, (uint32_t)slot);
	}
	if (check->round != all->round) {
		check->round = all->round;
		run_move(check->run, netns_cookie);
	}
	r = check_join(check, (uint32_t)slot, place);
	if (r == 0)
		kept->slots[kept->slot_count++] = (uint32_t)slot;
	publish(check);
	return r;
}

static int grow_targets(struct health_checks *all, size_t count)
{
	struct target_checks *targets;

	if (count <= all->target_count)
		return 0;
	targets = reallocarray(all->targets, count, sizeof(*targets));
	if (!targets)
		return -ENOMEM;
	memset(&targets[all->target_count], 0, (count - all->target_count) * sizeof(*targets));
	all->targets = targets;
	all->target_count = count;
	return 0;
}

static const struct plan_target *target_in(const struct plan *plan, size_t place)
{
	return place < plan->target_count ? plan->targets[place] : NULL;
}

/* Its checks go on, for now, but do not write its slots any more. */
static void let_go(struct health_checks *all, struct target_checks *kept)
{
	for (size_t i = 0; i < kept->slot_count; i++) {
		struct slot_check *slot = &all->slots[kept->slots[i]];
		struct check *check = slot->check;

		for (size_t m = 0; check && m < check->member_count; m++)
			if (check->members[m].slot == kept->slots[i])
				check->members[m--] = check->members[--check->member_count];
		slot->stale = true;
		if (check && !check->member_count && list_empty(&check->unused))
			list_append(&all->unused, &check->unused);
	}
}

static int sync_target(struct health_checks *all, uint32_t place, const struct plan_target *target, uint64_t netns_cookie)
{
	struct target_checks *kept = &all->targets[place];
	int r = 0;

	free(kept->slots);
	*kept = (struct target_checks){ .due = true };
	if (!target || target->check.protocol == CHECK_NONE)
		return 0;
	kept->slots = calloc(target->endpoint_count + 1, sizeof(*kept->slots));
	if (!kept->slots)
		return -ENOMEM;
	for (size_t e = 0; r == 0 && e < target->endpoint_count; e++)
		r = sync_endpoint(all, place, target, &target->endpoints[e], target->endpoints[e].netns_cookie ?: netns_cookie);
	return r;
}

/* Listeners of a node may share a slot: where one of them is due, so are all. A slot is of one node alone. */
static void mark_nodes(struct health_checks *all, const struct plan *plan, size_t due_count)
{
	const bool many = due_count > 16;

	for (size_t i = 0; due_count && i < plan->target_count; i++)
		for (size_t n = 0; !many && all->targets[i].due && n < plan->target_count; n++)
			if (plan->targets[i] && plan->targets[n] && strcmp(plan->targets[n]->node, plan->targets[i]->node) == 0)
				all->targets[n].due = true;
	for (size_t i = 0; many && i < all->target_count; i++)
		all->targets[i].due = true;
}

struct due {
	const struct plan_target *target;
	uint32_t place;
};

static int due_order(const void *a, const void *b)
{
	const struct due *x = a, *y = b;

	if (!x->target || !y->target)
		return (int)!x->target - (int)!y->target;
	return strcmp(x->target->name, y->target->name);
}

static size_t find_due(struct health_checks *all, const struct plan *plan, const uint64_t *cookies)
{
	size_t count = 0;

	for (size_t i = 0; i < all->target_count; i++) {
		const struct plan_target *target = target_in(plan, i);
		struct target_checks *kept = &all->targets[i];

		/* one that was begun is due until it is done */
		kept->due |= !target ? kept->serial : (kept->serial != target->serial || (cookies && kept->netns_cookie != cookies[i]));
		count += kept->due;
	}
	return count;
}

static int sync_due(struct health_checks *all, const struct plan *plan, const uint64_t *cookies)
{
	_cleanup_free_ struct due *due = calloc(all->target_count + 1, sizeof(*due));
	_cleanup_free_ struct slot_check **stale = NULL;
	size_t count = 0, slots = 0, stale_count = 0;
	int r = 0;

	if (!due)
		return -ENOMEM;
	for (uint32_t i = 0; i < all->target_count; i++) {
		if (!all->targets[i].due)
			continue;
		due[count++] = (struct due){ target_in(plan, i), i };
		slots += all->targets[i].slot_count;
	}
	stale = calloc(slots + 1, sizeof(struct slot_check *));
	if (!stale)
		return -ENOMEM;
	if (count > 1)
		qsort(due, count, sizeof(*due), due_order);
	for (size_t i = 0; i < count; i++) {
		struct target_checks *kept = &all->targets[due[i].place];

		let_go(all, kept);
		for (size_t s = 0; s < kept->slot_count; s++)
			stale[stale_count++] = &all->slots[kept->slots[s]];
	}
	for (size_t i = 0; r == 0 && i < count; i++)
		r = sync_target(all, due[i].place, due[i].target, cookies ? cookies[due[i].place] : 0);
	for (size_t i = 0; i < stale_count; i++)
		if (stale[i]->stale)
			*stale[i] = (struct slot_check){};
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct target_checks *kept = &all->targets[due[i].place];

		kept->due = false;
		kept->serial = due[i].target ? due[i].target->serial : 0;
		kept->netns_cookie = cookies && due[i].target ? cookies[due[i].place] : 0;
	}
	return r;
}

/* Ends checks that nobody has any more. */
static void end_unused(struct health_checks *all)
{
	list_for_each_safe(it, &all->unused) {
		struct check *check = container_of(it, struct check, unused);

		table_remove(&all->checks, &check->node);
		check_free(check);
	}
}

int health_sync(struct health_checks *all)
{
	const struct plan *plan = apply_current(all->apply);
	_cleanup_free_ uint64_t *cookies = NULL;
	size_t due_count;
	int r;

	if (!plan)
		return 0;
	all->round++;
	r = grow_targets(all, plan->target_count);
	if (r == 0 && all->options.from == HEALTH_FROM_WORKLOAD)
		r = places_choose(plan, all->workloads, &cookies);
	if (r < 0)
		return r;
	due_count = find_due(all, plan, cookies);
	mark_nodes(all, plan, due_count);
	r = due_count ? sync_due(all, plan, cookies) : 0;
	if (r == 0)
		end_unused(all);
	return r;
}

/* --- what people see ----------------------------------------------------------------------------------------------------- */

static json_t *time_json(uint64_t monotonic_ns)
{
	char text[TIME_TEXT_BYTES];

	return monotonic_ns ? json_string(time_format(time_to_wall_ns(monotonic_ns), text)) : json_null();
}

static json_t *from_json(const struct check *check)
{
	const uint64_t from = run_from(check->run);
	const struct workload *workload = from ? workloads_by_netns(check->all->workloads, from) : NULL;

	return workload ? json_sprintf("workload %llu", (unsigned long long)workload->id) : json_string(from ? "workload" : "agent");
}

static void add_settings(json_t *one, const struct plan_target *target)
{
	const struct plan_check *c = &target->check;
	const char *path = path_of(target);
	json_t *settings = json_pack("{s:s, s:I, s:I, s:i, s:i}", "protocol", protocol_names[c->protocol], "intervalNs",
				     (json_int_t)c->interval_ns, "timeoutNs", (json_int_t)c->timeout_ns, "healthyThreshold",
				     c->healthy_threshold, "unhealthyThreshold", c->unhealthy_threshold);

	if (path)
		json_object_set_new(settings, "path", json_string(path));
	if (runs_as_tcp(target))
		json_object_set_new(settings, "checkAs", json_string("tcp"));
	json_object_update_new(one, settings);
}

static void add_history(json_t *one, const struct check *check)
{
	const struct check_history *h = &check->history;

	json_object_update_new(one, json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "from", from_json(check), "inARow",
					      (json_int_t)h->in_a_row, "lastResult",
					      h->last.at_ns ? json_string(h->last.text) : json_null(), "lastAt", time_json(h->last.at_ns),
					      "lastNs", h->last.at_ns ? json_integer((json_int_t)h->last.took_ns) : json_null(),
					      "changedAt", time_json(h->changed_ns), "checks", (json_int_t)h->checks, "failures",
					      (json_int_t)h->failures, "notRun", (json_int_t)h->not_run));
}

static const char *state_at(const struct health_checks *all, int64_t slot, const struct plan_endpoint *endpoint)
{
	return slot < 0 ? health_name(endpoint->health) : endpoint_state_name(&all->memory->endpoints[slot]);
}

static uint32_t health_at(const struct health_checks *all, int64_t slot, const struct plan_endpoint *endpoint)
{
	return slot < 0 ? endpoint->health : all->memory->endpoints[slot].health;
}

static json_t *endpoint_json(const struct health_checks *all, const struct plan_target *target,
			     const struct plan_endpoint *endpoint)
{
	const int64_t slot = apply_endpoint_slot(all->apply, target, endpoint);
	char address[ENDPOINT_TEXT_BYTES];
	json_t *one = json_pack("{s:s, s:s, s:s, s:s}", "target", target->name, "node", target->node, "address",
				ip_port_format(&endpoint->address, endpoint->port, address), "health",
				state_at(all, slot, endpoint));

	if (target->check.protocol == CHECK_NONE)
		return one;
	add_settings(one, target);
	if (slot >= 0 && all->slots[slot].check)
		add_history(one, all->slots[slot].check);
	return one;
}

json_t *health_json(const struct health_checks *all)
{
	const struct plan *plan = apply_current(all->apply);
	json_t *list = json_array();

	_cleanup_free_ struct due *all_targets = plan ? calloc(plan->target_count + 1, sizeof(*all_targets)) : NULL;
	size_t count = 0;

	for (size_t t = 0; all_targets && t < plan->target_count; t++)
		if (plan->targets[t])
			all_targets[count++].target = plan->targets[t];
	if (count > 1)
		qsort(all_targets, count, sizeof(*all_targets), due_order);
	for (size_t t = 0; t < count; t++)
		for (size_t e = 0; e < all_targets[t].target->endpoint_count; e++)
			json_array_append_new(list, endpoint_json(all, all_targets[t].target, &all_targets[t].target->endpoints[e]));
	return list;
}

void health_count(const struct health_checks *all, struct health_counts *ret_counts)
{
	const struct plan *plan = apply_current(all->apply);

	*ret_counts = (struct health_counts){};
	for (size_t t = 0; plan && t < plan->target_count; t++)
		for (size_t e = 0; plan->targets[t] && e < plan->targets[t]->endpoint_count; e++) {
			const struct plan_endpoint *endpoint = &plan->targets[t]->endpoints[e];
			const int64_t slot = apply_endpoint_slot(all->apply, plan->targets[t], endpoint);
			const uint32_t health = health_at(all, slot, endpoint);

			if (slot >= 0 && health < HEALTH_DOWN && __atomic_load_n(&all->memory->endpoints[slot].ejected_until_ns, __ATOMIC_RELAXED))
				ret_counts->ejected++;
			else if (health < HEALTH_STATES)
				ret_counts->by_health[health]++;
		}
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

int health_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply,
	       struct workloads *workloads, const struct health_options *options, struct health_checks **ret_checks,
	       struct error *err)
{
	struct health_checks *all = calloc(1, sizeof(*all));

	if (!all)
		return error_set(err, -ENOMEM, "no memory for health checks");
	list_init(&all->unused);
	all->memory = &kernel->memory;
	all->apply = apply;
	all->workloads = workloads;
	all->options = *options;
	all->slots = calloc(kernel->memory.limits.endpoints, sizeof(*all->slots));
	if (!all->slots) {
		free(all);
		return error_set(err, -ENOMEM, "no memory for health checks");
	}
	if (runner_new(loop, offload, workloads, &(struct runner_inbound){ options->given_in, options->arg, kernel }, &all->runner) < 0) {
		health_free(all);
		return error_set(err, -ENOMEM, "no memory for health checks");
	}
	*ret_checks = all;
	return 0;
}

struct health_checks *health_free(struct health_checks *all)
{
	struct table_node *next;

	if (!all)
		return NULL;
	for (struct table_node *node = table_first(&all->checks); node; node = next) {
		next = table_next(&all->checks, node);
		table_remove(&all->checks, node);
		check_free(container_of(node, struct check, node));
	}
	table_done(&all->checks);
	for (size_t i = 0; i < all->target_count; i++)
		free(all->targets[i].slots);
	free(all->targets);
	buffer_done(&all->key);
	runner_free(all->runner);
	free(all->slots);
	free(all);
	return NULL;
}
