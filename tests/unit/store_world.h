/* SPDX-License-Identifier: Apache-2.0 */
/* Stores in tests: calls that wait for their outcome, and outcomes as text. */
#pragma once

#include "agent/loop/loop.h"
#include "agent/store/store.h"
#include "tests/lib/test.h"

struct store_world {
	struct loop *loop;
	struct store *store;
	char directory[64], path[96];
};

/* Turns the loop until the condition holds, for 20 s at most. */
#define TURN_UNTIL(w, condition)                                                                                              \
	do {                                                                                                                   \
		const uint64_t _end_ns = store_world_deadline_ns();                                                                  \
		while (!(condition))                                                                                           \
			if (!store_world_turn((w), _end_ns))                                                                         \
				fail_msg("not reached: %s", #condition);                                                       \
	} while (0)
uint64_t store_world_deadline_ns(void);
bool store_world_turn(struct store_world *w, uint64_t end_ns); /* false: it is too late */

/* A call's outcome. */
struct outcome {
	bool done;
	int result;
	uint64_t revision;
	struct error err;
};
void on_done(int result, uint64_t revision, const struct error *err, void *outcome);

void store_world_init(struct store_world *w); /* a loop, a directory; no store */
void store_world_done(struct store_world *w); /* closes the store as well */

/* Waits. Returns the result. */
int txn(struct store_world *w, const struct store_compare *compares, size_t compare_count, const struct store_op *ops, size_t op_count,
	struct outcome *ret_outcome);
uint64_t put(struct store_world *w, const char *key, const char *value); /* must succeed; the revision */
uint64_t put_bytes(struct store_world *w, const char *key, const void *value, size_t bytes);
uint64_t erase(struct store_world *w, const char *key);
/* The value as text, "-" where there is none; with its revision "value@7". */
const char *value_of(struct store_world *w, const char *key);
uint64_t revision_of(struct store_world *w, const char *key); /* 0: absent */
uint64_t revision_now(struct store_world *w);
/* "a=1@1 b=2@2", then " ..." where there is more. -errno in words where it failed. */
const char *listed(struct store_world *w, const struct store_range *range);
#define LISTED(w, ...) listed((w), &(const struct store_range){ __VA_ARGS__ })

/* What a watch was told: "[3: a=1 b=-] [4:]". */
struct watcher {
	struct store_world *w;
	char text[4096];
	int result;
	uint64_t revision;
	int calls;
	struct store_watch *watch;
	struct error err;
};
void on_watch(int result, const struct store_entry *const *entries, size_t count, uint64_t revision, const struct error *err,
	      void *watcher);
