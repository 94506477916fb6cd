/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/sidecar.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/time.h"

struct sidecar *sidecar_new(unsigned int workers)
{
	struct sidecar *sidecar = calloc(1, sizeof(*sidecar) + workers * sizeof(sidecar->parts[0]));

	if (!sidecar)
		return NULL;
	sidecar->refs = 1;
	sidecar->since_ns = time_now_ns();
	sidecar->part_count = workers;
	return sidecar;
}

struct sidecar *sidecar_ref(struct sidecar *sidecar)
{
	__atomic_add_fetch(&sidecar->refs, 1, __ATOMIC_RELAXED);
	return sidecar;
}

struct sidecar *sidecar_unref(struct sidecar *sidecar)
{
	if (!sidecar || __atomic_sub_fetch(&sidecar->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return NULL;
	for (unsigned int i = 0; i < sidecar->part_count; i++) {
		struct sidecar_part *part = sidecar->parts[i];

		if (!part)
			continue;
		rows_done(&part->listeners);
		rows_done(&part->clusters);
		rows_done(&part->hosts);
		free(part);
	}
	free(sidecar);
	return NULL;
}

struct sidecar_part *sidecar_part(struct sidecar *sidecar, unsigned int worker)
{
	struct sidecar_part *part = sidecar->parts[worker];

	if (!part) {
		part = calloc(1, sizeof(*part));
		__atomic_store_n(&sidecar->parts[worker], part, __ATOMIC_RELEASE);
	}
	return part;
}

#define KEY_BYTES(type, last) (offsetof(struct type, last) + sizeof(((struct type *)NULL)->last))

struct sidecar_listener *sidecar_listener(struct sidecar_part *part, uint32_t role, uint16_t port)
{
	static const struct rows_kind kind = { KEY_BYTES(sidecar_listener, port), sizeof(struct sidecar_listener), SIDECAR_LISTENERS_MAX };
	const struct sidecar_listener key = { .role = role, .port = port };

	return rows_get(&part->listeners, &kind, &key) ?: &part->other_listeners;
}

struct sidecar_cluster *sidecar_cluster(struct sidecar_part *part, uint64_t service, uint64_t target, uint16_t port)
{
	static const struct rows_kind kind = { KEY_BYTES(sidecar_cluster, port), sizeof(struct sidecar_cluster), SIDECAR_CLUSTERS_MAX };
	const uint64_t key[] = { service, target, port };

	return rows_get(&part->clusters, &kind, key) ?: &part->other_clusters;
}

struct sidecar_host *sidecar_host(struct sidecar_part *part, uint64_t target, uint16_t listener, const struct ip *address, __be16 port)
{
	static const struct rows_kind kind = { KEY_BYTES(sidecar_host, listener), sizeof(struct sidecar_host), SIDECAR_HOSTS_MAX };
	const struct sidecar_host key = { .target = target, .address = *address, .port = ntohs(port), .listener = listener };

	return rows_get(&part->hosts, &kind, &key) ?: &part->other_hosts;
}
