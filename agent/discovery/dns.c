/* SPDX-License-Identifier: Apache-2.0 */
#include "dns.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/discovery/resolver.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "maps/proxy.h"

#define KEY_PREFIX "discovery/dns/"
#define UNDER_WAY_MAX 1024
#define ASKED_PER_TURN 64 /* so that answers do not come faster than a socket's buffer is emptied */
#define SERVER_TIMEOUT_NS (2 * NSEC_PER_SEC)
#define SERVER_TIMEOUT_MIN_NS (100 * NSEC_PER_MSEC) /* whatever the time scale: servers are as fast as ever */
#define REFRESH_MIN_NS (5 * NSEC_PER_SEC)
#define REFRESH_MAX_NS (300 * NSEC_PER_SEC)
#define REFRESH_EMPTY_FAMILY_NS (30 * NSEC_PER_SEC)
#define RETRY_MIN_NS NSEC_PER_SEC
#define RETRY_MAX_NS (30 * NSEC_PER_SEC)
#define SAVES_PER_TURN 256 /* names; some 50 us each on SQLite */

enum { V4, V6, FAMILIES };

static const struct {
	const char *record, *member;
} family_words[FAMILIES] = { [V4] = { "A", "v4" }, [V6] = { "AAAA", "v6" } };

/* The addresses of one family of a name. */
struct family {
	struct name *name;
	struct loop_timer *timer; /* when it is asked for again */
	struct list waiting; /* in discovery.waiting, when that has come and too many queries are under way */
	struct query *query; /* under way */
	struct ip *addresses; /* sorted bytewise */
	size_t count, first;
	bool known; /* there was an answer, in this run or before */
	bool fresh; /* the last query was answered */
	const char *text; /* what is to be said of the last query; NULL: nothing */
	uint32_t ttl_seconds;
	uint64_t answered_ns, next_ns; /* 0: not yet */
	uint64_t failures;
	unsigned failures_in_a_row;
	size_t left_out; /* of the last answer */
};

struct name {
	struct dns_discovery *discovery;
	struct table_node node;
	struct list link; /* in discovery.names: least recently asked for first */
	struct list unsaved; /* in discovery.unsaved, while the state does not have it */
	struct list changed; /* in discovery.changed, while its change is not told */
	char *hostname; /* in lower case, without a dot at the end */
	uint64_t round; /* the last one that asked for it; 0: only the state did */
	struct family families[FAMILIES];
};

struct query { /* outlives a name that is let go meanwhile */
	struct dns_discovery *discovery;
	struct family *family; /* NULL: nobody cares any more */
};

struct dns_discovery {
	struct loop *loop;
	struct state *state;
	struct dns_discovery_options options; /* but for the servers */
	struct resolver *resolver;
	struct table by_hostname;
	struct list names, waiting, unsaved;
	struct loop_timer *asking, *saving;
	size_t under_way;
	uint64_t round;
	struct list changed;
};

static uint64_t scaled(const struct dns_discovery *d, uint64_t span_ns)
{
	return span_ns / d->options.time_scale;
}

static bool is_v6(const struct family *family)
{
	return family == &family->name->families[V6];
}

/* A tenth more or less, so that what began together does not stay together. */
static uint64_t jittered(uint64_t span_ns)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return span_ns / 1000 * (900 + random % 201);
}

/* --- names ------------------------------------------------------------------------------------------------------------- */

static void family_done(struct family *family)
{
	family->timer = loop_timer_free(family->timer);
	if (family->query)
		family->query->family = NULL;
	list_remove(&family->waiting);
	free(family->addresses);
}

static struct name *name_free(struct name *name)
{
	if (!name)
		return NULL;
	for (int f = 0; f < FAMILIES; f++)
		family_done(&name->families[f]);
	list_remove(&name->link);
	list_remove(&name->unsaved);
	list_remove(&name->changed);
	free(name->hostname);
	free(name);
	return NULL;
}

static void cleanup_name(struct name **name)
{
	name_free(*name);
}

static void name_drop(struct dns_discovery *d, struct name *name)
{
	table_remove(&d->by_hostname, &name->node);
	name_free(name);
}

static void due(struct loop_timer *timer, void *arg)
{
	struct family *family = arg;
	struct dns_discovery *d = family->name->discovery;

	(void)timer;
	list_append(&d->waiting, &family->waiting);
	loop_timer_arm(d->asking, 0);
}

static int name_new(struct dns_discovery *d, const char *hostname, struct name **ret_name)
{
	_cleanup_(cleanup_name) struct name *name = calloc(1, sizeof(*name));
	int r;

	if (!name)
		return -ENOMEM;
	name->discovery = d;
	list_init(&name->link);
	list_init(&name->unsaved);
	list_init(&name->changed);
	for (int f = 0; f < FAMILIES; f++) {
		name->families[f].name = name;
		list_init(&name->families[f].waiting);
	}
	name->hostname = strdup(hostname);
	if (!name->hostname)
		return -ENOMEM;
	for (int f = 0; f < FAMILIES; f++) {
		r = loop_timer_new(d->loop, due, &name->families[f], &name->families[f].timer);
		if (r < 0)
			return r;
	}
	r = table_add(&d->by_hostname, &name->node, name->hostname);
	if (r < 0)
		return r;
	list_append(&d->names, &name->link);
	*ret_name = TAKE_PTR(name);
	return 0;
}

/* --- sets of addresses ------------------------------------------------------------------------------------------------- */

static int address_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip));
}

/* Sorts, and leaves each once; returns how many there are then. */
static size_t sort_addresses(struct ip *addresses, size_t count)
{
	size_t kept = 0;

	if (count > 1)
		qsort(addresses, count, sizeof(*addresses), address_order);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || !ip_equal(&addresses[kept - 1], &addresses[i]))
			addresses[kept++] = addresses[i];
	return kept;
}

static size_t find_address(const struct ip *addresses, size_t count, const struct ip *address)
{
	const struct ip *found = count ? bsearch(address, addresses, count, sizeof(*addresses), address_order) : NULL;

	return found ? (size_t)(found - addresses) : count;
}

static bool same_set(const struct family *family, const struct ip *addresses, size_t count)
{
	return family->count == count && (!count || memcmp(family->addresses, addresses, count * sizeof(*addresses)) == 0);
}

/* The one that connections went to stays the first while it is there, then it is the one that was named first. */
static size_t choose_first(const struct family *family, const struct ip *addresses, size_t count, const struct ip *named_first)
{
	size_t first = count;

	if (family->count)
		first = find_address(addresses, count, &family->addresses[family->first]);
	if (first == count)
		first = find_address(addresses, count, named_first);
	return first < count ? first : 0;
}

/* 1: it is another set; 0; -ENOMEM. `from` in the order in which they were named. */
static int family_set(struct family *family, const struct ip *from, size_t from_count)
{
	_cleanup_free_ struct ip *addresses = calloc(from_count + 1, sizeof(*addresses));
	struct ip named_first;
	size_t usable = 0, count;

	if (!addresses)
		return -ENOMEM;
	for (size_t i = 0; i < from_count; i++)
		if (ip_is_v4(&from[i]) != is_v6(family) && ip_is_connectable(&from[i]))
			addresses[usable++] = from[i];
	named_first = addresses[0];
	count = sort_addresses(addresses, usable);
	family->left_out = from_count - usable + (count > DNS_ADDRESSES_MAX ? count - DNS_ADDRESSES_MAX : 0);
	count = MIN(count, (size_t)DNS_ADDRESSES_MAX);
	family->known = true;
	if (same_set(family, addresses, count))
		return 0;
	family->first = choose_first(family, addresses, count, &named_first);
	free(family->addresses);
	family->addresses = TAKE_PTR(addresses);
	family->count = count;
	return 1;
}

/* --- the state --------------------------------------------------------------------------------------------------------- */

/* The first one first, the others in order. */
static json_t *family_to_json(const struct family *family)
{
	json_t *list = json_array();
	char text[IP_TEXT_BYTES];

	if (family->count)
		json_array_append_new(list, json_string(ip_format(&family->addresses[family->first], text)));
	for (size_t i = 0; i < family->count; i++)
		if (i != family->first)
			json_array_append_new(list, json_string(ip_format(&family->addresses[i], text)));
	return list;
}

static char *name_to_text(const struct name *name)
{
	_cleanup_json_ json_t *value = json_object();

	for (int f = 0; f < FAMILIES; f++)
		if (name->families[f].known)
			json_object_set_new(value, family_words[f].member, family_to_json(&name->families[f]));
	return json_dumps(value, JSON_COMPACT);
}

static int family_from_json(struct family *family, const json_t *list)
{
	_cleanup_free_ struct ip *addresses = calloc(json_array_size(list) + 1, sizeof(*addresses));
	size_t count = 0;
	json_t *one;
	size_t i;
	int r;

	if (!addresses)
		return -ENOMEM;
	json_array_foreach(list, i, one)
		if (json_is_string(one) && ip_parse(json_string_value(one), &addresses[count]) == 0)
			count++;
	r = family_set(family, addresses, count);
	return r < 0 ? r : 0;
}

/* What makes no sense is forgotten: it is asked for in any case. */
static int load_name(const struct state_entry *stored, void *arg)
{
	_cleanup_json_ json_t *value = NULL;
	struct dns_discovery *d = arg;
	struct error err = {};
	struct name *name;
	int r = json_parse(stored->value, stored->value_bytes, &value, &err);

	if (r < 0 && r != -ENOMEM) {
		log_warn("stored addresses of a host name are ignored", LOG_F("key", LOG_STR(stored->key)), LOG_F("error", LOG_STR(err.message)));
		return 0;
	}
	if (r == 0)
		r = name_new(d, stored->key + strlen(KEY_PREFIX), &name);
	for (int f = 0; r == 0 && f < FAMILIES; f++) {
		const json_t *list = json_object_get(value, family_words[f].member);

		r = list ? family_from_json(&name->families[f], list) : 0;
	}
	return r;
}

/* The operations own their keys and values. */
static void free_ops(struct state_op *ops, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((char *)ops[i].key);
		free((void *)ops[i].value);
	}
}

static char *key_of(const struct name *name)
{
	char *key;

	return asprintf(&key, KEY_PREFIX "%s", name->hostname) < 0 ? NULL : key;
}

static int save_some(struct dns_discovery *d)
{
	struct state_op ops[SAVES_PER_TURN];
	struct error err = {};
	size_t count = 0;
	int r = 0;

	list_for_each(it, &d->unsaved) {
		const struct name *name = container_of(it, struct name, unsaved);
		char *text;

		if (count == ARRAY_SIZE(ops))
			break;
		text = name_to_text(name);
		ops[count++] = (struct state_op){ key_of(name), text, text ? strlen(text) : 0 };
		if (!ops[count - 1].key || !text)
			r = error_set(&err, -ENOMEM, "out of memory");
	}
	if (r == 0 && count)
		r = state_txn(d->state, NULL, 0, ops, count, NULL, &err);
	free_ops(ops, count);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "addresses of host names are not stored", LOG_F("error", LOG_STR(err.message)));
		return r;
	}
	while (count--)
		list_remove(d->unsaved.next);
	return 0;
}

static void save(struct loop_timer *timer, void *arg)
{
	struct dns_discovery *d = arg;
	const int r = save_some(d);

	if (!list_empty(&d->unsaved))
		loop_timer_arm(timer, r < 0 ? loop_now_ns(d->loop) + NSEC_PER_SEC : 0);
	while (!list_empty(&d->changed)) {
		struct name *name = container_of(d->changed.next, struct name, changed);

		list_remove(&name->changed);
		d->options.changed(name->hostname, d->options.arg);
	}
}

static void save_soon(struct name *name)
{
	struct dns_discovery *d = name->discovery;

	if (list_empty(&name->unsaved))
		list_append(&d->unsaved, &name->unsaved);
	loop_timer_arm(d->saving, 0);
}

/* --- questions and answers --------------------------------------------------------------------------------------------- */

static uint64_t refresh_ns(const struct family *family)
{
	const bool other_has = family->name->families[is_v6(family) ? V4 : V6].count > 0;

	if (!family->count)
		return other_has ? REFRESH_EMPTY_FAMILY_NS : REFRESH_MIN_NS;
	return MIN(MAX(family->ttl_seconds * NSEC_PER_SEC, REFRESH_MIN_NS), REFRESH_MAX_NS);
}

static uint64_t retry_ns(const struct family *family)
{
	uint64_t span_ns = RETRY_MIN_NS;

	for (unsigned i = 1; i < family->failures_in_a_row && span_ns < RETRY_MAX_NS; i++)
		span_ns *= 2;
	return MIN(span_ns, RETRY_MAX_NS);
}

static void take_answer(struct family *family, const struct resolver_answer *answer)
{
	struct dns_discovery *d = family->name->discovery;
	const bool was_known = family->known;
	const int r = family_set(family, answer->addresses, answer->count);

	if (r < 0) {
		family->text = "out of memory";
		return;
	}
	family->fresh = true;
	family->failures_in_a_row = 0;
	family->ttl_seconds = answer->ttl_seconds;
	family->answered_ns = loop_now_ns(d->loop);
	if (r > 0 && list_empty(&family->name->changed))
		list_append(&d->changed, &family->name->changed);
	if (r > 0 || !was_known)
		save_soon(family->name);
}

static void answered(const struct resolver_answer *answer, void *arg)
{
	struct query *query = arg;
	struct dns_discovery *d = query->discovery;
	struct family *family = query->family;

	free(query);
	d->under_way--;
	if (!list_empty(&d->waiting))
		loop_timer_arm(d->asking, 0);
	if (!family)
		return;
	family->query = NULL;
	family->fresh = false;
	family->text = answer->text;
	if (answer->result == 0 || answer->result == -ENOENT)
		take_answer(family, answer);
	if (!family->fresh) {
		family->failures++;
		family->failures_in_a_row++;
	}
	family->next_ns = loop_now_ns(d->loop) + scaled(d, jittered(family->fresh ? refresh_ns(family) : retry_ns(family)));
	loop_timer_arm(family->timer, family->next_ns);
}

static void ask(struct dns_discovery *d, struct family *family)
{
	const struct resolver_answer no_memory = { .result = -ENOMEM, .text = "out of memory" };
	struct query *query = malloc(sizeof(*query));

	if (!query) {
		family->failures++;
		family->text = no_memory.text;
		loop_timer_arm(family->timer, loop_now_ns(d->loop) + RETRY_MIN_NS);
		return;
	}
	*query = (struct query){ d, family };
	family->query = query;
	d->under_way++;
	resolver_ask(d->resolver, family->name->hostname, is_v6(family), answered, query);
}

static void ask_some(struct loop_timer *timer, void *arg)
{
	struct dns_discovery *d = arg;

	for (unsigned i = 0; i < ASKED_PER_TURN && d->under_way < UNDER_WAY_MAX && !list_empty(&d->waiting); i++) {
		struct family *family = container_of(d->waiting.next, struct family, waiting);

		list_remove(&family->waiting);
		ask(d, family);
	}
	if (d->under_way < UNDER_WAY_MAX && !list_empty(&d->waiting))
		loop_timer_arm(timer, 0);
}

/* --- what the compiler asks -------------------------------------------------------------------------------------------- */

static char *as_asked(const char *hostname)
{
	const size_t length = strlen(hostname);
	char *copy = strndup(hostname, length && hostname[length - 1] == '.' ? length - 1 : length);

	for (char *c = copy; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return copy;
}

/* From now on somebody wants to know. An address is its own answer, and for ever. */
static int name_begin(struct name *name)
{
	struct name_key key;
	struct ip ip;

	if (ip_parse(name->hostname, &ip) == 0) {
		for (int f = 0; f < FAMILIES; f++) {
			if (family_set(&name->families[f], &ip, ip_is_v4(&ip) == (f == V4)) < 0)
				return -ENOMEM;
			name->families[f].fresh = true;
		}
		return 0;
	}
	for (int f = 0; f < FAMILIES; f++)
		if (name_key_make("", name->hostname, &key) < 0)
			name->families[f].text = "no DNS name: it has labels of 1 to 63 bytes, and 253 bytes in all";
		else
			loop_timer_arm(name->families[f].timer, 0);
	return 0;
}

int dns_discovery_get(struct dns_discovery *d, const char *hostname, struct dns_addresses *ret_addresses)
{
	_cleanup_free_ char *key = as_asked(hostname);
	const struct family *v4, *v6;
	struct table_node *known;
	struct name *name;
	int r;

	if (!key)
		return -ENOMEM;
	known = table_get(&d->by_hostname, key);
	if (known)
		name = container_of(known, struct name, node);
	else if ((r = name_new(d, key, &name)) < 0)
		return r;
	if (!name->round && (r = name_begin(name)) < 0)
		return r;
	name->round = d->round;
	list_remove(&name->link);
	list_append(&d->names, &name->link);
	v4 = &name->families[V4];
	v6 = &name->families[V6];
	if (!v4->known && !v6->known)
		return -EINPROGRESS;
	*ret_addresses = (struct dns_addresses){ v4->addresses, v6->addresses, v4->count, v6->count, v4->first, v6->first };
	return 0;
}

static void forget(struct dns_discovery *d, struct state_op *ops, size_t count)
{
	struct error err = {};

	if (count && state_txn(d->state, NULL, 0, ops, count, NULL, &err) < 0) /* the next agent tries again */
		log_warn("addresses of host names stay in the state", LOG_F("error", LOG_STR(err.message)));
	free_ops(ops, count);
}

void dns_discovery_commit(struct dns_discovery *d)
{
	struct state_op ops[SAVES_PER_TURN];
	size_t count = 0;

	while (!list_empty(&d->names)) {
		struct name *name = container_of(d->names.next, struct name, link);
		char *key;

		if (name->round == d->round)
			break; /* and so are all behind it */
		key = key_of(name);
		if (key)
			ops[count++] = (struct state_op){ .key = key };
		name_drop(d, name);
		if (count == ARRAY_SIZE(ops)) {
			forget(d, ops, count);
			count = 0;
		}
	}
	forget(d, ops, count);
	d->round++;
}

/* --- start and end ----------------------------------------------------------------------------------------------------- */

static void cleanup_discovery(struct dns_discovery **d)
{
	dns_discovery_free(*d);
}

int dns_discovery_new(struct loop *loop, struct state *state, const struct dns_discovery_options *options,
		      struct dns_discovery **ret_discovery, struct error *err)
{
	_cleanup_(cleanup_discovery) struct dns_discovery *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return error_set(err, -ENOMEM, "out of memory");
	d->loop = loop;
	d->state = state;
	d->options = *options;
	d->round = 1;
	list_init(&d->names);
	list_init(&d->waiting);
	list_init(&d->unsaved);
	list_init(&d->changed);
	if (loop_timer_new(loop, ask_some, d, &d->asking) < 0 || loop_timer_new(loop, save, d, &d->saving) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = resolver_new(loop, options->servers, options->server_count, MAX(scaled(d, SERVER_TIMEOUT_NS), SERVER_TIMEOUT_MIN_NS),
			 &d->resolver, err);
	if (r < 0)
		return r;
	r = state_list(state, KEY_PREFIX, NULL, 0, load_name, d, NULL);
	if (r < 0)
		return error_set(err, r, "cannot read the stored addresses of host names");
	*ret_discovery = TAKE_PTR(d);
	return 0;
}

struct dns_discovery *dns_discovery_free(struct dns_discovery *d)
{
	if (!d)
		return NULL;
	while (!list_empty(&d->names))
		name_drop(d, container_of(d->names.next, struct name, link));
	resolver_free(d->resolver); /* which ends the queries */
	loop_timer_free(d->asking);
	loop_timer_free(d->saving);
	table_done(&d->by_hostname);
	free(d);
	return NULL;
}

/* --- for people -------------------------------------------------------------------------------------------------------- */

static const char *state_of(const struct name *name)
{
	const struct family *v4 = &name->families[V4], *v6 = &name->families[V6];

	return v4->fresh && v6->fresh ? "fresh" : v4->known || v6->known ? "kept" : "unknown";
}

static json_t *text_of(const struct name *name)
{
	_cleanup_(buffer_done) struct buffer b = {};

	for (int f = 0; f < FAMILIES; f++)
		if (name->families[f].text)
			buffer_printf(&b, "%s%s: %s", b.length ? ", " : "", family_words[f].record, name->families[f].text);
	return b.length ? json_string(buffer_string(&b)) : json_null();
}

static json_t *time_json(uint64_t monotonic_ns)
{
	char text[TIME_TEXT_BYTES];

	return monotonic_ns ? json_string(time_format(time_to_wall_ns(monotonic_ns), text)) : json_null();
}

static json_t *addresses_json(const struct family *family)
{
	json_t *list = json_array();
	char text[IP_TEXT_BYTES];

	for (size_t i = 0; i < family->count; i++)
		json_array_append_new(list, json_string(ip_format(&family->addresses[i], text)));
	return list;
}

/* Of those that are not 0; 0: both are. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a && b ? MIN(a, b) : MAX(a, b);
}

static json_t *name_json(const struct name *name)
{
	const struct family *v4 = &name->families[V4], *v6 = &name->families[V6];

	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:I, s:o, s:o, s:I, s:I}", "hostname", name->hostname, "v4", addresses_json(v4), "v6",
			 addresses_json(v6), "state", state_of(name), "error", text_of(name), "ttlSeconds",
			 (json_int_t)sooner(v4->ttl_seconds, v6->ttl_seconds), "answeredAt", time_json(MAX(v4->answered_ns, v6->answered_ns)),
			 "nextAt", time_json(sooner(v4->next_ns, v6->next_ns)), "failures", (json_int_t)(v4->failures + v6->failures),
			 "leftOut", (json_int_t)(v4->left_out + v6->left_out));
}

static int hostname_order(const void *a, const void *b)
{
	return strcmp((*(const struct name *const *)a)->hostname, (*(const struct name *const *)b)->hostname);
}

json_t *dns_discovery_json(const struct dns_discovery *d)
{
	_cleanup_free_ const struct name **names = calloc(d->by_hostname.count + 1, sizeof(*names));
	json_t *list = json_array();
	size_t count = 0;

	list_for_each(it, &d->names)
		if (names)
			names[count++] = container_of(it, struct name, link);
	if (count > 1)
		qsort(names, count, sizeof(*names), hostname_order);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, name_json(names[i]));
	return list;
}
