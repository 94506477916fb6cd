/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of compile() share: resources, instances and known host names by a few words each, and the plan that comes of them. */
#pragma once

#include "agent/compile/compile.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/abi/endpoint.h"
#include "tests/lib/test.h"

struct fixture {
	struct resources resources;
	struct state *state;
	struct registry *registry;
	struct vips *vips;
	struct loop *loop; /* does not run: what dns discovery knows is what the state has */
	struct dns_discovery *dns;
	struct compiler *compiler;
	struct plan *plan;
};

#define FIXTURE(f)                                                                                                            \
	_cleanup_(fixture_done) struct fixture f;                                                                              \
	fixture_init(&f)
#define BY_NODE(name) "'virtualNode': {'virtualNodeName': '" name "'}"
#define BY_ROUTER(name) "'virtualRouter': {'virtualRouterName': '" name "'}"
#define LISTENER(port, protocol) "{'portMapping': {'port': " #port ", 'protocol': '" protocol "'}}"
#define TLS_LISTENER(port, protocol, mode)                                                                                    \
	"{'portMapping': {'port': " #port ", 'protocol': '" protocol "'}, 'tls': {'mode': '" mode                              \
	"', 'certificate': {'file': {'certificateChain': '/c', 'privateKey': '/k'}}}}"
#define BACKEND(name) "{'virtualService': {'virtualServiceName': '" name "'}}"
#define TARGET(node, weight) "{'virtualNode': '" node "', 'weight': " #weight "}"
#define TARGET_PORT(node, weight, port) "{'virtualNode': '" node "', 'weight': " #weight ", 'port': " #port "}"
#define ACTION(targets) "'action': {'weightedTargets': [" targets "]}"
#define TCP_ROUTE(targets) "'tcpRoute': {" ACTION(targets) "}"
#define HTTP_ROUTE(match, targets) "'httpRoute': {'match': {" match "}, " ACTION(targets) "}"
#define WEB "mesh/M/virtualNode/web"

void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);
void fixture_start_dns(struct fixture *f);
json_t *parse_quoted(char *text); /* JSON in which ' stands for " */
void given(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void given_mesh(struct fixture *f, const char *mesh, const char *egress);
void given_service(struct fixture *f, const char *name, const char *provider);
void given_l7_service(struct fixture *f, const char *name, const char *provider);
void given_node(struct fixture *f, const char *name, const char *listeners, const char *more);
void given_caller(struct fixture *f, const char *name, const char *backends, const char *more);
void given_router(struct fixture *f, const char *name, const char *listeners);
void given_route(struct fixture *f, const char *router, const char *name, const char *spec);
/* A router `name` with ports 1 to `ports`, each of which leads to ten nodes of its own, the last one to `last`. */
void given_wide_router(struct fixture *f, const char *name, const char *protocol, int ports, int last);
void given_instance(struct fixture *f, const char *service, const char *id, const char *attributes, uint64_t netns_cookie, const char *zone);
int try_compile(struct fixture *f, const struct compile_input *more, struct error *err);
const struct plan *compiled(struct fixture *f);
const struct plan *compiled_with(struct fixture *f, const struct compile_input *input);
const struct plan_service *service(const struct plan *plan, const char *name);
const struct plan_target *target(const struct plan *plan, const char *name);
const struct plan_node *node(const struct plan *plan, const char *full_name);
void expect_targets(const struct plan *plan, const struct plan_port *port, const char *expected);
void expect_l7(const struct plan *plan, const struct plan_port *port, const char *expected);
void expect_endpoints(const struct plan_target *t, const char *expected);
void expect_backends(const struct plan *plan, const struct plan_node *node, const char *expected);
void expect_services(const struct plan *plan, const char *expected);
void given_one_target(struct fixture *f, const char *listeners);

/* One compiler over the changes of resources, and the plans before and after the last one. */
struct compile_change {
	struct fixture f;
	struct compiler *compiler;
	const char *const *nodes; /* one, that the workloads act for */
	struct plan *before, *now;
};

void change_init(struct compile_change *w, const char *const nodes[1]);
void change_done(struct compile_change *w);
/* In place of what has the name; or nothing. */
void change_remove(struct compile_change *w, const char *full_name);
/* Of what was changed since. NULL: nothing is to be planned anew. */
const struct plan *change_compile(struct compile_change *w);
