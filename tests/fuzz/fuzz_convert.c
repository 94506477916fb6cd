/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of every form, as JSON and as YAML, converted: any bytes. Whatever comes out can be offered to the API's own checks, has a
 * place in the text, and every message is text that JSON can carry. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/convert/convert.h"
#include "agent/spec/resource.h"

#define REQUIRE(condition)                                                                                                    \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

static void require_places(const json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)list, i, one) {
		const json_t *line = json_object_get(one, "line");

		REQUIRE(!line || json_integer_value(line) >= 1);
		REQUIRE(json_object_get(one, "what") || json_object_get(one, "error"));
	}
}

static void require_items(const struct conversion *conversion, struct inputs *inputs)
{
	struct resources set;
	struct json_place place;

	resources_init(&set);
	for (size_t i = 0; i < conversion->count; i++) {
		const struct converted *item = &conversion->list[i];
		struct error err = {};

		REQUIRE(item->account[0] == '\0' || strlen(item->account) == 12);
		if (resources_add_json(&set, item->document, "fuzz", &err) < 0)
			REQUIRE(converted_problem(item, inputs, NULL, &err) == 0);
		converted_place(item, "spec.listeners[0].portMapping.port", &place);
		REQUIRE(place.line >= 1 && place.column >= 1);
	}
	resources_done(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conversion conversion;
	struct inputs inputs;
	struct error err = {};
	char path[64];
	int fd;

	fd = memfd_create("fuzz", MFD_CLOEXEC);
	REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	REQUIRE(inputs_init(&inputs) == 0 && conversion_init(&conversion) == 0);
	REQUIRE(conversion_set(&conversion, "AWS::Region=eu-west-1", &err) == 0);
	REQUIRE(inputs_read(&inputs, path, &err) == 0);
	REQUIRE(conversion_run(&conversion, &inputs) == 0);
	require_items(&conversion, &inputs);
	require_places(inputs.problems);
	require_places(conversion.remarks);
	conversion_done(&conversion);
	inputs_done(&inputs);
	close(fd);
	return 0;
}
