/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with weft on this node, what causes it, and what to do about it.
 *
 * Looking and judging are apart: sighting_take() looks, and each row of doctor_checks is a function of what was seen. So a check can be
 * tried on any sighting, and another check is one function and one row. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/doctor/sighting.h"
#include "base/json.h"

enum weight {
	WEIGHT_NOTE, /* worth knowing: nothing fails by it, or not by weft's fault */
	WEIGHT_WRONG,
};

#define FINDINGS_MAX 50 /* of one check; more are counted */

struct findings {
	json_t *list;
	size_t left_out;
	size_t wrong;
};
/* `format`: the cause, in one sentence without full stop. `remedy`: what to do about it, likewise. Both are copied. */
void finding_add(struct findings *findings, enum weight weight, const char *remedy, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* What a check needs to have been seen; without it the check is left out, and says why. */
enum need {
	NEED_AGENT = 1, /* weftd's answers */
	NEED_KERNEL = 2, /* the kernel part, as the loader sees it */
	NEED_MAPS = 4, /* the maps, opened */
	NEED_PLACES = 8, /* where processes of workloads are */
};
struct doctor_check {
	const char *name;
	const char *what; /* that is well, in a few words */
	unsigned needs;
	void (*run)(const struct sighting *sighting, struct findings *findings);
};
extern const struct doctor_check doctor_checks[]; /* ends with a row without name */

/* All of them; healthy is where every check was made and nothing is wrong. {"instance", "healthy": true, "wrong": n, "notes": n,
 * "skipped": n of the checks, "checks": [{"name", "what", "state": "ok"|"note"|"wrong"|"skipped",
 * "skipped": why or null, "findings": [{"weight": "note"|"wrong", "cause", "remedy"}], "leftOut": n}]}. New reference; NULL: no memory. */
json_t *doctor_judge(const struct sighting *sighting);

/* The functions behind the rows: check_kernel.c, check_agent.c, check_host.c. */
void check_mounts(const struct sighting *sighting, struct findings *findings);
void check_hooks(const struct sighting *sighting, struct findings *findings);
void check_features(const struct sighting *sighting, struct findings *findings);
void check_kernel(const struct sighting *sighting, struct findings *findings);
void check_effect(const struct sighting *sighting, struct findings *findings);
void check_redirects(const struct sighting *sighting, struct findings *findings);
void check_foreign(const struct sighting *sighting, struct findings *findings);
void check_probes(const struct sighting *sighting, struct findings *findings);
void check_tables(const struct sighting *sighting, struct findings *findings);
void check_records(const struct sighting *sighting, struct findings *findings);
void check_agent(const struct sighting *sighting, struct findings *findings);
void check_configuration(const struct sighting *sighting, struct findings *findings);
void check_workloads(const struct sighting *sighting, struct findings *findings);
void check_heartbeat(const struct sighting *sighting, struct findings *findings);
void check_names(const struct sighting *sighting, struct findings *findings);
void check_discovery(const struct sighting *sighting, struct findings *findings);
void check_endpoints(const struct sighting *sighting, struct findings *findings);
void check_listeners(const struct sighting *sighting, struct findings *findings);
void check_networks(const struct sighting *sighting, struct findings *findings);
void check_limits(const struct sighting *sighting, struct findings *findings);
void check_clock(const struct sighting *sighting, struct findings *findings);
void check_instances(const struct sighting *sighting, struct findings *findings);
