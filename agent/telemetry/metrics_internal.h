/* SPDX-License-Identifier: Apache-2.0 */
/* What metrics.c (the table of families) and metrics_requests.c (what weft-proxy counted) share. */
#pragma once

#include "agent/telemetry/metrics.h"

struct labelled_row;
struct labelled_requests;
struct labelled_route;

struct writer {
	const struct metrics_input *input;
	struct buffer *out;
	size_t series, dropped;
	size_t row_count; /* rows with traffic */
	struct labelled_row *rows;
	struct buffer row_labels; /* each with its NUL */
	size_t request_count;
	struct labelled_requests *requests;
	size_t route_count;
	struct labelled_route *routes;
};

struct family {
	const char *name, *type, *help;
	void (*emit)(struct writer *w, const struct family *family);
	double (*value)(const struct metrics_input *input); /* emit_one() */
	size_t member; /* of struct row, struct request_counts, struct route_counts, struct endpoint, struct endpoint_requests, struct inbound_listener or struct generations_fill */
	size_t open_member; /* of struct tally_row, added to the one of the row; 0: none */
	size_t sum_member; /* of struct row, in ns; 0: none */
	int first_bucket, last_bucket;
	bool healthy; /* emit_host_count() */
	const char *group; /* emit_request_sums(): of sums, "replies."; */
	const char *label; /* and what the name after it is called */
};

#define COUNT_AT(base, offset) (*(const uint64_t *)((const char *)(base) + (offset)))

/* Room for so many more series; where there is none they are left out, and counted. */
bool metrics_has_room(struct writer *w, size_t series);
void metrics_label(struct buffer *to, const char *name, const char *value);
void metrics_mesh_label(struct buffer *to, const char *full_name); /* "mesh/M/…"; any other text, and NULL, is of no mesh */
void metrics_name_label(struct buffer *to, const char *name, const char *full_name); /* "N:8080"; any other text stays */
void metrics_series(struct writer *w, const struct family *family, const char *suffix, const char *labels);
void metrics_count(struct writer *w, const struct family *family, const char *labels, uint64_t count);
void metrics_seconds(struct buffer *to, uint64_t ns); /* with the line's end */
/* Buckets of the kernel's, `step` of which are one of the family's. */
size_t metrics_histogram_lines(const struct family *family, int step);
void metrics_histogram(struct writer *w, const struct family *family, const __u64 *buckets, uint64_t sum_ns, int step, const char *labels);

/* --- metrics_requests.c --------------------------------------------------------------------------------------------------------------- */

void requests_label(struct writer *w); /* once, before the first family */
void requests_done(struct writer *w);
void emit_request_row(struct writer *w, const struct family *family);
void emit_request_codes(struct writer *w, const struct family *family);
void emit_route_row(struct writer *w, const struct family *family);
void emit_route_codes(struct writer *w, const struct family *family);
void emit_request_seconds(struct writer *w, const struct family *family);
void emit_request_sums(struct writer *w, const struct family *family);
