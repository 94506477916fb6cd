/* SPDX-License-Identifier: Apache-2.0 */
/* The App Mesh API, as `weft` asks it: that of weftd on the local socket, or, where an endpoint is given, one over the network, with
 * signed requests. Endpoint, region, profile and keys are found as the aws command line finds them. */
#pragma once

#include "agent/ctl/client.h"
#include "agent/spec/operation.h"

struct remote_options {
	const char *endpoint, *region, *profile;
};
#define REMOTE_OPTIONS(owner, member)                                                                                         \
	{ .name = "endpoint-url", .type = OPTION_STRING, .offset = OPTION(owner, member.endpoint), .argument = "URL",           \
	  .help = "an API over the network (default: weftd on this node)" },                                                   \
	{ .name = "region", .type = OPTION_STRING, .offset = OPTION(owner, member.region), .argument = "REGION",                \
	  .help = "of the meshes (default: as for the aws command line, else weftd's first)" },                                \
	{ .name = "profile", .type = OPTION_STRING, .offset = OPTION(owner, member.profile), .argument = "PROFILE",             \
	  .help = "of ~/.aws/config and credentials" }

struct remote;

/* Borrows `ctl`. -EINVAL: an option or a setting; -ENOENT: keys are missing. Nothing is sent yet. */
int remote_open(const struct ctl *ctl, const struct remote_options *options, struct remote **ret_remote, struct error *err);
/* That of weftd on this node, whatever the environment says of endpoints; of the options, `region` alone is looked at. */
int remote_open_local(const struct ctl *ctl, const struct remote_options *options, struct remote **ret_remote, struct error *err);
struct remote *remote_close(struct remote *remote); /* NULL is fine */
static inline void cleanup_remote(struct remote **remote)
{
	remote_close(*remote);
}
bool remote_is_local(const struct remote *remote);

struct remote_call {
	enum operation_verb verb;
	enum resource_kind kind; /* RESOURCE_KIND_COUNT for tags */
	const json_t *input; /* members of the operation's input, from wherever they go */
	const char *region; /* NULL: the usual */
	const json_t *identity; /* of a create over the local socket: the one that the resource had (docs/local-api.md); NULL: a new one */
};
/* 0 and the answer's body; or what the API says, with its name for it, "NotFoundException: ...": -ENOENT of that, -EEXIST of
 * ConflictException, -EBUSY of ResourceInUseException, -EPROTO of whatever else it refuses. -ECONNREFUSED and others: there was no
 * answer. */
int remote_call(struct remote *remote, const struct remote_call *call, json_t **ret_answer, struct error *err);
