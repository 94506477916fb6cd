/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/route_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"

struct route_name {
	struct table_node node;
	uint32_t number;
	char text[];
};

struct route_names {
	struct table table;
	size_t count, room;
	struct route_name **all; /* by number - 1 */
};

struct route_names *route_names_new(void)
{
	return calloc(1, sizeof(struct route_names));
}

struct route_names *route_names_free(struct route_names *names)
{
	if (!names)
		return NULL;
	for (size_t i = 0; i < names->count; i++)
		free(names->all[i]);
	table_done(&names->table);
	free(names->all);
	free(names);
	return NULL;
}

static struct route_name *name_add(struct route_names *names, const char *text)
{
	const size_t room = names->room ? 2 * names->room : 64, length = strlen(text);
	struct route_name *name, **all;

	if (names->count == ROUTE_NAMES_MAX)
		return NULL;
	if (names->count == names->room) {
		all = reallocarray(names->all, room, sizeof(struct route_name *));
		if (!all)
			return NULL;
		names->all = all;
		names->room = room;
	}
	name = malloc(sizeof(*name) + length + 1);
	if (!name)
		return NULL;
	memcpy(name->text, text, length + 1);
	if (table_add(&names->table, &name->node, name->text) < 0) {
		free(name);
		return NULL;
	}
	names->all[names->count++] = name;
	name->number = (uint32_t)names->count;
	return name;
}

uint32_t route_names_number(struct route_names *names, const char *text)
{
	struct table_node *node = text ? table_get(&names->table, text) : NULL;
	const struct route_name *name = node ? container_of(node, struct route_name, node) : text ? name_add(names, text) : NULL;

	return name ? name->number : text ? ROUTE_NUMBER_OTHER : 0;
}

const char *route_names_text(const struct route_names *names, uint32_t number)
{
	return number >= 1 && number <= names->count ? names->all[number - 1]->text : NULL;
}
