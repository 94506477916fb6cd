/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/proxy/formers.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"

struct said { /* one that serves beside who has the seat */
	struct former *former;
	unsigned int ends; /* how often it was told to end */
};

static void on_end(void *arg)
{
	struct said *said = arg;

	said->ends++;
}

static int say_retiring(struct formers *formers, struct said *said, pid_t pid, json_int_t since, struct error *err)
{
	_cleanup_json_ json_t *message = json_pack("{s:I, s:i, s:i}", "since", since, "requests", 2, "connections", 3);

	return former_new(formers, pid, message, on_end, said, &said->former, err);
}

static void say_retired(struct said *said, const char *reason)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "reason", reason);
	struct error err = {};

	EXPECT_OK(former_retired(said->former, message, &err), &err);
}

static int64_t shown(const struct formers *formers, const char *path)
{
	_cleanup_json_ json_t *json = formers_json(formers);

	return json_path_int(json, path, -1);
}

static size_t now(const struct formers *formers)
{
	_cleanup_json_ json_t *json = formers_json(formers);

	return json_path_count(json, "now");
}

TEST(of_three_the_eldest_is_told_to_end_whichever_came_first)
{
	struct formers formers;
	struct said young = {}, eldest = {}, middle = {};

	formers_init(&formers);
	EXPECT_OK(say_retiring(&formers, &young, 0, 300, NULL));
	EXPECT_OK(say_retiring(&formers, &eldest, 0, 100, NULL));
	EXPECT_EQ(eldest.ends, 0);
	EXPECT_OK(say_retiring(&formers, &middle, 0, 200, NULL));
	EXPECT_EQ(eldest.ends, 1);
	EXPECT_EQ(young.ends + middle.ends, 0);
	EXPECT_EQ(now(&formers), 3);
	say_retired(&eldest, "drain-limit");
	former_free(eldest.former);
	EXPECT_EQ(now(&formers), 2);
	EXPECT_EQ(shown(&formers, "ends.drain-limit"), 1);
	say_retired(&young, "drained");
	former_free(young.former);
	former_free(middle.former); /* without a word */
	EXPECT_EQ(shown(&formers, "ends.drained"), 1);
	EXPECT_EQ(shown(&formers, "ends.lost"), 1);
}

TEST(one_that_was_told_to_end_counts_no_more_among_those_that_may_stay)
{
	struct formers formers;
	struct said all[4] = {};

	formers_init(&formers);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		EXPECT_OK(say_retiring(&formers, &all[i], 0, 100 + (json_int_t)i, NULL));
	EXPECT_EQ(all[0].ends, 1);
	EXPECT_EQ(all[1].ends, 1);
	EXPECT_EQ(all[2].ends + all[3].ends, 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		former_free(all[i].former);
}

TEST(one_that_does_not_end_is_killed)
{
	struct formers formers;
	struct said others[2] = {}, stubborn = {};
	const pid_t pid = fork();
	int status;

	if (pid == 0) {
		pause();
		_exit(0);
	}
	formers_init(&formers);
	EXPECT_OK(say_retiring(&formers, &stubborn, pid, 1, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		EXPECT_OK(say_retiring(&formers, &others[i], 0, 100, NULL));
	EXPECT_EQ(stubborn.ends, 1);
	formers_look(&formers, time_now_ns());
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0); /* it has some time */
	formers_look(&formers, time_now_ns() + 3 * NSEC_PER_SEC);
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	former_free(stubborn.former);
	EXPECT_EQ(shown(&formers, "ends.drain-limit"), 1);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		former_free(others[i].former);
}

TEST(who_hands_over_takes_none_of_them_for_gone)
{
	struct formers formers;
	struct said said = {};

	formers_init(&formers);
	EXPECT_OK(say_retiring(&formers, &said, 0, 100, NULL));
	formers_leave(&formers);
	former_free(said.former);
	EXPECT_EQ(shown(&formers, "ends.lost"), 0);
}

TEST(what_is_not_said_right_is_refused_by_name)
{
	struct formers formers;
	struct said said = {};
	struct error err = {};

	formers_init(&formers);
	EXPECT_EQ(say_retiring(&formers, &said, 0, 0, &err), -EINVAL);
	EXPECT_STR(err.field, "since");
	EXPECT_OK(say_retiring(&formers, &said, 0, 100, NULL));
	EXPECT_EQ(former_retired(said.former, NULL, &err), -EINVAL);
	EXPECT_STR(err.field, "reason");
	former_free(said.former);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_three_the_eldest_is_told_to_end_whichever_came_first),
		cmocka_unit_test(one_that_was_told_to_end_counts_no_more_among_those_that_may_stay),
		cmocka_unit_test(one_that_does_not_end_is_killed),
		cmocka_unit_test(who_hands_over_takes_none_of_them_for_gone),
		cmocka_unit_test(what_is_not_said_right_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
