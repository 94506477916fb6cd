/* SPDX-License-Identifier: Apache-2.0 */
/* What supervisor.c (the process and its connection), told.c (what it was told of workloads) and told_configuration.c (of the configuration)
 * share. */
#pragma once

#include "agent/proxy/process.h"
#include "agent/proxy/supervisor.h"
#include "base/hash.h"
#include "base/list.h"

struct configuration_told {
	struct in_force *known; /* what weft-proxy has; NULL: nothing, or we do not know */
	struct in_force *telling; /* what it is being told; NULL: nothing */
	uint64_t whole, changes; /* that were sent */
	uint64_t stale, refused; /* of them, those that it had no base for, and those that it did not take */
	char refusal[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES]; /* the last one since we are connected, ""; none */
	uint64_t backoff_ns, not_before_ns; /* after a refusal */
	uint64_t since_ns, took_ns; /* when the telling began; how long the last one took, to its answer */
};

struct supervisor {
	struct loop *loop;
	struct kernel *kernel;
	struct workloads *workloads;
	struct supervisor_options options;

	struct process *process; /* weft-proxy, as far as we know; NULL: none */
	struct process *successor; /* started, and not the one we are connected to yet */
	struct process *former[8]; /* that end by themselves */
	struct loop_timer *connect_timer, *tick_timer;
	uint64_t backoff_ns;
	uint64_t restarts, hung;
	bool ended; /* the last one did: the next start is a restart */
	char last_end[64]; /* "": none did */
	pid_t killed; /* has its signal already */
	pid_t met; /* the last one that has said who it is: it had the seat */
	pid_t left; /* the last one that left it before it ended */

	int fd; /* of the connection, or -1 */
	struct loop_io *io;
	pid_t pid; /* at its other end */
	bool greeted; /* the answer to "hello" came */
	char version[32], started_at[40];
	struct list asks; /* whose answers are awaited, in order */
	int answer_fd; /* came with the answer at hand; -1: none did */
	struct list questions; /* that wait for their turn */
	struct loop_timer *question_timer;

	struct table told; /* attachments of this connection */
	bool again; /* something could not be told yet */
	bool synced; /* was said on this connection */
	struct loop_timer *sync_timer;
	struct list waiters; /* for a workload's names */
	struct loop_timer *waiter_timer;

	struct configuration_told configuration;
};

struct ask_request;
/* One of `answer` and `err` is NULL. */
typedef void ask_done_fn(struct supervisor *s, const struct ask_request *request, const json_t *answer, const struct error *err);
struct ask_request {
	const json_t *message; /* not read any more once it was sent */
	int fd; /* goes along; 0: none */
	uint64_t deadline_ns; /* `done` gets -ETIMEDOUT then; 0: never */
	ask_done_fn *done;
	void *arg;
	uint64_t workload, netns_cookie; /* what it is about */
};
/* Sends it; `done` comes once after 0. -EAGAIN: it does not read at the moment; -ENOTCONN, -EPIPE: nobody is there. */
int supervisor_send(struct supervisor *s, const struct ask_request *request);

/* --- told.c ------------------------------------------------------------------------------------------------------------------------ */

int told_init(struct supervisor *s);
void told_done(struct supervisor *s); /* waiters are told */
void told_sync(struct supervisor *s); /* tells what it does not know, and takes back what is no more */
void told_tick(struct supervisor *s);
void told_event(struct supervisor *s, const json_t *event);
void told_forget(struct supervisor *s); /* the connection is gone */

/* --- told_configuration.c ---------------------------------------------------------------------------------------------------------- */

void configuration_sync(struct supervisor *s); /* tells what has changed, unless something is being told */
void configuration_forget(struct supervisor *s); /* the connection is gone */
bool configuration_is_known(const struct supervisor *s); /* weft-proxy has what is in force */
json_t *configuration_json(const struct supervisor *s); /* new reference */
