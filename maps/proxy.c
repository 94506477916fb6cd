/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/proxy.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/time.h"
#include "maps/abi/reason.h"
#include "maps/kernel.h"
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
#undef HASH
};

/* 0: there is none. */
static uint64_t pin_inode(const char *instance)
{
	char pin_path[160], path[256];
	struct stat st;

	if (kernel_pin_path(instance, pin_path, sizeof(pin_path), NULL) < 0)
		return 0;
	snprintf(path, sizeof(path), "%s/%s", pin_path, "w_proxy");
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

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
	maps.pin = pin_inode(instance);
	*ret_maps = maps;
	return 0;
}

void proxy_maps_close(struct proxy_maps *maps)
{
	if (maps->state)
		pinned_maps_close(map_rows, ARRAY_SIZE(map_rows), maps);
	*maps = (struct proxy_maps){};
}

bool proxy_maps_installed(const struct proxy_maps *maps, const char *instance)
{
	return maps->pin && pin_inode(instance) == maps->pin;
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
