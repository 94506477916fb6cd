/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/flows.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define CHUNK_RECORDS 4096
#define CHUNK_COUNT ((FLOWS_KEPT + CHUNK_RECORDS - 1) / CHUNK_RECORDS + 1) /* one more: the oldest is dropped in part */
#define POLL_NS (250 * NSEC_PER_MSEC) /* the kernel wakes us only when a quarter of the ring is unread */

struct flows {
	struct loop *loop;
	struct ring_buffer *ring;
	struct loop_io *io;
	struct loop_timer *timer;
	struct flow_record *chunks[CHUNK_COUNT]; /* a ring of chunks: record n is in chunk n / CHUNK_RECORDS % CHUNK_COUNT */
	uint64_t next; /* number of the next record */
	uint64_t without_memory;
};

static uint64_t oldest(const struct flows *f)
{
	return f->next > FLOWS_KEPT ? f->next - FLOWS_KEPT : 0;
}

static struct flow_record *record_at(const struct flows *f, uint64_t number)
{
	return &f->chunks[number / CHUNK_RECORDS % CHUNK_COUNT][number % CHUNK_RECORDS];
}

static int take(void *arg, void *data, size_t bytes)
{
	struct flows *f = arg;
	struct flow_record **chunk = &f->chunks[f->next / CHUNK_RECORDS % CHUNK_COUNT];

	if (bytes != sizeof(struct flow_record))
		return 0; /* written by programs of another layout, which another pin directory would have kept apart */
	if (!*chunk)
		*chunk = malloc(CHUNK_RECORDS * sizeof(**chunk));
	if (!*chunk) {
		f->without_memory++;
		log_limited(LOG_LEVEL_WARN, "no memory to keep flow records", LOG_F("dropped", LOG_U64(f->without_memory)));
		return 0;
	}
	memcpy(record_at(f, f->next), data, sizeof(struct flow_record));
	f->next++;
	return 0;
}

static void on_ring(struct loop_io *io, uint32_t events, void *arg)
{
	struct flows *f = arg;

	(void)io;
	(void)events;
	ring_buffer__consume(f->ring);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct flows *f = arg;

	ring_buffer__consume(f->ring);
	loop_timer_arm(timer, loop_now_ns(f->loop) + POLL_NS);
}

int flows_new(struct loop *loop, struct kernel *kernel, struct flows **ret_flows, struct error *err)
{
	struct flows *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return error_set(err, -ENOMEM, "out of memory");
	f->loop = loop;
	f->ring = ring_buffer__new(kernel->flow_fd, take, f, NULL);
	r = f->ring ? 0 : -errno;
	if (r == 0)
		r = loop_io_add(loop, ring_buffer__epoll_fd(f->ring), EPOLLIN, on_ring, f, &f->io);
	if (r == 0)
		r = loop_timer_new(loop, on_timer, f, &f->timer);
	if (r < 0) {
		flows_free(f);
		return error_set(err, r, "cannot read the ring of flow records: %s", strerror(-r));
	}
	loop_timer_arm(f->timer, loop_now_ns(loop));
	*ret_flows = f;
	return 0;
}

struct flows *flows_free(struct flows *f)
{
	if (!f)
		return NULL;
	loop_timer_free(f->timer);
	loop_io_remove(f->io);
	ring_buffer__free(f->ring);
	for (size_t i = 0; i < CHUNK_COUNT; i++)
		free(f->chunks[i]);
	free(f);
	return NULL;
}

static bool wanted(const struct flows_filter *filter, const struct flow_record *r)
{
	return r->end_ns >= filter->since_ns && (!filter->source || filter->source == r->source) &&
	       (!filter->service || filter->service == r->service) && (!filter->target || filter->target == r->target) &&
	       (filter->reason < 0 || filter->reason == r->reason);
}

int flows_each(struct flows *f, const struct flows_filter *filter, flows_fn *fn, void *arg)
{
	uint64_t first, seen = 0;
	int r = 0;

	ring_buffer__consume(f->ring);
	first = oldest(f);
	if (filter->limit)
		for (uint64_t n = f->next; n > first; n--)
			if (wanted(filter, record_at(f, n - 1)) && ++seen == filter->limit)
				first = n - 1;
	for (uint64_t n = first; n < f->next && r >= 0; n++)
		if (wanted(filter, record_at(f, n)))
			r = fn(record_at(f, n), arg);
	return r < 0 ? r : 0;
}

uint64_t flows_read(const struct flows *f)
{
	return f->next;
}
