/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/* The version of what maps mean. Pinned maps outlive the build that made them, and the loader of another one takes over what is in them,
 * member by member, by name (loader/takeover.h): members may be added, moved and made larger. Raise MAPS_ABI where one that keeps its name
 * is to mean something else: the loader then refuses to upgrade. */
#pragma once

#define MAPS_ABI 3
