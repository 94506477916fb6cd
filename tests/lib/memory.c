/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/memory.h"

#include <sys/mman.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

#define ARRAY(member, entries) { offsetof(struct kernel_memory, member), sizeof(*((struct kernel_memory *)0)->member) * (entries) }

static const struct {
	size_t offset;
	size_t bytes;
} arrays[] = {
	ARRAY(root, 1),
	ARRAY(directories, MAX_OBJECTS / DIRECTORY_PAGE_IDS * RING_DIRECTORIES),
	ARRAY(objects, MAX_OBJECTS),
	ARRAY(services, MAX_SERVICE_RECORDS),
	ARRAY(routes, MAX_ROUTES),
	ARRAY(targets, MAX_TARGETS),
	ARRAY(refs, MAX_ENDPOINT_REFS),
	ARRAY(nodes, MAX_NODES),
	ARRAY(backends, MAX_BACKENDS),
	ARRAY(endpoints, MAX_ENDPOINTS),
	ARRAY(rows, MAX_ROWS),
	ARRAY(config, 1),
};

static size_t whole_pages(size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

void test_memory_init(struct test_memory *memory)
{
	size_t length = 0;
	char *next;

	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		length += whole_pages(arrays[i].bytes);
	next = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (next == MAP_FAILED)
		fail_msg("no memory for the arrays");
	*memory = (struct test_memory){ .start = next, .length_bytes = length };
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		*(void **)((char *)&memory->arrays + arrays[i].offset) = next;
		next += whole_pages(arrays[i].bytes);
	}
	memory->arrays.limits = (struct kernel_limits){
		.objects = MAX_OBJECTS,
		.services = MAX_SERVICE_RECORDS,
		.routes = MAX_ROUTES,
		.targets = MAX_TARGETS,
		.nodes = MAX_NODES,
		.backends = MAX_BACKENDS,
		.refs = MAX_ENDPOINT_REFS,
		.endpoints = MAX_ENDPOINTS,
		.rows = MAX_ROWS,
	};
}

void test_memory_done(struct test_memory *memory)
{
	munmap(memory->start, memory->length_bytes);
}
