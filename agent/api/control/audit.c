/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/control/audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/control/trail.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/time.h"

#define TXN_RECORDS 100
#define TXN_BYTES (STORE_TXN_LIMIT_BYTES / 2)
/* Of a text that a client made up. */
#define TEXT_CHARACTERS 1024

struct record {
	struct list link;
	char *key, *value;
};

struct audit {
	struct store *store;
	struct trail *trail;
	struct list waiting; /* struct record */
	size_t waiting_count;
	bool in_flight, stopped;
	uint64_t lost;
	uint64_t in_flight_count;
};

/* --- records ------------------------------------------------------------------------------------------------------------------ */

void audit_time_key(uint64_t time_ns, char ret_key[AUDIT_KEY_BYTES])
{
	snprintf(ret_key, AUDIT_KEY_BYTES, AUDIT_PREFIX "%020llu", (unsigned long long)time_ns);
}

static json_t *identity_json(const struct audit_event *event)
{
	const struct iam_principal *p = event->principal;
	json_t *identity;

	if (!p)
		return json_pack("{s:s, s:s?}", "type", "Unknown", "accessKeyId", event->access_key);
	identity = json_pack("{s:s, s:s, s:s, s:s, s:s*}", "type", p->type, "principalId", p->id, "arn", p->arn, "accountId", p->account,
			     "accessKeyId", event->access_key);
	if (*p->user)
		json_object_set_new(identity, "userName", json_string(p->user));
	return identity;
}

/* "2026-11-24T10:15:30Z", as CloudTrail has it. */
static json_t *time_json(uint64_t time_ns)
{
	char text[TIME_TEXT_BYTES];

	time_format(time_ns, text);
	snprintf(text + strlen("2026-11-24T10:15:30"), 2, "Z");
	return json_string(text);
}

int audit_record(const struct audit_event *event, char **ret_key, char **ret_value)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_free_ char *key = NULL, *value = NULL;
	char time_key[AUDIT_KEY_BYTES];

	record = json_pack("{s:s, s:o, s:o, s:s, s:s?, s:s, s:s?, s:s?, s:s*, s:s*, s:O?, s:O?, s:s, s:s, s:b, s:s, s:b, s:s*, s:s}", "eventVersion",
			   "1.08", "userIdentity", identity_json(event), "eventTime", time_json(event->time_ns), "eventSource", event->source,
			   "eventName", event->name, "awsRegion", event->region, "sourceIPAddress", event->address, "userAgent", event->agent,
			   "errorCode", event->error, "errorMessage", event->message, "requestParameters", event->input, "responseElements",
			   event->output, "requestID", event->request_id, "eventID", event->id, "readOnly", event->is_read, "eventType",
			   "AwsApiCall", "managementEvent", 1, "recipientAccountId", event->principal ? event->principal->account : NULL,
			   "eventCategory", "Management");
	value = record ? json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(13)) : NULL;
	audit_time_key(event->time_ns, time_key);
	if (!value || asprintf(&key, "%s-%s", time_key, event->id) < 0)
		return -ENOMEM;
	*ret_key = TAKE_PTR(key);
	*ret_value = TAKE_PTR(value);
	return 0;
}

/* --- those that follow by themselves ------------------------------------------------------------------------------------------ */

static void record_free(struct record *record)
{
	free(record->key);
	free(record->value);
	free(record);
}

static void lose(struct audit *audit, uint64_t count, const char *why)
{
	audit->lost += count;
	log_limited(LOG_LEVEL_ERROR, "audit records are lost", LOG_F("records", LOG_U64(count)), LOG_F("error", LOG_STR(why)));
}

static void send_waiting(struct audit *audit);

static void sent(int result, uint64_t revision, const struct error *err, void *arg)
{
	struct audit *audit = arg;

	(void)revision;
	audit->in_flight = false;
	if (result < 0)
		lose(audit, audit->in_flight_count, err->message);
	send_waiting(audit);
}

static void send_waiting(struct audit *audit)
{
	struct store_op ops[TXN_RECORDS];
	struct record *records[TXN_RECORDS];
	size_t count = 0, bytes = 0;
	struct error err = {};

	if (audit->in_flight || audit->stopped)
		return;
	list_for_each_safe(it, &audit->waiting) {
		struct record *record = container_of(it, struct record, link);
		const size_t length = strlen(record->value);

		if (count == TXN_RECORDS || (count && bytes + length > TXN_BYTES))
			break;
		ops[count] = (struct store_op){ record->key, record->value, length };
		records[count++] = record;
		bytes += length;
		list_remove(it);
	}
	if (!count)
		return;
	audit->waiting_count -= count;
	audit->in_flight = true;
	audit->in_flight_count = count;
	if (store_txn(audit->store, NULL, 0, ops, count, sent, audit, &err) < 0) {
		audit->in_flight = false;
		lose(audit, count, err.message);
	}
	for (size_t i = 0; i < count; i++)
		record_free(records[i]);
}

void audit_append(struct audit *audit, char *key, char *value)
{
	struct record *record = audit->waiting_count < AUDIT_WAITING_MAX && !audit->stopped ? calloc(1, sizeof(*record)) : NULL;

	if (!record) {
		free(key);
		free(value);
		lose(audit, 1, "too many wait for the store");
		return;
	}
	record->key = key;
	record->value = value;
	list_append(&audit->waiting, &record->link);
	audit->waiting_count++;
	send_waiting(audit);
}

uint64_t audit_lost(const struct audit *audit)
{
	return audit->lost;
}

size_t audit_records(const struct audit *audit)
{
	return trail_records(audit->trail);
}

uint64_t audit_removed(const struct audit *audit)
{
	return trail_removed(audit->trail);
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

int audit_new(struct loop *loop, struct store *store, struct audit **ret_audit)
{
	const struct trail_bounds bounds = { AUDIT_KEPT_RECORDS, AUDIT_KEPT_DAYS * 24ull * 3600 * NSEC_PER_SEC };
	struct audit *audit = calloc(1, sizeof(*audit));

	if (!audit)
		return -ENOMEM;
	audit->store = store;
	list_init(&audit->waiting);
	if (trail_new(loop, store, &bounds, &audit->trail) < 0) {
		free(audit);
		return -ENOMEM;
	}
	*ret_audit = audit;
	return 0;
}

void audit_stop(struct audit *audit)
{
	audit->stopped = true;
	audit->trail = trail_free(audit->trail);
	if (audit->waiting_count)
		lose(audit, audit->waiting_count, "weftd stops");
}

struct audit *audit_free(struct audit *audit)
{
	if (!audit)
		return NULL;
	list_for_each_safe(it, &audit->waiting)
		record_free(container_of(it, struct record, link));
	free(audit);
	return NULL;
}
