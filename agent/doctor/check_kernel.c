/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel part: attached, in force, answering; its tables and its losses. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "agent/doctor/doctor.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#define FILL_MAX_PCT 80
#define REMEDY_BYTES 256

/* --- hooks ---------------------------------------------------------------------------------------------------------------------------- */

void check_hooks(const struct sighting *s, struct findings *findings)
{
	char install[REMEDY_BYTES], upgrade[REMEDY_BYTES];
	size_t missing = 0;

	snprintf(install, sizeof(install), "`weft-loader install --instance %s` completes what is missing", s->instance);
	snprintf(upgrade, sizeof(upgrade), "`weft-loader upgrade --instance %s` puts this build's program there, without a gap", s->instance);
	for (size_t i = 0; i < s->loader.hook_count; i++)
		missing += s->loader.hooks[i].required && !s->loader.hooks[i].attached;
	if (missing == s->loader.hook_count || (missing && !s->loader.cgroup[0])) {
		finding_add(findings, WEIGHT_WRONG, install, "instance '%s' has no kernel part: nothing is decided", s->instance);
		return;
	}
	for (size_t i = 0; i < s->loader.hook_count; i++) {
		const struct loader_hook_status *hook = &s->loader.hooks[i];

		if (hook->required && !hook->attached)
			finding_add(findings, WEIGHT_WRONG, install, "the hook %s is %s: there is no %s", hook->name,
				    hook->link_id ? "attached to a cgroup that was removed" : "not attached", hook->purpose);
		else if (hook->attached && !hook->current)
			finding_add(findings, WEIGHT_WRONG, upgrade, "the hook %s runs the program of another build", hook->name);
	}
}

void check_features(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < s->loader.hook_count; i++) {
		const struct loader_hook_status *hook = &s->loader.hooks[i];

		if (!hook->required && !hook->attached && s->loader.cgroup[0])
			finding_add(findings, WEIGHT_NOTE, "a later kernel has it; weft does without",
				    "this kernel does not take %s: there is no %s", hook->name, hook->purpose);
	}
}

/* --- places --------------------------------------------------------------------------------------------------------------------------- */

/* What workload this is, in words: weftd knows its node's name. */
static const char *place_text(const struct sighting *s, const struct place *place, char *text, size_t size)
{
	const char *name = NULL;

	for (size_t i = 0; i < json_path_count(s->status, "workloads") && !name; i++) {
		const json_t *workload = json_path_at(s->status, "workloads", i);
		const char *cgroup = json_path_string(workload, "cgroup");
		const size_t length = cgroup ? strlen(cgroup) : 0;

		if (json_path_bool(workload, "ownNetns", false) ?
			    json_path_int(workload, "netnsCookie", 0) == (int64_t)place->netns_cookie :
			    cgroup && !strncmp(cgroup, place->cgroup, length) &&
				    (!place->cgroup[length] || place->cgroup[length] == '/'))
			name = json_path_string(workload, "virtualNode");
	}
	snprintf(text, size, "%s in the cgroup '%s' (process %d)", name ?: "a workload", place->cgroup, place->pid);
	return text;
}
#define PLACE_TEXT_BYTES (PATH_MAX + 1024) /* a cgroup, and a full name */

static void effect_judge(const struct sighting *s, const struct place *place, struct findings *findings)
{
	_cleanup_(buffer_done) struct buffer missing = {};
	char text[PLACE_TEXT_BYTES];

	for (size_t i = 0; i < HOOK_COUNT; i++) {
		const struct hook_effect *effect = &place->effects[i];

		if (effect->asked && effect->error)
			finding_add(findings, WEIGHT_WRONG, "look into the cgroup: it may have gone just now, then ask again",
				    "the kernel does not say what runs at %s for %s: %s", hooks[i].name,
				    place_text(s, place, text, sizeof(text)), strerror(-effect->error));
		else if (effect->asked && !effect->in_force)
			buffer_printf(&missing, "%s%s", missing.length ? ", " : "", hooks[i].name);
	}
	if (missing.length)
		finding_add(findings, WEIGHT_WRONG,
			    "start it in a cgroup below the one that the instance is attached to, or attach the instance higher up "
			    "(`weft-loader uninstall`, `weft-loader install --cgroup`)",
			    "%s: not in force there: %s; attached is '%s'", place_text(s, place, text, sizeof(text)),
			    buffer_string(&missing), s->loader.cgroup);
}

void check_effect(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < s->places.count; i++)
		effect_judge(s, &s->places.list[i], findings);
	if (s->places.left_out)
		finding_add(findings, WEIGHT_NOTE, "nothing: it is only that they were not looked at",
			    "%zu processes are in more than %d different places, and were left out", s->places.left_out, PLACES_MAX);
}

/* A program that is at the same hook for many workloads is told once. */
static bool is_told(const struct sighting *s, size_t place, size_t hook, const struct foreign_program *program)
{
	for (size_t i = 0; i < place; i++) {
		const struct hook_effect *effect = &s->places.list[i].effects[hook];

		for (size_t f = 0; f < MIN(effect->foreign_count, (size_t)FOREIGN_MAX); f++)
			if (effect->foreign[f].id == program->id && effect->foreign[f].after == program->after)
				return true;
	}
	return false;
}

static void foreign_judge(const struct sighting *s, size_t place, size_t hook, struct findings *findings)
{
	const struct hook_effect *effect = &s->places.list[place].effects[hook];
	char text[PLACE_TEXT_BYTES];

	for (size_t i = 0; i < MIN(effect->foreign_count, (size_t)FOREIGN_MAX); i++) {
		const struct foreign_program *f = &effect->foreign[i];

		if (is_told(s, place, hook, f))
			continue;
		place_text(s, &s->places.list[place], text, sizeof(text));
		if (f->after)
			finding_add(findings, WEIGHT_WRONG,
				    "see what it does (`bpftool prog show id`); where it was attached to the same cgroup later, `weft-loader "
				    "uninstall` and `install` bring weft behind it",
				    "the program '%s' (id %" PRIu32 ") runs after weft's at %s and may send connections elsewhere, for %s",
				    f->name, f->id, hooks[hook].name, text);
		else
			finding_add(findings, WEIGHT_NOTE, "nothing, as long as it leaves the addresses of services alone",
				    "the program '%s' (id %" PRIu32 ") runs before weft's at %s, and weft sees what it leaves, for %s",
				    f->name, f->id, hooks[hook].name, text);
	}
	if (effect->foreign_count > FOREIGN_MAX)
		finding_add(findings, WEIGHT_NOTE, "`bpftool cgroup tree` lists them all", "%zu more programs are at %s for %s",
			    effect->foreign_count - FOREIGN_MAX, hooks[hook].name,
			    place_text(s, &s->places.list[place], text, sizeof(text)));
}

void check_redirects(const struct sighting *s, struct findings *findings)
{
	char text[PLACE_TEXT_BYTES];

	for (size_t i = 0; i < s->places.count; i++) {
		const char *rules = redirects_text(&s->places.list[i].redirects);

		if (rules)
			finding_add(findings, WEIGHT_WRONG,
				    "end App Mesh's Envoy there, and take its rules away (`nsenter -t PID -n iptables -t nat -F`, or `nft delete`): weftd sees "
				    "it within five seconds",
				    "%s: another proxy redirects connections of its network namespace (%s), so what is for weft-proxy is refused there "
				    "(foreign-redirect)",
				    place_text(s, &s->places.list[i], text, sizeof(text)), rules);
	}
}

void check_foreign(const struct sighting *s, struct findings *findings)
{
	for (size_t place = 0; place < s->places.count; place++)
		for (size_t hook = 0; hook < HOOK_COUNT; hook++)
			foreign_judge(s, place, hook, findings);
}

/* --- probes --------------------------------------------------------------------------------------------------------------------------- */

/* Limits, a frozen cgroup, one of threads, one that is gone by now. */
static bool is_own_affair(int code)
{
	return code == -EOPNOTSUPP || code == -EAGAIN || code == -ENOMEM || code == -EBUSY || code == -ENOENT || code == -ENODEV;
}

static bool all_answered(const struct hook_probe *probe)
{
	for (int i = 0; i < HOOK_PROBE_COUNT; i++)
		if (probe->hooks[i].state != HOOK_ANSWERED)
			return false;
	return probe->counted >= hook_probe_answers(probe);
}

static void probe_judge(const struct sighting *s, const struct place *place, struct findings *findings)
{
	_cleanup_(buffer_done) struct buffer silent = {}, unasked = {};
	const struct hook_probe *probe = &place->probe;
	char text[PLACE_TEXT_BYTES];

	if (!place->probe_error.code && all_answered(probe))
		return; /* hundreds of places are like this one: their names are not looked for */
	place_text(s, place, text, sizeof(text));
	if (place->probe_error.code) {
		finding_add(findings, is_own_affair(place->probe_error.code) ? WEIGHT_NOTE : WEIGHT_WRONG,
			    is_own_affair(place->probe_error.code) ? "nothing for weft: no probe was made, so as not to disturb it" :
								     "see why no process can run there, then ask again",
			    "%s: %s", text, place->probe_error.message);
		return;
	}
	for (int i = 0; i < HOOK_PROBE_COUNT; i++) {
		struct buffer *list = probe->hooks[i].state == HOOK_SILENT ? &silent : &unasked;

		if (probe->hooks[i].state != HOOK_ANSWERED)
			buffer_printf(list, "%s%s (%s)", list->length ? ", " : "", hook_probe_names[i],
				      probe->hooks[i].error ? strerror(probe->hooks[i].error) : "no error");
	}
	if (silent.length)
		finding_add(findings, WEIGHT_WRONG,
			    "see the checks `hooks`, `effect` and `foreign`; where these are well, `weft status` tells whether this is a "
			    "workload",
			    "%s: no answer from %s", text, buffer_string(&silent));
	if (probe->counted < hook_probe_answers(probe))
		finding_add(findings, WEIGHT_WRONG, "see the check `foreign`: some other program refuses connections there",
			    "%s: %" PRIu64 " probes were refused, but weft counts %" PRIu64, text, hook_probe_answers(probe), probe->counted);
	if (unasked.length)
		finding_add(findings, WEIGHT_NOTE, "nothing, if it is meant to have no such network", "%s: cannot be asked: %s", text,
			    buffer_string(&unasked));
}

void check_probes(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < s->places.count; i++)
		probe_judge(s, &s->places.list[i], findings);
}

/* --- tables, records ------------------------------------------------------------------------------------------------------------------- */

static void fill_judge(const char *name, uint64_t used, uint64_t size, struct findings *findings)
{
	if (size && used * 100 > size * FILL_MAX_PCT)
		finding_add(findings, WEIGHT_WRONG,
			    "remove what is not needed, or split the node's workloads: a change that would not fit is refused as a whole",
			    "the table %s is %" PRIu64 " %% full: %" PRIu64 " of %" PRIu64, name, used * 100 / size, used, size);
}

void check_tables(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < s->table_count; i++)
		fill_judge(s->tables[i].name, s->tables[i].used, s->tables[i].size, findings);
	for (size_t i = 0; i < json_path_count(s->status, "tables"); i++) {
		const json_t *table = json_path_at(s->status, "tables", i);

		fill_judge(json_path_string(table, "name") ?: "?", (uint64_t)json_path_int(table, "used", 0),
			   (uint64_t)json_path_int(table, "size", 0), findings);
	}
}

static const struct {
	enum statistic stat;
	bool growing; /* wrong only where it grew while doctor looked: it tells of the past otherwise */
	const char *remedy;
} losses[] = {
	{ STAT_FLOWS_LOST, true,
	  "see that weftd runs and gets CPU; a lower --flows-per-second makes fewer records. Counters are exact all the same" },
	{ STAT_REASON_TABLE_FULL, false, "restart from fresh counts by `weft-loader uninstall` and `install`, when that is convenient" },
	{ STAT_ROW_MISMATCH, false, "please report it: a fault of weft" },
	{ STAT_SLOT_MISMATCH, false, "please report it: a fault of weft" },
};

void check_records(const struct sighting *s, struct findings *findings)
{
	static const char *const texts[] = {
#define X(symbol, name, text) [STAT_##symbol] = name ": " text,
		STATS(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(losses); i++) {
		const uint64_t count = s->stats[losses[i].stat], before = s->stats_before[losses[i].stat];

		if (count)
			finding_add(findings, losses[i].growing && count == before ? WEIGHT_NOTE : WEIGHT_WRONG, losses[i].remedy,
				    "%s: %" PRIu64 " since the kernel part was installed%s", texts[losses[i].stat], count,
				    count > before ? ", and more each moment" : "");
	}
}
