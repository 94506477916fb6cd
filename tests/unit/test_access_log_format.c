/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>

#include "agent/access_log/format.h"
#include "base/address.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/lib/test.h"

#define START_NS (1796052614747018123ull) /* 2026-11-30T15:30:14.747018123Z, a Monday */
#define FIELD_PATH "spec.logging.accessLog.file.format"

static struct access_log_address address_of(const char *text)
{
	struct access_log_address address = { .known = true };

	EXPECT_OK(ip_port_parse(text, &address.ip, &address.port));
	return address;
}

static const struct http_header request[] = {
	{ SPAN("Host"), SPAN("raw.example.com") },
	{ SPAN("User-Agent"), SPAN("curl/7.88.1") },
	{ SPAN("X-Empty"), SPAN("") },
	{ SPAN("X-Two"), SPAN("first") },
	{ SPAN("X-Two"), SPAN("second") },
	{ SPAN("X-Forwarded-For"), SPAN("10.9.9.9") },
	{ SPAN("X-Envoy-Peer"), SPAN("forged") },
	{ SPAN("X-Link"), SPAN("/a/b?secret=1") },
};
static const struct http_header request_set[] = {
	{ SPAN("x-request-id"), SPAN("cacd71b8-503a-43bb-86c7-b136cb11f3b3") },
	{ SPAN("x-forwarded-for"), SPAN("10.9.9.9,10.0.0.1") },
	{ SPAN("x-envoy-peer"), { NULL, 0 } },
};
static const struct http_header response[] = { { SPAN("Server"), SPAN("nginx") }, { SPAN("Content-Type"), SPAN("text/html") } };
static const struct http_header response_set[] = { { SPAN("x-envoy-upstream-service-time"), SPAN("11") }, { SPAN("server"), SPAN("envoy") } };
static const struct http_header trailers[] = { { SPAN("Digest"), SPAN("abc") } };

#define HEADERS(list) { list, ARRAY_SIZE(list) }

static struct access_log_entry entry_made(void)
{
	return (struct access_log_entry){
		.start_wall_ns = START_NS,
		.protocol = ACCESS_LOG_HTTP_1_1,
		.upstream_protocol = ACCESS_LOG_HTTP_1_0,
		.method = SPAN("GET"),
		.scheme = SPAN("http"),
		.authority = SPAN("colors.example.com:8080"),
		.path = SPAN("/new?x=1"),
		.original_path = SPAN("/old?x=1"),
		.request_set = HEADERS(request_set),
		.request = HEADERS(request),
		.response_set = HEADERS(response_set),
		.response = HEADERS(response),
		.trailers = HEADERS(trailers),
		.status = 200,
		.details = SPAN("via_upstream"),
		.attempts = 2,
		.bytes_received = 154,
		.bytes_sent = 18446744073709551615ull,
		.duration_ns = 226 * NSEC_PER_MSEC + 999999,
		.request_end_ns = 1 * NSEC_PER_MSEC,
		.request_sent_ns = 2 * NSEC_PER_MSEC,
		.response_begin_ns = 100 * NSEC_PER_MSEC,
		.response_sent_ns = 226 * NSEC_PER_MSEC,
		.connection_id = 77,
		.downstream_remote = address_of("10.9.9.9:1234"),
		.downstream_direct_remote = address_of("10.0.0.1:40000"),
		.downstream_local = address_of("[fd00::1]:8080"),
		.upstream_host = address_of("10.0.2.1:80"),
		.cluster = SPAN("cds_egress_m_blue_http_8080"),
		.route = SPAN("canary"),
		.hostname = SPAN("pod-1"),
	};
}

static struct access_log_entry entry_empty(void)
{
	return (struct access_log_entry){
		.duration_ns = ACCESS_LOG_NO_DURATION,
		.request_end_ns = ACCESS_LOG_NO_DURATION,
		.request_sent_ns = ACCESS_LOG_NO_DURATION,
		.response_begin_ns = ACCESS_LOG_NO_DURATION,
		.response_sent_ns = ACCESS_LOG_NO_DURATION,
	};
}

/* The line, whose memory is the next call's. */
static const char *line_of(json_t *json, const struct access_log_entry *entry)
{
	static struct buffer line;
	struct access_log_format *format;
	struct error err = {};

	EXPECT_OK(access_log_format_new(json, FIELD_PATH, &format, &err), &err);
	buffer_clear(&line);
	access_log_format(format, entry, &line);
	EXPECT(!buffer_failed(&line));
	access_log_format_free(format);
	json_decref(json);
	return buffer_string(&line);
}

static const char *text_line(const char *text, const struct access_log_entry *entry)
{
	return line_of(json_pack("{s:s}", "text", text), entry);
}

static const char *json_line(const char *list, const struct access_log_entry *entry)
{
	json_t *json;

	EXPECT_OK(json_parse(list, strlen(list), &json, NULL));
	return line_of(json_pack("{s:o}", "json", json), entry);
}

static const char *member_line(const char *value, const struct access_log_entry *entry)
{
	return line_of(json_pack("{s:[{s:s,s:s}]}", "json", "key", "k", "value", value), entry);
}

static void expect_refused(json_t *json, const char *field, const char *words)
{
	struct access_log_format *format;
	struct error err = {};

	EXPECT_EQ(access_log_format_new(json, FIELD_PATH, &format, &err), -EINVAL);
	EXPECT_STR(err.field, field);
	EXPECT_CONTAINS(err.message, words);
	json_decref(json);
}

/* --- whole lines ------------------------------------------------------------------------------------------------------------ */

TEST(without_a_format_a_line_is_envoys_default)
{
	const struct access_log_entry full = entry_made(), empty = entry_empty();

	EXPECT_STR(line_of(NULL, &full), "[2026-11-30T15:30:14.747Z] \"GET /old?x=1 HTTP/1.1\" 200 - 154 18446744073709551615 226 11 "
					 "\"10.9.9.9,10.0.0.1\" \"curl/7.88.1\" \"cacd71b8-503a-43bb-86c7-b136cb11f3b3\" "
					 "\"colors.example.com:8080\" \"10.0.2.1:80\"\n");
	EXPECT_STR(line_of(NULL, &empty), "[1970-01-01T00:00:00.000Z] \"- - -\" 0 - 0 0 - - \"-\" \"-\" \"-\" \"-\" \"-\"\n");
}

TEST(text_is_as_it_was_written_without_a_newline_of_its_own)
{
	const struct access_log_entry entry = entry_made();

	EXPECT_STR(text_line("\"a\"\t\\n é %% %%PROTOCOL%% %PROTOCOL%%%", &entry), "\"a\"\t\\n é % %PROTOCOL% HTTP/1.1%");
	EXPECT_STR(text_line("%LOCAL_REPLY_BODY%:%RESPONSE_CODE%:path=%REQ(:path)%\n", &entry), ":200:path=/new?x=1\n");
}

TEST(json_is_one_object_and_a_newline_with_members_in_the_formats_order)
{
	const struct access_log_entry entry = entry_made();

	EXPECT_STR(json_line("[{\"key\": \"z\", \"value\": \"%PROTOCOL%\"}, {\"key\": \"code\", \"value\": \"%RESPONSE_CODE%\"},"
			     " {\"key\": \"a\\\"b\", \"value\": \"x%REQ(X-NONE)%y%DURATION%\"}, {\"key\": \"none\", \"value\": \"%REQ(X-NONE)%\"},"
			     " {\"key\": \"lit\", \"value\": \"a\\\\b\"}, {\"key\": \"pc\", \"value\": \"100%%\"}]",
			     &entry),
		   "{\"z\":\"HTTP/1.1\",\"code\":200,\"a\\\"b\":\"x-y226\",\"none\":null,\"lit\":\"a\\\\b\",\"pc\":\"100%\"}\n");
	EXPECT_STR(json_line("[]", &entry), "{}\n");
}

/* --- every operator --------------------------------------------------------------------------------------------------------- */

/* In text; alone in JSON; in text where nothing is known. */
static const struct {
	const char *format, *text, *json, *empty;
} operators[] = {
	{ "START_TIME", "2026-11-30T15:30:14.747Z", "\"2026-11-30T15:30:14.747Z\"", "1970-01-01T00:00:00.000Z" },
	{ "START_TIME(%Y/%m/%d)", "2026/11/30", "\"2026/11/30\"", "1970/01/01" },
	{ "REQ(USER-AGENT)", "curl/7.88.1", "\"curl/7.88.1\"", "-" },
	{ "REQ(user-agent)", "curl/7.88.1", "\"curl/7.88.1\"", "-" },
	{ "REQ(X-EMPTY)", "", "\"\"", "-" },
	{ "REQ(X-TWO)", "first", "\"first\"", "-" },
	{ "REQ(X-NONE?X-TWO)", "first", "\"first\"", "-" },
	{ "REQ(X-EMPTY?X-TWO)", "", "\"\"", "-" },
	{ "REQ(X-NONE?X-NEITHER)", "-", "null", "-" },
	{ "REQ(USER-AGENT):4", "curl", "\"curl\"", "-" },
	{ "REQ(USER-AGENT):0", "", "\"\"", "-" },
	{ "REQ(USER-AGENT):400", "curl/7.88.1", "\"curl/7.88.1\"", "-" },
	{ "REQ(:METHOD)", "GET", "\"GET\"", "-" },
	{ "REQ(:PATH)", "/new?x=1", "\"/new?x=1\"", "-" },
	{ "REQ(:SCHEME)", "http", "\"http\"", "-" },
	{ "REQ(:AUTHORITY)", "colors.example.com:8080", "\"colors.example.com:8080\"", "-" },
	{ "REQ(HOST)", "colors.example.com:8080", "\"colors.example.com:8080\"", "-" },
	{ "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)", "/old?x=1", "\"/old?x=1\"", "-" },
	{ "REQ(X-FORWARDED-FOR)", "10.9.9.9,10.0.0.1", "\"10.9.9.9,10.0.0.1\"", "-" },
	{ "REQ(X-ENVOY-PEER)", "-", "null", "-" },
	{ "REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)", "/old", "\"/old\"", "-" },
	{ "REQ_WITHOUT_QUERY(X-LINK):2", "/a", "\"/a\"", "-" },
	{ "REQ_WITHOUT_QUERY(X-EMPTY)", "", "\"\"", "-" },
	{ "RESP(SERVER)", "envoy", "\"envoy\"", "-" },
	{ "RESP(X-NONE?content-type):4", "text", "\"text\"", "-" },
	{ "RESP(:STATUS)", "200", "\"200\"", "-" },
	{ "TRAILER(digest)", "abc", "\"abc\"", "-" },
	{ "TRAILER(server)", "-", "null", "-" },
	{ "PROTOCOL", "HTTP/1.1", "\"HTTP/1.1\"", "-" },
	{ "UPSTREAM_PROTOCOL", "HTTP/1.0", "\"HTTP/1.0\"", "-" },
	{ "RESPONSE_CODE", "200", "200", "0" },
	{ "RESPONSE_CODE_DETAILS", "via_upstream", "\"via_upstream\"", "-" },
	{ "RESPONSE_FLAGS", "-", "\"-\"", "-" },
	{ "RESPONSE_FLAGS_LONG", "-", "\"-\"", "-" },
	{ "CONNECTION_TERMINATION_DETAILS", "-", "null", "-" },
	{ "UPSTREAM_TRANSPORT_FAILURE_REASON", "-", "null", "-" },
	{ "LOCAL_REPLY_BODY", "", "\"\"", "" },
	{ "GRPC_STATUS", "-", "null", "-" },
	{ "GRPC_STATUS(NUMBER)", "-", "null", "-" },
	{ "GRPC_STATUS_NUMBER", "-", "null", "-" },
	{ "BYTES_RECEIVED", "154", "154", "0" },
	{ "BYTES_SENT", "18446744073709551615", "18446744073709551615", "0" },
	{ "REQUEST_HEADERS_BYTES", "128", "128", "0" },
	{ "RESPONSE_HEADERS_BYTES", "32", "32", "0" },
	{ "RESPONSE_TRAILERS_BYTES", "9", "9", "0" },
	{ "DOWNSTREAM_WIRE_BYTES_RECEIVED", "-", "null", "-" },
	{ "DOWNSTREAM_WIRE_BYTES_SENT", "-", "null", "-" },
	{ "DOWNSTREAM_HEADER_BYTES_RECEIVED", "-", "null", "-" },
	{ "DOWNSTREAM_HEADER_BYTES_SENT", "-", "null", "-" },
	{ "UPSTREAM_WIRE_BYTES_RECEIVED", "-", "null", "-" },
	{ "UPSTREAM_WIRE_BYTES_SENT", "-", "null", "-" },
	{ "UPSTREAM_HEADER_BYTES_RECEIVED", "-", "null", "-" },
	{ "UPSTREAM_HEADER_BYTES_SENT", "-", "null", "-" },
	{ "UPSTREAM_REQUEST_ATTEMPT_COUNT", "2", "2", "0" },
	{ "BYTES_RETRANSMITTED", "0", "0", "0" },
	{ "PACKETS_RETRANSMITTED", "0", "0", "0" },
	{ "DURATION", "226", "226", "-" },
	{ "REQUEST_DURATION", "1", "1", "-" },
	{ "REQUEST_TX_DURATION", "2", "2", "-" },
	{ "RESPONSE_DURATION", "100", "100", "-" },
	{ "RESPONSE_TX_DURATION", "126", "126", "-" },
	{ "DOWNSTREAM_REMOTE_ADDRESS", "10.9.9.9:1234", "\"10.9.9.9:1234\"", "-" },
	{ "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "10.9.9.9", "\"10.9.9.9\"", "-" },
	{ "DOWNSTREAM_REMOTE_PORT", "1234", "1234", "-" },
	{ "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "10.0.0.1:40000", "\"10.0.0.1:40000\"", "-" },
	{ "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "10.0.0.1", "\"10.0.0.1\"", "-" },
	{ "DOWNSTREAM_DIRECT_REMOTE_PORT", "40000", "40000", "-" },
	{ "DOWNSTREAM_LOCAL_ADDRESS", "[fd00::1]:8080", "\"[fd00::1]:8080\"", "-" },
	{ "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "fd00::1", "\"fd00::1\"", "-" },
	{ "DOWNSTREAM_LOCAL_PORT", "8080", "8080", "-" },
	{ "UPSTREAM_HOST", "10.0.2.1:80", "\"10.0.2.1:80\"", "-" },
	{ "UPSTREAM_REMOTE_ADDRESS", "10.0.2.1:80", "\"10.0.2.1:80\"", "-" },
	{ "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "10.0.2.1", "\"10.0.2.1\"", "-" },
	{ "UPSTREAM_REMOTE_PORT", "80", "80", "-" },
	{ "UPSTREAM_LOCAL_ADDRESS", "-", "null", "-" },
	{ "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "-", "null", "-" },
	{ "UPSTREAM_LOCAL_PORT", "-", "null", "-" },
	{ "CONNECTION_ID", "77", "77", "0" },
	{ "UPSTREAM_CLUSTER", "cds_egress_m_blue_http_8080", "\"cds_egress_m_blue_http_8080\"", "-" },
	{ "ROUTE_NAME", "canary", "\"canary\"", "-" },
	{ "VIRTUAL_CLUSTER_NAME", "-", "null", "-" },
	{ "REQUESTED_SERVER_NAME", "-", "null", "-" },
	{ "HOSTNAME", "pod-1", "\"pod-1\"", "-" },
	{ "ACCESS_LOG_TYPE", "DownstreamEnd", "\"DownstreamEnd\"", "DownstreamEnd" },
	{ "FILTER_CHAIN_NAME", "-", "null", "-" },
	{ "DOWNSTREAM_HANDSHAKE_DURATION", "-", "null", "-" },
	{ "ROUNDTRIP_DURATION", "-", "null", "-" },
	{ "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "-", "null", "-" },
	{ "DOWNSTREAM_LOCAL_URI_SAN", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_URI_SAN", "-", "null", "-" },
	{ "DOWNSTREAM_LOCAL_SUBJECT", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_SUBJECT", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_ISSUER", "-", "null", "-" },
	{ "DOWNSTREAM_TLS_SESSION_ID", "-", "null", "-" },
	{ "DOWNSTREAM_TLS_CIPHER", "-", "null", "-" },
	{ "DOWNSTREAM_TLS_VERSION", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_FINGERPRINT_256", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_FINGERPRINT_1", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_SERIAL", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_CERT", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_CERT_V_START", "-", "null", "-" },
	{ "DOWNSTREAM_PEER_CERT_V_END(%Y)", "-", "null", "-" },
	{ "UPSTREAM_PEER_SUBJECT", "-", "null", "-" },
	{ "UPSTREAM_PEER_ISSUER", "-", "null", "-" },
	{ "UPSTREAM_TLS_SESSION_ID", "-", "null", "-" },
	{ "UPSTREAM_TLS_CIPHER", "-", "null", "-" },
	{ "UPSTREAM_TLS_VERSION", "-", "null", "-" },
	{ "UPSTREAM_PEER_CERT", "-", "null", "-" },
	{ "UPSTREAM_PEER_CERT_V_START(%Y)", "-", "null", "-" },
	{ "UPSTREAM_PEER_CERT_V_END", "-", "null", "-" },
	{ "TLS_JA3_FINGERPRINT", "-", "null", "-" },
	{ "DYNAMIC_METADATA(com.test.my_filter:key:inner)", "-", "null", "-" },
	{ "DYNAMIC_METADATA(com.test.my_filter):25", "-", "null", "-" },
	{ "CLUSTER_METADATA(a)", "-", "null", "-" },
	{ "UPSTREAM_METADATA(a)", "-", "null", "-" },
	{ "FILTER_STATE(key:PLAIN):10", "-", "null", "-" },
	{ "UPSTREAM_FILTER_STATE(key)", "-", "null", "-" },
};

TEST(every_operator_in_text_in_json_and_where_nothing_is_known)
{
	const struct access_log_entry full = entry_made(), empty = entry_empty();
	char format[128], expected[128];

	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		snprintf(format, sizeof(format), "%%%s%%", operators[i].format);
		EXPECT_STR(text_line(format, &full), operators[i].text);
		EXPECT_STR(text_line(format, &empty), operators[i].empty);
		snprintf(expected, sizeof(expected), "{\"k\":%s}\n", operators[i].json);
		EXPECT_STR(member_line(format, &full), expected);
	}
}

TEST(every_flag_has_its_short_and_its_long_name)
{
	struct access_log_entry entry = entry_empty();

#define EXPECT_FLAG(name, short_text, long_text)                                                                              \
	entry.flags = ACCESS_LOG_FLAG(name);                                                                                   \
	EXPECT_STR(text_line("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", &entry), short_text " " long_text);
	ACCESS_LOG_FLAGS(EXPECT_FLAG)
	entry.flags = ACCESS_LOG_FLAG(UPSTREAM_RETRY_LIMIT_EXCEEDED) | ACCESS_LOG_FLAG(UPSTREAM_CONNECTION_FAILURE);
	EXPECT_STR(text_line("%RESPONSE_FLAGS%", &entry), "UF,URX");
	entry.flags = UINT32_MAX;
	EXPECT_EQ(strncmp(text_line("%RESPONSE_FLAGS%", &entry), "LH,UH,UT,LR,UR,UF,UC,UO,NR,RL,DC,", 33), 0);
}

TEST(grpc_statuses_come_from_trailers_headers_or_the_http_status)
{
	static const struct http_header grpc[] = { { SPAN("content-type"), SPAN("application/grpc+proto") } };
	static const struct http_header in_trailers[] = { { SPAN("grpc-status"), SPAN("3") } }, in_head[] = { { SPAN("grpc-status"), SPAN("1") } },
					odd[] = { { SPAN("grpc-status"), SPAN("12x") } }, unheard_of[] = { { SPAN("grpc-status"), SPAN("99") } };
	static const char format[] = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%";
	struct access_log_entry entry = entry_empty();

	entry.trailers = (struct access_log_headers)HEADERS(in_trailers);
	EXPECT_STR(text_line(format, &entry), "- - - -"); /* no request of gRPC */
	entry.request = (struct access_log_headers)HEADERS(grpc);
	EXPECT_STR(text_line(format, &entry), "InvalidArgument INVALID_ARGUMENT 3 3");
	EXPECT_STR(member_line("%GRPC_STATUS_NUMBER%", &entry), "{\"k\":3}\n");
	entry.trailers = (struct access_log_headers){};
	entry.response = (struct access_log_headers)HEADERS(in_head);
	EXPECT_STR(text_line(format, &entry), "Canceled CANCELLED 1 1");
	entry.response = (struct access_log_headers)HEADERS(odd);
	EXPECT_STR(text_line(format, &entry), "- - - -");
	entry.response = (struct access_log_headers)HEADERS(unheard_of);
	EXPECT_STR(text_line(format, &entry), "99 99 99 99");
	entry.response = (struct access_log_headers){};
	entry.status = 503;
	EXPECT_STR(text_line(format, &entry), "Unavailable UNAVAILABLE 14 14");
	entry.status = 200;
	EXPECT_STR(text_line(format, &entry), "Unknown UNKNOWN 2 2");
}

/* --- times ------------------------------------------------------------------------------------------------------------------ */

TEST(start_times_by_pattern)
{
	static const struct {
		const char *pattern, *text;
	} cases[] = {
		{ "%s", "1796052614" },
		{ "%s.%3f", "1796052614.747" },
		{ "%s.%6f", "1796052614.747018" },
		{ "%s.%9f", "1796052614.747018123" },
		{ "%f|%1f", "747018123|7" },
		{ "%Y/%m/%dT%H:%M:%S%z %s", "2026/11/30T15:30:14+0000 1796052614" },
		{ "%a %A %b %B %d %e %j %Z %%", "Mon Monday Nov November 30 30 334 UTC %" },
		{ "%T.%3f %D %F %R %I %p", "15:30:14.747 11/30/26 2026-11-30 15:30 03 PM" },
		{ "%E3S %E6f %Ez %E4Y%ET%H", "14.747 747018 +00:00 2026T15" },
		{ "%-d %_H %^a %Ey %Od", "30 15 MON 26 30" },
		{ "a long text that is not split at any byte of it but stays whole %Y", "a long text that is not split at any byte of it but stays whole 2026" },
		{ "%A, %d %B %3f", "Monday, 30 November 747" },
	};
	const struct access_log_entry entry = entry_made();
	char format[160];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(format, sizeof(format), "%%START_TIME(%s)%%", cases[i].pattern);
		EXPECT_STR(text_line(format, &entry), cases[i].text);
	}
}

TEST(a_second_that_is_remembered_is_no_others)
{
	_cleanup_json_ json_t *a = json_pack("{s:s}", "text", "%START_TIME(%A %3f)%"), *b = json_pack("{s:s}", "text", "%START_TIME%");
	struct access_log_entry entry = entry_made();
	struct access_log_format *formats[2];
	struct buffer line = {};

	EXPECT_OK(access_log_format_new(a, "", &formats[0], NULL));
	EXPECT_OK(access_log_format_new(b, "", &formats[1], NULL));
	for (size_t i = 0; i < 3; i++, entry.start_wall_ns += 86400 * NSEC_PER_SEC + NSEC_PER_MSEC)
		for (size_t k = 0; k < ARRAY_SIZE(formats); k++) {
			access_log_format(formats[k], &entry, &line);
			buffer_add(&line, "\n");
		}
	entry.start_wall_ns = START_NS + 5 * NSEC_PER_MSEC;
	access_log_format(formats[0], &entry, &line);
	EXPECT_STR(buffer_string(&line), "Monday 747\n2026-11-30T15:30:14.747Z\nTuesday 748\n2026-12-01T15:30:14.748Z\n"
					 "Wednesday 749\n2026-12-02T15:30:14.749Z\nMonday 752");
	buffer_done(&line);
	for (size_t k = 0; k < ARRAY_SIZE(formats); k++)
		access_log_format_free(formats[k]);
}

TEST(patterns_that_are_none_are_refused)
{
	static const struct {
		const char *pattern, *words;
	} cases[] = {
		{ "%", "'%' is no conversion of times" },
		{ "%Y %", "'%' is no conversion of times" },
		{ "%n", "'%n' is no conversion of times" },
		{ "%-n", "'%-n' is no conversion of times" },
		{ "%0f", "'%0f' is no conversion of times" },
		{ "%Q", "'%Q' is no conversion of times" },
		{ "%Ed", "'%Ed' is no conversion of times" },
		{ "%E*S", "'%E*S' is no conversion of times" },
		{ "%100Y", "'%100' is no conversion of times" },
		{ "%99A%99A%99A", "times may be longer than 256 bytes" },
		{ "%f%f%f%f%f%f%f%f%f", "more than 8 fractions of a second" },
		{ "a\nb", "a newline or NUL" },
	};
	char format[160];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(format, sizeof(format), "%%START_TIME(%s)%%", cases[i].pattern);
		expect_refused(json_pack("{s:s}", "text", format), FIELD_PATH ".text", cases[i].words);
	}
}

/* --- refusals --------------------------------------------------------------------------------------------------------------- */

TEST(what_is_no_format_is_refused_with_operator_byte_and_field)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "%FOO%", "operator %FOO% at byte 1: there is no such operator" },
		{ "ab %PROTOCOL% %START%", "operator %START% at byte 15: there is no such operator" },
		{ "%ENVIRONMENT(X)%", "operator %ENVIRONMENT% at byte 1: there is no such operator" },
		{ "%protocol%", "at byte 1: no operator behind \"%\"" },
		{ "100%", "at byte 4: no operator behind \"%\"" },
		{ "% PROTOCOL%", "at byte 1: no operator behind \"%\"" },
		{ "%PROTOCOL", "operator %PROTOCOL% at byte 1: no \"%\" at its end" },
		{ "%REQ(X", "operator %REQ% at byte 1: \"(\" without \")\"" },
		{ "%REQ(X) %", "operator %REQ% at byte 1: no \"%\" at its end" },
		{ "%REQ(X):%", "operator %REQ% at byte 1: \":\" without a length" },
		{ "%REQ(X):-1%", "operator %REQ% at byte 1: \":\" without a length" },
		{ "%REQ(X):99999999999999999999%", "operator %REQ% at byte 1: no \"%\" at its end" },
		{ "%REQ%", "operator %REQ% at byte 1: it needs a parameter, %REQ(...)%" },
		{ "%REQ()%", "operator %REQ% at byte 1: it needs a parameter, %REQ(...)%" },
		{ "%REQ(?X)%", "a header without name" },
		{ "%REQ(X?)%", "a header without name" },
		{ "%REQ(X?Y?Z)%", "more than one alternative header" },
		{ "%REQ(X\nY)%", "a control character in the name of a header" },
		{ "%PROTOCOL()%", "operator %PROTOCOL% at byte 1: it takes no parameters" },
		{ "%PROTOCOL:3%", "operator %PROTOCOL% at byte 1: it takes no length" },
		{ "%START_TIME(%s):3%", "operator %START_TIME% at byte 1: it takes no length" },
		{ "%GRPC_STATUS(KEBAB)%", "a form that is none of CAMEL_STRING, SNAKE_STRING, NUMBER" },
		{ "%FILTER_STATE(:PLAIN)%", "a filter state without key" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_refused(json_pack("{s:s}", "text", cases[i].text), FIELD_PATH ".text", cases[i].words);
	expect_refused(json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "json", "key", "a", "value", "%PROTOCOL%", "key", "b", "value", "x %FOO%"),
		       FIELD_PATH ".json[1].value", "operator %FOO% at byte 3: there is no such operator");
	expect_refused(json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "json", "key", "a", "value", "1", "key", "a", "value", "2"),
		       FIELD_PATH ".json[1].key", "is \"a\", as json[0].key is");
}

/* --- what peers send -------------------------------------------------------------------------------------------------------- */

TEST(peers_cannot_forge_lines)
{
	static const struct http_header hostile[] = {
		{ SPAN("x-line"), SPAN("a\"b\\c\r\nGET / 200\x7f\x01\tz") },
		{ SPAN("x-utf8"), SPAN("\xc3\xa9\xe2\x82\xac") },
		{ SPAN("x-bytes"), SPAN("\xff\xfe\xc3\xa9") },
		{ SPAN("x-short"), SPAN("\n") },
	};
	struct access_log_entry entry = entry_empty();

	entry.request = (struct access_log_headers)HEADERS(hostile);
	EXPECT_STR(text_line("%REQ(X-LINE)%|%REQ(X-SHORT)%|%REQ(X-BYTES)%", &entry), "a\"b\\c??GET / 200??\tz|?|\xff\xfe\xc3\xa9");
	EXPECT_STR(member_line("%REQ(X-LINE)%", &entry), "{\"k\":\"a\\\"b\\\\c\\r\\nGET / 200\\u007f\\u0001\\tz\"}\n");
	EXPECT_STR(member_line("%REQ(X-UTF8)%", &entry), "{\"k\":\"\xc3\xa9\xe2\x82\xac\"}\n");
	EXPECT_STR(member_line("%REQ(X-BYTES)%", &entry), "{\"k\":\"\\u00ff\\u00fe\\u00c3\\u00a9\"}\n");
	EXPECT_STR(member_line("%REQ(X-UTF8):4%", &entry), "{\"k\":\"\xc3\xa9\"}\n"); /* no half characters */
}

TEST(every_byte_at_every_place_is_a_json_string_again)
{
	char text[40];
	struct http_header header = { SPAN("x"), { text, 0 } };
	struct access_log_entry entry = entry_empty();

	entry.request = (struct access_log_headers){ &header, 1 };
	for (size_t length = 1; length <= 20; length++)
		for (unsigned byte = 0; byte < 256; byte++) {
			const char *line;
			json_t *parsed;

			memset(text, 'a', sizeof(text));
			text[length - 1] = (char)byte;
			header.value.length = length + 1;
			line = member_line("%REQ(X)%", &entry);
			for (const char *c = line; c < line + strlen(line) - 1; c++)
				EXPECT((unsigned char)*c >= 0x20);
			parsed = json_loads(line, JSON_ALLOW_NUL, NULL);
			EXPECT(parsed);
			json_decref(parsed);
		}
}

TEST(a_line_longer_than_any_room_is_whole)
{
	char *big = malloc(100000);
	struct http_header header = { SPAN("x"), { big, 100000 } };
	struct access_log_entry entry = entry_empty();

	memset(big, 'x', 100000);
	entry.request = (struct access_log_headers){ &header, 1 };
	EXPECT_EQ(strlen(text_line("%REQ(X)%%REQ(X)%\n", &entry)), 200001);
	free(big);
}

TEST(formats_are_equal_by_what_they_say)
{
	_cleanup_json_ json_t *a = json_pack("{s:s}", "text", "%PROTOCOL%"), *b = json_pack("{s:s}", "text", "%HOSTNAME%");
	struct access_log_format *formats[4];

	EXPECT_OK(access_log_format_new(a, "", &formats[0], NULL));
	EXPECT_OK(access_log_format_new(a, "", &formats[1], NULL));
	EXPECT_OK(access_log_format_new(b, "", &formats[2], NULL));
	EXPECT_OK(access_log_format_new(NULL, "", &formats[3], NULL));
	EXPECT(access_log_format_equal(formats[0], formats[1]));
	EXPECT(!access_log_format_equal(formats[0], formats[2]));
	EXPECT(!access_log_format_equal(formats[0], formats[3]));
	EXPECT(access_log_format_needs_hostname(formats[2]) && !access_log_format_needs_hostname(formats[3]));
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		access_log_format_free(formats[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_format_a_line_is_envoys_default),
		cmocka_unit_test(text_is_as_it_was_written_without_a_newline_of_its_own),
		cmocka_unit_test(json_is_one_object_and_a_newline_with_members_in_the_formats_order),
		cmocka_unit_test(every_operator_in_text_in_json_and_where_nothing_is_known),
		cmocka_unit_test(every_flag_has_its_short_and_its_long_name),
		cmocka_unit_test(grpc_statuses_come_from_trailers_headers_or_the_http_status),
		cmocka_unit_test(start_times_by_pattern),
		cmocka_unit_test(a_second_that_is_remembered_is_no_others),
		cmocka_unit_test(patterns_that_are_none_are_refused),
		cmocka_unit_test(what_is_no_format_is_refused_with_operator_byte_and_field),
		cmocka_unit_test(peers_cannot_forge_lines),
		cmocka_unit_test(every_byte_at_every_place_is_a_json_string_again),
		cmocka_unit_test(a_line_longer_than_any_room_is_whole),
		cmocka_unit_test(formats_are_equal_by_what_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
