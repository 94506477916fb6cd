/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/redirect_rounds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/own_address.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/time.h"

struct look {
	uint64_t cookie;
	int netns_fd, r;
	struct redirects redirects;
};

struct round { /* of the offload thread while it is under way */
	struct redirect_rounds *rounds; /* NULL: they are gone */
	size_t count;
	struct look looks[];
};

struct redirect_rounds {
	struct workloads *all;
	struct loop_timer *timer;
	struct round *round; /* under way; NULL: none is */
};

static void round_free(struct round *round)
{
	for (size_t i = 0; i < round->count; i++)
		fd_close(round->looks[i].netns_fd);
	free(round);
}

static void round_work(void *arg)
{
	struct round *round = arg;

	for (size_t i = 0; i < round->count; i++)
		round->looks[i].r = redirects_look(round->looks[i].netns_fd, &round->looks[i].redirects);
}

static void look_take(const struct redirect_rounds *rounds, const struct look *look)
{
	struct netns *netns = netns_find(&rounds->all->namespaces, look->cookie);
	int r = look->r;

	if (!netns || r == -EAGAIN) /* the rules change just now: the next round */
		return;
	if (r == 0)
		r = netns_redirects(netns, &look->redirects);
	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "cannot look for redirections of another proxy in a workload's network namespace",
			    LOG_F("netns_cookie", LOG_U64(look->cookie)), LOG_F("error", LOG_STR(strerror(-r))));
}

static void round_done(void *arg)
{
	struct round *round = arg;
	struct redirect_rounds *rounds = round->rounds;

	for (size_t i = 0; rounds && i < round->count; i++)
		look_take(rounds, &round->looks[i]);
	if (rounds) {
		rounds->round = NULL;
		loop_timer_arm(rounds->timer, loop_now_ns(rounds->all->loop) + REDIRECT_ROUND_NS);
	}
	round_free(round);
}

static void on_timer(struct loop_timer *timer, void *arg)
{
	struct redirect_rounds *rounds = arg;
	struct namespaces *namespaces = &rounds->all->namespaces;
	struct round *round;
	size_t count = 0;

	list_for_each(it, &namespaces->list)
		count++;
	loop_timer_arm(timer, loop_now_ns(rounds->all->loop) + REDIRECT_ROUND_NS);
	round = count ? calloc(1, sizeof(*round) + count * sizeof(*round->looks)) : NULL;
	if (!round)
		return;
	round->rounds = rounds;
	list_for_each(it, &namespaces->list) {
		const struct netns *netns = container_of(it, struct netns, node);
		const int fd = own_addresses_netns_fd(netns->addresses);

		if (fd >= 0) /* else we are not in there yet, and the first look is under way */
			round->looks[round->count++] = (struct look){ .cookie = netns->cookie, .netns_fd = fd, .redirects = netns->redirects };
	}
	if (offload_submit(rounds->all->offload, round_work, round_done, round) < 0) {
		round_free(round);
		return;
	}
	rounds->round = round;
	loop_timer_disarm(timer);
}

int redirect_rounds_new(struct workloads *all, struct redirect_rounds **ret_rounds)
{
	struct redirect_rounds *rounds = calloc(1, sizeof(*rounds));
	int r = rounds ? loop_timer_new(all->loop, on_timer, rounds, &rounds->timer) : -ENOMEM;

	if (r < 0) {
		free(rounds);
		return r;
	}
	rounds->all = all;
	loop_timer_arm(rounds->timer, loop_now_ns(all->loop) + REDIRECT_ROUND_NS);
	*ret_rounds = rounds;
	return 0;
}

struct redirect_rounds *redirect_rounds_free(struct redirect_rounds *rounds)
{
	if (!rounds)
		return NULL;
	if (rounds->round)
		rounds->round->rounds = NULL;
	loop_timer_free(rounds->timer);
	free(rounds);
	return NULL;
}
