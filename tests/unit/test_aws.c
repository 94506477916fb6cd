/* SPDX-License-Identifier: Apache-2.0 */
/* Dates, access keys and services, as signatures have them. */
#include "agent/aws/credential.h"
#include "agent/aws/date.h"
#include "agent/aws/digest.h"
#include "agent/aws/service.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

static void expect_hash(const uint8_t hash[DIGEST_BYTES], const char *expected)
{
	char text[DIGEST_HEX_BYTES];

	digest_hex(hash, text);
	EXPECT_STR(text, expected);
}

/* FIPS 180-4, examples; RFC 4231, test cases 1, 2 and 6. */
TEST(hashes_and_keyed_hashes_are_those_of_the_standards)
{
	uint8_t hash[DIGEST_BYTES], key[131];

	digest_sha256("", 0, hash);
	expect_hash(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hash);
	expect_hash(hash, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(key, 0x0b, 20);
	digest_hmac(key, 20, "Hi There", 8, hash);
	expect_hash(hash, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	digest_hmac("Jefe", 4, "what do ya want for nothing?", 28, hash);
	expect_hash(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	digest_hmac(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54, hash);
	expect_hash(hash, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(dates_that_do_not_exist_are_none)
{
	static const char *const bad[] = { "20150230T000000Z", "20151301T000000Z", "20150800T000000Z", "20150830T240000Z",
					   "20150830T126000Z", "20150830T123660Z", "19691231T235959Z", "20150830T123600",
					   "20150830T123600z", "20150830t123600Z", "20150830 123600Z", "2015 830T123600Z",
					   "20150830T12360Z", "+0150830T123600Z", "20150830T123600Z " };
	static const char *const bad_http[] = { "Mon, 30 Feb 2015 00:00:00 GMT", "Sun, 30 Aug 2015 12:36:00",
						"Sun, 30 Aug 2015 12:36:00 CET",
						"Sun, 30 Aug 2015 12:36:00 GMT+1", "Sun, 30 Aug 1215 12:36:00 GMT", "" };
	char text[AWS_DATE_TEXT_BYTES];
	int64_t s;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(aws_date_parse(span_of(bad[i]), &s), -EINVAL);
	EXPECT_EQ(aws_date_parse((struct span){ "20150830T12360\0Z", 16 }, &s), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad_http); i++)
		EXPECT_EQ(aws_date_parse_http(span_of(bad_http[i]), &s), -EINVAL);
	EXPECT_OK(aws_date_parse(span_of("99991231T235959Z"), &s));
	EXPECT_STR(aws_date_format(s, text), "99991231T235959Z");
	EXPECT_STR(aws_date_format(s + 1, text), "");
	EXPECT_OK(aws_date_parse(span_of("20160229T000000Z"), &s));
	EXPECT_EQ(s, 1456704000);
}

TEST(what_cannot_be_a_key_is_refused)
{
	struct aws_credential credential;
	char longest[AWS_SECRET_BYTES];
	struct error err = {};

	memset(longest, 'a', sizeof(longest));
	EXPECT_EQ(aws_credential_init(span_of("ab"), span_of("12345678"), &credential, &err), -EINVAL);
	EXPECT_STR(err.field, "access key id");
	EXPECT_EQ(aws_credential_init(span_of("a-b"), span_of("12345678"), &credential, &err), -EINVAL);
	EXPECT_EQ(aws_credential_init((struct span){ longest, 129 }, span_of("12345678"), &credential, &err), -EINVAL);
	EXPECT_EQ(aws_credential_init(span_of("abc"), span_of("1234567"), &credential, &err), -EINVAL);
	EXPECT_STR(err.field, "secret access key");
	EXPECT(!strstr(err.message, "1234567"));
	EXPECT_EQ(aws_credential_init(span_of("abc"), span_of("1234 5678"), &credential, &err), -EINVAL);
	EXPECT_EQ(aws_credential_init(span_of("abc"), (struct span){ longest, 129 }, &credential, &err), -EINVAL);
	EXPECT_OK(aws_credential_init(span_of("abc"), (struct span){ longest, 128 }, &credential, &err), &err);
	aws_credential_done(&credential);
	EXPECT_STR(credential.id, "");
	EXPECT_STR(credential.secret, "");
}

TEST(services_are_found_by_the_scope_of_the_signature)
{
	struct aws_scope scope = { .service = "appmesh" };
	const struct aws_service *service;
	struct error err = {};

	EXPECT_OK(aws_service_find(&scope, &service, &err), &err);
	EXPECT_STR(service->name, "appmesh");
	EXPECT(!service->is_query_protocol);
	strcpy(scope.service, "sts");
	EXPECT_OK(aws_service_find(&scope, &service, &err), &err);
	EXPECT_STR(service->name, "sts");
	EXPECT(service->is_query_protocol);
	strcpy(scope.service, "s3");
	EXPECT_EQ(aws_service_find(&scope, &service, &err), -EOPNOTSUPP);
	EXPECT_CONTAINS(err.message, "'s3' is not served here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates_that_do_not_exist_are_none),
		cmocka_unit_test(what_cannot_be_a_key_is_refused),
		cmocka_unit_test(hashes_and_keyed_hashes_are_those_of_the_standards),
		cmocka_unit_test(services_are_found_by_the_scope_of_the_signature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
