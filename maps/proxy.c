/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/proxy.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/time.h"
#include "maps/abi/reason.h"
#include "maps/kernel.h"
#include "maps/limits.h"
#include "maps/pinned.h"
#include "maps_layout.h"

enum {
	LABEL_BYTES_MAX = 63, /* RFC 1035 section 2.3.4 */
	NAME_BYTES_MAX = 253, /* as text: 255 on the wire, less the first length and the root */
	SCOPE_BYTES_MAX = 1024, /* two names of at most 255 bytes, and words */
};

static const struct pinned_map map_rows[] = {
	PINNED_ARRAY("w_layout", struct layout_note, 1, struct proxy_maps, layout),
	PINNED_ARRAY("w_proxy", struct proxy_state, 1, struct proxy_maps, state),
#define HASH(pin, key, value, count, member) PINNED_FD(pin, BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), count, struct proxy_maps, member)
	HASH("w_name", struct name_key, struct name_entry, MAX_NAMES, name_fd),
	HASH("w_resolver", struct resolver_key, struct resolver, MAX_RESOLVERS, resolver_fd),
	HASH("w_asked", struct asked_key, struct ip, MAX_RESOLVERS, asked_fd),
	HASH("w_exempt", struct netns_address, struct exemption, MAX_EXEMPT, exempt_fd),
	HASH("w_proxy_place", __u64, __u32, MAX_OWNERS, place_fd),
	HASH("w_handover", struct handover_key, struct handover, MAX_ACCOUNTS, handover_fd),
	HASH("w_intercept", struct serving_key, struct intercept, MAX_SERVINGS, intercept_fd),
	HASH("w_way", struct proxy_way_key, struct proxy_way, MAX_WAYS, way_fd),
	PINNED_FD("w_inbound", BPF_MAP_TYPE_SOCKHASH, sizeof(struct inbound_key), sizeof(__u64), 2 * MAX_OWNERS, struct proxy_maps, inbound_fd),
#undef HASH
};

/* 0: there is none. */
static uint64_t pin_inode(const char *instance, const char *map)
{
	char pin_path[160], path[256];
	struct stat st;

	if (kernel_pin_path(instance, pin_path, sizeof(pin_path), NULL) < 0)
		return 0;
	snprintf(path, sizeof(path), "%s/%s", pin_path, map);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* --- endpoints ------------------------------------------------------------------------------------------------------------------ */

struct endpoints_map {
	int fd;
	uint32_t count;
};

static const struct pinned_map endpoints_row = {
	"w_endpoint", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct endpoint), 0, PINNED_AS_FD, offsetof(struct endpoints_map, fd),
	offsetof(struct endpoints_map, count),
};

/* With addresses for as many as there can ever be. */
static int endpoints_init(struct proxy_maps *maps)
{
	struct kernel_limits largest;
	int r;

	kernel_limits_for(MAX_SERVICES, &largest);
	r = front_init(&maps->endpoints_front, sizeof(struct endpoint), largest.endpoints);
	maps->endpoints = (void *)maps->endpoints_front.memory;
	return r;
}

int proxy_endpoints_renew(struct proxy_maps *maps, const char *instance, struct error *err)
{
	const uint64_t pin = pin_inode(instance, endpoints_row.name);
	struct endpoints_map map = { .fd = -1 };
	char pin_path[160];
	int r;

	if (pin && pin == maps->endpoints_pin)
		return 0;
	r = kernel_pin_path(instance, pin_path, sizeof(pin_path), err);
	if (r == 0)
		r = pinned_maps_open(pin_path, &endpoints_row, 1, &map, err);
	if (r < 0)
		return r;
	r = front_take(&maps->endpoints_front, map.fd, map.count);
	if (r < 0) {
		fd_close(map.fd);
		return error_set(err, r, "cannot map 'w_endpoint', of %u entries, into memory: %s", map.count, strerror(-r));
	}
	maps->endpoints_pin = pin;
	return 0;
}

int proxy_endpoints_reach(struct proxy_maps *maps, const char *instance, uint32_t count, struct error *err)
{
	int r = count > maps->endpoints_front.size ? proxy_endpoints_renew(maps, instance, err) : 0;

	if (r < 0)
		return r;
	r = front_reach(&maps->endpoints_front, count);
	return r < 0 ? error_set(err, r, "cannot map 'w_endpoint' into memory: %s", strerror(-r)) : 0;
}

/* --- all of them ---------------------------------------------------------------------------------------------------------------- */

int proxy_maps_open(const char *instance, struct proxy_maps *ret_maps, struct error *err)
{
	struct proxy_maps maps = {};
	char pin_path[160];
	int r = kernel_pin_path(instance, pin_path, sizeof(pin_path), err);

	if (r == 0)
		r = pinned_maps_open(pin_path, map_rows, ARRAY_SIZE(map_rows), &maps, err);
	if (r < 0)
		return r;
	if (maps.layout->layout != MAPS_LAYOUT) {
		proxy_maps_close(&maps);
		return error_set(err, -EPROTO, PINNED_OTHER_LAYOUT);
	}
	maps.pin = pin_inode(instance, "w_proxy");
	r = endpoints_init(&maps);
	r = r < 0 ? error_set(err, r, "no addresses for endpoints: %s", strerror(-r)) : proxy_endpoints_renew(&maps, instance, err);
	if (r < 0) {
		proxy_maps_close(&maps);
		return r;
	}
	*ret_maps = maps;
	return 0;
}

void proxy_maps_close(struct proxy_maps *maps)
{
	if (!maps->state)
		return;
	pinned_maps_close(map_rows, ARRAY_SIZE(map_rows), maps);
	front_done(&maps->endpoints_front);
	*maps = (struct proxy_maps){};
}

bool proxy_maps_installed(const struct proxy_maps *maps, const char *instance)
{
	return maps->pin && pin_inode(instance, "w_proxy") == maps->pin;
}

/* --- resolvers ---------------------------------------------------------------------------------------------------------------- */

static struct asked_key way_back(const struct resolver_key *key, const struct resolver *resolver)
{
	return (struct asked_key){ .netns_cookie = key->netns_cookie, .address = resolver->address, .port = resolver->port };
}

static int way_back_remove(struct proxy_maps *maps, const struct resolver_key *key, const struct resolver *resolver)
{
	const struct asked_key asked = way_back(key, resolver);

	return pinned_map_remove(maps->asked_fd, &asked);
}

int proxy_resolver_set(struct proxy_maps *maps, const struct resolver_key *key, const struct resolver *resolver)
{
	const struct asked_key asked = way_back(key, resolver);
	struct resolver before;
	const bool had_one = bpf_map_lookup_elem(maps->resolver_fd, key, &before) == 0;
	const bool moved = had_one && (before.port != resolver->port || !ip_equal(&before.address, &resolver->address));
	int r = pinned_map_set(maps->asked_fd, &asked, &key->address);

	if (r < 0)
		return r;
	r = pinned_map_set(maps->resolver_fd, key, resolver);
	if (r < 0) {
		if (!had_one || moved)
			way_back_remove(maps, key, resolver);
		return r;
	}
	return moved ? way_back_remove(maps, key, &before) : 0;
}

int proxy_resolver_remove(struct proxy_maps *maps, const struct resolver_key *key)
{
	struct resolver resolver;
	int r;

	if (bpf_map_lookup_elem(maps->resolver_fd, key, &resolver) < 0)
		return errno == ENOENT ? 0 : -errno;
	r = pinned_map_remove(maps->resolver_fd, key);
	return r < 0 ? r : way_back_remove(maps, key, &resolver);
}

struct resolver_visit {
	proxy_resolver_fn *fn;
	void *arg;
};

static int resolver_visit(const void *key, const void *value, void *arg)
{
	const struct resolver_visit *visit = arg;

	return visit->fn(key, value, visit->arg);
}

int proxy_resolver_each(struct proxy_maps *maps, proxy_resolver_fn *fn, void *arg)
{
	return pinned_map_each(maps->resolver_fd, sizeof(struct resolver_key), sizeof(struct resolver), resolver_visit,
			       &(struct resolver_visit){ fn, arg });
}

/* --- exemptions --------------------------------------------------------------------------------------------------------------- */

struct expiry {
	int fd;
	uint64_t now_ns;
};

static int remove_expired(const void *key, const void *value, void *arg)
{
	const struct exemption *exemption = value;
	const struct expiry *expiry = arg;

	return exemption->until_ns && exemption->until_ns <= expiry->now_ns ? pinned_map_remove(expiry->fd, key) : 0;
}

int proxy_exempt_set(struct proxy_maps *maps, uint64_t netns_cookie, const struct ip *address, uint64_t until_ns)
{
	const struct netns_address key = { .netns_cookie = netns_cookie, .address = *address };
	const struct exemption exemption = { .until_ns = until_ns, .reason = REASON_AWS_ADDRESS };
	struct exemption before;
	int r;

	if (bpf_map_lookup_elem(maps->exempt_fd, &key, &before) == 0 && (!before.until_ns || before.until_ns >= until_ns))
		return 0;
	r = pinned_map_set(maps->exempt_fd, &key, &exemption);
	if (r != -E2BIG)
		return r;
	r = pinned_map_each(maps->exempt_fd, sizeof(key), sizeof(exemption), remove_expired,
			    &(struct expiry){ maps->exempt_fd, time_now_ns() });
	return r < 0 ? r : pinned_map_set(maps->exempt_fd, &key, &exemption);
}

/* --- connections that are handed over -------------------------------------------------------------------------------------------- */

int proxy_handover_get(struct proxy_maps *maps, const struct handover_key *key, struct handover *ret_handover)
{
	struct handover handover;

	if (bpf_map_lookup_elem(maps->handover_fd, key, &handover) < 0)
		return -errno;
	*ret_handover = handover;
	return 0;
}

int proxy_original_attach(const char *instance, const char *cgroup, int *ret_link_fd)
{
	char pin_path[160], path[256];
	_cleanup_close_ int program_fd = -1, cgroup_fd = -1;
	int fd, r = kernel_pin_path(instance, pin_path, sizeof(pin_path), NULL);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/prog_original_dst", pin_path);
	program_fd = bpf_obj_get(path);
	if (program_fd < 0)
		return -errno;
	cgroup_fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup_fd < 0)
		return -errno;
	fd = bpf_link_create(program_fd, cgroup_fd, BPF_CGROUP_GETSOCKOPT, NULL);
	if (fd < 0)
		return -errno;
	*ret_link_fd = fd;
	return 0;
}

int proxy_place_set(struct proxy_maps *maps, uint64_t netns_cookie, uint32_t families)
{
	return pinned_map_set(maps->place_fd, &netns_cookie, &families);
}

int proxy_place_remove(struct proxy_maps *maps, uint64_t netns_cookie)
{
	return pinned_map_remove(maps->place_fd, &netns_cookie);
}

struct place_visit {
	proxy_place_fn *fn;
	void *arg;
};

static int place_visit(const void *key, const void *value, void *arg)
{
	const struct place_visit *visit = arg;

	return visit->fn(*(const uint64_t *)key, *(const uint32_t *)value, visit->arg);
}

int proxy_place_each(struct proxy_maps *maps, proxy_place_fn *fn, void *arg)
{
	return pinned_map_each(maps->place_fd, sizeof(uint64_t), sizeof(uint32_t), place_visit, &(struct place_visit){ fn, arg });
}

/* --- connections that come in --------------------------------------------------------------------------------------------------- */

int proxy_inbound_set(struct proxy_maps *maps, uint64_t netns_cookie, int family, int listen_fd)
{
	const struct inbound_key key = { .netns_cookie = netns_cookie, .family = (__u32)family };
	const __u64 fd = (__u64)listen_fd;

	return pinned_map_set(maps->inbound_fd, &key, &fd);
}

int proxy_inbound_remove(struct proxy_maps *maps, uint64_t netns_cookie, int family)
{
	const struct inbound_key key = { .netns_cookie = netns_cookie, .family = (__u32)family };

	return pinned_map_remove(maps->inbound_fd, &key);
}

int proxy_intercept_get(struct proxy_maps *maps, struct serving_key *key, struct intercept *ret_intercept)
{
	struct intercept intercept;

	if (bpf_map_lookup_elem(maps->intercept_fd, key, &intercept) < 0) {
		if (errno != ENOENT || ip_is_loopback(&key->address))
			return -errno;
		key->address = (struct ip){};
		if (bpf_map_lookup_elem(maps->intercept_fd, key, &intercept) < 0)
			return -errno;
	}
	*ret_intercept = intercept;
	return 0;
}

int proxy_way_set(struct proxy_maps *maps, const struct proxy_way_key *key, const struct ip *client, __be16 client_port)
{
	const struct proxy_way way = { .since_ns = time_now_ns(), .client = *client, .client_port = client_port };

	return pinned_map_set(maps->way_fd, key, &way);
}

int proxy_way_remove(struct proxy_maps *maps, const struct proxy_way_key *key)
{
	return pinned_map_remove(maps->way_fd, key);
}

static int remove_old_way(const void *key, const void *value, void *arg)
{
	const struct proxy_way *way = value;
	const struct expiry *expiry = arg;

	return (int64_t)(expiry->now_ns - way->since_ns) > (int64_t)WAY_MAX_NS ? pinned_map_remove(expiry->fd, key) : 0;
}

int proxy_ways_clean(struct proxy_maps *maps, uint64_t now_ns)
{
	return pinned_map_each(maps->way_fd, sizeof(struct proxy_way_key), sizeof(struct proxy_way), remove_old_way,
			       &(struct expiry){ maps->way_fd, now_ns });
}

/* --- names -------------------------------------------------------------------------------------------------------------------- */

int proxy_name_get(struct proxy_maps *maps, const struct name_key *key, struct name_entry *ret_entry)
{
	struct name_entry entry;

	if (bpf_map_lookup_elem(maps->name_fd, key, &entry) < 0)
		return -errno;
	*ret_entry = entry;
	return 0;
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

int name_key_make(const char *scope, const char *name, struct name_key *ret_key)
{
	const size_t scope_bytes = strlen(scope) + 1;
	size_t length = strlen(name), label_bytes = 0;
	char text[SCOPE_BYTES_MAX + NAME_BYTES_MAX];
	uint64_t hash[2];

	if (length && name[length - 1] == '.')
		length--;
	if (!length || length > NAME_BYTES_MAX || scope_bytes > SCOPE_BYTES_MAX)
		return -EINVAL;
	memcpy(text, scope, scope_bytes);
	for (size_t i = 0; i < length; i++) {
		label_bytes = name[i] == '.' ? 0 : label_bytes + 1;
		if (label_bytes > LABEL_BYTES_MAX || (name[i] == '.' && (i == 0 || name[i - 1] == '.')))
			return -EINVAL;
		text[scope_bytes + i] = to_lower(name[i]);
	}
	if (!label_bytes)
		return -EINVAL; /* two dots at the end */
	hash_name(text, scope_bytes + length, hash);
	*ret_key = (struct name_key){ .hash = { hash[0], hash[1] } };
	return 0;
}
