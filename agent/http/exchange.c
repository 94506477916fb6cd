/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http/internal.h"
#include "base/cleanup.h"
#include "base/memory.h"

#define BODY_KEPT_BYTES (64 * 1024) /* more than that is given back after an exchange */

struct http_exchange *http_exchange_new(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange;

	if (server->spare_count > 0) {
		exchange = container_of(server->spares.next, struct http_exchange, node);
		list_remove(&exchange->node);
		server->spare_count--;
	} else {
		exchange = calloc(1, sizeof(*exchange));
		if (!exchange)
			return NULL;
		exchange->server = server;
	}
	exchange->connection = connection;
	exchange->peer = connection->peer;
	list_append(&server->exchanges, &exchange->node);
	return exchange;
}

static void destroy(struct http_exchange *exchange)
{
	http_target_done(&exchange->target);
	http_head_done(&exchange->head);
	buffer_done(&exchange->body);
	free(exchange);
}

struct http_exchange *http_exchange_free(struct http_exchange *exchange)
{
	struct http_server *server = exchange ? exchange->server : NULL;

	if (!exchange)
		return NULL;
	list_remove(&exchange->node);
	if (!server || server->spare_count == SPARE_EXCHANGES_MAX) {
		destroy(exchange);
		return NULL;
	}
	if (exchange->decoded)
		http_target_done(&exchange->target);
	exchange->decoded = false;
	if (exchange->body.capacity > BODY_KEPT_BYTES)
		buffer_done(&exchange->body);
	else
		buffer_clear(&exchange->body);
	exchange->connection = NULL;
	list_append(&server->spares, &exchange->node);
	server->spare_count++;
	return NULL;
}

/* ---- the request ---- */

const struct http_head *http_head(const struct http_exchange *exchange)
{
	return &exchange->head;
}

const char *http_method(const struct http_exchange *exchange)
{
	return exchange->head.method;
}

static const struct http_target *decoded(struct http_exchange *exchange)
{
	if (!exchange->decoded)
		http_target_init(exchange->head.target, &exchange->target); /* stays empty where it fails */
	exchange->decoded = true;
	return &exchange->target;
}

const char *http_path(struct http_exchange *exchange)
{
	return decoded(exchange)->path;
}

const char *http_query(struct http_exchange *exchange, const char *name)
{
	return http_target_parameter(decoded(exchange), name);
}

const void *http_body(const struct http_exchange *exchange, size_t *ret_bytes)
{
	*ret_bytes = exchange->body.length;
	return buffer_string(&exchange->body);
}

const struct http_peer *http_peer(const struct http_exchange *exchange)
{
	return &exchange->peer;
}

/* ---- answers ---- */

void http_answer(struct http_exchange *exchange, const struct http_answer *answer)
{
	struct http_connection *connection = exchange->connection;

	if (connection)
		http_connection_answer(connection, answer);
	http_exchange_free(exchange);
}

void http_refuse(struct http_exchange *exchange, enum http_refusal refusal)
{
	struct http_connection *connection = exchange->connection;

	if (connection)
		http_connection_refuse(connection, refusal);
	http_exchange_free(exchange);
}

void http_reply(struct http_exchange *exchange, int status, const char *content_type, const void *body, size_t length)
{
	http_answer(exchange, &(struct http_answer){ .status = status, .content_type = content_type, .body = { body, length } });
}

/* Of an answer: the values that it was of took several times as much, and lie where what is there for longer may be behind them. */
#define LARGE_JSON_BYTES (256 * 1024)

void http_reply_json(struct http_exchange *exchange, int status, json_t *value)
{
	static const char failed[] = "{\"error\":\"the answer could not be put together\"}\n";
	_cleanup_(buffer_done) struct buffer body = {};
	const bool good = value;

	json_print(value, &body);
	json_decref(value);
	buffer_add(&body, "\n"); /* for those who read it in a terminal */
	if (good && !buffer_failed(&body))
		http_reply(exchange, status, "application/json", body.data, body.length);
	else
		http_reply(exchange, 500, "application/json", failed, sizeof(failed) - 1);
	if (body.length >= LARGE_JSON_BYTES)
		memory_give_back();
}

static const struct {
	int code, status;
} statuses[] = {
	{ -EINVAL, 400 }, { -ENOENT, 404 },    { -EEXIST, 409 }, { -EBUSY, 409 },
	{ -E2BIG, 413 },  { -EOPNOTSUPP, 501 }, { -ENOSPC, 507 },
};

void http_reply_error(struct http_exchange *exchange, const struct error *err)
{
	json_t *value = json_pack("{s:s}", "error", err->message[0] ? err->message : strerror(-err->code));
	int status = 500;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].code == err->code)
			status = statuses[i].status;
	if (value && err->field[0] && json_object_set_new(value, "field", json_string(err->field)) < 0) {
		json_decref(value);
		value = NULL;
	}
	http_reply_json(exchange, status, value);
}
