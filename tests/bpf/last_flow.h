/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "maps/abi/event.h"

/* Takes all records out of the ring of flow records: the last one, or all zero where there was none. */
struct flow_record last_flow(int ring_fd);
