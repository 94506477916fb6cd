/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define MAGIC "weft pools 1"
#define COLUMN_BITS 16
#define COLUMN_MAX ((1u << COLUMN_BITS) - 1) /* a process that has more of one pool counts as so many */
#define LOCK_OF_TABLE LEDGER_COLUMNS /* bytes of the file that are locked: one for each column, then this one */
#define LOOK_AGAIN_NS (10 * NSEC_PER_MSEC)

struct ledger_row {
	char key[LEDGER_KEY_BYTES];
	uint64_t counts[LEDGER_KINDS]; /* COLUMN_BITS for each column */
	uint32_t said[LEDGER_KINDS];
	uint32_t waits_ms[LEDGER_COLUMNS]; /* CLOCK_MONOTONIC, modulo 2^32 */
	uint32_t holders; /* a bit for each column; written with the table's lock. None: the row is free */
	uint32_t pad;
};
_Static_assert(sizeof(struct ledger_row) == 128, "the file is named for its layout: raise LEDGER_FILE");

struct ledger_table {
	char magic[16];
	uint32_t claimed; /* a bit for each column that a process has, or had and nobody has cleared since; with the table's lock */
	uint32_t row_count; /* rows that were ever used: what follows takes no memory; with the table's lock */
	uint32_t pad[26];
	struct ledger_row rows[LEDGER_ROWS];
};

struct ledger {
	int fd; /* -1: no file */
	bool has_column; /* of the file */
	unsigned int column;
	struct ledger_table *table; /* NULL: no file */
	pthread_mutex_t mutex; /* a lock of the file is this process's, whichever thread has it */
	uint64_t dead_ns[LEDGER_COLUMNS]; /* that its process was seen to be gone; 0: it was not */
	uint64_t alone; /* rows that are this process's alone, since it began; atomic */
};

/* --- locks ---------------------------------------------------------------------------------------------------------------------- */

/* Of the open file, not of the process: it goes when that is closed, as it is with the process at the latest. */
static int lock_byte(const struct ledger *ledger, int command, short type, unsigned int byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int r;

	do
		r = fcntl(ledger->fd, command, &lock);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : lock.l_type;
}

static bool is_alive(const struct ledger *ledger, unsigned int column)
{
	return lock_byte(ledger, F_OFD_GETLK, F_WRLCK, column) != F_UNLCK;
}

static void table_lock(struct ledger *ledger)
{
	int r;

	pthread_mutex_lock(&ledger->mutex);
	r = lock_byte(ledger, F_OFD_SETLKW, F_WRLCK, LOCK_OF_TABLE);
	if (r < 0)
		log_limited(LOG_LEVEL_ERROR, "the table of pools cannot be locked", LOG_F("error", LOG_STR(strerror(-r))));
}

static void table_unlock(struct ledger *ledger)
{
	lock_byte(ledger, F_OFD_SETLK, F_UNLCK, LOCK_OF_TABLE);
	pthread_mutex_unlock(&ledger->mutex);
}

/* --- words ---------------------------------------------------------------------------------------------------------------------- */

static uint64_t bits_of(unsigned int column, uint64_t count)
{
	return count << (COLUMN_BITS * column);
}

static uint32_t others_in(uint64_t word, unsigned int column)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < LEDGER_COLUMNS; i++, word >>= COLUMN_BITS)
		sum += i == column ? 0 : word & COLUMN_MAX;
	return sum;
}

static uint64_t with_own(uint64_t word, unsigned int column, uint32_t own)
{
	return (word & ~bits_of(column, COLUMN_MAX)) | bits_of(column, own < COLUMN_MAX ? own : COLUMN_MAX);
}

static void word_set(uint64_t *at, unsigned int column, uint32_t own)
{
	uint64_t word = __atomic_load_n(at, __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(at, &word, with_own(word, column, own), true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
}

bool ledger_enter(struct ledger *ledger, struct ledger_row *row, enum ledger_kind kind, uint32_t own, uint32_t max)
{
	uint64_t word = __atomic_load_n(&row->counts[kind], __ATOMIC_RELAXED);

	do
		if ((uint64_t)own + others_in(word, ledger->column) >= max)
			return false;
	while (!__atomic_compare_exchange_n(&row->counts[kind], &word, with_own(word, ledger->column, own + 1), true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	return true;
}

void ledger_leave(struct ledger *ledger, struct ledger_row *row, enum ledger_kind kind, uint32_t own)
{
	word_set(&row->counts[kind], ledger->column, own);
}

uint32_t ledger_others(const struct ledger *ledger, const struct ledger_row *row, enum ledger_kind kind)
{
	return others_in(__atomic_load_n(&row->counts[kind], __ATOMIC_RELAXED), ledger->column);
}

bool ledger_is_shared(const struct ledger *ledger, const struct ledger_row *row)
{
	return __atomic_load_n(&row->holders, __ATOMIC_RELAXED) & ~(1u << ledger->column);
}

void ledger_say(struct ledger_row *row, enum ledger_kind kind, uint32_t max)
{
	__atomic_store_n(&row->said[kind], max, __ATOMIC_RELAXED);
}

uint32_t ledger_said(const struct ledger_row *row, enum ledger_kind kind)
{
	return __atomic_load_n(&row->said[kind], __ATOMIC_RELAXED);
}

void ledger_wait(struct ledger *ledger, struct ledger_row *row, uint64_t now_ns)
{
	__atomic_store_n(&row->waits_ms[ledger->column], (uint32_t)(now_ns / NSEC_PER_MSEC), __ATOMIC_RELAXED);
}

uint32_t ledger_others_wait(const struct ledger *ledger, const struct ledger_row *row, uint64_t now_ns)
{
	const uint64_t word = __atomic_load_n(&row->counts[LEDGER_PENDING], __ATOMIC_RELAXED);
	uint32_t sum = 0;

	for (unsigned int i = 0; i < LEDGER_COLUMNS && word; i++) {
		const uint32_t ago_ms = (uint32_t)(now_ns / NSEC_PER_MSEC) - __atomic_load_n(&row->waits_ms[i], __ATOMIC_RELAXED);

		/* Clocks of two processes are the same one; what is read a moment later may be a little ahead. */
		if (i != ledger->column && (int32_t)ago_ms < (int32_t)(LEDGER_WAITS_NS / NSEC_PER_MSEC))
			sum += word >> (COLUMN_BITS * i) & COLUMN_MAX;
	}
	return sum;
}

/* --- rows ----------------------------------------------------------------------------------------------------------------------- */

static bool is_in_table(const struct ledger *ledger, const struct ledger_row *row)
{
	return ledger->table && row >= ledger->table->rows && row < ledger->table->rows + LEDGER_ROWS;
}

/* Memory of this process. */
static struct ledger_row *row_alone(struct ledger *ledger, const char *key)
{
	struct ledger_row *row = calloc(1, sizeof(*row));

	__atomic_add_fetch(&ledger->alone, 1, __ATOMIC_RELAXED);
	if (row)
		strcpy(row->key, key);
	return row;
}

/* With the lock. NULL: there is none, and no room for one. */
static struct ledger_row *row_find(struct ledger_table *table, const char *key)
{
	struct ledger_row *room = NULL;

	for (size_t i = 0; i < table->row_count; i++) {
		struct ledger_row *row = &table->rows[i];

		if (row->holders && !strncmp(row->key, key, LEDGER_KEY_BYTES))
			return row;
		if (!row->holders && !room)
			room = row;
	}
	if (!room && table->row_count < LEDGER_ROWS)
		room = &table->rows[table->row_count++];
	if (!room)
		return NULL;
	*room = (struct ledger_row){};
	strcpy(room->key, key);
	return room;
}

static void row_drop(struct ledger_row *row, unsigned int column)
{
	for (size_t kind = 0; kind < LEDGER_KINDS; kind++)
		word_set(&row->counts[kind], column, 0);
	__atomic_and_fetch(&row->holders, ~(1u << column), __ATOMIC_RELAXED);
}

/* With the lock: everything of a column that nobody has. */
static void column_clear(struct ledger *ledger, unsigned int column)
{
	struct ledger_table *table = ledger->table;

	for (size_t i = 0; i < table->row_count; i++)
		if (table->rows[i].holders & 1u << column)
			row_drop(&table->rows[i], column);
	table->claimed &= ~(1u << column);
	ledger->dead_ns[column] = 0;
}

static void sweep(struct ledger *ledger, uint64_t now_ns)
{
	for (unsigned int i = 0; i < LEDGER_COLUMNS; i++) {
		if (i == ledger->column || !(ledger->table->claimed & 1u << i) || is_alive(ledger, i))
			ledger->dead_ns[i] = 0;
		else if (!ledger->dead_ns[i])
			ledger->dead_ns[i] = now_ns;
		else if (now_ns - ledger->dead_ns[i] >= LEDGER_DEAD_NS)
			column_clear(ledger, i);
	}
}

void ledger_sweep(struct ledger *ledger, uint64_t now_ns)
{
	if (!ledger->table)
		return;
	table_lock(ledger);
	sweep(ledger, now_ns);
	table_unlock(ledger);
}

struct ledger_row *ledger_get(struct ledger *ledger, const char *key)
{
	struct ledger_row *row;

	if (!ledger->table)
		return row_alone(ledger, key);
	table_lock(ledger);
	sweep(ledger, time_now_ns());
	row = row_find(ledger->table, key);
	if (row)
		__atomic_or_fetch(&row->holders, 1u << ledger->column, __ATOMIC_RELAXED);
	table_unlock(ledger);
	if (row)
		return row;
	log_limited(LOG_LEVEL_WARN, "too many pools: one is counted by each weft-proxy for itself", LOG_F("pool", LOG_STR(key)));
	return row_alone(ledger, key);
}

uint64_t ledger_alone(const struct ledger *ledger)
{
	return __atomic_load_n(&ledger->alone, __ATOMIC_RELAXED);
}

void ledger_put(struct ledger *ledger, struct ledger_row *row)
{
	if (!is_in_table(ledger, row)) {
		free(row);
		return;
	}
	table_lock(ledger);
	row_drop(row, ledger->column);
	table_unlock(ledger);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------- */

/* With the lock of the table. A file is whole once it has its magic. */
static int table_init(struct ledger *ledger)
{
	struct stat st;

	if (fstat(ledger->fd, &st) < 0 || (st.st_size == 0 && ftruncate(ledger->fd, sizeof(struct ledger_table)) < 0))
		return -errno;
	if (st.st_size != 0 && st.st_size != sizeof(struct ledger_table))
		return -EPROTO;
	ledger->table = mmap(NULL, sizeof(struct ledger_table), PROT_READ | PROT_WRITE, MAP_SHARED, ledger->fd, 0);
	if (ledger->table == MAP_FAILED) {
		ledger->table = NULL;
		return -errno;
	}
	if (!*ledger->table->magic)
		strcpy(ledger->table->magic, MAGIC);
	return strncmp(ledger->table->magic, MAGIC, sizeof(ledger->table->magic)) || ledger->table->row_count > LEDGER_ROWS ? -EPROTO : 0;
}

/* With the lock. One that was somebody's who is gone is the last choice: what that one had counts for a moment longer. */
static bool column_claim(struct ledger *ledger)
{
	const uint32_t claimed = ledger->table->claimed;

	for (unsigned int i = 0; i < 2 * LEDGER_COLUMNS; i++) {
		const unsigned int column = i % LEDGER_COLUMNS;

		if ((i < LEDGER_COLUMNS) == !!(claimed & 1u << column) || lock_byte(ledger, F_OFD_SETLK, F_WRLCK, column) < 0)
			continue;
		column_clear(ledger, column);
		ledger->table->claimed |= 1u << column;
		ledger->column = column;
		return ledger->has_column = true;
	}
	return false;
}

static int table_open(struct ledger *ledger)
{
	const uint64_t until_ns = time_now_ns() + LEDGER_BUSY_NS;
	int r;

	table_lock(ledger);
	r = table_init(ledger);
	while (r == 0 && !column_claim(ledger)) { /* one of them is about to be ended */
		table_unlock(ledger);
		if (time_now_ns() > until_ns)
			return -EBUSY;
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_AGAIN_NS }, NULL);
		table_lock(ledger);
	}
	if (r == 0)
		sweep(ledger, time_now_ns());
	table_unlock(ledger);
	return r;
}

int ledger_open(const char *path, struct ledger **ret_ledger, struct error *err)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	int r = 0;

	if (!ledger)
		return error_set(err, -ENOMEM, "out of memory");
	ledger->fd = -1;
	pthread_mutex_init(&ledger->mutex, NULL);
	if (path) {
		ledger->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		r = ledger->fd < 0 ? -errno : table_open(ledger);
	}
	if (r < 0) {
		ledger_close(ledger);
		return error_set(err, r, "cannot use '%s': %s", path, r == -EPROTO ? "it is no table of pools" : strerror(-r));
	}
	*ret_ledger = ledger;
	return 0;
}

struct ledger *ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return NULL;
	if (ledger->has_column) {
		table_lock(ledger);
		column_clear(ledger, ledger->column);
		table_unlock(ledger);
	}
	if (ledger->table)
		munmap(ledger->table, sizeof(*ledger->table));
	fd_close(ledger->fd);
	pthread_mutex_destroy(&ledger->mutex);
	free(ledger);
	return NULL;
}
