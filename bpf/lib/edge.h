/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The table of connections without a socket of this host: looking up, taking a place, following TCP, letting go. Functions that are
 * not static are verified once and for themselves, whoever calls them: without that the paths through them would multiply.
 *
 * A place is found by the ends of a packet (w_edge_pair), in each form that the connection has on its way. Whoever changes
 * what a place stands for owns it by its state EDGE_BUSY, which is won by compare-and-swap; readers copy what they need and look
 * at the incarnation again afterwards. */
#pragma once

#include "claim.h"
#include "nat.h"
#include "maps/abi/edge.h"

#define EDGE_LOOKS 32 /* places looked at for a new connection: with one in two free, one more than two is seldom needed */
#define PORT_TRIES 16
#define EDGE_PORT_MIN 1024
#define MASQUERADE_PORT_MIN 61000 /* above what Linux gives its own sockets (net.ipv4.ip_local_port_range) */
#define ENOBUFS 105

struct translation { /* what becomes of a packet: one of its ends, and the port of the other */
	struct end from, to;
	__be16 other_from, other_to;
	enum nat_side side;
};

/* What is known of the packet at hand, beside the stack, which would be too small for all of it. A program at a device is not
 * interrupted by another one: they run with softirqs off. */
struct edge_work {
	struct packet packet;
	struct end from, to; /* what it is found by */
	struct translation translation;
	struct flow flow;
	struct draw draw;
	struct decision decision;
	bool exposed; /* else from an attached device */
	bool clashed; /* the last attempt from these ends */
};
WEFT_MAP(w_edge_work, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct edge_work, 1, 0);

static __always_inline struct edge_work *edge_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&w_edge_work, &zero);
}

static __always_inline __u64 edge_idle_ns(enum edge_state state)
{
	switch (state) {
#define X(symbol, idle_ns, text)                                                                                              \
	case EDGE_##symbol:                                                                                                    \
		return idle_ns;
		EDGE_STATES(X)
#undef X
	default:
		return 0;
	}
}

static __always_inline bool end_equal(const struct end *end, const struct ip *address, __be16 port)
{
	return end->port == port && ip_equal(&end->address, address);
}

/* --- pairs ----------------------------------------------------------------------------------------------------------------------- */

static __always_inline struct edge_pair pair_of(const struct ip *a, __be16 a_port, const struct ip *b, __be16 b_port)
{
	struct edge_pair pair = {};
	bool swap = a_port > b_port;

	if (a->halves[1] != b->halves[1])
		swap = a->halves[1] > b->halves[1];
	if (a->halves[0] != b->halves[0])
		swap = a->halves[0] > b->halves[0];
	pair.address[0] = swap ? *b : *a;
	pair.address[1] = swap ? *a : *b;
	pair.port[0] = swap ? b_port : a_port;
	pair.port[1] = swap ? a_port : b_port;
	return pair;
}

static __always_inline struct edge_pair outer_pair(const struct edge_connection *c)
{
	return pair_of(&c->client, c->client_port, &c->account.vip, c->account.vip_port);
}

static __always_inline struct edge_pair inner_pair(const struct edge_connection *c)
{
	return pair_of(&c->client, c->inner_port, &c->account.address, c->account.port);
}

static __always_inline struct edge_pair masquerade_pair(const struct edge_connection *c, __be16 port)
{
	return pair_of(&c->masquerade, port, &c->account.address, c->account.port);
}

/* A service that is exposed at the address of its endpoint: the packets need no other one. */
static __always_inline bool is_same_inside(const struct edge_connection *c)
{
	return c->inner_port == c->client_port && c->account.port == c->account.vip_port && ip_equal(&c->account.address, &c->account.vip);
}

static __always_inline bool pair_add(const struct edge_pair *pair, __u32 place)
{
	return !bpf_map_update_elem(&w_edge_pair, pair, &place, BPF_NOEXIST);
}

static __always_inline struct edge_connection *edge_at(__u32 place)
{
	return bpf_map_lookup_elem(&w_edge, &place);
}

static __always_inline struct edge_connection *edge_find(const struct end *a, const struct end *b, __u32 *ret_place)
{
	const struct edge_pair pair = pair_of(&a->address, a->port, &b->address, b->port);
	const __u32 *place = bpf_map_lookup_elem(&w_edge_pair, &pair);

	if (!place)
		return NULL;
	*ret_place = *place;
	return edge_at(*place);
}

/* --- the end of a connection --------------------------------------------------------------------------------------------------- */

static __always_inline __u64 without_fin(__u64 bytes, bool fin, __u32 end, __u32 acked)
{
	return bytes && fin && end == acked ? bytes - 1 : bytes;
}

/* Closes the account, once. */
__noinline int edge_account_close(__u32 place, __u64 now_ns, __u32 how, __u32 error)
{
	struct edge_connection *c = edge_at(place);
	struct ending e = { .now_ns = now_ns, .how = how, .error = error };
	__u64 took_ns;

	if (!c)
		return 0;
	if (c->account.established_ns) {
		took_ns = c->account.established_ns - c->account.connect_ns;
		e.bytes_sent = without_fin(c->bytes_sent, c->flags & EDGE_CLIENT_FIN, c->sent_end, c->sent_acked);
		e.bytes_received = without_fin(c->bytes_received, c->flags & EDGE_ENDPOINT_FIN, c->received_end, c->received_acked);
		e.rtt_us = took_ns / 1000;
		e.retransmits = c->retransmits;
	}
	account_close(&c->account, EDGE_HOLDER, &e);
	return 0;
}

/* What an entry says of its connection that is let go in this state without having ended. What the endpoint is not to blame for counts
 * as given up: it answered, or the table was too small. */
static __always_inline enum flow_close how_silent(enum edge_state state, bool evicted)
{
	switch (state) {
	case EDGE_CLOSING:
		return FLOW_CLOSED;
	case EDGE_SYN_SENT:
		return evicted ? FLOW_CONNECT_ABANDONED : FLOW_CONNECT_TIMED_OUT;
	case EDGE_SYN_ANSWERED:
		return FLOW_CONNECT_ABANDONED;
	default:
		return FLOW_ABORTED;
	}
}

/* The caller has made it EDGE_BUSY, and keeps it so. */
__noinline int edge_take_apart(__u32 place)
{
	struct edge_connection *c = edge_at(place);
	struct edge_pair pair;

	if (!c)
		return 0;
	pair = outer_pair(c);
	bpf_map_delete_elem(&w_edge_pair, &pair);
	if (!is_same_inside(c)) {
		pair = inner_pair(c);
		bpf_map_delete_elem(&w_edge_pair, &pair);
	}
	if (c->masquerade_port) {
		pair = masquerade_pair(c, c->masquerade_port);
		bpf_map_delete_elem(&w_edge_pair, &pair);
	}
	__sync_fetch_and_add(&c->incarnation, 1);
	return 0;
}

static __always_inline bool edge_seize(struct edge_connection *c, enum edge_state state)
{
	return __sync_val_compare_and_swap(&c->state, state, EDGE_BUSY) == state;
}

/* Nobody else has it from here on. */
static __always_inline void edge_let_go(struct edge_connection *c)
{
	__sync_lock_test_and_set(&c->state, EDGE_FREE);
}

/* --- a place for a new one ----------------------------------------------------------------------------------------------------- */

struct place_search {
	__u64 now_ns;
	__u64 worst_idle_ns;
	__u32 first;
	__u32 taken; /* MAX_EDGE_CONNECTIONS: none yet */
	__u32 worst; /* the one to evict, likewise */
	enum edge_state worst_state;
};

static __always_inline void edge_silence(__u32 place, enum edge_state state, __u64 now_ns, bool evicted)
{
	if (state != EDGE_CLOSED)
		edge_account_close(place, now_ns, how_silent(state, evicted), evicted ? ENOBUFS : ETIMEDOUT);
	edge_take_apart(place);
}

static long look_at_place(__u32 index, void *arg)
{
	struct place_search *search = arg;
	const __u32 place = (search->first + index) & (MAX_EDGE_CONNECTIONS - 1);
	struct edge_connection *c = edge_at(place);
	enum edge_state state;
	__u64 idle_ns;

	if (!c)
		return 1;
	state = READ_ONCE(c->state);
	idle_ns = search->now_ns - READ_ONCE(c->seen_ns);
	if (state == EDGE_BUSY || (__s64)idle_ns < 0)
		return 0;
	if (state == EDGE_FREE || idle_ns >= edge_idle_ns(state)) {
		if (!edge_seize(c, state))
			return 0;
		if (state != EDGE_FREE) {
			edge_silence(place, state, search->now_ns, false);
			count_stat(STAT_EDGE_EXPIRED);
		}
		search->taken = place;
		return 1;
	}
	if (state >= EDGE_HALF_CLOSED && idle_ns < EDGE_EVICT_IDLE_NS)
		return 0;
	if (search->worst == MAX_EDGE_CONNECTIONS || state < search->worst_state ||
	    (state == search->worst_state && idle_ns > search->worst_idle_ns)) {
		search->worst = place;
		search->worst_state = state;
		search->worst_idle_ns = idle_ns;
	}
	return 0;
}

/* A place of its own for the caller, EDGE_BUSY. MAX_EDGE_CONNECTIONS: all that were looked at are in use, and none may go. */
__noinline __u32 edge_take_place(__u64 now_ns)
{
	struct place_search search = { .now_ns = now_ns, .taken = MAX_EDGE_CONNECTIONS, .worst = MAX_EDGE_CONNECTIONS };
	__u32 zero = 0;
	struct edge_hand *hand = bpf_map_lookup_elem(&w_edge_hand, &zero);
	struct edge_connection *c;

	if (!hand)
		return MAX_EDGE_CONNECTIONS;
	/* on by one alone: most often the first one looked at is free; where it is not, it lies behind the hand by now */
	search.first = __sync_fetch_and_add(&hand->next, 1);
	bpf_loop(EDGE_LOOKS, look_at_place, &search, 0);
	if (search.taken != MAX_EDGE_CONNECTIONS)
		return search.taken;
	c = search.worst == MAX_EDGE_CONNECTIONS ? NULL : edge_at(search.worst);
	if (!c || !edge_seize(c, search.worst_state))
		return MAX_EDGE_CONNECTIONS;
	edge_silence(search.worst, search.worst_state, now_ns, true);
	count_stat(STAT_EDGE_EVICTED);
	return search.worst;
}

/* --- following TCP ------------------------------------------------------------------------------------------------------------- */

/* The higher of two sequence numbers stays. False: `to` is not above what was there, so this was sent before. */
static __always_inline bool raise(__u32 *end, __u32 to)
{
	for (int i = 0; i < 4; i++) {
		const __u32 was = READ_ONCE(*end);

		if ((__s32)(to - was) <= 0)
			return false;
		if (__sync_val_compare_and_swap(end, was, to) == was)
			return true;
	}
	return true;
}

/* Counts what is newly acknowledged. An acknowledgement of what was never sent is nobody's. */
static __always_inline void acknowledge(__u32 *acked, __u64 *bytes, __u32 end, __u32 to)
{
	const __u32 was = READ_ONCE(*acked);

	if ((__s32)(to - was) > 0 && (__s32)(to - end) <= 0 && __sync_val_compare_and_swap(acked, was, to) == was)
		ADD(*bytes, to - was);
}

static __always_inline void edge_end(struct edge_connection *c, __u32 place, enum edge_state state, __u64 now_ns, enum flow_close how,
				     __u8 error)
{
	if (__sync_val_compare_and_swap(&c->state, state, EDGE_CLOSED) == state)
		edge_account_close(place, now_ns, how, error);
}

/* Both sides may do so at once: whoever is second sees both flags, and finds the state as the first left it. */
static __always_inline void note_fin(struct edge_connection *c, __u32 side)
{
	const __u32 both = EDGE_CLIENT_FIN | EDGE_ENDPOINT_FIN;

	if (!(READ_ONCE(c->flags) & side))
		__sync_fetch_and_or(&c->flags, side);
	for (int i = 0; i < 3; i++) {
		const enum edge_state state = READ_ONCE(c->state);
		const enum edge_state next = (READ_ONCE(c->flags) & both) == both ? EDGE_CLOSING : EDGE_HALF_CLOSED;

		if (state < EDGE_CLOSING || state == next || __sync_val_compare_and_swap(&c->state, state, next) == state)
			return;
	}
}

static __always_inline void end_if_done(struct edge_connection *c, __u32 place, __u64 now_ns)
{
	if (READ_ONCE(c->state) == EDGE_CLOSING && READ_ONCE(c->sent_end) == READ_ONCE(c->sent_acked) &&
	    READ_ONCE(c->received_end) == READ_ONCE(c->received_acked))
		edge_end(c, place, EDGE_CLOSING, now_ns, FLOW_CLOSED, 0);
}

static __always_inline __u32 sequence_end(const struct packet *p)
{
	return bpf_ntohl(p->tcp.start.sequence) + p->payload_bytes + !!(p->tcp.flags & TCP_SYN) + !!(p->tcp.flags & TCP_FIN);
}

static __always_inline bool has_sequence(const struct packet *p)
{
	return p->payload_bytes || p->tcp.flags & (TCP_SYN | TCP_FIN);
}

__noinline int edge_established(__u32 place, __u64 now_ns)
{
	struct edge_connection *c = edge_at(place);

	if (c)
		account_established(&c->account, now_ns);
	return 0;
}

/* A packet from the client. */
static __always_inline void edge_follow_client(struct edge_connection *c, __u32 place, const struct packet *p, __u64 now_ns)
{
	const enum edge_state state = READ_ONCE(c->state);
	const __u8 flags = p->tcp.flags;

	c->seen_ns = now_ns;
	if (state < EDGE_CLOSING)
		return;
	if (state == EDGE_SYN_SENT && flags & TCP_SYN && c->sent_acked != bpf_ntohl(p->tcp.start.sequence) + 1) {
		/* the client gave up, and tries again from the same port */
		c->sent_end = sequence_end(p);
		c->sent_acked = bpf_ntohl(p->tcp.start.sequence) + 1;
	} else if (has_sequence(p) && !raise(&c->sent_end, sequence_end(p))) {
		__sync_fetch_and_add(&c->retransmits, 1);
	}
	if (flags & TCP_RST) {
		edge_end(c, place, state, now_ns, c->account.established_ns ? FLOW_ABORTED : FLOW_CONNECT_ABANDONED, 0);
		return;
	}
	if (!(flags & TCP_ACK) || state == EDGE_SYN_SENT)
		return;
	acknowledge(&c->received_acked, &c->bytes_received, READ_ONCE(c->received_end), bpf_ntohl(p->tcp.acknowledged));
	if (state == EDGE_SYN_ANSWERED && __sync_val_compare_and_swap(&c->state, state, EDGE_ESTABLISHED) == state)
		edge_established(place, now_ns);
	if (flags & TCP_FIN)
		note_fin(c, EDGE_CLIENT_FIN);
	end_if_done(c, place, now_ns);
}

/* A client may be connected to the endpoint directly, past the table, from the very port that it uses for a connection that is decided:
 * to the endpoint the two are one. It then answers the SYN with anything but a SYN or a reset of this SYN; that, and all else that it
 * says, is meant for the connection that it knows, and passes as it is. The SYN that the client sends again gets another port. */
static __always_inline bool edge_clashes(struct edge_connection *c, __u32 place, const struct packet *p, __u64 now_ns)
{
	const __u8 flags = p->tcp.flags;
	const bool answers = flags & TCP_ACK && bpf_ntohl(p->tcp.acknowledged) == c->sent_acked;

	if (READ_ONCE(c->state) != EDGE_SYN_SENT || (flags & TCP_SYN && answers) || (flags & TCP_RST && answers))
		return READ_ONCE(c->flags) & EDGE_CLASH;
	__sync_fetch_and_or(&c->flags, EDGE_CLASH);
	edge_end(c, place, EDGE_SYN_SENT, now_ns, FLOW_CONNECT_ABANDONED, EADDRNOTAVAIL);
	count_stat(STAT_EDGE_CLASHES);
	return true;
}

/* A packet from the endpoint. */
static __always_inline void edge_follow_endpoint(struct edge_connection *c, __u32 place, const struct packet *p, __u64 now_ns)
{
	const enum edge_state state = READ_ONCE(c->state);
	const __u8 flags = p->tcp.flags;

	c->seen_ns = now_ns;
	if (state < EDGE_CLOSING)
		return;
	if (flags & TCP_RST) {
		if (c->account.established_ns)
			edge_end(c, place, state, now_ns, FLOW_RESET_BY_PEER, ECONNRESET);
		else
			edge_end(c, place, state, now_ns, state == EDGE_SYN_SENT ? FLOW_CONNECT_REFUSED : FLOW_CONNECT_FAILED, ECONNREFUSED);
		return;
	}
	if (!(flags & TCP_ACK))
		return;
	if (state == EDGE_SYN_SENT) {
		if (!(flags & TCP_SYN))
			return;
		c->received_end = sequence_end(p);
		c->received_acked = bpf_ntohl(p->tcp.start.sequence) + 1;
		__sync_val_compare_and_swap(&c->state, state, EDGE_SYN_ANSWERED);
	} else if (has_sequence(p)) {
		raise(&c->received_end, sequence_end(p));
	}
	acknowledge(&c->sent_acked, &c->bytes_sent, READ_ONCE(c->sent_end), bpf_ntohl(p->tcp.acknowledged));
	if (flags & TCP_FIN && state != EDGE_SYN_SENT)
		note_fin(c, EDGE_ENDPOINT_FIN);
	end_if_done(c, place, now_ns);
}

/* --- the way of a packet --------------------------------------------------------------------------------------------------------- */

enum leg {
	LEG_NONE, /* of another connection, or not to be changed here */
	LEG_ASK, /* client -> asked, coming in */
	LEG_RETURN, /* endpoint -> masquerade, coming in */
	LEG_ANSWER, /* endpoint -> client, going out */
	LEG_ONWARD, /* client -> endpoint, going out, and maybe to be masqueraded */
};

static __always_inline enum leg leg_in(const struct edge_connection *c, const struct end *from, const struct end *to)
{
	if (end_equal(from, &c->client, c->client_port) && end_equal(to, &c->account.vip, c->account.vip_port))
		return LEG_ASK;
	if (c->masquerade_port && end_equal(from, &c->account.address, c->account.port) &&
	    end_equal(to, &c->masquerade, c->masquerade_port))
		return LEG_RETURN;
	return LEG_NONE;
}

static __always_inline enum leg leg_out(const struct edge_connection *c, const struct end *from, const struct end *to)
{
	if (end_equal(from, &c->account.address, c->account.port) && end_equal(to, &c->client, c->inner_port))
		return LEG_ANSWER;
	if (c->flags & EDGE_EXPOSED && end_equal(from, &c->client, c->inner_port) &&
	    end_equal(to, &c->account.address, c->account.port))
		return LEG_ONWARD;
	return LEG_NONE;
}

static __always_inline void translate_in(const struct edge_connection *c, enum leg leg, struct translation *t)
{
	t->side = NAT_DESTINATION;
	t->other_from = t->other_to = 0;
	if (leg == LEG_ASK) {
		t->from = (struct end){ c->account.vip, c->account.vip_port };
		t->to = (struct end){ c->account.address, c->account.port };
		t->other_from = c->client_port;
		t->other_to = c->inner_port;
	} else {
		t->from = (struct end){ c->masquerade, c->masquerade_port };
		t->to = (struct end){ c->client, c->inner_port };
	}
}

static __always_inline void translate_out(const struct edge_connection *c, enum leg leg, struct translation *t)
{
	t->side = NAT_SOURCE;
	t->other_from = t->other_to = 0;
	if (leg == LEG_ANSWER) {
		t->from = (struct end){ c->account.address, c->account.port };
		t->to = (struct end){ c->account.vip, c->account.vip_port };
		t->other_from = c->inner_port;
		t->other_to = c->client_port;
	} else {
		t->from = (struct end){ c->client, c->inner_port };
		t->to = (struct end){ c->masquerade, c->masquerade_port };
	}
}

static __always_inline bool translate(struct __sk_buff *skb, const struct packet *p, const struct translation *t)
{
	const enum nat_side other = t->side == NAT_SOURCE ? NAT_DESTINATION : NAT_SOURCE;

	return nat_tcp(skb, p, t->side, &t->from, &t->to) &&
	       set_port(skb, p->l4, p->l4 + TCP_CHECKSUM, other, t->other_from, t->other_to);
}

/* An ICMP error about a packet of the other direction. */
static __always_inline bool translate_error(struct __sk_buff *skb, const struct packet *p, const struct translation *t)
{
	const enum nat_side other = t->side == NAT_SOURCE ? NAT_DESTINATION : NAT_SOURCE;
	const struct ip *own = t->side == NAT_SOURCE ? &p->source : &p->destination;

	/* Who tells the error may be any router; only where it is the end itself is that another address as well. */
	return nat_quote(skb, p, other, &t->from, &t->to) &&
	       set_port(skb, p->quote_l4, p->l4 + ICMP_CHECKSUM, t->side, t->other_from, t->other_to) &&
	       (!ip_equal(own, &t->from.address) || nat_error(skb, p, t->side, own, &t->to.address));
}
