/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum error_kind { MISSING_TOKEN, INCOMPLETE, INVALID, UNRECOGNIZED };

static const char *const json_codes[] = {
	[MISSING_TOKEN] = "MissingAuthenticationTokenException",
	[INCOMPLETE] = "IncompleteSignatureException",
	[INVALID] = "InvalidSignatureException",
	[UNRECOGNIZED] = "UnrecognizedClientException",
};
static const char *const query_codes[] = {
	[MISSING_TOKEN] = "MissingAuthenticationToken",
	[INCOMPLETE] = "IncompleteSignature",
	[INVALID] = "SignatureDoesNotMatch",
	[UNRECOGNIZED] = "InvalidClientTokenId",
};

#define ROW(reason, name, error, meaning) [reason] = { name, error },
static const struct {
	const char *name;
	enum error_kind kind;
} reasons[] = { SIGV4_REASONS(ROW) };
#undef ROW

const char *sigv4_reason_name(enum sigv4_reason reason)
{
	return reasons[reason].name;
}

const char *sigv4_error_code(enum sigv4_reason reason, bool is_query_protocol)
{
	return (is_query_protocol ? query_codes : json_codes)[reasons[reason].kind];
}

int sigv4_refuse(struct sigv4_refusal *refusal, enum sigv4_reason reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	refusal->reason = reason;
	vsnprintf(refusal->message, sizeof(refusal->message), format, args);
	va_end(args);
	return -EACCES;
}

int sigv4_refuse_error(struct sigv4_refusal *refusal, enum sigv4_reason reason, const struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	if (err->code != -EINVAL)
		return err->code;
	return sigv4_refuse(refusal, reason, "%s", error_text(err, text, sizeof(text)));
}
