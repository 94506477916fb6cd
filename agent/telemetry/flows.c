/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"
#include "maps/ring.h"

#define POLL_NS (250 * NSEC_PER_MSEC) /* the kernel side wakes us only when a quarter of the ring is unread */

struct flows {
	struct loop *loop;
	struct ring *ring;
	struct loop_io *io;
	struct loop_timer *timer;
	struct flow_log *log;
};

static void take(const void *data, size_t bytes, void *arg)
{
	struct flows *f = arg;
	struct flow_record record;

	/* The pin directory keeps programs of another layout apart, so this is a fault, not a version. */
	if (bytes != sizeof(record)) {
		log_limited(LOG_LEVEL_WARN, "a flow record of the wrong size is left out", LOG_F("bytes", LOG_U64(bytes)));
		return;
	}
	memcpy(&record, data, sizeof(record));
	if (flow_log_add(f->log, &record) < 0)
		log_limited(LOG_LEVEL_WARN, "no memory to keep flow records");
}

static void take_all(struct flows *f)
{
	int r = ring_read(f->ring, take, f);

	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "cannot read the ring of flow records", LOG_F("error", LOG_STR(strerror(-r))));
}

static void on_ring(struct loop_io *io, uint32_t events, void *arg)
{
	(void)io;
	(void)events;
	take_all(arg);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct flows *f = arg;

	take_all(f);
	loop_timer_arm(timer, loop_now_ns(f->loop) + POLL_NS);
}

int flows_new(struct loop *loop, struct kernel *kernel, struct flows **ret_flows, struct error *err)
{
	struct flows *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return error_set(err, -ENOMEM, "out of memory");
	f->loop = loop;
	r = flow_log_new(FLOWS_KEPT, &f->log);
	if (r == 0)
		r = ring_new(kernel->flow_fd, &f->ring);
	/* Edge-triggered: by wake-ups alone, not by what came since the last look, or a steady load would mean a turn each. */
	if (r == 0)
		r = loop_io_add(loop, kernel->flow_fd, EPOLLIN | EPOLLET, on_ring, f, &f->io);
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
	ring_free(f->ring);
	flow_log_free(f->log);
	free(f);
	return NULL;
}

int flows_each(struct flows *f, const struct flows_filter *filter, flows_fn *fn, void *arg)
{
	take_all(f);
	return flow_log_each(f->log, filter, fn, arg);
}

uint64_t flows_read(const struct flows *f)
{
	return flow_log_added(f->log);
}
