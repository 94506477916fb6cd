/* SPDX-License-Identifier: Apache-2.0 */
/* Time inside weft is nanoseconds of CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns(). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NSEC_PER_USEC 1000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_SEC 1000000000ull

uint64_t time_now_ns(void);
/* The wall-clock time of a monotonic instant, in nanoseconds since the epoch, as far as the clock was not set in between. */
uint64_t time_to_wall_ns(uint64_t monotonic_ns);
/* "2026-11-24T10:15:30.123Z" */
#define TIME_TEXT_BYTES 32
const char *time_format(uint64_t wall_ns, char buffer[TIME_TEXT_BYTES]);
/* "1.2us", "340ms", "15s": three significant digits, for people. */
const char *time_format_span(uint64_t ns, char buffer[TIME_TEXT_BYTES]);
/* "90s", "5m", "2h", "1d", "500ms" -> ns. 0 or -EINVAL. */
int time_parse_span(const char *text, uint64_t *ret_ns);
/* Wall-clock time as AWS's tools print it, "2022-05-05T18:12:34.012-05:00", "...Z"; without a zone, UTC. 0 or -EINVAL. */
int time_parse_wall(const char *text, uint64_t *ret_wall_ns);
