/* SPDX-License-Identifier: Apache-2.0 */
/* access_log PID PATH [COUNT [FORMAT]]: writes an access log of a workload whose process is PID: COUNT lines (1), numbered from 0. One line of
 * JSON says what became of them. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <time.h>

#include "agent/access_log/access_log.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/time.h"

#define WAIT_NS (60 * NSEC_PER_SEC)

/* Lines written or dropped. */
static uint64_t seen_to(const struct access_log *log)
{
	const struct access_log_totals totals = access_log_totals(log);
	uint64_t lines = totals.lines;

	for (size_t i = 0; i < ACCESS_LOG_DROP_COUNT; i++)
		lines += totals.dropped[i];
	return lines;
}

int main(int argc, char *argv[])
{
	const struct access_logs_options options = { .worker_count = 1 };
	const size_t count = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
	_cleanup_json_ json_t *file = NULL, *shown = NULL;
	struct access_log_request request = { .workload = 1, .mesh = SPAN("m"), .node = SPAN("n") };
	struct access_logs *logs;
	struct access_log *log;
	struct error error = {};

	if (argc < 3)
		errx(2, "usage: access_log PID PATH [COUNT [FORMAT]]");
	file = json_pack("{s:s, s:{s:s}}", "path", argv[2], "format", "text", argc > 4 ? argv[4] : "line %REQ(:PATH)%\n");
	request.file = file;
	request.pidfd = pidfd_open(atoi(argv[1]), 0);
	if (request.pidfd < 0)
		err(1, "no process %s", argv[1]);
	if (access_logs_new(&options, &logs) < 0 || access_log_open(logs, &request, &log, &error) < 0)
		errx(1, "%s", error.message);
	for (size_t i = 0; i < count; i++) {
		char path[32];
		const struct access_log_entry entry = { .path = { path, (size_t)snprintf(path, sizeof(path), "%zu", i) } };

		access_log_write(log, 0, &entry);
	}
	access_logs_flush(logs, 0);
	for (const uint64_t end_ns = time_now_ns() + WAIT_NS; seen_to(log) < count;)
		if (time_now_ns() > end_ns || nanosleep(&(struct timespec){ .tv_nsec = NSEC_PER_MSEC }, NULL) < 0)
			errx(1, "%llu of %zu lines were seen to", (unsigned long long)seen_to(log), count);
	shown = access_logs_json(logs);
	json_dumpf(json_array_get(shown, 0), stdout, JSON_COMPACT);
	putchar('\n');
	access_log_unref(log);
	access_logs_free(logs);
	return 0;
}
