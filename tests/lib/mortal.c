/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/mortal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
	char *start, *end;
	size_t page_bytes;
	uint32_t pages_left;
	char *open[2]; /* pages that may be written: two, for a store that lies across their border */
	sigjmp_buf death;
} mortal;

static void on_store(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr / mortal.page_bytes * mortal.page_bytes);

	(void)signal;
	(void)context;
	if (page < mortal.start || page >= mortal.end)
		abort();
	if (!mortal.pages_left--)
		siglongjmp(mortal.death, 1);
	if (mortal.open[1])
		mprotect(mortal.open[1], mortal.page_bytes, PROT_READ);
	mortal.open[1] = mortal.open[0];
	mortal.open[0] = page;
	mprotect(page, mortal.page_bytes, PROT_READ | PROT_WRITE);
}

int run_mortal(void *start, size_t length_bytes, uint32_t pages, mortal_fn *fn, void *arg)
{
	const struct sigaction on_fault = { .sa_sigaction = on_store, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigaction before;
	volatile int r = -EINTR;

	if (pages == IMMORTAL)
		return fn(arg);
	mortal.start = start;
	mortal.end = mortal.start + length_bytes;
	mortal.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	mortal.pages_left = pages;
	mortal.open[0] = mortal.open[1] = NULL;
	sigaction(SIGSEGV, &on_fault, &before);
	mprotect(start, length_bytes, PROT_READ);
	if (!sigsetjmp(mortal.death, 1))
		r = fn(arg);
	mprotect(start, length_bytes, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &before, NULL);
	return r;
}
