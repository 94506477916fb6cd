/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two JSON values, member by member. */
#pragma once

#include "base/json.h"

/* `path`: "spec.listeners[0].port", as error messages have it. `before` NULL: it came; `after` NULL: it went; values that differ in type,
 * and scalars, are told whole. Of lists, what is equal at the beginning and at the end is left aside; what is between is compared one by
 * one. */
typedef void json_diff_fn(const char *path, const json_t *before, const json_t *after, void *arg);
/* Members in the order of their names. `path` is put before all others. 0 or -ENOMEM. */
int json_diff(const char *path, const json_t *before, const json_t *after, json_diff_fn *fn, void *arg);
