/* SPDX-License-Identifier: Apache-2.0 */
/* The App Mesh API without a server: requests, and a store that is a revision and a state. */
#pragma once

#include "agent/api/appmesh/appmesh.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct appmesh_world {
	struct appmesh_state state;
	struct appmesh_settings settings;
	struct appmesh_answer answer; /* the last one */
	const char *region;
	uint64_t now_ns, revision;
	unsigned int uids;
};

void appmesh_world_init(struct appmesh_world *world);
void appmesh_world_done(struct appmesh_world *world);

/* Plans without committing: the answer is in world->answer. `body`: JSON with ' for ", or NULL. Returns the status. */
int appmesh_plan(struct appmesh_world *world, const char *method, const char *target, const char *body);
/* -ECANCELED: a compare is lost. */
int appmesh_commit(struct appmesh_world *world);
/* Both. */
int appmesh_do(struct appmesh_world *world, const char *method, const char *target, const char *body);

/* Status and error of the last answer; text of its message, or of a member by its path. */
#define EXPECT_ANSWER(call, expected)                                                                                         \
	do {                                                                                                                   \
		const int _status = (call);                                                                                    \
		if (_status != (expected))                                                                                     \
			fail_msg("%s is %d: %s, expected %d", #call, _status, appmesh_message(&world), (expected));            \
	} while (0)
#define EXPECT_ERROR(call, expected, words)                                                                                   \
	do {                                                                                                                   \
		(call);                                                                                                        \
		EXPECT_STR(world.answer.error, expected);                                                                      \
		EXPECT_STR(json_path_string(world.answer.body, "__type"), expected);                                           \
		EXPECT_CONTAINS(appmesh_message(&world), words);                                                               \
	} while (0)
const char *appmesh_message(const struct appmesh_world *world);
static inline const char *appmesh_member(const struct appmesh_world *world, const char *path)
{
	return json_path_string(world->answer.body, path);
}

/* "mesh m" with nodes a and b, router r and its route t to both, and service s that r provides, all on port 80. */
void given_world(struct appmesh_world *world);
