/* SPDX-License-Identifier: Apache-2.0 */
/* Structured log on standard error: one line, a message and key=value fields. Thread-safe: one write(2) a line.
 *
 *   log_info("configuration in force", LOG_F("generation", LOG_U64(gen)), LOG_F("files", LOG_INT(n)));
 *
 * A function either logs or returns an error. Whoever decides what happens next logs, once. Values are quoted where needed,
 * control characters escaped, and cut at 256 bytes. Where traffic can trigger a line, use log_limited(). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_value {
	enum { LOG_VALUE_STRING, LOG_VALUE_INT, LOG_VALUE_U64 } type;
	union {
		const char *string; /* NULL prints as - */
		int64_t integer;
		uint64_t u64;
	};
};
struct log_field {
	const char *key;
	struct log_value value;
};

#define LOG_STR(s) ((struct log_value){ .type = LOG_VALUE_STRING, .string = (s) })
#define LOG_INT(i) ((struct log_value){ .type = LOG_VALUE_INT, .integer = (i) })
#define LOG_U64(u) ((struct log_value){ .type = LOG_VALUE_U64, .u64 = (u) })

/* "text" (default) or "json"; lines below `level` are left out. Call before other threads start. */
void log_setup(enum log_level level, bool json);
/* The same by what options --log-level and --log-format give. -EINVAL names the option. */
int log_setup_named(const char *level, const char *format, struct error *err);

/* Fields end with a row whose key is NULL. Use the macros below: LOG_F("key", LOG_STR(x)). */
void log_write(enum log_level level, const char *message, const struct log_field *fields);

#define LOG_F(k, v) ((struct log_field){ (k), (v) })
#define LOG_FIELDS(...) ((const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ) { 0 } })
#define log_debug(message, ...) log_write(LOG_LEVEL_DEBUG, message, LOG_FIELDS(__VA_ARGS__))
#define log_info(message, ...) log_write(LOG_LEVEL_INFO, message, LOG_FIELDS(__VA_ARGS__))
#define log_warn(message, ...) log_write(LOG_LEVEL_WARN, message, LOG_FIELDS(__VA_ARGS__))
#define log_error(message, ...) log_write(LOG_LEVEL_ERROR, message, LOG_FIELDS(__VA_ARGS__))

/* At most one line a second from each place; the next one says how many were left out (`suppressed=n`). Any thread. */
struct log_limit { /* atomic */
	uint64_t next_ns;
	uint64_t suppressed;
};
bool log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed);
#define log_limited(level, message, ...)                                                                                      \
	do {                                                                                                                   \
		static struct log_limit _limit;                                                                                \
		uint64_t _suppressed;                                                                                          \
		if (log_limit_pass(&_limit, &_suppressed))                                                                     \
			log_write(level, message,                                                                              \
				  LOG_FIELDS(__VA_ARGS__ __VA_OPT__(, ) LOG_F("suppressed", LOG_U64(_suppressed))));           \
	} while (0)
