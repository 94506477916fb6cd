/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over a pair of sockets. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/proxy/control.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct pair {
	int near, far;
};

static struct pair given_pair(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	return (struct pair){ fds[0], fds[1] };
}

static void pair_done(struct pair *pair)
{
	fd_close(pair->near);
	fd_close(pair->far);
}
#define _cleanup_pair_ _cleanup_(pair_done)

static void send_raw(const struct pair *pair, const void *data, size_t length, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(200 * sizeof(int))];
	} control = {};
	struct iovec part = { (void *)data, length };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd_count) {
		control.header = (struct cmsghdr){ CMSG_LEN(fd_count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(pair->near, &header, MSG_NOSIGNAL), length);
}

/* The lowest free descriptor: the same before and after when nothing stayed open. */
static int lowest_free(void)
{
	int fd = dup(0);

	fd_close(fd);
	return fd;
}

TEST(a_message_arrives_with_its_descriptors_that_close_on_exec)
{
	_cleanup_pair_ struct pair pair = given_pair();
	_cleanup_json_ json_t *sent = json_pack("{s:s, s:I}", "op", "attach", "workload", (json_int_t)INT64_MAX), *got = NULL;
	int pipe_fds[2], fds[2];
	struct stat a, b;
	size_t count = 99;
	struct error err = {};

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	EXPECT_OK(control_send(pair.near, sent, pipe_fds, 2));

	EXPECT_OK(control_receive(pair.far, &got, fds, ARRAY_SIZE(fds), &count, &err), &err);
	EXPECT(json_equal(sent, got));
	EXPECT_EQ(count, 2);
	for (int i = 0; i < 2; i++) {
		EXPECT(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		assert_int_equal(fstat(fds[i], &a) | fstat(pipe_fds[i], &b), 0);
		EXPECT_EQ(a.st_ino, b.st_ino);
		fd_close(fds[i]);
		fd_close(pipe_fds[i]);
	}
}

TEST(a_message_without_descriptors_says_none)
{
	_cleanup_pair_ struct pair pair = given_pair();
	_cleanup_json_ json_t *sent = json_pack("{s:s}", "op", "hello"), *got = NULL;
	size_t count = 99;

	EXPECT_OK(control_send(pair.near, sent, NULL, 0));
	EXPECT_OK(control_receive(pair.far, &got, NULL, 0, &count, NULL));
	EXPECT_EQ(count, 0);
}

TEST(packets_keep_their_borders_and_their_order)
{
	_cleanup_pair_ struct pair pair = given_pair();

	for (int i = 0; i < 3; i++) {
		_cleanup_json_ json_t *sent = json_pack("{s:i}", "n", i);

		EXPECT_OK(control_send(pair.near, sent, NULL, 0));
	}
	for (int i = 0; i < 3; i++) {
		_cleanup_json_ json_t *got = NULL;
		size_t count;

		EXPECT_OK(control_receive(pair.far, &got, NULL, 0, &count, NULL));
		EXPECT_EQ(json_path_int(got, "n", -1), i);
	}
}

TEST(nothing_there_and_nobody_there_are_told_apart)
{
	_cleanup_pair_ struct pair pair = given_pair();
	_cleanup_json_ json_t *message = json_object();
	json_t *got;
	size_t count;

	EXPECT_EQ(control_receive(pair.far, &got, NULL, 0, &count, NULL), -EAGAIN);
	pair.near = fd_close(pair.near);
	EXPECT_EQ(control_receive(pair.far, &got, NULL, 0, &count, NULL), -EPIPE);
	EXPECT_EQ(control_send(pair.far, message, NULL, 0), -EPIPE);
}

TEST(a_peer_that_does_not_read_is_told_and_does_not_block)
{
	_cleanup_pair_ struct pair pair = given_pair();
	_cleanup_json_ json_t *message = json_pack("{s:s}", "op", "hello");
	int sent = 0, r;

	while ((r = control_send(pair.near, message, NULL, 0)) == 0 && sent < 100000)
		sent++;
	EXPECT_EQ(r, -EAGAIN);
	EXPECT(sent > 10);
}

static json_t *message_of(size_t bytes) /* with the 8 of {"x":""} */
{
	char *text = malloc(bytes);
	json_t *message;

	memset(text, 'a', bytes);
	message = json_pack("{s:s#}", "x", text, (int)(bytes - 8));
	free(text);
	return message;
}

TEST(the_longest_message_passes_and_one_byte_more_is_not_sent)
{
	_cleanup_pair_ struct pair pair = given_pair();
	_cleanup_json_ json_t *longest = message_of(CONTROL_MESSAGE_MAX_BYTES), *longer = message_of(CONTROL_MESSAGE_MAX_BYTES + 1);
	_cleanup_json_ json_t *got = NULL;
	size_t count;

	EXPECT_EQ(control_send(pair.near, longer, NULL, 0), -E2BIG);
	EXPECT_OK(control_send(pair.near, longest, NULL, 0));
	EXPECT_OK(control_receive(pair.far, &got, NULL, 0, &count, NULL));
	EXPECT(json_equal(got, longest));
}

TEST(a_message_that_is_too_long_is_refused_with_its_descriptors_and_the_next_one_is_read)
{
	_cleanup_pair_ struct pair pair = given_pair();
	_cleanup_json_ json_t *message = json_object(), *got = NULL;
	const int bytes = 2 * CONTROL_MESSAGE_MAX_BYTES, free_before = lowest_free();
	_cleanup_free_ char *text = calloc(1, CONTROL_MESSAGE_MAX_BYTES + 1);
	struct error err = {};
	size_t count;

	if (setsockopt(pair.near, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(pair.near, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	send_raw(&pair, text, CONTROL_MESSAGE_MAX_BYTES + 1, &pair.far, 1);
	EXPECT_OK(control_send(pair.near, message, NULL, 0));

	EXPECT_EQ(control_receive(pair.far, &got, NULL, 0, &count, &err), -EBADMSG);
	EXPECT_CONTAINS(err.message, "262145 bytes");
	EXPECT_OK(control_receive(pair.far, &got, NULL, 0, &count, &err), &err);
	EXPECT_EQ(lowest_free(), free_before);
}

TEST(malformed_messages_are_refused_with_what_is_wrong_and_keep_no_descriptor)
{
	static const struct {
		const char *text;
		const char *wrong;
	} rows[] = {
		{ "x", "no JSON: line 1" },
		{ "{\"op\": \"hello\"", "no JSON: line 1" },
		{ "{\"op\": 1, \"op\": 2}", "no JSON: line 1" },
		{ "[]", "JSON object" },
		{ "3", "JSON object" },
		{ "{} {}", "no JSON: line 1" },
	};
	_cleanup_pair_ struct pair pair = given_pair();
	const int free_before = lowest_free();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = {};
		json_t *got;
		int fds[4];
		size_t count;

		send_raw(&pair, rows[i].text, strlen(rows[i].text), (int[]){ pair.far, pair.near }, 2);
		EXPECT_EQ(control_receive(pair.far, &got, fds, ARRAY_SIZE(fds), &count, &err), -EBADMSG);
		EXPECT_EQ(err.code, -EBADMSG);
		EXPECT_CONTAINS(err.message, rows[i].wrong);
		EXPECT_EQ(lowest_free(), free_before);
	}
}

TEST(more_descriptors_than_expected_are_closed_and_the_message_is_refused)
{
	_cleanup_pair_ struct pair pair = given_pair();
	const int free_before = lowest_free();
	int many[200], fds[CONTROL_FDS_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = pair.far;
	for (size_t i = 0; i < 3; i++) {
		const struct {
			size_t sent, expected;
		} rows[] = { { 1, 0 }, { 3, 2 }, { ARRAY_SIZE(many), CONTROL_FDS_MAX } };
		struct error err = {};
		json_t *got;
		size_t count;

		send_raw(&pair, "{}", 2, many, rows[i].sent);
		EXPECT_EQ(control_receive(pair.far, &got, fds, rows[i].expected, &count, &err), -EBADMSG);
		EXPECT_CONTAINS(err.message, "descriptors");
		EXPECT_EQ(lowest_free(), free_before);
	}
}

TEST(an_error_survives_the_way_with_code_and_field)
{
	struct error sent = {}, got = {};
	_cleanup_json_ json_t *answer = NULL, *fine = json_object();

	error_set_field(&sent, -EBUSY, "netnsCookie", "taken");
	answer = control_error_json(&sent);
	EXPECT_EQ(control_error_read(answer, &got), -EBUSY);
	EXPECT_STR(got.field, "netnsCookie");
	EXPECT_STR(got.message, "taken");
	EXPECT_EQ(control_error_read(fine, &got), 0);
}

TEST(an_answer_with_an_impossible_code_is_an_error_all_the_same)
{
	static const char *const texts[] = { "{\"error\": \"x\"}", "{\"error\": \"x\", \"code\": 0}", "{\"error\": \"x\", \"code\": 7}",
					     "{\"error\": \"x\", \"code\": -5000}", "{\"error\": \"x\", \"code\": \"y\"}" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *answer = json_loads(texts[i], 0, NULL);

		EXPECT_EQ(control_error_read(answer, NULL), -EPROTO);
	}
}

struct request {
	uint64_t id;
	uint32_t number;
	const char *text;
};
static const struct control_member members[] = {
	{ "id", CONTROL_ID, offsetof(struct request, id) },
	{ "number", CONTROL_U32, offsetof(struct request, number) },
	{ "text", CONTROL_TEXT, offsetof(struct request, text) },
	{},
};

TEST(members_are_read_by_their_table)
{
	_cleanup_json_ json_t *message = json_pack("{s:I, s:I, s:s, s:b}", "id", (json_int_t)INT64_MAX, "number",
						   (json_int_t)UINT32_MAX, "text", "t", "other", 1);
	struct request request = {};
	struct error err = {};

	EXPECT_OK(control_members(message, members, &request, &err), &err);
	EXPECT_EQ(request.id, INT64_MAX);
	EXPECT_EQ(request.number, UINT32_MAX);
	EXPECT_STR(request.text, "t");
}

TEST(a_member_that_is_missing_or_of_another_kind_is_named)
{
	static const struct {
		const char *text, *field;
	} rows[] = {
		{ "{\"number\": 1, \"text\": \"t\"}", "id" },
		{ "{\"id\": 0, \"number\": 1, \"text\": \"t\"}", "id" },
		{ "{\"id\": -1, \"number\": 1, \"text\": \"t\"}", "id" },
		{ "{\"id\": 1.5, \"number\": 1, \"text\": \"t\"}", "id" },
		{ "{\"id\": \"1\", \"number\": 1, \"text\": \"t\"}", "id" },
		{ "{\"id\": 1, \"number\": 4294967296, \"text\": \"t\"}", "number" },
		{ "{\"id\": 1, \"number\": null, \"text\": \"t\"}", "number" },
		{ "{\"id\": 1, \"number\": 1}", "text" },
		{ "{\"id\": 1, \"number\": 1, \"text\": \"\"}", "text" },
		{ "{\"id\": 1, \"number\": 1, \"text\": [\"t\"]}", "text" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *message = json_loads(rows[i].text, 0, NULL);
		struct request request;
		struct error err = {};

		EXPECT_EQ(control_members(message, members, &request, &err), -EINVAL);
		EXPECT_STR(err.field, rows[i].field);
	}
}

TEST(nobody_at_the_socket_of_an_instance_is_told_as_such)
{
	struct error err = {};
	char path[64];
	int fd;

	EXPECT_OK(control_path("nobody-here", path, sizeof(path)));
	EXPECT_STR(path, "/run/weft/nobody-here/proxy.sock");
	EXPECT_EQ(control_path("nobody-here", path, 10), -ENAMETOOLONG);
	EXPECT_EQ(control_connect("nobody-here", &fd, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "/run/weft/nobody-here/proxy.sock");
}

TEST(what_is_too_long_for_a_message_goes_along_as_a_file_that_nobody_changes)
{
	_cleanup_(buffer_done) struct buffer text = {};
	_cleanup_close_ int fd = -1;
	struct stat st;
	char back[8] = {};

	for (int i = 0; i < CONTROL_MESSAGE_MAX_BYTES; i++)
		buffer_add(&text, "12345678");
	EXPECT_OK(control_file_make("weft-test", &text, &fd));
	EXPECT_OK(fstat(fd, &st));
	EXPECT_EQ(st.st_size, text.length);
	EXPECT_EQ(pread(fd, back, sizeof(back), st.st_size - 8), 8);
	EXPECT_EQ(memcmp(back, "12345678", 8), 0);
	EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
	EXPECT_EQ(ftruncate(fd, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_arrives_with_its_descriptors_that_close_on_exec),
		cmocka_unit_test(a_message_without_descriptors_says_none),
		cmocka_unit_test(packets_keep_their_borders_and_their_order),
		cmocka_unit_test(nothing_there_and_nobody_there_are_told_apart),
		cmocka_unit_test(a_peer_that_does_not_read_is_told_and_does_not_block),
		cmocka_unit_test(the_longest_message_passes_and_one_byte_more_is_not_sent),
		cmocka_unit_test(a_message_that_is_too_long_is_refused_with_its_descriptors_and_the_next_one_is_read),
		cmocka_unit_test(malformed_messages_are_refused_with_what_is_wrong_and_keep_no_descriptor),
		cmocka_unit_test(more_descriptors_than_expected_are_closed_and_the_message_is_refused),
		cmocka_unit_test(an_error_survives_the_way_with_code_and_field),
		cmocka_unit_test(an_answer_with_an_impossible_code_is_an_error_all_the_same),
		cmocka_unit_test(members_are_read_by_their_table),
		cmocka_unit_test(a_member_that_is_missing_or_of_another_kind_is_named),
		cmocka_unit_test(nobody_at_the_socket_of_an_instance_is_told_as_such),
		cmocka_unit_test(what_is_too_long_for_a_message_goes_along_as_a_file_that_nobody_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
