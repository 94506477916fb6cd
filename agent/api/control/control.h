/* SPDX-License-Identifier: Apache-2.0 */
/* The control API: signed requests over TCP, the same without a signature from root over the local socket. A request's service is that
 * of its signature's scope: App Mesh goes to the writer, STS is answered here, others are refused by name. Access keys are managed over
 * the local socket alone. One loop, its thread. */
#pragma once

#include "agent/api/control/audit.h"
#include "agent/api/control/writer.h"
#include "agent/aws/credential.h"
#include "agent/aws/refusal.h"
#include "agent/http/http.h"

#define CONTROL_CONNECTIONS_MAX 256
#define CONTROL_KEYS_PREFIX "iam/key/"

struct control_options { /* borrowed as long as the control API is there */
	const char *address; /* ADDR:PORT; NULL: only over the local socket */
	bool plaintext; /* also where others may listen */
	const char *home_region; /* of requests over the local socket that name none */
	const char *const *regions;
	size_t region_count; /* 0: every region */
	bool audit_all; /* reads and refusals as well */
	struct appmesh_settings settings;
	struct aws_credential root;
};

struct control;

/* Borrows the store; NULL: resources come from elsewhere, control_show(), and are read-only. -EINVAL names the option `api`. */
int control_new(struct loop *loop, struct store *store, const struct control_options *options,
		const struct writer_callbacks *callbacks, struct control **ret_control, struct error *err);
/* Before store_close(): nothing is taken any more, and what waits is answered. */
void control_stop(struct control *control);
struct control *control_free(struct control *control); /* after store_close(); NULL is fine */

/* Without a store: a resource is there, in the region that is home, or gone (NULL). -ENOMEM. */
int control_show(struct control *control, const struct resource *before, const struct resource *now);

bool control_serves(const struct control *control, const char *region);

/* Whether a path of the local socket is of the API, and the answer to it. */
bool control_is_api(struct span target);
void control_answer(struct control *control, struct http_exchange *exchange);

/* The local socket's own (docs/local-api.md). */
void control_keys_list(struct control *control, struct http_exchange *exchange);
void control_keys_create(struct control *control, struct http_exchange *exchange);
void control_keys_update(struct control *control, struct http_exchange *exchange);
void control_keys_delete(struct control *control, struct http_exchange *exchange);
void control_audit(struct control *control, struct http_exchange *exchange);
void control_quotas(struct control *control, struct http_exchange *exchange);
void control_counts(struct control *control, struct http_exchange *exchange);
struct control_totals { /* since weftd began */
	uint64_t requests; /* over TCP, signed or not */
	uint64_t refused[SIGV4_REASON_COUNT];
	uint64_t other_service;
	uint64_t writer[WRITER_COUNTS];
	uint64_t audit_lost;
};
void control_totals(const struct control *control, struct control_totals *ret_totals);
/* NULL: it listens nowhere. */
struct http_server *control_server(const struct control *control);
