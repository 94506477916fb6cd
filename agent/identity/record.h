/* SPDX-License-Identifier: Apache-2.0 */
/* What the state keeps of a workload, under "workloads/ID", so that the next agent takes it up again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/identity/workloads.h"

#define BOOT_ID_BYTES 40

struct record {
	struct workload workload; /* its strings are the record's */
	bool pattern; /* lives as long as its cgroup, not only as long as there are processes in it */
	bool remove_cgroup;
	char boot[BOOT_ID_BYTES]; /* ids of cgroups and cookies of namespaces mean nothing after another boot */
	uint64_t *cookies; /* of the namespaces it acts in */
	size_t cookie_count;
};

/* JSON; free it. -ENOMEM. */
int record_encode(const struct record *record, char **ret_text);
/* -EINVAL names the member. `id` is the key's. */
int record_decode(const void *text, size_t bytes, uint64_t id, struct record *ret_record, struct error *err);
void record_done(struct record *record);

/* From /proc/sys/kernel/random/boot_id. */
int boot_id(char buffer[BOOT_ID_BYTES]);
