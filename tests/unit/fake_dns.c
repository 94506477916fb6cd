/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_dns.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "tests/lib/test.h"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, HEADER_BYTES = 12, NXDOMAIN = 3, QUESTION_NAME = 0xc000 | HEADER_BYTES };

struct fake_connection {
	struct fake_connection *next;
	struct fake_dns *dns;
	int fd;
	struct loop_io *io;
};

struct packet {
	uint8_t bytes[65536];
	size_t length;
};

static void put16(struct packet *p, unsigned value)
{
	p->bytes[p->length++] = (uint8_t)(value >> 8);
	p->bytes[p->length++] = (uint8_t)value;
}

static void put32(struct packet *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p, value & 0xffff);
}

static void put_name(struct packet *p, const char *name)
{
	while (*name) {
		const size_t label = strcspn(name, ".");

		p->bytes[p->length++] = (uint8_t)label;
		memcpy(&p->bytes[p->length], name, label);
		p->length += label;
		name += label + (name[label] == '.');
	}
	p->bytes[p->length++] = 0;
}

static void put_owner(struct packet *p, const struct fake_record *record)
{
	if (record->alias)
		put_name(p, record->alias);
	else
		put16(p, QUESTION_NAME);
}

static void put_address(struct packet *p, const struct fake_record *record, const void *address)
{
	const unsigned bytes = record->v6 ? 16 : 4;

	put_owner(p, record);
	put16(p, record->v6 ? TYPE_AAAA : TYPE_A);
	put16(p, 1);
	put32(p, record->ttl);
	put16(p, bytes);
	memcpy(&p->bytes[p->length], address, bytes);
	p->length += bytes;
}

static unsigned put_answers(struct packet *p, const struct fake_record *record)
{
	unsigned count = 0;

	if (record->alias) {
		const size_t length_at = p->length + 10;

		put16(p, QUESTION_NAME);
		put16(p, TYPE_CNAME);
		put16(p, 1);
		put32(p, record->alias_ttl);
		put16(p, 0);
		put_name(p, record->alias);
		p->bytes[length_at + 1] = (uint8_t)(p->length - length_at - 2);
		count++;
	}
	for (const char *const *text = record->addresses; *text; text++, count++) {
		uint8_t address[16];

		EXPECT_EQ(inet_pton(record->v6 ? AF_INET6 : AF_INET, *text, address), 1);
		put_address(p, record, address);
	}
	for (unsigned i = 0; i < record->more_addresses; i++, count++)
		put_address(p, record, &(uint32_t){ htonl(0x0a090000 + i) });
	return count;
}

/* The name of the question, with dots; its end in the packet. */
static size_t question_name(const uint8_t *query, size_t length, char *ret_name)
{
	size_t at = HEADER_BYTES;

	*ret_name = '\0';
	while (at < length && query[at]) {
		strncat(ret_name, (const char *)&query[at + 1], query[at]);
		at += query[at] + 1u;
		if (query[at])
			strcat(ret_name, ".");
	}
	return at + 1;
}

/* False: it is to be left without an answer. */
static bool answer(struct fake_dns *dns, const uint8_t *query, size_t length, bool tcp, struct packet *ret_packet)
{
	char name[256];
	const size_t name_end = question_name(query, length, name);
	struct fake_record *record = fake_dns_record(dns, name, query[name_end + 1] == TYPE_AAAA);
	unsigned rcode = record->rcode ? record->rcode : record->exists ? 0 : NXDOMAIN, count = 0;
	struct packet *p = ret_packet;

	dns->asked++;
	record->asked++;
	record->asked_by_tcp += tcp;
	if (record->silent)
		return false;
	memcpy(p->bytes, query, name_end + 4);
	p->length = name_end + 4;
	if (!rcode && !(record->truncated && !tcp))
		count = put_answers(p, record);
	p->bytes[2] = (uint8_t)(0x81 | (record->truncated && !tcp ? 0x02 : 0)); /* QR, RD, TC */
	p->bytes[3] = (uint8_t)(0x80 | rcode); /* RA */
	memset(&p->bytes[4], 0, 8);
	p->bytes[5] = 1;
	p->bytes[6] = (uint8_t)(count >> 8);
	p->bytes[7] = (uint8_t)count;
	return true;
}

static void on_datagram(struct loop_io *io, uint32_t events, void *arg)
{
	struct sockaddr_storage from;
	socklen_t from_length = sizeof(from);
	struct fake_dns *dns = arg;
	static struct packet packet;
	uint8_t query[1500];
	ssize_t length;

	(void)io, (void)events;
	while ((length = recvfrom(dns->udp_fd, query, sizeof(query), MSG_DONTWAIT, (struct sockaddr *)&from, &from_length)) > HEADER_BYTES)
		if (answer(dns, query, (size_t)length, false, &packet))
			sendto(dns->udp_fd, packet.bytes, packet.length, 0, (struct sockaddr *)&from, from_length);
}

static void connection_free(struct fake_connection *c)
{
	struct fake_connection **link = &c->dns->connections;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	loop_io_remove(c->io);
	fd_close(c->fd);
	free(c);
}

/* A query comes in one piece, and its answer fits into the socket's buffer: both ends are here. */
static void on_connection(struct loop_io *io, uint32_t events, void *arg)
{
	struct fake_connection *c = arg;
	static struct packet packet;
	uint8_t query[1500];
	const ssize_t length = recv(c->fd, query, sizeof(query), MSG_DONTWAIT);

	(void)io, (void)events;
	if (length <= 2 + HEADER_BYTES) {
		connection_free(c);
		return;
	}
	if (!answer(c->dns, query + 2, (size_t)length - 2, true, &packet))
		return;
	const uint8_t size[2] = { (uint8_t)(packet.length >> 8), (uint8_t)packet.length };
	EXPECT_EQ(send(c->fd, size, 2, MSG_NOSIGNAL | MSG_MORE), 2);
	EXPECT_EQ(send(c->fd, packet.bytes, packet.length, MSG_NOSIGNAL), (ssize_t)packet.length);
}

static void on_listener(struct loop_io *io, uint32_t events, void *arg)
{
	struct fake_dns *dns = arg;
	struct fake_connection *c = calloc(1, sizeof(*c));

	(void)io, (void)events;
	*c = (struct fake_connection){ .next = dns->connections, .dns = dns, .fd = accept(dns->tcp_fd, NULL, NULL) };
	dns->connections = c;
	EXPECT(c->fd >= 0);
	EXPECT_OK(loop_io_add(dns->loop, c->fd, EPOLLIN, on_connection, c, &c->io));
}

void fake_dns_start(struct fake_dns *dns, struct loop *loop)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(at);
	bool bound = false;

	*dns = (struct fake_dns){ .loop = loop, .udp_fd = -1, .tcp_fd = -1 };
	for (int attempt = 0; attempt < 100 && !bound; attempt++) { /* one port that is free for both */
		fd_close(dns->udp_fd);
		fd_close(dns->tcp_fd);
		at.sin_port = 0;
		dns->udp_fd = socket(AF_INET, SOCK_DGRAM, 0);
		dns->tcp_fd = socket(AF_INET, SOCK_STREAM, 0);
		EXPECT_OK(bind(dns->udp_fd, (struct sockaddr *)&at, sizeof(at)));
		EXPECT_OK(getsockname(dns->udp_fd, (struct sockaddr *)&at, &length));
		bound = bind(dns->tcp_fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(dns->tcp_fd, 16) == 0;
	}
	EXPECT(bound);
	dns->port = ntohs(at.sin_port);
	snprintf(dns->address, sizeof(dns->address), "127.0.0.1:%u", dns->port);
	EXPECT_OK(loop_io_add(loop, dns->udp_fd, EPOLLIN, on_datagram, dns, &dns->udp));
	EXPECT_OK(loop_io_add(loop, dns->tcp_fd, EPOLLIN, on_listener, dns, &dns->tcp));
}

void fake_dns_stop(struct fake_dns *dns)
{
	while (dns->connections)
		connection_free(dns->connections);
	loop_io_remove(dns->udp);
	loop_io_remove(dns->tcp);
	dns->udp_fd = fd_close(dns->udp_fd);
	dns->tcp_fd = fd_close(dns->tcp_fd);
	for (size_t i = 0; i < dns->record_count; i++)
		free(dns->records[i].name);
	free(dns->records);
}

struct fake_record *fake_dns_record(struct fake_dns *dns, const char *name, bool v6)
{
	for (size_t i = 0; i < dns->record_count; i++)
		if (dns->records[i].v6 == v6 && strcmp(dns->records[i].name, name) == 0)
			return &dns->records[i];
	dns->records = realloc(dns->records, (dns->record_count + 1) * sizeof(*dns->records));
	EXPECT(dns->records != NULL);
	dns->records[dns->record_count] = (struct fake_record){ .name = strdup(name), .v6 = v6 };
	return &dns->records[dns->record_count++];
}

void fake_dns_set(struct fake_dns *dns, const char *name, bool v6, uint32_t ttl, const char *const *addresses)
{
	struct fake_record *record = fake_dns_record(dns, name, v6);
	size_t count = 0;

	record->exists = true;
	record->ttl = ttl;
	for (; addresses[count]; count++)
		record->addresses[count] = addresses[count];
	record->addresses[count] = NULL;
}
