/* SPDX-License-Identifier: Apache-2.0 */
/* Access keys, over the local socket: records of the store, one a key, and in memory what signatures are verified with. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/control/control_internal.h"
#include "agent/store/mirror.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

#define KEY_BYTES (sizeof(CONTROL_KEYS_PREFIX) + AWS_ACCESS_KEY_ID_BYTES)

static const char *id_of(const char *key)
{
	return key + strlen(CONTROL_KEYS_PREFIX);
}

static void key_of(const char *id, char ret_key[KEY_BYTES])
{
	snprintf(ret_key, KEY_BYTES, CONTROL_KEYS_PREFIX "%s", id);
}

/* --- what is stored ----------------------------------------------------------------------------------------------------------- */

static void changed(const struct store_entry *before, const struct store_entry *after, void *arg)
{
	struct control *control = arg;
	struct error err = {};
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	if (!after)
		iam_keys_drop(control->keys, id_of(before->key));
	else if (iam_keys_take(control->keys, id_of(after->key), after->value, after->value_bytes, &err) < 0)
		log_error("a stored access key is none, and is left out", LOG_F("key", LOG_STR(id_of(after->key))),
			  LOG_F("error", LOG_STR(error_text(&err, text, sizeof(text)))));
}

int control_keys_start(struct control *control, struct error *err)
{
	return mirror_new(control->store, CONTROL_KEYS_PREFIX, &(struct mirror_callbacks){ .changed = changed, .arg = control },
			  &control->keys_mirror, err);
}

/* A copy of the key's record is written over it, unless it was deleted or changed in between. */
static int write_key(struct control *control, const struct iam_key *key, store_done_fn *done, void *arg, const struct store_op *record,
		     struct error *err)
{
	_cleanup_free_ char *value = iam_key_record(key);
	char name[KEY_BYTES];
	struct store_op ops[2];
	struct store_compare compare;

	if (!value)
		return error_set(err, -ENOMEM, "out of memory");
	key_of(key->credential.id, name);
	compare = (struct store_compare){ name, mirror_revision_of(control->keys_mirror, name) };
	ops[0] = (struct store_op){ name, value, strlen(value) };
	if (record)
		ops[1] = *record;
	return store_txn(control->store, &compare, 1, ops, record ? 2 : 1, done, arg, err);
}

static void use_written(int result, uint64_t revision, const struct error *err, void *arg)
{
	(void)result, (void)revision, (void)err, (void)arg; /* the next use writes it again */
}

void control_key_used(struct control *control, struct aws_credential *credential, uint64_t now_ns)
{
	if (iam_key_used(credential, now_ns) && control->keys_mirror)
		write_key(control, iam_key_of(credential), use_written, NULL, NULL, NULL);
}

/* --- requests ----------------------------------------------------------------------------------------------------------------- */

struct change { /* on its way to the store */
	struct http_exchange *exchange;
	json_t *answer;
};

static void change_done(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct change *change = arg;
	struct error lost = {};

	(void)revision;
	if (result == 0) {
		http_reply_json(change->exchange, 200, json_incref(change->answer));
	} else if (result == -ECANCELED) {
		error_set(&lost, -EBUSY, "the access key was changed or deleted just now");
		http_reply_error(change->exchange, &lost);
	} else {
		http_reply_error(change->exchange, err);
	}
	json_decref(change->answer);
	free(change);
}

static json_t *key_json(const struct iam_key *key)
{
	char created[TIME_TEXT_BYTES], used[TIME_TEXT_BYTES];

	return json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "accessKeyId", key->credential.id, "userName", key->user, "status",
			 key->inactive ? "Inactive" : "Active", "createdAt", key->created_ns ? time_format(key->created_ns, created) : NULL,
			 "lastUsedAt", key->used_ns ? time_format(key->used_ns, used) : NULL);
}

void control_keys_list(struct control *control, struct http_exchange *exchange)
{
	const struct iam_key *root = iam_keys_get(control->keys, control->options->root.id);
	_cleanup_free_ const struct iam_key **keys = NULL;
	json_t *list = json_array(), *one;
	size_t count = 0;

	one = key_json(root);
	json_object_set_new(one, "root", json_true());
	json_array_append_new(list, one);
	if (iam_keys_list(control->keys, &keys, &count) < 0) {
		json_decref(list);
		list = NULL;
	}
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, key_json(keys[i]));
	http_reply_json(exchange, 200, json_pack("{s:o}", "accessKeys", list));
}

/* The answer goes out when the change is durable; what it is told of the change (no secret in it) is in the audit record. `key` NULL:
 * the one of that id goes. */
static void commit(struct control *control, struct http_exchange *exchange, const char *event_name, const struct iam_key *key,
		   const char *id, json_t *output, json_t *answer)
{
	_cleanup_json_ json_t *input = json_pack("{s:s, s:s*}", "accessKeyId", id, "userName", key ? key->user : NULL);
	_cleanup_free_ char *record_key = NULL, *record_value = NULL;
	struct change *change = calloc(1, sizeof(*change));
	struct control_caller caller;
	struct store_compare compare;
	struct store_op ops[2];
	char name[KEY_BYTES];
	struct error err = {};
	int r;

	control_caller_init(exchange, &caller);
	control_caller_identify(control, NULL, &caller);
	control_record(control, &caller,
		       &(struct control_event){ .source = "iam.amazonaws.com", .name = event_name, .input = input, .output = output },
		       &record_key, &record_value);
	json_decref(output);
	if (!change || !answer || !record_key) {
		json_decref(answer);
		free(change);
		http_refuse(exchange, HTTP_NO_MEMORY);
		return;
	}
	*change = (struct change){ exchange, answer };
	ops[1] = (struct store_op){ record_key, record_value, strlen(record_value) };
	key_of(id, name);
	if (key) {
		r = write_key(control, key, change_done, change, &ops[1], &err);
	} else {
		compare = (struct store_compare){ name, mirror_revision_of(control->keys_mirror, name) };
		ops[0] = (struct store_op){ .key = name };
		r = store_txn(control->store, &compare, 1, ops, 2, change_done, change, &err);
	}
	if (r < 0)
		change_done(r, 0, &err, change);
}

static int check_writable(const struct control *control, struct error *err)
{
	return control->store ? 0 : error_set(err, -EOPNOTSUPP, "%s", control->options->settings.read_only);
}

static int read_body(struct http_exchange *exchange, json_t **ret_body, struct error *err)
{
	size_t length;
	const char *text = http_body(exchange, &length);
	int r = json_parse(text, length, ret_body, err);

	if (r == 0 && !json_is_object(*ret_body))
		r = error_set(err, -EINVAL, "the body must be an object");
	return r;
}

void control_keys_create(struct control *control, struct http_exchange *exchange)
{
	_cleanup_json_ json_t *body = NULL;
	struct iam_key key = {};
	struct error err = {};
	const char *user;
	json_t *answer;
	int r = check_writable(control, &err);

	if (r == 0)
		r = read_body(exchange, &body, &err);
	if (r == 0) {
		user = json_path_string(body, "userName");
		r = iam_key_make(control->keys, user ? user : "", control_wall_ns(), &key, &err);
	}
	if (r < 0) {
		http_reply_error(exchange, &err);
		return;
	}
	answer = key_json(&key);
	json_object_set_new(answer, "secretAccessKey", json_string(key.credential.secret));
	commit(control, exchange, "CreateAccessKey", &key, key.credential.id, key_json(&key), answer);
	aws_credential_done(&key.credential);
}

/* The key that the parameter names, but not the root key. */
static int find_key(const struct control *control, struct http_exchange *exchange, const struct iam_key **ret_key, struct error *err)
{
	static const char parameter[] = "accessKeyId";
	const char *id = http_query(exchange, parameter);
	int r = check_writable(control, err);

	if (r < 0)
		return r;
	*ret_key = id ? iam_keys_get(control->keys, id) : NULL;
	if (!*ret_key)
		return error_set_field(err, id ? -ENOENT : -EINVAL, parameter, id ? "there is no access key '%s'" : "is required%s", id ? id : "");
	if ((*ret_key)->is_root_key)
		return error_set_field(err, -EINVAL, parameter, "is that of the root key, which is changed where it comes from");
	return 0;
}

void control_keys_update(struct control *control, struct http_exchange *exchange)
{
	_cleanup_json_ json_t *body = NULL;
	const struct iam_key *found;
	const char *status = NULL;
	struct error err = {};
	struct iam_key key;
	int r = find_key(control, exchange, &found, &err);

	if (r == 0)
		r = read_body(exchange, &body, &err);
	if (r == 0) {
		status = json_path_string(body, "status");
		if (!status || (strcmp(status, "Active") != 0 && strcmp(status, "Inactive") != 0))
			r = error_set_field(&err, -EINVAL, "status", "must be Active or Inactive");
	}
	if (r < 0) {
		http_reply_error(exchange, &err);
		return;
	}
	key = *found;
	key.inactive = strcmp(status, "Inactive") == 0;
	commit(control, exchange, "UpdateAccessKey", &key, key.credential.id, key_json(&key), key_json(&key));
	aws_credential_done(&key.credential);
}

void control_keys_delete(struct control *control, struct http_exchange *exchange)
{
	const struct iam_key *found;
	struct error err = {};

	if (find_key(control, exchange, &found, &err) < 0) {
		http_reply_error(exchange, &err);
		return;
	}
	commit(control, exchange, "DeleteAccessKey", NULL, found->credential.id, NULL, json_object());
}
