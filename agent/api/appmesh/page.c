/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/appmesh/page.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/sorted.h"

#define MARK_BYTES 8
#define PAGE_USUAL 100

/* Of the list that a token belongs to: the operation, and the resource it is about. */
static int list_mark(const struct appmesh_call *call, uint8_t ret_mark[MARK_BYTES])
{
	_cleanup_(buffer_done) struct buffer text = {};
	const struct appmesh_names *names = &call->names;
	uint64_t hash[2];

	buffer_printf(&text, "%s/%s/%s/%s/%s/%s", call->operation->name, call->scope.account, call->scope.region,
		      names->mesh ? names->mesh : "", names->parent ? names->parent : "", names->name ? names->name : "");
	if (buffer_failed(&text))
		return -ENOMEM;
	hash_name(text.data, text.length, hash);
	memcpy(ret_mark, hash, MARK_BYTES);
	return 0;
}

static json_t *make_token(const struct appmesh_call *call, const char *last)
{
	_cleanup_(buffer_done) struct buffer plain = {}, token = {};
	uint8_t mark[MARK_BYTES];
	unsigned char *to;

	if (list_mark(call, mark) < 0)
		return NULL;
	buffer_append(&plain, mark, sizeof(mark));
	buffer_add(&plain, last);
	if (buffer_failed(&plain) || !(to = (unsigned char *)buffer_reserve(&token, plain.length * 2 + 4)))
		return NULL;
	EVP_EncodeBlock(to, (const unsigned char *)plain.data, (int)plain.length);
	return json_string((const char *)to);
}

/* The name in a token, to free(). -EINVAL. */
static int read_token(const struct appmesh_call *call, const char *text, char **ret_last, struct error *err)
{
	static const char member[] = "nextToken";
	const size_t length = strlen(text);
	_cleanup_free_ unsigned char *plain = NULL;
	uint8_t mark[MARK_BYTES];
	int decoded;

	if (!length || length % 4 || length > 2 * RESOURCE_FULL_NAME_BYTES)
		return error_set_field(err, -EINVAL, member, "is none that was given out here");
	plain = calloc(1, length);
	if (!plain || list_mark(call, mark) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	decoded = EVP_DecodeBlock(plain, (const unsigned char *)text, (int)length);
	while (decoded > 0 && length && text[length - 1] == '=' && plain[decoded - 1] == '\0') /* padding decodes to NULs */
		decoded--;
	if (decoded <= MARK_BYTES || memchr(plain + MARK_BYTES, '\0', (size_t)decoded - MARK_BYTES))
		return error_set_field(err, -EINVAL, member, "is none that was given out here");
	if (memcmp(plain, mark, MARK_BYTES) != 0)
		return error_set_field(err, -EINVAL, member, "is that of another list");
	*ret_last = strndup((const char *)plain + MARK_BYTES, (size_t)decoded - MARK_BYTES);
	return *ret_last ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* The first that is behind the name. */
static size_t place_behind(const void *list, size_t count, page_name_fn *name_at, const char *last)
{
	return SORTED_PLACE(count, i, strcmp(name_at(list, i), last) <= 0);
}

int page_begin(const struct appmesh_call *call, const void *list, size_t count, page_name_fn *name_at, struct page *ret_page,
	       struct error *err)
{
	const char *token = json_path_string(call->input, "nextToken");
	const size_t limit = (size_t)json_path_int(call->input, "limit", PAGE_USUAL);
	_cleanup_free_ char *last = NULL;
	struct page page = {};
	int r = token ? read_token(call, token, &last, err) : 0;

	if (r < 0)
		return r;
	page.first = last ? place_behind(list, count, name_at, last) : 0;
	page.end = MIN(page.first + limit, count);
	page.last = page.end < count ? name_at(list, page.end - 1) : NULL;
	*ret_page = page;
	return 0;
}

int page_answer(struct appmesh_call *call, const struct page *page, json_t *elements, struct error *err)
{
	call->answer->body = json_pack("{s:O}", call->operation->result, elements);
	if (!call->answer->body ||
	    (page->last && json_object_set_new(call->answer->body, "nextToken", make_token(call, page->last))))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}
