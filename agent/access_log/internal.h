/* SPDX-License-Identifier: Apache-2.0 */
/* Between format.c (a format read, a line put together), operator.c (what each operator stands for), start_time.c (times) and put.h
 * (bytes put). Internal to agent/access_log. */
#pragma once

#include "agent/access_log/entry.h"
#include "base/error.h"

/* --- start_time.c ----------------------------------------------------------------------------------------------------------- */

/* A pattern of strftime() in UTC and the C locale, with fractions of a second: %f, %1f to %9f, %E1S to %E9S. */
struct time_format;
#define TIME_TEXT_MAX_BYTES 256
/* "" is what Envoy has by default: milliseconds. -EINVAL says what is wrong, -ENOMEM. */
int time_format_new(struct span pattern, struct time_format **ret_format, struct error *err);
struct time_format *time_format_free(struct time_format *format);
/* Borrowed until the next call of the thread. */
struct span time_format_text(const struct time_format *format, uint64_t wall_ns);

/* --- operator.c ------------------------------------------------------------------------------------------------------------- */

#define VALUE_ROOM_BYTES 64

struct value {
	enum { VALUE_ABSENT, VALUE_TEXT, VALUE_NUMBER } kind;
	struct span text;
	uint64_t number;
	char room[VALUE_ROOM_BYTES]; /* where text may be made */
};

struct header_name {
	char *text; /* lower case; NULL: none */
	size_t length;
	size_t pseudo; /* offset of a span in the entry that stands for it; 0: none */
};

#define NO_TRUNCATION SIZE_MAX

/* An operator in a format, with what it was given. */
struct operation {
	const struct operator *operator;
	struct header_name main, alternative;
	struct time_format *time;
	unsigned aspect; /* of GRPC_STATUS: its form */
	size_t truncate;
};

/* `name` is between the per cent signs, `parameters` between brackets (data NULL: none). -EINVAL says what is wrong, -ENOMEM. */
int operation_init(struct operation *operation, struct span name, struct span parameters, bool has_length, size_t truncate,
		   struct error *err);
void operation_done(struct operation *operation);
void operation_value(const struct operation *operation, const struct access_log_entry *entry, struct value *ret_value);
bool operation_needs_hostname(const struct operation *operation);
