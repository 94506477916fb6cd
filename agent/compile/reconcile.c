/* SPDX-License-Identifier: Apache-2.0 */
#include "reconcile.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define AGREEING_READINGS 3

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

/* A row or a slot at one moment. */
struct count {
	uint32_t incarnation;
	uint64_t open;
};

struct snapshot {
	struct count *rows;
	struct count *slots;
	uint64_t *row_attempts;
	uint64_t *target_attempts; /* by object id; 0: all */
};

struct reading {
	struct snapshot before, after;
	struct kernel_limits limits;
	int64_t *row_held;
	int64_t *slot_held;
};

struct suspicion { /* a difference that was read, and how many times in a row */
	uint32_t incarnation;
	unsigned readings;
	int64_t difference; /* to be added */
};

struct reconcile {
	const struct kernel_memory *memory;
	const struct slots *slots;
	size_t corrected;
	struct suspicion *row_suspicions;
	struct suspicion *slot_suspicions;
};

static bool snapshot_init(struct snapshot *snapshot, const struct kernel_limits *limits)
{
	snapshot->rows = calloc(limits->rows, sizeof(*snapshot->rows));
	snapshot->slots = calloc(limits->endpoints, sizeof(*snapshot->slots));
	snapshot->row_attempts = calloc(limits->rows, sizeof(*snapshot->row_attempts));
	snapshot->target_attempts = calloc(limits->objects, sizeof(*snapshot->target_attempts));
	return snapshot->rows && snapshot->slots && snapshot->row_attempts && snapshot->target_attempts;
}

static void snapshot_done(struct snapshot *snapshot)
{
	free(snapshot->rows);
	free(snapshot->slots);
	free(snapshot->row_attempts);
	free(snapshot->target_attempts);
}

static void snapshot_take(struct snapshot *snapshot, const struct kernel_memory *memory)
{
	for (uint32_t i = 0; i < memory->limits.rows; i++) {
		const struct row *row = &memory->rows[i];
		const uint32_t target = LOAD(row->target);

		snapshot->rows[i] = (struct count){ LOAD(row->incarnation), LOAD(row->open) };
		snapshot->row_attempts[i] = LOAD(row->attempts);
		snapshot->target_attempts[0] += snapshot->row_attempts[i];
		if (target && target < memory->limits.objects)
			snapshot->target_attempts[target] += snapshot->row_attempts[i];
	}
	for (uint32_t i = 0; i < memory->limits.endpoints; i++)
		snapshot->slots[i] = (struct count){ LOAD(memory->endpoints[i].incarnation), LOAD(memory->endpoints[i].open) };
}

static int add_account(const struct account *account, void *arg)
{
	struct reading *reading = arg;

	if (account->row < reading->limits.rows && reading->before.rows[account->row].incarnation == account->row_incarnation)
		reading->row_held[account->row]++;
	if (account->slot < reading->limits.endpoints && reading->before.slots[account->slot].incarnation == account->slot_incarnation)
		reading->slot_held[account->slot]++;
	return 0;
}

static void cleanup_reading(struct reading **reading)
{
	reading_free(*reading);
}

int reading_take(const struct apply_kernel *kernel, struct reading **ret_reading)
{
	const struct kernel_limits *limits = &kernel->memory->limits;
	_cleanup_(cleanup_reading) struct reading *reading = calloc(1, sizeof(*reading));
	int r;

	if (!reading || !snapshot_init(&reading->before, limits) || !snapshot_init(&reading->after, limits))
		return -ENOMEM;
	reading->limits = *limits;
	reading->row_held = calloc(limits->rows, sizeof(*reading->row_held));
	reading->slot_held = calloc(limits->endpoints, sizeof(*reading->slot_held));
	if (!reading->row_held || !reading->slot_held)
		return -ENOMEM;
	snapshot_take(&reading->before, kernel->memory);
	r = kernel->grace_wait(kernel->arg);
	if (r >= 0)
		r = kernel->account_each(kernel->arg, add_account, reading);
	if (r >= 0)
		r = kernel->grace_wait(kernel->arg);
	if (r < 0)
		return r;
	snapshot_take(&reading->after, kernel->memory);
	*ret_reading = TAKE_PTR(reading);
	return 0;
}

struct reading *reading_free(struct reading *reading)
{
	if (!reading)
		return NULL;
	snapshot_done(&reading->before);
	snapshot_done(&reading->after);
	free(reading->row_held);
	free(reading->slot_held);
	free(reading);
	return NULL;
}

int reconcile_new(const struct kernel_memory *memory, const struct slots *slots, struct reconcile **ret_reconcile)
{
	struct reconcile *reconcile = calloc(1, sizeof(*reconcile));

	if (!reconcile)
		return -ENOMEM;
	reconcile->memory = memory;
	reconcile->slots = slots;
	reconcile->row_suspicions = calloc(memory->limits.rows, sizeof(*reconcile->row_suspicions));
	reconcile->slot_suspicions = calloc(memory->limits.endpoints, sizeof(*reconcile->slot_suspicions));
	if (!reconcile->row_suspicions || !reconcile->slot_suspicions) {
		reconcile_free(reconcile);
		return -ENOMEM;
	}
	*ret_reconcile = reconcile;
	return 0;
}

struct reconcile *reconcile_free(struct reconcile *reconcile)
{
	if (!reconcile)
		return NULL;
	free(reconcile->row_suspicions);
	free(reconcile->slot_suspicions);
	free(reconcile);
	return NULL;
}

/* What this reading says of one count. True when it is to be corrected now. */
static bool weigh(struct suspicion *suspicion, const struct count *before, const struct count *after, bool attempted,
		  int64_t held)
{
	const int64_t difference = held - (int64_t)after->open;

	if (before->incarnation != after->incarnation || !(after->incarnation & 1)) {
		*suspicion = (struct suspicion){};
		return false;
	}
	if (before->open != after->open || attempted) { /* says nothing, but ends the row of those that agree */
		suspicion->readings = 0;
		return false;
	}
	if (suspicion->incarnation != after->incarnation || suspicion->difference != difference)
		*suspicion = (struct suspicion){ .incarnation = after->incarnation, .difference = difference };
	return difference && ++suspicion->readings == AGREEING_READINGS;
}

/* Whether the count was corrected; nothing more is known of it then. */
static bool correct(struct suspicion *suspicion, const uint32_t *incarnation, __u64 *open)
{
	const bool same_owner = *incarnation == suspicion->incarnation;

	if (same_owner)
		__atomic_fetch_add(open, (__u64)suspicion->difference, __ATOMIC_RELAXED);
	*suspicion = (struct suspicion){};
	return same_owner;
}

size_t reconcile_add(struct reconcile *reconcile, const struct reading *reading)
{
	const struct snapshot *before = &reading->before, *after = &reading->after;
	const struct kernel_memory *memory = reconcile->memory;
	size_t open = 0;

	for (uint32_t i = 0; i < memory->limits.rows; i++) {
		struct suspicion *suspicion = &reconcile->row_suspicions[i];
		const bool attempted = before->row_attempts[i] != after->row_attempts[i];

		if (weigh(suspicion, &before->rows[i], &after->rows[i], attempted, reading->row_held[i]))
			reconcile->corrected += correct(suspicion, &memory->rows[i].incarnation, &memory->rows[i].open);
		open += suspicion->difference != 0;
	}
	for (uint32_t i = 0; i < memory->limits.endpoints; i++) {
		struct suspicion *suspicion = &reconcile->slot_suspicions[i];
		const uint32_t target = slots_target(reconcile->slots, i);
		const bool attempted = before->target_attempts[target] != after->target_attempts[target];

		if (weigh(suspicion, &before->slots[i], &after->slots[i], attempted, reading->slot_held[i]))
			reconcile->corrected += correct(suspicion, &memory->endpoints[i].incarnation, &memory->endpoints[i].open);
		open += suspicion->difference != 0;
	}
	return open;
}

size_t reconcile_corrected(const struct reconcile *reconcile)
{
	return reconcile->corrected;
}
