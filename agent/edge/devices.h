/* SPDX-License-Identifier: Apache-2.0 */
/* The network devices of this namespace whose packets are decided: found by name, followed by rtnetlink(7) as they come, go and change
 * their addresses, and given the kernel part's programs (loader/device.h). What is attached stays so when this ends, for the next
 * agent. Thread: the loop's; attaching, which waits in the kernel, is done on the offload thread. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/loop/loop.h"
#include "base/error.h"
#include "maps/edge.h"

struct devices;

struct device_want {
	const char *name;
	uint32_t node; /* object id of the node that it stands for; 0: services are exposed on it */
};

/* Everything is borrowed. 0 or -errno. */
int devices_new(struct loop *loop, struct offload *offload, struct kernel *kernel, const char *instance, struct devices **ret_devices,
		struct error *err);
/* Before the offload thread ends: a job under way goes on without it. NULL is fine. */
struct devices *devices_free(struct devices *devices);

/* Exactly these from now on, each name once; those that other agents of the instance left are let go. 0 or -ENOMEM: then nothing
 * changed. */
int devices_want(struct devices *devices, const struct device_want wants[], size_t count);
/* "attached", "pending", or what is in the way: "there is no such device". Borrowed until the next turn of the loop. */
const char *devices_state(const struct devices *devices, const char *name);

/* -ENOENT: there is no such device in this namespace; -EOPNOTSUPP: its packets have no Ethernet header, or it is the loopback
 * interface. */
int device_check(const char *name, struct error *err);
/* The device that has the address; -ENOENT. */
int device_of_address(const struct ip *address, char ret_name[IFNAMSIZ]);
