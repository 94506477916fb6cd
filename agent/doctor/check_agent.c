/* SPDX-License-Identifier: Apache-2.0 */
/* What weftd says: configuration, workloads, names, discovery, endpoints. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/doctor/doctor.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "maps/abi/proxy.h"

static const char *text_of(const json_t *object, const char *member)
{
	return json_path_string(object, member) ?: "?";
}

void check_agent(const struct sighting *s, struct findings *findings)
{
	if (s->agent_error.code)
		finding_add(findings, WEIGHT_WRONG,
			    "start it again (`systemctl restart weftd`); its log says what was wrong. Traffic goes on as it was decided last",
			    "%s", s->agent_error.message);
	else if (strcmp(text_of(s->status, "version"), WEFT_VERSION))
		finding_add(findings, WEIGHT_WRONG, "restart it (`systemctl restart weftd`)", "weftd is version %s, this is %s",
			    text_of(s->status, "version"), WEFT_VERSION);
}

static void resource_judge(const json_t *resource, struct findings *findings)
{
	for (size_t i = 0; i < json_path_count(resource, "unresolved"); i++) {
		const json_t *one = json_path_at(resource, "unresolved", i);

		finding_add(findings, WEIGHT_WRONG, "add what is missing, or correct the name", "%s: %s names %s, which does not exist",
			    text_of(resource, "resource"), text_of(one, "field"), text_of(one, "missing"));
	}
	for (size_t i = 0; i < json_path_count(resource, "notInForce"); i++) {
		const json_t *one = json_path_at(resource, "notInForce", i);

		finding_add(findings, WEIGHT_NOTE, "nothing, if it can be done without", "%s: %s is not in force: %s",
			    text_of(resource, "resource"), text_of(one, "field"), text_of(one, "meaning"));
	}
}

void check_configuration(const struct sighting *s, struct findings *findings)
{
	const json_t *error = json_path(s->status, "configuration.error");

	if (json_is_object(error))
		finding_add(findings, WEIGHT_WRONG, "correct the file: it is read again at once. What was good before is in force",
			    "the files are not in force since %s: %s%s%s", text_of(error, "since"), json_path_string(error, "field") ?: "",
			    json_path_string(error, "field") ? ": " : "", text_of(error, "error"));
	for (size_t i = 0; i < json_path_count(s->resources, "resources"); i++)
		resource_judge(json_path_at(s->resources, "resources", i), findings);
}

void check_workloads(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < json_path_count(s->status, "workloads"); i++) {
		const json_t *workload = json_path_at(s->status, "workloads", i);
		const int64_t earlier = json_path_int(workload, "earlierSockets", 0);

		if (!json_path_bool(workload, "known", true))
			finding_add(findings, WEIGHT_WRONG, "add the virtual node, or correct the workload's name for it",
				    "%s in the cgroup '%s': no such virtual node is configured, and its connections are refused (no-node)",
				    text_of(workload, "virtualNode"), text_of(workload, "cgroup"));
		if (earlier > 0)
			finding_add(findings, WEIGHT_NOTE, "restart the program, if these must be decided as well",
				    "%s in the cgroup '%s': %" PRId64 " connections are older than its enrolment, and were left alone",
				    text_of(workload, "virtualNode"), text_of(workload, "cgroup"), earlier);
	}
	if (json_path_string(s->status, "environment.lastRefusal.error"))
		finding_add(findings, WEIGHT_NOTE, "correct the variable, or enrol the program otherwise (`weft run`, a pattern); docs/operations.md has the reasons",
			    "a process was not taken for the virtual node that its environment names, last: %s",
			    text_of(s->status, "environment.lastRefusal.error"));
}

void check_heartbeat(const struct sighting *s, struct findings *findings)
{
	static const char *const remedy = "see the log of weftd, which starts it, or of its own unit (`systemctl status weft-proxy`)";
	char age[TIME_TEXT_BYTES];

	if (s->status && !strcmp(text_of(s->status, "proxy.state"), "off"))
		return;
	if (s->beat_age_ns == SIGHTING_NEVER)
		finding_add(findings, WEIGHT_WRONG, remedy, "weft-proxy does not run: names of services are unknown to workloads");
	else if (s->beat_age_ns > PROXY_BEAT_MAX_NS)
		finding_add(findings, WEIGHT_WRONG, remedy, "weft-proxy's last heartbeat was %s ago: queries pass it by",
			    time_format_span(s->beat_age_ns, age));
}

/* Queries that went elsewhere, by virtual node: since the kernel part was installed. */
static const struct {
	const char *reason, *meaning, *remedy;
} detours[] = {
	{ "dns-bypass", "went to the resolver itself, for weft-proxy was not there for them",
	  "nothing, where weft-proxy was away for a moment; `weft dns` shows what is so now" },
	{ "dns-other-resolver", "went to a resolver that is not in the workload's resolv.conf",
	  "see what asks there: names of services are unknown to that resolver" },
};

void check_names(const struct sighting *s, struct findings *findings)
{
	const char *state = text_of(s->status, "proxy.state");

	if (!strcmp(state, "off"))
		finding_add(findings, WEIGHT_NOTE, "start weftd with --proxy start or external, if workloads should know them",
			    "weft-proxy is off: names of services are unknown to workloads");
	else if (strcmp(state, "running"))
		finding_add(findings, WEIGHT_WRONG, "see the log of weftd, or of weft-proxy's own unit", "weftd has no weft-proxy: it is %s",
			    state);
	for (size_t i = 0; i < json_path_count(s->status, "warnings") && !strcmp(state, "running"); i++)
		finding_add(findings, WEIGHT_WRONG, "see the chapter Names of operations.md; `weft dns` shows what each workload asks", "%s",
			    json_string_value(json_path_at(s->status, "warnings", i)) ?: "?");
	for (size_t i = 0; i < json_path_count(s->status, "reasons"); i++) {
		const json_t *reason = json_path_at(s->status, "reasons", i);

		for (size_t d = 0; d < ARRAY_SIZE(detours); d++)
			if (!strcmp(text_of(reason, "reason"), detours[d].reason))
				finding_add(findings, WEIGHT_NOTE, detours[d].remedy, "%s: %" PRId64 " queries %s (%s)",
					    text_of(reason, "from"), json_path_int(reason, "count", 0), detours[d].meaning,
					    detours[d].reason);
	}
}

void check_discovery(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < json_path_count(s->discovery, "names"); i++) {
		const json_t *name = json_path_at(s->discovery, "names", i);
		const char *state = text_of(name, "state");

		if (strcmp(state, "fresh"))
			finding_add(findings, WEIGHT_WRONG,
				    "ask the servers yourself (`getent hosts`); --resolver of weftd names others. It goes on asking",
				    "the host name '%s' %s: %s", text_of(name, "hostname"),
				    strcmp(state, "kept") ? "has no address yet" : "has the addresses it had before",
				    json_path_string(name, "error") ?: "no answer of this run yet");
		if (json_path_int(name, "leftOut", 0))
			finding_add(findings, WEIGHT_NOTE, "nothing, if the others suffice",
				    "the host name '%s' has %" PRId64 " more addresses, which are left out", text_of(name, "hostname"),
				    json_path_int(name, "leftOut", 0));
	}
}

/* --- endpoints ------------------------------------------------------------------------------------------------------------------------ */

static bool is_usable(const char *health)
{
	return !strcmp(health, "up") || !strcmp(health, "unchecked");
}

/* Targets with what is known of their endpoints, in the order of the answer. New reference. */
static json_t *targets_of(const json_t *health)
{
	json_t *targets = json_object();

	for (size_t i = 0; i < json_path_count(health, "checks"); i++) {
		const json_t *one = json_path_at(health, "checks", i);
		const char *target = text_of(one, "target"), *state = text_of(one, "health");
		const json_t *sum = json_object_get(targets, target);

		json_object_set_new(targets, target, json_pack("{s:I, s:I, s:I}", "all", (json_int_t)json_path_int(sum, "all", 0) + 1,
				    "usable", (json_int_t)json_path_int(sum, "usable", 0) + is_usable(state),
				    "pending", (json_int_t)json_path_int(sum, "pending", 0) + !strcmp(state, "pending")));
	}
	return targets;
}

static void target_judge(const char *target, const json_t *sum, struct findings *findings)
{
	static const char *const remedy = "`weft health` has the last result of each check";
	const int64_t all = json_path_int(sum, "all", 0), usable = json_path_int(sum, "usable", 0);

	if (!usable && json_path_int(sum, "pending", 0) < all)
		finding_add(findings, WEIGHT_WRONG, remedy, "%s: none of its %" PRId64 " endpoints is healthy", target, all);
	else if (!usable)
		finding_add(findings, WEIGHT_NOTE, "wait for the first results, a tenth of the check's interval",
			    "%s: none of its %" PRId64 " endpoints was checked yet", target, all);
	else if (usable < all)
		finding_add(findings, WEIGHT_NOTE, remedy, "%s: %" PRId64 " of its %" PRId64 " endpoints are not healthy", target,
			    all - usable, all);
}

void check_endpoints(const struct sighting *s, struct findings *findings)
{
	_cleanup_json_ json_t *targets = targets_of(s->health);
	const char *target;
	json_t *sum;

	json_object_foreach(targets, target, sum)
		target_judge(target, sum, findings);
	for (size_t i = 0; i < json_path_count(s->status, "reasons"); i++) {
		const json_t *reason = json_path_at(s->status, "reasons", i);

		if (!strcmp(text_of(reason, "reason"), "panic"))
			finding_add(findings, WEIGHT_NOTE, "nothing, if enough endpoints are healthy by now: `weft health`",
				    "%s: %" PRId64 " connections to %s went to any endpoint, for too few were healthy (panic)",
				    text_of(reason, "from"), json_path_int(reason, "count", 0), text_of(reason, "to"));
	}
}

/* --- limits of listeners -------------------------------------------------------------------------------------------------------------- */

static void listener_judge(const json_t *listener, struct findings *findings)
{
	const char *target = text_of(listener, "target"), *address = text_of(listener, "address"), *state = text_of(listener, "state");
	const int64_t max = json_path_int(listener, "maxConnections", 0), open = json_path_int(listener, "open", 0);

	if (!strcmp(text_of(listener, "servedBy"), "weft-proxy")) {
		if (strcmp(state, "served by weft-proxy"))
			finding_add(findings, strcmp(state, "pending") ? WEIGHT_WRONG : WEIGHT_NOTE,
				    "see what is said of weft-proxy, and the log of weftd",
				    "what comes in at %s goes past weft-proxy, without the pool, time-outs and access log of %s: %s",
				    address, target, state);
	} else if (strcmp(state, "enforced"))
		finding_add(findings, strcmp(state, "pending") ? WEIGHT_WRONG : WEIGHT_NOTE, "see the log of weftd; it tries again every second",
			    "maxConnections of %s does not hold for what comes in at %s: %s", target, address, state);
	else if (max && open >= max)
		finding_add(findings, WEIGHT_NOTE, "raise maxConnections, or add endpoints, if that is no peak",
			    "%s is full at %s: %" PRId64 " of %" PRId64 " connections are open, %" PRId64 " were refused", target, address,
			    open, max, json_path_int(listener, "refused", 0));
}

void check_listeners(const struct sighting *s, struct findings *findings)
{
	const int64_t uncounted = json_path_int(s->status, "stats.served-uncounted", 0);

	for (size_t i = 0; i < json_path_count(s->status, "listeners"); i++)
		listener_judge(json_path_at(s->status, "listeners", i), findings);
	if (uncounted)
		finding_add(findings, WEIGHT_NOTE, "nothing, if it does not grow: each table has room for 262,144 connections",
			    "%" PRId64 " accepted connections did not count for maxConnections, for the table of them was full (served-uncounted)",
			    uncounted);
}
