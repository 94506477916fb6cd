/* SPDX-License-Identifier: Apache-2.0 */
/* By the HTTP stack of our own (agent/http/codec.h), as weft-proxy reads answers. libcurl, with the 25 libraries that it needs, would take
 * 6 MiB of a node for this alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/health/probe.h"
#include "agent/http/codec.h"
#include "agent/net/queue.h"
#include "base/address.h"
#include "base/cleanup.h"

#define ANSWER_LIMIT_BYTES (64u * 1024)
#define READ_BYTES (16u * 1024)
#define STATUS_HEALTHY 200
#define STATUS_SWITCHING 101 /* the last answer, though not a final one */

struct get {
	struct probe probe; /* first */
	int fd;
	struct loop_io *io;
	struct queue request;
	struct http_codec *codec;
	struct http_head head;
	int status; /* of the answer whose head came last; 0: none did */
	size_t received_bytes;
	probe_done_fn *done;
	void *arg;
};

static void get_free(struct probe *probe)
{
	struct get *get = (struct get *)probe;

	loop_io_remove(get->io);
	fd_close(get->fd);
	queue_done(&get->request);
	http_codec_free(get->codec);
	http_head_done(&get->head);
	free(get);
}

static void cleanup_get(struct get **get)
{
	if (*get)
		get_free(&(*get)->probe);
}

/* --- how it ends: the caller may free the probe in each of these --------------------------------------------------------------- */

static void end_with(struct get *get, enum check_outcome outcome, const char *text)
{
	get->io = loop_io_remove(get->io);
	get->done(outcome, text, get->arg);
}

static void end_by_error(struct get *get, int error)
{
	char text[CHECK_TEXT_BYTES];
	const enum check_outcome outcome = probe_outcome(error, text);

	end_with(get, outcome, text);
}

static void end_by_status(struct get *get)
{
	char text[CHECK_TEXT_BYTES];

	snprintf(text, sizeof(text), "%d", get->status);
	end_with(get, get->status == STATUS_HEALTHY ? CHECK_PASSED : CHECK_FAILED, text);
}

static void end_too_long(struct get *get)
{
	end_with(get, CHECK_FAILED, "the answer's head is too long");
}

static void end_by_refusal(struct get *get, enum http_refusal refusal)
{
	switch (refusal) {
	case HTTP_NO_MEMORY:
		end_by_error(get, ENOMEM);
		return;
	case HTTP_LARGE_HEAD:
	case HTTP_MANY_HEADERS:
	case HTTP_LARGE_FRAMING:
		end_too_long(get);
		return;
	default:
		end_with(get, CHECK_FAILED, "the answer is not HTTP/1");
	}
}

static void end_by_close(struct get *get)
{
	struct http_event event;

	if (!get->received_bytes)
		end_with(get, CHECK_FAILED, "closed without an answer");
	else if (http_codec_end(get->codec, &event) == HTTP_EVENT_END)
		end_by_status(get);
	else
		end_with(get, CHECK_FAILED, "closed before the answer's end");
}

/* --- the answer ------------------------------------------------------------------------------------------------------------------- */

static bool is_interim(int status)
{
	return status < STATUS_HEALTHY && status != STATUS_SWITCHING;
}

static void take(struct get *get, const char *data, size_t length)
{
	struct http_event event;

	get->received_bytes += length;
	for (;;) {
		switch (http_codec_next(get->codec, &get->head, &data, &length, &event)) {
		case HTTP_EVENT_MORE:
			if (get->received_bytes > ANSWER_LIMIT_BYTES && is_interim(get->status))
				end_too_long(get);
			else if (get->received_bytes > ANSWER_LIMIT_BYTES)
				end_by_status(get);
			return;
		case HTTP_EVENT_HEAD:
			get->status = get->head.status;
			break;
		case HTTP_EVENT_BODY:
			break;
		case HTTP_EVENT_END:
			if (is_interim(get->status))
				break;
			end_by_status(get);
			return;
		case HTTP_EVENT_CLOSED:
			end_by_status(get);
			return;
		case HTTP_EVENT_FAILED:
			end_by_refusal(get, event.refusal);
			return;
		}
	}
}

static void read_answer(struct get *get)
{
	char data[READ_BYTES];
	const ssize_t length = recv(get->fd, data, sizeof(data), 0);

	if (length > 0)
		take(get, data, (size_t)length);
	else if (length == 0)
		end_by_close(get);
	else if (errno != EAGAIN && errno != EINTR)
		end_by_error(get, errno);
}

/* --- the request ------------------------------------------------------------------------------------------------------------------ */

static void on_socket(struct loop_io *io, uint32_t events, void *arg)
{
	struct get *get = arg;
	int error;

	(void)events;
	if (!queue_length(&get->request)) {
		read_answer(get);
		return;
	}
	error = probe_connect_error(get->fd);
	if (!error)
		error = -queue_send(&get->request, get->fd, (struct span){});
	if (!error && !queue_length(&get->request))
		error = -loop_io_events(io, EPOLLIN);
	if (error)
		end_by_error(get, error);
}

/* What stands in the request line: bytes that may not stand there are escaped, so that no path becomes a header. */
static void add_target(struct buffer *request, const char *path)
{
	if (*path != '/')
		buffer_add(request, "/");
	for (; *path; path++)
		if ((unsigned char)*path > ' ' && (unsigned char)*path < 0x7f)
			buffer_append(request, path, 1);
		else
			buffer_printf(request, "%%%02X", (unsigned char)*path);
}

static int make_request(struct get *get, const struct probe_request *request)
{
	struct buffer *text = &get->request.bytes;
	char address[ENDPOINT_TEXT_BYTES];

	ip_port_format(&request->address, request->port, address);
	buffer_add(text, "GET ");
	add_target(text, request->path);
	buffer_printf(text, " HTTP/1.1\r\nHost: %s\r\nUser-Agent: weft-health-check\r\nAccept: */*\r\n\r\n", address);
	return buffer_failed(text) ? -ENOMEM : 0;
}

int probe_http_start(struct loop *loop, const struct probe_request *request, int *fd, probe_done_fn *done, void *arg,
		     struct probe **ret_probe)
{
	_cleanup_close_ int socket = TAKE_FD(*fd);
	_cleanup_(cleanup_get) struct get *get = malloc(sizeof(*get));
	int r;

	if (!get)
		return -ENOMEM;
	*get = (struct get){ .probe.free = get_free, .fd = TAKE_FD(socket), .done = done, .arg = arg };
	r = make_request(get, request);
	if (r == 0)
		r = http_codec_new(HTTP_RESPONSES, ANSWER_LIMIT_BYTES, &get->codec);
	if (r == 0)
		r = probe_connect(get->fd, request);
	if (r == 0)
		r = loop_io_add(loop, get->fd, EPOLLOUT, on_socket, get, &get->io);
	if (r < 0)
		return r;
	*ret_probe = &TAKE_PTR(get)->probe;
	return 0;
}
