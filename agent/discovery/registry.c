/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"

#define KEY_PREFIX "registry/"
#define BOOT_ID_BYTES 37 /* a UUID */
#define NAME_MAX_CHARACTERS 1024
#define ID_MAX_CHARACTERS 64
#define ATTRIBUTE_KEY_MAX_CHARACTERS 255
#define ATTRIBUTE_VALUE_MAX_CHARACTERS 1024

/* The instances of one service, in order of id. */
struct service {
	struct table_node node;
	char *key; /* "NAMESPACE/SERVICE": neither holds a '/' */
	struct instance **instances;
	size_t count, capacity;
};

struct registry {
	struct state *state;
	registry_changed_fn *changed;
	void *arg;
	struct table services; /* never one without instances */
	char boot_id[BOOT_ID_BYTES];
};

/* --- attributes ---------------------------------------------------------------------------------------------------------- */

/* Name and value, one pair after the other, by name, each with its NUL, and an empty name at the end: a node may have instances by
 * the hundred thousand, and seldom asks for one's attributes. */

static const char *after(const char *text)
{
	return text + strlen(text) + 1;
}

const char *instance_attribute(const struct instance *instance, const char *name)
{
	for (const char *at = instance->attributes; *at; at = after(after(at)))
		if (strcmp(at, name) == 0)
			return after(at);
	return NULL;
}

json_t *instance_attributes(const struct instance *instance)
{
	_cleanup_json_ json_t *attributes = json_object();

	for (const char *at = instance->attributes; *at; at = after(after(at)))
		if (json_object_set_new(attributes, at, json_string(after(at))) < 0)
			return NULL;
	return TAKE_PTR(attributes);
}

static bool same_attributes(const struct instance *a, const struct instance *b)
{
	const char *x = a->attributes, *y = b->attributes;

	for (; *x && strcmp(x, y) == 0; x = after(x), y = after(y)) {
		x = after(x);
		y = after(y);
		if (strcmp(x, y) != 0)
			return false;
	}
	return !*x && !*y;
}

static size_t attributes_bytes(const json_t *attributes)
{
	size_t bytes = 1;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)attributes, key, value)
		bytes += strlen(key) + 1 + strlen(json_string_value(value)) + 1;
	return bytes;
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The bytes that follow the copy of `text`, at `to`. */
static char *put_text(char *to, const char *text)
{
	return stpcpy(to, text) + 1;
}

/* They are checked. */
static void put_attributes(char *to, const json_t *attributes)
{
	const char *names[INSTANCE_ATTRIBUTES_MAX], *key;
	size_t count = 0;
	json_t *value;

	json_object_foreach((json_t *)attributes, key, value)
		names[count++] = key;
	qsort(names, count, sizeof(*names), name_order);
	for (size_t i = 0; i < count; i++) {
		to = put_text(to, names[i]);
		to = put_text(to, json_string_value(json_object_get(attributes, names[i])));
	}
	*to = '\0';
}

/* --- instances ------------------------------------------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool instance_equal(const struct instance *a, const struct instance *b)
{
	return same_attributes(a, b) && a->netns_cookie == b->netns_cookie && a->workload == b->workload &&
	       same_text(a->zone, b->zone);
}

/* Code points of UTF-8: all bytes but those that continue one. */
static size_t characters(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static int check_text(const char *field, const char *text, size_t max, bool in_key, struct error *err)
{
	if (!text || !*text)
		return error_set_field(err, -EINVAL, field, "is missing");
	if (characters(text) > max)
		return error_set_field(err, -EINVAL, field, "has more than %zu characters", max);
	if (in_key && strchr(text, '/'))
		return error_set_field(err, -EINVAL, field, "must not contain '/'");
	return 0;
}

static const struct address_attribute {
	const char *key, *field;
	bool is_v4;
	size_t offset;
} address_attributes[] = {
	{ "AWS_INSTANCE_IPV4", "attributes.AWS_INSTANCE_IPV4", true, offsetof(struct instance, v4) },
	{ "AWS_INSTANCE_IPV6", "attributes.AWS_INSTANCE_IPV6", false, offsetof(struct instance, v6) },
};

static int read_addresses(struct instance *i, struct error *err)
{
	bool any = false;

	for (size_t n = 0; n < ARRAY_SIZE(address_attributes); n++) {
		const struct address_attribute *a = &address_attributes[n];
		const char *text = instance_attribute(i, a->key);
		struct ip ip = {};

		if (text) {
			if (ip_parse(text, &ip) < 0 || ip_is_v4(&ip) != a->is_v4)
				return error_set_field(err, -EINVAL, a->field, "'%s' is no IPv%c address", text,
						       a->is_v4 ? '4' : '6');
			if (!ip_is_connectable(&ip))
				return error_set_field(err, -EINVAL, a->field, "'%s' is no address to connect to", text);
			if (ip_is_loopback(&ip) && i->netns_cookie == 0)
				return error_set_field(err, -EINVAL, a->field,
						       "'%s' is a loopback address: say in which network namespace", text);
			any = true;
		}
		*(struct ip *)((char *)i + a->offset) = ip;
	}
	return any ? 0 : error_set_field(err, -EINVAL, "attributes", "need AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6");
}

static int read_port(struct instance *i, struct error *err)
{
	const char *text = instance_attribute(i, "AWS_INSTANCE_PORT");
	unsigned long port = 0;

	if (text) {
		bool digits = *text && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text);

		port = digits ? strtoul(text, NULL, 10) : 0;
		if (port < 1 || port > UINT16_MAX)
			return error_set_field(err, -EINVAL, "attributes.AWS_INSTANCE_PORT", "'%s' is no port, 1 to 65535", text);
	}
	i->port = (uint16_t)port;
	return 0;
}

static int check_attributes(const json_t *attributes, struct error *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(attributes))
		return error_set_field(err, -EINVAL, "attributes", "must be an object of strings");
	if (json_object_size(attributes) > INSTANCE_ATTRIBUTES_MAX)
		return error_set_field(err, -EINVAL, "attributes", "are more than %d", INSTANCE_ATTRIBUTES_MAX);
	json_object_foreach((json_t *)attributes, key, value) {
		char field[ERROR_FIELD_BYTES];

		snprintf(field, sizeof(field), "attributes.%s", key);
		if (!*key || characters(key) > ATTRIBUTE_KEY_MAX_CHARACTERS)
			return error_set_field(err, -EINVAL, "attributes", "have a name that is not 1 to %d characters long",
					       ATTRIBUTE_KEY_MAX_CHARACTERS);
		if (!json_is_string(value))
			return error_set_field(err, -EINVAL, field, "must be a string");
		if (characters(json_string_value(value)) > ATTRIBUTE_VALUE_MAX_CHARACTERS)
			return error_set_field(err, -EINVAL, field, "has more than %d characters", ATTRIBUTE_VALUE_MAX_CHARACTERS);
	}
	return 0;
}

/* In one piece of memory with all its texts. NULL: there is none. */
static struct instance *instance_make(const struct instance *from, const json_t *attributes)
{
	const size_t bytes = strlen(from->namespace_name) + strlen(from->service_name) + strlen(from->id) + 3 +
			     (from->zone ? strlen(from->zone) + 1 : 0) + attributes_bytes(attributes);
	struct instance *i = malloc(sizeof(*i) + bytes);

	if (!i)
		return NULL;
	*i = (struct instance){ .netns_cookie = from->netns_cookie, .workload = from->workload };
	i->namespace_name = (char *)(i + 1);
	i->service_name = put_text(i->namespace_name, from->namespace_name);
	i->id = put_text(i->service_name, from->service_name);
	i->attributes = put_text(i->id, from->id);
	if (from->zone) {
		i->zone = (char *)i->attributes;
		i->attributes = put_text(i->zone, from->zone);
	}
	put_attributes((char *)i->attributes, attributes);
	return i;
}

/* Checks, copies, and fills in what attributes say. */
static int instance_copy(const struct instance *from, const json_t *attributes, struct instance **ret_instance, struct error *err)
{
	_cleanup_free_ struct instance *i = NULL;
	int r;

	r = check_text("namespace", from->namespace_name, NAME_MAX_CHARACTERS, true, err);
	if (r == 0)
		r = check_text("service", from->service_name, NAME_MAX_CHARACTERS, true, err);
	if (r == 0)
		r = check_text("id", from->id, ID_MAX_CHARACTERS, false, err);
	if (r == 0)
		r = check_attributes(attributes, err);
	if (r < 0)
		return r;
	i = instance_make(from, attributes);
	if (!i)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_addresses(i, err);
	if (r == 0)
		r = read_port(i, err);
	if (r < 0)
		return r;
	*ret_instance = TAKE_PTR(i);
	return 0;
}

static struct service *service_free(struct service *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->count; i++)
		free(s->instances[i]);
	free(s->instances);
	free(s->key);
	free(s);
	return NULL;
}

static void cleanup_service(struct service **s)
{
	service_free(*s);
}

/* NULL in *ret_service: there is none. 0 or -ENOMEM. */
static int service_find(const struct registry *registry, const char *namespace_name, const char *service_name,
			struct service **ret_service)
{
	_cleanup_(buffer_done) struct buffer key = {};
	struct table_node *node;

	buffer_printf(&key, "%s/%s", namespace_name, service_name);
	if (buffer_failed(&key))
		return -ENOMEM;
	node = table_get(&registry->services, key.data);
	*ret_service = node ? container_of(node, struct service, node) : NULL;
	return 0;
}

/* The service of an instance, made where there is none. 0 or -ENOMEM. */
static int service_make(struct registry *registry, const struct instance *i, struct service **ret_service)
{
	_cleanup_(cleanup_service) struct service *s = NULL;
	int r = service_find(registry, i->namespace_name, i->service_name, ret_service);

	if (r < 0 || *ret_service)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	if (asprintf(&s->key, "%s/%s", i->namespace_name, i->service_name) < 0) {
		s->key = NULL;
		return -ENOMEM;
	}
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
	size_t low = 0, high = s->count;

	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(s->instances[middle]->id, id);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct instance *service_get(const struct service *s, const char *id)
{
	bool found;
	size_t at = service_position(s, id, &found);

	return found ? s->instances[at] : NULL;
}

static int service_reserve(struct service *s)
{
	size_t capacity = s->capacity ? s->capacity * 2 : 4;
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

static char *instance_to_text(const struct registry *registry, const struct instance *i)
{
	_cleanup_json_ json_t *value =
		json_pack("{s:o, s:s*, s:I, s:s, s:I}", "attributes", instance_attributes(i), "zone", i->zone, "netnsCookie",
			  (json_int_t)i->netns_cookie, "bootId", registry->boot_id, "workload", (json_int_t)i->workload);

	return value ? json_dumps(value, JSON_COMPACT) : NULL;
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

static bool has_loopback(const struct instance *i)
{
	return ip_is_loopback(&i->v4) || ip_is_loopback(&i->v6);
}

/* 1: of a loopback address in a namespace of an earlier boot. The kernel counts cookies from the start again, so that it might
 * be offered to a stranger's namespace. */
static int instance_from_store(const struct load *load, const struct state_entry *stored, struct instance **ret_instance)
{
	_cleanup_free_ struct instance *instance = NULL;
	_cleanup_free_ char *names = strdup(stored->key + strlen(KEY_PREFIX));
	_cleanup_json_ json_t *value = NULL;
	struct instance given = {};
	const char *boot_id;
	char *rest = names;
	int r;

	if (!names)
		return error_set(load->err, -ENOMEM, "out of memory");
	r = json_parse(stored->value, stored->value_bytes, &value, load->err);
	if (r < 0)
		return r;
	given.namespace_name = strsep(&rest, "/");
	given.service_name = strsep(&rest, "/");
	given.id = rest;
	given.zone = (char *)json_path_string(value, "zone");
	given.netns_cookie = (uint64_t)json_path_int(value, "netnsCookie", 0);
	given.workload = (uint64_t)json_path_int(value, "workload", 0);
	r = instance_copy(&given, json_object_get(value, "attributes"), &instance, load->err);
	if (r < 0)
		return r;
	boot_id = json_path_string(value, "bootId");
	if (!boot_id || strcmp(boot_id, load->registry->boot_id) != 0) {
		if (has_loopback(instance))
			return 1;
		instance->netns_cookie = 0;
	}
	*ret_instance = TAKE_PTR(instance);
	return 0;
}

static int load_instance(const struct state_entry *stored, void *arg)
{
	_cleanup_free_ struct instance *instance = NULL;
	struct load *load = arg;
	struct service *s;
	int r;

	r = instance_from_store(load, stored, &instance);
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
	_cleanup_free_ char *key = NULL, *text = NULL;
	struct service *s;
	struct instance *old;
	int r;

	r = instance_copy(instance, attributes, &copy, err);
	if (r < 0)
		return r;
	key = store_key(copy->namespace_name, copy->service_name, copy->id);
	text = instance_to_text(registry, copy);
	if (!key || !text)
		return error_set(err, -ENOMEM, "out of memory");
	r = service_make(registry, copy, &s);
	if (r < 0)
		return error_set(err, r, "out of memory");
	old = service_get(s, copy->id);
	if (old && instance_equal(old, copy))
		return 0;
	r = service_reserve(s);
	if (r == 0)
		r = state_put(registry->state, key, text, strlen(text), err);
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
	struct service *s;
	bool found = false;
	size_t at;
	int r = service_find(registry, namespace_name, service_name, &s);

	if (!key || r < 0)
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
		struct service *s;

		r = service_find(registry, namespace_name, service_name, &s);
		return r == 0 && s ? service_each(s, fn, arg) : r;
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
