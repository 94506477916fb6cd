/* SPDX-License-Identifier: Apache-2.0 */
/* A reading goes through four hands: weft-proxy is asked (loop), look() copies what the kernel counted (offload thread), tell() gives it
 * names (loop), and work() sums it up and serves those who wait (offload thread). There is one reading at a time, so what they
 * share needs no lock. */
#include "agent/telemetry/tally.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/totals.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/time.h"
#include "maps/open.h"

/* A counter over its life, with all rows and totals that are its. */
struct triple {
	struct table_node node; /* by the three names, each with a line feed before the next, which sorts before all of a name */
	struct tally_row row;
	struct row *totals; /* of retired rows; NULL: none */
	uint64_t told_sent, told_received, told_retransmits;
	bool present; /* in this reading */
	char *key;
	char names[]; /* source, service, target, each with its NUL */
};

struct row_copy {
	uint32_t index;
	struct triple *triple; /* NULL: not to be counted */
	struct row row;
	uint64_t sent, received, retransmits, counted, rtt_us_sum; /* of its open connections */
};

struct reason_copy {
	struct reason_key key;
	uint64_t count;
};

struct endpoint_copy {
	const char *target, *zone;
	struct endpoint_ref ref;
};

/* Whose a row was when it was last seen. */
struct row_owner {
	uint32_t incarnation;
	struct triple *triple;
};

struct waiter {
	struct list node;
	tally_work_fn *work;
	tally_done_fn *done;
	void *arg;
};

struct reading {
	int r;
	struct list waiters;
	struct tally tally;
	size_t copy_count, copy_capacity, reason_count, reason_capacity, endpoint_count, endpoint_capacity;
	struct row_copy *copies;
	struct reason_copy *reason_copies;
	struct endpoint_copy *endpoint_copies;
	struct tally_reason *reasons; /* one of each copy, then merged */
	struct tally_endpoint *endpoints;
	uint32_t place_count; /* rows that there are */
	uint32_t *places; /* row -> 1 + its place among the copies, 0: none */
};

struct tallies {
	struct loop *loop;
	struct offload *offload;
	struct kernel *kernel;
	struct apply *apply;
	struct requests *requests;
	struct endpoint_series *series;
	struct state_watch *watch;
	struct loop_timer *timer;
	struct list waiting; /* for the next reading */
	struct reading *reading; /* under way */
	uint64_t last_ns;
	bool gone; /* freed, but for a reading under way */
	bool totals_stale;
	struct table triples;
	struct triple **sorted; /* by key */
	size_t sorted_count, sorted_capacity;
	const struct tally_row **rows; /* those present, in that order */
	struct row_owner *owners; /* by row */
	uint32_t name_count;
	char **names; /* by object id: the last names that ids were seen with */
	size_t zone_count, zone_capacity;
	char **zones; /* names of zones that were met */
};

#define GROW(array, count, capacity)                                                                                          \
	((count) < (capacity) ? 0 : grow((void **)&(array), &(capacity), sizeof(*(array))))

static int grow(void **array, size_t *capacity, size_t size)
{
	const size_t more = *capacity ? *capacity * 2 : 64;
	void *grown = reallocarray(*array, more, size);

	if (!grown)
		return -ENOMEM;
	*array = grown;
	*capacity = more;
	return 0;
}

static struct reading *reading_free(struct reading *reading)
{
	if (!reading)
		return NULL;
	free(reading->copies);
	free(reading->reason_copies);
	free(reading->endpoint_copies);
	free(reading->reasons);
	free(reading->endpoints);
	free(reading->places);
	requests_report_done(&reading->tally.requests);
	free(reading);
	return NULL;
}

/* --- offload thread: what the kernel counted ---------------------------------------------------------------------------------------- */

static int copy_rows(struct reading *reading, const struct kernel_memory *memory)
{
	for (uint32_t i = 0; i < memory->limits.rows; i++) {
		const struct row *row = &memory->rows[i];
		struct row_copy *copy;

		if (!(row->incarnation & 1) || !row->source || !row->target)
			continue;
		if (GROW(reading->copies, reading->copy_count, reading->copy_capacity) < 0)
			return -ENOMEM;
		copy = &reading->copies[reading->copy_count++];
		*copy = (struct row_copy){ .index = i };
		copy->row.incarnation = __atomic_load_n(&row->incarnation, __ATOMIC_ACQUIRE);
		copy->row.source = row->source;
		copy->row.service = row->service;
		copy->row.target = row->target;
		counter_add(&copy->row, row);
		reading->places[i] = (uint32_t)reading->copy_count;
	}
	return 0;
}

static int add_open(const struct open_connection *open, void *arg)
{
	struct reading *reading = arg;
	const struct account *a = &open->account;
	const uint32_t place = a->row < reading->place_count ? reading->places[a->row] : 0;
	struct row_copy *copy = place ? &reading->copies[place - 1] : NULL;

	if (!open->live || !copy || copy->row.incarnation != a->row_incarnation)
		return 0;
	copy->sent += open->bytes_sent;
	copy->received += open->bytes_received;
	copy->retransmits += open->retransmits;
	if (a->established_ns) {
		copy->counted++;
		copy->rtt_us_sum += open->rtt_us;
	}
	return 0;
}

static int copy_reason(const struct reason_key *key, uint64_t count, void *arg)
{
	struct reading *reading = arg;

	if (!count)
		return 0;
	if (GROW(reading->reason_copies, reading->reason_count, reading->reason_capacity) < 0)
		return -ENOMEM;
	reading->reason_copies[reading->reason_count++] = (struct reason_copy){ *key, count };
	return 0;
}

static void look(void *arg)
{
	struct tallies *t = arg;
	struct reading *reading = t->reading;
	int r;

	reading->place_count = t->kernel->memory.limits.rows;
	reading->places = calloc(reading->place_count, sizeof(*reading->places));
	reading->tally.time_ns = time_now_ns();
	r = reading->places ? copy_rows(reading, &t->kernel->memory) : -ENOMEM;
	if (r == 0) {
		r = kernel_open_each(t->kernel, add_open, reading);
		reading->tally.open_known = t->kernel->live_iter_fd >= 0;
	}
	if (r == 0)
		r = kernel_reason_each(t->kernel, copy_reason, reading);
	if (r == 0)
		r = kernel_stats(t->kernel, reading->tally.stats);
	reading->r = r;
}

/* --- loop: names and endpoints ------------------------------------------------------------------------------------------------------ */

static struct triple *triple_free(struct triple *triple)
{
	free(triple->totals);
	free(triple->key);
	free(triple);
	return NULL;
}

/* The triple of these names, made where there is none; NULL: no memory. */
static struct triple *triple_get(struct tallies *t, const char *source, const char *service, const char *target)
{
	const size_t sizes[] = { strlen(source) + 1, strlen(service) + 1, strlen(target) + 1 };
	_cleanup_(buffer_done) struct buffer key = {};
	struct table_node *found;
	struct triple *triple;

	buffer_printf(&key, "%s\n%s\n%s", source, service, target);
	if (buffer_failed(&key))
		return NULL;
	found = table_get(&t->triples, key.data);
	if (found)
		return container_of(found, struct triple, node);
	if (GROW(t->sorted, t->sorted_count, t->sorted_capacity) < 0)
		return NULL;
	triple = calloc(1, sizeof(*triple) + sizes[0] + sizes[1] + sizes[2]);
	if (!triple)
		return NULL;
	triple->key = buffer_take(&key);
	triple->row.counter.source = memcpy(triple->names, source, sizes[0]);
	triple->row.counter.service = memcpy(triple->names + sizes[0], service, sizes[1]);
	triple->row.counter.target = memcpy(triple->names + sizes[0] + sizes[1], target, sizes[2]);
	if (!triple->key || table_add(&t->triples, &triple->node, triple->key) < 0)
		return triple_free(triple);
	t->sorted[t->sorted_count++] = triple;
	return triple;
}

static int take_total(const char *source, const char *service, const char *target, const struct row *sums, void *arg)
{
	struct triple *triple = triple_get(arg, source, service, target);

	if (!triple)
		return -ENOMEM;
	if (!triple->totals)
		triple->totals = malloc(sizeof(*sums));
	if (!triple->totals)
		return -ENOMEM;
	*triple->totals = *sums;
	return 0;
}

static void totals_changed(const struct state_entry *entry, void *arg)
{
	struct tallies *t = arg;

	(void)entry;
	t->totals_stale = true;
}

/* Copied, since it is borrowed for this turn only. NULL: not known (any more), or no memory. */
static const char *object_name(struct tallies *t, uint32_t id)
{
	const char *name = id && id < t->kernel->memory.limits.objects ? apply_object_name(t->apply, id) : NULL;

	if (!name)
		return NULL;
	if (t->names[id] && strcmp(t->names[id], name)) {
		free(t->names[id]);
		t->names[id] = NULL;
	}
	if (!t->names[id])
		t->names[id] = strdup(name);
	return t->names[id];
}

static int row_triple(struct tallies *t, const struct row_copy *copy, struct triple **ret_triple)
{
	struct row_owner *owner = &t->owners[copy->index];

	if (owner->incarnation != copy->row.incarnation) {
		const char *source = object_name(t, copy->row.source), *service = object_name(t, copy->row.service),
			   *target = object_name(t, copy->row.target);

		*ret_triple = NULL;
		if (!source || !service || !target)
			return 0; /* a state directory that never knew them */
		owner->triple = triple_get(t, source, service, target);
		if (!owner->triple)
			return -ENOMEM;
		owner->incarnation = copy->row.incarnation;
	}
	*ret_triple = owner->triple;
	return 0;
}

/* Rows are retired in one turn of the loop, into the totals: of what was copied before, that is told by the totals now. */
static int tell_rows(struct tallies *t, struct reading *reading)
{
	for (size_t i = 0; i < reading->copy_count; i++) {
		struct row_copy *copy = &reading->copies[i];
		int r;

		if (t->kernel->memory.rows[copy->index].incarnation != copy->row.incarnation)
			continue;
		r = row_triple(t, copy, &copy->triple);
		if (r < 0)
			return r;
	}
	return 0;
}

static int tell_totals(struct tallies *t)
{
	int r = t->totals_stale ? apply_totals_each(t->apply, take_total, t) : 0;

	if (r == 0)
		t->totals_stale = false;
	return r;
}

static int tell_reasons(struct tallies *t, struct reading *reading)
{
	reading->reasons = calloc(reading->reason_count + 1, sizeof(*reading->reasons));
	if (!reading->reasons)
		return -ENOMEM;
	for (size_t i = 0; i < reading->reason_count; i++) {
		const struct reason_copy *copy = &reading->reason_copies[i];

		reading->reasons[i] = (struct tally_reason){
			.source = object_name(t, copy->key.source),
			.service = object_name(t, copy->key.service),
			.reason = copy->key.reason,
			.count = copy->count,
		};
	}
	return 0;
}

/* As object_name(). */
static const char *zone_name(struct tallies *t, uint16_t zone)
{
	const struct plan *plan = apply_current(t->apply);
	const char *name;

	for (size_t i = 0; zone && i < t->zone_count; i++)
		if (plan_zone(t->zones[i]) == zone)
			return t->zones[i];
	name = plan ? plan_zone_name(plan, zone) : NULL;
	if (!name || GROW(t->zones, t->zone_count, t->zone_capacity) < 0)
		return NULL;
	t->zones[t->zone_count] = strdup(name);
	return t->zones[t->zone_count] ? t->zones[t->zone_count++] : NULL;
}

static int tell_endpoints_of(struct tallies *t, struct reading *reading, const struct target_record *record, const char *target)
{
	for (int family = 0; family < LIST_COUNT; family++)
		for (uint32_t n = 0; n < record->count[family]; n++) {
			const struct endpoint_ref *ref = &t->kernel->memory.refs[record->first[family] + n];

			if (GROW(reading->endpoint_copies, reading->endpoint_count, reading->endpoint_capacity) < 0)
				return -ENOMEM;
			reading->endpoint_copies[reading->endpoint_count++] = (struct endpoint_copy){ target, zone_name(t, ref->zone), *ref };
		}
	return 0;
}

/* As the kernel has them, so that they are known also before the first plan. */
static int tell_endpoints(struct tallies *t, struct reading *reading)
{
	const struct generations *g = apply_generations(t->apply);
	const uint64_t generation = generations_current(g);

	reading->tally.generation = generation;
	for (uint32_t id = 1; id < t->kernel->memory.limits.objects; id++) {
		const uint32_t ref = generations_ref(g, generation, id);
		const char *target;
		int r;

		if (ref >> REF_KIND_SHIFT != OBJECT_TARGET)
			continue;
		target = object_name(t, id);
		r = target ? tell_endpoints_of(t, reading, &t->kernel->memory.targets[ref & REF_INDEX_MASK], target) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- offload thread: sums ------------------------------------------------------------------------------------------------------------- */

static int compare_triples(const void *a, const void *b)
{
	return strcmp((*(struct triple *const *)a)->key, (*(struct triple *const *)b)->key);
}

static int compare_endpoints(const void *a, const void *b)
{
	const struct tally_endpoint *x = a, *y = b;

	return strcmp(x->target, y->target) ?: memcmp(&x->address, &y->address, sizeof(x->address)) ?:
	       (int)ntohs(x->port) - (int)ntohs(y->port);
}

static int compare_names(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) : !!a - !!b;
}

static int compare_reasons(const void *a, const void *b)
{
	const struct tally_reason *x = a, *y = b;

	return compare_names(x->source, y->source) ?: compare_names(x->service, y->service) ?: (int)x->reason - (int)y->reason;
}

/* Ids that were given to another object, or anew to the same, leave several counts under one name. */
static void sum_reasons(struct reading *reading)
{
	struct tally *tally = &reading->tally;

	tally->reasons = reading->reasons;
	if (reading->reason_count)
		qsort(reading->reasons, reading->reason_count, sizeof(*reading->reasons), compare_reasons);
	for (size_t i = 0; i < reading->reason_count; i++) {
		struct tally_reason *last = &reading->reasons[tally->reason_count - 1];

		if (tally->reason_count && !compare_reasons(last, &reading->reasons[i]))
			last->count += reading->reasons[i].count;
		else
			reading->reasons[tally->reason_count++] = reading->reasons[i];
	}
}

static void triple_begin(struct triple *triple)
{
	struct tally_row *row = &triple->row;

	*row = (struct tally_row){ .counter = row->counter };
	row->counter.sums = (struct row){};
	triple->present = triple->totals != NULL;
	if (triple->totals)
		counter_add(&row->counter.sums, triple->totals);
}

static void triple_add(struct triple *triple, const struct row_copy *copy)
{
	struct tally_row *row = &triple->row;

	triple->present = true;
	counter_add(&row->counter.sums, &copy->row);
	row->open_sent += copy->sent;
	row->open_received += copy->received;
	row->open_retransmits += copy->retransmits;
	row->open_counted += copy->counted;
	row->open_rtt_us_sum += copy->rtt_us_sum;
}

/* At least what was told before, by raising the share of the open ones. */
static void hold(uint64_t *told, uint64_t closed, uint64_t *open)
{
	if (closed + *open < *told)
		*open = *told - closed;
	*told = closed + *open;
}

static void triple_end(struct triple *triple)
{
	struct tally_row *row = &triple->row;
	const struct row *sums = &row->counter.sums;

	hold(&triple->told_sent, sums->bytes_sent, &row->open_sent);
	hold(&triple->told_received, sums->bytes_received, &row->open_received);
	hold(&triple->told_retransmits, sums->retransmits, &row->open_retransmits);
}

/* Those that have neither row nor totals any more counted nothing. */
static void drop_absent(struct tallies *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->sorted_count; i++) {
		struct triple *triple = t->sorted[i];

		if (triple->present) {
			t->sorted[kept++] = triple;
			continue;
		}
		table_remove(&t->triples, &triple->node);
		triple_free(triple);
	}
	t->sorted_count = kept;
}

static int sum_rows(struct tallies *t, struct reading *reading)
{
	const struct tally_row **rows;

	for (size_t i = 0; i < t->sorted_count; i++)
		triple_begin(t->sorted[i]);
	for (size_t i = 0; i < reading->copy_count; i++)
		if (reading->copies[i].triple)
			triple_add(reading->copies[i].triple, &reading->copies[i]);
	drop_absent(t);
	rows = reallocarray(t->rows, t->sorted_count + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	t->rows = rows;
	if (t->sorted_count)
		qsort(t->sorted, t->sorted_count, sizeof(*t->sorted), compare_triples);
	for (size_t i = 0; i < t->sorted_count; i++) {
		triple_end(t->sorted[i]);
		rows[i] = &t->sorted[i]->row;
	}
	return 0;
}

/* Slots may be given to others meanwhile. */
static int read_endpoints(struct reading *reading, const struct kernel_memory *memory, struct endpoint_series *series)
{
	struct tally *tally = &reading->tally;

	reading->endpoints = malloc((reading->endpoint_count + 1) * sizeof(*reading->endpoints));
	if (!reading->endpoints)
		return -ENOMEM;
	endpoint_series_begin(series);
	for (size_t i = 0; i < reading->endpoint_count; i++) {
		const struct endpoint_ref *ref = &reading->endpoint_copies[i].ref;
		const struct endpoint *slot = &memory->endpoints[ref->slot];
		struct tally_endpoint *e = &reading->endpoints[tally->endpoint_count];

		*e = (struct tally_endpoint){
			.target = reading->endpoint_copies[i].target,
			.address = ref->address,
			.port = ref->port,
			.local = ref->netns_cookie != 0,
			.zone = reading->endpoint_copies[i].zone,
			.state = *slot,
		};
		if (__atomic_load_n(&slot->incarnation, __ATOMIC_ACQUIRE) != ref->incarnation || e->state.incarnation != ref->incarnation)
			continue;
		e->own_requests = endpoint_series_take(series, ref->slot, &e->state);
		tally->endpoint_count++;
	}
	tally->other_endpoints = endpoint_series_end(series);
	tally->endpoints = reading->endpoints;
	if (tally->endpoint_count)
		qsort(reading->endpoints, tally->endpoint_count, sizeof(*reading->endpoints), compare_endpoints);
	return 0;
}

static void work(void *arg)
{
	struct tallies *t = arg;
	struct reading *reading = t->reading;
	struct tally *tally = &reading->tally;

	reading->r = sum_rows(t, reading);
	if (reading->r == 0)
		reading->r = read_endpoints(reading, &t->kernel->memory, t->series);
	if (reading->r < 0)
		return;
	tally->rows = t->rows;
	tally->row_count = t->sorted_count;
	sum_reasons(reading);
	list_for_each(it, &reading->waiters) {
		const struct waiter *waiter = container_of(it, struct waiter, node);

		waiter->work(tally, waiter->arg);
	}
}

/* --- loop: one reading after the other ------------------------------------------------------------------------------------------------ */

static void tell_waiters(struct list *waiters, int r)
{
	list_for_each_safe(it, waiters) {
		struct waiter *waiter = container_of(it, struct waiter, node);

		list_remove(it);
		waiter->done(r, waiter->arg);
		free(waiter);
	}
}

static void destroy(struct tallies *t)
{
	for (size_t i = 0; i < t->sorted_count; i++)
		triple_free(t->sorted[i]);
	for (size_t i = 0; t->names && i < t->name_count; i++)
		free(t->names[i]);
	table_done(&t->triples);
	free(t->sorted);
	free(t->rows);
	free(t->owners);
	for (size_t i = 0; i < t->zone_count; i++)
		free(t->zones[i]);
	free(t->zones);
	free(t->names);
	endpoint_series_free(t->series);
	free(t);
}

static void arm(struct tallies *t)
{
	if (!t->reading && !list_empty(&t->waiting))
		loop_timer_arm(t->timer, MAX(loop_now_ns(t->loop), t->last_ns + TALLY_APART_NS));
}

static void finish(struct tallies *t, int r)
{
	struct reading *reading = t->reading;

	t->reading = NULL;
	tell_waiters(&reading->waiters, r);
	reading_free(reading);
	if (t->gone)
		destroy(t);
	else
		arm(t);
}

static void worked(void *arg)
{
	struct tallies *t = arg;

	finish(t, t->reading->r);
}

static void tell(void *arg)
{
	struct tallies *t = arg;
	struct reading *reading = t->reading;
	int r = t->gone ? -ECANCELED : reading->r;

	if (r == 0)
		r = tell_totals(t);
	if (r == 0)
		r = tell_rows(t, reading);
	if (r == 0)
		r = tell_reasons(t, reading);
	if (r == 0)
		r = tell_endpoints(t, reading);
	if (r == 0)
		r = requests_report(t->requests, &reading->tally.requests);
	if (r == 0)
		r = offload_submit(t->offload, work, worked, t);
	if (r < 0)
		finish(t, r);
}

static void asked(void *arg)
{
	struct tallies *t = arg;

	if (t->gone)
		finish(t, -ECANCELED);
	else if (offload_submit(t->offload, look, tell, t) < 0)
		finish(t, -ENOMEM);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct tallies *t = arg;

	(void)timer;
	t->last_ns = loop_now_ns(t->loop);
	t->reading = calloc(1, sizeof(*t->reading));
	if (!t->reading) {
		tell_waiters(&t->waiting, -ENOMEM);
		return;
	}
	list_init(&t->reading->waiters);
	list_for_each_safe(it, &t->waiting) {
		list_remove(it);
		list_append(&t->reading->waiters, it);
	}
	if (requests_refresh(t->requests, asked, t) < 0)
		finish(t, -ENOMEM);
}

int tallies_take(struct tallies *t, tally_work_fn *work_fn, tally_done_fn *done, void *arg)
{
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter)
		return -ENOMEM;
	*waiter = (struct waiter){ .work = work_fn, .done = done, .arg = arg };
	list_append(&t->waiting, &waiter->node);
	arm(t);
	return 0;
}

int tallies_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct apply *apply, struct state *state,
		struct requests *requests, struct tallies **ret_tallies)
{
	struct tallies *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	list_init(&t->waiting);
	t->loop = loop;
	t->offload = offload;
	t->kernel = kernel;
	t->apply = apply;
	t->requests = requests;
	t->totals_stale = true;
	t->name_count = kernel->memory.limits.objects;
	t->owners = calloc(kernel->memory.limits.rows, sizeof(*t->owners));
	t->names = calloc(t->name_count, sizeof(*t->names));
	t->series = endpoint_series_new();
	r = t->owners && t->names && t->series ? loop_timer_new(loop, on_timer, t, &t->timer) : -ENOMEM;
	if (r == 0)
		r = state_watch_add(state, TOTALS_PREFIX, totals_changed, t, &t->watch);
	if (r < 0) {
		tallies_free(t);
		return r;
	}
	*ret_tallies = t;
	return 0;
}

struct tallies *tallies_free(struct tallies *t)
{
	if (!t)
		return NULL;
	t->gone = true;
	t->timer = loop_timer_free(t->timer);
	t->watch = state_watch_remove(t->watch);
	tell_waiters(&t->waiting, -ECANCELED);
	if (!t->reading)
		destroy(t);
	return NULL;
}
