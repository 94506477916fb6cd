/* SPDX-License-Identifier: Apache-2.0 */
/* The offload thread. A job is allocated when it is submitted, together with the post that reports it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "agent/loop/loop.h"
#include "agent/loop/post.h"
#include "base/thread.h"

struct job {
	struct post post; /* first: the loop frees the job through it */
	offload_fn *work;
};

struct offload {
	struct loop *loop;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct post_queue jobs;
	bool stopping; /* the thread leaves when no job is left */
};

static struct job *next_job(struct offload *offload)
{
	struct post *post;

	pthread_mutex_lock(&offload->lock);
	while (!(post = post_queue_take(&offload->jobs)) && !offload->stopping)
		pthread_cond_wait(&offload->changed, &offload->lock);
	pthread_mutex_unlock(&offload->lock);
	return (struct job *)post;
}

static void *run(void *arg)
{
	struct offload *offload = arg;
	struct job *job;

	while ((job = next_job(offload))) {
		job->work(job->post.arg);
		if (job->post.fn)
			loop_post_allocated(offload->loop, &job->post);
		else
			free(job);
	}
	return NULL;
}

int offload_new(struct loop *loop, const char *thread_name, struct offload **ret_offload)
{
	struct offload *offload = calloc(1, sizeof(*offload));
	int r;

	if (!offload)
		return -ENOMEM;
	offload->loop = loop;
	pthread_mutex_init(&offload->lock, NULL);
	pthread_cond_init(&offload->changed, NULL);
	r = thread_start(&offload->thread, NULL, thread_name, run, offload);
	if (r < 0) {
		pthread_cond_destroy(&offload->changed);
		pthread_mutex_destroy(&offload->lock);
		free(offload);
		return r;
	}
	*ret_offload = offload;
	return 0;
}

struct offload *offload_free(struct offload *offload)
{
	if (!offload)
		return NULL;
	pthread_mutex_lock(&offload->lock);
	offload->stopping = true;
	pthread_cond_signal(&offload->changed);
	pthread_mutex_unlock(&offload->lock);
	pthread_join(offload->thread, NULL);
	pthread_cond_destroy(&offload->changed);
	pthread_mutex_destroy(&offload->lock);
	free(offload);
	return NULL;
}

int offload_submit(struct offload *offload, offload_fn *work, loop_post_fn *done, void *arg)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return -ENOMEM;
	*job = (struct job){ .post = { .fn = done, .arg = arg }, .work = work };
	pthread_mutex_lock(&offload->lock);
	post_queue_add(&offload->jobs, &job->post);
	pthread_cond_signal(&offload->changed);
	pthread_mutex_unlock(&offload->lock);
	return 0;
}
