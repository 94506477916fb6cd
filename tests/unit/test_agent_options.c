/* SPDX-License-Identifier: Apache-2.0 */
/* Options of weftd that are more than what their type says. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

#define READ(options, err, ...)                                                                                               \
	({                                                                                                                     \
		char *_argv[] = { "weftd", __VA_ARGS__ };                                                                      \
		agent_options_read(options, ARRAY_SIZE(_argv), _argv, err);                                                    \
	})

static void expect_pool(const char *text, long long connections, long long pending)
{
	struct agent_options options;
	struct error err = {};

	EXPECT_OK(READ(&options, &err, "--default-pool", (char *)text), &err);
	EXPECT_EQ(json_path_int(options.pool, "http.maxConnections", 0), connections);
	EXPECT_EQ(json_path_int(options.pool, "http.maxPendingRequests", 0), pending);
	json_decref(options.pool);
}

TEST(the_default_pool_is_connections_and_requests_that_wait)
{
	expect_pool("1024,1024", 1024, 1024);
	expect_pool("1,2", 1, 2);
	expect_pool("2147483647,2147483647", INT32_MAX, INT32_MAX);
}

TEST(without_the_option_there_is_no_default_pool)
{
	struct agent_options options;

	EXPECT_OK(READ(&options, NULL, "--zone", "a"));
	EXPECT(!options.pool);
}

TEST(a_default_pool_that_is_none_is_refused_by_name)
{
	static const char *const bad[] = { "",	   "1024",    "1024,",	",1024",   "0,1",	   "1,0",	     "-1,1", "1,-1",
					   " 1,1", "1, 1",    "1,1,1",	"1,1 ",	   "1024:1024",	   "a,b",	     "1e3,1",
					   "1.5,1", "0x10,1", "+1,1",	"2147483648,1", "1,2147483648", "99999999999999999999,1" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct agent_options options;
		struct error err = {};

		EXPECT_EQ(READ(&options, &err, "--default-pool", (char *)bad[i]), -EINVAL);
		EXPECT_STR(err.field, "default-pool");
		EXPECT_CONTAINS(err.message, "is not CONNECTIONS,PENDING: two numbers from 1 to 2147483647");
		EXPECT(!options.pool);
	}
}

TEST(the_default_pool_may_be_in_the_options_file_and_the_command_line_wins)
{
	char path[] = "/tmp/weft-options-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	struct agent_options options;
	struct error err = {};

	EXPECT(dprintf(fd, "{\"default-pool\": \"10,20\"}") > 0);
	EXPECT_OK(READ(&options, &err, "--options-file", path), &err);
	EXPECT_EQ(json_path_int(options.pool, "http.maxPendingRequests", 0), 20);
	json_decref(options.pool);
	EXPECT_OK(READ(&options, &err, "--options-file", path, "--default-pool", "30,40"), &err);
	EXPECT_EQ(json_path_int(options.pool, "http.maxPendingRequests", 0), 40);
	json_decref(options.pool);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default_pool_is_connections_and_requests_that_wait),
		cmocka_unit_test(without_the_option_there_is_no_default_pool),
		cmocka_unit_test(a_default_pool_that_is_none_is_refused_by_name),
		cmocka_unit_test(the_default_pool_may_be_in_the_options_file_and_the_command_line_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
