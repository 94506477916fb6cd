/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/edge/edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/edge/devices.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define EXPOSED_PREFIX "exposed/"
#define ATTACHED_PREFIX "attached/"
#define SWEEP_NS (5 * NSEC_PER_SEC)

struct exposure {
	struct list node;
	struct ip address;
	__be16 port;
	uint16_t service_port;
	char *service;
	size_t device_count;
	char devices[EDGE_DEVICES_MAX][IFNAMSIZ];
	struct exposed record; /* as the kernel has it; its node is 0: it has none */
	char state[128];
};

struct attachment {
	struct list node;
	char device[IFNAMSIZ];
	char *node_name;
};

struct edge {
	struct loop *loop;
	struct offload *offload;
	struct kernel *kernel;
	struct state *state;
	struct apply *apply;
	struct edge_options options;
	struct devices *devices;
	struct list exposures, attachments;
	size_t exposure_count, attachment_count;
	const char **names; /* of services, then of nodes */
	struct loop_timer *timer; /* the next sweep */
	struct sweep *sweep;
	bool synced; /* with some plan: what earlier agents left is gone */
	bool used; /* as the last sweep saw it */
};

/* --- sweeping --------------------------------------------------------------------------------------------------------------------- */

struct sweep {
	struct edge *edge; /* the loop's; NULL: freed */
	struct kernel *kernel;
	int r;
	struct edge_sweep seen;
};

static void sweep_work(void *arg)
{
	struct sweep *sweep = arg;

	sweep->r = edge_sweep_run(sweep->kernel, time_now_ns(), &sweep->seen);
}

static void sweep_done(void *arg)
{
	struct sweep *sweep = arg;
	struct edge *e = sweep->edge;

	if (e) {
		e->sweep = NULL;
		e->used = sweep->r == 0 && sweep->seen.entries > 0;
		if (sweep->r < 0 && sweep->r != -EOPNOTSUPP)
			log_limited(LOG_LEVEL_WARN, "cannot sweep connections without a local socket",
				    LOG_F("error", LOG_STR(strerror(-sweep->r))));
		if (e->used || e->exposure_count || e->attachment_count)
			loop_timer_arm(e->timer, loop_now_ns(e->loop) + SWEEP_NS);
	}
	free(sweep);
}

static void on_timer(struct loop_timer *timer __attribute__((unused)), void *arg)
{
	struct edge *e = arg;
	struct sweep *sweep;

	if (e->sweep)
		return;
	sweep = calloc(1, sizeof(*sweep));
	if (sweep) {
		*sweep = (struct sweep){ .edge = e, .kernel = e->kernel };
		if (offload_submit(e->offload, sweep_work, sweep_done, sweep) == 0) {
			e->sweep = sweep;
			return;
		}
		free(sweep);
	}
	loop_timer_arm(e->timer, loop_now_ns(e->loop) + SWEEP_NS);
}

/* --- into the kernel -------------------------------------------------------------------------------------------------------------- */

/* The object id of the source that stands for clients from outside in the service's mesh. */
static uint32_t outside_id(const struct edge *e, const char *service)
{
	const char *mesh = strchr(service, '/') + 1;
	_cleanup_free_ char *name = NULL;

	if (asprintf(&name, "mesh/%.*s/" PLAN_OUTSIDE, (int)(strchr(mesh, '/') - mesh), mesh) < 0) {
		name = NULL;
		return 0;
	}
	return apply_node_id(e->apply, name);
}

static void exposure_sync(struct edge *e, struct exposure *x)
{
	const struct plan_service *service = plan_find_service(apply_current(e->apply), x->service);
	struct exposed record = { .node = outside_id(e, x->service), .port = htons(x->service_port) };
	int r;

	if (!service) { /* the kernel refuses: the VIP that it has stands for nothing any more */
		snprintf(x->state, sizeof(x->state), "the service is not in the configuration");
		return;
	}
	record.vip = ip_is_v4(&x->address) ? service->vip4 : service->vip6;
	r = !record.node ? -ENOSPC :
	    memcmp(&record, &x->record, sizeof(record)) ? edge_exposed_set(e->kernel, &x->address, x->port, &record) : 0;
	if (r < 0) {
		snprintf(x->state, sizeof(x->state), "cannot be written to the kernel: %s", strerror(-r));
		log_warn("a service is not exposed", LOG_F("service", LOG_STR(x->service)), LOG_F("error", LOG_STR(strerror(-r))));
		return;
	}
	x->record = record;
	snprintf(x->state, sizeof(x->state), "ready");
}

static struct exposure *exposure_find(const struct edge *e, const struct ip *address, __be16 port)
{
	list_for_each(it, &e->exposures) {
		struct exposure *x = container_of(it, struct exposure, node);

		if (x->port == port && ip_equal(&x->address, address))
			return x;
	}
	return NULL;
}

static int prune_one(const struct exposed_key *key, const struct exposed *exposed, void *arg)
{
	struct edge *e = arg;

	(void)exposed;
	return exposure_find(e, &key->address, key->port) ? 0 : edge_exposed_remove(e->kernel, &key->address, key->port);
}

void edge_sync(struct edge *e)
{
	list_for_each(it, &e->exposures)
		exposure_sync(e, container_of(it, struct exposure, node));
	if (!e->synced)
		e->synced = edge_exposed_each(e->kernel, prune_one, e) == 0;
	loop_timer_arm(e->timer, loop_now_ns(e->loop)); /* connections may stand otherwise by now */
}

static int devices_sync(struct edge *e)
{
	_cleanup_free_ struct device_want *wants =
		calloc(e->exposure_count * EDGE_DEVICES_MAX + e->attachment_count + 1, sizeof(*wants));
	size_t count = 0;

	if (!wants)
		return -ENOMEM;
	list_for_each(it, &e->exposures) {
		const struct exposure *x = container_of(it, struct exposure, node);

		for (size_t i = 0; i < x->device_count; i++)
			wants[count++] = (struct device_want){ .name = x->devices[i] };
	}
	list_for_each(it, &e->attachments) {
		const struct attachment *a = container_of(it, struct attachment, node);

		wants[count++] = (struct device_want){ .name = a->device, .node = apply_node_id(e->apply, a->node_name) };
	}
	return devices_want(e->devices, wants, count);
}

/* --- what there is ---------------------------------------------------------------------------------------------------------------- */

const char *const *edge_services(const struct edge *e, size_t *ret_count)
{
	*ret_count = e->exposure_count;
	return e->names;
}

const char *const *edge_nodes(const struct edge *e, size_t *ret_count)
{
	*ret_count = e->attachment_count;
	return e->names ? e->names + e->exposure_count : NULL;
}

static struct exposure *exposure_free(struct exposure *x)
{
	if (!x)
		return NULL;
	list_remove(&x->node);
	free(x->service);
	free(x);
	return NULL;
}

static struct attachment *attachment_free(struct attachment *a)
{
	if (!a)
		return NULL;
	list_remove(&a->node);
	free(a->node_name);
	free(a);
	return NULL;
}

static struct attachment *attachment_find(const struct edge *e, const char *device)
{
	list_for_each(it, &e->attachments) {
		struct attachment *a = container_of(it, struct attachment, node);

		if (!strcmp(a->device, device))
			return a;
	}
	return NULL;
}

static bool is_exposing(const struct edge *e, const char *device)
{
	list_for_each(it, &e->exposures) {
		const struct exposure *x = container_of(it, struct exposure, node);

		for (size_t i = 0; i < x->device_count; i++)
			if (!strcmp(x->devices[i], device))
				return true;
	}
	return false;
}

/* After a change of the lists. */
static int names_refresh(struct edge *e)
{
	const char **names = calloc(e->exposure_count + e->attachment_count + 1, sizeof(*names));
	size_t count = 0;

	if (!names)
		return -ENOMEM;
	list_for_each(it, &e->exposures)
		names[count++] = container_of(it, struct exposure, node)->service;
	list_for_each(it, &e->attachments)
		names[count++] = container_of(it, struct attachment, node)->node_name;
	free(e->names);
	e->names = names;
	return 0;
}

static int changed(struct edge *e, struct error *err)
{
	int r = names_refresh(e);

	if (r == 0)
		r = devices_sync(e);
	if (r < 0)
		return error_set(err, r, "the change is kept, but not yet in force: %s", strerror(-r));
	e->options.changed(e->options.arg);
	loop_timer_arm(e->timer, loop_now_ns(e->loop) + SWEEP_NS);
	return 0;
}

/* --- exposing --------------------------------------------------------------------------------------------------------------------- */

static int exposure_new(const struct edge_exposure *from, struct exposure **ret_exposure)
{
	struct exposure *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	list_init(&x->node);
	x->address = from->address;
	x->port = from->port;
	x->service_port = from->service_port;
	x->service = strdup(from->service);
	x->device_count = from->device_count;
	for (size_t i = 0; i < from->device_count; i++)
		snprintf(x->devices[i], sizeof(x->devices[i]), "%s", from->devices[i]);
	snprintf(x->state, sizeof(x->state), "pending");
	if (!x->service) {
		exposure_free(x);
		return -ENOMEM;
	}
	*ret_exposure = x;
	return 0;
}

static void exposure_add(struct edge *e, struct exposure *x)
{
	struct exposure *before = exposure_find(e, &x->address, x->port);

	list_append(&e->exposures, &x->node);
	e->exposure_count++;
	if (!before)
		return;
	x->record = before->record;
	exposure_free(before);
	e->exposure_count--;
}

static json_t *devices_json(const struct exposure *x)
{
	json_t *list = json_array();

	for (size_t i = 0; i < x->device_count; i++)
		json_array_append_new(list, json_string(x->devices[i]));
	return list;
}

static int store_json(struct edge *e, const char *key, json_t *stolen, struct error *err)
{
	_cleanup_json_ json_t *value = stolen;
	_cleanup_free_ char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	return text ? state_put(e->state, key, text, strlen(text), err) : error_set(err, -ENOMEM, "out of memory");
}

/* VIPs are no addresses that anybody else could route to here; loopback has no device. */
static int address_check(const struct edge *e, const struct ip *address, struct error *err)
{
	const struct config *c = e->kernel->memory.config;
	char text[IP_TEXT_BYTES];

	if (ip_in_prefix(address, &c->vip4, &c->vip4_mask) || ip_in_prefix(address, &c->vip6, &c->vip6_mask))
		return error_set_field(err, -EINVAL, "address", "%s is in the network of VIPs, which never leave this host",
				       ip_format(address, text));
	if (!ip_is_connectable(address) || ip_is_loopback(address))
		return error_set_field(err, -EINVAL, "address", "clients from outside cannot connect to %s", ip_format(address, text));
	return 0;
}

/* Where none is given, the device that has the address. */
static int devices_choose(const struct edge *e, const struct edge_exposure *exposure, struct exposure *x, struct error *err)
{
	char text[IP_TEXT_BYTES];
	int r;

	if (!x->device_count) {
		if (device_of_address(&exposure->address, x->devices[0]) < 0)
			return error_set_field(err, -EINVAL, "device", "no device has %s: say by which one its packets come in",
					       ip_format(&exposure->address, text));
		x->device_count = 1;
	}
	for (size_t i = 0; i < x->device_count; i++) {
		if (attachment_find(e, x->devices[i]))
			return error_set_field(err, -EBUSY, "device", "'%s' is attached as a virtual node", x->devices[i]);
		r = device_check(exposure->device_count ? exposure->devices[i] : x->devices[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int edge_expose(struct edge *e, const struct edge_exposure *exposure, struct error *err)
{
	char key[sizeof(EXPOSED_PREFIX) + ENDPOINT_TEXT_BYTES], text[ENDPOINT_TEXT_BYTES];
	struct exposure *x = NULL;
	int r;

	if (exposure->device_count > EDGE_DEVICES_MAX)
		return error_set_field(err, -E2BIG, "device", "%zu devices are given, %d are possible", exposure->device_count,
				       EDGE_DEVICES_MAX);
	r = address_check(e, &exposure->address, err);
	if (r < 0)
		return r;
	if (e->exposure_count >= MAX_EXPOSED)
		return error_set(err, -ENOSPC, "%zu addresses are exposed already, as many as there can be", e->exposure_count);
	r = exposure_new(exposure, &x);
	if (r < 0)
		return error_set(err, r, "out of memory");
	snprintf(key, sizeof(key), EXPOSED_PREFIX "%s", ip_port_format(&x->address, x->port, text));
	r = devices_choose(e, exposure, x, err);
	if (r == 0)
		r = store_json(e, key,
			       json_pack("{s:s, s:i, s:o}", "service", x->service, "port", x->service_port, "devices", devices_json(x)),
			       err);
	if (r < 0) {
		exposure_free(x);
		return r;
	}
	exposure_add(e, x);
	return changed(e, err);
}

int edge_unexpose(struct edge *e, const struct ip *address, __be16 port, struct error *err)
{
	char key[sizeof(EXPOSED_PREFIX) + ENDPOINT_TEXT_BYTES], text[ENDPOINT_TEXT_BYTES];
	struct exposure *x = exposure_find(e, address, port);
	int r;

	ip_port_format(address, port, text);
	if (!x)
		return error_set_field(err, -ENOENT, "address", "nothing is exposed at %s", text);
	snprintf(key, sizeof(key), EXPOSED_PREFIX "%s", text);
	r = state_delete(e->state, key, err);
	if (r == 0 && (r = edge_exposed_remove(e->kernel, address, port)) < 0)
		error_set(err, r, "cannot be removed from the kernel: %s", strerror(-r));
	if (r < 0)
		return r;
	exposure_free(x);
	e->exposure_count--;
	return changed(e, err);
}

/* --- attaching -------------------------------------------------------------------------------------------------------------------- */

static int attachment_set(struct edge *e, const char *device, const char *node)
{
	struct attachment *a = attachment_find(e, device);
	char *name = strdup(node);

	if (!a && name) {
		a = calloc(1, sizeof(*a));
		if (a) {
			snprintf(a->device, sizeof(a->device), "%s", device);
			list_append(&e->attachments, &a->node);
			e->attachment_count++;
		}
	}
	if (!a || !name) {
		free(name);
		return -ENOMEM;
	}
	free(a->node_name);
	a->node_name = name;
	return 0;
}

int edge_attach(struct edge *e, const char *device, const char *node, struct error *err)
{
	char key[sizeof(ATTACHED_PREFIX) + IFNAMSIZ];
	int r = device_check(device, err);

	if (r < 0)
		return r;
	if (is_exposing(e, device))
		return error_set_field(err, -EBUSY, "device", "services are exposed on '%s'", device);
	snprintf(key, sizeof(key), ATTACHED_PREFIX "%s", device);
	r = store_json(e, key, json_pack("{s:s}", "virtualNode", node), err);
	if (r == 0 && (r = attachment_set(e, device, node)) < 0)
		error_set(err, r, "out of memory");
	return r < 0 ? r : changed(e, err);
}

int edge_detach(struct edge *e, const char *device, struct error *err)
{
	char key[sizeof(ATTACHED_PREFIX) + IFNAMSIZ];
	struct attachment *a = attachment_find(e, device);
	int r;

	if (!a)
		return error_set_field(err, -ENOENT, "device", "'%s' is not attached", device);
	snprintf(key, sizeof(key), ATTACHED_PREFIX "%s", device);
	r = state_delete(e->state, key, err);
	if (r < 0)
		return r;
	attachment_free(a);
	e->attachment_count--;
	return changed(e, err);
}

/* --- shown ------------------------------------------------------------------------------------------------------------------------ */

static json_t *device_json(const struct edge *e, const char *name)
{
	return json_pack("{s:s, s:s}", "device", name, "state", devices_state(e->devices, name));
}

json_t *edge_exposed_json(const struct edge *e)
{
	json_t *all = json_array();

	list_for_each(it, &e->exposures) {
		const struct exposure *x = container_of(it, struct exposure, node);
		char text[ENDPOINT_TEXT_BYTES];
		json_t *devices = json_array();

		for (size_t i = 0; i < x->device_count; i++)
			json_array_append_new(devices, device_json(e, x->devices[i]));
		json_array_append_new(all, json_pack("{s:s, s:s, s:i, s:o, s:s}", "address", ip_port_format(&x->address, x->port, text),
						     "service", x->service, "port", x->service_port, "devices", devices, "state", x->state));
	}
	return all;
}

json_t *edge_attached_json(const struct edge *e)
{
	json_t *all = json_array();

	list_for_each(it, &e->attachments) {
		const struct attachment *a = container_of(it, struct attachment, node);

		json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "device", a->device, "virtualNode", a->node_name, "state",
						     devices_state(e->devices, a->device)));
	}
	return all;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */

static int load_value(const struct state_entry *entry, json_t **ret_value)
{
	struct error err = {};
	int r = json_parse(entry->value, entry->value_bytes, ret_value, &err);

	if (r < 0)
		log_warn("an entry of the state directory is left out", LOG_F("key", LOG_STR(entry->key)), LOG_F("error", LOG_STR(err.message)));
	return r;
}

static int load_exposure(const struct state_entry *entry, void *arg)
{
	struct edge *e = arg;
	_cleanup_json_ json_t *value = NULL;
	struct edge_exposure exposure = {};
	struct exposure *x;
	int r;

	if (load_value(entry, &value) < 0)
		return 0;
	exposure.service = json_path_string(value, "service");
	exposure.service_port = (uint16_t)json_path_int(value, "port", 0);
	for (size_t i = 0; i < json_path_count(value, "devices") && i < EDGE_DEVICES_MAX; i++)
		exposure.devices[exposure.device_count++] = json_string_value(json_path_at(value, "devices", i)) ?: "";
	if (!exposure.service || strncmp(exposure.service, "mesh/", 5) || !strchr(exposure.service + 5, '/') ||
	    ip_port_parse(entry->key + strlen(EXPOSED_PREFIX), &exposure.address, &exposure.port) < 0) {
		log_warn("an entry of the state directory is left out", LOG_F("key", LOG_STR(entry->key)));
		return 0;
	}
	r = exposure_new(&exposure, &x);
	if (r == 0)
		exposure_add(e, x);
	return r;
}

static int load_attachment(const struct state_entry *entry, void *arg)
{
	_cleanup_json_ json_t *value = NULL;
	const char *node;

	if (load_value(entry, &value) < 0)
		return 0;
	node = json_path_string(value, "virtualNode");
	return node ? attachment_set(arg, entry->key + strlen(ATTACHED_PREFIX), node) : 0;
}

static int load(struct edge *e)
{
	int r = state_list(e->state, EXPOSED_PREFIX, NULL, 0, load_exposure, e, NULL);

	if (r >= 0)
		r = state_list(e->state, ATTACHED_PREFIX, NULL, 0, load_attachment, e, NULL);
	if (r >= 0)
		r = names_refresh(e);
	return r < 0 ? r : devices_sync(e);
}

int edge_new(struct loop *loop, struct offload *offload, struct kernel *kernel, struct state *state, struct apply *apply,
	     const struct edge_options *options, struct edge **ret_edge, struct error *err)
{
	struct edge *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return error_set(err, -ENOMEM, "out of memory");
	*e = (struct edge){
		.loop = loop, .offload = offload, .kernel = kernel, .state = state, .apply = apply, .options = *options,
	};
	list_init(&e->exposures);
	list_init(&e->attachments);
	r = devices_new(loop, offload, kernel, options->instance, &e->devices, err);
	if (r == 0 && (r = loop_timer_new(loop, on_timer, e, &e->timer)) < 0)
		error_set(err, r, "out of memory");
	if (r == 0 && (r = load(e)) < 0)
		error_set(err, r, "cannot take up what is exposed and attached: %s", strerror(-r));
	if (r < 0) {
		edge_free(e);
		return r;
	}
	*ret_edge = e;
	return 0;
}

struct edge *edge_free(struct edge *e)
{
	if (!e)
		return NULL;
	if (e->sweep)
		e->sweep->edge = NULL;
	loop_timer_free(e->timer);
	devices_free(e->devices);
	list_for_each_safe(it, &e->exposures)
		exposure_free(container_of(it, struct exposure, node));
	list_for_each_safe(it, &e->attachments)
		attachment_free(container_of(it, struct attachment, node));
	free(e->names);
	free(e);
	return NULL;
}
