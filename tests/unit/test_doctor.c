/* SPDX-License-Identifier: Apache-2.0 */
/* What `weft doctor` makes of what it sees, check by check, and when it lets a cgroup alone. */
#include "agent/doctor/doctor.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "maps/abi/proxy.h"
#include "tests/lib/test.h"

/* --- a node where all is well ------------------------------------------------------------------------------------------------------- */

#define STATUS "{'version': '" WEFT_VERSION "', 'configuration': {'error': null}, 'tables': [{'name': 'rows', 'used': 80, 'size': 100}]," \
	       " 'workloads': [{'virtualNode': 'mesh/m/virtualNode/shop', 'cgroup': '/shop', 'ownNetns': false, 'known': true," \
	       "                'earlierSockets': 0}]," \
	       " 'proxy': {'state': 'running'}, 'warnings': [], 'reasons': []}"

struct scene {
	struct sighting s;
	struct place place;
	json_t *verdict;
};

/* JSON with ' for ". */
static json_t *json_of(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	struct error err = {};
	json_t *value;

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	EXPECT_OK(json_parse(copy, strlen(copy), &value, &err), &err);
	return value;
}

static void answer(json_t **at, const char *text)
{
	json_decref(*at);
	*at = json_of(text);
}

static void scene_init(struct scene *scene)
{
	struct sighting *s = &scene->s;

	*scene = (struct scene){ .s = { .instance = "test", .clock_synchronised = true } };
	scene->place = (struct place){ .netns_cookie = 7, .node = 1, .cgroup = "/shop/a", .pid = 42, .processes = 1 };
	s->loader = (struct loader_status){ .installed = true, .cgroup = "/cg/mesh", .hook_count = HOOK_COUNT };
	for (size_t i = 0; i < HOOK_COUNT; i++) {
		s->loader.hooks[i] = (struct loader_hook_status){
			.name = hooks[i].name, .purpose = hooks[i].purpose, .required = hooks[i].required, .attached = true, .current = true
		};
		scene->place.effects[i] = (struct hook_effect){ .asked = true, .in_force = true };
	}
	for (int i = 0; i < HOOK_PROBE_COUNT; i++)
		scene->place.probe.hooks[i].state = HOOK_ANSWERED;
	scene->place.probe.counted = hook_probe_answers(&scene->place.probe);
	s->places = (struct places){ .count = 1, .list = &scene->place };
	s->status = json_of(STATUS);
	s->resources = json_of("{'resources': [{'resource': 'mesh/m', 'unresolved': [], 'notInForce': []}]}");
	s->discovery = json_of("{'names': [{'hostname': 'db', 'state': 'fresh', 'leftOut': 0}]}");
	s->health = json_of("{'checks': [{'target': 't:1', 'health': 'up'}, {'target': 'u:1', 'health': 'unchecked'}]}");
}

static void scene_done(struct scene *scene)
{
	json_decref(scene->s.status);
	json_decref(scene->s.resources);
	json_decref(scene->s.discovery);
	json_decref(scene->s.health);
	json_decref(scene->verdict);
}
#define SCENE(scene)                                                                                                          \
	_cleanup_(scene_done) struct scene scene;                                                                              \
	scene_init(&scene)

/* The check's part of the verdict, made anew. */
static const json_t *judged(struct scene *scene, const char *check)
{
	json_decref(scene->verdict);
	scene->verdict = doctor_judge(&scene->s);
	for (size_t i = 0; i < json_path_count(scene->verdict, "checks"); i++) {
		const json_t *one = json_path_at(scene->verdict, "checks", i);

		if (!strcmp(json_path_string(one, "name"), check))
			return one;
	}
	fail_msg("there is no check '%s'", check);
	return NULL;
}

static const char *state_of(struct scene *scene, const char *check)
{
	return json_path_string(judged(scene, check), "state");
}

/* The check has this state by its first finding, which says so and has a remedy. */
#define EXPECT_FINDING(scene, check, state, text)                                                                             \
	do {                                                                                                                   \
		const json_t *_check = judged(scene, check), *_first = json_path_at(_check, "findings", 0);                    \
		EXPECT_STR(json_path_string(_check, "state"), state);                                                          \
		EXPECT_CONTAINS(json_path_string(_first, "cause"), text);                                                      \
		EXPECT(strlen(json_path_string(_first, "remedy")) > 10);                                                       \
		if (!strcmp(state, "wrong"))                                                                                   \
			EXPECT(!json_path_bool((scene)->verdict, "healthy", true));                                            \
	} while (0)

static size_t hook_index(const char *name)
{
	return (size_t)(hook_by_name(name) - hooks);
}

TEST(where_nothing_is_amiss_all_checks_are_ok)
{
	SCENE(scene);

	judged(&scene, "mounts");
	EXPECT(json_path_bool(scene.verdict, "healthy", false));
	EXPECT_EQ(json_path_int(scene.verdict, "notes", -1), 0);
	for (size_t i = 0; i < json_path_count(scene.verdict, "checks"); i++)
		EXPECT_STR(json_path_string(json_path_at(scene.verdict, "checks", i), "state"), "ok");
	EXPECT(json_path_count(scene.verdict, "checks") >= 19);
}

TEST(a_note_alone_leaves_the_node_healthy)
{
	SCENE(scene);

	scene.s.clock_synchronised = false;
	EXPECT_FINDING(&scene, "clock", "note", "clock");
	EXPECT(json_path_bool(scene.verdict, "healthy", false));
	EXPECT_EQ(json_path_int(scene.verdict, "notes", 0), 1);
}

TEST(without_weftd_what_needs_its_answers_is_skipped_and_the_rest_is_judged)
{
	SCENE(scene);

	scene.s.status = (json_decref(scene.s.status), NULL);
	error_set(&scene.s.agent_error, -ECONNREFUSED, "nobody listens");
	EXPECT_FINDING(&scene, "weftd", "wrong", "nobody listens");
	EXPECT_STR(state_of(&scene, "configuration"), "skipped");
	EXPECT_STR(json_path_string(judged(&scene, "names"), "skipped"), "nobody listens");
	EXPECT_STR(state_of(&scene, "probes"), "ok");
	EXPECT_STR(state_of(&scene, "tables"), "ok");
	EXPECT_STR(state_of(&scene, "heartbeat"), "ok");
}

TEST(without_bpffs_nothing_of_the_kernel_is_judged)
{
	SCENE(scene);

	error_set(&scene.s.mounts_error, -ENOENT, "no bpffs");
	scene.s.kernel_error = scene.s.maps_error = scene.s.places_error = scene.s.mounts_error;
	EXPECT_FINDING(&scene, "mounts", "wrong", "no bpffs");
	EXPECT_STR(state_of(&scene, "hooks"), "skipped");
	EXPECT(json_path_int(scene.verdict, "skipped", 0) > 5);
	EXPECT_STR(state_of(&scene, "probes"), "skipped");
}

TEST(a_node_of_which_not_all_can_be_seen_is_not_called_healthy)
{
	SCENE(scene);

	error_set(&scene.s.maps_error, -EMFILE, "too many files");
	EXPECT_STR(json_path_string(judged(&scene, "records"), "skipped"), "too many files");
	EXPECT_EQ(json_path_int(scene.verdict, "wrong", -1), 0);
	EXPECT(!json_path_bool(scene.verdict, "healthy", true));
}

TEST(findings_beyond_a_bound_are_counted)
{
	SCENE(scene);
	_cleanup_json_ json_t *list = json_array();

	for (int i = 0; i < FINDINGS_MAX + 3; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:i}", "hostname", "h", "state", "unknown", "leftOut", 0));
	json_object_set(scene.s.discovery, "names", list);
	EXPECT_EQ(json_path_count(judged(&scene, "discovery"), "findings"), FINDINGS_MAX);
	EXPECT_EQ(json_path_int(judged(&scene, "discovery"), "leftOut", 0), 3);
	EXPECT_EQ(json_path_int(scene.verdict, "wrong", 0), FINDINGS_MAX + 3);
}

/* --- the kernel part ------------------------------------------------------------------------------------------------------------------ */

TEST(a_hook_that_is_missing_or_of_another_build_is_wrong)
{
	SCENE(scene);

	scene.s.loader.hooks[hook_index("bind6")].attached = false;
	EXPECT_FINDING(&scene, "hooks", "wrong", "bind6 is not attached");
	scene.s.loader.hooks[hook_index("bind6")].link_id = 9;
	EXPECT_FINDING(&scene, "hooks", "wrong", "cgroup that was removed");
	scene.s.loader.hooks[hook_index("bind6")].attached = true;
	scene.s.loader.hooks[hook_index("sock_ops")].current = false;
	EXPECT_FINDING(&scene, "hooks", "wrong", "sock_ops runs the program of another build");
}

TEST(an_instance_that_is_not_installed_is_one_finding)
{
	SCENE(scene);

	for (size_t i = 0; i < HOOK_COUNT; i++)
		scene.s.loader.hooks[i].attached = false;
	scene.s.loader.cgroup[0] = '\0';
	EXPECT_FINDING(&scene, "hooks", "wrong", "has no kernel part");
	EXPECT_EQ(json_path_count(judged(&scene, "hooks"), "findings"), 1);
	EXPECT_STR(state_of(&scene, "features"), "ok");
}

TEST(an_optional_hook_that_the_kernel_lacks_is_noted_with_what_it_costs)
{
	SCENE(scene);

	scene.s.loader.hooks[hook_index("iter_live")].attached = false;
	EXPECT_FINDING(&scene, "features", "note", hook_by_name("iter_live")->purpose);
	EXPECT_STR(state_of(&scene, "hooks"), "ok");
}

TEST(a_kernel_without_a_fix_that_weft_needs_is_noted)
{
	static const struct {
		const char *release, *version, *state;
	} rows[] = {
		{ "6.18.44", "#1 SMP", "note" }, { "6.18.45-arch1-1", "#1 SMP", "ok" },
		{ "6.12.95+deb12-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1~bpo12+1 (2026-07-02)", "note" },
		{ "6.1.0-57-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.182-1 (2026-07-20)", "note" },
		{ "6.1.0-58-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.183-1 (2026-08-20)", "ok" },
		{ "6.15.9", "#1", "note" }, { "7.0.12", "#1", "note" }, { "7.1.8", "#1", "note" }, { "7.1.9", "#1", "ok" }, { "7.2.0-rc6", "#1", "ok" },
		{ "8.0", "#1", "ok" }, { "what", "#1", "ok" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		SCENE(scene);

		snprintf(scene.s.kernel.release, sizeof(scene.s.kernel.release), "%s", rows[i].release);
		snprintf(scene.s.kernel.version, sizeof(scene.s.kernel.version), "%s", rows[i].version);
		if (strcmp(state_of(&scene, "kernel"), rows[i].state) != 0)
			fail_msg("%s", rows[i].release);
	}
}

TEST(a_place_where_hooks_are_not_in_force_is_wrong_and_named)
{
	SCENE(scene);

	scene.place.effects[hook_index("connect4")].in_force = false;
	scene.place.effects[hook_index("sock_ops")].in_force = false;
	EXPECT_FINDING(&scene, "effect", "wrong", "mesh/m/virtualNode/shop in the cgroup '/shop/a' (process 42)");
	EXPECT_CONTAINS(json_path_string(json_path_at(judged(&scene, "effect"), "findings", 0), "cause"), "sock_ops, connect4");
	scene.place.effects[hook_index("connect4")] = (struct hook_effect){ .asked = true, .error = -EPERM };
	EXPECT_FINDING(&scene, "effect", "wrong", "does not say what runs at connect4");
}

TEST(a_foreign_program_is_wrong_behind_ours_noted_before_it_and_told_once)
{
	SCENE(scene);
	struct place places[2] = { scene.place, scene.place };

	scene.s.places = (struct places){ .count = 2, .list = places };
	for (size_t i = 0; i < 2; i++) {
		struct hook_effect *effect = &places[i].effects[hook_index("connect6")];

		effect->foreign_count = 1;
		effect->foreign[0] = (struct foreign_program){ .id = 77, .name = "lb6" };
	}
	EXPECT_FINDING(&scene, "foreign", "note", "'lb6' (id 77) runs before weft's at connect6");
	EXPECT_EQ(json_path_count(judged(&scene, "foreign"), "findings"), 1);
	places[1].effects[hook_index("connect6")].foreign[0].after = true;
	EXPECT_STR(state_of(&scene, "foreign"), "wrong");
	EXPECT_EQ(json_path_count(judged(&scene, "foreign"), "findings"), 2);
	places[1].effects[hook_index("bind4")].foreign_count = FOREIGN_MAX + 2;
	for (uint32_t i = 0; i < FOREIGN_MAX; i++)
		places[1].effects[hook_index("bind4")].foreign[i].id = i + 1;
	EXPECT_EQ(json_path_count(judged(&scene, "foreign"), "findings"), 2 + FOREIGN_MAX + 1);
}

TEST(a_hook_that_does_not_answer_a_probe_is_wrong_and_one_that_cannot_be_asked_is_noted)
{
	SCENE(scene);

	scene.place.probe.hooks[HOOK_PROBE_BIND4].state = HOOK_SILENT;
	scene.place.probe.hooks[HOOK_PROBE_BIND4].error = EADDRNOTAVAIL;
	EXPECT_FINDING(&scene, "probes", "wrong", "no answer from bind4 (Cannot assign requested address)");
	scene.place.probe.hooks[HOOK_PROBE_BIND4].state = HOOK_ANSWERED;
	scene.place.probe.hooks[HOOK_PROBE_CONNECT6].state = HOOK_UNASKED;
	scene.place.probe.hooks[HOOK_PROBE_CONNECT6].error = EAFNOSUPPORT;
	EXPECT_FINDING(&scene, "probes", "note", "cannot be asked: connect6");
}

TEST(a_probe_that_somebody_else_refused_is_no_answer)
{
	SCENE(scene);

	scene.place.probe.counted--;
	EXPECT_FINDING(&scene, "probes", "wrong", "6 probes were refused, but weft counts 5");
	scene.place.probe.counted += 5; /* another doctor's, meanwhile */
	EXPECT_STR(state_of(&scene, "probes"), "ok");
}

TEST(a_cgroup_at_its_limit_is_noted_and_a_probe_that_fails_otherwise_is_wrong)
{
	static const int own_affairs[] = { -EAGAIN, -ENOMEM, -EBUSY, -ENOENT, -EOPNOTSUPP };
	SCENE(scene);

	for (size_t i = 0; i < ARRAY_SIZE(own_affairs); i++) {
		error_set(&scene.place.probe_error, own_affairs[i], "the cgroup is at its limit");
		EXPECT_FINDING(&scene, "probes", "note", "the cgroup is at its limit");
	}
	error_set(&scene.place.probe_error, -ETIMEDOUT, "did not end");
	EXPECT_FINDING(&scene, "probes", "wrong", "did not end");
}

TEST(a_table_is_wrong_above_80_percent_whoever_knows_of_it)
{
	SCENE(scene);

	scene.s.table_count = 1;
	scene.s.tables[0] = (struct table_fill){ .name = "w_vip", .used = 800, .size = 1000 };
	EXPECT_STR(state_of(&scene, "tables"), "ok");
	scene.s.tables[0].used = 801;
	EXPECT_FINDING(&scene, "tables", "wrong", "w_vip is 80 % full: 801 of 1000");
	scene.s.table_count = 0;
	answer(&scene.s.status, "{'tables': [{'name': 'rows', 'used': 81, 'size': 100}]}");
	EXPECT_FINDING(&scene, "tables", "wrong", "rows is 81 % full");
}

TEST(records_lost_once_are_noted_and_wrong_while_more_are_being_lost)
{
	SCENE(scene);

	scene.s.stats_before[STAT_FLOWS_LOST] = scene.s.stats[STAT_FLOWS_LOST] = 5;
	EXPECT_FINDING(&scene, "records", "note", "flows-lost");
	scene.s.stats[STAT_FLOWS_LOST] = 6;
	EXPECT_FINDING(&scene, "records", "wrong", "more each moment");
	scene.s.stats_before[STAT_FLOWS_LOST] = scene.s.stats[STAT_FLOWS_LOST] = 0;
	scene.s.stats_before[STAT_SLOT_MISMATCH] = scene.s.stats[STAT_SLOT_MISMATCH] = 1;
	EXPECT_FINDING(&scene, "records", "wrong", "slot-mismatch");
	scene.s.stats[STAT_SLOT_MISMATCH] = 0;
	scene.s.stats[STAT_FLOWS_WRITTEN] = scene.s.stats[STAT_RECONNECTS] = 9;
	EXPECT_STR(state_of(&scene, "records"), "ok");
}

/* --- weftd's answers ----------------------------------------------------------------------------------------------------------------- */

TEST(a_weftd_of_another_build_is_wrong)
{
	SCENE(scene);

	json_object_set_new(scene.s.status, "version", json_string("0.0.1"));
	EXPECT_FINDING(&scene, "weftd", "wrong", "weftd is version 0.0.1");
}

TEST(files_that_are_not_in_force_and_references_that_lead_nowhere_are_wrong)
{
	SCENE(scene);

	answer(&scene.s.status, "{'configuration': {'error': {'since': 'noon', 'field': 'a.json: spec', 'error': 'no such thing'}}}");
	EXPECT_FINDING(&scene, "configuration", "wrong", "not in force since noon: a.json: spec: no such thing");
	answer(&scene.s.status, STATUS);
	answer(&scene.s.resources, "{'resources': [{'resource': 'mesh/m/virtualService/s', 'unresolved': [{'field': 'spec.provider',"
				   " 'missing': 'mesh/m/virtualNode/n'}], 'notInForce': []}]}");
	EXPECT_FINDING(&scene, "configuration", "wrong", "spec.provider names mesh/m/virtualNode/n");
	answer(&scene.s.resources, "{'resources': [{'resource': 'r', 'notInForce': [{'field': 'spec.tls', 'meaning': 'not there yet'}]}]}");
	EXPECT_FINDING(&scene, "configuration", "note", "spec.tls is not in force: not there yet");
}

TEST(a_workload_of_an_unknown_node_is_wrong_and_earlier_connections_are_noted)
{
	SCENE(scene);

	answer(&scene.s.status, "{'workloads': [{'virtualNode': 'mesh/m/virtualNode/n', 'cgroup': '/n', 'known': false}]}");
	EXPECT_FINDING(&scene, "workloads", "wrong", "no such virtual node is configured");
	answer(&scene.s.status, "{'workloads': [{'virtualNode': 'v', 'cgroup': '/n', 'known': true, 'earlierSockets': 3}]}");
	EXPECT_FINDING(&scene, "workloads", "note", "3 connections are older");
}

TEST(a_heart_that_does_not_beat_is_wrong_unless_weft_proxy_is_meant_to_be_off)
{
	SCENE(scene);

	scene.s.beat_age_ns = PROXY_BEAT_MAX_NS;
	EXPECT_STR(state_of(&scene, "heartbeat"), "ok");
	scene.s.beat_age_ns = PROXY_BEAT_MAX_NS + 1;
	EXPECT_FINDING(&scene, "heartbeat", "wrong", "2s ago");
	scene.s.beat_age_ns = SIGHTING_NEVER;
	EXPECT_FINDING(&scene, "heartbeat", "wrong", "does not run");
	answer(&scene.s.status, "{'proxy': {'state': 'off'}}");
	EXPECT_STR(state_of(&scene, "heartbeat"), "ok");
	EXPECT_FINDING(&scene, "names", "note", "weft-proxy is off");
}

TEST(names_that_do_not_get_to_weft_proxy_are_wrong_and_past_detours_are_noted)
{
	SCENE(scene);

	answer(&scene.s.status, "{'proxy': {'state': 'starting'}, 'warnings': ['weft-proxy is not there']}");
	EXPECT_FINDING(&scene, "names", "wrong", "it is starting");
	EXPECT_EQ(json_path_count(judged(&scene, "names"), "findings"), 1);
	answer(&scene.s.status, "{'proxy': {'state': 'running'}, 'warnings': ['n: nscd answers']}");
	EXPECT_FINDING(&scene, "names", "wrong", "nscd answers");
	answer(&scene.s.status, "{'proxy': {'state': 'running'}, 'reasons': [{'from': 'n', 'reason': 'dns-other-resolver', 'count': 4}]}");
	EXPECT_FINDING(&scene, "names", "note", "n: 4 queries went to a resolver that is not in the workload's resolv.conf");
}

TEST(a_host_name_without_a_fresh_answer_is_wrong)
{
	SCENE(scene);

	answer(&scene.s.discovery, "{'names': [{'hostname': 'db', 'state': 'unknown', 'error': 'timed out'}]}");
	EXPECT_FINDING(&scene, "discovery", "wrong", "'db' has no address yet: timed out");
	answer(&scene.s.discovery, "{'names': [{'hostname': 'db', 'state': 'kept', 'error': 'refused'}]}");
	EXPECT_FINDING(&scene, "discovery", "wrong", "'db' has the addresses it had before: refused");
	answer(&scene.s.discovery, "{'names': [{'hostname': 'db', 'state': 'fresh', 'leftOut': 2}]}");
	EXPECT_FINDING(&scene, "discovery", "note", "2 more addresses");
}

TEST(a_target_without_a_healthy_endpoint_is_wrong_wherever_its_endpoints_stand_in_the_list)
{
	SCENE(scene);

	answer(&scene.s.health, "{'checks': [{'target': 'a', 'health': 'down'}, {'target': 'b', 'health': 'up'},"
				" {'target': 'a', 'health': 'pending'}, {'target': 'b', 'health': 'down'}]}");
	EXPECT_FINDING(&scene, "endpoints", "wrong", "a: none of its 2 endpoints is healthy");
	EXPECT_CONTAINS(json_path_string(json_path_at(judged(&scene, "endpoints"), "findings", 1), "cause"), "b: 1 of its 2 endpoints");
	answer(&scene.s.health, "{'checks': [{'target': 'a', 'health': 'pending'}]}");
	EXPECT_FINDING(&scene, "endpoints", "note", "was checked yet");
	answer(&scene.s.health, "{'checks': [{'target': 'a', 'health': 'a state of later'}]}");
	EXPECT_FINDING(&scene, "endpoints", "wrong", "none of its 1");
}

TEST(a_limit_that_does_not_hold_is_wrong_and_a_full_listener_noted)
{
	SCENE(scene);

	answer(&scene.s.status, "{'listeners': [{'target': 'a', 'address': '*:80', 'state': 'enforced', 'maxConnections': 2, 'open': 1}]}");
	EXPECT_STR(state_of(&scene, "listeners"), "ok");
	answer(&scene.s.status, "{'listeners': [{'target': 'a', 'address': '*:80', 'state': 'cannot attach'}]}");
	EXPECT_FINDING(&scene, "listeners", "wrong", "maxConnections of a does not hold for what comes in at *:80: cannot attach");
	answer(&scene.s.status, "{'listeners': [{'target': 'a', 'address': '*:80', 'state': 'pending'}]}");
	EXPECT_FINDING(&scene, "listeners", "note", "pending");
	answer(&scene.s.status, "{'listeners': [{'target': 'a', 'address': '*:80', 'state': 'enforced', 'maxConnections': 2, 'open': 2,"
				" 'refused': 7}]}");
	EXPECT_FINDING(&scene, "listeners", "note", "a is full at *:80: 2 of 2 connections are open, 7 were refused");
	answer(&scene.s.status, "{'stats': {'served-uncounted': 5}}");
	EXPECT_FINDING(&scene, "listeners", "note", "5 accepted connections did not count");
	answer(&scene.s.status, "{'listeners': [{'target': 'a', 'address': '*:80', 'servedBy': 'weft-proxy', "
				"'state': 'served by weft-proxy', 'open': null}]}");
	EXPECT_STR(state_of(&scene, "listeners"), "ok");
	answer(&scene.s.status, "{'listeners': [{'target': 'a', 'address': '*:80', 'servedBy': 'weft-proxy', "
				"'state': 'pending: not there'}]}");
	EXPECT_FINDING(&scene, "listeners", "wrong",
		       "what comes in at *:80 goes past weft-proxy, without the pool, time-outs and access log of a: pending: not there");
}

/* --- the host ------------------------------------------------------------------------------------------------------------------------- */

TEST(a_route_over_the_networks_of_vips_is_wrong_in_any_namespace)
{
	SCENE(scene);

	strcpy(scene.place.routes, "this host routes 240.240.0.0/24");
	EXPECT_FINDING(&scene, "networks", "wrong", "in the namespace of process 42: this host routes");
	strcpy(scene.s.own_routes, "this host routes 240.0.0.0/4");
	EXPECT_FINDING(&scene, "networks", "wrong", "this host routes 240.0.0.0/4");
}

TEST(a_process_of_weft_that_is_short_of_memory_or_descriptors_is_wrong)
{
	SCENE(scene);

	scene.s.weftd = (struct process_sighting){ .name = "weftd", .pid = 5, .descriptors = 80, .descriptors_max = 100 };
	EXPECT_STR(state_of(&scene, "limits"), "ok");
	scene.s.weftd.descriptors = 81;
	EXPECT_FINDING(&scene, "limits", "wrong", "weftd (process 5) has 81 of 100 descriptors open");
	scene.s.proxy = (struct process_sighting){ .name = "weft-proxy", .short_of = "the cgroup is at its limit" };
	scene.s.weftd.descriptors = 0;
	EXPECT_FINDING(&scene, "limits", "wrong", "weft-proxy (process 0): the cgroup is at its limit");
}

static void other_is(struct scene *scene, const char *name, const char *cgroup, bool answers)
{
	struct instance_sighting *other = &scene->s.instances[0];

	scene->s.instance_count = 1;
	*other = (struct instance_sighting){ .abi = "abi1", .answers = answers };
	strcpy(other->name, name);
	strcpy(other->cgroup, cgroup);
}

TEST(another_instance_is_wrong_where_it_overlaps_and_noted_where_it_is_left_over)
{
	SCENE(scene);

	other_is(&scene, "prod", "/cg/mesh/below", true);
	EXPECT_FINDING(&scene, "instances", "wrong", "both decide");
	other_is(&scene, "prod", "/cg", true);
	EXPECT_FINDING(&scene, "instances", "wrong", "both decide");
	other_is(&scene, "prod", "/cg/mesh2", true);
	EXPECT_STR(state_of(&scene, "instances"), "ok");
	other_is(&scene, "prod", "/cg/mesh2", false);
	EXPECT_FINDING(&scene, "instances", "note", "no weftd answers");
	other_is(&scene, "prod", "", false);
	EXPECT_FINDING(&scene, "instances", "note", "its cgroup was removed");
	other_is(&scene, "test", "/cg/mesh", true);
	EXPECT_FINDING(&scene, "instances", "wrong", "of another version as well (abi1), and both decide");
}

/* --- limits of cgroups --------------------------------------------------------------------------------------------------------------- */

struct tree {
	char root[64];
};

static void put(const struct tree *tree, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", tree->root, name);
	file = fopen(path, "we");
	EXPECT(file);
	fputs(text, file);
	fclose(file);
}

/* ROOT/a/b, as two cgroups without any limit. */
static void tree_init(struct tree *tree)
{
	char path[128];

	strcpy(tree->root, "/tmp/weft-doctor-XXXXXX");
	EXPECT(mkdtemp(tree->root));
	snprintf(path, sizeof(path), "%s/a", tree->root);
	EXPECT_OK(mkdir(path, 0755));
	snprintf(path, sizeof(path), "%s/a/b", tree->root);
	EXPECT_OK(mkdir(path, 0755));
	put(tree, "a/pids.max", "max\n");
	put(tree, "a/memory.max", "max\n");
}

static void tree_done(struct tree *tree)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", tree->root);
	EXPECT_EQ(system(command), 0);
}

static int headroom(const struct tree *tree, struct error *err)
{
	return cgroup_headroom(tree->root, "/a/b", 1 << 20, 2, err);
}

TEST(a_cgroup_without_limits_has_room)
{
	_cleanup_(tree_done) struct tree tree;

	tree_init(&tree);
	EXPECT_OK(headroom(&tree, NULL));
}

TEST(a_limit_of_processes_counts_wherever_above_it_is)
{
	_cleanup_(tree_done) struct tree tree;
	struct error err = {};

	tree_init(&tree);
	put(&tree, "a/pids.max", "10\n");
	put(&tree, "a/pids.current", "8\n");
	EXPECT_OK(headroom(&tree, NULL));
	put(&tree, "a/pids.current", "9\n");
	EXPECT_EQ(headroom(&tree, &err), -EAGAIN);
	EXPECT_CONTAINS(err.message, "/a' is at its limit of processes, 9 of 10");
}

TEST(memory_that_can_be_taken_back_counts_as_free)
{
	_cleanup_(tree_done) struct tree tree;
	struct error err = {};

	tree_init(&tree);
	put(&tree, "a/b/memory.max", "10485760\n");
	put(&tree, "a/b/memory.current", "10485760\n");
	put(&tree, "a/b/memory.stat", "anon 9437184\nfile 1048576\ninactive_file 524288\nactive_file 262144\nslab_reclaimable 262144\n");
	EXPECT_OK(headroom(&tree, NULL));
	put(&tree, "a/b/memory.stat", "anon 9437184\nfile 1048576\ninactive_file 524288\nactive_file 262144\nslab_reclaimable 262143\n");
	EXPECT_EQ(headroom(&tree, &err), -ENOMEM);
	EXPECT_CONTAINS(err.message, "limit of memory");
}

TEST(a_frozen_cgroup_has_no_room)
{
	_cleanup_(tree_done) struct tree tree;

	tree_init(&tree);
	put(&tree, "a/b/cgroup.events", "populated 1\nfrozen 0\n");
	EXPECT_OK(headroom(&tree, NULL));
	put(&tree, "a/b/cgroup.events", "populated 1\nfrozen 1\n");
	EXPECT_EQ(headroom(&tree, NULL), -EBUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_nothing_is_amiss_all_checks_are_ok),
		cmocka_unit_test(a_note_alone_leaves_the_node_healthy),
		cmocka_unit_test(without_weftd_what_needs_its_answers_is_skipped_and_the_rest_is_judged),
		cmocka_unit_test(without_bpffs_nothing_of_the_kernel_is_judged),
		cmocka_unit_test(a_node_of_which_not_all_can_be_seen_is_not_called_healthy),
		cmocka_unit_test(findings_beyond_a_bound_are_counted),
		cmocka_unit_test(a_hook_that_is_missing_or_of_another_build_is_wrong),
		cmocka_unit_test(an_instance_that_is_not_installed_is_one_finding),
		cmocka_unit_test(an_optional_hook_that_the_kernel_lacks_is_noted_with_what_it_costs),
		cmocka_unit_test(a_kernel_without_a_fix_that_weft_needs_is_noted),
		cmocka_unit_test(a_place_where_hooks_are_not_in_force_is_wrong_and_named),
		cmocka_unit_test(a_foreign_program_is_wrong_behind_ours_noted_before_it_and_told_once),
		cmocka_unit_test(a_hook_that_does_not_answer_a_probe_is_wrong_and_one_that_cannot_be_asked_is_noted),
		cmocka_unit_test(a_probe_that_somebody_else_refused_is_no_answer),
		cmocka_unit_test(a_cgroup_at_its_limit_is_noted_and_a_probe_that_fails_otherwise_is_wrong),
		cmocka_unit_test(a_table_is_wrong_above_80_percent_whoever_knows_of_it),
		cmocka_unit_test(records_lost_once_are_noted_and_wrong_while_more_are_being_lost),
		cmocka_unit_test(a_weftd_of_another_build_is_wrong),
		cmocka_unit_test(files_that_are_not_in_force_and_references_that_lead_nowhere_are_wrong),
		cmocka_unit_test(a_workload_of_an_unknown_node_is_wrong_and_earlier_connections_are_noted),
		cmocka_unit_test(a_heart_that_does_not_beat_is_wrong_unless_weft_proxy_is_meant_to_be_off),
		cmocka_unit_test(names_that_do_not_get_to_weft_proxy_are_wrong_and_past_detours_are_noted),
		cmocka_unit_test(a_host_name_without_a_fresh_answer_is_wrong),
		cmocka_unit_test(a_target_without_a_healthy_endpoint_is_wrong_wherever_its_endpoints_stand_in_the_list),
		cmocka_unit_test(a_limit_that_does_not_hold_is_wrong_and_a_full_listener_noted),
		cmocka_unit_test(a_route_over_the_networks_of_vips_is_wrong_in_any_namespace),
		cmocka_unit_test(a_process_of_weft_that_is_short_of_memory_or_descriptors_is_wrong),
		cmocka_unit_test(another_instance_is_wrong_where_it_overlaps_and_noted_where_it_is_left_over),
		cmocka_unit_test(a_cgroup_without_limits_has_room),
		cmocka_unit_test(a_limit_of_processes_counts_wherever_above_it_is),
		cmocka_unit_test(memory_that_can_be_taken_back_counts_as_free),
		cmocka_unit_test(a_frozen_cgroup_has_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
