/* SPDX-License-Identifier: Apache-2.0 */
/* The BTF and the contents of pinned maps, as a hostile or an older build may have left them: two type sections in one string table, the
 * second of which stands for this build. Whatever they say, no conversion reads or writes outside of the two values, and one there and
 * back keeps what both know.
 *
 * An input is: length of the types of the first, of those of the second, of the strings (2 bytes each), then those, then a value. */
#include <bpf/libbpf.h>
#include <linux/btf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "loader/type_layout.h"

#define MUST(condition)                                                                                                       \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "not so: %s\n", #condition);                                                           \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static void cleanup_btf(struct btf **btf)
{
	btf__free(*btf);
}

struct piece {
	const uint8_t *bytes;
	size_t size;
};

static struct piece piece_take(struct piece *input, size_t size)
{
	const struct piece piece = { input->bytes, MIN(size, input->size) };

	input->bytes += piece.size;
	input->size -= piece.size;
	return piece;
}

static size_t size_take(struct piece *input)
{
	const struct piece piece = piece_take(input, 2);

	return piece.size == 2 ? piece.bytes[0] | piece.bytes[1] << 8 : 0;
}

static struct btf *btf_of(struct piece types, struct piece strings)
{
	const struct btf_header header = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = sizeof(header),
		.type_len = types.size & ~3ul,
		.str_off = types.size & ~3ul,
		.str_len = strings.size,
	};
	const size_t size = sizeof(header) + header.type_len + header.str_len;
	_cleanup_free_ char *raw = malloc(size);

	MUST(raw);
	memcpy(raw, &header, sizeof(header));
	memcpy(raw + sizeof(header), types.bytes, header.type_len);
	memcpy(raw + sizeof(header) + header.str_off, strings.bytes, strings.size);
	return btf__new(raw, size);
}

static void check_members(const struct type_layout *layout)
{
	for (size_t i = 0; i < layout->count; i++) {
		const struct layout_member *m = &layout->members[i];

		MUST(m->bytes && m->count && m->offset + (uint64_t)m->bytes * m->count <= layout->bytes);
	}
}

/* The values are on the heap and exactly as large as they say, so a byte too far is found. */
static void check_conversion(const struct type_layout *from, const struct type_layout *to, struct piece contents)
{
	_cleanup_(layout_conversion_done) struct layout_conversion there = {}, back = {};
	_cleanup_free_ char *value = calloc(1, from->bytes), *converted = malloc(to->bytes), *returned = malloc(from->bytes);
	_cleanup_free_ char *again = malloc(to->bytes);

	MUST(value && converted && returned && again);
	if (layout_conversion_make(from, to, &there, NULL) < 0)
		return;
	memcpy(value, contents.bytes, MIN(contents.size, from->bytes));
	layout_conversion_apply(&there, value, converted);
	if (layout_conversion_make(to, from, &back, NULL) < 0)
		return;
	layout_conversion_apply(&back, converted, returned);
	layout_conversion_apply(&there, returned, again);
	MUST(!memcmp(converted, again, to->bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct piece input = { bytes, size };
	const size_t first = size_take(&input), second = size_take(&input), text = size_take(&input);
	const struct piece first_types = piece_take(&input, first), second_types = piece_take(&input, second);
	const struct piece strings = piece_take(&input, text);
	_cleanup_(cleanup_btf) struct btf *from = btf_of(first_types, strings), *to = btf_of(second_types, strings);

	libbpf_set_print(quiet);
	for (uint32_t id = 1; from && id < MIN(btf__type_cnt(from), 64u); id++) {
		_cleanup_(type_layout_done) struct type_layout a = {}, b = {};

		if (type_layout_read(from, id, &a, NULL) < 0)
			continue;
		check_members(&a);
		check_conversion(&a, &a, input);
		if (to && type_layout_read(to, id, &b, NULL) == 0)
			check_conversion(&a, &b, input);
	}
	return 0;
}
