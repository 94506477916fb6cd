/* SPDX-License-Identifier: Apache-2.0 */
/* Audit records: made of requests, and shown. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/control/control_internal.h"
#include "base/cleanup.h"

#define LIST_USUAL 100

void control_record(struct control *control, const struct control_caller *caller, const struct control_event *event, char **ret_key,
		    char **ret_value)
{
	char id[AUDIT_ID_BYTES];

	*ret_key = *ret_value = NULL;
	if (!control->audit)
		return;
	control_make_id(id);
	audit_record(&(struct audit_event){
			     .time_ns = caller->time_ns,
			     .id = id,
			     .source = event->source,
			     .name = event->name,
			     .region = *caller->region ? caller->region : control->options->home_region,
			     .address = caller->address,
			     .agent = *caller->agent ? caller->agent : NULL,
			     .request_id = caller->request_id,
			     .error = event->error,
			     .message = event->message,
			     .principal = caller->principal.type ? &caller->principal : NULL,
			     .access_key = *caller->access_key ? caller->access_key : NULL,
			     .input = event->input,
			     .output = event->output,
			     .is_read = event->is_read,
		     },
		     ret_key, ret_value);
}

void control_note(struct control *control, const struct control_caller *caller, const struct control_event *event)
{
	char *key, *value;

	if (!control->options->audit_all)
		return;
	control_record(control, caller, event, &key, &value);
	if (key)
		audit_append(control->audit, key, value);
}

static void listed(int result, const struct store_page *page, const struct error *err, void *arg)
{
	struct http_exchange *exchange = arg;
	json_t *list;

	if (result < 0) {
		http_reply_error(exchange, err);
		return;
	}
	list = json_array();
	for (size_t i = 0; i < page->count; i++) {
		json_t *record = NULL;

		if (json_parse(page->entries[i]->value, page->entries[i]->value_bytes, &record, NULL) == 0)
			json_array_append_new(list, record);
	}
	http_reply_json(exchange, 200, json_pack("{s:o, s:s?}", "Records", list, "next",
						 page->more && page->count ? page->entries[page->count - 1]->key : NULL));
}

/* A number of a parameter, or what is usual. -EINVAL. */
static int read_number(struct http_exchange *exchange, const char *name, uint64_t usual, uint64_t *ret_number, struct error *err)
{
	const char *text = http_query(exchange, name);
	char *end;

	*ret_number = usual;
	if (!text)
		return 0;
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	if (errno || *end || end == text || *text == '-')
		return error_set_field(err, -EINVAL, name, "'%s' is no number", text);
	return 0;
}

void control_audit(struct control *control, struct http_exchange *exchange)
{
	char after[AUDIT_KEY_BYTES], before[AUDIT_KEY_BYTES];
	struct store_range range = { .prefix = AUDIT_PREFIX, .descending = true };
	const char *next = http_query(exchange, "next");
	uint64_t since_ns, until_ns, limit;
	struct error err = {};
	int r = read_number(exchange, "since", 0, &since_ns, &err);

	if (r == 0)
		r = read_number(exchange, "until", UINT64_MAX, &until_ns, &err);
	if (r == 0)
		r = read_number(exchange, "limit", LIST_USUAL, &limit, &err);
	if (r == 0 && (limit < 1 || limit > STORE_PAGE_LIMIT))
		r = error_set_field(&err, -EINVAL, "limit", "is not 1 to %d", STORE_PAGE_LIMIT);
	if (r == 0 && !control->audit)
		r = error_set(&err, -EOPNOTSUPP, "%s: there are no writes to record", control->options->settings.read_only);
	if (r < 0) {
		http_reply_error(exchange, &err);
		return;
	}
	audit_time_key(since_ns, after);
	audit_time_key(until_ns, before);
	range.after = after;
	range.before = next ? next : until_ns == UINT64_MAX ? NULL : before;
	range.limit = limit;
	r = store_list(control->store, &range, listed, exchange, &err);
	if (r < 0)
		http_reply_error(exchange, &err);
}
