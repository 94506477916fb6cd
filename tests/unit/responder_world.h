/* SPDX-License-Identifier: Apache-2.0 */
/* A responder in a network namespace of the test's own, which the process enters: there it may have port 53, and lo to itself. No
 * privilege is needed where users may have namespaces. The responder's maps are plain memory. The test is the program and the resolver,
 * and turns the loop while it waits. */
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "agent/dns/packet.h"
#include "agent/dns/responder.h"
#include "base/time.h"
#include "tests/lib/test.h"

enum { TEST_PORT = 15353, NODE_ID = 7, WORLD_ENTRIES = 32 };
#define NODE "mesh/shop/virtualNode/front"
#define COOKIE 0xc00c1e

struct world_resolver {
	struct resolver_key key;
	struct resolver value;
};
struct world_exemption {
	uint64_t cookie, until_ns;
	struct ip address;
};
struct responder_world {
	struct loop *loop;
	struct responder *responder;
	struct responder_maps maps;
	uint64_t outcomes[DNS_OUTCOMES_MAX];
	int netns_fd;
	struct {
		struct name_key key;
		struct name_entry entry;
	} names[WORLD_ENTRIES];
	size_t name_count;
	struct world_resolver resolvers[WORLD_ENTRIES];
	size_t resolver_count;
	int resolver_set_result; /* what setting one returns */
	struct world_exemption exemptions[WORLD_ENTRIES];
	size_t exemption_count;
	int udp_fd, tcp_fd; /* the resolver at 127.0.0.1, port 53 */
};

void lo_set(bool up);
/* In a new namespace, with lo up. Skips the test where that is not allowed. */
void responder_world_init(struct responder_world *w);
void responder_world_done(struct responder_world *w);
void world_resolver_close(struct responder_world *w); /* nobody listens at 127.0.0.1, port 53 */

/* A turn of the loop until a condition holds, 5 s at most. */
#define TURN_UNTIL(w, condition)                                                                                              \
	do {                                                                                                                   \
		const uint64_t _until_ns = test_now_ns() + 5 * NSEC_PER_SEC;                                                  \
		while (!(condition)) {                                                                                         \
			EXPECT_OK(loop_turn((w)->loop, NSEC_PER_MSEC));                                                        \
			if (test_now_ns() > _until_ns)                                                                         \
				fail_msg("turned 5 s in vain for: %s", #condition);                                            \
		}                                                                                                              \
	} while (0)
void world_turns(struct responder_world *w, int count);
bool readable(int fd);

struct ip ip_of(const char *text);
/* "" for no address of that family. */
void given_name(struct responder_world *w, const char *scope, const char *name, const char *vip4, const char *vip6);
struct responder_place world_place(const struct responder_world *w);
/* Resolvers separated by spaces. */
struct resolv_conf conf_of(const char *resolvers);
void given_place(struct responder_world *w, const char *resolvers);
/* Of the map: NULL when the resolver has none. */
const struct resolver *steered(const struct responder_world *w, const char *resolver);

struct packet {
	size_t length;
	uint8_t bytes[5000];
};
struct packet query_packet(uint16_t id, const char *name, uint16_t type);
/* The query turned into an answer: with `count` A records 10.0.0.1, 10.0.0.2, … */
struct packet answer_packet(const struct packet *query, unsigned rcode, unsigned count, uint32_t ttl_seconds);
unsigned packet_u16(const struct packet *p, size_t offset);
unsigned answer_count(const struct packet *p);
struct ip first_address(const struct packet *p, uint32_t *ret_ttl_seconds);

/* Sockets of programs: connected to where the hooks would send them for this resolver. */
int client_udp(const struct responder_world *w, const char *resolver);
int client_tcp(const struct responder_world *w, const char *resolver);
void udp_send(int fd, const struct packet *p);
struct packet udp_receive(struct responder_world *w, int fd);
struct packet udp_ask(struct responder_world *w, int fd, const struct packet *query);
void tcp_send(int fd, const struct packet *p);
struct packet tcp_receive(struct responder_world *w, int fd);
/* Whether the next thing on the connection is its end. */
bool tcp_ended(struct responder_world *w, int fd);

/* The resolver's side: takes a query, and remembers who asked. */
struct asked {
	struct packet query;
	struct sockaddr_in from;
};
struct asked resolver_receive(struct responder_world *w);
void resolver_answer(struct responder_world *w, const struct asked *asked, const struct packet *answer);
int resolver_accept(struct responder_world *w);
