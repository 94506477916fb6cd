/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/appmesh/references.h"

#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/kind.h"

struct visit {
	enum resource_kind kind;
	appmesh_reference_fn *fn;
	void *arg;
};

/* A virtual service may be named by its ARN. */
static const char *plain_name(const char *text)
{
	static const char word[] = "/virtualService/";
	const char *end = strncmp(text, "arn:", 4) == 0 ? strstr(text, word) : NULL;

	return end ? end + strlen(word) : text;
}

static void visit_value(const char *field, const json_t *value, void *arg)
{
	const struct visit *visit = arg;

	visit->fn(visit->kind, plain_name(json_string_value(value)), field, visit->arg);
}

void appmesh_references(enum resource_kind from, const json_t *spec, appmesh_reference_fn *fn, void *arg)
{
	for (const struct reference_rule *rule = kind_rules[from]->references; rule && rule->pattern; rule++)
		field_each(spec, rule->pattern, visit_value, &(struct visit){ rule->kind, fn, arg });
}

struct search {
	enum resource_kind kind;
	const char *name;
	const struct appmesh_resource *from;
	appmesh_referrer_fn *fn;
	void *arg;
};

static void visit_reference(enum resource_kind kind, const char *name, const char *field, void *arg)
{
	const struct search *search = arg;

	if (kind == search->kind && strcmp(name, search->name) == 0)
		search->fn(search->from, field, search->arg);
}

/* Most of those that are looked through say nothing of the name, which their text shows without being parsed. */
static bool may_have(const struct appmesh_resource *from, const char *name)
{
	return !from->resource || strpbrk(name, "\"\\") || strstr(from->resource->spec_text, name);
}

static void search_children(const struct appmesh_state *state, struct appmesh_scope scope, const char *mesh, enum resource_kind kind,
			    const char *parent, struct search *search)
{
	const struct appmesh_resource *const *list;
	const size_t count = appmesh_children(state, scope, kind, mesh, parent, &list);

	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *spec = NULL;

		if (!may_have(list[i], search->name))
			continue;
		spec = appmesh_spec(list[i]);
		search->from = list[i];
		appmesh_references(kind, spec, visit_reference, search);
	}
}

static bool may_name(enum resource_kind from, enum resource_kind kind)
{
	for (const struct reference_rule *rule = kind_rules[from]->references; rule && rule->pattern; rule++)
		if (rule->kind == kind)
			return from != RESOURCE_VIRTUAL_NODE;
	return false;
}

void appmesh_referrers(const struct appmesh_state *state, struct appmesh_scope scope, const char *mesh, enum resource_kind kind,
		       const char *name, appmesh_referrer_fn *fn, void *arg)
{
	struct search search = { .kind = kind, .name = name, .fn = fn, .arg = arg };

	for (enum resource_kind from = RESOURCE_VIRTUAL_SERVICE; from < RESOURCE_KIND_COUNT; from++) {
		const enum resource_kind parent = resource_kinds[from].parent;
		const struct appmesh_resource *const *parents;
		size_t count;

		if (!may_name(from, kind))
			continue;
		if (parent == RESOURCE_MESH) {
			search_children(state, scope, mesh, from, NULL, &search);
			continue;
		}
		count = appmesh_children(state, scope, parent, mesh, NULL, &parents);
		for (size_t i = 0; i < count; i++)
			search_children(state, scope, mesh, from, parents[i]->name, &search);
	}
}
