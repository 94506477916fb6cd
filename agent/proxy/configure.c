/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "agent/l7/snapshot.h"
#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/cleanup.h"
#include "base/memory.h"

struct job {
	struct proxy *proxy;
	struct l7 *l7;
	struct configuration configuration;
	configured_fn *done;
	uint64_t whose;
	int r;
	struct error err;
	struct snapshot *snapshot; /* what was read; NULL: nothing */
};

/* What the text takes is mapped, and what is made of it is parsed object by object. */
static int prepare(struct l7 *l7, const struct configuration *configuration, struct snapshot **ret_snapshot, struct error *err)
{
	struct span text;
	int r = control_file_map(configuration->fd, &text, err);

	if (r < 0)
		return r;
	r = l7_prepare(l7, configuration->base, configuration->generation, text, ret_snapshot, err);
	control_file_unmap(text);
	return r;
}

int proxy_configure_now(struct proxy *proxy, const struct configuration *configuration, struct error *err)
{
	struct snapshot *snapshot = NULL;
	int r = prepare(proxy->l7, configuration, &snapshot, err);

	return r < 0 ? r : l7_publish(proxy->l7, snapshot, err);
}

/* On the reader's thread, which ends before `l7` does. */
static void job_work(void *arg)
{
	struct job *job = arg;

	job->r = prepare(job->l7, &job->configuration, &job->snapshot, &job->err);
}

static void job_done(void *arg)
{
	struct job *job = arg;
	struct proxy *proxy = job->proxy;

	fd_close(job->configuration.fd);
	if (!proxy->l7)
		snapshot_unref(job->snapshot); /* it stops */
	else if (job->r == 0)
		job->r = l7_publish(proxy->l7, job->snapshot, &job->err);
	if (proxy->l7)
		job->done(proxy, job->whose, job->r < 0 ? &job->err : NULL);
	if (!job->configuration.base) /* the reader's heap has had all of it */
		memory_give_back();
	free(job);
}

int proxy_configure(struct proxy *proxy, const struct configuration *configuration, configured_fn *done, uint64_t whose)
{
	struct job *job = malloc(sizeof(*job));
	int r = -ENOMEM;

	if (job) {
		*job = (struct job){ .proxy = proxy, .l7 = proxy->l7, .configuration = *configuration, .done = done, .whose = whose };
		r = offload_submit(proxy->reader, job_work, job_done, job);
	}
	if (r < 0) {
		fd_close(configuration->fd);
		free(job);
	}
	return r;
}
