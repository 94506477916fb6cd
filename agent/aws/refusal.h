/* SPDX-License-Identifier: Apache-2.0 */
/* Why a signature was refused: a reason to count, the error that a client of AWS knows, and a sentence as AWS would say it. The
 * status is 403 for all of them. */
#pragma once

#include "agent/aws/credential.h"
#include "base/error.h"

/* Reason, its name in counters and logs, the error, and what it means (docs/api.md has the same). */
#define SIGV4_REASONS(X)                                                                                                       \
	X(SIGV4_NO_SIGNATURE, "no-signature", MISSING_TOKEN, "neither an `Authorization` header nor parameters of a signature") \
	X(SIGV4_TWO_SIGNATURES, "two-signatures", INCOMPLETE, "two `Authorization` headers, or one and parameters of a signature") \
	X(SIGV4_BAD_METHOD, "bad-method", INVALID, "the method is none")                                                       \
	X(SIGV4_BAD_PATH, "bad-path", INVALID, "a segment is empty, `.` or `..`, or badly encoded; or the path is too long")   \
	X(SIGV4_BAD_QUERY, "bad-query", INVALID, "a `+`, a parameter without a name, a bad escape; or too many, or too long")  \
	X(SIGV4_MALFORMED, "malformed", INCOMPLETE, "not pairs of name and value, or one of them is unknown, repeated or too long") \
	X(SIGV4_BAD_ALGORITHM, "bad-algorithm", INCOMPLETE, "another algorithm than `AWS4-HMAC-SHA256`")                       \
	X(SIGV4_MISSING_PARAMETER, "missing-parameter", INCOMPLETE, "a part of the signature is missing, or its date is")      \
	X(SIGV4_BAD_CREDENTIAL, "bad-credential", INCOMPLETE, "the credential has not five parts")                             \
	X(SIGV4_BAD_SCOPE, "bad-scope", INVALID, "region, service or the last part of the scope cannot be")                    \
	X(SIGV4_OTHER_REGION, "other-region", INVALID, "the region is not served here")                                        \
	X(SIGV4_SESSION_TOKEN, "session-token", UNRECOGNIZED, "session tokens are not taken yet")                              \
	X(SIGV4_BAD_DATE, "bad-date", INCOMPLETE, "the date is none, or there is more than one")                               \
	X(SIGV4_OTHER_DAY, "other-day", INVALID, "the scope is of another day than the date")                                  \
	X(SIGV4_BAD_EXPIRES, "bad-expires", INCOMPLETE, "`X-Amz-Expires` is not 1 to 604800 seconds")                          \
	X(SIGV4_NOT_YET_CURRENT, "not-yet-current", INVALID, "signed more than 5 minutes in the future")                       \
	X(SIGV4_EXPIRED, "expired", INVALID, "signed more than 5 minutes ago; presigned, and its time is over")                \
	X(SIGV4_BAD_SIGNED_HEADERS, "bad-signed-headers", INCOMPLETE, "`SignedHeaders` is no list of names")                   \
	X(SIGV4_UNSIGNED_HEADER, "unsigned-header", INVALID, "`Host`, or an `X-Amz-` header of the request, is not signed")    \
	X(SIGV4_BAD_HEADER, "bad-header", INVALID, "a signed header is absent, is too long, or has other bytes than printable ASCII") \
	X(SIGV4_UNSIGNED_BODY, "unsigned-body", INVALID, "`X-Amz-Content-Sha256` leaves the body out, or signs it in pieces")  \
	X(SIGV4_OTHER_BODY, "other-body", INVALID, "`X-Amz-Content-Sha256` is not that of the body")                           \
	X(SIGV4_UNKNOWN_KEY, "unknown-key", UNRECOGNIZED, "no such access key, or it is inactive")                             \
	X(SIGV4_MISMATCH, "mismatch", INVALID, "the signature is another one")

#define SIGV4_REASON_ENUM(reason, name, error, meaning) reason,
enum sigv4_reason { SIGV4_REASONS(SIGV4_REASON_ENUM) SIGV4_REASON_COUNT };
#undef SIGV4_REASON_ENUM

struct sigv4_refusal {
	enum sigv4_reason reason;
	char message[ERROR_MESSAGE_BYTES]; /* printable ASCII */
	char service[AWS_SERVICE_BYTES]; /* of the scope, for whoever must answer in that service's way; "": none was read */
	/* SIGV4_MISMATCH: the canonical request and the string to sign, for the person who looks for the difference; nothing that
	 * the client did not send. Else NULL. Borrowed until the verifier is used again. */
	const char *detail;
};

const char *sigv4_reason_name(enum sigv4_reason reason); /* "expired" */
/* "InvalidSignatureException", as JSON services call it, or "SignatureDoesNotMatch", as those of the query protocol (STS) do. */
const char *sigv4_error_code(enum sigv4_reason reason, bool is_query_protocol);

/* Fills reason and message; returns -EACCES. */
int sigv4_refuse(struct sigv4_refusal *refusal, enum sigv4_reason reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with the error that canonical_…() gave; hands on what is not -EINVAL. */
int sigv4_refuse_error(struct sigv4_refusal *refusal, enum sigv4_reason reason, const struct error *err);
