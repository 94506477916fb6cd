/* SPDX-License-Identifier: Apache-2.0 */
/* What a document is, told by what is in it, and what it would have to be where it cannot be read. */
#pragma once

#include "base/error.h"
#include "base/json.h"

enum document_form {
	FORM_CREATE, /* what `aws appmesh create-* --cli-input-json` takes */
	FORM_DESCRIBE, /* what `aws appmesh describe-*` prints, or the API answers */
	FORM_STATE, /* terraform.tfstate */
	FORM_TEMPLATE, /* CloudFormation */
};

/* -EINVAL says what the document seems to be, and why it is not read. */
int form_of_document(const json_t *document, enum document_form *ret_form, struct error *err);
/* By a text's name and its first character that is no space: 1 JSON, 0 it may be YAML. -EINVAL: it is something else that people have,
 * and says what. */
int form_is_json(const char *name, char first, struct error *err);
