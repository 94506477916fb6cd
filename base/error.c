/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf() that marks a cut with "..." and never leaves half a UTF-8 sequence, which JSON could not carry. */
static void format_bounded(char *buffer, size_t size, const char *format, va_list args)
{
	size_t end = size - sizeof("...");
	int length;

	assert(size >= sizeof("..."));
	length = vsnprintf(buffer, size, format, args);
	if (length < 0)
		buffer[0] = '\0';
	if (length < (int)size)
		return;
	while (end > 0 && ((unsigned char)buffer[end] & 0xc0) == 0x80)
		end--;
	memcpy(buffer + end, "...", sizeof("..."));
}

static void copy_bounded(char *buffer, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	format_bounded(buffer, size, format, args);
	va_end(args);
}

static void set(struct error *err, int code, const char *field, const char *format, va_list args)
{
	struct error next = { .code = code }; /* the arguments may point into `err` */

	assert(code < 0);
	if (!err)
		return;
	format_bounded(next.message, sizeof(next.message), format, args);
	copy_bounded(next.field, sizeof(next.field), "%s", field);
	*err = next;
}

int error_set(struct error *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set(err, code, "", format, args);
	va_end(args);
	return code;
}

int error_set_field(struct error *err, int code, const char *field, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set(err, code, field, format, args);
	va_end(args);
	return code;
}

static const char *message_of(const struct error *err)
{
	const char *text = strerrordesc_np(-err->code);

	if (err->message[0])
		return err->message;
	return text ? text : "unknown error";
}

int error_prefix(struct error *err, const char *format, ...)
{
	char prefix[ERROR_MESSAGE_BYTES], message[ERROR_MESSAGE_BYTES];
	va_list args;

	if (!err)
		return 0;
	va_start(args, format);
	format_bounded(prefix, sizeof(prefix), format, args);
	va_end(args);
	copy_bounded(message, sizeof(message), "%s: %s", prefix, message_of(err));
	memcpy(err->message, message, sizeof(message));
	return err->code;
}

const char *error_text(const struct error *err, char *buffer, size_t size)
{
	if (!err->field[0])
		return message_of(err);
	copy_bounded(buffer, size, "%s: %s", err->field, message_of(err));
	return buffer;
}
