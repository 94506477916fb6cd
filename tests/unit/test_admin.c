/* SPDX-License-Identifier: Apache-2.0 */
/* The administration port of a workload, in a namespace of this test's own with an address besides those of lo. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/l7/l7.h"
#include "agent/proxy/admin.h"
#include "base/time.h"
#include "tests/unit/stats_view_world.h"

#define COOKIE 77
#define ELSEWHERE "10.99.0.1"

struct fixture {
	struct view_world world;
	struct loop *loop;
	struct admins *admins;
	int netns_fd;
	const struct l7_stats_view *view; /* NULL: nothing is known */
	unsigned int parts; /* that were asked for last */
	uint64_t takes_ns; /* as long as it takes to tell numbers */
	int borrowed, reopened;
	char text[65536];
};

static const struct l7_stats_view *on_view(uint64_t netns_cookie, unsigned int parts, void *arg)
{
	struct fixture *f = arg;

	EXPECT_EQ(netns_cookie, COOKIE);
	f->parts = parts;
	for (const uint64_t begun_ns = time_now_ns(); parts && time_now_ns() < begun_ns + f->takes_ns;)
		;
	f->borrowed += f->view != NULL;
	return f->view;
}

static void on_view_done(const struct l7_stats_view *view, void *arg)
{
	struct fixture *f = arg;

	EXPECT(view == f->view);
	f->borrowed--;
}

static void on_reopen(uint64_t netns_cookie, void *arg)
{
	struct fixture *f = arg;

	EXPECT_EQ(netns_cookie, COOKIE);
	f->reopened++;
}

static void init(struct fixture *f)
{
	const struct admins_source source = { .view = on_view, .view_done = on_view_done, .reopen_logs = on_reopen, .arg = f };

	memset(f, 0, sizeof(*f));
	if (geteuid() != 0)
		skip(); /* it makes a network namespace */
	EXPECT_EQ(unshare(CLONE_NEWNET), 0);
	EXPECT_EQ(system("ip link set lo up && ip addr add " ELSEWHERE "/32 dev lo"), 0);
	view_world_init(&f->world);
	f->view = &f->world.view;
	EXPECT_OK(loop_new(&f->loop));
	EXPECT_OK(admins_new(f->loop, &source, &f->admins));
	f->netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	EXPECT_OK(admins_add(f->admins, COOKIE, f->netns_fd, ADMIN_PORT));
}

static void done(struct fixture *f)
{
	EXPECT_EQ(f->borrowed, 0);
	admins_free(f->admins);
	loop_free(f->loop);
	close(f->netns_fd);
}

/* The whole answer of one connection. */
static const char *asked(struct fixture *f, const char *address, const char *method, const char *target)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(ADMIN_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const uint64_t until_ns = time_now_ns() + 10 * NSEC_PER_SEC;
	char request[512];
	size_t length = 0;
	ssize_t n = 0;

	inet_pton(AF_INET, address, &to.sin_addr);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		EXPECT_EQ(errno, EINPROGRESS);
	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target);
	while (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		EXPECT(errno == EAGAIN && loop_turn(f->loop, NSEC_PER_MSEC) == 0);
	do {
		EXPECT_OK(loop_turn(f->loop, NSEC_PER_MSEC));
		n = recv(fd, f->text + length, sizeof(f->text) - 1 - length, 0);
		length += n > 0 ? (size_t)n : 0;
		EXPECT(time_now_ns() < until_ns);
	} while (n != 0);
	f->text[length] = '\0';
	close(fd);
	return f->text;
}

static void expect_answer(struct fixture *f, const char *address, const char *method, const char *target, int status, const char *words)
{
	char first[32];

	asked(f, address, method, target);
	snprintf(first, sizeof(first), "HTTP/1.1 %d ", status);
	if (strncmp(f->text, first, strlen(first)) != 0)
		fail_msg("%s %s: %s", method, target, f->text);
	EXPECT_CONTAINS(f->text, words);
}

TEST(what_is_harmless_is_shown_to_everybody)
{
	static const char *const addresses[] = { "127.0.0.1", ELSEWHERE };
	struct fixture f;

	init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		expect_answer(&f, addresses[i], "GET", "/ready", 200, "\r\n\r\nLIVE\n");
		expect_answer(&f, addresses[i], "GET", "/server_info", 200, "\"state\": \"LIVE\"");
		expect_answer(&f, addresses[i], "GET", "/stats", 200, "\r\ncluster.cds_egress_m_amazonaws.upstream_rq_total: 0\n");
		expect_answer(&f, addresses[i], "GET", "/stats?usedonly&filter=upstream_cx", 200, "\r\n\r\ncluster.cds_egress_m_blue_http_8080.upstream_cx_active: 1\n");
		expect_answer(&f, addresses[i], "GET", "/stats?format=json", 200, "Content-Type: application/json");
		expect_answer(&f, addresses[i], "GET", "/stats?format=prometheus", 200, "# TYPE envoy_server_live gauge");
		expect_answer(&f, addresses[i], "GET", "/stats/prometheus", 200, "# TYPE envoy_cluster_upstream_rq_time histogram");
		expect_answer(&f, addresses[i], "GET", "/stats?type=Gauges&filter=egress", 200, "\r\n\r\ncluster.cds_egress_m_blue_http_8080.outlier");
		expect_answer(&f, addresses[i], "GET", "/clusters", 200, "::health_flags::healthy\n");
		expect_answer(&f, addresses[i], "GET", "/clusters?format=json", 200, "\"cluster_statuses\"");
		expect_answer(&f, addresses[i], "GET", "/listeners", 200, "lds_egress_0.0.0.0_15001::0.0.0.0:15001\n");
		expect_answer(&f, addresses[i], "GET", "/listeners?format=json", 200, "\"listener_statuses\"");
		expect_answer(&f, addresses[i], "GET", "/", 200, "admin commands are:\n  /certs: ");
		expect_answer(&f, addresses[i], "GET", "/nowhere", 404, "invalid path. admin commands are:\n");
		expect_answer(&f, addresses[i], "GET", "/runtime", 501, "/runtime is not served here: there is no runtime configuration");
		expect_answer(&f, addresses[i], "PUT", "/stats", 405, "");
	}
	done(&f);
}

TEST(the_rest_is_for_the_loopback_interface)
{
	static const struct {
		const char *method, *target, *words;
	} cases[] = {
		{ "GET", "/config_dump", "envoy.admin.v3.ClustersConfigDump" },
		{ "GET", "/certs", "\"certificates\": []" },
		{ "POST", "/logging", "active loggers:\n" },
		{ "POST", "/healthcheck/ok", "OK\n" },
		{ "POST", "/quitquitquit", "OK\n" },
		{ "POST", "/reopen_logs", "OK\n" },
		{ "POST", "/stats", "server.live: 1\n" },
	};
	struct fixture f;

	init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		expect_answer(&f, ELSEWHERE, cases[i].method, cases[i].target, 403, "only over the loopback interface");
		expect_answer(&f, "127.0.0.1", cases[i].method, cases[i].target, 200, cases[i].words);
	}
	EXPECT_EQ(f.reopened, 1);
	expect_answer(&f, "127.0.0.1", "GET", "/logging", 405, "Method GET not allowed, POST required.");
	expect_answer(&f, "127.0.0.1", "POST", "/logging?level=debug", 501, "the level is the node's");
	expect_answer(&f, "127.0.0.1", "GET", "/config_dump?resource=x", 501, "the parameter resource is not known here");
	expect_answer(&f, "127.0.0.1", "GET", "/stats?filter=%28", 400, "Invalid re2 regex: ");
	expect_answer(&f, "127.0.0.1", "GET", "/clusters?filter=%28", 400, "Invalid re2 regex: ");
	expect_answer(&f, "127.0.0.1", "GET", "/stats?format=html", 400, "usage: /stats?format=(json|prometheus|text)");
	expect_answer(&f, "127.0.0.1", "GET", "/stats?type=x", 400, "usage: /stats?type=");
	done(&f);
}

TEST(a_failed_health_check_drains_what_is_shown)
{
	struct fixture f;

	init(&f);
	expect_answer(&f, "127.0.0.1", "POST", "/healthcheck/fail", 200, "OK\n");
	expect_answer(&f, "127.0.0.1", "GET", "/ready", 503, "\r\n\r\nDRAINING\n");
	expect_answer(&f, "127.0.0.1", "GET", "/server_info", 200, "\"state\": \"DRAINING\"");
	expect_answer(&f, "127.0.0.1", "GET", "/stats?filter=live", 200, "server.live: 0\n");
	expect_answer(&f, "127.0.0.1", "POST", "/healthcheck/ok", 200, "OK\n");
	expect_answer(&f, "127.0.0.1", "GET", "/ready", 200, "\r\n\r\nLIVE\n");
	done(&f);
}

TEST(what_is_not_known_yet_is_not_ready)
{
	struct fixture f;

	init(&f);
	f.view = NULL;
	expect_answer(&f, "127.0.0.1", "GET", "/ready", 503, "\r\n\r\nPRE_INITIALIZING\n");
	expect_answer(&f, "127.0.0.1", "GET", "/stats", 503, "nothing is known of this workload yet\n");
	expect_answer(&f, "127.0.0.1", "GET", "/help", 200, "admin commands are:\n");
	done(&f);
}

TEST(a_port_that_the_program_has_is_tried_again)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(9902) };
	struct fixture f;
	json_t *shown;
	int fd;

	init(&f);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EXPECT(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0);
	EXPECT_OK(admins_add(f.admins, COOKIE, f.netns_fd, 9902));
	shown = admins_json(f.admins);
	EXPECT_CONTAINS(json_path_string(json_array_get(shown, 0), "why"), "cannot bind '[::]:9902': Address already in use");
	json_decref(shown);
	close(fd);
	admins_retry(f.admins);
	shown = admins_json(f.admins);
	EXPECT(!json_path_string(json_array_get(shown, 0), "why"));
	json_decref(shown);
	EXPECT_OK(admins_add(f.admins, COOKIE, f.netns_fd, ADMIN_PORT));
	expect_answer(&f, "127.0.0.1", "GET", "/ready", 200, "LIVE");
	admins_remove(f.admins, COOKIE);
	admins_remove(f.admins, COOKIE);
	shown = admins_json(f.admins);
	EXPECT_EQ(json_array_size(shown), 0);
	json_decref(shown);
	done(&f);
}

TEST(numbers_may_take_so_much_of_the_loops_time_and_the_state_is_told_all_the_same)
{
	struct fixture f;
	json_t *shown;

	init(&f);
	f.takes_ns = ADMIN_BURST_NS + 100 * NSEC_PER_MSEC; /* made up for within 2 s */
	expect_answer(&f, "127.0.0.1", "GET", "/stats", 200, "server.live: 1\n");
	EXPECT_EQ(f.parts, L7_VIEW_NUMBERS);
	f.takes_ns = 0;
	expect_answer(&f, "127.0.0.1", "GET", "/clusters", 503, "asked too often: ");
	expect_answer(&f, "127.0.0.1", "GET", "/ready", 200, "LIVE\n");
	EXPECT_EQ(f.parts, 0);
	expect_answer(&f, "127.0.0.1", "GET", "/server_info", 200, "\"state\": \"LIVE\"");
	shown = admins_json(f.admins);
	EXPECT_EQ(json_path_int(json_array_get(shown, 0), "limited", -1), 1);
	json_decref(shown);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_harmless_is_shown_to_everybody),
		cmocka_unit_test(the_rest_is_for_the_loopback_interface),
		cmocka_unit_test(a_failed_health_check_drains_what_is_shown),
		cmocka_unit_test(what_is_not_known_yet_is_not_ready),
		cmocka_unit_test(numbers_may_take_so_much_of_the_loops_time_and_the_state_is_told_all_the_same),
		cmocka_unit_test(a_port_that_the_program_has_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
