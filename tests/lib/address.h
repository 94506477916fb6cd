/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as tests write them. */
#pragma once

#include "base/address.h"
#include "tests/lib/test.h"

/* Fails the test where it is none. */
static inline struct ip ip(const char *text)
{
	struct ip parsed;

	EXPECT_OK(ip_parse(text, &parsed));
	return parsed;
}
