/* SPDX-License-Identifier: Apache-2.0 */
/* What is in maps goes into larger ones, or those of another layout, while programs go on: the maps that are pinned by one name in two
 * directories and are not the same. Each kind of map has its rule, by who writes to it meanwhile (weftd does not run):
 *
 * - what the agent, or weft-proxy, wrote is copied before programs change, and once more after that;
 * - what programs count in arrays is copied, and what was copied is kept beside; what came since is added later, as often as is wanted;
 * - what they count on each CPU is added when no program counts there any more, by the program `carry`, each number once;
 * - the table of connections without a local socket is written by many programs, and has no lock: those that take over drop its packets, from
 *   the first one that is in place until the last former one is gone and the table is copied. TCP sends them again;
 * - accounts of sockets move, each when its socket is next heard of (bpf/lib/former.h), the rest when all programs are replaced;
 * - flow records that nobody has read are counted as lost, where records look different now. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loader/map_shape.h"

/* Prefix of the pins of what arrays were copied as, in the directory of the new maps. */
#define TAKEOVER_BASE_PREFIX "base_"

/* Whether a map is made anew whatever the pinned one is. */
bool takeover_remakes(const char *map);
/* Whether what is in the pinned map can become what is in that of this build, where they are not the same: -EPROTO; -EBUSY: not now. */
int takeover_check(const char *directory, const struct map_shape *from, const struct map_shape *to, const struct relation *relation,
		   struct error *err);

struct takeover;

/* The maps of both directories; `to` has those of this build. -EPROTO as above. */
int takeover_new(const char *from, const char *to, struct takeover **ret_takeover, struct error *err);
struct takeover *takeover_free(struct takeover *takeover);

int takeover_copy(struct takeover *takeover, struct error *err); /* before a program is replaced */
int takeover_counts(struct takeover *takeover, struct error *err); /* when all are; at any time */
/* When no former program runs at any device any more: what connections without a local socket wait for. At any time after that. */
int takeover_edge(struct takeover *takeover, struct error *err);
/* And when no former program runs any more; again, where that was broken off. */
int takeover_complete(struct takeover *takeover, struct error *err);
