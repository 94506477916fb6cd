/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of w_vip, and a copy of them to compare with. An entry is added before the commit that needs it; one that
 * is not wanted any more stays until the last directory that was committed while it was has left the ring. Holds the ids
 * that entries name. Thread: the loop's. */
#pragma once

#include "agent/compile/apply_kernel.h"
#include "base/error.h"
#include "maps/generation.h"

struct vip_entries;

/* Takes up what the map has, wanted up to the last generation that has the service, until a plan wants it again. To be
 * called before the first sweep. */
int vip_entries_new(const struct apply_kernel *kernel, struct generations *generations, struct vip_entries **ret_entries,
		    struct error *err);
struct vip_entries *vip_entries_free(struct vip_entries *entries);

/* `vip` stands for the service from now on, and is wanted. -ENOSPC: the table is full; -errno of the kernel. */
int vip_entries_set(struct vip_entries *entries, const struct ip *vip, uint32_t service, struct error *err);
/* Wanted by no generation after `last`. Nothing happens where it stands for another service by now. */
void vip_entries_drop(struct vip_entries *entries, const struct ip *vip, uint32_t service, uint64_t last);
/* Removes what only generations before `oldest` wanted. What the kernel keeps stays for the next time. */
void vip_entries_sweep(struct vip_entries *entries, uint64_t oldest);
