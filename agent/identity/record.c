/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

enum member_type { MEMBER_STRING, MEMBER_OPTIONAL_STRING, MEMBER_U64, MEMBER_U32, MEMBER_INT, MEMBER_BOOL };

static const struct member {
	const char *name;
	enum member_type type;
	size_t offset;
} members[] = {
	{ "node", MEMBER_STRING, offsetof(struct record, workload.node) },
	{ "cgroup", MEMBER_STRING, offsetof(struct record, workload.cgroup) },
	{ "cgroupId", MEMBER_U64, offsetof(struct record, workload.cgroup_id) },
	{ "netnsCookie", MEMBER_U64, offsetof(struct record, workload.netns_cookie) },
	{ "ownNetns", MEMBER_BOOL, offsetof(struct record, workload.own_netns) },
	{ "netns", MEMBER_OPTIONAL_STRING, offsetof(struct record, workload.netns) },
	{ "zone", MEMBER_OPTIONAL_STRING, offsetof(struct record, workload.zone) },
	{ "origin", MEMBER_STRING, offsetof(struct record, workload.origin) },
	{ "sinceWallNs", MEMBER_U64, offsetof(struct record, workload.since_wall_ns) },
	{ "earlierSockets", MEMBER_U32, offsetof(struct record, workload.earlier_sockets) },
	{ "pid", MEMBER_INT, offsetof(struct record, workload.pid) },
	{ "pattern", MEMBER_BOOL, offsetof(struct record, pattern) },
	{ "removeCgroup", MEMBER_BOOL, offsetof(struct record, remove_cgroup) },
};

static json_t *member_get(const struct record *record, const struct member *m)
{
	const void *at = (const char *)record + m->offset;

	switch (m->type) {
	case MEMBER_STRING:
	case MEMBER_OPTIONAL_STRING:
		return *(const char *const *)at ? json_string(*(const char *const *)at) : json_null();
	case MEMBER_U64: /* cookies and inodes count up from small numbers: none comes near the sign */
		return json_integer((json_int_t) * (const uint64_t *)at);
	case MEMBER_U32:
		return json_integer(*(const uint32_t *)at);
	case MEMBER_INT:
		return json_integer(*(const int *)at);
	case MEMBER_BOOL:
		return json_boolean(*(const bool *)at);
	}
	return NULL;
}

int record_encode(const struct record *record, char **ret_text)
{
	_cleanup_json_ json_t *object = json_object(), *cookies = json_array();
	bool failed = !object || !cookies;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		failed |= json_object_set_new(object, members[i].name, member_get(record, &members[i])) < 0;
	for (size_t i = 0; i < record->cookie_count; i++)
		failed |= json_array_append_new(cookies, json_integer((json_int_t)record->cookies[i])) < 0;
	failed |= json_object_set(object, "netnsCookies", cookies) < 0;
	failed |= json_object_set_new(object, "boot", json_string(record->boot)) < 0;
	text = failed ? NULL : json_dumps(object, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

static bool in_range(const json_t *value, uint64_t max)
{
	return json_is_integer(value) && json_integer_value(value) >= 0 && (uint64_t)json_integer_value(value) <= max;
}

/* 0, -EINVAL, -ENOMEM. */
static int member_set(struct record *record, const struct member *m, const json_t *value)
{
	void *at = (char *)record + m->offset;

	switch (m->type) {
	case MEMBER_OPTIONAL_STRING:
		if (!value || json_is_null(value))
			return 0;
		/* fall through */
	case MEMBER_STRING:
		if (!json_is_string(value))
			return -EINVAL;
		*(const char **)at = strdup(json_string_value(value));
		return *(const char **)at ? 0 : -ENOMEM;
	case MEMBER_U64:
		*(uint64_t *)at = (uint64_t)json_integer_value(value);
		return in_range(value, INT64_MAX) ? 0 : -EINVAL;
	case MEMBER_U32:
		*(uint32_t *)at = (uint32_t)json_integer_value(value);
		return in_range(value, UINT32_MAX) ? 0 : -EINVAL;
	case MEMBER_INT:
		*(int *)at = (int)json_integer_value(value);
		return in_range(value, INT32_MAX) ? 0 : -EINVAL;
	case MEMBER_BOOL:
		*(bool *)at = json_is_true(value);
		return json_is_boolean(value) ? 0 : -EINVAL;
	}
	return -EINVAL;
}

static int decode_cookies(struct record *record, const json_t *cookies, struct error *err)
{
	const size_t count = json_array_size(cookies);

	if (!json_is_array(cookies))
		return error_set_field(err, -EINVAL, "netnsCookies", "is missing or no list");
	record->cookies = count ? calloc(count, sizeof(*record->cookies)) : NULL;
	if (count && !record->cookies)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		const json_t *cookie = json_array_get(cookies, i);

		if (!in_range(cookie, INT64_MAX))
			return error_set_field(err, -EINVAL, "netnsCookies", "has an element that is no cookie");
		record->cookies[record->cookie_count++] = (uint64_t)json_integer_value(cookie);
	}
	return 0;
}

static int decode(const json_t *object, struct record *record, struct error *err)
{
	const char *boot = json_string_value(json_object_get(object, "boot"));
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		r = member_set(record, &members[i], json_object_get(object, members[i].name));
		if (r == -EINVAL)
			return error_set_field(err, r, members[i].name, "is missing, or of another type or range");
		if (r < 0)
			return error_set(err, r, "out of memory");
	}
	if (record->workload.cgroup[0] != '/' || !record->workload.cgroup[1])
		return error_set_field(err, -EINVAL, "cgroup", "is no path below the root");
	if (!boot || strlen(boot) >= sizeof(record->boot))
		return error_set_field(err, -EINVAL, "boot", "is missing or too long");
	memcpy(record->boot, boot, strlen(boot) + 1);
	return decode_cookies(record, json_object_get(object, "netnsCookies"), err);
}

int record_decode(const void *text, size_t bytes, uint64_t id, struct record *ret_record, struct error *err)
{
	struct record record = { .workload.id = id };
	_cleanup_json_ json_t *object = NULL;
	int r = json_parse(text, bytes, &object, err);

	if (r == 0)
		r = decode(object, &record, err);
	if (r < 0) {
		record_done(&record);
		return r;
	}
	*ret_record = record;
	return 0;
}

void record_done(struct record *record)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].type == MEMBER_STRING || members[i].type == MEMBER_OPTIONAL_STRING)
			free((char *)*(const char **)((char *)record + members[i].offset));
	free(record->cookies);
}

int boot_id(char buffer[BOOT_ID_BYTES])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, buffer, BOOT_ID_BYTES - 1);

	if (length < 0)
		return -errno;
	buffer[length] = '\0';
	buffer[strcspn(buffer, "\n")] = '\0';
	return 0;
}
