/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of weft-proxy share: proxy.c (its life), server.c (its control socket), takeover.c (its beginning, as a successor),
 * retire.c (its end). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/dns/resolv_watch.h"
#include "agent/dns/responder.h"
#include "agent/identity/liveness.h"
#include "agent/l7/l7.h"
#include "agent/proxy/admin_ports.h"
#include "agent/proxy/attachments.h"
#include "agent/proxy/formers.h"
#include "agent/proxy/own_cgroup.h"
#include "agent/proxy/proxy.h"
#include "agent/proxy/retire.h"
#include "agent/proxy/seat.h"
#include "maps/proxy.h"

#define PROXY_ANSWER_NS (2 * NSEC_PER_SEC) /* a weft-proxy that takes longer to answer its successor hangs */

struct server;

struct proxy {
	struct loop *loop;
	const char *instance;
	struct proxy_options options;
	struct proxy_maps maps;
	struct own_cgroup cgroup;
	int original_fd; /* answers SO_ORIGINAL_DST for our sockets; -1: nobody does */
	struct offload *offload; /* for a look */
	struct offload *reader; /* of configurations alone, which may take a second */
	struct liveness *liveness;
	struct resolv_watches *watches;
	struct responder_maps responder_maps;
	struct responder *responder;
	struct l7 *l7;
	struct admin_ports *admin_ports;
	struct attachments *attachments;
	struct seat seat;
	struct server *server;
	struct formers formers;
	uint64_t formers_until_ns; /* others may still come */
	struct retirement *retirement; /* NULL: we have the seat, or are taking it */
	struct loop_timer *beat_timer;
	uint64_t started_wall_ns;
	bool uninstalled;
};

/* Tells the hooks that we are here. */
void proxy_beat(struct proxy *proxy);
/* A successor has all: serves what is under way, then ends the loop. */
void proxy_hand_over(struct proxy *proxy);

/* --- configure.c: what the mesh is told to be ------------------------------------------------------------------------------------- */

struct configuration { /* as l7_configure() takes it */
	uint64_t base, generation;
	int fd; /* memory file of its text */
};
/* Before the loop runs. The descriptor stays the caller's. */
int proxy_configure_now(struct proxy *proxy, const struct configuration *configuration, struct error *err);
/* Reads it on a thread of its own, for the loop answers names meanwhile, and puts it in force, in the order of these calls. Then `done` comes, on the loop,
 * from no call of ours: with NULL or with what is wrong. Takes the descriptor, also where it returns -ENOMEM. */
typedef void configured_fn(struct proxy *proxy, uint64_t whose, const struct error *err);
int proxy_configure(struct proxy *proxy, const struct configuration *configuration, configured_fn *done, uint64_t whose);

/* --- counts.c: requests ---------------------------------------------------------------------------------------------------------- */

/* Appends what "requests" answers (control.h). 0 or -ENOMEM. */
int counts_write(const struct proxy *proxy, struct buffer *text);
void counts_leave(const struct proxy *proxy); /* to weftd, whenever it looks */
void counts_clear(const struct proxy *proxy); /* nobody looks any more */

/* --- explain.c ------------------------------------------------------------------------------------------------------------------- */

/* Appends what "explain" answers (control.h). -EINVAL names the member; -ENOMEM. */
int explain_write(struct proxy *proxy, const json_t *message, struct buffer *text, struct error *err);

/* --- server.c: the control socket ------------------------------------------------------------------------------------------------ */

/* Accepts at proxy->seat. */
int server_new(struct proxy *proxy, struct server **ret_server, struct error *err);
struct server *server_free(struct server *server); /* disconnects all. NULL is fine */
bool server_has_agent(const struct server *server); /* weftd is connected. NULL is fine */
void server_retire(struct server *server); /* serves nobody any more but the successor, which has taken over */
extern const struct attachment_events server_events; /* `arg` is the proxy */

/* --- takeover.c -------------------------------------------------------------------------------------------------------------------- */

/* Gets the seat: from the weft-proxy that runs, with its places, or by the lock where none does. -EBUSY, -ETIMEDOUT: one runs and does
 * not answer; both name its pid. */
int proxy_take_seat(struct proxy *proxy, struct error *err);
