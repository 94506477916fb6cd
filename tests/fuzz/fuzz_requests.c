/* SPDX-License-Identifier: Apache-2.0 */
/* What a weft-proxy, of whatever build, says that it counted: whatever it is, rows are in order, each once, and names are there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/telemetry/request_reading.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(request_reading_done) struct request_reading reading = {};

	if (request_reading_parse((const char *)data, size, &reading, NULL) < 0)
		return 0;
	for (size_t kind = 0; kind < REQUEST_KINDS; kind++)
		for (size_t i = 1; i < reading.rows[kind].count; i++)
			if (request_ids_order(&reading.rows[kind].list[i - 1].ids, &reading.rows[kind].list[i].ids) >= 0)
				abort();
	for (size_t i = 0; i < reading.sum_count; i++)
		if (!reading.sums[i].name)
			abort();
	if (!memchr(reading.process, ' ', strlen(reading.process)))
		abort();
	return 0;
}
