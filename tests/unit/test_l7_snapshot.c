/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/l7/snapshot.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static int apply(struct snapshots *all, uint64_t base, uint64_t generation, const char *text, struct error *err)
{
	return snapshots_apply(all, base, generation, span_of(text), err);
}

#define TARGET(port) "{\"name\":\"mesh/M/virtualNode/n:8080\",\"virtualNode\":\"n\",\"port\":8080,\"panicPct\":50,\"endpoints\":[" \
		     "{\"address\":\"10.0.0.1\",\"port\":" #port ",\"slot\":7,\"incarnation\":1}," \
		     "{\"address\":\"fd00::1\",\"port\":" #port ",\"slot\":8,\"incarnation\":3}]}"
#define OTHER_TARGET "{\"name\":\"mesh/M/virtualNode/other:8080\",\"virtualNode\":\"other\",\"port\":8080}"
#define SERVICE                                                                                                               \
	"{\"name\":\"mesh/M/virtualService/web.example.com\",\"ports\":[{\"port\":80,\"routes\":[{\"name\":\"r\",\"targets\":[9,null]," \
	"\"spec\":{\"httpRoute\":{\"match\":{\"prefix\":\"/\"},\"action\":{\"weightedTargets\":[{\"virtualNode\":\"n\",\"weight\":1}," \
	"{\"virtualNode\":\"gone\",\"weight\":1}]}}}}]},{\"port\":81,\"node\":9,\"virtualNode\":\"n\"},"                                       \
	"{\"port\":83,\"route\":null,\"weighted\":[{\"node\":9,\"virtualNode\":\"n\",\"weight\":3}]}]}"

static struct snapshots *given(void)
{
	struct snapshots *all;

	EXPECT_OK(snapshots_new(&all));
	EXPECT_OK(apply(all, 0, 5, "{\"services\":{\"1\":" SERVICE "},\"targets\":{\"9\":" TARGET(8080) "},\"nodes\":{\"200\":"
			"{\"name\":\"mesh/M/virtualNode/c\",\"backends\":[1]}}}", NULL));
	return all;
}

TEST(objects_are_found_by_their_ids)
{
	struct snapshots *all = given();
	const struct snapshot *now = snapshots_now(all);
	const struct service *service = snapshot_service(now, 1);
	const struct target *target = snapshot_target(now, 9);

	EXPECT_EQ(snapshot_generation(now), 5);
	EXPECT(span_equal(service->host, SPAN("web.example.com")));
	EXPECT_EQ(service_port_find(service, 80)->table.routes.count, 1);
	EXPECT_EQ(service_port_find(service, 81)->table.routes.count, 1);
	EXPECT(!service_port_find(service, 82));
	EXPECT(service_port_handed(service, 81) == service_port_find(service, 81));
	EXPECT(service_port_find(service, 83) && !service_port_handed(service, 83)); /* gateways alone lead there */
	EXPECT_EQ(((struct route *)service->ports[2].table.routes.items[0])->targets[0].weight, 3);
	EXPECT_EQ(((struct route *)service->ports[0].table.routes.items[0])->targets[0].id, 9);
	EXPECT_EQ(((struct route *)service->ports[0].table.routes.items[0])->targets[1].id, 0);
	EXPECT_EQ(target->lists[LIST_V4].count, 1);
	EXPECT_EQ(target->lists[LIST_V6].endpoints[0].slot, 8);
	EXPECT_STR(target->lists[LIST_V6].endpoints[0].text, "[fd00::1]:8080");
	EXPECT_EQ(snapshot_caller(now, 200)->backends[0], 1);
	EXPECT(!snapshot_service(now, 2));
	EXPECT(!snapshot_service(now, 1 << 20));
	snapshots_free(all);
}

TEST(what_is_printed_is_read_as_the_same)
{
	struct snapshots *all = given(), *again;
	struct buffer first = {}, second = {};

	EXPECT_OK(apply(all, 5, 6, "{\"targets\":{\"9\":" TARGET(9090) ",\"70\":" TARGET(7070) "},\"nodes\":{\"200\":null}}", NULL));
	EXPECT_OK(snapshot_print(snapshots_now(all), &first));
	EXPECT_OK(snapshots_new(&again));
	EXPECT_OK(apply(again, 0, 6, first.data, NULL));
	EXPECT_STR(snapshot_target(snapshots_now(again), 9)->lists[LIST_V4].endpoints[0].text, "10.0.0.1:9090");
	EXPECT_EQ(service_port_find(snapshot_service(snapshots_now(again), 1), 80)->table.routes.count, 1);
	EXPECT(!snapshot_caller(snapshots_now(again), 200));
	EXPECT_OK(snapshot_print(snapshots_now(again), &second));
	EXPECT_STR(second.data, first.data);
	buffer_done(&first);
	buffer_done(&second);
	snapshots_free(all);
	snapshots_free(again);
}

TEST(nothing_is_printed_as_objects_without_members)
{
	struct snapshots *all;
	struct buffer text = {};

	EXPECT_OK(snapshots_new(&all));
	EXPECT_OK(snapshot_print(snapshots_now(all), &text));
	EXPECT_STR(text.data, "{\"services\":{},\"targets\":{},\"nodes\":{},\"gateways\":{}}");
	buffer_done(&text);
	snapshots_free(all);
}

TEST(a_change_shares_what_it_does_not_name_and_leaves_what_is_held)
{
	struct snapshots *all = given();
	struct snapshot *held = snapshot_ref(snapshots_now(all));

	EXPECT_OK(apply(all, 5, 6, "{\"targets\":{\"9\":" TARGET(9090) "}}", NULL));
	EXPECT(snapshot_service(held, 1) == snapshot_service(snapshots_now(all), 1));
	EXPECT_STR(snapshot_target(held, 9)->lists[LIST_V4].endpoints[0].text, "10.0.0.1:8080");
	EXPECT_STR(snapshot_target(snapshots_now(all), 9)->lists[LIST_V4].endpoints[0].text, "10.0.0.1:9090");
	EXPECT_OK(apply(all, 6, 7, "{\"targets\":{\"9\":null}}", NULL));
	EXPECT(!snapshot_target(snapshots_now(all), 9));
	EXPECT(snapshot_target(held, 9));
	snapshots_free(all);
	EXPECT(snapshot_service(held, 1));
	snapshot_unref(held);
}

TEST(base_zero_is_all_there_is)
{
	struct snapshots *all = given();

	EXPECT_OK(apply(all, 0, 2, "{\"targets\":{\"3\":" TARGET(80) "}}", NULL));
	EXPECT(!snapshot_target(snapshots_now(all), 9));
	EXPECT(!snapshot_service(snapshots_now(all), 1));
	EXPECT(snapshot_target(snapshots_now(all), 3));
	snapshots_free(all);
}

TEST(resources_of_another_realm_are_known_by_their_names)
{
#define ARN "arn:aws:appmesh:us-east-2:123456789012:"
	struct snapshots *all = given();

	EXPECT_OK(apply(all, 5, 6, "{\"services\":{\"2\":{\"name\":\"" ARN "mesh/virtualService/virtualService/web\"}},\"targets\":{\"3\":{\"name\":\"" ARN
				   "mesh/M/virtualNode/n:80\",\"virtualNode\":\"n\",\"port\":80,\"endpoints\":[]}}}", NULL));
	EXPECT_STR(snapshot_service(snapshots_now(all), 2)->host.data, "web");
	EXPECT_STR(snapshot_target(snapshots_now(all), 3)->cluster, "cds_egress_M_n_http_80");
	snapshots_free(all);
#undef ARN
}

TEST(white_space_and_members_of_a_later_build_are_passed_over)
{
	struct snapshots *all = given();

	EXPECT_OK(apply(all, 5, 6, " {\n \"policies\" : { \"7\" : [] } , \"services\":{ } ,\t\"targets\" : { \"3\" : " TARGET(80) " , \"9\" : null }\r\n} ", NULL));
	EXPECT(snapshot_target(snapshots_now(all), 3));
	EXPECT_STR(snapshot_target(snapshots_now(all), 3)->object.text, TARGET(80));
	EXPECT(!snapshot_target(snapshots_now(all), 9));
	snapshots_free(all);
}

TEST(another_base_is_stale)
{
	struct snapshots *all = given();

	EXPECT_EQ(apply(all, 4, 6, "{}", NULL), -ESTALE);
	EXPECT_EQ(snapshot_generation(snapshots_now(all)), 5);
	snapshots_free(all);
}

TEST(what_cannot_be_read_is_named_and_nothing_changes)
{
	static const struct {
		const char *text, *named;
	} bad[] = {
		{ "{\"targets\":{\"0\":{}}}", "'0'" },
		{ "{\"targets\":{\"7x\":{}}}", "'7x'" },
		{ "{\"targets\":{\"\":{}}}", "''" },
		{ "{\"targets\":{\"16777216\":null}}", "'16777216'" },
		{ "{\"targets\":{\"7\":null,\"7\":null}}", "7 is there twice" },
		{ "{\"targets\":{},\"targets\":{}}", "is there twice" },
		{ "{\"targets\":[]}", "is no object" },
		{ "{\"targets\":{\"7\":7}}", "is no object" },
		{ "{\"targets\":{\"7\":{\"name\":}}}", "at byte" },
		{ "{\"targets\":{\"7\":null}", "'}' is missing" },
		{ "{\"targets\":{\"7\" null}}", "':' is missing" },
		{ "{\"tar\\u0067ets\":{}}", "is no name" },
		{ "{\"targets", "ends in a name" },
		{ "{\"targets\":{}}{}", "more than one" },
		{ "", "is no object" },
		{ "{\"targets\":{\"99999999999\":{}}}", "'99999999999'" },
		{ "{\"targets\":{\"2\":{\"name\":\"x\",\"port\":0}}}", "port" },
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"endpoints\":[{\"address\":\"x\",\"port\":1}]}}}", "address" },
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"endpoints\":[],\"zones\":[[{\"count\":1,\"below\":1}]]}}}", "zones" },
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"endpoints\":[{\"address\":\"10.0.0.1\",\"port\":1}],"
		  "\"zones\":[[{\"count\":1,\"below\":65535}]]}}}", "zones" }, /* a draw of 65535 would lead beyond the list */
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"endpoints\":[{\"address\":\"10.0.0.1\",\"port\":1,\"run\":1}],"
		  "\"zones\":[[{\"count\":1,\"below\":65536}]]}}}", "zones" },
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"endpoints\":[{\"address\":\"10.0.0.1\",\"port\":1,\"run\":1}]}}}",
		  "run" },
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"panicPct\":-1}}}", "panicPct" },
		{ "{\"targets\":{\"2\":{\"name\":\"mesh/M/virtualNode/x:1\",\"port\":1,\"virtualNode\":\"n\",\"outlier\":{\"maxErrors\":1.5}}}}", "maxErrors" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualNode/x\"}}}", "name" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualService/x\",\"ports\":[{\"port\":1,\"routes\":[{}]}]}}}", "routes" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualService/x\",\"ports\":[{\"port\":1,\"routes\":[{\"name\":\"r\"}]}]}}}", "spec" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualService/x\",\"ports\":[{\"port\":1,\"routes\":[{\"name\":\"r\",\"spec\":{\"httpRoute\":"
		  "{\"match\":{\"prefix\":\"/\"},\"action\":{\"weightedTargets\":[{\"weight\":1}]}}}}]}]}}}", "virtualNode" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualService/x\",\"ports\":[{\"port\":1,\"routes\":[{\"name\":\"r\",\"spec\":{\"priority\":null,"
		  "\"httpRoute\":{\"match\":{\"prefix\":\"/\"},\"action\":{\"weightedTargets\":[{\"virtualNode\":\"n\",\"weight\":1}]}}}}]}]}}}", "null" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualService/x\",\"ports\":[{\"port\":1,\"weighted\":[{\"node\":9,\"virtualNode\":\"n\","
		  "\"weight\":-1}]}]}}}", "weight" },
		{ "{\"services\":{\"2\":{\"name\":\"mesh/M/virtualService/x\",\"ports\":[{\"port\":1,\"weighted\":[{\"node\":9,\"weight\":1}]}]}}}", "virtualNode" },
		{ "{\"nodes\":{\"2\":{\"name\":\"x\",\"backends\":[\"y\"]}}}", "backends" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct snapshots *all = given();
		struct error err = {};

		EXPECT_EQ(apply(all, 5, 6, bad[i].text, &err), -EBADMSG);
		EXPECT_CONTAINS(err.message, bad[i].named);
		EXPECT_EQ(snapshot_generation(snapshots_now(all)), 5);
		snapshots_free(all);
	}
}

TEST(what_follows_under_one_id_and_name_is_of_one_lineage)
{
	struct snapshots *all = given();
	const uint64_t first = snapshot_target(snapshots_now(all), 9)->object.lineage;

	EXPECT(first != snapshot_service(snapshots_now(all), 1)->object.lineage);
	EXPECT_OK(apply(all, 5, 6, "{\"targets\":{\"9\":" TARGET(8081) "}}", NULL));
	EXPECT_EQ(snapshot_target(snapshots_now(all), 9)->object.lineage, first);
	EXPECT_OK(apply(all, 0, 7, "{\"targets\":{\"9\":" TARGET(8080) "}}", NULL)); /* all anew */
	EXPECT_EQ(snapshot_target(snapshots_now(all), 9)->object.lineage, first);
	EXPECT_OK(apply(all, 7, 8, "{\"targets\":{\"9\":" OTHER_TARGET "}}", NULL));
	EXPECT(snapshot_target(snapshots_now(all), 9)->object.lineage != first);
	EXPECT_OK(apply(all, 8, 9, "{\"targets\":{\"9\":" TARGET(8080) "}}", NULL));
	EXPECT(snapshot_target(snapshots_now(all), 9)->object.lineage != first);
	snapshots_free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_found_by_their_ids),
		cmocka_unit_test(what_is_printed_is_read_as_the_same),
		cmocka_unit_test(nothing_is_printed_as_objects_without_members),
		cmocka_unit_test(a_change_shares_what_it_does_not_name_and_leaves_what_is_held),
		cmocka_unit_test(base_zero_is_all_there_is),
		cmocka_unit_test(resources_of_another_realm_are_known_by_their_names),
		cmocka_unit_test(white_space_and_members_of_a_later_build_are_passed_over),
		cmocka_unit_test(another_base_is_stale),
		cmocka_unit_test(what_cannot_be_read_is_named_and_nothing_changes),
		cmocka_unit_test(what_follows_under_one_id_and_name_is_of_one_lineage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
