/* SPDX-License-Identifier: Apache-2.0 */
/* A monotonic clock that the test can stop and put forward, so that no test waits for a time-out. Include it in one file
 * of a program. */
#pragma once

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_skipped_ns;
static struct timespec clock_stopped; /* zero: it goes */

/* Stands before libc's for the whole program. */
int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret_now);

	if (r == 0 && clock == CLOCK_MONOTONIC) {
		uint64_t ns;

		if (clock_stopped.tv_sec)
			*ret_now = clock_stopped;
		ns = (uint64_t)ret_now->tv_nsec + clock_skipped_ns;
		ret_now->tv_sec += (time_t)(ns / 1000000000u);
		ret_now->tv_nsec = (long)(ns % 1000000000u);
	}
	return r;
}

static inline void clock_skip(uint64_t ns)
{
	clock_skipped_ns += ns;
}

/* From here on it moves by clock_skip() alone. */
static inline void clock_stop(void)
{
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &clock_stopped);
}
