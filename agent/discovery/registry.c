/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/discovery/registry.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/discovery/instance.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/sorted.h"

#define KEY_PREFIX "registry/"
#define BOOT_ID_BYTES 37 /* a UUID */
#define SERVICE_KEY_BYTES 8194 /* two names of 1024 characters */

/* The instances of one service, in order of id. */
struct service {
	struct table_node node;
	struct instance **instances;
	size_t count, capacity;
	char key[]; /* "NAMESPACE/SERVICE": neither holds a '/' */
};

struct registry {
	struct state *state;
	registry_changed_fn *changed;
	void *arg;
	struct table services; /* never one without instances */
	char boot_id[BOOT_ID_BYTES];
};

static struct service *service_free(struct service *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->count; i++)
		free(s->instances[i]);
	free(s->instances);
	free(s);
	return NULL;
}

static void cleanup_service(struct service **s)
{
	service_free(*s);
}

/* NULL: it is longer than names can be. */
static const char *service_key(char key[SERVICE_KEY_BYTES], const char *namespace_name, const char *service_name)
{
	const char *end = key + SERVICE_KEY_BYTES;

	return text_put(text_put(text_put(key, end, namespace_name), end, "/"), end, service_name) ? key : NULL;
}

/* NULL: there is none. */
static struct service *service_find(const struct registry *registry, const char *namespace_name, const char *service_name)
{
	char buffer[SERVICE_KEY_BYTES];
	const char *key = service_key(buffer, namespace_name, service_name);
	struct table_node *node = key ? table_get(&registry->services, key) : NULL;

	return node ? container_of(node, struct service, node) : NULL;
}

/* The service of an instance, made where there is none. 0 or -ENOMEM. */
static int service_make(struct registry *registry, const struct instance *i, struct service **ret_service)
{
	_cleanup_(cleanup_service) struct service *s = NULL;
	char key[SERVICE_KEY_BYTES];
	int r;

	*ret_service = service_find(registry, i->namespace_name, i->service_name);
	if (*ret_service)
		return 0;
	service_key(key, i->namespace_name, i->service_name);
	s = calloc(1, sizeof(*s) + strlen(key) + 1);
	if (!s)
		return -ENOMEM;
	strcpy(s->key, key);
	r = table_add(&registry->services, &s->node, s->key);
	if (r < 0)
		return r;
	*ret_service = TAKE_PTR(s);
	return 0;
}

static void service_drop_if_empty(struct registry *registry, struct service *s)
{
	if (s->count > 0)
		return;
	table_remove(&registry->services, &s->node);
	service_free(s);
}

/* Where the id is, or where it belongs. */
static size_t service_position(const struct service *s, const char *id, bool *ret_found)
{
	const size_t at = SORTED_PLACE(s->count, i, strcmp(s->instances[i]->id, id) < 0);

	*ret_found = at < s->count && strcmp(s->instances[at]->id, id) == 0;
	return at;
}

static struct instance *service_get(const struct service *s, const char *id)
{
	bool found;
	size_t at = service_position(s, id, &found);

	return found ? s->instances[at] : NULL;
}

static int service_reserve(struct service *s)
{
	size_t capacity = s->capacity ? s->capacity * 2 : 1;
	struct instance **instances;

	if (s->count < s->capacity)
		return 0;
	instances = reallocarray(s->instances, capacity, sizeof(*instances));
	if (!instances)
		return -ENOMEM;
	s->instances = instances;
	s->capacity = capacity;
	return 0;
}

/* Cannot fail after service_reserve(). Takes the instance over. */
static void service_set(struct service *s, struct instance *instance)
{
	bool found;
	size_t at = service_position(s, instance->id, &found);

	if (found) {
		free(s->instances[at]);
	} else {
		memmove(&s->instances[at + 1], &s->instances[at], (s->count - at) * sizeof(*s->instances));
		s->count++;
	}
	s->instances[at] = instance;
}

static void service_remove_at(struct service *s, size_t at)
{
	free(s->instances[at]);
	s->count--;
	memmove(&s->instances[at], &s->instances[at + 1], (s->count - at) * sizeof(*s->instances));
}

static char *store_key(const char *namespace_name, const char *service_name, const char *id)
{
	char *key;

	return asprintf(&key, KEY_PREFIX "%s/%s/%s", namespace_name, service_name, id) < 0 ? NULL : key;
}

struct load {
	struct registry *registry;
	struct error *err;
	struct state_op *stale; /* keys to delete */
	size_t stale_count;
	bool told;
};

static void load_done(struct load *load)
{
	for (size_t i = 0; i < load->stale_count; i++)
		free((char *)load->stale[i].key);
	free(load->stale);
}

static int load_stale(struct load *load, const char *key)
{
	struct state_op *stale = reallocarray(load->stale, load->stale_count + 1, sizeof(*stale));
	char *copy = strdup(key);

	if (stale)
		load->stale = stale;
	if (!stale || !copy) {
		free(copy);
		return -ENOMEM;
	}
	stale[load->stale_count++] = (struct state_op){ .key = copy };
	return 0;
}

static int load_instance(const struct state_entry *stored, void *arg)
{
	_cleanup_free_ struct instance *instance = NULL;
	char buffer[STATE_KEY_LIMIT_BYTES + 1], *rest = buffer;
	struct load *load = arg;
	struct instance names = {};
	struct service *s;
	int r;

	if (!text_put(buffer, buffer + sizeof(buffer), stored->key + strlen(KEY_PREFIX)))
		*buffer = '\0'; /* no key of ours, and so no name */
	names.namespace_name = strsep(&rest, "/");
	names.service_name = strsep(&rest, "/");
	names.id = rest;
	r = instance_read(&names, stored->value, stored->value_bytes, load->registry->boot_id, &instance, load->err);
	if (r > 0)
		return load_stale(load, stored->key);
	if (r < 0) {
		load->told = true;
		error_prefix(load->err, "cannot take up '%s' of the state", stored->key);
		return r;
	}
	r = service_make(load->registry, instance, &s);
	if (r < 0)
		return r;
	r = service_reserve(s);
	if (r == 0)
		service_set(s, TAKE_PTR(instance));
	service_drop_if_empty(load->registry, s);
	return r;
}

static int read_boot_id(char boot_id[BOOT_ID_BYTES], struct error *err)
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	if (!f || !fgets(boot_id, BOOT_ID_BYTES, f))
		return error_set(err, -EIO, "cannot read %s", path);
	return 0;
}

static void cleanup_registry(struct registry **registry)
{
	registry_free(*registry);
}

int registry_new(struct state *state, registry_changed_fn *changed, void *arg, struct registry **ret_registry, struct error *err)
{
	_cleanup_(cleanup_registry) struct registry *registry = calloc(1, sizeof(*registry));
	_cleanup_(load_done) struct load load = { .registry = registry, .err = err };
	int r;

	if (!registry)
		return error_set(err, -ENOMEM, "out of memory");
	registry->state = state;
	registry->changed = changed;
	registry->arg = arg;
	r = read_boot_id(registry->boot_id, err);
	if (r < 0)
		return r;
	r = state_list(state, KEY_PREFIX, NULL, 0, load_instance, &load, NULL);
	if (r < 0)
		return load.told ? r : error_set(err, r, "cannot read the instances of the state");
	if (load.stale_count > 0) {
		r = state_txn(state, NULL, 0, load.stale, load.stale_count, NULL, err);
		if (r < 0)
			return r;
	}
	*ret_registry = TAKE_PTR(registry);
	return 0;
}

struct registry *registry_free(struct registry *registry)
{
	if (!registry)
		return NULL;
	for (struct table_node *n = table_first(&registry->services), *next; n; n = next) {
		next = table_next(&registry->services, n);
		table_remove(&registry->services, n);
		service_free(container_of(n, struct service, node));
	}
	table_done(&registry->services);
	free(registry);
	return NULL;
}

int registry_put(struct registry *registry, const struct instance *instance, const json_t *attributes, struct error *err)
{
	_cleanup_free_ struct instance *copy = NULL;
	_cleanup_(buffer_done) struct buffer value = {};
	_cleanup_free_ char *key = NULL;
	struct service *s;
	struct instance *old;
	int r;

	r = instance_new(instance, attributes, &copy, err);
	if (r < 0)
		return r;
	key = store_key(copy->namespace_name, copy->service_name, copy->id);
	instance_write(copy, registry->boot_id, &value);
	if (!key || buffer_failed(&value))
		return error_set(err, -ENOMEM, "out of memory");
	r = service_make(registry, copy, &s);
	if (r < 0)
		return error_set(err, r, "out of memory");
	old = service_get(s, copy->id);
	if (old && instance_equal(old, copy))
		return 0;
	r = service_reserve(s);
	if (r == 0)
		r = state_put(registry->state, key, value.data, value.length, err);
	else
		error_set(err, r, "out of memory");
	if (r == 0)
		service_set(s, TAKE_PTR(copy));
	service_drop_if_empty(registry, s);
	if (r < 0)
		return r;
	registry->changed(instance->namespace_name, instance->service_name, registry->arg);
	return 0;
}

int registry_remove(struct registry *registry, const char *namespace_name, const char *service_name, const char *id,
		    struct error *err)
{
	_cleanup_free_ char *key = store_key(namespace_name, service_name, id);
	struct service *s = service_find(registry, namespace_name, service_name);
	bool found = false;
	size_t at;
	int r;

	if (!key)
		return error_set(err, -ENOMEM, "out of memory");
	at = s ? service_position(s, id, &found) : 0;
	if (!found)
		return error_set(err, -ENOENT, "service '%s' of namespace '%s' has no instance '%s'", service_name,
				 namespace_name, id);
	r = state_delete(registry->state, key, err);
	if (r < 0)
		return r;
	service_remove_at(s, at);
	service_drop_if_empty(registry, s);
	registry->changed(namespace_name, service_name, registry->arg);
	return 0;
}

struct removal {
	struct state_op *ops;
	size_t count;
};

static void cleanup_removal(struct removal *removal)
{
	for (size_t i = 0; i < removal->count; i++)
		free((char *)removal->ops[i].key);
	free(removal->ops);
}

/* One transaction, so that a workload's instances go together even if the agent dies here. */
static int store_delete_workload(struct registry *registry, uint64_t workload, size_t count)
{
	_cleanup_(cleanup_removal) struct removal removal = { .ops = calloc(count, sizeof(*removal.ops)) };

	if (!removal.ops)
		return -ENOMEM;
	for (struct table_node *n = table_first(&registry->services); n; n = table_next(&registry->services, n)) {
		const struct service *s = container_of(n, struct service, node);

		for (size_t i = 0; i < s->count; i++) {
			const struct instance *instance = s->instances[i];
			char *key;

			if (instance->workload != workload)
				continue;
			key = store_key(instance->namespace_name, instance->service_name, instance->id);
			if (!key)
				return -ENOMEM;
			removal.ops[removal.count++].key = key;
		}
	}
	return state_txn(registry->state, NULL, 0, removal.ops, removal.count, NULL, NULL);
}

static size_t count_workload(const struct registry *registry, uint64_t workload)
{
	size_t count = 0;

	for (struct table_node *n = table_first(&registry->services); n; n = table_next(&registry->services, n)) {
		const struct service *s = container_of(n, struct service, node);

		for (size_t i = 0; i < s->count; i++)
			count += s->instances[i]->workload == workload;
	}
	return count;
}

static int service_remove_workload(struct registry *registry, struct service *s, uint64_t workload)
{
	const struct instance *any = s->count ? s->instances[0] : NULL;
	_cleanup_free_ char *namespace_name = any ? strdup(any->namespace_name) : NULL, *name = any ? strdup(any->service_name) : NULL;
	const size_t count = s->count;

	if (any && (!namespace_name || !name))
		return -ENOMEM;
	for (size_t i = s->count; i-- > 0;)
		if (s->instances[i]->workload == workload)
			service_remove_at(s, i);
	if (s->count == count)
		return 0;
	service_drop_if_empty(registry, s);
	registry->changed(namespace_name, name, registry->arg);
	return 0;
}

int registry_remove_workload(struct registry *registry, uint64_t workload)
{
	size_t count = workload ? count_workload(registry, workload) : 0;
	int r;

	if (count == 0)
		return 0;
	r = store_delete_workload(registry, workload, count);
	if (r < 0)
		return r;
	for (struct table_node *n = table_first(&registry->services), *next; n; n = next) {
		struct service *s = container_of(n, struct service, node);

		next = table_next(&registry->services, n);
		r = service_remove_workload(registry, s, workload);
		if (r < 0)
			return r;
	}
	return 0;
}

static int service_each(const struct service *s, registry_fn *fn, void *arg)
{
	for (size_t i = 0; i < s->count; i++) {
		int r = fn(s->instances[i], arg);

		if (r < 0)
			return r;
	}
	return 0;
}

static int service_order(const void *a, const void *b)
{
	const struct instance *x = (*(struct service *const *)a)->instances[0], *y = (*(struct service *const *)b)->instances[0];
	int order = strcmp(x->namespace_name, y->namespace_name);

	return order ? order : strcmp(x->service_name, y->service_name);
}

int registry_each(const struct registry *registry, const char *namespace_name, const char *service_name, registry_fn *fn, void *arg)
{
	_cleanup_free_ struct service **sorted = NULL;
	size_t count = 0;
	int r = 0;

	if (namespace_name && service_name) {
		const struct service *s = service_find(registry, namespace_name, service_name);

		return s ? service_each(s, fn, arg) : 0;
	}
	sorted = calloc(registry->services.count + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (struct table_node *n = table_first(&registry->services); n; n = table_next(&registry->services, n)) {
		struct service *s = container_of(n, struct service, node);
		const struct instance *any = s->instances[0];

		if ((!namespace_name || strcmp(any->namespace_name, namespace_name) == 0) &&
		    (!service_name || strcmp(any->service_name, service_name) == 0))
			sorted[count++] = s;
	}
	qsort(sorted, count, sizeof(*sorted), service_order);
	for (size_t i = 0; i < count && r == 0; i++)
		r = service_each(sorted[i], fn, arg);
	return r;
}
