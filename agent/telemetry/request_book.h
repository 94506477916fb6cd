/* SPDX-License-Identifier: Apache-2.0 */
/* What was counted of requests in all, by the names of source, service and target, and of source, service and route, over every weft-proxy that there was. A weft-proxy sums
 * from its own begin on: of each reading, what has grown since the one before of the same process is added here. Sums and the last
 * reading are kept together in the state ("requests/…"), so that neither the next weft-proxy nor the next weftd begins anew, and nothing
 * is counted twice. What a weft-proxy counted after it was read for the last time is lost with it.
 *
 * Requests that came in for a virtual node have it as the target, and no source and service. A gateway's own route has it as the source, and no
 * service; requests that no route took have no route. Thread: the loop's. */
#pragma once

#include "agent/state/state.h"
#include "agent/telemetry/request_reading.h"

#define REQUEST_ROWS_MAX 32768 /* of a kind; beyond that all is one row, without names */

struct request_book;

struct request_row {
	const char *source, *service, *target; /* full names; NULL: none. All NULL: what has no row of its own */
	struct request_counts counts;
	uint64_t active; /* under way, by the readings since request_book_begin() */
};
struct request_route {
	const char *source, *service, *route; /* full names, and the route's own; NULL: none. All NULL: what has no row of its own */
	struct route_counts counts;
};
struct request_sum {
	const char *name;
	uint64_t count;
};

/* Borrows `state`. -ENOMEM, -EIO. */
int request_book_new(struct state *state, struct request_book **ret_book);
struct request_book *request_book_free(struct request_book *book); /* NULL is fine */

/* Before the readings of a moment are taken: nothing is under way but what they say. */
void request_book_begin(struct request_book *book);
/* The last name that an id had; NULL: not known. Borrowed for the call. */
typedef const char *request_name_fn(uint32_t id, void *arg);
/* Of any weft-proxy, several of which may be there at a time. -ENOMEM: what of it was not taken is taken with the next one. */
int request_book_take(struct request_book *book, const struct request_reading *reading, request_name_fn *name, void *arg);

/* Writes at most `max` rows of what has changed. Returns how many are left to be written; -errno: all of them are. */
int request_book_save(struct request_book *book, size_t max);

/* As they were first met, each at the same place ever after; names are the book's. */
size_t request_book_rows(const struct request_book *book);
struct request_row request_book_row(const struct request_book *book, size_t i);
size_t request_book_routes(const struct request_book *book);
struct request_route request_book_route(const struct request_book *book, size_t i);
size_t request_book_sums(const struct request_book *book);
struct request_sum request_book_sum(const struct request_book *book, size_t i);
