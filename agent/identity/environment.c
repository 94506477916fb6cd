/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/environment.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PIECE_BYTES 16384

void environment_read(int pid, struct buffer *text)
{
	char path[32];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && text->length < ENVIRONMENT_MAX_BYTES) {
		char *to = buffer_reserve(text, PIECE_BYTES);
		const ssize_t n = to ? read(fd, to, PIECE_BYTES) : 0;

		if (n <= 0)
			return;
		text->length += (size_t)n;
	}
}

static struct span without_blanks(struct span value)
{
	static const char blanks[] = " \t\r\n\v\f";

	while (value.length && strchr(blanks, value.data[0])) {
		value.data++;
		value.length--;
	}
	while (value.length && strchr(blanks, value.data[value.length - 1]))
		value.length--;
	return value;
}

bool environment_get(const char *environment, size_t bytes, const char *name, struct span *ret_value)
{
	const size_t name_length = strlen(name);

	for (size_t at = 0; at < bytes;) {
		const char *string = environment + at;
		const size_t length = strnlen(string, bytes - at);

		at += length + 1;
		if (length <= name_length || memcmp(string, name, name_length) || string[name_length] != '=')
			continue;
		*ret_value = without_blanks((struct span){ string + name_length + 1, length - name_length - 1 });
		return ret_value->length > 0;
	}
	return false;
}
