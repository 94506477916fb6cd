/* SPDX-License-Identifier: Apache-2.0 */
/* A DNS server on 127.0.0.1, over UDP and TCP, on the test's own loop: it answers as it is told, name by name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/loop/loop.h"

#define FAKE_DNS_ADDRESSES 5 /* with NULL at the end */

struct fake_record { /* what is answered for one name and type; all zero: no such name */
	char *name;
	bool v6;
	bool exists;
	bool silent; /* no answer */
	bool truncated; /* over UDP: come again by TCP */
	unsigned rcode; /* 0: NOERROR, or NXDOMAIN where the name does not exist */
	const char *alias; /* the name is a CNAME of this one, which has the addresses */
	uint32_t alias_ttl, ttl;
	const char *addresses[FAKE_DNS_ADDRESSES]; /* up to NULL */
	unsigned more_addresses; /* and so many from 10.9.0.0 on */
	unsigned asked, asked_by_tcp;
};

struct fake_dns {
	struct loop *loop;
	int udp_fd, tcp_fd;
	struct loop_io *udp, *tcp;
	struct fake_connection *connections;
	uint16_t port;
	char address[24]; /* "127.0.0.1:PORT" */
	struct fake_record *records;
	size_t record_count;
	unsigned asked; /* altogether */
};

void fake_dns_start(struct fake_dns *dns, struct loop *loop);
void fake_dns_stop(struct fake_dns *dns);

/* The record, made where there is none. Valid until the next call. */
struct fake_record *fake_dns_record(struct fake_dns *dns, const char *name, bool v6);
/* It exists, with these addresses (up to NULL) and this TTL. */
void fake_dns_set(struct fake_dns *dns, const char *name, bool v6, uint32_t ttl, const char *const *addresses);
