/* SPDX-License-Identifier: Apache-2.0 */
/* A ring in plain memory, of which the kernel gives only the pages that were written to. */
#include <errno.h>
#include <string.h>

#include "agent/dns/responder_internal.h"
#include "base/address.h"
#include "base/cleanup.h"

/* Of "mesh/M/virtualNode/N": "mesh/M". */
static size_t mesh_bytes(const char *text, size_t length)
{
	const char *end = memrchr(text, '/', length);

	end = end ? memrchr(text, '/', (size_t)(end - text)) : NULL;
	return end ? (size_t)(end - text) : length;
}

struct node_name *node_name_new(const char *text)
{
	const size_t length = strlen(text), mesh_length = mesh_bytes(text, length);
	struct node_name *name = malloc(sizeof(*name) + length + 1 + mesh_length + 1);

	if (!name)
		return NULL;
	name->refs = 1;
	memcpy(name->text, text, length + 1);
	name->mesh = name->text + length + 1;
	memcpy(name->mesh, text, mesh_length);
	name->mesh[mesh_length] = '\0';
	return name;
}

struct node_name *node_name_ref(struct node_name *name)
{
	name->refs++;
	return name;
}

struct node_name *node_name_unref(struct node_name *name)
{
	if (name && --name->refs == 0)
		free(name);
	return NULL;
}

int query_log_init(struct query_log *log)
{
	log->next = 0;
	log->entries = calloc(DNS_QUERIES_KEPT, sizeof(*log->entries));
	return log->entries ? 0 : -ENOMEM;
}

void query_log_done(struct query_log *log)
{
	for (size_t i = 0; log->entries && i < DNS_QUERIES_KEPT; i++)
		node_name_unref(log->entries[i].node);
	free(log->entries);
	log->entries = NULL;
}

struct query_entry *query_log_next(struct query_log *log, struct node_name *node)
{
	struct query_entry *entry = &log->entries[log->next];

	log->next = (log->next + 1) % DNS_QUERIES_KEPT;
	node_name_unref(entry->node);
	entry->node = node_name_ref(node);
	return entry;
}

static json_t *entry_json(const struct query_entry *entry)
{
	static const char *const outcomes[] = {
#define X(symbol, name, text) [DNS_##symbol] = name,
		DNS_OUTCOMES(X)
#undef X
	};
	char time[TIME_TEXT_BYTES], resolver[IP_TEXT_BYTES], name[DNS_NAME_TEXT_BYTES], type[DNS_TYPE_TEXT_BYTES];
	char rcode[DNS_RCODE_TEXT_BYTES];

	dns_name_text(entry->name, entry->name_bytes, name);
	return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s, s:s, s:s?, s:I}", "time",
			 time_format(time_to_wall_ns(entry->begun_ns), time), "node", entry->node->text, "resolver",
			 ip_format(&entry->resolver, resolver), "name", entry->name_bytes ? name : NULL, "type",
			 entry->name_bytes ? dns_type_name(entry->type, type) : NULL, "transport", entry->tcp ? "tcp" : "udp", "outcome",
			 outcomes[entry->outcome], "rcode", entry->rcode == NO_RCODE ? NULL : dns_rcode_name(entry->rcode, rcode),
			 "ns", (json_int_t)entry->spent_ns);
}

json_t *query_log_json(const struct query_log *log, const char *node, size_t limit)
{
	_cleanup_json_ json_t *queries = json_array();

	if (!queries)
		return NULL;
	for (size_t age = 1; age <= DNS_QUERIES_KEPT && json_array_size(queries) < limit; age++) {
		const struct query_entry *entry = &log->entries[(log->next + DNS_QUERIES_KEPT - age) % DNS_QUERIES_KEPT];

		if (!entry->node)
			break;
		if ((!node || strcmp(node, entry->node->text) == 0) && json_array_append_new(queries, entry_json(entry)) < 0)
			return NULL;
	}
	return TAKE_PTR(queries);
}
