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
