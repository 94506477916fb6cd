/* SPDX-License-Identifier: Apache-2.0 */
/* `dns` discovery against a server on 127.0.0.1 that answers as it is told. */
#include <errno.h>

#include "agent/discovery/dns.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"
#include "tests/unit/fake_dns.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)
#define LIST(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

struct world {
	struct loop *loop;
	struct state *state;
	struct fake_dns server;
	struct dns_discovery *discovery;
	uint32_t time_scale;
	unsigned changes;
};

static void on_change(const char *hostname, void *arg)
{
	struct world *w = arg;

	EXPECT(hostname != NULL);
	w->changes++;
}

static void agent_start(struct world *w)
{
	const char *const servers[] = { w->server.address };
	const struct dns_discovery_options options = {
		.servers = servers, .server_count = 1, .time_scale = w->time_scale, .changed = on_change, .arg = w
	};
	struct error err = {};

	EXPECT_OK(dns_discovery_new(w->loop, w->state, &options, &w->discovery, &err), &err);
}

static void agent_restart(struct world *w)
{
	w->discovery = dns_discovery_free(w->discovery);
	agent_start(w);
}

static void world_init(struct world *w, uint32_t time_scale)
{
	*w = (struct world){ .time_scale = time_scale };
	EXPECT_OK(loop_new(&w->loop));
	EXPECT_OK(state_open_memory(&w->state));
	fake_dns_start(&w->server, w->loop);
	agent_start(w);
}

static void world_done(struct world *w)
{
	dns_discovery_free(w->discovery);
	fake_dns_stop(&w->server);
	state_close(w->state);
	loop_free(w->loop);
}
#define WORLD(w, time_scale)                                                                                                  \
	_cleanup_(world_done) struct world w;                                                                                  \
	world_init(&w, time_scale)

#define TURN_UNTIL(w, condition)                                                                                              \
	for (uint64_t _end_ns = time_now_ns() + DEADLINE_NS * test_slowness(); !(condition); loop_turn((w)->loop, NSEC_PER_MSEC))  \
		if (time_now_ns() > _end_ns)                                                                                   \
	fail_msg("waited in vain for: %s", #condition)

/* --- what is known ----------------------------------------------------------------------------------------------------- */

/* "10.0.0.1 10.0.0.2 | fd00::1", the first of each family marked; "?": nothing is known. */
static const char *known(struct world *w, const char *name)
{
	static char text[4096];
	_cleanup_(buffer_done) struct buffer b = {};
	struct dns_addresses a;
	char ip[IP_TEXT_BYTES];
	int r = dns_discovery_get(w->discovery, name, &a);

	if (r == -EINPROGRESS)
		return "?";
	EXPECT_OK(r);
	for (size_t i = 0; i < a.v4_count; i++)
		buffer_printf(&b, "%s%s ", ip_format(&a.v4[i], ip), i == a.first_v4 ? "*" : "");
	buffer_add(&b, "|");
	for (size_t i = 0; i < a.v6_count; i++)
		buffer_printf(&b, " %s%s", ip_format(&a.v6[i], ip), i == a.first_v6 ? "*" : "");
	snprintf(text, sizeof(text), "%s", buffer_string(&b));
	return text;
}

#define KNOWN_SOON(w, name, expected) TURN_UNTIL(w, strcmp(known(w, name), expected) == 0)

/* What the local socket says of the name. */
static json_t *told(struct world *w, const char *name)
{
	_cleanup_json_ json_t *all = dns_discovery_json(w->discovery);
	json_t *one;
	size_t i;

	json_array_foreach(all, i, one)
		if (strcmp(json_path_string(one, "hostname"), name) == 0)
			return json_incref(one);
	return NULL;
}

static bool state_is(struct world *w, const char *name, const char *state)
{
	_cleanup_json_ json_t *one = told(w, name);

	return one && strcmp(json_path_string(one, "state"), state) == 0;
}

static int64_t told_int(struct world *w, const char *name, const char *member)
{
	_cleanup_json_ json_t *one = told(w, name);

	return json_path_int(one, member, -1);
}

static unsigned asked(struct world *w, const char *name, bool v6)
{
	return fake_dns_record(&w->server, name, v6)->asked;
}

/* --- answers ----------------------------------------------------------------------------------------------------------- */

TEST(a_name_is_unknown_until_there_is_an_answer_for_a_family)
{
	WORLD(w, 1);

	fake_dns_set(&w.server, "web.example", false, 60, LIST("10.0.0.2", "10.0.0.1", "10.0.0.2"));
	fake_dns_set(&w.server, "web.example", true, 60, LIST("fd00::2"));
	EXPECT_STR(known(&w, "web.example"), "?");
	EXPECT(state_is(&w, "web.example", "unknown"));
	KNOWN_SOON(&w, "web.example", "10.0.0.1 10.0.0.2* | fd00::2*");
	TURN_UNTIL(&w, state_is(&w, "web.example", "fresh") && w.changes > 0);
	EXPECT(w.changes <= 2);
	EXPECT_EQ(asked(&w, "web.example", false), 1);
	EXPECT_EQ(asked(&w, "web.example", true), 1);
}

TEST(a_name_is_one_in_any_case_with_or_without_a_dot)
{
	WORLD(w, 1);

	fake_dns_set(&w.server, "web.example", false, 60, LIST("10.0.0.1"));
	known(&w, "WEB.example.");
	KNOWN_SOON(&w, "web.example", "10.0.0.1* |");
	EXPECT_STR(known(&w, "Web.Example"), "10.0.0.1* |");
	EXPECT_EQ(w.server.asked, 2);
}

TEST(a_name_without_dots_is_asked_for_as_it_is)
{
	WORLD(w, 1);

	fake_dns_set(&w.server, "web", false, 60, LIST("10.0.0.1"));
	KNOWN_SOON(&w, "web", "10.0.0.1* |");
	TURN_UNTIL(&w, state_is(&w, "web", "fresh"));
	EXPECT_EQ(w.server.record_count, 2);
}

TEST(an_address_is_its_own_answer_and_what_is_no_name_is_not_asked_for)
{
	WORLD(w, 1);
	_cleanup_json_ json_t *one = NULL;

	EXPECT_STR(known(&w, "10.0.0.7"), "10.0.0.7* |");
	EXPECT_STR(known(&w, "fd00::7"), "| fd00::7*");
	EXPECT_STR(known(&w, "a..b"), "?");
	loop_turn(w.loop, 0);
	loop_turn(w.loop, 0);
	EXPECT_EQ(w.server.asked, 0);
	one = told(&w, "a..b");
	EXPECT_CONTAINS(json_path_string(one, "error"), "no DNS name");
}

TEST(an_alias_has_the_least_ttl_of_its_chain)
{
	static const uint32_t ttls[][3] = { { 20, 90, 20 }, { 90, 20, 20 } };

	for (size_t i = 0; i < ARRAY_SIZE(ttls); i++) {
		struct fake_record *record;
		WORLD(w, 1);

		fake_dns_set(&w.server, "web.example", false, ttls[i][0], LIST("10.0.0.1"));
		record = fake_dns_record(&w.server, "web.example", false);
		record->alias = "other.example.org";
		record->alias_ttl = ttls[i][1];
		KNOWN_SOON(&w, "web.example", "10.0.0.1* |");
		EXPECT_EQ(told_int(&w, "web.example", "ttlSeconds"), ttls[i][2]);
	}
}

TEST(a_truncated_answer_is_fetched_by_tcp)
{
	WORLD(w, 1);

	fake_dns_set(&w.server, "web.example", false, 60, LIST("10.0.0.1"));
	fake_dns_record(&w.server, "web.example", false)->truncated = true;
	KNOWN_SOON(&w, "web.example", "10.0.0.1* |");
	EXPECT_EQ(fake_dns_record(&w.server, "web.example", false)->asked_by_tcp, 1);
}

TEST(addresses_beyond_1024_and_those_that_cannot_be_connected_to_are_left_out_and_counted)
{
	WORLD(w, 1);
	struct fake_record *record;
	struct dns_addresses a = {};

	fake_dns_set(&w.server, "big.example", false, 60, LIST("0.0.0.0", "224.0.0.1"));
	fake_dns_set(&w.server, "big.example", true, 60, LIST("::", "ff02::1", "::ffff:10.0.0.1", "fd00::1"));
	record = fake_dns_record(&w.server, "big.example", false);
	record->truncated = true;
	record->more_addresses = 1025;
	known(&w, "big.example");
	TURN_UNTIL(&w, state_is(&w, "big.example", "fresh"));
	EXPECT_OK(dns_discovery_get(w.discovery, "big.example", &a));
	EXPECT_EQ(a.v4_count, 1024);
	EXPECT_EQ(a.v6_count, 1);
	EXPECT_EQ(told_int(&w, "big.example", "leftOut"), 2 + 1 + 3);
}

/* --- refreshing -------------------------------------------------------------------------------------------------------- */

static double seconds_of(const char *text)
{
	struct tm tm = {};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	EXPECT(rest != NULL);
	return (double)timegm(&tm) + strtod(rest, NULL);
}

TEST(an_answer_is_good_for_its_ttl_between_5_seconds_and_5_minutes_and_a_tenth_of_chance)
{
	static const struct {
		uint32_t ttl;
		double least, most;
	} rows[] = { { 0, 4.5, 5.5 }, { 1, 4.5, 5.5 }, { 60, 54, 66 }, { 300, 270, 330 }, { 100000, 270, 330 } };
	WORLD(w, 1);
	double first = 0;
	bool differ = false;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int n = 0; n < 10; n++) {
			_cleanup_json_ json_t *one = NULL;
			char name[32];
			double span;

			snprintf(name, sizeof(name), "n%zu-%d.example", i, n);
			fake_dns_set(&w.server, name, false, rows[i].ttl, LIST("10.0.0.1"));
			fake_dns_set(&w.server, name, true, rows[i].ttl, LIST("fd00::1"));
			KNOWN_SOON(&w, name, "10.0.0.1* | fd00::1*");
			one = told(&w, name);
			span = seconds_of(json_path_string(one, "nextAt")) - seconds_of(json_path_string(one, "answeredAt"));
			if (span < rows[i].least - 0.2 || span > rows[i].most + 0.2) /* the families' answers are a moment apart */
				fail_msg("TTL %u: asked for again after %f s", rows[i].ttl, span);
			differ = differ || (i == 3 && n > 0 && (span > first + 1 || span < first - 1));
			first = n == 0 ? span : first;
		}
	EXPECT(differ);
}

TEST(what_the_resolver_changes_is_taken_up_and_told_once)
{
	WORLD(w, 100);
	unsigned until;

	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.1", "10.0.0.2"));
	KNOWN_SOON(&w, "web.example", "10.0.0.1* 10.0.0.2 |");
	until = asked(&w, "web.example", false) + 3;
	TURN_UNTIL(&w, asked(&w, "web.example", false) >= until);
	EXPECT_EQ(w.changes, 1); /* the same again is no change */
	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.3", "10.0.0.1"));
	KNOWN_SOON(&w, "web.example", "10.0.0.1* 10.0.0.3 |");
	TURN_UNTIL(&w, w.changes > 1);
	EXPECT_EQ(w.changes, 2);
}

TEST(the_first_address_stays_while_it_is_in_the_answer)
{
	WORLD(w, 100);
	unsigned until;

	fake_dns_set(&w.server, "lb.example", false, 1, LIST("10.0.0.2", "10.0.0.1", "10.0.0.3"));
	KNOWN_SOON(&w, "lb.example", "10.0.0.1 10.0.0.2* 10.0.0.3 |");
	fake_dns_set(&w.server, "lb.example", false, 1, LIST("10.0.0.1", "10.0.0.3", "10.0.0.2")); /* turned round */
	until = asked(&w, "lb.example", false) + 3;
	TURN_UNTIL(&w, asked(&w, "lb.example", false) >= until);
	EXPECT_STR(known(&w, "lb.example"), "10.0.0.1 10.0.0.2* 10.0.0.3 |");
	fake_dns_set(&w.server, "lb.example", false, 1, LIST("10.0.0.3", "10.0.0.1"));
	KNOWN_SOON(&w, "lb.example", "10.0.0.1 10.0.0.3* |");
}

/* --- failures ---------------------------------------------------------------------------------------------------------- */

TEST(a_family_that_is_not_answered_keeps_what_it_had)
{
	WORLD(w, 1000);

	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.1"));
	fake_dns_set(&w.server, "web.example", true, 1, LIST("fd00::1"));
	KNOWN_SOON(&w, "web.example", "10.0.0.1* | fd00::1*");
	fake_dns_record(&w.server, "web.example", true)->silent = true;
	TURN_UNTIL(&w, told_int(&w, "web.example", "failures") >= 2);
	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.2"));
	KNOWN_SOON(&w, "web.example", "10.0.0.2* | fd00::1*");
	EXPECT(state_is(&w, "web.example", "kept"));
	_cleanup_json_ json_t *one = told(&w, "web.example");
	EXPECT_CONTAINS(json_path_string(one, "error"), "AAAA: Timeout");
	fake_dns_record(&w.server, "web.example", true)->silent = false;
	TURN_UNTIL(&w, state_is(&w, "web.example", "fresh"));
}

TEST(an_error_of_the_server_keeps_the_set_and_what_it_says_is_none_empties_it)
{
	static const struct {
		unsigned rcode;
		bool exists;
		const char *then, *error;
	} rows[] = {
		{ 2, true, "10.0.0.1* |", "A: " }, /* SERVFAIL */
		{ 5, true, "10.0.0.1* |", "A: " }, /* REFUSED */
		{ 4, true, "10.0.0.1* |", "A: " }, /* NOTIMP */
		{ 0, false, "|", "A: no such name" }, /* NXDOMAIN */
		{ 0, true, "|", NULL }, /* no address */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_record *record;
		unsigned until;
		WORLD(w, 1000);

		fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.1"));
		fake_dns_record(&w.server, "web.example", true)->exists = true;
		KNOWN_SOON(&w, "web.example", "10.0.0.1* |");
		TURN_UNTIL(&w, state_is(&w, "web.example", "fresh"));
		record = fake_dns_record(&w.server, "web.example", false);
		record->rcode = rows[i].rcode;
		record->exists = rows[i].exists;
		record->addresses[0] = NULL;
		until = record->asked + 6; /* some tries of more than one question */
		TURN_UNTIL(&w, asked(&w, "web.example", false) >= until);
		EXPECT_STR(known(&w, "web.example"), rows[i].then);
		_cleanup_json_ json_t *one = told(&w, "web.example");
		if (rows[i].error)
			EXPECT_CONTAINS(json_path_string(one, "error"), rows[i].error);
		else
			EXPECT(json_is_null(json_object_get(one, "error")));
		EXPECT_STR(json_path_string(one, "state"), rows[i].rcode ? "kept" : "fresh");
	}
}

TEST(nobody_at_the_servers_port_is_a_failure_that_is_told_and_tried_again)
{
	WORLD(w, 1000);

	fake_dns_stop(&w.server);
	known(&w, "web.example");
	TURN_UNTIL(&w, told_int(&w, "web.example", "failures") >= 4);
	EXPECT(state_is(&w, "web.example", "unknown"));
	fake_dns_start(&w.server, w.loop);
	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.1"));
	agent_restart(&w); /* the port is another one */
	KNOWN_SOON(&w, "web.example", "10.0.0.1* |");
}

TEST(retries_wait_longer_each_time)
{
	WORLD(w, 1);
	double last = 0;

	fake_dns_record(&w.server, "web.example", false)->rcode = 2;
	fake_dns_record(&w.server, "web.example", true)->rcode = 2;
	known(&w, "web.example");
	TURN_UNTIL(&w, told_int(&w, "web.example", "failures") == 2);
	_cleanup_json_ json_t *one = told(&w, "web.example");
	last = seconds_of(json_path_string(one, "nextAt")) - (double)time_to_wall_ns(time_now_ns()) / 1e9;
	EXPECT(last > 0.7 && last < 1.2);
	TURN_UNTIL(&w, told_int(&w, "web.example", "failures") == 4);
	_cleanup_json_ json_t *then = told(&w, "web.example");
	last = seconds_of(json_path_string(then, "nextAt")) - (double)time_to_wall_ns(time_now_ns()) / 1e9;
	EXPECT(last > 1.5 && last < 2.3);
}

/* --- what stays, and what goes ----------------------------------------------------------------------------------------- */

static bool stored_text(struct world *w, const char *name, const char *expected)
{
	_cleanup_free_ void *value = NULL;
	char key[64];
	size_t size;

	snprintf(key, sizeof(key), "discovery/dns/%s", name);
	return state_get(w->state, key, &value, &size, NULL) == 0 && strcmp(value, expected) == 0;
}

TEST(the_next_agent_keeps_the_stored_set_until_it_has_an_answer)
{
	WORLD(w, 1000);

	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.2", "10.0.0.1"));
	fake_dns_set(&w.server, "web.example", true, 1, LIST("fd00::1"));
	KNOWN_SOON(&w, "web.example", "10.0.0.1 10.0.0.2* | fd00::1*");
	TURN_UNTIL(&w, stored_text(&w, "web.example", "{\"v4\":[\"10.0.0.2\",\"10.0.0.1\"],\"v6\":[\"fd00::1\"]}"));
	fake_dns_record(&w.server, "web.example", false)->silent = true;
	fake_dns_record(&w.server, "web.example", true)->silent = true;
	agent_restart(&w);
	EXPECT_STR(known(&w, "web.example"), "10.0.0.1 10.0.0.2* | fd00::1*");
	dns_discovery_commit(w.discovery);
	TURN_UNTIL(&w, told_int(&w, "web.example", "failures") >= 4);
	EXPECT_STR(known(&w, "web.example"), "10.0.0.1 10.0.0.2* | fd00::1*");
	EXPECT(state_is(&w, "web.example", "kept"));

	fake_dns_record(&w.server, "web.example", false)->silent = false;
	fake_dns_set(&w.server, "web.example", false, 1, LIST("10.0.0.3"));
	KNOWN_SOON(&w, "web.example", "10.0.0.3* | fd00::1*");
}

TEST(what_makes_no_sense_in_the_store_is_ignored)
{
	static const char odd[] = "{\"v4\": [7, \"x\", \"fd00::1\", \"10.0.0.1\"], \"v6\": {}}";
	WORLD(w, 1);

	EXPECT_OK(state_put(w.state, "discovery/dns/a.example", "{", 1, NULL));
	EXPECT_OK(state_put(w.state, "discovery/dns/b.example", odd, strlen(odd), NULL));
	agent_restart(&w);
	EXPECT_STR(known(&w, "a.example"), "?");
	EXPECT_STR(known(&w, "b.example"), "10.0.0.1* |");
}

static int count_entry(const struct state_entry *entry, void *arg)
{
	(void)entry;
	++*(unsigned *)arg;
	return 0;
}

static unsigned stored(struct world *w)
{
	unsigned count = 0;

	EXPECT_OK(state_list(w->state, "discovery/dns/", NULL, 0, count_entry, &count, NULL));
	return count;
}

TEST(names_that_are_let_go_are_not_asked_for_any_more)
{
	WORLD(w, 1000);
	unsigned before, until;

	fake_dns_set(&w.server, "stays.example", false, 1, LIST("10.0.0.1"));
	fake_dns_set(&w.server, "goes.example", false, 1, LIST("10.0.0.2"));
	KNOWN_SOON(&w, "stays.example", "10.0.0.1* |");
	KNOWN_SOON(&w, "goes.example", "10.0.0.2* |");
	TURN_UNTIL(&w, stored(&w) == 2);
	dns_discovery_commit(w.discovery);
	known(&w, "stays.example");
	dns_discovery_commit(w.discovery);
	EXPECT_EQ(stored(&w), 1);
	loop_turn(w.loop, 0); /* what was under way */
	loop_turn(w.loop, NSEC_PER_MSEC);
	before = asked(&w, "goes.example", false);
	until = asked(&w, "stays.example", false) + 10;
	TURN_UNTIL(&w, asked(&w, "stays.example", false) >= until);
	EXPECT_EQ(asked(&w, "goes.example", false), before);
	EXPECT(!told(&w, "goes.example"));
}

TEST(a_name_may_be_let_go_while_it_is_asked_for)
{
	WORLD(w, 1000);

	fake_dns_set(&w.server, "web.example", false, 60, LIST("10.0.0.1"));
	fake_dns_record(&w.server, "web.example", false)->silent = true;
	known(&w, "web.example");
	TURN_UNTIL(&w, asked(&w, "web.example", false) == 1);
	dns_discovery_commit(w.discovery);
	dns_discovery_commit(w.discovery);
	EXPECT(!told(&w, "web.example"));
	fake_dns_record(&w.server, "web.example", false)->silent = false;
	TURN_UNTIL(&w, asked(&w, "web.example", false) == 2); /* the same question once more */
	loop_turn(w.loop, NSEC_PER_MSEC);
	loop_turn(w.loop, NSEC_PER_MSEC);
	EXPECT_EQ(w.changes, 0);
	EXPECT_EQ(stored(&w), 0);
	KNOWN_SOON(&w, "web.example", "10.0.0.1* |");
}

/* Different ones that have come. */
static unsigned questions(const struct world *w)
{
	unsigned count = 0;

	for (size_t i = 0; i < w->server.record_count; i++)
		count += w->server.records[i].asked > 0;
	return count;
}

TEST(at_most_1024_questions_are_under_way_and_the_others_have_their_turn)
{
	enum { NAMES = 600 };
	WORLD(w, 10);
	char name[32];

	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		fake_dns_record(&w.server, name, false)->silent = true;
		fake_dns_record(&w.server, name, true)->silent = true;
		known(&w, name);
	}
	TURN_UNTIL(&w, questions(&w) >= 1024);
	for (int i = 0; i < 20; i++)
		loop_turn(w.loop, NSEC_PER_MSEC);
	EXPECT_EQ(questions(&w), 1024);
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		fake_dns_set(&w.server, name, false, 60, LIST("10.0.0.1"));
		fake_dns_record(&w.server, name, false)->silent = false;
		fake_dns_record(&w.server, name, true)->silent = false;
	}
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		KNOWN_SOON(&w, name, "10.0.0.1* |");
	}
}

TEST(a_server_that_is_no_address_is_named)
{
	static const char *const bad[] = { "localhost", "10.0.0.1:0", "10.0.0.1:99999", "", "[fd00::1" };
	WORLD(w, 1);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct dns_discovery *discovery;
		struct error err = {};

		EXPECT_EQ(dns_discovery_new(w.loop, w.state,
					    &(struct dns_discovery_options){
						    .servers = &bad[i], .server_count = 1, .time_scale = 1, .changed = on_change, .arg = &w },
					    &discovery, &err),
			  -EINVAL);
		EXPECT_STR(err.field, "resolver");
		EXPECT_CONTAINS(err.message, bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_unknown_until_there_is_an_answer_for_a_family),
		cmocka_unit_test(a_name_is_one_in_any_case_with_or_without_a_dot),
		cmocka_unit_test(a_name_without_dots_is_asked_for_as_it_is),
		cmocka_unit_test(an_address_is_its_own_answer_and_what_is_no_name_is_not_asked_for),
		cmocka_unit_test(an_alias_has_the_least_ttl_of_its_chain),
		cmocka_unit_test(a_truncated_answer_is_fetched_by_tcp),
		cmocka_unit_test(addresses_beyond_1024_and_those_that_cannot_be_connected_to_are_left_out_and_counted),
		cmocka_unit_test(an_answer_is_good_for_its_ttl_between_5_seconds_and_5_minutes_and_a_tenth_of_chance),
		cmocka_unit_test(what_the_resolver_changes_is_taken_up_and_told_once),
		cmocka_unit_test(the_first_address_stays_while_it_is_in_the_answer),
		cmocka_unit_test(a_family_that_is_not_answered_keeps_what_it_had),
		cmocka_unit_test(an_error_of_the_server_keeps_the_set_and_what_it_says_is_none_empties_it),
		cmocka_unit_test(nobody_at_the_servers_port_is_a_failure_that_is_told_and_tried_again),
		cmocka_unit_test(retries_wait_longer_each_time),
		cmocka_unit_test(the_next_agent_keeps_the_stored_set_until_it_has_an_answer),
		cmocka_unit_test(what_makes_no_sense_in_the_store_is_ignored),
		cmocka_unit_test(names_that_are_let_go_are_not_asked_for_any_more),
		cmocka_unit_test(a_name_may_be_let_go_while_it_is_asked_for),
		cmocka_unit_test(at_most_1024_questions_are_under_way_and_the_others_have_their_turn),
		cmocka_unit_test(a_server_that_is_no_address_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
