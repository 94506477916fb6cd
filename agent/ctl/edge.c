/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/edge.h"

#include <string.h>
#include <time.h>

#include "agent/ctl/client.h"
#include "base/cleanup.h"
#include "base/time.h"

#define WAIT_NS (10 * NSEC_PER_SEC)
#define ASK_NS (20 * NSEC_PER_MSEC)

static const json_t *find(const json_t *answer, const char *list, const char *member, const char *value)
{
	for (size_t i = 0; i < json_path_count(answer, list); i++) {
		const json_t *one = json_path_at(answer, list, i);
		const char *text = json_path_string(one, member);

		if (text && !strcmp(text, value))
			return one;
	}
	return NULL;
}

int edge_wait(const struct ctl *ctl, const char *path, const char *list, const char *member, const char *value, edge_state_fn *state,
	      json_t **ret_answer, struct error *err)
{
	const uint64_t deadline_ns = time_now_ns() + WAIT_NS;

	for (;;) {
		_cleanup_json_ json_t *answer = NULL;
		const json_t *one;
		const char *missing;
		int r = client_call(ctl, "GET", path, NULL, NULL, &answer, err);

		if (r < 0)
			return r;
		one = find(answer, list, member, value);
		missing = one ? state(one) : "it was removed";
		if (!missing) {
			*ret_answer = TAKE_PTR(answer);
			return 0;
		}
		if (strcmp(missing, "pending") || time_now_ns() > deadline_ns)
			return error_set(err, -ETIMEDOUT, "%s is kept, but not in force: %s", value, missing);
		nanosleep(&(struct timespec){ .tv_nsec = ASK_NS }, NULL);
	}
}
