/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/ring.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define WINDOW_BYTES ((size_t)256 * 1024) /* of records, at a time */

/* As the kernel lays the map out: a page with the reader's position, one with the writers', then the records, which are there twice in a
 * row, so that none is broken where the ring ends. */
struct ring {
	int fd;
	size_t page_bytes;
	uint64_t size; /* a power of two */
	uint64_t *consumer; /* positions, which only ever grow */
	const uint64_t *producer;
};

struct window {
	const char *bytes;
	size_t mapped;
	uint64_t from, end; /* positions */
};

static int window_map(const struct ring *ring, uint64_t position, uint64_t unread, struct window *ret_window)
{
	const uint64_t begin = position & (ring->size - 1) & ~(uint64_t)(ring->page_bytes - 1);
	const size_t ahead = (position & (ring->size - 1)) - begin;
	const size_t mapped = (ahead + unread + ring->page_bytes - 1) / ring->page_bytes * ring->page_bytes;
	void *bytes = mmap(NULL, mapped, PROT_READ, MAP_SHARED, ring->fd, (off_t)(2 * ring->page_bytes + begin));

	if (bytes == MAP_FAILED)
		return -errno;
	*ret_window = (struct window){ bytes, mapped, position - ahead, position + unread };
	return 0;
}

static void window_unmap(struct window *window)
{
	munmap((void *)window->bytes, window->mapped);
}

static uint64_t whole_record(uint32_t bytes)
{
	return ((uint64_t)bytes + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
}

/* What is in the window as a whole, up to a record that is being written. Returns whether there may be more behind. */
static bool window_read(const struct ring *ring, const struct window *window, ring_fn *fn, void *arg)
{
	uint64_t position = *ring->consumer;

	while (position + BPF_RINGBUF_HDR_SZ <= window->end) {
		const char *record = window->bytes + (position - window->from);
		const uint32_t head = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
		const uint32_t bytes = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (head & BPF_RINGBUF_BUSY_BIT)
			return false;
		if (position + whole_record(bytes) > window->end)
			return true;
		if (!(head & BPF_RINGBUF_DISCARD_BIT))
			fn(record + BPF_RINGBUF_HDR_SZ, bytes, arg);
		position += whole_record(bytes);
		__atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
	}
	return true;
}

int ring_read(struct ring *ring, ring_fn *fn, void *arg)
{
	uint64_t unread, most = WINDOW_BYTES;
	bool more = true;

	while (more && (unread = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - *ring->consumer)) {
		const uint64_t before = *ring->consumer;
		struct window window = {};
		int r = unread > ring->size ? -EIO : window_map(ring, before, MIN(unread, most), &window);

		if (r < 0)
			return r;
		more = window_read(ring, &window, fn, arg);
		window_unmap(&window);
		if (*ring->consumer != before)
			most = WINDOW_BYTES;
		else if (more && unread <= most)
			return -EIO; /* the kernel counts whole records */
		else
			most = unread;
	}
	return 0;
}

static void cleanup_ring(struct ring **ring)
{
	ring_free(*ring);
}

int ring_new(int map_fd, struct ring **ret_ring)
{
	_cleanup_(cleanup_ring) struct ring *ring = calloc(1, sizeof(*ring));
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);
	void *page;

	if (!ring)
		return -ENOMEM;
	if (bpf_obj_get_info_by_fd(map_fd, &info, &length) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return -EINVAL;
	ring->fd = map_fd;
	ring->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	ring->size = info.max_entries;
	page = mmap(NULL, ring->page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	ring->consumer = page;
	page = mmap(NULL, ring->page_bytes, PROT_READ, MAP_SHARED, map_fd, (off_t)ring->page_bytes);
	if (page == MAP_FAILED)
		return -errno;
	ring->producer = page;
	*ret_ring = TAKE_PTR(ring);
	return 0;
}

struct ring *ring_free(struct ring *ring)
{
	if (!ring)
		return NULL;
	if (ring->consumer)
		munmap(ring->consumer, ring->page_bytes);
	if (ring->producer)
		munmap((void *)ring->producer, ring->page_bytes);
	free(ring);
	return NULL;
}
