/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/convert/form.h"

#include <string.h>

#include "agent/spec/field.h"
#include "agent/spec/resource.h"

static bool has(const json_t *document, const char *member)
{
	return json_object_get(document, member) != NULL;
}

/* "virtualNode": the member that the aws command line wraps a resource in. */
static bool is_wrapped(const json_t *document)
{
	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++)
		if (json_is_object(json_object_get(document, resource_kinds[i].path_word)))
			return true;
	return false;
}

static bool is_list_output(const json_t *document)
{
	char plural[32];

	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++) {
		snprintf(plural, sizeof(plural), "%s%s", resource_kinds[i].path_word, i == RESOURCE_MESH ? "es" : "s");
		if (json_is_array(json_object_get(document, plural)))
			return true;
	}
	return false;
}

static bool has_name(const json_t *document)
{
	for (size_t i = 0; i < RESOURCE_KIND_COUNT; i++)
		if (has(document, resource_kinds[i].name_member))
			return true;
	return false;
}

int form_of_document(const json_t *document, enum document_form *ret_form, struct error *err)
{
	if (!json_is_object(document))
		return error_set(err, -EINVAL, "must be an object, not %s", VALUE(document));
	if (has(document, "apiVersion") && has(document, "kind"))
		return error_set_field(err, -EINVAL, "apiVersion", "a manifest of Kubernetes (%s) is not read in this version",
				       VALUE(json_object_get(document, "kind")));
	if (is_wrapped(document) || (has(document, "metadata") && has(document, "status")))
		*ret_form = FORM_DESCRIBE;
	else if (has(document, "terraform_version") || (has(document, "serial") && has(document, "lineage")))
		*ret_form = FORM_STATE;
	else if (has(document, "AWSTemplateFormatVersion") || json_is_object(json_object_get(document, "Resources")))
		*ret_form = FORM_TEMPLATE;
	else if (!has_name(document) && is_list_output(document))
		return error_set(err, -EINVAL, "what `aws appmesh list-*` prints has no specs: what `describe-*` prints does");
	else
		*ret_form = FORM_CREATE; /* where names are missing, whoever reads it says so */
	return 0;
}

int form_is_json(const char *name, char first, struct error *err)
{
	const char *dot = strrchr(name, '.');

	if (first == '{' || first == '[')
		return 1;
	if (dot && (strcmp(dot, ".tf") == 0 || strcmp(dot, ".hcl") == 0))
		return error_set(err, -EINVAL, "Terraform's own language is not read: give the state, terraform.tfstate, or what "
					       "`terraform state pull` prints");
	if (dot && strcmp(dot, ".json") == 0)
		return error_set(err, -EINVAL, "is no JSON: a document begins with { or [");
	return 0;
}
