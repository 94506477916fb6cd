/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/head.h"

void http_head_done(struct http_head *head)
{
	buffer_done(&head->text);
}

const struct http_header *http_head_find(const struct http_head *head, struct span name, size_t *ret_count)
{
	const struct http_header *first = NULL;

	*ret_count = 0;
	for (size_t i = 0; i < head->header_count; i++)
		if (span_equal_nocase(head->headers[i].name, name) && (*ret_count)++ == 0)
			first = &head->headers[i];
	return first;
}
