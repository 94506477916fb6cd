/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>

/* A thread born with all signals blocked: they are the main thread's, and SIGPIPE and SIGXFSZ are nobody's, for calls say what happened.
 * `attributes` NULL: the usual ones. `name` is for ps, and cut to the 15 characters that there are; NULL: that of the process. 0 or -errno. Any thread. */
int thread_start(pthread_t *ret_thread, const pthread_attr_t *attributes, const char *name, void *(*run)(void *), void *arg);
