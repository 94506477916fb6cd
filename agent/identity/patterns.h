/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroups by path pattern, found when they are there and when they are made: inotify on the directories on the way to a
 * match, and only those. A directory is listed after its watch is in place, so that none made in between is missed; the
 * price is that a cgroup may be reported twice. */
#pragma once

#include <stddef.h>

#include "agent/loop/loop.h"
#include "base/error.h"
#include "base/list.h"

#define PATTERN_COMPONENTS_MAX 16

struct pattern {
	struct list node;
	char *text; /* "system.slice/payment-*.service" */
	char *node_name;
	char *zone; /* NULL: the node's */
	char *components_text; /* the text with zeros for slashes */
	const char *components[PATTERN_COMPONENTS_MAX];
	size_t count;
};

struct patterns;

/* `path` is the cgroup's absolute path. Of several patterns that match, the one added first is told. */
typedef void pattern_match_fn(const struct pattern *pattern, const char *path, void *arg);
int patterns_new(struct loop *loop, const char *root, pattern_match_fn *fn, void *arg, struct patterns **ret_patterns);
struct patterns *patterns_free(struct patterns *patterns); /* NULL is fine */

/* Reports what matches already before it returns. Rules of the text: workloads_add_pattern(). */
int patterns_add(struct patterns *patterns, const char *text, const char *node_name, const char *zone, struct error *err);
const struct pattern *patterns_find(const struct patterns *patterns, const char *text); /* NULL: not added */

/* Splits and checks a text: -EINVAL names what is wrong. The caller calls pattern_done(). */
int pattern_init(struct pattern *pattern, const char *text, struct error *err);
void pattern_done(struct pattern *pattern);
enum pattern_match {
	PATTERN_NO,
	PATTERN_ABOVE, /* what is below this path may match */
	PATTERN_YES,
};
/* `path` below the mount: "system.slice/payment-a.service"; "" is the root. fnmatch(3) for each component, a backslash
 * quotes. */
enum pattern_match pattern_match(const struct pattern *pattern, const char *path);
