/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/workloads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/entry.h"
#include "agent/identity/own_address.h"
#include "agent/identity/place.h"
#include "agent/identity/redirect_rounds.h"
#include "base/cleanup.h"
#include "base/log.h"

/* ---- patterns ---- */

static void on_pattern_enrolled(int r, const struct workload *workload, const struct error *err, void *arg)
{
	char text[ERROR_MESSAGE_BYTES];

	(void)workload;
	(void)arg;
	if (r < 0 && r != -ENOENT) /* a cgroup that went at once is nobody's loss */
		log_warn("cannot enrol a cgroup that matches a pattern",
			 LOG_F("error", LOG_STR(error_text(err, text, sizeof(text)))));
}

static void on_match(const struct pattern *pattern, const char *path, void *arg)
{
	const struct workload_request request = { .node = pattern->node_name, .zone = pattern->zone, .cgroup = path,
						  .origin = pattern->text };
	struct workloads *all = arg;
	struct entry *entry;
	uint64_t id;
	int r = cgroup_id(path, &id);

	if (r < 0)
		return;
	entry = entry_of_cgroup(all, id, NULL);
	if (!entry) {
		r = entry_new(all, &request, true, &entry);
		if (r == 0) {
			entry->record.workload.cgroup_id = id;
			entry->confirmed = true;
			entry->done = on_pattern_enrolled;
			entry_enrol(entry);
		}
	} else if (entry->record.pattern && !entry->confirmed) {
		r = entry_reassign(entry, pattern);
		all->callbacks.changed(all->callbacks.arg);
	}
	if (r < 0)
		log_error("cannot enrol a cgroup that matches a pattern", LOG_F("cgroup", LOG_STR(path)),
			  LOG_F("pattern", LOG_STR(pattern->text)), LOG_F("error", LOG_STR(strerror(-r))));
}

int workloads_add_pattern(struct workloads *all, const char *pattern, const char *node, const char *zone, struct error *err)
{
	return patterns_add(all->patterns, pattern, node, zone, err);
}

/* ---- life ---- */

static void on_netns_ready(void *arg)
{
	struct workloads *all = arg;

	list_for_each_safe(it, &all->pending)
		entry_proceed(container_of(it, struct entry, node));
}

/* Now the caller is up and hears who has gone, and has told its patterns. */
static void on_settle(struct loop_timer *timer, void *arg)
{
	struct workloads *all = arg;

	all->settle_timer = loop_timer_free(timer);
	while (!list_empty(&all->lost))
		entry_end(container_of(all->lost.next, struct entry, node));
	list_for_each_safe(it, &all->running) {
		struct entry *entry = container_of(it, struct entry, node);

		if (entry->record.pattern && !entry->confirmed)
			entry_end(entry);
	}
}

static int init(struct workloads *all, struct error *err)
{
	size_t length;
	uint64_t id;
	int r = cgroup_root(all->root, sizeof(all->root), err);

	if (r < 0)
		return r;
	length = strlen(all->root);
	if (length > 0 && all->root[length - 1] == '/')
		all->root[length - 1] = '\0';
	/* Hooks count depths from the hierarchy's own root, whose inode is 1; a cgroup namespace mounts a part of it. */
	r = cgroup_id(all->root, &id);
	if (r == 0 && id != 1)
		return error_set(err, -EINVAL, "the cgroup2 file system on '%s' is that of a cgroup namespace: the host's is "
				 "needed", all->root);
	if (r == 0)
		r = boot_id(all->boot);
	if (r == 0)
		r = liveness_new(all->loop, &all->liveness);
	if (r == 0)
		r = patterns_new(all->loop, all->root, on_match, all, &all->patterns);
	if (r == 0)
		r = loop_timer_new(all->loop, on_settle, all, &all->settle_timer);
	if (r == 0)
		r = redirect_rounds_new(all, &all->redirect_rounds);
	if (r < 0)
		return error_set(err, r, "cannot watch cgroups: %s", strerror(-r));
	loop_timer_arm(all->settle_timer, 0);
	return workloads_adopt(all, err);
}

int workloads_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct state *state,
		  const struct workloads_callbacks *callbacks, struct workloads **ret_workloads, struct error *err)
{
	struct workloads *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return error_set(err, -ENOMEM, "out of memory");
	all->loop = loop;
	all->offload = offload;
	all->kernel = kernel;
	all->state = state;
	all->callbacks = *callbacks;
	all->next_id = 1;
	list_init(&all->pending);
	list_init(&all->running);
	list_init(&all->lost);
	list_init(&all->probes);
	removals_init(&all->removals, loop, offload);
	all->namespaces = (struct namespaces){ .loop = loop, .kernel = kernel, .callbacks = &all->callbacks,
					       .ready = on_netns_ready, .arg = all };
	namespaces_init(&all->namespaces);
	r = init(all, err);
	if (r < 0) {
		workloads_free(all);
		return r;
	}
	*ret_workloads = all;
	return 0;
}

struct workloads *workloads_free(struct workloads *all)
{
	struct error err = {};

	if (!all)
		return NULL;
	struct list *lists[] = { &all->pending, &all->running, &all->lost };

	entry_forget_looks(all);
	error_set(&err, -ECANCELED, "the agent stops");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		list_for_each_safe(it, lists[i]) {
			struct entry *entry = container_of(it, struct entry, node);

			if (entry->done)
				entry->done(-ECANCELED, NULL, &err, entry->arg);
			entry_free(entry);
		}
	patterns_free(all->patterns);
	redirect_rounds_free(all->redirect_rounds);
	liveness_free(all->liveness);
	namespaces_done(&all->namespaces);
	removals_done(&all->removals);
	loop_timer_free(all->settle_timer);
	free(all);
	return NULL;
}

/* ---- calls ---- */

void workloads_enrol(struct workloads *all, const struct workload_request *request, workload_done_fn *done, void *arg)
{
	struct entry *entry;
	struct error err = {};
	int r;

	if (request->pid <= 0)
		r = error_set_field(&err, -EINVAL, "pid", "is not a process id: %d", request->pid);
	else
		r = entry_new(all, request, false, &entry);
	if (r < 0)
		return done(r, NULL, err.code ? &err : NULL, arg);
	entry->done = done;
	entry->arg = arg;
	entry_enrol(entry);
}

int workloads_each(const struct workloads *all, workloads_fn *fn, void *arg)
{
	list_for_each_safe(it, &all->running) {
		int r = fn(&container_of(it, struct entry, node)->record.workload, arg);

		if (r < 0)
			return r;
	}
	return 0;
}

const struct workload *workloads_by_netns(const struct workloads *all, uint64_t cookie)
{
	list_for_each(it, &all->running) {
		const struct entry *entry = container_of(it, struct entry, node);

		if (entry_in_netns(entry, cookie))
			return &entry->record.workload;
	}
	return NULL;
}

const struct workload *workloads_acting(const struct workloads *all, const char *cgroup, uint64_t cookie)
{
	const struct workload *nearest = NULL;

	list_for_each(it, &all->running) {
		const struct entry *entry = container_of(it, struct entry, node);
		const struct workload *w = &entry->record.workload;

		if (!entry_in_netns(entry, cookie))
			continue;
		if (w->own_netns)
			return w;
		if (cgroup_depth(w->cgroup, cgroup) >= 0 && (!nearest || strlen(nearest->cgroup) < strlen(w->cgroup)))
			nearest = w;
	}
	return nearest;
}

const struct workload *workloads_get(const struct workloads *all, uint64_t id)
{
	list_for_each(it, &all->running) {
		const struct entry *entry = container_of(it, struct entry, node);

		if (entry->record.workload.id == id)
			return &entry->record.workload;
	}
	return NULL;
}

int workloads_each_place(const struct workloads *all, workloads_place_fn *fn, void *arg)
{
	list_for_each(it, &all->running) {
		const struct entry *entry = container_of(it, struct entry, node);
		const struct workload *w = &entry->record.workload;
		int r = entry_in_netns(entry, w->netns_cookie) ? fn(w, w->netns_cookie, arg) : 0;

		for (const struct list *p = entry->places.next; r >= 0 && p != &entry->places; p = p->next) {
			const uint64_t cookie = container_of(p, struct place, node)->netns->cookie;

			if (cookie != w->netns_cookie)
				r = fn(w, cookie, arg);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int workloads_netns_fd(const struct workloads *all, uint64_t cookie)
{
	if (!workloads_by_netns(all, cookie))
		return -ENOENT;
	return own_addresses_netns_fd(netns_find(&all->namespaces, cookie)->addresses);
}

const char *workloads_foreign(const struct workloads *all, uint64_t cookie)
{
	const struct netns *netns = netns_find(&all->namespaces, cookie);

	if (!netns || !netns->foreign)
		return NULL;
	return redirects_text(&netns->redirects) ?: "found before this start of weftd, which looks again";
}

int workloads_refresh(struct workloads *all)
{
	list_for_each(it, &all->running) {
		int r = entry_refresh(container_of(it, struct entry, node));

		if (r < 0)
			return r;
	}
	return 0;
}
