/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "loader/numbers.h"
#include "loader/type_layout.h"
#include "maps/abi/types.h"
#include "tests/lib/test.h"

/* BTF as a compiler would write it: a struct of one kind after the other. */
struct types {
	struct btf *btf;
	int u8, u16, u32, u64, index;
};

static struct types types_new(void)
{
	struct types t = { .btf = btf__new_empty() };

	EXPECT(t.btf);
	t.u8 = btf__add_int(t.btf, "unsigned char", 1, 0);
	t.u16 = btf__add_int(t.btf, "unsigned short", 2, 0);
	t.u32 = btf__add_int(t.btf, "unsigned int", 4, 0);
	t.u64 = btf__add_int(t.btf, "unsigned long long", 8, 0);
	t.index = t.u32;
	EXPECT(t.u64 > 0);
	return t;
}

static void types_done(struct types *t)
{
	btf__free(t->btf);
}

static int given_struct(struct types *t, const char *name, unsigned bytes)
{
	const int id = btf__add_struct(t->btf, name, bytes);

	EXPECT(id > 0);
	return id;
}

/* Of the struct that was given last. */
static void given_member(struct types *t, const char *name, int type, unsigned offset)
{
	EXPECT_OK(btf__add_field(t->btf, name, type, offset * 8, 0));
}

static int given_array(struct types *t, int of, unsigned count)
{
	const int id = btf__add_array(t->btf, t->index, of, count);

	EXPECT(id > 0);
	return id;
}

static struct type_layout layout_of(struct types *t, int id)
{
	struct type_layout layout;
	struct error err = {};

	EXPECT_OK(type_layout_read(t->btf, id, &layout, &err), &err);
	return layout;
}

static int conversion_between(struct types *t, int from, int to, struct layout_conversion *ret_conversion, struct error *err)
{
	_cleanup_(type_layout_done) struct type_layout a = layout_of(t, from), b = layout_of(t, to);

	return layout_conversion_make(&a, &b, ret_conversion, err);
}

static const struct layout_member *member_of(const struct type_layout *layout, const char *path)
{
	for (size_t i = 0; i < layout->count; i++)
		if (!strcmp(layout->members[i].path, path))
			return &layout->members[i];
	fail_msg("no member '%s'", path);
	return NULL;
}

/* union { u8 bytes[16]; u64 halves[2]; } within a struct, as struct ip is. */
static int given_ip(struct types *t)
{
	const int bytes = given_array(t, t->u8, 16), halves = given_array(t, t->u64, 2);
	const int address = btf__add_union(t->btf, NULL, 16);

	given_member(t, "bytes", bytes, 0);
	given_member(t, "halves", halves, 0);
	given_struct(t, "ip", 16);
	given_member(t, NULL, address, 0);
	return address + 1;
}

TEST(structures_and_arrays_of_them_are_read_down_to_their_numbers)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(type_layout_done) struct type_layout layout = {};
	const int run = given_struct(&t, "run", 8);
	int runs, ip, numbers, record;

	given_member(&t, "count", t.u32, 0);
	given_member(&t, "below", t.u32, 4);
	runs = given_array(&t, given_array(&t, run, 2), 2);
	ip = given_ip(&t);
	numbers = given_array(&t, btf__add_typedef(t.btf, "__u16", btf__add_const(t.btf, t.u16)), 4);
	record = given_struct(&t, "record", 56);
	given_member(&t, "address", ip, 0);
	given_member(&t, "runs", runs, 16);
	given_member(&t, "numbers", numbers, 48);

	layout = layout_of(&t, record);

	EXPECT_EQ(layout.bytes, 56);
	EXPECT_EQ(layout.count, 1 + 8 + 1);
	EXPECT_EQ(member_of(&layout, "address")->bytes, 16);
	EXPECT(member_of(&layout, "address")->whole);
	EXPECT_EQ(member_of(&layout, "runs[1][0].below")->offset, 16 + 16 + 4);
	EXPECT_EQ(member_of(&layout, "numbers")->count, 4);
	EXPECT_EQ(member_of(&layout, "numbers")->bytes, 2);
}

TEST(a_plain_number_is_a_layout_too)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(type_layout_done) struct type_layout layout = layout_of(&t, t.u64);

	EXPECT_EQ(layout.count, 1);
	EXPECT_STR(layout.members[0].path, "");
	EXPECT_EQ(layout.members[0].bytes, 8);
}

TEST(members_go_to_their_namesakes_wherever_those_are_and_new_ones_are_zero)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};
	const int from = given_struct(&t, "row", 16);
	struct error err = {};
	int to;
	const struct { uint32_t open; uint8_t pad[4]; uint64_t bytes; } before = { 7, { 9, 9, 9, 9 }, 1ull << 40 };
	struct { uint64_t bytes, fresh, open; } after;

	given_member(&t, "open", t.u32, 0);
	given_member(&t, "bytes", t.u64, 8);
	to = given_struct(&t, "row", 24);
	given_member(&t, "bytes", t.u64, 0);
	given_member(&t, "fresh", t.u64, 8);
	given_member(&t, "open", t.u64, 16);

	EXPECT_OK(conversion_between(&t, from, to, &conversion, &err), &err);
	EXPECT(!conversion.same);
	memset(&after, 0xff, sizeof(after));
	layout_conversion_apply(&conversion, &before, &after);

	EXPECT_EQ(after.bytes, 1ull << 40);
	EXPECT_EQ(after.fresh, 0);
	EXPECT_EQ(after.open, 7);
}

TEST(arrays_become_longer_with_zeroes_and_never_shorter)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {}, back = {};
	const int two = given_array(&t, t.u16, 2), three = given_array(&t, t.u16, 3);
	const int small = given_struct(&t, "s", 4);
	const uint16_t before[2] = { 1, 2 };
	struct error err = {};
	uint16_t after[3];
	int large;

	given_member(&t, "ports", two, 0);
	large = given_struct(&t, "s", 6);
	given_member(&t, "ports", three, 0);

	EXPECT_OK(conversion_between(&t, small, large, &conversion, &err), &err);
	layout_conversion_apply(&conversion, before, after);
	EXPECT(after[0] == 1 && after[1] == 2 && after[2] == 0);
	EXPECT_EQ(conversion_between(&t, large, small, &back, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "'ports'");
	EXPECT_CONTAINS(err.message, "3 elements");
}

TEST(what_only_moved_within_the_same_size_is_not_the_same)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};
	const int from = given_struct(&t, "s", 8);
	const uint32_t before[2] = { 1, 2 };
	struct error err = {};
	uint32_t after[2];
	int to;

	given_member(&t, "a", t.u32, 0);
	given_member(&t, "b", t.u32, 4);
	to = given_struct(&t, "s", 8);
	given_member(&t, "b", t.u32, 0);
	given_member(&t, "a", t.u32, 4);

	EXPECT_OK(conversion_between(&t, from, to, &conversion, &err), &err);
	EXPECT(!conversion.same);
	layout_conversion_apply(&conversion, before, after);
	EXPECT(after[0] == 2 && after[1] == 1);
}

TEST(other_padding_alone_is_the_same_layout)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};
	const int four = given_array(&t, t.u8, 4), from = given_struct(&t, "s", 8);
	struct error err = {};
	int to;

	given_member(&t, "a", t.u32, 0);
	given_member(&t, "pad", four, 4);
	to = given_struct(&t, "s", 8);
	given_member(&t, "a", t.u32, 0);
	given_member(&t, "pad2", t.u32, 4);

	EXPECT_OK(conversion_between(&t, from, to, &conversion, &err), &err);
	EXPECT(conversion.same);
}

TEST(a_member_that_would_be_lost_is_refused_unless_its_own_build_lets_it_go)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};
	const int from = given_struct(&t, "s", 16);
	struct error err = {};
	int to;

	given_member(&t, "padding_of_yesterday", t.u64, 0);
	given_member(&t, "a", t.u64, 8);
	to = given_struct(&t, "s", 8);
	given_member(&t, "a", t.u64, 0);

	EXPECT_EQ(conversion_between(&t, from, to, &conversion, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "'padding_of_yesterday'");

	EXPECT_OK(btf__add_decl_tag(t.btf, WEFT_TAG_MAY_DROP, from, 0));
	EXPECT_OK(conversion_between(&t, from, to, &conversion, &err), &err);
	EXPECT_EQ(conversion.count, 1);
}

TEST(a_number_that_would_be_cut_is_refused)
{
	_cleanup_(types_done) struct types t = types_new();
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};
	struct error err = {};

	EXPECT_EQ(conversion_between(&t, t.u64, t.u32, &conversion, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "8 bytes");
}

/* --- types that no map of ours has --------------------------------------------------------------------------------------------- */

static void expect_refused(struct types *t, int id, const char *why)
{
	struct type_layout layout;
	struct error err = {};

	EXPECT_EQ(type_layout_read(t->btf, id, &layout, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, why);
}

TEST(members_outside_of_their_structure_are_refused)
{
	_cleanup_(types_done) struct types t = types_new();
	const int id = given_struct(&t, "s", 8);

	given_member(&t, "a", t.u64, 0);
	given_member(&t, "b", t.u64, 8);
	expect_refused(&t, id, "'b' lies outside");
}

TEST(members_that_overlap_are_refused)
{
	_cleanup_(types_done) struct types t = types_new();
	const int id = given_struct(&t, "s", 8);

	given_member(&t, "a", t.u64, 0);
	given_member(&t, "b", t.u32, 4);
	expect_refused(&t, id, "overlap");
}

TEST(pointers_bit_fields_and_types_that_do_not_exist_are_refused)
{
	_cleanup_(types_done) struct types t = types_new();
	const int pointer = btf__add_ptr(t.btf, t.u8);
	int id = given_struct(&t, "s", 8);

	given_member(&t, "p", pointer, 0);
	expect_refused(&t, id, "'p' is of a kind");
	id = given_struct(&t, "s", 4);
	EXPECT_OK(btf__add_field(t.btf, "bits", t.u32, 0, 3));
	expect_refused(&t, id, "'bits' is a bit field");
	expect_refused(&t, 0, "type 0");
	expect_refused(&t, 4711, "type 4711");
}

TEST(a_type_within_itself_is_refused)
{
	_cleanup_(types_done) struct types t = types_new();
	const int id = given_struct(&t, "s", 8), again = id + 1;

	given_member(&t, "again", again, 0);
	EXPECT_EQ(btf__add_typedef(t.btf, "s_t", id), again);
	expect_refused(&t, id, "has no type that ends");
}

TEST(structures_that_unfold_without_measure_are_refused)
{
	_cleanup_(types_done) struct types t = types_new();
	int id = given_struct(&t, "empty", 1);

	for (int i = 0; i < 6; i++) {
		const int many = given_array(&t, id, 1000);

		id = given_struct(&t, "s", 1);
		given_member(&t, "m", many, 0);
	}
	expect_refused(&t, id, "has no type that ends");
}

/* --- numbers ------------------------------------------------------------------------------------------------------------------- */

static void given_enum(struct types *t, const char *const names[])
{
	EXPECT(btf__add_enum(t->btf, "reason", 4) > 0);
	for (int i = 0; names[i]; i++)
		EXPECT_OK(btf__add_enum_value(t->btf, names[i], i));
}

TEST(reasons_keep_their_numbers_where_new_ones_come_last)
{
	_cleanup_(types_done) struct types before = types_new(), now = types_new();
	struct error err = {};

	given_enum(&before, (const char *const[]){ "REASON_A", "REASON_B", "REASON_COUNT", NULL });
	given_enum(&now, (const char *const[]){ "REASON_A", "REASON_B", "REASON_C", "REASON_COUNT", NULL });
	EXPECT_OK(numbers_check(before.btf, now.btf, &err), &err);
	EXPECT_OK(numbers_check(now.btf, before.btf, &err), &err);
}

TEST(a_reason_that_has_another_number_is_refused_by_name)
{
	_cleanup_(types_done) struct types before = types_new(), now = types_new();
	struct error err = {};

	given_enum(&before, (const char *const[]){ "REASON_A", "REASON_B", NULL });
	given_enum(&now, (const char *const[]){ "REASON_A", "REASON_C", "REASON_B", NULL });
	EXPECT_EQ(numbers_check(before.btf, now.btf, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "REASON_B is 1, and 2 in this build");
}

TEST(where_the_former_build_has_a_member_is_told_by_its_path)
{
	_cleanup_(types_done) struct types t = types_new();
	const int account = given_struct(&t, "account", 8);
	int place, former;

	given_member(&t, "held", t.u64, 0);
	place = given_struct(&t, "place", 16);
	given_member(&t, "account", account, 0);
	given_member(&t, "owner", t.u64, 8);
	former = given_struct(&t, "place", 24);
	given_member(&t, "owner", t.u64, 16);
	given_member(&t, "account", account, 8);

	_cleanup_(type_layout_done) struct type_layout from = layout_of(&t, former), to = layout_of(&t, place);
	_cleanup_(layout_conversion_done) struct layout_conversion conversion = {};

	EXPECT_OK(layout_conversion_make(&from, &to, &conversion, NULL));
	EXPECT_EQ(layout_conversion_source(&conversion, "owner", 8), 16);
	EXPECT_EQ(layout_conversion_source(&conversion, "account.held", 8), 8);
	EXPECT_EQ(layout_conversion_source(&conversion, "account.held", 4), UINT32_MAX);
	EXPECT_EQ(layout_conversion_source(&conversion, "held", 8), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structures_and_arrays_of_them_are_read_down_to_their_numbers),
		cmocka_unit_test(a_plain_number_is_a_layout_too),
		cmocka_unit_test(members_go_to_their_namesakes_wherever_those_are_and_new_ones_are_zero),
		cmocka_unit_test(arrays_become_longer_with_zeroes_and_never_shorter),
		cmocka_unit_test(what_only_moved_within_the_same_size_is_not_the_same),
		cmocka_unit_test(other_padding_alone_is_the_same_layout),
		cmocka_unit_test(a_member_that_would_be_lost_is_refused_unless_its_own_build_lets_it_go),
		cmocka_unit_test(a_number_that_would_be_cut_is_refused),
		cmocka_unit_test(members_outside_of_their_structure_are_refused),
		cmocka_unit_test(members_that_overlap_are_refused),
		cmocka_unit_test(pointers_bit_fields_and_types_that_do_not_exist_are_refused),
		cmocka_unit_test(a_type_within_itself_is_refused),
		cmocka_unit_test(structures_that_unfold_without_measure_are_refused),
		cmocka_unit_test(reasons_keep_their_numbers_where_new_ones_come_last),
		cmocka_unit_test(a_reason_that_has_another_number_is_refused_by_name),
		cmocka_unit_test(where_the_former_build_has_a_member_is_told_by_its_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
