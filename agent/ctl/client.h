/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to weftd on its local socket (docs/local-api.md), one at a time, by libcurl. */
#pragma once

#include "agent/ctl/command.h"

struct parameter {
	const char *name; /* NULL ends the list */
	const char *value; /* NULL: left out */
};

/* `body` and `parameters` may be NULL. The answer of a 2xx status; otherwise the error that weftd names, with the code its
 * status stands for. Without --json its strings are harmless to a terminal, see format_clean(). Where nobody listens the message
 * names the command that starts weftd: -ECONNREFUSED. */
int client_call(const struct ctl *ctl, const char *method, const char *path, const struct parameter *parameters,
		const json_t *body, json_t **ret_answer, struct error *err);
