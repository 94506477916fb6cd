/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"

static void place_unwatch(struct place *place)
{
	place->io = loop_io_remove(place->io);
	place->pidfd = fd_close(place->pidfd);
}

void place_free(struct place *place)
{
	list_remove(&place->node);
	place_unwatch(place);
	free(place);
}

void place_leave(struct place *place)
{
	netns_release(place->netns);
	place_free(place);
}

static void on_witness_ended(struct loop_io *io, uint32_t events, void *arg)
{
	struct place *place = arg;

	(void)io;
	(void)events;
	place_unwatch(place);
	entry_look(place->entry);
}

/* Takes the handle of a process in it, when none is watched. */
static int place_watch(struct place *place, int *pidfd)
{
	int r;

	if (place->pidfd >= 0 || *pidfd < 0)
		return 0;
	r = loop_io_add(place->entry->all->loop, *pidfd, EPOLLIN, on_witness_ended, place, &place->io);
	if (r < 0)
		return r;
	place->pidfd = TAKE_FD(*pidfd);
	return 0;
}

struct place *place_find(const struct entry *entry, uint64_t cookie)
{
	list_for_each(it, &entry->places) {
		struct place *place = container_of(it, struct place, node);

		if (place->netns->cookie == cookie)
			return place;
	}
	return NULL;
}

/* Somebody that holds the namespace, for the message. */
static const struct entry *holder_of(const struct entry *entry, uint64_t cookie)
{
	const struct list *lists[] = { &entry->all->running, &entry->all->pending };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		list_for_each(it, lists[i]) {
			const struct entry *other = container_of(it, struct entry, node);

			if (other != entry && entry_in_netns(other, cookie))
				return other;
		}
	return NULL;
}

int place_new(struct entry *entry, uint64_t cookie, struct place **ret_place, struct error *err)
{
	const struct workload *w = &entry->record.workload;
	struct place *place = malloc(sizeof(*place));
	struct netns *netns;
	int r;

	if (!place)
		return error_set(err, -ENOMEM, "out of memory");
	r = netns_hold(&entry->all->namespaces, cookie, w->own_netns ? w->node : NULL, &netns);
	if (r == -EBUSY) {
		const struct entry *holder = holder_of(entry, cookie);

		free(place);
		if (netns->owner)
			return error_set(err, r, "the network namespace acts as '%s' already", netns->owner);
		return error_set(err, r, "the network namespace is shared: the cgroup '%s' acts as '%s' in it",
				 holder ? holder->record.workload.cgroup : "-", holder ? holder->record.workload.node : "-");
	}
	if (r < 0) {
		free(place);
		return error_set(err, r, "cannot hold a network namespace: %s", strerror(-r));
	}
	*place = (struct place){ .entry = entry, .netns = netns, .pidfd = -1, .seen = true };
	list_append(&entry->places, &place->node);
	*ret_place = place;
	return 0;
}

int place_take(struct entry *entry, struct probe_netns *found, struct error *err)
{
	struct place *place = place_find(entry, found->cookie);
	const bool known = place;
	int r;

	if (!known) {
		r = place_new(entry, found->cookie, &place, err);
		if (r < 0)
			return r;
	}
	place->own |= found->pid == 0;
	place->seen = true;
	place->misses = 0;
	r = found->redirects_known ? netns_redirects(place->netns, &found->redirects) : 0;
	if (r == 0)
		r = netns_follow(place->netns, &found->route_fd);
	if (r == 0)
		r = place_watch(place, &found->pidfd);
	if (r == 0 && entry->running)
		r = netns_publish(place->netns);
	if (r == 0)
		return 0;
	if (!known)
		place_leave(place);
	return error_set(err, r, "cannot follow a network namespace: %s", strerror(-r));
}
