/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"

#define BETWEEN_NS (100 * NSEC_PER_MSEC)

static uint64_t began_ns, shown_ns;
static bool visible;

void progress_show(const char *what, size_t done, size_t total)
{
	const uint64_t now_ns = time_now_ns();

	if (!began_ns)
		began_ns = now_ns;
	if (now_ns - began_ns < PROGRESS_AFTER_NS || now_ns - shown_ns < BETWEEN_NS || !isatty(STDERR_FILENO))
		return;
	shown_ns = now_ns;
	visible = true;
	fflush(stdout);
	if (total)
		fprintf(stderr, "\r\033[K%s: %zu of %zu", what, done, total);
	else
		fprintf(stderr, "\r\033[K%s: %zu", what, done);
	fflush(stderr);
}

void progress_clear(void)
{
	if (visible)
		fprintf(stderr, "\r\033[K");
	visible = false;
}
