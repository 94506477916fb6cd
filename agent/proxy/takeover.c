/* SPDX-License-Identifier: Apache-2.0 */
/* How a weft-proxy begins: it takes the seat of its instance. Blocks, for its loop does not run yet and nobody waits for it. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/net/unix.h"
#include "agent/proxy/control.h"
#include "agent/proxy/proxy_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define LOOK_AGAIN_NS (10 * NSEC_PER_MSEC)

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(fds[i]);
}

/* One request and its answer; descriptors are the caller's. */
static int ask(int fd, const char *op, json_t **ret_answer, int *ret_fds, size_t *ret_fd_count, struct error *err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", op), *answer = NULL;
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	size_t fd_count = 0;
	int r = request ? control_send(fd, request, NULL, 0) : -ENOMEM;

	if (r == 0 && poll(&wait, 1, PROXY_ANSWER_NS / NSEC_PER_MSEC) == 0)
		return error_set(err, -ETIMEDOUT, "weft-proxy with pid %d does not answer its successor within %d s", unix_peer_pid(fd),
				 (int)(PROXY_ANSWER_NS / NSEC_PER_SEC));
	if (r == 0)
		r = control_receive(fd, &answer, ret_fds, CONTROL_FDS_MAX, &fd_count, err);
	if (r < 0)
		return r == -EBADMSG ? r : error_set(err, r, "weft-proxy with pid %d hung up: %s", unix_peer_pid(fd), strerror(-r));
	r = control_error_read(answer, err);
	if (r < 0) {
		close_all(ret_fds, fd_count);
		return r;
	}
	*ret_answer = TAKE_PTR(answer);
	*ret_fd_count = fd_count;
	return 0;
}

/* With the predecessor's configuration requests are routed from the first one on, whether weftd is there or not. What weftd knows
 * meanwhile it tells as soon as it is connected. */
static void take_configuration(struct proxy *proxy, const json_t *promise, int fd)
{
	const int64_t generation = json_path_int(promise, "generation", 0);
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	struct error err = {};

	if (proxy_configure_now(proxy, &(struct configuration){ .generation = (uint64_t)generation, .fd = fd }, &err) < 0)
		log_warn("the predecessor's configuration is not taken: requests wait for weftd",
			 LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
}

static int begin(struct proxy *proxy, int fd, bool *ret_synced, struct error *err)
{
	_cleanup_json_ json_t *promise = NULL;
	int fds[CONTROL_FDS_MAX], r;
	size_t fd_count;

	r = ask(fd, "takeover", &promise, fds, &fd_count, err);
	if (r < 0)
		return r;
	if (fd_count == 1)
		take_configuration(proxy, promise, fds[0]);
	close_all(fds, fd_count);
	*ret_synced = json_path_bool(promise, "synced", false);
	return 0;
}

static int finish(int fd, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int fds[CONTROL_FDS_MAX], r;
	size_t fd_count;

	r = ask(fd, "taken", &answer, fds, &fd_count, err);
	if (r == 0)
		close_all(fds, fd_count);
	return r;
}

/* All places, then the lock. */
static int take_places(struct proxy *proxy, int fd, size_t *count, struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	for (;; ++*count) {
		_cleanup_json_ json_t *message = NULL;
		struct error ended = {};
		int fds[CONTROL_FDS_MAX], r;
		size_t fd_count;

		r = ask(fd, "place", &message, fds, &fd_count, err);
		if (r < 0)
			return r;
		if (json_is_true(json_object_get(message, "done"))) {
			if (fd_count != 1)
				return error_set(err, -EBADMSG, "the predecessor did not hand over its lock");
			return seat_inherit(&proxy->seat, fds[0], err);
		}
		if (attachments_adopt(proxy->attachments, message, fds, fd_count, &ended) < 0)
			log_warn("a place of the predecessor is not taken", LOG_F("node", LOG_STR(json_path_string(message, "node"))),
				 LOG_F("error", LOG_STR(error_text(&ended, text, sizeof(text)))));
	}
}

/* -EPIPE: the predecessor ended meanwhile; what was taken until then is kept. */
static int take_over(struct proxy *proxy, int fd, struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	const int pid = unix_peer_pid(fd);
	struct error silence = {};
	bool synced = false;
	size_t count = 0;
	int r = begin(proxy, fd, &synced, err);

	if (r == 0)
		r = take_places(proxy, fd, &count, err);
	if (r == 0)
		r = seat_listen(&proxy->seat, err);
	if (r < 0) {
		seat_hand_over(&proxy->seat); /* back to whom it is still with */
		return r;
	}
	/* We have it all, and there is no way back: without an answer the predecessor is dead, or will find itself replaced. */
	if (finish(fd, &silence) < 0)
		log_warn("the predecessor does not confirm", LOG_F("error", LOG_STR(error_text(&silence, text, sizeof(text)))));
	attachments_adopted(proxy->attachments, synced);
	log_info("took over", LOG_F("predecessor", LOG_INT(pid)), LOG_F("places", LOG_U64(count)));
	return 0;
}

int proxy_take_seat(struct proxy *proxy, struct error *err)
{
	const uint64_t deadline_ns = time_now_ns() + PROXY_ANSWER_NS;
	int r = 0;

	/* One that was killed holds its lock until the kernel is done with the corpse; one that starts or ends just now has the lock and
	 * does not listen. */
	while (r == 0) {
		_cleanup_close_ int fd = -1;

		r = control_connect(proxy->instance, &fd, err);
		if (r == 0)
			r = take_over(proxy, fd, err);
		else if (r == -ENOENT || r == -ECONNREFUSED)
			r = seat_lock(&proxy->seat, err) ?: seat_listen(&proxy->seat, err);
		if (r == 0)
			return 0;
		if ((r != -EPIPE && r != -EBUSY && r != -EAGAIN) || time_now_ns() > deadline_ns)
			return r;
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_AGAIN_NS }, NULL);
		r = 0;
	}
	return r;
}
