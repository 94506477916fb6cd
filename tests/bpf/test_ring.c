/* SPDX-License-Identifier: Apache-2.0 */
/* Our reading end of a ring (maps/ring.h), against the kernel's writing end. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/time.h"
#include "maps/ring.h"
#include "tests/bpf/ring_writer.h" /* before what uses it */
#include "ring_writer.skel.h"
#include "tests/lib/test.h"

#define WAIT_NS (60 * NSEC_PER_SEC)
#define CONCURRENT 20000 /* records */

struct fixture {
	struct ring_writer *writer;
	struct ring *ring;
	uint64_t next; /* number of the record to come */
	uint64_t bytes, wrong; /* read so far; records that are not what was written */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->writer = ring_writer__open();
	EXPECT(f->writer);
	memset(f->writer->bss->record.rest, 0x5a, sizeof(f->writer->bss->record.rest));
	EXPECT_OK(ring_writer__load(f->writer));
	EXPECT_OK(ring_new(bpf_map__fd(f->writer->maps.ring), &f->ring));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ring_free(f->ring);
	ring_writer__destroy(f->writer);
	free(f);
	return 0;
}

/* As many as there is room for. */
static void write_records(struct fixture *f, uint32_t most)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);

	f->writer->bss->wanted = most;
	EXPECT_OK(bpf_prog_test_run_opts(bpf_program__fd(f->writer->progs.write_records), &options));
}

static void take(const void *bytes, size_t length, void *arg)
{
	const struct ring_record *record = bytes;
	struct fixture *f = arg;
	bool good = length == ring_record_bytes(f->next) && record->number == f->next;

	for (size_t i = 0; good && i < length - sizeof(record->number); i++)
		good = record->rest[i] == 0x5a;
	f->wrong += !good;
	f->bytes += length;
	f->next++;
}

static uint64_t written(const struct fixture *f)
{
	return __atomic_load_n(&f->writer->bss->written, __ATOMIC_ACQUIRE);
}

TEST(records_of_any_length_are_whole_wherever_the_ring_ends_and_discarded_ones_are_passed_over)
{
	struct fixture *f = *state;

	for (int round = 0; round < 2000; round++) {
		write_records(f, 1 + (uint32_t)round % 20);
		EXPECT_OK(ring_read(f->ring, take, f));
		EXPECT_EQ(f->next, written(f));
	}
	EXPECT_EQ(f->wrong, 0);
	EXPECT(f->bytes > 300 * RING_BYTES); /* it ended that often */
}

TEST(a_full_ring_is_read_to_its_end_and_goes_on)
{
	struct fixture *f = *state;

	for (int round = 0; round < 50; round++) {
		const uint64_t before = written(f);

		write_records(f, 10000);
		EXPECT(written(f) > before && written(f) < before + RING_BYTES / 16);
		EXPECT_OK(ring_read(f->ring, take, f));
		EXPECT_EQ(f->next, written(f));
	}
	EXPECT_EQ(f->wrong, 0);
}

static void *write_all(void *arg)
{
	struct fixture *f = arg;
	const uint64_t until_ns = test_now_ns() + WAIT_NS;

	while (written(f) < CONCURRENT && test_now_ns() < until_ns)
		write_records(f, 10);
	return NULL;
}

TEST(what_is_written_while_it_is_read_comes_once_and_whole)
{
	struct fixture *f = *state;
	const uint64_t until_ns = test_now_ns() + WAIT_NS;
	pthread_t writer;

	EXPECT_OK(pthread_create(&writer, NULL, write_all, f));
	while (f->next < CONCURRENT && test_now_ns() < until_ns) {
		EXPECT_OK(ring_read(f->ring, take, f));
		sched_yield();
	}
	EXPECT_OK(pthread_join(writer, NULL));
	EXPECT_OK(ring_read(f->ring, take, f));
	EXPECT_EQ(f->next, written(f));
	EXPECT(f->next >= CONCURRENT);
	EXPECT_EQ(f->wrong, 0);
}

#define ON_RING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_RING(records_of_any_length_are_whole_wherever_the_ring_ends_and_discarded_ones_are_passed_over),
		ON_RING(a_full_ring_is_read_to_its_end_and_goes_on),
		ON_RING(what_is_written_while_it_is_read_comes_once_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
