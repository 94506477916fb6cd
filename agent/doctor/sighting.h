/* SPDX-License-Identifier: Apache-2.0 */
/* What `weft doctor` sees of this node: weftd's answers, the kernel part, the places where processes of workloads are, the host. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/utsname.h>

#include "agent/doctor/places.h"
#include "base/error.h"
#include "base/json.h"
#include "loader/loader.h"
#include "maps/abi/event.h"
#include "maps/abi/types.h"

struct table_fill {
	char name[16];
	uint64_t used, size;
};

/* weftd and weft-proxy. */
struct process_sighting {
	const char *name;
	int pid; /* 0: it does not run, or is not known */
	uint64_t descriptors, descriptors_max; /* 0: unknown */
	char short_of[ERROR_MESSAGE_BYTES]; /* what its cgroup has too little of; "": nothing */
};

/* A weft on this host: another one, or what another version left of ours. */
struct instance_sighting {
	char name[40];
	char abi[16]; /* "" where only files in /run/weft are left */
	char cgroup[256]; /* where it is attached; "": nowhere any more */
	bool answers; /* its weftd */
};

#define SIGHTING_INSTANCES_MAX 64
#define SIGHTING_TABLES_MAX 64
#define SIGHTING_NEVER UINT64_MAX

struct sighting {
	const char *instance;

	json_t *status, *resources, *discovery, *health; /* answers of weftd, borrowed; all NULL with an error */
	struct error agent_error;

	struct error kernel_error; /* code 0: `loader` is known; the same for the next two */
	struct loader_status loader;

	struct error maps_error;
	struct ip vip4, vip4_mask, vip6, vip6_mask;
	uint64_t beat_age_ns; /* of weft-proxy; SIGHTING_NEVER */
	uint64_t stats_before[STAT_COUNT], stats[STAT_COUNT]; /* when looking began, and ended */

	struct error places_error;
	struct places places;

	size_t table_count, instance_count;
	struct table_fill tables[SIGHTING_TABLES_MAX];
	struct instance_sighting instances[SIGHTING_INSTANCES_MAX];
	struct process_sighting weftd, proxy;
	char own_routes[ROUTE_TEXT_BYTES]; /* of this process's namespace; see struct place */
	struct error mounts_error; /* bpffs, cgroup2, BTF: the first that is missing */
	bool clock_synchronised;
	struct utsname kernel;
};

/* Looks. `sighting` has the instance, and weftd's answers or agent_error. What cannot be seen is an error in there. Blocks some 200 ms,
 * and up to 2 s for each place where a probe gets no CPU. One thread only: enters network namespaces. The caller calls sighting_done(). */
void sighting_take(struct sighting *sighting);
void sighting_done(struct sighting *sighting); /* the answers stay the caller's */

/* The other instances on this host, and our other ABIs; sighting->instances. */
void instances_see(struct sighting *sighting);
