/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts of real connections: which of the two maps they are in, how they come and go, and that all is given back. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"
#include "tests/bpf/hooks_world.h"

enum { SERVICE = 9, SERVICE_INDEX = 4, TARGET = 10, TARGET_INDEX = 5, FIRST_ROUTE = 40, FIRST_BACKEND = 60, ROW = 32, SLOT = 70, REF_INDEX = 300 };
#define PORT 8080
#define VIP "240.240.0.1"
#define ENDPOINT "10.96.0.10"
#define NOWHERE "192.0.2.1" /* no route leads there */
static struct kernel_memory *memory;

static void given_endpoint(const char *address)
{
	memory->refs[REF_INDEX] = (struct endpoint_ref){ .address = ip(address), .port = htons(PORT), .slot = SLOT, .incarnation = 1 };
}

/* The workload's one backend is SERVICE, which has one endpoint. */
static int set_up(void **state __attribute__((unused)))
{
	const struct ip vip = ip(VIP);

	world_enter();
	memory = &world.kernel.memory;
	memory->nodes[WORLD_NODE_INDEX] = (struct node_record){ .flags = NODE_DROP_ALL, .first_backend = FIRST_BACKEND, .backend_count = 1 };
	memory->backends[FIRST_BACKEND] = (struct backend){ .service = SERVICE, .row = ROW, .row_count = 1 };
	memory->services[SERVICE_INDEX] = (struct service_record){ .first_route = FIRST_ROUTE, .port_count = 1, .ports = { htons(PORT) } };
	memory->routes[FIRST_ROUTE] = (struct route_record){ .target_count = 1, .cumulative = { 1 }, .target = { TARGET } };
	memory->targets[TARGET_INDEX] = (struct target_record){ .first = { REF_INDEX }, .count = { 1 } };
	memory->rows[ROW] = (struct row){ .incarnation = 1 };
	memory->endpoints[SLOT] = (struct endpoint){ .incarnation = 1 };
	memory->directories[1].refs[SERVICE] = REF(OBJECT_SERVICE, SERVICE_INDEX);
	memory->directories[1].refs[TARGET] = REF(OBJECT_TARGET, TARGET_INDEX);
	EXPECT_OK(kernel_vip_set(&world.kernel, &vip, SERVICE));
	given_endpoint(ENDPOINT);
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	world_leave();
	return 0;
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	EXPECT_OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length));
	return cookie;
}

/* A socket whose cookie has the place of `other`. Cookies of one CPU are numbers in a row. */
static int socket_beside(uint64_t other)
{
	const int cpu = sched_getcpu();
	cpu_set_t all, one;
	int fd = -1;

	EXPECT_OK(sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	EXPECT_OK(sched_setaffinity(0, sizeof(one), &one));
	for (unsigned i = 0; i < 100 * NEAR_ACCOUNTS; i++) {
		fd = new_socket(AF_INET, SOCK_STREAM);
		if (cookie_of(fd) % NEAR_ACCOUNTS == other % NEAR_ACCOUNTS)
			break;
		fd = fd_close(fd);
	}
	EXPECT_OK(sched_setaffinity(0, sizeof(all), &all));
	EXPECT(fd >= 0);
	return fd;
}

static struct near_account place_of(uint64_t cookie)
{
	const uint32_t place = cookie % NEAR_ACCOUNTS;
	struct near_account near;

	EXPECT_OK(bpf_map_lookup_elem(world.kernel.account_near_fd, &place, &near));
	return near;
}

static bool is_in_table(uint64_t cookie)
{
	struct account account;

	return bpf_map_lookup_elem(world.kernel.account_fd, &cookie, &account) == 0;
}

static void expect_open(uint64_t count)
{
	EXPECT_EQ(memory->endpoints[SLOT].open, count);
	EXPECT_EQ(memory->rows[ROW].open, count);
	EXPECT_EQ(account_count(), count);
}

TEST(an_account_has_its_place_and_one_whose_place_is_taken_is_in_the_table)
{
	_cleanup_close_ int listener = server(AF_INET, SOCK_STREAM, ENDPOINT, PORT);
	int first = new_socket(AF_INET, SOCK_STREAM), second, third;
	uint64_t cookie, beside;

	EXPECT_OK(connect_to(first, AF_INET, VIP, PORT));
	cookie = cookie_of(first);
	EXPECT_EQ(place_of(cookie).owner, cookie);
	EXPECT_EQ(place_of(cookie).account.held, cookie);
	EXPECT(!is_in_table(cookie));

	second = socket_beside(cookie);
	beside = cookie_of(second);
	EXPECT_OK(connect_to(second, AF_INET, VIP, PORT));
	EXPECT(is_in_table(beside));
	EXPECT_EQ(place_of(cookie).owner, cookie);
	EXPECT_STR(peer_of(first), VIP ":8080");
	EXPECT_STR(peer_of(second), VIP ":8080");
	expect_open(2);

	reset(first); /* it is over when that returns */
	EXPECT_EQ(place_of(cookie).owner, 0);
	EXPECT_STR(peer_of(second), VIP ":8080");
	expect_open(1);

	third = socket_beside(cookie);
	EXPECT_OK(connect_to(third, AF_INET, VIP, PORT));
	EXPECT_EQ(place_of(cookie).owner, cookie_of(third));
	reset(second);
	reset(third);
	EXPECT(!is_in_table(beside));
	EXPECT_EQ(place_of(cookie).owner, 0);
	expect_open(0);
	EXPECT_EQ(memory->rows[ROW].attempts, 3);
	EXPECT_EQ(memory->rows[ROW].closed, 3);
}

TEST(what_a_connect_without_a_syn_left_is_ended_by_the_next_one_on_the_socket)
{
	_cleanup_close_ int listener = server(AF_INET, SOCK_STREAM, ENDPOINT, PORT), fd = new_socket(AF_INET, SOCK_STREAM);
	const uint64_t before = stat_now(STAT_RECONNECTS);

	given_endpoint(NOWHERE);
	EXPECT_EQ(connect_to(fd, AF_INET, VIP, PORT), -ENETUNREACH);
	expect_open(1);
	given_endpoint(ENDPOINT);
	EXPECT_OK(connect_to(fd, AF_INET, VIP, PORT));
	expect_open(1);
	EXPECT_EQ(stat_now(STAT_RECONNECTS), before + 1);
	EXPECT_EQ(memory->rows[ROW].attempts, 2);
	EXPECT_EQ(memory->rows[ROW].abandoned, 1);
	EXPECT_EQ(memory->rows[ROW].established, 1);
}

TEST(what_a_connect_without_a_syn_left_is_ended_with_the_socket)
{
	const int fd = new_socket(AF_INET, SOCK_STREAM);

	given_endpoint(NOWHERE);
	EXPECT_EQ(connect_to(fd, AF_INET, VIP, PORT), -ENETUNREACH);
	expect_open(1);
	fd_close(fd);
	expect_open(0);
	EXPECT_EQ(memory->rows[ROW].abandoned, 1);
}

/* Fills every place, and the table; or empties them. */
static void fill(bool full)
{
	enum { BATCH = 4096 };
	_cleanup_free_ uint64_t *cookies = calloc(BATCH, sizeof(*cookies));
	_cleanup_free_ struct account *accounts = calloc(BATCH, sizeof(*accounts));

	for (uint32_t place = 0; place < NEAR_ACCOUNTS; place++) {
		const struct near_account near = { .owner = full ? 1ull << 60 : 0 };

		EXPECT_OK(bpf_map_update_elem(world.kernel.account_near_fd, &place, &near, BPF_ANY));
	}
	for (uint64_t first = 0; first < MAX_ACCOUNTS; first += BATCH) {
		__u32 count = BATCH;

		for (uint64_t i = 0; i < BATCH; i++)
			cookies[i] = (1ull << 61) + first + i;
		if (full)
			EXPECT_OK(bpf_map_update_batch(world.kernel.account_fd, cookies, accounts, &count, NULL));
		else
			EXPECT_OK(bpf_map_delete_batch(world.kernel.account_fd, cookies, &count, NULL));
	}
}

TEST(a_connection_that_no_account_is_left_for_is_refused_and_holds_no_place)
{
	_cleanup_close_ int listener = server(AF_INET, SOCK_STREAM, ENDPOINT, PORT), fd = new_socket(AF_INET, SOCK_STREAM);
	const struct counts before = counts_now();

	fill(true);
	EXPECT_EQ(connect_to(fd, AF_INET, VIP, PORT), -ECONNREFUSED);
	EXPECT_COUNTED(before, REASON_NO_MEMORY, 1);
	expect_open(0);
	EXPECT_EQ(memory->rows[ROW].attempts, 0);
	fill(false);
	EXPECT_OK(connect_to(fd, AF_INET, VIP, PORT));
	expect_open(1);
}

#define IN_A_WORKLOAD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORKLOAD(an_account_has_its_place_and_one_whose_place_is_taken_is_in_the_table),
		IN_A_WORKLOAD(what_a_connect_without_a_syn_left_is_ended_by_the_next_one_on_the_socket),
		IN_A_WORKLOAD(what_a_connect_without_a_syn_left_is_ended_with_the_socket),
		IN_A_WORKLOAD(a_connection_that_no_account_is_left_for_is_refused_and_holds_no_place),
	};

	return cmocka_run_group_tests_name("accounts", tests, world_set_up, world_tear_down);
}
