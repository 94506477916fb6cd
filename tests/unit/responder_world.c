/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/responder_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "maps/proxy.h"

void lo_set(bool up)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = up ? IFF_UP : 0 };

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
}

/* Each test has a namespace of its own, so that one that fails leaves nothing to the next. */
static bool enter_namespace(void)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	lo_set(true);
	return true;
}

/* ---- maps ---- */

static int name_get(void *arg, const struct name_key *key, struct name_entry *ret_entry)
{
	const struct responder_world *w = arg;

	for (size_t i = 0; i < w->name_count; i++)
		if (!memcmp(&w->names[i].key, key, sizeof(*key))) {
			*ret_entry = w->names[i].entry;
			return 0;
		}
	return -ENOENT;
}

static struct world_resolver *resolver_find(struct responder_world *w, const struct resolver_key *key)
{
	for (size_t i = 0; i < w->resolver_count; i++)
		if (!memcmp(&w->resolvers[i].key, key, sizeof(*key)))
			return &w->resolvers[i];
	return NULL;
}

static int resolver_set(void *arg, const struct resolver_key *key, const struct resolver *resolver)
{
	struct responder_world *w = arg;
	struct world_resolver *entry = resolver_find(w, key);

	if (w->resolver_set_result < 0)
		return w->resolver_set_result;
	if (!entry) {
		EXPECT(w->resolver_count < WORLD_ENTRIES);
		entry = &w->resolvers[w->resolver_count++];
	}
	*entry = (struct world_resolver){ *key, *resolver };
	return 0;
}

static int resolver_remove(void *arg, const struct resolver_key *key)
{
	struct responder_world *w = arg;
	struct world_resolver *entry = resolver_find(w, key);

	if (entry)
		*entry = w->resolvers[--w->resolver_count];
	return 0;
}

static int exempt_set(void *arg, uint64_t netns_cookie, const struct ip *address, uint64_t until_ns)
{
	struct responder_world *w = arg;

	if (w->exemption_count == WORLD_ENTRIES)
		return -E2BIG;
	w->exemptions[w->exemption_count++] = (struct world_exemption){ netns_cookie, until_ns, *address };
	return 0;
}

/* ---- the world ---- */

static int bound_socket(int type, const char *address, uint16_t port)
{
	const int one = 1;
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, address, &sin.sin_addr), 1);
	if (type == SOCK_STREAM)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 128), 0);
	return fd;
}

void responder_world_init(struct responder_world *w)
{
	if (!enter_namespace()) {
		print_message("this user may not have network namespaces\n");
		skip();
	}
	*w = (struct responder_world){ .udp_fd = -1, .tcp_fd = -1 };
	w->maps = (struct responder_maps){ name_get, resolver_set, resolver_remove, exempt_set, w, w->outcomes };
	w->netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	w->udp_fd = bound_socket(SOCK_DGRAM, "127.0.0.1", 53);
	w->tcp_fd = bound_socket(SOCK_STREAM, "127.0.0.1", 53);
	EXPECT_OK(loop_new(&w->loop));
	EXPECT_OK(responder_new(w->loop, &w->maps, TEST_PORT, &w->responder));
}

void world_resolver_close(struct responder_world *w)
{
	w->udp_fd = fd_close(w->udp_fd);
	w->tcp_fd = fd_close(w->tcp_fd);
}

void responder_world_done(struct responder_world *w)
{
	responder_free(w->responder);
	loop_free(w->loop);
	world_resolver_close(w);
	fd_close(w->netns_fd);
}

void world_turns(struct responder_world *w, int count)
{
	while (count-- > 0)
		EXPECT_OK(loop_turn(w->loop, 0));
}

bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

struct ip ip_of(const char *text)
{
	struct ip ip = {};

	if (text[0])
		EXPECT_OK(ip_parse(text, &ip));
	return ip;
}

void given_name(struct responder_world *w, const char *scope, const char *name, const char *vip4, const char *vip6)
{
	EXPECT(w->name_count < WORLD_ENTRIES);
	EXPECT_OK(name_key_make(scope, name, &w->names[w->name_count].key));
	w->names[w->name_count++].entry = (struct name_entry){ .vip4 = ip_of(vip4), .vip6 = ip_of(vip6) };
}

struct responder_place world_place(const struct responder_world *w)
{
	return (struct responder_place){ .netns_cookie = COOKIE, .netns_fd = w->netns_fd, .node_id = NODE_ID, .node = NODE };
}

struct resolv_conf conf_of(const char *resolvers)
{
	struct resolv_conf conf = {};
	_cleanup_free_ char *copy = strdup(resolvers);
	char *rest = copy;

	for (char *word; (word = strsep(&rest, " "));)
		if (word[0])
			conf.resolvers[conf.count++] = ip_of(word);
	return conf;
}

void given_place(struct responder_world *w, const char *resolvers)
{
	const struct responder_place place = world_place(w);
	const struct resolv_conf conf = conf_of(resolvers);
	struct error err = {};

	EXPECT_OK(responder_set(w->responder, &place, &conf, &err), &err);
}

const struct resolver *steered(const struct responder_world *w, const char *resolver)
{
	const struct ip ip = ip_of(resolver);

	for (size_t i = 0; i < w->resolver_count; i++)
		if (ip_equal(&w->resolvers[i].key.address, &ip))
			return &w->resolvers[i].value;
	return NULL;
}

/* ---- packets ---- */

struct packet query_packet(uint16_t id, const char *name, uint16_t type)
{
	struct packet p = { .length = DNS_HEADER_BYTES, .bytes = { (uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1 } };

	while (*name) {
		const size_t length = strcspn(name, ".");

		p.bytes[p.length++] = (uint8_t)length;
		memcpy(p.bytes + p.length, name, length);
		p.length += length;
		name += length + (name[length] == '.');
	}
	p.bytes[p.length++] = 0;
	p.bytes[p.length++] = (uint8_t)(type >> 8);
	p.bytes[p.length++] = (uint8_t)type;
	p.bytes[p.length++] = 0;
	p.bytes[p.length++] = DNS_CLASS_IN;
	return p;
}

struct packet answer_packet(const struct packet *query, unsigned rcode, unsigned count, uint32_t ttl_seconds)
{
	struct packet p = *query;

	p.bytes[2] |= 0x80;
	p.bytes[3] = (uint8_t)(0x80 | rcode);
	p.bytes[7] = (uint8_t)count;
	for (unsigned i = 1; i <= count; i++) {
		const uint8_t record[] = { 0xc0, 0x0c, 0, DNS_TYPE_A, 0, DNS_CLASS_IN, (uint8_t)(ttl_seconds >> 24),
					   (uint8_t)(ttl_seconds >> 16), (uint8_t)(ttl_seconds >> 8), (uint8_t)ttl_seconds, 0, 4, 10, 0, 0,
					   (uint8_t)i };

		memcpy(p.bytes + p.length, record, sizeof(record));
		p.length += sizeof(record);
	}
	return p;
}

unsigned packet_u16(const struct packet *p, size_t offset)
{
	return (unsigned)p->bytes[offset] << 8 | p->bytes[offset + 1];
}

unsigned answer_count(const struct packet *p)
{
	return packet_u16(p, 6);
}

struct first {
	struct ip address;
	uint32_t ttl_seconds;
};

static int take_first(const struct ip *address, uint32_t ttl_seconds, void *arg)
{
	*(struct first *)arg = (struct first){ *address, ttl_seconds };
	return -ECANCELED;
}

struct ip first_address(const struct packet *p, uint32_t *ret_ttl_seconds)
{
	struct first first = {};

	EXPECT_EQ(dns_addresses_each(p->bytes, p->length, take_first, &first), -ECANCELED);
	*ret_ttl_seconds = first.ttl_seconds;
	return first.address;
}

/* ---- programs ---- */

/* Cut messages come as they are cut. */
static void send_at_once(int fd)
{
	const int one = 1;

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
}

static int client(const struct responder_world *w, const char *resolver, int type)
{
	const struct resolver *to = steered(w, resolver);
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
	int fd;

	EXPECT(to && to->port);
	sin.sin_port = sin6.sin6_port = to->port;
	sin.sin_addr.s_addr = to->address.words[3];
	memcpy(&sin6.sin6_addr, &to->address, sizeof(sin6.sin6_addr));
	fd = socket(ip_is_v4(&to->address) ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);
	if (ip_is_v4(&to->address))
		assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	else
		assert_int_equal(connect(fd, (struct sockaddr *)&sin6, sizeof(sin6)), 0);
	return fd;
}

int client_udp(const struct responder_world *w, const char *resolver)
{
	return client(w, resolver, SOCK_DGRAM);
}

int client_tcp(const struct responder_world *w, const char *resolver)
{
	int fd = client(w, resolver, SOCK_STREAM);

	send_at_once(fd);
	return fd;
}

void udp_send(int fd, const struct packet *p)
{
	assert_int_equal(send(fd, p->bytes, p->length, 0), p->length);
}

struct packet udp_receive(struct responder_world *w, int fd)
{
	struct packet p;
	ssize_t n;

	TURN_UNTIL(w, readable(fd));
	n = recv(fd, p.bytes, sizeof(p.bytes), 0);
	EXPECT(n >= 0);
	p.length = (size_t)n;
	return p;
}

struct packet udp_ask(struct responder_world *w, int fd, const struct packet *query)
{
	udp_send(fd, query);
	return udp_receive(w, fd);
}

void tcp_send(int fd, const struct packet *p)
{
	uint8_t message[2 + sizeof(p->bytes)] = { (uint8_t)(p->length >> 8), (uint8_t)p->length };

	memcpy(message + 2, p->bytes, p->length);
	assert_int_equal(send(fd, message, 2 + p->length, MSG_NOSIGNAL), 2 + p->length);
}

static void receive_whole(struct responder_world *w, int fd, uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n;

		TURN_UNTIL(w, readable(fd));
		n = recv(fd, bytes, length, 0);
		EXPECT(n > 0);
		bytes += n;
		length -= (size_t)n;
	}
}

struct packet tcp_receive(struct responder_world *w, int fd)
{
	struct packet p;

	receive_whole(w, fd, p.bytes, 2);
	p.length = packet_u16(&p, 0);
	EXPECT(p.length <= sizeof(p.bytes));
	receive_whole(w, fd, p.bytes, p.length);
	return p;
}

bool tcp_ended(struct responder_world *w, int fd)
{
	char byte;

	TURN_UNTIL(w, readable(fd));
	return recv(fd, &byte, 1, MSG_PEEK) <= 0;
}

/* ---- the resolver ---- */

struct asked resolver_receive(struct responder_world *w)
{
	struct asked asked;
	socklen_t length = sizeof(asked.from);
	ssize_t n;

	TURN_UNTIL(w, readable(w->udp_fd));
	n = recvfrom(w->udp_fd, asked.query.bytes, sizeof(asked.query.bytes), 0, (struct sockaddr *)&asked.from, &length);
	EXPECT(n >= 0);
	asked.query.length = (size_t)n;
	return asked;
}

void resolver_answer(struct responder_world *w, const struct asked *asked, const struct packet *answer)
{
	assert_int_equal(sendto(w->udp_fd, answer->bytes, answer->length, 0, (const struct sockaddr *)&asked->from, sizeof(asked->from)),
			 answer->length);
}

int resolver_accept(struct responder_world *w)
{
	int fd;

	TURN_UNTIL(w, readable(w->tcp_fd));
	fd = accept4(w->tcp_fd, NULL, NULL, SOCK_CLOEXEC);
	EXPECT(fd >= 0);
	send_at_once(fd);
	return fd;
}
