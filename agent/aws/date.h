/* SPDX-License-Identifier: Apache-2.0 */
/* Times as signatures have them: UTC, in seconds since the epoch. */
#pragma once

#include <stdint.h>

#include "agent/aws/text.h"

#define AWS_DATE_TEXT_BYTES 17 /* "20150830T123600Z" */

/* "20150830T123600Z", ISO 8601's basic format. 0, or -EINVAL also for days and hours that do not exist. */
int aws_date_parse(struct span text, int64_t *ret_s);
/* What a Date header may have instead: "Sun, 30 Aug 2015 12:36:00 GMT" (RFC 9110 section 5.6.7), or "-0000" or "+0000" for GMT,
 * as Python writes it. */
int aws_date_parse_http(struct span text, int64_t *ret_s);
const char *aws_date_format(int64_t s, char buffer[AWS_DATE_TEXT_BYTES]);
