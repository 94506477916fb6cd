/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>

#include "agent/compile/vip.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/time.h"
#include "tests/lib/test.h"

/* Lets go of what is in use and was not asked for by these vips, and writes. */
static int commit_round(struct vips *vips, uint64_t now_ns, struct error *err)
{
	vips_let_go_unasked(vips, now_ns);
	return vips_commit(vips, err);
}

#define HOUR_NS (3600 * NSEC_PER_SEC)
#define NOW_NS (1000 * HOUR_NS)
#define OWNER "000000000000"
#define NET4 "240.240.0.0/16"
#define NET6 "2001:2::/48"

struct fixture {
	struct state *state;
	struct vips *vips;
};

static void given_vips(struct fixture *f, const char *net4, const char *net6)
{
	struct error err = {};

	if (!f->state)
		EXPECT_OK(state_open_memory(&f->state));
	f->vips = vips_free(f->vips);
	EXPECT_OK(vips_new(f->state, net4, net6, &f->vips, &err), &err);
}

static void fixture_done(struct fixture *f)
{
	vips_free(f->vips);
	state_close(f->state);
}
#define FIXTURE(f) _cleanup_(fixture_done) struct fixture f = {}

static struct ip get(struct fixture *f, const char *service, uint64_t now_ns, struct ip *ret_v6)
{
	struct error err = {};
	struct ip v4, v6;

	EXPECT_OK(vips_get(f->vips, OWNER, "M", service, now_ns, &v4, &v6, &err), &err);
	if (ret_v6)
		*ret_v6 = v6;
	return v4;
}

static void commit(struct fixture *f, uint64_t now_ns)
{
	struct error err = {};

	EXPECT_OK(commit_round(f->vips, now_ns, &err), &err);
}

static int ignore_entry(const struct state_entry *entry, void *arg)
{
	(void)entry;
	(void)arg;
	return 0;
}

static uint64_t state_revision(struct fixture *f)
{
	uint64_t revision;

	EXPECT_OK(state_list(f->state, "", NULL, 0, ignore_entry, NULL, &revision));
	return revision;
}

static void state_close_p(struct state **kept)
{
	state_close(*kept);
}

static bool same(struct ip a, struct ip b)
{
	return ip_equal(&a, &b);
}

static uint32_t host4(struct ip v4)
{
	return ntohl(v4.words[3]) & 0xffff;
}

TEST(a_service_has_the_address_its_hash_says_in_each_family)
{
	FIXTURE(f);
	static const char hashed[] = OWNER "\0M\0pay.example.com";
	uint64_t hash = hash_bytes(hashed, sizeof(hashed) - 1);
	char text[IP_TEXT_BYTES];
	struct ip v4, v6;

	given_vips(&f, NET4, NET6);
	v4 = get(&f, "pay.example.com", NOW_NS, &v6);
	EXPECT_EQ(host4(v4), hash % 65534 + 1);
	EXPECT(strncmp(ip_format(&v4, text), "240.240.", 8) == 0);
	EXPECT(strncmp(ip_format(&v6, text), "2001:2:", 7) == 0);
	EXPECT_EQ(be64toh(v6.halves[1]), hash % UINT64_MAX + 1);
}

TEST(the_same_service_keeps_its_address_and_others_have_others)
{
	FIXTURE(f);
	struct ip a6, b6;

	given_vips(&f, NET4, NET6);
	struct ip a = get(&f, "a", NOW_NS, &a6), b = get(&f, "b", NOW_NS, &b6);
	EXPECT(!same(a, b) && !same(a6, b6));
	EXPECT(same(get(&f, "a", NOW_NS + HOUR_NS, NULL), a));
}

TEST(owner_mesh_and_name_do_not_run_into_each_other)
{
	FIXTURE(f);
	struct ip v4, other4, v6, other6;

	given_vips(&f, NET4, NET6);
	EXPECT_OK(vips_get(f.vips, OWNER, "ab", "c", NOW_NS, &v4, &v6, NULL));
	EXPECT_OK(vips_get(f.vips, OWNER, "a", "bc", NOW_NS, &other4, &other6, NULL));
	EXPECT(!same(v6, other6));
}

TEST(addresses_survive_a_restart)
{
	FIXTURE(f);
	struct ip v6, again6;

	given_vips(&f, NET4, NET6);
	struct ip v4 = get(&f, "a", NOW_NS, &v6);
	commit(&f, NOW_NS);
	given_vips(&f, NET4, NET6);
	EXPECT(same(get(&f, "a", NOW_NS, &again6), v4));
	EXPECT(same(v6, again6));
}

TEST(a_full_network_probes_to_the_last_address_and_then_names_the_service)
{
	FIXTURE(f);
	bool seen[16] = {};
	struct error err = {};
	struct ip v4, v6;

	given_vips(&f, "10.0.0.16/28", NET6); /* 14 hosts */
	for (char name[2] = "a"; name[0] < 'a' + 14; name[0]++) {
		uint32_t host = ntohl(get(&f, name, NOW_NS, NULL).words[3]) & 15;

		EXPECT(host != 0 && host != 15 && !seen[host]);
		seen[host] = true;
	}
	EXPECT_EQ(vips_get(f.vips, OWNER, "M", "one-more", NOW_NS, &v4, &v6, &err), -ENOSPC);
	EXPECT_CONTAINS(err.message, "one-more");
}

static void fill_network(struct fixture *f, const char *except)
{
	for (char name[2] = "a"; name[0] < 'a' + 14; name[0]++)
		if (!strchr(except, name[0]))
			get(f, name, NOW_NS, NULL);
}

TEST(a_released_address_is_nobody_elses_for_24_hours)
{
	FIXTURE(f);
	struct ip v4, v6, freed;

	given_vips(&f, "10.0.0.16/28", NET6);
	fill_network(&f, "");
	freed = get(&f, "c", NOW_NS, NULL);
	commit(&f, NOW_NS);
	fill_network(&f, "c"); /* a round without c */
	commit(&f, NOW_NS);
	fill_network(&f, "c");
	EXPECT_EQ(vips_get(f.vips, OWNER, "M", "new", NOW_NS + 24 * HOUR_NS - 1, &v4, &v6, NULL), -ENOSPC);
	EXPECT_OK(vips_get(f.vips, OWNER, "M", "new", NOW_NS + 24 * HOUR_NS, &v4, &v6, NULL));
	EXPECT(same(v4, freed));
}

TEST(a_service_that_comes_back_has_its_old_address_after_any_time)
{
	FIXTURE(f);
	struct ip v4;

	given_vips(&f, NET4, NET6);
	v4 = get(&f, "a", NOW_NS, NULL);
	commit(&f, NOW_NS);
	commit(&f, NOW_NS + HOUR_NS);
	given_vips(&f, NET4, NET6);
	commit(&f, NOW_NS + 900 * HOUR_NS);
	EXPECT(same(get(&f, "a", NOW_NS + 1000 * HOUR_NS, NULL), v4));
}

TEST(a_service_whose_old_address_was_taken_gets_another_one_that_is_kept)
{
	FIXTURE(f);
	struct ip v4, v6, freed;

	given_vips(&f, "10.0.0.16/28", NET6);
	fill_network(&f, "");
	freed = get(&f, "c", NOW_NS, NULL);
	commit(&f, NOW_NS);
	fill_network(&f, "c");
	commit(&f, NOW_NS);
	fill_network(&f, "c");
	v4 = get(&f, "new", NOW_NS + 24 * HOUR_NS, NULL);
	EXPECT(same(v4, freed));
	commit(&f, NOW_NS + 24 * HOUR_NS); /* c left the state here */
	get(&f, "new", NOW_NS, NULL);
	fill_network(&f, "bc");
	EXPECT_EQ(vips_get(f.vips, OWNER, "M", "c", NOW_NS + 24 * HOUR_NS, &v4, &v6, NULL), -ENOSPC);
	commit(&f, NOW_NS + 24 * HOUR_NS); /* b is released */
	EXPECT_OK(vips_get(f.vips, OWNER, "M", "c", NOW_NS + 48 * HOUR_NS, &v4, &v6, NULL));
	EXPECT(!same(v4, freed));
	commit(&f, NOW_NS + 48 * HOUR_NS);
	given_vips(&f, "10.0.0.16/28", NET6);
	EXPECT(same(get(&f, "c", NOW_NS + 48 * HOUR_NS, NULL), v4));
}

TEST(what_a_killed_agent_left_in_use_is_released_by_the_next_one)
{
	FIXTURE(f);
	struct ip v4, v6;

	given_vips(&f, "10.0.0.16/28", NET6);
	fill_network(&f, "");
	commit(&f, NOW_NS);
	given_vips(&f, "10.0.0.16/28", NET6);
	EXPECT_EQ(vips_get(f.vips, OWNER, "M", "new", NOW_NS + 100 * HOUR_NS, &v4, &v6, NULL), -ENOSPC);
	commit(&f, NOW_NS + 100 * HOUR_NS);
	EXPECT_EQ(vips_get(f.vips, OWNER, "M", "new", NOW_NS + 123 * HOUR_NS, &v4, &v6, NULL), -ENOSPC);
	EXPECT_OK(vips_get(f.vips, OWNER, "M", "new", NOW_NS + 124 * HOUR_NS, &v4, &v6, NULL));
}

TEST(the_store_is_written_once_for_a_round_and_only_when_something_changed)
{
	FIXTURE(f);
	uint64_t before;

	given_vips(&f, NET4, NET6);
	before = state_revision(&f);
	get(&f, "a", NOW_NS, NULL);
	get(&f, "b", NOW_NS, NULL);
	EXPECT_EQ(state_revision(&f), before);
	commit(&f, NOW_NS);
	EXPECT_EQ(state_revision(&f), before + 1);
	get(&f, "a", NOW_NS + HOUR_NS, NULL);
	get(&f, "b", NOW_NS + HOUR_NS, NULL);
	commit(&f, NOW_NS + HOUR_NS);
	EXPECT_EQ(state_revision(&f), before + 1);
	get(&f, "a", NOW_NS + HOUR_NS, NULL);
	commit(&f, NOW_NS + HOUR_NS);
	EXPECT_EQ(state_revision(&f), before + 2);
}

TEST(other_networks_give_other_addresses)
{
	FIXTURE(f);
	char text[IP_TEXT_BYTES];
	struct ip v4, v6;

	given_vips(&f, NET4, NET6);
	get(&f, "a", NOW_NS, NULL);
	commit(&f, NOW_NS);
	given_vips(&f, "10.64.0.0/10", "fd00:9::/112");
	v4 = get(&f, "a", NOW_NS, &v6);
	EXPECT(strncmp(ip_format(&v4, text), "10.", 3) == 0);
	EXPECT(strncmp(ip_format(&v6, text), "fd00:9:", 7) == 0);
	commit(&f, NOW_NS);
}

TEST(networks_of_the_wrong_family_or_size_are_named)
{
	static const struct {
		const char *net4, *net6, *wrong;
	} rows[] = {
		{ "240.240.0.0/7", NET6, "240.240.0.0/7" },	{ "240.0.0.0/29", NET6, "240.0.0.0/29" },
		{ "2001:2::/48", NET6, "2001:2::/48" },		{ NET4, "2001::/31", "2001::/31" },
		{ NET4, "2001:2::/113", "2001:2::/113" },	{ NET4, "240.240.0.0/16", "240.240.0.0/16" },
		{ "240.240.0.1/16", NET6, "240.240.0.1/16" },	{ "nonsense", NET6, "nonsense" },
	};
	_cleanup_(state_close_p) struct state *kept = NULL;

	EXPECT_OK(state_open_memory(&kept));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = {};
		struct vips *vips = NULL;

		EXPECT_EQ(vips_new(kept, rows[i].net4, rows[i].net6, &vips, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, rows[i].wrong);
	}
}

TEST(the_widest_and_narrowest_networks_work)
{
	FIXTURE(f);
	struct ip network4, mask4, network6, mask6, v4, v6;

	given_vips(&f, "240.0.0.0/8", "2001::/32");
	v4 = get(&f, "a", NOW_NS, &v6);
	vips_networks(f.vips, &network4, &mask4, &network6, &mask6);
	EXPECT(ip_in_prefix(&v4, &network4, &mask4) && !same(v4, network4));
	EXPECT(ip_in_prefix(&v6, &network6, &mask6) && !same(v6, network6));
	given_vips(&f, "240.0.0.0/28", "2001::/112");
	v4 = get(&f, "b", NOW_NS, &v6);
	vips_networks(f.vips, &network4, &mask4, &network6, &mask6);
	EXPECT(ip_in_prefix(&v4, &network4, &mask4) && !same(v4, network4));
	EXPECT(ip_in_prefix(&v6, &network6, &mask6) && !same(v6, network6));
}

TEST(a_spoilt_entry_of_the_store_is_named)
{
	static const char *const values[] = { "", "{}", "{\"v4\":\"240.240.0.1\"}", "{\"v4\":\"x\",\"v6\":\"2001:2::1\"}" };
	_cleanup_(state_close_p) struct state *kept = NULL;

	EXPECT_OK(state_open_memory(&kept));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct error err = {};
		struct vips *vips = NULL;

		EXPECT_OK(state_put(kept, "vips/o/M/a", values[i], strlen(values[i]), NULL));
		EXPECT_EQ(vips_new(kept, NET4, NET6, &vips, &err), -EPROTO);
		EXPECT_CONTAINS(err.message, "vips/o/M/a");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_has_the_address_its_hash_says_in_each_family),
		cmocka_unit_test(the_same_service_keeps_its_address_and_others_have_others),
		cmocka_unit_test(owner_mesh_and_name_do_not_run_into_each_other),
		cmocka_unit_test(addresses_survive_a_restart),
		cmocka_unit_test(a_full_network_probes_to_the_last_address_and_then_names_the_service),
		cmocka_unit_test(a_released_address_is_nobody_elses_for_24_hours),
		cmocka_unit_test(a_service_that_comes_back_has_its_old_address_after_any_time),
		cmocka_unit_test(a_service_whose_old_address_was_taken_gets_another_one_that_is_kept),
		cmocka_unit_test(what_a_killed_agent_left_in_use_is_released_by_the_next_one),
		cmocka_unit_test(the_store_is_written_once_for_a_round_and_only_when_something_changed),
		cmocka_unit_test(other_networks_give_other_addresses),
		cmocka_unit_test(networks_of_the_wrong_family_or_size_are_named),
		cmocka_unit_test(the_widest_and_narrowest_networks_work),
		cmocka_unit_test(a_spoilt_entry_of_the_store_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
