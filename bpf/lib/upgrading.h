/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What programs know of the build that they take over from. */
#pragma once

#include "bpf.h"
#include "maps/abi/upgrade.h"

/* Set by the loader; constant for the verifier, so that nothing of this is left in programs that take over from nobody. */
const volatile struct former_account former_account __weak = {};
