/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The few members of the kernel's TCP socket that have no UAPI form, found at load time through BTF. */
#pragma once

#include "bpf.h"
#include "ip.h"
#include "maps/abi/types.h"

struct cookie_counter {
	long long counter;
};

struct net {
	__u64 net_cookie;
} __attribute__((preserve_access_index));

struct net_of { /* possible_net_t */
	struct net *net;
};

struct sock_common {
	unsigned short skc_family;
	struct net_of skc_net;
	unsigned char skc_state;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned long skc_flags;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct ip skc_v6_daddr; /* struct in6_addr */
	struct ip skc_v6_rcv_saddr; /* struct in6_addr */
	int skc_bound_dev_if;
	struct cookie_counter skc_cookie; /* atomic64_t */
} __attribute__((preserve_access_index));

struct cgroup;
struct sock_cgroup_data {
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u8 sk_userlocks : 4;
	struct sock_cgroup_data sk_cgrp_data;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 srtt_us;
	__u32 total_retrans;
	struct request_sock *fastopen_rsk;
	__u8 bpf_sock_ops_cb_flags;
} __attribute__((preserve_access_index));

struct mptcp_sock { /* the socket of an MPTCP program; connect hooks see its first subflow, which is a TCP socket */
	struct sock *first;
} __attribute__((preserve_access_index));

#define SOCK_DONE 1 /* bit of skc_flags: the peer's FIN was received (enum sock_flags, include/net/sock.h) */

/* bytes_acked counts our SYN and FIN, bytes_received the peer's FIN: neither is data. A socket leaves LAST_ACK and CLOSING for
 * CLOSE by the acknowledgement of its FIN; while it is in them that has not come. */
static __always_inline bool tcp_fin_was_acked(int old_state)
{
	return old_state == BPF_TCP_FIN_WAIT2 || old_state == BPF_TCP_LAST_ACK || old_state == BPF_TCP_CLOSING;
}

static __always_inline bool tcp_fin_is_acked(int state)
{
	return state == BPF_TCP_FIN_WAIT2 || state == BPF_TCP_TIME_WAIT;
}

static __always_inline __u64 tcp_bytes_sent(__u64 acked, bool fin_acked)
{
	const __u64 control = 1 + fin_acked;

	return acked > control ? acked - control : 0;
}

static __always_inline __u64 tcp_bytes_received(__u64 received, unsigned long flags)
{
	const __u64 control = flags >> SOCK_DONE & 1;

	return received > control ? received - control : 0;
}

/* Of a connection, v4-mapped where it is one of IPv4, whatever the socket's family. */
static __always_inline struct ip tcp_own_address(const struct sock_common *common)
{
	const struct ip peer = common->skc_v6_daddr;

	return common->skc_family == AF_INET || ip_is_v4(&peer) ? ip_from_v4(common->skc_rcv_saddr) : common->skc_v6_rcv_saddr;
}
