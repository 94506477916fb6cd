/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dns/resolv_conf.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* "10.0.0.1 ::1 left out: 2" */
static const char *parsed(const char *text, size_t length)
{
	static char out[1024];
	_cleanup_(buffer_done) struct buffer b = {};
	struct resolv_conf conf;
	char ip[IP_TEXT_BYTES];

	resolv_conf_parse(text, length, &conf);
	for (size_t i = 0; i < conf.count; i++)
		buffer_printf(&b, "%s%s", i ? " " : "", ip_format(&conf.resolvers[i], ip));
	if (conf.left_out)
		buffer_printf(&b, "%sleft out: %zu", conf.count ? " " : "", conf.left_out);
	snprintf(out, sizeof(out), "%s", buffer_string(&b));
	return out;
}
#define EXPECT_PARSED(text, expected) EXPECT_STR(parsed(text, sizeof(text) - 1), expected)

TEST(resolvers_are_told_in_the_order_of_the_file_and_each_once)
{
	EXPECT_PARSED("search a.b c\nnameserver 10.0.0.2\nnameserver fd00::53\noptions ndots:5\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n",
		      "10.0.0.2 fd00::53 10.0.0.1");
}

TEST(without_a_resolver_the_local_machine_is_asked)
{
	EXPECT_PARSED("", "127.0.0.1");
	EXPECT_PARSED("search example.com\n# nameserver 10.0.0.1\n", "127.0.0.1");
	EXPECT_PARSED("nameserver\n", "127.0.0.1 left out: 1");
	EXPECT_PARSED("nameserver ns.example.com\n", "127.0.0.1 left out: 1");
}

TEST(comments_count_where_a_keyword_would_stand)
{
	EXPECT_PARSED("#nameserver 10.0.0.1\n;nameserver 10.0.0.2\n # nameserver 10.0.0.3\nnameserver 10.0.0.4 # the fourth\n"
		      "nameserver 10.0.0.5\t; and fifth\n", "10.0.0.4 10.0.0.5");
	EXPECT_PARSED("nameserver 10.0.0.4#53\n", "127.0.0.1 left out: 1"); /* so say all three */
}

TEST(white_space_of_any_kind_separates)
{
	EXPECT_PARSED("nameserver\t\t10.0.0.1\r\nnameserver  10.0.0.2 \r\n  nameserver 10.0.0.3\n\n\r\nnameserver 10.0.0.4", /* cut off */
		      "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
	EXPECT_PARSED("nameserver 10.0.0.1\0junk\nnameserver 10.0.0.2\n", "10.0.0.1 10.0.0.2");
}

TEST(keywords_are_whole_words_in_lower_case)
{
	EXPECT_PARSED("nameservers 10.0.0.1\nnameserver10.0.0.2\nNameserver 10.0.0.3\nxnameserver 10.0.0.4\nnameserver: 10.0.0.5\n",
		      "127.0.0.1");
}

TEST(unspecified_addresses_lead_to_the_loopback)
{
	EXPECT_PARSED("nameserver 0.0.0.0\nnameserver ::\n", "127.0.0.1 ::1");
	EXPECT_PARSED("nameserver 127.0.0.1\nnameserver 0\n", "127.0.0.1");
	EXPECT_PARSED("nameserver ::ffff:0.0.0.0\n", "127.0.0.1");
}

TEST(addresses_are_read_as_the_libraries_do)
{
	EXPECT_PARSED("nameserver 127.53\nnameserver 0x0a.0.0.010\n", "127.0.0.53 10.0.0.8");
	EXPECT_PARSED("nameserver ::ffff:10.0.0.7\nnameserver 10.0.0.7\n", "10.0.0.7");
	EXPECT_PARSED("nameserver FD00:0:0::53%eth0\n", "fd00::53");
	EXPECT_PARSED("nameserver 10.0.0.256\nnameserver 10.0.0.1%eth0\nnameserver [::1]\nnameserver 10.0.0.1:53\n", "127.0.0.1 left out: 4");
}

TEST(link_local_resolvers_are_left_out_and_stand_for_no_other)
{
	EXPECT_PARSED("nameserver fe80::1%eth0\nnameserver 10.0.0.1\nnameserver febf::1\nnameserver fec0::1\n", "10.0.0.1 fec0::1 left out: 2");
	EXPECT_PARSED("nameserver fe80::1%eth0\n", "left out: 1");
}

TEST(resolvers_beyond_the_limit_are_counted)
{
	_cleanup_(buffer_done) struct buffer text = {};
	struct resolv_conf conf;

	for (int i = 1; i <= RESOLVERS_MAX + 3; i++)
		buffer_printf(&text, "nameserver 10.0.0.%d\n", i);
	buffer_add(&text, "nameserver 10.0.0.1\n"); /* one that is there already is none too many */
	resolv_conf_parse(text.data, text.length, &conf);
	EXPECT_EQ(conf.count, RESOLVERS_MAX);
	EXPECT_EQ(conf.left_out, 3);
}

TEST(a_line_of_any_length_is_one_line)
{
	_cleanup_(buffer_done) struct buffer text = {};

	buffer_add(&text, "nameserver 10.0.0.1 ");
	for (int i = 0; i < 5000; i++)
		buffer_add(&text, "nameserver ");
	buffer_add(&text, "10.0.0.2\nnameserver ");
	for (int i = 0; i < 5000; i++)
		buffer_add(&text, "1");
	buffer_add(&text, "\nnameserver 10.0.0.3\n");
	EXPECT_STR(parsed(text.data, text.length), "10.0.0.1 10.0.0.3 left out: 1");
}

TEST(only_the_given_length_is_read)
{
	EXPECT_STR(parsed("nameserver 10.0.0.123", strlen("nameserver 10.0.0.1")), "10.0.0.1");
	EXPECT_STR(parsed(NULL, 0), "127.0.0.1");
}

#define HAS_RESOLVE(text) nsswitch_has_resolve(text, sizeof(text) - 1)

TEST(the_service_resolve_is_found_among_those_for_hosts)
{
	EXPECT(HAS_RESOLVE("passwd: files\nhosts:          mymachines resolve [!UNAVAIL=return] files dns\n"));
	EXPECT(HAS_RESOLVE(" hosts : files\tresolve"));
	EXPECT(HAS_RESOLVE("hosts:resolve\n"));
	EXPECT(!HAS_RESOLVE("hosts: files dns # resolve\npasswd: resolve\n"));
	EXPECT(!HAS_RESOLVE("#hosts: resolve\nhosts: files resolved\nhost: resolve\nhosts resolve\n"));
	EXPECT(!HAS_RESOLVE(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolvers_are_told_in_the_order_of_the_file_and_each_once),
		cmocka_unit_test(without_a_resolver_the_local_machine_is_asked),
		cmocka_unit_test(comments_count_where_a_keyword_would_stand),
		cmocka_unit_test(white_space_of_any_kind_separates),
		cmocka_unit_test(keywords_are_whole_words_in_lower_case),
		cmocka_unit_test(unspecified_addresses_lead_to_the_loopback),
		cmocka_unit_test(addresses_are_read_as_the_libraries_do),
		cmocka_unit_test(link_local_resolvers_are_left_out_and_stand_for_no_other),
		cmocka_unit_test(resolvers_beyond_the_limit_are_counted),
		cmocka_unit_test(a_line_of_any_length_is_one_line),
		cmocka_unit_test(only_the_given_length_is_read),
		cmocka_unit_test(the_service_resolve_is_found_among_those_for_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
