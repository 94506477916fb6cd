/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Counting: statistics, reasons, and flow records with exact loss. */
#pragma once

#include "bpf.h"
#include "maps/abi/config.h"
#include "maps/abi/event.h"
#include "maps/abi/reason.h"

static __always_inline void add_stat(enum statistic stat, __u64 count)
{
	__u32 key = stat;
	__u64 *value = bpf_map_lookup_elem(&w_stat, &key);

	if (value)
		ADD(*value, count);
}

static __always_inline void count_stat(enum statistic stat)
{
	add_stat(stat, 1);
}

/* Adds for (source, service, reason); where the table has no room, for the reason alone. */
static __always_inline void add_reason(const struct reason_key *what, __u64 count)
{
	struct reason_key key = *what;
	__u64 *value = bpf_map_lookup_elem(&w_reason, &key);
	__u64 zero = 0;

	if (!value) {
		bpf_map_update_elem(&w_reason, &key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&w_reason, &key);
	}
	if (!value) {
		key.source = key.service = 0;
		value = bpf_map_lookup_elem(&w_reason, &key);
		count_stat(STAT_REASON_TABLE_FULL);
	}
	if (value)
		ADD(*value, count);
}

static __always_inline void count_reason(__u32 source, __u32 service, enum reason reason)
{
	const struct reason_key key = { .source = source, .service = service, .reason = reason };

	add_reason(&key, 1);
}

#define SAMPLING_WINDOW_NS 100000000ull

/* 1: record this close. n: record it, it stands for n. 0: leave it out. Up to the configured rate, on this CPU, every close is
 * recorded; a window that saw more makes the next one record 1 in N. */
static __always_inline __u32 sample(__u64 now_ns)
{
	__u32 zero = 0, allowed, seen;
	struct sampling *s = bpf_map_lookup_elem(&w_sampling, &zero);
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);

	if (!s || !config || !config->flows_per_second)
		return 1;
	if (now_ns - s->window_start_ns >= SAMPLING_WINDOW_NS) {
		allowed = config->flows_per_second / 10 ?: 1;
		/* a window long past says nothing of the rate now */
		s->one_in = now_ns - s->window_start_ns < 2 * SAMPLING_WINDOW_NS ? (s->seen + allowed - 1) / allowed : 1;
		s->seen = 0;
		s->window_start_ns = now_ns;
	}
	seen = s->seen++;
	if (s->one_in <= 1)
		return 1;
	return seen % s->one_in ? 0 : s->one_in;
}

/* The reader polls four times a second; it is woken earlier when a quarter of the ring is unread. */
static __always_inline void record_write(const struct flow_record *record)
{
	const __u64 wake = bpf_ringbuf_query(&w_flow, BPF_RB_AVAIL_DATA) >= FLOW_RING_BYTES / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;

	if (bpf_ringbuf_output(&w_flow, (void *)record, sizeof(*record), wake))
		count_stat(STAT_FLOWS_LOST);
	else
		count_stat(STAT_FLOWS_WRITTEN);
}
