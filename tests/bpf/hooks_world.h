/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks, with real sockets: the test's process is a workload, in a network namespace and a cgroup of its own, of an instance that is
 * installed for it. Beside that it plays weft-proxy, whose cgroup it enters for that. Addresses of the namespace, on its loopback
 * interface: 10.96.0.10, 10.96.0.11, 240.240.0.10, fd00::53, fe80::53. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "maps/kernel.h"
#include "maps/proxy.h"
#include "tests/lib/address.h"

enum { WAIT_MS = 2000 };

/* Of the workload: its object id, and where its record is. */
enum { WORLD_NODE = 7, WORLD_NODE_INDEX = 3 };

extern struct hooks_world {
	char instance[33], cgroup[320], weft_cgroup[384], home_cgroup[600];
	uint64_t netns_cookie;
	struct kernel kernel;
	struct proxy_maps maps;
} world;

int world_set_up(void **state); /* of a group of tests */
int world_tear_down(void **state);
/* Of one test: the process is a workload of a mesh with DROP_ALL, in generation 1; weft-proxy lives. */
void world_enter(void);
void world_leave(void);
void enter_cgroup(const char *directory);
void beat(void);

struct endpoint_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t length;
};
/* As sockets of this family have it: IPv4 addresses are v4-mapped in AF_INET6. */
struct endpoint_address address_of(int family, const char *text, uint16_t port);
const char *text_of(const struct endpoint_address *a); /* good until the next call */
const char *peer_of(int fd);

int new_socket(int family, int type);
/* 0 or -errno, in the words of connect(2) and so on. */
int connect_to(int fd, int family, const char *address, uint16_t port);
int send_to(int fd, int family, const char *address, uint16_t port);
int bind_to(int fd, int family, const char *address, uint16_t port);
/* A server's socket that weft itself opens, as its responder: no workload may have its port. */
int server(int family, int type, const char *address, uint16_t port);
/* That of a program. */
int listening(int family, const char *address, uint16_t port);
bool readable(int fd, int timeout_ms);
void reset(int fd); /* closes it at once, by a reset */

struct counts {
	uint64_t by_reason[REASON_COUNT];
	uint64_t all;
	uint64_t flows;
};
struct counts counts_now(void);
/* Since then so many of this reason were counted, and none of another. */
#define EXPECT_COUNTED(before, reason, n)                                                                                     \
	do {                                                                                                                   \
		const struct counts _now = counts_now();                                                                       \
		EXPECT_EQ(_now.by_reason[reason] - (before).by_reason[reason], n);                                             \
		EXPECT_EQ(_now.all - (before).all, n);                                                                         \
	} while (0)
uint64_t stat_now(enum statistic which);
unsigned account_count(void);
