/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/history, /v1/rollback, /v1/resume: what changed with each generation, and the way back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "base/cleanup.h"

#define ENTRIES_SHOWN 100

static const char *change_word(const struct history_change *change)
{
	return !change->before ? "created" : !change->now ? "deleted" : "changed";
}

static json_t *document_json(const struct resource *resource)
{
	return resource ? resource_document(resource) : json_null();
}

static json_t *change_json(const struct history_change *change, bool whole)
{
	const struct resource *resource = change->now ?: change->before;

	if (!whole)
		return json_pack("{s:s, s:s}", "resource", resource->full_name, "change", change_word(change));
	return json_pack("{s:s, s:s, s:o, s:o}", "resource", resource->full_name, "change", change_word(change), "before",
			 document_json(change->before), "now", document_json(change->now));
}

static json_t *entry_json(const struct history_entry *entry, bool whole)
{
	json_t *changes = json_array();

	for (size_t i = 0; i < entry->change_count; i++)
		json_array_append_new(changes, change_json(&entry->changes[i], whole));
	return json_pack("{s:I, s:I, s:o, s:s, s:o, s:o}", "generation", (json_int_t)entry->first, "last", (json_int_t)entry->last, "at",
			 api_time_json(entry->wall_ns), "cause", history_cause_name(entry->cause), "asked",
			 entry->cause == HISTORY_ROLLBACK ? json_integer(entry->asked) : json_null(), "changes", changes);
}

json_t *api_held_json(struct agent *agent)
{
	const struct history_hold *hold = history_held(agent->history);

	if (!hold->generation)
		return json_null();
	return json_pack("{s:I, s:o, s:I}", "generation", (json_int_t)hold->generation, "since", api_time_json(hold->since_wall_ns),
			 "waiting", (json_int_t)agent_waiting(agent));
}

/* 1; 0: the parameter is missing; or -EINVAL. */
static int number_query(struct http_exchange *exchange, const char *name, uint64_t *ret_number, struct error *err)
{
	const char *text = http_query(exchange, name);
	char *end;

	if (!text)
		return 0;
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || !*ret_number)
		return error_set_field(err, -EINVAL, name, "'%s' is no number from 1 on", text);
	return 1;
}

void api_history(struct agent *agent, struct http_exchange *exchange)
{
	const struct history *history = agent->history;
	uint64_t generation = 0, limit = ENTRIES_SHOWN;
	json_t *entries;
	struct error err = {};

	if (number_query(exchange, "generation", &generation, &err) < 0 || number_query(exchange, "limit", &limit, &err) < 0) {
		http_reply_error(exchange, &err);
		return;
	}
	entries = json_array();
	for (size_t i = history_count(history); i-- > 0 && json_array_size(entries) < limit;) {
		const struct history_entry *entry = history_at(history, i);

		if (!generation || (entry->first <= generation && generation <= entry->last))
			json_array_append_new(entries, entry_json(entry, generation != 0));
	}
	http_reply_json(exchange, 200,
			json_pack("{s:I, s:I, s:o, s:o}", "oldest", (json_int_t)history_oldest(history), "newest",
				  (json_int_t)history_newest(history), "held", api_held_json(agent), "entries", entries));
}

static void reply_applied(uint64_t generation, const struct error *err, void *arg)
{
	struct http_exchange *exchange = arg;

	if (err)
		http_reply_error(exchange, err);
	else
		http_reply_json(exchange, 200, json_pack("{s:I}", "generation", (json_int_t)generation));
}

void api_rollback(struct agent *agent, struct http_exchange *exchange)
{
	uint64_t generation = 0;
	struct error err = {};
	int r = number_query(exchange, "generation", &generation, &err);

	if (r >= 0)
		r = agent_rollback(agent, generation, reply_applied, exchange, &err);
	if (r < 0)
		http_reply_error(exchange, &err);
}

void api_resume(struct agent *agent, struct http_exchange *exchange)
{
	struct error err = {};

	if (agent_resume(agent, reply_applied, exchange, &err) < 0)
		http_reply_error(exchange, &err);
}
