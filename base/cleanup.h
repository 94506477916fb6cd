/* SPDX-License-Identifier: Apache-2.0 */
/* What a scope owns is released when it ends, so that every failure is one `return`. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Hands the resource over and leaves the variable empty: `*ret_fd = TAKE_FD(fd)`. */
#define TAKE_PTR(p)                                                                                                           \
	({                                                                                                                     \
		__typeof__(p) _taken = (p);                                                                                    \
		(p) = NULL;                                                                                                    \
		_taken;                                                                                                        \
	})
#define TAKE_FD(fd)                                                                                                           \
	({                                                                                                                     \
		int _taken = (fd);                                                                                             \
		(fd) = -1;                                                                                                     \
		_taken;                                                                                                        \
	})

/* Closes unless negative, keeps errno. Returns -1. */
int fd_close(int fd);
/* All of it, to what blocks, however often that is interrupted. 0 or -errno: then some of it may be there. For signal handlers too. */
int fd_write(int fd, const void *bytes, size_t length);

static inline void cleanup_close(int *fd)
{
	fd_close(*fd);
}
static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)
