/* SPDX-License-Identifier: Apache-2.0 */
/* The App Mesh API over a store: calls come in, are planned one after the other on what is committed and what those before them will
 * write, and are written together: one transaction for all that came while the last one was on its way, with their audit records. An
 * answer is given when what it says is durable; a read that came behind a write waits for it. Where somebody else wrote to the same
 * mesh in between, all of them are planned again, WRITER_ATTEMPTS times. One loop, its thread. */
#pragma once

#include "agent/api/appmesh/appmesh.h"
#include "agent/store/store.h"

#define WRITER_ATTEMPTS 8
#define WRITER_BODY_LIMIT_BYTES (256 * 1024) /* of a request */

struct writer;

struct writer_call { /* the caller's, until `done` */
	struct appmesh_request request;
	/* A call that writes: one more key and value for its transaction, both to be freed by the writer; NULL: none. May be called
	 * again where the call is planned again. */
	void (*record)(struct writer_call *call, char **ret_key, char **ret_value);
	void (*done)(struct writer_call *call); /* once; with the answer, which it takes or leaves to be released */
	struct appmesh_answer answer;
	struct list link; /* the writer's */
	char *record_key, *record_value;
};

struct writer_callbacks { /* may be NULL */
	/* The resource of that full name is as it is now, or gone, or cannot be in force (NULL), and durable; once for each of those that
	 * are stored at the start. Borrowed. */
	void (*changed)(const struct resource *now, const char *full_name, void *arg);
	void (*settled)(void *arg); /* all that is stored was told, for the first time or after a change */
	void *arg;
};

enum writer_count {
	WRITER_COUNT_BATCHES, /* transactions */
	WRITER_COUNT_WRITES, /* calls in them */
	WRITER_COUNT_RETRIES, /* transactions that were planned again */
	WRITER_COUNT_CONTENDED, /* calls given up after WRITER_ATTEMPTS */
	WRITER_COUNT_FAILED, /* calls that the store failed */
	WRITER_COUNT_BAD_RECORDS, /* keys in the store that are no records, and left out */
	WRITER_COUNTS
};

/* Borrows store, region and settings. Store NULL: nothing is written, resources come by writer_show(). -ENOMEM. */
int writer_new(struct store *store, const char *home_region, const struct appmesh_settings *settings, const struct writer_callbacks *callbacks,
	       struct writer **ret_writer, struct error *err);
/* Before store_close(): what waits is done with ServiceUnavailableException, what is on its way when the store is closed. */
void writer_stop(struct writer *writer);
struct writer *writer_free(struct writer *writer); /* after store_close(); NULL is fine */

/* Not before what is stored has been read; until then calls wait. */
void writer_call(struct writer *writer, struct writer_call *call);
/* A resource's key has this one, which is shared (appmesh_state_show()), or none (NULL). 0 or -ENOMEM. */
int writer_show(struct writer *writer, const char *key, const struct resource *resource, int64_t now_ms);
/* What is committed, and what is on its way. */
const struct appmesh_state *writer_state(const struct writer *writer);
uint64_t writer_count(const struct writer *writer, enum writer_count which);
const char *writer_count_name(enum writer_count which);
