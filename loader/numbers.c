/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/numbers.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const enums[] = { "reason", "statistic", "flow_close", "dns_outcome", "health", "edge_state" };

static const struct btf_type *enum_of(const struct btf *btf, const char *name)
{
	const int id = btf__find_by_name_kind(btf, name, BTF_KIND_ENUM);

	return id > 0 ? btf__type_by_id(btf, id) : NULL;
}

static const struct btf_enum *number_of(const struct btf *btf, const struct btf_type *type, const char *name)
{
	const struct btf_enum *numbers = btf_enum(type);

	for (int i = 0; i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, numbers[i].name_off) ?: "", name))
			return &numbers[i];
	return NULL;
}

/* REASON_COUNT and its like are no numbers of anything. */
static bool is_count(const char *name)
{
	const size_t length = strlen(name);

	return length >= 6 && !strcmp(name + length - 6, "_COUNT");
}

static int enum_check(const struct btf *from, const struct btf *to, const char *name, struct error *err)
{
	const struct btf_type *before = enum_of(from, name), *now = enum_of(to, name);

	for (int i = 0; before && now && i < btf_vlen(before); i++) {
		const struct btf_enum *number = &btf_enum(before)[i];
		const char *symbol = btf__name_by_offset(from, number->name_off) ?: "";
		const struct btf_enum *namesake = is_count(symbol) ? NULL : number_of(to, now, symbol);

		if (namesake && namesake->val != number->val)
			return error_set(err, -EPROTO, "in pinned maps %s is %d, and %d in this build: uninstall, then install", symbol,
					 number->val, namesake->val);
	}
	return 0;
}

int numbers_check(const struct btf *from, const struct btf *to, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(enums); i++) {
		int r = enum_check(from, to, enums[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}
