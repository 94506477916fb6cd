/* SPDX-License-Identifier: Apache-2.0 */
/* What botocore signs is accepted, and with any byte changed it is not. */
#include "agent/aws/date.h"
#include "agent/aws/sigv4.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "tests/lib/test.h"

#define HEADERS_MAX 64
#define REPLACEMENTS 6 /* tried for each byte */

struct world {
	struct sigv4 *sigv4;
	struct aws_credential credential;
	/* one request of botocore's */
	json_t *signed_by;
	char target[CANONICAL_TARGET_MAX_BYTES], body[1024];
	size_t body_bytes;
	struct sigv4_header headers[HEADERS_MAX];
	struct sigv4_request request;
	struct span signed_headers; /* of the untouched request */
	char names[1024];
};

static struct aws_credential *look_up(const char *id, void *arg)
{
	struct world *w = arg;

	return strcmp(id, w->credential.id) == 0 ? &w->credential : NULL;
}

static int verify(struct world *w, struct sigv4_identity *ret_identity, struct sigv4_refusal *ret_refusal)
{
	const struct sigv4_rules rules = { .lookup = look_up, .arg = w };

	return sigv4_verify(w->sigv4, &rules, &w->request, ret_identity, ret_refusal);
}

static void expect_refused(struct world *w, const char *part, size_t at, char old, char changed)
{
	struct sigv4_identity identity;
	struct sigv4_refusal refusal;
	int r = verify(w, &identity, &refusal);

	if (r != -EACCES)
		fail_msg("%s, byte %zu, 0x%02x instead of 0x%02x: sigv4_verify() returned %d for %s %.*s", part, at, (unsigned char)changed,
			 (unsigned char)old, r, json_path_string(w->signed_by, "method"), (int)w->request.target.length,
			 w->request.target.data);
}

static const char *text_of(const struct world *w, const char *name)
{
	const char *text = json_path_string(w->signed_by, name);

	EXPECT(text);
	return text;
}

static void read_body(struct world *w)
{
	const char *hex = text_of(w, "body");
	unsigned int byte;

	w->body_bytes = strlen(hex) / 2;
	EXPECT(w->body_bytes <= sizeof(w->body));
	for (size_t i = 0; i < w->body_bytes; i++) {
		EXPECT_EQ(sscanf(hex + 2 * i, "%2x", &byte), 1);
		w->body[i] = (char)byte;
	}
	digest_sha256(w->body, w->body_bytes, w->request.body_sha256);
}

static void take_request(struct world *w, const char *line)
{
	struct error err = {};
	json_t *headers;

	json_decref(w->signed_by);
	w->signed_by = NULL;
	EXPECT_OK(json_parse(line, strlen(line), &w->signed_by, &err), &err);
	EXPECT_EQ(snprintf(w->target, sizeof(w->target), "%s", text_of(w, "target")) < (int)sizeof(w->target), true);
	headers = json_object_get(w->signed_by, "headers");
	EXPECT(json_array_size(headers) <= HEADERS_MAX);
	w->request = (struct sigv4_request){ span_of(text_of(w, "method")), span_of(w->target), w->headers, json_array_size(headers) };
	for (size_t i = 0; i < w->request.header_count; i++) {
		const json_t *header = json_array_get(headers, i);

		w->headers[i].name = span_of(json_string_value(json_array_get(header, 0)));
		w->headers[i].value = span_of(json_string_value(json_array_get(header, 1)));
	}
	EXPECT_OK(aws_date_parse(span_of(text_of(w, "timestamp")), &w->request.now_s));
	EXPECT_OK(aws_credential_init(span_of(text_of(w, "id")), span_of(text_of(w, "secret")), &w->credential, &err), &err);
	read_body(w);
}

static void expect_accepted(struct world *w)
{
	struct sigv4_identity identity;
	struct sigv4_refusal refusal;
	int r = verify(w, &identity, &refusal);

	if (r < 0)
		fail_msg("%s\nrefused, %d: %s: %s\n%s", json_dumps(w->signed_by, 0), r, sigv4_reason_name(refusal.reason), refusal.message,
			 refusal.detail ? refusal.detail : "");
	EXPECT(identity.credential == &w->credential);
	EXPECT_STR(identity.scope.region, text_of(w, "region"));
	EXPECT_STR(identity.scope.service, text_of(w, "service"));
	EXPECT_EQ(identity.presigned, json_path_bool(w->signed_by, "presigned", false));
	EXPECT_OK(text_copy(identity.signed_headers, w->names, sizeof(w->names)));
	w->signed_headers = span_of(w->names);
}

/* Lets botocore sign `count` random requests, and calls `fn` for each. */
static void each_request(int seed, int count, void (*fn)(struct world *w))
{
	_cleanup_free_ char *line = NULL;
	struct world w = {};
	char command[128];
	size_t size = 0;
	int seen = 0;
	FILE *botocore;

	EXPECT_OK(sigv4_new(&w.sigv4));
	snprintf(command, sizeof(command), "/usr/bin/python3 tests/unit/botocore_reference.py requests %d %d", seed, count);
	botocore = popen(command, "re");
	EXPECT(botocore);
	for (; getline(&line, &size, botocore) > 0; seen++) {
		take_request(&w, line);
		fn(&w);
	}
	EXPECT_EQ(pclose(botocore), 0);
	EXPECT_EQ(seen, count);
	json_decref(w.signed_by);
	sigv4_free(w.sigv4);
}

/* --- tampering ---------------------------------------------------------------------------------------------------------------- */

static char replacement(char old, int n)
{
	const char near[] = { (char)(old + 1), (char)(old ^ 0x20), (char)(old ^ 0x80), ' ', '/' };

	return n < (int)sizeof(near) ? near[n] : (char)rand();
}

/* In a query an escape may have its letters in either case: it means the same. */
static bool is_same_escape(const struct world *w, size_t at, char changed)
{
	const char *query = strchr(json_path_string(w->signed_by, "target"), '?');
	const char *from = json_path_string(w->signed_by, "target");

	if (!query || from + at < query + 2 || (changed ^ from[at]) != 0x20)
		return false;
	return from[at - 1] == '%' || from[at - 2] == '%';
}

static void tamper_with_target(struct world *w)
{
	const size_t length = w->request.target.length;

	for (size_t at = 0; at < length; at++) {
		const char old = w->target[at];

		for (int n = 0; n < REPLACEMENTS; n++) {
			w->target[at] = replacement(old, n);
			if (w->target[at] != old && !is_same_escape(w, at, w->target[at]))
				expect_refused(w, "target", at, old, w->target[at]);
		}
		w->target[at] = old;
	}
}

/* Every byte of a span that belongs to the request, one after the other, by others. */
static void tamper_with(struct world *w, const char *part, struct span *span, bool (*is_same)(char old, char changed))
{
	const struct span before = *span;
	_cleanup_free_ char *copy = malloc(before.length + 1);

	memcpy(copy, before.data, before.length);
	span->data = copy;
	for (size_t at = 0; at < before.length; at++) {
		for (int n = 0; n < REPLACEMENTS; n++) {
			copy[at] = replacement(before.data[at], n);
			if (copy[at] != before.data[at] && !is_same(before.data[at], copy[at]))
				expect_refused(w, part, at, before.data[at], copy[at]);
		}
		copy[at] = before.data[at];
	}
	*span = before;
}

static bool never(char old, char changed)
{
	(void)old;
	(void)changed;
	return false;
}

static bool both_blank(char old, char changed)
{
	return (old == ' ' || old == '\t') && (changed == ' ' || changed == '\t');
}

static bool other_case(char old, char changed)
{
	return (old ^ changed) == 0x20 && ((old >= 'a' && old <= 'z') || (old >= 'A' && old <= 'Z'));
}

static bool is_covered(const struct world *w, struct span name)
{
	return canonical_is_signed(w->signed_headers, name) || span_equal_nocase(name, span_of("Authorization"));
}

static void tamper_with_headers(struct world *w)
{
	for (size_t i = 0; i < w->request.header_count; i++) {
		struct sigv4_header *header = &w->headers[i];

		if (!is_covered(w, header->name))
			continue;
		tamper_with(w, "name of a header", &header->name, other_case);
		tamper_with(w, "value of a header", &header->value, both_blank);
	}
}

static void tamper_with_body(struct world *w)
{
	for (size_t at = 0; at <= w->body_bytes; at++) {
		char *byte = &w->body[at];

		*byte = (char)(*byte ^ 1);
		/* behind the last one: a byte more */
		digest_sha256(w->body, w->body_bytes + (at == w->body_bytes), w->request.body_sha256);
		expect_refused(w, "body", at, (char)(*byte ^ 1), *byte);
		*byte = (char)(*byte ^ 1);
	}
	read_body(w);
}

static void tamper(struct world *w)
{
	expect_accepted(w);
	tamper_with(w, "method", &w->request.method, never);
	tamper_with_target(w);
	tamper_with_headers(w);
	tamper_with_body(w);
	expect_accepted(w); /* all is as it was */
}

/* --- the rest of it ----------------------------------------------------------------------------------------------------------- */

/* Every signed header leaves, and comes twice. */
static void add_and_remove_headers(struct world *w)
{
	expect_accepted(w);
	for (size_t i = 0; i < w->request.header_count; i++) {
		const struct sigv4_header removed = w->headers[i];

		if (!is_covered(w, removed.name))
			continue;
		w->headers[i].name = span_of("other");
		expect_refused(w, "a header less", i, 0, 0);
		w->headers[i] = removed;
		w->headers[w->request.header_count++] = removed;
		expect_refused(w, "a header twice", i, 0, 0);
		w->request.header_count--;
	}
	w->headers[w->request.header_count++] = (struct sigv4_header){ span_of("x-AMZ-added"), span_of("1") };
	expect_refused(w, "a new X-Amz-* header", 0, 0, 0);
	w->headers[w->request.header_count - 1].name = span_of("added");
	expect_accepted(w);
}

/* Our own signature of the same is botocore's, to the letter. */
static void sign_as_well(struct world *w)
{
	_cleanup_(buffer_done) struct buffer authorization = {};
	struct sigv4_header headers[HEADERS_MAX];
	struct sigv4_request request = w->request;
	const char *theirs = NULL;
	bool has_date = false;
	struct error err = {};

	expect_accepted(w);
	request.headers = headers;
	request.header_count = 0;
	for (size_t i = 0; i < w->request.header_count; i++) {
		if (canonical_is_signed(w->signed_headers, w->headers[i].name))
			headers[request.header_count++] = w->headers[i];
		if (span_equal_nocase(w->headers[i].name, span_of("X-Amz-Date")))
			has_date = true;
		if (span_equal_nocase(w->headers[i].name, span_of("Authorization")))
			theirs = w->headers[i].value.data;
	}
	if (!theirs || !has_date)
		return;
	EXPECT_OK(sigv4_sign(w->sigv4, &w->credential, text_of(w, "region"), text_of(w, "service"), &request, &authorization, &err), &err);
	EXPECT_STR(buffer_string(&authorization), theirs);
}

TEST(what_botocore_signs_is_accepted)
{
	each_request(1, 2000, expect_accepted);
}

TEST(any_byte_changed_is_refused)
{
	each_request(2, 60, tamper);
}

TEST(headers_that_leave_come_twice_or_are_added_are_refused)
{
	each_request(3, 100, add_and_remove_headers);
}

TEST(our_signature_is_that_of_botocore)
{
	each_request(4, 1000, sign_as_well);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_botocore_signs_is_accepted),
		cmocka_unit_test(any_byte_changed_is_refused),
		cmocka_unit_test(headers_that_leave_come_twice_or_are_added_are_refused),
		cmocka_unit_test(our_signature_is_that_of_botocore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
