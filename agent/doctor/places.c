/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/doctor/places.h"

#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/identity/cgroup.h"
#include "base/cleanup.h"

#define PROGRAMS_MAX 64 /* the kernel lets 64 be attached at one cgroup; below it there may be others */

struct owner_entry {
	uint64_t key;
	struct owner owner;
};
struct owners {
	struct owner_entry *list;
	size_t count, capacity;
};

/* What the walk knows: the maps' entries, and what it found so far. */
struct walk {
	struct kernel *kernel;
	const char *cgroup_root;
	struct owners netns, cgroups;
	struct places *places;
	size_t namespace_capacity, capacity;
};

/* The list with room for one more; NULL: no memory, and the list is what it was. */
static void *grown(void *list, size_t count, size_t *capacity, size_t element_bytes)
{
	const size_t more = *capacity ? 2 * *capacity : 64;
	void *fresh;

	if (count < *capacity)
		return list;
	fresh = reallocarray(list, more, element_bytes);
	if (fresh)
		*capacity = more;
	return fresh;
}

static int owner_add(uint64_t key, const struct owner *owner, void *arg)
{
	struct owners *owners = arg;
	struct owner_entry *list = grown(owners->list, owners->count, &owners->capacity, sizeof(*list));

	if (!list)
		return -ENOMEM;
	owners->list = list;
	owners->list[owners->count++] = (struct owner_entry){ .key = key, .owner = *owner };
	return 0;
}

static const struct owner *owner_find(const struct owners *owners, uint64_t key)
{
	for (size_t i = 0; i < owners->count; i++)
		if (owners->list[i].key == key)
			return &owners->list[i].owner;
	return NULL;
}

/* NULL: no memory, or the process is gone. Namespaces of nobody are kept as well, so that each is entered once. */
static struct places_namespace *namespace_of(struct walk *walk, int pid)
{
	struct places *places = walk->places;
	struct places_namespace *n, *list;
	_cleanup_close_ int fd = -1;
	const struct owner *owner;
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	if (stat(path, &st) < 0)
		return NULL;
	for (size_t i = 0; i < places->namespace_count; i++)
		if (places->namespaces[i].inode == st.st_ino)
			return &places->namespaces[i];
	fd = open(path, O_RDONLY | O_CLOEXEC);
	list = grown(places->namespaces, places->namespace_count, &walk->namespace_capacity, sizeof(*n));
	if (!list)
		return NULL;
	places->namespaces = list;
	if (fd < 0)
		return NULL;
	n = &places->namespaces[places->namespace_count];
	*n = (struct places_namespace){ .inode = st.st_ino, .fd = -1 };
	if (netns_cookie(fd, &n->cookie) < 0)
		return NULL;
	places->namespace_count++;
	owner = owner_find(&walk->netns, n->cookie);
	if (owner) {
		n->fd = TAKE_FD(fd);
		n->node = owner->flags & OWNER_SHARED ? 0 : owner->node;
	}
	return n;
}

/* Who acts by this cgroup or one above it, the deepest first; 0: nobody. */
static uint32_t node_by_cgroup(const struct walk *walk, const char *cgroup)
{
	char path[PATH_MAX];
	size_t length = (size_t)snprintf(path, sizeof(path), "%s%s", walk->cgroup_root, cgroup);

	while (length < sizeof(path) && length > strlen(walk->cgroup_root)) {
		const struct owner *owner;
		uint64_t id;

		if (cgroup_id(path, &id) == 0 && (owner = owner_find(&walk->cgroups, id)))
			return owner->node;
		*strrchr(path, '/') = '\0';
		length = strlen(path);
	}
	return 0;
}

/* weft-proxy, and the agent where it checks health, are nobody's to the hooks. */
static bool is_weft_itself(const struct walk *walk, const char *cgroup)
{
	const struct proxy_state *proxy = walk->kernel->memory.proxy;
	char path[PATH_MAX];
	uint64_t id;

	if ((size_t)snprintf(path, sizeof(path), "%s%s", walk->cgroup_root, cgroup) >= sizeof(path) || cgroup_id(path, &id) < 0)
		return false;
	for (size_t i = 0; i < PROXY_FORMERS_MAX; i++)
		if (id == proxy->former_cgroup_ids[i])
			return true;
	return id == proxy->cgroup_id || id == proxy->agent_cgroup_id;
}

static int process_add(struct walk *walk, int pid)
{
	struct places *places = walk->places;
	const struct places_namespace *n = namespace_of(walk, pid);
	char cgroup[PATH_MAX];
	struct place *place, *list;
	uint32_t node;

	if (!n || n->fd < 0 || cgroup_of_pid(pid, cgroup, sizeof(cgroup)) < 0)
		return 0;
	for (size_t i = 0; i < places->count; i++) {
		place = &places->list[i];
		if (place->netns_cookie == n->cookie && !strcmp(place->cgroup, cgroup)) {
			place->processes++;
			return 0;
		}
	}
	if (is_weft_itself(walk, cgroup))
		return 0;
	node = n->node ?: node_by_cgroup(walk, cgroup);
	if (!node)
		return 0;
	if (places->count == PLACES_MAX) {
		places->left_out++;
		return 0;
	}
	list = grown(places->list, places->count, &walk->capacity, sizeof(*place));
	if (!list)
		return -ENOMEM;
	places->list = list;
	place = &places->list[places->count];
	*place = (struct place){ .netns_cookie = n->cookie, .netns_fd = n->fd, .node = node, .pid = pid, .processes = 1 };
	place->cgroup = strdup(cgroup);
	if (!place->cgroup)
		return -ENOMEM;
	places->count++;
	return 0;
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int processes_walk(struct walk *walk)
{
	_cleanup_(cleanup_dir) DIR *dir = opendir("/proc");
	const struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid())
			r = process_add(walk, atoi(entry->d_name));
	return r;
}

int places_find(struct kernel *kernel, const char *cgroup_root, struct places *ret_places, struct error *err)
{
	struct walk walk = { .kernel = kernel, .cgroup_root = cgroup_root, .places = ret_places };
	int r = kernel_netns_each(kernel, owner_add, &walk.netns);

	if (r == 0)
		r = kernel_cgroup_each(kernel, owner_add, &walk.cgroups);
	if (r == 0 && walk.netns.count)
		r = processes_walk(&walk);
	free(walk.netns.list);
	free(walk.cgroups.list);
	return r < 0 ? error_set(err, r, "cannot find the processes of workloads: %s", strerror(-r)) : 0;
}

void places_done(struct places *places)
{
	for (size_t i = 0; i < places->count; i++)
		free(places->list[i].cgroup);
	for (size_t i = 0; i < places->namespace_count; i++)
		fd_close(places->namespaces[i].fd);
	free(places->list);
	free(places->namespaces);
	*places = (struct places){};
}

/* --- what runs there -------------------------------------------------------------------------------------------------------------- */

static const struct attachment {
	const char *hook;
	enum bpf_attach_type type;
	bool rewrites; /* a program there can change an address */
} attachments[] = {
	{ "connect4", BPF_CGROUP_INET4_CONNECT, true },
	{ "connect6", BPF_CGROUP_INET6_CONNECT, true },
	{ "sendmsg4", BPF_CGROUP_UDP4_SENDMSG, true },
	{ "sendmsg6", BPF_CGROUP_UDP6_SENDMSG, true },
	{ "recvmsg4", BPF_CGROUP_UDP4_RECVMSG, true },
	{ "recvmsg6", BPF_CGROUP_UDP6_RECVMSG, true },
	{ "getpeername4", BPF_CGROUP_INET4_GETPEERNAME, true },
	{ "getpeername6", BPF_CGROUP_INET6_GETPEERNAME, true },
	{ "bind4", BPF_CGROUP_INET4_BIND, true },
	{ "bind6", BPF_CGROUP_INET6_BIND, true },
	{ "sock_ops", BPF_CGROUP_SOCK_OPS, false },
	{ "sock_release", BPF_CGROUP_INET_SOCK_RELEASE, false },
};

static const struct attachment *attachment_of(const char *hook)
{
	for (size_t i = 0; i < ARRAY_SIZE(attachments); i++)
		if (!strcmp(attachments[i].hook, hook))
			return &attachments[i];
	return NULL;
}

static void foreign_add(struct hook_effect *effect, uint32_t id, bool after)
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	struct foreign_program *f;

	if (effect->foreign_count++ >= FOREIGN_MAX)
		return; /* counted, and told as so many more */
	f = &effect->foreign[effect->foreign_count - 1];
	*f = (struct foreign_program){ .id = id, .after = after };
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
		memcpy(f->name, info.name, sizeof(f->name) - 1);
}

/* The kernel lists programs in the order in which they run: those of the cgroup itself first, then those of the ones above. */
static void effect_ask(struct hook_effect *effect, int cgroup_fd, const struct attachment *attachment, uint32_t own_id)
{
	uint32_t ids[PROGRAMS_MAX], count = PROGRAMS_MAX;

	effect->asked = true;
	if (!attachment) {
		effect->error = -ENOSYS;
		return;
	}
	if (bpf_prog_query(cgroup_fd, attachment->type, BPF_F_QUERY_EFFECTIVE, NULL, ids, &count) < 0) {
		effect->error = -errno;
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (ids[i] == own_id)
			effect->in_force = true;
		else if (attachment->rewrites)
			foreign_add(effect, ids[i], effect->in_force);
	}
}

void place_ask_effects(struct place *place, const char *cgroup_root, const struct loader_status *loader)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s%s", cgroup_root, place->cgroup) < sizeof(path))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < HOOK_COUNT && fd >= 0; i++)
		if (hooks[i].type == HOOK_CGROUP && loader->hooks[i].attached)
			effect_ask(&place->effects[i], fd, attachment_of(hooks[i].name), loader->hooks[i].program_id);
}
