/* SPDX-License-Identifier: Apache-2.0 */
/* Between loop.c and offload.c: a post whose memory is there already, so that what was accepted is always delivered. */
#pragma once

#include "agent/loop/loop.h"

struct post {
	struct post *next;
	loop_post_fn *fn;
	void *arg;
};

struct post_queue { /* first in, first out; empty when all zero */
	struct post *head, *tail;
};

static inline void post_queue_add(struct post_queue *q, struct post *post)
{
	post->next = NULL;
	if (q->tail)
		q->tail->next = post;
	else
		q->head = post;
	q->tail = post;
}

static inline struct post *post_queue_take(struct post_queue *q)
{
	struct post *post = q->head;

	if (post) {
		q->head = post->next;
		if (!q->head)
			q->tail = NULL;
	}
	return post;
}

/* From any thread. The loop frees `post` (it came from malloc) after it ran. */
void loop_post_allocated(struct loop *loop, struct post *post);
