/* SPDX-License-Identifier: Apache-2.0 */
/* What is parsed quickly is what the library makes of it, and ends there. */
#include <stdlib.h>

#include "base/json.h"
#include "base/json_quick.h"

#define REQUIRE(condition)                                                                                                    \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	size_t end = 0;
	json_t *value = json_quick_parse(text, size, &end), *wanted;
	json_error_t e;

	if (!value) {
		REQUIRE(end == 0);
		return 0;
	}
	wanted = json_loadb(text, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &e);
	REQUIRE(wanted && json_equal(value, wanted) && end == (size_t)e.position);
	json_decref(wanted);
	json_decref(value);
	return 0;
}
