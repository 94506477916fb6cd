/* SPDX-License-Identifier: Apache-2.0 */
/* From the kernel's ring of flow records to the agent's: when it is read, and that what is lost is counted. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/telemetry/flows.h"
#include "base/time.h"
#include "flow_writer.skel.h"
#include "tests/lib/test.h"
#include "tests/unit/clock.h"

#define RECORD_BYTES (sizeof(struct flow_record) + 8) /* in the ring, with its header */
#define QUARTER (FLOW_RING_BYTES / 4 / RECORD_BYTES + 2)
#define FULL (FLOW_RING_BYTES / RECORD_BYTES)

struct fixture {
	struct flow_writer *writer;
	struct kernel kernel;
	struct loop *loop;
	struct flows *flows;
};

static void start_reader(struct fixture *f)
{
	struct error err = {};

	EXPECT_OK(flows_new(f->loop, &f->kernel, &f->flows, &err), &err);
	EXPECT_OK(loop_turn(f->loop, 0)); /* its first look */
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_stop(); /* nothing is read by the way */
	f->writer = flow_writer__open_and_load();
	EXPECT(f->writer);
	f->kernel.flow_fd = bpf_map__fd(f->writer->maps.w_flow);
	EXPECT_OK(loop_new(&f->loop));
	start_reader(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	flows_free(f->flows);
	loop_free(f->loop);
	flow_writer__destroy(f->writer);
	free(f);
	return 0;
}

static void write_flows(struct fixture *f, uint32_t count)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);

	f->writer->bss->wanted = count;
	EXPECT_OK(bpf_prog_test_run_opts(bpf_program__fd(f->writer->progs.write_flows), &options));
}

static uint64_t stat_of(struct fixture *f, uint32_t stat)
{
	uint64_t values[256] = {}, sum = 0;

	EXPECT(libbpf_num_possible_cpus() <= 256);
	EXPECT_OK(bpf_map_lookup_elem(bpf_map__fd(f->writer->maps.w_stat), &stat, values));
	for (size_t i = 0; i < 256; i++)
		sum += values[i];
	return sum;
}

static void turns(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		EXPECT_OK(loop_turn(f->loop, 0));
}

struct seen {
	uint64_t count, first, last;
};

static int note(const struct flow_record *record, void *arg)
{
	struct seen *s = arg;

	if (s->count++ == 0)
		s->first = record->end_ns;
	s->last = record->end_ns;
	return 0;
}

TEST(few_records_wait_for_the_timer)
{
	struct fixture *f = *state;

	write_flows(f, 100);
	turns(f);
	EXPECT_EQ(flows_read(f->flows), 0);
	clock_skip(250 * NSEC_PER_MSEC);
	turns(f);
	EXPECT_EQ(flows_read(f->flows), 100);
	write_flows(f, 10);
	clock_skip(250 * NSEC_PER_MSEC);
	turns(f);
	EXPECT_EQ(flows_read(f->flows), 110);
}

TEST(few_records_are_there_when_somebody_asks)
{
	struct fixture *f = *state;
	struct seen s = {};

	write_flows(f, 100);
	EXPECT_OK(flows_each(f->flows, &(struct flows_filter){ .reason = -1 }, note, &s));
	EXPECT_EQ(s.count, 100);
	EXPECT_EQ(s.first, 0);
	EXPECT_EQ(s.last, 99);
}

TEST(a_quarter_of_the_ring_wakes_the_reader_each_time)
{
	struct fixture *f = *state;

	for (uint64_t round = 1; round <= 20; round++) {
		write_flows(f, QUARTER);
		turns(f);
		/* The last of them may have come without a wake-up, but what woke us took all that was there. */
		EXPECT_EQ(flows_read(f->flows), round * QUARTER);
	}
}

TEST(what_the_ring_had_no_room_for_is_counted_to_the_record)
{
	struct fixture *f = *state;
	struct seen s = {};

	write_flows(f, FULL + 5000);
	EXPECT_OK(flows_each(f->flows, &(struct flows_filter){ .reason = -1 }, note, &s));
	EXPECT(s.count >= FULL - 1 && s.count <= FULL);
	EXPECT_EQ(s.count + stat_of(f, STAT_FLOWS_LOST), FULL + 5000);
	EXPECT_EQ(s.count, stat_of(f, STAT_FLOWS_WRITTEN));
	EXPECT_EQ(s.last, s.count - 1); /* the oldest are kept by the ring */
}

/* Of all that is mapped of maps here. */
static uint64_t resident_kib(void)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	uint64_t sum = 0, kib;
	bool bpf = false;

	EXPECT(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
			sum += bpf ? kib : 0;
		else if (strstr(line, " r") && strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
			bpf = strstr(line, "bpf-map");
	}
	fclose(maps);
	return sum;
}

TEST(the_ring_is_in_memory_only_while_it_is_read)
{
	struct fixture *f = *state;
	const uint64_t before = resident_kib(); /* the positions of both ends, and the writer's variables */

	EXPECT(before > 0 && before * 1024 < FLOW_RING_BYTES / 16);
	write_flows(f, FULL);
	EXPECT_OK(flows_each(f->flows, &(struct flows_filter){ .reason = -1 }, note, &(struct seen){}));
	EXPECT(flows_read(f->flows) >= FULL - 1);
	EXPECT_EQ(resident_kib(), before);
}

TEST(the_next_reader_goes_on_where_the_last_one_stopped)
{
	struct fixture *f = *state;
	struct seen s = {};

	write_flows(f, 100);
	EXPECT_OK(flows_each(f->flows, &(struct flows_filter){ .reason = -1 }, note, &s));
	f->flows = flows_free(f->flows);
	write_flows(f, 50);
	start_reader(f);
	s = (struct seen){};
	EXPECT_OK(flows_each(f->flows, &(struct flows_filter){ .reason = -1 }, note, &s));
	EXPECT_EQ(s.count, 50);
	EXPECT_EQ(s.first, 100);
}

TEST(the_last_100000_are_kept)
{
	struct fixture *f = *state;
	struct seen s = {};

	for (int i = 0; i < 15; i++) {
		write_flows(f, 10000);
		turns(f);
	}
	EXPECT_OK(flows_each(f->flows, &(struct flows_filter){ .reason = -1 }, note, &s));
	EXPECT_EQ(flows_read(f->flows), 150000);
	EXPECT_EQ(s.count, FLOWS_KEPT);
	EXPECT_EQ(s.first, 50000);
	EXPECT_EQ(s.last, 149999);
}

#define ON_RING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_RING(few_records_wait_for_the_timer),
		ON_RING(few_records_are_there_when_somebody_asks),
		ON_RING(a_quarter_of_the_ring_wakes_the_reader_each_time),
		ON_RING(what_the_ring_had_no_room_for_is_counted_to_the_record),
		ON_RING(the_ring_is_in_memory_only_while_it_is_read),
		ON_RING(the_next_reader_goes_on_where_the_last_one_stopped),
		ON_RING(the_last_100000_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
