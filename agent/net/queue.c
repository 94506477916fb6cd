/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/queue.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cleanup.h"

#define KEPT_BYTES (16 * 1024)

void queue_done(struct queue *queue)
{
	buffer_done(&queue->bytes);
	queue->sent = 0;
}

static ssize_t send_both(int fd, struct span first, struct span second)
{
	struct iovec parts[] = { { (void *)first.data, first.length }, { (void *)second.data, second.length } };
	const struct msghdr message = { .msg_iov = first.length ? parts : parts + 1, .msg_iovlen = first.length ? 2 : 1 };

	return second.length ? sendmsg(fd, &message, MSG_NOSIGNAL) : send(fd, first.data, first.length, MSG_NOSIGNAL);
}

static void emptied(struct queue *queue)
{
	queue->sent = 0;
	if (queue->bytes.capacity > KEPT_BYTES)
		buffer_done(&queue->bytes);
	else
		buffer_clear(&queue->bytes);
}

int queue_send(struct queue *queue, int fd, struct span more)
{
	if (buffer_failed(&queue->bytes))
		return -ENOMEM;
	while (queue_length(queue) + more.length > 0) {
		const struct span first = { queue->bytes.data + queue->sent, queue_length(queue) };
		ssize_t n = send_both(fd, first, more);
		size_t of_first;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0)
			break;
		of_first = MIN((size_t)n, first.length);
		queue->sent += of_first;
		more.data += (size_t)n - of_first;
		more.length -= (size_t)n - of_first;
	}
	if (queue_length(queue) == 0) {
		emptied(queue);
	} else if (queue->sent >= queue_length(queue)) { /* each byte is moved once at most, on the average */
		buffer_consume(&queue->bytes, queue->sent);
		queue->sent = 0;
	}
	buffer_append(&queue->bytes, more.data, more.length);
	return buffer_failed(&queue->bytes) ? -ENOMEM : 0;
}
