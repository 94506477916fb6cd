/* SPDX-License-Identifier: Apache-2.0 */
/* What weft stands on: mounts, routes, the clock, the limits of its processes, and other instances. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/doctor/doctor.h"
#include "base/cleanup.h"

#define REMEDY_BYTES 256
#define DESCRIPTORS_MAX_PCT 80

void check_mounts(const struct sighting *s, struct findings *findings)
{
	if (s->mounts_error.code)
		finding_add(findings, WEIGHT_WRONG, "mount it, or boot a kernel that has it; nothing else can be looked at before",
			    "%s", s->mounts_error.message);
}

/* --- the kernel --------------------------------------------------------------------------------------------------------------------------- */

struct version {
	unsigned series[2], patch;
};

/* CVE-2026-74714: the first of each series that has the fix, and of all series after the last one of these. */
static const struct version mended[] = { { { 6, 1 }, 183 }, { { 6, 6 }, 152 }, { { 6, 12 }, 104 }, { { 6, 18 }, 45 }, { { 7, 1 }, 9 } };

/* Debian has its own numbers in the release, and the kernel's in the version. */
static bool version_read(const struct utsname *kernel, struct version *ret_version)
{
	static const char debian[] = "Debian ";
	const char *text = strstr(kernel->version, debian);

	*ret_version = (struct version){};
	text = text ? text + strlen(debian) : kernel->release;
	return sscanf(text, "%u.%u.%u", &ret_version->series[0], &ret_version->series[1], &ret_version->patch) >= 2;
}

static int series_compare(const struct version *a, const struct version *b)
{
	const unsigned *x = a->series, *y = b->series;

	return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

static bool version_is_mended(const struct version *version)
{
	for (size_t i = 0; i < ARRAY_SIZE(mended); i++)
		if (series_compare(version, &mended[i]) == 0)
			return version->patch >= mended[i].patch;
	return series_compare(version, &mended[ARRAY_SIZE(mended) - 1]) > 0;
}

void check_kernel(const struct sighting *s, struct findings *findings)
{
	char remedy[REMEDY_BYTES];
	struct version version;
	int length = snprintf(remedy, sizeof(remedy), "boot a kernel with the fix, which a distribution's may have before:");

	for (size_t i = 0; i < ARRAY_SIZE(mended); i++)
		length += snprintf(remedy + length, sizeof(remedy) - (size_t)length, " %u.%u.%u", mended[i].series[0], mended[i].series[1], mended[i].patch);
	if (version_read(&s->kernel, &version) && !version_is_mended(&version))
		finding_add(findings, WEIGHT_NOTE, remedy,
			    "Linux %u.%u.%u may lose a connection that comes in just where somebody walks over TCP sockets, and use it after "
			    "it was freed (CVE-2026-74714); weft does, where connections are to be closed or a listener gets a limit",
			    version.series[0], version.series[1], version.patch);
}

/* --- the host ----------------------------------------------------------------------------------------------------------------------------- */

void check_clock(const struct sighting *s, struct findings *findings)
{
	if (!s->clock_synchronised)
		finding_add(findings, WEIGHT_NOTE,
			    "run an NTP client (chrony, systemd-timesyncd); times in logs and records are those of this clock",
			    "the kernel says that nothing keeps the clock in time");
}

void check_networks(const struct sighting *s, struct findings *findings)
{
	static const char *const remedy = "choose other networks by --vip-network4 and --vip-network6 of weftd, or remove the route";

	if (s->own_routes[0])
		finding_add(findings, WEIGHT_WRONG, remedy, "%s", s->own_routes);
	for (size_t i = 0; i < s->places.count; i++)
		if (s->places.list[i].routes[0])
			finding_add(findings, WEIGHT_WRONG, remedy, "in the namespace of process %d: %s", s->places.list[i].pid,
				    s->places.list[i].routes);
}

static void process_judge(const struct process_sighting *process, struct findings *findings)
{
	char remedy[REMEDY_BYTES];

	if (process->short_of[0]) {
		snprintf(remedy, sizeof(remedy), "give the unit of %s more, or see what else is in its cgroup", process->name);
		finding_add(findings, WEIGHT_WRONG, remedy, "%s (process %d): %s", process->name, process->pid, process->short_of);
	}
	if (process->descriptors * 100 > process->descriptors_max * DESCRIPTORS_MAX_PCT) {
		snprintf(remedy, sizeof(remedy), "raise LimitNOFILE= in the unit of %s, and restart it", process->name);
		finding_add(findings, WEIGHT_WRONG, remedy, "%s (process %d) has %" PRIu64 " of %" PRIu64 " descriptors open", process->name,
			    process->pid, process->descriptors, process->descriptors_max);
	}
}

void check_limits(const struct sighting *s, struct findings *findings)
{
	process_judge(&s->weftd, findings);
	process_judge(&s->proxy, findings);
}

/* --- instances ------------------------------------------------------------------------------------------------------------------------ */

static bool is_below(const char *cgroup, const char *above)
{
	const size_t length = strlen(above);

	return !strncmp(cgroup, above, length) && (!cgroup[length] || cgroup[length] == '/');
}

static void instance_judge(const struct sighting *s, const struct instance_sighting *i, struct findings *findings)
{
	char remedy[REMEDY_BYTES];

	snprintf(remedy, sizeof(remedy), "`weft-loader uninstall --instance %s`%s", i->name,
		 i->abi[0] ? ", by the weft-loader of its version where this one refuses" : "");
	if (!strcmp(i->name, s->instance))
		finding_add(findings, WEIGHT_WRONG, remedy, "'%s' has the kernel part of another version as well (%s), %s", i->name, i->abi,
			    i->cgroup[0] ? "and both decide" : "attached to nothing");
	else if (i->cgroup[0] && s->loader.cgroup[0] && (is_below(i->cgroup, s->loader.cgroup) || is_below(s->loader.cgroup, i->cgroup)))
		finding_add(findings, i->answers ? WEIGHT_WRONG : WEIGHT_NOTE, remedy,
			    "instance '%s' (%s) is attached to '%s', which overlaps '%s': %s", i->name, i->abi, i->cgroup, s->loader.cgroup,
			    i->answers ? "both decide for what is in both" : "no weftd answers for it");
	else if (i->abi[0] && !i->cgroup[0])
		finding_add(findings, WEIGHT_NOTE, remedy, "instance '%s' (%s) is left over: its cgroup was removed", i->name, i->abi);
	else if (!i->answers)
		finding_add(findings, WEIGHT_NOTE, remedy, "instance '%s'%s%s may be left over: no weftd answers for it", i->name,
			    i->abi[0] ? " at " : "", i->abi[0] ? i->cgroup : "");
}

void check_instances(const struct sighting *s, struct findings *findings)
{
	for (size_t i = 0; i < s->instance_count; i++)
		instance_judge(s, &s->instances[i], findings);
}
