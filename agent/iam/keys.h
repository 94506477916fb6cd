/* SPDX-License-Identifier: Apache-2.0 */
/* Access keys: who may call the API. The root key comes from outside (root.h) and is in no store; others are records, one a key,
 * under its id in whatever store the caller has (class `iam`): JSON with the secret in it, which signatures cannot be verified
 * without. All may everything for now.
 *
 * This module holds what is known in memory and touches no store: a look-up costs the same however many keys there are, and no
 * disk. A change goes the way of every change: a record is made here, the caller writes it, with whatever belongs into the same
 * transaction, and tells of it by iam_keys_take() or iam_keys_drop() once it is in the store; so do, at the start, a list of what is
 * stored and then, where several write to one store, a watch.
 *
 * One thread. Times are wall clock, ns since the epoch. Keys that are handed out are borrowed until the next take or drop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/aws/credential.h"

#define IAM_KEYS_MAX 100 /* besides the root key */
#define IAM_USER_BYTES 65
/* A use is written down when the last one that was is so long ago. */
#define IAM_USED_STEP_NS (15 * 60 * 1000000000ull)

struct iam_key {
	struct aws_credential credential;
	char user[IAM_USER_BYTES]; /* whom it stands for; "": root */
	bool is_root_key;
	bool inactive;
	uint64_t created_ns; /* 0: not known, the root key */
	uint64_t used_ns; /* last; 0: never */
	uint64_t used_written_ns; /* what the record has of it, or will have */
};

struct iam_keys;

/* Copies the root key. 0 or -ENOMEM. */
int iam_keys_new(const struct aws_credential *root, struct iam_keys **ret_keys);
struct iam_keys *iam_keys_free(struct iam_keys *keys); /* NULL is fine; leaves no secret in memory */

/* A new key, active, for a user: 1 to 64 letters, digits and "_+=,.@-", as IAM has them, or "" for root. It is known, and counts,
 * when it is taken. -EINVAL names `userName`; -ENOSPC: there are IAM_KEYS_MAX. The secret is in *ret_key: for the answer to who
 * asked, once. */
int iam_key_make(const struct iam_keys *keys, const char *user, uint64_t now_ns, struct iam_key *ret_key, struct error *err);
/* The record to store under the key's id, of a new key or of a copy that was changed; free() it. NULL: out of memory. A record that
 * replaces another is written on condition that the other is still there: a key that was deleted must not come back. */
char *iam_key_record(const struct iam_key *key);

/* The record of that id is in the store. -EINVAL names the member at fault, -EEXIST: it is the root key's id; then nothing is
 * changed, and the caller says so in the log. What was used since the record was written stays known. */
int iam_keys_take(struct iam_keys *keys, const char *id, const void *record, size_t record_bytes, struct error *err);
/* It is not any more. */
void iam_keys_drop(struct iam_keys *keys, const char *id);

/* A key that may sign, and is not inactive: for sigv4_verify(), with the keys as `arg`. NULL: none. */
struct aws_credential *iam_keys_look_up(const char *access_key_id, void *arg);
/* The key that sigv4_verify() gave is used now. True: its record is to be written again. Never for the root key. */
bool iam_key_used(struct aws_credential *credential, uint64_t now_ns);
const struct iam_key *iam_key_of(const struct aws_credential *credential);

/* By id; NULL: absent. The root key too. */
const struct iam_key *iam_keys_get(const struct iam_keys *keys, const char *id);
/* All but the root key, oldest first, in an array to free(); NULL for none. 0 or -ENOMEM. */
int iam_keys_list(const struct iam_keys *keys, const struct iam_key ***ret_list, size_t *ret_count);
