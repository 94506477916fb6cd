/* SPDX-License-Identifier: Apache-2.0 */
/* maps/proxy.c on an installed kernel part, attached to a cgroup of its own in which nobody is. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "loader/loader.h"
#include "maps/abi/reason.h"
#include "maps/kernel.h"
#include "maps/proxy.h"
#include "tests/lib/address.h"
#include "tests/lib/test.h"

static char instance[33], cgroup[320];
static const struct loader_options here = { .instance = instance, .cgroup = cgroup };

static int set_up(void **state __attribute__((unused)))
{
	char root[256];
	struct error err = {};

	snprintf(instance, sizeof(instance), "test-proxy-%d", (int)getpid());
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

static void given_open(struct proxy_maps *maps)
{
	struct error err = {};

	EXPECT_OK(proxy_maps_open(instance, maps, &err), &err);
}

static struct resolver_key asking(uint64_t cookie, const char *address)
{
	return (struct resolver_key){ .netns_cookie = cookie, .node = 7, .address = ip(address) };
}

static struct resolver at(const char *address, uint16_t port)
{
	return (struct resolver){ .address = ip(address), .port = htons(port) };
}

/* What the way back from this address leads to; "" for nowhere. */
static const char *back_from(struct proxy_maps *maps, uint64_t cookie, const char *address, uint16_t port)
{
	const struct asked_key key = { .netns_cookie = cookie, .address = ip(address), .port = htons(port) };
	static char text[IP_TEXT_BYTES];
	struct ip asked;

	return bpf_map_lookup_elem(maps->asked_fd, &key, &asked) < 0 ? "" : ip_format(&asked, text);
}

static int count_resolver(const struct resolver_key *key, const struct resolver *resolver, void *arg)
{
	EXPECT_EQ(key->node, 7);
	EXPECT(resolver->port);
	++*(unsigned *)arg;
	return 0;
}

static unsigned resolver_count(struct proxy_maps *maps)
{
	unsigned count = 0;

	EXPECT_OK(proxy_resolver_each(maps, count_resolver, &count));
	return count;
}

TEST(an_instance_that_is_not_installed_names_the_command)
{
	struct proxy_maps maps;
	struct error err = {};

	EXPECT_EQ(proxy_maps_open("no-such-instance", &maps, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "weft-loader install");
	EXPECT_EQ(proxy_maps_open("no/instance", &maps, &err), -EINVAL);
}

TEST(maps_of_an_earlier_installation_are_not_those_that_are_installed)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {}, fresh = {};
	struct error err = {};

	given_open(&maps);
	EXPECT_EQ(proxy_maps_installed(&maps, instance), true);
	EXPECT_OK(loader_uninstall(&here, &err), &err);
	EXPECT_EQ(proxy_maps_installed(&maps, instance), false);
	EXPECT_OK(loader_install(&here, &err), &err);
	EXPECT_EQ(proxy_maps_installed(&maps, instance), false);
	given_open(&fresh);
	EXPECT_EQ(proxy_maps_installed(&fresh, instance), true);
}

TEST(what_the_proxy_tells_is_seen_by_the_agent)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	_cleanup_(kernel_close) struct kernel kernel = {};
	struct error err = {};

	given_open(&maps);
	EXPECT_OK(kernel_open(instance, &kernel, &err), &err);

	maps.state->beat_ns = 99;
	EXPECT_EQ(kernel.memory.proxy->beat_ns, 99);
	maps.state->beat_ns = 0;
}

TEST(a_resolver_has_a_way_there_and_a_way_back_while_it_is_set)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	const struct resolver_key key = asking(5, "10.96.0.10");
	const struct resolver resolver = at("127.53.0.1", DNS_PORT);

	given_open(&maps);

	EXPECT_OK(proxy_resolver_set(&maps, &key, &resolver));
	EXPECT_OK(proxy_resolver_set(&maps, &key, &resolver));
	EXPECT_EQ(resolver_count(&maps), 1);
	EXPECT_STR(back_from(&maps, 5, "127.53.0.1", DNS_PORT), "10.96.0.10");
	EXPECT_STR(back_from(&maps, 6, "127.53.0.1", DNS_PORT), ""); /* another namespace */

	EXPECT_OK(proxy_resolver_remove(&maps, &key));
	EXPECT_OK(proxy_resolver_remove(&maps, &key));
	EXPECT_EQ(resolver_count(&maps), 0);
	EXPECT_STR(back_from(&maps, 5, "127.53.0.1", DNS_PORT), "");
}

TEST(a_resolver_that_moves_leaves_no_way_back_behind)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	const struct resolver_key key = asking(5, "fd00::53");
	const struct resolver first = at("::1", DNS_PORT), second = at("::1", DNS_PORT + 1);

	given_open(&maps);

	EXPECT_OK(proxy_resolver_set(&maps, &key, &first));
	EXPECT_OK(proxy_resolver_set(&maps, &key, &second));
	EXPECT_STR(back_from(&maps, 5, "::1", DNS_PORT), "");
	EXPECT_STR(back_from(&maps, 5, "::1", DNS_PORT + 1), "fd00::53");
	EXPECT_OK(proxy_resolver_remove(&maps, &key));
}

TEST(a_name_is_found_by_its_key)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct name_entry entry = { .vip4 = ip("240.240.0.7"), .service = 12 };
	struct name_entry found = {};
	struct name_key key;
	struct error err = {};

	given_open(&maps);
	EXPECT_OK(kernel_open(instance, &kernel, &err), &err);
	EXPECT_OK(name_key_make("mesh/shop", "cart.example", &key));
	EXPECT_EQ(proxy_name_get(&maps, &key, &found), -ENOENT);

	EXPECT_OK(kernel_name_set(&kernel, &key, &entry));
	EXPECT_OK(proxy_name_get(&maps, &key, &found));
	EXPECT(!memcmp(&found, &entry, sizeof(entry)));

	EXPECT_OK(kernel_name_remove(&kernel, &key));
	EXPECT_OK(kernel_name_remove(&kernel, &key));
	EXPECT_EQ(proxy_name_get(&maps, &key, &found), -ENOENT);
}

static uint64_t exempt_until(struct proxy_maps *maps, uint64_t cookie, const char *address)
{
	const struct netns_address key = { .netns_cookie = cookie, .address = ip(address) };
	struct exemption exemption;

	EXPECT_OK(bpf_map_lookup_elem(maps->exempt_fd, &key, &exemption));
	EXPECT_EQ(exemption.reason, REASON_AWS_ADDRESS);
	return exemption.until_ns;
}

TEST(an_exemption_is_extended_and_never_cut_short)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	const struct ip address = ip("52.1.2.3");
	const struct netns_address key = { .netns_cookie = 5, .address = address };

	given_open(&maps);

	EXPECT_OK(proxy_exempt_set(&maps, 5, &address, 1000));
	EXPECT_OK(proxy_exempt_set(&maps, 5, &address, 2000));
	EXPECT_OK(proxy_exempt_set(&maps, 5, &address, 1500));
	EXPECT_EQ(exempt_until(&maps, 5, "52.1.2.3"), 2000);
	EXPECT_OK(bpf_map_delete_elem(maps.exempt_fd, &key));
}

/* Fills the table from `from` on until it takes no more. */
static void fill_exemptions(struct proxy_maps *maps, uint32_t from, uint64_t until_ns)
{
	struct ip address = ip("52.0.0.0");

	for (uint32_t i = from; i < MAX_EXEMPT; i++) {
		address.words[3] = htonl(0x34000000 + i);
		EXPECT_OK(proxy_exempt_set(maps, 9, &address, until_ns));
	}
}

TEST(a_full_table_makes_room_of_what_has_run_out_and_says_when_there_is_none)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	const uint64_t later_ns = time_now_ns() + 3600 * NSEC_PER_SEC;
	struct ip address = ip("53.0.0.1");

	given_open(&maps);
	fill_exemptions(&maps, 0, 1); /* long past */

	EXPECT_OK(proxy_exempt_set(&maps, 5, &address, later_ns));
	fill_exemptions(&maps, 1, later_ns);
	address = ip("53.0.0.2");
	EXPECT_EQ(proxy_exempt_set(&maps, 5, &address, later_ns), -E2BIG);
	EXPECT_EQ(exempt_until(&maps, 5, "53.0.0.1"), later_ns);
}

TEST(a_full_table_of_resolvers_leaves_no_way_back_without_a_way_there)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	struct resolver_key key = asking(0, "10.96.0.10");
	const struct resolver resolver = at("127.53.0.1", DNS_PORT);
	int r = 0;

	given_open(&maps);
	for (uint64_t i = 1; i < MAX_RESOLVERS + 2 && r == 0; i++) {
		key.netns_cookie = i;
		r = proxy_resolver_set(&maps, &key, &resolver);
	}

	EXPECT_EQ(r, -E2BIG);
	EXPECT_EQ(resolver_count(&maps), MAX_RESOLVERS);
	/* and where the way there is what finds no room */
	EXPECT_OK(bpf_map_delete_elem(maps.asked_fd, &(struct asked_key){ .netns_cookie = 1, .address = resolver.address,
									   .port = resolver.port }));
	EXPECT_EQ(proxy_resolver_set(&maps, &key, &resolver), -E2BIG);
	EXPECT_STR(back_from(&maps, key.netns_cookie, "127.53.0.1", DNS_PORT), "");
}

static int note_place(uint64_t netns_cookie, uint32_t families, void *arg)
{
	*(uint64_t *)arg += netns_cookie * 10 + families;
	return 0;
}

static uint64_t places_sum(struct proxy_maps *maps)
{
	uint64_t sum = 0;

	EXPECT_OK(proxy_place_each(maps, note_place, &sum));
	return sum;
}

TEST(a_place_takes_connections_until_it_is_removed)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};

	given_open(&maps);
	EXPECT_OK(proxy_place_set(&maps, 5, PROXY_PLACE_V4));
	EXPECT_OK(proxy_place_set(&maps, 5, PROXY_PLACE_V4 | PROXY_PLACE_V6));
	EXPECT_OK(proxy_place_set(&maps, 60, PROXY_PLACE_V6));
	EXPECT_EQ(places_sum(&maps), 53 + 602);
	EXPECT_OK(proxy_place_remove(&maps, 5));
	EXPECT_OK(proxy_place_remove(&maps, 5));
	EXPECT_EQ(places_sum(&maps), 602);
	EXPECT_OK(proxy_place_remove(&maps, 60));
}

TEST(what_is_handed_over_stays_until_the_kernel_takes_it_away)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	const struct handover_key key = { .netns_cookie = 5, .address = ip("127.0.0.1"), .port = htons(40000) };
	struct handover handover = { .service = 9 };

	given_open(&maps);
	EXPECT_EQ(proxy_handover_get(&maps, &key, &handover), -ENOENT);
	EXPECT_OK(bpf_map_update_elem(maps.handover_fd, &key, &handover, BPF_ANY));
	handover.service = 0;
	EXPECT_OK(proxy_handover_get(&maps, &key, &handover));
	EXPECT_EQ(handover.service, 9);
	EXPECT_OK(proxy_handover_get(&maps, &key, &handover));
	EXPECT_OK(bpf_map_delete_elem(maps.handover_fd, &key));
	EXPECT_EQ(proxy_handover_get(&maps, &key, &handover), -ENOENT);
}

TEST(endpoints_are_where_they_were_after_their_array_has_grown)
{
	const struct loader_options larger = { .instance = instance, .cgroup = cgroup, .services = 2 * DEFAULT_SERVICES };
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {};
	const struct endpoint *endpoints;
	const uint32_t count = DEFAULT_ENDPOINTS;
	struct error err = {};

	given_open(&maps);
	EXPECT_OK(proxy_endpoints_reach(&maps, instance, count, &err), &err);
	endpoints = maps.endpoints;
	EXPECT_EQ(maps.endpoints_front.count, count);
	maps.endpoints[count - 1].health = HEALTH_DOWN;
	EXPECT_OK(proxy_endpoints_renew(&maps, instance, &err), &err);
	EXPECT_EQ(maps.endpoints_front.count, count);
	EXPECT_OK(loader_grow(&larger, &err), &err);
	EXPECT_EQ(proxy_maps_installed(&maps, instance), true);
	EXPECT_OK(proxy_endpoints_renew(&maps, instance, &err), &err);
	EXPECT(maps.endpoints == endpoints);
	EXPECT_EQ(maps.endpoints_front.count, count);
	EXPECT_OK(proxy_endpoints_reach(&maps, instance, 2 * count, &err), &err);
	EXPECT(maps.endpoints == endpoints);
	EXPECT_EQ(maps.endpoints_front.count, 2 * count);
	EXPECT_EQ(endpoints[count - 1].health, HEALTH_DOWN);
	EXPECT_EQ(endpoints[2 * count - 1].health, HEALTH_UNCHECKED);
	{
		_cleanup_(proxy_maps_close) struct proxy_maps others = {};

		given_open(&others);
		EXPECT_OK(proxy_endpoints_reach(&others, instance, 2 * count, &err), &err);
		maps.endpoints[2 * count - 1].resets = 7;
		EXPECT_EQ(others.endpoints[2 * count - 1].resets, 7);
	}
}

/* 4 KiB pages hold 32 slots, and steps of what is mapped 512. */
TEST(as_many_endpoints_are_in_memory_as_somebody_needs)
{
	_cleanup_(proxy_maps_close) struct proxy_maps maps = {}, others = {};
	struct error err = {};
	uint32_t first;

	given_open(&maps);
	EXPECT_EQ(maps.endpoints_front.count, 0);
	EXPECT_OK(proxy_endpoints_reach(&maps, instance, 1, &err), &err);
	first = maps.endpoints_front.count;
	EXPECT(first >= 1 && first < DEFAULT_ENDPOINTS);
	maps.endpoints[first - 1].resets = 7;
	EXPECT_OK(proxy_endpoints_reach(&maps, instance, first, &err), &err);
	EXPECT_EQ(maps.endpoints_front.count, first);
	EXPECT_OK(proxy_endpoints_reach(&maps, instance, first + 1, &err), &err);
	EXPECT(maps.endpoints_front.count > first && maps.endpoints_front.count < DEFAULT_ENDPOINTS);
	EXPECT_EQ(maps.endpoints[first - 1].resets, 7);
	maps.endpoints[first].resets = 8;
	EXPECT_OK(proxy_endpoints_reach(&maps, instance, UINT32_MAX, &err), &err);
	EXPECT_EQ(maps.endpoints_front.count, maps.endpoints_front.size);
	given_open(&others);
	EXPECT_OK(proxy_endpoints_reach(&others, instance, UINT32_MAX, &err), &err);
	EXPECT_EQ(others.endpoints[first - 1].resets, 7);
	EXPECT_EQ(others.endpoints[first].resets, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_instance_that_is_not_installed_names_the_command),
		cmocka_unit_test(maps_of_an_earlier_installation_are_not_those_that_are_installed),
		cmocka_unit_test(what_the_proxy_tells_is_seen_by_the_agent),
		cmocka_unit_test(a_resolver_has_a_way_there_and_a_way_back_while_it_is_set),
		cmocka_unit_test(a_resolver_that_moves_leaves_no_way_back_behind),
		cmocka_unit_test(a_name_is_found_by_its_key),
		cmocka_unit_test(an_exemption_is_extended_and_never_cut_short),
		cmocka_unit_test(a_full_table_makes_room_of_what_has_run_out_and_says_when_there_is_none),
		cmocka_unit_test(a_place_takes_connections_until_it_is_removed),
		cmocka_unit_test(what_is_handed_over_stays_until_the_kernel_takes_it_away),
		cmocka_unit_test(a_full_table_of_resolvers_leaves_no_way_back_without_a_way_there),
		cmocka_unit_test(as_many_endpoints_are_in_memory_as_somebody_needs),
		cmocka_unit_test(endpoints_are_where_they_were_after_their_array_has_grown),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
