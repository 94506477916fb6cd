/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf(5), as far as it says whom a program asks, and what of nsswitch.conf(5) says that it asks by another way. Pure.
 *
 * Libraries differ, so what any of them takes is taken; a resolver too many costs a pair of sockets, one too few the names of the mesh:
 * - white space before the keyword (Go); other characters than space and tab after it (musl, Go: CRLF and the like);
 * - IPv4 addresses as inet_aton(3) reads them, "127.1" and "0x7f.1" (glibc, musl);
 * - zones of IPv6 addresses that are not link-local (all three), which mean nothing there;
 * - lines of any length (glibc; musl leaves out those over 255 bytes), and resolvers after the third.
 * All of them end an address at white space, whatever follows. Keywords are in lower case; "#" and ";" begin a comment only where a
 * keyword would stand. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "maps/abi/types.h"

#define RESOLVERS_MAX 8 /* glibc, musl and Go look at three; more only by other software */
#define RESOLV_CONF_MAX_BYTES (64 * 1024)

struct resolv_conf {
	struct ip resolvers[RESOLVERS_MAX]; /* in the order of the file, each once; the rest is zero */
	size_t count;
	size_t left_out; /* beyond RESOLVERS_MAX, link-local ones (their scope cannot be shown to the program), and what is no address */
};

/* Never fails: what it cannot read it counts. Without an address: 127.0.0.1 alone, as libraries do (Go asks ::1 after it, should it
 * not answer); none at all where there are only link-local ones. 0.0.0.0 and :: are taken for 127.0.0.1 and ::1, where connect() leads
 * them. Comments (# and ;), tabs, CRLF and a last line without newline are fine. */
void resolv_conf_parse(const char *text, size_t length, struct resolv_conf *ret_conf);
/* Adds one behind the others, unless it is there already; what does not fit is counted. */
void resolv_conf_add(struct resolv_conf *conf, const struct ip *resolver);
bool resolv_conf_has(const struct resolv_conf *conf, const struct ip *resolver);

/* Whether a line "hosts: …" of an nsswitch.conf has the service "resolve": then glibc asks systemd-resolved by its socket. */
bool nsswitch_has_resolve(const char *text, size_t length);
