/* SPDX-License-Identifier: Apache-2.0 */
/* What is read without jansson is what jansson reads, and nothing else is read: any bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *read = json_read((const char *)data, size), *expected, *again;
	char *text;

	if (!read)
		return 0;
	expected = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (!expected || !json_equal(read, expected) || json_hash(read) != json_hash(expected)) {
		fprintf(stderr, "read otherwise than jansson does\n");
		abort();
	}
	text = json_dumps(read, JSON_COMPACT | JSON_ENCODE_ANY);
	again = text ? json_read(text, strlen(text)) : NULL;
	if (!again || !json_equal(read, again)) {
		fprintf(stderr, "not read again as it was printed\n");
		abort();
	}
	free(text);
	json_decref(again);
	json_decref(read);
	json_decref(expected);
	return 0;
}
