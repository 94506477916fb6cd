/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define LOOK_NS (2 * NSEC_PER_SEC) /* how often, at most, it is looked whether the file is another one */
#define TRIES 2
#define EDNS_BYTES 1232 /* fits into every path's packets (DNS flag day 2020) */

struct file_state {
	dev_t device;
	ino_t inode;
	off_t bytes;
	struct timespec changed;
};

struct resolver {
	struct loop *loop;
	char *servers; /* as c-ares takes them; NULL: those of RESOLV_CONF */
	uint64_t timeout_ns;
	ares_channel channel;
	struct loop_timer *timer;
	struct list sockets;
	struct file_state conf; /* when the channel was made */
	uint64_t looked_ns;
};

struct watched_socket { /* one of c-ares */
	struct list link;
	struct resolver *resolver;
	int fd;
	struct loop_io *io;
};

struct question {
	resolver_fn *fn;
	void *arg;
};

/* --- c-ares on the loop ------------------------------------------------------------------------------------------------ */

static void arm(struct resolver *resolver)
{
	struct timeval wait;

	if (ares_timeout(resolver->channel, NULL, &wait))
		loop_timer_arm(resolver->timer, time_now_ns() + (uint64_t)wait.tv_sec * NSEC_PER_SEC +
							(uint64_t)wait.tv_usec * NSEC_PER_USEC);
	else
		loop_timer_disarm(resolver->timer);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct resolver *resolver = arg;

	(void)timer;
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(resolver);
}

static void on_socket(struct loop_io *io, uint32_t events, void *arg)
{
	const struct watched_socket *socket = arg;
	struct resolver *resolver = socket->resolver;
	const uint32_t broken = events & (EPOLLERR | EPOLLHUP);

	(void)io;
	ares_process_fd(resolver->channel, events & EPOLLIN || broken ? socket->fd : ARES_SOCKET_BAD,
			events & EPOLLOUT || broken ? socket->fd : ARES_SOCKET_BAD);
	arm(resolver); /* `socket` may be gone */
}

static struct watched_socket *socket_free(struct watched_socket *socket)
{
	loop_io_remove(socket->io);
	list_remove(&socket->link);
	free(socket);
	return NULL;
}

static int socket_watch(struct resolver *resolver, int fd, uint32_t events)
{
	struct watched_socket *socket = calloc(1, sizeof(*socket));
	int r;

	if (!socket)
		return -ENOMEM;
	*socket = (struct watched_socket){ .resolver = resolver, .fd = fd };
	list_append(&resolver->sockets, &socket->link);
	r = loop_io_add(resolver->loop, fd, events, on_socket, socket, &socket->io);
	if (r < 0)
		socket_free(socket);
	return r;
}

/* What c-ares wants to know of a socket of its; neither of both: it is about to close it. */
static void socket_wanted(void *arg, ares_socket_t fd, int readable, int writable)
{
	const uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
	struct watched_socket *socket = NULL;
	struct resolver *resolver = arg;
	int r = 0;

	list_for_each(it, &resolver->sockets)
		if (container_of(it, struct watched_socket, link)->fd == fd)
			socket = container_of(it, struct watched_socket, link);
	if (socket && !events)
		socket_free(socket);
	else if (socket)
		r = loop_io_events(socket->io, events);
	else if (events)
		r = socket_watch(resolver, fd, events);
	if (r < 0) /* the question times out */
		log_limited(LOG_LEVEL_WARN, "a DNS server's answers are not seen", LOG_F("error", LOG_STR(strerror(-r))));
}

/* --- servers ----------------------------------------------------------------------------------------------------------- */

static struct file_state look_at_conf(void)
{
	struct stat st;

	if (stat(RESOLV_CONF, &st) < 0)
		return (struct file_state){};
	return (struct file_state){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
}

static bool same_state(const struct file_state *a, const struct file_state *b)
{
	return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static int channel_make(struct resolver *resolver, ares_channel *ret_channel)
{
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
		.ednspsz = EDNS_BYTES,
		.timeout = (int)(resolver->timeout_ns / NSEC_PER_MSEC),
		.tries = TRIES,
		.lookups = "b", /* DNS alone */
		.sock_state_cb = socket_wanted,
		.sock_state_cb_data = resolver,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
	ares_channel channel;
	int status;

#ifdef ARES_OPT_QUERY_CACHE /* since 1.31, and by default: here every question is meant */
	options.qcache_max_ttl = 0;
	mask |= ARES_OPT_QUERY_CACHE;
#endif
#ifdef ARES_OPT_UDP_MAX_QUERIES /* since 1.20: another source port now and then, against forged answers */
	options.udp_max_queries = 64;
	mask |= ARES_OPT_UDP_MAX_QUERIES;
#endif
	status = ares_init_options(&channel, &options, mask);
	if (status != ARES_SUCCESS)
		return status;
	status = resolver->servers ? ares_set_servers_ports_csv(channel, resolver->servers) : ARES_SUCCESS;
	if (status != ARES_SUCCESS) {
		ares_destroy(channel);
		return status;
	}
	*ret_channel = channel;
	return ARES_SUCCESS;
}

/* Questions to servers that are no longer configured are given up: whoever asked asks again. */
static void follow_conf(struct resolver *resolver)
{
	const uint64_t now_ns = time_now_ns();
	struct file_state conf;
	ares_channel channel;
	int status;

	if (resolver->servers || now_ns - resolver->looked_ns < LOOK_NS)
		return;
	resolver->looked_ns = now_ns;
	conf = look_at_conf();
	if (same_state(&conf, &resolver->conf))
		return;
	status = channel_make(resolver, &channel);
	if (status != ARES_SUCCESS) {
		log_warn("the DNS servers of " RESOLV_CONF " cannot be taken up", LOG_F("error", LOG_STR(ares_strerror(status))));
		return;
	}
	resolver->conf = conf;
	ares_destroy(resolver->channel);
	resolver->channel = channel;
	log_info("DNS servers are taken from " RESOLV_CONF " anew");
}

static int write_servers(const char *const *servers, size_t count, char **ret_text, struct error *err)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (size_t i = 0; i < count; i++) {
		char text[ENDPOINT_TEXT_BYTES];
		__be16 port = htons(53);
		struct ip ip;

		if (ip_parse(servers[i], &ip) < 0 && ip_port_parse(servers[i], &ip, &port) < 0)
			return error_set_field(err, -EINVAL, "resolver", "'%s' is no IP address, with or without a port", servers[i]);
		buffer_printf(&b, "%s%s", i ? "," : "", ip_port_format(&ip, port, text));
	}
	*ret_text = count ? buffer_take(&b) : NULL;
	return count && !*ret_text ? error_set(err, -ENOMEM, "out of memory") : 0;
}

static void cleanup_resolver(struct resolver **resolver)
{
	resolver_free(*resolver);
}

int resolver_new(struct loop *loop, const char *const *servers, size_t server_count, uint64_t timeout_ns,
		 struct resolver **ret_resolver, struct error *err)
{
	_cleanup_(cleanup_resolver) struct resolver *resolver = calloc(1, sizeof(*resolver));
	int status, r;

	if (!resolver)
		return error_set(err, -ENOMEM, "out of memory");
	resolver->loop = loop;
	resolver->timeout_ns = timeout_ns;
	resolver->conf = look_at_conf();
	list_init(&resolver->sockets);
	r = write_servers(servers, server_count, &resolver->servers, err);
	if (r < 0)
		return r;
	if (loop_timer_new(loop, on_timer, resolver, &resolver->timer) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	status = channel_make(resolver, &resolver->channel);
	if (status != ARES_SUCCESS)
		return error_set(err, -EIO, "cannot prepare DNS queries: %s", ares_strerror(status));
	*ret_resolver = TAKE_PTR(resolver);
	return 0;
}

struct resolver *resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return NULL;
	if (resolver->channel)
		ares_destroy(resolver->channel);
	loop_timer_free(resolver->timer);
	free(resolver->servers);
	free(resolver);
	return NULL;
}

/* --- questions --------------------------------------------------------------------------------------------------------- */

static int result_of(int status, const char **ret_text)
{
	*ret_text = NULL;
	switch (status) {
	case ARES_SUCCESS:
	case ARES_ENODATA:
		return 0;
	case ARES_ENOTFOUND:
		*ret_text = "no such name (NXDOMAIN)";
		return -ENOENT;
	case ARES_ECANCELLED:
	case ARES_EDESTRUCTION:
		*ret_text = "given up: the DNS servers are others now";
		return -ECANCELED;
	default:
		*ret_text = ares_strerror(status);
		return status == ARES_ENOMEM ? -ENOMEM : status == ARES_ETIMEOUT ? -ETIMEDOUT : -EIO;
	}
}

static struct ip read_address(const struct ares_addrinfo_node *node)
{
	struct ip ip = {};

	if (node->ai_family == AF_INET) {
		ip.words[2] = htonl(0xffff);
		ip.words[3] = ((const struct sockaddr_in *)node->ai_addr)->sin_addr.s_addr;
	} else {
		memcpy(ip.bytes, &((const struct sockaddr_in6 *)node->ai_addr)->sin6_addr, sizeof(ip.bytes));
	}
	return ip;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *question = arg;
	struct resolver_answer answer = {};
	_cleanup_free_ struct ip *addresses = NULL;
	uint32_t ttl = UINT32_MAX;
	size_t count = 0;

	(void)timeouts;
	answer.result = result_of(status, &answer.text);
	for (const struct ares_addrinfo_node *node = info ? info->nodes : NULL; node; node = node->ai_next)
		count++;
	addresses = calloc(count + 1, sizeof(*addresses));
	if (!addresses)
		answer.result = result_of(ARES_ENOMEM, &answer.text);
	for (const struct ares_addrinfo_node *node = info && addresses ? info->nodes : NULL; node; node = node->ai_next) {
		addresses[answer.count++] = read_address(node);
		ttl = MIN(ttl, (uint32_t)MAX(node->ai_ttl, 0));
	}
	for (const struct ares_addrinfo_cname *cname = info ? info->cnames : NULL; cname; cname = cname->next)
		ttl = MIN(ttl, (uint32_t)MAX(cname->ttl, 0));
	answer.addresses = addresses;
	answer.ttl_seconds = answer.count ? ttl : 0;
	if (info)
		ares_freeaddrinfo(info);
	question->fn(&answer, question->arg);
	free(question);
}

void resolver_ask(struct resolver *resolver, const char *hostname, bool v6, resolver_fn *fn, void *arg)
{
	const struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT, .ai_family = v6 ? AF_INET6 : AF_INET };
	struct question *question = malloc(sizeof(*question));
	_cleanup_free_ char *absolute = NULL;
	struct resolver_answer failed = {};

	if (asprintf(&absolute, "%s.", hostname) < 0)
		absolute = NULL;
	if (!question || !absolute) {
		free(question);
		failed.result = result_of(ARES_ENOMEM, &failed.text);
		fn(&failed, arg);
		return;
	}
	*question = (struct question){ fn, arg };
	follow_conf(resolver);
	ares_getaddrinfo(resolver->channel, absolute, NULL, &hints, on_answer, question);
	arm(resolver);
}
