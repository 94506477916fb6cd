/* SPDX-License-Identifier: Apache-2.0 */
/* Values as people read them. Each function writes into the caller's buffer and returns it. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/json.h"

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_GOOD, STYLE_WARN, STYLE_BAD };
/* The escape sequence, or "" where `to` is no terminal, or NO_COLOR is set (no-color.org). */
const char *style(FILE *to, enum style style);

/* Makes all strings and member names in `value` harmless to a terminal: names and messages come from files, peers and
 * programs. Control characters become '?'. 0 or -ENOMEM. */
int format_clean(json_t *value);

#define FORMAT_BYTES 32
/* "0 B", "1.5 KiB", "12 MiB" */
const char *format_bytes(uint64_t bytes, char buffer[FORMAT_BYTES]);
/* "90.3 %" */
const char *format_share(double share, char buffer[FORMAT_BYTES]);
/* "mesh/M/virtualRouter/R/route/T" -> "M/R/T": the column, or the word before, says of what kind it is. Anything else
 * stays. NULL and too long a name: "-", and the end replaced by "...". */
#define NAME_TEXT_BYTES 256
const char *format_name(const char *full_name, char buffer[NAME_TEXT_BYTES]);

/* Members of a JSON object: "-" where they are absent, null or of another type. */
const char *format_member_span(const json_t *object, const char *member, char buffer[FORMAT_BYTES]); /* ns */
const char *format_member_name(const json_t *object, const char *member, char buffer[NAME_TEXT_BYTES]);
const char *format_member_bytes(const json_t *object, const char *member, char buffer[FORMAT_BYTES]);
const char *format_member_count(const json_t *object, const char *member, char buffer[FORMAT_BYTES]);

/* The limits of a listener, as /v1/resources has them: "100 connections, 50 waiting requests (the default pool)". */
#define POOL_TEXT_BYTES 128
const char *format_pool(const json_t *pool, char buffer[POOL_TEXT_BYTES]);

/* "error" of /v1/configuration, in a line; nothing where there is none. */
void print_configuration_error(FILE *to, const json_t *error);
