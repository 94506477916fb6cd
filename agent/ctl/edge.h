/* SPDX-License-Identifier: Apache-2.0 */
/* What `weft expose` and `weft attach` share. */
#pragma once

#include "agent/ctl/command.h"

/* NULL: it is in force; "pending" or what is in the way. */
typedef const char *edge_state_fn(const json_t *one);
/* Asks `path` for its list until the element whose `member` is `value` is in force, ten seconds at most. -ETIMEDOUT, or an error of
 * its own, says what is in the way. */
int edge_wait(const struct ctl *ctl, const char *path, const char *list, const char *member, const char *value, edge_state_fn *state,
	      json_t **ret_answer, struct error *err);
