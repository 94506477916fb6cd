/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "maps/generation.h"

/* The kernel waits for RCU before this system call returns (maybe_wait_bpf_programs() in kernel/bpf/syscall.c), so that nobody
 * uses the map that was replaced. */
static int replace_inner_map(void)
{
	_cleanup_close_ int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "w_grace_inner", 4, 4, 1, NULL);
	_cleanup_close_ int outer = -1;
	const uint32_t key = 0;

	if (inner < 0)
		return inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "w_grace", 4, 4, 1,
			       &(struct bpf_map_create_opts){ .sz = sizeof(struct bpf_map_create_opts), .inner_map_fd = inner });
	if (outer < 0)
		return outer;
	return bpf_map_update_elem(outer, &key, &inner, BPF_ANY);
}

/* With one CPU the kernel takes membarrier for done, which leaves a program that was preempted there running. It refuses
 * where CPUs run without ticks (nohz_full). */
int grace_wait(void)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1 && syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return 0;
	return replace_inner_map();
}
