/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/snapshot_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/l7/snapshot_internal.h"
#include "base/cleanup.h"

#define IDS_MAX (1u << 24) /* more than the kernel has room for */
#define SEEN_MORE_BYTES 512u

struct walk {
	struct span text;
	size_t at;
	snapshot_text_fn *fn;
	void *arg;
	struct error *err;
	unsigned int kinds_seen; /* by bits */
	enum snapshot_kind kind; /* whose objects are walked through */
	unsigned char *ids_seen; /* of that kind, by bits; as far as ids go */
	size_t seen_bytes;
};

static int bad(const struct walk *walk, const char *what)
{
	return error_set(walk->err, -EBADMSG, "at byte %zu: %s", walk->at, what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char next(struct walk *walk)
{
	while (walk->at < walk->text.length && is_space(walk->text.data[walk->at]))
		walk->at++;
	return walk->at < walk->text.length ? walk->text.data[walk->at] : '\0';
}

static bool take(struct walk *walk, char c)
{
	const bool is = next(walk) == c && walk->at < walk->text.length;

	walk->at += is;
	return is;
}

static bool take_null(struct walk *walk)
{
	const bool is = next(walk) == 'n' && walk->text.length - walk->at >= 4 && !memcmp(walk->text.data + walk->at, "null", 4);

	walk->at += is ? 4 : 0;
	return is;
}

/* Names of kinds and ids have nothing that would be escaped. */
static int take_name(struct walk *walk, struct span *ret_name)
{
	size_t end;

	if (!take(walk, '"'))
		return bad(walk, "a name is missing");
	for (end = walk->at; end < walk->text.length && walk->text.data[end] != '"'; end++)
		if (walk->text.data[end] == '\\' || (unsigned char)walk->text.data[end] < ' ')
			return bad(walk, "is no name of a kind, and no id");
	if (end == walk->text.length)
		return bad(walk, "the text ends in a name");
	*ret_name = (struct span){ walk->text.data + walk->at, end - walk->at };
	walk->at = end + 1;
	return take(walk, ':') ? 0 : bad(walk, "':' is missing");
}

static int take_value(struct walk *walk, json_t **ret_json, struct span *ret_text)
{
	struct error inner = {};
	struct json_place place;
	int r;

	if (next(walk) != '{' && next(walk) != '[')
		return bad(walk, "is no object");
	ret_text->data = walk->text.data + walk->at;
	r = json_parse_next(walk->text.data, walk->text.length, &walk->at, ret_json, &place, &inner);
	if (r < 0)
		return r == -ENOMEM ? error_set(walk->err, r, "out of memory") : bad(walk, inner.message);
	ret_text->length = (size_t)(walk->text.data + walk->at - ret_text->data);
	return 0;
}

static int walk_members(struct walk *walk, int (*member)(struct walk *walk, struct span name))
{
	struct span name;
	int r = 0;

	if (!take(walk, '{'))
		return bad(walk, "is no object");
	if (take(walk, '}'))
		return 0;
	do {
		r = take_name(walk, &name);
		if (r == 0)
			r = member(walk, name);
		if (r < 0)
			return r;
	} while (take(walk, ','));
	return take(walk, '}') ? 0 : bad(walk, "'}' is missing");
}

static int id_read(struct span text, uint32_t *ret_id)
{
	uint32_t id = 0;

	for (size_t i = 0; i < text.length; i++) {
		if (text.data[i] < (id ? '0' : '1') || text.data[i] > '9' || id >= IDS_MAX)
			return -EBADMSG;
		id = 10 * id + (uint32_t)(text.data[i] - '0');
	}
	if (!id || id >= IDS_MAX)
		return -EBADMSG;
	*ret_id = id;
	return 0;
}

static int see(struct walk *walk, uint32_t id)
{
	const size_t at = id / 8;

	if (at >= walk->seen_bytes) {
		const size_t bytes = MAX(2 * walk->seen_bytes, at + SEEN_MORE_BYTES);
		unsigned char *more = realloc(walk->ids_seen, bytes);

		if (!more)
			return error_set(walk->err, -ENOMEM, "out of memory");
		memset(more + walk->seen_bytes, 0, bytes - walk->seen_bytes);
		walk->ids_seen = more;
		walk->seen_bytes = bytes;
	}
	if (walk->ids_seen[at] >> id % 8 & 1)
		return error_set(walk->err, -EBADMSG, "%u is there twice", id);
	walk->ids_seen[at] |= (unsigned char)(1u << id % 8);
	return 0;
}

static int walk_object(struct walk *walk, struct span name)
{
	_cleanup_json_ json_t *json = NULL;
	struct span text = {};
	uint32_t id;
	int r;

	if (id_read(name, &id) < 0)
		return error_set(walk->err, -EBADMSG, "'%.*s' is no id", (int)MIN(name.length, 20), name.data);
	r = see(walk, id);
	if (r == 0 && !take_null(walk))
		r = take_value(walk, &json, &text);
	return r < 0 ? r : walk->fn(walk->kind, id, json, text, walk->arg, walk->err);
}

static int walk_kind(struct walk *walk, enum snapshot_kind kind)
{
	struct error inner = {}, *err = walk->err;
	int r;

	walk->kind = kind;
	walk->err = &inner;
	r = walk->kinds_seen >> kind & 1 ? bad(walk, "is there twice") : walk_members(walk, walk_object);
	walk->err = err;
	walk->kinds_seen |= 1u << kind;
	free(TAKE_PTR(walk->ids_seen));
	walk->seen_bytes = 0;
	return r < 0 ? error_set_field(err, r, snapshot_kinds[kind].member, "%s", inner.message) : 0;
}

static int walk_outer(struct walk *walk, struct span name)
{
	_cleanup_json_ json_t *unknown = NULL;
	struct span text;

	for (enum snapshot_kind kind = 0; kind < SNAPSHOT_KINDS; kind++)
		if (span_equal(name, span_of(snapshot_kinds[kind].member)))
			return walk_kind(walk, kind);
	return take_value(walk, &unknown, &text);
}

int snapshot_text_each(struct span text, snapshot_text_fn *fn, void *arg, struct error *err)
{
	struct walk walk = { .text = text, .fn = fn, .arg = arg, .err = err };
	int r = walk_members(&walk, walk_outer);

	if (r == 0 && (next(&walk), walk.at < text.length))
		r = bad(&walk, "there is more than one object");
	return r;
}
