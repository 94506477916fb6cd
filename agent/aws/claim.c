/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/claim.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "agent/aws/date.h"
#include "base/cleanup.h"

#define PART(member) offsetof(struct sigv4_claim, member)

/* What a signature is made of, and what it is called in the header and in the query. NULL: it is not a pair of the header. */
static const struct part {
	const char *in_header, *in_query;
	size_t offset;
} parts[] = {
	{ NULL, "X-Amz-Algorithm", PART(algorithm) },
	{ "Credential", "X-Amz-Credential", PART(credential) },
	{ "Signature", "X-Amz-Signature", PART(signature) },
	{ "SignedHeaders", "X-Amz-SignedHeaders", PART(signed_headers) },
	{ NULL, "X-Amz-Date", PART(date) },
	{ NULL, "X-Amz-Expires", PART(expires) },
};

static struct span *part_at(struct sigv4_claim *claim, const struct part *part)
{
	return (struct span *)((char *)claim + part->offset);
}

void sigv4_claim_done(struct sigv4_claim *claim)
{
	buffer_done(&claim->text);
}

const struct sigv4_header *sigv4_header(const struct sigv4_request *request, const char *name, size_t *ret_count)
{
	const struct sigv4_header *found = NULL;
	const struct span wanted = span_of(name);

	*ret_count = 0;
	for (size_t i = 0; i < request->header_count; i++)
		if (span_equal_nocase(request->headers[i].name, wanted)) {
			found = found ? found : &request->headers[i];
			(*ret_count)++;
		}
	return found;
}

/* --- the header --------------------------------------------------------------------------------------------------------------- */

static const struct part *part_in_header(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].in_header && text_is(name, parts[i].in_header))
			return &parts[i];
	return NULL;
}

/* "Name=value" */
static int take_pair(struct sigv4_claim *claim, struct span pair, struct sigv4_refusal *refusal)
{
	struct span value = text_trim(pair), name;
	const struct part *part;

	if (!text_split(&value, '=', &name) || !value.data)
		return sigv4_refuse(refusal, SIGV4_MALFORMED,
				    "'%s' not a valid key=value pair (missing equal-sign) in Authorization header.",
				    TEXT_SHOWN(text_trim(pair)));
	part = part_in_header(name);
	if (!part)
		return sigv4_refuse(refusal, SIGV4_MALFORMED, "Authorization header has a '%s' parameter, which is not known.",
				    TEXT_SHOWN(name));
	if (part_at(claim, part)->data)
		return sigv4_refuse(refusal, SIGV4_MALFORMED, "Authorization header has more than one '%s' parameter.", part->in_header);
	*part_at(claim, part) = value;
	return 0;
}

static int read_header(struct sigv4_claim *claim, struct span value, struct sigv4_refusal *refusal)
{
	struct span pairs = text_trim(value), pair;
	int r;

	if (value.length > SIGV4_AUTHORIZATION_MAX_BYTES)
		return sigv4_refuse(refusal, SIGV4_MALFORMED, "Authorization header has more than %d bytes.",
				    SIGV4_AUTHORIZATION_MAX_BYTES);
	if (!text_is_printable(value))
		return sigv4_refuse(refusal, SIGV4_MALFORMED, "Authorization header has bytes that are no printable ASCII: '%s'.",
				    TEXT_SHOWN(value));
	if (!pairs.length)
		return sigv4_refuse(refusal, SIGV4_MALFORMED, "Authorization header is empty.");
	text_split(&pairs, ' ', &claim->algorithm);
	if (!text_is(claim->algorithm, SIGV4_ALGORITHM))
		return 0; /* refused for that, whatever follows */
	while (text_split(&pairs, ',', &pair)) {
		r = take_pair(claim, pair, refusal);
		if (r < 0)
			return r;
	}
	return 0;
}

/* X-Amz-Date, or Date where there is none. */
static int read_header_date(struct sigv4_claim *claim, const struct sigv4_request *request, struct sigv4_refusal *refusal)
{
	const char *name = "X-Amz-Date";
	size_t count;
	const struct sigv4_header *header = sigv4_header(request, name, &count);
	bool good;

	if (!header) {
		name = "Date";
		header = sigv4_header(request, name, &count);
	}
	if (!header)
		return 0; /* told with whatever else is missing */
	if (count > 1)
		return sigv4_refuse(refusal, SIGV4_BAD_DATE, "The request has more than one '%s' header.", name);
	claim->date = text_trim(header->value);
	good = aws_date_parse(claim->date, &claim->signed_s) == 0 ||
	       (text_is(span_of(name), "Date") && aws_date_parse_http(claim->date, &claim->signed_s) == 0);
	if (!good)
		return sigv4_refuse(refusal, SIGV4_BAD_DATE, "Date must be in ISO-8601 'basic format'. Got '%s' in '%s'.",
				    TEXT_SHOWN(claim->date), name);
	return 0;
}

/* --- the query ---------------------------------------------------------------------------------------------------------------- */

static int read_query(struct sigv4_claim *claim, const struct canonical *canonical, struct sigv4_refusal *refusal)
{
	buffer_clear(&claim->text);
	if (!buffer_reserve(&claim->text, canonical->query.length)) /* once for all: spans point into it */
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		struct span *to = part_at(claim, &parts[i]);
		const size_t start = claim->text.length;
		size_t count;
		const struct canonical_parameter *parameter = canonical_parameter(canonical, parts[i].in_query, &count);

		if (!parameter)
			continue;
		if (count > 1)
			return sigv4_refuse(refusal, SIGV4_MALFORMED, "AWS query-string parameters have more than one '%s'.",
					    parts[i].in_query);
		canonical_decode(parameter->value, &claim->text);
		*to = (struct span){ claim->text.data + start, claim->text.length - start };
		if (!text_is_printable(*to))
			return sigv4_refuse(refusal, SIGV4_MALFORMED, "'%s' has bytes that are no printable ASCII: '%s'.",
					    parts[i].in_query, TEXT_SHOWN(*to));
	}
	return 0;
}

/* 1 to 604800, in decimal digits. */
static int read_expires(struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	char text[sizeof("604800")] = "";
	bool digits = text_copy(claim->expires, text, sizeof(text)) == 0 && strspn(text, "0123456789") == claim->expires.length;

	claim->expires_s = digits ? atoi(text) : 0;
	if (claim->expires_s < 1 || claim->expires_s > SIGV4_EXPIRES_MAX_S)
		return sigv4_refuse(refusal, SIGV4_BAD_EXPIRES, "X-Amz-Expires must be 1 to %d seconds (7 days), got '%s'.",
				    SIGV4_EXPIRES_MAX_S, TEXT_SHOWN(claim->expires));
	return 0;
}

static int read_query_dates(struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	if (aws_date_parse(claim->date, &claim->signed_s) < 0)
		return sigv4_refuse(refusal, SIGV4_BAD_DATE, "X-Amz-Date must be in ISO-8601 'basic format'. Got '%s'.",
				    TEXT_SHOWN(claim->date));
	return read_expires(claim, refusal);
}

/* --- both --------------------------------------------------------------------------------------------------------------------- */

static void find_missing(struct sigv4_claim *claim, struct buffer *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (part_at(claim, &parts[i])->length)
			continue;
		if (claim->presigned)
			buffer_printf(out, "AWS query-string parameters must include '%s'. ", parts[i].in_query);
		else if (parts[i].in_header)
			buffer_printf(out, "Authorization header requires '%s' parameter. ", parts[i].in_header);
	}
	if (!claim->presigned && !claim->date.length)
		buffer_add(out, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
}

static int check_missing(struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	_cleanup_(buffer_done) struct buffer missing = {};

	find_missing(claim, &missing);
	if (buffer_failed(&missing))
		return -ENOMEM;
	if (missing.length == 0)
		return 0;
	return sigv4_refuse(refusal, SIGV4_MISSING_PARAMETER, "%s%s", buffer_string(&missing),
			    claim->presigned ? "Re-examine the query-string parameters." : "");
}

static int check_signature(const struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	const struct span text = claim->signature;
	bool good = text.length == SIGV4_SIGNATURE_LENGTH;

	for (size_t i = 0; good && i < text.length; i++)
		good = (text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f');
	return good ? 0 : sigv4_refuse(refusal, SIGV4_MALFORMED, "Signature must be %d hexadecimal digits in lower case, got '%s'.",
				       SIGV4_SIGNATURE_LENGTH, TEXT_SHOWN(text));
}

static int refuse_scope(struct sigv4_refusal *refusal, const char *what, struct span text)
{
	return sigv4_refuse(refusal, SIGV4_BAD_SCOPE, "Credential should be scoped to a valid %s, not '%s'.", what, TEXT_SHOWN(text));
}

/* id/day/region/service/aws4_request */
static int read_credential(struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	struct span rest = claim->credential, part[5] = {}, beyond;
	bool five = true;

	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		five = text_split(&rest, '/', &part[i]) && five;
	if (!five || text_split(&rest, '/', &beyond))
		return sigv4_refuse(refusal, SIGV4_BAD_CREDENTIAL,
				    "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
				    "got '%s'.",
				    TEXT_SHOWN(claim->credential));
	if (!aws_is_scope_name(part[3]) || text_copy(part[3], claim->scope.service, sizeof(claim->scope.service)) < 0)
		return refuse_scope(refusal, "service", part[3]);
	memcpy(refusal->service, claim->scope.service, sizeof(refusal->service));
	if (!aws_is_scope_name(part[2]) || text_copy(part[2], claim->scope.region, sizeof(claim->scope.region)) < 0)
		return refuse_scope(refusal, "region", part[2]);
	if (!text_is(part[4], "aws4_request"))
		return sigv4_refuse(refusal, SIGV4_BAD_SCOPE,
				    "Credential should be scoped with a valid terminator: 'aws4_request', not '%s'.",
				    TEXT_SHOWN(part[4]));
	claim->access_key_id = part[0];
	if (text_copy(part[1], claim->scope.day, sizeof(claim->scope.day)) < 0)
		return refuse_scope(refusal, "date", part[1]);
	return 0;
}

static int check_day(const struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	char date[AWS_DATE_TEXT_BYTES];

	aws_date_format(claim->signed_s, date);
	if (strncmp(date, claim->scope.day, AWS_DAY_BYTES - 1) == 0)
		return 0;
	return sigv4_refuse(refusal, SIGV4_OTHER_DAY,
			    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
			    "'%s' != '%.8s', from '%s'.",
			    TEXT_SHOWN(span_of(claim->scope.day)), date, date);
}

static int check_values(struct sigv4_claim *claim, struct sigv4_refusal *refusal)
{
	struct error err = {};
	int r = read_credential(claim, refusal);

	if (r == 0)
		r = check_signature(claim, refusal);
	if (r == 0 && claim->presigned)
		r = read_query_dates(claim, refusal);
	if (r == 0)
		r = check_day(claim, refusal);
	if (r == 0 && canonical_check_signed(claim->signed_headers, &err) < 0)
		r = sigv4_refuse_error(refusal, SIGV4_BAD_SIGNED_HEADERS, &err);
	return r;
}

static bool has_parts(const struct canonical *canonical)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t count;

		if (canonical_parameter(canonical, parts[i].in_query, &count))
			return true;
	}
	return false;
}

int sigv4_claim_read(struct sigv4_claim *claim, const struct canonical *canonical, const struct sigv4_request *request,
		     struct sigv4_refusal *refusal)
{
	size_t count;
	const struct sigv4_header *header = sigv4_header(request, "Authorization", &count);
	int r;

	*claim = (struct sigv4_claim){ .presigned = has_parts(canonical), .text = claim->text };
	if (count > 1)
		return sigv4_refuse(refusal, SIGV4_TWO_SIGNATURES, "The request has more than one 'Authorization' header.");
	if (header && claim->presigned)
		return sigv4_refuse(refusal, SIGV4_TWO_SIGNATURES,
				    "Found both parameters of a signature ('X-Amz-...') in the query-string and 'Authorization' as "
				    "HTTP header.");
	if (!header && !claim->presigned)
		return sigv4_refuse(refusal, SIGV4_NO_SIGNATURE, "Request is missing Authentication Token");
	r = header ? read_header(claim, header->value, refusal) : read_query(claim, canonical, refusal);
	if (r < 0)
		return r;
	if (claim->algorithm.length && !text_is(claim->algorithm, SIGV4_ALGORITHM))
		return sigv4_refuse(refusal, SIGV4_BAD_ALGORITHM, "Unsupported AWS 'algorithm': '%s' (only " SIGV4_ALGORITHM ").",
				    TEXT_SHOWN(claim->algorithm));
	if (header) {
		r = read_header_date(claim, request, refusal);
		if (r < 0)
			return r;
	}
	r = check_missing(claim, refusal);
	return r < 0 ? r : check_values(claim, refusal);
}
