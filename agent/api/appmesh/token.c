/* SPDX-License-Identifier: Apache-2.0 */
/* clientToken: a request that is repeated with the same token is answered as it was, and does nothing again. A record has what the
 * answer has and the request has not: the resource's uid, version and times. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"

#define TOKEN_CHARACTERS 36
#define DIGEST_TEXT_BYTES 33

static bool is_token(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const size_t length = strlen(text);

	return length >= 1 && length <= TOKEN_CHARACTERS && strspn(text, letters) == length;
}

/* Of all members, in whatever order and with whatever blanks they came. */
static int digest_input(const json_t *input, char ret_text[DIGEST_TEXT_BYTES])
{
	_cleanup_free_ char *text = json_dumps(input, JSON_COMPACT | JSON_SORT_KEYS);
	uint64_t hash[2];

	if (!text)
		return -ENOMEM;
	hash_name(text, strlen(text), hash);
	snprintf(ret_text, DIGEST_TEXT_BYTES, "%016llx%016llx", (unsigned long long)hash[0], (unsigned long long)hash[1]);
	return 0;
}

/* The spec is the request's own: it is the same request. */
static int answer_again(struct appmesh_call *call, const json_t *token, json_t *spec)
{
	_cleanup_json_ json_t *record = json_copy((json_t *)token);

	if (!record || json_object_set(record, "spec", spec))
		return -ENOMEM;
	call->answer->body = appmesh_data(call->scope, &call->names, record, "ACTIVE");
	return call->answer->body ? 1 : -ENOMEM;
}

int appmesh_token_check(struct appmesh_call *call, json_t *spec, struct error *err)
{
	const char *text = json_path_string(call->input, "clientToken");
	const struct appmesh_token *token;
	char key[APPMESH_KEY_BYTES], digest[DIGEST_TEXT_BYTES];
	int r;

	if (!text)
		return 0;
	if (!is_token(text))
		return error_set_field(err, -EINVAL, "clientToken", "is %s, must be 1 to %d letters, digits, \"-\" and \"_\"",
				       VALUE(json_object_get(call->input, "clientToken")), TOKEN_CHARACTERS);
	appmesh_token_key(key, call->scope, call->operation->name, text);
	token = appmesh_token_find(call->state, key);
	if (!token || appmesh_now_ms(call) - token->at_ms > APPMESH_TOKEN_KEPT_MS)
		return 0;
	r = digest_input(call->input, digest);
	if (r < 0)
		return error_set(err, r, "out of memory");
	if (strcmp(json_path_string(token->record, "request"), digest) != 0)
		return error_set_field(err, -EEXIST, "clientToken", "was used by another %s request: its parameters were others",
				       call->operation->name);
	r = answer_again(call, token->record, spec);
	return r < 0 ? error_set(err, r, "out of memory") : r;
}

int appmesh_token_keep(struct appmesh_call *call, const json_t *record)
{
	char digest[DIGEST_TEXT_BYTES];
	_cleanup_json_ json_t *token = NULL;
	int r = digest_input(call->input, digest);

	if (r < 0)
		return r;
	token = json_pack("{s:s, s:I, s:O, s:O, s:O, s:O}", "request", digest, "at", (json_int_t)appmesh_now_ms(call), "uid",
			  json_object_get(record, "uid"), "version", json_object_get(record, "version"), "createdAt",
			  json_object_get(record, "createdAt"), "lastUpdatedAt", json_object_get(record, "lastUpdatedAt"));
	return token ? appmesh_change_token(call, token) : -ENOMEM;
}
