// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Connections that begin where this host has no socket: the same decision as in connect(), at the device that their packets come in
 * by; see maps/abi/edge.h for what becomes of their addresses. On a device that services are exposed on everything else is none of
 * our business; what comes from an attached one is the traffic of a node, and meets the mesh's egress filter. */
#include "lib/edge.h"
#include "lib/passed.h"
#include "lib/reset.h"
#include "lib/standing.h"
#include "lib/upgrading.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { /* no verdicts yet */
	EDGE_DECIDE = -2,
	EDGE_RESET = -3,
};

static __always_inline bool is_new(const struct packet *p)
{
	return (p->tcp.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* The service's address and port in place of an exposed one; the source that calls. False: nothing is exposed there. */
static __always_inline bool flow_of(const struct packet *p, const struct edge_device *device, struct flow *flow)
{
	const struct exposed_key key = { .address = p->destination, .port = p->tcp.start.destination };
	const struct exposed *exposed;

	*flow = (struct flow){
		.is_tcp = 1, .flags = FLOW_NO_SOCKET, .node = device->node, .destination = p->destination, .port = p->tcp.start.destination,
	};
	if (device->node)
		return true;
	exposed = bpf_map_lookup_elem(&w_exposed, &key);
	if (!exposed)
		return false;
	flow->node = exposed->node;
	flow->destination = exposed->vip;
	flow->port = exposed->port;
	return true;
}

/* Makes the connection known by its ends. The endpoint may know these ends already, by another connection that the same client made to
 * another address: then it gets to see another port. Otherwise the client's own, which is not used again before its time: a port drawn at
 * random would often meet an earlier connection that waits for its end there (TIME-WAIT). */
static __always_inline enum reason edge_add_pairs(struct edge_connection *c, __u32 place, bool clashed)
{
	struct edge_pair pair = outer_pair(c);

	if (!pair_add(&pair, place))
		return REASON_NO_MEMORY;
	if (is_same_inside(c))
		return REASON_ROUTED;
	for (int i = clashed; i < PORT_TRIES; i++) {
		if (i)
			c->inner_port = bpf_htons(EDGE_PORT_MIN + scale(bpf_get_prandom_u32(), 65536 - EDGE_PORT_MIN));
		pair = inner_pair(c);
		if (pair_add(&pair, place))
			return REASON_ROUTED;
	}
	pair = outer_pair(c);
	bpf_map_delete_elem(&w_edge_pair, &pair);
	return REASON_EDGE_NO_PORT;
}

/* Decides a new connection. The reason. */
__noinline int edge_decide(__u32 index)
{
	const struct edge_device *device = bpf_map_lookup_elem(&w_edge_device, &index);
	struct edge_work *work = edge_work();

	if (!work || !device)
		return REASON_UNMANAGED;
	work->decision = (struct decision){};
	if (!flow_of(&work->packet, device, &work->flow))
		return REASON_UNMANAGED;
	work->exposed = !device->node;
	work->draw = draw_words();
	decide(&work->flow, &work->draw, bpf_ktime_get_ns(), &work->decision);
	return work->decision.reason;
}

static __always_inline void edge_fill(struct edge_connection *c, const struct edge_work *work, __u64 now_ns)
{
	const struct packet *p = &work->packet;

	c->account.vip = p->destination;
	c->account.vip_port = p->tcp.start.destination;
	c->client = p->source;
	c->masquerade = (struct ip){};
	c->client_port = c->inner_port = p->tcp.start.source;
	c->masquerade_port = 0;
	c->service_port = work->flow.port;
	c->seen_ns = now_ns;
	c->bytes_sent = c->bytes_received = 0;
	c->sent_end = bpf_ntohl(p->tcp.start.sequence); /* the SYN is counted as it goes on */
	c->sent_acked = c->sent_end + 1;
	c->received_end = c->received_acked = 0;
	c->retransmits = 0;
	c->flags = work->exposed ? EDGE_EXPOSED : 0;
}

/* Fills a place that is the caller's, and gives it away: to the connection that was decided, or back. The reason. */
__noinline int edge_open(__u32 place)
{
	const __u64 now_ns = bpf_ktime_get_ns();
	struct edge_connection *c = edge_at(place);
	struct edge_work *work = edge_work();
	enum reason reason;

	if (!work || !c)
		return REASON_EDGE_FULL;
	reason = claim(&c->account, EDGE_HOLDER, &work->flow, &work->draw, now_ns, &work->decision);
	if (reason_verdict(reason) != VERDICT_ROUTE) {
		edge_let_go(c);
		return reason;
	}
	edge_fill(c, work, now_ns);
	if (!work->exposed && ip_equal(&c->client, &c->account.address))
		reason = REASON_EDGE_SELF; /* its own address as the source is what no host takes */
	else
		reason = edge_add_pairs(c, place, work->clashed);
	if (reason != REASON_ROUTED) {
		edge_account_close(place, now_ns, FLOW_CONNECT_ABANDONED, 0);
		edge_let_go(c);
		return reason;
	}
	__sync_lock_test_and_set(&c->state, EDGE_SYN_SENT);
	return c->account.reason;
}

static __always_inline struct edge_passed_key passed_key_of(const struct packet *p)
{
	return (struct edge_passed_key){
		.client = p->source, .destination = p->destination, .client_port = p->tcp.start.source, .port = p->tcp.start.destination,
	};
}

/* Keeps in mind that the egress filter has let it out, or forgets what was of these ends before. Not inlined: its key and value are large. */
static __noinline void edge_note(const struct edge_work *work, enum reason reason)
{
	const struct edge_passed_key key = passed_key_of(&work->packet);
	const struct passed noted = {
		.connect_ns = bpf_ktime_get_ns(),
		.generation = work->decision.generation,
		.source = work->flow.node,
		.address = key.destination,
		.port = key.port,
		.reason = reason,
	};

	if (!passed_by_filter(reason))
		bpf_map_delete_elem(&w_edge_passed, &key);
	else if (bpf_map_update_elem(&w_edge_passed, &key, &noted, BPF_ANY))
		count_stat(STAT_PASSED_UNNOTED);
}

/* Counts and tells what is not routed. */
__noinline int edge_tell(__u32 reason)
{
	struct edge_work *work = edge_work();

	if (!work || reason == REASON_ROUTED || reason == REASON_UNMANAGED)
		return 0;
	if (!work->exposed)
		edge_note(work, reason);
	count_reason(work->flow.node, work->decision.service, reason);
	if (reason_verdict(reason) < VERDICT_REFUSE || reason == REASON_PROBE)
		return 0;
	work->flow.destination = work->packet.destination;
	work->flow.port = work->packet.tcp.start.destination;
	work->decision.reason = reason;
	record_refusal(&work->flow, &work->decision, bpf_ktime_get_ns(), IPPROTO_TCP, 0);
	return 0;
}

/* Told once. */
static __noinline void passed_tell(struct passed *p, __u64 now_ns)
{
	const struct flow_record record = passed_end(p, now_ns);

	p->ended = 1;
	count_stat(STAT_POLICY_CHANGED);
	record_write(&record);
}

/* From an attached device, to no service: what passed before goes on, unless the egress filter let it out and would not any more. Then it ends
 * with the next packet of its client. Who resets it, or has sent the last of its data, ends it by itself. */
__noinline int edge_hold_to_filter(__u32 node_id)
{
	const struct edge_work *work = edge_work();
	const struct node_record *node;
	struct edge_passed_key key;
	struct passed *p, copy;
	bool audited = false;
	__u64 now_ns;

	if (!work)
		return TC_NEXT;
	key = passed_key_of(&work->packet);
	if (work->packet.tcp.flags & (TCP_RST | TCP_FIN)) {
		bpf_map_delete_elem(&w_edge_passed, &key);
		return TC_NEXT;
	}
	node = directory_node(generation_current(), node_id);
	p = node && policy_filter(node) != REASON_ALLOW_ALL ? bpf_map_lookup_elem(&w_edge_passed, &key) : NULL;
	if (!p || p->source != node_id)
		return TC_NEXT;
	copy = *p;
	now_ns = bpf_ktime_get_ns();
	if (passed_standing(&copy, now_ns, &audited) == STANDING_DENIED) {
		if (!copy.ended)
			passed_tell(p, now_ns);
		return EDGE_RESET;
	}
	if (audited && !copy.audited && copy.reason != REASON_AUDIT_NOT_IN_MESH) {
		p->audited = 1;
		count_stat(STAT_AUDIT_KEPT);
	}
	return TC_NEXT;
}

/* A packet of no connection that is known, on its way to something exposed or to a VIP: its sender learns at once that it is gone. */
static __always_inline int answer_unknown(const struct packet *p, const struct edge_device *device)
{
	const __u32 *service;
	struct flow flow;

	if (!flow_of(p, device, &flow))
		return TC_NEXT;
	service = bpf_map_lookup_elem(&w_vip, &flow.destination);
	if (!service)
		return device->node ? edge_hold_to_filter(device->node) : TC_NEXT;
	count_reason(flow.node, *service, REASON_EDGE_UNKNOWN);
	return EDGE_RESET;
}

/* What an attached device sends that is no whole TCP packet. A piece could hide a connection from the egress filter. */
static __always_inline int filter_other(const struct packet *p, const struct edge_device *device)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	const __u32 *service;

	if (p->kind == PACKET_MALFORMED || p->kind == PACKET_FIRST_FRAGMENT || p->kind == PACKET_FRAGMENT) {
		count_reason(device->node, 0, p->kind == PACKET_MALFORMED ? REASON_EDGE_MALFORMED : REASON_EDGE_FRAGMENT);
		return TC_DROP;
	}
	service = bpf_map_lookup_elem(&w_vip, &p->destination);
	if (service || (config && is_vip_network(&p->destination, config))) {
		count_reason(device->node, service ? *service : 0, REASON_VIP_NOT_TCP);
		return TC_DROP;
	}
	return TC_NEXT;
}

/* What is not of a connection that the table knows, coming in. */
static __always_inline int unknown_in(struct __sk_buff *skb, const struct packet *p)
{
	const __u32 index = skb->ifindex;
	const struct edge_device *device = bpf_map_lookup_elem(&w_edge_device, &index);
	struct flow flow;

	if (!device)
		return TC_NEXT;
	if (p->kind == PACKET_TCP && is_new(p))
		return EDGE_DECIDE;
	if (p->kind == PACKET_TCP)
		return answer_unknown(p, device);
	if (device->node)
		return filter_other(p, device);
	/* The rest of an exposed address's packet has no ports: without its beginning it comes to nothing. */
	if (p->kind != PACKET_FIRST_FRAGMENT || !flow_of(p, device, &flow))
		return TC_NEXT;
	count_reason(flow.node, 0, REASON_EDGE_FRAGMENT);
	return TC_DROP;
}

/* The two ends that a packet is found by: its own, or those of the packet that an error tells of, which went the other way. */
static __always_inline bool ends_of(const struct packet *p, struct end *from, struct end *to)
{
	switch (p->kind) {
	case PACKET_TCP:
	case PACKET_FIRST_FRAGMENT:
		*from = (struct end){ p->source, p->tcp.start.source };
		*to = (struct end){ p->destination, p->tcp.start.destination };
		return true;
	case PACKET_ERROR:
		*from = (struct end){ p->quoted_destination, p->tcp.start.destination };
		*to = (struct end){ p->quoted_source, p->tcp.start.source };
		return true;
	default:
		return false;
	}
}

/* Whether w_edge is this build's already. Former programs run at some devices and these at others, until all are replaced and the table is
 * copied (loader/takeover.h): none can go on from what the others write. */
static __always_inline bool edge_is_carried(void)
{
	__u32 zero = 0;
	const struct edge_hand *hand;

	if (!former_account.edge_waits)
		return true;
	hand = bpf_map_lookup_elem(&w_edge_hand, &zero);
	return hand && READ_ONCE(hand->carried) == former_account.edge_waits;
}

static __always_inline bool is_known(const struct packet *p, struct end *from, struct end *to)
{
	struct edge_pair pair;

	if (!ends_of(p, from, to))
		return false;
	pair = pair_of(&from->address, from->port, &to->address, to->port);
	return bpf_map_lookup_elem(&w_edge_pair, &pair);
}

/* Whether a packet that comes in, of no connection that is known, would be decided, or be told that it is unknown. */
static __always_inline bool is_for_edge(const struct packet *p, const struct edge_device *device)
{
	struct flow flow;

	if ((p->kind != PACKET_TCP && p->kind != PACKET_FIRST_FRAGMENT) || !flow_of(p, device, &flow))
		return false;
	return p->kind == PACKET_FIRST_FRAGMENT || is_new(p) || bpf_map_lookup_elem(&w_vip, &flow.destination);
}

/* Until then what is the table's is dropped, which TCP sends again, and nobody is told that a connection is unknown. */
__noinline int edge_wait(struct __sk_buff *skb, bool in)
{
	struct edge_work *work = edge_work();
	const __u32 index = skb->ifindex;
	const struct edge_device *device = bpf_map_lookup_elem(&w_edge_device, &index);

	if (!work)
		return TC_NEXT;
	if (!is_known(&work->packet, &work->from, &work->to)) {
		if (!in || !device)
			return TC_NEXT;
		if (device->node && work->packet.kind != PACKET_TCP)
			return filter_other(&work->packet, device);
		if (!is_for_edge(&work->packet, device))
			return TC_NEXT;
	}
	count_reason(0, 0, REASON_EDGE_UPGRADE);
	return TC_DROP;
}

/* Whether the place still stands for what `incarnation` was read of. The atomic operation keeps the reading before it in order. */
static __always_inline bool still(struct edge_connection *c, __u32 incarnation)
{
	return __sync_fetch_and_add(&c->incarnation, 0) == incarnation;
}

/* Sends the packet on in its other form. */
static __always_inline int rewrite(struct __sk_buff *skb, const struct packet *p, const struct edge_connection *c,
				   const struct translation *t)
{
	if (p->kind == PACKET_FIRST_FRAGMENT) {
		count_reason(c->account.source, c->account.service, REASON_EDGE_FRAGMENT);
		return TC_DROP;
	}
	if (p->kind == PACKET_TCP)
		return translate(skb, p, t) ? TC_NEXT : TC_DROP;
	/* "Go there by another way" would tell the client of an address that it does not talk to. */
	if (!p->v6 && p->icmp_type == ICMP_REDIRECT) {
		count_stat(STAT_EDGE_REDIRECTS);
		return TC_DROP;
	}
	return translate_error(skb, p, t) ? TC_NEXT : TC_DROP;
}

/* An error about the SYN: the endpoint cannot be reached. Only what the network says of it counts, and TCP takes for the end. */
static __always_inline void edge_follow_error(struct edge_connection *c, __u32 place, const struct packet *p)
{
	const bool unreachable = p->icmp_type == (p->v6 ? ICMP6_UNREACHABLE : ICMP_UNREACHABLE);

	if (unreachable && READ_ONCE(c->state) == EDGE_SYN_SENT)
		edge_end(c, place, EDGE_SYN_SENT, bpf_ktime_get_ns(), FLOW_CONNECT_UNREACHABLE, EHOSTUNREACH);
}

/* A connection of its own that takes the ends of one that is over. True: the place is free again. */
static __always_inline bool edge_reuse(struct edge_connection *c, __u32 place, struct edge_work *work)
{
	if (work->packet.kind != PACKET_TCP || !is_new(&work->packet) || READ_ONCE(c->state) != EDGE_CLOSED || !edge_seize(c, EDGE_CLOSED))
		return false;
	work->clashed = c->flags & EDGE_CLASH;
	edge_take_apart(place);
	edge_let_go(c);
	return true;
}

/* From the client to the endpoint, not asked for by a service's address: to the endpoint it is of the same connection. */
static __always_inline bool is_direct(const struct edge_connection *c, const struct edge_work *work)
{
	return work->packet.kind == PACKET_TCP && end_equal(&work->from, &c->client, c->inner_port) &&
	       end_equal(&work->to, &c->account.address, c->account.port);
}

__noinline int edge_in(struct __sk_buff *skb)
{
	struct edge_work *work = edge_work();
	struct edge_connection *c = NULL;
	const struct packet *p;
	__u32 incarnation, place;
	enum leg leg;

	if (!work)
		return TC_NEXT;
	p = &work->packet;
	if (!edge_is_carried())
		return edge_wait(skb, true);
	if (ends_of(p, &work->from, &work->to))
		c = edge_find(&work->from, &work->to, &place);
	if (!c)
		return unknown_in(skb, p);
	incarnation = READ_ONCE(c->incarnation);
	leg = leg_in(c, &work->from, &work->to);
	if (leg != LEG_NONE)
		translate_in(c, leg, &work->translation);
	if (leg == LEG_NONE && is_direct(c, work) && is_new(p) && !edge_reuse(c, place, work)) {
		count_reason(c->account.source, c->account.service, REASON_EDGE_NO_PORT);
		return EDGE_RESET;
	}
	if (leg == LEG_NONE || !still(c, incarnation) || (leg == LEG_ASK && edge_reuse(c, place, work)))
		return unknown_in(skb, p);
	if (leg == LEG_ASK && p->kind == PACKET_TCP)
		edge_follow_client(c, place, p, bpf_ktime_get_ns());
	return rewrite(skb, p, c, &work->translation);
}

/* Reads the packet. 0: it is none of IP. */
__noinline int edge_read(struct __sk_buff *skb)
{
	struct edge_work *work = edge_work();

	if (!work)
		return 0;
	work->packet = (struct packet){};
	work->clashed = false;
	packet_parse(skb, &work->packet);
	return work->packet.protocol;
}

__noinline int edge_reset(struct __sk_buff *skb)
{
	struct edge_work *work = edge_work();

	return work ? reset_answer(skb, &work->packet) : TC_DROP;
}

SEC("tc")
int edge_ingress(struct __sk_buff *skb)
{
	int verdict = edge_read(skb) ? edge_in(skb) : TC_NEXT;
	enum reason reason;

	if (verdict == EDGE_DECIDE) {
		reason = edge_decide(skb->ifindex);
		if (reason_verdict(reason) == VERDICT_ROUTE)
			reason = edge_open(edge_take_place(bpf_ktime_get_ns()));
		edge_tell(reason);
		if (reason_verdict(reason) == VERDICT_ROUTE)
			verdict = edge_in(skb);
		else
			verdict = reason_verdict(reason) >= VERDICT_REFUSE ? EDGE_RESET : TC_NEXT;
	}
	if (verdict == EDGE_RESET)
		return edge_reset(skb);
	return verdict == EDGE_DECIDE ? TC_DROP : verdict; /* what was put into the table just now is gone again */
}

/* Whether a socket of this host, or one that listens, would take the answers. */
static __always_inline bool is_taken(struct __sk_buff *skb, const struct edge_connection *c, __be16 port)
{
	struct bpf_sock_tuple tuple = {};
	__u32 bytes = sizeof(tuple.ipv6);
	struct bpf_sock *sk;

	if (ip_is_v4(&c->masquerade)) {
		bytes = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = c->account.address.words[3];
		tuple.ipv4.daddr = c->masquerade.words[3];
		tuple.ipv4.sport = c->account.port;
		tuple.ipv4.dport = port;
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &c->account.address, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, &c->masquerade, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = c->account.port;
		tuple.ipv6.dport = port;
	}
	sk = bpf_skc_lookup_tcp(skb, &tuple, bytes, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* Gives the connection an address and a port of this host's towards the endpoint. */
static __noinline bool edge_masquerade(struct __sk_buff *skb, struct edge_connection *c, __u32 place, const struct edge_device *device)
{
	const struct ip *own = ip_is_v4(&c->client) ? &device->masquerade[LIST_V4] : &device->masquerade[LIST_V6];
	struct edge_pair pair;
	__be16 port;

	if (!(own->halves[0] | own->halves[1]))
		return false;
	c->masquerade = *own;
	for (int i = 0; i < PORT_TRIES; i++) {
		port = bpf_htons(MASQUERADE_PORT_MIN + scale(bpf_get_prandom_u32(), 65536 - MASQUERADE_PORT_MIN));
		if (is_taken(skb, c, port))
			continue;
		pair = masquerade_pair(c, port);
		if (!pair_add(&pair, place))
			continue;
		c->masquerade_port = port;
		return true;
	}
	return false;
}

/* What leaves by a device that services are exposed on goes to an endpoint elsewhere, whose answers are to come back here. One that
 * leaves by any other goes to this host's own. */
static __always_inline int send_onward(struct __sk_buff *skb, const struct packet *p, struct edge_connection *c, __u32 place,
				       struct translation *t)
{
	const __u32 index = skb->ifindex;
	const struct edge_device *device = bpf_map_lookup_elem(&w_edge_device, &index);

	if (!device || device->node)
		return TC_NEXT;
	if (!c->masquerade_port) {
		if (p->kind != PACKET_TCP || READ_ONCE(c->state) != EDGE_SYN_SENT)
			return TC_NEXT;
		if (!edge_masquerade(skb, c, place, device)) {
			count_reason(c->account.source, c->account.service, REASON_EDGE_NO_PORT);
			edge_end(c, place, EDGE_SYN_SENT, bpf_ktime_get_ns(), FLOW_CONNECT_ABANDONED, EADDRNOTAVAIL);
			return TC_DROP; /* the client's next SYN is decided anew */
		}
	}
	translate_out(c, LEG_ONWARD, t);
	return rewrite(skb, p, c, t);
}

__noinline int edge_out(struct __sk_buff *skb)
{
	struct edge_work *work = edge_work();
	struct edge_connection *c = NULL;
	const struct packet *p;
	__u32 incarnation, place;
	enum leg leg;

	if (!work)
		return TC_NEXT;
	p = &work->packet;
	if (!edge_is_carried())
		return edge_wait(skb, false);
	if (ends_of(p, &work->from, &work->to))
		c = edge_find(&work->from, &work->to, &place);
	if (!c)
		return TC_NEXT;
	incarnation = READ_ONCE(c->incarnation);
	leg = leg_out(c, &work->from, &work->to);
	if (leg == LEG_ANSWER)
		translate_out(c, leg, &work->translation);
	if (leg == LEG_NONE || !still(c, incarnation))
		return TC_NEXT;
	if (leg == LEG_ONWARD)
		return send_onward(skb, p, c, place, &work->translation);
	if (p->kind == PACKET_TCP && edge_clashes(c, place, p, bpf_ktime_get_ns()))
		return TC_NEXT;
	if (p->kind == PACKET_TCP)
		edge_follow_endpoint(c, place, p, bpf_ktime_get_ns());
	else if (p->kind == PACKET_ERROR)
		edge_follow_error(c, place, p);
	return rewrite(skb, p, c, &work->translation);
}

SEC("tc")
int edge_egress(struct __sk_buff *skb)
{
	return edge_read(skb) ? edge_out(skb) : TC_NEXT;
}

/* --- what nobody sends packets of any more, and what may not go on --------------------------------------------------------------- */

/* As iter_end does for sockets: a connection that a change denies ends at once, one whose endpoint left when its time for draining is
 * over. FLOW_CLOSED: it may go on. */
static __always_inline enum flow_close edge_due(struct edge_connection *c, __u64 now_ns)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&w_config, &zero);
	struct account account = c->account;
	bool audited = false;
	enum standing standing;

	account.vip_port = c->service_port;
	standing = account_standing(&account, &audited);
	if (standing == STANDING_DENIED) {
		count_stat(STAT_POLICY_CHANGED);
		return FLOW_POLICY_CHANGED;
	}
	if (audited && !c->account.audited) {
		c->account.audited = 1;
		count_stat(STAT_AUDIT_KEPT);
	}
	if (standing == STANDING_GOOD)
		c->account.leave_ns = 0;
	else if (!c->account.leave_ns)
		c->account.leave_ns = now_ns + (config ? config->drain_ns : 0);
	if (standing == STANDING_GOOD || c->account.leave_ns > now_ns)
		return FLOW_CLOSED;
	count_stat(STAT_DRAINED);
	return FLOW_DRAINED;
}

static long sweep_place(__u32 place, void *arg)
{
	struct edge_sweep *sweep = arg;
	struct edge_connection *c = edge_at(place);
	enum flow_close how = FLOW_CLOSED;
	enum edge_state state;
	__u64 idle_ns;

	if (!c)
		return 1;
	state = READ_ONCE(c->state);
	if (state == EDGE_FREE || state == EDGE_BUSY)
		return 0;
	sweep->entries++;
	idle_ns = sweep->now_ns - READ_ONCE(c->seen_ns);
	if ((__s64)idle_ns < (__s64)edge_idle_ns(state)) {
		if (state != EDGE_CLOSED)
			how = edge_due(c, sweep->now_ns);
		if (how == FLOW_CLOSED)
			return 0;
	}
	if (!edge_seize(c, state))
		return 0;
	if (how == FLOW_CLOSED) {
		edge_silence(place, state, sweep->now_ns, false);
		count_stat(STAT_EDGE_EXPIRED);
	} else {
		edge_account_close(place, sweep->now_ns, how, 0);
		edge_take_apart(place);
	}
	edge_let_go(c);
	sweep->ended++;
	return 0;
}

/* Sleepable, like explain. */
SEC("syscall")
int edge_sweep(struct edge_sweep *ctx)
{
	struct edge_sweep sweep = { .now_ns = ctx->now_ns };

	bpf_loop(MAX_EDGE_CONNECTIONS, sweep_place, &sweep, 0);
	*ctx = sweep;
	return 0;
}
