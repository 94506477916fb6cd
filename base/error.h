/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, for the person who will read it. Functions return 0 or a negative errno, which callers branch on; where
 * a person reads the outcome the last parameter is a `struct error *`: on the caller's stack, no allocation, NULL allowed. */
#pragma once

#include <errno.h>
#include <stddef.h>

#define ERROR_MESSAGE_BYTES 768
#define ERROR_FIELD_BYTES 256

struct error {
	int code; /* negative errno; 0: nothing was set */
	char field[ERROR_FIELD_BYTES]; /* path of the member at fault, `spec.listeners[0].portMapping.port`; may be empty */
	char message[ERROR_MESSAGE_BYTES]; /* one sentence without full stop; cut at the end, marked with "..." */
};

/* Both return `code`, so that `return error_set(err, -EINVAL, …)` reports and leaves. `code` must be negative. */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int error_set_field(struct error *err, int code, const char *field, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts `format: ` before the message that is there, and keeps the code. Returns err->code, or 0 for NULL. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "field: message", "message", or the text of the errno when nothing was said. Valid until `err` changes. */
const char *error_text(const struct error *err, char *buffer, size_t size);
