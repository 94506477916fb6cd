/* SPDX-License-Identifier: Apache-2.0 */
/* What `weft dns` shows of weftd's answers. */
#pragma once

#include <stdio.h>

#include "base/json.h"

/* Of /v1/dns, with a name, and /v1/dns/queries. 0 or -ENOMEM. */
int dns_print_responder(const json_t *answer, FILE *to);
int dns_print_lookup(const json_t *answer, FILE *to);
int dns_print_queries(const json_t *answer, FILE *to);
