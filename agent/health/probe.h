/* SPDX-License-Identifier: Apache-2.0 */
/* One look at one endpoint. Whoever starts a probe gives it a socket, made where the look is to be taken from, and says when it has
 * taken too long, by ending it. Thread: the loop's. */
#pragma once

#include <stddef.h>

#include "agent/health/check.h"
#include "agent/loop/loop.h"
#include "maps/abi/types.h"

struct probe_request {
	struct ip address;
	__be16 port;
	const char *path; /* of HTTP; NULL: connect() alone */
};

struct probe { /* the part that all kinds have */
	void (*free)(struct probe *probe);
};
/* Once, and not from within probe_*_start(). The probe is still the caller's to free, also from here. */
typedef void probe_done_fn(enum check_outcome outcome, const char *text, void *arg);

/* TCP: connect() succeeds. Takes `*fd`, also when it fails. 0, or the -errno of a connect() that failed at once. */
int probe_tcp_start(struct loop *loop, const struct probe_request *request, int *fd, probe_done_fn *done, void *arg,
		    struct probe **ret_probe);

/* HTTP/1.1 GET: status 200, whatever else is in the answer, of which 64 KiB are read at most; a head that is longer fails. No
 * redirects, proxies or cookies. As above. */
int probe_http_start(struct loop *loop, const struct probe_request *request, int *fd, probe_done_fn *done, void *arg,
		     struct probe **ret_probe);

static inline struct probe *probe_free(struct probe *probe) /* no callback after this; NULL is fine */
{
	if (probe)
		probe->free(probe);
	return NULL;
}

/* The outcome that an errno of socket(), connect() or reading stands for, and its text: what is this host's own fault is
 * CHECK_NOT_RUN. */
enum check_outcome probe_outcome(int error, char text[CHECK_TEXT_BYTES]);

/* What they share. connect() without waiting: 0, or the -errno of one that failed at once; then, when the socket can be written, what has
 * become of it: an errno, or 0. */
int probe_connect(int fd, const struct probe_request *request);
int probe_connect_error(int fd);
