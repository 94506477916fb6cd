/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a plan in the kernel's table: written before the commit, removed after it, and only where they differ. */
#include <arpa/inet.h>
#include <errno.h>

#include "base/address.h"
#include "tests/unit/apply_world.h"

#define MESH "mesh/m"

/* Services a, b, c, as far as `names` has them, by one target; their names in the mesh's scope. */
static struct plan *named(const char *names)
{
	struct plan *plan = plan_new();
	const uint32_t target = TARGET(plan, "v1", "10.0.0.1:80");

	for (; *names; names++) {
		char name[2] = { *names }, vip[16];

		snprintf(vip, sizeof(vip), "240.240.0.%d", *names);
		SERVICE(plan, name, vip, { target, 1 });
		plan->services[plan->service_count - 1]->v4 = true;
	}
	add_node(plan, "client");
	add_scope(plan, MESH);
	return plan;
}

static void expect_vips(struct world *w, const char *name, const char *vip4, const char *vip6)
{
	const struct name_entry *entry = name_of(w, MESH, name);
	char text[IP_TEXT_BYTES];

	EXPECT(entry != NULL);
	EXPECT_STR(ip_format(&entry->vip4, text), vip4);
	EXPECT_STR(ip_format(&entry->vip6, text), vip6);
}

TEST(a_name_has_the_vips_of_its_service_for_the_families_that_it_can_reach)
{
	WORLD(w);
	struct plan *plan = named("a");

	in_force(&w, plan);
	expect_vips(&w, "a", "240.240.0.97", "::");
	EXPECT_EQ(name_of(&w, MESH, "a")->service, id_of(&w, OBJECT_SERVICE, M "virtualService/a"));
	EXPECT(!name_of(&w, "mesh/other", "a"));

	plan = named("a"); /* an endpoint registers with IPv6 */
	EXPECT_OK(ip_parse("2001:2::1", &plan->services[0]->vip6));
	plan->services[0]->v6 = true;
	in_force(&w, plan);
	expect_vips(&w, "a", "240.240.0.97", "2001:2::1");

	plan = named("a"); /* and all with IPv4 leave */
	EXPECT_OK(ip_parse("2001:2::1", &plan->services[0]->vip6));
	plan->services[0]->v4 = false;
	plan->services[0]->v6 = true;
	in_force(&w, plan);
	expect_vips(&w, "a", "::", "2001:2::1");
}

TEST(only_names_that_differ_are_written)
{
	WORLD(w);

	in_force(&w, named("ac"));
	EXPECT_EQ(w.fake.name_writes, 2);
	in_force(&w, named("ac"));
	EXPECT_EQ(w.fake.name_writes, 2);
	in_force(&w, named("abc"));
	EXPECT_EQ(w.fake.name_writes, 3);
	in_force(&w, named("bc"));
	EXPECT_EQ(w.fake.name_writes, 4);
	EXPECT(!name_of(&w, MESH, "a") && name_of(&w, MESH, "b") && name_of(&w, MESH, "c"));
	EXPECT_EQ(w.fake.name_count, 2);
}

TEST(a_service_that_comes_between_others_moves_no_name)
{
	WORLD(w);
	struct plan *plan = named("b");

	add_scope(plan, MESH "/virtualNode/client");
	in_force(&w, plan);
	plan = named("abc");
	add_scope(plan, MESH "/virtualNode/client");
	in_force(&w, plan);
	EXPECT_EQ(w.fake.name_writes, 2 + 4);
	plan = named("abc");
	in_force(&w, plan);
	EXPECT_EQ(w.fake.name_writes, 2 + 4 + 3);
	EXPECT(!name_of(&w, MESH "/virtualNode/client", "b"));
	EXPECT(name_of(&w, MESH, "b") != NULL);
}

TEST(a_name_that_another_service_takes_over_stays)
{
	WORLD(w);
	struct plan *plan = plan_new();

	SERVICE(plan, "s.local", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_scope(plan, MESH);
	plan->services[0]->v4 = true;
	in_force(&w, plan);
	plan = plan_new();
	SERVICE(plan, "S.local", "240.240.0.2", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_scope(plan, MESH);
	plan->services[0]->v4 = true;
	in_force(&w, plan);
	expect_vips(&w, "s.local", "240.240.0.2", "::");
	EXPECT_EQ(w.fake.name_count, 1);
}

TEST(what_is_no_dns_name_has_no_entry)
{
	WORLD(w);
	struct plan *plan = plan_new();

	SERVICE(plan, "a..b", "240.240.0.1", { TARGET(plan, "v1", "10.0.0.1:80"), 1 });
	add_scope(plan, MESH);
	in_force(&w, plan);
	in_force(&w, plan_new());
	EXPECT_EQ(w.fake.name_writes, 0);
}

TEST(names_are_there_before_the_commit_and_go_after_it)
{
	WORLD(w);
	const uint64_t first = in_force(&w, named("a"));

	EXPECT(in_force(&w, named("ab")) != first);
	EXPECT_EQ(w.fake.name_set_in, first);
	const uint64_t last = in_force(&w, named("a"));
	EXPECT_EQ(w.fake.name_removed_in, last);
}

TEST(a_full_table_of_names_refuses_the_plan_and_leaves_all_as_it_was)
{
	WORLD(w);
	const uint64_t before = in_force(&w, named("ab"));
	struct plan *plan = named("bcd");

	w.fake.name_room = 3;
	EXPECT_OK(ip_parse("240.240.7.7", &plan->services[0]->vip4)); /* b: written before the table is full */
	EXPECT_EQ(decide(&w, plan), before);
	EXPECT_EQ(w.err.code, -ENOSPC);
	EXPECT_CONTAINS(w.err.message, "name");
	EXPECT_EQ(w.fake.name_count, 2);
	EXPECT(name_of(&w, MESH, "a") != NULL);
	expect_vips(&w, "b", "240.240.0.98", "::");

	in_force(&w, named("abc"));
	EXPECT_EQ(w.fake.name_count, 3);
}

TEST(the_next_agent_keeps_names_without_a_write_and_removes_what_the_plan_has_not)
{
	WORLD(w);

	in_force(&w, named("abc"));
	agent_restart(&w);
	EXPECT_EQ(w.fake.name_writes, 3);
	EXPECT_EQ(w.fake.name_count, 3);
	in_force(&w, named("abc"));
	EXPECT_EQ(w.fake.name_writes, 3);

	agent_restart(&w);
	in_force(&w, named("c"));
	EXPECT_EQ(w.fake.name_writes, 5);
	EXPECT_EQ(w.fake.name_count, 1);
	EXPECT(name_of(&w, MESH, "c") != NULL);
}

TEST(a_first_plan_that_is_refused_takes_no_name_away)
{
	WORLD(w);

	in_force(&w, named("ab"));
	agent_restart(&w);
	w.fake.name_room = 2;
	decide(&w, named("bc"));
	EXPECT_EQ(w.err.code, -ENOSPC);
	EXPECT(name_of(&w, MESH, "a") && name_of(&w, MESH, "b"));
	in_force(&w, named("a"));
	EXPECT_EQ(w.fake.name_count, 1);
	EXPECT(name_of(&w, MESH, "a") != NULL);
}

TEST(ids_that_names_lead_to_are_not_given_to_others)
{
	WORLD(w);
	uint32_t id;

	in_force(&w, named("a"));
	id = id_of(&w, OBJECT_SERVICE, M "virtualService/a");
	agent_restart(&w);
	wait_idle(&w);
	EXPECT_EQ(id_of(&w, OBJECT_SERVICE, M "virtualService/a"), id);
	EXPECT_EQ(name_of(&w, MESH, "a")->service, id);
}

/* MAX_NAMES of them, and one changes: for the others nothing is written. */
TEST(of_ten_thousand_names_one_is_written)
{
	enum { COUNT = 10000 };
	WORLD(w);

	for (unsigned round = 0; round < 3; round++) {
		struct plan *plan = plan_new();
		const uint32_t target = TARGET(plan, "v1", "10.0.0.1:80");

		for (unsigned i = 0; i < COUNT; i++) {
			struct plan_service *service = ADD(plan, services, service_count);
			char name[16];

			snprintf(name, sizeof(name), "s%05u", i);
			service->name = text(M "virtualService/%s", name);
			service->vip4.words[2] = htonl(0xffff);
			service->vip4.words[3] = htonl(0xf0f00001 + i);
			service->v4 = true;
			service->v6 = round == 2 && i == 5000;
			service->vip6.words[0] = htonl(0x20010002);
			service->vip6.words[3] = htonl(i + 1);
			service->ports = calloc(1, sizeof(*service->ports));
			service->port_count = 1;
			service->ports[0] = (struct plan_port){ .port = 80, .target_count = 1, .targets = { { target, 1 } } };
		}
		add_scope(plan, MESH);
		in_force(&w, plan);
		EXPECT_EQ(w.fake.name_writes, COUNT + (round == 2));
	}
	expect_vips(&w, "s05000", "240.240.19.137", "2001:2::1389");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_has_the_vips_of_its_service_for_the_families_that_it_can_reach),
		cmocka_unit_test(only_names_that_differ_are_written),
		cmocka_unit_test(a_service_that_comes_between_others_moves_no_name),
		cmocka_unit_test(a_name_that_another_service_takes_over_stays),
		cmocka_unit_test(what_is_no_dns_name_has_no_entry),
		cmocka_unit_test(names_are_there_before_the_commit_and_go_after_it),
		cmocka_unit_test(a_full_table_of_names_refuses_the_plan_and_leaves_all_as_it_was),
		cmocka_unit_test(the_next_agent_keeps_names_without_a_write_and_removes_what_the_plan_has_not),
		cmocka_unit_test(a_first_plan_that_is_refused_takes_no_name_away),
		cmocka_unit_test(ids_that_names_lead_to_are_not_given_to_others),
		cmocka_unit_test(of_ten_thousand_names_one_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
