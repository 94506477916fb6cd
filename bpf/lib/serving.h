/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Limits of listeners, where connections come in. A place is taken when a SYN gets a request socket, by the window of its time; it
 * becomes one of `open` when the connection is established, and is given back once, by whoever removes the socket's entry in
 * w_served. Whether one is left is asked before that, by the lookup of the listener, which can refuse.
 *
 * So `open` and handshakes together are at most maxConnections, and one more for each other CPU that was between question and place
 * at the same moment. Handshakes that take longer than their window, and those that hold no place (SYN cookies, TCP Fast Open), may
 * come on top, one each. */
#pragma once

#include "count.h"
#include "ip.h"
#include "maps/abi/config.h"
#include "maps/abi/serving.h"

/* Whether some listener of this node is of one of these sorts: SERVING_*. */
static __always_inline bool serving_any(__u32 sorts)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);

	return config && READ_ONCE(config->serving) & sorts;
}

/* The listener's place; NULL: it has no limit. */
static __always_inline struct serving *serving_of(__u64 netns_cookie, const struct ip *address, __be16 port, __u32 *ret_place)
{
	struct serving_key key = { .netns_cookie = netns_cookie, .address = *address, .port = port };
	const __u32 *place = bpf_map_lookup_elem(&w_serving, &key);

	if (!place && !ip_is_loopback(address)) {
		key.address = (struct ip){};
		place = bpf_map_lookup_elem(&w_serving, &key);
	}
	if (!place)
		return NULL;
	*ret_place = *place;
	return bpf_map_lookup_elem(&w_serving_place, ret_place);
}

static __always_inline __u32 handshake_window(__u64 now_ns)
{
	return now_ns / HANDSHAKE_WINDOW_NS;
}

/* How many of this word count at a time. */
static __always_inline __u32 handshakes_of(__u64 word, __u32 window)
{
	return window - (__u32)(word >> 32) <= 1 ? (__u32)word : 0;
}

#define HANDSHAKE_TRIES 16 /* each one more only where another CPU was faster */

/* A SYN is answered. */
static __always_inline void serving_begin(struct serving *serving, __u64 now_ns)
{
	const __u32 window = handshake_window(now_ns);
	__u64 *word = &serving->handshakes[window & 1];

	for (int i = 0; i < HANDSHAKE_TRIES; i++) {
		const __u64 was = READ_ONCE(*word);
		const __u64 now = was >> 32 == window ? was + 1 : (__u64)window << 32 | 1;

		if (__sync_bool_compare_and_swap(word, was, now))
			return;
	}
}

static __always_inline bool handshake_take(__u64 *word, __u32 window)
{
	for (int i = 0; i < HANDSHAKE_TRIES; i++) {
		const __u64 was = READ_ONCE(*word);

		if (!handshakes_of(was, window))
			return false;
		if (__sync_bool_compare_and_swap(word, was, was - 1))
			return true;
	}
	return false;
}

/* A handshake is completed: of which window is not known, so it is taken for one of the earlier. Counted as open first, so that the sum
 * is never too small. */
static __always_inline void serving_established(struct serving *serving, __u32 place, __u64 cookie, __u64 now_ns)
{
	const struct served served = { .place = place, .incarnation = serving->incarnation };
	const __u32 window = handshake_window(now_ns);

	if (bpf_map_update_elem(&w_served, &cookie, &served, BPF_NOEXIST)) {
		count_stat(STAT_SERVED_UNCOUNTED);
	} else {
		ADD(serving->open, 1);
		ADD(serving->accepted, 1);
	}
	if (!handshake_take(&serving->handshakes[(window & 1) ^ 1], window))
		handshake_take(&serving->handshakes[window & 1], window);
}

/* Gives back a place, if that is a listener's still. */
static __always_inline void serving_leave(const struct served *served)
{
	__u32 place = served->place;
	struct serving *serving = bpf_map_lookup_elem(&w_serving_place, &place);

	if (serving && serving->incarnation == served->incarnation)
		ADD(serving->open, -1);
}

/* An accepted socket is closed, or one that never had a place. */
static __always_inline void serving_ended(__u64 cookie)
{
	const struct served *entry = bpf_map_lookup_elem(&w_served, &cookie);
	struct served served;

	if (!entry)
		return;
	served = *entry;
	if (bpf_map_delete_elem(&w_served, &cookie) == 0)
		serving_leave(&served);
}

/* Whether there is a place for one more connection. */
static __always_inline bool serving_has_room(const struct serving *serving, __u64 now_ns)
{
	const __u32 window = handshake_window(now_ns), max = READ_ONCE(serving->max_connections);
	const __u64 under_way = (__u64)handshakes_of(READ_ONCE(serving->handshakes[0]), window) +
				handshakes_of(READ_ONCE(serving->handshakes[1]), window);

	return !max || READ_ONCE(serving->open) + under_way < max;
}
