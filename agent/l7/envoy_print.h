/* SPDX-License-Identifier: Apache-2.0 */
/* What else Envoy's administration interface shows, in the forms that tools read (v1.29, operations/admin): pure, any thread. JSON is a new
 * reference, NULL: out of memory. */
#pragma once

#include "agent/l7/stats_view.h"
#include "base/bytes.h"
#include "base/regex.h"

const char *l7_server_state_name(enum l7_server_state state); /* "LIVE" */

/* /clusters; `filter` of their names, as stats_filter_new() makes it; NULL: all. */
void envoy_clusters_text(const struct l7_stats_view *view, const struct regex *filter, struct buffer *out);
json_t *envoy_clusters_json(const struct l7_stats_view *view, const struct regex *filter);
void envoy_listeners_text(const struct l7_stats_view *view, struct buffer *out);
json_t *envoy_listeners_json(const struct l7_stats_view *view);
json_t *envoy_server_info_json(const struct l7_stats_view *view);
json_t *envoy_certs_json(const struct l7_stats_view *view);
json_t *envoy_memory_json(const struct l7_stats_view *view);
/* Node, clusters with their hosts, listeners and routes, as the dumps that Envoy has of them. What is in force in detail is `weft get` and
 * `weft explain`. */
json_t *envoy_config_dump_json(const struct l7_stats_view *view);
