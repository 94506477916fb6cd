/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of devices, attached to none: packets go through them by test runs, and what they keep is looked at. */
#pragma once

#include "base/cleanup.h"
#include "maps/abi/edge.h"
#include "tests/bpf/fixture.h"
#include "tests/lib/address.h"
#include "tests/lib/frame.h"
#include "tests/lib/test.h"

#define PORT 8080
#define EXPOSED_PORT 80
#define DEVICE 1 /* the loopback interface, which test runs take for the packets' */
#define WITH_EDGE _cleanup_(edge_done) struct edge e; edge_init(&e)

enum verdict_of_tc { NEXT = -1, DROP = 2, SENT_BACK = 7 };

struct edge {
	struct fixture f;
	struct edge_connection *connections;
	struct frame out; /* what the last packet became */
};

/* By WITH_EDGE. */
void edge_init(struct edge *e);
void edge_done(struct edge *e);

/* A service of one route, with so many endpoints of each family, that NODE may call. */
void given_route(struct edge *e, unsigned v4, unsigned v6);
void given_device(struct edge *e, uint32_t node);
void given_exposed(struct edge *e, const char *address, uint16_t port);
/* SERVICE at 192.0.2.80:80 and [2001:db8::80]:80, for clients that come in by the device. */
void given_exposed_service(struct edge *e);

int come_in(struct edge *e, const struct frame *in);
int go_out(struct edge *e, const struct frame *in);
struct frame_tcp tcp(const char *source, uint16_t source_port, const char *destination, uint16_t destination_port, uint8_t flags);
struct frame frame_of(struct frame_tcp t);
int tcp_in(struct edge *e, struct frame_tcp t);
int tcp_out(struct edge *e, struct frame_tcp t);
/* The last packet came out between these ends, with checksums that are right. */
void expect_ends(const struct edge *e, const char *source, uint16_t source_port, const char *destination, uint16_t destination_port);

uint64_t reason_count(struct edge *e, uint32_t source, uint32_t service, enum reason reason);
uint64_t stat_count(struct edge *e, enum statistic stat);
/* The last flow record that was written; all zero: none since the last look. */
struct flow_record last_record(struct edge *e);
struct row *row_of_route(struct edge *e);
size_t count_in_use(const struct edge *e);
size_t count_pairs(struct edge *e);
struct edge_sweep sweep(struct edge *e, uint64_t now_ns);

/* client 198.51.100.7:40000 -> the exposed address, up to an established connection. */
void given_connection(struct edge *e);
