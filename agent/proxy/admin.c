/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/http/http.h"
#include "agent/identity/cgroup.h"
#include "agent/l7/envoy_print.h"
#include "agent/l7/l7.h"
#include "agent/l7/stats_print.h"
#include "agent/net/tcp.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/list.h"

#define BODY_LIMIT_BYTES 4096
#define CONNECTIONS_MAX 32
#define FILTER_MAX_BYTES 1024

struct admins {
	struct loop *loop;
	struct admins_source source;
	struct list all;
};

struct admin {
	struct list node;
	struct admins *admins;
	uint64_t netns_cookie;
	int netns_fd;
	uint16_t port;
	struct http_server *server; /* NULL: not yet */
	struct error why; /* then */
	bool failed; /* POST /healthcheck/fail */
	int64_t saved_ns; /* of the loop's time; negative: owed */
	uint64_t saved_at_ns;
	uint64_t limited;
};

/* A request, and what is answered. */
struct call {
	struct admin *admin;
	struct http_exchange *exchange;
	const struct l7_stats_view *view; /* NULL: nothing is known of the workload */
	int status;
	bool json; /* the type */
	struct buffer body;
};

/* --- commands --------------------------------------------------------------------------------------------------------------- */

typedef void command_fn(struct call *call);

struct command {
	const char *path;
	command_fn *fn; /* NULL: it has no meaning here, `help` says why */
	bool post; /* only by POST */
	bool loopback; /* only from there */
	bool no_view; /* whatever is known of the workload */
	unsigned int parts; /* of the view; 0: the server alone */
	const char *help;
};

static void say(struct call *call, int status, const char *text)
{
	call->status = status;
	buffer_clear(&call->body);
	buffer_add(&call->body, text);
}

/* Steals `json`. */
static void say_json(struct call *call, json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(1));

	json_decref(json);
	if (!text) {
		call->body.failed = true;
		return;
	}
	call->json = true;
	buffer_add(&call->body, text);
	buffer_add(&call->body, "\n");
	free(text);
}

/* The parameter "filter". False: it is none, which has been said. */
static bool filter_of(struct call *call, struct regex **ret_filter)
{
	const char *pattern = http_query(call->exchange, "filter");
	struct error err = {};

	*ret_filter = NULL;
	if (!pattern || !*pattern)
		return true;
	if (strlen(pattern) > FILTER_MAX_BYTES)
		error_set(&err, -EINVAL, "longer than %d bytes", FILTER_MAX_BYTES);
	else
		stats_filter_new(pattern, ret_filter, &err);
	if (!err.code)
		return true;
	call->status = 400;
	buffer_printf(&call->body, "Invalid re2 regex: %s\n", err.message);
	return false;
}

static bool wants_json(const struct call *call)
{
	const char *format = http_query(call->exchange, "format");

	return format && strcmp(format, "json") == 0;
}

static void print_stats(struct call *call, enum stats_format format, unsigned int types)
{
	struct stats_query query = { .format = format, .types = types, .used_only = http_query(call->exchange, "usedonly") };
	struct regex *filter;

	if (!filter_of(call, &filter))
		return;
	query.filter = filter;
	call->json = format == STATS_JSON;
	if (stats_print(call->view, &query, &call->body) < 0)
		call->body.failed = true;
	regex_free(filter);
}

static void on_stats(struct call *call)
{
	static const char *const formats[] = { [STATS_TEXT] = "text", [STATS_JSON] = "json", [STATS_PROMETHEUS] = "prometheus" };
	static const struct {
		const char *name;
		unsigned int types;
	} types[] = {
		{ "All", STATS_ALL },
		{ "Counters", STATS_COUNTERS },
		{ "Gauges", STATS_GAUGES },
		{ "Histograms", STATS_HISTOGRAMS },
	};
	const char *format = http_query(call->exchange, "format") ?: "text", *type = http_query(call->exchange, "type") ?: "All";
	size_t f = 0, t = 0;

	while (f < ARRAY_SIZE(formats) && strcmp(formats[f], format) != 0)
		f++;
	while (t < ARRAY_SIZE(types) && strcmp(types[t].name, type) != 0)
		t++;
	if (f == ARRAY_SIZE(formats))
		say(call, 400, "usage: /stats?format=(json|prometheus|text)\n\n");
	else if (t == ARRAY_SIZE(types))
		say(call, 400, "usage: /stats?type=(All|Counters|Gauges|Histograms)\n\n");
	else
		print_stats(call, f, types[t].types);
}

static void on_prometheus(struct call *call)
{
	print_stats(call, STATS_PROMETHEUS, STATS_ALL);
}

static void on_clusters(struct call *call)
{
	struct regex *filter;

	if (!filter_of(call, &filter))
		return;
	if (wants_json(call))
		say_json(call, envoy_clusters_json(call->view, filter));
	else
		envoy_clusters_text(call->view, filter, &call->body);
	regex_free(filter);
}

static void on_listeners(struct call *call)
{
	if (wants_json(call))
		say_json(call, envoy_listeners_json(call->view));
	else
		envoy_listeners_text(call->view, &call->body);
}

static void on_server_info(struct call *call)
{
	say_json(call, envoy_server_info_json(call->view));
}

static void on_ready(struct call *call)
{
	const enum l7_server_state state = call->view ? call->view->state : L7_SERVER_PRE_INITIALIZING;

	call->status = state == L7_SERVER_LIVE ? 200 : 503;
	buffer_printf(&call->body, "%s\n", l7_server_state_name(state));
}

static void on_certs(struct call *call)
{
	say_json(call, envoy_certs_json(call->view));
}

static void on_memory(struct call *call)
{
	say_json(call, envoy_memory_json(call->view));
}

static void on_config_dump(struct call *call)
{
	static const char *const others[] = { "resource", "mask", "name_regex" };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (http_query(call->exchange, others[i])) {
			call->status = 501;
			buffer_printf(&call->body, "the parameter %s is not known here: the dump is whole\n", others[i]);
			return;
		}
	say_json(call, envoy_config_dump_json(call->view));
}

static void on_hot_restart_version(struct call *call)
{
	say(call, 200, "disabled\n");
}

static void on_logging(struct call *call)
{
	static const char *const changes[] = { "level", "paths", "group" };

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (http_query(call->exchange, changes[i])) {
			say(call, 501, "the level is the node's: weft-proxy --log-level\n");
			return;
		}
	say(call, 200, "active loggers:\n  weft-proxy: as the node's --log-level\n");
}

static void on_fail(struct call *call)
{
	call->admin->failed = true;
	say(call, 200, "OK\n");
}

static void on_ok(struct call *call)
{
	call->admin->failed = false;
	say(call, 200, "OK\n");
}

static void on_reopen_logs(struct call *call)
{
	const struct admins_source *source = &call->admin->admins->source;

	source->reopen_logs(call->admin->netns_cookie, source->arg);
	say(call, 200, "OK\n");
}

static void on_quit(struct call *call)
{
	say(call, 200, "OK\n");
}

static command_fn on_help;

static const struct command commands[] = {
	{ "/certs", on_certs, .loopback = true, .help = "print certs" },
	{ "/clusters", on_clusters, .parts = L7_VIEW_NUMBERS, .help = "upstream cluster status (filter, format=json)" },
	{ "/config_dump", on_config_dump, .loopback = true, .parts = L7_VIEW_NUMBERS | L7_VIEW_ROUTES,
	  .help = "dump clusters, listeners and routes" },
	{ "/healthcheck/fail", on_fail, .post = true, .loopback = true, .no_view = true, .help = "/ready and /server_info say DRAINING" },
	{ "/healthcheck/ok", on_ok, .post = true, .loopback = true, .no_view = true, .help = "/ready and /server_info say LIVE again" },
	{ "/help", on_help, .no_view = true, .help = "print this" },
	{ "/hot_restart_version", on_hot_restart_version, .no_view = true, .help = "print \"disabled\"" },
	{ "/listeners", on_listeners, .parts = L7_VIEW_NUMBERS, .help = "print listeners (format=json)" },
	{ "/logging", on_logging, .post = true, .loopback = true, .no_view = true, .help = "query logging levels" },
	{ "/memory", on_memory, .parts = L7_VIEW_NUMBERS, .help = "print memory of the node's proxy" },
	{ "/quitquitquit", on_quit, .post = true, .loopback = true, .no_view = true, .help = "nothing: there is no sidecar to quit" },
	{ "/ready", on_ready, .no_view = true, .help = "print the state; 200 where it is LIVE, else 503" },
	{ "/reopen_logs", on_reopen_logs, .post = true, .loopback = true, .no_view = true, .help = "reopen access logs" },
	{ "/server_info", on_server_info, .help = "print version and state" },
	{ "/stats", on_stats, .parts = L7_VIEW_NUMBERS, .help = "print stats (filter, usedonly, type, format=json|prometheus|text)" },
	{ "/stats/prometheus", on_prometheus, .parts = L7_VIEW_NUMBERS, .help = "print stats in prometheus format" },
	{ "/allocprofiler", NULL, .help = "the proxy is the node's" },
	{ "/contention", NULL, .help = "the proxy is the node's" },
	{ "/cpuprofiler", NULL, .help = "the proxy is the node's" },
	{ "/drain_listeners", NULL, .help = "listeners drain when the workload ends" },
	{ "/heap_dump", NULL, .help = "the proxy is the node's" },
	{ "/heapprofiler", NULL, .help = "the proxy is the node's" },
	{ "/init_dump", NULL, .help = "there is nothing to initialize" },
	{ "/reset_counters", NULL, .help = "counters are not reset: others read them" },
	{ "/runtime", NULL, .help = "there is no runtime configuration" },
	{ "/runtime_modify", NULL, .help = "there is no runtime configuration" },
};

static void list_commands(struct buffer *out)
{
	buffer_add(out, "admin commands are:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].fn)
			buffer_printf(out, "  %s%s: %s\n", commands[i].path, commands[i].post ? " (POST)" : "", commands[i].help);
}

static void on_help(struct call *call)
{
	list_commands(&call->body);
}

/* NULL: no such path. */
static const struct command *find(const char *path)
{
	if (strcmp(path, "/") == 0)
		path = "/help";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].path, path) == 0)
			return &commands[i];
	return NULL;
}

/* --- requests --------------------------------------------------------------------------------------------------------------- */

/* What may be spent now grows with time. */
static bool may_spend(struct admin *admin, uint64_t now_ns)
{
	const int64_t grown_ns = (int64_t)((now_ns - admin->saved_at_ns) * ADMIN_SHARE_PCT / 100);

	admin->saved_ns = MIN(admin->saved_ns + grown_ns, (int64_t)ADMIN_BURST_NS);
	admin->saved_at_ns = now_ns;
	return admin->saved_ns > 0;
}

static void run_command(struct call *call, const struct command *command)
{
	const struct admin *admin = call->admin;
	const struct admins_source *source = &admin->admins->source;
	const struct l7_stats_view *view = source->view(admin->netns_cookie, command->parts, source->arg);
	struct l7_stats_view failed;

	call->view = view;
	if (view && admin->failed) {
		failed = *view;
		failed.state = L7_SERVER_DRAINING;
		failed.server.state = L7_SERVER_DRAINING;
		failed.server.live = 0;
		call->view = &failed;
	}
	if (!view && !command->no_view)
		say(call, 503, "nothing is known of this workload yet\n");
	else
		command->fn(call);
	if (view)
		source->view_done(view, source->arg);
}

/* What asks for numbers takes as long as there are numbers. */
static void run_within_share(struct call *call, const struct command *command)
{
	struct admin *admin = call->admin;
	const uint64_t begun_ns = time_now_ns();

	if (!may_spend(admin, begun_ns)) {
		admin->limited++;
		say(call, 503, "asked too often: this port has had its share of the proxy's time\n");
		return;
	}
	run_command(call, command);
	admin->saved_ns -= (int64_t)(time_now_ns() - begun_ns);
}

static void decide(struct call *call, const char *path)
{
	const struct command *command = find(path);
	const char *method = http_method(call->exchange);
	const bool post = strcmp(method, "POST") == 0;

	if (!command) {
		call->status = 404;
		buffer_add(&call->body, "invalid path. ");
		list_commands(&call->body);
	} else if (!command->fn) {
		call->status = 501;
		buffer_printf(&call->body, "%s is not served here: %s\n", command->path, command->help);
	} else if ((command->loopback || post) && !ip_is_loopback(&http_peer(call->exchange)->address)) {
		say(call, 403, "only over the loopback interface of the workload's namespace\n");
	} else if (command->post && !post) {
		call->status = 405;
		buffer_printf(&call->body, "Method %s not allowed, POST required.", method);
	} else if (!command->parts) {
		run_command(call, command);
	} else {
		run_within_share(call, command);
	}
}

static void on_request(struct http_exchange *exchange, void *arg)
{
	static const struct http_header headers[] = {
		{ SPAN("Cache-Control"), SPAN("no-cache, max-age=0") },
		{ SPAN("X-Content-Type-Options"), SPAN("nosniff") },
	};
	const char *path = http_path(exchange);
	struct call call = { .admin = arg, .exchange = exchange, .status = 200 };
	struct http_answer answer = { .headers = headers, .header_count = ARRAY_SIZE(headers) };

	if (!path) {
		http_refuse(exchange, HTTP_BAD_TARGET);
		return;
	}
	decide(&call, path);
	if (buffer_failed(&call.body)) {
		http_refuse(exchange, HTTP_NO_MEMORY);
	} else {
		answer.status = call.status;
		answer.content_type = call.json ? "application/json" : "text/plain; charset=UTF-8";
		answer.body = (struct span){ buffer_string(&call.body), call.body.length };
		http_answer(exchange, &answer);
	}
	buffer_done(&call.body);
}

static const struct http_service service = {
	.name = "admin",
	.handler = on_request,
	.methods = "GET, HEAD, POST",
	.body_limit_bytes = BODY_LIMIT_BYTES,
	.connections_max = CONNECTIONS_MAX,
};

/* --- namespaces ------------------------------------------------------------------------------------------------------------- */

static int listen_in(int netns_fd, int family, const char *address, int *ret_fd, struct error *err)
{
	_cleanup_close_ int fd = netns_socket(netns_fd, family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return error_set(err, fd, "cannot make a socket: %s", strerror(-fd));
	r = tcp_listen_with(fd, address, err);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

/* On both families, or where there is no IPv6 on the other. */
static void admin_open(struct admin *admin)
{
	char address[ENDPOINT_TEXT_BYTES];
	_cleanup_close_ int fd = -1;
	int r;

	if (admin->server)
		return;
	admin->why = (struct error){};
	snprintf(address, sizeof(address), "[::]:%u", admin->port);
	r = listen_in(admin->netns_fd, AF_INET6, address, &fd, &admin->why);
	if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) {
		admin->why = (struct error){};
		snprintf(address, sizeof(address), "0.0.0.0:%u", admin->port);
		r = listen_in(admin->netns_fd, AF_INET, address, &fd, &admin->why);
	}
	if (r == 0)
		r = http_server_new_at(admin->admins->loop, fd, address, &service, admin, &admin->server, &admin->why);
	if (r == 0)
		fd = -1;
}

static struct admin *admin_find(const struct admins *admins, uint64_t netns_cookie)
{
	list_for_each(it, &admins->all) {
		struct admin *admin = container_of(it, struct admin, node);

		if (admin->netns_cookie == netns_cookie)
			return admin;
	}
	return NULL;
}

static void admin_free(struct admin *admin)
{
	list_remove(&admin->node);
	http_server_free(admin->server);
	fd_close(admin->netns_fd);
	free(admin);
}

int admins_add(struct admins *admins, uint64_t netns_cookie, int netns_fd, uint16_t port)
{
	struct admin *admin = admin_find(admins, netns_cookie);

	if (admin && admin->port != port)
		admin->server = http_server_free(admin->server);
	if (!admin) {
		admin = calloc(1, sizeof(*admin));
		if (!admin)
			return -ENOMEM;
		list_append(&admins->all, &admin->node);
		admin->admins = admins;
		admin->saved_ns = ADMIN_BURST_NS;
		admin->saved_at_ns = time_now_ns();
		admin->netns_cookie = netns_cookie;
		admin->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 0);
		if (admin->netns_fd < 0) {
			int r = -errno;

			admin_free(admin);
			return r;
		}
	}
	admin->port = port;
	admin_open(admin);
	return 0;
}

void admins_remove(struct admins *admins, uint64_t netns_cookie)
{
	struct admin *admin = admin_find(admins, netns_cookie);

	if (admin)
		admin_free(admin);
}

void admins_retry(struct admins *admins)
{
	list_for_each(it, &admins->all)
		admin_open(container_of(it, struct admin, node));
}

int admins_new(struct loop *loop, const struct admins_source *source, struct admins **ret_admins)
{
	struct admins *admins = calloc(1, sizeof(*admins));

	if (!admins)
		return -ENOMEM;
	admins->loop = loop;
	admins->source = *source;
	list_init(&admins->all);
	*ret_admins = admins;
	return 0;
}

struct admins *admins_free(struct admins *admins)
{
	if (!admins)
		return NULL;
	list_for_each_safe(it, &admins->all)
		admin_free(container_of(it, struct admin, node));
	free(admins);
	return NULL;
}

json_t *admins_json(const struct admins *admins)
{
	json_t *list = json_array();

	list_for_each(it, &admins->all) {
		const struct admin *admin = container_of(it, struct admin, node);
		const struct http_totals totals = admin->server ? http_server_totals(admin->server) : (struct http_totals){};

		json_array_append_new(list, json_pack("{s:I, s:i, s:s?, s:I, s:I, s:I}", "netnsCookie",
						      (json_int_t)admin->netns_cookie, "port", (int)admin->port, "why",
						      admin->server ? NULL : admin->why.message, "open", (json_int_t)totals.open,
						      "requests", (json_int_t)totals.counters.requests, "limited",
						      (json_int_t)admin->limited));
	}
	return list;
}
