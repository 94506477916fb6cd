/* SPDX-License-Identifier: Apache-2.0 */
/* http_server ADDRESS:PORT: a static 200 from weft's HTTP stack. Prints "ready" when it listens, ends at the end of its input. */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/http/http.h"
#include "base/cleanup.h"

static void serve(struct http_exchange *exchange, void *arg)
{
	(void)arg;
	http_answer(exchange, &(struct http_answer){ .status = 200, .content_type = "text/plain", .body = SPAN("hello, world\n") });
}

static const struct http_service service = { .name = "bench", .handler = serve, .connections_max = 1024 };

static void on_input(struct loop_io *io, uint32_t events, void *arg)
{
	char byte;

	(void)io;
	(void)events;
	if (read(STDIN_FILENO, &byte, 1) == 0)
		loop_stop(arg, 0);
}

int main(int argc, char *argv[])
{
	struct http_server *server;
	struct error error = {};
	struct loop_io *input;
	struct loop *loop;

	if (argc != 2)
		errx(2, "usage: http_server ADDRESS:PORT");
	if (loop_new(&loop) < 0 || loop_io_add(loop, STDIN_FILENO, EPOLLIN, on_input, loop, &input) < 0)
		errx(1, "cannot begin");
	if (http_server_new(loop, argv[1], &service, NULL, &server, &error) < 0)
		errx(1, "%s", error.message);
	puts("ready");
	fflush(stdout);
	loop_run(loop);
	http_server_free(server);
	loop_free(loop);
	return 0;
}
