/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <malloc.h>

/* What is larger has pages of its own, which go when it is freed: the text for weft-proxy, a long list of the API. And so much of the heap's end
 * may be free. libc means to begin with 128 KiB of both, but puts them up, to 32 and 64 MiB, with the first such thing that is freed. */
#define LARGE_BYTES (128 * 1024)
#define SPARE_BYTES (512 * 1024)

void memory_settle(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	mallopt(M_TRIM_THRESHOLD, SPARE_BYTES);
}

void memory_give_back(void)
{
	malloc_trim(0);
}
