/* SPDX-License-Identifier: Apache-2.0 */
/* Which service a signed request is for, by the scope of its signature: one listener serves several. */
#pragma once

#include "agent/aws/credential.h"

struct aws_service {
	const char *name; /* as signatures have it: "appmesh" is the control API, "sts" is agent/iam/sts.h */
	bool is_query_protocol; /* parameters as a form, answers and errors in XML; else REST and JSON */
};

/* -EOPNOTSUPP says which services there are. */
int aws_service_find(const struct aws_scope *scope, const struct aws_service **ret_service, struct error *err);
