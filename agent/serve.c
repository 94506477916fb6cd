/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/configuration.h"
#include "agent/iam/root.h"
#include "base/cleanup.h"
#include "base/log.h"

#define ROOT_ID "WEFT_ROOT_ACCESS_KEY_ID"
#define ROOT_SECRET "WEFT_ROOT_SECRET_ACCESS_KEY"

/* --- what is written goes into force ------------------------------------------------------------------------------------------ */

static void stored_changed(const struct resource *now, const char *full_name, void *arg)
{
	struct agent *agent = arg;
	struct resources *set = &agent->configuration.resources;
	const int r = now ? resources_put(set, now) : resources_remove(set, full_name);

	if (r < 0 && r != -ENOENT)
		log_error("out of memory: a resource is not in force", LOG_F("resource", LOG_STR(full_name)));
}

static void stored_settled(void *arg)
{
	struct agent *agent = arg;
	struct agent_configuration *c = &agent->configuration;

	if (!c->ever_read) {
		c->ever_read = true;
		log_info("configuration read", LOG_F("resources", LOG_U64(c->resources.count)));
		agent_changed(agent);
	}
	agent_commit(agent);
}

void agent_control_show(struct agent *agent, const struct resource *before, const struct resource *now)
{
	if (!agent->store && agent->control && control_show(agent->control, before, now) < 0)
		log_error("out of memory: the API does not show a resource",
			  LOG_F("resource", LOG_STR(now ? now->full_name : before->full_name)));
}

/* --- names -------------------------------------------------------------------------------------------------------------------- */

int agent_resource_name(const struct agent *agent, const char *text, enum resource_kind kind, char *ret_full_name, size_t size,
			struct error *err)
{
	char name[RESOURCE_FULL_NAME_BYTES], full_name[RESOURCE_FULL_NAME_BYTES];
	struct resource_scope scope;
	int length = 0, r = resource_name_parse(text, kind, name, sizeof(name), err);

	if (r < 0)
		return r;
	resource_name_scope(text, &scope);
	if (agent->store && scope.account[0] && strcmp(scope.account, agent->account))
		return error_set(err, -EINVAL, "the account is %s, that of this weftd is %s (--account)", scope.account, agent->account);
	if (agent->store && scope.region[0] && !control_serves(agent->control, scope.region))
		return error_set(err, -EINVAL, "the region is %s, which this weftd does not serve (--region)", scope.region);
	if (agent->store && scope.region[0] && strcmp(scope.region, agent->control_options.home_region))
		length = resource_realm_text(full_name, sizeof(full_name), &(struct resource_realm){ scope.account, scope.region });
	if (length < 0 || (size_t)length + strlen(name) >= MIN(size, sizeof(full_name)))
		return error_set(err, -EINVAL, "a name of %zu bytes is too long", strlen(text));
	strcpy(full_name + length, name);
	strcpy(ret_full_name, full_name);
	return 0;
}

int agent_actor_name(const struct agent *agent, const char *text, char *ret_full_name, size_t size, struct error *err)
{
	const bool gateway = resource_actor_kind(text) == RESOURCE_VIRTUAL_GATEWAY;

	return agent_resource_name(agent, text, gateway ? RESOURCE_VIRTUAL_GATEWAY : RESOURCE_VIRTUAL_NODE, ret_full_name, size, err);
}

int agent_member_actor(const struct agent *agent, const json_t *object, char *ret_full_name, size_t size, struct error *err)
{
	static const enum resource_kind kinds[] = { RESOURCE_VIRTUAL_NODE, RESOURCE_VIRTUAL_GATEWAY };
	const char *node = json_path_string(object, "virtualNode"), *gateway = json_path_string(object, "virtualGateway");

	if (!node == !gateway)
		return error_set_field(err, -EINVAL, "virtualNode", node ? "beside virtualGateway: give one of them" :
									   "missing, or not a string, and so is virtualGateway");
	return agent_resource_name(agent, node ?: gateway, kinds[gateway != NULL], ret_full_name, size, err);
}

/* --- options ------------------------------------------------------------------------------------------------------------------ */

static int take_root(struct agent *agent, struct error *err)
{
	struct control_options *options = &agent->control_options;
	enum iam_root_origin origin;
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/credentials", agent->options.state_dir);
	r = iam_root_take(getenv(ROOT_ID), getenv(ROOT_SECRET), path, &options->root, &origin, err);
	unsetenv(ROOT_SECRET); /* children need not know */
	if (r < 0)
		return r;
	agent->root_from_environment = origin == IAM_ROOT_ENVIRONMENT;
	if (origin == IAM_ROOT_MADE)
		log_info("the API's root key was made", LOG_F("file", LOG_STR(path)), LOG_F("id", LOG_STR(options->root.id)));
	return 0;
}

void agent_control_restore(const struct agent *agent)
{
	if (agent->root_from_environment)
		setenv(ROOT_SECRET, agent->control_options.root.secret, 1);
}

static int take_regions(struct agent *agent, struct error *err)
{
	const struct option_strings *regions = &agent->options.regions;
	const char *usual = getenv("AWS_REGION");
	struct control_options *options = &agent->control_options;

	for (size_t i = 0; i < regions->count; i++)
		if (!aws_is_scope_name(span_of(regions->values[i])))
			return error_set_field(err, -EINVAL, "region", "'%s' is no name of a region", regions->values[i]);
	options->regions = regions->values;
	options->region_count = regions->count;
	options->home_region = regions->count ? regions->values[0] : usual && *usual ? usual : "us-east-1";
	if (!aws_is_scope_name(span_of(options->home_region)))
		return error_set_field(err, -EINVAL, "AWS_REGION", "'%s' is no name of a region", options->home_region);
	return 0;
}

static int take_quotas(struct agent *agent, struct error *err)
{
	struct appmesh_settings *settings = &agent->control_options.settings;
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(agent->options.quotas, name, value) {
		for (i = 0; i < APPMESH_QUOTA_COUNT && strcmp(appmesh_quotas[i].name, name) != 0; i++)
			;
		if (i == APPMESH_QUOTA_COUNT)
			return error_set_field(err, -EINVAL, "quotas", "there is no quota '%s'; `weft quotas` shows those that there are", name);
		if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > UINT32_MAX)
			return error_set_field(err, -EINVAL, "quotas", "%s must be a number from 0 to %u", name, UINT32_MAX);
		settings->quotas[i] = (uint32_t)json_integer_value(value);
	}
	return 0;
}

static int take_options(struct agent *agent, struct error *err)
{
	struct control_options *options = &agent->control_options;
	int r;

	options->address = agent->options.api;
	options->plaintext = agent->options.api_plaintext;
	options->audit_all = strcmp(agent->options.api_audit, "all") == 0;
	appmesh_settings_init(&options->settings, agent->account);
	options->settings.strict_references = agent->options.strict_references;
	if (agent->options.config_dir)
		options->settings.read_only = "the resources are those of weftd's --config directory, and are changed there";
	r = take_regions(agent, err);
	if (r == 0)
		r = take_quotas(agent, err);
	return r == 0 ? take_root(agent, err) : r;
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

int agent_control_start(struct agent *agent, struct error *err)
{
	const struct writer_callbacks callbacks = { .changed = stored_changed, .settled = stored_settled, .arg = agent };
	char path[512];
	int r = take_options(agent, err);

	if (r < 0)
		return r;
	if (!agent->options.config_dir) {
		snprintf(path, sizeof(path), "%s/config.db", agent->options.state_dir);
		r = store_open_sqlite(agent->loop, path, &agent->store, err);
	}
	return r == 0 ? control_new(agent->loop, agent->store, &agent->control_options, &callbacks, &agent->control, err) : r;
}

void agent_control_stop(struct agent *agent)
{
	if (agent->control)
		control_stop(agent->control);
	agent->store = store_close(agent->store);
	agent->control = control_free(agent->control);
}
