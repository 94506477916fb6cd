/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"

#include <errno.h>

int fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd); /* never again after EINTR: Linux has freed the number by then */
	errno = saved;
	return -1;
}

int fd_write(int fd, const void *bytes, size_t length)
{
	for (size_t written = 0; written < length;) {
		const ssize_t n = write(fd, (const char *)bytes + written, length - written);

		if (n < 0 && errno != EINTR)
			return -errno;
		written += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
