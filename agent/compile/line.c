/* SPDX-License-Identifier: Apache-2.0 */
/* An object that was replaced or removed is dead, and belongs to the newest plan that had it: it is freed with that plan where no
 * older one is left, else it becomes the next older one's. */
#include "agent/compile/line.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void line_init(struct plan_line *line)
{
	*line = (struct plan_line){ .changed = true };
}

static void free_dead(struct plan_object *dead[PLAN_KINDS])
{
	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++)
		for (struct plan_object *object; (object = dead[kind]);) {
			dead[kind] = object->next;
			plan_object_free(kind, object);
		}
}

static void move_dead(struct plan_object *to[PLAN_KINDS], struct plan_object *from[PLAN_KINDS])
{
	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++)
		for (struct plan_object *object; (object = from[kind]);) {
			from[kind] = object->next;
			object->next = to[kind];
			to[kind] = object;
		}
}

void line_done(struct plan_line *line)
{
	assert(!line->oldest);
	free_dead(line->dead);
	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++) {
		struct plan_places *places = &line->places[kind];

		for (size_t i = 0; i < places->count; i++)
			plan_object_free(kind, places->objects[i]);
		free(places->objects);
		free(places->vacant);
	}
	for (size_t i = 0; i < line->zone_count; i++)
		free(line->zones[i]);
	free(line->zones);
	*line = (struct plan_line){};
}

static int grow(void *array, size_t *capacity, size_t size)
{
	const size_t more = *capacity ? 2 * *capacity : 16;
	void *grown = reallocarray(*(void **)array, more, size);

	if (!grown)
		return -ENOMEM;
	*(void **)array = grown;
	*capacity = more;
	return 0;
}

int line_take(struct plan_line *line, enum plan_kind kind, uint32_t *ret_place)
{
	struct plan_places *places = &line->places[kind];

	if (places->vacant_count) {
		uint32_t *last = &places->vacant[--places->vacant_count];

		*ret_place = *last;
		*last = last[places->left_count];
		return 0;
	}
	if (places->count == places->capacity && grow(&places->objects, &places->capacity, sizeof(struct plan_object *)) < 0)
		return -ENOMEM;
	/* so that leaving it cannot fail */
	if (places->count >= places->vacant_capacity && grow(&places->vacant, &places->vacant_capacity, sizeof(*places->vacant)) < 0)
		return -ENOMEM;
	places->objects[places->count] = NULL;
	*ret_place = (uint32_t)places->count++;
	return 0;
}

void line_set(struct plan_line *line, enum plan_kind kind, uint32_t place, void *object)
{
	struct plan_object **at = &line->places[kind].objects[place], *before = *at;

	*at = object;
	line->changed = true;
	if (!before)
		return;
	before->next = line->dead[kind];
	line->dead[kind] = before;
}

void line_leave(struct plan_line *line, enum plan_kind kind, uint32_t place)
{
	struct plan_places *places = &line->places[kind];

	line_set(line, kind, place, NULL);
	places->vacant[places->vacant_count + places->left_count++] = place;
}

int line_zone(struct plan_line *line, const char *zone)
{
	if (!zone || !*zone)
		return 0;
	for (size_t i = 0; i < line->zone_count; i++)
		if (strcmp(line->zones[i], zone) == 0)
			return 0;
	if (line->zone_count == line->zone_capacity && grow(&line->zones, &line->zone_capacity, sizeof(char *)) < 0)
		return -ENOMEM;
	line->zones[line->zone_count] = strdup(zone);
	if (!line->zones[line->zone_count])
		return -ENOMEM;
	line->zone_count++;
	return 0;
}

static void *copy_places(const struct plan_places *places, size_t *ret_count)
{
	struct plan_object **copy = malloc((places->count + 1) * sizeof(struct plan_object *));

	if (copy && places->count)
		memcpy(copy, places->objects, places->count * sizeof(struct plan_object *));
	*ret_count = copy ? places->count : 0;
	return copy;
}

static void cleanup_plan(struct plan **plan)
{
	plan_free(*plan);
}

int line_plan(struct plan_line *line, struct plan **ret_plan)
{
	_cleanup_(cleanup_plan) struct plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	/* What died since the newest plan is that plan's; where there is none, nobody's. */
	if (line->newest)
		move_dead(line->newest->dead, line->dead);
	else
		free_dead(line->dead);
	plan->line = line;
	plan->older = line->newest;
	*(line->newest ? &line->newest->newer : &line->oldest) = plan;
	line->newest = plan;
	plan->zones = calloc(line->zone_count + 1, sizeof(char *));
	if (!plan->zones)
		return -ENOMEM;
	if (line->zone_count)
		memcpy(plan->zones, line->zones, line->zone_count * sizeof(char *));
	plan->zone_count = line->zone_count;
	plan->services = copy_places(&line->places[PLAN_SERVICE], &plan->service_count);
	plan->targets = copy_places(&line->places[PLAN_TARGET], &plan->target_count);
	plan->nodes = copy_places(&line->places[PLAN_NODE], &plan->node_count);
	plan->scopes = copy_places(&line->places[PLAN_SCOPE], &plan->scope_count);
	if (!plan->services || !plan->targets || !plan->nodes || !plan->scopes)
		return -ENOMEM;
	for (enum plan_kind kind = 0; kind < PLAN_KINDS; kind++) {
		line->places[kind].vacant_count += line->places[kind].left_count;
		line->places[kind].left_count = 0;
	}
	line->changed = false;
	*ret_plan = TAKE_PTR(plan);
	return 0;
}

void line_forget(struct plan_line *line, struct plan *plan)
{
	if (plan->older)
		move_dead(plan->older->dead, plan->dead);
	else
		free_dead(plan->dead);
	*(plan->older ? &plan->older->newer : &line->oldest) = plan->newer;
	*(plan->newer ? &plan->newer->older : &line->newest) = plan->older;
}
