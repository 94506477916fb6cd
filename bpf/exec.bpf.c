// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A program begins: does its environment name a virtual node? Only those that have a variable of App Mesh's at all are told to the
 * agent; everything else costs a walk over the environment's bytes, and nobody wakes up. */
#include "lib/bpf.h"
#include "maps/abi/exec.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct mm_struct {
	unsigned long env_start, env_end;
} __attribute__((preserve_access_index));

struct task_struct {
	struct mm_struct *mm;
} __attribute__((preserve_access_index));

#define PREFIX "APPMESH_"
#define PREFIX_BYTES 8
#define CHUNK_BYTES 256
#define MAX_CHUNKS 256 /* 64 KiB; a longer environment is for the agent to look through */

struct chunk {
	char text[CHUNK_BYTES + PREFIX_BYTES]; /* a prefix may begin in one and end in the next */
};
WEFT_MAP(w_exec_chunk, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct chunk, 1, 0);

/* One load where the machine has unaligned ones; where it has none the verifier refuses the program, and the feature is off. */
static __always_inline bool is_prefix(const char *text)
{
	__u64 prefix;

	__builtin_memcpy(&prefix, PREFIX, PREFIX_BYTES);
	return READ_ONCE(*(const __u64 *)text) == prefix;
}

struct walk {
	__u64 at, end;
	bool found;
};

/* Pages that were just written are there, so this does not fault; where one is gone already the agent looks. */
static long chunk_look(__u32 index, void *arg)
{
	struct walk *walk = arg;
	__u32 zero = 0, bytes = CHUNK_BYTES + PREFIX_BYTES;
	struct chunk *chunk = bpf_map_lookup_elem(&w_exec_chunk, &zero);

	if (!chunk || walk->at >= walk->end)
		return 1;
	if (walk->end - walk->at < bytes) {
		__builtin_memset(chunk, 0, sizeof(*chunk));
		bytes = walk->end - walk->at;
	}
	if (bytes > sizeof(chunk->text) || bpf_probe_read_user(chunk->text, bytes, (const void *)walk->at) < 0) {
		walk->found = true;
		return 1;
	}
	for (__u32 i = 0; i < CHUNK_BYTES; i++)
		if (is_prefix(chunk->text + i)) {
			walk->found = true;
			return 1;
		}
	walk->at += CHUNK_BYTES;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int exec_claim(__u64 *ctx)
{
	const struct task_struct *task = (void *)ctx[0];
	__u32 zero = 0;
	struct exec_state *state = bpf_map_lookup_elem(&w_exec_state, &zero);
	const struct mm_struct *mm = task->mm;
	struct exec_record *record;
	struct walk walk = {};

	if (!state || !READ_ONCE(state->wanted) || !mm)
		return 0;
	walk.at = mm->env_start;
	walk.end = mm->env_end;
	bpf_loop(MAX_CHUNKS, chunk_look, &walk, 0);
	if (!walk.found && walk.at >= walk.end)
		return 0;
	record = bpf_ringbuf_reserve(&w_exec, sizeof(*record), 0);
	if (!record) {
		ADD(state->lost, 1);
		return 0;
	}
	record->exec_ns = bpf_ktime_get_ns();
	record->pid = bpf_get_current_pid_tgid() >> 32;
	record->pad = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}
