/* SPDX-License-Identifier: Apache-2.0 */
/* Every refusal, and the edges of what is accepted. */
#include "agent/aws/claim.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"
#include "tests/unit/sigv4_world.h"

#define TARGET "/v20190125/meshes?limit=5"

static bool seen[SIGV4_REASON_COUNT];

static void expect_accepted(struct sigv4_world *w)
{
	const int r = sigv4_world_verify(w);

	if (r < 0)
		fail_msg("refused, %d: %s: %s\n%s", r, sigv4_reason_name(w->refusal.reason), w->refusal.message,
			 w->refusal.detail ? w->refusal.detail : "");
}

/* `code`: as JSON services call it; `message`: in it, or NULL. */
static void expect_refused(struct sigv4_world *w, enum sigv4_reason reason, const char *code, const char *message)
{
	EXPECT_EQ(sigv4_world_verify(w), -EACCES);
	EXPECT_STR(sigv4_reason_name(w->refusal.reason), sigv4_reason_name(reason));
	EXPECT_STR(sigv4_error_code(reason, false), code);
	if (message)
		EXPECT_CONTAINS(w->refusal.message, message);
	EXPECT(text_is_printable(span_of(w->refusal.message)));
	seen[reason] = true;
}

#define MISSING_TOKEN "MissingAuthenticationTokenException"
#define INCOMPLETE "IncompleteSignatureException"
#define INVALID "InvalidSignatureException"
#define UNRECOGNIZED "UnrecognizedClientException"

/* --- the header form ---------------------------------------------------------------------------------------------------------- */

/* Signatures that AWS has published: the test suite's get-vanilla, and the examples of its general reference, with secret
 * wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY. */
TEST(published_examples_have_their_signatures)
{
	static const struct {
		const char *target, *host, *content_type, *service, *signature;
	} examples[] = {
		{ "/", "example.amazonaws.com", NULL, "service", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "/?Action=ListUsers&Version=2010-05-08", "iam.amazonaws.com", "application/x-www-form-urlencoded; charset=utf-8", "iam",
		  "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;
		_cleanup_(buffer_done) struct buffer out = {};
		struct error err = {};

		sigv4_world_init(&w, "GET", examples[i].target);
		sigv4_world_set(&w, "Host", examples[i].host);
		sigv4_world_set(&w, "Content-Type", examples[i].content_type);
		EXPECT_OK(sigv4_sign(w.sigv4, &w.credential, "us-east-1", examples[i].service, &w.request, &out, &err), &err);
		EXPECT_CONTAINS(buffer_string(&out), examples[i].signature);
		sigv4_world_add(&w, "Authorization", buffer_string(&out));
		expect_accepted(&w);
		EXPECT_STR(w.identity.scope.service, examples[i].service);
		EXPECT_STR(w.identity.scope.region, "us-east-1");
		EXPECT_STR(w.identity.scope.day, "20150830");
		EXPECT_STR(w.identity.credential->id, "AKIDEXAMPLE");
		EXPECT(text_is(w.identity.signed_headers, examples[i].content_type ? "content-type;host;x-amz-date" : "host;x-amz-date"));
		EXPECT(!w.identity.presigned);
	}
}

struct change {
	enum sigv4_reason reason;
	const char *code;
	const char *header; /* NULL: the target */
	const char *from; /* NULL: the whole value; then `to` NULL: without the header */
	const char *to;
	const char *message;
};

/* A request that was accepted is refused with the change. */
static void expect_change_refused(const struct change *change, bool presigned)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	if (presigned)
		sigv4_world_presign(&w, "60", "");
	else
		sigv4_world_sign(&w);
	expect_accepted(&w);
	if (change->from)
		sigv4_world_replace(&w, change->header, change->from, change->to);
	else if (change->header)
		sigv4_world_set(&w, change->header, change->to);
	else
		sigv4_world_target(&w, "%s", change->to);
	expect_refused(&w, change->reason, change->code, change->message);
}

/* What is wrong is told before the signature is looked at, which does not match any more either. */
TEST(a_header_with_a_fault_is_refused_by_its_name)
{
	static const char a[] = "Authorization", d[] = "X-Amz-Date";
	static const struct change changes[] = {
		{ SIGV4_NO_SIGNATURE, MISSING_TOKEN, a, NULL, NULL, "Request is missing Authentication Token" },
		{ SIGV4_TWO_SIGNATURES, INCOMPLETE, NULL, "limit=5", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "Found both" },
		{ SIGV4_TWO_SIGNATURES, INCOMPLETE, NULL, "limit=5", "X-Amz-Signature=0", "Found both" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, NULL, "", "is empty" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, NULL, "   ", "is empty" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "Signature", "'Signature" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, ", Signature", ",, Signature", "missing equal-sign" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "Signature =", "'Signature '" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "signature=", "'signature'" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "Other=1, Signature=", "'Other'" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "Signature=0, Signature=", "more than one 'Signature'" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "SignedHeaders=host, Signature=", "more than one 'SignedHeaders'" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "Signature=", "Signature=0", "64 hexadecimal digits" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, "host;", "h\xc3\xb6st;", "printable ASCII" },
		{ SIGV4_MALFORMED, INCOMPLETE, a, ", Signature", ",\tSignature", "printable ASCII" },
		{ SIGV4_BAD_ALGORITHM, INCOMPLETE, a, "SHA256", "SHA512", "'AWS4-HMAC-SHA512'" },
		{ SIGV4_BAD_ALGORITHM, INCOMPLETE, a, "AWS4", "aws4", "'aws4-HMAC-SHA256'" },
		{ SIGV4_BAD_ALGORITHM, INCOMPLETE, a, NULL, "Bearer eyJhbGciOi", "'Bearer'" },
		{ SIGV4_BAD_ALGORITHM, INCOMPLETE, a, NULL, "AWS AKIDEXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", "'AWS'" },
		{ SIGV4_BAD_ALGORITHM, INCOMPLETE, a, NULL, "AWS4-ECDSA-P256-SHA256 Credential=x", "'AWS4-ECDSA-P256-SHA256'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, a, NULL, "AWS4-HMAC-SHA256",
		  "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
		  "Authorization header requires 'SignedHeaders' parameter. " },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, a, "SignedHeaders=host;x-amz-date", "SignedHeaders=", "requires 'SignedHeaders'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, d, NULL, NULL, "requires existence of either a 'X-Amz-Date' or a 'Date' header" },
		{ SIGV4_BAD_CREDENTIAL, INCOMPLETE, a, "/aws4_request", "", "exactly 5 slash-delimited elements" },
		{ SIGV4_BAD_CREDENTIAL, INCOMPLETE, a, "/aws4_request", "/aws4_request/x", "exactly 5 slash-delimited elements" },
		{ SIGV4_BAD_CREDENTIAL, INCOMPLETE, a, "/aws4_request", "/aws4_request/", "exactly 5 slash-delimited elements" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "us-east-1", "US-EAST-1", "valid region, not 'US-EAST-1'" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "us-east-1", "", "valid region, not ''" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "us-east-1", "us-east-", "valid region" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "us-east-1", "1-east", "valid region" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "us-east-1", "us_east_1", "valid region" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "us-east-1", "a234567890123456789012345678901234567890123456789012345678901234",
		  "valid region" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "/appmesh/", "/App Mesh/", "valid service, not 'App Mesh'" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "aws4_request", "aws5_request", "valid terminator: 'aws4_request', not 'aws5_request'" },
		{ SIGV4_BAD_SCOPE, INVALID, a, "/20150830/", "/201508300/", "valid date, not '201508300'" },
		{ SIGV4_OTHER_DAY, INVALID, a, "/20150830/", "/20150831/", "'20150831' != '20150830', from '20150830T123600Z'" },
		{ SIGV4_OTHER_DAY, INVALID, a, "/20150830/", "/2015083/", "'2015083' != '20150830'" },
		{ SIGV4_OTHER_DAY, INVALID, a, "/20150830/", "//", "'' != '20150830'" },
		{ SIGV4_BAD_DATE, INCOMPLETE, d, NULL, "2015-08-30T12:36:00Z", "ISO-8601 'basic format'. Got '2015-08-30T12:36:00Z'" },
		{ SIGV4_BAD_DATE, INCOMPLETE, d, NULL, "Sun, 30 Aug 2015 12:36:00 GMT", "in 'X-Amz-Date'" },
		{ SIGV4_BAD_DATE, INCOMPLETE, d, NULL, "", "Got ''" },
		{ SIGV4_BAD_DATE, INCOMPLETE, d, NULL, "\x80\x01", "Got '\?\?'" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, a, "host;x-amz-date", "Host;x-amz-date", "'Host;x-amz-date'" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, a, "host;x-amz-date", "x-amz-date;host", "in order" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, a, "host;x-amz-date", "host;host;x-amz-date", "each once" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, a, "host;x-amz-date", "host;;x-amz-date", "SignedHeaders" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, a, "host;x-amz-date", "host;x-amz-date;", "SignedHeaders" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, a, "host;x-amz-date", "host:x-amz-date", "SignedHeaders" },
		{ SIGV4_UNSIGNED_HEADER, INVALID, a, "host;x-amz-date", "x-amz-date", "'Host' or ':authority' must be a 'SignedHeader'" },
		{ SIGV4_UNSIGNED_HEADER, INVALID, a, "host;x-amz-date", "host", "'X-Amz-Date' must be a 'SignedHeader'" },
		{ SIGV4_UNSIGNED_HEADER, INVALID, "X-AMZ-Meta", NULL, "1", "'X-AMZ-Meta' must be a 'SignedHeader'" },
		{ SIGV4_BAD_HEADER, INVALID, a, "host;x-amz-date", "accept;host;x-amz-date", "'accept', which the request does not have" },
		{ SIGV4_BAD_HEADER, INVALID, "Host", NULL, NULL, "'host', which the request does not have" },
		{ SIGV4_BAD_HEADER, INVALID, "Host", NULL, "ex\xc3\xa4mple", "'host' is signed and has a byte" },
		{ SIGV4_BAD_HEADER, INVALID, "Host", NULL, "example\nx-amz-date:1", "'host' is signed and has a byte" },
		{ SIGV4_UNKNOWN_KEY, UNRECOGNIZED, a, "AKIDEXAMPLE", "AKIDOTHER", "there is no access key 'AKIDOTHER'" },
		{ SIGV4_UNKNOWN_KEY, UNRECOGNIZED, a, "AKIDEXAMPLE", "", "The security token included in the request is invalid" },
		{ SIGV4_MISMATCH, INVALID, "Host", NULL, "example.com", "The request signature we calculated does not match" },
		{ SIGV4_MISMATCH, INVALID, NULL, "limit=5", "limit=6", "does not match" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		expect_change_refused(&changes[i], false);
}

TEST(headers_that_may_come_once_are_refused_twice)
{
	static const struct {
		const char *name, *value;
		enum sigv4_reason reason;
		const char *message;
	} twice[] = {
		{ "authorization", "AWS4-HMAC-SHA256 x=y", SIGV4_TWO_SIGNATURES, "more than one 'Authorization'" },
		{ "x-amz-date", "20150830T123600Z", SIGV4_BAD_DATE, "more than one 'X-Amz-Date'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(twice); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;

		sigv4_world_init(&w, "GET", TARGET);
		sigv4_world_sign(&w);
		sigv4_world_add(&w, twice[i].name, twice[i].value);
		expect_refused(&w, twice[i].reason, INCOMPLETE, twice[i].message);
	}
}

TEST(a_method_is_capital_letters)
{
	static const char *const methods[] = { "", "get", "Get", "GET /", "GE\nT", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG" };

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;

		sigv4_world_init(&w, "GET", TARGET);
		sigv4_world_sign(&w);
		w.request.method = span_of(methods[i]);
		expect_refused(&w, SIGV4_BAD_METHOD, INVALID, "method");
	}
}

/* Also that of a request that is not signed at all: the path is looked at first. */
static void expect_target_refused(const char *target, enum sigv4_reason reason, const char *message)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;
	struct span path, query;
	struct error err = {};

	sigv4_world_init(&w, "GET", "/");
	sigv4_world_sign(&w);
	sigv4_world_target(&w, "%s", target);
	expect_refused(&w, reason, INVALID, message);
	canonical_split(w.request.target, &path, &query);
	EXPECT_EQ(canonical_check_path(path, &err), reason == SIGV4_BAD_PATH ? -EINVAL : 0);
}

TEST(a_path_that_could_be_read_in_two_ways_is_refused)
{
	static const char *const segments[] = { "//", "/a//b", "/a/", "/a//", "/.", "/..", "/a/./b", "/a/../b", "/a/..",
						"/%2e", "/%2E%2e/b", "/a/.%2e", "/a/%2e./b", "//?a=b" };
	static const char *const escapes[] = { "/a%", "/a%2", "/a%zz", "/a%2/b", "/%%20" };

	for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
		expect_target_refused(segments[i], SIGV4_BAD_PATH, "segment that is empty, '.' or '..'");
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
		expect_target_refused(escapes[i], SIGV4_BAD_PATH, "without two hexadecimal digits");
	expect_target_refused("/a%00b", SIGV4_BAD_PATH, "NUL");
	expect_target_refused("/a%ff", SIGV4_BAD_PATH, "no UTF-8");
	expect_target_refused("/a%c0%ae", SIGV4_BAD_PATH, "no UTF-8"); /* a '.', overlong */
	expect_target_refused("/a%ed%a0%80", SIGV4_BAD_PATH, "no UTF-8"); /* half of a surrogate pair */
	expect_target_refused("/a b", SIGV4_BAD_PATH, "must be encoded, at 1");
	expect_target_refused("/a\x7f", SIGV4_BAD_PATH, "must be encoded");
	expect_target_refused("/a#b", SIGV4_BAD_PATH, "must be encoded");
	expect_target_refused("/\xc3\xa4", SIGV4_BAD_PATH, "must be encoded");
	expect_target_refused("", SIGV4_BAD_PATH, "does not begin with '/'");
	expect_target_refused("a/b", SIGV4_BAD_PATH, "does not begin with '/'");
	expect_target_refused("?a=b", SIGV4_BAD_PATH, "does not begin with '/'");
	expect_target_refused("*", SIGV4_BAD_PATH, "does not begin with '/'");
	expect_target_refused("http://example.com/a", SIGV4_BAD_PATH, "does not begin with '/'");
}

TEST(a_query_that_could_be_read_in_two_ways_is_refused)
{
	static const char *const names[] = { "/?=1", "/?a&&b", "/?&a", "/?a&", "/?=", "/?&" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		expect_target_refused(names[i], SIGV4_BAD_QUERY, "without a name");
	expect_target_refused("/?a=b+c", SIGV4_BAD_QUERY, "'b+c' has a '+': a space is %20, and a plus sign %2B");
	expect_target_refused("/?a+b", SIGV4_BAD_QUERY, "'a+b' has a '+'");
	expect_target_refused("/?a=%", SIGV4_BAD_QUERY, "without two hexadecimal digits");
	expect_target_refused("/?a=%4&b=1", SIGV4_BAD_QUERY, "without two hexadecimal digits");
	expect_target_refused("/?a%g0=1", SIGV4_BAD_QUERY, "without two hexadecimal digits");
	expect_target_refused("/?a=%00", SIGV4_BAD_QUERY, "NUL");
	expect_target_refused("/?a=%ff", SIGV4_BAD_QUERY, "no UTF-8");
	expect_target_refused("/?a=b c", SIGV4_BAD_QUERY, "must be encoded");
	expect_target_refused("/?a=\xc3\xa4", SIGV4_BAD_QUERY, "must be encoded");
	expect_target_refused("/?a#b", SIGV4_BAD_QUERY, "must be encoded");
}

static char *repeated(const char *first, const char *what, size_t times)
{
	_cleanup_(buffer_done) struct buffer text = {};

	buffer_add(&text, first);
	for (size_t i = 0; i < times; i++)
		buffer_add(&text, what);
	return buffer_take(&text);
}

TEST(what_is_too_long_is_refused_and_what_just_fits_is_not)
{
	_cleanup_free_ char *path = repeated("/", "a", CANONICAL_TARGET_MAX_BYTES),
			    *query = repeated("/?a=", "b", CANONICAL_TARGET_MAX_BYTES),
			    *parameters = repeated("/?a", "&a", CANONICAL_PARAMETERS_MAX),
			    *value = repeated("", "v", CANONICAL_VALUES_MAX_BYTES),
			    *most = repeated("/", "a", CANONICAL_TARGET_MAX_BYTES - 1),
			    *most_parameters = repeated("/?a", "&a", CANONICAL_PARAMETERS_MAX - 1), *authorization = NULL;
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	expect_target_refused(path, SIGV4_BAD_PATH, "more than 16384 bytes");
	expect_target_refused(query, SIGV4_BAD_QUERY, "more than 16384 bytes");
	expect_target_refused(parameters, SIGV4_BAD_QUERY, "more than 128 parameters");

	sigv4_world_init(&w, "GET", most);
	sigv4_world_sign(&w);
	expect_accepted(&w);
	sigv4_world_set(&w, "Authorization", NULL);
	sigv4_world_target(&w, "%s", most_parameters);
	sigv4_world_sign(&w);
	expect_accepted(&w);

	sigv4_world_set(&w, "Host", value);
	expect_refused(&w, SIGV4_BAD_HEADER, INVALID, "more than 32768 bytes");
	authorization = repeated("AWS4-HMAC-SHA256 Signature=", "0", SIGV4_AUTHORIZATION_MAX_BYTES);
	sigv4_world_set(&w, "Authorization", authorization);
	expect_refused(&w, SIGV4_MALFORMED, INCOMPLETE, "more than 8192 bytes");
	for (size_t i = 0; i < CANONICAL_HEADERS_MAX; i++)
		sigv4_world_add(&w, "a", "b");
	expect_refused(&w, SIGV4_BAD_HEADER, INVALID, "more than 128 headers");
}

TEST(a_list_of_too_many_signed_headers_is_refused)
{
	_cleanup_(buffer_done) struct buffer names = {};
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	buffer_add(&names, "SignedHeaders=");
	for (int i = 0; i <= CANONICAL_HEADERS_MAX; i++)
		buffer_printf(&names, "a%03d;", i);
	buffer_add(&names, "host;");
	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	sigv4_world_replace(&w, "Authorization", "SignedHeaders=host;", buffer_string(&names));
	expect_refused(&w, SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, "more than 128 names");
}

TEST(session_tokens_are_refused_wherever_they_are)
{
	_cleanup_(sigv4_world_done) struct sigv4_world header, query, presigned;

	sigv4_world_init(&header, "GET", TARGET);
	sigv4_world_add(&header, "X-Amz-Security-Token", "FwoGZXIvYXdzE");
	sigv4_world_sign(&header);
	expect_refused(&header, SIGV4_SESSION_TOKEN, UNRECOGNIZED, "session tokens (X-Amz-Security-Token) are not taken");
	sigv4_world_init(&query, "GET", "/?X-Amz-Security-Token=FwoGZXIvYXdzE");
	sigv4_world_sign(&query);
	expect_refused(&query, SIGV4_SESSION_TOKEN, UNRECOGNIZED, "X-Amz-Security-Token");
	sigv4_world_init(&presigned, "GET", "/");
	sigv4_world_presign(&presigned, "60", "&X-Amz-Security-Token=FwoGZXIvYXdzE");
	expect_refused(&presigned, SIGV4_SESSION_TOKEN, UNRECOGNIZED, "X-Amz-Security-Token");
}

TEST(a_region_outside_the_list_is_refused_and_the_list_is_named)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	w.regions[w.region_count++] = "eu-west-1";
	w.regions[w.region_count++] = "eu-central-1";
	expect_refused(&w, SIGV4_OTHER_REGION, INVALID,
		       "Credential should be scoped to a valid region: 'eu-west-1', 'eu-central-1', not 'us-east-1'.");
	EXPECT_STR(w.refusal.service, "appmesh");
	EXPECT_EQ(w.look_ups, 0);
	w.regions[w.region_count++] = "us-east-1";
	expect_accepted(&w);
}

TEST(the_body_must_be_the_one_that_was_signed)
{
	static const char *const left_out[] = { "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
						"STREAMING-UNSIGNED-PAYLOAD-TRAILER" };
	static const char other[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; /* of nothing */
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world unsigned_body;

		sigv4_world_init(&unsigned_body, "PUT", "/");
		sigv4_world_add(&unsigned_body, "x-amz-content-sha256", left_out[i]);
		sigv4_world_sign(&unsigned_body);
		expect_refused(&unsigned_body, SIGV4_UNSIGNED_BODY, INVALID, left_out[i]);
	}
	sigv4_world_init(&w, "PUT", "/");
	sigv4_world_body(&w, "{}");
	sigv4_world_add(&w, "x-amz-content-sha256", other);
	sigv4_world_sign(&w);
	expect_refused(&w, SIGV4_OTHER_BODY, INVALID, "'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'");
	sigv4_world_body(&w, "");
	expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL); /* the hash is right now, and what was signed another */
	sigv4_world_set(&w, "Authorization", NULL);
	sigv4_world_sign(&w);
	expect_accepted(&w);
	sigv4_world_add(&w, "X-Amz-Content-Sha256", "0");
	expect_refused(&w, SIGV4_OTHER_BODY, INVALID, "'0'");
}

/* --- time --------------------------------------------------------------------------------------------------------------------- */

TEST(a_header_holds_five_minutes_before_and_after_its_date)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	w.request.now_s = WORLD_NOW_S + 300;
	expect_accepted(&w);
	w.request.now_s = WORLD_NOW_S - 300;
	expect_accepted(&w);
	w.request.now_s = WORLD_NOW_S + 301;
	expect_refused(&w, SIGV4_EXPIRED, INVALID,
		       "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)");
	w.request.now_s = WORLD_NOW_S - 301;
	expect_refused(&w, SIGV4_NOT_YET_CURRENT, INVALID,
		       "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)");
}

TEST(a_presigned_url_holds_for_as_long_as_it_says)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_presign(&w, "60", "");
	expect_accepted(&w);
	EXPECT(w.identity.presigned);
	EXPECT(text_is(w.identity.signed_headers, "host"));
	w.request.now_s = WORLD_NOW_S - 300;
	expect_accepted(&w);
	w.request.now_s = WORLD_NOW_S + 60;
	expect_accepted(&w);
	w.request.now_s = WORLD_NOW_S + 61;
	expect_refused(&w, SIGV4_EXPIRED, INVALID,
		       "Signature expired: 20150830T123701Z is now later than 20150830T123700Z (20150830T123600Z + 60 s of X-Amz-Expires)");
	w.request.now_s = WORLD_NOW_S - 301;
	expect_refused(&w, SIGV4_NOT_YET_CURRENT, INVALID, NULL);
}

TEST(a_presigned_url_holds_seven_days_at_most)
{
	static const char *const bad[] = { "0", "00", "-1", "604801", "1000000", "9999999999999999999", "1.5", "%2B5", "5%20", "0x10",
					   "x" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;

		sigv4_world_init(&w, "GET", TARGET);
		sigv4_world_presign(&w, bad[i], "");
		expect_refused(&w, SIGV4_BAD_EXPIRES, INCOMPLETE, "X-Amz-Expires must be 1 to 604800 seconds (7 days)");
	}
	for (const char *const *good = (const char *const[]){ "1", "604800", NULL }; *good; good++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;

		sigv4_world_init(&w, "GET", TARGET);
		sigv4_world_presign(&w, *good, "");
		w.request.now_s = WORLD_NOW_S + atoi(*good);
		expect_accepted(&w);
	}
}

TEST(a_date_header_stands_for_x_amz_date)
{
	static const char *const dates[] = { "20150830T123600Z", "Sun, 30 Aug 2015 12:36:00 GMT", "Sun, 30 Aug 2015 12:36:00 -0000" };

	for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;

		sigv4_world_init(&w, "GET", TARGET);
		sigv4_world_set(&w, "X-Amz-Date", NULL);
		sigv4_world_add(&w, "Date", dates[i]);
		sigv4_world_sign_those(&w, i ? "date;host" : "host");
		expect_accepted(&w);
		w.request.now_s = WORLD_NOW_S + 301;
		expect_refused(&w, SIGV4_EXPIRED, INVALID, "20150830T123600Z is now earlier");
		sigv4_world_set(&w, "Date", "Sun, 30 Aug 2015 12:41:01 GMT");
		expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL);
		sigv4_world_set(&w, "Date", "yesterday");
		expect_refused(&w, SIGV4_BAD_DATE, INCOMPLETE, "Got 'yesterday' in 'Date'");
	}
}

TEST(x_amz_date_counts_where_there_is_a_date_header_too)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	sigv4_world_add(&w, "Date", "yesterday");
	expect_accepted(&w);
}

/* --- presigned ---------------------------------------------------------------------------------------------------------------- */

TEST(a_presigned_url_with_a_fault_is_refused_by_its_name)
{
	static const struct change changes[] = {
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-Algorithm=", "Other=",
		  "AWS query-string parameters must include 'X-Amz-Algorithm'. Re-examine" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-Credential=", "Other=", "must include 'X-Amz-Credential'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-Date=", "x-amz-date=", "must include 'X-Amz-Date'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-Expires=", "Other=", "must include 'X-Amz-Expires'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-Expires=60", "X-Amz-Expires", "must include 'X-Amz-Expires'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-SignedHeaders=", "Other=", "must include 'X-Amz-SignedHeaders'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, "X-Amz-Signature=", "Other=", "must include 'X-Amz-Signature'" },
		{ SIGV4_MISSING_PARAMETER, INCOMPLETE, NULL, NULL, "/?X-Amz-Expires=60", "must include 'X-Amz-Signature'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "limit=5", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "more than one 'X-Amz-Algorithm'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "limit=5", "X-Amz-Credential=x", "more than one 'X-Amz-Credential'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "limit=5", "X-Amz-Date=20150830T123600Z", "more than one 'X-Amz-Date'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "limit=5", "X-Amz-Expires=60", "more than one 'X-Amz-Expires'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "limit=5", "X-Amz-SignedHeaders=host", "more than one 'X-Amz-SignedHeaders'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "limit=5", "%58-Amz-Signature=0", "more than one 'X-Amz-Signature'" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "X-Amz-Signature=", "X-Amz-Signature=F", "64 hexadecimal digits" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "AKIDEXAMPLE", "AKID%C3%A4",
		  "'X-Amz-Credential' has bytes that are no printable ASCII: 'AKID\?\?/" },
		{ SIGV4_MALFORMED, INCOMPLETE, NULL, "Headers=host", "Headers=host%0A", "'X-Amz-SignedHeaders' has bytes" },
		{ SIGV4_BAD_ALGORITHM, INCOMPLETE, NULL, "HMAC", "RSA", "'AWS4-RSA-SHA256'" },
		{ SIGV4_BAD_CREDENTIAL, INCOMPLETE, NULL, "%2Faws4_request", "", "exactly 5" },
		{ SIGV4_BAD_SCOPE, INVALID, NULL, "us-east-1", "us%2Deast%5F1", "not 'us-east_1'" },
		{ SIGV4_BAD_DATE, INCOMPLETE, NULL, "20150830T123600Z", "2015-08-30",
		  "X-Amz-Date must be in ISO-8601 'basic format'. Got '2015-08-30'" },
		{ SIGV4_OTHER_DAY, INVALID, NULL, "2F20150830", "2F20150831", "'20150831' != '20150830'" },
		{ SIGV4_BAD_SIGNED_HEADERS, INCOMPLETE, NULL, "Headers=host", "Headers=HOST", "'HOST'" },
		{ SIGV4_UNSIGNED_HEADER, INVALID, NULL, "Headers=host", "Headers=accept", "'Host'" },
		{ SIGV4_UNSIGNED_HEADER, INVALID, "X-Amz-Date", NULL, "20150830T123600Z", "'X-Amz-Date'" },
		{ SIGV4_TWO_SIGNATURES, INCOMPLETE, "Authorization", NULL, "x", "Found both" },
		{ SIGV4_UNKNOWN_KEY, UNRECOGNIZED, NULL, "AKIDEXAMPLE", "AKIDOTHER", "'AKIDOTHER'" },
		{ SIGV4_MISMATCH, INVALID, NULL, "limit=5", "limit=6", "does not match" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		expect_change_refused(&changes[i], true);
}

TEST(a_presigned_url_signs_the_body_too)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w, left_out;

	sigv4_world_init(&w, "PUT", TARGET);
	sigv4_world_body(&w, "{}");
	sigv4_world_presign(&w, "60", "");
	expect_accepted(&w);
	sigv4_world_body(&w, "{ }");
	expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL);
	sigv4_world_init(&left_out, "PUT", TARGET);
	sigv4_world_presign(&left_out, "60", "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD");
	expect_refused(&left_out, SIGV4_UNSIGNED_BODY, INVALID, "UNSIGNED-PAYLOAD");
}

/* --- canonical form ----------------------------------------------------------------------------------------------------------- */

/* What the verifier makes of a target: shown where the signature is another one. */
static void canonical_of(const char *target, struct buffer *out)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", "/");
	sigv4_world_sign(&w);
	sigv4_world_target(&w, "%s", target);
	expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL);
	buffer_add(out, w.refusal.detail);
}

TEST(a_mismatch_shows_what_should_have_been_signed)
{
	_cleanup_(buffer_done) struct buffer detail = {};

	canonical_of("/v20190125/meshes/a%20b%2fc~d+e?b=%7e&b=&a=x:y/%3a&B", &detail);
	EXPECT_STR(buffer_string(&detail),
		   "The Canonical String for this request should have been\n"
		   "'GET\n/v20190125/meshes/a%2520b%252fc~d%2Be\nB=&a=x%3Ay%2F%3A&b=&b=~\n"
		   "host:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n"
		   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'\n\n"
		   "The String-to-Sign should have been\n"
		   "'AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/appmesh/aws4_request\n"
		   "a10d930c1a1d5ac971e865317e8f82e6345db35793a9ffef833f3c3efddfa8f0'\n");
}

TEST(queries_that_mean_the_same_have_one_signature)
{
	static const char *const same[] = { "/m?a=1&b=x%3Ay", "/m?b=x%3Ay&a=1", "/m?b=x%3ay&a=1", "/m?b=x:y&a=1", "/m?%62=x:%79&%61=%31" };

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;

		sigv4_world_init(&w, "GET", same[0]);
		sigv4_world_sign(&w);
		sigv4_world_target(&w, "%s", same[i]);
		expect_accepted(&w);
	}
}

/* By name and then by value, not by the whole text: '-' is before '=', and "a" before "a-". */
TEST(parameters_are_sorted_by_name_and_then_by_value)
{
	_cleanup_(buffer_done) struct buffer detail = {};

	canonical_of("/?a-=1&a=2&a=10&a=&a%C3%A4=1", &detail);
	EXPECT_CONTAINS(buffer_string(&detail), "\na=&a=10&a=2&a%C3%A4=1&a-=1\n");
}

TEST(values_of_a_header_are_joined_and_folded)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_add(&w, "X-Amz-Meta", " a  \t b ");
	sigv4_world_add(&w, "Accept", "1");
	sigv4_world_add(&w, "x-amz-meta", "c,d");
	sigv4_world_add(&w, "X-AMZ-META", "");
	sigv4_world_sign(&w);
	sigv4_world_set(&w, "Accept", "2");
	expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL);
	EXPECT_CONTAINS(w.refusal.detail, "\naccept:2\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\nx-amz-meta:a b,c,d,\n\n"
					  "accept;host;x-amz-date;x-amz-meta\n");
}

TEST(blanks_between_the_parts_of_a_header_do_not_matter)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	sigv4_world_replace(&w, "Authorization", ", Signature", ",Signature");
	expect_accepted(&w);
	sigv4_world_replace(&w, "Authorization", ", SignedHeaders", " ,   SignedHeaders");
	expect_accepted(&w);
}

TEST(headers_that_clients_leave_unsigned_may_be_there)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	sigv4_world_add(&w, "User-Agent", "aws-cli/2");
	sigv4_world_add(&w, "X-Amzn-Trace-Id", "Root=1");
	sigv4_world_add(&w, "amz-sdk-invocation-id", "1");
	sigv4_world_add(&w, "Content-Type", "t\xc3\xa4xt");
	expect_accepted(&w);
}

/* --- keys --------------------------------------------------------------------------------------------------------------------- */

static size_t kept(const struct sigv4_world *w)
{
	size_t count = 0;

	for (size_t i = 0; i < AWS_SIGNING_KEYS_KEPT; i++)
		count += w->credential.kept[i].scope[0] != '\0';
	return count;
}

static void sign_for(struct sigv4_world *w, const char *region)
{
	_cleanup_(buffer_done) struct buffer out = {};
	struct aws_credential other = w->credential; /* so that nothing is kept in ours */
	struct error err = {};

	sigv4_world_set(w, "Authorization", NULL);
	EXPECT_OK(sigv4_sign(w->sigv4, &other, region, "appmesh", &w->request, &out, &err), &err);
	sigv4_world_add(w, "Authorization", buffer_string(&out));
}

TEST(a_signing_key_is_kept_only_for_a_signature_that_was_right)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;

	sigv4_world_init(&w, "GET", TARGET);
	sign_for(&w, "us-east-1");
	sigv4_world_replace(&w, "Authorization", "us-east-1", "us-east-2");
	expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL);
	EXPECT_EQ(kept(&w), 0);
	sigv4_world_replace(&w, "Authorization", "us-east-2", "us-east-1");
	expect_accepted(&w);
	expect_accepted(&w);
	EXPECT_EQ(kept(&w), 1);
	EXPECT_STR(w.credential.kept[0].scope, "20150830/us-east-1/appmesh/aws4_request");
}

TEST(as_many_signing_keys_are_kept_as_there_is_room_for)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;
	char region[16];

	sigv4_world_init(&w, "GET", TARGET);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 2 * AWS_SIGNING_KEYS_KEPT + 1; i++) {
			snprintf(region, sizeof(region), "region-%d", i);
			sign_for(&w, region);
			expect_accepted(&w);
			EXPECT_STR(w.identity.scope.region, region);
		}
	EXPECT_EQ(kept(&w), AWS_SIGNING_KEYS_KEPT);
}

TEST(a_key_with_another_secret_has_other_signing_keys)
{
	_cleanup_(sigv4_world_done) struct sigv4_world w;
	struct error err = {};

	sigv4_world_init(&w, "GET", TARGET);
	sigv4_world_sign(&w);
	EXPECT_OK(aws_credential_init(span_of("AKIDEXAMPLE"), span_of("another/secret"), &w.credential, &err), &err);
	expect_refused(&w, SIGV4_MISMATCH, INVALID, NULL);
}

/* --- signing ------------------------------------------------------------------------------------------------------------------ */

TEST(what_could_not_be_verified_is_not_signed)
{
	static const struct {
		const char *target, *region, *service, *removed, *message;
	} bad[] = {
		{ "/a//b", "us-east-1", "appmesh", NULL, "segment" },
		{ "/?a=b+c", "us-east-1", "appmesh", NULL, "'+'" },
		{ "/", "US", "appmesh", NULL, "'US'" },
		{ "/", "us-east-1", "", NULL, "''" },
		{ "/", "us-east-1", "appmesh", "Host", "missing" },
		{ "/", "us-east-1", "appmesh", "X-Amz-Date", "20150830T123600Z" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(sigv4_world_done) struct sigv4_world w;
		_cleanup_(buffer_done) struct buffer out = {};
		struct error err = {};

		sigv4_world_init(&w, "GET", bad[i].target);
		if (bad[i].removed)
			sigv4_world_set(&w, bad[i].removed, NULL);
		EXPECT_EQ(sigv4_sign(w.sigv4, &w.credential, bad[i].region, bad[i].service, &w.request, &out, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, bad[i].message);
		EXPECT_EQ(out.length, 0);
	}
}

/* --- reasons ------------------------------------------------------------------------------------------------------------------ */

TEST(every_reason_was_given_in_the_tests_before)
{
	for (int i = 0; i < SIGV4_REASON_COUNT; i++)
		if (!seen[i])
			fail_msg("no test was refused for %s", sigv4_reason_name(i));
}

TEST(query_services_have_names_of_their_own_for_errors)
{
	EXPECT_STR(sigv4_error_code(SIGV4_NO_SIGNATURE, true), "MissingAuthenticationToken");
	EXPECT_STR(sigv4_error_code(SIGV4_MALFORMED, true), "IncompleteSignature");
	EXPECT_STR(sigv4_error_code(SIGV4_MISMATCH, true), "SignatureDoesNotMatch");
	EXPECT_STR(sigv4_error_code(SIGV4_UNKNOWN_KEY, true), "InvalidClientTokenId");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_examples_have_their_signatures),
		cmocka_unit_test(a_header_with_a_fault_is_refused_by_its_name),
		cmocka_unit_test(headers_that_may_come_once_are_refused_twice),
		cmocka_unit_test(a_method_is_capital_letters),
		cmocka_unit_test(a_path_that_could_be_read_in_two_ways_is_refused),
		cmocka_unit_test(a_query_that_could_be_read_in_two_ways_is_refused),
		cmocka_unit_test(what_is_too_long_is_refused_and_what_just_fits_is_not),
		cmocka_unit_test(a_list_of_too_many_signed_headers_is_refused),
		cmocka_unit_test(session_tokens_are_refused_wherever_they_are),
		cmocka_unit_test(a_region_outside_the_list_is_refused_and_the_list_is_named),
		cmocka_unit_test(the_body_must_be_the_one_that_was_signed),
		cmocka_unit_test(a_header_holds_five_minutes_before_and_after_its_date),
		cmocka_unit_test(a_presigned_url_holds_for_as_long_as_it_says),
		cmocka_unit_test(a_presigned_url_holds_seven_days_at_most),
		cmocka_unit_test(a_date_header_stands_for_x_amz_date),
		cmocka_unit_test(x_amz_date_counts_where_there_is_a_date_header_too),
		cmocka_unit_test(a_presigned_url_with_a_fault_is_refused_by_its_name),
		cmocka_unit_test(a_presigned_url_signs_the_body_too),
		cmocka_unit_test(a_mismatch_shows_what_should_have_been_signed),
		cmocka_unit_test(queries_that_mean_the_same_have_one_signature),
		cmocka_unit_test(parameters_are_sorted_by_name_and_then_by_value),
		cmocka_unit_test(values_of_a_header_are_joined_and_folded),
		cmocka_unit_test(blanks_between_the_parts_of_a_header_do_not_matter),
		cmocka_unit_test(headers_that_clients_leave_unsigned_may_be_there),
		cmocka_unit_test(a_signing_key_is_kept_only_for_a_signature_that_was_right),
		cmocka_unit_test(as_many_signing_keys_are_kept_as_there_is_room_for),
		cmocka_unit_test(a_key_with_another_secret_has_other_signing_keys),
		cmocka_unit_test(what_could_not_be_verified_is_not_signed),
		cmocka_unit_test(every_reason_was_given_in_the_tests_before),
		cmocka_unit_test(query_services_have_names_of_their_own_for_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
