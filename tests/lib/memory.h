/* SPDX-License-Identifier: Apache-2.0 */
/* The arrays of the kernel part as plain memory, all zero, in one mapping. */
#pragma once

#include <stddef.h>

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
	void *start; /* each array begins on a page of its own */
	size_t length_bytes;
};

void test_memory_init(struct test_memory *memory); /* fails the test when there is no memory */
void test_memory_done(struct test_memory *memory);
