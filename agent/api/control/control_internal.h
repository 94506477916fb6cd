/* SPDX-License-Identifier: Apache-2.0 */
/* Between control.c (requests), keys.c (access keys) and records.c (what was done). */
#pragma once

#include "agent/api/control/control.h"
#include "agent/aws/sigv4.h"
#include "agent/iam/keys.h"
#include "agent/store/mirror.h"
#include "base/address.h"

struct control {
	struct loop *loop;
	struct store *store; /* NULL: read-only */
	const struct control_options *options;
	struct writer *writer;
	struct audit *audit; /* NULL: nothing is kept */
	struct iam_keys *keys;
	struct mirror *keys_mirror;
	struct sigv4 *sigv4;
	struct http_server *server;
	char next_id[AUDIT_ID_BYTES];
	struct control_totals totals; /* of what is counted here */
};

/* Who asks, and how: what answers and audit records need of a request. */
struct control_caller {
	uint64_t time_ns;
	char request_id[AUDIT_ID_BYTES];
	char region[AWS_REGION_BYTES];
	char access_key[AWS_ACCESS_KEY_ID_BYTES]; /* "": none */
	char user[IAM_USER_BYTES];
	char address[IP_TEXT_BYTES];
	char agent[256];
	struct iam_principal principal; /* type NULL: not known */
};

void control_caller_init(struct http_exchange *exchange, struct control_caller *ret_caller);
void control_caller_identify(const struct control *control, const struct iam_key *key, struct control_caller *caller); /* NULL: root */
uint64_t control_wall_ns(void);
/* A new one, of random bytes, in the form of a UUID. */
void control_make_id(char ret_id[AUDIT_ID_BYTES]);

/* keys.c */
int control_keys_start(struct control *control, struct error *err);
void control_key_used(struct control *control, struct aws_credential *credential, uint64_t now_ns);

/* records.c */
struct control_event {
	const char *source, *name, *error, *message;
	const json_t *input, *output;
	bool is_read;
};
/* The record for the transaction of what it is about; NULLs where there is no memory, or nothing is kept. */
void control_record(struct control *control, const struct control_caller *caller, const struct control_event *event, char **ret_key,
		    char **ret_value);
/* By itself, where reads and refusals are kept. */
void control_note(struct control *control, const struct control_caller *caller, const struct control_event *event);
