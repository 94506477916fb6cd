/* SPDX-License-Identifier: Apache-2.0 */
/* Names of routes as numbers, by which requests are counted: a name keeps its number for as long as the process lives, so that counts go on
 * when a route changes, or goes and comes again. Any thread: they are given while a configuration is read, and asked for while counts are told. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ROUTE_NAMES_MAX 65536
#define ROUTE_NUMBER_OTHER UINT32_MAX /* of names beyond that */

struct route_names;
struct route_names *route_names_new(void); /* NULL: no memory */
struct route_names *route_names_free(struct route_names *names); /* NULL is fine */
/* From 1 on; made on first use. NULL as a name is 0. */
uint32_t route_names_number(struct route_names *names, const char *name);
const char *route_names_text(struct route_names *names, uint32_t number); /* NULL: none has it */
