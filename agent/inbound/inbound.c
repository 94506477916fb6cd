/* SPDX-License-Identifier: Apache-2.0 */
/* Entries are written on the loop, at once; one job at a time then attaches, detaches, counts what was there before a limit, waits until nobody
 * uses places that were given up, and the first one corrects counts. */
#include "agent/inbound/inbound.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/inbound/count.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"
#include "loader/lookup.h"
#include "maps/generation.h"
#include "maps/intercept.h"
#include "maps/serving.h"

#define RETRY_NS NSEC_PER_SEC
#define NO_PLACE UINT32_MAX

enum place_use {
	PLACE_FREE,
	PLACE_USED,
	PLACE_LEFT, /* no entry leads there any more; a program that runs may still use it */
	PLACE_CLEARED, /* the same, and the job at hand waits for such programs */
};

struct entry {
	struct serving_key key;
	char *target; /* NULL: of an earlier agent, not planned yet */
	uint32_t max_connections; /* planned; 0: no limit */
	bool proxied; /* planned: weft-proxy's */
	uint32_t place; /* of its limit; NO_PLACE: it has none, or none is free yet */
	bool given; /* to weft-proxy, by the kernel, as: */
	struct intercept intercept;
};

struct netns_state {
	uint64_t cookie;
	bool attached;
	bool counted; /* what was open when the last limit there came */
	bool uncounted; /* some of it could not be */
	char trouble[128]; /* "": none */
};

struct job_step {
	uint64_t cookie;
	int netns_fd; /* -1: detach */
	bool attach, count;
	int r, count_r;
	struct earlier_count earlier;
	struct error err;
};

/* Outlives its inbound while it is under way. */
struct job {
	struct inbound *inbound; /* the loop's; NULL: freed */
	struct kernel *kernel;
	char pin_path[160];
	bool first;
	int r;
	int corrected;
	size_t step_count;
	struct job_step *steps;
	size_t keep_count; /* of the first job: the namespaces that are wanted */
	uint64_t *keep;
};

struct inbound {
	struct offload *offload;
	struct kernel *kernel;
	struct apply *apply;
	const struct workloads *workloads;
	struct inbound_options options;
	char pin_path[160];
	struct loop_timer *retry;
	size_t entry_count, namespace_count;
	struct entry *entries; /* in the order of plan->servings */
	struct netns_state *namespaces; /* in order of cookie */
	uint8_t uses[MAX_SERVINGS]; /* enum place_use */
	struct job *job;
	bool changed; /* since the job at hand was made */
	bool begun; /* the first job was made */
};

/* --- entries ------------------------------------------------------------------------------------------------------------------ */

static int key_order(const struct serving_key *a, const struct serving_key *b)
{
	int order;

	if (a->netns_cookie != b->netns_cookie)
		return a->netns_cookie < b->netns_cookie ? -1 : 1;
	order = memcmp(&a->address, &b->address, sizeof(a->address));
	return order ? order : (int)ntohs(a->port) - (int)ntohs(b->port);
}

static int entry_order(const void *a, const void *b)
{
	return key_order(&((const struct entry *)a)->key, &((const struct entry *)b)->key);
}

static struct netns_state *namespace_find(const struct inbound *in, uint64_t cookie)
{
	for (size_t i = 0; i < in->namespace_count; i++)
		if (in->namespaces[i].cookie == cookie)
			return &in->namespaces[i];
	return NULL;
}

static uint32_t place_find(const struct inbound *in)
{
	for (uint32_t i = 0; i < MAX_SERVINGS; i++)
		if (in->uses[i] == PLACE_FREE)
			return i;
	return NO_PLACE;
}

static void place_set(struct inbound *in, uint32_t place, const struct plan_serving *planned)
{
	struct serving *serving = &in->kernel->servings[place];

	__atomic_store_n(&serving->max_connections, planned->max_connections, __ATOMIC_RELAXED);
	__atomic_store_n(&serving->node, in->options.node_id(planned->node, in->options.arg), __ATOMIC_RELAXED);
}

static void place_leave(struct inbound *in, struct entry *entry)
{
	if (entry->place == NO_PLACE)
		return;
	serving_remove(in->kernel, &entry->key);
	in->uses[entry->place] = PLACE_LEFT;
	entry->place = NO_PLACE;
}

/* Opens a place, and only then leads there. */
static int place_take(struct inbound *in, const struct plan_serving *planned, const struct serving_key *key, uint32_t *ret_place)
{
	const uint32_t place = place_find(in);
	struct serving *serving = place == NO_PLACE ? NULL : &in->kernel->servings[place];
	struct netns_state *state = namespace_find(in, key->netns_cookie);
	int r;

	if (!serving)
		return -ENOSPC;
	*serving = (struct serving){ .incarnation = serving->incarnation };
	place_set(in, place, planned);
	__atomic_store_n(&serving->incarnation, serving->incarnation + 1, __ATOMIC_RELEASE);
	in->uses[place] = PLACE_USED;
	r = serving_set(in->kernel, key, place);
	if (r < 0) {
		in->uses[place] = PLACE_LEFT;
		return r;
	}
	if (state)
		state->counted = false;
	*ret_place = place;
	return 0;
}

/* To weft-proxy. */
static int give(struct inbound *in, struct entry *entry, const struct plan_serving *planned)
{
	const struct intercept intercept = { .node = in->options.node_id(planned->node, in->options.arg), .listener = planned->listener };
	int r;

	if (entry->given && memcmp(&entry->intercept, &intercept, sizeof(intercept)) == 0)
		return 0;
	r = intercept_set(in->kernel, &entry->key, &intercept);
	if (r < 0)
		return r;
	entry->given = true;
	entry->intercept = intercept;
	return 0;
}

static void take_back(struct inbound *in, struct entry *entry)
{
	if (entry->given)
		intercept_remove(in->kernel, &entry->key);
	entry->given = false;
}

static void entry_leave(struct inbound *in, struct entry *entry)
{
	take_back(in, entry);
	place_leave(in, entry);
	free(entry->target);
}

static int limit(struct inbound *in, struct entry *entry, const struct plan_serving *planned, bool changed)
{
	int r = 0;

	if (entry->place == NO_PLACE)
		r = place_take(in, planned, &entry->key, &entry->place);
	else if (changed)
		place_set(in, entry->place, planned);
	take_back(in, entry);
	return r;
}

static int leave_to_proxy(struct inbound *in, struct entry *entry, const struct plan_serving *planned, bool changed)
{
	int r = 0;

	if (entry->given ? changed : in->options.proxy_serves(entry->key.netns_cookie, in->options.arg))
		r = give(in, entry, planned);
	if (entry->given)
		place_leave(in, entry);
	return r;
}

static void entry_plan(struct inbound *in, struct entry *entry, const struct plan_serving *planned)
{
	const bool changed = !entry->target || strcmp(entry->target, planned->target) != 0 ||
			     entry->max_connections != planned->max_connections;
	char *target = changed ? strdup(planned->target) : NULL;
	int r = planned->proxied ? leave_to_proxy(in, entry, planned, changed) : limit(in, entry, planned, changed);

	if (r < 0)
		log_limited(LOG_LEVEL_ERROR, "a listener cannot be put into the kernel", LOG_F("target", LOG_STR(planned->target)),
			    LOG_F("error", LOG_STR(strerror(-r))));
	if (target) {
		free(entry->target);
		entry->target = target;
	}
	entry->max_connections = planned->max_connections;
	entry->proxied = planned->proxied;
}

/* Both are in order. */
static int entries_merge(struct inbound *in, const struct plan *plan)
{
	struct entry *merged = calloc(plan->serving_count + 1, sizeof(*merged));
	size_t old = 0;

	if (!merged)
		return -ENOMEM;
	for (size_t i = 0; i < plan->serving_count; i++) {
		const struct plan_serving *planned = &plan->servings[i];
		const struct serving_key key = { planned->netns_cookie, planned->address, planned->port, {} };

		while (old < in->entry_count && key_order(&in->entries[old].key, &key) < 0)
			entry_leave(in, &in->entries[old++]);
		merged[i] = (struct entry){ .key = key, .place = NO_PLACE };
		if (old < in->entry_count && key_order(&in->entries[old].key, &key) == 0)
			merged[i] = in->entries[old++];
		entry_plan(in, &merged[i], planned);
	}
	while (old < in->entry_count)
		entry_leave(in, &in->entries[old++]);
	free(in->entries);
	in->entries = merged;
	in->entry_count = plan->serving_count;
	return 0;
}

/* Those of the entries. What is known of them is kept. */
static int namespaces_list(struct inbound *in, struct netns_state **ret_states, size_t *ret_count)
{
	struct netns_state *states = calloc(in->entry_count + 1, sizeof(*states));
	size_t count = 0;

	if (!states)
		return -ENOMEM;
	for (size_t i = 0; i < in->entry_count; i++) {
		const uint64_t cookie = in->entries[i].key.netns_cookie;
		const struct netns_state *known = namespace_find(in, cookie);

		if (count && states[count - 1].cookie == cookie)
			continue;
		states[count++] = known ? *known : (struct netns_state){ .cookie = cookie };
	}
	*ret_states = states;
	*ret_count = count;
	return 0;
}

/* --- on the offload thread ---------------------------------------------------------------------------------------------------- */

static int drop_unwanted(uint64_t cookie, void *arg)
{
	const struct job *job = arg;

	for (size_t i = 0; i < job->keep_count; i++)
		if (job->keep[i] == cookie)
			return 0;
	lookup_detach(job->pin_path, cookie);
	return 0;
}

static void job_work(void *arg)
{
	struct job *job = arg;

	if (job->first)
		lookup_each(job->pin_path, drop_unwanted, job);
	for (size_t i = 0; i < job->step_count; i++) {
		struct job_step *step = &job->steps[i];

		if (step->netns_fd < 0)
			lookup_detach(job->pin_path, step->cookie);
		else if (step->attach && !lookup_attached(job->pin_path, step->cookie))
			step->r = lookup_attach(job->pin_path, step->cookie, step->netns_fd, &step->err);
		if (step->count)
			step->count_r = inbound_count_earlier(job->kernel, step->netns_fd, &step->earlier);
	}
	job->r = grace_wait();
	if (job->first && job->r >= 0)
		job->corrected = inbound_count_correct(job->kernel, grace_wait);
}

/* --- on the loop ---------------------------------------------------------------------------------------------------------------- */

static struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;
	for (size_t i = 0; i < job->step_count; i++)
		fd_close(job->steps[i].netns_fd);
	free(job->steps);
	free(job->keep);
	free(job);
	return NULL;
}

static bool any_place(const struct inbound *in, enum place_use use)
{
	return memchr(in->uses, use, sizeof(in->uses)) != NULL;
}

static void places_turn(struct inbound *in, enum place_use from, enum place_use to)
{
	for (uint32_t i = 0; i < MAX_SERVINGS; i++)
		if (in->uses[i] == from)
			in->uses[i] = to;
}

/* Incarnations are raised last: until then what still runs counts where it began to. */
static void places_free(struct inbound *in)
{
	for (uint32_t i = 0; i < MAX_SERVINGS; i++)
		if (in->uses[i] == PLACE_CLEARED) {
			__atomic_fetch_add(&in->kernel->servings[i].incarnation, 1, __ATOMIC_RELEASE);
			in->uses[i] = PLACE_FREE;
		}
}

static void attach_done(struct inbound *in, struct netns_state *state, const struct job_step *step)
{
	char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];

	state->attached = step->r >= 0;
	state->trouble[0] = '\0';
	if (step->r >= 0)
		return;
	snprintf(state->trouble, sizeof(state->trouble), "%s", error_text(&step->err, text, sizeof(text)));
	log_limited(LOG_LEVEL_WARN, "listeners of a namespace are neither limited nor served by weft-proxy",
		    LOG_F("netns_cookie", LOG_U64(step->cookie)), LOG_F("error", LOG_STR(state->trouble)));
	loop_timer_arm(in->retry, time_now_ns() + RETRY_NS);
}

static void count_done(struct inbound *in, struct netns_state *state, const struct job_step *step)
{
	state->counted = step->count_r >= 0 || step->count_r == -EOPNOTSUPP;
	state->uncounted = step->count_r == -EOPNOTSUPP || step->earlier.uncountable > 0;
	if (step->earlier.counted)
		log_info("connections from before a limit are counted in it", LOG_F("netns_cookie", LOG_U64(step->cookie)),
			 LOG_F("connections", LOG_U64(step->earlier.counted)));
	if (state->counted)
		return;
	log_limited(LOG_LEVEL_WARN, "connections from before a limit cannot be counted", LOG_F("netns_cookie", LOG_U64(step->cookie)),
		    LOG_F("error", LOG_STR(strerror(-step->count_r))));
	loop_timer_arm(in->retry, time_now_ns() + RETRY_NS);
}

static void step_done(struct inbound *in, const struct job_step *step)
{
	struct netns_state *state = namespace_find(in, step->cookie);

	if (!state || step->netns_fd < 0)
		return;
	if (step->attach)
		attach_done(in, state, step);
	if (step->count)
		count_done(in, state, step);
}

static void job_done(void *arg)
{
	struct job *job = arg;
	struct inbound *in = job->inbound;

	if (!in) {
		job_free(job);
		return;
	}
	for (size_t i = 0; i < job->step_count; i++)
		step_done(in, &job->steps[i]);
	if (job->r < 0 || job->corrected < 0)
		log_limited(LOG_LEVEL_WARN, "cannot wait for programs that run", LOG_F("error", LOG_STR(strerror(-MIN(job->r, job->corrected)))));
	else
		places_free(in);
	if (job->corrected > 0)
		log_warn("open counts of listeners were wrong, and are corrected", LOG_F("listeners", LOG_U64((uint64_t)job->corrected)));
	places_turn(in, PLACE_CLEARED, PLACE_LEFT);
	in->job = job_free(job);
	for (size_t i = 0; i < in->entry_count; i++)
		in->changed |= in->entries[i].max_connections && in->entries[i].place == NO_PLACE; /* one may be free now */
	if (in->changed)
		inbound_sync(in);
}

/* Takes netns_fd, also on failure. */
static int job_add(struct job *job, const struct job_step *step)
{
	struct job_step *grown = reallocarray(job->steps, job->step_count + 1, sizeof(*grown));

	if (!grown) {
		fd_close(step->netns_fd);
		return -ENOMEM;
	}
	job->steps = grown;
	job->steps[job->step_count++] = *step;
	return 0;
}

static bool is_limited(const struct inbound *in, uint64_t netns_cookie)
{
	for (size_t i = 0; i < in->entry_count; i++)
		if (in->entries[i].key.netns_cookie == netns_cookie && in->entries[i].place != NO_PLACE)
			return true;
	return false;
}

/* What is to be done in a namespace, if anything. */
static int job_add_place(struct inbound *in, struct job *job, struct netns_state *state)
{
	struct job_step step = { .cookie = state->cookie, .attach = !state->attached };

	step.count = !state->counted && is_limited(in, state->cookie);
	if (!step.attach && !step.count)
		return 0;
	step.netns_fd = workloads_netns_fd(in->workloads, state->cookie);
	if (step.netns_fd >= 0)
		return job_add(job, &step);
	if (step.attach) /* inbound_sync() follows when we are in there */
		snprintf(state->trouble, sizeof(state->trouble), "%s", step.netns_fd == -EAGAIN ? "" : strerror(-step.netns_fd));
	return 0;
}

static int job_plan(struct inbound *in, struct job *job)
{
	struct netns_state *wanted;
	size_t count;
	int r = namespaces_list(in, &wanted, &count);

	if (r < 0)
		return r;
	for (size_t i = 0, w = 0; r == 0 && i < in->namespace_count; i++) {
		while (w < count && wanted[w].cookie < in->namespaces[i].cookie)
			w++;
		if (w == count || wanted[w].cookie != in->namespaces[i].cookie)
			r = job_add(job, &(struct job_step){ .cookie = in->namespaces[i].cookie, .netns_fd = -1 });
	}
	free(in->namespaces);
	in->namespaces = wanted;
	in->namespace_count = count;
	job->keep = calloc(count + 1, sizeof(*job->keep));
	if (!job->keep)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i++) {
		job->keep[job->keep_count++] = wanted[i].cookie;
		r = job_add_place(in, job, &wanted[i]);
	}
	return r;
}

static void work_on(struct inbound *in)
{
	struct job *job = calloc(1, sizeof(*job));
	int r = job ? 0 : -ENOMEM;

	in->changed = false;
	if (r == 0) {
		*job = (struct job){ .inbound = in, .kernel = in->kernel, .first = !in->begun };
		memcpy(job->pin_path, in->pin_path, sizeof(job->pin_path));
		r = job_plan(in, job);
	}
	if (r == 0 && !job->first && !job->step_count && !any_place(in, PLACE_LEFT)) {
		job_free(job);
		return;
	}
	if (r == 0) {
		places_turn(in, PLACE_LEFT, PLACE_CLEARED);
		r = offload_submit(in->offload, job_work, job_done, job);
	}
	if (r == 0) {
		in->job = job;
		in->begun = true;
		return;
	}
	places_turn(in, PLACE_CLEARED, PLACE_LEFT);
	job_free(job);
	loop_timer_arm(in->retry, time_now_ns() + RETRY_NS);
}

static void on_retry(struct loop_timer *timer, void *arg)
{
	(void)timer;
	inbound_sync(arg);
}

void inbound_sync(struct inbound *in)
{
	const struct plan *plan = apply_current(in->apply);

	in->changed = true;
	if (!plan || in->job)
		return;
	if (entries_merge(in, plan) < 0) {
		loop_timer_arm(in->retry, time_now_ns() + RETRY_NS);
		return;
	}
	serving_look(in->kernel, any_place(in, PLACE_USED));
	work_on(in);
}

void inbound_proxy_changed(struct inbound *in)
{
	loop_timer_arm(in->retry, 0);
}

/* --- start and end -------------------------------------------------------------------------------------------------------------- */

struct adoption {
	struct inbound *inbound;
	size_t capacity;
};

static int adopt_entry(struct adoption *adoption, const struct entry *entry)
{
	struct inbound *in = adoption->inbound;

	if (in->entry_count == adoption->capacity) {
		const size_t capacity = adoption->capacity ? 2 * adoption->capacity : 16;
		struct entry *grown = reallocarray(in->entries, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		in->entries = grown;
		adoption->capacity = capacity;
	}
	in->entries[in->entry_count++] = *entry;
	return 0;
}

static int adopt_serving(const struct serving_key *key, uint32_t place, void *arg)
{
	struct adoption *adoption = arg;
	struct inbound *in = adoption->inbound;
	struct entry entry = { .key = *key, .place = NO_PLACE };

	if (place < MAX_SERVINGS && in->uses[place] == PLACE_FREE && in->kernel->servings[place].incarnation & 1) {
		entry.place = place;
		in->uses[place] = PLACE_USED;
	}
	return adopt_entry(adoption, &entry);
}

static int adopt_intercept(const struct serving_key *key, const struct intercept *intercept, void *arg)
{
	return adopt_entry(arg, &(struct entry){ .key = *key, .place = NO_PLACE, .given = true, .intercept = *intercept });
}

/* An agent that was killed between two steps left both a limit and weft-proxy for one listener. */
static void adopted_merge(struct inbound *in)
{
	size_t kept = 0;

	if (in->entry_count)
		qsort(in->entries, in->entry_count, sizeof(*in->entries), entry_order);
	for (size_t i = 0; i < in->entry_count; i++) {
		struct entry *last = kept ? &in->entries[kept - 1] : NULL, *entry = &in->entries[i];

		if (!last || key_order(&last->key, &entry->key) != 0) {
			in->entries[kept++] = *entry;
			continue;
		}
		if (entry->given) {
			last->given = true;
			last->intercept = entry->intercept;
		} else {
			last->place = entry->place;
		}
	}
	in->entry_count = kept;
}

static int adopt(struct inbound *in)
{
	struct adoption adoption = { .inbound = in };
	int r = serving_each(in->kernel, adopt_serving, &adoption);

	if (r == 0)
		r = intercept_each(in->kernel, adopt_intercept, &adoption);
	if (r < 0)
		return r;
	adopted_merge(in);
	for (uint32_t i = 0; i < MAX_SERVINGS; i++)
		if (in->uses[i] == PLACE_FREE && in->kernel->servings[i].incarnation & 1)
			in->uses[i] = PLACE_LEFT;
	return 0;
}

int inbound_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply, const struct workloads *workloads,
		const struct inbound_options *options, struct inbound **ret_inbound, struct error *err)
{
	struct inbound *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return error_set(err, -ENOMEM, "out of memory");
	in->offload = offload;
	in->kernel = kernel;
	in->apply = apply;
	in->workloads = workloads;
	in->options = *options;
	r = kernel_pin_path(options->instance, in->pin_path, sizeof(in->pin_path), err);
	if (r == 0 && (r = loop_timer_new(loop, on_retry, in, &in->retry)) < 0)
		error_set(err, r, "out of memory");
	if (r == 0 && (r = adopt(in)) < 0)
		error_set(err, r, "cannot read the tables of listeners: %s", strerror(-r));
	if (r < 0) {
		inbound_free(in);
		return r;
	}
	*ret_inbound = in;
	return 0;
}

struct inbound *inbound_free(struct inbound *in)
{
	if (!in)
		return NULL;
	if (in->job)
		in->job->inbound = NULL;
	loop_timer_free(in->retry);
	for (size_t i = 0; i < in->entry_count; i++)
		free(in->entries[i].target);
	free(in->entries);
	free(in->namespaces);
	free(in);
	return NULL;
}

/* --- what others see ------------------------------------------------------------------------------------------------------------ */

static const char *state_text(const struct inbound *in, const struct entry *entry)
{
	const struct netns_state *state = namespace_find(in, entry->key.netns_cookie);

	if (entry->proxied && !entry->given)
		return "pending: weft-proxy does not have it yet";
	if (!entry->proxied && entry->place == NO_PLACE)
		return "pending: no place is free yet";
	if (state && state->attached && entry->proxied)
		return "served by weft-proxy";
	if (state && state->attached && state->counted)
		return state->uncounted ? "enforced, but for connections from before the limit: this kernel cannot count them" : "enforced";
	return state && state->trouble[0] ? state->trouble : "pending";
}

static uint64_t handshakes_under_way(const struct serving *serving)
{
	const uint32_t window = (uint32_t)(time_now_ns() / HANDSHAKE_WINDOW_NS);
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(serving->handshakes); i++) {
		const uint64_t word = __atomic_load_n(&serving->handshakes[i], __ATOMIC_RELAXED);

		sum += window - (uint32_t)(word >> 32) <= 1 ? (uint32_t)word : 0;
	}
	return sum;
}

static bool serves_at(const struct inbound *in, const struct entry *entry, const struct ip *address, __be16 port, uint64_t netns_cookie)
{
	static const struct ip any;
	const struct netns_state *state;

	if (!entry->given || entry->key.port != port)
		return false;
	if (ip_is_loopback(address) ? entry->key.netns_cookie != netns_cookie || !ip_equal(&entry->key.address, address) :
				      !ip_equal(&entry->key.address, address) &&
					      (!ip_equal(&entry->key.address, &any) ||
					       !kernel_own_address_has(in->kernel, entry->key.netns_cookie, address)))
		return false;
	state = namespace_find(in, entry->key.netns_cookie);
	return state && state->attached;
}

uint64_t inbound_given_in(const struct inbound *in, const struct ip *address, __be16 port, uint64_t netns_cookie)
{
	for (size_t i = 0; in && i < in->entry_count; i++)
		if (serves_at(in, &in->entries[i], address, port, netns_cookie))
			return in->entries[i].key.netns_cookie;
	return 0;
}

static int entry_tell(const struct inbound *in, const struct entry *entry, struct inbound_listener *listener)
{
	static const struct ip any;
	static const struct serving none;
	const struct serving *serving = entry->place == NO_PLACE ? &none : &in->kernel->servings[entry->place];

	*listener = (struct inbound_listener){
		.target = strdup(entry->target ?: ""),
		.netns_cookie = entry->key.netns_cookie,
		.proxied = entry->proxied,
		.max_connections = serving->max_connections,
		.open = __atomic_load_n(&serving->open, __ATOMIC_RELAXED),
		.handshakes = handshakes_under_way(serving),
		.accepted = __atomic_load_n(&serving->accepted, __ATOMIC_RELAXED),
		.refused = __atomic_load_n(&serving->refused, __ATOMIC_RELAXED),
	};
	snprintf(listener->state, sizeof(listener->state), "%s", state_text(in, entry));
	if (ip_equal(&entry->key.address, &any))
		snprintf(listener->address, sizeof(listener->address), "*:%u", ntohs(entry->key.port));
	else
		ip_port_format(&entry->key.address, entry->key.port, listener->address);
	return listener->target ? 0 : -ENOMEM;
}

int inbound_listeners(const struct inbound *in, struct inbound_listener **ret_listeners, size_t *ret_count)
{
	struct inbound_listener *listeners = calloc(in->entry_count + 1, sizeof(*listeners));
	int r = listeners ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < in->entry_count; i++)
		r = entry_tell(in, &in->entries[i], &listeners[i]);
	if (r < 0) {
		inbound_listeners_free(listeners, in->entry_count);
		return r;
	}
	*ret_listeners = listeners;
	*ret_count = in->entry_count;
	return 0;
}

void inbound_listeners_free(struct inbound_listener *listeners, size_t count)
{
	for (size_t i = 0; listeners && i < count; i++)
		free(listeners[i].target);
	free(listeners);
}
