/* SPDX-License-Identifier: Apache-2.0 */
/* maps/kernel.c on an installed kernel part, attached to a cgroup of its own in which nobody is. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "loader/loader.h"
#include "maps/kernel.h"
#include "maps/open.h"
#include "tests/lib/address.h"
#include "tests/lib/test.h"

static char instance[33], cgroup[320], pins[160];
static const struct loader_options here = { .instance = instance, .cgroup = cgroup };

static int set_up(void **state __attribute__((unused)))
{
	char root[256];
	struct error err = {};

	snprintf(instance, sizeof(instance), "test-kernel-%d", (int)getpid());
	EXPECT_OK(kernel_pin_path(instance, pins, sizeof(pins), &err), &err);
	EXPECT_OK(cgroup_root(root, sizeof(root), &err), &err);
	snprintf(cgroup, sizeof(cgroup), "%s/%s", root, instance);
	EXPECT_OK(mkdir(cgroup, 0755));
	EXPECT_OK(loader_install(&here, &err), &err);
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	struct error err = {};

	EXPECT_OK(loader_uninstall(&here, &err), &err);
	EXPECT_OK(rmdir(cgroup));
	return 0;
}

static void given_open(struct kernel *kernel)
{
	struct error err = {};

	EXPECT_OK(kernel_open(instance, kernel, &err), &err);
}

TEST(instance_names_that_are_no_directory_names_are_refused)
{
	static const char *const wrong[] = { "", "..", "a/b", "Upper", "a b", "123456789012345678901234567890123" };
	struct error err = {};
	char path[160];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(kernel_pin_path(wrong[i], path, sizeof(path), &err), -EINVAL);
		EXPECT_STR(err.field, "instance");
	}
	EXPECT_OK(kernel_pin_path("12345678901234567890-12345678901", path, sizeof(path), &err), &err);
	EXPECT_STR(path, PIN_ROOT "/12345678901234567890-12345678901/abi3");
}

TEST(an_instance_that_is_not_installed_names_the_command)
{
	struct kernel kernel = {};
	struct error err = {};

	EXPECT_EQ(kernel_open("test-nobody", &kernel, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "weft-loader install");
	kernel_close(&kernel);
}

TEST(a_map_of_another_layout_is_refused_by_name)
{
	const uint32_t other_bytes = sizeof(struct route_record) - 4;
	_cleanup_close_ int other = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, other_bytes, DEFAULT_ROUTES, NULL);
	struct kernel kernel = {};
	struct error err = {};
	char path[200];

	EXPECT(other >= 0);
	snprintf(path, sizeof(path), "%s/w_route", pins);
	EXPECT_OK(unlink(path));
	EXPECT_OK(bpf_obj_pin(other, path));
	EXPECT_EQ(kernel_open(instance, &kernel, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "w_route");
	kernel_close(&kernel);
}

static int count_vip(const struct ip *vip, uint32_t service, void *arg)
{
	uint64_t *seen = arg;

	EXPECT(service >= 1 && service <= 3 && vip->bytes[15] == service);
	*seen |= 1 << service;
	return 0;
}

static int stop_at_once(const struct ip *vip, uint32_t service, void *arg)
{
	(void)vip;
	(void)service;
	++*(unsigned *)arg;
	return -ECANCELED;
}

TEST(vips_are_set_walked_and_removed)
{
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct ip vips[] = { ip("240.240.0.1"), ip("2001:2::2"), ip("240.240.0.3") };
	uint64_t seen = 0;
	unsigned calls = 0;

	given_open(&kernel);
	for (uint32_t i = 0; i < 3; i++)
		EXPECT_OK(kernel_vip_set(&kernel, &vips[i], 9));
	for (uint32_t i = 0; i < 3; i++)
		EXPECT_OK(kernel_vip_set(&kernel, &vips[i], i + 1));
	EXPECT_OK(kernel_vip_each(&kernel, count_vip, &seen));
	EXPECT_EQ(seen, 0xe);
	EXPECT_EQ(kernel_vip_each(&kernel, stop_at_once, &calls), -ECANCELED);
	EXPECT_EQ(calls, 1);
	EXPECT_OK(kernel_vip_remove(&kernel, &vips[1]));
	EXPECT_OK(kernel_vip_remove(&kernel, &vips[1]));
	seen = 0;
	EXPECT_OK(kernel_vip_each(&kernel, count_vip, &seen));
	EXPECT_EQ(seen, 0xa);
}

/* The other key maps: what is set is found, as it was, and what is removed is not. */
struct owned {
	uint64_t key;
	struct owner owner;
	unsigned count;
};

static int keep_owner(uint64_t key, const struct owner *owner, void *arg)
{
	struct owned *owned = arg;

	*owned = (struct owned){ key, *owner, owned->count + 1 };
	return 0;
}

TEST(owners_are_set_walked_and_removed)
{
	static const struct {
		int (*set)(struct kernel *kernel, uint64_t key, const struct owner *owner);
		int (*remove)(struct kernel *kernel, uint64_t key);
		int (*each)(struct kernel *kernel, kernel_netns_fn *fn, void *arg);
	} maps[] = {
		{ kernel_netns_set, kernel_netns_remove, kernel_netns_each },
		{ kernel_cgroup_set, kernel_cgroup_remove, kernel_cgroup_each },
	};
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct owner owner = { .node = 7, .flags = OWNER_SHARED };

	given_open(&kernel);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		struct owned found = {};

		EXPECT_OK(maps[i].set(&kernel, 1ull << 40, &owner));
		EXPECT_OK(maps[i].each(&kernel, keep_owner, &found));
		EXPECT_EQ(found.count, 1);
		EXPECT_EQ(found.key, 1ull << 40);
		EXPECT(!memcmp(&found.owner, &owner, sizeof(owner)));
		EXPECT_OK(maps[i].remove(&kernel, 1ull << 40));
		EXPECT_OK(maps[i].remove(&kernel, 1ull << 40));
		EXPECT_OK(maps[i].each(&kernel, keep_owner, &found));
		EXPECT_EQ(found.count, 1);
	}
}

static int keep_own_address(const struct netns_address *key, void *arg)
{
	EXPECT_EQ(key->netns_cookie, 5);
	EXPECT_EQ(key->address.bytes[15], 9);
	++*(unsigned *)arg;
	return 0;
}

static int keep_exempt(const struct netns_address *key, const struct exemption *exemption, void *arg)
{
	EXPECT_EQ(key->netns_cookie, 0);
	EXPECT_EQ(key->address.bytes[15], 254);
	EXPECT_EQ(exemption->reason, REASON_IGNORED_IP);
	++*(unsigned *)arg;
	return 0;
}

TEST(own_addresses_and_exemptions_are_set_walked_and_removed)
{
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct ip own = ip("10.0.0.9"), other = ip("169.254.169.254");
	unsigned own_count = 0, exempt_count = 0;

	given_open(&kernel);
	EXPECT_OK(kernel_own_address_set(&kernel, 5, &own));
	EXPECT_OK(kernel_exempt_set(&kernel, &other, &(struct exemption){ .reason = REASON_IGNORED_IP }));
	EXPECT_OK(kernel_own_address_each(&kernel, keep_own_address, &own_count));
	EXPECT_OK(kernel_exempt_each(&kernel, keep_exempt, &exempt_count));
	EXPECT_OK(kernel_own_address_remove(&kernel, 5, &own));
	EXPECT_OK(kernel_exempt_remove(&kernel, &other));
	EXPECT_OK(kernel_own_address_each(&kernel, keep_own_address, &own_count));
	EXPECT_OK(kernel_exempt_each(&kernel, keep_exempt, &exempt_count));
	EXPECT_EQ(own_count, 1);
	EXPECT_EQ(exempt_count, 1);
}

static int keep_reason(const struct reason_key *key, uint64_t count, void *arg)
{
	if (key->source == 3 && key->service == 4 && key->reason == REASON_NO_ENDPOINT)
		*(uint64_t *)arg += count;
	return 0;
}

TEST(counts_of_all_cpus_are_summed)
{
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct reason_key key = { 3, 4, REASON_NO_ENDPOINT };
	const uint32_t last = STAT_COUNT - 1;
	uint64_t values[1024] = {}, stats[STAT_COUNT], reason = 0, expected = 0;

	given_open(&kernel);
	EXPECT(kernel.cpu_count > 0 && (size_t)kernel.cpu_count <= ARRAY_SIZE(values));
	for (int i = 0; i < kernel.cpu_count; i++)
		expected += values[i] = 1ull << (i % 32);
	EXPECT_OK(bpf_map_update_elem(kernel.reason_fd, &key, values, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(kernel.stat_fd, &last, values, BPF_ANY));
	EXPECT_OK(kernel_reason_each(&kernel, keep_reason, &reason));
	EXPECT_OK(kernel_stats(&kernel, stats));
	EXPECT_EQ(reason, expected);
	EXPECT_EQ(stats[last], expected);
	EXPECT_EQ(stats[0], 0);
}

TEST(memory_is_what_the_programs_see)
{
	_cleanup_(kernel_close) struct kernel kernel = {}, again = {};
	struct explain request = { .flow = { .node = 5, .is_tcp = 1, .port = htons(80), .destination = ip("240.240.0.5") } };

	given_open(&kernel);
	kernel.memory.nodes[DEFAULT_NODES - 1] = (struct node_record){ .flags = NODE_DROP_ALL };
	kernel.memory.directories[RING_DIRECTORIES - 1].refs[5] = REF(OBJECT_NODE, DEFAULT_NODES - 1);
	kernel.memory.root->generation = kernel.memory.root->oldest = RING_DIRECTORIES - 1;
	given_open(&again);
	EXPECT_EQ(again.memory.root->generation, RING_DIRECTORIES - 1);
	EXPECT_EQ(again.memory.directories[RING_DIRECTORIES - 1].refs[5], REF(OBJECT_NODE, DEFAULT_NODES - 1));

	EXPECT_OK(kernel_explain(&again, &request, NULL, NULL));
	EXPECT_EQ(request.decision.generation, RING_DIRECTORIES - 1);
	EXPECT_EQ(request.decision.reason, REASON_NOT_IN_MESH);
	request.flow.node = 6;
	EXPECT_OK(kernel_explain(&again, &request, NULL, NULL));
	EXPECT_EQ(request.decision.reason, REASON_NO_NODE);
}

struct tally {
	uint64_t outcomes, total;
};

static int add_outcome(const struct explain_key *key, uint64_t count, void *arg)
{
	struct tally *tally = arg;

	EXPECT_EQ(key->reason, REASON_NO_NODE);
	tally->outcomes++;
	tally->total += count;
	return 0;
}

TEST(a_distribution_starts_from_nothing_each_time)
{
	_cleanup_(kernel_close) struct kernel kernel = {};
	struct explain request = {
		.flow = { .node = 5, .is_tcp = 1, .port = htons(80), .destination = ip("240.240.0.5") },
		.count = 1000,
	};

	given_open(&kernel);
	for (unsigned i = 0; i < 2; i++) {
		struct tally tally = {};

		EXPECT_OK(kernel_explain(&kernel, &request, add_outcome, &tally));
		EXPECT_EQ(tally.outcomes, 1);
		EXPECT_EQ(tally.total, 1000);
	}
}

enum { SOCKETS = 700 }; /* their records fill what the kernel gives at a time more than once */

struct seen {
	unsigned count;
	unsigned char pids[SOCKETS];
};

static int see(const struct account *account, void *arg)
{
	struct seen *seen = arg;

	EXPECT(account->pid < SOCKETS);
	EXPECT_EQ(account->row, account->pid + 1);
	seen->pids[account->pid]++;
	seen->count++;
	return 0;
}

static int see_one(const struct account *account, void *arg)
{
	(void)account;
	++*(unsigned *)arg;
	return -ECANCELED;
}

static int see_open(const struct open_connection *open, void *arg)
{
	EXPECT(open->live);
	EXPECT_EQ(open->state, 7); /* TCP_CLOSE: never connected */
	return see(&open->account, arg);
}

static uint64_t cookie_of(int socket)
{
	uint64_t cookie;
	socklen_t size = sizeof(cookie);

	EXPECT_OK(getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size));
	return cookie;
}

TEST(every_account_is_met_once)
{
	_cleanup_(kernel_close) struct kernel kernel = {};
	int sockets[SOCKETS];
	struct seen seen = {};
	unsigned calls = 0;

	given_open(&kernel);
	for (unsigned i = 0; i < SOCKETS; i++) {
		struct account account = { .pid = i, .row = i + 1 };

		sockets[i] = socket(i % 2 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
		EXPECT(sockets[i] >= 0);
		account.held = cookie_of(sockets[i]);
		if (i % 3) {
			EXPECT_OK(bpf_map_update_elem(kernel.account_fd, &account.held, &account, BPF_ANY));
		} else {
			const struct near_account near = { .account = account, .owner = account.held };
			const uint32_t place = account.held % NEAR_ACCOUNTS;

			EXPECT_OK(bpf_map_update_elem(kernel.account_near_fd, &place, &near, BPF_ANY));
		}
	}
	EXPECT_OK(kernel_account_each(&kernel, see, &seen));
	EXPECT_EQ(seen.count, SOCKETS);
	for (unsigned i = 0; i < SOCKETS; i++)
		EXPECT_EQ(seen.pids[i], 1);
	EXPECT_EQ(kernel_account_each(&kernel, see_one, &calls), -ECANCELED);
	EXPECT_EQ(calls, 1);
	seen = (struct seen){};
	EXPECT_OK(kernel_open_each(&kernel, see_open, &seen));
	EXPECT_EQ(seen.count, SOCKETS);
	for (unsigned i = 0; i < SOCKETS; i++)
		fd_close(sockets[i]);
}

static int see_not_live(const struct open_connection *open, void *arg)
{
	EXPECT(!open->live);
	++*(unsigned *)arg;
	return 0;
}

TEST(an_account_whose_socket_no_process_has_open_is_told_without_figures)
{
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct account account = { .held = 1ull << 60 }, nobodys = { .held = 0 };
	const struct near_account being_filled = { .owner = (1ull << 60) + 1 };
	const uint64_t other = 1ull << 61;
	const uint32_t place = 1;
	unsigned count = 0;

	given_open(&kernel);
	EXPECT_OK(bpf_map_update_elem(kernel.account_fd, &account.held, &account, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(kernel.account_fd, &other, &nobodys, BPF_ANY));
	EXPECT_OK(bpf_map_update_elem(kernel.account_near_fd, &place, &being_filled, BPF_ANY));
	EXPECT_OK(kernel_open_each(&kernel, see_not_live, &count));
	EXPECT_EQ(count, 1);
}

#define INSTALLED(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instance_names_that_are_no_directory_names_are_refused),
		cmocka_unit_test(an_instance_that_is_not_installed_names_the_command),
		INSTALLED(a_map_of_another_layout_is_refused_by_name),
		INSTALLED(vips_are_set_walked_and_removed),
		INSTALLED(owners_are_set_walked_and_removed),
		INSTALLED(own_addresses_and_exemptions_are_set_walked_and_removed),
		INSTALLED(counts_of_all_cpus_are_summed),
		INSTALLED(memory_is_what_the_programs_see),
		INSTALLED(a_distribution_starts_from_nothing_each_time),
		INSTALLED(every_account_is_met_once),
		INSTALLED(an_account_whose_socket_no_process_has_open_is_told_without_figures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
