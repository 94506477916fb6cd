/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/sigv4.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "agent/aws/claim.h"
#include "agent/aws/date.h"
#include "base/cleanup.h"

struct sigv4 {
	struct canonical canonical;
	struct sigv4_claim claim;
	struct buffer detail;
};

int sigv4_new(struct sigv4 **ret_sigv4)
{
	struct sigv4 *sigv4 = calloc(1, sizeof(*sigv4));

	if (!sigv4)
		return -ENOMEM;
	*ret_sigv4 = sigv4;
	return 0;
}

struct sigv4 *sigv4_free(struct sigv4 *sigv4)
{
	if (!sigv4)
		return NULL;
	canonical_done(&sigv4->canonical);
	sigv4_claim_done(&sigv4->claim);
	buffer_done(&sigv4->detail);
	free(sigv4);
	return NULL;
}

/* --- what the request says ---------------------------------------------------------------------------------------------------- */

static int read_request(struct sigv4 *sigv4, const struct sigv4_request *request, struct sigv4_refusal *refusal)
{
	struct error err = {};
	struct span path, query;

	if (request->header_count > CANONICAL_HEADERS_MAX)
		return sigv4_refuse(refusal, SIGV4_BAD_HEADER, "The request has more than %d headers.", CANONICAL_HEADERS_MAX);
	canonical_split(request->target, &path, &query);
	if (canonical_check_method(request->method, &err) < 0)
		return sigv4_refuse_error(refusal, SIGV4_BAD_METHOD, &err);
	if (canonical_path(&sigv4->canonical, path, &err) < 0)
		return sigv4_refuse_error(refusal, SIGV4_BAD_PATH, &err);
	if (canonical_query(&sigv4->canonical, query, &err) < 0)
		return sigv4_refuse_error(refusal, SIGV4_BAD_QUERY, &err);
	return sigv4_claim_read(&sigv4->claim, &sigv4->canonical, request, refusal);
}

/* "us-east-1, eu-west-1", as many as there is room for in a message. */
static void list_regions(const struct sigv4_rules *rules, struct buffer *out)
{
	for (size_t i = 0; i < rules->region_count; i++) {
		if (out->length > ERROR_MESSAGE_BYTES / 2) {
			buffer_add(out, ", ...");
			return;
		}
		buffer_printf(out, "%s'%s'", i ? ", " : "", rules->regions[i]);
	}
}

static int check_region(const struct sigv4_rules *rules, const char *region, struct sigv4_refusal *refusal)
{
	_cleanup_(buffer_done) struct buffer regions = {};

	if (!rules->region_count)
		return 0;
	for (size_t i = 0; i < rules->region_count; i++)
		if (strcmp(rules->regions[i], region) == 0)
			return 0;
	list_regions(rules, &regions);
	return sigv4_refuse(refusal, SIGV4_OTHER_REGION, "Credential should be scoped to a valid region: %s, not '%s'.",
			    buffer_string(&regions), region);
}

static int check_session_token(const struct canonical *canonical, const struct sigv4_request *request, struct sigv4_refusal *refusal)
{
	static const char name[] = "X-Amz-Security-Token";
	size_t count;

	if (!sigv4_header(request, name, &count) && !canonical_parameter(canonical, name, &count))
		return 0;
	return sigv4_refuse(refusal, SIGV4_SESSION_TOKEN,
			    "The security token included in the request is invalid: session tokens (%s) are not taken, sign with an "
			    "access key alone.",
			    name);
}

/* --- time --------------------------------------------------------------------------------------------------------------------- */

static int check_presigned_end(const struct sigv4_claim *claim, int64_t now_s, struct sigv4_refusal *refusal)
{
	const int64_t end_s = claim->signed_s + claim->expires_s;
	char now[AWS_DATE_TEXT_BYTES], signed_at[AWS_DATE_TEXT_BYTES], end[AWS_DATE_TEXT_BYTES];

	if (now_s <= end_s)
		return 0;
	return sigv4_refuse(refusal, SIGV4_EXPIRED, "Signature expired: %s is now later than %s (%s + %lld s of X-Amz-Expires)",
			    aws_date_format(now_s, now), aws_date_format(end_s, end), aws_date_format(claim->signed_s, signed_at),
			    (long long)claim->expires_s);
}

static int check_time(const struct sigv4_claim *claim, int64_t now_s, struct sigv4_refusal *refusal)
{
	const int64_t first_s = now_s - SIGV4_SKEW_S, last_s = now_s + SIGV4_SKEW_S;
	char now[AWS_DATE_TEXT_BYTES], signed_at[AWS_DATE_TEXT_BYTES], bound[AWS_DATE_TEXT_BYTES];

	aws_date_format(now_s, now);
	aws_date_format(claim->signed_s, signed_at);
	if (claim->signed_s > last_s)
		return sigv4_refuse(refusal, SIGV4_NOT_YET_CURRENT, "Signature not yet current: %s is still later than %s (%s + %d min.)",
				    signed_at, aws_date_format(last_s, bound), now, SIGV4_SKEW_S / 60);
	if (claim->presigned)
		return check_presigned_end(claim, now_s, refusal);
	if (claim->signed_s < first_s)
		return sigv4_refuse(refusal, SIGV4_EXPIRED, "Signature expired: %s is now earlier than %s (%s - %d min.)", signed_at,
				    aws_date_format(first_s, bound), now, SIGV4_SKEW_S / 60);
	return 0;
}

/* --- what is signed ----------------------------------------------------------------------------------------------------------- */

static int check_signed_headers(const struct sigv4_request *request, struct span signed_headers, struct sigv4_refusal *refusal)
{
	if (!canonical_is_signed(signed_headers, span_of("host")))
		return sigv4_refuse(refusal, SIGV4_UNSIGNED_HEADER,
				    "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
	for (size_t i = 0; i < request->header_count; i++) {
		const struct span name = request->headers[i].name;

		if (text_has_prefix(name, "x-amz-") && !canonical_is_signed(signed_headers, name))
			return sigv4_refuse(refusal, SIGV4_UNSIGNED_HEADER, "'%s' must be a 'SignedHeader' in the AWS Authorization.",
					    TEXT_SHOWN(name));
	}
	return 0;
}

/* What it says of the body, where it says something. */
static int check_body(struct span said, const struct sigv4_request *request, struct sigv4_refusal *refusal)
{
	char hash[DIGEST_HEX_BYTES];

	digest_hex(request->body_sha256, hash);
	if (text_is(said, hash))
		return 0;
	if (text_is(said, "UNSIGNED-PAYLOAD") || text_has_prefix(said, "STREAMING-"))
		return sigv4_refuse(refusal, SIGV4_UNSIGNED_BODY, "X-Amz-Content-Sha256 '%s' is not taken: sign the whole body.",
				    TEXT_SHOWN(said));
	return sigv4_refuse(refusal, SIGV4_OTHER_BODY, "X-Amz-Content-Sha256 '%s' is not that of the body, '%s'.", TEXT_SHOWN(said), hash);
}

static int check_bodies(const struct canonical *canonical, const struct sigv4_request *request, struct sigv4_refusal *refusal)
{
	static const char name[] = "X-Amz-Content-Sha256";
	size_t count;
	const struct canonical_parameter *parameter = canonical_parameter(canonical, name, &count);
	int r = parameter ? check_body(parameter->value, request, refusal) : 0;

	for (size_t i = 0; r == 0 && i < request->header_count; i++)
		if (span_equal_nocase(request->headers[i].name, span_of(name)))
			r = check_body(text_trim(request->headers[i].value), request, refusal);
	return r;
}

static int check_rules(const struct sigv4 *sigv4, const struct sigv4_rules *rules, const struct sigv4_request *request,
		       struct sigv4_refusal *refusal)
{
	const struct sigv4_claim *claim = &sigv4->claim;
	int r = check_session_token(&sigv4->canonical, request, refusal);

	if (r == 0)
		r = check_region(rules, claim->scope.region, refusal);
	if (r == 0)
		r = check_time(claim, request->now_s, refusal);
	if (r == 0)
		r = check_signed_headers(request, claim->signed_headers, refusal);
	if (r == 0)
		r = check_bodies(&sigv4->canonical, request, refusal);
	return r;
}

/* --- the signature ------------------------------------------------------------------------------------------------------------ */

static struct aws_credential *look_up(const struct sigv4_rules *rules, struct span id)
{
	char text[AWS_ACCESS_KEY_ID_BYTES];

	return text_copy(id, text, sizeof(text)) < 0 ? NULL : rules->lookup(text, rules->arg);
}

static int make_string_to_sign(struct sigv4 *sigv4, const struct sigv4_request *request, struct sigv4_refusal *refusal)
{
	const struct sigv4_claim *claim = &sigv4->claim;
	char scope[AWS_SCOPE_BYTES], date[AWS_DATE_TEXT_BYTES];
	struct error err = {};

	if (canonical_request(&sigv4->canonical, request, claim->signed_headers, &err) < 0)
		return sigv4_refuse_error(refusal, SIGV4_BAD_HEADER, &err);
	return canonical_to_sign(&sigv4->canonical, aws_date_format(claim->signed_s, date),
				 aws_scope_format(&claim->scope, scope));
}

static int refuse_mismatch(struct sigv4 *sigv4, struct sigv4_refusal *refusal)
{
	buffer_clear(&sigv4->detail);
	buffer_printf(&sigv4->detail,
		      "The Canonical String for this request should have been\n'%s'\n\nThe String-to-Sign should have been\n'%s'\n",
		      buffer_string(&sigv4->canonical.request), buffer_string(&sigv4->canonical.to_sign));
	refusal->detail = buffer_failed(&sigv4->detail) ? NULL : buffer_string(&sigv4->detail);
	return sigv4_refuse(refusal, SIGV4_MISMATCH,
			    "The request signature we calculated does not match the signature you provided. Check your AWS "
			    "Secret Access Key and signing method. Consult the service documentation for details.");
}

/* Of the string to sign. */
static void sign(struct sigv4 *sigv4, const struct aws_signing_key *key, char ret_signature[DIGEST_HEX_BYTES])
{
	const struct buffer *to_sign = &sigv4->canonical.to_sign;
	uint8_t hash[DIGEST_BYTES];

	digest_hmac(key->key, sizeof(key->key), to_sign->data, to_sign->length, hash);
	digest_hex(hash, ret_signature);
}

static int check_signature(struct sigv4 *sigv4, struct aws_credential *credential, struct sigv4_refusal *refusal)
{
	char expected[DIGEST_HEX_BYTES];
	struct aws_signing_key key;

	aws_signing_key(credential, &sigv4->claim.scope, &key);
	sign(sigv4, &key, expected);
	if (CRYPTO_memcmp(expected, sigv4->claim.signature.data, SIGV4_SIGNATURE_LENGTH) != 0)
		return refuse_mismatch(sigv4, refusal);
	aws_signing_key_keep(credential, &key);
	return 0;
}

int sigv4_verify(struct sigv4 *sigv4, const struct sigv4_rules *rules, const struct sigv4_request *request,
		 struct sigv4_identity *ret_identity, struct sigv4_refusal *ret_refusal)
{
	const struct sigv4_claim *claim = &sigv4->claim;
	struct aws_credential *credential;
	int r;

	*ret_refusal = (struct sigv4_refusal){};
	r = read_request(sigv4, request, ret_refusal);
	if (r == 0)
		r = check_rules(sigv4, rules, request, ret_refusal);
	if (r == 0)
		r = make_string_to_sign(sigv4, request, ret_refusal);
	if (r < 0)
		return r;
	credential = look_up(rules, claim->access_key_id);
	if (!credential)
		return sigv4_refuse(ret_refusal, SIGV4_UNKNOWN_KEY,
				    "The security token included in the request is invalid: there is no access key '%s'.",
				    TEXT_SHOWN(claim->access_key_id));
	r = check_signature(sigv4, credential, ret_refusal);
	if (r < 0)
		return r;
	*ret_identity = (struct sigv4_identity){ credential, claim->scope, claim->signed_headers, claim->presigned };
	return 0;
}

/* --- signing ------------------------------------------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
	const struct span *p = a, *q = b;
	const int r = strncasecmp(p->data, q->data, MIN(p->length, q->length));

	return r ? r : (p->length > q->length) - (p->length < q->length);
}

/* Of all headers: in lower case, in order, each once. */
static int list_signed_headers(const struct sigv4_request *request, struct buffer *out, struct error *err)
{
	struct span names[CANONICAL_HEADERS_MAX];

	if (request->header_count > ARRAY_SIZE(names))
		return error_set(err, -EINVAL, "the request has more than %zu headers", ARRAY_SIZE(names));
	for (size_t i = 0; i < request->header_count; i++)
		names[i] = request->headers[i].name;
	qsort(names, request->header_count, sizeof(names[0]), compare_names);
	for (size_t i = 0; i < request->header_count; i++) {
		if (i > 0 && span_equal_nocase(names[i], names[i - 1]))
			continue;
		if (i > 0)
			buffer_add(out, ";");
		for (size_t j = 0; j < names[i].length; j++)
			buffer_append(out, &(char){ (char)tolower((unsigned char)names[i].data[j]) }, 1);
	}
	return buffer_failed(out) ? error_set(err, -ENOMEM, "out of memory") : 0;
}

static int check_date_header(const struct sigv4_request *request, const char *date, struct error *err)
{
	size_t count;
	const struct sigv4_header *header = sigv4_header(request, "X-Amz-Date", &count);

	if (count != 1 || !text_is(header->value, date))
		return error_set_field(err, -EINVAL, "X-Amz-Date", "must be there once, and '%s'", date);
	return 0;
}

static int make_canonical(struct sigv4 *sigv4, const struct sigv4_request *request, struct span signed_headers, struct error *err)
{
	struct canonical *c = &sigv4->canonical;
	struct span path, query;
	int r = canonical_check_method(request->method, err);

	canonical_split(request->target, &path, &query);
	if (r == 0)
		r = canonical_path(c, path, err);
	if (r == 0)
		r = canonical_query(c, query, err);
	if (r == 0)
		r = canonical_check_signed(signed_headers, err);
	if (r == 0)
		r = canonical_request(c, request, signed_headers, err);
	return r;
}

static void sign_for(struct sigv4 *sigv4, struct aws_credential *credential, const struct aws_scope *scope,
		     char ret_signature[DIGEST_HEX_BYTES])
{
	struct aws_signing_key key;

	aws_signing_key(credential, scope, &key);
	sign(sigv4, &key, ret_signature);
	aws_signing_key_keep(credential, &key);
}

static int scope_of(const char *region, const char *service, const char *date, struct aws_scope *ret_scope, struct error *err)
{
	if (!aws_is_scope_name(span_of(region)))
		return error_set_field(err, -EINVAL, "region", "'%s' is none", region);
	if (!aws_is_scope_name(span_of(service)))
		return error_set_field(err, -EINVAL, "service", "'%s' is none", service);
	*ret_scope = (struct aws_scope){};
	memcpy(ret_scope->day, date, AWS_DAY_BYTES - 1);
	strcpy(ret_scope->region, region);
	strcpy(ret_scope->service, service);
	return 0;
}

int sigv4_sign(struct sigv4 *sigv4, struct aws_credential *credential, const char *region, const char *service,
	       const struct sigv4_request *request, struct buffer *out, struct error *err)
{
	_cleanup_(buffer_done) struct buffer names = {};
	char date[AWS_DATE_TEXT_BYTES], scope_text[AWS_SCOPE_BYTES], signature[DIGEST_HEX_BYTES];
	struct aws_scope scope;
	struct span signed_headers;
	int r = list_signed_headers(request, &names, err);

	if (r < 0)
		return r;
	aws_date_format(request->now_s, date);
	r = scope_of(region, service, date, &scope, err);
	if (r == 0)
		r = check_date_header(request, date, err);
	if (r < 0)
		return r;
	signed_headers = (struct span){ names.data, names.length };
	if (!canonical_is_signed(signed_headers, span_of("host")))
		return error_set_field(err, -EINVAL, "Host", "is missing");
	r = make_canonical(sigv4, request, signed_headers, err);
	if (r < 0)
		return r;
	aws_scope_format(&scope, scope_text);
	r = canonical_to_sign(&sigv4->canonical, date, scope_text);
	if (r < 0)
		return error_set(err, r, "out of memory");
	sign_for(sigv4, credential, &scope, signature);
	buffer_printf(out, SIGV4_ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s", credential->id, scope_text,
		      buffer_string(&names), signature);
	return buffer_failed(out) ? error_set(err, -ENOMEM, "out of memory") : 0;
}
