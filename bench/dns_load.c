/* SPDX-License-Identifier: Apache-2.0 */
/* dns_load ADDRESS[:PORT] NAME...: asks a resolver for the A records of these names in turn, a sample for each line of its input, and
 * answers each with a line of JSON. An answer without an address, or none within a second, is a failure; failures are counted, and have no
 * part in the other figures.
 *
 *     udp WINDOW SECONDS    WINDOW queries under way at any time, on one connected socket
 *     lookup COUNT          one after the other, each on a socket of its own, as the resolvers of programs do */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/dns/packet.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "bench/tcp.h"

enum { WINDOW_MAX = 4096, SPANS_MAX = 4000000, ANSWER_BYTES = 4096, QUERY_TAIL_BYTES = 5 };

static struct sockaddr_storage server;
static socklen_t server_length;

struct query {
	uint8_t bytes[DNS_HEADER_BYTES + DNS_WIRE_NAME_BYTES + 4];
	size_t length;
};
static struct query *queries;
static size_t query_count;

/* What is under way, by id. */
static uint64_t sent_ns[UINT16_MAX + 1];

static struct {
	uint32_t spans_ns[SPANS_MAX];
	size_t span_count;
	uint64_t answered, failures;
} sample;

/* The name's labels, and a question for its A records. */
static struct query query_make(const char *name)
{
	struct query q = { .bytes = { [2] = 1, [5] = 1 }, .length = DNS_HEADER_BYTES }; /* recursion desired, one question */

	for (const char *label = name; *label;) {
		const size_t length = strcspn(label, ".");

		if (length == 0 || length > 63 || q.length + length + 1 + QUERY_TAIL_BYTES > sizeof(q.bytes))
			errx(2, "'%s' is no name", name);
		q.bytes[q.length++] = (uint8_t)length;
		memcpy(q.bytes + q.length, label, length);
		q.length += length;
		label += length + (label[length] == '.');
	}
	memcpy(q.bytes + q.length, (uint8_t[QUERY_TAIL_BYTES]){ 0, 0, DNS_TYPE_A, 0, DNS_CLASS_IN }, QUERY_TAIL_BYTES);
	q.length += QUERY_TAIL_BYTES;
	return q;
}

static int socket_open(void)
{
	const struct timeval second = { .tv_sec = 1 };
	int fd = socket(server.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)) < 0 ||
	    connect(fd, (struct sockaddr *)&server, server_length) < 0)
		err(1, "cannot connect");
	return fd;
}

static void query_send(int fd, uint64_t number)
{
	struct query *q = &queries[number % query_count];
	const uint16_t id = (uint16_t)number;

	dns_set_id(q->bytes, id);
	sent_ns[id] = time_now_ns();
	if (send(fd, q->bytes, q->length, 0) < 0)
		err(1, "cannot send");
}

static int has_address(const struct ip *address, uint32_t ttl_seconds, void *arg)
{
	(void)address;
	(void)ttl_seconds;
	*(bool *)arg = true;
	return 0;
}

/* False: nothing came for a second. */
static bool answer_take(int fd)
{
	static uint8_t answer[ANSWER_BYTES];
	ssize_t n = recv(fd, answer, sizeof(answer), 0);
	bool good = false;
	uint16_t id;

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0)
		err(1, "cannot receive");
	id = n < DNS_HEADER_BYTES ? 0 : dns_id(answer);
	if (n < DNS_HEADER_BYTES || !sent_ns[id])
		errx(1, "an answer to nothing that was asked");
	dns_addresses_each(answer, (size_t)n, has_address, &good);
	if (good && sample.span_count < SPANS_MAX)
		sample.spans_ns[sample.span_count++] = (uint32_t)(time_now_ns() - sent_ns[id]);
	sample.answered += good;
	sample.failures += !good;
	sent_ns[id] = 0;
	return true;
}

static int compare_spans(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sample_begin(void)
{
	memset(sent_ns, 0, sizeof(sent_ns));
	sample.span_count = 0;
	sample.answered = sample.failures = 0;
}

static void sample_print(uint64_t took_ns)
{
	const size_t n = sample.span_count;

	qsort(sample.spans_ns, n, sizeof(*sample.spans_ns), compare_spans);
	printf("{\"per_second\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"count\": %" PRIu64 ", \"failures\": %" PRIu64 "}\n",
	       (double)sample.answered * (double)NSEC_PER_SEC / (double)took_ns, n ? sample.spans_ns[n / 2] / 1e3 : 0.0,
	       n ? sample.spans_ns[n * 99 / 100] / 1e3 : 0.0, sample.answered, sample.failures);
}

static void sample_udp(uint64_t window, uint64_t limit_ns)
{
	_cleanup_close_ int fd = socket_open();
	const uint64_t start_ns = time_now_ns();
	uint64_t sent = 0, ended = 0;

	sample_begin();
	while (sent < window)
		query_send(fd, sent++);
	while (ended < sent) {
		if (!answer_take(fd)) {
			sample.failures += sent - ended; /* and what comes yet is no answer to anything */
			break;
		}
		ended++;
		if (time_now_ns() - start_ns < limit_ns)
			query_send(fd, sent++);
	}
	sample_print(time_now_ns() - start_ns);
}

static void sample_lookup(uint64_t count)
{
	const uint64_t start_ns = time_now_ns();

	sample_begin();
	for (uint64_t i = 0; i < count; i++) {
		const uint64_t begun_ns = time_now_ns();
		_cleanup_close_ int fd = socket_open();

		query_send(fd, i);
		sent_ns[(uint16_t)i] = begun_ns; /* the socket is part of it */
		if (!answer_take(fd))
			sample.failures++;
	}
	sample_print(time_now_ns() - start_ns);
}

static void server_parse(const char *text)
{
	char with_port[ENDPOINT_TEXT_BYTES];
	struct ip ip;
	int r = tcp_address_parse(text, &server);

	if (r < 0 && ip_parse(text, &ip) == 0)
		r = tcp_address_parse(ip_port_format(&ip, htons(53), with_port), &server);
	if (r < 0)
		errx(2, "'%s' is not ADDRESS or ADDRESS:PORT", text);
	server_length = (socklen_t)r;
}

int main(int argc, char *argv[])
{
	uint64_t count, window;
	double seconds;
	char line[256];

	if (argc < 3)
		errx(2, "usage: dns_load ADDRESS[:PORT] NAME...");
	server_parse(argv[1]);
	query_count = (size_t)argc - 2;
	queries = calloc(query_count, sizeof(*queries));
	if (!queries)
		err(1, "out of memory");
	for (size_t i = 0; i < query_count; i++)
		queries[i] = query_make(argv[i + 2]);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "udp %" SCNu64 " %lf", &window, &seconds) == 2 && window > 0 && window <= WINDOW_MAX)
			sample_udp(window, (uint64_t)(seconds * (double)NSEC_PER_SEC));
		else if (sscanf(line, "lookup %" SCNu64, &count) == 1)
			sample_lookup(count);
		else
			errx(2, "no such sample: %s", line);
		fflush(stdout);
	}
	free(queries);
	return 0;
}
