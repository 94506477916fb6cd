// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What another build counted on each CPU goes on here. User space could not add to such a count without losing what is counted at
 * that moment, nor be sure to have added once: it may be killed in between, a program cannot. */
#include "lib/count.h"
#include "maps/abi/upgrade.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("syscall")
int carry(struct carry *ctx)
{
	__u32 zero = 0, statistic = ctx->statistic;
	__u64 *carried = bpf_map_lookup_elem(&w_carried, &zero);

	if (!carried || ctx->number <= *carried)
		return 0;
	if (statistic < STAT_COUNT)
		add_stat(statistic, ctx->count);
	else
		add_reason(&ctx->reason, ctx->count);
	*carried = ctx->number;
	return 0;
}
