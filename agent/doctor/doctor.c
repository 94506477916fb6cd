/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/doctor/doctor.h"

#include <stdarg.h>

#include "base/cleanup.h"

const struct doctor_check doctor_checks[] = {
	{ "mounts", "bpffs and cgroup2 are mounted, and the kernel has BTF", 0, check_mounts },
	{ "hooks", "every hook is attached, with the programs of this build", NEED_KERNEL, check_hooks },
	{ "features", "the kernel has all that weft can use", NEED_KERNEL, check_features },
	{ "kernel", "the kernel has no flaw that weft is known to meet", 0, check_kernel },
	{ "effect", "the hooks that are attached are in force where processes of workloads are", NEED_KERNEL | NEED_PLACES, check_effect },
	{ "foreign", "no other program has a say at these hooks", NEED_KERNEL | NEED_PLACES, check_foreign },
	{ "redirects", "no other proxy's rules redirect connections of a workload", NEED_PLACES, check_redirects },
	{ "probes", "the hooks answer in every workload's cgroup and namespace", NEED_PLACES, check_probes },
	{ "tables", "no table is more than 80 % full", NEED_MAPS, check_tables },
	{ "records", "no flow record is lost, and every count has its row", NEED_MAPS, check_records },
	{ "weftd", "weftd answers, and is this build's", 0, check_agent },
	{ "configuration", "the files are in force, and every reference leads somewhere", NEED_AGENT, check_configuration },
	{ "workloads", "every workload's node is configured, and no connection is older than its enrolment", NEED_AGENT, check_workloads },
	{ "heartbeat", "weft-proxy's heart beats", NEED_MAPS, check_heartbeat },
	{ "names", "queries for names get to weft-proxy", NEED_AGENT, check_names },
	{ "discovery", "every host name has a fresh answer", NEED_AGENT, check_discovery },
	{ "endpoints", "every target has an endpoint that can be used", NEED_AGENT, check_endpoints },
	{ "listeners", "maxConnections and weft-proxy hold where connections come in; no listener is full", NEED_AGENT, check_listeners },
	{ "networks", "no route overlaps the networks of VIPs", NEED_MAPS, check_networks },
	{ "limits", "weftd and weft-proxy have memory and descriptors to spare", NEED_AGENT, check_limits },
	{ "clock", "the clock is synchronised", 0, check_clock },
	{ "instances", "no other instance overlaps this one, or left anything behind", 0, check_instances },
	{},
};

void finding_add(struct findings *findings, enum weight weight, const char *remedy, const char *format, ...)
{
	va_list args;
	json_t *cause;

	findings->wrong += weight == WEIGHT_WRONG;
	if (json_array_size(findings->list) == FINDINGS_MAX) {
		findings->left_out++;
		return;
	}
	va_start(args, format);
	cause = json_vsprintf(format, args);
	va_end(args);
	json_array_append_new(findings->list, json_pack("{s:s, s:o, s:s}", "weight", weight == WEIGHT_WRONG ? "wrong" : "note", "cause",
							cause ?: json_string("(no text in UTF-8)"), "remedy", remedy));
}

/* Why the check cannot be made; NULL: it can. */
static const struct error *obstacle(const struct sighting *s, unsigned needs)
{
	const struct {
		unsigned need;
		const struct error *error;
	} rows[] = {
		{ NEED_AGENT, &s->agent_error },
		{ NEED_KERNEL, &s->kernel_error },
		{ NEED_MAPS, &s->maps_error },
		{ NEED_PLACES, &s->places_error },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (needs & rows[i].need && rows[i].error->code)
			return rows[i].error;
	return NULL;
}

struct sums {
	size_t wrong, notes, skipped;
};

static json_t *check_json(const struct doctor_check *check, const struct sighting *sighting, struct sums *sums)
{
	const struct error *why = obstacle(sighting, check->needs);
	struct findings findings = { .list = json_array() };
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	const char *state;

	if (!why)
		check->run(sighting, &findings);
	sums->wrong += findings.wrong;
	sums->notes += json_array_size(findings.list) + findings.left_out - findings.wrong;
	sums->skipped += why != NULL;
	state = why ? "skipped" : findings.wrong ? "wrong" : json_array_size(findings.list) ? "note" : "ok";
	return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:I}", "name", check->name, "what", check->what, "state", state, "skipped",
			 why ? error_text(why, text, sizeof(text)) : NULL, "findings", findings.list, "leftOut",
			 (json_int_t)findings.left_out);
}

json_t *doctor_judge(const struct sighting *sighting)
{
	json_t *checks = json_array();
	struct sums sums = {};

	for (const struct doctor_check *check = doctor_checks; check->name; check++)
		json_array_append_new(checks, check_json(check, sighting, &sums));
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:o}", "instance", sighting->instance, "healthy", !sums.wrong && !sums.skipped, "wrong",
			 (json_int_t)sums.wrong, "notes", (json_int_t)sums.notes, "skipped", (json_int_t)sums.skipped, "checks", checks);
}
