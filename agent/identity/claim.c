/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/environment.h"
#include "base/bytes.h"
#include "base/cleanup.h"

static const struct {
	const char *name, *text;
} outcomes[CLAIM_OUTCOME_COUNT] = {
#define X(symbol, name, text) [CLAIM_##symbol] = { name, text },
	CLAIM_OUTCOMES(X)
#undef X
};

const char *claim_outcome_name(enum claim_outcome outcome)
{
	return outcomes[outcome].name;
}

const char *claim_outcome_text(enum claim_outcome outcome)
{
	return outcomes[outcome].text;
}

/* --- the environment ---------------------------------------------------------------------------------------------------------------- */

static const char *const variables[] = { "APPMESH_RESOURCE_ARN", "APPMESH_RESOURCE_NAME", "APPMESH_VIRTUAL_NODE_NAME" };

bool claim_in_environment(const char *environment, size_t bytes, char ret_value[CLAIM_VALUE_BYTES], const char **ret_variable)
{
	for (size_t v = 0; v < ARRAY_SIZE(variables); v++) {
		struct span value;
		size_t length;

		if (!environment_get(environment, bytes, variables[v], &value))
			continue;
		length = MIN(value.length, (size_t)CLAIM_VALUE_BYTES - 1);
		memcpy(ret_value, value.data, length);
		ret_value[length] = '\0';
		*ret_variable = variables[v];
		return true;
	}
	return false;
}

static bool claim_of(int pid, char ret_value[CLAIM_VALUE_BYTES], const char **ret_variable)
{
	_cleanup_(buffer_done) struct buffer text = {};

	if (pid == getpid())
		return false;
	environment_read(pid, &text);
	return claim_in_environment(text.data, text.length, ret_value, ret_variable);
}

void claim_leave_out_of_children(void)
{
	for (size_t v = 0; v < ARRAY_SIZE(variables); v++)
		unsetenv(variables[v]);
}

bool claim_is_made(int pid)
{
	char value[CLAIM_VALUE_BYTES];
	const char *variable;

	return claim_of(pid, value, &variable);
}

/* --- where it is ---------------------------------------------------------------------------------------------------------------------- */

static void refuse(struct claim *claim, enum claim_outcome outcome, const char *text)
{
	claim->refused = true;
	claim->outcome = outcome;
	error_set(&claim->err, -EPERM, "%s", text);
}

static bool is_netns_of(const struct stat *netns, const char *pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	return stat(path, &st) == 0 && st.st_ino == netns->st_ino && st.st_dev == netns->st_dev;
}

/* Whether the user namespace that it belongs to was made by root, or is the host's own. */
static bool netns_is_roots(int netns_fd)
{
	_cleanup_close_ int user_fd = ioctl(netns_fd, NS_GET_USERNS);
	uid_t owner;

	return user_fd >= 0 && ioctl(user_fd, NS_GET_OWNER_UID, &owner) == 0 && owner == 0;
}

static int look_at_netns(struct claim *claim)
{
	char path[32];
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", claim->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	r = netns_cookie(fd, &claim->netns_cookie);
	if (r < 0)
		return r;
	/* weftd's own is the host's as well: it says where the node's traffic is. */
	claim->own_netns = !is_netns_of(&st, "self") && !is_netns_of(&st, "1");
	if (claim->own_netns && !netns_is_roots(fd))
		refuse(claim, CLAIM_NOT_ROOTS, "its network namespace belongs to a user namespace that root did not make");
	return 0;
}

struct agreement {
	const struct claim *claim;
	int dissenter; /* 0: none */
};

static bool has_ended(int pid)
{
	char path[32], target[2];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return readlink(path, target, sizeof(target)) < 0;
}

static int ask_process(int pid, void *arg)
{
	struct agreement *agreement = arg;
	char value[CLAIM_VALUE_BYTES];
	const char *variable;

	if (pid == agreement->claim->pid)
		return 0;
	if ((claim_of(pid, value, &variable) && !strcmp(value, agreement->claim->value)) || (pid && has_ended(pid)))
		return 0;
	agreement->dissenter = pid ?: -1; /* 0: one that our pid namespace does not have */
	return -ECANCELED;
}

static void look_at_cgroup(struct claim *claim)
{
	struct agreement agreement = { .claim = claim };
	const struct cgroup_visitor visitor = { .process = ask_process, .arg = &agreement };
	struct stat st;
	char text[160];

	if (stat(claim->cgroup, &st) < 0)
		return;
	if (!strcmp(claim->cgroup, claim->root))
		return refuse(claim, CLAIM_MIXED_CGROUP, "it is in the host's network namespace, and in no cgroup of its own: use `weft run`");
	if (st.st_uid != 0)
		return refuse(claim, CLAIM_NOT_ROOTS, "it is in the host's network namespace, and its cgroup does not belong to root");
	if (cgroup_visit(claim->cgroup, &visitor) >= 0 || !agreement.dissenter)
		return;
	snprintf(text, sizeof(text), "it is in the host's network namespace, and process %d of its cgroup does not say the same: use `weft run`",
		 agreement.dissenter);
	refuse(claim, CLAIM_MIXED_CGROUP, text);
}

static void program_read(struct claim *claim)
{
	char path[32];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", claim->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, claim->program, sizeof(claim->program) - 1);
	claim->program[MAX(n, 0)] = '\0';
	claim->program[strcspn(claim->program, "\n")] = '\0';
}

void claim_look(struct claim *claim)
{
	char cgroup[PATH_MAX];

	claim->found = claim->refused = false;
	if (!claim_of(claim->pid, claim->value, &claim->variable) || cgroup_of_pid(claim->pid, cgroup, sizeof(cgroup)) < 0)
		return;
	if (!strcmp(cgroup, "/"))
		cgroup[0] = '\0';
	if ((size_t)snprintf(claim->cgroup, sizeof(claim->cgroup), "%s%s", claim->root, cgroup) >= sizeof(claim->cgroup) ||
	    cgroup_depth(claim->scope, claim->cgroup) < 0 || look_at_netns(claim) < 0)
		return;
	program_read(claim);
	claim->found = true;
	if (!claim->own_netns && !claim->refused)
		look_at_cgroup(claim);
}
