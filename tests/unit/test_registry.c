/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/discovery/registry.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct fixture {
	struct state *state;
	struct registry *registry;
	unsigned changes;
};

static void count_change(const char *namespace_name, const char *service_name, void *arg)
{
	EXPECT(namespace_name && service_name);
	((struct fixture *)arg)->changes++;
}

static void given_registry(struct fixture *f)
{
	struct error err = {};

	if (!f->state)
		EXPECT_OK(state_open_memory(&f->state));
	f->registry = registry_free(f->registry);
	EXPECT_OK(registry_new(f->state, count_change, f, &f->registry, &err), &err);
}

static void fixture_done(struct fixture *f)
{
	registry_free(f->registry);
	state_close(f->state);
}
#define FIXTURE(f) _cleanup_(fixture_done) struct fixture f = {}

/* `attributes` as JSON. */
static int try_put(struct fixture *f, struct instance instance, const char *attributes, struct error *err)
{
	_cleanup_json_ json_t *parsed = NULL;

	EXPECT_OK(json_parse(attributes, strlen(attributes), &parsed, NULL));
	return registry_put(f->registry, &instance, parsed, err);
}

static void put(struct fixture *f, const char *namespace_name, const char *service_name, const char *id, const char *attributes)
{
	struct error err = {};

	EXPECT_OK(try_put(f,
			  (struct instance){ .namespace_name = (char *)namespace_name,
					     .service_name = (char *)service_name,
					     .id = (char *)id },
			  attributes, &err),
		  &err);
}

static void put_of_workload(struct fixture *f, const char *id, uint64_t workload)
{
	struct instance i = { .namespace_name = "ns", .service_name = "svc", .id = (char *)id, .workload = workload };

	EXPECT_OK(try_put(f, i, "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\"}", NULL));
}

static int list_id(const struct instance *instance, void *arg)
{
	buffer_printf(arg, "%s/%s/%s ", instance->namespace_name, instance->service_name, instance->id);
	return 0;
}

static void expect_list(struct fixture *f, const char *namespace_name, const char *service_name, const char *expected)
{
	_cleanup_(buffer_done) struct buffer list = {};

	EXPECT_OK(registry_each(f->registry, namespace_name, service_name, list_id, &list));
	EXPECT_STR(buffer_string(&list), expected);
}

static int copy_instance(const struct instance *instance, void *arg)
{
	*(struct instance *)arg = *instance;
	return 0;
}

#define ADDRESS "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"AWS_INSTANCE_PORT\": \"8080\"}"

TEST(instances_come_in_order_of_namespace_service_and_id)
{
	FIXTURE(f);

	given_registry(&f);
	put(&f, "ns", "b", "i-2", ADDRESS);
	put(&f, "ns", "b", "i-10", ADDRESS);
	put(&f, "ns", "b", "i-1", ADDRESS);
	put(&f, "ns-2", "a", "x", ADDRESS);
	put(&f, "ns", "a", "y", ADDRESS);
	expect_list(&f, "ns", "b", "ns/b/i-1 ns/b/i-10 ns/b/i-2 ");
	expect_list(&f, NULL, NULL, "ns/a/y ns/b/i-1 ns/b/i-10 ns/b/i-2 ns-2/a/x ");
	expect_list(&f, NULL, "a", "ns/a/y ns-2/a/x ");
	expect_list(&f, "ns-2", NULL, "ns-2/a/x ");
	expect_list(&f, "ns", "none", "");
}

TEST(addresses_and_port_are_read_from_attributes)
{
	FIXTURE(f);
	struct instance i = {};
	char text[IP_TEXT_BYTES];

	given_registry(&f);
	put(&f, "ns", "svc", "i",
	    "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"AWS_INSTANCE_IPV6\": \"fd00::1\", \"AWS_INSTANCE_PORT\": \"65535\"}");
	EXPECT_OK(registry_each(f.registry, "ns", "svc", copy_instance, &i));
	EXPECT_STR(ip_format(&i.v4, text), "10.0.0.1");
	EXPECT_STR(ip_format(&i.v6, text), "fd00::1");
	EXPECT_EQ(i.port, 65535);
	put(&f, "ns", "svc", "i", "{\"AWS_INSTANCE_IPV6\": \"fd00::2\"}");
	EXPECT_OK(registry_each(f.registry, "ns", "svc", copy_instance, &i));
	EXPECT(i.v4.halves[0] == 0 && i.v4.halves[1] == 0);
	EXPECT_STR(ip_format(&i.v6, text), "fd00::2");
	EXPECT_EQ(i.port, 0);
}

TEST(everything_of_an_instance_survives_a_restart)
{
	FIXTURE(f);
	struct instance given = { .namespace_name = "ns", .service_name = "svc", .id = "a/b", .zone = "z1", .netns_cookie = 7,
				  .workload = 9 };
	struct instance i = {};

	given_registry(&f);
	EXPECT_OK(try_put(&f, given, "{\"AWS_INSTANCE_IPV4\": \"127.0.0.1\", \"tier\": \"gold\"}", NULL));
	given_registry(&f);
	expect_list(&f, NULL, NULL, "ns/svc/a/b ");
	EXPECT_OK(registry_each(f.registry, "ns", "svc", copy_instance, &i));
	EXPECT_STR(i.zone, "z1");
	EXPECT_EQ(i.netns_cookie, 7);
	EXPECT_EQ(i.workload, 9);
	EXPECT_STR(instance_attribute(&i, "tier"), "gold");
	EXPECT(ip_is_loopback(&i.v4));
}

TEST(loopback_instances_of_an_earlier_boot_are_gone_and_others_lose_their_namespace)
{
	static const char form[] = "{\"attributes\": {\"AWS_INSTANCE_IPV4\": \"%s\"}, \"netnsCookie\": 7, \"bootId\": \"of yore\"}";
	FIXTURE(f);
	struct instance i = {};
	char value[256];

	EXPECT_OK(state_open_memory(&f.state));
	snprintf(value, sizeof(value), form, "127.0.0.1");
	EXPECT_OK(state_put(f.state, "registry/ns/svc/loopback", value, strlen(value), NULL));
	snprintf(value, sizeof(value), form, "10.0.0.1");
	EXPECT_OK(state_put(f.state, "registry/ns/svc/other", value, strlen(value), NULL));
	given_registry(&f);
	expect_list(&f, NULL, NULL, "ns/svc/other ");
	EXPECT_OK(registry_each(f.registry, "ns", "svc", copy_instance, &i));
	EXPECT_EQ(i.netns_cookie, 0);
	EXPECT_EQ(state_get(f.state, "registry/ns/svc/loopback", NULL, NULL, NULL), -ENOENT);
}

TEST(only_a_change_is_told)
{
	FIXTURE(f);

	given_registry(&f);
	put(&f, "ns", "svc", "i", ADDRESS);
	EXPECT_EQ(f.changes, 1);
	put(&f, "ns", "svc", "i", ADDRESS);
	EXPECT_EQ(f.changes, 1);
	put(&f, "ns", "svc", "i", "{\"AWS_INSTANCE_IPV4\": \"10.0.0.2\"}");
	EXPECT_EQ(f.changes, 2);
	EXPECT_OK(registry_remove(f.registry, "ns", "svc", "i", NULL));
	EXPECT_EQ(f.changes, 3);
	EXPECT_EQ(registry_remove(f.registry, "ns", "svc", "i", NULL), -ENOENT);
	EXPECT_EQ(f.changes, 3);
}

TEST(attributes_are_the_same_in_any_order_and_differ_by_any_name_or_value)
{
	static const struct {
		const char *attributes;
		unsigned changes;
	} puts[] = {
		{ "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"a\": \"b\", \"c\": \"\"}", 1 },
		{ "{\"c\": \"\", \"a\": \"b\", \"AWS_INSTANCE_IPV4\": \"10.0.0.1\"}", 1 },
		{ "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"a\": \"b\", \"c\": \"d\"}", 2 },
		{ "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"a\": \"b\"}", 3 },
		{ "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"b\": \"a\"}", 4 },
		{ "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"b\": \"a\", \"z\": \"\"}", 5 },
	};
	FIXTURE(f);

	given_registry(&f);
	for (size_t n = 0; n < ARRAY_SIZE(puts); n++) {
		put(&f, "ns", "svc", "i", puts[n].attributes);
		EXPECT_EQ(f.changes, puts[n].changes);
	}
}

TEST(attributes_are_read_one_by_one_and_together)
{
	_cleanup_json_ json_t *read = NULL, *given = json_pack("{s:s, s:s, s:s, s:s}", "zone", "", "b", "c", "AWS_INSTANCE_IPV4", "10.0.0.1",
							       "a", "b");
	struct instance i = { .namespace_name = "ns", .service_name = "svc", .id = "i" };
	FIXTURE(f);

	given_registry(&f);
	EXPECT_OK(registry_put(f.registry, &i, given, NULL));
	EXPECT_OK(registry_each(f.registry, "ns", "svc", copy_instance, &i));
	EXPECT_STR(instance_attribute(&i, "a"), "b");
	EXPECT_STR(instance_attribute(&i, "b"), "c");
	EXPECT_STR(instance_attribute(&i, "zone"), "");
	EXPECT(!instance_attribute(&i, "c")); /* a value only */
	EXPECT(!instance_attribute(&i, ""));
	read = instance_attributes(&i);
	EXPECT(json_equal(read, given));
}

TEST(a_removed_instance_stays_removed_after_a_restart)
{
	FIXTURE(f);
	struct error err = {};

	given_registry(&f);
	put(&f, "ns", "svc", "a", ADDRESS);
	put(&f, "ns", "svc", "b", ADDRESS);
	EXPECT_OK(registry_remove(f.registry, "ns", "svc", "a", &err), &err);
	expect_list(&f, NULL, NULL, "ns/svc/b ");
	given_registry(&f);
	expect_list(&f, NULL, NULL, "ns/svc/b ");
	EXPECT_EQ(registry_remove(f.registry, "ns", "svc", "a", &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "'a'");
}

TEST(a_workloads_instances_go_together_and_no_others)
{
	FIXTURE(f);

	given_registry(&f);
	put_of_workload(&f, "a", 1);
	put_of_workload(&f, "b", 2);
	put_of_workload(&f, "c", 1);
	put_of_workload(&f, "d", 0);
	f.changes = 0;
	EXPECT_OK(registry_remove_workload(f.registry, 1));
	EXPECT_EQ(f.changes, 1);
	expect_list(&f, NULL, NULL, "ns/svc/b ns/svc/d ");
	given_registry(&f);
	expect_list(&f, NULL, NULL, "ns/svc/b ns/svc/d ");
	EXPECT_OK(registry_remove_workload(f.registry, 1));
	EXPECT_OK(registry_remove_workload(f.registry, 0));
	EXPECT_EQ(f.changes, 1);
	expect_list(&f, NULL, NULL, "ns/svc/b ns/svc/d ");
}

static int stop_at_second(const struct instance *instance, void *arg)
{
	(void)instance;
	return ++*(int *)arg == 2 ? -EINTR : 0;
}

TEST(a_walk_ends_when_its_callback_says_so)
{
	FIXTURE(f);
	int seen = 0;

	given_registry(&f);
	put(&f, "ns", "a", "1", ADDRESS);
	put(&f, "ns", "b", "1", ADDRESS);
	put(&f, "ns", "c", "1", ADDRESS);
	EXPECT_EQ(registry_each(f.registry, NULL, NULL, stop_at_second, &seen), -EINTR);
	EXPECT_EQ(seen, 2);
}

TEST(bad_instances_are_refused_with_the_member_named)
{
	static char long_id[66];
	static const struct {
		const char *namespace_name, *service_name, *id, *attributes, *field;
	} rows[] = {
		{ NULL, "s", "i", ADDRESS, "namespace" },
		{ "", "s", "i", ADDRESS, "namespace" },
		{ "n/s", "s", "i", ADDRESS, "namespace" },
		{ "n", NULL, "i", ADDRESS, "service" },
		{ "n", "s/t", "i", ADDRESS, "service" },
		{ "n", "s", NULL, ADDRESS, "id" },
		{ "n", "s", long_id, ADDRESS, "id" },
		{ "n", "s", "i", "[]", "attributes" },
		{ "n", "s", "i", "{}", "attributes" },
		{ "n", "s", "i", "{\"a\": 1, \"AWS_INSTANCE_IPV4\": \"10.0.0.1\"}", "attributes.a" },
		{ "n", "s", "i", "{\"\": \"x\", \"AWS_INSTANCE_IPV4\": \"10.0.0.1\"}", "attributes" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"10.0.0\"}", "attributes.AWS_INSTANCE_IPV4" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"fd00::1\"}", "attributes.AWS_INSTANCE_IPV4" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"0.0.0.0\"}", "attributes.AWS_INSTANCE_IPV4" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"224.0.0.1\"}", "attributes.AWS_INSTANCE_IPV4" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"127.0.0.1\"}", "attributes.AWS_INSTANCE_IPV4" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV6\": \"::1\"}", "attributes.AWS_INSTANCE_IPV6" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV6\": \"::\"}", "attributes.AWS_INSTANCE_IPV6" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV6\": \"ff02::1\"}", "attributes.AWS_INSTANCE_IPV6" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV6\": \"::ffff:10.0.0.1\"}", "attributes.AWS_INSTANCE_IPV6" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"AWS_INSTANCE_PORT\": \"0\"}", "attributes.AWS_INSTANCE_PORT" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"AWS_INSTANCE_PORT\": \"65536\"}",
		  "attributes.AWS_INSTANCE_PORT" },
		{ "n", "s", "i", "{\"AWS_INSTANCE_IPV4\": \"10.0.0.1\", \"AWS_INSTANCE_PORT\": \"80 \"}", "attributes.AWS_INSTANCE_PORT" },
	};
	FIXTURE(f);

	memset(long_id, 'i', sizeof(long_id) - 1);
	given_registry(&f);
	for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
		struct instance i = { .namespace_name = (char *)rows[n].namespace_name, .service_name = (char *)rows[n].service_name,
				      .id = (char *)rows[n].id };
		struct error err = {};

		EXPECT_EQ(try_put(&f, i, rows[n].attributes, &err), -EINVAL);
		EXPECT_STR(err.field, rows[n].field);
	}
	EXPECT_EQ(f.changes, 0);
	expect_list(&f, NULL, NULL, "");
}

TEST(thirty_attributes_fit_and_one_more_does_not)
{
	FIXTURE(f);
	_cleanup_json_ json_t *attributes = json_pack("{s:s}", "AWS_INSTANCE_IPV4", "10.0.0.1");
	struct instance i = { .namespace_name = "n", .service_name = "s", .id = "i" };
	struct error err = {};
	char key[8];

	given_registry(&f);
	for (int n = 1; n < INSTANCE_ATTRIBUTES_MAX; n++) {
		snprintf(key, sizeof(key), "k%d", n);
		json_object_set_new(attributes, key, json_string(""));
	}
	EXPECT_OK(registry_put(f.registry, &i, attributes, &err), &err);
	json_object_set_new(attributes, "more", json_string(""));
	EXPECT_EQ(registry_put(f.registry, &i, attributes, &err), -EINVAL);
	EXPECT_STR(err.field, "attributes");
}

TEST(lengths_count_characters_not_bytes)
{
	FIXTURE(f);
	char id[2 * 65 + 1] = "";
	struct instance i = { .namespace_name = "n", .service_name = "s", .id = id };

	given_registry(&f);
	for (int n = 0; n < 64; n++)
		strcat(id, "é");
	EXPECT_OK(try_put(&f, i, ADDRESS, NULL));
	strcat(id, "é");
	EXPECT_EQ(try_put(&f, i, ADDRESS, NULL), -EINVAL);
}

/* A value of the state, with what NULs it has. */
#define VALUE(text) { text, sizeof(text) - 1 }
#define OF(attributes) VALUE("\1z1\0" "7\0" "boot\0" "9\0" attributes)
struct value {
	const char *text;
	size_t length;
};

TEST(what_the_state_has_is_read_in_its_present_form_and_as_earlier_builds_wrote_it)
{
	static const struct value values[] = {
		OF("AWS_INSTANCE_IPV4\0" "10.0.0.1\0" "tier\0" "gold\0" "\0"),
		VALUE("{\"attributes\": {\"tier\": \"gold\", \"AWS_INSTANCE_IPV4\": \"10.0.0.1\"}, \"zone\": \"z1\", \"netnsCookie\": 7, "
		      "\"bootId\": \"boot\", \"workload\": 9}"),
	};

	for (size_t n = 0; n < ARRAY_SIZE(values); n++) {
		FIXTURE(f);
		struct instance i = {};

		EXPECT_OK(state_open_memory(&f.state));
		EXPECT_OK(state_put(f.state, "registry/ns/svc/i", values[n].text, values[n].length, NULL));
		given_registry(&f);
		EXPECT_OK(registry_each(f.registry, "ns", "svc", copy_instance, &i));
		EXPECT_STR(i.zone, "z1");
		EXPECT_EQ(i.netns_cookie, 0); /* of another boot */
		EXPECT_EQ(i.workload, 9);
		EXPECT_STR(instance_attribute(&i, "tier"), "gold");
		EXPECT_STR(instance_attribute(&i, "AWS_INSTANCE_IPV4"), "10.0.0.1");
	}
}

TEST(a_spoilt_entry_of_the_store_is_named)
{
	static const struct value values[] = {
		VALUE(""), VALUE("{}"), VALUE("{\"attributes\": {}}"), VALUE("{\"attributes\": {\"AWS_INSTANCE_IPV4\": \"x\"}}"),
		VALUE("\1"), VALUE("\1z1"), VALUE("\1\0" "7\0" "boot\0" "9\0"), VALUE("\1\0" "-7\0" "boot\0" "9\0" "AWS_INSTANCE_IPV4\0" "10.0.0.1\0" "\0"),
		OF(""), OF("\0"), OF("AWS_INSTANCE_IPV4\0" "10.0.0.1\0"), OF("AWS_INSTANCE_IPV4\0" "10.0.0.1"), OF("AWS_INSTANCE_IPV4\0" "x\0" "\0"),
		OF("AWS_INSTANCE_IPV4\0" "10.0.0.1\0" "\0" "\0"), OF("AWS_INSTANCE_IPV4\0" "10.0.0.1\0" "\0" "more"),
		OF("b\0" "\0" "AWS_INSTANCE_IPV4\0" "10.0.0.1\0" "\0"), OF("a\0" "\0" "a\0" "\0" "\0"), VALUE("\2z1\0" "7\0"),
	};
	FIXTURE(f);

	EXPECT_OK(state_open_memory(&f.state));
	for (size_t n = 0; n < ARRAY_SIZE(values); n++) {
		struct error err = {};

		EXPECT_OK(state_put(f.state, "registry/ns/svc/i", values[n].text, values[n].length, NULL));
		EXPECT_EQ(registry_new(f.state, count_change, &f, &f.registry, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, "registry/ns/svc/i");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instances_come_in_order_of_namespace_service_and_id),
		cmocka_unit_test(addresses_and_port_are_read_from_attributes),
		cmocka_unit_test(everything_of_an_instance_survives_a_restart),
		cmocka_unit_test(loopback_instances_of_an_earlier_boot_are_gone_and_others_lose_their_namespace),
		cmocka_unit_test(what_the_state_has_is_read_in_its_present_form_and_as_earlier_builds_wrote_it),
		cmocka_unit_test(only_a_change_is_told),
		cmocka_unit_test(attributes_are_the_same_in_any_order_and_differ_by_any_name_or_value),
		cmocka_unit_test(attributes_are_read_one_by_one_and_together),
		cmocka_unit_test(a_removed_instance_stays_removed_after_a_restart),
		cmocka_unit_test(a_workloads_instances_go_together_and_no_others),
		cmocka_unit_test(a_walk_ends_when_its_callback_says_so),
		cmocka_unit_test(bad_instances_are_refused_with_the_member_named),
		cmocka_unit_test(thirty_attributes_fit_and_one_more_does_not),
		cmocka_unit_test(lengths_count_characters_not_bytes),
		cmocka_unit_test(a_spoilt_entry_of_the_store_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
