/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/current.h"
#include "agent/compile/encode_internal.h"
#include "base/cleanup.h"

static void run_done(struct run *run)
{
	blocks_done(&run->blocks);
	free(run->renewed);
	free(run->order);
	free(run->backends);
}

int encode_no_room(const struct run *run, const char *table, uint32_t count)
{
	struct generations_fill fill[16];
	const size_t fill_count = generations_fill(run->encoder->generations, fill, ARRAY_SIZE(fill));

	for (size_t i = 0; i < fill_count; i++)
		if (strcmp(fill[i].name, table) == 0)
			return error_set(run->err, -ENOSPC, "the table of %s is full: %u of %u are used, and %u more are needed", table,
					 fill[i].used, fill[i].size, count);
	assert(!"a table by this name");
	return -ENOSPC;
}

int encode_no_memory(const struct run *run)
{
	return error_set(run->err, -ENOMEM, "no memory to apply the configuration");
}

static int change(struct run *run, uint32_t id, uint32_t ref)
{
	struct encoding *e = run->encoding;

	if (e->change_count == e->change_capacity) {
		const size_t capacity = e->change_capacity ? 2 * e->change_capacity : 16;
		struct change *changes = reallocarray(e->changes, capacity, sizeof(*changes));

		if (!changes)
			return encode_no_memory(run);
		e->changes = changes;
		e->change_capacity = capacity;
	}
	e->changes[e->change_count++] = (struct change){ id, ref };
	return 0;
}

int encode_written(struct run *run, enum object_kind kind, struct placed *placed, int64_t record)
{
	placed->ref = REF(kind, record);
	return change(run, placed->id, placed->ref);
}

void encode_kept(struct run *run, enum object_kind kind, struct placed *placed)
{
	const struct plan_side now = plan_side(run->plan, (enum plan_kind)kind), before = plan_side(run->before->plan, (enum plan_kind)kind);

	placed->ref = current_ref(run->encoder, placed->id);
	if (placed->was != PLAN_NONE && !plan_same_l7((enum plan_kind)kind, now.objects[placed->place], before.objects[placed->was]))
		run->encoding->l7_differs = true;
}

/* --- which object is which --------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return (x->place > y->place) - (x->place < y->place);
}

static void sort(struct placed *placed, size_t count, int (*order)(const void *, const void *))
{
	if (count > 1)
		qsort(placed, count, sizeof(*placed), order);
}

struct differences { /* places where the plans have not the same object; those of either side */
	struct placed *now, *before;
	size_t now_count, before_count;
};

static void differences_done(struct differences *d)
{
	free(d->now);
	free(d->before);
}

static int count_differences(const struct plan_side *now, const struct plan_side *before, struct differences *d)
{
	size_t now_count = 0, before_count = 0;

	for (size_t i = 0; i < MAX(now->count, before->count); i++) {
		const struct plan_object *a = i < now->count ? now->objects[i] : NULL, *b = i < before->count ? before->objects[i] : NULL;

		now_count += a != b && a;
		before_count += a != b && b;
	}
	d->now = calloc(now_count + 1, sizeof(*d->now));
	d->before = calloc(before_count + 1, sizeof(*d->before));
	return d->now && d->before ? 0 : -ENOMEM;
}

static void list_differences(const struct plan_side *now, const struct plan_side *before, const uint32_t *ids_before,
			     struct differences *d)
{
	for (uint32_t i = 0; i < MAX(now->count, before->count); i++) {
		const struct plan_object *a = i < now->count ? now->objects[i] : NULL, *b = i < before->count ? before->objects[i] : NULL;

		if (a != b && a)
			d->now[d->now_count++] = (struct placed){ .place = i, .was = PLAN_NONE };
		if (a != b && b)
			d->before[d->before_count++] = (struct placed){ .place = i, .id = ids_before[i] };
	}
}

static int name_objects(struct run *run, enum object_kind kind, const struct plan_side *now, const struct plan_side *before,
			struct differences *d)
{
	for (size_t i = 0; i < d->now_count; i++) {
		struct placed *placed = &d->now[i];
		const struct plan_object *object = now->objects[placed->place],
					 *there = placed->place < before->count ? before->objects[placed->place] : NULL;
		int r;

		/* mostly: the same one, changed */
		if (there && strcmp(there->name, object->name) == 0) {
			placed->id = run->before->ids[kind][placed->place];
			continue;
		}
		r = names_make(run->encoder->names, kind, object->name, &placed->id);
		if (r == -ENOSPC)
			return encode_no_room(run, "objects", 1);
		if (r < 0)
			return error_set(run->err, r, "cannot give an id to %s", object->name);
	}
	return 0;
}

/* Of what was there, all that is elsewhere now has its place there told; the rest goes. */
static int match_differences(struct run *run, enum object_kind kind, struct differences *d)
{
	struct encoding *e = run->encoding;
	size_t n = 0;
	int r = 0;

	sort(d->now, d->now_count, by_id);
	sort(d->before, d->before_count, by_id);
	for (size_t b = 0; r == 0 && b < d->before_count; b++) {
		const struct placed *before = &d->before[b];
		bool same_place;

		while (n < d->now_count && d->now[n].id < before->id)
			n++;
		if (n == d->now_count || d->now[n].id != before->id) {
			r = change(run, before->id, 0);
			same_place = false;
		} else {
			d->now[n].was = before->place;
			same_place = d->now[n].place == before->place;
		}
		if (kind == OBJECT_SERVICE && !same_place)
			e->gone[e->gone_count++] = before->place;
	}
	sort(d->now, d->now_count, by_place);
	return r;
}

static int match(struct run *run, enum object_kind kind)
{
	const struct plan_side now = plan_side(run->plan, (enum plan_kind)kind),
			       before = plan_side(run->before->plan, (enum plan_kind)kind);
	_cleanup_(differences_done) struct differences d = {};
	struct encoding *e = run->encoding;
	uint32_t *ids = calloc(now.count + 1, sizeof(*ids));
	int r;

	e->now.ids[kind] = ids;
	if (!ids || count_differences(&now, &before, &d) < 0)
		return encode_no_memory(run);
	if (run->before->plan)
		memcpy(ids, run->before->ids[kind], MIN(now.count, before.count) * sizeof(*ids));
	list_differences(&now, &before, run->before->ids[kind], &d);
	if (kind == OBJECT_SERVICE && !(e->gone = calloc(d.before_count + 1, sizeof(*e->gone))))
		return encode_no_memory(run);
	r = name_objects(run, kind, &now, &before, &d);
	if (r >= 0)
		r = match_differences(run, kind, &d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d.now_count; i++)
		ids[d.now[i].place] = d.now[i].id;
	e->placed[kind] = TAKE_PTR(d.now);
	e->placed_count[kind] = d.now_count;
	return 0;
}

struct placed *encode_placed(const struct run *run, enum object_kind kind, uint32_t place)
{
	const struct encoding *e = run->encoding;

	return e->placed_count[kind] ? bsearch(&(struct placed){ .place = place }, e->placed[kind], e->placed_count[kind],
					       sizeof(struct placed), by_place) :
				       NULL;
}

/* Without a plan before, all that the directory has and the plan has not goes. */
static int remove_unplanned(struct run *run)
{
	const uint32_t objects = run->encoder->memory->limits.objects;
	_cleanup_free_ bool *planned = calloc(objects, sizeof(*planned));
	int r = 0;

	if (!planned)
		return encode_no_memory(run);
	for (enum object_kind kind = OBJECT_SERVICE; kind < OBJECT_KINDS; kind++)
		for (size_t i = 0; i < run->encoding->placed_count[kind]; i++)
			planned[run->encoding->placed[kind][i].id] = true;
	for (uint32_t id = 1; r == 0 && id < objects; id++)
		if (!planned[id] && current_ref(run->encoder, id))
			r = change(run, id, 0);
	return r;
}

/* --- the whole --------------------------------------------------------------------------------------------------------- */

static int prepare(struct run *run)
{
	struct encoding *e = run->encoding;

	e->touched = calloc(e->placed_count[OBJECT_TARGET] + 1, sizeof(struct placed *));
	run->renewed = calloc(e->placed_count[OBJECT_SERVICE] + 1, sizeof(*run->renewed));
	return e->touched && run->renewed ? 0 : encode_no_memory(run);
}

int encode(const struct encoder *encoder, const struct planned *before, struct plan *plan, struct encoding *ret_encoding,
	   struct error *err)
{
	/* Services name targets and nodes name services, and each looks at what was written for those. */
	static const struct {
		enum object_kind kind;
		int (*encode)(struct run *run, struct placed *placed);
	} steps[] = {
		{ OBJECT_TARGET, encode_target },
		{ OBJECT_SERVICE, encode_service },
		{ OBJECT_NODE, encode_node },
	};
	_cleanup_(encoding_done) struct encoding encoding = {};
	_cleanup_(run_done) struct run run = {
		.encoder = encoder, .before = before, .plan = plan, .encoding = &encoding, .err = err
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
		r = match(&run, steps[i].kind);
	if (r >= 0)
		r = prepare(&run);
	if (r >= 0 && !before->plan)
		r = remove_unplanned(&run);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
		for (size_t n = 0; r >= 0 && n < encoding.placed_count[steps[i].kind]; n++)
			r = steps[i].encode(&run, &encoding.placed[steps[i].kind][n]);
	if (r >= 0)
		r = encode_renewed(&run);
	if (r < 0)
		return r;
	encoding.now.plan = plan;
	*ret_encoding = encoding;
	encoding = (struct encoding){};
	return 0;
}

void encoding_publish(const struct encoder *encoder, const struct encoding *encoding)
{
	for (size_t i = 0; i < encoding->head_count; i++)
		row_set_head(encoder, encoding->heads[i].row, encoding->heads[i].target);
	for (size_t i = 0; i < encoding->touched_count; i++)
		target_publish_state(encoder->memory, encoding->now.plan->targets[encoding->touched[i]->place],
			      &encoder->memory->targets[encoding->touched[i]->ref & REF_INDEX_MASK]);
}

void planned_done(struct planned *planned)
{
	plan_free(planned->plan);
	for (size_t kind = 0; kind < OBJECT_KINDS; kind++)
		free(planned->ids[kind]);
	*planned = (struct planned){};
}

void encoding_done(struct encoding *e)
{
	for (size_t kind = 0; kind < OBJECT_KINDS; kind++) {
		free(e->now.ids[kind]);
		free(e->placed[kind]);
	}
	free(e->changes);
	free(e->heads);
	free(e->touched);
	free(e->gone);
	*e = (struct encoding){};
}
