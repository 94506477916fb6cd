/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/store/attempt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/loop/loop.h"
#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"

struct txn {
	struct store_compare compares[STORE_TXN_LIMIT];
	struct store_op ops[STORE_TXN_LIMIT];
	size_t compare_count, op_count, bytes;
	struct store_records kept; /* owns keys and values */
	int result; /* the first error */
	struct error err;
};

struct guard {
	struct table_node node; /* in attempts.guards */
	struct list waiting; /* attempts, the one under way first */
	char key[];
};

struct attempt {
	struct list node; /* in guard.waiting, or attempts.loose */
	struct list ready; /* in attempts.ready: to be built in the next turn */
	struct attempts *attempts; /* NULL: given up by attempts_free(), the store's call is under way */
	struct guard *guard;
	bool under_way;
	unsigned int tries;
	attempt_build_fn *build;
	store_done_fn *done;
	void *arg;
};

struct attempts {
	struct store *store;
	const struct mirror *mirror;
	struct table guards;
	struct list loose; /* attempts without a guard */
	struct list ready;
	struct loop_timer *turn;
	size_t waiting;
	uint64_t counts[ATTEMPT_COUNTS];
};

/* ---- building ---- */

static const struct store_entry *keep(struct txn *txn, const char *key, const void *value, size_t value_bytes)
{
	struct store_record *record;

	if (txn->result < 0)
		return NULL;
	txn->bytes += strlen(key) + value_bytes;
	if (txn->compare_count == STORE_TXN_LIMIT || txn->op_count == STORE_TXN_LIMIT || txn->bytes > STORE_TXN_LIMIT_BYTES) {
		txn->result = error_set(&txn->err, -E2BIG, "the change is too large for one transaction");
		return NULL;
	}
	record = store_record_new(key, value, value_bytes, 0);
	if (store_records_add(&txn->kept, record ? &record->entry : NULL) < 0) {
		txn->result = error_set(&txn->err, -ENOMEM, "out of memory");
		return NULL;
	}
	return &record->entry;
}

void txn_compare(struct txn *txn, const char *key, uint64_t revision)
{
	const struct store_entry *kept = keep(txn, key, NULL, 0);

	if (kept)
		txn->compares[txn->compare_count++] = (struct store_compare){ kept->key, revision };
}

void txn_put(struct txn *txn, const char *key, const void *value, size_t value_bytes)
{
	const struct store_entry *kept = keep(txn, key, value ? value : "", value_bytes);

	if (kept)
		txn->ops[txn->op_count++] = (struct store_op){ kept->key, kept->value, kept->value_bytes };
}

void txn_delete(struct txn *txn, const char *key)
{
	const struct store_entry *kept = keep(txn, key, NULL, 0);

	if (kept)
		txn->ops[txn->op_count++] = (struct store_op){ .key = kept->key };
}

static void txn_done(struct txn **txn)
{
	if (*txn)
		store_records_done(&(*txn)->kept);
	free(*txn);
}

/* ---- ending ---- */

static void make_ready(struct attempts *attempts, struct attempt *attempt)
{
	list_append(&attempts->ready, &attempt->ready);
	loop_timer_arm(attempts->turn, 0);
}

/* The guard is the next one's, or nobody's. */
static void leave_guard(struct attempts *attempts, struct attempt *attempt)
{
	struct guard *guard = attempt->guard;

	list_remove(&attempt->node);
	list_remove(&attempt->ready);
	attempts->waiting--;
	if (!guard)
		return;
	if (!list_empty(&guard->waiting)) {
		make_ready(attempts, container_of(guard->waiting.next, struct attempt, node));
		return;
	}
	table_remove(&attempts->guards, &guard->node);
	free(guard);
}

static enum attempt_count count_of(int result, bool built)
{
	if (result >= 0)
		return ATTEMPT_COUNT_DONE;
	return built ? ATTEMPT_COUNT_FAILED : ATTEMPT_COUNT_REFUSED;
}

static void end(struct attempt *attempt, int result, uint64_t revision, const struct error *err, enum attempt_count count)
{
	struct attempts *attempts = attempt->attempts;

	attempts->counts[count]++;
	leave_guard(attempts, attempt);
	attempt->done(result, revision, result < 0 ? err : NULL, attempt->arg); /* may free `attempts` */
	free(attempt);
}

/* ---- running ---- */

static void on_txn(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct attempt *attempt = arg;
	struct attempts *attempts = attempt->attempts;
	struct error gave_up = {};

	attempt->under_way = false;
	if (!attempts) {
		free(attempt);
		return;
	}
	if (result != -ECANCELED) {
		end(attempt, result, revision, err, count_of(result, /* built= */ true));
		return;
	}
	if (++attempt->tries < ATTEMPT_TRIES) {
		attempts->counts[ATTEMPT_COUNT_RETRIES]++;
		make_ready(attempts, attempt);
		return;
	}
	result = error_set(&gave_up, -EAGAIN, "others wrote at the same time, %d times in a row: try again", ATTEMPT_TRIES);
	end(attempt, result, 0, &gave_up, ATTEMPT_COUNT_GAVE_UP);
}

static void add_guard(struct txn *txn, const struct attempt *attempt)
{
	const char *key = attempt->guard ? attempt->guard->key : NULL;

	if (!key || !txn->op_count)
		return;
	txn_compare(txn, key, mirror_revision_of(attempt->attempts->mirror, key));
	txn_put(txn, key, "", 0);
}

static void run(struct attempt *attempt)
{
	struct attempts *attempts = attempt->attempts;
	_cleanup_(txn_done) struct txn *txn = calloc(1, sizeof(*txn));
	struct error err = {};
	int r = txn ? attempt->build(txn, attempt->arg, &err) : error_set(&err, -ENOMEM, "out of memory");
	bool refused = r < 0;

	if (r >= 0) {
		add_guard(txn, attempt);
		err = txn->err;
		r = txn->result;
	}
	if (r >= 0 && (txn->op_count || txn->compare_count)) {
		attempt->under_way = true;
		r = store_txn(attempts->store, txn->compares, txn->compare_count, txn->ops, txn->op_count, on_txn, attempt, &err);
		if (r >= 0)
			return;
		attempt->under_way = false;
	}
	end(attempt, r, mirror_revision(attempts->mirror), &err, count_of(r, !refused));
}

/* Those that are ready now; what their callbacks make ready waits for the next turn. */
static void run_ready(struct loop_timer *timer, void *arg)
{
	struct attempts *attempts = arg;
	struct list now = LIST_INIT(now);

	(void)timer;
	while (!list_empty(&attempts->ready)) {
		struct list *node = attempts->ready.next;

		list_remove(node);
		list_append(&now, node);
	}
	while (!list_empty(&now)) { /* a callback may free `attempts`, and with it what is here */
		struct attempt *attempt = container_of(now.next, struct attempt, ready);

		list_remove(&attempt->ready);
		run(attempt);
	}
}

/* ---- calls ---- */

static struct guard *guard_of(struct attempts *attempts, const char *key)
{
	struct table_node *node = table_get(&attempts->guards, key);
	const size_t bytes = strlen(key) + 1;
	struct guard *guard;

	if (node)
		return container_of(node, struct guard, node);
	guard = malloc(sizeof(*guard) + bytes);
	if (!guard)
		return NULL;
	memcpy(guard->key, key, bytes);
	list_init(&guard->waiting);
	if (table_add(&attempts->guards, &guard->node, guard->key) < 0) {
		free(guard);
		return NULL;
	}
	return guard;
}

int attempt_run(struct attempts *attempts, const char *guard, attempt_build_fn *build, store_done_fn *done, void *arg,
		struct error *err)
{
	struct attempt *attempt;
	bool first;

	if (attempts->waiting >= ATTEMPT_WAITING_LIMIT) {
		attempts->counts[ATTEMPT_COUNT_BUSY]++;
		return error_set(err, -EAGAIN, "%zu writes wait already: try again", attempts->waiting);
	}
	attempt = malloc(sizeof(*attempt));
	if (!attempt)
		return error_set(err, -ENOMEM, "out of memory");
	*attempt = (struct attempt){ .attempts = attempts, .build = build, .done = done, .arg = arg };
	list_init(&attempt->ready);
	if (guard) {
		attempt->guard = guard_of(attempts, guard);
		if (!attempt->guard) {
			free(attempt);
			return error_set(err, -ENOMEM, "out of memory");
		}
	}
	first = !guard || list_empty(&attempt->guard->waiting);
	list_append(guard ? &attempt->guard->waiting : &attempts->loose, &attempt->node);
	attempts->waiting++;
	if (first)
		make_ready(attempts, attempt);
	return 0;
}

/* ---- new, free, counting ---- */

int attempts_new(struct store *store, const struct mirror *mirror, struct attempts **ret_attempts)
{
	struct attempts *attempts = calloc(1, sizeof(*attempts));

	if (!attempts)
		return -ENOMEM;
	attempts->store = store;
	attempts->mirror = mirror;
	list_init(&attempts->loose);
	list_init(&attempts->ready);
	if (loop_timer_new(store->loop, run_ready, attempts, &attempts->turn) < 0) {
		free(attempts);
		return -ENOMEM;
	}
	*ret_attempts = attempts;
	return 0;
}

static void give_up_all(struct attempts *attempts, struct list *waiting)
{
	struct error err = {};

	error_set(&err, -ESHUTDOWN, "the program is ending");
	while (!list_empty(waiting)) {
		struct attempt *attempt = container_of(waiting->next, struct attempt, node);

		list_remove(&attempt->node);
		list_remove(&attempt->ready);
		attempt->attempts = NULL;
		attempts->counts[ATTEMPT_COUNT_FAILED]++;
		attempt->done(-ESHUTDOWN, 0, &err, attempt->arg);
		if (!attempt->under_way)
			free(attempt); /* else on_txn() does */
	}
}

struct attempts *attempts_free(struct attempts *attempts)
{
	struct table_node *node;

	if (!attempts)
		return NULL;
	attempts->waiting = ATTEMPT_WAITING_LIMIT; /* nothing new */
	give_up_all(attempts, &attempts->loose);
	while ((node = table_first(&attempts->guards))) {
		struct guard *guard = container_of(node, struct guard, node);

		give_up_all(attempts, &guard->waiting);
		table_remove(&attempts->guards, &guard->node);
		free(guard);
	}
	table_done(&attempts->guards);
	loop_timer_free(attempts->turn);
	free(attempts);
	return NULL;
}

uint64_t attempt_count(const struct attempts *attempts, enum attempt_count which)
{
	return attempts->counts[which];
}

const char *attempt_count_name(enum attempt_count which)
{
	static const char *const names[ATTEMPT_COUNTS] = {
		[ATTEMPT_COUNT_DONE] = "done",		 [ATTEMPT_COUNT_REFUSED] = "refused",
		[ATTEMPT_COUNT_RETRIES] = "retries",	 [ATTEMPT_COUNT_GAVE_UP] = "gave-up",
		[ATTEMPT_COUNT_FAILED] = "failed",	 [ATTEMPT_COUNT_BUSY] = "busy",
	};

	return names[which];
}
