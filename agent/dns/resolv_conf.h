/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf(5), as far as it says whom a program asks. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "maps/abi/types.h"

#define RESOLVERS_MAX 8 /* glibc, musl and Go look at three; more only by other software */
#define RESOLV_CONF_MAX_BYTES (64 * 1024)

struct resolv_conf {
	struct ip resolvers[RESOLVERS_MAX]; /* in the order of the file, each once */
	size_t count;
	size_t left_out; /* beyond RESOLVERS_MAX, link-local ones (their scope cannot be shown to the program), and what is no address */
};

/* Never fails: what it cannot read it counts. Without any nameserver line: 127.0.0.1 alone, as libraries do. 0.0.0.0 and :: are taken
 * for 127.0.0.1 and ::1, where connect() leads them. Comments (# and ;), tabs, CRLF and a last line without newline are fine. */
void resolv_conf_parse(const char *text, size_t length, struct resolv_conf *ret_conf);
