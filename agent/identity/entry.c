/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/place.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

/* A process may move between two cgroups of a workload while they are listed, and be seen in neither: a namespace is
 * given up when it was missed twice, this far apart. */
#define LOOK_AGAIN_NS (100 * NSEC_PER_MSEC)
#define MISSES_TO_LEAVE 2

/* A probe on its way to the offload thread and back. */
struct look {
	struct list node;
	struct entry *entry; /* NULL: it has gone meanwhile */
	struct probe probe;
	int r;
	struct error err;
};

/* ---- memory ---- */

int entry_from_record(struct workloads *all, struct record *record, struct entry **ret_entry)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	list_init(&entry->node);
	list_init(&entry->places);
	entry->all = all;
	entry->record = *record;
	*record = (struct record){};
	*ret_entry = entry;
	return 0;
}

static bool copy(const char *from, const char **ret_copy)
{
	*ret_copy = from ? strdup(from) : NULL;
	return !from || *ret_copy;
}

int entry_new(struct workloads *all, const struct workload_request *request, bool pattern, struct entry **ret_entry)
{
	struct record record = { .pattern = pattern, .remove_cgroup = request->remove_cgroup };
	struct workload *w = &record.workload;
	int r = -ENOMEM;

	w->own_netns = request->own_netns;
	w->pid = request->pid;
	memcpy(record.boot, all->boot, sizeof(record.boot));
	if (copy(request->node, &w->node) && copy(request->cgroup, &w->cgroup) && copy(request->netns, &w->netns) &&
	    copy(request->zone, &w->zone) && copy(request->origin, &w->origin))
		r = entry_from_record(all, &record, ret_entry);
	record_done(&record); /* empty after success */
	return r;
}

void entry_free(struct entry *entry)
{
	list_remove(&entry->node);
	list_for_each_safe(it, &entry->places)
		place_free(container_of(it, struct place, node));
	if (entry->look)
		entry->look->entry = NULL;
	life_free(entry->life);
	loop_timer_free(entry->timer);
	record_done(&entry->record);
	free(entry);
}

static int absolute_path(const struct entry *entry, char *buffer, size_t size)
{
	const int length = snprintf(buffer, size, "%s%s", entry->all->root, entry->record.workload.cgroup);

	return (size_t)length < size ? 0 : -ENAMETOOLONG;
}

bool entry_in_netns(const struct entry *entry, uint64_t cookie)
{
	return place_find(entry, cookie);
}

/* ---- state ---- */

static int entry_save(struct entry *entry, bool first, struct error *err)
{
	struct record *record = &entry->record;
	_cleanup_free_ char *text = NULL;
	char key[40], next[24];
	size_t count = 0;
	int r;

	list_for_each(it, &entry->places)
		count++;
	free(record->cookies);
	record->cookies = calloc(count ? count : 1, sizeof(*record->cookies));
	record->cookie_count = 0;
	if (!record->cookies)
		return error_set(err, -ENOMEM, "out of memory");
	list_for_each(it, &entry->places)
		record->cookies[record->cookie_count++] = container_of(it, struct place, node)->netns->cookie;
	r = record_encode(record, &text);
	if (r < 0)
		return error_set(err, r, "out of memory");
	snprintf(key, sizeof(key), "workloads/%" PRIu64, record->workload.id);
	snprintf(next, sizeof(next), "%" PRIu64, record->workload.id + 1);

	const struct state_op ops[] = {
		{ .key = key, .value = text, .value_bytes = strlen(text) },
		{ .key = "workloads/next", .value = next, .value_bytes = strlen(next) },
	};
	return state_txn(entry->all->state, NULL, 0, ops, first ? 2 : 1, NULL, err);
}

static void save_places(struct entry *entry)
{
	struct error err = {};
	char text[ERROR_MESSAGE_BYTES];

	if (entry_save(entry, false, &err) < 0)
		log_error("cannot keep where a workload acts", LOG_F("workload", LOG_U64(entry->record.workload.id)),
			  LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
}

static void entry_unsave(struct entry *entry)
{
	struct error err = {};
	char key[40], text[ERROR_MESSAGE_BYTES];

	snprintf(key, sizeof(key), "workloads/%" PRIu64, entry->record.workload.id);
	if (state_delete(entry->all->state, key, &err) < 0)
		log_error("cannot remove a workload from the state", LOG_F("key", LOG_STR(key)),
			  LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
}

/* ---- kernel: the cgroup's entry and its depth first, namespaces last; the other way round when it goes ---- */

static void use_depth(struct workloads *all, int depth, bool use)
{
	__u64 *depths = &all->kernel->memory.config->cgroup_depths;

	if (use && all->depths[depth]++ == 0)
		__atomic_or_fetch(depths, 1ull << depth, __ATOMIC_RELEASE);
	else if (!use && --all->depths[depth] == 0)
		__atomic_and_fetch(depths, ~(1ull << depth), __ATOMIC_RELEASE);
}

static int cgroup_enter(struct entry *entry)
{
	struct workloads *all = entry->all;
	struct owner owner = { .node = all->callbacks.node_id(entry->record.workload.node, all->callbacks.arg) };
	int r;

	if (owner.node == 0)
		return -E2BIG;
	r = kernel_cgroup_set(all->kernel, entry->record.workload.cgroup_id, &owner);
	if (r < 0)
		return r;
	if (!entry->in_kernel)
		use_depth(all, entry->depth, true);
	entry->in_kernel = true;
	return 0;
}

static void kernel_leave(struct entry *entry)
{
	int r;

	list_for_each_safe(it, &entry->places)
		place_leave(container_of(it, struct place, node));
	if (!entry->in_kernel)
		return;
	entry->in_kernel = false;
	use_depth(entry->all, entry->depth, false);
	r = kernel_cgroup_remove(entry->all->kernel, entry->record.workload.cgroup_id);
	if (r < 0)
		log_error("cannot remove the entry of a cgroup", LOG_F("cgroup", LOG_STR(entry->record.workload.cgroup)),
			  LOG_F("error", LOG_STR(strerror(-r))));
}

static int kernel_enter(struct entry *entry)
{
	int r = entry->record.workload.own_netns ? 0 : cgroup_enter(entry);

	for (struct list *it = entry->places.next; r == 0 && it != &entry->places; it = it->next)
		r = netns_publish(container_of(it, struct place, node)->netns);
	return r;
}

int entry_refresh(struct entry *entry)
{
	int r = entry->record.workload.own_netns ? 0 : cgroup_enter(entry);

	for (struct list *it = entry->places.next; r == 0 && it != &entry->places; it = it->next)
		r = netns_refresh(container_of(it, struct place, node)->netns);
	return r;
}

int entry_reassign(struct entry *entry, const struct pattern *pattern)
{
	struct workload *w = &entry->record.workload;
	const char *node, *zone, *origin;

	entry->confirmed = true;
	if (!strcmp(w->node, pattern->node_name) && !strcmp(w->origin, pattern->text) &&
	    !strcmp(w->zone ? w->zone : "", pattern->zone ? pattern->zone : ""))
		return 0;
	if (!copy(pattern->node_name, &node) || !copy(pattern->zone, &zone) || !copy(pattern->text, &origin))
		return -ENOMEM;
	free((char *)w->node);
	free((char *)w->zone);
	free((char *)w->origin);
	w->node = node;
	w->zone = zone;
	w->origin = origin;
	save_places(entry);
	return cgroup_enter(entry);
}

struct entry *entry_of_cgroup(const struct workloads *all, uint64_t cgroup_id, const struct entry *except)
{
	const struct list *lists[] = { &all->running, &all->pending };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		list_for_each(it, lists[i]) {
			struct entry *entry = container_of(it, struct entry, node);

			if (entry != except && entry->record.workload.cgroup_id == cgroup_id && !entry->record.workload.own_netns)
				return entry;
		}
	return NULL;
}

/* ---- looking ---- */

static void look_free(struct look *look)
{
	list_remove(&look->node);
	if (look->entry)
		look->entry->look = NULL;
	probe_done(&look->probe);
	free(look);
}

void entry_forget_looks(struct workloads *all)
{
	list_for_each_safe(it, &all->probes) {
		struct look *look = container_of(it, struct look, node);

		list_remove(&look->node);
		if (look->entry)
			look->entry->look = NULL;
		look->entry = NULL;
	}
}

static void on_probed(struct entry *entry, struct look *look);
static void on_looked(struct entry *entry, struct look *look);

static void look_work(void *arg)
{
	struct look *look = arg;

	look->r = probe_run(&look->probe, &look->err);
}

static void look_done(void *arg)
{
	struct look *look = arg;
	struct entry *entry = look->entry;

	if (entry) {
		entry->look = NULL;
		look->entry = NULL;
		if (entry->running)
			on_looked(entry, look);
		else
			on_probed(entry, look);
	}
	look_free(look);
}

static int look_start(struct entry *entry)
{
	const struct record *record = &entry->record;
	struct look *look = calloc(1, sizeof(*look));
	int r;

	if (!look)
		return -ENOMEM;
	list_append(&entry->all->probes, &look->node);
	memcpy(look->probe.root, entry->all->root, sizeof(look->probe.root));
	look->probe.expected_id = record->workload.cgroup_id;
	look->probe.with_own = record->pattern;
	if (entry->running) {
		r = absolute_path(entry, look->probe.cgroup, sizeof(look->probe.cgroup));
	} else { /* the path is as it was asked for */
		r = strlen(record->workload.cgroup) < sizeof(look->probe.cgroup) ? 0 : -ENAMETOOLONG;
		strncat(look->probe.cgroup, record->workload.cgroup, sizeof(look->probe.cgroup) - 1);
		look->probe.pid = record->pattern ? 0 : record->workload.pid;
		look->probe.only_pid = record->workload.own_netns;
		look->probe.count_sockets = true;
	}
	if (r == 0)
		r = offload_submit(entry->all->offload, look_work, look_done, look);
	if (r < 0) {
		look_free(look);
		return r;
	}
	look->entry = entry;
	entry->look = look;
	return 0;
}

static void on_look_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	entry_look(arg);
}

static void look_later(struct entry *entry)
{
	loop_timer_arm(entry->timer, loop_now_ns(entry->all->loop) + LOOK_AGAIN_NS);
}

void entry_look(struct entry *entry)
{
	if (entry->look || !entry->running)
		entry->look_again = true;
	else if (look_start(entry) < 0)
		look_later(entry);
}

static void places_changed(struct entry *entry)
{
	save_places(entry);
	entry->all->callbacks.changed(entry->all->callbacks.arg);
}

static void on_life(int state, void *arg)
{
	struct entry *entry = arg;

	if (state == -ENODEV || (state == 0 && !entry->record.pattern))
		return entry_end(entry);
	if (state == 0) { /* it may fill again: until then it is as before its first process */
		bool changed = false;

		list_for_each_safe(it, &entry->places) {
			struct place *place = container_of(it, struct place, node);

			if (!place->own) {
				place_leave(place);
				changed = true;
			}
		}
		if (changed)
			places_changed(entry);
		return;
	}
	if (!entry->record.workload.own_netns)
		entry_look(entry);
}

/* Places of a running workload follow its processes. Returns whether any changed. */
static bool update_places(struct entry *entry, struct probe *probe)
{
	bool changed = false, missed = false;

	list_for_each(it, &entry->places)
		container_of(it, struct place, node)->seen = false;
	for (size_t i = 0; i < probe->count; i++) {
		struct probe_netns *found = &probe->namespaces[i];
		const bool known = place_find(entry, found->cookie);
		char text[ERROR_MESSAGE_BYTES];
		struct error err = {};
		int r;

		if (!known && entry->record.workload.own_netns)
			continue; /* it acts as one namespace; processes that left it act for nobody */
		r = place_take(entry, found, &err);
		if (r < 0)
			log_limited(LOG_LEVEL_WARN, "a workload's process is in a network namespace where it cannot act",
				    LOG_F("workload", LOG_U64(entry->record.workload.id)), LOG_F("pid", LOG_INT(found->pid)),
				    LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
		changed |= !known && r == 0;
	}
	list_for_each_safe(it, &entry->places) {
		struct place *place = container_of(it, struct place, node);

		if (place->seen)
			continue;
		if (++place->misses < MISSES_TO_LEAVE) {
			missed = true;
			continue;
		}
		place_leave(place);
		changed = true;
	}
	if (missed)
		look_later(entry);
	return changed;
}

static void on_looked(struct entry *entry, struct look *look)
{
	char text[ERROR_MESSAGE_BYTES];

	if (look->r == -ENOENT) /* the cgroup went meanwhile; its event is on the way */
		return;
	if (look->r < 0) {
		log_limited(LOG_LEVEL_WARN, "cannot look where a workload acts",
			    LOG_F("workload", LOG_U64(entry->record.workload.id)),
			    LOG_F("error", LOG_STR(error_text(&look->err, text, sizeof(text)))));
		return look_later(entry);
	}
	if (update_places(entry, &look->probe)) {
		if (entry->record.workload.own_netns && list_empty(&entry->places))
			return entry_end(entry); /* its processes are elsewhere: nobody acts as that namespace */
		places_changed(entry);
	}
	if (entry->look_again) {
		entry->look_again = false;
		entry_look(entry);
	}
}

/* ---- enrolment ---- */

static void remove_cgroup(struct entry *entry)
{
	char path[PATH_MAX];

	if (entry->record.remove_cgroup && absolute_path(entry, path, sizeof(path)) == 0)
		removals_add(&entry->all->removals, path, entry->record.workload.cgroup_id);
}

static void entry_fail(struct entry *entry, int r, const struct error *err)
{
	workload_done_fn *done = entry->done;
	struct error own = {};

	if (!err || !err->code) {
		error_set(&own, r, "cannot enrol the workload: %s", strerror(-r));
		err = &own;
	}
	kernel_leave(entry);
	entry->done = NULL;
	if (entry->record.workload.cgroup_id && !entry_of_cgroup(entry->all, entry->record.workload.cgroup_id, entry))
		remove_cgroup(entry);
	done(r, NULL, err, entry->arg);
	entry_free(entry);
}

static void entry_start(struct entry *entry)
{
	struct workloads *all = entry->all;
	struct workload *w = &entry->record.workload;
	workload_done_fn *done = entry->done;
	struct error err = {};
	char path[PATH_MAX];
	int r = absolute_path(entry, path, sizeof(path));

	if (r == 0)
		r = life_new(all->liveness, path, w->cgroup_id, on_life, entry, &entry->life);
	if (r == 0)
		r = loop_timer_new(all->loop, on_look_timer, entry, &entry->timer);
	if (r < 0)
		return entry_fail(entry, r, NULL);
	w->id = all->next_id;
	w->since_wall_ns = time_to_wall_ns(time_now_ns());
	r = entry_save(entry, true, &err);
	if (r < 0)
		return entry_fail(entry, r, &err);
	all->next_id++;
	r = kernel_enter(entry);
	if (r < 0) {
		entry_unsave(entry);
		if (r == -E2BIG)
			error_set(&err, r, "a kernel table of workloads is full (%d namespaces, %d cgroups)", MAX_OWNERS,
				  MAX_OWNERS);
		return entry_fail(entry, r, &err);
	}
	list_remove(&entry->node);
	list_append(&all->running, &entry->node);
	entry->running = true;
	entry->done = NULL;
	all->callbacks.changed(all->callbacks.arg);
	done(0, w, NULL, entry->arg);
	/* Events count from life_new() on; what came before, since the probe, is asked for. */
	r = life_check(entry->life);
	if (r != 1)
		return on_life(r, entry);
	if (entry->record.pattern || entry->look_again) {
		entry->look_again = false;
		entry_look(entry);
	}
}

void entry_proceed(struct entry *entry)
{
	struct error err = {};

	if (entry->look || list_empty(&entry->places))
		return;
	list_for_each(it, &entry->places) {
		const int ready = container_of(it, struct place, node)->netns->ready;

		if (ready == -EINPROGRESS)
			return;
		if (ready == -E2BIG)
			error_set(&err, ready, "the kernel table of own addresses is full (%d)", MAX_OWN_ADDRESSES);
		else if (ready < 0)
			error_set(&err, ready, "cannot read the addresses of the network namespace: %s", strerror(-ready));
	}
	if (err.code)
		return entry_fail(entry, err.code, &err);
	entry_start(entry);
}

static int take_identity(struct entry *entry, const struct probe *probe, struct error *err)
{
	struct workload *w = &entry->record.workload;
	const struct entry *other;
	const char *path;

	if (!copy(probe->cgroup + strlen(entry->all->root), &path))
		return error_set(err, -ENOMEM, "out of memory");
	free((char *)w->cgroup);
	w->cgroup = path;
	w->cgroup_id = probe->cgroup_id;
	w->earlier_sockets = probe->sockets;
	entry->depth = probe->depth;
	if (entry->depth >= MAX_CGROUP_DEPTH)
		return error_set(err, -EINVAL, "the cgroup '%s' is nested deeper than %d levels", path, MAX_CGROUP_DEPTH - 1);
	other = w->own_netns ? NULL : entry_of_cgroup(entry->all, w->cgroup_id, entry);
	if (other) /* the kernel knows one owner for each cgroup */
		return error_set(err, -EBUSY, "the cgroup '%s' acts as '%s' already", path, other->record.workload.node);
	return 0;
}

/* Namespaces of a new workload. The one it was asked for must do; where others cannot, processes in them act as before. */
static int take_places(struct entry *entry, struct probe *probe, struct error *err)
{
	struct workload *w = &entry->record.workload;
	char text[ERROR_MESSAGE_BYTES];
	int r = 0;

	for (size_t i = 0; i < probe->count; i++) {
		struct probe_netns *found = &probe->namespaces[i];

		r = place_take(entry, found, err);
		if (r < 0 && i == 0 && !entry->record.pattern)
			return r;
		if (r < 0)
			log_warn("a workload's process is in a network namespace where it cannot act",
				 LOG_F("cgroup", LOG_STR(w->cgroup)), LOG_F("pid", LOG_INT(found->pid)),
				 LOG_F("error", LOG_STR(error_text(err, text, sizeof(text)))));
	}
	if (list_empty(&entry->places))
		return r;
	w->netns_cookie = container_of(entry->places.next, struct place, node)->netns->cookie;
	return 0;
}

static void on_probed(struct entry *entry, struct look *look)
{
	struct error err = look->err;
	int r = look->r;

	if (look->probe.cgroup_id && r < 0) /* for its removal */
		take_identity(entry, &look->probe, NULL);
	if (r == 0)
		r = take_identity(entry, &look->probe, &err);
	if (r == 0)
		r = take_places(entry, &look->probe, &err);
	if (r < 0)
		return entry_fail(entry, r, &err);
	entry_proceed(entry);
}

void entry_enrol(struct entry *entry)
{
	int r;

	list_append(&entry->all->pending, &entry->node);
	r = look_start(entry);
	if (r < 0)
		entry_fail(entry, r, NULL);
}

/* ---- adoption and end ---- */

int entry_adopt(struct entry *entry)
{
	struct workloads *all = entry->all;
	const struct record *record = &entry->record;
	char path[PATH_MAX];
	struct place *place;
	int r;

	if (strcmp(record->boot, all->boot))
		return -ENOENT;
	r = absolute_path(entry, path, sizeof(path));
	if (r == 0)
		r = life_new(all->liveness, path, record->workload.cgroup_id, on_life, entry, &entry->life);
	if (r == 0)
		r = loop_timer_new(all->loop, on_look_timer, entry, &entry->timer);
	if (r < 0)
		return r;
	r = life_check(entry->life);
	if (r < 0 || (r == 0 && !record->pattern))
		return -ENOENT;
	entry->depth = cgroup_depth(all->root, path);
	if (entry->depth < 0 || entry->depth >= MAX_CGROUP_DEPTH)
		return -EINVAL;
	for (size_t i = 0; i < record->cookie_count; i++) {
		r = place_new(entry, record->cookies[i], &place, NULL);
		if (r < 0)
			return r;
	}
	r = record->workload.own_netns ? 0 : cgroup_enter(entry);
	for (struct list *it = entry->places.next; r == 0 && it != &entry->places; it = it->next)
		r = netns_adopt(container_of(it, struct place, node)->netns);
	if (r < 0)
		return r;
	list_append(&all->running, &entry->node);
	entry->running = true;
	entry_look(entry);
	return 0;
}

void entry_end(struct entry *entry)
{
	struct workloads *all = entry->all;

	list_remove(&entry->node);
	kernel_leave(entry);
	entry_unsave(entry);
	remove_cgroup(entry);
	all->callbacks.gone(&entry->record.workload, all->callbacks.arg);
	all->callbacks.changed(all->callbacks.arg);
	entry_free(entry);
}
