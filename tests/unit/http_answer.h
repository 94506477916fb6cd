/* SPDX-License-Identifier: Apache-2.0 */
/* An answer that is compared as a whole: without its date, which must be there, and must be now. */
#pragma once

#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "tests/lib/test.h"

static inline const char *without_date(struct buffer *answer)
{
	char *date = answer->data ? strstr(answer->data, "\r\nDate: ") : NULL, *end = date ? strstr(date + 2, "\r\n") : NULL;
	struct tm tm = {};

	if (!end)
		fail_msg("no date in: %s", buffer_string(answer));
	EXPECT(strptime(date, "\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm) != NULL);
	EXPECT(labs((long)(timegm(&tm) - time(NULL))) < 60);
	memmove(date, end, strlen(end) + 1);
	answer->length -= (size_t)(end - date);
	return answer->data;
}
