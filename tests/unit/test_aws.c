/* SPDX-License-Identifier: Apache-2.0 */
/* Dates, access keys and services, as signatures have them. */
#include "agent/aws/credential.h"
#include "agent/aws/date.h"
#include "agent/aws/service.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

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
		cmocka_unit_test(services_are_found_by_the_scope_of_the_signature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
