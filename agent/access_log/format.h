/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of an access log looks like: `logging.accessLog.file.format` of a virtual node or gateway (App Mesh API, LoggingFormat),
 * compiled. Text and JSON come out as Envoy writes them for its text_format and json_format, which is what App Mesh made of it:
 *  - text: literals as they are, without a newline of their own; what is not there is "-".
 *  - JSON: one object and a newline. A value that is one operator has its own type: numbers are numbers, what is not there is null;
 *    else it is a string, in which "-" stands for what is not there. Members are in the order of the format (Envoy's is its own).
 * Immutable: any thread, many at once.
 *
 * Operators are those of Envoy v1.29, and REQ_WITHOUT_QUERY, which App Mesh had as well. What is about TLS, dynamic metadata or filter
 * state is "-", as it is in Envoy on a plaintext connection without such filters. Others (ENVIRONMENT, and what came later) are
 * refused by name.
 *
 * Bytes of peers cannot forge lines: control characters are "?" in text, where a codec let one through, escapes in JSON. Text has no
 * escapes otherwise, as in Envoy: whoever must tell a quote in a header from one in the format chooses JSON. */
#pragma once

#include "agent/access_log/entry.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

struct access_log_format;

/* `format` is {"text": …} or {"json": [{"key", "value"}, …]}, its shape checked by spec, or NULL for Envoy's default line. -EINVAL
 * names the operator, its byte (from 1) and the field: `field` is the path of `format`, "spec.logging.accessLog.file.format".
 * -ENOMEM. */
int access_log_format_new(const json_t *format, const char *field, struct access_log_format **ret_format, struct error *err);
struct access_log_format *access_log_format_free(struct access_log_format *format); /* NULL is fine */
bool access_log_format_equal(const struct access_log_format *a, const struct access_log_format *b);
/* Whether `hostname` of an entry is looked at. */
bool access_log_format_needs_hostname(const struct access_log_format *format);

/* Appends a line. Out of memory is the buffer's to tell. Allocates nothing but the buffer's own growth. */
void access_log_format(const struct access_log_format *format, const struct access_log_entry *entry, struct buffer *line);
