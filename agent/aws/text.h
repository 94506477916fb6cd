/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what a client sent: any bytes, borrowed. */
#pragma once

#include "base/span.h"

bool text_is(struct span s, const char *text);
bool text_has_prefix(struct span s, const char *prefix); /* in any case */
/* What is before the first `c`, which is taken off `rest` with it; all of it where there is none, and then `rest` has no data.
 * False: nothing is left. */
bool text_split(struct span *rest, char c, struct span *ret_part);
struct span text_trim(struct span s); /* spaces and tabs */
/* Nothing but ASCII from the space to the tilde. */
bool text_is_printable(struct span s);
/* 0 and a NUL-terminated copy; -E2BIG, or -EINVAL where there is a NUL in it. */
int text_copy(struct span s, char *buffer, size_t size);

/* For messages: at most TEXT_SHOWN_BYTES - 1 of it, and a question mark for what is not printable. */
#define TEXT_SHOWN_BYTES 161
const char *text_show(struct span s, char buffer[TEXT_SHOWN_BYTES]);
/* The same in memory of the block that it is used in. */
#define TEXT_SHOWN(s) text_show(s, (char[TEXT_SHOWN_BYTES]){ 0 })
