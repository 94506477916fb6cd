/* SPDX-License-Identifier: Apache-2.0 */
/* /stats and /stats/prometheus as Envoy answers them (v1.29, operations/admin): pure, any thread. */
#pragma once

#include "agent/l7/stats_view.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/regex.h"

enum stats_format { STATS_TEXT, STATS_JSON, STATS_PROMETHEUS };

#define STATS_COUNTERS 1u
#define STATS_GAUGES 2u
#define STATS_HISTOGRAMS 4u
#define STATS_ALL (STATS_COUNTERS | STATS_GAUGES | STATS_HISTOGRAMS)

struct stats_query {
	enum stats_format format;
	unsigned int types; /* STATS_… */
	bool used_only; /* without those that are 0 */
	const struct regex *filter; /* of whole names, as stats_filter_new() makes it; NULL: all */
};

/* A regular expression that matches names with a match of `pattern` anywhere, as Envoy's filters are. -EINVAL. */
int stats_filter_new(const char *pattern, struct regex **ret_filter, struct error *err);

/* 0 or -ENOMEM. */
int stats_print(const struct l7_stats_view *view, const struct stats_query *query, struct buffer *out);

/* In milliseconds; `quantile` 0 to 1. NAN: nothing was recorded. */
double histogram_quantile_ms(const struct l7_histogram *histogram, double quantile);
