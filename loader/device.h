/* SPDX-License-Identifier: Apache-2.0 */
/* The programs edge_ingress and edge_egress at a network device, which the agent chooses: by links (tcx), pinned as dev_INDEX_in and
 * dev_INDEX_out, where the kernel has those (Linux 6.6); by filters of a clsact qdisc otherwise. Both outlive the agent, and end with
 * the device. Which devices there are is in the map w_edge_device: an entry is written before its device is attached, and removed
 * after it was detached, so that whoever uninstalls finds them all. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum device_how { /* to attach */
	DEVICE_BY_LINK,
	DEVICE_BY_FILTER,
};

/* Which of both this kernel takes, tried on the loopback interface. -ENOENT: the instance has no such programs, since the kernel does not
 * take them, or since there is none. */
int device_probe(const char *pin_path, enum device_how *ret_how, struct error *err);
/* In place where they are attached already, so that no packet goes by. -ENODEV: there is no such device, or not any more. */
int device_attach(const char *pin_path, uint32_t index, enum device_how how, struct error *err);
/* Whether both programs are there. A device that was deleted has taken them along. */
bool device_attached(const char *pin_path, uint32_t index, enum device_how how);
/* What is not there is fine, and so is a device that is gone. A qdisc that was made stays: others may use it by now. */
void device_detach(const char *pin_path, uint32_t index);

/* All devices of the instance: run the programs that are pinned now, after an upgrade; and none, before it is uninstalled. A device
 * that keeps an earlier program is logged by its index in `err`, the others are done all the same. */
int devices_refresh(const char *pin_path, struct error *err);
void devices_detach(const char *pin_path);
