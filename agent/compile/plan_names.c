/* SPDX-License-Identifier: Apache-2.0 */
/* Which services can be asked for by DNS, and by whom: in a mesh that refuses, or counts, what is no backend, all of its services by all of
 * its nodes; else a node's backends by that node. */
#include "plan_names.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/compiler.h"
#include "base/cleanup.h"

bool name_is_plain(const char *name)
{
	for (; *name; name++)
		if (isupper((unsigned char)*name) || (*name == '.' && !name[1]))
			return false;
	return true;
}

/* --- twins: names that are the same one to a resolver -------------------------------------------------------------------- */

static char *as_asked(const char *name)
{
	char *copy = strdup(name);
	const size_t length = strlen(name);

	for (char *c = copy; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (copy && length && copy[length - 1] == '.')
		copy[length - 1] = '\0';
	return copy;
}

struct asked { /* a name as resolvers see it */
	struct table_node node;
	char *name;
	uint32_t owner; /* whose it is in the scope at hand: the first by full name */
};

struct asked_names {
	struct asked *asked;
	size_t count;
	struct table by_name;
};

static void asked_names_done(struct asked_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->asked[i].name);
	free(names->asked);
	table_done(&names->by_name);
}

static const struct plan_service *service_at(const struct compiler *c, uint32_t place)
{
	return (const struct plan_service *)PLANNED(c, PLAN_SERVICE, place);
}

static int take_name(struct compiler *c, struct asked_names *names, uint32_t service)
{
	struct asked *asked = &names->asked[names->count], *known;
	int r;

	asked->name = as_asked(plan_service_name(service_at(c, service)));
	if (!asked->name)
		return -ENOMEM;
	asked->owner = service;
	names->count++;
	r = table_add(&names->by_name, &asked->node, asked->name);
	if (r != -EEXIST)
		return r;
	known = container_of(table_get(&names->by_name, asked->name), struct asked, node);
	if (strcmp(service_at(c, service)->name, service_at(c, known->owner)->name) < 0)
		known->owner = service;
	return 0;
}

/* Which of a scope's services are other ones' twins: by place, the owner's place. PLAN_NONE: it is not, or was one of an earlier
 * scope. */
static int note_twins(struct compiler *c, const uint32_t *services, size_t count, uint32_t *twins)
{
	_cleanup_(asked_names_done) struct asked_names names = { .asked = calloc(count + 1, sizeof(*names.asked)) };

	if (!names.asked)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int r = take_name(c, &names, services[i]);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < count; i++) {
		const struct asked *asked =
			container_of(table_get(&names.by_name, names.asked[i].name), struct asked, node);

		if (asked->owner != services[i] && twins[services[i]] == PLAN_NONE)
			twins[services[i]] = asked->owner;
	}
	return 0;
}

static int set_twin(struct compiler *c, uint32_t place, uint32_t twin)
{
	const struct plan_service *service = service_at(c, place);
	const char *name = twin == PLAN_NONE ? NULL : service_at(c, twin)->name;
	struct plan_service *other;

	if (!service || service->twin == name || (service->twin && name && strcmp(service->twin, name) == 0))
		return 0;
	other = plan_service_copy(service);
	if (!other)
		return -ENOMEM;
	free(other->twin);
	other->twin = name ? strdup(name) : NULL;
	line_set(&c->line, PLAN_SERVICE, place, other);
	return name && !other->twin ? -ENOMEM : 0;
}

/* --- scopes -------------------------------------------------------------------------------------------------------------- */

struct scopes { /* all that there are, with what they would have but for twins */
	struct scope {
		const char *name;
		uint32_t *place; /* of the owner of the scope */
		const uint32_t *services;
		uint32_t *own; /* NULL, or what `services` is, to be freed */
		size_t count;
	} *list;
	size_t count;
};

static void scopes_done(struct scopes *scopes)
{
	for (size_t i = 0; i < scopes->count; i++)
		free(scopes->list[i].own);
	free(scopes->list);
}

static int collect_mesh(struct compiler *c, struct local_mesh *mesh, struct scopes *scopes)
{
	if (mesh_has_names(mesh))
		scopes->list[scopes->count++] = (struct scope){
			.name = mesh->name, .place = &mesh->scope, .services = mesh->services, .count = mesh->service_count
		};
	else if (mesh->scope != PLAN_NONE) {
		line_leave(&c->line, PLAN_SCOPE, mesh->scope);
		mesh->scope = PLAN_NONE;
	}
	return 0;
}

static int collect_caller(struct compiler *c, struct local_caller *caller, struct scopes *scopes)
{
	const struct plan_node *node = caller->place == PLAN_NONE ? NULL : (const struct plan_node *)PLANNED(c, PLAN_NODE, caller->place);
	struct scope *scope = &scopes->list[scopes->count];

	if (!node || mesh_has_names(caller->mesh)) {
		if (caller->scope != PLAN_NONE)
			line_leave(&c->line, PLAN_SCOPE, caller->scope);
		caller->scope = PLAN_NONE;
		return 0;
	}
	*scope = (struct scope){ .name = caller->name, .place = &caller->scope, .own = calloc(node->backend_count + 1, sizeof(uint32_t)) };
	if (!scope->own)
		return -ENOMEM;
	scopes->count++;
	scope->services = scope->own;
	for (; scope->count < node->backend_count; scope->count++)
		scope->own[scope->count] = node->backends[scope->count].service;
	return 0;
}

static int scope_order(const void *a, const void *b)
{
	return strcmp(((const struct scope *)a)->name, ((const struct scope *)b)->name);
}

static int collect(struct compiler *c, struct scopes *scopes)
{
	int r = 0;

	scopes->list = calloc(c->meshes.count + c->callers.count + 1, sizeof(*scopes->list));
	if (!scopes->list)
		return -ENOMEM;
	for (struct table_node *n = table_first(&c->meshes); r == 0 && n; n = table_next(&c->meshes, n))
		r = collect_mesh(c, container_of(n, struct local_mesh, node), scopes);
	for (struct table_node *n = table_first(&c->callers); r == 0 && n; n = table_next(&c->callers, n))
		r = collect_caller(c, container_of(n, struct local_caller, node), scopes);
	if (scopes->count > 1)
		qsort(scopes->list, scopes->count, sizeof(*scopes->list), scope_order);
	return r;
}

static void cleanup_scope(struct plan_scope **scope)
{
	plan_object_free(PLAN_SCOPE, (struct plan_object *)*scope);
}

static int set_scope(struct compiler *c, const struct scope *from, const uint32_t *twins)
{
	_cleanup_(cleanup_scope) struct plan_scope *scope = calloc(1, sizeof(*scope));
	const struct plan_scope *before;

	if (!scope)
		return -ENOMEM;
	scope->name = strdup(from->name);
	scope->services = calloc(from->count + 1, sizeof(*scope->services));
	if (!scope->name || !scope->services)
		return -ENOMEM;
	for (size_t i = 0; i < from->count; i++)
		if (!twins || !plan_scope_owns(from->services, from->count, twins[from->services[i]]))
			scope->services[scope->service_count++] = from->services[i];
	if (*from->place == PLAN_NONE && line_take(&c->line, PLAN_SCOPE, from->place) < 0)
		return -ENOMEM;
	before = (const struct plan_scope *)PLANNED(c, PLAN_SCOPE, *from->place);
	if (before && before->service_count == scope->service_count &&
	    memcmp(before->services, scope->services, scope->service_count * sizeof(*scope->services)) == 0)
		return 0;
	line_set(&c->line, PLAN_SCOPE, *from->place, TAKE_PTR(scope));
	return 0;
}

/* Seldom: plain names differ from each other. */
static int find_twins(struct compiler *c, const struct scopes *scopes, uint32_t **ret_twins)
{
	const size_t count = c->line.places[PLAN_SERVICE].count;
	uint32_t *twins = calloc(count + 1, sizeof(*twins));
	int r = 0;

	if (!twins)
		return -ENOMEM;
	memset(twins, 0xff, count * sizeof(*twins)); /* PLAN_NONE */
	for (size_t i = 0; r == 0 && i < scopes->count; i++)
		r = note_twins(c, scopes->list[i].services, scopes->list[i].count, twins);
	for (uint32_t place = 0; r == 0 && place < count; place++)
		r = set_twin(c, place, twins[place]);
	*ret_twins = twins;
	return r;
}

int compile_scopes(struct compiler *c)
{
	_cleanup_(scopes_done) struct scopes scopes = {};
	_cleanup_free_ uint32_t *twins = NULL;
	bool needed = c->scopes_changed;
	int r = 0;

	for (struct table_node *n = table_first(&c->meshes); n; n = table_next(&c->meshes, n))
		needed |= container_of(n, struct local_mesh, node)->services_changed;
	if (!needed)
		return 0;
	r = collect(c, &scopes);
	if (r == 0 && (c->folded_names || c->had_folded_names))
		r = find_twins(c, &scopes, &twins);
	for (size_t i = 0; r == 0 && i < scopes.count; i++)
		r = set_scope(c, &scopes.list[i], twins);
	if (r < 0)
		return no_memory(c);
	for (struct table_node *n = table_first(&c->meshes); n; n = table_next(&c->meshes, n))
		container_of(n, struct local_mesh, node)->services_changed = false;
	c->had_folded_names = c->folded_names > 0;
	c->scopes_changed = false;
	return 0;
}
