/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/route_names.h"

#include <pthread.h>
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
	pthread_mutex_t lock; /* guards what follows; names stay where they are */
	struct table table;
	size_t count, room;
	struct route_name **all; /* by number - 1 */
};

struct route_names *route_names_new(void)
{
	struct route_names *names = calloc(1, sizeof(*names));

	if (names)
		pthread_mutex_init(&names->lock, NULL);
	return names;
}

struct route_names *route_names_free(struct route_names *names)
{
	if (!names)
		return NULL;
	for (size_t i = 0; i < names->count; i++)
		free(names->all[i]);
	table_done(&names->table);
	pthread_mutex_destroy(&names->lock);
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
	const struct route_name *name;
	struct table_node *node;

	if (!text)
		return 0;
	pthread_mutex_lock(&names->lock);
	node = table_get(&names->table, text);
	name = node ? container_of(node, struct route_name, node) : name_add(names, text);
	pthread_mutex_unlock(&names->lock);
	return name ? name->number : ROUTE_NUMBER_OTHER;
}

const char *route_names_text(struct route_names *names, uint32_t number)
{
	const char *text;

	pthread_mutex_lock(&names->lock);
	text = number >= 1 && number <= names->count ? names->all[number - 1]->text : NULL;
	pthread_mutex_unlock(&names->lock);
	return text;
}
