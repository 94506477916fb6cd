/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iam/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/iam/root.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/list.h"

struct entry {
	struct table_node node; /* by the id in `key` */
	struct iam_key key;
};

struct iam_keys {
	struct table entries;
	struct entry *root;
};

static struct entry *entry_of(struct table_node *node)
{
	return node ? container_of(node, struct entry, node) : NULL;
}

static void entry_free(struct entry *entry)
{
	if (!entry)
		return;
	aws_credential_done(&entry->key.credential);
	free(entry);
}

static int add_entry(struct iam_keys *keys, const struct iam_key *key, struct entry **ret_entry)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	int r;

	if (!entry)
		return -ENOMEM;
	entry->key = *key;
	r = table_add(&keys->entries, &entry->node, entry->key.credential.id);
	if (r < 0) {
		entry_free(entry);
		return r;
	}
	*ret_entry = entry;
	return 0;
}

static void remove_entry(struct iam_keys *keys, struct entry *entry)
{
	table_remove(&keys->entries, &entry->node);
	entry_free(entry);
}

static void cleanup_keys(struct iam_keys **keys)
{
	iam_keys_free(*keys);
}

int iam_keys_new(const struct aws_credential *root, struct iam_keys **ret_keys)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = calloc(1, sizeof(*keys));
	const struct iam_key key = { .credential = *root, .is_root_key = true };
	int r;

	if (!keys)
		return -ENOMEM;
	r = add_entry(keys, &key, &keys->root);
	if (r < 0)
		return r;
	*ret_keys = TAKE_PTR(keys);
	return 0;
}

struct iam_keys *iam_keys_free(struct iam_keys *keys)
{
	struct table_node *node, *next;

	if (!keys)
		return NULL;
	for (node = table_first(&keys->entries); node; node = next) {
		next = table_next(&keys->entries, node);
		remove_entry(keys, entry_of(node));
	}
	table_done(&keys->entries);
	free(keys);
	return NULL;
}

/* --- records ------------------------------------------------------------------------------------------------------------------ */

static bool is_user(const char *user)
{
	for (const char *c = user; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_+=,.@-", *c))
			return false;
	return strlen(user) < IAM_USER_BYTES;
}

int iam_key_make(const struct iam_keys *keys, const char *user, uint64_t now_ns, struct iam_key *ret_key, struct error *err)
{
	struct iam_key key = { .created_ns = now_ns };
	int r;

	if (!is_user(user))
		return error_set_field(err, -EINVAL, "userName", "'%s' is not 1 to %d letters, digits and \"_+=,.@-\"", user,
				       IAM_USER_BYTES - 1);
	if (keys->entries.count > IAM_KEYS_MAX)
		return error_set(err, -ENOSPC, "there are %d access keys, which is the most: delete one", IAM_KEYS_MAX);
	r = iam_make_credential(&key.credential);
	if (r < 0)
		return error_set(err, r, "no random bytes for an access key");
	strcpy(key.user, user);
	*ret_key = key;
	return 0;
}

char *iam_key_record(const struct iam_key *key)
{
	const char *status = key->inactive ? "Inactive" : "Active";
	_cleanup_json_ json_t *record =
		json_pack("{s:s, s:s, s:s, s:I, s:I}", "userName", key->user, "secretAccessKey", key->credential.secret, "status", status,
			  "createdNs", (json_int_t)key->created_ns, "usedNs", (json_int_t)key->used_ns);

	return record ? json_dumps(record, JSON_COMPACT) : NULL;
}

static int read_record(const char *id, const json_t *record, struct iam_key *ret_key, struct error *err)
{
	const char *user, *secret, *status;
	struct iam_key key = {};
	json_int_t created, used;
	json_error_t problem;
	int r;

	if (json_unpack_ex((json_t *)record, &problem, JSON_STRICT, "{s:s, s:s, s:s, s:I, s:I}", "userName", &user, "secretAccessKey",
			   &secret, "status", &status, "createdNs", &created, "usedNs", &used) < 0)
		return error_set(err, -EINVAL, "%s", problem.text);
	if (!is_user(user))
		return error_set_field(err, -EINVAL, "userName", "is none");
	if (strcmp(status, "Active") != 0 && strcmp(status, "Inactive") != 0)
		return error_set_field(err, -EINVAL, "status", "is neither Active nor Inactive");
	if (created < 0 || used < 0)
		return error_set_field(err, -EINVAL, created < 0 ? "createdNs" : "usedNs", "is negative");
	r = aws_credential_init(span_of(id), span_of(secret), &key.credential, err);
	if (r < 0)
		return r;
	strcpy(key.user, user);
	key.inactive = strcmp(status, "Inactive") == 0;
	key.created_ns = (uint64_t)created;
	key.used_ns = key.used_written_ns = (uint64_t)used;
	*ret_key = key;
	return 0;
}

int iam_keys_take(struct iam_keys *keys, const char *id, const void *record, size_t record_bytes, struct error *err)
{
	struct entry *entry = entry_of(table_get(&keys->entries, id));
	_cleanup_json_ json_t *json = NULL;
	struct iam_key key;
	int r = json_parse(record, record_bytes, &json, err);

	if (r == 0)
		r = read_record(id, json, &key, err);
	if (r < 0)
		return r;
	if (entry && entry == keys->root)
		return error_set(err, -EEXIST, "'%s' is the id of the root key", id);
	if (!entry)
		return add_entry(keys, &key, &entry) < 0 ? error_set(err, -ENOMEM, "out of memory") : 0;
	key.used_ns = MAX(key.used_ns, entry->key.used_ns);
	entry->key = key; /* the table's key string stays where it was, and the same */
	return 0;
}

void iam_keys_drop(struct iam_keys *keys, const char *id)
{
	struct entry *entry = entry_of(table_get(&keys->entries, id));

	if (entry && entry != keys->root)
		remove_entry(keys, entry);
}

/* --- use ---------------------------------------------------------------------------------------------------------------------- */

struct aws_credential *iam_keys_look_up(const char *access_key_id, void *arg)
{
	const struct iam_keys *keys = arg;
	struct entry *entry = entry_of(table_get(&keys->entries, access_key_id));

	return entry && !entry->key.inactive ? &entry->key.credential : NULL;
}

bool iam_key_used(struct aws_credential *credential, uint64_t now_ns)
{
	struct iam_key *key = container_of(credential, struct iam_key, credential);

	key->used_ns = MAX(key->used_ns, now_ns);
	if (key->is_root_key || key->used_ns < key->used_written_ns + IAM_USED_STEP_NS)
		return false;
	key->used_written_ns = key->used_ns;
	return true;
}

const struct iam_key *iam_key_of(const struct aws_credential *credential)
{
	return container_of(credential, struct iam_key, credential);
}

const struct iam_key *iam_keys_get(const struct iam_keys *keys, const char *id)
{
	const struct entry *entry = entry_of(table_get(&keys->entries, id));

	return entry ? &entry->key : NULL;
}

static int compare_age(const void *a, const void *b)
{
	const struct iam_key *p = *(const struct iam_key *const *)a, *q = *(const struct iam_key *const *)b;

	if (p->created_ns != q->created_ns)
		return p->created_ns < q->created_ns ? -1 : 1;
	return strcmp(p->credential.id, q->credential.id);
}

int iam_keys_list(const struct iam_keys *keys, const struct iam_key ***ret_list, size_t *ret_count)
{
	const size_t count = keys->entries.count - 1;
	const struct iam_key **list = count ? reallocarray(NULL, count, sizeof(*list)) : NULL;
	size_t n = 0;

	if (count && !list)
		return -ENOMEM;
	for (struct table_node *node = table_first(&keys->entries); node; node = table_next(&keys->entries, node))
		if (entry_of(node) != keys->root)
			list[n++] = &entry_of(node)->key;
	if (n)
		qsort(list, n, sizeof(*list), compare_age);
	*ret_list = list;
	*ret_count = n;
	return 0;
}
