/* SPDX-License-Identifier: Apache-2.0 */
/* What agent/identity reads: paths, cgroup files, patterns, stored workloads. */
#include <errno.h>
#include <unistd.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/patterns.h"
#include "agent/identity/record.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* ---- /proc/PID/cgroup ---- */

TEST(the_path_is_that_of_the_cgroup2_line_among_those_of_other_hierarchies)
{
	char path[64];

	EXPECT_OK(cgroup_parse("9:name=systemd:/\n4:memory:/other/0::/x\n0::/system.slice/a.service\n", path, sizeof(path)));
	EXPECT_STR(path, "/system.slice/a.service");
	EXPECT_OK(cgroup_parse("0::/", path, sizeof(path)));
	EXPECT_STR(path, "/");
}

TEST(a_name_with_a_colon_is_kept_whole)
{
	char path[64];

	EXPECT_OK(cgroup_parse("0::/a:b/0::/c\n", path, sizeof(path)));
	EXPECT_STR(path, "/a:b/0::/c");
}

TEST(without_a_cgroup2_line_there_is_no_path)
{
	char path[64];

	EXPECT_EQ(cgroup_parse("4:memory:/a\n10::/b\n", path, sizeof(path)), -ENOENT);
	EXPECT_EQ(cgroup_parse("", path, sizeof(path)), -ENOENT);
}

TEST(a_path_that_does_not_fit_is_not_cut)
{
	char path[4];

	EXPECT_OK(cgroup_parse("0::/ab\n", path, sizeof(path)));
	EXPECT_STR(path, "/ab");
	EXPECT_EQ(cgroup_parse("0::/abc\n", path, sizeof(path)), -ENAMETOOLONG);
}

TEST(a_process_that_is_not_there_has_no_cgroup)
{
	char path[64];

	EXPECT_EQ(cgroup_of_pid(0x7fffffff, path, sizeof(path)), -ENOENT);
}

/* ---- depth ---- */

TEST(depth_counts_the_levels_below_the_root)
{
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup", "/sys/fs/cgroup"), 0);
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup", "/sys/fs/cgroup/a"), 1);
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup", "/sys/fs/cgroup/a/b/c"), 3);
	EXPECT_EQ(cgroup_depth("", "/a/b"), 2);
}

TEST(repeated_and_trailing_slashes_are_no_levels)
{
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup/", "/sys/fs/cgroup//a///b/"), 2);
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup/", "/sys/fs/cgroup/"), 0);
}

TEST(a_path_elsewhere_has_no_depth)
{
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup", "/sys/fs/cgroup2/a"), -EINVAL);
	EXPECT_EQ(cgroup_depth("/sys/fs/cgroup", "/sys/fs"), -EINVAL);
}

TEST(a_directory_of_another_file_system_is_no_cgroup)
{
	uint64_t id;

	EXPECT_EQ(cgroup_id("/proc", &id), -EINVAL);
	EXPECT_EQ(cgroup_id("/nowhere-at-all", &id), -ENOENT);
}

/* ---- cgroup.events ---- */

static int populated_of(const char *text)
{
	char path[] = "/tmp/weft-test-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);

	unlink(path);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return cgroup_populated(fd);
}

TEST(populated_is_read_wherever_its_line_is)
{
	EXPECT_EQ(populated_of("populated 1\nfrozen 0\n"), 1);
	EXPECT_EQ(populated_of("frozen 1\npopulated 0\n"), 0);
	EXPECT_EQ(populated_of("frozen 0\n"), -EPROTO);
}

/* ---- patterns ---- */

static enum pattern_match match(const char *text, const char *path)
{
	struct pattern pattern;
	struct error err = {};
	enum pattern_match m;

	EXPECT_OK(pattern_init(&pattern, text, &err), &err);
	m = pattern_match(&pattern, path);
	pattern_done(&pattern);
	return m;
}

TEST(a_pattern_matches_component_by_component)
{
	EXPECT_EQ(match("system.slice/payment-*.service", "system.slice/payment-1.service"), PATTERN_YES);
	EXPECT_EQ(match("system.slice/payment-*.service", "system.slice/payment-1.scope"), PATTERN_NO);
	EXPECT_EQ(match("*/b", "a/b"), PATTERN_YES);
	EXPECT_EQ(match("a*c", "a/c"), PATTERN_NO); /* a star stays within its component */
	EXPECT_EQ(match("pod[0-9]/?", "pod7/x"), PATTERN_YES);
	EXPECT_EQ(match("pod[0-9]/?", "podx/x"), PATTERN_NO);
}

TEST(directories_on_the_way_to_a_match_are_above_it)
{
	EXPECT_EQ(match("a/*/c", ""), PATTERN_ABOVE);
	EXPECT_EQ(match("a/*/c", "a"), PATTERN_ABOVE);
	EXPECT_EQ(match("a/*/c", "a/x"), PATTERN_ABOVE);
	EXPECT_EQ(match("a/*/c", "b"), PATTERN_NO);
	EXPECT_EQ(match("a/*/c", "a/x/c"), PATTERN_YES);
	EXPECT_EQ(match("a/*/c", "a/x/c/d"), PATTERN_NO);
}

TEST(a_pattern_that_cannot_match_a_cgroup_is_refused_with_why)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "empty component" },     { "/a", "empty component" }, { "a//b", "empty component" },
		{ "a/", "empty component" },   { "a/../b", "'..'" },        { "./a", "'.'" },
		{ "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", "16 components" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pattern pattern;
		struct error err = {};

		EXPECT_EQ(pattern_init(&pattern, cases[i].text, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, cases[i].why);
		pattern_done(&pattern);
	}
	EXPECT_EQ(match("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16"), PATTERN_YES);
}

/* ---- stored workloads ---- */

TEST(a_workload_comes_back_from_the_store_as_it_was)
{
	uint64_t cookies[] = { 3, 4096 };
	const struct record before = {
		.workload = { .id = 7, .node = "mesh/m/virtualNode/n", .cgroup = "/weft/run-\"7\"", .cgroup_id = 1ull << 40,
			      .netns_cookie = 3, .own_netns = true, .zone = "zone-a", .origin = "run",
			      .since_wall_ns = 1790000000000000000, .earlier_sockets = UINT32_MAX, .pid = 4711 },
		.remove_cgroup = true, .boot = "5a1c", .cookies = cookies, .cookie_count = 2,
	};
	_cleanup_free_ char *text = NULL;
	struct record after = {};
	struct error err = {};

	EXPECT_OK(record_encode(&before, &text));
	EXPECT_OK(record_decode(text, strlen(text), 7, &after, &err), &err);
	EXPECT_EQ(after.workload.id, 7);
	EXPECT_STR(after.workload.node, before.workload.node);
	EXPECT_STR(after.workload.cgroup, before.workload.cgroup);
	EXPECT_EQ(after.workload.cgroup_id, before.workload.cgroup_id);
	EXPECT_EQ(after.workload.netns_cookie, 3);
	EXPECT(after.workload.own_netns);
	EXPECT_STR(after.workload.netns, NULL);
	EXPECT_STR(after.workload.zone, "zone-a");
	EXPECT_STR(after.workload.origin, "run");
	EXPECT_EQ(after.workload.since_wall_ns, before.workload.since_wall_ns);
	EXPECT_EQ(after.workload.earlier_sockets, UINT32_MAX);
	EXPECT_EQ(after.workload.pid, 4711);
	EXPECT(after.remove_cgroup);
	EXPECT(!after.pattern);
	EXPECT_STR(after.boot, "5a1c");
	EXPECT_EQ(after.cookie_count, 2);
	EXPECT_EQ(after.cookies[1], 4096);
	record_done(&after);
}

TEST(a_stored_workload_that_is_not_one_is_refused_by_member)
{
#define WHOLE                                                                                                                 \
	"\"node\":\"n\",\"cgroup\":\"/c\",\"cgroupId\":1,\"netnsCookie\":1,\"ownNetns\":false,\"origin\":\"run\","              \
	"\"sinceWallNs\":1,\"pid\":1,\"pattern\":false,\"removeCgroup\":false"
	static const struct {
		const char *text, *field;
	} cases[] = {
		{ "{", "" },
		{ "[]", "node" },
		{ "{" WHOLE "}", "earlierSockets" },
		{ "{" WHOLE ",\"earlierSockets\":4294967296}", "earlierSockets" },
		{ "{" WHOLE ",\"earlierSockets\":-1}", "earlierSockets" },
		{ "{" WHOLE ",\"earlierSockets\":1,\"zone\":2}", "zone" },
		{ "{" WHOLE ",\"earlierSockets\":1}", "boot" },
		{ "{" WHOLE ",\"earlierSockets\":1,\"boot\":\"0123456789012345678901234567890123456789\"}", "boot" },
		{ "{" WHOLE ",\"earlierSockets\":1,\"boot\":\"b\"}", "netnsCookies" },
		{ "{" WHOLE ",\"earlierSockets\":1,\"boot\":\"b\",\"netnsCookies\":[1,\"2\"]}", "netnsCookies" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct record record;
		struct error err = {};

		EXPECT_EQ(record_decode(cases[i].text, strlen(cases[i].text), 1, &record, &err), -EINVAL);
		EXPECT_STR(err.field, cases[i].field);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_path_is_that_of_the_cgroup2_line_among_those_of_other_hierarchies),
		cmocka_unit_test(a_name_with_a_colon_is_kept_whole),
		cmocka_unit_test(without_a_cgroup2_line_there_is_no_path),
		cmocka_unit_test(a_path_that_does_not_fit_is_not_cut),
		cmocka_unit_test(a_process_that_is_not_there_has_no_cgroup),
		cmocka_unit_test(depth_counts_the_levels_below_the_root),
		cmocka_unit_test(repeated_and_trailing_slashes_are_no_levels),
		cmocka_unit_test(a_path_elsewhere_has_no_depth),
		cmocka_unit_test(a_directory_of_another_file_system_is_no_cgroup),
		cmocka_unit_test(populated_is_read_wherever_its_line_is),
		cmocka_unit_test(a_pattern_matches_component_by_component),
		cmocka_unit_test(directories_on_the_way_to_a_match_are_above_it),
		cmocka_unit_test(a_pattern_that_cannot_match_a_cgroup_is_refused_with_why),
		cmocka_unit_test(a_workload_comes_back_from_the_store_as_it_was),
		cmocka_unit_test(a_stored_workload_that_is_not_one_is_refused_by_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
