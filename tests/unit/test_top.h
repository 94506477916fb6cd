/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of `weft top` share. */
#pragma once

#include "tests/lib/test.h"

#define FULL_NODE(name) "mesh/shop/virtualNode/" name
#define FULL_SERVICE(name) "mesh/shop/virtualService/" name

#define EXPECT_RATE(actual, expected) EXPECT_EQ((actual) * 1000 + 0.5, (expected) * 1000)
