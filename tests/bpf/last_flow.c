/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/last_flow.h"

#include <bpf/libbpf.h>
#include <string.h>

#include "tests/lib/test.h"

static int keep_record(void *arg, void *data, size_t bytes)
{
	assert_int_equal(bytes, sizeof(struct flow_record));
	memcpy(arg, data, bytes);
	return 0;
}

struct flow_record last_flow(int ring_fd)
{
	struct flow_record record = {};
	struct ring_buffer *ring = ring_buffer__new(ring_fd, keep_record, &record, NULL);

	assert_non_null(ring);
	ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return record;
}
