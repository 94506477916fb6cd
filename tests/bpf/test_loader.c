/* SPDX-License-Identifier: Apache-2.0 */
/* The loader against the running kernel, in an instance and a cgroup of its own. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "loader/hooks.h"
#include "loader/loader.h"
#include "loader/transaction.h"
#include "maps/kernel.h"
#include "tests/lib/test.h"

#define CGROUP_PROGRAMS_MAX 64 /* BPF_CGROUP_MAX_PROGS of the kernel */

static char instance[33], cgroup[320], other_cgroup[328], pins[PIN_PATH_BYTES], instance_pins[PIN_PATH_BYTES];
static struct loader_options here = { .instance = instance, .cgroup = cgroup };
static const struct loader_options anywhere = { .instance = instance };

static bool exists(const char *format, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), format, name);
	return access(path, F_OK) == 0;
}

static struct loader_status status_now(void)
{
	struct loader_status status;
	struct error err = {};

	EXPECT_OK(loader_status(&here, &status, &err), &err);
	return status;
}

static const struct loader_hook_status *hook_of(const struct loader_status *status, const char *name)
{
	for (size_t i = 0; i < status->hook_count; i++)
		if (!strcmp(status->hooks[i].name, name))
			return &status->hooks[i];
	fail_msg("no hook %s", name);
	return NULL;
}

static struct loader_hook_status hook_now(const char *name)
{
	const struct loader_status status = status_now();

	return *hook_of(&status, name);
}

static int open_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	EXPECT(fd >= 0);
	return fd;
}

/* Programs attached to the test's cgroup itself. */
static unsigned attached_count(enum bpf_attach_type type)
{
	_cleanup_close_ int fd = open_directory(cgroup);
	__u32 ids[CGROUP_PROGRAMS_MAX], count = CGROUP_PROGRAMS_MAX, flags;

	EXPECT_OK(bpf_prog_query(fd, type, 0, &flags, ids, &count));
	return count;
}

static void given_installed(void)
{
	struct error err = {};

	EXPECT_OK(loader_install(&here, &err), &err);
}

static int pinned(const char *name)
{
	char path[PIN_PATH_BYTES + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", pins, name);
	fd = bpf_obj_get(path);
	EXPECT(fd >= 0);
	return fd;
}

static void unpin(const char *name)
{
	char path[PIN_PATH_BYTES + 32];

	snprintf(path, sizeof(path), "%s/%s", pins, name);
	EXPECT_OK(pin_remove(path));
}

/* connect6 that lets everything pass. */
static int passing_program(void)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_CGROUP_INET6_CONNECT);
	int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "test_pass", "GPL", code, ARRAY_SIZE(code), &options);

	EXPECT(fd >= 0);
	return fd;
}

static uint32_t id_of_map(int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	EXPECT_OK(bpf_obj_get_info_by_fd(fd, &info, &size));
	return info.id;
}

static int set_up(void **state __attribute__((unused)))
{
	char root[256];
	struct error err = {};

	snprintf(instance, sizeof(instance), "test-loader-%d", (int)getpid());
	EXPECT_OK(kernel_pin_path(instance, pins, sizeof(pins), &err), &err);
	snprintf(instance_pins, sizeof(instance_pins), PIN_ROOT "/%s", instance);
	EXPECT_OK(cgroup_root(root, sizeof(root), &err), &err);
	snprintf(cgroup, sizeof(cgroup), "%s/%s", root, instance);
	snprintf(other_cgroup, sizeof(other_cgroup), "%s-other", cgroup);
	EXPECT_OK(mkdir(cgroup, 0755));
	EXPECT_OK(mkdir(other_cgroup, 0755));
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	struct error err = {};

	EXPECT_OK(loader_uninstall(&here, &err), &err);
	rmdir(cgroup);
	EXPECT_OK(rmdir(other_cgroup));
	return 0;
}

TEST(install_attaches_every_hook_to_the_subtree_and_nowhere_else)
{
	given_installed();

	struct loader_status status = status_now();
	_cleanup_close_ int parent = -1;
	char root[256];
	__u32 ids[CGROUP_PROGRAMS_MAX], count = CGROUP_PROGRAMS_MAX, flags;

	EXPECT(status.installed);
	EXPECT_STR(status.cgroup, cgroup);
	EXPECT_EQ(status.hook_count, HOOK_COUNT);
	for (size_t i = 0; i < status.hook_count; i++) {
		const struct loader_hook_status *hook = &status.hooks[i];

		EXPECT(hook->attached || !hook->required);
		EXPECT(hook->current == hook->attached);
	}
	EXPECT_EQ(attached_count(BPF_CGROUP_INET4_CONNECT), 1);
	EXPECT_EQ(attached_count(BPF_CGROUP_SOCK_OPS), 1);
	EXPECT(status.map_count > 20);
	EXPECT_OK(cgroup_root(root, sizeof(root), NULL));
	parent = open_directory(root);
	EXPECT_OK(bpf_prog_query(parent, BPF_CGROUP_INET4_CONNECT, 0, &flags, ids, &count));
	for (unsigned i = 0; i < count; i++)
		EXPECT(ids[i] != hook_of(&status, "connect4")->program_id);
}

TEST(where_an_instance_is_attached_is_known_while_it_is_installed)
{
	char path[320];
	struct error err = {};

	EXPECT_EQ(loader_cgroup(instance, path, sizeof(path), &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "weft-loader install");
	given_installed();
	EXPECT_OK(loader_cgroup(instance, path, sizeof(path), &err), &err);
	EXPECT_STR(path, cgroup);
}

TEST(a_second_install_is_refused_and_names_upgrade)
{
	struct loader_status before, after;
	struct error err = {};

	given_installed();
	before = status_now();

	EXPECT_EQ(loader_install(&here, &err), -EEXIST);
	EXPECT_CONTAINS(err.message, "upgrade");
	after = status_now();
	EXPECT_EQ(hook_of(&after, "connect4")->program_id, hook_of(&before, "connect4")->program_id);
}

TEST(upgrade_replaces_programs_and_keeps_links_maps_and_counters)
{
	struct loader_status before, after;
	struct error err = {};
	struct row written = { .attempts = 41 }, read = {};
	__u32 key = 7, map_id;

	given_installed();
	{
		_cleanup_close_ int rows = pinned("w_row");

		map_id = id_of_map(rows);
		EXPECT_OK(bpf_map_update_elem(rows, &key, &written, BPF_ANY));
	}
	before = status_now();

	EXPECT_OK(loader_upgrade(&anywhere, &err), &err);

	after = status_now();
	EXPECT(after.installed);
	EXPECT_STR(after.cgroup, cgroup);
	for (size_t i = 0; i < HOOK_COUNT; i++) {
		const struct loader_hook_status *old = &before.hooks[i], *new = &after.hooks[i];

		EXPECT_EQ(new->attached, old->attached);
		EXPECT(!new->attached || new->program_id != old->program_id);
		EXPECT(hooks[i].type != HOOK_CGROUP || new->link_id == old->link_id);
		EXPECT(new->current == new->attached);
	}
	{
		_cleanup_close_ int rows = pinned("w_row");

		EXPECT_EQ(id_of_map(rows), map_id);
		EXPECT_OK(bpf_map_lookup_elem(rows, &key, &read));
	}
	EXPECT_EQ(read.attempts, 41);
	EXPECT(!exists("%s/new_prog_explain", pins));
	EXPECT_EQ(attached_count(BPF_CGROUP_INET4_CONNECT), 1);
}

TEST(upgrade_of_what_is_not_installed_names_install)
{
	struct error err = {};

	EXPECT_EQ(loader_upgrade(&here, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "weft-loader install");
	EXPECT(!exists("%s", instance_pins));
}

TEST(uninstall_leaves_nothing)
{
	char run_root[336], run_instance[384];
	struct error err = {};

	given_installed();
	snprintf(run_root, sizeof(run_root), "%s/" CGROUP_RUN_DIRECTORY, cgroup);
	snprintf(run_instance, sizeof(run_instance), "%s/%s", run_root, instance);
	EXPECT_OK(mkdir(run_root, 0755)); /* as `weft run` does */
	EXPECT_OK(mkdir(run_instance, 0755));

	EXPECT_OK(loader_uninstall(&here, &err), &err);

	EXPECT(!exists("%s", instance_pins));
	EXPECT(!exists("/run/weft/%s", instance));
	EXPECT(!exists("%s", run_root));
	for (size_t i = 0; i < HOOK_COUNT; i++)
		EXPECT(!hook_now(hooks[i].name).program_id);
	EXPECT_EQ(attached_count(BPF_CGROUP_INET4_CONNECT), 0);
	EXPECT_EQ(attached_count(BPF_CGROUP_INET6_CONNECT), 0);
	EXPECT_EQ(attached_count(BPF_CGROUP_SOCK_OPS), 0);
	EXPECT_EQ(attached_count(BPF_CGROUP_INET_SOCK_RELEASE), 0);
	EXPECT_OK(loader_uninstall(&here, &err), &err); /* nothing there is fine */
}

static void given_proxy_in(const char *directory)
{
	_cleanup_close_ int map = pinned("w_proxy");
	struct proxy_state state = {};
	struct stat st;
	__u32 zero = 0;

	EXPECT_OK(mkdir(directory, 0755));
	EXPECT_OK(stat(directory, &st));
	state.cgroup_id = st.st_ino;
	EXPECT_OK(bpf_map_update_elem(map, &zero, &state, 0));
}

TEST(uninstall_takes_the_cgroup_that_weft_proxy_made_and_no_other)
{
	char own[400], other[400];

	snprintf(own, sizeof(own), "%s/weft-proxy-%s", other_cgroup, instance);
	snprintf(other, sizeof(other), "%s/weft-proxy-%s-other", other_cgroup, instance);

	given_installed();
	given_proxy_in(own);
	EXPECT_OK(loader_uninstall(&here, NULL));
	EXPECT(!exists("%s", own));

	given_installed();
	given_proxy_in(other);
	EXPECT_OK(loader_uninstall(&here, NULL));
	EXPECT(exists("%s", other));
	EXPECT_OK(rmdir(other));
}

TEST(uninstall_takes_the_files_of_a_stopped_weftd_and_leaves_those_of_a_running_one)
{
	char path[128];
	_cleanup_close_ int lock = -1;

	given_installed();
	snprintf(path, sizeof(path), "/run/weft/%s/weftd.lock", instance);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	EXPECT_OK(flock(lock, LOCK_EX | LOCK_NB));

	EXPECT_OK(loader_uninstall(&here, NULL));
	EXPECT(exists("%s", path));

	lock = fd_close(lock);
	EXPECT_OK(loader_uninstall(&here, NULL));
	EXPECT(!exists("/run/weft/%s", instance));
}

TEST(uninstall_detaches_also_while_somebody_holds_the_link)
{
	given_installed();

	_cleanup_close_ int held = pinned("link_connect4");

	EXPECT_OK(loader_uninstall(&here, NULL));
	EXPECT_EQ(attached_count(BPF_CGROUP_INET4_CONNECT), 0);
}

TEST(an_install_that_fails_at_its_last_hook_leaves_nothing)
{
	_cleanup_close_ int program = passing_program(), directory = open_directory(cgroup);
	int links[CGROUP_PROGRAMS_MAX];
	struct error err = {};

	/* given: no room for one more connect6 */
	for (int i = 0; i < CGROUP_PROGRAMS_MAX; i++) {
		links[i] = bpf_link_create(program, directory, BPF_CGROUP_INET6_CONNECT, NULL);
		EXPECT(links[i] >= 0);
	}

	EXPECT_EQ(loader_install(&here, &err), -E2BIG);

	EXPECT_CONTAINS(err.message, "connect6");
	EXPECT(!exists("%s", instance_pins));
	EXPECT_EQ(attached_count(BPF_CGROUP_INET4_CONNECT), 0);
	EXPECT_EQ(attached_count(BPF_CGROUP_SOCK_OPS), 0);
	for (int i = 0; i < CGROUP_PROGRAMS_MAX; i++)
		fd_close(links[i]);
}

TEST(an_upgrade_that_fails_goes_back_to_the_programs_before)
{
	_cleanup_close_ int program = passing_program(), directory = open_directory(cgroup);
	int links[CGROUP_PROGRAMS_MAX];
	struct loader_status before, after;
	struct error err = {};

	/* given: the last hook lost its link, and there is no room for another */
	given_installed();
	unpin("link_connect6");
	for (int i = 0; i < CGROUP_PROGRAMS_MAX; i++) {
		links[i] = bpf_link_create(program, directory, BPF_CGROUP_INET6_CONNECT, NULL);
		EXPECT(links[i] >= 0);
	}
	before = status_now();

	EXPECT_EQ(loader_upgrade(&here, &err), -E2BIG);

	after = status_now();
	for (size_t i = 0; i < HOOK_COUNT; i++) {
		EXPECT_EQ(after.hooks[i].program_id, before.hooks[i].program_id);
		EXPECT_EQ(after.hooks[i].link_id, before.hooks[i].link_id);
	}
	EXPECT(!exists("%s/new_prog_explain", pins));
	EXPECT(!exists("%s/new_iter_end", pins));
	for (int i = 0; i < CGROUP_PROGRAMS_MAX; i++)
		fd_close(links[i]);
}

TEST(install_completes_what_a_killed_loader_left_half_done)
{
	struct loader_status before, after;
	struct error err = {};

	/* given: no connect4, and a program under its staging name */
	given_installed();
	unpin("link_connect4");
	{
		_cleanup_close_ int program = passing_program();
		char path[PIN_PATH_BYTES + 32];

		snprintf(path, sizeof(path), "%s/new_prog_explain", pins);
		EXPECT_OK(bpf_obj_pin(program, path));
	}
	before = status_now();
	EXPECT(!before.installed);

	EXPECT_OK(loader_install(&anywhere, &err), &err);

	after = status_now();
	EXPECT(after.installed);
	EXPECT_EQ(attached_count(BPF_CGROUP_INET4_CONNECT), 1);
	EXPECT_EQ(hook_of(&after, "connect6")->link_id, hook_of(&before, "connect6")->link_id);
	EXPECT(!exists("%s/new_prog_explain", pins));
}

TEST(a_cgroup_that_went_away_is_reported_and_install_attaches_anew)
{
	const struct loader_options elsewhere = { .instance = instance, .cgroup = other_cgroup };
	struct loader_status status;
	struct error err = {};

	given_installed();
	EXPECT_OK(rmdir(cgroup));
	status = status_now();
	EXPECT(!status.installed);
	EXPECT(!hook_of(&status, "connect4")->attached);
	EXPECT_EQ(loader_upgrade(&anywhere, &err), -ENOENT);

	EXPECT_OK(loader_install(&elsewhere, &err), &err);

	status = status_now();
	EXPECT(status.installed);
	EXPECT_STR(status.cgroup, other_cgroup);
	EXPECT_OK(mkdir(cgroup, 0755));
}

TEST(a_pinned_map_of_another_layout_is_refused_and_nothing_changes)
{
	struct loader_status before, after;
	struct error err = {};
	char path[PIN_PATH_BYTES + 32];

	given_installed();
	unpin("w_vip");
	{
		_cleanup_close_ int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "w_vip", 4, 4, 1, NULL);

		snprintf(path, sizeof(path), "%s/w_vip", pins);
		EXPECT_OK(bpf_obj_pin(map, path));
	}
	before = status_now();

	EXPECT_EQ(loader_upgrade(&here, &err), -EPROTO);

	EXPECT_CONTAINS(err.message, "w_vip");
	after = status_now();
	EXPECT_EQ(hook_of(&after, "connect4")->program_id, hook_of(&before, "connect4")->program_id);
}

TEST(another_abi_of_the_instance_is_refused_and_goes_with_uninstall)
{
	struct error err = {};
	char path[PIN_PATH_BYTES + 64], run_root[336];

	given_installed();
	EXPECT_OK(loader_uninstall(&here, NULL));
	EXPECT(mkdir(PIN_ROOT, 0700) == 0 || errno == EEXIST);
	EXPECT_OK(mkdir(instance_pins, 0700));
	snprintf(path, sizeof(path), "%s/abi999", instance_pins);
	EXPECT_OK(mkdir(path, 0700));
	{
		_cleanup_close_ int program = passing_program(), directory = open_directory(cgroup);
		_cleanup_close_ int link = bpf_link_create(program, directory, BPF_CGROUP_INET6_CONNECT, NULL);

		EXPECT(link >= 0);
		snprintf(path, sizeof(path), "%s/abi999/prog_old", instance_pins);
		EXPECT_OK(bpf_obj_pin(program, path));
		snprintf(path, sizeof(path), "%s/abi999/link_connect6", instance_pins);
		EXPECT_OK(bpf_obj_pin(link, path));
	}
	snprintf(run_root, sizeof(run_root), "%s/" CGROUP_RUN_DIRECTORY, cgroup);
	EXPECT_OK(mkdir(run_root, 0755));

	EXPECT_EQ(loader_install(&here, &err), -EPROTO);
	EXPECT_CONTAINS(err.message, "abi999");
	EXPECT_EQ(loader_upgrade(&here, &err), -EPROTO);
	EXPECT_OK(loader_uninstall(&here, &err), &err);
	EXPECT(!exists("%s", instance_pins));
	EXPECT(!exists("%s", run_root));
	EXPECT_EQ(attached_count(BPF_CGROUP_INET6_CONNECT), 0);
}

TEST(while_another_loader_is_at_work_every_change_is_refused)
{
	struct error err = {};
	char path[128];
	_cleanup_close_ int fd = -1;

	given_installed();
	snprintf(path, sizeof(path), "/run/weft/%s/loader.lock", instance);
	fd = open(path, O_RDWR | O_CLOEXEC);
	EXPECT_OK(flock(fd, LOCK_EX | LOCK_NB));

	EXPECT_EQ(loader_install(&here, &err), -EBUSY);
	EXPECT_EQ(loader_upgrade(&here, &err), -EBUSY);
	EXPECT_EQ(loader_uninstall(&here, &err), -EBUSY);
	EXPECT(status_now().installed);
}

TEST(a_directory_outside_the_cgroup2_hierarchy_is_refused_by_name)
{
	const struct loader_options outside = { .instance = instance, .cgroup = "/proc" };
	struct error err = {};

	EXPECT_EQ(loader_install(&outside, &err), -EINVAL);
	EXPECT_STR(err.field, "cgroup");
	EXPECT_CONTAINS(err.message, "/proc");
}

TEST(an_installed_instance_is_not_moved_to_another_cgroup)
{
	const struct loader_options elsewhere = { .instance = instance, .cgroup = other_cgroup };
	struct error err = {};

	given_installed();

	EXPECT_EQ(loader_upgrade(&elsewhere, &err), -EINVAL);
	EXPECT_STR(err.field, "cgroup");
	EXPECT_STR(status_now().cgroup, cgroup);
}

#define IN_A_WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(install_attaches_every_hook_to_the_subtree_and_nowhere_else),
		IN_A_WORLD(where_an_instance_is_attached_is_known_while_it_is_installed),
		IN_A_WORLD(a_second_install_is_refused_and_names_upgrade),
		IN_A_WORLD(upgrade_replaces_programs_and_keeps_links_maps_and_counters),
		IN_A_WORLD(upgrade_of_what_is_not_installed_names_install),
		IN_A_WORLD(uninstall_leaves_nothing),
		IN_A_WORLD(uninstall_takes_the_cgroup_that_weft_proxy_made_and_no_other),
		IN_A_WORLD(uninstall_takes_the_files_of_a_stopped_weftd_and_leaves_those_of_a_running_one),
		IN_A_WORLD(uninstall_detaches_also_while_somebody_holds_the_link),
		IN_A_WORLD(an_install_that_fails_at_its_last_hook_leaves_nothing),
		IN_A_WORLD(an_upgrade_that_fails_goes_back_to_the_programs_before),
		IN_A_WORLD(install_completes_what_a_killed_loader_left_half_done),
		IN_A_WORLD(a_cgroup_that_went_away_is_reported_and_install_attaches_anew),
		IN_A_WORLD(a_pinned_map_of_another_layout_is_refused_and_nothing_changes),
		IN_A_WORLD(another_abi_of_the_instance_is_refused_and_goes_with_uninstall),
		IN_A_WORLD(while_another_loader_is_at_work_every_change_is_refused),
		IN_A_WORLD(a_directory_outside_the_cgroup2_hierarchy_is_refused_by_name),
		IN_A_WORLD(an_installed_instance_is_not_moved_to_another_cgroup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
