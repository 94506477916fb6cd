/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/http/url.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

TEST(a_url_gives_host_port_and_what_is_sent)
{
	static const struct {
		const char *text, *host, *target, *authority;
		unsigned int port;
	} cases[] = {
		{ "http://pay.example.com:8080/pay?x=1", "pay.example.com", "/pay?x=1", "pay.example.com:8080", 8080 },
		{ "HTTP://pay.example.com", "pay.example.com", "/", "pay.example.com", 80 },
		{ "http://pay:80?x", "pay", "/?x", "pay", 80 },
		{ "http://10.0.0.1:1/", "10.0.0.1", "/", "10.0.0.1:1", 1 },
		{ "http://[fd00::1]:65535/a//b/../c", "fd00::1", "/a//b/../c", "[fd00::1]:65535", 65535 },
		{ "http://[fd00::1]", "fd00::1", "/", "[fd00::1]", 80 },
		{ "http://pay/x?to=http://other/", "pay", "/x?to=http://other/", "pay", 80 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(url_done) struct url url = {};
		struct error err = {};

		EXPECT(url_is(cases[i].text));
		EXPECT_OK(url_parse(cases[i].text, &url, &err), &err);
		EXPECT_STR(url.host, cases[i].host);
		EXPECT_STR(url.target, cases[i].target);
		EXPECT_STR(url.authority, cases[i].authority);
		EXPECT_EQ(url.port, cases[i].port);
		EXPECT_EQ(url.is_v6, cases[i].text[7] == '[');
	}
}

TEST(what_is_no_url_of_a_request_is_refused_and_says_why)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "pay:8080", "is no URL" },
		{ "https://pay/", "https: what a program encrypts itself" },
		{ "ftp://pay/", "'ftp' is no scheme" },
		{ "://pay/", "'' is no scheme" },
		{ "http://", "no host" },
		{ "http:///x", "no host" },
		{ "http://:8080/", "no host" },
		{ "http://[]/", "no host" },
		{ "http://me:secret@pay/", "user name" },
		{ "http://pay:/", "'' is no port" },
		{ "http://pay:0/", "'0' is no port" },
		{ "http://pay:65536/", "'65536' is no port" },
		{ "http://pay:99999999999999999999/", "is no port" },
		{ "http://pay:80x/", "'80x' is no port" },
		{ "http://fd00::1/", "is no port" },
		{ "http://[fd00::1/", "'[' without ']'" },
		{ "http://[fd00::1]8080/", "'8080' behind ']' is no port" },
		{ "http://pay/x#y", "fragment" },
		{ "http://pay/a b", "a byte that no URL has" },
		{ "http://pay/\xc3\xbc", "a byte that no URL has" },
		{ "http://pay/\n", "a byte that no URL has" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = {};
		struct url url;

		EXPECT_EQ(url_parse(cases[i].text, &url, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, cases[i].why);
	}
	EXPECT(!url_is("pay.example.com:8080"));
	EXPECT(!url_is("[fd00::1]:80"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_url_gives_host_port_and_what_is_sent),
		cmocka_unit_test(what_is_no_url_of_a_request_is_refused_and_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
