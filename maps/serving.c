/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/serving.h"

#include "maps/iterator.h"
#include "maps/pinned.h"

int serving_set(struct kernel *kernel, const struct serving_key *key, uint32_t place)
{
	return pinned_map_set(kernel->serving_fd, key, &place);
}

int serving_remove(struct kernel *kernel, const struct serving_key *key)
{
	return pinned_map_remove(kernel->serving_fd, key);
}

void serving_look(struct kernel *kernel, bool look)
{
	if (look)
		__atomic_fetch_or(&kernel->memory.config->serving, SERVING_LIMITED, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&kernel->memory.config->serving, ~SERVING_LIMITED, __ATOMIC_RELAXED);
}

struct serving_visit {
	serving_fn *fn;
	void *arg;
};

static int serving_visit(const void *key, const void *value, void *arg)
{
	const struct serving_visit *visit = arg;

	return visit->fn(key, *(const uint32_t *)value, visit->arg);
}

int serving_each(struct kernel *kernel, serving_fn *fn, void *arg)
{
	return pinned_map_each(kernel->serving_fd, sizeof(struct serving_key), sizeof(uint32_t), serving_visit, &(struct serving_visit){ fn, arg });
}

struct served_visit {
	served_fn *fn;
	void *arg;
};

static int served_visit(const void *key, const void *value, void *arg)
{
	const struct served_visit *visit = arg;

	(void)key;
	return visit->fn(value, visit->arg);
}

int served_each(struct kernel *kernel, served_fn *fn, void *arg)
{
	return pinned_map_each(kernel->served_fd, sizeof(uint64_t), sizeof(struct served), served_visit, &(struct served_visit){ fn, arg });
}

struct earlier_visit {
	earlier_fn *fn;
	void *arg;
};

static int earlier_visit(const void *record, void *arg)
{
	const struct earlier_visit *visit = arg;

	return visit->fn(record, visit->arg);
}

int serving_earlier_count(struct kernel *kernel, earlier_fn *fn, void *arg)
{
	return iterator_each(kernel->earlier_iter_fd, sizeof(struct earlier_connection), earlier_visit, &(struct earlier_visit){ fn, arg });
}
