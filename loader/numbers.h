/* SPDX-License-Identifier: Apache-2.0 */
/* What numbers in maps stand for: reasons, statistics, states (the enums of maps/abi/upgrade.h). Their names are in BTF. */
#pragma once

#include <bpf/btf.h>

#include "base/error.h"

/* -EPROTO names the first one that both know and number differently. What only one of them knows, or no BTF tells, is fine. */
int numbers_check(const struct btf *from, const struct btf *to, struct error *err);
