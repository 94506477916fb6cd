/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

static struct ip ip(const char *text)
{
	struct ip ip;

	EXPECT_OK(ip_parse(text, &ip));
	return ip;
}

TEST(ipv4_is_kept_in_mapped_form)
{
	static const unsigned char expected[16] = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 1 };
	struct ip a = ip("10.0.0.1");

	EXPECT(!memcmp(a.bytes, expected, sizeof(expected)));
	EXPECT(ip_is_v4(&a));
}

TEST(addresses_print_as_they_are_written_for_people)
{
	static const char *const cases[][2] = {
		{ "10.0.0.1", "10.0.0.1" },
		{ "::ffff:10.0.0.1", "10.0.0.1" },
		{ "fd00:0:0::1", "fd00::1" },
		{ "::", "::" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char text[IP_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip a = ip(cases[i][0]);

		EXPECT_STR(ip_format(&a, text), cases[i][1]);
	}
}

TEST(what_is_no_address_is_refused_and_leaves_the_value_alone)
{
	static const char *const texts[] = { "",	 "10.0.0",   "10.0.0.256", "10.0.0.01", " 10.0.0.1", "10.0.0.1 ",
					     "10.0.0.1:80", "fe80::1%lo", "[::1]",	   "1::2::3",	"localhost" };
	struct ip before = ip("192.0.2.1"), after = before;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (ip_parse(texts[i], &after) != -EINVAL)
			fail_msg("'%s' was accepted", texts[i]);
	EXPECT(ip_equal(&before, &after));
}

TEST(endpoints_parse_and_print_in_both_families)
{
	static const struct {
		const char *text, *address, *printed;
		uint16_t port;
	} cases[] = {
		{ "10.0.0.1:80", "10.0.0.1", "10.0.0.1:80", 80 },
		{ "[fd00::1]:65535", "fd00::1", "[fd00::1]:65535", 65535 },
		{ "[::ffff:1.2.3.4]:1", "1.2.3.4", "1.2.3.4:1", 1 },
		{ "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 65535 },
	};
	char text[ENDPOINT_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip expected = ip(cases[i].address), a;
		__be16 port;

		EXPECT_OK(ip_port_parse(cases[i].text, &a, &port));
		EXPECT(ip_equal(&a, &expected));
		EXPECT_EQ(ntohs(port), cases[i].port);
		EXPECT_STR(ip_port_format(&a, port, text), cases[i].printed);
	}
}

TEST(what_is_no_endpoint_is_refused)
{
	static const char *const texts[] = {
		"",	       ":80",	     "10.0.0.1",  "10.0.0.1:",	 "10.0.0.1:0",	 "10.0.0.1:65536", "10.0.0.1:-1",
		"10.0.0.1:+1", "10.0.0.1:080", "10.0.0.1:80 ", "10.0.0.1: 80", "10.0.0.1:4294967376", "fd00::1:80", "[fd00::1]",
		"[fd00::1]80", "[fd00::1:80", "[]:80",	  "[:80",	 "[10.0.0.1]:80", "name:80", "10.0.0.1:http",
		"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255.255.255.255.255]:1",
	};
	struct ip a;
	__be16 port = 7;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (ip_port_parse(texts[i], &a, &port) != -EINVAL)
			fail_msg("'%s' was accepted", texts[i]);
	EXPECT_EQ(port, 7);
}

TEST(a_prefix_holds_its_addresses_and_no_others)
{
	static const struct {
		const char *prefix, *inside, *outside;
	} cases[] = {
		{ "240.240.0.0/16", "240.240.255.255", "240.241.0.0" }, { "10.0.0.1/32", "10.0.0.1", "10.0.0.0" },
		{ "0.0.0.0/0", "255.1.2.3", "fd00::1" },		 { "10.128.0.0/9", "10.255.0.1", "10.127.255.255" },
		{ "2001:2::/48", "2001:2:0:ffff::1", "2001:2:1::" },	 { "fd00::1/128", "fd00::1", "fd00::2" },
	};
	struct ip network, mask, all;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip inside = ip(cases[i].inside), outside = ip(cases[i].outside);

		EXPECT_OK(ip_prefix_parse(cases[i].prefix, &network, &mask));
		EXPECT(ip_in_prefix(&inside, &network, &mask));
		EXPECT(!ip_in_prefix(&outside, &network, &mask));
	}
	all = ip("10.0.0.1");
	EXPECT_OK(ip_prefix_parse("::/0", &network, &mask));
	EXPECT(ip_in_prefix(&all, &network, &mask));
}

TEST(what_is_no_prefix_is_refused_also_one_with_host_bits)
{
	static const char *const texts[] = { "",	     "/8",	     "10.0.0.0",	 "10.0.0.0/",	   "10.0.0.0/33",
					     "10.0.0.1/24",  "10.0.0.0/-1",  "10.0.0.0/08",	 "10.0.0.0/8/8",   "fd00::/129",
					     "fd00::1/64",   "x/8",	     "10.0.0.0/ 8",	 "10.0.0.0/8x",	   "10.0.0/8" };
	struct ip network, mask;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (ip_prefix_parse(texts[i], &network, &mask) != -EINVAL)
			fail_msg("'%s' was accepted", texts[i]);
}

TEST(loopback_is_known_in_both_families)
{
	static const struct {
		const char *text;
		bool loopback;
	} cases[] = {
		{ "127.0.0.1", true }, { "127.255.255.254", true }, { "::1", true }, { "::ffff:127.0.0.1", true },
		{ "128.0.0.1", false }, { "::", false }, { "::2", false }, { "10.0.0.127", false }, { "7f00::1", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip a = ip(cases[i].text);

		EXPECT_EQ(ip_is_loopback(&a), cases[i].loopback);
	}
}

TEST(addresses_are_equal_only_when_every_byte_is)
{
	struct ip a = ip("fd00::1"), b;

	for (size_t i = 0; i < sizeof(a.bytes); i++) {
		b = a;
		EXPECT(ip_equal(&a, &b));
		b.bytes[i] ^= 1;
		EXPECT(!ip_equal(&a, &b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_is_kept_in_mapped_form),
		cmocka_unit_test(addresses_print_as_they_are_written_for_people),
		cmocka_unit_test(what_is_no_address_is_refused_and_leaves_the_value_alone),
		cmocka_unit_test(endpoints_parse_and_print_in_both_families),
		cmocka_unit_test(what_is_no_endpoint_is_refused),
		cmocka_unit_test(a_prefix_holds_its_addresses_and_no_others),
		cmocka_unit_test(what_is_no_prefix_is_refused_also_one_with_host_bits),
		cmocka_unit_test(loopback_is_known_in_both_families),
		cmocka_unit_test(addresses_are_equal_only_when_every_byte_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
