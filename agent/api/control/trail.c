/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/control/trail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/control/audit.h"
#include "agent/loop/loop.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define LOOK_NS (3600 * NSEC_PER_SEC)
#define RETRY_NS (60 * NSEC_PER_SEC)

struct trail {
	struct loop *loop;
	struct store *store;
	struct trail_bounds bounds;
	struct loop_timer *timer; /* the next look, or the next try */
	struct store_watch *watch; /* NULL until the records are counted */
	struct call *call; /* the one under way */
	size_t records;
	uint64_t removed, failures;
};

/* The argument of a call under way: outlives a trail that is freed meanwhile. */
struct call {
	struct trail *trail; /* NULL: freed */
	size_t counted; /* by the pages so far */
};

static struct call *call_new(struct trail *trail)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call)
		call->trail = trail;
	trail->call = call;
	return call;
}

/* NULL: nobody waits for it. */
static struct trail *call_end(struct call *call)
{
	struct trail *trail = call->trail;

	free(call);
	if (trail)
		trail->call = NULL;
	return trail;
}

static void arm(struct trail *trail, uint64_t wait_ns)
{
	loop_timer_arm(trail->timer, loop_now_ns(trail->loop) + wait_ns);
}

static void failed(struct trail *trail, const struct error *err)
{
	trail->failures++;
	log_limited(LOG_LEVEL_WARN, "the audit trail is not kept within its bounds for now", LOG_F("error", LOG_STR(err->message)));
	arm(trail, RETRY_NS);
}

/* ---- removing the oldest ---- */

static void look(struct trail *trail);

static void on_removed(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct trail *trail = call_end(arg);

	(void)revision;
	if (!trail)
		return;
	if (result < 0)
		failed(trail, err);
	else
		look(trail); /* there may be more */
}

static void remove_oldest(struct trail *trail, const struct store_page *page)
{
	const uint64_t now_ns = time_to_wall_ns(time_now_ns());
	const size_t excess = trail->records > trail->bounds.records ? trail->records - trail->bounds.records : 0;
	struct store_op ops[STORE_TXN_LIMIT] = {};
	char oldest[AUDIT_KEY_BYTES];
	struct error err = {};
	size_t count = 0;

	audit_time_key(now_ns > trail->bounds.age_ns ? now_ns - trail->bounds.age_ns : 0, oldest);
	while (count < MIN(page->count, ARRAY_SIZE(ops)) && (count < excess || strcmp(page->entries[count]->key, oldest) < 0)) {
		ops[count].key = page->entries[count]->key;
		count++;
	}
	if (!count) {
		arm(trail, LOOK_NS);
		return;
	}
	if (!call_new(trail))
		error_set(&err, -ENOMEM, "out of memory");
	else if (store_txn(trail->store, NULL, 0, ops, count, on_removed, trail->call, &err) < 0)
		call_end(trail->call);
	if (err.code < 0)
		failed(trail, &err);
}

static void on_oldest(int result, const struct store_page *page, const struct error *err, void *arg)
{
	struct trail *trail = call_end(arg);

	if (!trail)
		return;
	if (result < 0)
		failed(trail, err);
	else
		remove_oldest(trail, page);
}

static void look(struct trail *trail)
{
	const struct store_range range = { .prefix = AUDIT_PREFIX, .limit = STORE_TXN_LIMIT, .keys_only = true };
	struct error err = {};

	if (!call_new(trail))
		error_set(&err, -ENOMEM, "out of memory");
	else if (store_list(trail->store, &range, on_oldest, trail->call, &err) < 0)
		call_end(trail->call);
	if (err.code < 0)
		failed(trail, &err);
}

/* ---- counting ---- */

static void on_change(int result, const struct store_entry *const *entries, size_t count, uint64_t revision, const struct error *err,
		      void *arg)
{
	struct trail *trail = arg;

	(void)revision;
	if (result < 0) { /* counts again */
		trail->watch = store_unwatch(trail->watch);
		failed(trail, err);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (entries[i]->value) {
			trail->records++;
		} else {
			trail->records -= trail->records > 0;
			trail->removed++;
		}
	}
	if (count && !trail->call && trail->records > trail->bounds.records + TRAIL_SLACK)
		look(trail);
}

static int count_page(struct call *call, const char *after, uint64_t revision, struct error *err);

static void on_counted(int result, const struct store_page *page, const struct error *err, void *arg)
{
	struct call *call = arg;
	struct trail *trail = call->trail;
	struct error own = {};

	if (!trail) {
		call_end(call);
		return;
	}
	if (result >= 0) {
		call->counted += page->count;
		err = &own;
		if (page->more) {
			result = count_page(call, page->entries[page->count - 1]->key, page->revision, &own);
			if (result >= 0)
				return;
		} else {
			trail->records = call->counted;
			result = store_watch(trail->store, AUDIT_PREFIX, page->revision, on_change, trail, &trail->watch, &own);
		}
	}
	call_end(call);
	if (result < 0)
		failed(trail, err);
	else
		look(trail);
}

static int count_page(struct call *call, const char *after, uint64_t revision, struct error *err)
{
	const struct store_range range = { .prefix = AUDIT_PREFIX, .after = after, .revision = revision, .keys_only = true };

	return store_list(call->trail->store, &range, on_counted, call, err);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct trail *trail = arg;
	struct error err = {};

	(void)timer;
	if (trail->call) {
		arm(trail, RETRY_NS);
	} else if (trail->watch) {
		look(trail);
	} else if (!call_new(trail)) {
		failed(trail, &(struct error){ .code = -ENOMEM, .message = "out of memory" });
	} else if (count_page(trail->call, NULL, 0, &err) < 0) {
		call_end(trail->call);
		failed(trail, &err);
	}
}

/* ---- new, free ---- */

int trail_new(struct loop *loop, struct store *store, const struct trail_bounds *bounds, struct trail **ret_trail)
{
	struct trail *trail = calloc(1, sizeof(*trail));

	if (!trail || loop_timer_new(loop, on_timer, trail, &trail->timer) < 0) {
		free(trail);
		return -ENOMEM;
	}
	trail->loop = loop;
	trail->store = store;
	trail->bounds = *bounds;
	loop_timer_arm(trail->timer, 0);
	*ret_trail = trail;
	return 0;
}

struct trail *trail_free(struct trail *trail)
{
	if (!trail)
		return NULL;
	store_unwatch(trail->watch);
	if (trail->call)
		trail->call->trail = NULL;
	loop_timer_free(trail->timer);
	free(trail);
	return NULL;
}

size_t trail_records(const struct trail *trail)
{
	return trail->records;
}

uint64_t trail_removed(const struct trail *trail)
{
	return trail->removed;
}

uint64_t trail_failures(const struct trail *trail)
{
	return trail->failures;
}
