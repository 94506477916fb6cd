/* SPDX-License-Identifier: Apache-2.0 */
/* Which build a program is: a hash of its file. */
#pragma once

#include "base/error.h"

#define BUILD_TEXT_BYTES 33
#define BUILD_OWN "/proc/self/exe"

/* -errno: the file cannot be read. Reads all of it: some milliseconds. */
int build_of(const char *path, char buffer[BUILD_TEXT_BYTES], struct error *err);
