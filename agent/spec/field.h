/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a spec, for messages: their paths, their values in words, and patterns over them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

/* A formatted path that lives as long as the block around it: FIELD("spec.listeners[%zu].tls", i). What is longer than
 * ERROR_FIELD_BYTES ends in "...", between two characters. */
#define FIELD(...) field_format((char[ERROR_FIELD_BYTES]){ 0 }, __VA_ARGS__)
const char *field_format(char buffer[ERROR_FIELD_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `"text"`, `8080`, `true`, `a list`, `an object`: bounded, and cut between characters. Returns `buffer`. */
#define VALUE_TEXT_BYTES 96
const char *value_text(const json_t *value, char buffer[VALUE_TEXT_BYTES]);
#define VALUE(value) value_text(value, (char[VALUE_TEXT_BYTES]){ 0 })

/* The text up to `size` - 1 bytes; what is longer ends in "..." and between two characters. */
void text_cut(char *buffer, size_t size, const char *text);
/* UTF-8 characters. */
size_t text_characters(const char *text);

/* The API's Duration, {"unit": "s" or "ms", "value": n}, checked, in nanoseconds; `otherwise_ns` where it is absent. What is longer than
 * DURATION_LONGEST_NS is as long as that. */
#define DURATION_LONGEST_NS (100 * 365 * 24 * 3600ull * 1000000000ull)
uint64_t duration_ns(const json_t *duration, uint64_t otherwise_ns);

/* Calls `fn` for every member a pattern finds in a spec: "listeners[].tls"; "*" stands for any member, "" for the spec itself.
 * `field` is the whole path, "spec.listeners[2].tls", and valid during the call. */
typedef void field_each_fn(const char *field, const json_t *value, void *arg);
void field_each(const json_t *spec, const char *pattern, field_each_fn *fn, void *arg);
