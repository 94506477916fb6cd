/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/l7_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/identity/cgroup.h"
#include "tests/unit/responder_world.h"

/* --- the kernel ---------------------------------------------------------------------------------------------------------- */

static int handover_get(void *arg, const struct handover_key *key, struct handover *ret_handover)
{
	struct l7_world *w = arg;
	int r;

	pthread_mutex_lock(&w->lock);
	r = w->no_handover || key->netns_cookie != w->cookie ? -ENOENT : 0;
	if (r == 0)
		*ret_handover = w->handover;
	pthread_mutex_unlock(&w->lock);
	return r;
}

static int place_set(void *arg, uint64_t netns_cookie, uint32_t families)
{
	struct l7_world *w = arg;

	EXPECT(netns_cookie == w->cookie);
	w->families = families;
	w->told++;
	return 0;
}

static int place_remove(void *arg, uint64_t netns_cookie)
{
	return place_set(arg, netns_cookie, 0);
}

/* Nothing comes in by itself: no program of the kernel's is here that would lead it to weft-proxy. */
static int inbound_set(void *arg, uint64_t netns_cookie, int family, int listen_fd)
{
	(void)arg, (void)netns_cookie, (void)family, (void)listen_fd;
	return 0;
}

static int intercept_get(void *arg, struct serving_key *key, struct intercept *ret_intercept)
{
	(void)arg, (void)key, (void)ret_intercept;
	return -ENOENT;
}

static int way_set(void *arg, const struct proxy_way_key *key, const struct ip *client, __be16 client_port)
{
	struct l7_world *w = arg;

	(void)key, (void)client, (void)client_port;
	__atomic_add_fetch(&w->ways_set, 1, __ATOMIC_RELAXED);
	return 0;
}

static int way_remove(void *arg, const struct proxy_way_key *key)
{
	struct l7_world *w = arg;

	(void)key;
	__atomic_add_fetch(&w->ways_removed, 1, __ATOMIC_RELAXED);
	return 0;
}

void given_handover(struct l7_world *w, uint32_t service, uint16_t port, uint64_t generation)
{
	pthread_mutex_lock(&w->lock);
	w->handover = (struct handover){ .generation = generation, .destination = ip_of("240.240.0.1"), .source = WORLD_CALLER,
					 .service = service, .port = htons(port) };
	pthread_mutex_unlock(&w->lock);
}

void given_stranger(struct l7_world *w)
{
	pthread_mutex_lock(&w->lock);
	w->handover = (struct handover){ .destination = ip_of("127.0.0.1"), .source = WORLD_CALLER, .port = htons(WORLD_BACKEND_PORT) };
	pthread_mutex_unlock(&w->lock);
}

/* --- the world ----------------------------------------------------------------------------------------------------------- */

static int listen_at(uint16_t port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)), 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

static int endpoints_reach(void *arg, uint32_t count, struct error *err)
{
	const struct l7_world *w = arg;

	return count > w->endpoint_count ? error_set(err, -E2BIG, "slots up to %u are asked for", count) : 0;
}

struct l7 *l7_world_other(struct l7_world *w, unsigned int workers)
{
	const struct l7_kernel kernel = {
		.handover_get = handover_get,
		.place_set = place_set,
		.place_remove = place_remove,
		.inbound_set = inbound_set,
		.intercept_get = intercept_get,
		.way_set = way_set,
		.way_remove = way_remove,
		.endpoints_reach = endpoints_reach,
		.arg = w,
		.endpoints = w->endpoints,
		.endpoint_count = &w->endpoint_count,
	};
	const struct l7_options options = { .workers = workers };
	struct error err = {};
	struct l7 *l7;

	EXPECT_OK(l7_new(w->loop, &kernel, &options, &l7, &err), &err);
	return l7;
}

struct l7_world *l7_world_new(unsigned int workers)
{
	struct l7_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		free(w);
		print_message("this user may not have network namespaces\n");
		skip();
	}
	lo_set(true);
	w->endpoint_count = WORLD_SLOTS;
	w->panic_pct = 50;
	pthread_mutex_init(&w->lock, NULL);
	for (size_t i = 0; i < WORLD_SLOTS; i++)
		w->endpoints[i].incarnation = 1;
	for (unsigned int i = 0; i < WORLD_BACKENDS; i++) {
		w->backends[i].number = i + 1;
		w->backends[i].fd = listen_at((uint16_t)(WORLD_BACKEND_PORT + i));
		list_init(&w->backends[i].connections);
		pthread_mutex_init(&w->backends[i].lock, NULL);
	}
	w->netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	EXPECT_OK(netns_cookie(w->netns_fd, &w->cookie));
	given_no_routes(w);
	given_handover(w, WORLD_SERVICE, WORLD_PORT, 0);
	EXPECT_OK(loop_new(&w->loop));
	w->l7 = l7_world_other(w, workers);
	EXPECT_OK(l7_place_add(w->l7, w->cookie, w->netns_fd));
	return w;
}

static void stop_serving(struct world_backend *backend);

void l7_world_free(struct l7_world **world)
{
	struct l7_world *w = *world;

	l7_free(w->l7);
	loop_free(w->loop);
	for (unsigned int i = 1; i <= WORLD_BACKENDS; i++)
		backend_stop(w, i);
	fd_close(w->netns_fd);
	free(w->routes);
	free(w->target_more);
	free(w->services_more);
	free(w->gateways);
	free(w->caller_more);
	free(w);
}

static int64_t row_counted(const json_t *row, const char *path)
{
	size_t code;

	if (sscanf(path, "codes.%zuxx", &code) == 1)
		return json_integer_value(json_path_at(row, "codes", code));
	return json_path_int(row, path, INT64_MIN / 2);
}

int64_t world_counted(const struct l7_world *w, const char *path)
{
	_cleanup_json_ json_t *json = l7_json(w->l7);
	int64_t number = 0;

	if (strncmp(path, "rows.", 5))
		number = json_path_int(json, path, -1);
	for (size_t i = 0; number >= 0 && !strncmp(path, "rows.", 5) && i < json_path_count(json, "rows"); i++)
		number += row_counted(json_path_at(json, "rows", i), path + 5);
	if (number < 0)
		fail_msg("nothing is counted by the name of %s", path);
	return number;
}

/* --- the configuration --------------------------------------------------------------------------------------------------- */

static void text_set(char **text, char *to)
{
	assert_non_null(to);
	free(*text);
	*text = to;
}

__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	assert_true(vasprintf(&text, format, args) >= 0);
	va_end(args);
	return text;
}

void given_no_routes(struct l7_world *w)
{
	text_set(&w->routes, text_of("%s", ""));
	text_set(&w->target_more, text_of("%s", ""));
	text_set(&w->services_more, text_of("%s", ""));
	text_set(&w->gateways, text_of("%s", ""));
	text_set(&w->caller_more, text_of("%s", ""));
}

void given_http_route(struct l7_world *w, const char *name, const char *match, const char *targets, const char *more)
{
	_cleanup_free_ char *list = strdup(targets), *weighted = text_of("%s", ""), *ids = text_of("%s", "");
	char *rest = list;

	for (char *word; (word = strsep(&rest, " "));) {
		unsigned int id = 0, weight = 1;

		EXPECT(sscanf(word, "%u=%u", &id, &weight) >= 1);
		text_set(&weighted, text_of("%s%s{'virtualNode':'n%u','weight':%u}", weighted, weighted[0] ? "," : "", id, weight));
		text_set(&ids, id ? text_of("%s%s%u", ids, ids[0] ? "," : "", id) : text_of("%s%snull", ids, ids[0] ? "," : ""));
	}
	text_set(&w->routes, text_of("%s%s{'name':'%s','targets':[%s],'spec':{'httpRoute':{'match':%s,'action':{'weightedTargets':[%s]}%s%s}}}",
				     w->routes, w->routes[0] ? "," : "", name, ids, match, weighted, more ? "," : "", more ?: ""));
}

void given_any_route(struct l7_world *w, const char *more)
{
	given_http_route(w, "any", "{'prefix':'/'}", "10", more);
}

void given_targets(struct l7_world *w, const char *more)
{
	text_set(&w->target_more, text_of(",%s", more));
}

void given_services(struct l7_world *w, const char *more)
{
	text_set(&w->services_more, text_of(",%s", more));
}

void given_gateways(struct l7_world *w, const char *gateways)
{
	text_set(&w->gateways, text_of("%s", gateways));
}

void given_calling_node(struct l7_world *w, const char *more)
{
	text_set(&w->caller_more, text_of(",%s", more));
}

static char *target_text(const struct l7_world *w, unsigned int id)
{
	_cleanup_free_ char *endpoints = text_of("%s", "");

	for (unsigned int i = 1; i <= WORLD_BACKENDS; i++)
		if (id == WORLD_ALL || id == WORLD_ALL + i)
			text_set(&endpoints, text_of("%s%s{'address':'127.0.0.1','port':%u,'slot':%u,'incarnation':1}", endpoints,
						     endpoints[0] ? "," : "", WORLD_BACKEND_PORT + i - 1, i));
	return text_of("'%u':{'name':'mesh/M/virtualNode/n%u:8080','virtualNode':'n%u','port':8080,'panicPct':%u,'endpoints':[%s]%s}", id, id,
		       id, w->panic_pct, endpoints, w->target_more);
}

void world_configure(struct l7_world *w)
{
	_cleanup_free_ char *targets = text_of("%s", ""), *text = NULL;
	struct error err = {};

	for (unsigned int id = WORLD_ALL; id <= WORLD_ALL + WORLD_BACKENDS; id++) {
		_cleanup_free_ char *one = target_text(w, id);

		text_set(&targets, text_of("%s%s%s", targets, targets[0] ? "," : "", one));
	}
	text = text_of("{'services':{'%u':{'name':'mesh/M/virtualService/" WORLD_HOST "','ports':[{'port':%u,'routes':[%s]}]}%s},"
		       "'targets':{%s},'nodes':{'%u':{'name':'mesh/M/virtualNode/c','backends':[1,2]%s}},'gateways':{%s}}",
		       WORLD_SERVICE, WORLD_PORT, w->routes, w->services_more, targets, WORLD_CALLER, w->caller_more, w->gateways);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	EXPECT_OK(l7_configure(w->l7, 0, ++w->generation, span_of(text), &err), &err);
}

/* --- wires --------------------------------------------------------------------------------------------------------------- */

static void wire_init(struct wire *wire, enum http_side side, int fd)
{
	const uint64_t wait_ms = WORLD_WAIT_MS * test_slowness();
	const struct timeval wait = { (time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000) };

	assert_true(fd >= 0);
	wire->fd = fd;
	wire->begin = wire->end = 0;
	wire->reset = false;
	wire->head = calloc(1, sizeof(*wire->head));
	assert_non_null(wire->head);
	EXPECT_OK(http_codec_new(side, 60 * 1024, &wire->codec));
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)), 0); /* cut messages come as they are cut */
}

void wire_close(struct wire *wire)
{
	wire->fd = fd_close(wire->fd);
}

void wire_done(struct wire *wire)
{
	if (!wire->head)
		return;
	wire_close(wire);
	http_codec_free(wire->codec);
	http_head_done(wire->head);
	free(wire->head);
	wire->head = NULL;
}

void wire_reset(struct wire *wire)
{
	setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	wire_close(wire);
}

void wire_shut(struct wire *wire)
{
	assert_int_equal(shutdown(wire->fd, SHUT_WR), 0);
}

void program(struct l7_world *w, struct wire *ret_wire)
{
	(void)w;
	program_at(PROXY_OUTBOUND_PORT, ret_wire);
}

void program_at(uint16_t port, struct wire *ret_wire)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	wire_init(ret_wire, HTTP_RESPONSES, fd);
}

bool backend_has_connection(struct l7_world *w, unsigned int number)
{
	return readable(w->backends[number - 1].fd);
}

void backend_accept(struct l7_world *w, unsigned int number, struct wire *ret_wire)
{
	WAIT_FOR(backend_has_connection(w, number), WORLD_WAIT_MS * NSEC_PER_MSEC);
	wire_init(ret_wire, HTTP_REQUESTS, accept4(w->backends[number - 1].fd, NULL, NULL, SOCK_CLOEXEC));
}

void backend_stop(struct l7_world *w, unsigned int number)
{
	struct world_backend *backend = &w->backends[number - 1];

	if (backend->serves)
		stop_serving(backend);
	backend->fd = fd_close(backend->fd);
}

void wire_say_bytes(struct wire *wire, const void *data, size_t length)
{
	const char *from = data;

	while (length > 0) {
		const ssize_t n = send(wire->fd, from, length, MSG_NOSIGNAL);

		if (n < 0)
			fail_msg("cannot send: %s", strerror(errno));
		from += n;
		length -= (size_t)n;
	}
}

void wire_say(struct wire *wire, const char *text)
{
	wire_say_bytes(wire, text, strlen(text));
}

#define FULL_MS 200
#define FILLED_BYTES (64u * 1024 * 1024) /* nothing has room for so much */

size_t wire_fill_up(struct wire *wire)
{
	static const char bytes[64 * 1024];
	struct pollfd p = { .fd = wire->fd, .events = POLLOUT };
	size_t sent = 0;

	for (int wait_ms = WORLD_WAIT_MS; sent < FILLED_BYTES && poll(&p, 1, wait_ms) == 1; wait_ms = FULL_MS) {
		const ssize_t n = send(wire->fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			fail_msg("cannot send: %s", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
	}
	EXPECT(sent > 0 && sent < FILLED_BYTES);
	return sent;
}

/* False: the end. */
static bool wire_fill(struct wire *wire)
{
	ssize_t n;

	if (wire->begin < wire->end)
		return true;
	n = recv(wire->fd, wire->input, sizeof(wire->input), 0);
	if (n < 0 && errno == EAGAIN)
		fail_msg("waited %d ms in vain for something to be said", WORLD_WAIT_MS);
	wire->reset |= n < 0;
	wire->begin = 0;
	wire->end = n > 0 ? (size_t)n : 0;
	return n > 0;
}

enum wire_next wire_next(struct wire *wire)
{
	if (wire_fill(wire))
		return WIRE_BYTES;
	return wire->reset ? WIRE_RESET : WIRE_END;
}

size_t wire_read_raw(struct wire *wire, void *data, size_t length)
{
	size_t got = 0;

	while (got < length && wire_fill(wire)) {
		const size_t n = MIN(length - got, wire->end - wire->begin);

		memcpy((char *)data + got, wire->input + wire->begin, n);
		wire->begin += n;
		got += n;
	}
	return got;
}

/* The next message up to that event, or up to so much of its body. */
static void read_to(struct wire *wire, enum http_event_type end, size_t body_bytes, struct message *ret_message)
{
	struct message m = { .head = "" };
	struct buffer body = {};
	enum http_event_type type = HTTP_EVENT_MORE;
	struct http_event event;

	while (type != end && body.length < body_bytes) {
		const char *data = wire->input + wire->begin;
		size_t length = wire->end - wire->begin;

		type = http_codec_next(wire->codec, wire->head, &data, &length, &event);
		wire->begin = wire->end - length;
		if (type == HTTP_EVENT_HEAD) {
			m.status = wire->head->status;
			m.head = buffer_string(&wire->head->text);
		} else if (type == HTTP_EVENT_BODY) {
			buffer_append(&body, event.body.data, event.body.length);
		} else if (type == HTTP_EVENT_FAILED || type == HTTP_EVENT_CLOSED) {
			fail_msg("this is not said as it should be: %s after \"%s\"", http_refusal_name(event.refusal), m.head);
		} else if (type == HTTP_EVENT_MORE && !wire_fill(wire)) {
			type = wire->reset ? HTTP_EVENT_CLOSED : http_codec_end(wire->codec, &event);
			break;
		}
	}
	m.whole = type == end;
	m.length = body.length;
	m.body = body.length ? buffer_take(&body) : strdup("");
	*ret_message = m;
}

void wire_read(struct wire *wire, struct message *ret_message)
{
	read_to(wire, HTTP_EVENT_END, SIZE_MAX, ret_message);
}

void wire_read_to_head(struct wire *wire, struct message *ret_message)
{
	read_to(wire, HTTP_EVENT_HEAD, SIZE_MAX, ret_message);
}

void wire_read_to_body(struct wire *wire, size_t body_bytes, struct message *ret_message)
{
	read_to(wire, HTTP_EVENT_END, body_bytes, ret_message);
	EXPECT(ret_message->length >= body_bytes);
}

void message_done(struct message *m)
{
	free(m->body);
	m->body = NULL;
}

void ask(struct l7_world *w, const char *request, struct message *ret_message)
{
	_cleanup_wire_ struct wire wire;
	static struct buffer head;

	program(w, &wire);
	http_codec_answers_head(wire.codec, !strncmp(request, "HEAD ", 5));
	wire_say(&wire, request);
	wire_read(&wire, ret_message);
	EXPECT(ret_message->whole);
	buffer_done(&head);
	buffer_add(&head, ret_message->head);
	ret_message->head = buffer_string(&head); /* until the next one */
}

int ask_status(struct l7_world *w, const char *request)
{
	_cleanup_message_ struct message m = {};

	ask(w, request, &m);
	return m.status;
}

/* --- endpoints that answer by themselves --------------------------------------------------------------------------------- */

struct answering {
	struct list node; /* of backend->connections */
	struct world_backend *backend;
	int fd;
	pthread_t thread;
};

static bool send_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		const ssize_t n = send(fd, data, length, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		length -= (size_t)n;
	}
	return true;
}

__attribute__((format(printf, 2, 3))) static bool send_text(int fd, const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return n < (int)sizeof(text) && send_all(fd, text, (size_t)n);
}

static bool send_bytes(int fd, size_t from, size_t to, bool chunked)
{
	char piece[26 * 2500];

	while (from < to) {
		const size_t n = MIN(sizeof(piece), to - from);

		for (size_t i = 0; i < n; i++)
			piece[i] = world_byte(from + i);
		if ((chunked && !send_text(fd, "%zx\r\n", n)) || !send_all(fd, piece, n) || (chunked && !send_text(fd, "\r\n")))
			return false;
		from += n;
	}
	return !chunked || send_text(fd, "0\r\n\r\n");
}

/* False: the connection is over. */
static bool serve_one(const struct answering *s, const struct http_head *head, const struct buffer *request)
{
	const char *const target = strndupa(head->target.data, head->target.length);
	const bool head_only = !strcmp(head->method, "HEAD");
	const unsigned int number = s->backend->number;
	size_t n;
	int status;

	__atomic_add_fetch(&s->backend->request_count, 1, __ATOMIC_RELAXED);
	if (sscanf(target, "/status/%d", &status) == 1)
		return send_text(s->fd, "HTTP/1.1 %d X\r\nx-backend: %u\r\n%s\r\n", status, number,
				 status == 204 || status == 304 ? "" : "content-length: 0\r\n");
	if (sscanf(target, "/bytes/%zu", &n) == 1)
		return send_text(s->fd, "HTTP/1.1 200 OK\r\nx-backend: %u\r\ncontent-length: %zu\r\n\r\n", number, n) &&
		       (head_only || send_bytes(s->fd, 0, n, false));
	if (sscanf(target, "/chunked/%zu", &n) == 1)
		return send_text(s->fd, "HTTP/1.1 200 OK\r\nx-backend: %u\r\ntransfer-encoding: chunked\r\n\r\n", number) &&
		       (head_only || send_bytes(s->fd, 0, n, true));
	if (sscanf(target, "/eof/%zu", &n) == 1) {
		if (send_text(s->fd, "HTTP/1.1 200 OK\r\nx-backend: %u\r\n\r\n", number) && !head_only)
			send_bytes(s->fd, 0, n, false);
		return false;
	}
	if (sscanf(target, "/cut/%zu", &n) == 1) {
		if (send_text(s->fd, "HTTP/1.1 200 OK\r\nx-backend: %u\r\ncontent-length: %zu\r\n\r\n", number, n))
			send_bytes(s->fd, 0, n / 2, false);
		return false;
	}
	if (!strcmp(target, "/close"))
		return false;
	return send_text(s->fd, "HTTP/1.1 200 OK\r\nx-backend: %u\r\ncontent-length: %zu\r\n\r\n", number, request->length) &&
	       (head_only || send_all(s->fd, request->data, request->length));
}

/* Whole requests, one after the other; what is answered is the request as it came. */
static void serve_all(const struct answering *s, struct http_codec *codec, struct http_head *head, struct buffer *request)
{
	char input[64 * 1024];

	for (;;) {
		const ssize_t n = recv(s->fd, input, sizeof(input), 0);
		const char *data = input;
		size_t length = n > 0 ? (size_t)n : 0;
		enum http_event_type type;

		if (n <= 0)
			return;
		do {
			struct http_event event;

			type = http_codec_next(codec, head, &data, &length, &event);
			if (type == HTTP_EVENT_HEAD) {
				buffer_clear(request);
				buffer_append(request, head->text.data, head->text.length);
			} else if (type == HTTP_EVENT_BODY) {
				buffer_append(request, event.body.data, event.body.length);
			} else if (type == HTTP_EVENT_END && !serve_one(s, head, request)) {
				return;
			}
		} while (type == HTTP_EVENT_HEAD || type == HTTP_EVENT_BODY || type == HTTP_EVENT_END);
		if (type != HTTP_EVENT_MORE)
			return;
	}
}

static void *serve_connection(void *arg)
{
	struct answering *s = arg;
	struct http_head *head = calloc(1, sizeof(*head));
	struct http_codec *codec;
	struct buffer request = {};

	if (!head || http_codec_new(HTTP_REQUESTS, 60 * 1024, &codec) < 0)
		abort();
	serve_all(s, codec, head, &request);
	shutdown(s->fd, SHUT_RDWR); /* closed by who joins */
	http_codec_free(codec);
	http_head_done(head);
	free(head);
	buffer_done(&request);
	return NULL;
}

static void *serve_backend(void *arg)
{
	struct world_backend *backend = arg;

	for (;;) {
		struct answering *s = calloc(1, sizeof(*s));

		if (!s)
			abort();
		*s = (struct answering){ .backend = backend, .fd = accept4(backend->fd, NULL, NULL, SOCK_CLOEXEC) };
		if (s->fd < 0) {
			free(s);
			return NULL;
		}
		__atomic_add_fetch(&backend->connection_count, 1, __ATOMIC_RELAXED);
		setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		pthread_mutex_lock(&backend->lock);
		list_append(&backend->connections, &s->node);
		if (pthread_create(&s->thread, NULL, serve_connection, s) != 0)
			abort();
		pthread_mutex_unlock(&backend->lock);
	}
}

void backend_serve(struct l7_world *w, unsigned int number)
{
	struct world_backend *backend = &w->backends[number - 1];

	backend->serves = true;
	assert_int_equal(pthread_create(&backend->thread, NULL, serve_backend, backend), 0);
}

void backends_serve(struct l7_world *w)
{
	for (unsigned int i = 1; i <= WORLD_BACKENDS; i++)
		backend_serve(w, i);
}

static void stop_serving(struct world_backend *backend)
{
	backend->serves = false;
	shutdown(backend->fd, SHUT_RDWR); /* ends accept() */
	pthread_join(backend->thread, NULL);
	list_for_each_safe(it, &backend->connections) {
		struct answering *s = container_of(it, struct answering, node);

		shutdown(s->fd, SHUT_RDWR);
		pthread_join(s->thread, NULL);
		fd_close(s->fd);
		free(s);
	}
	list_init(&backend->connections);
}
