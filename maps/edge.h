/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of connections without a local socket (maps/abi/edge.h), for the agent. */
#pragma once

#include "maps/abi/edge.h"
#include "maps/kernel.h"
#include "maps/open.h"

/* 0 or -errno; -ENOENT on removal is no error; -E2BIG when the table is full. */
int edge_exposed_set(struct kernel *kernel, const struct ip *address, __be16 port, const struct exposed *exposed);
int edge_exposed_remove(struct kernel *kernel, const struct ip *address, __be16 port);
int edge_device_set(struct kernel *kernel, uint32_t index, const struct edge_device *device);
int edge_device_remove(struct kernel *kernel, uint32_t index);

/* Walks, as in maps/kernel.h. */
typedef int edge_exposed_fn(const struct exposed_key *key, const struct exposed *exposed, void *arg);
int edge_exposed_each(struct kernel *kernel, edge_exposed_fn *fn, void *arg);
typedef int edge_device_fn(uint32_t index, const struct edge_device *device, void *arg);
int edge_device_each(struct kernel *kernel, edge_device_fn *fn, void *arg);
/* The live connections, as kernel_account_each() and kernel_open_each() show those of sockets. */
int edge_account_each(struct kernel *kernel, kernel_account_fn *fn, void *arg);
int edge_open_each(struct kernel *kernel, kernel_open_fn *fn, void *arg);

/* Ends connections that fell silent, that policy denies by now, and those whose time for draining is over. Sleepable: on the offload
 * thread, like kernel_explain(). -EOPNOTSUPP: the kernel part has no such program. */
int edge_sweep_run(struct kernel *kernel, uint64_t now_ns, struct edge_sweep *ret_sweep);
