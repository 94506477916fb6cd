/* SPDX-License-Identifier: Apache-2.0 */
/* Redirections of another proxy in a network namespace: the rules that App Mesh's own aws-appmesh-proxy-route-manager made for its Envoy,
 * in the chains APPMESH_INGRESS and APPMESH_EGRESS of table nat. They send what workloads there connect to, and what comes in for them, to
 * ports 15001 and 15000, connections of weft-proxy's own included.
 *
 * Found are rules that redirect to one of these ports, and those that redirect from a chain whose name begins with APPMESH_: of nf_tables,
 * which iptables-nft's are, by nfnetlink; of legacy iptables, where the namespace has a table nat, by getsockopt(2): to ask for one that
 * is not there would make it. Whether a chain is led to from a hook is not looked at. A kernel that has nf_tables as a module loads it for
 * the question. libnftnl and libmnl are not used: it is three messages, of which only a few attributes are read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIRECT_TEXT_BYTES 160
#define REDIRECT_EGRESS_PORT 15001 /* of App Mesh's Envoy */
#define REDIRECT_INGRESS_PORT 15000

struct redirects {
	uint32_t nft_generation; /* of the rules that `nft` was looked for in; 0: none were */
	char nft[REDIRECT_TEXT_BYTES], legacy[REDIRECT_TEXT_BYTES]; /* where the first is, in words of ASCII; "": there is none */
};

/* Looks, or looks again, in what is zero at first: rules of nf_tables are read where they have changed. Blocks, for a second at most; enters
 * the namespace for moments, so not for a thread that anybody waits for. -errno: it could not be told, and `redirects` is as before. */
int redirects_look(int netns_fd, struct redirects *redirects);
const char *redirects_text(const struct redirects *redirects); /* NULL: there is none */

/* Pure. A message NFT_MSG_NEWRULE; the entries of a table nat as IPT_SO_GET_ENTRIES, or its IPv6 twin, has them. Malformed ones have none. */
bool redirects_of_rule(const void *message, size_t length, char ret_text[REDIRECT_TEXT_BYTES]);
bool redirects_of_table(const void *entries, size_t length, bool v6, char ret_text[REDIRECT_TEXT_BYTES]);
