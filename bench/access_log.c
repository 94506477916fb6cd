/* SPDX-License-Identifier: Apache-2.0 */
/* access_log [SECONDS]: what a line of an access log costs the thread that writes it: put together, in Envoy's default format and in JSON of
 * 16 members, and put together and handed over to the log's thread, which writes to /dev/shm. A request of a browser, with 12
 * headers, each a microsecond later than the one before. In CPU time of this thread; a line of JSON. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/access_log/access_log.h"
#include "agent/access_log/format.h"
#include "base/address.h"
#include "base/cleanup.h"

enum { BATCH = 1000 };

static const struct http_header request[] = {
	{ SPAN("Host"), SPAN("colors.example.com:8080") },
	{ SPAN("Accept"), SPAN("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8") },
	{ SPAN("Accept-Encoding"), SPAN("gzip, deflate, br") },
	{ SPAN("Accept-Language"), SPAN("en-US,en;q=0.5") },
	{ SPAN("Cache-Control"), SPAN("max-age=0") },
	{ SPAN("Connection"), SPAN("keep-alive") },
	{ SPAN("Cookie"), SPAN("session=cacd71b8503a43bb86c7b136cb11f3b3") },
	{ SPAN("Referer"), SPAN("http://colors.example.com:8080/") },
	{ SPAN("Sec-Fetch-Mode"), SPAN("navigate") },
	{ SPAN("Upgrade-Insecure-Requests"), SPAN("1") },
	{ SPAN("User-Agent"), SPAN("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0") },
	{ SPAN("X-User-Segment"), SPAN("beta") },
};
static const struct http_header request_set[] = {
	{ SPAN("x-request-id"), SPAN("cacd71b8-503a-43bb-86c7-b136cb11f3b3") },
	{ SPAN("x-forwarded-for"), SPAN("10.9.9.9") },
	{ SPAN("x-forwarded-proto"), SPAN("http") },
};
static const struct http_header response_set[] = { { SPAN("x-envoy-upstream-service-time"), SPAN("11") }, { SPAN("server"), SPAN("envoy") } };

static const char json_format[] =
	"{\"json\": [{\"key\": \"start\", \"value\": \"%START_TIME%\"}, {\"key\": \"method\", \"value\": \"%REQ(:METHOD)%\"},"
	"{\"key\": \"path\", \"value\": \"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\"}, {\"key\": \"protocol\", \"value\": \"%PROTOCOL%\"},"
	"{\"key\": \"code\", \"value\": \"%RESPONSE_CODE%\"}, {\"key\": \"flags\", \"value\": \"%RESPONSE_FLAGS%\"},"
	"{\"key\": \"received\", \"value\": \"%BYTES_RECEIVED%\"}, {\"key\": \"sent\", \"value\": \"%BYTES_SENT%\"},"
	"{\"key\": \"ms\", \"value\": \"%DURATION%\"}, {\"key\": \"agent\", \"value\": \"%REQ(USER-AGENT)%\"},"
	"{\"key\": \"id\", \"value\": \"%REQ(X-REQUEST-ID)%\"}, {\"key\": \"authority\", \"value\": \"%REQ(:AUTHORITY)%\"},"
	"{\"key\": \"host\", \"value\": \"%UPSTREAM_HOST%\"}, {\"key\": \"cluster\", \"value\": \"%UPSTREAM_CLUSTER%\"},"
	"{\"key\": \"route\", \"value\": \"%ROUTE_NAME%\"}, {\"key\": \"peer\", \"value\": \"%DOWNSTREAM_REMOTE_ADDRESS%\"}]}";

static struct access_log_address address_of(const char *text)
{
	struct access_log_address address = { .known = true };

	if (ip_port_parse(text, &address.ip, &address.port) < 0)
		errx(1, "no address: %s", text);
	return address;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct access_log_entry entry_made(void)
{
	return (struct access_log_entry){
		.start_wall_ns = 1796052614747018123ull,
		.protocol = ACCESS_LOG_HTTP_1_1,
		.method = SPAN("GET"),
		.authority = SPAN("colors.example.com:8080"),
		.path = SPAN("/colors/blue?shade=7"),
		.request_set = { request_set, ARRAY_SIZE(request_set) },
		.request = { request, ARRAY_SIZE(request) },
		.response_set = { response_set, ARRAY_SIZE(response_set) },
		.status = 200,
		.bytes_sent = 1024,
		.duration_ns = 12000000,
		.downstream_remote = address_of("10.9.9.9:41234"),
		.upstream_host = address_of("10.0.2.17:8080"),
		.cluster = SPAN("cds_egress_colors_blue_http_8080"),
		.route = SPAN("canary"),
	};
}

/* Nanoseconds a line. */
static double measure(const char *json_text, double seconds)
{
	struct access_log_entry entry = entry_made();
	_cleanup_json_ json_t *json = json_text ? json_loads(json_text, 0, NULL) : NULL;
	_cleanup_(buffer_done) struct buffer line = {};
	struct access_log_format *format;
	struct error error = {};
	size_t count = 0;
	double start, end;

	if (access_log_format_new(json, "format", &format, &error) < 0)
		errx(1, "%s", error.message);
	start = cpu_seconds();
	do {
		for (int i = 0; i < BATCH; i++, count++) {
			buffer_clear(&line);
			access_log_format(format, &entry, &line);
			entry.start_wall_ns += 1000;
		}
		end = cpu_seconds();
	} while (end - start < seconds);
	access_log_format_free(format);
	return (end - start) * 1e9 / (double)count;
}

/* Nanoseconds a line, at 50,000 a second, with a flush after each 5,000. */
static double measure_written(double seconds)
{
	char directory[] = "/dev/shm/weft-bench-XXXXXX", command[64];
	const struct access_logs_options options = { .worker_count = 1, .workload_files = mkdtemp(directory) };
	_cleanup_json_ json_t *file = json_pack("{s:s}", "path", "/a.log");
	const struct access_log_request request_of = { .workload = 1, .pidfd = -1, .mesh = SPAN("m"), .node = SPAN("n"), .file = file };
	struct access_log_entry entry = entry_made();
	struct access_logs *logs;
	struct access_log *log;
	struct error error = {};
	size_t count = 0;
	double cpu;

	if (!options.workload_files || access_logs_new(&options, &logs) < 0 || access_log_open(logs, &request_of, &log, &error) < 0)
		errx(1, "cannot begin: %s", error.message);
	cpu = cpu_seconds();
	for (double batches = 10 * seconds; batches > 0; batches--) {
		for (int i = 0; i < 5 * BATCH; i++, count++) {
			access_log_write(log, 0, &entry);
			entry.start_wall_ns += 20000;
		}
		access_logs_flush(logs, 0);
		usleep(90000);
	}
	cpu = cpu_seconds() - cpu;
	if (access_log_totals(log).lines < count / 2)
		errx(1, "only %llu of %zu lines were written", (unsigned long long)access_log_totals(log).lines, count);
	access_log_unref(log);
	access_logs_free(logs);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	if (system(command) != 0)
		warnx("cannot remove %s", directory);
	return cpu * 1e9 / (double)count;
}

int main(int argc, char *argv[])
{
	const double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;

	printf("{\"default_ns\": %.0f, \"json_ns\": %.0f, \"written_ns\": %.0f}\n", measure(NULL, seconds), measure(json_format, seconds),
	       measure_written(seconds));
	return 0;
}
