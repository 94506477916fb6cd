/* SPDX-License-Identifier: Apache-2.0 */
/* Names that services are asked for by. */
#pragma once

#include <stdbool.h>

/* To a resolver it is itself: in lower case, without a dot at the end. Two plain names are two. */
bool name_is_plain(const char *name);
