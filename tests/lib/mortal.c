/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/mortal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
	const struct iovec *memory;
	size_t count;
	size_t page_bytes;
	uint32_t pages_left;
	char *open[2]; /* pages that may be written: two, for a store that lies across their border */
	sigjmp_buf death;
} mortal;

static bool is_mortal(const char *page)
{
	for (size_t i = 0; i < mortal.count; i++)
		if (page >= (char *)mortal.memory[i].iov_base && page < (char *)mortal.memory[i].iov_base + mortal.memory[i].iov_len)
			return true;
	return false;
}

static void protect(int protection)
{
	for (size_t i = 0; i < mortal.count; i++)
		mprotect(mortal.memory[i].iov_base, mortal.memory[i].iov_len, protection);
}

static void on_store(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr / mortal.page_bytes * mortal.page_bytes);

	(void)signal;
	(void)context;
	if (!is_mortal(page))
		abort();
	if (!mortal.pages_left--)
		siglongjmp(mortal.death, 1);
	if (mortal.open[1])
		mprotect(mortal.open[1], mortal.page_bytes, PROT_READ);
	mortal.open[1] = mortal.open[0];
	mortal.open[0] = page;
	mprotect(page, mortal.page_bytes, PROT_READ | PROT_WRITE);
}

int run_mortal(const struct iovec *memory, size_t count, uint32_t pages, mortal_fn *fn, void *arg)
{
	const struct sigaction on_fault = { .sa_sigaction = on_store, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigaction before;
	volatile int r = -EINTR;

	if (pages == IMMORTAL)
		return fn(arg);
	mortal.memory = memory;
	mortal.count = count;
	mortal.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	mortal.pages_left = pages;
	mortal.open[0] = mortal.open[1] = NULL;
	sigaction(SIGSEGV, &on_fault, &before);
	protect(PROT_READ);
	if (!sigsetjmp(mortal.death, 1))
		r = fn(arg);
	protect(PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &before, NULL);
	return r;
}
