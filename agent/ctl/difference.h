/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two forms of a resource, member by member, for people and for programs. */
#pragma once

#include "base/json.h"

/* {"spec", "tags"} of a document, the tags as {KEY: VALUE}, since their order means nothing; without what it has not, and empty for
 * NULL and null. The caller's; NULL: no memory. */
json_t *difference_subject(const json_t *document);
/* [{"key": K, "value": V}] as {K: V}; the caller's. NULL: no memory. */
json_t *difference_tags(const json_t *list);

/* A line for each member that differs, on stdout: "  ~ spec.listeners[0].port: 8080 -> 9090"; "+" where it came, "-" where it went. What came
 * from a file or an API is made harmless to a terminal, and cut where it is long. */
void difference_print(const json_t *before, const json_t *after);
/* [{"path", "before", "after"}], null where there is nothing; NULL: no memory. */
json_t *difference_json(const json_t *before, const json_t *after);
