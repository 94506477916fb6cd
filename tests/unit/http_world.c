/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/http_world.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/time.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)

void world_handle(struct http_exchange *exchange, void *arg)
{
	struct fixture *f = arg;
	const char *path = http_path(exchange), *large = path ? http_query(exchange, "large") : NULL;
	size_t bytes;
	const char *body = http_body(exchange, &bytes);

	f->calls++;
	f->peer_pid = http_peer(exchange)->pid;
	EXPECT(http_peer(exchange)->local && http_peer(exchange)->uid == getuid());
	if (!path) {
		http_refuse(exchange, HTTP_BAD_TARGET);
		return;
	}
	if (f->free_server)
		f->server = http_server_free(f->server);
	if (strcmp(path, "/later") == 0) {
		f->waiting = exchange;
	} else if (strcmp(path, "/error") == 0) {
		struct error err = {};

		error_set_field(&err, -(int)strtol(http_query(exchange, "code"), NULL, 10), "spec.listeners", "no \"good\"");
		http_reply_error(exchange, &err);
	} else if (large) {
		_cleanup_free_ char *text = calloc(1, strtoul(large, NULL, 10));

		http_reply(exchange, 200, "application/octet-stream", text, strtoul(large, NULL, 10));
	} else {
		http_reply_json(exchange, 200,
				json_pack("{s:s,s:s,s:i,s:s%}", "method", http_method(exchange), "path", path, "bytes",
					  (int)bytes, "body", body, MIN(bytes, (size_t)16)));
	}
}

const struct http_service world_service = {
	.name = "test",
	.handler = world_handle,
	.methods = "GET, PUT, POST, DELETE",
	.body_limit_bytes = BODY_LIMIT_BYTES,
	.connections_max = CONNECTIONS_MAX,
};

int world_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = {};

	strcpy(f->directory, "/tmp/weft-test-http-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/socket", f->directory);
	memset(f->clients, -1, sizeof(f->clients));
	EXPECT_OK(loop_new(&f->loop));
	EXPECT_OK(http_server_new(f->loop, f->path, &world_service, f, &f->server, &err), &err);
	*state = f;
	return 0;
}

int world_teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < CLIENTS; i++)
		fd_close(f->clients[i]);
	http_server_free(f->server);
	loop_free(f->loop);
	buffer_done(&f->received);
	unlink(f->path);
	rmdir(f->directory);
	free(f);
	return 0;
}

void turns(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		EXPECT_OK(loop_turn(f->loop, 0));
}

int connect_client(struct fixture *f, size_t client)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	f->clients[client] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	strcpy(address.sun_path, f->path);
	return connect(f->clients[client], (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

void client_sends(struct fixture *f, size_t client, const char *data, size_t length)
{
	const uint64_t end_ns = test_now_ns() + DEADLINE_NS;

	while (length > 0) {
		ssize_t n = send(f->clients[client], data, length, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; /* the server has heard enough */
		if (n > 0) {
			data += n;
			length -= (size_t)n;
		}
		EXPECT_OK(loop_turn(f->loop, 0));
		EXPECT(test_now_ns() < end_ns);
	}
}

void client_says(struct fixture *f, size_t client, const char *text)
{
	client_sends(f, client, text, strlen(text));
}

bool client_receives(struct fixture *f, size_t client)
{
	char *room = buffer_reserve(&f->received, 65536);
	ssize_t n;

	EXPECT_OK(loop_turn(f->loop, 0));
	n = recv(f->clients[client], room, 65536, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		return true;
	f->received.length += n > 0 ? (size_t)n : 0;
	return false;
}

bool client_reads(struct fixture *f, size_t client, const char *needle, int count)
{
	const uint64_t end_ns = test_now_ns() + DEADLINE_NS;

	for (;;) {
		int found = 0;

		if (client_receives(f, client))
			return true;
		for (const char *p = buffer_string(&f->received); (p = strstr(p, needle)); p++)
			found++;
		if (found >= count)
			return false;
		if (test_now_ns() > end_ns)
			fail_msg("waited in vain for '%s' in: %s", needle, buffer_string(&f->received));
	}
}

const char *answer_to(struct fixture *f, const char *request)
{
	buffer_clear(&f->received);
	EXPECT_OK(connect_client(f, 0));
	client_says(f, 0, request);
	shutdown(f->clients[0], SHUT_WR);
	EXPECT(client_reads(f, 0, "never said", 1));
	f->clients[0] = fd_close(f->clients[0]);
	return buffer_string(&f->received);
}

void world_serve(struct fixture *f, const struct http_service *service)
{
	struct error err = {};

	f->server = http_server_free(f->server);
	EXPECT_OK(http_server_new(f->loop, f->path, service, f, &f->server, &err), &err);
}

uint64_t refused(const struct fixture *f, enum http_refusal refusal)
{
	return http_server_totals(f->server).counters.refused[refusal];
}
