/* SPDX-License-Identifier: Apache-2.0 */
/* What apply asks of the kernel: mapped memory, and the calls that are more than memory. A seam: apply_new() fills it
 * with the functions of maps/, tests with their own, since plain memory stands in for the maps but not for these. */
#pragma once

#include "maps/kernel.h"

struct apply_kernel {
	struct kernel_memory *memory;
	int (*vip_set)(void *arg, const struct ip *vip, uint32_t service);
	int (*vip_remove)(void *arg, const struct ip *vip);
	int (*vip_each)(void *arg, kernel_vip_fn *fn, void *fn_arg);
	int (*name_set)(void *arg, const struct name_key *key, const struct name_entry *entry);
	int (*name_remove)(void *arg, const struct name_key *key);
	int (*name_each)(void *arg, kernel_name_fn *fn, void *fn_arg);
	/* These block and run on the offload thread. */
	int (*account_each)(void *arg, kernel_account_fn *fn, void *fn_arg);
	int (*grace_wait)(void *arg);
	void *arg;
};
