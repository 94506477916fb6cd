/* SPDX-License-Identifier: Apache-2.0 */
/* What explain.c (connections: the kernel is asked) and explain_request.c (requests: then weft-proxy is) share. */
#pragma once

#include "agent/api/api.h"

struct explain_request;
/* {"to": URL, "method"?, "headers": [{"name", "value"}…]?, "count"?}. -EINVAL names the member. */
int explain_request_read(const json_t *body, struct explain_request **ret_request, struct error *err);
struct explain_request *explain_request_free(struct explain_request *request); /* NULL is fine */
/* "HOST:PORT" that its connection is to; borrowed. */
const char *explain_request_to(const struct explain_request *request);

struct explain_way { /* of its connection, as the kernel decides it; where `gateway`, to that one's listener, which nobody decides */
	bool proxied, gateway;
	uint32_t node, service; /* service 0: none */
	uint64_t netns_cookie;
	struct ip destination;
	uint16_t port;
};
uint16_t explain_request_port(const struct explain_request *request);
/* Answers with what is in `answer` and, where weft-proxy gets the connection, what it makes of the request. Steals both. */
void explain_request_answer(struct agent *agent, struct http_exchange *exchange, struct explain_request *request,
			    const struct explain_way *way, json_t *answer);

/* The record of a target in the current generation; NULL: it has none. */
const struct target_record *explain_target_record(struct agent *agent, const char *target);
