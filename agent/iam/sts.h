/* SPDX-License-Identifier: Apache-2.0 */
/* AWS STS, as far as it is there: GetCallerIdentity, which the Terraform provider, `aws sts` and SDKs ask first. Query protocol: the
 * parameters of a form (POST), or of the URL; answers in XML. AWS STS API reference, version 2011-06-15. */
#pragma once

#include "agent/iam/principal.h"
#include "base/bytes.h"

#define STS_CONTENT_TYPE "text/xml"

struct sts_request { /* borrowed; decoded */
	const char *action, *version; /* parameters "Action" and "Version"; NULL: absent */
	const char *request_id;
};

/* Appends the answer and returns its status: 200; 400 for another action (MissingAction, InvalidAction). A buffer that failed means
 * that there was no memory. */
int sts_answer(const struct sts_request *request, const struct iam_principal *caller, struct buffer *out);
/* The body of an error of this protocol, also for signatures that were refused: code "SignatureDoesNotMatch", say. */
void sts_error(const char *code, const char *message, const char *request_id, struct buffer *out);
