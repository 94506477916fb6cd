/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/hooks_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "loader/loader.h"
#include "tests/lib/test.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct hooks_world world;
static const struct loader_options here = { .instance = world.instance, .cgroup = world.cgroup };

void enter_cgroup(const char *directory)
{
	char path[640];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, "0", 1), 1);
}

static void find_home_cgroup(const char *root)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/cgroup", "re");
	char line[300] = "";

	EXPECT(file);
	while (fgets(line, sizeof(line), file) && strncmp(line, "0::", 3))
		;
	line[strcspn(line, "\n")] = '\0';
	snprintf(world.home_cgroup, sizeof(world.home_cgroup), "%s%s", root, line + 3);
}

int world_set_up(void **state __attribute__((unused)))
{
	char root[256];
	struct error err = {};

	snprintf(world.instance, sizeof(world.instance), "test-hooks-%d", (int)getpid());
	EXPECT_OK(cgroup_root(root, sizeof(root), &err), &err);
	find_home_cgroup(root);
	snprintf(world.cgroup, sizeof(world.cgroup), "%s/%s", root, world.instance);
	snprintf(world.weft_cgroup, sizeof(world.weft_cgroup), "%s/own", world.cgroup);
	EXPECT_OK(mkdir(world.cgroup, 0755));
	EXPECT_OK(mkdir(world.weft_cgroup, 0755));
	EXPECT_OK(unshare(CLONE_NEWNET));
	EXPECT_OK(system("ip link set lo up && ip addr add 10.96.0.10/32 dev lo && ip addr add 10.96.0.11/32 dev lo && "
			 "ip addr add 240.240.0.10/32 dev lo && ip addr add fd00::53/128 dev lo nodad && "
			 "ip addr add fe80::53/64 dev lo nodad"));
	EXPECT_OK(loader_install(&here, &err), &err);
	EXPECT_OK(kernel_open(world.instance, &world.kernel, &err), &err);
	EXPECT_OK(proxy_maps_open(world.instance, &world.maps, &err), &err);
	return 0;
}

int world_tear_down(void **state __attribute__((unused)))
{
	struct error err = {};

	proxy_maps_close(&world.maps);
	kernel_close(&world.kernel);
	EXPECT_OK(loader_uninstall(&here, &err), &err);
	EXPECT_OK(rmdir(world.weft_cgroup));
	EXPECT_OK(rmdir(world.cgroup));
	return 0;
}

void beat(void)
{
	world.maps.state->beat_ns = time_now_ns();
}

void world_enter(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct kernel_memory *memory = &world.kernel.memory;
	socklen_t length = sizeof(world.netns_cookie);
	struct stat st;

	EXPECT_OK(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &world.netns_cookie, &length));
	EXPECT_OK(kernel_netns_set(&world.kernel, world.netns_cookie, &(struct owner){ .node = WORLD_NODE }));
	memory->nodes[WORLD_NODE_INDEX] = (struct node_record){ .flags = NODE_DROP_ALL };
	memory->directories[1].refs[WORLD_NODE] = REF(OBJECT_NODE, WORLD_NODE_INDEX);
	memory->root->generation = memory->root->oldest = 1;
	EXPECT_OK(ip_prefix_parse("240.240.0.0/16", &memory->config->vip4, &memory->config->vip4_mask));
	EXPECT_OK(ip_prefix_parse("2001:2::/48", &memory->config->vip6, &memory->config->vip6_mask));
	EXPECT_OK(stat(world.weft_cgroup, &st));
	world.maps.state->cgroup_id = st.st_ino;
	beat();
	enter_cgroup(world.cgroup);
}

void world_leave(void)
{
	enter_cgroup(world.home_cgroup);
	EXPECT_OK(kernel_netns_remove(&world.kernel, world.netns_cookie));
}

struct endpoint_address address_of(int family, const char *text, uint16_t port)
{
	const struct ip parsed = ip(text);
	struct endpoint_address a = {};

	if (family == AF_INET) {
		a.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = parsed.words[3] };
		a.length = sizeof(a.v4);
	} else {
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
		memcpy(&a.v6.sin6_addr, &parsed, sizeof(parsed));
		if ((parsed.words[0] & htonl(0xffc00000)) == htonl(0xfe800000))
			a.v6.sin6_scope_id = if_nametoindex("lo");
		a.length = sizeof(a.v6);
	}
	return a;
}

const char *text_of(const struct endpoint_address *a)
{
	static char text[ENDPOINT_TEXT_BYTES];
	struct ip address = { .words = { 0, 0, htonl(0xffff), a->v4.sin_addr.s_addr } };

	if (a->any.sa_family == AF_INET)
		return ip_port_format(&address, a->v4.sin_port, text);
	memcpy(&address, &a->v6.sin6_addr, sizeof(address));
	return ip_port_format(&address, a->v6.sin6_port, text);
}

const char *peer_of(int fd)
{
	struct endpoint_address a = { .length = sizeof(a.v6) };

	return getpeername(fd, &a.any, &a.length) < 0 ? strerror(errno) : text_of(&a);
}

int new_socket(int family, int type)
{
	const int fd = socket(family, type | SOCK_CLOEXEC, 0);

	EXPECT(fd >= 0);
	return fd;
}

int connect_to(int fd, int family, const char *address, uint16_t port)
{
	const struct endpoint_address a = address_of(family, address, port);

	return connect(fd, &a.any, a.length) < 0 ? -errno : 0;
}

int send_to(int fd, int family, const char *address, uint16_t port)
{
	const struct endpoint_address a = address_of(family, address, port);

	return sendto(fd, "q", 1, 0, &a.any, a.length) < 0 ? -errno : 0;
}

int bind_to(int fd, int family, const char *address, uint16_t port)
{
	const struct endpoint_address a = address_of(family, address, port);

	return bind(fd, &a.any, a.length) < 0 ? -errno : 0;
}

int server(int family, int type, const char *address, uint16_t port)
{
	const int fd = new_socket(family, type), one = 1;

	enter_cgroup(world.weft_cgroup);
	EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	if (family == AF_INET6)
		EXPECT_OK(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
	EXPECT_OK(bind_to(fd, family, address, port));
	if (type == SOCK_STREAM)
		EXPECT_OK(listen(fd, 8));
	enter_cgroup(world.cgroup);
	return fd;
}

int listening(int family, const char *address, uint16_t port)
{
	const int fd = new_socket(family, SOCK_STREAM), one = 1;

	EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	EXPECT_OK(bind_to(fd, family, address, port));
	EXPECT_OK(listen(fd, 64));
	return fd;
}

void reset(int fd)
{
	EXPECT_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger)));
	fd_close(fd);
}

bool readable(int fd, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, timeout_ms) == 1;
}

static int count_add(const struct reason_key *key, uint64_t count, void *arg)
{
	struct counts *counts = arg;

	counts->by_reason[key->reason] += count;
	counts->all += count;
	return 0;
}

struct counts counts_now(void)
{
	struct counts counts = {};
	uint64_t stats[STAT_COUNT];

	EXPECT_OK(kernel_reason_each(&world.kernel, count_add, &counts));
	EXPECT_OK(kernel_stats(&world.kernel, stats));
	counts.flows = stats[STAT_FLOWS_WRITTEN] + stats[STAT_FLOWS_LOST];
	return counts;
}

uint64_t stat_now(enum statistic which)
{
	uint64_t stats[STAT_COUNT];

	EXPECT_OK(kernel_stats(&world.kernel, stats));
	return stats[which];
}

static int count_account(const struct account *account __attribute__((unused)), void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

unsigned account_count(void)
{
	unsigned count = 0;

	EXPECT_OK(kernel_account_each(&world.kernel, count_account, &count));
	return count;
}
