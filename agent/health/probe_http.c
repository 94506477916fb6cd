/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's multi interface on our loop: curl says which sockets and which time it waits for, we say what came. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/health/probe.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"

#define ANSWER_LIMIT_BYTES (64u * 1024)
#define STATUS_HEALTHY 200

struct probe_http {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;
};

struct get {
	struct probe probe; /* first */
	struct probe_http *http;
	CURL *easy;
	struct curl_slist *headers;
	int fd; /* until curl takes it */
	size_t received_bytes;
	bool enough; /* the body is longer than what is read of it */
	probe_done_fn *done;
	void *arg;
};

/* --- what curl waits for ------------------------------------------------------------------------------------------------- */

static const struct {
	CURLcode result;
	bool system; /* with an errno, where there is one */
	const char *text;
} ways_to_fail[] = {
	{ CURLE_COULDNT_CONNECT, true, "no connection" },
	{ CURLE_SEND_ERROR, true, "the request could not be sent" },
	{ CURLE_RECV_ERROR, true, "the connection broke" },
	{ CURLE_GOT_NOTHING, false, "closed without an answer" },
	{ CURLE_PARTIAL_FILE, false, "closed before the answer's end" },
	{ CURLE_WRITE_ERROR, false, "the answer's head is too long" },
	{ CURLE_OUT_OF_MEMORY, false, "the answer's head is too long" }, /* curl's own limit, of a line of it */
	{ CURLE_UNSUPPORTED_PROTOCOL, false, "the answer is not HTTP/1" },
	{ CURLE_WEIRD_SERVER_REPLY, false, "the answer is not HTTP/1" },
};

/* Our words, not curl's: those quote what the peer has sent. */
static enum check_outcome failure(const struct get *get, CURLcode result, char text[CHECK_TEXT_BYTES])
{
	const char *said = curl_easy_strerror(result);
	curl_off_t connected_us = 0;
	long error = 0;

	curl_easy_getinfo(get->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	if (result == CURLE_OUT_OF_MEMORY && !connected_us)
		return probe_outcome(ENOMEM, text);
	for (size_t i = 0; i < ARRAY_SIZE(ways_to_fail); i++) {
		if (ways_to_fail[i].result != result)
			continue;
		if (ways_to_fail[i].system)
			curl_easy_getinfo(get->easy, CURLINFO_OS_ERRNO, &error);
		said = ways_to_fail[i].text;
	}
	if (error)
		return probe_outcome((int)error, text);
	snprintf(text, CHECK_TEXT_BYTES, "%s", said);
	return CHECK_FAILED;
}

static enum check_outcome get_outcome(const struct get *get, CURLcode result, char text[CHECK_TEXT_BYTES])
{
	long status = 0;

	if (result != CURLE_OK && !get->enough)
		return failure(get, result, text);
	curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
	snprintf(text, CHECK_TEXT_BYTES, "%ld", status);
	return status == STATUS_HEALTHY ? CHECK_PASSED : CHECK_FAILED;
}

static void tell_results(struct probe_http *http)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		char text[CHECK_TEXT_BYTES];
		struct get *get;
		enum check_outcome outcome;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &get);
		outcome = get_outcome(get, message->data.result, text);
		get->done(outcome, text, get->arg); /* the message goes with the probe */
	}
}

static void act(struct probe_http *http, curl_socket_t fd, int what)
{
	int running;

	curl_multi_socket_action(http->multi, fd, what, &running);
	tell_results(http);
}

static void on_time(struct loop_timer *timer, void *arg)
{
	(void)timer;
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int want_time(CURLM *multi, long delay_ms, void *arg)
{
	struct probe_http *http = arg;

	(void)multi;
	if (delay_ms < 0)
		loop_timer_disarm(http->timer);
	else
		loop_timer_arm(http->timer, loop_now_ns(http->loop) + (uint64_t)delay_ms * NSEC_PER_MSEC);
	return 0;
}

struct watched {
	struct probe_http *http;
	curl_socket_t fd;
	struct loop_io *io;
};

static void on_socket(struct loop_io *io, uint32_t events, void *arg)
{
	const struct watched *watched = arg; /* curl may give it up in act() */

	(void)io;
	act(watched->http, watched->fd,
	    (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		    (events & EPOLLERR ? CURL_CSELECT_ERR : 0));
}

static int watch(struct probe_http *http, curl_socket_t fd, uint32_t events)
{
	struct watched *watched = malloc(sizeof(*watched));

	if (!watched)
		return -1;
	*watched = (struct watched){ .http = http, .fd = fd };
	if (loop_io_add(http->loop, fd, events, on_socket, watched, &watched->io) < 0) {
		free(watched);
		return -1;
	}
	curl_multi_assign(http->multi, fd, watched);
	return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	const uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	struct watched *watched = socket_arg;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watched)
			loop_io_remove(watched->io);
		free(watched);
		return 0;
	}
	if (watched)
		return loop_io_events(watched->io, events) < 0 ? -1 : 0;
	return watch(arg, fd, events);
}

/* --- one GET -------------------------------------------------------------------------------------------------------------- */

static void get_free(struct probe *probe)
{
	struct get *get = (struct get *)probe;

	if (get->easy)
		curl_multi_remove_handle(get->http->multi, get->easy); /* one that was not added is no harm */
	curl_easy_cleanup(get->easy);
	curl_slist_free_all(get->headers);
	fd_close(get->fd);
	free(get);
}

static void cleanup_get(struct get **get)
{
	if (*get)
		get_free(&(*get)->probe);
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct get *get = arg;

	(void)purpose;
	(void)address;
	return get->fd < 0 ? CURL_SOCKET_BAD : TAKE_FD(get->fd);
}

static size_t receive_head(char *data, size_t size, size_t count, void *arg)
{
	struct get *get = arg;

	(void)data;
	get->received_bytes += size * count;
	return get->received_bytes > ANSWER_LIMIT_BYTES ? 0 : size * count;
}

static size_t receive_body(char *data, size_t size, size_t count, void *arg)
{
	struct get *get = arg;

	(void)data;
	get->received_bytes += size * count;
	get->enough = get->received_bytes > ANSWER_LIMIT_BYTES;
	return get->enough ? 0 : size * count;
}

/* What stands in the request line: bytes that may not stand there are escaped, so that no path becomes a header. */
static int target_make(const char *path, char **ret_target)
{
	char *target = malloc(3 * strlen(path) + 2), *to = target;

	if (!target)
		return -ENOMEM;
	if (*path != '/')
		*to++ = '/';
	for (; *path; path++)
		if ((unsigned char)*path > ' ' && (unsigned char)*path < 0x7f)
			*to++ = *path;
		else
			to += sprintf(to, "%%%02X", (unsigned char)*path);
	*to = '\0';
	*ret_target = target;
	return 0;
}

static int set_options(struct get *get, const struct probe_request *request)
{
	static const struct {
		CURLoption option;
		long value;
	} fixed[] = {
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		{ CURLOPT_FRESH_CONNECT, 1 },
		{ CURLOPT_FORBID_REUSE, 1 },
	};
	_cleanup_free_ char *target = NULL;
	char address[ENDPOINT_TEXT_BYTES], line[ENDPOINT_TEXT_BYTES + 16];
	int failed = 0;

	ip_port_format(&request->address, request->port, address);
	snprintf(line, sizeof(line), "Host: %s", address);
	get->headers = curl_slist_append(NULL, line);
	if (!get->headers || target_make(request->path, &target) < 0)
		return -ENOMEM;
	snprintf(line, sizeof(line), "http://%s/", address);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		failed |= curl_easy_setopt(get->easy, fixed[i].option, fixed[i].value);
	failed |= curl_easy_setopt(get->easy, CURLOPT_URL, line);
	failed |= curl_easy_setopt(get->easy, CURLOPT_REQUEST_TARGET, target);
	failed |= curl_easy_setopt(get->easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	failed |= curl_easy_setopt(get->easy, CURLOPT_PROTOCOLS_STR, "http");
	failed |= curl_easy_setopt(get->easy, CURLOPT_USERAGENT, "weft-health-check");
	failed |= curl_easy_setopt(get->easy, CURLOPT_HTTPHEADER, get->headers);
	failed |= curl_easy_setopt(get->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	failed |= curl_easy_setopt(get->easy, CURLOPT_OPENSOCKETDATA, get);
	failed |= curl_easy_setopt(get->easy, CURLOPT_HEADERFUNCTION, receive_head);
	failed |= curl_easy_setopt(get->easy, CURLOPT_HEADERDATA, get);
	failed |= curl_easy_setopt(get->easy, CURLOPT_WRITEFUNCTION, receive_body);
	failed |= curl_easy_setopt(get->easy, CURLOPT_WRITEDATA, get);
	failed |= curl_easy_setopt(get->easy, CURLOPT_PRIVATE, get);
	return failed ? -ENOMEM : 0;
}

int probe_http_start(struct probe_http *http, const struct probe_request *request, int *fd, probe_done_fn *done, void *arg,
		     struct probe **ret_probe)
{
	_cleanup_close_ int socket = TAKE_FD(*fd);
	_cleanup_(cleanup_get) struct get *get = calloc(1, sizeof(*get));

	if (!get)
		return -ENOMEM;
	*get = (struct get){ .probe.free = get_free, .http = http, .easy = curl_easy_init(), .fd = TAKE_FD(socket), .done = done,
			     .arg = arg };
	if (!get->easy || set_options(get, request) < 0 || curl_multi_add_handle(http->multi, get->easy) != CURLM_OK)
		return -ENOMEM;
	*ret_probe = &TAKE_PTR(get)->probe;
	return 0;
}

int probe_http_new(struct loop *loop, struct probe_http **ret_http)
{
	struct probe_http *http = calloc(1, sizeof(*http));

	if (!http)
		return -ENOMEM;
	http->loop = loop;
	http->multi = curl_multi_init();
	if (!http->multi || loop_timer_new(loop, on_time, http, &http->timer) < 0) {
		probe_http_free(http);
		return -ENOMEM;
	}
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, want_time);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	*ret_http = http;
	return 0;
}

struct probe_http *probe_http_free(struct probe_http *http)
{
	if (!http)
		return NULL;
	if (http->multi)
		curl_multi_cleanup(http->multi);
	loop_timer_free(http->timer);
	free(http);
	return NULL;
}
