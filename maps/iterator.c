/* SPDX-License-Identifier: Apache-2.0 */
#include "maps/iterator.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BATCH_BYTES 12288

int iterator_each(int link_fd, size_t bytes, int (*fn)(const void *record, void *arg), void *arg)
{
	_cleanup_close_ int fd = -1;
	char batch[BATCH_BYTES] __attribute__((aligned(8)));
	size_t held_bytes = 0;
	int r = 0;

	if (link_fd < 0)
		return -EOPNOTSUPP;
	fd = bpf_iter_create(link_fd);
	if (fd < 0)
		return -errno;
	while (r >= 0) {
		const ssize_t n = read(fd, batch + held_bytes, sizeof(batch) - held_bytes);
		size_t used_bytes = 0;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		held_bytes += n;
		for (; held_bytes - used_bytes >= bytes && r >= 0; used_bytes += bytes)
			r = fn(batch + used_bytes, arg);
		held_bytes -= used_bytes;
		memmove(batch, batch + used_bytes, held_bytes);
	}
	return r < 0 ? r : 0;
}
