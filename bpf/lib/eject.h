/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Outlier detection (App Mesh API, OutlierDetection) by what connections tell of their endpoint. Only what the peer did counts: it
 * refused, did not answer, could not be reached, or reset before the first byte of an answer; never what failed or was closed here.
 * `max_errors` of a kind in a row take the endpoint out of rotation at once, for the base times the ejections in a row, which each
 * interval in rotation makes one fewer. When the time is over one connection is the probe: established, it readmits the
 * endpoint; failed, it ejects it again; where it says nothing the next one is. While a probe is under way, and for as long as
 * the last ejection was, the endpoint stays out.
 *
 * Resets are counted apart, since each connection that is reset was established, and only one that ends otherwise clears them: an
 * endpoint that a probe readmits and that goes on resetting is ejected again by the first. */
#pragma once

#include "count.h"
#include "directory.h"
#include "ip.h"
#include "maps/abi/account.h"
#include "maps/abi/decision.h"
#include "maps/abi/endpoint.h"

#define MAX_EJECTION_NS 300000000000ull /* Envoy's max_ejection_time where none is given: this, or the base where that is longer */

struct share_scan {
	__u32 first;
	__u32 ejected;
};

static long scan_ejected(__u32 index, void *arg)
{
	struct share_scan *scan = arg;
	const __u32 place = scan->first + index;
	const struct endpoint_ref *ref = bpf_map_lookup_elem(&w_ref, &place);
	const struct endpoint *endpoint;
	__u32 slot = ref ? ref->slot : ~0u;

	endpoint = bpf_map_lookup_elem(&w_endpoint, &slot);
	scan->ejected += endpoint && READ_ONCE(endpoint->ejected_until_ns);
	return 0;
}

/* With this one, more than maxEjectionPercent of the list are out; one always may be. */
static __always_inline bool eject_too_many(const struct target_record *target, bool v6)
{
	const __u32 count = v6 ? target->count[LIST_V6] : target->count[LIST_V4];
	struct share_scan scan = { .first = v6 ? target->first[LIST_V6] : target->first[LIST_V4] };

	bpf_loop(count, scan_ejected, &scan, 0);
	return scan.ejected > 1 && (__u64)scan.ejected * 100 > (__u64)count * target->max_ejection_pct;
}

/* The factor of an ejection now: one more than that of the last, less one for each interval between them. */
static __always_inline __u32 eject_factor(const struct endpoint *endpoint, const struct target_record *target, bool probe, __u64 now_ns)
{
	const __u64 in_rotation_ns = probe || now_ns < endpoint->readmitted_ns ? 0 : now_ns - endpoint->readmitted_ns;
	const __u64 intervals = target->interval_ns ? in_rotation_ns / target->interval_ns : 0;

	return endpoint->ejection_factor > intervals ? endpoint->ejection_factor - intervals + 1 : 1;
}

/* Ejects the endpoint of `a`, where the target has outlier detection and its errors in a row are that many, or its probe failed. Not
 * inlined: every way to close a connection leads here, and few do. */
static __noinline void eject(const struct account *a, struct endpoint *endpoint, __u32 errors, __u64 now_ns)
{
	const struct target_record *target = directory_target(generation_current(), a->target);
	const bool probe = a->probe;
	__u64 longest_ns, for_ns, until_ns;
	__u32 factor;

	if (!target || !target->max_errors || (!probe && errors < target->max_errors))
		return;
	until_ns = READ_ONCE(endpoint->ejected_until_ns);
	if (until_ns && !probe)
		return;
	longest_ns = target->base_ejection_ns > MAX_EJECTION_NS ? target->base_ejection_ns : MAX_EJECTION_NS;
	factor = eject_factor(endpoint, target, probe, now_ns);
	for_ns = longest_ns;
	if (target->base_ejection_ns && factor > longest_ns / target->base_ejection_ns)
		factor = longest_ns / target->base_ejection_ns + 1; /* grows no further */
	else
		for_ns = factor * target->base_ejection_ns;
	if (!__sync_bool_compare_and_swap(&endpoint->ejected_until_ns, until_ns, now_ns + for_ns))
		return;
	/* Out first, and counted then: of two at once both may be taken back, but never are there too many. */
	if (!until_ns && eject_too_many(target, !ip_is_v4(&a->address))) {
		__sync_val_compare_and_swap(&endpoint->ejected_until_ns, now_ns + for_ns, 0);
		count_stat(STAT_EJECTIONS_CAPPED);
		return;
	}
	endpoint->ejected_for_ns = for_ns;
	endpoint->ejection_factor = factor;
	ADD(endpoint->ejections, 1);
	count_stat(STAT_EJECTIONS);
}

/* False: others are at it. Clears DECISION_PROBE of a decision that is older than the endpoint's return. */
static __always_inline bool probe_begin(struct endpoint *endpoint, struct decision *d, __u64 now_ns)
{
	const __u64 until_ns = READ_ONCE(endpoint->ejected_until_ns);

	if (!until_ns) {
		d->flags &= ~DECISION_PROBE;
		return true;
	}
	if (until_ns > now_ns ||
	    __sync_val_compare_and_swap(&endpoint->ejected_until_ns, until_ns, now_ns + endpoint->ejected_for_ns) != until_ns)
		return false;
	count_stat(STAT_PROBES);
	return true;
}

/* The probe ended and said nothing of the endpoint: the next connection is one. */
static __always_inline void probe_give_back(struct endpoint *endpoint, __u64 now_ns)
{
	const __u64 until_ns = READ_ONCE(endpoint->ejected_until_ns);

	if (until_ns > now_ns)
		__sync_val_compare_and_swap(&endpoint->ejected_until_ns, until_ns, now_ns);
}

/* The endpoint took a connection. */
static __always_inline void endpoint_answers(struct endpoint *endpoint, struct account *a, __u64 now_ns)
{
	if (READ_ONCE(endpoint->connect_errors))
		endpoint->connect_errors = 0;
	if (!a->probe)
		return;
	a->probe = 0;
	endpoint->readmitted_ns = now_ns;
	__sync_lock_test_and_set(&endpoint->ejected_until_ns, 0);
}

/* What the end of a connection says of its endpoint. */
static __always_inline void endpoint_judge(struct endpoint *endpoint, const struct account *a, enum flow_close how,
					   __u64 bytes_received, __u64 now_ns)
{
	switch (how) {
	case FLOW_CONNECT_REFUSED:
	case FLOW_CONNECT_TIMED_OUT:
	case FLOW_CONNECT_UNREACHABLE:
		eject(a, endpoint, __sync_fetch_and_add(&endpoint->connect_errors, 1) + 1, now_ns);
		return;
	case FLOW_RESET_BY_PEER:
		if (!bytes_received) {
			eject(a, endpoint, __sync_fetch_and_add(&endpoint->reset_errors, 1) + 1, now_ns);
			return;
		}
		break;
	case FLOW_CLOSED:
		break;
	default:
		if (a->probe)
			probe_give_back(endpoint, now_ns);
		if (!bytes_received)
			return;
	}
	if (READ_ONCE(endpoint->reset_errors))
		endpoint->reset_errors = 0;
}
