/* SPDX-License-Identifier: Apache-2.0 */
/* Pins of an instance, by directory and name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loader/transaction.h"

/* "DIRECTORY/PREFIXNAME". 0 or -ENAMETOOLONG. */
int pin_path(char path[PIN_PATH_BYTES], const char *directory, const char *prefix, const char *name);
int pin_open(const char *directory, const char *prefix, const char *name); /* a descriptor, or -errno */
uint32_t map_id(int fd); /* that the kernel gives no other map; 0: it is none, or negative */
bool pin_exists(const char *directory, const char *prefix, const char *name);
bool pin_is_link(const char *directory, const char *name);
int pin_make(int fd, const char *directory, const char *prefix, const char *name, struct error *err);
/* Calls `fn` for each pin, until it returns negative. They may go meanwhile. */
typedef int pin_fn(const char *directory, const char *name, void *arg);
int pin_each(const char *directory, pin_fn *fn, void *arg);
/* Those that begin so; links live on where they have another pin. */
int pin_drop_all(const char *directory, const char *prefix);
