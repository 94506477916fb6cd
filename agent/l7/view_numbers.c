/* SPDX-License-Identifier: Apache-2.0 */
/* What was counted in a namespace, over all workers, and by which of Envoy's names it goes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/view_internal.h"

/* --- sums ----------------------------------------------------------------------------------------------------------------- */

/* From the first counter to the end of both. */
static void words_add(void *to, const void *from, size_t first, size_t bytes)
{
	uint64_t *sums = (uint64_t *)((char *)to + first);
	const uint64_t *words = (const uint64_t *)((const char *)from + first);

	for (size_t i = 0; i < (bytes - first) / sizeof(uint64_t); i++)
		sums[i] += __atomic_load_n(&words[i], __ATOMIC_RELAXED);
}
#define CLUSTER_ADD(to, from) words_add(to, from, offsetof(struct sidecar_cluster, requests), sizeof(struct sidecar_cluster))
#define HOST_ADD(to, from) words_add(to, from, offsetof(struct sidecar_host, connections), sizeof(struct sidecar_host))

static int host_order(const void *a, const void *b)
{
	const struct sidecar_host *x = &((const struct drawn_host *)a)->sum, *y = &((const struct drawn_host *)b)->sum;
	int order;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (x->listener != y->listener)
		return x->listener < y->listener ? -1 : 1;
	order = memcmp(&x->address, &y->address, sizeof(x->address));
	return order ?: (x->port > y->port) - (x->port < y->port);
}

static int pair_search(const void *key, const void *element)
{
	const struct sidecar_cluster *row = key;
	const struct drawn_pair *pair = element;

	if (row->target != pair->target->object.lineage)
		return row->target < pair->target->object.lineage ? -1 : 1;
	return (row->service > pair->service->object.lineage) - (row->service < pair->service->object.lineage);
}

static int cluster_search(const void *key, const void *element)
{
	const struct sidecar_cluster *row = key, *sum = &((const struct drawn_cluster *)element)->sum;

	if (row->target != sum->target)
		return row->target < sum->target ? -1 : 1;
	return (row->port > sum->port) - (row->port < sum->port);
}

static struct drawn_cluster *cluster_find(const struct drawing *d, uint64_t target, uint64_t port)
{
	const struct sidecar_cluster key = { .target = target, .port = port };

	return d->cluster_count ? bsearch(&key, d->clusters, d->cluster_count, sizeof(*d->clusters), cluster_search) : NULL;
}

static const struct sidecar_part *part_at(const struct drawing *d, unsigned int i)
{
	return __atomic_load_n(&d->sidecar->parts[i], __ATOMIC_ACQUIRE);
}

/* Where the applications are is seen by what goes to them: the listeners of the configuration do not say it. */
static int add_applications(struct drawing *d, const struct sidecar_part *part)
{
	struct rows_walk walk = rows_walk(&part->hosts);
	const struct sidecar_host *row;

	while ((row = rows_next(&walk))) {
		struct drawn_host *host;

		if (!row->listener || !cluster_find(d, row->target, row->listener))
			continue;
		host = view_add(d->hosts, d->host_count);
		if (!host)
			return -ENOMEM;
		host->sum.target = row->target;
		host->sum.address = row->address;
		host->sum.port = row->port;
		host->sum.listener = row->listener;
	}
	return 0;
}

/* In the order of the clusters, each once. */
static void arrange_hosts(struct drawing *d)
{
	size_t kept = 0, at = 0;

	if (d->host_count > 1)
		qsort(d->hosts, d->host_count, sizeof(*d->hosts), host_order);
	for (size_t i = 0; i < d->host_count; i++)
		if (kept == 0 || host_order(&d->hosts[kept - 1], &d->hosts[i]) != 0)
			d->hosts[kept++] = d->hosts[i];
	d->host_count = kept;
	for (size_t i = 0; i < d->cluster_count; i++) {
		struct drawn_cluster *cluster = &d->clusters[i];

		cluster->first_host = at;
		while (at < d->host_count && d->hosts[at].sum.target == cluster->sum.target &&
		       d->hosts[at].sum.listener == cluster->sum.port)
			at++;
		cluster->host_count = at - cluster->first_host;
	}
}

static void sum_part(struct drawing *d, const struct sidecar_part *part)
{
	struct rows_walk clusters = rows_walk(&part->clusters), hosts = rows_walk(&part->hosts);
	const struct sidecar_cluster *cluster;
	const struct sidecar_host *host;

	for (int side = 0; side < SIDECAR_SIDES; side++)
		words_add(&d->https[side], &part->https[side], 0, sizeof(part->https[side]));
	while ((cluster = rows_next(&clusters))) {
		struct drawn_cluster *sum = cluster_find(d, cluster->target, cluster->port);
		struct drawn_pair *pair = d->pair_count ? bsearch(cluster, d->pairs, d->pair_count, sizeof(*d->pairs), pair_search) : NULL;

		if (sum)
			CLUSTER_ADD(&sum->sum, cluster);
		if (pair && !cluster->port)
			CLUSTER_ADD(&pair->sum, cluster);
	}
	while ((host = rows_next(&hosts))) {
		struct drawn_host key = { .sum = { .target = host->target, .listener = host->listener, .address = host->address,
						   .port = host->port } };
		struct drawn_host *sum = d->host_count ? bsearch(&key, d->hosts, d->host_count, sizeof(*d->hosts), host_order) : NULL;

		if (sum)
			HOST_ADD(&sum->sum, host);
	}
	d->clusters_lost |= __atomic_load_n(&part->other_clusters.tries, __ATOMIC_RELAXED) > 0;
	d->hosts_lost |= __atomic_load_n(&part->other_hosts.tries, __ATOMIC_RELAXED) > 0;
}

int view_sum(struct drawing *d)
{
	for (unsigned int i = 0; i < d->sidecar->part_count; i++)
		if (part_at(d, i) && add_applications(d, part_at(d, i)) < 0)
			return -ENOMEM;
	arrange_hosts(d);
	for (unsigned int i = 0; i < d->sidecar->part_count; i++)
		if (part_at(d, i))
			sum_part(d, part_at(d, i));
	return 0;
}

/* --- by name -------------------------------------------------------------------------------------------------------------- */

/* Words are read one after the other while they change: what is over may seem to be more than there was. */
static uint64_t over(uint64_t total, uint64_t active)
{
	return total - MIN(total, active);
}

static uint64_t sum_of(const uint64_t *counts, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += counts[i];
	return sum;
}

static uint64_t flagged(const uint64_t replies[L7_REPLY_COUNT], enum access_log_flag flag)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < L7_REPLY_COUNT; i++)
		if (l7_replies[i].flag == flag)
			sum += replies[i];
	return sum;
}

static const struct l7_histogram *histogram_in(struct drawing *d, uint64_t sum_ns, const uint64_t buckets[HISTOGRAM_BUCKETS])
{
	struct l7_histogram *histogram = view_room(d, 1, sizeof(*histogram));

	if (!histogram)
		return NULL;
	memcpy(histogram->buckets, buckets, sizeof(histogram->buckets));
	histogram->sum_ns = sum_ns;
	return histogram;
}

static void codes_set(uint64_t to[6], const uint64_t from[6])
{
	memcpy(to, from, 6 * sizeof(*to));
}

static void listener_write(const struct drawing *d, const struct drawn_listener *from, struct l7_listener_view *to)
{
	struct sidecar_listener sum = {};

	for (unsigned int i = 0; i < d->sidecar->part_count; i++) {
		struct rows_walk walk = part_at(d, i) ? rows_walk(&part_at(d, i)->listeners) : (struct rows_walk){};
		const struct sidecar_listener *row;

		while ((row = rows_next(&walk)))
			if (row->role == from->role && row->port == from->port)
				words_add(&sum, row, offsetof(struct sidecar_listener, connections), sizeof(sum));
	}
	l7_stats_none(&to->stats);
	to->stats.downstream_cx_total = sum.connections;
	to->stats.downstream_cx_active = sum.open;
	to->stats.downstream_cx_destroy = over(sum.connections, sum.open);
}

static int http_write(struct drawing *d, struct l7_http_view *to)
{
	const bool ingress = !strcmp(to->prefix, "ingress");
	const struct sidecar_http *http = &d->https[ingress ? SIDECAR_INGRESS : SIDECAR_EGRESS];
	const uint64_t *replies = http->replies;
	struct l7_http_stats *s = &to->stats;

	l7_stats_none(s);
	s->downstream_cx_total = s->downstream_cx_active = s->downstream_cx_destroy = 0;
	for (size_t i = 0; i < d->listener_count; i++) {
		const struct l7_listener_stats *listener = &d->listener_views[i].stats;

		if ((d->listeners[i].role != L7_OUTBOUND) != ingress)
			continue;
		s->downstream_cx_total += listener->downstream_cx_total;
		s->downstream_cx_active += listener->downstream_cx_active;
		s->downstream_cx_destroy += listener->downstream_cx_destroy;
	}
	s->downstream_cx_idle_timeout = http->cx_idle_timeout;
	s->downstream_cx_protocol_error = flagged(replies, ACCESS_LOG_DOWNSTREAM_PROTOCOL_ERROR);
	s->downstream_cx_rx_bytes_total = http->received_bytes;
	s->downstream_cx_tx_bytes_total = http->sent_bytes;
	s->downstream_cx_upgrades_total = http->upgrades;
	s->downstream_cx_upgrades_active = http->upgrades_active;
	s->downstream_rq_total = s->downstream_rq_http1_total = s->rq_total = http->requests;
	s->downstream_rq_active = http->requests_active;
	s->downstream_rq_completed = sum_of(http->codes + 1, 5);
	s->downstream_rq_timeout = replies[L7_SLOW_REQUEST];
	s->downstream_rq_idle_timeout = replies[L7_IDLE_TIMEOUT] + replies[L7_CUT_BY_IDLE];
	s->downstream_rq_rx_reset = replies[L7_CLIENT_GONE];
	s->downstream_rq_tx_reset = replies[L7_CUT_OFF] + replies[L7_CUT_PROTOCOL] + replies[L7_CUT_BY_TIMEOUT] + replies[L7_CUT_BY_IDLE] +
				    replies[L7_ENDED] + replies[L7_DRAIN_LIMIT] + replies[L7_FILTER_CLOSED];
	s->no_route = flagged(replies, ACCESS_LOG_NO_ROUTE_FOUND);
	codes_set(s->codes, http->codes);
	to->rq_time = histogram_in(d, http->time_ns_sum, http->time_ns);
	return to->rq_time ? 0 : -ENOMEM;
}

static void host_write(const struct drawing *d, const struct sidecar_host *sum, struct l7_host_view *to)
{
	to->rq_pending_active = L7_STAT_NONE;
	if (d->hosts_lost) {
		to->cx_total = to->cx_active = to->cx_connect_fail = to->rq_total = to->rq_active = to->rq_success = to->rq_error =
			to->rq_timeout = L7_STAT_NONE;
		return;
	}
	to->cx_total = sum->connections;
	to->cx_active = sum->open;
	to->cx_connect_fail = sum->connect_failed;
	to->rq_total = sum->tries;
	to->rq_active = sum->tries_active;
	to->rq_success = sum->answered;
	to->rq_error = sum->failed;
	to->rq_timeout = sum->timed_out;
}

/* What is known of its endpoints now, counted or not. */
static void membership_write(const struct drawing *d, const struct drawn_cluster *from, const struct l7_cluster_view *cluster,
			     struct l7_cluster_stats *s)
{
	uint64_t healthy = 0, up = 0, checked = 0, ejected = 0;

	for (size_t i = 0; i < cluster->host_count; i++) {
		const struct drawn_host *host = &d->hosts[from->first_host + i];
		const struct endpoint *slot = host->endpoint ? l7_slot(d->l7, host->endpoint) : NULL;
		const bool failed = cluster->hosts[i].failed_active_check;

		checked += slot && __atomic_load_n(&slot->health, __ATOMIC_RELAXED) != HEALTH_UNCHECKED;
		up += slot && !failed;
		ejected += cluster->hosts[i].ejected;
		healthy += !failed && !cluster->hosts[i].ejected;
	}
	s->membership_total = cluster->host_count;
	s->membership_healthy = healthy;
	if (checked)
		s->health_check_healthy = up;
	if (from->target && from->target->max_errors)
		s->outlier_ejections_active = ejected;
}

static void tries_write(const struct sidecar_cluster *c, struct l7_cluster_stats *s)
{
	const uint64_t resets = c->failed[L7_UPSTREAM_CLOSED] + c->failed[L7_UPSTREAM_PROTOCOL] + c->replies[L7_CUT_OFF] +
				c->replies[L7_CUT_PROTOCOL];

	s->upstream_cx_total = s->upstream_cx_http1_total = c->connections;
	s->upstream_cx_active = c->open;
	s->upstream_cx_destroy = over(c->connections, c->open);
	s->upstream_cx_connect_fail = c->failed[L7_CONNECT_FAILED] + c->failed[L7_CONNECT_TIMEOUT];
	s->upstream_cx_connect_timeout = c->failed[L7_CONNECT_TIMEOUT];
	s->upstream_cx_protocol_error = c->failed[L7_UPSTREAM_PROTOCOL] + c->replies[L7_CUT_PROTOCOL];
	s->upstream_cx_rx_bytes_total = c->received_bytes;
	s->upstream_cx_tx_bytes_total = c->sent_bytes;
	s->upstream_rq_total = c->tries;
	s->upstream_rq_active = c->tries_active;
	s->upstream_rq_rx_reset = resets;
	s->upstream_rq_tx_reset = c->failed[L7_TRY_TIMEOUT] + c->replies[L7_REQUEST_TIMEOUT] + c->replies[L7_CUT_BY_TIMEOUT] +
				  c->replies[L7_CUT_BY_IDLE] + c->replies[L7_CLIENT_GONE];
	s->upstream_rq_per_try_timeout = c->failed[L7_TRY_TIMEOUT];
	s->upstream_rq_retry = c->verdicts[RETRY_AGAIN];
	s->upstream_rq_retry_limit_exceeded = c->verdicts[RETRY_LIMIT];
	s->upstream_rq_retry_overflow = c->verdicts[RETRY_OVER_BUDGET];
	s->upstream_rq_retry_success = c->retry_success;
}

static void limits_write(const struct listener *listener, const struct sidecar_cluster *c, struct l7_cluster_stats *s)
{
	if (listener->max_connections == LISTENER_UNLIMITED)
		return;
	s->upstream_rq_pending_total = c->pending;
	s->upstream_rq_pending_active = c->pending_active;
	s->upstream_rq_pending_overflow = c->replies[L7_OVERFLOW];
	s->cx_open = c->open >= listener->max_connections;
	if (listener->max_pending != LISTENER_UNLIMITED)
		s->rq_pending_open = c->pending_active >= listener->max_pending;
}

static int cluster_write(struct drawing *d, const struct drawn_cluster *from, struct l7_cluster_view *to)
{
	const struct sidecar_cluster *c = &from->sum;
	struct l7_cluster_stats *s = &to->stats;

	l7_stats_none(s);
	if (from->target || from->listener)
		membership_write(d, from, to, s);
	if (d->clusters_lost)
		return 0;
	tries_write(c, s);
	s->upstream_rq_completed = sum_of(c->codes + 1, 5);
	s->upstream_rq_timeout = c->replies[L7_REQUEST_TIMEOUT] + c->replies[L7_CUT_BY_TIMEOUT];
	codes_set(s->codes, c->codes);
	if (from->target)
		s->upstream_cx_none_healthy = c->replies[L7_NO_HEALTHY];
	if (from->listener)
		limits_write(from->listener, c, s);
	to->rq_time = histogram_in(d, c->time_ns_sum, c->time_ns);
	return to->rq_time ? 0 : -ENOMEM;
}

/* --- App Mesh's metrics extension ------------------------------------------------------------------------------------------ */

static void mesh_write(struct drawing *d)
{
	const struct sidecar_http *http = &d->https[SIDECAR_INGRESS];
	struct l7_mesh_stats *s = &d->view.mesh_stats;

	for (size_t i = 0; i < d->view.http_count; i++) {
		if (strcmp(d->view.https[i].prefix, "ingress") != 0)
			continue;
		s->active_connections = d->view.https[i].stats.downstream_cx_active;
		s->new_connections = d->view.https[i].stats.downstream_cx_total;
		s->processed_bytes = http->received_bytes + http->sent_bytes;
		s->requests = http->requests;
	}
}

static int pair_name_order(const void *a, const void *b)
{
	const struct drawn_pair *x = a, *y = b;

	if (x->service != y->service)
		return x->service->object.lineage < y->service->object.lineage ? -1 : 1;
	return strcmp(x->target->virtual_node, y->target->virtual_node);
}

static int mesh_target_write(struct drawing *d, const struct drawn_pair *pair, struct l7_mesh_target_view *to)
{
	const struct sidecar_cluster *c = &pair->sum;

	to->service = pair->service->host.data;
	to->node = pair->target->virtual_node;
	to->stats = (struct l7_mesh_target_stats){
		.processed_bytes = c->received_bytes + c->sent_bytes,
		.requests = c->requests,
		.codes_2xx = c->codes[2],
		.codes_3xx = c->codes[3],
		.codes_4xx = c->codes[4],
		.codes_5xx = c->codes[5],
	};
	to->time = histogram_in(d, c->time_ns_sum, c->time_ns);
	return to->time ? 0 : -ENOMEM;
}

/* A node with several listeners is one target of a service. */
static int mesh_targets_write(struct drawing *d)
{
	struct l7_mesh_target_view *targets = view_room(d, d->pair_count, sizeof(*targets));
	size_t count = 0;
	int r = targets ? 0 : -ENOMEM;

	if (d->pair_count > 1)
		qsort(d->pairs, d->pair_count, sizeof(*d->pairs), pair_name_order);
	for (size_t i = 0; r == 0 && i < d->pair_count && !d->clusters_lost;) {
		struct drawn_pair *first = &d->pairs[i];

		for (i++; i < d->pair_count && pair_name_order(first, &d->pairs[i]) == 0; i++)
			CLUSTER_ADD(&first->sum, &d->pairs[i].sum);
		r = mesh_target_write(d, first, &targets[count++]);
	}
	d->view.mesh_targets = targets;
	d->view.mesh_target_count = count;
	return r;
}

/* --- all of it ------------------------------------------------------------------------------------------------------------ */

int view_write_numbers(struct drawing *d)
{
	struct l7_stats_view *view = &d->view;
	uint64_t connections = 0;
	int r = 0;

	for (size_t i = 0; i < d->listener_count; i++) {
		listener_write(d, &d->listeners[i], &d->listener_views[i]);
		connections += d->listener_views[i].stats.downstream_cx_active;
	}
	for (size_t i = 0; r == 0 && i < view->http_count; i++)
		r = http_write(d, &d->http_views[i]);
	for (size_t i = 0; i < d->host_count; i++)
		host_write(d, &d->hosts[i].sum, &d->host_views[i]);
	for (size_t i = 0; r == 0 && i < d->cluster_count; i++)
		r = cluster_write(d, &d->clusters[i], &d->cluster_views[i]);
	if (r == 0)
		r = mesh_targets_write(d);
	mesh_write(d);
	view->server.total_connections = connections;
	view->server.active_clusters = view->cluster_count;
	view->server.total_listeners_active = view->listener_count;
	return r;
}
