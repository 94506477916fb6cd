/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/cgroup.h"
#include "agent/identity/entry.h"
#include "agent/identity/own_address.h"
#include "agent/state/state.h"
#include "base/cleanup.h"
#include "base/log.h"

#define PREFIX "workloads/"

static bool parse_number(const char *text, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return !errno && end > text && !*end;
}

static void drop_record(struct workloads *all, const char *key, const struct error *reason)
{
	struct error err = {};
	char text[ERROR_MESSAGE_BYTES], delete_text[ERROR_MESSAGE_BYTES];

	state_delete(all->state, key, &err);
	log_error("dropped a stored workload that cannot be read", LOG_F("key", LOG_STR(key)),
		  LOG_F("reason", LOG_STR(error_text(reason, text, sizeof(text)))),
		  LOG_F("state", LOG_STR(err.code ? error_text(&err, delete_text, sizeof(delete_text)) : NULL)));
}

struct load {
	struct workloads *all;
	struct list entries;
};

static int load_record(const struct state_entry *stored, void *arg)
{
	struct load *load = arg;
	struct workloads *all = load->all;
	struct record record = {};
	struct entry *entry;
	struct error err = {};
	uint64_t id;
	int r;

	if (!strcmp(stored->key, PREFIX "next"))
		return 0;
	if (!parse_number(stored->key + strlen(PREFIX), &id))
		r = error_set(&err, -EINVAL, "the key is no number");
	else
		r = record_decode(stored->value, stored->value_bytes, id, &record, &err);
	if (r == -EINVAL) {
		drop_record(all, stored->key, &err);
		return 0;
	}
	if (r == 0)
		r = entry_from_record(all, &record, &entry);
	record_done(&record);
	if (r < 0)
		return r;
	all->next_id = MAX(all->next_id, id + 1);
	list_append(&load->entries, &entry->node);
	return 0;
}

static int load_next_id(struct workloads *all)
{
	_cleanup_free_ void *value = NULL;
	uint64_t revision, next;
	size_t bytes;
	int r = state_get(all->state, PREFIX "next", &value, &bytes, &revision);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (!parse_number(value, &next))
		return -EPROTO;
	all->next_id = MAX(all->next_id, next);
	return 0;
}

/* ---- kernel entries that nothing explains ---- */

static int check_cgroup(uint64_t id, const struct owner *owner, void *arg)
{
	struct workloads *all = arg;

	(void)owner;
	list_for_each(it, &all->running) {
		const struct entry *entry = container_of(it, struct entry, node);

		if (entry->in_kernel && entry->record.workload.cgroup_id == id)
			return 0;
	}
	return kernel_cgroup_remove(all->kernel, id);
}

static int check_netns(uint64_t cookie, const struct owner *owner, void *arg)
{
	struct workloads *all = arg;

	(void)owner;
	return netns_find(&all->namespaces, cookie) ? 0 : kernel_netns_remove(all->kernel, cookie);
}

static int check_own_address(const struct netns_address *key, void *arg)
{
	struct workloads *all = arg;
	struct netns *netns = netns_find(&all->namespaces, key->netns_cookie);

	if (netns)
		return own_addresses_adopt(netns->addresses, &key->address);
	return kernel_own_address_remove(all->kernel, key->netns_cookie, &key->address);
}

static void set_depths(struct workloads *all)
{
	uint64_t depths = 0;

	for (int i = 0; i < MAX_CGROUP_DEPTH; i++)
		depths |= (uint64_t)(all->depths[i] > 0) << i;
	__atomic_store_n(&all->kernel->memory.config->cgroup_depths, depths, __ATOMIC_RELEASE);
}

int workloads_adopt(struct workloads *all, struct error *err)
{
	struct load load = { .all = all, .entries = LIST_INIT(load.entries) };
	int r = load_next_id(all);

	if (r == 0)
		r = state_list(all->state, PREFIX, NULL, 0, load_record, &load, NULL);
	if (r < 0) {
		list_for_each_safe(it, &load.entries)
			entry_free(container_of(it, struct entry, node));
		return error_set(err, r, "cannot read the workloads of the agent before: %s", strerror(-r));
	}
	list_for_each_safe(it, &load.entries) {
		struct entry *entry = container_of(it, struct entry, node);

		list_remove(&entry->node);
		r = entry_adopt(entry);
		if (r < 0 && r != -ENOENT)
			log_warn("cannot take a workload up again", LOG_F("workload", LOG_U64(entry->record.workload.id)),
				 LOG_F("node", LOG_STR(entry->record.workload.node)), LOG_F("error", LOG_STR(strerror(-r))));
		if (r < 0)
			list_append(&all->lost, &entry->node);
	}
	r = kernel_netns_each(all->kernel, check_netns, all);
	if (r == 0)
		r = kernel_own_address_each(all->kernel, check_own_address, all);
	set_depths(all);
	if (r == 0)
		r = kernel_cgroup_each(all->kernel, check_cgroup, all);
	return r < 0 ? error_set(err, r, "cannot compare the workloads with their kernel entries: %s", strerror(-r)) : 0;
}
