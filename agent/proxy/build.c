/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/build.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/hash.h"

int build_of(const char *path, char buffer[BUILD_TEXT_BYTES], struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t hash[2];
	struct stat st;
	void *content;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot read '%s': %m", path);
	content = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0); /* -EINVAL for an empty file */
	if (content == MAP_FAILED)
		return error_set(err, -errno, "cannot read '%s': %m", path);
	hash_name(content, (size_t)st.st_size, hash);
	munmap(content, (size_t)st.st_size);
	snprintf(buffer, BUILD_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash[0], hash[1]);
	return 0;
}
