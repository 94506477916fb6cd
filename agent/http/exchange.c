/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct http_exchange *http_exchange_free(struct http_exchange *exchange)
{
	if (!exchange)
		return NULL;
	http_target_done(&exchange->target);
	buffer_done(&exchange->body);
	free(exchange);
	return NULL;
}

const char *http_method(const struct http_exchange *exchange)
{
	return exchange->method;
}

const char *http_path(const struct http_exchange *exchange)
{
	return exchange->target.path;
}

const char *http_query(const struct http_exchange *exchange, const char *name)
{
	return http_target_parameter(&exchange->target, name);
}

const void *http_body(const struct http_exchange *exchange, size_t *ret_bytes)
{
	*ret_bytes = exchange->body.length;
	return buffer_string(&exchange->body);
}

int http_peer_pid(const struct http_exchange *exchange)
{
	return exchange->peer_pid;
}

void http_reply(struct http_exchange *exchange, int status, const char *content_type, const void *body, size_t length)
{
	struct http_connection *connection = exchange->connection;

	if (connection)
		http_connection_answer(connection, status, content_type, body, length);
	http_exchange_free(exchange);
}

static int append_json(const char *text, size_t length, void *arg)
{
	struct buffer *body = arg;

	buffer_append(body, text, length);
	return buffer_failed(body) ? -1 : 0;
}

void http_reply_json(struct http_exchange *exchange, int status, json_t *value)
{
	static const char failed[] = "{\"error\":\"the answer could not be put together\"}\n";
	_cleanup_(buffer_done) struct buffer body = {};
	bool good = value && json_dump_callback(value, append_json, &body, JSON_COMPACT | JSON_ENCODE_ANY) == 0;

	json_decref(value);
	buffer_add(&body, "\n"); /* for those who read it in a terminal */
	if (good && !buffer_failed(&body))
		http_reply(exchange, status, "application/json", body.data, body.length);
	else
		http_reply(exchange, 500, "application/json", failed, sizeof(failed) - 1);
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
