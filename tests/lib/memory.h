/* SPDX-License-Identifier: Apache-2.0 */
/* The arrays of the kernel part as files, all zero. A struct test_memory stays where it is. */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

#include "maps/kernel.h"

/* How many entries they have. */
#define MAX_OBJECTS 32768
#define MAX_SERVICE_RECORDS 16384
#define MAX_ROUTES 32768
#define MAX_TARGETS 16384
#define MAX_NODES 4096
#define MAX_BACKENDS 65536
#define MAX_ENDPOINT_REFS 262144
#define MAX_ENDPOINTS 131072
#define MAX_ROWS 32768

struct test_memory {
	struct kernel_memory arrays;
	struct iovec parts[KERNEL_ARRAY_COUNT + 1]; /* all of it, as whole pages */
	struct config config;
};

void test_memory_init(struct test_memory *memory); /* fails the test when there is no memory */
/* All of it is in memory, also what an agent has let go of. */
void test_memory_reach(struct test_memory *memory);
void test_memory_done(struct test_memory *memory);
