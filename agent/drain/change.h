/* SPDX-License-Identifier: Apache-2.0 */
/* What changed from one look at the kernel's records to the next, as far as open connections may care: most changes concern none of
 * them, and then nobody has to be asked. Thread: the offload thread, which also lets memory be reused, so that what the current
 * directory names stays as it is meanwhile. */
#pragma once

#include <stdbool.h>

#include "maps/kernel.h"

struct change_watch;

int change_watch_new(const struct kernel_limits *limits, struct change_watch **ret_watch); /* 0 or -ENOMEM */
struct change_watch *change_watch_free(struct change_watch *watch); /* NULL is fine */

/* Notes in each endpoint's slot whether it is gone, and returns whether some connection that is open may stand otherwise than at the
 * last look: one of a (source, service, target) of which something changed, to an endpoint that went or came back, or one that weft-proxy
 * may have: nothing counts those, so any change of a service with a port for it concerns them, and any of a node while there is such a
 * service. The first look, and one after the ring of directories has come round, takes everything for changed. A grace period must have
 * passed since the current generation was published: then each connection that was decided before is counted as open. */
bool change_watch_look(struct change_watch *watch, const struct kernel_memory *memory);
/* Whether at that look the egress filter of some node's mesh was, or was audited, as at the one before, or in a generation since, it was not. */
bool change_watch_filters(const struct change_watch *watch);
