/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/redirects.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "agent/identity/cgroup.h"
#include "agent/net/netlink.h"
#include "base/cleanup.h"
#include "base/span.h"

#define CHAIN_PREFIX "APPMESH_"
#define WAIT_US 1000000
#define MESSAGE_BYTES (64 * 1024) /* the kernel puts no more than half of it into one */
#define TABLE_BYTES_MAX (16 * 1024 * 1024)

/* --- what a rule says ----------------------------------------------------------------------------------------------------- */

/* Names of chains may be any bytes. */
static void append_name(char *text, const char *name, size_t length)
{
	size_t at = strlen(text);

	for (size_t i = 0; i < length && name[i] && at + 1 < REDIRECT_TEXT_BYTES; i++)
		text[at++] = name[i] >= '!' && name[i] <= '~' ? name[i] : '?';
	text[at] = '\0';
}

/* 0: no port is given. */
static bool is_foreign(struct span chain, uint16_t port)
{
	return port == REDIRECT_EGRESS_PORT || port == REDIRECT_INGRESS_PORT ||
	       (chain.length >= strlen(CHAIN_PREFIX) && !memcmp(chain.data, CHAIN_PREFIX, strlen(CHAIN_PREFIX)));
}

static void describe(char text[REDIRECT_TEXT_BYTES], const char *table, struct span chain, uint16_t port)
{
	char to[32];

	snprintf(text, REDIRECT_TEXT_BYTES, "%s, chain ", table);
	append_name(text, chain.data, MIN(chain.length, (size_t)64));
	snprintf(to, sizeof(to), port ? ": to port %u" : ": redirects", port);
	strncat(text, to, REDIRECT_TEXT_BYTES - strlen(text) - 1);
}

static uint16_t be16_at(const void *data)
{
	uint16_t value;

	memcpy(&value, data, sizeof(value));
	return ntohs(value);
}

/* The port of a target REDIRECT of iptables; 0: none. */
static uint16_t target_port(const void *info, size_t length, bool v6)
{
	if (v6) {
		struct nf_nat_range range;

		if (length < sizeof(range))
			return 0;
		memcpy(&range, info, sizeof(range));
		return range.flags & NF_NAT_RANGE_PROTO_SPECIFIED ? ntohs(range.min_proto.all) : 0;
	}
	struct nf_nat_ipv4_multi_range_compat ranges;

	if (length < sizeof(ranges))
		return 0;
	memcpy(&ranges, info, sizeof(ranges));
	return ranges.range[0].flags & NF_NAT_RANGE_PROTO_SPECIFIED ? ntohs(ranges.range[0].min.all) : 0;
}

/* --- nf_tables ------------------------------------------------------------------------------------------------------------ */

/* The next attribute of a stretch of them; false: that was all, or it is malformed. */
static bool attribute_next(struct span *rest, uint16_t *ret_type, struct span *ret_value)
{
	struct nlattr header;
	size_t step;

	if (rest->length < NLA_HDRLEN)
		return false;
	memcpy(&header, rest->data, sizeof(header));
	if (header.nla_len < NLA_HDRLEN || header.nla_len > rest->length)
		return false;
	*ret_type = header.nla_type & NLA_TYPE_MASK;
	*ret_value = (struct span){ rest->data + NLA_HDRLEN, header.nla_len - NLA_HDRLEN };
	step = MIN((size_t)NLA_ALIGN(header.nla_len), rest->length);
	*rest = (struct span){ rest->data + step, rest->length - step };
	return true;
}

static struct span attribute_of(struct span attributes, uint16_t wanted)
{
	struct span value;
	uint16_t type;

	while (attribute_next(&attributes, &type, &value))
		if (type == wanted)
			return value;
	return (struct span){};
}

/* A string with its NUL. */
static bool is_text(struct span value, const char *text)
{
	return value.length == strlen(text) + 1 && !memcmp(value.data, text, value.length);
}

static uint32_t be32_of(struct span value)
{
	uint32_t number = 0;

	if (value.length == sizeof(number))
		memcpy(&number, value.data, sizeof(number));
	return ntohl(number);
}

struct rule_reading {
	bool v6, redirects;
	uint16_t port; /* of the redirection */
	uint32_t loaded_register;
	uint16_t loaded; /* into that register, which a redirection may name for its port */
};

static void read_expression(struct rule_reading *reading, struct span name, struct span data)
{
	if (is_text(name, "immediate")) {
		const struct span value = attribute_of(attribute_of(data, NFTA_IMMEDIATE_DATA), NFTA_DATA_VALUE);

		reading->loaded_register = be32_of(attribute_of(data, NFTA_IMMEDIATE_DREG));
		reading->loaded = value.length >= sizeof(uint16_t) ? be16_at(value.data) : 0;
	} else if (is_text(name, "redir")) {
		const struct span from = attribute_of(data, NFTA_REDIR_REG_PROTO_MIN);

		reading->redirects = true;
		reading->port = from.data && be32_of(from) == reading->loaded_register ? reading->loaded : 0;
	} else if (is_text(name, "target") && is_text(attribute_of(data, NFTA_TARGET_NAME), "REDIRECT")) {
		const struct span info = attribute_of(data, NFTA_TARGET_INFO);

		reading->redirects = true;
		reading->port = target_port(info.data, info.length, reading->v6);
	}
}

static const char *family_text(uint8_t family)
{
	return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : family == NFPROTO_INET ? "inet" : "another family";
}

bool redirects_of_rule(const void *message, size_t length, char ret_text[REDIRECT_TEXT_BYTES])
{
	const size_t before = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	struct span attributes, expressions, chain, table, element;
	struct rule_reading reading = {};
	char where[REDIRECT_TEXT_BYTES];
	struct nfgenmsg family;
	uint16_t type;

	if (length < before)
		return false;
	memcpy(&family, (const char *)message + NLMSG_HDRLEN, sizeof(family));
	reading.v6 = family.nfgen_family == NFPROTO_IPV6;
	attributes = (struct span){ (const char *)message + before, length - before };
	table = attribute_of(attributes, NFTA_RULE_TABLE);
	chain = attribute_of(attributes, NFTA_RULE_CHAIN);
	expressions = attribute_of(attributes, NFTA_RULE_EXPRESSIONS);
	while (!reading.redirects && attribute_next(&expressions, &type, &element))
		if (type == NFTA_LIST_ELEM)
			read_expression(&reading, attribute_of(element, NFTA_EXPR_NAME), attribute_of(element, NFTA_EXPR_DATA));
	if (!reading.redirects || !is_foreign(chain, reading.port))
		return false;
	snprintf(where, sizeof(where), "nf_tables: table %s ", family_text(family.nfgen_family));
	append_name(where, table.data, MIN(table.length, (size_t)32));
	describe(ret_text, where, chain, reading.port);
	return true;
}

struct question {
	struct nlmsghdr header;
	struct nfgenmsg family; /* any */
};

static int ask(int fd, uint16_t what, uint16_t flags)
{
	const struct question question = {
		.header = { .nlmsg_len = sizeof(question), .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | what, .nlmsg_flags = NLM_F_REQUEST | flags },
	};

	return send(fd, &question, sizeof(question), 0) < 0 ? -errno : 0;
}

/* One message of an answer. 1: that was all; 0: there is more. */
typedef int answer_fn(const struct nlmsghdr *message, void *arg);

static int answers_read(int fd, char *buffer, answer_fn *fn, void *arg)
{
	for (;;) {
		const ssize_t length = netlink_receive(fd, buffer, MESSAGE_BYTES);
		size_t left = length < 0 ? 0 : (size_t)length;

		if (length <= 0) /* who is talked to by others begins anew: they could go on forever */
			return length == 0 || errno == EINTR ? -EAGAIN : -errno;
		for (const struct nlmsghdr *m = (const void *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
			int r;

			if (m->nlmsg_flags & NLM_F_DUMP_INTR)
				return -EAGAIN; /* the rules have just changed */
			if (m->nlmsg_type == NLMSG_DONE)
				return 0;
			if (m->nlmsg_type == NLMSG_ERROR)
				return m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)) ? -EPROTO : ((const struct nlmsgerr *)NLMSG_DATA(m))->error ?: -EPROTO;
			r = fn(m, arg);
			if (r)
				return r < 0 ? r : 0;
		}
	}
}

static int on_generation(const struct nlmsghdr *message, void *arg)
{
	const size_t before = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	uint32_t *ret_generation = arg;

	if (message->nlmsg_len < before)
		return -EPROTO;
	*ret_generation = be32_of(attribute_of((struct span){ (const char *)message + before, message->nlmsg_len - before }, NFTA_GEN_ID));
	return 1;
}

static int on_rule(const struct nlmsghdr *message, void *arg)
{
	char *text = arg;

	if (!text[0])
		redirects_of_rule(message, message->nlmsg_len, text);
	return 0; /* to the end, so that an interruption is seen */
}

/* A generation of 0 is that of a namespace which never had rules, on some kernels: those are read each time. */
static int look_nft(struct redirects *redirects)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	_cleanup_free_ char *buffer = malloc(MESSAGE_BYTES);
	const struct timeval wait = { .tv_sec = WAIT_US / 1000000, .tv_usec = WAIT_US % 1000000 };
	char text[REDIRECT_TEXT_BYTES] = "";
	uint32_t generation = 0;
	int r;

	if (fd < 0)
		return errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT ? 0 : -errno;
	if (!buffer)
		return -ENOMEM;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	r = ask(fd, NFT_MSG_GETGEN, 0);
	if (r == 0)
		r = answers_read(fd, buffer, on_generation, &generation);
	if (r == -EINVAL || r == -EOPNOTSUPP) /* a kernel without nf_tables */
		return 0;
	if (r < 0 || (generation && generation == redirects->nft_generation))
		return r;
	r = ask(fd, NFT_MSG_GETRULE, NLM_F_DUMP);
	if (r == 0)
		r = answers_read(fd, buffer, on_rule, text);
	if (r < 0)
		return r;
	redirects->nft_generation = generation;
	memcpy(redirects->nft, text, sizeof(text));
	return 0;
}

/* --- legacy iptables ------------------------------------------------------------------------------------------------------ */

/* Where an entry's target and the next entry are, of IPv4 or IPv6. */
static bool entry_read(const char *entry, size_t left, bool v6, size_t *ret_target, size_t *ret_next)
{
	struct ipt_entry v4_entry;
	struct ip6t_entry v6_entry;

	if (left < (v6 ? sizeof(v6_entry) : sizeof(v4_entry)))
		return false;
	if (v6)
		memcpy(&v6_entry, entry, sizeof(v6_entry));
	else
		memcpy(&v4_entry, entry, sizeof(v4_entry));
	*ret_target = v6 ? v6_entry.target_offset : v4_entry.target_offset;
	*ret_next = v6 ? v6_entry.next_offset : v4_entry.next_offset;
	return *ret_next <= left && *ret_target + sizeof(struct xt_entry_target) <= *ret_next;
}

bool redirects_of_table(const void *entries, size_t length, bool v6, char ret_text[REDIRECT_TEXT_BYTES])
{
	const char *at = entries;
	struct span chain = SPAN("(built-in)"); /* those come first; a chain of the user's begins with a target ERROR that has its name */

	for (size_t target, next; entry_read(at, length, v6, &target, &next); at += next, length -= next) {
		const size_t data = target + XT_ALIGN(sizeof(struct xt_entry_target));
		const struct span info = data <= next ? (struct span){ at + data, next - data } : (struct span){};
		struct xt_entry_target header;
		uint16_t port;

		memcpy(&header, at + target, sizeof(header));
		if (!strncmp(header.u.user.name, XT_ERROR_TARGET, sizeof(header.u.user.name)))
			chain = (struct span){ info.data, strnlen(info.data ?: "", MIN(info.length, (size_t)XT_FUNCTION_MAXNAMELEN)) };
		if (strncmp(header.u.user.name, "REDIRECT", sizeof(header.u.user.name)))
			continue;
		port = target_port(info.data, info.length, v6);
		if (!is_foreign(chain, port))
			continue;
		describe(ret_text, v6 ? "ip6tables (legacy): table nat" : "iptables (legacy): table nat", chain, port);
		return true;
	}
	return false;
}

/* Whether the namespace has a legacy table nat of this family. */
static int has_nat(bool v6)
{
	_cleanup_close_ int fd = open(v6 ? "/proc/thread-self/net/ip6_tables_names" : "/proc/thread-self/net/ip_tables_names",
				      O_RDONLY | O_CLOEXEC);
	char names[256];
	ssize_t length;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* no such tables in this kernel */
	length = read(fd, names, sizeof(names) - 1);
	if (length < 0)
		return -errno;
	names[length] = '\0';
	return !strncmp(names, "nat\n", 4) || strstr(names, "\nnat\n");
}

/* Both families have the same numbers, and structs of the same form. */
_Static_assert(IPT_SO_GET_INFO == IP6T_SO_GET_INFO && IPT_SO_GET_ENTRIES == IP6T_SO_GET_ENTRIES, "of both families");
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "of both families");
_Static_assert(offsetof(struct ipt_get_entries, entrytable) == offsetof(struct ip6t_get_entries, entrytable), "of both families");

static int look_legacy(bool v6, char text[REDIRECT_TEXT_BYTES])
{
	struct ipt_getinfo info = { .name = "nat" };
	_cleanup_close_ int fd = -1;
	_cleanup_free_ struct ipt_get_entries *table = NULL;
	const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	socklen_t length = sizeof(info);
	int r = has_nat(v6);

	if (r <= 0)
		return r;
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (getsockopt(fd, level, IPT_SO_GET_INFO, &info, &length) < 0)
		return -errno;
	if (info.size > TABLE_BYTES_MAX)
		return -E2BIG;
	length = sizeof(*table) + info.size;
	table = calloc(1, length);
	if (!table)
		return -ENOMEM;
	memcpy(table->name, info.name, sizeof(table->name));
	table->size = info.size;
	if (getsockopt(fd, level, IPT_SO_GET_ENTRIES, table, &length) < 0)
		return -errno; /* EAGAIN: it changed in between */
	redirects_of_table(table->entrytable, info.size, v6, text);
	return 0;
}

/* --- both ----------------------------------------------------------------------------------------------------------------- */

static int look(void *arg)
{
	struct redirects *redirects = arg;
	char legacy[REDIRECT_TEXT_BYTES] = "";
	int r = look_nft(redirects);

	if (r == 0)
		r = look_legacy(false, legacy);
	if (r == 0 && !legacy[0])
		r = look_legacy(true, legacy);
	if (r == 0)
		memcpy(redirects->legacy, legacy, sizeof(legacy));
	return r;
}

/* Once in and out: that costs as much as each of the three answers, in a namespace without rules. */
int redirects_look(int netns_fd, struct redirects *redirects)
{
	return netns_within(netns_fd, look, redirects);
}

const char *redirects_text(const struct redirects *redirects)
{
	return redirects->nft[0] ? redirects->nft : redirects->legacy[0] ? redirects->legacy : NULL;
}
