/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/intercept.h"

#include "base/time.h"
#include "maps/pinned.h"

int intercept_set(struct kernel *kernel, const struct serving_key *key, const struct intercept *intercept)
{
	__atomic_fetch_or(&kernel->memory.config->serving, SERVING_PROXIED, __ATOMIC_SEQ_CST); /* before there is anything to find */
	return pinned_map_set(kernel->intercept_fd, key, intercept);
}

int intercept_remove(struct kernel *kernel, const struct serving_key *key)
{
	return pinned_map_remove(kernel->intercept_fd, key);
}

struct visit {
	intercept_fn *fn;
	void *arg;
};

static int visit(const void *key, const void *value, void *arg)
{
	const struct visit *visit = arg;

	return visit->fn(key, value, visit->arg);
}

int intercept_each(struct kernel *kernel, intercept_fn *fn, void *arg)
{
	return pinned_map_each(kernel->intercept_fd, sizeof(struct serving_key), sizeof(struct intercept), visit, &(struct visit){ fn, arg });
}

int intercept_way_set(struct kernel *kernel, const struct proxy_way_key *key)
{
	const struct proxy_way way = { .since_ns = time_now_ns() };

	return pinned_map_set(kernel->way_fd, key, &way);
}

int intercept_way_remove(struct kernel *kernel, const struct proxy_way_key *key)
{
	return pinned_map_remove(kernel->way_fd, key);
}
