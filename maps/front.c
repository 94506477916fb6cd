/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/front.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define STEP_BYTES ((size_t)64 * 1024) /* whole pages, whatever those are */

static size_t round_up(size_t bytes, size_t multiple)
{
	return (bytes + multiple - 1) / multiple * multiple;
}

static size_t whole_pages(size_t bytes)
{
	return round_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
}

static size_t bytes_of(const struct front *front, uint32_t count)
{
	return (size_t)front->value_bytes * count;
}

/* Whole pages, of which the last entry may have a part. */
static size_t mapped_bytes(const struct front *front)
{
	return whole_pages(bytes_of(front, front->count));
}

static int map(struct front *front, int fd, size_t from, size_t to)
{
	if (from < to && mmap(front->memory + from, to - from, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)from) == MAP_FAILED)
		return -errno;
	return 0;
}

/* Zero pages, which take no memory. */
static void *map_nothing(void *address, size_t bytes, int flags)
{
	return mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

int front_init(struct front *front, uint32_t value_bytes, uint32_t room)
{
	void *memory = map_nothing(NULL, whole_pages((size_t)value_bytes * room), 0);

	if (memory == MAP_FAILED)
		return -errno;
	*front = (struct front){ .memory = memory, .value_bytes = value_bytes, .room = room, .fd = -1 };
	return 0;
}

void front_done(struct front *front)
{
	if (!front->memory)
		return;
	munmap(front->memory, whole_pages(bytes_of(front, front->room)));
	fd_close(front->fd);
	*front = (struct front){};
}

int front_take(struct front *front, int fd, uint32_t size)
{
	int r;

	if (size > front->room || size < front->count)
		return -EINVAL;
	r = map(front, fd, 0, mapped_bytes(front));
	if (r < 0)
		return r;
	fd_close(front->fd);
	front->fd = fd;
	front->size = size;
	return 0;
}

/* Entries that are in memory with so many bytes of the array: all of its pages hold all of its entries. */
static uint32_t count_of(const struct front *front, size_t bytes)
{
	return (uint32_t)MIN(bytes / front->value_bytes, (size_t)front->size);
}

int front_reach(struct front *front, uint32_t count)
{
	const size_t from = mapped_bytes(front), all = whole_pages(bytes_of(front, front->size));
	size_t to;
	int r;

	if (MIN(count, front->size) <= front->count)
		return 0;
	to = MIN(round_up(bytes_of(front, MIN(count, front->size)), STEP_BYTES), all);
	r = map(front, front->fd, from, to);
	if (r == 0)
		__atomic_store_n(&front->count, count_of(front, to), __ATOMIC_RELEASE);
	return r;
}

void front_trim(struct front *front, uint32_t count)
{
	const size_t from = whole_pages(bytes_of(front, count)), to = mapped_bytes(front);

	if (from >= to)
		return;
	__atomic_store_n(&front->count, count_of(front, from), __ATOMIC_RELEASE);
	map_nothing(front->memory + from, to - from, MAP_FIXED); /* where that fails they stay, and do no harm */
}
