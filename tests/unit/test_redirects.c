/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules of netfilter are another proxy's redirections. */
#include <arpa/inet.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netlink.h>

#include "agent/identity/redirects.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

/* --- rules of nf_tables, as the kernel tells them ------------------------------------------------------------------------- */

/* Whole when `nested_end` has put its length in. */
static size_t attribute(struct buffer *b, uint16_t type, const void *data, size_t length)
{
	static const char zeros[4];
	const struct nlattr header = { .nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type };
	const size_t at = b->length;

	buffer_append(b, &header, sizeof(header));
	buffer_append(b, data, length);
	buffer_append(b, zeros, NLA_ALIGN(length) - length);
	return at;
}

static size_t nested(struct buffer *b, uint16_t type)
{
	return attribute(b, type | NLA_F_NESTED, "", 0);
}

static void nested_end(struct buffer *b, size_t at)
{
	((struct nlattr *)(b->data + at))->nla_len = (uint16_t)(b->length - at);
}

static void text_attribute(struct buffer *b, uint16_t type, const char *text)
{
	attribute(b, type, text, strlen(text) + 1);
}

static void number_attribute(struct buffer *b, uint16_t type, uint32_t number)
{
	number = htonl(number);
	attribute(b, type, &number, sizeof(number));
}

static void rule_begin(struct buffer *b, uint8_t family, const char *table, const char *chain, size_t *ret_expressions)
{
	const struct nlmsghdr header = {};
	const struct nfgenmsg message = { .nfgen_family = family };

	buffer_append(b, &header, sizeof(header));
	buffer_append(b, &message, sizeof(message));
	text_attribute(b, NFTA_RULE_TABLE, table);
	text_attribute(b, NFTA_RULE_CHAIN, chain);
	number_attribute(b, NFTA_RULE_HANDLE, 7);
	*ret_expressions = nested(b, NFTA_RULE_EXPRESSIONS);
}

static size_t expression(struct buffer *b, const char *name, size_t *ret_data)
{
	const size_t element = nested(b, NFTA_LIST_ELEM);

	text_attribute(b, NFTA_EXPR_NAME, name);
	*ret_data = nested(b, NFTA_EXPR_DATA);
	return element;
}

static void expression_end(struct buffer *b, size_t element, size_t data)
{
	nested_end(b, data);
	nested_end(b, element);
}

static void immediate(struct buffer *b, uint32_t where, uint16_t port)
{
	size_t data, element = expression(b, "immediate", &data), value;

	port = htons(port);
	number_attribute(b, NFTA_IMMEDIATE_DREG, where);
	value = nested(b, NFTA_IMMEDIATE_DATA);
	attribute(b, NFTA_DATA_VALUE, &port, sizeof(port));
	nested_end(b, value);
	expression_end(b, element, data);
}

/* "redirect to :PORT"; 0: "redirect". */
static void redir(struct buffer *b, uint16_t port)
{
	size_t data, element;

	if (port)
		immediate(b, NFT_REG_1, port);
	element = expression(b, "redir", &data);
	if (port)
		number_attribute(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
	expression_end(b, element, data);
}

/* As iptables-nft makes it: "-j TARGET --to-ports PORT". */
static void compat(struct buffer *b, const char *target, bool v6, uint16_t port)
{
	const struct nf_nat_ipv4_multi_range_compat range4 = { 1, { { .flags = port ? NF_NAT_RANGE_PROTO_SPECIFIED : 0, .min.all = htons(port) } } };
	const struct nf_nat_range range6 = { .flags = port ? NF_NAT_RANGE_PROTO_SPECIFIED : 0, .min_proto.all = htons(port) };
	size_t data, element = expression(b, "target", &data);

	text_attribute(b, NFTA_TARGET_NAME, target);
	number_attribute(b, NFTA_TARGET_REV, 0);
	attribute(b, NFTA_TARGET_INFO, v6 ? (const void *)&range6 : &range4, v6 ? sizeof(range6) : sizeof(range4));
	expression_end(b, element, data);
}

static const char *said(struct buffer *b, size_t expressions)
{
	static char text[REDIRECT_TEXT_BYTES];

	nested_end(b, expressions);
	for (size_t length = 0; length < b->length; length++) { /* what is cut off is not read beyond its end */
		_cleanup_free_ char *part = malloc(length + 1);

		memcpy(part, b->data, length);
		redirects_of_rule(part, length, text);
	}
	return redirects_of_rule(b->data, b->length, text) ? text : "";
}

TEST(rules_that_redirect_to_the_ports_of_app_meshs_envoy_are_found)
{
	static const struct {
		uint8_t family;
		const char *table, *chain;
		bool native;
		uint16_t port;
		const char *said;
	} rules[] = {
		{ NFPROTO_IPV4, "nat", "APPMESH_EGRESS", false, 15001, "nf_tables: table ip nat, chain APPMESH_EGRESS: to port 15001" },
		{ NFPROTO_IPV4, "nat", "APPMESH_INGRESS", false, 15000, "nf_tables: table ip nat, chain APPMESH_INGRESS: to port 15000" },
		{ NFPROTO_IPV6, "nat", "APPMESH_EGRESS", false, 15001, "nf_tables: table ip6 nat, chain APPMESH_EGRESS: to port 15001" },
		{ NFPROTO_INET, "mine", "out", true, 15001, "nf_tables: table inet mine, chain out: to port 15001" },
		{ NFPROTO_IPV4, "nat", "APPMESH_EGRESS", true, 9999, "nf_tables: table ip nat, chain APPMESH_EGRESS: to port 9999" },
		{ NFPROTO_IPV4, "nat", "APPMESH_EGRESS", true, 0, "nf_tables: table ip nat, chain APPMESH_EGRESS: redirects" },
		{ NFPROTO_IPV4, "n\xff t", "o\x01\"ut", false, 15000, "nf_tables: table ip n??t, chain o?\"ut: to port 15000" },
		{ NFPROTO_IPV4, "nat", "OUTPUT", true, 8080, "" },
		{ NFPROTO_IPV4, "nat", "OUTPUT", false, 8080, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		_cleanup_(buffer_done) struct buffer b = {};
		size_t expressions;

		rule_begin(&b, rules[i].family, rules[i].table, rules[i].chain, &expressions);
		immediate(&b, NFT_REG_2, 15001); /* of no matter */
		if (rules[i].native)
			redir(&b, rules[i].port);
		else
			compat(&b, "REDIRECT", rules[i].family == NFPROTO_IPV6, rules[i].port);
		EXPECT_STR(said(&b, expressions), rules[i].said);
	}
}

TEST(other_rules_of_such_chains_are_left_alone)
{
	_cleanup_(buffer_done) struct buffer jump = {}, accept = {};
	size_t expressions, data, element;

	rule_begin(&jump, NFPROTO_IPV4, "nat", "APPMESH_EGRESS", &expressions);
	compat(&jump, "DNAT", false, 15001);
	EXPECT_STR(said(&jump, expressions), "");
	rule_begin(&accept, NFPROTO_IPV4, "nat", "APPMESH_EGRESS", &expressions);
	immediate(&accept, NFT_REG_1, 15001);
	element = expression(&accept, "counter", &data);
	expression_end(&accept, element, data);
	EXPECT_STR(said(&accept, expressions), "");
}

/* --- legacy tables -------------------------------------------------------------------------------------------------------- */

/* An entry with that target, whose data is `bytes` long. */
static void entry(struct buffer *b, bool v6, const char *target, const void *data, size_t bytes)
{
	const size_t head = v6 ? sizeof(struct ip6t_entry) : sizeof(struct ipt_entry), before = XT_ALIGN(sizeof(struct xt_entry_target));
	const size_t whole = head + before + XT_ALIGN(bytes);
	_cleanup_free_ char *room = calloc(1, whole);
	struct xt_entry_target *header = (void *)(room + head);

	if (v6) {
		((struct ip6t_entry *)room)->target_offset = (uint16_t)head;
		((struct ip6t_entry *)room)->next_offset = (uint16_t)whole;
	} else {
		((struct ipt_entry *)room)->target_offset = (uint16_t)head;
		((struct ipt_entry *)room)->next_offset = (uint16_t)whole;
	}
	header->u.user.target_size = (uint16_t)(before + XT_ALIGN(bytes));
	strncpy(header->u.user.name, target, sizeof(header->u.user.name) - 1);
	memcpy(room + head + before, data, bytes);
	buffer_append(b, room, whole);
}

static void chain_entry(struct buffer *b, bool v6, const char *name)
{
	char room[XT_FUNCTION_MAXNAMELEN] = "";

	strncpy(room, name, sizeof(room) - 1);
	entry(b, v6, XT_ERROR_TARGET, room, sizeof(room));
}

static void redirect_entry(struct buffer *b, bool v6, uint16_t port)
{
	const struct nf_nat_ipv4_multi_range_compat range4 = { 1, { { .flags = NF_NAT_RANGE_PROTO_SPECIFIED, .min.all = htons(port) } } };
	const struct nf_nat_range range6 = { .flags = NF_NAT_RANGE_PROTO_SPECIFIED, .min_proto.all = htons(port) };

	entry(b, v6, "REDIRECT", v6 ? (const void *)&range6 : &range4, v6 ? sizeof(range6) : sizeof(range4));
}

static const char *table_said(const struct buffer *b, bool v6)
{
	static char text[REDIRECT_TEXT_BYTES];

	for (size_t length = 0; length < b->length; length++) {
		_cleanup_free_ char *part = malloc(length + 1);

		memcpy(part, b->data, length);
		redirects_of_table(part, length, v6, text);
	}
	return redirects_of_table(b->data, b->length, v6, text) ? text : "";
}

TEST(legacy_tables_are_read_with_the_chain_of_each_rule)
{
	static const int verdict = -1;

	for (int v6 = 0; v6 < 2; v6++) {
		_cleanup_(buffer_done) struct buffer own = {}, foreign = {}, any = {};
		const char *const name = v6 ? "ip6tables (legacy): table nat, chain " : "iptables (legacy): table nat, chain ";
		char expected[REDIRECT_TEXT_BYTES];

		entry(&own, v6, "", &verdict, sizeof(verdict));
		redirect_entry(&own, v6, 8080);
		chain_entry(&own, v6, "DOCKER");
		redirect_entry(&own, v6, 8081);
		EXPECT_STR(table_said(&own, v6), "");

		buffer_append(&foreign, own.data, own.length);
		chain_entry(&foreign, v6, "APPMESH_EGRESS");
		entry(&foreign, v6, "", &verdict, sizeof(verdict));
		redirect_entry(&foreign, v6, 9999);
		snprintf(expected, sizeof(expected), "%sAPPMESH_EGRESS: to port 9999", name);
		EXPECT_STR(table_said(&foreign, v6), expected);

		redirect_entry(&any, v6, 15001);
		snprintf(expected, sizeof(expected), "%s(built-in): to port 15001", name);
		EXPECT_STR(table_said(&any, v6), expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_that_redirect_to_the_ports_of_app_meshs_envoy_are_found),
		cmocka_unit_test(other_rules_of_such_chains_are_left_alone),
		cmocka_unit_test(legacy_tables_are_read_with_the_chain_of_each_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
