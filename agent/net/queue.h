/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on their way into a socket. All zero to begin with. */
#pragma once

#include "base/bytes.h"
#include "base/span.h"

struct queue {
	struct buffer bytes; /* to append to */
	size_t sent; /* of them */
};

static inline size_t queue_length(const struct queue *queue)
{
	return queue->bytes.length - queue->sent;
}
void queue_done(struct queue *queue);

/* Sends what is there, and then `more`, with one call where the socket takes it; what it does not take stays, of `more` as a
 * copy. 0: ask queue_length(); -errno, -ENOMEM. An emptied queue keeps at most 16 KiB of memory; one that never empties has memory for
 * some times what waits in it, however much went through. */
int queue_send(struct queue *queue, int fd, struct span more);
