/* SPDX-License-Identifier: Apache-2.0 */
/* http_load ADDRESS:PORT HOST: GET requests for "/", a sample for each line of its input, and answers each with a line of JSON. One
 * process takes all samples of a contestant. Whatever fails ends the program, but for what is said of a sample. An answer has a length,
 * and a status of 200.
 *
 *     rate PER_SECOND SECONDS            at a constant rate, whatever becomes of those before: times from when each was due to its answer
 *     rename FROM TO TAG SECONDS [PID]   renames FROM to TO, and sends SIGHUP to PID, then asks until an answer's x-tag is TAG
 *     send SOCKET FILE TAG SECONDS       sends what FILE has to a Unix socket, then asks so
 *     idle COUNT                         opens COUNT connections, one request on each, and keeps them until the next "idle"
 *     first SECONDS                      tries until there is an answer, and tells its time by CLOCK_MONOTONIC */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"
#include "bench/tcp.h"

enum { RATE_CONNECTIONS = 16, SPANS_MAX = 1000000, ANSWER_BYTES = 4096, IDLE_MAX = 20000, IDLE_BATCH = 64, TRY_PAUSE_NS = 500000 };

static struct sockaddr_storage server;
static socklen_t server_length;
static char question[512];
static size_t question_length;

struct connection {
	int fd;
	bool busy;
	uint64_t due_ns; /* of the request at hand */
	char answer[ANSWER_BYTES]; /* as far as it is here */
	size_t length;
};

static uint64_t span_ns(double seconds)
{
	return (uint64_t)(seconds * (double)NSEC_PER_SEC);
}

/* -errno */
static int connection_open(struct connection *c)
{
	int fd = socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&server, server_length) < 0) {
		const int e = errno;

		close(fd);
		return -e;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	*c = (struct connection){ .fd = fd };
	return 0;
}

static int connection_ask(struct connection *c)
{
	c->busy = true;
	c->length = 0;
	return send(c->fd, question, question_length, MSG_NOSIGNAL) == (ssize_t)question_length ? 0 : -errno ?: -EPIPE;
}

/* The value of a header; NULL: the answer has none of this name. */
static const char *answer_header(const struct connection *c, const char *name)
{
	const size_t length = strlen(name);

	for (const char *line = strstr(c->answer, "\r\n"); line && strncmp(line, "\r\n\r\n", 4) != 0; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
			return line + 2 + length + 1 + strspn(line + 2 + length + 1, " ");
	return NULL;
}

/* Takes what has come. 1: the answer is whole; 0: not yet; -ECONNRESET: there will be none. */
static int connection_read(struct connection *c, int flags)
{
	const ssize_t n = recv(c->fd, c->answer + c->length, sizeof(c->answer) - 1 - c->length, flags);
	const char *end, *length;

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	c->length += (size_t)n;
	c->answer[c->length] = '\0';
	end = strstr(c->answer, "\r\n\r\n");
	if (!end)
		return 0;
	length = answer_header(c, "content-length");
	if (!length)
		errx(1, "an answer without a length:\n%s", c->answer);
	c->busy = c->length < (size_t)(end + 4 - c->answer) + strtoul(length, NULL, 10);
	return !c->busy;
}

static bool answer_is_200(const struct connection *c)
{
	return strncmp(c->answer, "HTTP/1.1 200 ", 13) == 0;
}

/* Waits for the answer. -errno. */
static int connection_finish(struct connection *c)
{
	int r;

	do {
		r = connection_read(c, 0);
	} while (r == 0);
	return r < 0 ? r : 0;
}

static int connection_get(struct connection *c)
{
	int r = connection_ask(c);

	return r < 0 ? r : connection_finish(c);
}

static struct connection connection_warm(void)
{
	struct connection c;
	int r = connection_open(&c);

	if (r == 0)
		r = connection_get(&c);
	if (r < 0)
		errx(1, "no connection, or no answer on it: %s", strerror(-r));
	if (!answer_is_200(&c))
		errx(1, "not 200:\n%s", c.answer);
	return c;
}

/* --- at a constant rate -------------------------------------------------------------------------------------------------- */

static int compare_spans(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double quantile_us(const uint32_t *spans_ns, size_t count, size_t thousandths)
{
	return spans_ns[count * thousandths / 1000] / 1e3;
}

static void sample_rate(double per_second, double seconds)
{
	static uint32_t spans_ns[SPANS_MAX];
	static struct connection connections[RATE_CONNECTIONS];
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	const uint64_t interval_ns = (uint64_t)((double)NSEC_PER_SEC / per_second), count = (uint64_t)(per_second * seconds);
	uint64_t start_ns, sent = 0, done = 0;

	if (count < 1 || count > SPANS_MAX)
		errx(2, "a sample has 1 to %d requests", SPANS_MAX);
	for (size_t i = 0; i < RATE_CONNECTIONS; i++) {
		connections[i] = connection_warm();
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &connections[i] }) < 0)
			err(1, "cannot watch a connection");
	}
	start_ns = time_now_ns() + interval_ns;
	while (done < count) {
		struct epoll_event events[RATE_CONNECTIONS];
		uint64_t now_ns = time_now_ns();
		struct timespec wait = {};
		int ready;

		/* Those that are due and find no connection free wait, and their time runs. */
		for (size_t i = 0; i < RATE_CONNECTIONS && sent < count && start_ns + sent * interval_ns <= now_ns; i++) {
			if (connections[i].busy)
				continue;
			connections[i].due_ns = start_ns + sent++ * interval_ns;
			if (connection_ask(&connections[i]) < 0)
				err(1, "cannot send");
		}
		now_ns = time_now_ns();
		if (sent < count && start_ns + sent * interval_ns > now_ns)
			wait.tv_nsec = (long)(start_ns + sent * interval_ns - now_ns);
		ready = epoll_pwait2(epoll, events, RATE_CONNECTIONS, sent < count && sent - done < RATE_CONNECTIONS ? &wait : NULL, NULL);
		for (int i = 0; i < ready; i++) {
			struct connection *c = events[i].data.ptr;
			const int r = connection_read(c, MSG_DONTWAIT);

			if (r < 0)
				errx(1, "a connection failed: %s", strerror(-r));
			if (r == 0)
				continue;
			if (!answer_is_200(c))
				errx(1, "not 200:\n%s", c->answer);
			spans_ns[done++] = (uint32_t)MIN(time_now_ns() - c->due_ns, (uint64_t)UINT32_MAX);
		}
	}
	for (size_t i = 0; i < RATE_CONNECTIONS; i++)
		close(connections[i].fd);
	qsort(spans_ns, done, sizeof(*spans_ns), compare_spans);
	printf("{\"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"count\": %" PRIu64 "}\n", quantile_us(spans_ns, done, 500),
	       quantile_us(spans_ns, done, 990), quantile_us(spans_ns, done, 999), done);
}

/* --- changes ------------------------------------------------------------------------------------------------------------- */

/* What is told of a change, and hears that it is. */
struct change {
	int fd; /* -1: nothing is heard */
	uint64_t answered_ns;
};

static void change_hear(struct change *change, int flags)
{
	char answer[ANSWER_BYTES];
	ssize_t n;

	if (change->fd < 0 || change->answered_ns)
		return;
	n = recv(change->fd, answer, sizeof(answer) - 1, flags);
	if (n < 0 && errno == EAGAIN)
		return;
	change->answered_ns = time_now_ns();
	answer[MAX(n, 0)] = '\0';
	if (n < 0 || (strncmp(answer, "HTTP/", 5) == 0 && strncmp(answer, "HTTP/1.1 200 ", 13) != 0))
		errx(1, "the change was refused:\n%s", answer);
}

/* Asks until the tag comes. A proxy that ends its connections meanwhile is connected to again. */
static void await_tag(struct change *change, struct connection *c, uint64_t start_ns, char tag, uint64_t limit_ns)
{
	uint64_t asked = 0, again = 0, took_ns;
	const char *found;

	do {
		if (connection_get(c) < 0) {
			close(c->fd);
			*c = connection_warm();
			again++;
		}
		took_ns = time_now_ns() - start_ns;
		if (!answer_is_200(c))
			errx(1, "not 200:\n%s", c->answer);
		asked++;
		change_hear(change, MSG_DONTWAIT);
		if (took_ns > limit_ns)
			errx(1, "tag '%c' never came", tag);
		found = answer_header(c, "x-tag");
	} while (!found || *found != tag);
	close(c->fd);
	change_hear(change, 0);
	printf("{\"ms\": %.4f, \"requests\": %" PRIu64 ", \"connections\": %" PRIu64, (double)took_ns / (double)NSEC_PER_MSEC, asked, 1 + again);
	if (change->fd >= 0)
		printf(", \"answered_ms\": %.4f", (double)(change->answered_ns - start_ns) / (double)NSEC_PER_MSEC);
	printf("}\n");
}

static void sample_rename(const char *from, const char *to, char tag, uint64_t limit_ns, pid_t pid)
{
	struct connection c = connection_warm();
	const uint64_t start_ns = time_now_ns();

	if (rename(from, to) < 0 || (pid && kill(pid, SIGHUP) < 0))
		err(1, "cannot change %s", to);
	await_tag(&(struct change){ .fd = -1 }, &c, start_ns, tag, limit_ns);
}

static void sample_send(const char *path, const char *file, char tag, uint64_t limit_ns)
{
	static char text[64 * 1024];
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	FILE *input = fopen(file, "re");
	const size_t length = input ? fread(text, 1, sizeof(text), input) : 0;
	struct connection c = connection_warm();
	uint64_t start_ns;

	if (!input || !length || length == sizeof(text) || strlen(path) >= sizeof(address.sun_path))
		errx(1, "cannot send %s to %s", file, path);
	fclose(input);
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "cannot connect to %s", path);
	start_ns = time_now_ns();
	if (send(fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
		err(1, "cannot send to %s", path);
	await_tag(&(struct change){ .fd = fd }, &c, start_ns, tag, limit_ns);
}

/* --- others -------------------------------------------------------------------------------------------------------------- */

static void sample_idle(size_t count)
{
	static struct connection batch[IDLE_BATCH];
	static int fds[IDLE_MAX];
	static size_t open;

	while (open > 0)
		close(fds[--open]);
	if (count > IDLE_MAX)
		errx(2, "at most %d", IDLE_MAX);
	while (open < count) {
		const size_t some = MIN(count - open, (size_t)IDLE_BATCH);

		for (size_t i = 0; i < some; i++)
			if (connection_open(&batch[i]) < 0 || connection_ask(&batch[i]) < 0)
				err(1, "no connection, after %zu", open + i);
		for (size_t i = 0; i < some; i++) {
			if (connection_finish(&batch[i]) < 0 || !answer_is_200(&batch[i]))
				errx(1, "no answer, or not 200:\n%s", batch[i].answer);
			fds[open++] = batch[i].fd;
		}
	}
	printf("{\"count\": %zu}\n", open);
}

static void sample_first(uint64_t limit_ns)
{
	const uint64_t start_ns = time_now_ns();
	struct connection c;
	uint64_t tries = 0;

	for (;;) {
		bool there = false;

		tries++;
		if (connection_open(&c) == 0) {
			there = connection_get(&c) == 0 && answer_is_200(&c);
			close(c.fd);
		}
		if (there)
			break;
		if (time_now_ns() - start_ns > limit_ns)
			errx(1, "no answer");
		nanosleep(&(struct timespec){ .tv_nsec = TRY_PAUSE_NS }, NULL); /* what starts may need this CPU, or count refusals */
	}
	printf("{\"at_ns\": %" PRIu64 ", \"tries\": %" PRIu64 "}\n", time_now_ns(), tries);
}

static void sample(const char *line)
{
	char from[PATH_MAX], to[PATH_MAX], tag;
	double rate, seconds;
	size_t count;
	int pid = 0;

	_Static_assert(PATH_MAX == 4096, "the formats below have it less one");
	if (sscanf(line, "rate %lf %lf", &rate, &seconds) == 2)
		sample_rate(rate, seconds);
	else if (sscanf(line, "rename %4095s %4095s %c %lf %d", from, to, &tag, &seconds, &pid) >= 4)
		sample_rename(from, to, tag, span_ns(seconds), pid);
	else if (sscanf(line, "send %4095s %4095s %c %lf", from, to, &tag, &seconds) == 4)
		sample_send(from, to, tag, span_ns(seconds));
	else if (sscanf(line, "idle %zu", &count) == 1)
		sample_idle(count);
	else if (sscanf(line, "first %lf", &seconds) == 1)
		sample_first(span_ns(seconds));
	else
		errx(2, "no such sample: %s", line);
}

int main(int argc, char *argv[])
{
	struct rlimit limit;
	char line[3 * PATH_MAX];
	int r;

	if (argc != 3)
		errx(2, "usage: http_load ADDRESS:PORT HOST");
	r = tcp_address_parse(argv[1], &server);
	if (r < 0)
		errx(2, "'%s' is not ADDRESS:PORT", argv[1]);
	server_length = (socklen_t)r;
	question_length = (size_t)snprintf(question, sizeof(question), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", argv[2]);
	if (question_length >= sizeof(question))
		errx(2, "the host is too long");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { /* for "idle" */
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	prctl(PR_SET_TIMERSLACK, 1);
	while (fgets(line, sizeof(line), stdin)) {
		sample(line);
		fflush(stdout);
	}
	return 0;
}
