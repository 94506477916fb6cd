/* SPDX-License-Identifier: Apache-2.0 */
/* Two activities share the offload thread, one job at a time: a plan is put in force on the loop, in one go, and waits
 * only when the ring or a table is full; grace periods, sweeps and readings of the accounts run behind it. A plan may be
 * put in force while any of them is under way. */
#include "apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/current.h"
#include "agent/compile/encode.h"
#include "agent/compile/name_entries.h"
#include "agent/compile/names.h"
#include "agent/compile/reconcile.h"
#include "agent/compile/slots.h"
#include "agent/compile/snapshot.h"
#include "agent/compile/totals.h"
#include "agent/compile/vip_entries.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/log.h"

/* When a table is full: how many generations are kept, first attempt first. After the last one the plan is refused. */
static const unsigned kept_when_full[] = { RING_DIRECTORIES / 4, 1 };

/* Each is a transaction; some 50 us on SQLite, so a sweep holds the loop for some 25 ms at most. The rest is left to the
 * next one. */
#define FOLDS_PER_SWEEP 500

#define READINGS_MAX 10 /* then counts that do not agree are left as they are */

enum waiting { /* what the next plan waits for, beyond the first sweep */
	WAITING_NOT,
	WAITING_GRACE,
	WAITING_SWEEP,
};

enum job_kind {
	JOB_GRACE,
	JOB_ACCOUNTS,
	JOB_READING,
};

/* Something that blocks. It owns what the offload thread uses, so that `apply` may go meanwhile. */
struct job {
	struct apply *apply; /* the loop's; NULL: freed */
	struct apply_kernel kernel;
	enum job_kind kind;
	int r;
	uint64_t ticket; /* JOB_GRACE */
	bool for_sweep;
	struct account *accounts; /* JOB_ACCOUNTS */
	size_t account_count, account_capacity;
	struct reading *reading; /* JOB_READING */
};

struct apply {
	struct loop *loop;
	struct offload *offload;
	struct state *state;
	struct apply_kernel kernel;
	apply_done_fn *done;
	void *arg;

	struct generations *generations;
	struct names *names;
	struct slots *slots;
	struct vip_entries *vip_entries;
	struct name_entries *name_entries;
	struct encoder encoder; /* of the above */
	bool *held; /* ids that apply_node_id() has given out */

	struct in_force *now; /* without a plan at first */
	struct plan *next;
	enum waiting waiting;
	bool array_full; /* what the plan at hand was refused for */
	uint32_t services_wanted;
	size_t squeezes; /* how often the ring was trimmed for the plan that waits */

	struct loop_timer *advance; /* runs advance() in the next turn */
	struct job *job;
	bool adopted; /* the first sweep has ended */
	bool sweep_wanted;
	bool sweep_graced; /* the grace period that a sweep begins with has passed */
	unsigned commits; /* since the last sweep */
	size_t folds; /* in this sweep */
	bool folds_left;

	struct reconcile *reconcile; /* NULL: done */
	unsigned readings;
};

static void advance_soon(struct apply *a)
{
	loop_timer_arm(a->advance, 0);
}

/* --- what is in force ------------------------------------------------------------------------------------------------------ */

static struct in_force *in_force_new(void)
{
	struct in_force *held = calloc(1, sizeof(*held));

	if (held)
		held->holders = 1;
	return held;
}

struct in_force *in_force_unref(struct in_force *held)
{
	if (!held || --held->holders)
		return NULL;
	planned_done(&held->planned);
	free(held);
	return NULL;
}

static void cleanup_in_force(struct in_force **held)
{
	in_force_unref(*held);
}

/* --- a plan is put in force -------------------------------------------------------------------------------------------- */

static bool is_vip(const struct ip *vip)
{
	return vip->halves[0] || vip->halves[1];
}

static int set_vip(struct apply *a, const struct ip *vip, uint32_t service, struct error *err)
{
	return is_vip(vip) ? vip_entries_set(a->vip_entries, vip, service, err) : 0;
}

static int set_vips_of(struct apply *a, const struct plan_service *service, uint32_t id, struct error *err)
{
	int r = set_vip(a, &service->vip4, id, err);

	return r < 0 ? r : set_vip(a, &service->vip6, id, err);
}

static void drop_vips_of(struct apply *a, const struct plan_service *service, uint32_t id, uint64_t last)
{
	vip_entries_drop(a->vip_entries, &service->vip4, id, last);
	vip_entries_drop(a->vip_entries, &service->vip6, id, last);
}

static bool same_vips(const struct plan_service *a, const struct plan_service *b)
{
	return memcmp(&a->vip4, &b->vip4, sizeof(a->vip4)) == 0 && memcmp(&a->vip6, &b->vip6, sizeof(a->vip6)) == 0;
}

static const struct placed *placed_services(const struct encoding *e, size_t *ret_count)
{
	*ret_count = e->placed_count[OBJECT_SERVICE];
	return e->placed[OBJECT_SERVICE];
}

static int set_vips(struct apply *a, const struct encoding *e, struct error *err)
{
	size_t count;
	const struct placed *placed = placed_services(e, &count);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < count; i++) {
		const struct plan_service *now = e->now.plan->services[placed[i].place];

		if (placed[i].was == PLAN_NONE || !same_vips(now, a->now->planned.plan->services[placed[i].was]))
			r = set_vips_of(a, now, placed[i].id, err);
	}
	return r;
}

static void set_again(struct apply *a, const struct plan_service *service, uint32_t id)
{
	struct error err;

	if (set_vips_of(a, service, id, &err) < 0)
		log_warn("a VIP was not put back", LOG_F("service", LOG_STR(service->name)), LOG_F("error", LOG_STR(err.message)));
}

/* What the plan before had and this one has not is wanted by no generation after `last`. */
static void drop_old_vips(struct apply *a, const struct encoding *e, uint64_t last)
{
	const struct planned *before = &a->now->planned;
	bool any = e->gone_count > 0;
	size_t count;
	const struct placed *placed = placed_services(e, &count);

	for (size_t i = 0; i < e->gone_count; i++)
		drop_vips_of(a, before->plan->services[e->gone[i]], before->ids[OBJECT_SERVICE][e->gone[i]], last);
	for (size_t i = 0; i < count; i++) {
		const struct plan_service *was = placed[i].was == PLAN_NONE ? NULL : before->plan->services[placed[i].was];

		if (!was || same_vips(e->now.plan->services[placed[i].place], was))
			continue;
		drop_vips_of(a, was, placed[i].id, last);
		any = true;
	}
	for (size_t i = 0; any && i < count; i++)
		set_again(a, e->now.plan->services[placed[i].place], placed[i].id);
}

/* Instead of it, after a failure. */
static void drop_new_vips(struct apply *a, const struct encoding *e, uint64_t last)
{
	const struct planned *before = &a->now->planned;
	size_t count;
	const struct placed *placed = placed_services(e, &count);

	for (size_t i = 0; i < count; i++)
		drop_vips_of(a, e->now.plan->services[placed[i].place], placed[i].id, last);
	for (size_t i = 0; i < count; i++)
		if (placed[i].was != PLAN_NONE)
			set_again(a, before->plan->services[placed[i].was], placed[i].id);
	for (size_t i = 0; i < e->gone_count; i++)
		set_again(a, before->plan->services[e->gone[i]], before->ids[OBJECT_SERVICE][e->gone[i]]);
}

static int publish(struct apply *a, const struct encoding *e, struct error *err)
{
	uint64_t generation;
	int r = names_save(a->names, err);

	if (r >= 0)
		r = set_vips(a, e, err);
	if (r >= 0)
		r = name_entries_enter(a->name_entries, &e->now, &a->now->planned, err);
	if (r < 0)
		return r;
	encoding_publish(&a->encoder, e);
	if (!e->change_count && !e->l7_differs)
		return 0;
	r = generations_commit(a->generations, e->changes, e->change_count, &generation);
	if (r < 0)
		return r; /* -EAGAIN */
	a->commits++;
	return 0;
}

/* Once for each, while it is so. */
static void warn_of_twins(const struct apply *a, const struct encoding *e)
{
	size_t count;
	const struct placed *placed = placed_services(e, &count);

	for (size_t i = 0; i < count; i++) {
		const struct plan_service *now = e->now.plan->services[placed[i].place];

		if (now->twin && (placed[i].was == PLAN_NONE || !a->now->planned.plan->services[placed[i].was]->twin))
			log_warn("a service cannot be asked for by DNS: its name is another one's to a resolver",
				 LOG_F("service", LOG_STR(now->name)), LOG_F("other", LOG_STR(now->twin)));
	}
}

static void replace_now(struct apply *a, struct in_force *now, struct encoding *e)
{
	now->generation = generations_current(a->generations);
	now->planned = e->now;
	e->now = (struct planned){};
	in_force_unref(a->now);
	a->now = now;
}

static int put_in_force(struct apply *a, struct plan *plan, struct error *err)
{
	const uint64_t last = generations_current(a->generations);
	_cleanup_(encoding_done) struct encoding e = {};
	_cleanup_(cleanup_in_force) struct in_force *now = in_force_new();
	int r = now ? encode(&a->encoder, &a->now->planned, plan, &e, err) : error_set(err, -ENOMEM, "no memory to apply plans");

	a->array_full = r == -ENOSPC;
	if (r >= 0) {
		r = publish(a, &e, err);
		if (r < 0) {
			name_entries_restore(a->name_entries, &e.now, &a->now->planned);
			drop_new_vips(a, &e, last);
		} else {
			name_entries_leave(a->name_entries, &a->now->planned, &e.now);
			drop_old_vips(a, &e, last);
			warn_of_twins(a, &e);
		}
	}
	if (r < 0) {
		generations_abandon(a->generations);
		return r;
	}
	replace_now(a, TAKE_PTR(now), &e);
	return 0;
}

static void report(struct apply *a, struct plan *refused, const struct error *err)
{
	a->services_wanted = refused && a->array_full ? plan_services(refused) : 0;
	plan_free(refused);
	a->waiting = WAITING_NOT;
	a->squeezes = 0;
	a->done(generations_current(a->generations), err, a->arg);
}

static void decide_next(struct apply *a)
{
	struct plan *plan = TAKE_PTR(a->next);
	struct error err = {};
	int r = put_in_force(a, plan, &err);

	if (r >= 0) {
		report(a, NULL, NULL);
		return;
	}
	if (r == -EAGAIN) {
		a->waiting = WAITING_GRACE;
	} else if (r == -ENOSPC && a->squeezes < ARRAY_SIZE(kept_when_full)) {
		generations_trim(a->generations, kept_when_full[a->squeezes++]);
		a->sweep_wanted = true;
		a->waiting = WAITING_SWEEP;
	} else {
		report(a, plan, &err);
		return;
	}
	a->next = plan;
}

/* --- jobs -------------------------------------------------------------------------------------------------------------- */

static struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;
	free(job->accounts);
	reading_free(job->reading);
	free(job);
	return NULL;
}

static void cleanup_job(struct job **job)
{
	job_free(*job);
}

static int copy_account(const struct account *account, void *arg)
{
	struct job *job = arg;

	if (job->account_count == job->account_capacity) {
		const size_t capacity = job->account_capacity ? 2 * job->account_capacity : 1024;
		struct account *accounts = realloc(job->accounts, capacity * sizeof(*accounts));

		if (!accounts)
			return -ENOMEM;
		job->accounts = accounts;
		job->account_capacity = capacity;
	}
	job->accounts[job->account_count++] = *account;
	return 0;
}

/* On the offload thread. */
static void job_work(void *arg)
{
	struct job *job = arg;
	const struct apply_kernel *kernel = &job->kernel;

	switch (job->kind) {
	case JOB_GRACE:
		job->r = kernel->grace_wait(kernel->arg);
		return;
	case JOB_ACCOUNTS:
		job->r = kernel->account_each(kernel->arg, copy_account, job);
		return;
	case JOB_READING:
		job->r = reading_take(kernel, &job->reading);
		return;
	}
}

static void advance(struct apply *a);
static void job_done(void *arg);

/* Without what the job is for no plan can be decided that waits for it. */
static void job_failed(struct apply *a, enum job_kind kind, int r)
{
	static const char *const what[] = {
		[JOB_GRACE] = "cannot wait for running programs of the kernel to end",
		[JOB_ACCOUNTS] = "cannot read which connections are open",
		[JOB_READING] = "cannot compare open counts with open connections",
	};
	struct error err = {};

	error_set(&err, r, "%s: %s", what[kind], strerror(-r));
	if (kind == JOB_READING)
		a->reconcile = reconcile_free(a->reconcile);
	else
		a->sweep_wanted = a->sweep_graced = false;
	if (kind != JOB_READING && a->next && (a->waiting != WAITING_NOT || !a->adopted))
		report(a, TAKE_PTR(a->next), &err);
	else
		log_warn(what[kind], LOG_F("error", LOG_STR(strerror(-r))));
}

static void job_start(struct apply *a, enum job_kind kind)
{
	struct job *job = calloc(1, sizeof(*job));
	int r = -ENOMEM;

	if (job) {
		*job = (struct job){ .apply = a, .kernel = a->kernel, .kind = kind, .for_sweep = a->sweep_wanted };
		if (kind == JOB_GRACE)
			job->ticket = generations_grace_begin(a->generations);
		r = offload_submit(a->offload, job_work, job_done, job);
	}
	if (r < 0) {
		free(job);
		a->encoder.sweeping = false;
		job_failed(a, kind, r);
		return;
	}
	a->job = job;
}

static void grace_has_passed(struct apply *a, const struct job *job)
{
	generations_grace_end(a->generations, job->ticket);
	a->sweep_graced = job->for_sweep;
	if (a->waiting == WAITING_GRACE)
		a->waiting = WAITING_NOT;
}

static int row_retired(uint32_t row_index, const struct row *row, void *arg)
{
	struct apply *a = arg;
	int r;

	if (a->folds == FOLDS_PER_SWEEP) {
		a->folds_left = true;
		return -EAGAIN;
	}
	r = totals_fold(a->state, a->names, row_index, row);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "the counts of a row could not be saved: it is kept", LOG_F("error", LOG_STR(strerror(-r))));
		return r;
	}
	a->folds += (size_t)r;
	encoder_row_retired(&a->encoder, row);
	return 0;
}

static void sweep(struct apply *a, const struct job *job)
{
	a->folds = 0;
	a->folds_left = false;
	for (size_t i = 0; i < job->account_count; i++)
		generations_sweep_account(a->generations, &job->accounts[i]);
	generations_sweep_end(a->generations, row_retired, a);
	vip_entries_sweep(a->vip_entries, generations_oldest(a->generations));
	a->sweep_wanted = a->folds_left;
	a->commits = 0;
	a->adopted = true;
	if (a->waiting == WAITING_SWEEP)
		a->waiting = WAITING_NOT;
}

static void reading_was_taken(struct apply *a, const struct job *job)
{
	const size_t left = reconcile_add(a->reconcile, job->reading);
	const size_t corrected = reconcile_corrected(a->reconcile);

	if (left && ++a->readings < READINGS_MAX)
		return;
	if (corrected || left)
		log_warn("open counts differed from the open connections", LOG_F("corrected", LOG_U64(corrected)),
			 LOG_F("undecided", LOG_U64(left)));
	a->reconcile = reconcile_free(a->reconcile);
}

/* On the loop. */
static void job_done(void *arg)
{
	static void (*const done[])(struct apply *a, const struct job *job) = {
		[JOB_GRACE] = grace_has_passed,
		[JOB_ACCOUNTS] = sweep,
		[JOB_READING] = reading_was_taken,
	};
	_cleanup_(cleanup_job) struct job *job = arg;
	struct apply *a = job->apply;

	if (!a)
		return;
	a->job = NULL;
	if (job->kind == JOB_ACCOUNTS)
		a->encoder.sweeping = false;
	if (job->r < 0)
		job_failed(a, job->kind, job->r);
	else
		done[job->kind](a, job);
	advance(a);
}

/* --- what comes next --------------------------------------------------------------------------------------------------- */

/* Half of the ring is worth a look when a table is getting full. */
static bool is_crowded(const struct apply *a)
{
	return a->commits >= RING_DIRECTORIES / 2 && generations_are_crowded(a->generations);
}

static void sweep_step(struct apply *a)
{
	if (a->sweep_graced) {
		a->sweep_graced = false;
		if (generations_sweep_begin(a->generations) >= 0) {
			a->encoder.sweeping = true;
			job_start(a, JOB_ACCOUNTS);
			return;
		}
	} /* or the ring was trimmed since */
	job_start(a, JOB_GRACE);
}

static void advance(struct apply *a)
{
	if (a->next && a->adopted && a->waiting == WAITING_NOT)
		decide_next(a);
	if (is_crowded(a))
		a->sweep_wanted = true;
	if (a->job)
		return;
	if (a->sweep_wanted)
		sweep_step(a);
	else if (a->waiting == WAITING_GRACE || generations_needs_grace(a->generations))
		job_start(a, JOB_GRACE);
	else if (a->adopted && a->reconcile)
		job_start(a, JOB_READING);
}

static void advance_timer(struct loop_timer *timer __attribute__((unused)), void *arg)
{
	advance(arg);
}

void apply_plan(struct apply *a, struct plan *plan)
{
	plan_free(a->next);
	a->next = plan;
	if (!a->adopted)
		a->sweep_wanted = true; /* also where the first one failed */
	advance_soon(a);
}

/* --- start and end ----------------------------------------------------------------------------------------------------- */

static void cleanup_apply(struct apply **a)
{
	apply_free(*a);
}

int apply_new_with(struct loop *loop, struct offload *offload, const struct apply_kernel *kernel, struct state *state,
		   apply_done_fn *done, void *arg, struct apply **ret_apply, struct error *err)
{
	_cleanup_(cleanup_apply) struct apply *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_set(err, -ENOMEM, "no memory to apply plans");
	a->loop = loop;
	a->offload = offload;
	a->state = state;
	a->kernel = *kernel;
	a->done = done;
	a->arg = arg;
	a->sweep_wanted = true;
	a->held = calloc(kernel->memory->limits.objects, sizeof(*a->held));
	a->now = in_force_new();
	if (!a->held || !a->now)
		return error_set(err, -ENOMEM, "no memory to apply plans");
	r = generations_new(kernel->memory, &a->generations, err);
	if (r >= 0)
		r = names_new(a->generations, kernel->memory, state, &a->names, err);
	if (r >= 0)
		r = vip_entries_new(&a->kernel, a->generations, &a->vip_entries, err);
	if (r >= 0)
		r = name_entries_new(&a->kernel, a->generations, &a->name_entries, err);
	if (r < 0)
		return r;
	if (slots_new(kernel->memory, &a->slots) < 0 || reconcile_new(kernel->memory, a->slots, &a->reconcile) < 0 ||
	    loop_timer_new(loop, advance_timer, a, &a->advance) < 0)
		return error_set(err, -ENOMEM, "no memory to apply plans");
	a->encoder = (struct encoder){
		.generations = a->generations, .memory = kernel->memory, .names = a->names, .slots = a->slots
	};
	encoder_adopt_rows(&a->encoder);
	encoder_adopt_slots(&a->encoder);
	advance_soon(a);
	*ret_apply = TAKE_PTR(a);
	return 0;
}

struct apply *apply_free(struct apply *a)
{
	if (!a)
		return NULL;
	if (a->job)
		a->job->apply = NULL;
	a->advance = loop_timer_free(a->advance);
	plan_free(a->next);
	in_force_unref(a->now);
	reconcile_free(a->reconcile);
	slots_free(a->slots);
	name_entries_free(a->name_entries);
	vip_entries_free(a->vip_entries);
	names_free(a->names);
	generations_free(a->generations);
	free(a->held);
	free(a);
	return NULL;
}

static int real_vip_set(void *arg, const struct ip *vip, uint32_t service)
{
	return kernel_vip_set(arg, vip, service);
}

static int real_vip_remove(void *arg, const struct ip *vip)
{
	return kernel_vip_remove(arg, vip);
}

static int real_vip_each(void *arg, kernel_vip_fn *fn, void *fn_arg)
{
	return kernel_vip_each(arg, fn, fn_arg);
}

static int real_name_set(void *arg, const struct name_key *key, const struct name_entry *entry)
{
	return kernel_name_set(arg, key, entry);
}

static int real_name_remove(void *arg, const struct name_key *key)
{
	return kernel_name_remove(arg, key);
}

static int real_name_each(void *arg, kernel_name_fn *fn, void *fn_arg)
{
	return kernel_name_each(arg, fn, fn_arg);
}

static int real_account_each(void *arg, kernel_account_fn *fn, void *fn_arg)
{
	return kernel_account_each(arg, fn, fn_arg);
}

static int real_grace_wait(void *arg __attribute__((unused)))
{
	return grace_wait();
}

int apply_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct state *state, apply_done_fn *done,
	      void *arg, struct apply **ret_apply, struct error *err)
{
	const struct apply_kernel real = {
		.memory = &kernel->memory,
		.vip_set = real_vip_set,
		.vip_remove = real_vip_remove,
		.vip_each = real_vip_each,
		.name_set = real_name_set,
		.name_remove = real_name_remove,
		.name_each = real_name_each,
		.account_each = real_account_each,
		.grace_wait = real_grace_wait,
		.arg = kernel,
	};

	return apply_new_with(loop, offload, &real, state, done, arg, ret_apply, err);
}

/* --- questions --------------------------------------------------------------------------------------------------------- */

uint32_t apply_services_wanted(const struct apply *a)
{
	return a->services_wanted;
}

bool apply_is_settled(const struct apply *a)
{
	return !a->next;
}

const struct plan *apply_current(const struct apply *a)
{
	return a->now->planned.plan;
}

struct in_force *apply_in_force(const struct apply *a)
{
	if (!a->now->planned.plan)
		return NULL;
	a->now->holders++;
	return a->now;
}

uint64_t in_force_generation(const struct in_force *held)
{
	return held->generation;
}

static const struct target_record *target_in_force(uint32_t id, void *arg)
{
	const struct apply *a = arg;

	return current_target(&a->encoder, id);
}

int apply_snapshot(const struct apply *a, const struct in_force *before, struct buffer *text)
{
	return snapshot_write(
		&(struct snapshot_sides){
			.before = before ? &before->planned : NULL,
			.now = &a->now->planned,
			.refs = a->encoder.memory->refs,
			.target = target_in_force,
			.arg = (void *)a,
		},
		text);
}

struct generations *apply_generations(struct apply *a)
{
	return a->generations;
}

const char *apply_object_name(struct apply *a, uint32_t object_id)
{
	return names_get(a->names, object_id);
}

size_t apply_misnamed(const struct apply *a)
{
	return names_misnamed(a->names);
}

uint32_t apply_object_id(const struct apply *a, enum object_kind kind, const char *name)
{
	return names_id(a->names, kind, name);
}

uint32_t apply_node_id(struct apply *a, const char *node)
{
	struct error err = {};
	uint32_t id = 0;
	int r = names_make(a->names, OBJECT_NODE, node, &id);

	if (r < 0)
		error_set(&err, r, "no id: %s", strerror(-r));
	else
		r = names_save(a->names, &err);
	if (r < 0) {
		log_warn("a virtual node's workloads are not recognised", LOG_F("node", LOG_STR(node)),
			 LOG_F("error", LOG_STR(err.message)));
		return 0;
	}
	if (!a->held[id])
		generations_id_hold(a->generations, id);
	a->held[id] = true;
	return id;
}

bool apply_slot_endpoint(const struct apply *a, uint32_t slot, struct ip *ret_address, __be16 *ret_port)
{
	const struct slot_identity *identity = slots_get(a->slots, slot);

	if (!identity)
		return false;
	*ret_address = identity->address;
	*ret_port = identity->port;
	return true;
}

int64_t apply_endpoint_slot(const struct apply *a, const struct plan_target *target, const struct plan_endpoint *endpoint)
{
	return slots_find(a->slots, &(struct slot_identity){ endpoint->address, hash_string(target->node), endpoint->netns_cookie,
							     endpoint->port });
}

int apply_totals_each(struct apply *a, apply_total_fn *fn, void *arg)
{
	return totals_each(a->state, fn, arg);
}
