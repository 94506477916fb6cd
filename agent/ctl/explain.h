/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of weft explain share. */
#pragma once

#include "base/json.h"

void explain_line(const char *label, const char *text); /* NULL: "-" */
/* "request" of the answer: what weft-proxy makes of it. 0 or -ENOMEM. */
int explain_request_print(const json_t *answer);
/* "distribution" of an object, of `count` draws that `what` were made: the most frequent outcome first. 0 or -ENOMEM. */
int explain_distribution_print(const json_t *object, const char *what);
