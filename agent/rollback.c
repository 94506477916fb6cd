/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/rollback.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "agent/configuration.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

struct waiter { /* for a plan with a change that was asked for */
	struct list link; /* of agent->waiters */
	agent_applied_fn *done;
	void *arg;
	bool compiled;
};

static bool is_held(const struct agent *agent)
{
	return history_held(agent->history)->generation != 0;
}

const struct resources *agent_in_force(const struct agent *agent)
{
	return is_held(agent) ? &agent->held : &agent->configuration.resources;
}

static void note_only(const struct resource *before, const struct resource *now, void *arg)
{
	struct agent *agent = arg;

	if (history_note(agent->history, before, now) < 0)
		log_error("out of memory: the history of changes has a gap");
	agent->noted = true;
}

static void note(struct agent *agent, const struct resource *before, const struct resource *now)
{
	note_only(before, now, agent);
	agent_resource_changed(agent, before, now);
}

static void held_changed(const struct resource *before, const struct resource *now, void *arg)
{
	note(arg, before, now);
}

void rollback_configured(struct agent *agent, const struct resource *before, const struct resource *now)
{
	if (!is_held(agent))
		note(agent, before, now);
}

/* --- who waits ---------------------------------------------------------------------------------------------------------------- */

static int waiter_add(struct agent *agent, agent_applied_fn *done, void *arg, struct error *err)
{
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter)
		return error_set(err, -ENOMEM, "out of memory");
	*waiter = (struct waiter){ .done = done, .arg = arg };
	list_append(&agent->waiters, &waiter->link);
	return 0;
}

/* Those whose change is in a plan, or those whose change is in none yet. */
static void waiters_tell(struct agent *agent, bool compiled, uint64_t generation, const struct error *err)
{
	list_for_each_safe(it, &agent->waiters) {
		struct waiter *waiter = container_of(it, struct waiter, link);

		if (waiter->compiled != compiled)
			continue;
		list_remove(&waiter->link);
		waiter->done(generation, err, waiter->arg);
		free(waiter);
	}
}

void rollback_compiled(struct agent *agent)
{
	agent->noted = false;
	list_for_each(it, &agent->waiters)
		container_of(it, struct waiter, link)->compiled = true;
}

void rollback_refused(struct agent *agent, const struct error *err)
{
	agent->noted = false;
	waiters_tell(agent, false, agent->configuration.generation, err);
}

void rollback_applied(struct agent *agent, uint64_t generation, const struct error *err)
{
	struct error why = {};

	if (agent->noted || !apply_is_settled(agent->apply))
		return; /* of a plan before the last change: there is another one to come */
	if (!err && history_generation(agent->history, generation, time_to_wall_ns(time_now_ns()), &why) < 0)
		log_error("the history of changes is not kept", LOG_F("generation", LOG_U64(generation)), LOG_F("error", LOG_STR(why.message)));
	waiters_tell(agent, true, generation, err);
}

/* --- holding ------------------------------------------------------------------------------------------------------------------ */

int rollback_start(struct agent *agent, struct error *err)
{
	size_t refused;
	int r = history_open(agent->state, &agent->history, &refused, err);

	if (r < 0)
		return r;
	if (refused)
		log_warn("part of the history of changes does not read, and is left out", LOG_F("generations", LOG_U64(refused)));
	if (!is_held(agent))
		return 0;
	r = history_held_resources(agent->history, &agent->held, err);
	if (r == 0)
		r = resources_check(&agent->held, err);
	if (r < 0)
		return r;
	log_warn("resources are held", LOG_F("generation", LOG_U64(history_held(agent->history)->generation)));
	resources_commit(&agent->held, note_only, agent); /* all is compiled once the configuration is read */
	return 0;
}

void rollback_stop(struct agent *agent)
{
	struct error err = {};

	if (agent->history) {
		error_set(&err, -ECANCELED, "weftd stops");
		rollback_compiled(agent);
		waiters_tell(agent, true, 0, &err);
	}
	agent->history = history_close(agent->history);
	resources_done(&agent->held);
}

struct comparison {
	const struct resources *with;
	void (*differ)(const struct resource *one, const struct resource *other, void *arg); /* `other`: of `with`, may be NULL */
	void *arg;
};

static int compare(const struct resource *one, void *arg)
{
	const struct comparison *comparison = arg;
	const struct resource *other = resources_get(comparison->with, one->full_name);

	if (!other || !resource_equal(one, other))
		comparison->differ(one, other, comparison->arg);
	return 0;
}

static void count_any(const struct resource *one __attribute__((unused)), const struct resource *other __attribute__((unused)), void *arg)
{
	++*(size_t *)arg;
}

static void count_missing(const struct resource *one __attribute__((unused)), const struct resource *other, void *arg)
{
	*(size_t *)arg += !other;
}

size_t agent_waiting(const struct agent *agent)
{
	const struct resources *configured = &agent->configuration.resources;
	size_t count = 0;

	if (is_held(agent)) {
		resources_each(configured, compare, &(struct comparison){ &agent->held, count_any, &count });
		resources_each(&agent->held, compare, &(struct comparison){ configured, count_missing, &count });
	}
	return count;
}

static int copy(const struct resource *resource, void *arg)
{
	return resources_put(arg, resource);
}

/* What is held from now on; it may be held already. Until it is committed nothing has changed. */
static int prepare(struct agent *agent, uint64_t generation, struct error *err)
{
	const struct history_hold hold = { generation, time_to_wall_ns(time_now_ns()) };
	int r = 0;

	if (!is_held(agent)) {
		r = resources_each(&agent->configuration.resources, copy, &agent->held);
		if (r < 0)
			return error_set(err, r, "out of memory");
		resources_commit(&agent->held, NULL, NULL);
	}
	r = history_undo(agent->history, generation, &agent->held, err);
	if (r == 0)
		r = resources_check(&agent->held, err);
	if (r == 0)
		r = history_hold(agent->history, &hold, &agent->held, err);
	return r;
}

int agent_rollback(struct agent *agent, uint64_t generation, agent_applied_fn *done, void *arg, struct error *err)
{
	const bool was_held = is_held(agent);
	const uint64_t from = was_held ? history_held(agent->history)->generation : history_newest(agent->history);
	int r;

	if (!generation && history_before(agent->history, from, &generation) < 0)
		return error_set(err, -ENOENT, "no resources before those of generation %" PRIu64 " are known", from);
	r = prepare(agent, generation, err);
	if (r == 0)
		r = waiter_add(agent, done, arg, err);
	if (r < 0) {
		resources_rollback(&agent->held);
		if (!was_held) {
			resources_done(&agent->held);
			resources_init(&agent->held);
		}
		return r;
	}
	log_warn("resources are held", LOG_F("generation", LOG_U64(generation)));
	history_because(agent->history, HISTORY_ROLLBACK, generation);
	resources_commit(&agent->held, held_changed, agent);
	agent_changed(agent);
	return 0;
}

static void note_configured(const struct resource *configured, const struct resource *held, void *arg)
{
	note(arg, held, configured);
}

static void note_gone(const struct resource *held, const struct resource *configured, void *arg)
{
	if (!configured)
		note(arg, held, NULL);
}

int agent_resume(struct agent *agent, agent_applied_fn *done, void *arg, struct error *err)
{
	const struct resources *configured = &agent->configuration.resources;
	int r;

	if (!is_held(agent))
		return error_set(err, -ENOENT, "nothing is held");
	r = history_release(agent->history, err);
	if (r == 0)
		r = waiter_add(agent, done, arg, err);
	if (r < 0)
		return r;
	log_info("resources are no longer held");
	history_because(agent->history, HISTORY_RESUME, 0);
	resources_each(configured, compare, &(struct comparison){ &agent->held, note_configured, agent });
	resources_each(&agent->held, compare, &(struct comparison){ configured, note_gone, agent });
	resources_done(&agent->held);
	resources_init(&agent->held);
	agent_changed(agent);
	return 0;
}
