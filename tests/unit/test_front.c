/* SPDX-License-Identifier: Apache-2.0 */
/* A file is what an array is to the kernel. */
#include "maps/front.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

#define VALUE_BYTES 656u /* no divisor of a page */
#define SIZE 1000u

static int given_file(uint32_t size)
{
	const int fd = memfd_create("array", MFD_CLOEXEC);

	EXPECT(fd >= 0);
	EXPECT_OK(ftruncate(fd, (off_t)size * VALUE_BYTES + sysconf(_SC_PAGESIZE)));
	return fd;
}

static int given_front(struct front *front, uint32_t room)
{
	const int fd = given_file(SIZE);

	EXPECT_OK(front_init(front, VALUE_BYTES, room));
	EXPECT_OK(front_take(front, fd, SIZE));
	return fd;
}

static char *entry(const struct front *front, uint32_t index)
{
	return front->memory + (size_t)index * VALUE_BYTES;
}

/* As whoever else has the array sees it. */
static char seen(int fd, uint32_t index)
{
	char byte;

	EXPECT_EQ(pread(fd, &byte, 1, (off_t)index * VALUE_BYTES), 1);
	return byte;
}

TEST(what_is_reached_is_shared_and_more_of_it_keeps_its_place)
{
	_cleanup_(front_done) struct front front = {};
	const int fd = given_front(&front, SIZE);
	const char *memory = front.memory;
	uint32_t first;

	EXPECT_EQ(front.count, 0);
	EXPECT_OK(front_reach(&front, 1));
	first = front.count;
	EXPECT(first >= 1 && first < SIZE);
	*entry(&front, first - 1) = 1;
	EXPECT_EQ(seen(fd, first - 1), 1);
	EXPECT_OK(front_reach(&front, first));
	EXPECT_EQ(front.count, first);
	EXPECT_OK(front_reach(&front, first + 1));
	EXPECT(front.count > first && front.count < SIZE);
	*entry(&front, first) = 2;
	EXPECT_EQ(seen(fd, first), 2);
	EXPECT_OK(front_reach(&front, UINT32_MAX));
	EXPECT_EQ(front.count, SIZE);
	*entry(&front, SIZE - 1) = 3;
	EXPECT_EQ(seen(fd, SIZE - 1), 3);
	EXPECT_EQ(*entry(&front, first - 1), 1);
	EXPECT(front.memory == memory);
}

TEST(what_is_trimmed_reads_as_zero_until_it_is_reached_again)
{
	_cleanup_(front_done) struct front front = {};
	const int fd = given_front(&front, SIZE);

	EXPECT_OK(front_reach(&front, SIZE));
	*entry(&front, 9) = 1;
	*entry(&front, SIZE - 1) = 2;
	front_trim(&front, 10);
	EXPECT(front.count >= 10 && front.count < SIZE);
	EXPECT_EQ(*entry(&front, 9), 1);
	EXPECT_EQ(*entry(&front, SIZE - 1), 0);
	*entry(&front, SIZE - 1) = 7; /* lost */
	EXPECT_EQ(seen(fd, SIZE - 1), 2);
	front_trim(&front, front.count);
	*entry(&front, 9) = 3;
	EXPECT_EQ(seen(fd, 9), 3);
	EXPECT_OK(front_reach(&front, SIZE));
	EXPECT_EQ(*entry(&front, SIZE - 1), 2);
	EXPECT_EQ(*entry(&front, 9), 3);
	front_trim(&front, 0);
	EXPECT_EQ(front.count, 0);
	EXPECT_EQ(*entry(&front, 9), 0);
}

TEST(a_larger_array_takes_the_place_of_a_smaller_one)
{
	_cleanup_(front_done) struct front front = {};
	_cleanup_close_ int small = given_file(SIZE / 2);
	const int large = given_file(2 * SIZE);
	const char two = 2;

	given_front(&front, 2 * SIZE);
	EXPECT_OK(front_reach(&front, SIZE));
	*entry(&front, 5) = 1;
	EXPECT_EQ(front_take(&front, small, SIZE / 2), -EINVAL); /* fewer than are in memory */
	EXPECT_EQ(front_take(&front, small, 2 * SIZE + 1), -EINVAL);
	EXPECT_EQ(*entry(&front, 5), 1);
	EXPECT_EQ(pwrite(large, &two, 1, 5 * VALUE_BYTES), 1);
	EXPECT_OK(front_take(&front, large, 2 * SIZE));
	EXPECT_EQ(front.count, SIZE);
	EXPECT_EQ(*entry(&front, 5), 2);
	EXPECT_OK(front_reach(&front, 2 * SIZE));
	*entry(&front, 2 * SIZE - 1) = 3;
	EXPECT_EQ(seen(large, 2 * SIZE - 1), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_reached_is_shared_and_more_of_it_keeps_its_place),
		cmocka_unit_test(what_is_trimmed_reads_as_zero_until_it_is_reached_again),
		cmocka_unit_test(a_larger_array_takes_the_place_of_a_smaller_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
