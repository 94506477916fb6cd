/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/namespaces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/own_address.h"
#include "base/log.h"

void namespaces_init(struct namespaces *all)
{
	list_init(&all->list);
}

static void netns_free(struct netns *netns)
{
	list_remove(&netns->node);
	free(netns->owner);
	free(netns);
}

void namespaces_done(struct namespaces *all)
{
	list_for_each_safe(it, &all->list) {
		struct netns *netns = container_of(it, struct netns, node);

		own_addresses_leave(netns->addresses);
		netns_free(netns);
	}
}

struct netns *netns_find(const struct namespaces *all, uint64_t cookie)
{
	list_for_each(it, &all->list) {
		struct netns *netns = container_of(it, struct netns, node);

		if (netns->cookie == cookie)
			return netns;
	}
	return NULL;
}

static int netns_new(struct namespaces *all, uint64_t cookie, const char *owner, struct netns **ret_netns)
{
	struct netns *netns = calloc(1, sizeof(*netns));
	int r = -ENOMEM;

	if (netns && (!owner || (netns->owner = strdup(owner))))
		r = own_addresses_new(all->loop, all->kernel, cookie, &netns->addresses);
	if (r < 0) {
		if (netns)
			free(netns->owner);
		free(netns);
		return r;
	}
	netns->all = all;
	netns->cookie = cookie;
	netns->ready = -EINPROGRESS;
	list_append(&all->list, &netns->node);
	*ret_netns = netns;
	return 0;
}

int netns_hold(struct namespaces *all, uint64_t cookie, const char *owner, struct netns **ret_netns)
{
	struct netns *netns = netns_find(all, cookie);
	int r;

	if (!netns) {
		r = netns_new(all, cookie, owner, &netns);
		if (r < 0)
			return r;
	}
	*ret_netns = netns;
	if (!owner != !netns->owner || (owner && strcmp(owner, netns->owner)))
		return -EBUSY;
	netns->holders++;
	return 0;
}

void netns_release(struct netns *netns)
{
	int r = 0;

	if (!netns || --netns->holders > 0)
		return;
	if (netns->published)
		r = kernel_netns_remove(netns->all->kernel, netns->cookie);
	if (r < 0)
		log_error("cannot remove the entry of a network namespace", LOG_F("netns_cookie", LOG_U64(netns->cookie)),
			  LOG_F("error", LOG_STR(strerror(-r))));
	own_addresses_free(netns->addresses);
	netns_free(netns);
}

static int write_entry(struct netns *netns)
{
	const struct workloads_callbacks *callbacks = netns->all->callbacks;
	struct owner owner = { .flags = OWNER_SHARED };
	int r;

	if (netns->owner) {
		owner = (struct owner){ .node = callbacks->node_id(netns->owner, callbacks->arg) };
		if (owner.node == 0)
			return -E2BIG;
	}
	owner.flags |= netns->foreign ? OWNER_FOREIGN : 0;
	r = kernel_netns_set(netns->all->kernel, netns->cookie, &owner);
	netns->published |= r == 0;
	return r;
}

int netns_publish(struct netns *netns)
{
	netns->wanted = true;
	return netns->published || netns->ready == -EINPROGRESS ? 0 : write_entry(netns);
}

int netns_adopt(struct netns *netns)
{
	struct owner before;

	if (!netns->published && kernel_netns_get(netns->all->kernel, netns->cookie, &before) == 0)
		netns->foreign = before.flags & OWNER_FOREIGN;
	netns->wanted = true;
	return netns->published ? 0 : write_entry(netns);
}

int netns_redirects(struct netns *netns, const struct redirects *found)
{
	const char *text = redirects_text(found), *before = redirects_text(&netns->redirects);
	const bool changed = netns->foreign != (text != NULL);

	if (text && (!before || strcmp(before, text)))
		log_warn("foreign-redirect: rules of another proxy, of App Mesh's Envoy maybe, redirect connections of a workload's network "
			 "namespace. What is for weft-proxy is refused there until they are gone",
			 LOG_F("netns_cookie", LOG_U64(netns->cookie)), LOG_F("node", LOG_STR(netns->owner)), LOG_F("rules", LOG_STR(text)));
	else if (!text && netns->foreign)
		log_info("no other proxy's rules are in the network namespace any more", LOG_F("netns_cookie", LOG_U64(netns->cookie)),
			 LOG_F("node", LOG_STR(netns->owner)));
	netns->redirects = *found;
	netns->foreign = text != NULL;
	return changed ? netns_refresh(netns) : 0;
}

int netns_refresh(struct netns *netns)
{
	return netns->published ? write_entry(netns) : 0;
}

static void on_ready(int ready, void *arg)
{
	struct netns *netns = arg;
	struct namespaces *all = netns->all;
	int r;

	netns->ready = ready;
	/* Also where some address did not fit: being refused one's own address is better than passing unasked. */
	r = netns->wanted ? netns_publish(netns) : 0;
	if (r < 0)
		log_error("cannot write the entry of a network namespace", LOG_F("netns_cookie", LOG_U64(netns->cookie)),
			  LOG_F("error", LOG_STR(strerror(-r))));
	all->ready(all->arg);
}

int netns_follow(struct netns *netns, int *route_fd)
{
	int r;

	if (netns->followed)
		return 0;
	r = own_addresses_follow(netns->addresses, *route_fd, on_ready, netns);
	if (r < 0)
		return r;
	*route_fd = -1;
	netns->followed = true;
	if (netns->wanted)
		netns->all->callbacks->changed(netns->all->callbacks->arg);
	return 0;
}
