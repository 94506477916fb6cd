/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions, by RE2: its language (no look-around, no back-references), a time linear in the text whatever the
 * expression. A whole value has to match, as in Envoy. Any thread once made. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#include <stdbool.h>

#include "base/error.h"
#include "base/span.h"

#define REGEX_MEMORY_BYTES (1024 * 1024) /* of one; an expression that needs more is refused */

struct regex;

/* -EINVAL with what is wrong in RE2's words, -ENOMEM. */
int regex_new(const char *pattern, struct regex **ret_regex, struct error *err);
struct regex *regex_free(struct regex *regex); /* NULL is fine */
bool regex_matches(const struct regex *regex, struct span text);

#ifdef __cplusplus
}
#endif
