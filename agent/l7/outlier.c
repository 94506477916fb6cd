/* SPDX-License-Identifier: Apache-2.0 */
/* Outlier detection by answers (App Mesh API, OutlierDetection; SEMANTICS as of Envoy's consecutive_5xx: a 5xx, a reset, a time-out and a
 * failed connect count alike). What is kept is the endpoint's slot in the kernel (maps/abi/endpoint.h), so that connections and
 * requests, and every worker, see one state; the rules are those of bpf/lib/eject.h. A slot is written only on a failure, on the first
 * answer after one, and by a probe. */
#include "agent/l7/internal.h"
#include "maps/abi/endpoint.h"

#define LONGEST_EJECTION_NS 300000000000ull /* Envoy's max_ejection_time where none is given: this, or the base where that is longer */

bool outlier_is_out(const struct endpoint *slot, uint64_t now_ns)
{
	return __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED) > now_ns;
}

bool outlier_begin(struct endpoint *slot, uint64_t now_ns, uint64_t *ret_probe_ns)
{
	const uint64_t probe_ns = now_ns + slot->ejected_for_ns;
	uint64_t until_ns = __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED);

	*ret_probe_ns = 0;
	if (!until_ns)
		return true;
	if (until_ns > now_ns || !__atomic_compare_exchange_n(&slot->ejected_until_ns, &until_ns, probe_ns, false, __ATOMIC_ACQ_REL,
							      __ATOMIC_RELAXED))
		return false;
	*ret_probe_ns = probe_ns;
	return true;
}

void outlier_unsaid(struct request *request)
{
	struct endpoint *slot = request->probe_ns && request->endpoint ? l7_slot(request->worker->l7, request->endpoint) : NULL;
	uint64_t until_ns = request->probe_ns;

	request->probe_ns = 0;
	if (slot)
		__atomic_compare_exchange_n(&slot->ejected_until_ns, &until_ns, time_now_ns(), false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
}

/* With this one, more than maxEjectionPercent of the list are out; one always may be. */
static bool too_many(struct l7 *l7, const struct target *target, const struct target_endpoint *endpoint)
{
	const struct target_list *list = &target->lists[ip_is_v4(&endpoint->address) ? LIST_V4 : LIST_V6];
	uint64_t ejected = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct endpoint *slot = l7_slot(l7, &list->endpoints[i]);

		ejected += slot && __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED);
	}
	return ejected > 1 && ejected * 100 > list->count * target->max_ejection_pct;
}

/* One more than that of the last ejection, less one for each interval in rotation since. */
static uint32_t factor_of(const struct endpoint *slot, const struct target *target, bool probe, uint64_t now_ns)
{
	const uint64_t in_rotation_ns = probe || now_ns < slot->readmitted_ns ? 0 : now_ns - slot->readmitted_ns;
	const uint64_t intervals = target->interval_ns ? in_rotation_ns / target->interval_ns : 0;

	return slot->ejection_factor > intervals ? slot->ejection_factor - (uint32_t)intervals + 1 : 1;
}

static void eject(struct l7 *l7, const struct target *target, const struct target_endpoint *endpoint, struct endpoint *slot, bool probe,
		  uint64_t now_ns)
{
	const uint64_t longest_ns = MAX(target->base_ejection_ns, LONGEST_EJECTION_NS);
	uint64_t until_ns = __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED), for_ns = longest_ns;
	uint32_t factor = factor_of(slot, target, probe, now_ns);

	if (target->base_ejection_ns && factor > longest_ns / target->base_ejection_ns)
		factor = (uint32_t)(longest_ns / target->base_ejection_ns) + 1; /* grows no further */
	else
		for_ns = factor * target->base_ejection_ns;
	if (until_ns && !probe) /* out already: a request that began before */
		return;
	if (!__atomic_compare_exchange_n(&slot->ejected_until_ns, &until_ns, now_ns + for_ns, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	/* Out first, and counted then: of two at once both may be taken back, but never are there too many. */
	if (!probe && too_many(l7, target, endpoint)) {
		until_ns = now_ns + for_ns;
		__atomic_compare_exchange_n(&slot->ejected_until_ns, &until_ns, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
		return;
	}
	__atomic_store_n(&slot->ejected_for_ns, for_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->ejection_factor, factor, __ATOMIC_RELAXED);
	__atomic_add_fetch(&slot->ejections, 1, __ATOMIC_RELAXED);
}

static void readmit(struct endpoint *slot, uint64_t now_ns)
{
	uint64_t until_ns = __atomic_load_n(&slot->ejected_until_ns, __ATOMIC_RELAXED);

	if (until_ns && __atomic_compare_exchange_n(&slot->ejected_until_ns, &until_ns, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		__atomic_store_n(&slot->readmitted_ns, now_ns, __ATOMIC_RELAXED);
}

void outlier_note(struct request *request, bool failed)
{
	struct l7 *l7 = request->worker->l7;
	const struct target *target = request->target;
	struct endpoint *slot = target && target->max_errors && request->endpoint ? l7_slot(l7, request->endpoint) : NULL;
	const uint64_t now_ns = loop_now_ns(request->worker->loop);
	const bool probe = request->probe_ns;

	request->probe_ns = 0; /* it has said what it had to say */
	if (!slot)
		return;
	if (failed) {
		if (__atomic_add_fetch(&slot->http_errors, 1, __ATOMIC_RELAXED) >= target->max_errors || probe)
			eject(l7, target, request->endpoint, slot, probe, now_ns);
		return;
	}
	if (__atomic_load_n(&slot->http_errors, __ATOMIC_RELAXED))
		__atomic_store_n(&slot->http_errors, 0, __ATOMIC_RELAXED);
	if (probe)
		readmit(slot, now_ns);
}
