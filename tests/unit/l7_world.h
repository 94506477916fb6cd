/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP proxy with its workers, in a network namespace of the test's own. The kernel is plain memory: whatever connects to
 * 127.0.0.1:15001 has asked for `handover`. The test is the programs and the endpoints, by sockets that block for so long at most; where an
 * endpoint need only answer, a thread does (backend_serve()). */
#pragma once

#include <pthread.h>

#include "agent/http/codec.h"
#include "agent/l7/l7.h"
#include "agent/loop/loop.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/list.h"
#include "base/time.h"
#include "tests/lib/test.h"

enum {
	WORLD_BACKENDS = 4,
	WORLD_SLOTS = 64,
	WORLD_SERVICE = 1, /* "web.example.com" */
	WORLD_CALLER = 3,
	WORLD_ALL = 10, /* the target with all backends; 11 is that of the first one, and so on */
	WORLD_PORT = 8080, /* of the service */
	WORLD_BACKEND_PORT = 8081, /* of the first backend, at 127.0.0.1, whose slot is 1 */
	WORLD_WAIT_MS = 5000,
};
#define WORLD_HOST "web.example.com"

struct world_backend {
	int fd; /* listens; -1: nobody does */
	unsigned int number;
	/* of backend_serve(): */
	bool serves;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the list */
	struct list connections;
	uint64_t connection_count, request_count; /* atomic */
};

struct l7_world {
	struct loop *loop;
	struct l7 *l7;
	uint64_t cookie;
	int netns_fd;
	struct endpoint endpoints[WORLD_SLOTS];
	uint32_t endpoint_count;
	struct world_backend backends[WORLD_BACKENDS];
	pthread_mutex_t lock; /* guards: */
	struct handover handover;
	bool no_handover;
	uint32_t families; /* that the kernel was told of, */
	unsigned int told; /* how often */
	uint32_t ways_set, ways_removed; /* atomic */
	/* of the next configuration: */
	uint64_t generation;
	unsigned int panic_pct;
	char *routes, *target_more, *services_more, *gateways, *caller_more; /* JSON, with ' for " */
};

/* In a new namespace, with lo up, `workers` threads, and the backends listening. Skips the test where that is not allowed. It is not on
 * the stack, for the threads of a test that fails go on. */
struct l7_world *l7_world_new(unsigned int workers);
void l7_world_free(struct l7_world **w);
/* One more over the same kernel, with nothing yet: a successor. The caller's. */
struct l7 *l7_world_other(struct l7_world *w, unsigned int workers);
#define _cleanup_world_ _cleanup_(l7_world_free)

/* --- the configuration: JSON is written with ' for " --- */

/* `targets`: "10", "11 12" (alike), "11=3 12=1" (weights); 0 is none. `more`: members of httpRoute, "'retryPolicy': {…}"; NULL: none. */
void given_http_route(struct l7_world *w, const char *name, const char *match, const char *targets, const char *more);
/* The one that takes all, to all backends. */
void given_any_route(struct l7_world *w, const char *more);
void given_targets(struct l7_world *w, const char *more); /* members of each of them */
void given_services(struct l7_world *w, const char *more); /* "'2': {…}" */
void given_gateways(struct l7_world *w, const char *gateways); /* "'20': {…}" */
void given_calling_node(struct l7_world *w, const char *more); /* members of it, "'dropAll':true" */
void given_no_routes(struct l7_world *w); /* and nothing else of the above */
/* What was given so far is the next generation. */
void world_configure(struct l7_world *w);
/* As the kernel would: the next connections are to this service, decided by this generation. */
void given_handover(struct l7_world *w, uint32_t service, uint16_t port, uint64_t generation);

/* And these: to an address that the mesh does not know, where the first backend is. */
void given_stranger(struct l7_world *w);

/* A number of l7_json(): "totals.replies.no-route"; "rows.codes.2xx": of all rows together, 0xx: without an answer. */
int64_t world_counted(const struct l7_world *w, const char *path);
#define EXPECT_COUNT(w, path, expected)                                                                                       \
	do {                                                                                                                   \
		if (!WAITED_FOR(world_counted(w, path) == (expected), WORLD_WAIT_MS * NSEC_PER_MSEC))                          \
			fail_msg("%s is %lld, expected %lld", path, (long long)world_counted(w, path), (long long)(expected)); \
	} while (0)
#define EXPECT_REPLY(w, name, expected) EXPECT_COUNT(w, "totals.replies." name, expected)

/* --- the ends of connections: a program's, or an endpoint's --- */

struct wire {
	int fd;
	struct http_codec *codec;
	struct http_head *head; /* of the last message */
	char input[64 * 1024]; /* read, and not looked at */
	size_t begin, end;
	bool reset; /* by the other end */
};

struct message { /* valid until the wire's next one */
	int status; /* 0: a request, or there was none */
	const char *head; /* as it came, with its last line; "" where there was none */
	char *body;
	size_t length;
	bool whole; /* false: the connection ended before */
};
void message_done(struct message *m);
#define _cleanup_message_ _cleanup_(message_done)

void wire_done(struct wire *wire);
#define _cleanup_wire_ _cleanup_(wire_done)
void wire_close(struct wire *wire);
void wire_reset(struct wire *wire); /* closes it so that the other end sees a reset */
void wire_shut(struct wire *wire); /* says no more */

void program(struct l7_world *w, struct wire *ret_wire); /* connected to the proxy */
void program_at(uint16_t port, struct wire *ret_wire); /* a gateway's */
void backend_accept(struct l7_world *w, unsigned int number, struct wire *ret_wire); /* waits for a connection; the first is 1 */
bool backend_has_connection(struct l7_world *w, unsigned int number); /* that waits to be accepted */
void backend_stop(struct l7_world *w, unsigned int number); /* nobody listens there */

void wire_say(struct wire *wire, const char *text);
void wire_say_bytes(struct wire *wire, const void *data, size_t length);
/* What the other end says next, as an answer or a request. */
void wire_read(struct wire *wire, struct message *ret_message);
void wire_read_to_head(struct wire *wire, struct message *ret_message); /* leaves the body for wire_read_raw() */
void wire_read_to_body(struct wire *wire, size_t body_bytes, struct message *ret_message); /* and so much of the body, which is there */
/* Bytes as they come: that many, or as many as there are before the end. */
size_t wire_read_raw(struct wire *wire, void *data, size_t length);
/* What comes next: bytes, the end, or a reset. */
enum wire_next { WIRE_BYTES, WIRE_END, WIRE_RESET };
enum wire_next wire_next(struct wire *wire);

/* Says zeros until nothing more goes in, for the other end does not read: how many. They begin to go in within the usual time. */
size_t wire_fill_up(struct wire *wire);

/* A request on a connection of its own; the answer must be whole. */
void ask(struct l7_world *w, const char *request, struct message *ret_message);
int ask_status(struct l7_world *w, const char *request);
#define GET(path) "GET " path " HTTP/1.1\r\nHost: " WORLD_HOST "\r\n\r\n"

/* --- endpoints that answer by themselves --- */

/* From here on a thread answers for the backend, 200, with the request as the body and "x-backend: 1". Paths that say what else to do:
 * /status/503 · /bytes/1000 (of a body, with its length) · /chunked/1000 · /eof/1000 (the body ends with the connection) · /cut/1000 (half
 * of a body of that length, then the end) · /close (no answer). */
void backend_serve(struct l7_world *w, unsigned int number);
void backends_serve(struct l7_world *w);
/* Byte `i` of the bodies above. */
static inline char world_byte(size_t i)
{
	return (char)('a' + i % 26);
}
