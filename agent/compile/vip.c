/* SPDX-License-Identifier: Apache-2.0 */
#include "vip.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/list.h"
#include "base/time.h"

#define KEY_PREFIX "vips/"
#define QUARANTINE_NS (24 * 3600 * NSEC_PER_SEC)

enum { V4, V6, FAMILIES };

static const struct family_rule {
	bool is_v4;
	unsigned family_bits; /* of the 128 that are the network's in any case */
	unsigned min_prefix, max_prefix;
	unsigned unusable_last; /* the broadcast address of IPv4 */
	const char *form;
} family_rules[FAMILIES] = {
	[V4] = { true, 96, 8, 28, 1, "an IPv4 network of /8 to /28, as in 240.240.0.0/16" },
	[V6] = { false, 0, 32, 112, 0, "an IPv6 network of /32 to /112, as in 2001:2::/48" },
};

struct network {
	struct ip network, mask;
	uint64_t hosts; /* how many host parts can be given out: 1..hosts. At most the low 64 bits are used */
};

/* What a service has, or had: kept after its quarantine as well, so that it comes back with its old addresses for as long as
 * nobody else was given them. */
struct entry {
	struct ip addresses[FAMILIES];
	char texts[FAMILIES][IP_TEXT_BYTES];
	bool in_use;
	uint64_t last_use_ns; /* wall clock; of an entry in use, when it came into use */
	bool asked; /* since vips_let_go_unasked() */
	bool dirty;
	struct list dirty_link;
	struct table_node by_key, by_address[FAMILIES];
	char key[]; /* of the state */
};

struct removal { /* a key that goes at the next commit */
	struct list link;
	char key[];
};

struct vips {
	struct state *state;
	struct network networks[FAMILIES];
	struct table by_key, by_address;
	struct list dirty, removals;
	size_t dirty_count, removal_count;
};

static struct entry *entry_make(const char *key) /* without addresses. NULL: no memory */
{
	const size_t size = strlen(key) + 1;
	struct entry *entry = calloc(1, sizeof(*entry) + size);

	if (entry)
		memcpy(entry->key, key, size);
	return entry;
}

static struct entry *entry_free(struct entry *entry)
{
	free(entry);
	return NULL;
}

static void cleanup_entry(struct entry **entry)
{
	entry_free(*entry);
}

static void entry_set_address(struct entry *entry, int family, const struct ip *address)
{
	entry->addresses[family] = *address;
	ip_format(address, entry->texts[family]);
}

static void entry_mark(struct vips *vips, struct entry *entry)
{
	if (entry->dirty)
		return;
	entry->dirty = true;
	list_append(&vips->dirty, &entry->dirty_link);
	vips->dirty_count++;
}

static void entry_unmark(struct vips *vips, struct entry *entry)
{
	if (!entry->dirty)
		return;
	entry->dirty = false;
	list_remove(&entry->dirty_link);
	vips->dirty_count--;
}

/* Takes it out of the tables; the caller owns it then. */
static void entry_unlink(struct vips *vips, struct entry *entry)
{
	table_remove(&vips->by_key, &entry->by_key);
	for (int f = 0; f < FAMILIES; f++)
		table_remove(&vips->by_address, &entry->by_address[f]);
	entry_unmark(vips, entry);
}

/* Puts it into all tables or none. The tables own it then. */
static int entry_link(struct vips *vips, struct entry *entry)
{
	int r = table_add(&vips->by_key, &entry->by_key, entry->key);

	if (r < 0)
		return r;
	for (int f = 0; f < FAMILIES; f++) {
		r = table_add(&vips->by_address, &entry->by_address[f], entry->texts[f]);
		if (r < 0) {
			while (f-- > 0)
				table_remove(&vips->by_address, &entry->by_address[f]);
			table_remove(&vips->by_key, &entry->by_key);
			return r;
		}
	}
	return 0;
}

static int network_parse(const char *text, const struct family_rule *rule, struct network *ret_network, struct error *err)
{
	struct network n;
	unsigned prefix = 0, host_bits;

	if (ip_prefix_parse(text, &n.network, &n.mask) < 0 || ip_is_v4(&n.network) != rule->is_v4)
		return error_set(err, -EINVAL, "'%s' is not %s", text, rule->form);
	for (size_t i = 0; i < ARRAY_SIZE(n.mask.words); i++)
		prefix += (unsigned)__builtin_popcount(n.mask.words[i]);
	prefix -= rule->family_bits;
	if (prefix < rule->min_prefix || prefix > rule->max_prefix)
		return error_set(err, -EINVAL, "'%s' is not %s", text, rule->form);
	host_bits = 128 - rule->family_bits - prefix;
	n.hosts = (host_bits >= 64 ? UINT64_MAX : (1ull << host_bits) - 1) - rule->unusable_last;
	*ret_network = n;
	return 0;
}

/* Entries of networks that were configured before are left in the state unread: they count again when the networks do. */
static bool in_networks(const struct vips *vips, const struct entry *entry)
{
	for (int f = 0; f < FAMILIES; f++)
		if (!ip_in_prefix(&entry->addresses[f], &vips->networks[f].network, &vips->networks[f].mask))
			return false;
	return true;
}

static int load_entry(const struct state_entry *stored, void *arg)
{
	static const char *const members[FAMILIES] = { [V4] = "v4", [V6] = "v6" };
	_cleanup_(cleanup_entry) struct entry *entry = entry_make(stored->key);
	_cleanup_json_ json_t *value = NULL;
	struct vips *vips = arg;
	int r;

	if (!entry)
		return -ENOMEM;
	r = json_parse(stored->value, stored->value_bytes, &value, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : -EPROTO;
	for (int f = 0; f < FAMILIES; f++) {
		const char *text = json_path_string(value, members[f]);
		struct ip address;

		if (!text || ip_parse(text, &address) < 0)
			return -EPROTO;
		entry_set_address(entry, f, &address);
	}
	entry->in_use = json_path_bool(value, "inUse", true);
	entry->last_use_ns = (uint64_t)json_path_int(value, "lastUseNs", 0);
	if (!in_networks(vips, entry))
		return 0;
	r = entry_link(vips, entry);
	if (r < 0)
		return r == -EEXIST ? -EPROTO : r;
	TAKE_PTR(entry);
	return 0;
}

struct load {
	struct vips *vips;
	struct error *err;
	bool told;
};

static int load_named(const struct state_entry *stored, void *arg)
{
	struct load *load = arg;
	int r = load_entry(stored, load->vips);

	if (r < 0)
		error_set(load->err, r, "cannot take up '%s' of the state", stored->key);
	load->told = r < 0;
	return r;
}

static void cleanup_vips(struct vips **vips)
{
	vips_free(*vips);
}

int vips_new(struct state *state, const char *network4, const char *network6, struct vips **ret_vips, struct error *err)
{
	const char *const texts[FAMILIES] = { [V4] = network4, [V6] = network6 };
	_cleanup_(cleanup_vips) struct vips *vips = calloc(1, sizeof(*vips));
	struct load load = { .vips = vips, .err = err };
	int r;

	if (!vips)
		return error_set(err, -ENOMEM, "out of memory");
	vips->state = state;
	list_init(&vips->dirty);
	list_init(&vips->removals);
	for (int f = 0; f < FAMILIES; f++) {
		r = network_parse(texts[f], &family_rules[f], &vips->networks[f], err);
		if (r < 0)
			return r;
	}
	r = state_list(state, KEY_PREFIX, NULL, 0, load_named, &load, NULL);
	if (r < 0)
		return load.told ? r : error_set(err, r, "cannot read the VIPs of the state");
	*ret_vips = TAKE_PTR(vips);
	return 0;
}

static void drop_removals(struct vips *vips)
{
	list_for_each_safe(it, &vips->removals)
		free(container_of(it, struct removal, link));
	list_init(&vips->removals);
	vips->removal_count = 0;
}

struct vips *vips_free(struct vips *vips)
{
	if (!vips)
		return NULL;
	for (struct table_node *n = table_first(&vips->by_key), *next; n; n = next) {
		struct entry *entry = container_of(n, struct entry, by_key);

		next = table_next(&vips->by_key, n);
		entry_unlink(vips, entry);
		entry_free(entry);
	}
	drop_removals(vips);
	table_done(&vips->by_key);
	table_done(&vips->by_address);
	free(vips);
	return NULL;
}

/* Forgets an entry whose quarantine is over, because one of its addresses goes to another service. */
static int entry_evict(struct vips *vips, struct entry *entry)
{
	size_t size = strlen(entry->key) + 1;
	struct removal *removal = malloc(sizeof(*removal) + size);

	if (!removal)
		return -ENOMEM;
	memcpy(removal->key, entry->key, size);
	list_append(&vips->removals, &removal->link);
	vips->removal_count++;
	entry_unlink(vips, entry);
	entry_free(entry);
	return 0;
}

static bool entry_may_go(const struct entry *entry, uint64_t now_ns)
{
	/* Where the wall clock was set back the quarantine is longer, never shorter. */
	return !entry->in_use && now_ns >= entry->last_use_ns && now_ns - entry->last_use_ns >= QUARANTINE_NS;
}

/* The first address from the hash on that is free. Each entry occupies one, so that one more probe than there are entries finds
 * a free one, or every host part was tried. */
static int probe(struct vips *vips, int family, uint64_t hash, uint64_t now_ns, struct entry *entry)
{
	const struct network *n = &vips->networks[family];
	uint64_t probes = MIN(n->hosts, (uint64_t)vips->by_key.count + 1);

	for (uint64_t i = 0, at = hash % n->hosts; i < probes; i++, at = at + 1 < n->hosts ? at + 1 : 0) {
		uint64_t low = htobe64(at + 1); /* host part 0 is the network itself, or IPv6's anycast address of routers */
		struct ip address = n->network;
		struct table_node *taken;

		address.halves[1] |= low;
		entry_set_address(entry, family, &address);
		taken = table_get(&vips->by_address, entry->texts[family]);
		if (!taken)
			return 0;
		struct entry *other = container_of(taken, struct entry, by_address[family]);
		if (entry_may_go(other, now_ns))
			return entry_evict(vips, other);
	}
	return -ENOSPC;
}

/* FNV-1a of "OWNER\0MESH\0NAME": where a service's addresses are looked for first, on every node and in every build. */
static int hash_service(const char *owner, const char *mesh, const char *service, uint64_t *ret_hash)
{
	_cleanup_(buffer_done) struct buffer b = {};

	buffer_append(&b, owner, strlen(owner) + 1);
	buffer_append(&b, mesh, strlen(mesh) + 1);
	buffer_add(&b, service);
	if (buffer_failed(&b))
		return -ENOMEM;
	*ret_hash = hash_bytes(b.data, b.length);
	return 0;
}

static int entry_new(struct vips *vips, const char *key, uint64_t hash, uint64_t now_ns, struct entry **ret_entry)
{
	_cleanup_(cleanup_entry) struct entry *entry = entry_make(key);
	int r;

	if (!entry)
		return -ENOMEM;
	for (int f = 0; f < FAMILIES; f++) {
		r = probe(vips, f, hash, now_ns, entry);
		if (r < 0)
			return r;
	}
	r = entry_link(vips, entry);
	if (r < 0)
		return r;
	*ret_entry = TAKE_PTR(entry);
	return 0;
}

int vips_get(struct vips *vips, const char *mesh_owner, const char *mesh, const char *service, uint64_t now_ns, struct ip *ret_v4,
	     struct ip *ret_v6, struct error *err)
{
	_cleanup_(buffer_done) struct buffer key = {};
	struct table_node *node;
	struct entry *entry;
	uint64_t hash;
	int r;

	buffer_printf(&key, KEY_PREFIX "%s/%s/%s", mesh_owner, mesh, service);
	if (buffer_failed(&key))
		return error_set(err, -ENOMEM, "out of memory");
	node = table_get(&vips->by_key, buffer_string(&key));
	if (node) {
		entry = container_of(node, struct entry, by_key);
	} else {
		r = hash_service(mesh_owner, mesh, service, &hash);
		if (r == 0)
			r = entry_new(vips, buffer_string(&key), hash, now_ns, &entry);
		if (r == -ENOSPC)
			return error_set(err, r,
					 "no address is left for virtual service '%s' of mesh '%s': the VIP network is full", service,
					 mesh);
		if (r < 0)
			return error_set(err, r, "cannot give virtual service '%s' of mesh '%s' an address", service, mesh);
	}
	entry->asked = true;
	if (!entry->in_use) {
		entry->in_use = true;
		entry->last_use_ns = now_ns;
		entry_mark(vips, entry);
	}
	*ret_v4 = entry->addresses[V4];
	*ret_v6 = entry->addresses[V6];
	return 0;
}

static void entry_let_go(struct vips *vips, struct entry *entry, uint64_t now_ns)
{
	if (!entry->in_use)
		return;
	entry->in_use = false;
	entry->last_use_ns = now_ns;
	entry_mark(vips, entry);
}

void vips_let_go(struct vips *vips, const char *mesh_owner, const char *mesh, const char *service, uint64_t now_ns)
{
	_cleanup_(buffer_done) struct buffer key = {};
	struct table_node *node;

	buffer_printf(&key, KEY_PREFIX "%s/%s/%s", mesh_owner, mesh, service);
	node = buffer_failed(&key) ? NULL : table_get(&vips->by_key, buffer_string(&key));
	if (node)
		entry_let_go(vips, container_of(node, struct entry, by_key), now_ns);
}

void vips_let_go_unasked(struct vips *vips, uint64_t now_ns)
{
	for (struct table_node *n = table_first(&vips->by_key); n; n = table_next(&vips->by_key, n)) {
		struct entry *entry = container_of(n, struct entry, by_key);

		if (!entry->asked)
			entry_let_go(vips, entry, now_ns);
		entry->asked = false;
	}
}

static void cleanup_texts(char ***texts)
{
	for (char **t = *texts; t && *t; t++)
		free(*t);
	free(*texts);
}

int vips_commit(struct vips *vips, struct error *err)
{
	_cleanup_(cleanup_texts) char **texts = NULL;
	_cleanup_free_ struct state_op *ops = NULL;
	size_t count = 0, text_count = 0;
	int r;

	if (vips->dirty_count + vips->removal_count == 0)
		return 0;
	ops = calloc(vips->dirty_count + vips->removal_count, sizeof(*ops));
	texts = calloc(vips->dirty_count + 1, sizeof(*texts));
	if (!ops || !texts)
		return error_set(err, -ENOMEM, "out of memory");
	/* Removals first: what was evicted may have come back with other addresses. */
	list_for_each(it, &vips->removals)
		ops[count++] = (struct state_op){ .key = container_of(it, struct removal, link)->key };
	list_for_each(it, &vips->dirty) {
		const struct entry *entry = container_of(it, struct entry, dirty_link);
		int length = asprintf(&texts[text_count], "{\"v4\":\"%s\",\"v6\":\"%s\",\"inUse\":%s,\"lastUseNs\":%llu}",
				      entry->texts[V4], entry->texts[V6], entry->in_use ? "true" : "false",
				      (unsigned long long)entry->last_use_ns);

		if (length < 0) {
			texts[text_count] = NULL;
			return error_set(err, -ENOMEM, "out of memory");
		}
		ops[count++] = (struct state_op){ entry->key, texts[text_count++], (size_t)length };
	}
	r = state_txn(vips->state, NULL, 0, ops, count, NULL, err);
	if (r < 0)
		return error_prefix(err, "cannot keep the VIPs"), r;
	list_for_each_safe(it, &vips->dirty)
		entry_unmark(vips, container_of(it, struct entry, dirty_link));
	drop_removals(vips);
	return 0;
}

void vips_networks(const struct vips *vips, struct ip *ret_network4, struct ip *ret_mask4, struct ip *ret_network6,
		   struct ip *ret_mask6)
{
	*ret_network4 = vips->networks[V4].network;
	*ret_mask4 = vips->networks[V4].mask;
	*ret_network6 = vips->networks[V6].network;
	*ret_mask6 = vips->networks[V6].mask;
}
