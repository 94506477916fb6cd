/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of a list. A token says behind which name the next page begins, so it holds whatever comes and goes in between; and of which
 * list, so it is no token of another one. */
#pragma once

#include "agent/api/appmesh/call.h"

struct page {
	size_t first, end; /* of the list: from first to before end */
	const char *last; /* the name before `end`, where there is more behind it; else NULL */
};

typedef const char *page_name_fn(const void *list, size_t index);

/* What `limit` and `nextToken` of the input mean for a list in byte order of its names. -EINVAL: no token, or one of another list. */
int page_begin(const struct appmesh_call *call, const void *list, size_t count, page_name_fn *name_at, struct page *ret_page,
	       struct error *err);
/* {RESULT: elements, "nextToken"} */
int page_answer(struct appmesh_call *call, const struct page *page, json_t *elements, struct error *err);
