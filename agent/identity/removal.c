/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/removal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/cgroup.h"
#include "base/log.h"
#include "base/time.h"

#define RETRY_NS (20 * NSEC_PER_MSEC)
#define ATTEMPTS 50

struct removal {
	struct list node;
	struct removals *all; /* NULL: whoever asked has gone */
	char *path;
	uint64_t id;
	unsigned attempts;
	bool working; /* the offload thread has it */
	int r;
	struct loop_timer *timer;
};

static void removal_free(struct removal *removal)
{
	list_remove(&removal->node);
	loop_timer_free(removal->timer);
	free(removal->path);
	free(removal);
}

static void work(void *arg)
{
	struct removal *removal = arg;
	uint64_t id;

	removal->r = cgroup_id(removal->path, &id);
	if (removal->r == 0 && id == removal->id)
		removal->r = cgroup_remove(removal->path);
}

static void start(struct removal *removal);

static void done(void *arg)
{
	struct removal *removal = arg;

	removal->working = false;
	if (removal->all && removal->r == -EBUSY && ++removal->attempts < ATTEMPTS) {
		loop_timer_arm(removal->timer, loop_now_ns(removal->all->loop) + RETRY_NS);
		return;
	}
	if (removal->r < 0 && removal->r != -ENOENT)
		log_warn("cannot remove the cgroup of a workload that ended", LOG_F("cgroup", LOG_STR(removal->path)),
			 LOG_F("error", LOG_STR(strerror(-removal->r))));
	removal_free(removal);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	(void)timer;
	start(arg);
}

static void start(struct removal *removal)
{
	int r = offload_submit(removal->all->offload, work, done, removal);

	removal->working = r == 0;
	if (r < 0) {
		removal->r = r;
		done(removal);
	}
}

void removals_init(struct removals *all, struct loop *loop, struct offload *offload)
{
	*all = (struct removals){ .loop = loop, .offload = offload };
	list_init(&all->list);
}

void removals_done(struct removals *all)
{
	list_for_each_safe(it, &all->list) {
		struct removal *removal = container_of(it, struct removal, node);

		if (!removal->working) {
			removal_free(removal);
			continue;
		}
		list_remove(&removal->node);
		removal->timer = loop_timer_free(removal->timer);
		removal->all = NULL;
	}
}

void removals_add(struct removals *all, const char *path, uint64_t id)
{
	struct removal *removal = calloc(1, sizeof(*removal));

	if (!removal)
		return log_warn("cannot remove the cgroup of a workload that ended: out of memory",
				LOG_F("cgroup", LOG_STR(path)));
	*removal = (struct removal){ .all = all, .path = strdup(path), .id = id };
	list_append(&all->list, &removal->node);
	if (!removal->path || loop_timer_new(all->loop, on_timer, removal, &removal->timer) < 0) {
		removal->r = -ENOMEM;
		return done(removal);
	}
	start(removal);
}
