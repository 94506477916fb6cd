/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of sockets, as tests ask about it. */
#pragma once

#include <errno.h>
#include <sys/socket.h>

#include "tests/lib/test.h"

/* EAGAIN: open, and nothing to read; 0: there is, or the other side has closed; otherwise why not. */
static inline int state_of(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 ? errno : 0;
}

#define EXPECT_OPEN(pair)                                                                                                      \
	do {                                                                                                                   \
		EXPECT_EQ(state_of((pair).client), EAGAIN);                                                                    \
		EXPECT_EQ(state_of((pair).server), EAGAIN);                                                                    \
	} while (0)
