/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of listeners, where connections come in: who finds one, what holds a place and how long, and that each is given back once. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>

#include "agent/inbound/count.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "lookup.skel.h"
#include "maps/generation.h"
#include "maps/serving.h"
#include "serve.skel.h"
#include "tests/bpf/fixture.h"
#include "tests/bpf/serve.h"
#include "tests/lib/test.h"
#include "weft.skel.h"

#define PLACE 3
#define W HANDSHAKE_WINDOW_NS
#define T0 (1000 * W)

struct world {
	struct fixture f;
	struct serve *serve;
};

static void reuse_maps(const struct fixture *f, struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const int fd = bpf_object__find_map_fd_by_name(f->skeleton->obj, bpf_map__name(map));

		if (fd >= 0 && !bpf_map__is_internal(map))
			assert_int_equal(bpf_map__reuse_fd(map, fd), 0);
	}
}

static struct serving_key key_of(const char *address, uint16_t port)
{
	struct serving_key key = { .netns_cookie = NETNS_COOKIE, .port = htons(port) };

	if (*address != '*')
		assert_int_equal(ip_parse(address, &key.address), 0);
	return key;
}

static void given_listener(struct world *w, const char *address, uint16_t port, uint32_t place, uint32_t limit)
{
	const struct serving_key key = key_of(address, port);

	w->f.kernel.servings[place] = (struct serving){ .incarnation = 1, .max_connections = limit, .node = NODE };
	assert_int_equal(serving_set(&w->f.kernel, &key, place), 0);
}

static void world_init(struct world *w)
{
	fixture_init(&w->f);
	w->serve = serve__open();
	assert_non_null(w->serve);
	reuse_maps(&w->f, w->serve->obj);
	assert_int_equal(serve__load(w->serve), 0);
}

static void world_done(struct world *w)
{
	serve__destroy(w->serve);
	fixture_done(&w->f);
}
#define WITH_WORLD                                                                                                            \
	_cleanup_(world_done) struct world w;                                                                                  \
	world_init(&w)

static struct serve_step run(const struct world *w, struct serve_step step)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &step, .ctx_size_in = sizeof(step));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->serve->progs.serve), &options), 0);
	return step;
}

static struct serve_step step_at(const struct world *w, enum serve_kind kind, const char *address, uint16_t port, uint64_t cookie,
				 uint64_t now_ns)
{
	const struct serving_key key = key_of(address, port);

	return run(w, (struct serve_step){ .kind = kind, .netns_cookie = key.netns_cookie, .address = key.address, .port = key.port,
					   .cookie = cookie, .now_ns = now_ns });
}

static void step(const struct world *w, enum serve_kind kind, uint64_t cookie, uint64_t now_ns)
{
	step_at(w, kind, "10.0.0.1", 8080, cookie, now_ns);
}

static bool has_room(const struct world *w, uint64_t now_ns)
{
	return step_at(w, SERVE_ROOM, "10.0.0.1", 8080, 0, now_ns).has_room;
}

TEST(a_listener_is_found_by_its_address_or_by_any_but_loopback)
{
	WITH_WORLD;

	given_listener(&w, "10.0.0.1", 8080, 1, 5);
	given_listener(&w, "*", 9090, 2, 5);
	given_listener(&w, "127.0.0.1", 7070, 3, 5);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "10.0.0.1", 8080, 0, T0).found, true);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "10.0.0.2", 8080, 0, T0).found, false);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "10.0.0.1", 8081, 0, T0).found, false);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "10.0.0.2", 9090, 0, T0).found, true);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "fd00::1", 9090, 0, T0).found, true);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "127.0.0.1", 9090, 0, T0).found, false);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "::1", 9090, 0, T0).found, false);
	EXPECT_EQ(step_at(&w, SERVE_ROOM, "127.0.0.1", 7070, 0, T0).found, true);
}

TEST(a_handshake_holds_a_place_and_becomes_an_open_connection)
{
	WITH_WORLD;
	const struct serving *serving = &w.f.kernel.servings[PLACE];

	given_listener(&w, "10.0.0.1", 8080, PLACE, 2);
	step(&w, SERVE_SYN, 0, T0);
	EXPECT_EQ(has_room(&w, T0), true);
	step(&w, SERVE_SYN, 0, T0);
	EXPECT_EQ(has_room(&w, T0), false);
	step(&w, SERVE_ESTABLISHED, 71, T0);
	EXPECT_EQ(serving->open, 1);
	EXPECT_EQ(has_room(&w, T0), false);
	step(&w, SERVE_ESTABLISHED, 72, T0);
	EXPECT_EQ(serving->open, 2);
	EXPECT_EQ(has_room(&w, T0 + 10 * W), false);
	step(&w, SERVE_END, 71, T0);
	step(&w, SERVE_END, 71, T0); /* once */
	step(&w, SERVE_END, 99, T0); /* never had one */
	EXPECT_EQ(serving->open, 1);
	EXPECT_EQ(serving->accepted, 2);
	EXPECT_EQ(has_room(&w, T0), true);
}

TEST(a_handshake_that_is_not_completed_lets_go_after_one_to_two_windows)
{
	WITH_WORLD;

	given_listener(&w, "10.0.0.1", 8080, PLACE, 1);
	for (unsigned phase = 0; phase < 8; phase++) {
		const uint64_t now_ns = T0 + 10 * phase * W + phase * W / 8;

		EXPECT_EQ(has_room(&w, now_ns), true);
		step(&w, SERVE_SYN, 0, now_ns);
		EXPECT_EQ(has_room(&w, now_ns + W), false);
		EXPECT_EQ(has_room(&w, now_ns + 2 * W), true);
	}
}

TEST(a_completed_handshake_is_taken_from_the_window_before)
{
	WITH_WORLD;

	given_listener(&w, "10.0.0.1", 8080, PLACE, 2);
	step(&w, SERVE_SYN, 0, T0);
	step(&w, SERVE_SYN, 0, T0 + W);
	step(&w, SERVE_ESTABLISHED, 71, T0 + W);
	step(&w, SERVE_END, 71, T0 + W);
	EXPECT_EQ((uint32_t)w.f.kernel.servings[PLACE].handshakes[0], 0);
	EXPECT_EQ((uint32_t)w.f.kernel.servings[PLACE].handshakes[1], 1);
	step(&w, SERVE_ESTABLISHED, 72, T0 + W);
	step(&w, SERVE_ESTABLISHED, 73, T0 + W); /* it held none, as with SYN cookies */
	EXPECT_EQ((uint32_t)w.f.kernel.servings[PLACE].handshakes[1], 0);
	EXPECT_EQ(w.f.kernel.servings[PLACE].open, 2);
}

TEST(a_connection_that_outlives_its_place_changes_nothing_there)
{
	WITH_WORLD;

	given_listener(&w, "10.0.0.1", 8080, PLACE, 2);
	step(&w, SERVE_ESTABLISHED, 71, T0);
	w.f.kernel.servings[PLACE] = (struct serving){ .incarnation = 3, .max_connections = 2, .open = 1 };
	step(&w, SERVE_END, 71, T0);
	EXPECT_EQ(w.f.kernel.servings[PLACE].open, 1);
}

static uint64_t refusals(struct world *w)
{
	const struct reason_key key = { .service = NODE, .reason = REASON_OVER_MAX_CONNECTIONS };
	_cleanup_free_ uint64_t *values = calloc(w->f.kernel.cpu_count, sizeof(*values));
	uint64_t sum = 0;

	if (bpf_map_lookup_elem(w->f.kernel.reason_fd, &key, values) < 0)
		return 0;
	for (int i = 0; i < w->f.kernel.cpu_count; i++)
		sum += values[i];
	return sum;
}

static int look_up(const struct weft_lookup *lookup, const char *address, uint16_t port, uint32_t protocol)
{
	struct bpf_sk_lookup ctx = { .protocol = protocol, .local_port = port, .remote_port = htons(40000) };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	struct ip ip;

	assert_int_equal(ip_parse(address, &ip), 0);
	ctx.family = ip_is_v4(&ip) ? AF_INET : AF_INET6;
	if (ip_is_v4(&ip))
		ctx.local_ip4 = ip.words[3];
	else
		memcpy(ctx.local_ip6, ip.words, sizeof(ctx.local_ip6));
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(lookup->progs.lookup), &options), 0);
	return options.retval;
}

TEST(what_comes_in_is_refused_where_the_listener_is_full_and_counted)
{
	WITH_WORLD;
	struct weft_lookup *lookup = weft_lookup__open();

	assert_non_null(lookup);
	reuse_maps(&w.f, lookup->obj);
	lookup->rodata->own_netns_cookie = NETNS_COOKIE;
	assert_int_equal(weft_lookup__load(lookup), 0);
	given_listener(&w, "*", 8080, PLACE, 2);
	EXPECT_EQ(look_up(lookup, "10.0.0.1", 8080, IPPROTO_TCP), SK_PASS);
	w.f.kernel.servings[PLACE].open = 2;
	EXPECT_EQ(look_up(lookup, "10.0.0.1", 8080, IPPROTO_TCP), SK_DROP);
	EXPECT_EQ(look_up(lookup, "fd00::1", 8080, IPPROTO_TCP), SK_DROP);
	EXPECT_EQ(look_up(lookup, "10.0.0.1", 8080, IPPROTO_UDP), SK_PASS);
	EXPECT_EQ(look_up(lookup, "10.0.0.1", 8081, IPPROTO_TCP), SK_PASS);
	EXPECT_EQ(look_up(lookup, "127.0.0.1", 8080, IPPROTO_TCP), SK_PASS);
	EXPECT_EQ(w.f.kernel.servings[PLACE].refused, 2);
	EXPECT_EQ(refusals(&w), 2);
	w.f.kernel.servings[PLACE].max_connections = 0;
	EXPECT_EQ(look_up(lookup, "10.0.0.1", 8080, IPPROTO_TCP), SK_PASS);
	weft_lookup__destroy(lookup);
}

enum { THREADS = 4, ROUNDS = 2000 };

struct crowd {
	const struct world *w;
	uint64_t first_cookie;
};

static void *crowd_run(void *arg)
{
	const struct crowd *c = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint64_t cookie = c->first_cookie + i, now_ns = T0 + i * (W / 100);

		step(c->w, SERVE_SYN, 0, now_ns);
		step(c->w, SERVE_ESTABLISHED, cookie, now_ns);
		step(c->w, SERVE_END, cookie, now_ns);
		step(c->w, SERVE_END, cookie, now_ns);
	}
	return NULL;
}

TEST(no_place_is_lost_or_given_back_twice_however_many_come_at_once)
{
	WITH_WORLD;
	struct crowd crowds[THREADS];
	pthread_t threads[THREADS];

	given_listener(&w, "10.0.0.1", 8080, PLACE, 2);
	for (unsigned i = 0; i < THREADS; i++) {
		crowds[i] = (struct crowd){ &w, 1000000ull * (i + 1) };
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowds[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(w.f.kernel.servings[PLACE].open, 0);
	EXPECT_EQ(w.f.kernel.servings[PLACE].accepted, THREADS * ROUNDS);
}

TEST(a_wrong_count_is_corrected_and_a_right_one_left_alone)
{
	WITH_WORLD;
	struct serving *servings = w.f.kernel.servings;

	given_listener(&w, "10.0.0.1", 8080, PLACE, 9);
	given_listener(&w, "10.0.0.2", 8080, PLACE + 1, 9);
	for (uint64_t i = 0; i < 3; i++) {
		step(&w, SERVE_ESTABLISHED, 70 + i, T0);
		step_at(&w, SERVE_ESTABLISHED, "10.0.0.2", 8080, 80 + i, T0);
	}
	EXPECT_EQ(inbound_count_correct(&w.f.kernel, grace_wait), 0);
	servings[PLACE].open = 7;
	EXPECT_EQ(inbound_count_correct(&w.f.kernel, grace_wait), 1);
	EXPECT_EQ(servings[PLACE].open, 3);
	EXPECT_EQ(servings[PLACE + 1].open, 3);
	servings[PLACE].open = 0;
	servings[PLACE + 1].open = 1;
	EXPECT_EQ(inbound_count_correct(&w.f.kernel, grace_wait), 2);
	EXPECT_EQ(servings[PLACE].open, 3);
	EXPECT_EQ(servings[PLACE + 1].open, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_is_found_by_its_address_or_by_any_but_loopback),
		cmocka_unit_test(a_handshake_holds_a_place_and_becomes_an_open_connection),
		cmocka_unit_test(a_handshake_that_is_not_completed_lets_go_after_one_to_two_windows),
		cmocka_unit_test(a_completed_handshake_is_taken_from_the_window_before),
		cmocka_unit_test(a_connection_that_outlives_its_place_changes_nothing_there),
		cmocka_unit_test(what_comes_in_is_refused_where_the_listener_is_full_and_counted),
		cmocka_unit_test(no_place_is_lost_or_given_back_twice_however_many_come_at_once),
		cmocka_unit_test(a_wrong_count_is_corrected_and_a_right_one_left_alone),
	};

	return cmocka_run_group_tests_name("serving", tests, NULL, NULL);
}
