/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/takeover.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "loader/pins.h"
#include "maps/abi/upgrade.h"
#include "maps/pinned.h"

enum rule {
	RULE_COPY,
	RULE_COUNTS,
	RULE_ACCOUNTS,
	RULE_NEAR_ACCOUNTS, /* they go into w_account */
	RULE_STATISTICS,
	RULE_REASONS,
	RULE_FLOWS,
	RULE_EDGE, /* copied when no program uses it; takeover_edge() */
	RULE_EDGE_KEYS, /* by which it is found: as good as nothing, where no device is attached, and else as they are */
	RULE_NOTHING, /* begins anew */
	RULE_REMADE, /* the same, also where nothing has changed */
};

#define NAMES(...) (const char *const[]){ __VA_ARGS__, NULL }

/* Of what programs count: members that they do not write, and those that are set, and not added to. Such a one is taken over where it
 * changed here and not there. */
static const struct map_rule {
	const char *map;
	enum rule rule;
	const char *const *agents, *const *states;
} map_rules[] = {
	{ "w_root", RULE_COPY },
	{ "w_directory", RULE_COPY },
	{ "w_object", RULE_COPY },
	{ "w_service", RULE_COPY },
	{ "w_route", RULE_COPY },
	{ "w_target", RULE_COPY },
	{ "w_ref", RULE_COPY },
	{ "w_node", RULE_COPY },
	{ "w_backend", RULE_COPY },
	{ "w_config", RULE_COPY },
	{ "w_vip", RULE_COPY },
	{ "w_netns", RULE_COPY },
	{ "w_cgroup", RULE_COPY },
	{ "w_own_address", RULE_COPY },
	{ "w_exempt", RULE_COPY },
	{ "w_name", RULE_COPY },
	{ "w_proxy", RULE_COPY },
	{ "w_resolver", RULE_COPY },
	{ "w_asked", RULE_COPY },
	{ "w_proxy_place", RULE_COPY },
	{ "w_handover", RULE_COPY },
	{ "w_intercept", RULE_COPY },
	{ "w_way", RULE_COPY },
	{ "w_real_peer", RULE_COPY },
	{ "w_inbound", RULE_NOTHING }, /* weft-proxy puts its sockets there */
	{ "w_exposed", RULE_COPY },
	{ "w_edge_device", RULE_COPY },
	{ "w_row", RULE_COUNTS, .agents = NAMES("incarnation", "source", "service", "target") },
	{ "w_endpoint", RULE_COUNTS, .agents = NAMES("incarnation", "health", "gone"),
	  .states = NAMES("ejected_until_ns", "ejected_for_ns", "readmitted_ns", "ejections", "ejection_factor", "connect_errors",
			  "reset_errors", "http_errors") },
	{ "w_serving", RULE_COPY },
	{ "w_serving_place", RULE_COUNTS, .agents = NAMES("incarnation", "max_connections", "node"), .states = NAMES("handshakes") },
	{ "w_exec_state", RULE_COUNTS, .agents = NAMES("wanted") },
	{ "w_account", RULE_ACCOUNTS },
	{ "w_account_near", RULE_NEAR_ACCOUNTS },
	{ "w_stat", RULE_STATISTICS },
	{ "w_reason", RULE_REASONS },
	{ "w_flow", RULE_FLOWS },
	{ "w_edge", RULE_EDGE },
	{ "w_edge_pair", RULE_EDGE_KEYS },
	{ "w_edge_hand", RULE_EDGE_KEYS },
	{ "w_edge_passed", RULE_COPY },
	{ "w_edge_work", RULE_NOTHING },
	{ "w_sampling", RULE_NOTHING },
	{ "w_explain", RULE_NOTHING },
	{ "w_exec_chunk", RULE_NOTHING },
	{ "w_passed", RULE_NOTHING }, /* kept with sockets: what passed before is left alone */
	{ "w_exec", RULE_NOTHING }, /* the agent looks at every process when it starts */
	{ "w_layout", RULE_REMADE },
	{ "w_carried", RULE_REMADE },
};

static const struct map_rule *rule_of(const char *map)
{
	for (size_t i = 0; i < ARRAY_SIZE(map_rules); i++)
		if (!strcmp(map, map_rules[i].map))
			return &map_rules[i];
	return NULL;
}

bool takeover_remakes(const char *map)
{
	const struct map_rule *rule = rule_of(map);

	return rule && rule->rule == RULE_REMADE;
}

static bool is_among(const char *name, const char *const *names)
{
	while (names && *names)
		if (!strcmp(name, *names++))
			return true;
	return false;
}

static bool is_counter(const struct map_rule *rule, const struct layout_step *step)
{
	return !is_among(step->path, rule->agents) && !is_among(step->path, rule->states);
}

static int counts_check(const struct map_rule *rule, const struct relation *relation, struct error *err)
{
	for (size_t i = 0; i < relation->value.count; i++) {
		const struct layout_step *step = &relation->value.steps[i];
		const bool fits = is_counter(rule, step) ? step->from_bytes == 8 && step->to_bytes == 8 :
							   step->from_bytes >= 4 && step->to_bytes >= 4;

		if (!fits)
			return error_set(err, -EPROTO, "pinned map '%s': member '%s' is not as large as what is counted", rule->map, step->path);
	}
	return 0;
}

static int devices_check(const char *directory, const char *map, struct error *err)
{
	_cleanup_close_ int fd = pin_open(directory, "", "w_edge_device");
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	char key[64];

	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || info.key_size > sizeof(key))
		return error_set(err, -EPROTO, "cannot tell whether devices are attached");
	if (bpf_map_get_next_key(fd, NULL, key) == 0)
		return error_set(err, -EBUSY, "pinned map '%s' has another layout, and connections without a local socket cannot be taken over: "
				 "`weft expose` and `weft attach` have to be taken back first", map);
	return 0;
}

/* Programs read the account of a place as one of w_account, and then the owner behind it. */
static int near_check(const struct relation *relation, const struct map_shape *from, struct error *err)
{
	const uint32_t owner = layout_conversion_source(&relation->value, "owner", 8);
	const uint32_t held = layout_conversion_source(&relation->value, "account.held", 8);

	if (from->type != BPF_MAP_TYPE_ARRAY || from->entries & (from->entries - 1) || owner % 8 || owner > FORMER_ACCOUNT_MAX_BYTES ||
	    owner + 8 > from->value_bytes || held >= owner)
		return error_set(err, -EPROTO, "pinned map '%s' has accounts that cannot be taken over: uninstall, then install", from->name);
	return 0;
}

int takeover_check(const char *directory, const struct map_shape *from, const struct map_shape *to, const struct relation *relation,
		   struct error *err)
{
	const struct map_rule *rule = rule_of(to->name);

	if (!rule)
		return error_set(err, -EPROTO, "pinned map '%s' has another layout, and nothing says how to take it over: uninstall, then install",
				 to->name);
	switch (rule->rule) {
	case RULE_COPY:
	case RULE_COUNTS:
		if (from->type == BPF_MAP_TYPE_ARRAY && relation->to_entries < relation->from_entries)
			return error_set(err, -EPROTO, "pinned map '%s' has %u entries, and only %u in this build: uninstall, then install",
					 to->name, relation->from_entries, relation->to_entries);
		return rule->rule == RULE_COUNTS ? counts_check(rule, relation, err) : 0;
	case RULE_ACCOUNTS:
		if (!relation->key.same || from->value_bytes > FORMER_ACCOUNT_MAX_BYTES)
			return error_set(err, -EPROTO, "pinned map '%s' has accounts that cannot be taken over: uninstall, then install",
					 to->name);
		return 0;
	case RULE_NEAR_ACCOUNTS:
		return near_check(relation, from, err);
	case RULE_EDGE_KEYS:
		return devices_check(directory, to->name, err);
	default:
		return 0;
	}
}

/* --- pairs -------------------------------------------------------------------------------------------------------------------- */

struct pair {
	const struct map_rule *rule;
	int from_fd, to_fd;
	uint32_t type;
	struct relation relation;
};

struct takeover {
	const char *from, *to;
	struct pair pairs[ARRAY_SIZE(map_rules)];
	size_t count;
	uint64_t number; /* of the last addition of this run */
	struct error *err;
};

static int pair_fill(struct takeover *t, const struct map_rule *rule, int from_fd, int to_fd)
{
	_cleanup_(map_shape_done) struct map_shape from = {}, to = {};
	_cleanup_(relation_done) struct relation relation = {};
	int r;

	if ((r = map_shape_of_fd(from_fd, &from, t->err)) < 0 || (r = map_shape_of_fd(to_fd, &to, t->err)) < 0)
		return r;
	if (from.id == to.id)
		return 0;
	if ((r = relation_make(&from, &to, &relation, t->err)) < 0 || (r = takeover_check(t->from, &from, &to, &relation, t->err)) < 0)
		return r;
	t->pairs[t->count++] = (struct pair){ rule, from_fd, to_fd, to.type, relation };
	relation = (struct relation){};
	return 1;
}

static int pair_open(struct takeover *t, const struct map_rule *rule)
{
	_cleanup_close_ int from_fd = pin_open(t->from, "", rule->map), to_fd = pin_open(t->to, "", rule->map);
	int r;

	if (from_fd == -ENOENT || to_fd == -ENOENT || rule->rule == RULE_NOTHING || rule->rule == RULE_REMADE ||
	    rule->rule == RULE_EDGE_KEYS)
		return 0;
	if (from_fd < 0 || to_fd < 0)
		return error_set(t->err, MIN(from_fd, to_fd), "cannot open the pinned map '%s'", rule->map);
	r = pair_fill(t, rule, from_fd, to_fd);
	if (r == 1) {
		from_fd = to_fd = -1; /* the pair's */
	}
	return r;
}

static void cleanup_takeover(struct takeover **takeover)
{
	takeover_free(*takeover);
}

int takeover_new(const char *from, const char *to, struct takeover **ret_takeover, struct error *err)
{
	_cleanup_(cleanup_takeover) struct takeover *t = calloc(1, sizeof(*t));

	if (!t)
		return error_set(err, -ENOMEM, "out of memory");
	t->from = from;
	t->to = to;
	t->err = err;
	for (size_t i = 0; i < ARRAY_SIZE(map_rules); i++) {
		int r = pair_open(t, &map_rules[i]);

		if (r < 0)
			return r;
	}
	*ret_takeover = TAKE_PTR(t);
	return 0;
}

struct takeover *takeover_free(struct takeover *t)
{
	for (size_t i = 0; t && i < t->count; i++) {
		fd_close(t->pairs[i].from_fd);
		fd_close(t->pairs[i].to_fd);
		relation_done(&t->pairs[i].relation);
	}
	free(t);
	return NULL;
}

static int fail(const struct takeover *t, const struct pair *pair, int r)
{
	return error_set(t->err, r, "cannot take over '%s': %s", pair->rule->map, r == -E2BIG ? "there is no room" : strerror(-r));
}

/* --- arrays ------------------------------------------------------------------------------------------------------------------- */

struct array {
	char *memory;
	size_t value_bytes, bytes;
};

static void array_done(struct array *array)
{
	if (array->memory)
		munmap(array->memory, array->bytes);
	*array = (struct array){};
}

static int array_map(int fd, struct array *ret_array)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	void *memory;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	if (info.value_size % 8)
		return -EPROTO;
	memory = mmap(NULL, (size_t)info.value_size * info.max_entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_array = (struct array){ memory, info.value_size, (size_t)info.value_size * info.max_entries };
	return 0;
}

/* Programs may read the array already: no word is anything in between. */
static int array_convert(const struct pair *pair, const struct array *from, const struct array *to)
{
	_cleanup_free_ uint64_t *value = calloc(1, to->value_bytes);

	if (!value)
		return -ENOMEM;
	for (uint32_t i = 0; i < pair->relation.from_entries; i++) {
		uint64_t *words = (uint64_t *)(to->memory + i * to->value_bytes);

		layout_conversion_apply(&pair->relation.value, from->memory + i * from->value_bytes, value);
		for (size_t w = 0; w < to->value_bytes / sizeof(*words); w++)
			if (words[w] != value[w])
				__atomic_store_n(&words[w], value[w], __ATOMIC_RELAXED);
	}
	return 0;
}

static int array_copy(const struct pair *pair)
{
	_cleanup_(array_done) struct array from = {}, to = {};
	int r = array_map(pair->from_fd, &from);

	if (r < 0 || (r = array_map(pair->to_fd, &to)) < 0)
		return r;
	return array_convert(pair, &from, &to);
}

/* By words, each of which is of one moment: programs write to the array meanwhile. */
static void copy_words(const struct array *from, const struct array *to)
{
	const uint64_t *source = (const uint64_t *)from->memory;
	uint64_t *words = (uint64_t *)to->memory;

	for (size_t i = 0; i < from->bytes / sizeof(*words); i++)
		words[i] = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
}

static int counts_copy(struct takeover *t, const struct pair *pair)
{
	_cleanup_(array_done) struct array from = {}, to = {}, base = {};
	_cleanup_close_ int base_fd = -1;
	int r = array_map(pair->from_fd, &from);

	if (r < 0 || (r = array_map(pair->to_fd, &to)) < 0)
		return r;
	base_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "w_base", 4, from.value_bytes, from.bytes / from.value_bytes,
				 &(struct bpf_map_create_opts){ .sz = sizeof(struct bpf_map_create_opts), .map_flags = BPF_F_MMAPABLE });
	r = base_fd < 0 ? base_fd : array_map(base_fd, &base);
	if (r < 0)
		return r;
	copy_words(&from, &base);
	r = array_convert(pair, &base, &to);
	return r < 0 ? r : pin_make(base_fd, t->to, TAKEOVER_BASE_PREFIX, pair->rule->map, t->err);
}

static uint64_t load(const char *at, uint32_t bytes)
{
	return bytes == 8 ? __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED) : __atomic_load_n((const uint32_t *)at, __ATOMIC_RELAXED);
}

static void store(char *at, uint32_t bytes, uint64_t value)
{
	if (bytes == 8)
		*(uint64_t *)at = value;
	else
		*(uint32_t *)at = value;
}

static void replace(char *at, uint32_t bytes, uint64_t expected, uint64_t value)
{
	uint32_t expected32 = expected;

	if (bytes == 8)
		__atomic_compare_exchange_n((uint64_t *)at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	else
		__atomic_compare_exchange_n((uint32_t *)at, &expected32, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* What `from` has now is what was copied, from then on: a second time carries what came after the first. */
static void carry_element(bool counter, const struct layout_step *step, const char *from, char *base, char *to)
{
	const uint64_t now = load(from, step->from_bytes), was = load(base, step->from_bytes);

	if (now == was)
		return;
	if (counter)
		__atomic_fetch_add((uint64_t *)to, now - was, __ATOMIC_RELAXED);
	else
		replace(to, step->to_bytes, was, now);
	store(base, step->from_bytes, now);
}

static void carry_value(const struct pair *pair, const char *from, char *base, char *to)
{
	for (size_t s = 0; s < pair->relation.value.count; s++) {
		const struct layout_step *step = &pair->relation.value.steps[s];
		const bool counter = is_counter(pair->rule, step);

		if (is_among(step->path, pair->rule->agents))
			continue;
		for (uint32_t i = 0; i < step->count; i++)
			carry_element(counter, step, from + step->from + i * step->from_bytes, base + step->from + i * step->from_bytes,
				      to + step->to + i * step->to_bytes);
	}
}

/* No base: all is done. */
static int counts_carry(struct takeover *t, const struct pair *pair)
{
	_cleanup_(array_done) struct array from = {}, base = {}, to = {};
	_cleanup_close_ int base_fd = pin_open(t->to, TAKEOVER_BASE_PREFIX, pair->rule->map);
	int r = base_fd == -ENOENT ? 0 : base_fd;

	if (base_fd < 0)
		return r;
	if ((r = array_map(base_fd, &base)) < 0 || (r = array_map(pair->from_fd, &from)) < 0 || (r = array_map(pair->to_fd, &to)) < 0)
		return r;
	if (base.bytes != from.bytes)
		return -EPROTO;
	for (uint32_t i = 0; i < pair->relation.from_entries; i++)
		carry_value(pair, from.memory + i * from.value_bytes, base.memory + i * from.value_bytes, to.memory + i * to.value_bytes);
	return 0;
}

/* --- connections without a local socket ------------------------------------------------------------------------------------------ */

static bool is_shared(const struct takeover *t, const char *map)
{
	_cleanup_close_ int from_fd = pin_open(t->from, "", map), to_fd = pin_open(t->to, "", map);

	return map_id(from_fd) && map_id(from_fd) == map_id(to_fd);
}

/* Places keep their numbers, by which w_edge_pair leads to them. Where that is another map there was no device, and so nothing to carry. Once:
 * from then on this build's programs write to it. */
static int edge_carry(const struct takeover *t, const struct pair *pair)
{
	_cleanup_close_ int fd = pin_open(t->to, "", "w_edge_hand");
	const uint32_t former = map_id(pair->from_fd);
	const __u32 zero = 0;
	struct edge_hand hand;
	int r;

	if (fd < 0 || bpf_map_lookup_elem(fd, &zero, &hand) < 0)
		return fd < 0 ? fd : -errno;
	if (hand.carried == former)
		return 0;
	if (is_shared(t, "w_edge_pair") && (r = array_copy(pair)) < 0)
		return r;
	hand.carried = former;
	return bpf_map_update_elem(fd, &zero, &hand, BPF_ANY) < 0 ? -errno : 0;
}

/* --- hashes ------------------------------------------------------------------------------------------------------------------- */

struct hash_visit {
	struct takeover *t;
	const struct pair *pair;
	char *key, *value; /* converted */
	int cpu_count;
};

static int hash_each(struct takeover *t, const struct pair *pair, int cpu_count, pinned_map_fn *fn)
{
	const struct relation *relation = &pair->relation;
	_cleanup_free_ char *key = malloc(relation->key.to_bytes), *value = malloc(relation->value.to_bytes);
	struct hash_visit visit = { t, pair, key, value, cpu_count };

	if (!key || !value)
		return -ENOMEM;
	return pinned_map_each(pair->from_fd, relation->key.from_bytes,
			       cpu_count ? sizeof(uint64_t) * cpu_count : relation->value.from_bytes, fn, &visit);
}

static void part_convert(const struct layout_conversion *conversion, const void *from, void *to)
{
	if (conversion->same)
		memcpy(to, from, conversion->to_bytes);
	else
		layout_conversion_apply(conversion, from, to);
}

static int copy_entry(const void *key, const void *value, void *arg)
{
	const struct hash_visit *visit = arg;

	part_convert(&visit->pair->relation.key, key, visit->key);
	part_convert(&visit->pair->relation.value, value, visit->value);
	return pinned_map_set(visit->pair->to_fd, visit->key, visit->value);
}

static uint64_t word_at(const struct pair *pair, const char *value, const char *path)
{
	const uint32_t at = layout_conversion_source(&pair->relation.value, path, 8);

	return at == UINT32_MAX ? 0 : load(value + at, 8);
}

/* As account_take_over() in bpf/lib/former.h. */
static int move_account(const void *key, const void *value, void *arg)
{
	const struct hash_visit *visit = arg;
	bool made;

	if (word_at(visit->pair, value, "held") != *(const uint64_t *)key)
		return 0;
	part_convert(&visit->pair->relation.value, value, visit->value);
	made = bpf_map_update_elem(visit->pair->to_fd, key, visit->value, BPF_NOEXIST) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	if (bpf_map_delete_elem(visit->pair->from_fd, key) < 0 && errno == ENOENT && made)
		return pinned_map_remove(visit->pair->to_fd, key);
	return 0;
}

/* The account of one place goes into `accounts_fd`. */
static int move_near(const struct pair *pair, int accounts_fd, char *place)
{
	uint64_t *const owner = (uint64_t *)(place + layout_conversion_source(&pair->relation.value, "owner", 8)); /* near_check() */
	uint64_t cookie = __atomic_load_n(owner, __ATOMIC_RELAXED);
	struct near_account moved;
	bool made;

	if (!cookie || word_at(pair, place, "account.held") != cookie)
		return 0;
	part_convert(&pair->relation.value, place, &moved);
	made = bpf_map_update_elem(accounts_fd, &cookie, &moved.account, BPF_NOEXIST) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	if (!__sync_bool_compare_and_swap(owner, cookie, 0) && made)
		return pinned_map_remove(accounts_fd, &cookie);
	return 0;
}

static int near_move(const struct takeover *t, const struct pair *pair)
{
	_cleanup_close_ int accounts_fd = pin_open(t->to, "", "w_account");
	_cleanup_(array_done) struct array from = {};
	int r = accounts_fd < 0 ? accounts_fd : array_map(pair->from_fd, &from);

	for (uint32_t i = 0; r == 0 && i < pair->relation.from_entries; i++)
		r = move_near(pair, accounts_fd, from.memory + i * from.value_bytes);
	return r;
}

/* --- what is counted on each CPU ------------------------------------------------------------------------------------------------ */

static int carry_add(struct takeover *t, struct carry request)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &request, .ctx_size_in = sizeof(request));
	_cleanup_close_ int program_fd = pin_open(t->to, "", "prog_carry");

	if (program_fd < 0)
		return program_fd;
	request.number = ++t->number;
	if (!request.count)
		return 0;
	return bpf_prog_test_run_opts(program_fd, &options) < 0 ? -errno : 0;
}

static uint64_t sum(const uint64_t *values, int count)
{
	uint64_t total = 0;

	for (int i = 0; i < count; i++)
		total += values[i];
	return total;
}

/* One that this build does not know is nobody's any more. */
static int statistics_carry(struct takeover *t, const struct pair *pair, int cpu_count)
{
	_cleanup_free_ uint64_t *values = calloc(cpu_count, sizeof(*values));
	int r = values ? 0 : -ENOMEM;

	for (uint32_t i = 0; r >= 0 && i < MIN(pair->relation.from_entries, pair->relation.to_entries); i++)
		r = bpf_map_lookup_elem(pair->from_fd, &i, values) < 0 ?
			    -errno : carry_add(t, (struct carry){ .statistic = i, .count = sum(values, cpu_count) });
	return r;
}

static int carry_reason(const void *key, const void *value, void *arg)
{
	const struct hash_visit *visit = arg;
	struct carry request = { .statistic = STAT_COUNT, .count = sum(value, visit->cpu_count) };

	if (visit->pair->relation.key.to_bytes != sizeof(request.reason))
		return -EPROTO;
	part_convert(&visit->pair->relation.key, key, &request.reason);
	return carry_add(visit->t, request);
}

/* Records that nobody has read are as good as not written: the pages before the data have the
 * positions, of the reader and of the writer. */
static int flows_carry(struct takeover *t, const struct pair *pair)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = pair->relation.from_entries;
	const uint64_t *consumer = mmap(NULL, page, PROT_READ, MAP_SHARED, pair->from_fd, 0);
	const char *producer = mmap(NULL, page + size, PROT_READ, MAP_SHARED, pair->from_fd, (off_t)page);
	struct carry lost = { .statistic = STAT_FLOWS_LOST }, written = { .statistic = STAT_FLOWS_WRITTEN };
	int r = consumer == MAP_FAILED || producer == MAP_FAILED ? -errno : 0;

	if (r == 0) {
		const uint64_t end = load(producer, 8);

		for (uint64_t at = *consumer; at < end && end - at <= size; lost.count++) {
			const uint32_t length = load(producer + page + (at & (size - 1)), 4);

			at += ((length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT)) + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
		}
		written.count = -lost.count;
		r = carry_add(t, lost) ?: carry_add(t, written);
	}
	if (consumer != MAP_FAILED)
		munmap((void *)consumer, page);
	if (producer != MAP_FAILED)
		munmap((void *)producer, page + size);
	return r;
}

/* --- all of them ---------------------------------------------------------------------------------------------------------------- */

static int pair_copy(struct takeover *t, const struct pair *pair)
{
	return pair->type == BPF_MAP_TYPE_ARRAY ? array_copy(pair) : hash_each(t, pair, 0, copy_entry);
}

int takeover_copy(struct takeover *t, struct error *err)
{
	t->err = err;
	for (size_t i = 0; i < t->count; i++) {
		const struct pair *pair = &t->pairs[i];
		const int r = pair->rule->rule == RULE_COPY ? pair_copy(t, pair) : pair->rule->rule == RULE_COUNTS ? counts_copy(t, pair) : 0;

		if (r < 0)
			return fail(t, pair, r);
	}
	return 0;
}

int takeover_edge(struct takeover *t, struct error *err)
{
	t->err = err;
	for (size_t i = 0; i < t->count; i++) {
		const int r = t->pairs[i].rule->rule == RULE_EDGE ? edge_carry(t, &t->pairs[i]) : 0;

		if (r < 0)
			return fail(t, &t->pairs[i], r);
	}
	return 0;
}

int takeover_counts(struct takeover *t, struct error *err)
{
	t->err = err;
	for (size_t i = 0; i < t->count; i++) {
		const int r = t->pairs[i].rule->rule == RULE_COUNTS ? counts_carry(t, &t->pairs[i]) : 0;

		if (r < 0)
			return fail(t, &t->pairs[i], r);
	}
	return 0;
}

static int pair_complete(struct takeover *t, const struct pair *pair, int cpu_count)
{
	switch (pair->rule->rule) {
	case RULE_COPY:
		return pair_copy(t, pair);
	case RULE_COUNTS:
		return counts_carry(t, pair);
	case RULE_ACCOUNTS:
		return hash_each(t, pair, 0, move_account);
	case RULE_NEAR_ACCOUNTS:
		return near_move(t, pair);
	case RULE_STATISTICS:
		return statistics_carry(t, pair, cpu_count);
	case RULE_REASONS:
		return hash_each(t, pair, cpu_count, carry_reason);
	case RULE_FLOWS:
		return flows_carry(t, pair);
	default:
		return 0;
	}
}

int takeover_complete(struct takeover *t, struct error *err)
{
	const int cpu_count = libbpf_num_possible_cpus();

	t->err = err;
	t->number = 0;
	if (cpu_count < 0)
		return error_set(err, cpu_count, "cannot tell how many CPUs there can be");
	for (size_t i = 0; i < t->count; i++) {
		const int r = pair_complete(t, &t->pairs[i], cpu_count);

		if (r < 0)
			return fail(t, &t->pairs[i], r);
	}
	return 0;
}
