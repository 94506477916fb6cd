/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/hooks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/cleanup.h"

const struct hook hooks[HOOK_COUNT] = {
	{ "carry", HOOK_PROGRAM, true, "counts of each CPU go on where another build takes over" },
	{ "explain", HOOK_PROGRAM, true, "`weft explain`" },
	{ "exec_claim", HOOK_TRACEPOINT, false, "workloads by the App Mesh variables in their environment" },
	{ "iter_live", HOOK_ITERATOR, false, "bytes, RTT and state of connections that are open" },
	{ "look_standing", HOOK_PROGRAM, true, "open connections that a change leaves without an endpoint, or denies, are found" },
	{ "iter_end", HOOK_ITERATOR, false, "open connections that may not go on are closed" },
	{ "original_dst", HOOK_PROGRAM, false, "SO_ORIGINAL_DST of weft-proxy's sockets" },
	{ "iter_earlier", HOOK_ITERATOR, false, "connections from before a listener had a limit are counted in it" },
	{ "edge_sweep", HOOK_PROGRAM, false, "connections without a local socket end after silence" },
	{ "edge_egress", HOOK_PROGRAM, false, "`weft expose` and `weft attach`: answers" },
	{ "edge_ingress", HOOK_PROGRAM, false, "`weft expose` and `weft attach`" },
	{ "getpeername4", HOOK_CGROUP, true, "getpeername() shows the address that was asked for" },
	{ "getpeername6", HOOK_CGROUP, true, "getpeername() shows the address that was asked for, IPv6" },
	{ "sock_ops", HOOK_CGROUP, true, "counters and flow records" },
	{ "sock_release", HOOK_CGROUP, true, "open counts of connections that never got as far as a SYN" },
	{ "recvmsg4", HOOK_CGROUP, true, "answers to queries come from the resolver that was asked" },
	{ "recvmsg6", HOOK_CGROUP, true, "answers to queries come from the resolver that was asked, IPv6" },
	{ "bind4", HOOK_CGROUP, true, "reserved ports" },
	{ "bind6", HOOK_CGROUP, true, "reserved ports, IPv6" },
	{ "sendmsg4", HOOK_CGROUP, true, "names, and refusal of datagrams to services" },
	{ "sendmsg6", HOOK_CGROUP, true, "names, and refusal of datagrams to services, IPv6" },
	{ "connect4", HOOK_CGROUP, true, "routing, policy and names" },
	{ "connect6", HOOK_CGROUP, true, "routing, policy and names, IPv6" },
};

static const char *const pin_prefixes[] = {
	[HOOK_CGROUP] = "link_",
	[HOOK_PROGRAM] = "prog_",
	[HOOK_ITERATOR] = "",
	[HOOK_TRACEPOINT] = "",
};

const struct hook *hook_by_name(const char *name)
{
	for (size_t i = 0; i < HOOK_COUNT; i++)
		if (!strcmp(hooks[i].name, name))
			return &hooks[i];
	return NULL;
}

void hook_pin(const struct hook *hook, const char *directory, char path[PIN_PATH_BYTES])
{
	snprintf(path, PIN_PATH_BYTES, "%s/%s%s", directory, pin_prefixes[hook->type], hook->name);
}

/* A removed cgroup keeps its id in the link until the kernel gets round to ending the link, which stays pinned with id 0. */
static bool cgroup_lives(uint64_t id)
{
	char root[PATH_MAX], path[PATH_MAX];

	return id && cgroup_root(root, sizeof(root), NULL) == 0 && cgroup_path_of_id(root, id, path, sizeof(path)) != -ENOENT;
}

/* The pinned object and its state; *ret_fd is -1 where nothing is pinned. */
static int hook_open(const struct hook *hook, const char *directory, struct hook_state *ret_state, int *ret_fd,
		     struct error *err)
{
	char path[PIN_PATH_BYTES];
	_cleanup_close_ int fd = -1;
	struct bpf_prog_info program = {};
	struct bpf_link_info link = {};
	__u32 size = hook->type == HOOK_PROGRAM ? sizeof(program) : sizeof(link);

	hook_pin(hook, directory, path);
	fd = bpf_obj_get(path);
	if (fd < 0 && errno != ENOENT)
		return error_set(err, -errno, "cannot open '%s': %m", path);
	if (fd < 0) {
		*ret_state = (struct hook_state){};
		*ret_fd = -1;
		return 0;
	}
	if (bpf_obj_get_info_by_fd(fd, hook->type == HOOK_PROGRAM ? (void *)&program : (void *)&link, &size) < 0)
		return error_set(err, -errno, "cannot inspect '%s': %m", path);
	*ret_state = (struct hook_state){
		.pinned = true,
		.attached = hook->type != HOOK_CGROUP || cgroup_lives(link.cgroup.cgroup_id),
		.link_id = link.id,
		.program_id = hook->type == HOOK_PROGRAM ? program.id : link.prog_id,
	};
	if (hook->type == HOOK_CGROUP && ret_state->attached)
		ret_state->cgroup_id = link.cgroup.cgroup_id;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int hook_inspect(const struct hook *hook, const char *directory, struct hook_state *ret_state, struct error *err)
{
	_cleanup_close_ int fd = -1;

	return hook_open(hook, directory, ret_state, &fd, err);
}

static int cgroup_attach(const struct hook *hook, const struct object *object, int program_fd, int cgroup_fd)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(object->bpf, hook->name);
	int fd = bpf_link_create(program_fd, cgroup_fd, bpf_program__expected_attach_type(program), NULL);

	return fd < 0 ? -errno : fd;
}

bool hook_is_relinked(const struct hook *hook)
{
	return hook->type == HOOK_ITERATOR || hook->type == HOOK_TRACEPOINT;
}

int hook_link(const struct hook *hook, const struct object *object)
{
	const enum bpf_attach_type type = hook->type == HOOK_ITERATOR ? BPF_TRACE_ITER : BPF_TRACE_RAW_TP;
	const int fd = bpf_link_create(object_program_fd(object, hook->name), 0, type, NULL);

	return fd < 0 ? -errno : fd;
}

int hook_attach(const struct hook *hook, const char *directory, const struct object *object, int cgroup_fd,
		struct transaction *transaction, struct error *err)
{
	_cleanup_close_ int pinned_fd = -1, link_fd = -1;
	int program_fd = object_program_fd(object, hook->name), r;
	struct hook_state state;
	char path[PIN_PATH_BYTES];

	if (program_fd < 0)
		return error_set(err, -EOPNOTSUPP, "the kernel does not take the program '%s'", hook->name);
	hook_pin(hook, directory, path);
	if (hook->type == HOOK_PROGRAM)
		return transaction_pin(transaction, program_fd, path, err);

	r = hook_open(hook, directory, &state, &pinned_fd, err);
	if (r < 0)
		return r;
	if (hook->type == HOOK_CGROUP && state.attached) {
		int old_fd = bpf_prog_get_fd_by_id(state.program_id);

		if (old_fd < 0)
			return error_set(err, -errno, "cannot keep the present program of '%s': %m", hook->name);
		r = transaction_update_link(transaction, TAKE_FD(pinned_fd), program_fd, old_fd);
		return r < 0 ? error_set(err, r, "cannot replace the program of '%s': %s", hook->name, strerror(-r)) : 0;
	}
	/* Some links take no other program, and a dead one none at all: a new one takes their place. */
	link_fd = hook->type == HOOK_CGROUP ? cgroup_attach(hook, object, program_fd, cgroup_fd) :
					      hook_link(hook, object);
	if (link_fd < 0)
		return error_set(err, hook->required ? link_fd : -EOPNOTSUPP, "cannot attach '%s' (%s): %s", hook->name,
				 hook->purpose, strerror(-link_fd));
	return transaction_pin(transaction, link_fd, path, err);
}
