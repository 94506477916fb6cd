/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <signal.h>
#include <stdio.h>

#define NAME_BYTES 16 /* of the kernel */

int thread_start(pthread_t *ret_thread, const pthread_attr_t *attributes, const char *name, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	char cut[NAME_BYTES];
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(ret_thread, attributes, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0 && name) {
		snprintf(cut, sizeof(cut), "%.15s", name);
		pthread_setname_np(*ret_thread, cut);
	}
	return r;
}
