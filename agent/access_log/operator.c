/* SPDX-License-Identifier: Apache-2.0 */
/* Each operator is a row: what it takes, and how its value is found in an entry. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/access_log/internal.h"
#include "agent/access_log/put.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"

enum parameters { PARAMETERS_NONE, PARAMETERS_OPTIONAL, PARAMETERS_REQUIRED };

typedef int compile_fn(struct operation *operation, struct span parameters, struct error *err);
typedef void value_fn(const struct operation *operation, const struct access_log_entry *entry, struct value *value);

struct operator {
	const char *name;
	value_fn *value;
	size_t offset; /* in the entry; what the value is made of */
	unsigned aspect;
	enum parameters parameters;
	bool length; /* may be truncated, ":20" */
	compile_fn *compile; /* NULL: parameters are looked at by nobody */
};

/* --- values ----------------------------------------------------------------------------------------------------------------- */

static const void *member(const struct operation *operation, const struct access_log_entry *entry)
{
	return (const char *)entry + operation->operator->offset;
}

static void set_text(struct value *value, struct span text)
{
	value->kind = VALUE_TEXT;
	value->text = text;
}

static void set_number(struct value *value, uint64_t number)
{
	value->kind = VALUE_NUMBER;
	value->number = number;
}

/* What this proxy has none of, as TLS, filters and their state, or does not count: never a 0 that means nothing. */
static void value_absent(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	(void)operation;
	(void)entry;
	value->kind = VALUE_ABSENT;
}

static void value_text(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	const struct span *text = member(operation, entry);

	if (text->length > 0)
		set_text(value, *text);
	else
		value->kind = VALUE_ABSENT;
}

/* As it is, also where it is empty. */
static void value_body(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	set_text(value, *(const struct span *)member(operation, entry));
}

static void value_log_type(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	(void)operation;
	(void)entry;
	set_text(value, SPAN("DownstreamEnd"));
}

static void value_number(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	set_number(value, *(const uint64_t *)member(operation, entry));
}

static void value_zero(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	(void)operation;
	(void)entry;
	set_number(value, 0);
}

static void value_status(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	(void)operation;
	set_number(value, entry->status > 0 ? (uint64_t)entry->status : 0);
}

static void set_duration(struct value *value, uint64_t ns)
{
	if (ns == ACCESS_LOG_NO_DURATION)
		value->kind = VALUE_ABSENT;
	else
		set_number(value, ns / NSEC_PER_MSEC);
}

static void value_duration(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	set_duration(value, *(const uint64_t *)member(operation, entry));
}

static void value_response_tx(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	const uint64_t begin = entry->response_begin_ns, end = entry->response_sent_ns;
	const bool known = begin != ACCESS_LOG_NO_DURATION && end != ACCESS_LOG_NO_DURATION && begin <= end;

	(void)operation;
	set_duration(value, known ? end - begin : ACCESS_LOG_NO_DURATION);
}

static void value_protocol(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	static const struct span names[] = {
		[ACCESS_LOG_HTTP_1_0] = SPAN("HTTP/1.0"),
		[ACCESS_LOG_HTTP_1_1] = SPAN("HTTP/1.1"),
		[ACCESS_LOG_HTTP_2] = SPAN("HTTP/2"),
	};
	const enum access_log_protocol protocol = *(const enum access_log_protocol *)member(operation, entry);

	if (protocol == ACCESS_LOG_NO_PROTOCOL || protocol >= ARRAY_SIZE(names))
		value->kind = VALUE_ABSENT;
	else
		set_text(value, names[protocol]);
}

static void value_start_time(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	set_text(value, time_format_text(operation->time, entry->start_wall_ns));
}

/* Several are joined by commas; as many as the room has space for, which are more than one request can have. */
static void value_flags(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	static const struct span names[2][ACCESS_LOG_FLAG_COUNT] = {
#define FLAG_SHORT(name, short_text, long_text) SPAN(short_text),
		{ ACCESS_LOG_FLAGS(FLAG_SHORT) },
#undef FLAG_SHORT
#define FLAG_LONG(name, short_text, long_text) SPAN(long_text),
		{ ACCESS_LOG_FLAGS(FLAG_LONG) },
#undef FLAG_LONG
	};
	uint32_t flags = entry->flags & ((1u << ACCESS_LOG_FLAG_COUNT) - 1);
	size_t length = 0;

	if (flags == 0 || (flags & (flags - 1)) == 0) { /* none, or one: the usual */
		set_text(value, flags ? names[operation->operator->aspect][__builtin_ctz(flags)] : SPAN("-"));
		return;
	}
	for (; flags; flags &= flags - 1) {
		const struct span name = names[operation->operator->aspect][__builtin_ctz(flags)];

		if (length + 1 + name.length > sizeof(value->room))
			break;
		if (length > 0)
			value->room[length++] = ',';
		memcpy(value->room + length, name.data, name.length);
		length += name.length;
	}
	set_text(value, (struct span){ value->room, length });
}

/* --- addresses -------------------------------------------------------------------------------------------------------------- */

enum address_aspect { ADDRESS_WHOLE, ADDRESS_ALONE, ADDRESS_PORT };

static size_t write_ip(char *to, const struct ip *ip)
{
	size_t length = 0;

	if (!ip_is_v4(ip))
		return strlen(ip_format(ip, to));
	for (size_t i = 12; i < 16; i++) {
		length += decimal_write(to + length, ip->bytes[i]);
		to[length++] = '.';
	}
	return length - 1;
}

static void value_address(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	const struct access_log_address *address = member(operation, entry);
	const bool whole = operation->operator->aspect == ADDRESS_WHOLE, brackets = whole && !ip_is_v4(&address->ip);
	char *to = value->room;

	_Static_assert(sizeof(value->room) >= ENDPOINT_TEXT_BYTES && sizeof(value->room) >= IP_TEXT_BYTES + sizeof("[]:65535"), "it fits");
	if (!address->known) {
		value->kind = VALUE_ABSENT;
		return;
	}
	if (operation->operator->aspect == ADDRESS_PORT) {
		set_number(value, ntohs(address->port));
		return;
	}
	if (brackets)
		*to++ = '[';
	to += write_ip(to, &address->ip);
	if (brackets)
		*to++ = ']';
	if (whole) {
		*to++ = ':';
		to += decimal_write(to, ntohs(address->port));
	}
	set_text(value, (struct span){ value->room, (size_t)(to - value->room) });
}

/* --- headers ---------------------------------------------------------------------------------------------------------------- */

enum header_place { PLACE_REQUEST, PLACE_RESPONSE, PLACE_TRAILERS };

/* Those that are no headers in an entry. "Host" is what HTTP/1.1 says for :authority. */
static const struct pseudo_header {
	const char *name;
	size_t offset;
} pseudo_headers[] = {
	{ ":method", offsetof(struct access_log_entry, method) },
	{ ":path", offsetof(struct access_log_entry, path) },
	{ ":authority", offsetof(struct access_log_entry, authority) },
	{ "host", offsetof(struct access_log_entry, authority) },
	{ ":scheme", offsetof(struct access_log_entry, scheme) },
	{ "x-envoy-original-path", offsetof(struct access_log_entry, original_path) },
};

/* `name` is in lower case, and most names differ in their length or their first letter. */
static const struct http_header *header_in(const struct access_log_headers *headers, const char *name, size_t length)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct span other = headers->list[i].name;

		if (other.length == length && (other.data[0] | 0x20) == (name[0] | 0x20) && strncasecmp(other.data, name, length) == 0)
			return &headers->list[i];
	}
	return NULL;
}

/* `set` is NULL for trailers. False: it is not there. */
static bool header_find(const struct access_log_headers *set, const struct access_log_headers *came, const char *name, size_t length,
			struct span *ret_text)
{
	const struct http_header *header = set ? header_in(set, name, length) : NULL;

	if (!header)
		header = header_in(came, name, length);
	if (!header || !header->value.data)
		return false;
	*ret_text = header->value;
	return true;
}

static bool header_of(const struct header_name *name, enum header_place place, const struct access_log_entry *entry, struct value *value)
{
	const struct span *pseudo = (const void *)((const char *)entry + name->pseudo);
	bool there = false;

	if (!name->text)
		return false;
	if (place == PLACE_REQUEST && name->pseudo && pseudo->data) {
		value->text = *pseudo;
		return true;
	}
	switch (place) {
	case PLACE_REQUEST:
		there = header_find(&entry->request_set, &entry->request, name->text, name->length, &value->text);
		break;
	case PLACE_RESPONSE:
		if (entry->status > 0 && strcmp(name->text, ":status") == 0) {
			value->text = (struct span){ value->room, decimal_write(value->room, (uint64_t)entry->status) };
			return true;
		}
		there = header_find(&entry->response_set, &entry->response, name->text, name->length, &value->text);
		break;
	case PLACE_TRAILERS:
		there = header_find(NULL, &entry->trailers, name->text, name->length, &value->text);
		break;
	}
	return there;
}

static void value_header(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	const enum header_place place = operation->operator->aspect;

	if (header_of(&operation->main, place, entry, value) || header_of(&operation->alternative, place, entry, value))
		set_text(value, value->text);
	else
		value->kind = VALUE_ABSENT;
}

static void value_header_without_query(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	const char *query;

	value_header(operation, entry, value);
	if (value->kind == VALUE_ABSENT || value->text.length == 0)
		return;
	query = memchr(value->text.data, '?', value->text.length);
	if (query)
		value->text.length = (size_t)(query - value->text.data);
}

/* Names and values, without what is between them. */
static uint64_t bytes_of(const struct access_log_headers *headers)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < headers->count; i++)
		bytes += headers->list[i].name.length + headers->list[i].value.length;
	return bytes;
}

static void value_header_bytes(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	set_number(value, bytes_of(member(operation, entry)));
}

static int name_init(struct header_name *name, struct span text, struct error *err)
{
	if (text.length == 0)
		return error_set(err, -EINVAL, "a header without name");
	for (size_t i = 0; i < text.length; i++)
		if ((unsigned char)text.data[i] < 0x20)
			return error_set(err, -EINVAL, "a control character in the name of a header");
	name->text = strndup(text.data, text.length);
	if (!name->text)
		return error_set(err, -ENOMEM, "out of memory");
	name->length = text.length;
	for (char *c = name->text; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	for (size_t i = 0; i < ARRAY_SIZE(pseudo_headers); i++)
		if (strcmp(pseudo_headers[i].name, name->text) == 0)
			name->pseudo = pseudo_headers[i].offset;
	return 0;
}

/* "X" or "X?Y" */
static int compile_header(struct operation *operation, struct span parameters, struct error *err)
{
	const char *mark = memchr(parameters.data, '?', parameters.length);
	const size_t main = mark ? (size_t)(mark - parameters.data) : parameters.length;
	int r = name_init(&operation->main, (struct span){ parameters.data, main }, err);

	if (r < 0 || !mark)
		return r;
	if (memchr(mark + 1, '?', parameters.length - main - 1))
		return error_set(err, -EINVAL, "more than one alternative header");
	return name_init(&operation->alternative, (struct span){ mark + 1, parameters.length - main - 1 }, err);
}

static int compile_time(struct operation *operation, struct span parameters, struct error *err)
{
	return time_format_new(parameters, &operation->time, err);
}

static int compile_filter_state(struct operation *operation, struct span parameters, struct error *err)
{
	(void)operation;
	return parameters.data[0] == ':' ? error_set(err, -EINVAL, "a filter state without key") : 0;
}

/* --- gRPC ------------------------------------------------------------------------------------------------------------------- */

enum grpc_form { GRPC_CAMEL, GRPC_SNAKE, GRPC_NUMBER };

static const struct {
	struct span forms[2];
} grpc_statuses[] = {
	{ { SPAN("OK"), SPAN("OK") } },
	{ { SPAN("Canceled"), SPAN("CANCELLED") } },
	{ { SPAN("Unknown"), SPAN("UNKNOWN") } },
	{ { SPAN("InvalidArgument"), SPAN("INVALID_ARGUMENT") } },
	{ { SPAN("DeadlineExceeded"), SPAN("DEADLINE_EXCEEDED") } },
	{ { SPAN("NotFound"), SPAN("NOT_FOUND") } },
	{ { SPAN("AlreadyExists"), SPAN("ALREADY_EXISTS") } },
	{ { SPAN("PermissionDenied"), SPAN("PERMISSION_DENIED") } },
	{ { SPAN("ResourceExhausted"), SPAN("RESOURCE_EXHAUSTED") } },
	{ { SPAN("FailedPrecondition"), SPAN("FAILED_PRECONDITION") } },
	{ { SPAN("Aborted"), SPAN("ABORTED") } },
	{ { SPAN("OutOfRange"), SPAN("OUT_OF_RANGE") } },
	{ { SPAN("Unimplemented"), SPAN("UNIMPLEMENTED") } },
	{ { SPAN("Internal"), SPAN("INTERNAL") } },
	{ { SPAN("Unavailable"), SPAN("UNAVAILABLE") } },
	{ { SPAN("DataLoss"), SPAN("DATA_LOSS") } },
	{ { SPAN("Unauthenticated"), SPAN("UNAUTHENTICATED") } },
};

/* What an HTTP status means to a gRPC client that finds no other (gRPC, "HTTP to gRPC Status Code Mapping"). */
static const struct {
	int http;
	unsigned grpc;
} grpc_of_http[] = { { 400, 13 }, { 401, 16 }, { 403, 7 }, { 404, 12 }, { 429, 14 }, { 502, 14 }, { 503, 14 }, { 504, 14 } };
#define GRPC_UNKNOWN 2

static bool is_grpc(const struct access_log_entry *entry)
{
	static const struct span name = SPAN("content-type"), type = SPAN("application/grpc");
	struct span text;

	return header_find(&entry->request_set, &entry->request, name.data, name.length, &text) && text.length >= type.length &&
	       memcmp(text.data, type.data, type.length) == 0 &&
	       (text.length == type.length || text.data[type.length] == '+' || text.data[type.length] == ';');
}

static bool parse_status(struct span text, uint64_t *ret_status)
{
	uint64_t status = 0;

	for (size_t i = 0; i < text.length; i++) {
		if (text.data[i] < '0' || text.data[i] > '9' || status > UINT32_MAX)
			return false;
		status = status * 10 + (uint64_t)(text.data[i] - '0');
	}
	*ret_status = status;
	return text.length > 0;
}

/* Of the trailers, else of the headers, else what the HTTP status means. */
static bool grpc_status(const struct access_log_entry *entry, uint64_t *ret_status)
{
	static const struct span name = SPAN("grpc-status");
	struct span text;

	if (!is_grpc(entry))
		return false;
	if (header_find(NULL, &entry->trailers, name.data, name.length, &text) ||
	    header_find(&entry->response_set, &entry->response, name.data, name.length, &text))
		return parse_status(text, ret_status);
	if (entry->status <= 0)
		return false;
	*ret_status = GRPC_UNKNOWN;
	for (size_t i = 0; i < ARRAY_SIZE(grpc_of_http); i++)
		if (grpc_of_http[i].http == entry->status)
			*ret_status = grpc_of_http[i].grpc;
	return true;
}

static void value_grpc_status(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	uint64_t status;

	if (!grpc_status(entry, &status))
		value->kind = VALUE_ABSENT;
	else if (operation->aspect == GRPC_NUMBER)
		set_number(value, status);
	else if (status < ARRAY_SIZE(grpc_statuses))
		set_text(value, grpc_statuses[status].forms[operation->aspect]);
	else
		set_text(value, (struct span){ value->room, decimal_write(value->room, status) });
}

static int compile_grpc_status(struct operation *operation, struct span parameters, struct error *err)
{
	static const struct span forms[] = {
		[GRPC_CAMEL] = SPAN("CAMEL_STRING"),
		[GRPC_SNAKE] = SPAN("SNAKE_STRING"),
		[GRPC_NUMBER] = SPAN("NUMBER"),
	};

	if (parameters.length == 0)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++)
		if (span_equal(forms[i], parameters)) {
			operation->aspect = i;
			return 0;
		}
	return error_set(err, -EINVAL, "a form that is none of CAMEL_STRING, SNAKE_STRING, NUMBER");
}

static int compile_grpc_number(struct operation *operation, struct span parameters, struct error *err)
{
	(void)parameters;
	(void)err;
	operation->aspect = GRPC_NUMBER;
	return 0;
}

/* --- the table -------------------------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct access_log_entry, member)
#define HEADER(name, place) { name, value_header, 0, place, PARAMETERS_REQUIRED, true, compile_header }
#define TEXT(name, member) { name, value_text, AT(member) }
#define NUMBER(name, member) { name, value_number, AT(member) }
#define DURATION(name, member) { name, value_duration, AT(member) }
#define ADDRESS(name, member, aspect) { name, value_address, AT(member), aspect }
#define ADDRESSES(name, port, member)                                                                                         \
	ADDRESS(name, member, ADDRESS_WHOLE), ADDRESS(name "_WITHOUT_PORT", member, ADDRESS_ALONE), ADDRESS(port, member, ADDRESS_PORT)
#define ABSENT(name) { name, value_absent }
#define ABSENT_LOOKUP(name) { name, value_absent, 0, 0, PARAMETERS_REQUIRED, true, NULL }

static const struct operator operators[] = {
	{ "START_TIME", value_start_time, 0, 0, PARAMETERS_OPTIONAL, false, compile_time },
	HEADER("REQ", PLACE_REQUEST),
	HEADER("RESP", PLACE_RESPONSE),
	HEADER("TRAILER", PLACE_TRAILERS),
	{ "REQ_WITHOUT_QUERY", value_header_without_query, 0, PLACE_REQUEST, PARAMETERS_REQUIRED, true, compile_header },

	{ "PROTOCOL", value_protocol, AT(protocol) },
	{ "UPSTREAM_PROTOCOL", value_protocol, AT(upstream_protocol) },
	{ "RESPONSE_CODE", value_status },
	{ "RESPONSE_FLAGS", value_flags, 0, 0 },
	{ "RESPONSE_FLAGS_LONG", value_flags, 0, 1 },
	TEXT("RESPONSE_CODE_DETAILS", details),
	{ "LOCAL_REPLY_BODY", value_body, AT(local_reply_body) },
	{ "GRPC_STATUS", value_grpc_status, 0, 0, PARAMETERS_OPTIONAL, false, compile_grpc_status },
	{ "GRPC_STATUS_NUMBER", value_grpc_status, 0, 0, PARAMETERS_NONE, false, compile_grpc_number },

	NUMBER("BYTES_RECEIVED", bytes_received),
	NUMBER("BYTES_SENT", bytes_sent),
	{ "REQUEST_HEADERS_BYTES", value_header_bytes, AT(request) },
	{ "RESPONSE_HEADERS_BYTES", value_header_bytes, AT(response) },
	{ "RESPONSE_TRAILERS_BYTES", value_header_bytes, AT(trailers) },
	NUMBER("UPSTREAM_REQUEST_ATTEMPT_COUNT", attempts),
	{ "BYTES_RETRANSMITTED", value_zero }, /* of QUIC alone, as the next */
	{ "PACKETS_RETRANSMITTED", value_zero },

	DURATION("DURATION", duration_ns),
	DURATION("REQUEST_DURATION", request_end_ns),
	DURATION("REQUEST_TX_DURATION", request_sent_ns),
	DURATION("RESPONSE_DURATION", response_begin_ns),
	{ "RESPONSE_TX_DURATION", value_response_tx },

	ADDRESSES("DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_PORT", downstream_remote),
	ADDRESSES("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_PORT", downstream_direct_remote),
	ADDRESSES("DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_PORT", downstream_local),
	ADDRESSES("UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_PORT", upstream_host),
	ADDRESS("UPSTREAM_HOST", upstream_host, ADDRESS_WHOLE),
	NUMBER("CONNECTION_ID", connection_id),

	TEXT("UPSTREAM_CLUSTER", cluster),
	TEXT("ROUTE_NAME", route),
	TEXT("HOSTNAME", hostname),
	{ "ACCESS_LOG_TYPE", value_log_type },

	ABSENT("DOWNSTREAM_WIRE_BYTES_RECEIVED"),
	ABSENT("DOWNSTREAM_WIRE_BYTES_SENT"),
	ABSENT("DOWNSTREAM_HEADER_BYTES_RECEIVED"),
	ABSENT("DOWNSTREAM_HEADER_BYTES_SENT"),
	ABSENT("UPSTREAM_WIRE_BYTES_RECEIVED"),
	ABSENT("UPSTREAM_WIRE_BYTES_SENT"),
	ABSENT("UPSTREAM_HEADER_BYTES_RECEIVED"),
	ABSENT("UPSTREAM_HEADER_BYTES_SENT"),
	ABSENT("UPSTREAM_LOCAL_ADDRESS"),
	ABSENT("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"),
	ABSENT("UPSTREAM_LOCAL_PORT"),
	ABSENT("VIRTUAL_CLUSTER_NAME"),
	ABSENT("REQUESTED_SERVER_NAME"),
	ABSENT("CONNECTION_TERMINATION_DETAILS"),
	ABSENT("UPSTREAM_TRANSPORT_FAILURE_REASON"),
	ABSENT("FILTER_CHAIN_NAME"),
	ABSENT("DOWNSTREAM_HANDSHAKE_DURATION"),
	ABSENT("ROUNDTRIP_DURATION"),
	ABSENT("DOWNSTREAM_TRANSPORT_FAILURE_REASON"),
	ABSENT("DOWNSTREAM_LOCAL_URI_SAN"),
	ABSENT("DOWNSTREAM_PEER_URI_SAN"),
	ABSENT("DOWNSTREAM_LOCAL_SUBJECT"),
	ABSENT("DOWNSTREAM_PEER_SUBJECT"),
	ABSENT("DOWNSTREAM_PEER_ISSUER"),
	ABSENT("DOWNSTREAM_TLS_SESSION_ID"),
	ABSENT("DOWNSTREAM_TLS_CIPHER"),
	ABSENT("DOWNSTREAM_TLS_VERSION"),
	ABSENT("DOWNSTREAM_PEER_FINGERPRINT_256"),
	ABSENT("DOWNSTREAM_PEER_FINGERPRINT_1"),
	ABSENT("DOWNSTREAM_PEER_SERIAL"),
	ABSENT("DOWNSTREAM_PEER_CERT"),
	{ "DOWNSTREAM_PEER_CERT_V_START", value_absent, 0, 0, PARAMETERS_OPTIONAL, false, compile_time },
	{ "DOWNSTREAM_PEER_CERT_V_END", value_absent, 0, 0, PARAMETERS_OPTIONAL, false, compile_time },
	ABSENT("UPSTREAM_PEER_SUBJECT"),
	ABSENT("UPSTREAM_PEER_ISSUER"),
	ABSENT("UPSTREAM_TLS_SESSION_ID"),
	ABSENT("UPSTREAM_TLS_CIPHER"),
	ABSENT("UPSTREAM_TLS_VERSION"),
	ABSENT("UPSTREAM_PEER_CERT"),
	{ "UPSTREAM_PEER_CERT_V_START", value_absent, 0, 0, PARAMETERS_OPTIONAL, false, compile_time },
	{ "UPSTREAM_PEER_CERT_V_END", value_absent, 0, 0, PARAMETERS_OPTIONAL, false, compile_time },
	ABSENT("TLS_JA3_FINGERPRINT"),
	ABSENT_LOOKUP("DYNAMIC_METADATA"),
	ABSENT_LOOKUP("CLUSTER_METADATA"),
	ABSENT_LOOKUP("UPSTREAM_METADATA"),
	{ "FILTER_STATE", value_absent, 0, 0, PARAMETERS_REQUIRED, true, compile_filter_state },
	{ "UPSTREAM_FILTER_STATE", value_absent, 0, 0, PARAMETERS_REQUIRED, true, compile_filter_state },
};

static const struct operator *find(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		if (span_equal(name, span_of(operators[i].name)))
			return &operators[i];
	return NULL;
}

/* --- operations ------------------------------------------------------------------------------------------------------------- */

int operation_init(struct operation *operation, struct span name, struct span parameters, bool has_length, size_t truncate,
		   struct error *err)
{
	const struct operator *operator = find(name);
	int r = 0;

	if (!operator)
		return error_set(err, -EINVAL, "there is no such operator");
	if (operator->parameters == PARAMETERS_NONE && parameters.data)
		return error_set(err, -EINVAL, "it takes no parameters");
	if (operator->parameters == PARAMETERS_REQUIRED && parameters.length == 0)
		return error_set(err, -EINVAL, "it needs a parameter, %%%s(...)%%", operator->name);
	if (has_length && !operator->length)
		return error_set(err, -EINVAL, "it takes no length");
	*operation = (struct operation){ .operator = operator, .truncate = has_length ? truncate : NO_TRUNCATION };
	if (operator->compile)
		r = operator->compile(operation, parameters, err);
	if (r < 0)
		operation_done(operation);
	return r;
}

void operation_done(struct operation *operation)
{
	free(operation->main.text);
	free(operation->alternative.text);
	time_format_free(operation->time);
	*operation = (struct operation){};
}

/* Bytes, as in Envoy, but never half a character. */
static struct span cut(struct span text, size_t length)
{
	while (length > 0 && ((unsigned char)text.data[length] & 0xc0) == 0x80)
		length--;
	return (struct span){ text.data, length };
}

void operation_value(const struct operation *operation, const struct access_log_entry *entry, struct value *value)
{
	operation->operator->value(operation, entry, value);
	if (operation->truncate != NO_TRUNCATION && value->kind == VALUE_TEXT && value->text.length > operation->truncate)
		value->text = cut(value->text, operation->truncate);
}

bool operation_needs_hostname(const struct operation *operation)
{
	return operation->operator->value == value_text && operation->operator->offset == AT(hostname);
}
