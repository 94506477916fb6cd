/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of a workload's network namespace, in which its processes may put what they like: of nf_tables (the first byte is 0), and of legacy
 * tables of IPv4 (1) and IPv6 (2). Whatever they are, what is said of them is words of ASCII that name where they are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/redirects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[REDIRECT_TEXT_BYTES];
	size_t length;
	bool found;

	if (!size)
		return 0;
	memset(text, 'x', sizeof(text));
	found = data[0] == 0 ? redirects_of_rule(data + 1, size - 1, text) : redirects_of_table(data + 1, size - 1, data[0] == 2, text);
	if (!found)
		return 0;
	length = strnlen(text, sizeof(text));
	if (length == sizeof(text) || !strstr(text, ", chain "))
		abort();
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			abort();
	return 0;
}
