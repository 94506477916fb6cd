/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of names: what is the same name, what is none. */
#include <errno.h>

#include "maps/proxy.h"
#include "tests/lib/test.h"

static struct name_key key(const char *scope, const char *name)
{
	struct name_key key;

	EXPECT_OK(name_key_make(scope, name, &key));
	return key;
}

static bool same(struct name_key a, struct name_key b)
{
	return a.hash[0] == b.hash[0] && a.hash[1] == b.hash[1];
}

TEST(a_name_in_any_case_with_or_without_its_dot_has_one_key)
{
	const struct name_key plain = key("mesh/shop", "payment.example.com");

	EXPECT(same(key("mesh/shop", "PayMent.EXAMPLE.com"), plain));
	EXPECT(same(key("mesh/shop", "payment.example.com."), plain));
	EXPECT(!same(key("mesh/shop", "payments.example.com"), plain));
}

TEST(scopes_are_kept_apart_and_keep_their_case)
{
	const struct name_key plain = key("mesh/shop", "a.b");

	EXPECT(!same(key("mesh/Shop", "a.b"), plain));
	EXPECT(!same(key("mesh/shop/virtualNode/n", "a.b"), plain));
	EXPECT(!same(key("mesh/sho", "pa.b"), plain)); /* the same bytes, but for the end of the scope */
}

TEST(what_is_no_dns_name_has_no_key)
{
	char label[65], name[264];
	struct name_key key;

	memset(label, 'a', 64);
	label[64] = '\0';
	EXPECT_EQ(name_key_make("mesh/m", label, &key), -EINVAL);
	label[63] = '\0';
	EXPECT_OK(name_key_make("mesh/m", label, &key));

	snprintf(name, sizeof(name), "%s.%s.%s.%s", label, label, label, label); /* 255 bytes */
	EXPECT_EQ(name_key_make("mesh/m", name, &key), -EINVAL);
	name[253] = '\0';
	EXPECT_OK(name_key_make("mesh/m", name, &key));
	strcpy(name + 253, ".");
	EXPECT_OK(name_key_make("mesh/m", name, &key));
	strcpy(name + 253, "a");
	EXPECT_EQ(name_key_make("mesh/m", name, &key), -EINVAL);

	for (size_t i = 0; i < 6; i++)
		EXPECT_EQ(name_key_make("mesh/m", ((const char *[]){ "", ".", "..", ".a", "a..b", "a.." })[i], &key), -EINVAL);
}

TEST(a_scope_without_end_is_refused)
{
	char scope[2000];
	struct name_key key;

	memset(scope, 'm', sizeof(scope));
	scope[sizeof(scope) - 1] = '\0';
	EXPECT_EQ(name_key_make(scope, "a", &key), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_in_any_case_with_or_without_its_dot_has_one_key),
		cmocka_unit_test(scopes_are_kept_apart_and_keep_their_case),
		cmocka_unit_test(what_is_no_dns_name_has_no_key),
		cmocka_unit_test(a_scope_without_end_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
