/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/date.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define LONGEST_TEXT 48

int aws_date_parse(struct span text, int64_t *ret_s)
{
	char copy[AWS_DATE_TEXT_BYTES], again[AWS_DATE_TEXT_BYTES];
	struct tm tm = {};
	int64_t s;

	if (text_copy(text, copy, sizeof(copy)) < 0 || !strptime(copy, "%Y%m%dT%H%M%SZ", &tm) || tm.tm_year < 70)
		return -EINVAL;
	s = timegm(&tm);
	/* strptime() takes spaces for zeros, and timegm() the 30th of February for the 2nd of March. */
	if (strcmp(aws_date_format(s, again), copy) != 0)
		return -EINVAL;
	*ret_s = s;
	return 0;
}

int aws_date_parse_http(struct span text, int64_t *ret_s)
{
	char copy[LONGEST_TEXT];
	const char *zone;
	struct tm tm = {};
	int day;
	int64_t s;

	if (text_copy(text, copy, sizeof(copy)) < 0)
		return -EINVAL;
	zone = strptime(copy, "%a, %d %b %Y %H:%M:%S ", &tm);
	if (!zone || (strcmp(zone, "GMT") != 0 && strcmp(zone, "-0000") != 0 && strcmp(zone, "+0000") != 0) || tm.tm_year < 70)
		return -EINVAL;
	day = tm.tm_mday;
	s = timegm(&tm);
	if (tm.tm_mday != day)
		return -EINVAL;
	*ret_s = s;
	return 0;
}

const char *aws_date_format(int64_t s, char buffer[AWS_DATE_TEXT_BYTES])
{
	const time_t seconds = (time_t)s;
	struct tm tm = {};

	gmtime_r(&seconds, &tm);
	if (strftime(buffer, AWS_DATE_TEXT_BYTES, "%Y%m%dT%H%M%SZ", &tm) == 0)
		buffer[0] = '\0'; /* after the year 9999 */
	return buffer;
}
