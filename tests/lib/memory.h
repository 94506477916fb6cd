/* SPDX-License-Identifier: Apache-2.0 */
/* The arrays of the kernel part as plain memory, all zero, in one mapping. */
#pragma once

#include <stddef.h>

#include "maps/kernel.h"

struct test_memory {
	struct kernel_memory arrays;
	void *start; /* each array begins on a page of its own */
	size_t length_bytes;
};

void test_memory_init(struct test_memory *memory); /* fails the test when there is no memory */
void test_memory_done(struct test_memory *memory);
