/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* The version of everything under maps/abi. A pinned map outlives the build that made it: raise MAPS_ABI with every
 * change of a key, a value, a size or a meaning, and the loader pins the new maps beside the old ones. */
#pragma once

#define MAPS_ABI 3
