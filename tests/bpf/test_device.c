/* SPDX-License-Identifier: Apache-2.0 */
/* Programs at network devices, in a namespace, an instance and a cgroup of its own: by links where the kernel has them, and by filters,
 * as on kernels that do not. */
#include "loader/device.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "loader/loader.h"
#include "loader/transaction.h"
#include "maps/edge.h"
#include "tests/lib/test.h"

static char instance[33], cgroup[320], pins[PIN_PATH_BYTES];
static struct loader_options here = { .instance = instance, .cgroup = cgroup };

static void command(const char *text)
{
	assert_int_equal(system(text), 0);
}

static int set_up(void **state __attribute__((unused)))
{
	char root[256];
	struct error err = {};

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	command("ip link set lo up && ip link add dev0 type veth && ip link set dev0 up");
	snprintf(instance, sizeof(instance), "test-device-%d", (int)getpid());
	EXPECT_OK(cgroup_root(root, sizeof(root), &err), &err);
	snprintf(cgroup, sizeof(cgroup), "%s/weft-%s", root, instance);
	assert_int_equal(mkdir(cgroup, 0755), 0);
	EXPECT_OK(loader_install(&here, &err), &err);
	EXPECT_OK(kernel_pin_path(instance, pins, sizeof(pins), &err), &err);
	return 0;
}

static int tear_down(void **state __attribute__((unused)))
{
	loader_uninstall(&here, NULL);
	rmdir(cgroup);
	return 0;
}

static enum device_how possible(void)
{
	struct error err = {};
	enum device_how how;

	EXPECT_OK(device_probe(pins, &how, &err), &err);
	return how;
}

/* As the agent does: the entry first. */
static uint32_t given_attached(enum device_how how)
{
	const uint32_t index = if_nametoindex("dev0");
	_cleanup_(kernel_close) struct kernel kernel = {};
	const struct edge_device device = {};
	struct error err = {};

	EXPECT_OK(kernel_open(instance, &kernel, &err), &err);
	EXPECT_OK(edge_device_set(&kernel, index, &device));
	EXPECT_OK(device_attach(pins, index, how, &err), &err);
	return index;
}

/* The id of the program in force on the way in. */
static uint32_t program_in(uint32_t index, enum device_how how)
{
	char path[PIN_PATH_BYTES + 16];
	_cleanup_close_ int fd = -1;
	struct bpf_link_info info = {};
	__u32 size = sizeof(info), id = 0;
	FILE *tc;

	if (how == DEVICE_BY_LINK) {
		snprintf(path, sizeof(path), "%s/dev_%u_in", pins, index);
		fd = bpf_obj_get(path);
		EXPECT(fd >= 0);
		EXPECT_OK(bpf_obj_get_info_by_fd(fd, &info, &size));
		return info.prog_id;
	}
	tc = popen("tc filter show dev dev0 ingress | sed -n 's/.* id \\([0-9]*\\).*/\\1/p'", "r");
	assert_non_null(tc);
	EXPECT_EQ(fscanf(tc, "%u", &id), 1);
	pclose(tc);
	return id;
}

TEST(both_programs_are_on_a_device_until_they_are_taken_off_it)
{
	for (enum device_how how = possible(); how <= DEVICE_BY_FILTER; how++) {
		const uint32_t index = if_nametoindex("dev0");

		EXPECT_EQ(device_attached(pins, index, how), false);
		given_attached(how);
		EXPECT_EQ(device_attached(pins, index, how), true);
		given_attached(how); /* once more is fine */
		EXPECT_EQ(device_attached(pins, index, how), true);
		device_detach(pins, index);
		EXPECT_EQ(device_attached(pins, index, how), false);
		device_detach(pins, index);
	}
}

TEST(an_upgrade_puts_its_programs_on_devices_in_place)
{
	for (enum device_how how = possible(); how <= DEVICE_BY_FILTER; how++) {
		const uint32_t index = given_attached(how), before = program_in(index, how);
		struct error err = {};

		EXPECT_OK(loader_upgrade(&here, &err), &err);
		EXPECT_EQ(device_attached(pins, index, how), true);
		EXPECT(program_in(index, how) != before);
		device_detach(pins, index);
	}
}

TEST(uninstall_takes_the_programs_off_all_devices)
{
	for (enum device_how how = possible(); how <= DEVICE_BY_FILTER; how++) {
		const uint32_t index = given_attached(how);
		struct error err = {};

		EXPECT_OK(loader_uninstall(&here, &err), &err);
		EXPECT_EQ(device_attached(pins, index, how), false);
		EXPECT_EQ(system("tc filter show dev dev0 ingress 2>/dev/null | grep -q bpf"), 256);
		EXPECT_OK(loader_install(&here, &err), &err);
	}
}

TEST(a_device_that_went_and_came_back_is_not_attached)
{
	const enum device_how how = possible();
	const uint32_t index = given_attached(how);
	struct error err = {};

	command("ip link del dev0");
	WAIT_FOR(!device_attached(pins, index, how), 5000000000ull);
	EXPECT_EQ(device_attach(pins, index, how, &err), -ENODEV);
	command("ip link add dev0 index 4711 type veth");
	EXPECT_EQ(device_attached(pins, 4711, how), false);
	EXPECT_OK(device_attach(pins, 4711, how, &err), &err);
	EXPECT_EQ(device_attached(pins, 4711, how), true);
}

TEST(two_instances_share_a_device)
{
	for (enum device_how how = possible(); how <= DEVICE_BY_FILTER; how++) {
		const uint32_t index = given_attached(how);
		char first[sizeof(instance)], first_pins[sizeof(pins)];
		struct error err = {};

		snprintf(first, sizeof(first), "%s", instance);
		snprintf(first_pins, sizeof(first_pins), "%s", pins);
		snprintf(instance, sizeof(instance), "test-device-%d-b", (int)getpid());
		EXPECT_OK(loader_install(&here, &err), &err);
		EXPECT_OK(kernel_pin_path(instance, pins, sizeof(pins), &err), &err);
		given_attached(how);
		EXPECT_OK(loader_uninstall(&here, &err), &err);
		EXPECT_EQ(device_attached(pins, index, how), false);
		snprintf(instance, sizeof(instance), "%s", first);
		snprintf(pins, sizeof(pins), "%s", first_pins);
		EXPECT_EQ(device_attached(pins, index, how), true);
		device_detach(pins, index);
	}
}

#define IN_A_WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(both_programs_are_on_a_device_until_they_are_taken_off_it),
		IN_A_WORLD(an_upgrade_puts_its_programs_on_devices_in_place),
		IN_A_WORLD(uninstall_takes_the_programs_off_all_devices),
		IN_A_WORLD(a_device_that_went_and_came_back_is_not_attached),
		IN_A_WORLD(two_instances_share_a_device),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
