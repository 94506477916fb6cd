/* SPDX-License-Identifier: Apache-2.0 */
/* store_write FILE WRITERS SECONDS: writers that each wait for their transaction before they begin the next one, on an SQLite store
 * that is made for it at FILE. A transaction is one as the control API makes it: a resource of 1.2 kB, an audit record of 1.5 kB and a
 * guard that is compared, the writer's own. A line of JSON; beside it what the disk does alone: as many bytes appended and synced, one
 * at a time. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/loop/loop.h"
#include "agent/store/store.h"
#include "base/cleanup.h"
#include "base/time.h"

enum { RESOURCE_BYTES = 1200, RECORD_BYTES = 1500, PAGE_BYTES = 4096, COMMIT_PAGES = 7, SAMPLES = 1 << 20 };

static struct {
	struct loop *loop;
	struct store *store;
	uint64_t end_ns, took_ns[SAMPLES];
	size_t count, running;
} bench;

struct writer {
	int index;
	unsigned int number;
	uint64_t guard_revision, started_ns;
};

static void begin(struct writer *writer);

static void written(int result, uint64_t revision, const struct error *error, void *arg)
{
	struct writer *writer = arg;
	const uint64_t now_ns = time_now_ns();

	if (result < 0)
		errx(1, "cannot write: %s", error->message);
	if (bench.count < SAMPLES)
		bench.took_ns[bench.count] = now_ns - writer->started_ns;
	bench.count++;
	writer->guard_revision = revision;
	if (now_ns < bench.end_ns)
		begin(writer);
	else if (--bench.running == 0)
		loop_stop(bench.loop, 0);
}

static void begin(struct writer *writer)
{
	static char value[RECORD_BYTES];
	char guard[64], resource[128], record[128];
	const struct store_compare compare = { guard, writer->guard_revision };
	const struct store_op ops[] = { { guard, "", 0 }, { resource, value, RESOURCE_BYTES }, { record, value, RECORD_BYTES } };
	struct error error = {};

	writer->started_ns = time_now_ns();
	snprintf(guard, sizeof(guard), "config/guard/123456789012/eu-west-1/mesh-%d", writer->index);
	snprintf(resource, sizeof(resource), "config/resource/123456789012/eu-west-1/virtualNode/mesh-%d/node-%u", writer->index,
		 writer->number % 1000);
	snprintf(record, sizeof(record), "audit/%020llu-%d", (unsigned long long)writer->started_ns, writer->index);
	writer->number++;
	if (store_txn(bench.store, &compare, 1, ops, ARRAY_SIZE(ops), written, writer, &error) < 0)
		errx(1, "cannot write: %s", error.message);
}

/* Appends of what a commit of one transaction appends to SQLite's log. */
static double measure_disk(const char *path, double seconds)
{
	static char pages[COMMIT_PAGES * PAGE_BYTES];
	char file[512];
	_cleanup_close_ int fd = -1;
	uint64_t start_ns, now_ns;
	size_t count = 0;

	snprintf(file, sizeof(file), "%s-disk", path);
	fd = open(file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		err(1, "cannot create '%s'", file);
	start_ns = time_now_ns();
	do {
		if (pwrite(fd, pages, sizeof(pages), (off_t)(count % 100 * sizeof(pages))) != sizeof(pages) || fdatasync(fd) < 0)
			err(1, "cannot write '%s'", file);
		count++;
		now_ns = time_now_ns();
	} while ((double)(now_ns - start_ns) / 1e9 < seconds);
	unlink(file);
	return (double)count * 1e9 / (double)(now_ns - start_ns);
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char *argv[])
{
	const size_t count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	const double seconds = argc == 4 ? strtod(argv[3], NULL) : 0;
	_cleanup_free_ struct writer *writers = calloc(count + 1, sizeof(*writers));
	struct error error = {};
	uint64_t start_ns;
	double took_s;
	size_t samples;

	if (count < 1 || seconds <= 0 || !writers)
		errx(2, "usage: store_write FILE WRITERS SECONDS");
	if (loop_new(&bench.loop) < 0)
		errx(1, "cannot begin");
	if (store_open_sqlite(bench.loop, argv[1], &bench.store, &error) < 0)
		errx(1, "%s", error.message);
	start_ns = time_now_ns();
	bench.end_ns = start_ns + (uint64_t)(seconds * 1e9);
	bench.running = count;
	for (size_t i = 0; i < count; i++) {
		writers[i].index = (int)i;
		begin(&writers[i]);
	}
	loop_run(bench.loop);
	took_s = (double)(time_now_ns() - start_ns) / 1e9;
	samples = MIN(bench.count, (size_t)SAMPLES);
	qsort(bench.took_ns, samples, sizeof(bench.took_ns[0]), compare_times);
	printf("{\"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"per_fsync\": %.2f, \"disk_per_second\": %.1f}\n",
	       (double)bench.count / took_s, (double)bench.took_ns[samples / 2] / 1e3, (double)bench.took_ns[samples * 99 / 100] / 1e3,
	       (double)bench.count / (double)store_count(bench.store, STORE_COUNT_GROUPS), measure_disk(argv[1], seconds));
	store_close(bench.store);
	loop_free(bench.loop);
	return 0;
}
