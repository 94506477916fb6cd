/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of one process: a queue, an engine that runs it, on a thread of its own or on the loop's, and watches. Whatever waits when
 * the engine is free goes into one batch: reads first, as of the last commit, then all transactions in one commit, so that many
 * that wait share one fsync. Outcomes come back in the same order, and each transaction is told to watches before it is to its
 * caller. So when a read comes back, watches have been told exactly what it saw. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/loop/loop.h"
#include "agent/store/backend.h"
#include "base/cleanup.h"
#include "base/thread.h"

#define GROUP_LIMIT 256 /* transactions of one commit */

static void wake_loop(struct local *local)
{
	const uint64_t one = 1;

	if (write(local->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* the counter is at its limit, so the loop is awake */
}

/* ---- on the engine's thread ---- */

static void list_take(struct list *from, struct list *to)
{
	struct list *node = from->next;

	list_remove(node);
	list_append(to, node);
}

/* Waits for work. Returns false when none is left and none will come. */
static bool take_batch(struct local *local, bool wait, struct list *reads, struct store_request *txns[GROUP_LIMIT], size_t *ret_count)
{
	struct list later = LIST_INIT(later);
	size_t count = 0;

	pthread_mutex_lock(&local->lock);
	while (wait && list_empty(&local->queue) && !local->stopping)
		pthread_cond_wait(&local->changed, &local->lock);
	while (!list_empty(&local->queue) && count < GROUP_LIMIT) {
		struct store_request *request = container_of(local->queue.next, struct store_request, node);

		if (request->kind == STORE_TXN) {
			list_remove(&request->node);
			txns[count++] = request;
		} else {
			list_take(&local->queue, reads);
		}
	}
	pthread_mutex_unlock(&local->lock);
	*ret_count = count;
	return count || !list_empty(reads);
}

static void finish(struct local *local, struct list *reads, struct store_request *const *txns, size_t count)
{
	pthread_mutex_lock(&local->lock);
	while (!list_empty(reads))
		list_take(reads, &local->finished);
	for (size_t i = 0; i < count; i++)
		list_append(&local->finished, &txns[i]->node);
	pthread_mutex_unlock(&local->lock);
}

static bool run_batch(struct local *local, bool wait)
{
	struct list reads = LIST_INIT(reads);
	struct store_request *txns[GROUP_LIMIT];
	size_t count;

	if (!take_batch(local, wait, &reads, txns, &count))
		return false;
	list_for_each(it, &reads)
		local->engine->read(&local->store, container_of(it, struct store_request, node));
	if (count)
		local->engine->write(&local->store, txns, count);
	if (count)
		txns[0]->leads = true;
	finish(local, &reads, txns, count);
	return true;
}

static void *run(void *arg)
{
	struct local *local = arg;

	while (run_batch(local, /* wait= */ true)) {
		wake_loop(local);
		if (local->engine->rest)
			local->engine->rest(&local->store);
	}
	return NULL;
}

/* ---- on the loop ---- */

static void local_submit(struct store *store, struct store_request *request)
{
	struct local *local = (struct local *)store;

	pthread_mutex_lock(&local->lock);
	list_append(&local->queue, &request->node);
	pthread_cond_signal(&local->changed);
	pthread_mutex_unlock(&local->lock);
	if (!local->threaded)
		wake_loop(local);
}

static void submit_changes(struct store *store, struct store_watch *watch, struct store_request *request)
{
	watch->busy = true;
	request->arg = watch;
	request->range = (struct store_range){ .prefix = watch->prefix, .revision = watch->revision };
	store->waiting++;
	local_submit(store, request);
}

static int local_watch(struct store *store, struct store_watch *watch)
{
	struct store_request *request = store_request_new(STORE_CHANGES, 0);

	if (!request)
		return -ENOMEM;
	submit_changes(store, watch, request);
	return 0;
}

/* Tells what the request found, and asks on or goes live. */
static void continue_watch(struct store *store, const struct store_request *changes)
{
	struct store_watch *watch = changes->arg;
	const struct store_records *found = &changes->found;
	struct error err = {};
	size_t next;

	watch->busy = false;
	if (changes->result < 0) {
		store_watch_fail(watch, changes->result, &changes->err);
		return;
	}
	for (size_t i = 0; i < found->count; i = next) {
		for (next = i + 1; next < found->count && found->items[next]->revision == found->items[i]->revision;)
			next++;
		store_watch_tell(watch, found->items + i, next - i, found->items[i]->revision);
	}
	store_watch_tell(watch, NULL, 0, changes->revision); /* what wrote nothing of the prefix */
	if (!watch->fn)
		return;
	watch->live = !changes->more;
	if (!watch->live && local_watch(store, watch) < 0)
		store_watch_fail(watch, error_set(&err, -ENOMEM, "out of memory"), &err);
}

static void complete_changes(struct store *store, struct store_request *changes)
{
	store->waiting--;
	store->calling++;
	continue_watch(store, changes);
	store->calling--;
	store_request_free(changes);
	store_watches_sweep(store);
}

/* A transaction that changed something: those of its operations that did. */
static void tell_watches(struct store *store, const struct store_request *txn)
{
	const struct store_entry *changed[STORE_TXN_LIMIT];
	size_t count = 0;

	for (size_t i = 0; i < txn->ops.count; i++)
		if (txn->ops.items[i]->revision)
			changed[count++] = txn->ops.items[i];
	if (!count)
		return;
	store->calling++; /* who ends meanwhile stays in the list, who begins is not live */
	list_for_each(it, &store->watches) {
		struct store_watch *watch = container_of(it, struct store_watch, node);

		if (watch->live)
			store_watch_tell(watch, changed, count, txn->revision);
	}
	store->calling--;
}

static void complete_finished(struct local *local)
{
	struct list finished = LIST_INIT(finished);

	pthread_mutex_lock(&local->lock);
	while (!list_empty(&local->finished))
		list_take(&local->finished, &finished);
	pthread_mutex_unlock(&local->lock);
	while (!list_empty(&finished)) {
		struct store_request *request = container_of(finished.next, struct store_request, node);

		list_remove(&request->node);
		if (request->kind == STORE_CHANGES) {
			complete_changes(&local->store, request);
			continue;
		}
		local->store.counts[STORE_COUNT_GROUPS] += request->leads;
		if (request->kind == STORE_TXN && request->result == 0)
			tell_watches(&local->store, request);
		store_complete(&local->store, request);
	}
}

static void on_wake(struct loop_io *io, uint32_t events, void *arg)
{
	struct local *local = arg;
	uint64_t count;

	(void)io;
	(void)events;
	if (read(local->wake_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	if (!local->threaded && run_batch(local, /* wait= */ false))
		wake_loop(local); /* there may be more than one batch */
	complete_finished(local);
}

/* ---- for engines ---- */

int local_check_revision(struct store_request *request, uint64_t revision, uint64_t oldest, uint64_t newest)
{
	if (revision >= oldest && revision <= newest)
		return 0;
	request->result = error_set(&request->err, -ESTALE, revision < oldest ?
					    "revision %llu is no longer kept: the store goes back to %llu" :
					    "revision %llu is not there: the store is at %llu",
				    (unsigned long long)revision, (unsigned long long)(revision < oldest ? oldest : newest));
	return request->result;
}

bool local_add(struct store_request *request, const struct store_entry *entry, size_t *bytes)
{
	if (entry && request->found.count && (request->found.count == request->range.limit || *bytes > STORE_PAGE_LIMIT_BYTES)) {
		store_entry_unref(entry);
		request->more = true;
		return false;
	}
	*bytes += entry ? entry->value_bytes : 0;
	if (store_records_add(&request->found, entry) == 0)
		return true;
	request->result = error_set(&request->err, -ENOMEM, "out of memory");
	return false;
}

void local_lost(struct store_request *txn, const char *key, uint64_t revision)
{
	txn->revision = revision;
	txn->result = error_set(&txn->err, -ECANCELED, "store key '%s' was changed by another", key);
}

/* ---- start, close ---- */

static void local_done(struct local *local)
{
	loop_io_remove(local->io);
	fd_close(local->wake_fd);
	pthread_cond_destroy(&local->changed);
	pthread_mutex_destroy(&local->lock);
}

static void local_close(struct store *store)
{
	struct local *local = (struct local *)store;

	if (local->threaded) {
		pthread_mutex_lock(&local->lock);
		local->stopping = true;
		pthread_cond_signal(&local->changed);
		pthread_mutex_unlock(&local->lock);
		pthread_join(local->thread, NULL);
	} else {
		while (run_batch(local, /* wait= */ false))
			;
	}
	list_for_each(it, &store->watches) /* nobody asks on */
		container_of(it, struct store_watch, node)->fn = NULL;
	complete_finished(local);
	assert(store->waiting == 0);
	store_watches_sweep(store);
	local_done(local);
	local->engine->close(store);
}

static const struct store_backend local_backend = {
	.submit = local_submit,
	.watch = local_watch,
	.close = local_close,
};

static int start_thread(struct local *local, const char *name)
{
	return thread_start(&local->thread, NULL, name, run, local);
}

int local_start(struct local *local, struct loop *loop, const struct engine *engine, const char *thread_name)
{
	int r;

	store_init(&local->store, loop, &local_backend);
	local->engine = engine;
	local->threaded = thread_name;
	pthread_mutex_init(&local->lock, NULL);
	pthread_cond_init(&local->changed, NULL);
	list_init(&local->queue);
	list_init(&local->finished);
	local->io = NULL;
	local->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = local->wake_fd < 0 ? -errno : loop_io_add(loop, local->wake_fd, EPOLLIN, on_wake, local, &local->io);
	if (r >= 0 && thread_name)
		r = start_thread(local, thread_name);
	if (r < 0)
		local_done(local);
	return r;
}
