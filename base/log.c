/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"

#define VALUE_BYTES 256

static struct {
	enum log_level level;
	bool json;
} setup = { .level = LOG_LEVEL_INFO };

static const char *const level_names[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
};

void log_setup(enum log_level level, bool json)
{
	setup.level = level;
	setup.json = json;
}

int log_setup_named(const char *level, const char *format, struct error *err)
{
	const bool json = !strcmp(format, "json");

	if (!json && strcmp(format, "text"))
		return error_set_field(err, -EINVAL, "log-format", "'%s' is neither text nor json", format);
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++)
		if (!strcmp(level, level_names[i])) {
			log_setup((enum log_level)i, json);
			return 0;
		}
	return error_set_field(err, -EINVAL, "log-level", "'%s' is none of debug, info, warn, error", level);
}

static void append_escape(struct buffer *line, unsigned char byte, bool json)
{
	static const char short_escapes[] = { ['\n'] = 'n', ['\t'] = 't', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\' };

	if (byte < sizeof(short_escapes) && short_escapes[byte])
		buffer_printf(line, "\\%c", short_escapes[byte]);
	else
		buffer_printf(line, json ? "\\u%04x" : "\\x%02x", byte);
}

/* Printable UTF-8 as it is; the rest escaped, so that nothing in a value can end a line or drive a terminal. In JSON a byte that
 * is not UTF-8 becomes the escape of that byte's value, too: readable, and valid. */
static void append_escaped(struct buffer *line, const char *text, bool json)
{
	size_t length = strnlen(text, VALUE_BYTES + 1), at = 0;

	while (text[at] && at < length) {
		/* Looks past the limit for the end of a sequence, but not past the end of the string. */
		size_t sequence = utf8_sequence(text + at, strnlen(text + at, 4));
		unsigned char byte = (unsigned char)text[at];
		bool control = byte < 0x20 || byte == 0x7f || (byte == 0xc2 && (unsigned char)text[at + 1] < 0xa0); /* C0, C1 */

		if (at + MAX(sequence, 1u) > VALUE_BYTES) {
			buffer_add(line, "...");
			return;
		}
		if (sequence && !control && byte != '"' && byte != '\\') {
			buffer_append(line, text + at, sequence);
			at += sequence;
		} else {
			append_escape(line, byte, json);
			at++;
		}
	}
}

static void append_quoted(struct buffer *line, const char *text, bool json)
{
	buffer_add(line, "\"");
	append_escaped(line, text, json);
	buffer_add(line, "\"");
}

static bool is_bare(const char *text)
{
	const char *c = text;

	while (*c > ' ' && *c < 0x7f && *c != '"' && *c != '\\' && *c != '=')
		c++;
	return c > text && !*c && c - text <= VALUE_BYTES;
}

static void append_value(struct buffer *line, const struct log_value *value)
{
	switch (value->type) {
	case LOG_VALUE_INT:
		buffer_printf(line, "%" PRId64, value->integer);
		return;
	case LOG_VALUE_U64:
		buffer_printf(line, "%" PRIu64, value->u64);
		return;
	case LOG_VALUE_STRING:
		if (!value->string)
			buffer_add(line, setup.json ? "null" : "-");
		else if (!setup.json && is_bare(value->string))
			buffer_add(line, value->string);
		else
			append_quoted(line, value->string, setup.json);
		return;
	}
}

static void append_line(struct buffer *line, enum log_level level, const char *message, const struct log_field *fields)
{
	char time[TIME_TEXT_BYTES];

	time_format(time_to_wall_ns(time_now_ns()), time);
	if (setup.json) {
		buffer_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", time, level_names[level]);
		append_quoted(line, message, true);
	} else {
		buffer_printf(line, "%s %-5s ", time, level_names[level]);
		append_escaped(line, message, false);
	}
	for (; fields->key; fields++) {
		buffer_printf(line, setup.json ? ",\"%s\":" : " %s=", fields->key);
		append_value(line, &fields->value);
	}
	buffer_add(line, setup.json ? "}\n" : "\n");
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
	_cleanup_(buffer_done) struct buffer line = {};
	int saved = errno;
	const char *text = message; /* all that is left to say without memory */
	size_t length = strlen(message);

	if (level < setup.level)
		return;
	append_line(&line, level, message, fields);
	if (!buffer_failed(&line)) {
		text = buffer_string(&line);
		length = line.length;
	}
	while (write(STDERR_FILENO, text, length) < 0 && errno == EINTR)
		;
	errno = saved;
}

bool log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed)
{
	const uint64_t now = time_now_ns();
	uint64_t next = __atomic_load_n(&limit->next_ns, __ATOMIC_RELAXED);

	if (now < next || !__atomic_compare_exchange_n(&limit->next_ns, &next, now + NSEC_PER_SEC, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_add_fetch(&limit->suppressed, 1, __ATOMIC_RELAXED);
		return false;
	}
	*ret_suppressed = __atomic_exchange_n(&limit->suppressed, 0, __ATOMIC_RELAXED);
	return true;
}
