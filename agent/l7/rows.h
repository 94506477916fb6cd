/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of counters that one thread makes and adds to, word by word, and others read at any time, which see each word whole. A row begins
 * with its key, and stays where it is until the end, so that pointers to it are as good as the key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Adds to a word that this thread alone writes. In C this is a race with those who read; in fact a word of eight bytes is stored whole, by one
 * instruction, which is why it is no atomic here: that would be three, for some 30 words of a request. ThreadSanitizer is shown what is
 * meant, so that it still finds a word that two threads write. */
#ifdef __SANITIZE_THREAD__
#define COUNT(word, n) __atomic_store_n(&(word), (word) + (uint64_t)(n), __ATOMIC_RELAXED)
#else
#define COUNT(word, n) ((void)((word) += (uint64_t)(n)))
#endif

struct rows { /* all zero to begin with */
	size_t count;
	struct rows_table *table; /* replaced as a whole; NULL: none yet */
};
void rows_done(struct rows *rows); /* nobody reads any more */

struct rows_kind {
	size_t key_bytes; /* whole words of 32 bits, without holes */
	size_t row_bytes;
	size_t max;
};
/* Made on first use, zero but for its key. NULL: no memory, or as many as there may be. */
void *rows_get(struct rows *rows, const struct rows_kind *kind, const void *key);

/* From any thread: each row that was there when it began, once. */
struct rows_walk {
	const struct rows_table *table;
	size_t place;
};
struct rows_walk rows_walk(const struct rows *rows);
void *rows_next(struct rows_walk *walk); /* NULL: that was all */
