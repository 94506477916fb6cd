/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

/* `below`: what still rounds to three digits of this unit, or fills the next. */
static const struct unit {
	const char *name;
	uint64_t ns;
	double below;
} units[] = {
	{ "ns", 1, 999.5 },
	{ "us", NSEC_PER_USEC, 999.5 },
	{ "ms", NSEC_PER_MSEC, 999.5 },
	{ "s", NSEC_PER_SEC, 60 },
	{ "m", 60 * NSEC_PER_SEC, 60 },
	{ "h", 3600 * NSEC_PER_SEC, 24 },
	{ "d", 86400 * NSEC_PER_SEC, 1e9 },
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t time_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t time_to_wall_ns(uint64_t monotonic_ns)
{
	return clock_ns(CLOCK_REALTIME) - time_now_ns() + monotonic_ns;
}

const char *time_format(uint64_t wall_ns, char buffer[TIME_TEXT_BYTES])
{
	time_t seconds = (time_t)(wall_ns / NSEC_PER_SEC);
	struct tm tm;
	size_t length;

	gmtime_r(&seconds, &tm);
	length = strftime(buffer, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buffer + length, TIME_TEXT_BYTES - length, ".%03uZ", (unsigned)(wall_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
	return buffer;
}

const char *time_format_span(uint64_t ns, char buffer[TIME_TEXT_BYTES])
{
	const struct unit *unit = units;
	double value;

	while ((value = (double)ns / (double)unit->ns) >= unit->below && unit < &units[ARRAY_SIZE(units) - 1])
		unit++;
	/* %g drops trailing zeros, and would write 1000 days as 1e+03. */
	snprintf(buffer, TIME_TEXT_BYTES, value < 999.5 ? "%.3g%s" : "%.0f%s", value, unit->name);
	return buffer;
}

int time_parse_span(const char *text, uint64_t *ret_ns)
{
	uint64_t value = 0, ns;
	const char *at = text;

	for (; isdigit((unsigned char)*at); at++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return -EINVAL;
	if (at == text)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(at, units[i].name)) {
			if (__builtin_mul_overflow(value, units[i].ns, &ns))
				return -EINVAL;
			*ret_ns = ns;
			return 0;
		}
	return -EINVAL;
}

/* ".012345" -> ns; more digits than nine are left out. */
static uint64_t take_fraction(const char **text)
{
	uint64_t value = 0, unit = NSEC_PER_SEC / 10;

	if (**text != '.' || !isdigit((unsigned char)(*text)[1]))
		return 0;
	for (++*text; isdigit((unsigned char)**text); ++*text, unit /= 10)
		value += (uint64_t)(**text - '0') * unit;
	return value;
}

/* "Z", "+02:00", "-0500" or nothing. */
static int take_zone(const char **text, int64_t *ret_seconds)
{
	const int sign = **text == '-' ? -1 : 1;
	int hours, minutes, used = 0;

	*ret_seconds = 0;
	if (**text == 'Z')
		++*text;
	if (**text != '+' && **text != '-')
		return 0;
	if ((sscanf(*text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 && sscanf(*text + 1, "%2d%2d%n", &hours, &minutes, &used) != 2) ||
	    hours < 0 || minutes < 0 || minutes > 59)
		return -EINVAL;
	*text += 1 + used;
	*ret_seconds = sign * (hours * 3600 + minutes * 60);
	return 0;
}

int time_parse_wall(const char *text, uint64_t *ret_wall_ns)
{
	const char *at = text + strspn(text, "0123456789");
	struct tm tm = {};
	int64_t zone, seconds;
	uint64_t fraction;

	if (at - text != 4)
		return -EINVAL; /* a year; what is longer overflows */
	at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!at)
		return -EINVAL;
	fraction = take_fraction(&at);
	if (take_zone(&at, &zone) < 0 || *at)
		return -EINVAL;
	seconds = timegm(&tm) - zone;
	if (seconds < 0)
		return -EINVAL;
	*ret_wall_ns = (uint64_t)seconds * NSEC_PER_SEC + fraction;
	return 0;
}
