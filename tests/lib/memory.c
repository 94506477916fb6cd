/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

static const struct kernel_limits sizes = {
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

static const uint32_t value_bytes[KERNEL_ARRAY_COUNT] = {
#define X(symbol, member, map, per_service, multiple) [KERNEL_ARRAY(member)] = sizeof(*((struct kernel_memory *)0)->member),
	ARRAY_TABLES(X)
#undef X
	[KERNEL_DIRECTORIES] = sizeof(struct directory_page),
};

static size_t whole_pages(size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

static uint32_t entries_of(size_t array)
{
	return array == KERNEL_DIRECTORIES ? MAX_OBJECTS / DIRECTORY_PAGE_IDS * RING_DIRECTORIES : ((const uint32_t *)&sizes)[array];
}

static struct iovec given_array(struct front *front, size_t array)
{
	const size_t bytes = whole_pages((size_t)entries_of(array) * value_bytes[array]);
	const int fd = memfd_create("array", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || front_init(front, value_bytes[array], entries_of(array)) < 0 ||
	    front_take(front, fd, entries_of(array)) < 0 || front_reach(front, entries_of(array)) < 0)
		fail_msg("no memory for the arrays: %s", strerror(errno));
	return (struct iovec){ front->memory, bytes };
}

static struct iovec given_root(struct root **ret_root)
{
	const size_t bytes = whole_pages(sizeof(**ret_root));

	*ret_root = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (*ret_root == MAP_FAILED)
		fail_msg("no memory for the root: %s", strerror(errno));
	return (struct iovec){ *ret_root, bytes };
}

void test_memory_init(struct test_memory *memory)
{
	*memory = (struct test_memory){ .arrays = { .limits = sizes } };
	memory->arrays.config = &memory->config;
	for (size_t i = 0; i < KERNEL_ARRAY_COUNT; i++)
		memory->parts[i] = given_array(&memory->arrays.fronts[i], i);
	memory->parts[KERNEL_ARRAY_COUNT] = given_root(&memory->arrays.root);
	kernel_memory_point(&memory->arrays);
}

void test_memory_reach(struct test_memory *memory)
{
	for (size_t i = 0; i < KERNEL_ARRAY_COUNT; i++)
		EXPECT_OK(front_reach(&memory->arrays.fronts[i], entries_of(i)));
}

void test_memory_done(struct test_memory *memory)
{
	for (size_t i = 0; i < KERNEL_ARRAY_COUNT; i++)
		front_done(&memory->arrays.fronts[i]);
	munmap(memory->arrays.root, memory->parts[KERNEL_ARRAY_COUNT].iov_len);
}
