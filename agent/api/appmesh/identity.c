/* SPDX-License-Identifier: Apache-2.0 */
/* Resources that are taken over from elsewhere keep who they were. */
#include <errno.h>
#include <string.h>

#include "agent/api/appmesh/appmesh.h"
#include "agent/spec/field.h"
#include "base/cleanup.h"

#define LATEST_MS 253402300799999 /* the year 9999 */

static int take_number(const json_t *identity, const char *member, int64_t max, int64_t *ret_number, struct error *err)
{
	const json_t *value = json_object_get(identity, member);

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > max)
		return error_set_field(err, -EINVAL, member, "is %s, must be an integer from 1 to %lld", VALUE(value), (long long)max);
	*ret_number = json_integer_value(value);
	return 0;
}

static int take_uid(const json_t *identity, char uid[APPMESH_UID_BYTES], struct error *err)
{
	const json_t *value = json_object_get(identity, "uid");
	const char *text = json_string_value(value);

	if (!value)
		return 0;
	if (!text || !*text || strlen(text) >= APPMESH_UID_BYTES || strspn(text, "0123456789abcdefABCDEF-") != strlen(text))
		return error_set_field(err, -EINVAL, "uid", "is %s, must be a UUID", VALUE(value));
	strcpy(uid, text);
	return 0;
}

int appmesh_identity_read(struct span text, const char *account, struct appmesh_identity *ret_identity, struct error *err)
{
	static const char *const known[] = { "account", "arn", "uid", "version", "createdAt", "lastUpdatedAt" };
	_cleanup_json_ json_t *identity = NULL;
	struct appmesh_identity read = {};
	const char *member, *owner;
	json_t *value;
	int r = json_parse(text.data, text.length, &identity, err);

	if (r == 0 && !json_is_object(identity))
		r = error_set(err, -EINVAL, "must be an object");
	json_object_foreach(identity, member, value) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found |= strcmp(known[i], member) == 0;
		if (r == 0 && !found)
			r = error_set_field(err, -EINVAL, member, "is not known here");
	}
	if (r < 0)
		return r;
	owner = json_path_string(identity, "account");
	if (owner && strcmp(owner, account) != 0)
		return error_set_field(err, -EPERM, "account", "the resource is of account %s, and weftd has meshes of %s: `weftd --account %s` "
							       "has those", owner, account, owner);
	r = take_uid(identity, read.uid, err);
	if (r == 0)
		r = take_number(identity, "version", INT32_MAX, &read.version, err);
	if (r == 0)
		r = take_number(identity, "createdAt", LATEST_MS, &read.created_ms, err);
	if (r == 0)
		r = take_number(identity, "lastUpdatedAt", LATEST_MS, &read.updated_ms, err);
	if (r == 0 && read.created_ms && read.updated_ms && read.updated_ms < read.created_ms)
		r = error_set_field(err, -EINVAL, "lastUpdatedAt", "is before createdAt");
	if (r == 0)
		*ret_identity = read;
	return r;
}
