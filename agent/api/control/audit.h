/* SPDX-License-Identifier: Apache-2.0 */
/* Who did what, in the form of CloudTrail's records. A write's record goes with it, in its transaction; those of reads and of what was
 * refused, where they are wanted, follow by themselves, many in one transaction, and nobody waits for them: what the store cannot take
 * is counted. Keys are "audit/" with the time, so they are in its order. The oldest go when they are too old, or too many (trail.h). One
 * loop, its thread. */
#pragma once

#include "agent/iam/principal.h"
#include "agent/store/store.h"
#include "base/json.h"

#define AUDIT_PREFIX "audit/"
#define AUDIT_KEPT_DAYS 90 /* as CloudTrail does */
#define AUDIT_KEPT_RECORDS 100000
#define AUDIT_WAITING_MAX 10000 /* records that wait for the store */
#define AUDIT_ID_BYTES 37

struct audit_event { /* borrowed; NULL where there is none */
	uint64_t time_ns; /* wall clock */
	const char *id; /* of the record */
	const char *source; /* "appmesh.amazonaws.com" */
	const char *name; /* "CreateMesh" */
	const char *region;
	const char *address; /* whom it came from */
	const char *agent; /* what User-Agent says */
	const char *request_id;
	const char *error, *message;
	const struct iam_principal *principal; /* NULL: not known, the signature was refused */
	const char *access_key; /* NULL: none was needed */
	const json_t *input, *output;
	bool is_read;
};

/* Its key and value, to free(). 0 or -ENOMEM. */
int audit_record(const struct audit_event *event, char **ret_key, char **ret_value);

struct audit;
int audit_new(struct loop *loop, struct store *store, struct audit **ret_audit); /* 0 or -ENOMEM */
void audit_stop(struct audit *audit); /* before store_close(): what waits is lost */
struct audit *audit_free(struct audit *audit); /* after store_close(); NULL is fine */
/* Takes both over. */
void audit_append(struct audit *audit, char *key, char *value);
uint64_t audit_lost(const struct audit *audit);
size_t audit_records(const struct audit *audit); /* in the store; before audit_stop() */
uint64_t audit_removed(const struct audit *audit); /* since the start */

/* The keys of a time: before it is what is older. */
#define AUDIT_KEY_BYTES 32
void audit_time_key(uint64_t time_ns, char ret_key[AUDIT_KEY_BYTES]);
