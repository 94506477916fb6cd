/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "agent/identity/claim.h"
#include "agent/spec/resource.h"
#include "tests/lib/test.h"

/* "VARIABLE=value", or "none". */
static const char *claimed(const char *environment, size_t bytes)
{
	static char out[CLAIM_VALUE_BYTES + 64];
	char value[CLAIM_VALUE_BYTES];
	const char *variable;

	if (!claim_in_environment(environment, bytes, value, &variable))
		return "none";
	snprintf(out, sizeof(out), "%s=%s", variable, value);
	return out;
}
#define EXPECT_CLAIMED(text, expected) EXPECT_STR(claimed(text, sizeof(text) - 1), expected)

TEST(the_variable_is_found_wherever_it_is)
{
	EXPECT_CLAIMED("APPMESH_VIRTUAL_NODE_NAME=mesh/m/virtualNode/n\0", "APPMESH_VIRTUAL_NODE_NAME=mesh/m/virtualNode/n");
	EXPECT_CLAIMED("PATH=/bin\0APPMESH_RESOURCE_NAME=x\0HOME=/\0", "APPMESH_RESOURCE_NAME=x");
	EXPECT_CLAIMED("A=\0\0\0APPMESH_RESOURCE_ARN=x", "APPMESH_RESOURCE_ARN=x"); /* the last NUL may be missing */
}

TEST(what_only_looks_like_it_is_not_it)
{
	EXPECT_CLAIMED("", "none");
	EXPECT_CLAIMED("APPMESH_VIRTUAL_NODE_NAME\0", "none");
	EXPECT_CLAIMED("APPMESH_VIRTUAL_NODE_NAMES=x\0", "none");
	EXPECT_CLAIMED("XAPPMESH_RESOURCE_ARN=x\0", "none");
	EXPECT_CLAIMED("X=APPMESH_RESOURCE_ARN=x\0", "none");
	EXPECT_CLAIMED("appmesh_resource_arn=x\0", "none");
	EXPECT_CLAIMED("APPMESH_RESOURCE_CLUSTER=x\0", "none");
}

TEST(newer_names_go_before_older_ones_unless_they_are_empty)
{
	EXPECT_CLAIMED("APPMESH_VIRTUAL_NODE_NAME=c\0APPMESH_RESOURCE_NAME=b\0APPMESH_RESOURCE_ARN=a\0", "APPMESH_RESOURCE_ARN=a");
	EXPECT_CLAIMED("APPMESH_VIRTUAL_NODE_NAME=c\0APPMESH_RESOURCE_NAME=b\0", "APPMESH_RESOURCE_NAME=b");
	EXPECT_CLAIMED("APPMESH_RESOURCE_ARN=\0APPMESH_RESOURCE_NAME= \t\0APPMESH_VIRTUAL_NODE_NAME=c\0", "APPMESH_VIRTUAL_NODE_NAME=c");
}

TEST(of_two_with_the_same_name_the_first_counts_as_for_getenv)
{
	EXPECT_CLAIMED("APPMESH_RESOURCE_ARN=a\0APPMESH_RESOURCE_ARN=b\0", "APPMESH_RESOURCE_ARN=a");
}

TEST(blanks_around_the_value_do_not_count)
{
	EXPECT_CLAIMED("APPMESH_RESOURCE_ARN= \t a b\r\n\0", "APPMESH_RESOURCE_ARN=a b");
}

TEST(a_value_that_is_too_long_is_cut)
{
	static char text[3 * CLAIM_VALUE_BYTES];
	char value[CLAIM_VALUE_BYTES];
	const char *variable;

	memset(text, 'x', sizeof(text));
	memcpy(text, "APPMESH_RESOURCE_ARN=", strlen("APPMESH_RESOURCE_ARN="));
	EXPECT(claim_in_environment(text, sizeof(text), value, &variable));
	EXPECT_EQ(strlen(value), CLAIM_VALUE_BYTES - 1);
}

/* "region account owner" */
static const char *scope_of(const char *name)
{
	static char out[128];
	struct resource_scope scope;

	resource_name_scope(name, &scope);
	snprintf(out, sizeof(out), "%s|%s|%s", scope.region, scope.account, scope.mesh_owner);
	return out;
}

TEST(a_name_says_whose_it_is_where_it_is_an_arn_or_names_the_owner)
{
	EXPECT_STR(scope_of("mesh/m/virtualNode/n"), "||");
	EXPECT_STR(scope_of("mesh/m@123456789012/virtualNode/n"), "||123456789012");
	EXPECT_STR(scope_of("arn:aws:appmesh:eu-west-1:123456789012:mesh/m/virtualNode/n"), "eu-west-1|123456789012|");
	EXPECT_STR(scope_of("arn:aws-cn:appmesh:cn-north-1:123456789012:mesh/m@210987654321/virtualNode/n"),
		   "cn-north-1|123456789012|210987654321");
	EXPECT_STR(scope_of("arn:aws:appmesh:::"), "||");
	EXPECT_STR(scope_of("arn:aws:iam::1:role/x"), "||");
	EXPECT_STR(scope_of(""), "||");
	EXPECT_STR(scope_of("mesh/m@12345678901/virtualNode/n"), "||"); /* eleven digits: part of the mesh's name */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_variable_is_found_wherever_it_is),
		cmocka_unit_test(what_only_looks_like_it_is_not_it),
		cmocka_unit_test(newer_names_go_before_older_ones_unless_they_are_empty),
		cmocka_unit_test(of_two_with_the_same_name_the_first_counts_as_for_getenv),
		cmocka_unit_test(blanks_around_the_value_do_not_count),
		cmocka_unit_test(a_value_that_is_too_long_is_cut),
		cmocka_unit_test(a_name_says_whose_it_is_where_it_is_an_arn_or_names_the_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
