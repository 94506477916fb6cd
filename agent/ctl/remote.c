/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/remote.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/aws/date.h"
#include "agent/aws/profile.h"
#include "agent/aws/sigv4.h"
#include "agent/ctl/client_internal.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#define SERVICE "appmesh"
#define ANSWER_TIMEOUT_SECONDS 30L
#define SETTING_BYTES 512
#define AUTHORITY_BYTES 256

struct remote {
	const struct ctl *ctl;
	CURL *curl; /* kept, and with it the connection */
	char socket[CLIENT_SOCKET_BYTES]; /* "": over the network */
	char base[SETTING_BYTES]; /* "http://HOST:PORT", without a slash at the end */
	char authority[AUTHORITY_BYTES]; /* "HOST:PORT", as the Host header has it */
	char region[AWS_REGION_BYTES]; /* "": weftd's own */
	struct sigv4 *sigv4;
	struct aws_credential credential;
	char curl_detail[CURL_ERROR_SIZE];
};

/* --- settings ----------------------------------------------------------------------------------------------------------------- */

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* ~/.aws/NAME, or what the variable says. */
static int file_path(const char *variable, const char *name, char path[SETTING_BYTES], struct error *err)
{
	const char *given = environment(variable), *home = environment("HOME");
	int length = given ? snprintf(path, SETTING_BYTES, "%s", given) :
			     snprintf(path, SETTING_BYTES, "%s/.aws/%s", home ?: "/root", name);

	return length < SETTING_BYTES ? 0 : error_set_field(err, -EINVAL, given ? variable : "HOME", "is too long for a path");
}

/* What ~/.aws/config has for the profile; "" for nothing. */
static int config_setting(const char *profile, const char *name, char value[SETTING_BYTES], struct error *err)
{
	char path[SETTING_BYTES], section[SETTING_BYTES];
	int r = file_path("AWS_CONFIG_FILE", "config", path, err);

	snprintf(section, sizeof(section), "%s%s", strcmp(profile, "default") ? "profile " : "", profile);
	return r < 0 ? r : aws_profile_setting(path, section, name, value, SETTING_BYTES, err);
}

static const char *profile_of(const struct remote_options *options)
{
	return options->profile ?: environment("AWS_PROFILE") ?: "default";
}

/* Empty: weftd on this node. */
static int find_endpoint(const struct remote_options *options, char endpoint[SETTING_BYTES], struct error *err)
{
	const char *given = options->endpoint ?: environment("AWS_ENDPOINT_URL_APP_MESH") ?: environment("AWS_ENDPOINT_URL");

	if (!given)
		return config_setting(profile_of(options), "endpoint_url", endpoint, err);
	if (snprintf(endpoint, SETTING_BYTES, "%s", given) >= SETTING_BYTES)
		return error_set_field(err, -EINVAL, "--endpoint-url", "is too long");
	return 0;
}

static int take_endpoint(struct remote *remote, const char *endpoint, struct error *err)
{
	const char *rest = strstr(endpoint, "://");
	size_t length = strlen(endpoint);

	while (length > 0 && endpoint[length - 1] == '/')
		length--;
	if (!rest || (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0) || rest[3] == '\0' ||
	    strcspn(rest + 3, "/?#@") < length - (size_t)(rest + 3 - endpoint))
		return error_set_field(err, -EINVAL, "--endpoint-url", "'%s' is not http://HOST:PORT or https://HOST:PORT", endpoint);
	snprintf(remote->base, sizeof(remote->base), "%.*s", (int)length, endpoint);
	rest = strstr(remote->base, "://") + 3;
	if (snprintf(remote->authority, sizeof(remote->authority), "%s", rest) >= (int)sizeof(remote->authority))
		return error_set_field(err, -EINVAL, "--endpoint-url", "is too long");
	return 0;
}

/* Over the network there must be one. */
static int take_region(struct remote *remote, const struct remote_options *options, bool is_remote, struct error *err)
{
	const char *given = options->region ?: environment("AWS_REGION") ?: environment("AWS_DEFAULT_REGION");
	char setting[SETTING_BYTES] = "";
	int r = 0;

	if (!given && is_remote)
		r = config_setting(profile_of(options), "region", setting, err);
	if (r < 0)
		return r;
	given = given ?: setting;
	if (!*given && is_remote)
		return error_set_field(err, -EINVAL, "--region", "is needed: neither AWS_REGION nor the profile '%s' has one",
				       profile_of(options));
	if (*given && !aws_is_scope_name(span_of(given)))
		return error_set_field(err, -EINVAL, "--region", "'%s' is no name of a region", given);
	snprintf(remote->region, sizeof(remote->region), "%s", given);
	return 0;
}

/* A profile that is asked for counts before keys in the environment, as for the aws command line. */
static int take_credential(struct remote *remote, const struct remote_options *options, struct error *err)
{
	const char *id = environment("AWS_ACCESS_KEY_ID"), *secret = environment("AWS_SECRET_ACCESS_KEY");
	char path[SETTING_BYTES];
	int r;

	if (!options->profile && (id || secret)) {
		if (!id || !secret)
			return error_set_field(err, -EINVAL, id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID", "is not set, and the other is");
		if (environment("AWS_SESSION_TOKEN"))
			return error_set_field(err, -EINVAL, "AWS_SESSION_TOKEN", "session tokens are not taken");
		return aws_credential_init(span_of(id), span_of(secret), &remote->credential, err);
	}
	r = file_path("AWS_SHARED_CREDENTIALS_FILE", "credentials", path, err);
	if (r == 0)
		r = aws_profile_read(path, profile_of(options), &remote->credential, err);
	if (r == -ENOENT)
		return error_set(err, r, "there are no keys: neither AWS_ACCESS_KEY_ID is set, nor is there a file %s", path);
	return r;
}

static int open_network(struct remote *remote, const struct remote_options *options, const char *endpoint, struct error *err)
{
	int r = take_endpoint(remote, endpoint, err);

	if (r == 0 && remote->ctl->socket)
		r = error_set_field(err, -EINVAL, "--socket", "is of this node, and an endpoint is given as well");
	if (r == 0)
		r = take_region(remote, options, true, err);
	if (r == 0)
		r = take_credential(remote, options, err);
	if (r == 0 && sigv4_new(&remote->sigv4) < 0)
		r = error_set(err, -ENOMEM, "out of memory");
	return r;
}

static int open_local(struct remote *remote, const struct remote_options *options, struct error *err)
{
	int r;

	if (options->profile)
		return error_set_field(err, -EINVAL, "--profile", "is for an API over the network, and there is no endpoint: --endpoint-url, "
								  "AWS_ENDPOINT_URL, or endpoint_url in the profile");
	strcpy(remote->base, "http://weft");
	r = take_region(remote, options, false, err);
	return r < 0 ? r : client_socket(remote->ctl, remote->socket, err);
}

/* An empty endpoint: weftd on this node. */
static int open_at(const struct ctl *ctl, const struct remote_options *options, const char *endpoint, struct remote **ret_remote,
		   struct error *err)
{
	_cleanup_(cleanup_remote) struct remote *remote = calloc(1, sizeof(*remote));
	int r;

	if (!remote || !(remote->curl = curl_easy_init()))
		return error_set(err, -ENOMEM, "out of memory");
	remote->ctl = ctl;
	r = *endpoint ? open_network(remote, options, endpoint, err) : open_local(remote, options, err);
	if (r == 0)
		*ret_remote = TAKE_PTR(remote);
	return r;
}

int remote_open(const struct ctl *ctl, const struct remote_options *options, struct remote **ret_remote, struct error *err)
{
	char endpoint[SETTING_BYTES] = "";
	int r = find_endpoint(options, endpoint, err);

	return r < 0 ? r : open_at(ctl, options, endpoint, ret_remote, err);
}

int remote_open_local(const struct ctl *ctl, const struct remote_options *options, struct remote **ret_remote, struct error *err)
{
	return open_at(ctl, &(struct remote_options){ .region = options->region }, "", ret_remote, err);
}

struct remote *remote_close(struct remote *remote)
{
	if (!remote)
		return NULL;
	curl_easy_cleanup(remote->curl);
	sigv4_free(remote->sigv4);
	aws_credential_done(&remote->credential);
	free(remote);
	return NULL;
}

bool remote_is_local(const struct remote *remote)
{
	return remote->socket[0];
}

/* --- requests ----------------------------------------------------------------------------------------------------------------- */

struct request {
	const struct model_operation *operation;
	struct buffer target; /* path and query */
	char *body; /* NULL: none */
	struct buffer received;
	struct curl_slist *headers;
	bool failed; /* no memory */
};

static void request_done(struct request *request)
{
	buffer_done(&request->target);
	buffer_done(&request->received);
	curl_slist_free_all(request->headers);
	free(request->body);
}

static const struct model_operation *find_operation(enum operation_verb verb, enum resource_kind kind)
{
	const struct model_operation *o = model_operations;

	while (o->verb != verb || o->kind != kind)
		o++; /* every verb that is asked for is there for its kinds */
	return o;
}

static bool is_unreserved(char c)
{
	return isalnum((unsigned char)c) || strchr("-_.~", c);
}

static void add_encoded(struct buffer *out, const char *text)
{
	for (; *text; text++)
		buffer_printf(out, is_unreserved(*text) ? "%c" : "%%%02X", (unsigned char)*text);
}

/* A member of the input as text; free() it. NULL: it is absent, or no scalar. */
static char *member_text(const json_t *input, const char *name)
{
	const json_t *value = json_object_get(input, name);
	char *text = NULL;

	if (json_is_integer(value) && asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0)
		return NULL;
	return json_is_string(value) ? strdup(json_string_value(value)) : text;
}

static int make_target(struct request *request, const json_t *input, struct error *err)
{
	const char *at = request->operation->uri;
	char separator = '?';

	while (*at) {
		const size_t plain = strcspn(at, "{"), length = at[plain] ? strcspn(at + plain, "}") - 1 : 0;
		char member[64];
		_cleanup_free_ char *value = NULL;

		buffer_append(&request->target, at, plain);
		at += plain;
		if (!*at)
			break;
		snprintf(member, sizeof(member), "%.*s", (int)length, at + 1);
		value = member_text(input, member);
		if (!value)
			return error_set_field(err, -EINVAL, member, "is required");
		add_encoded(&request->target, value);
		at += length + 2;
	}
	for (const char *const *name = request->operation->query_members; *name; name++) {
		_cleanup_free_ char *value = member_text(input, *name);

		if (!value)
			continue;
		buffer_printf(&request->target, "%c%s=", separator, *name);
		add_encoded(&request->target, value);
		separator = '&';
	}
	return 0;
}

static int make_body(struct request *request, const json_t *input)
{
	_cleanup_json_ json_t *body = json_object();

	if (strcmp(request->operation->method, "GET") == 0 || strcmp(request->operation->method, "DELETE") == 0)
		return 0;
	for (const char *const *name = request->operation->body_members; *name; name++)
		if (json_object_get(input, *name) && json_object_set(body, *name, json_object_get(input, *name)) < 0)
			return -ENOMEM;
	request->body = json_dumps(body, JSON_COMPACT);
	return request->body ? 0 : -ENOMEM;
}

static void __attribute__((format(printf, 2, 3))) add_header(struct request *request, const char *format, ...)
{
	_cleanup_free_ char *line = NULL;
	struct curl_slist *longer = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&line, format, args) >= 0)
		longer = curl_slist_append(request->headers, line);
	va_end(args);
	request->failed |= !longer;
	request->headers = longer ?: request->headers;
}

static int sign(struct remote *remote, struct request *request, const char *region, struct error *err)
{
	_cleanup_(buffer_done) struct buffer authorization = {};
	struct sigv4_request signing = { .method = span_of(request->operation->method), .now_s = time(NULL) };
	char date[AWS_DATE_TEXT_BYTES];
	const char *body = request->body ?: "";
	struct sigv4_header headers[2];
	int r;

	aws_date_format(signing.now_s, date);
	headers[0] = (struct sigv4_header){ SPAN("Host"), span_of(remote->authority) };
	headers[1] = (struct sigv4_header){ SPAN("X-Amz-Date"), span_of(date) };
	signing.headers = headers;
	signing.header_count = ARRAY_SIZE(headers);
	signing.target = (struct span){ request->target.data, request->target.length };
	digest_sha256(body, strlen(body), signing.body_sha256);
	r = sigv4_sign(remote->sigv4, &remote->credential, region, SERVICE, &signing, &authorization, err);
	if (r < 0)
		return r;
	add_header(request, "Host: %s", remote->authority);
	add_header(request, "X-Amz-Date: %s", date);
	add_header(request, "Authorization: %s", buffer_string(&authorization));
	return 0;
}

static int make_headers(struct remote *remote, struct request *request, const struct remote_call *call, struct error *err)
{
	const char *region = call->region && *call->region ? call->region : remote->region;
	_cleanup_free_ char *identity = call->identity ? json_dumps(call->identity, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	add_header(request, "Content-Type: application/json");
	if (!remote_is_local(remote))
		return sign(remote, request, region, err);
	if (*region)
		add_header(request, "X-Weft-Region: %s", region);
	if (identity)
		add_header(request, "X-Weft-Identity: %s", identity);
	request->failed |= call->identity && !identity;
	return 0;
}

/* --- answers ------------------------------------------------------------------------------------------------------------------ */

static int answer_error(const struct remote *remote, long status, const json_t *answer, struct error *err)
{
	static const struct {
		const char *name;
		int code;
	} names[] = { { "NotFoundException", -ENOENT }, { "ConflictException", -EEXIST }, { "ResourceInUseException", -EBUSY } };
	const char *type = json_path_string(answer, "__type"), *message = json_path_string(answer, "message");
	int code = -EPROTO;

	if (!type && json_path_string(answer, "error")) /* the local socket's own */
		return error_set(err, -EPROTO, "%s", json_path_string(answer, "error"));
	if (!type)
		return error_set(err, -EPROTO, "%s answered with status %ld", remote_is_local(remote) ? remote->socket : remote->base, status);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i].name, type) == 0)
			code = names[i].code;
	return error_set(err, code, "%s: %s", type, message ?: "no reason is given");
}

static int perform(struct remote *remote, struct request *request, json_t **ret_answer, struct error *err)
{
	_cleanup_(buffer_done) struct buffer url = {};
	CURL *curl = remote->curl;
	json_t *answer;
	CURLcode result;
	long status = 0;

	buffer_printf(&url, "%s%s", remote->base, buffer_string(&request->target));
	if (buffer_failed(&url))
		return error_set(err, -ENOMEM, "out of memory");
	curl_easy_reset(curl); /* the connection stays */
	curl_easy_setopt(curl, CURLOPT_URL, buffer_string(&url));
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	if (remote_is_local(remote)) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, remote->socket);
		curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->operation->method);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CLIENT_CONNECT_TIMEOUT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_TIMEOUT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, remote->curl_detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, client_receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &request->received);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, request->headers);
	if (request->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
	}
	remote->curl_detail[0] = '\0';
	result = curl_easy_perform(curl);
	if (result != CURLE_OK && remote_is_local(remote))
		return client_unreachable(remote->ctl, remote->socket, curl, result, remote->curl_detail, err);
	if (result != CURLE_OK)
		return error_set(err, -ECONNREFUSED, "%s: %s", remote->base,
				 remote->curl_detail[0] ? remote->curl_detail : curl_easy_strerror(result));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	answer = json_loadb(request->received.data ?: "", request->received.length, JSON_REJECT_DUPLICATES, NULL);
	if (status < 200 || status > 299 || !json_is_object(answer)) {
		int r = answer_error(remote, status, answer, err);

		json_decref(answer);
		return r;
	}
	*ret_answer = answer;
	return 0;
}

int remote_call(struct remote *remote, const struct remote_call *call, json_t **ret_answer, struct error *err)
{
	_cleanup_(request_done) struct request request = { .operation = find_operation(call->verb, call->kind) };
	int r = make_target(&request, call->input, err);

	if (r == 0 && make_body(&request, call->input) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = make_headers(remote, &request, call, err);
	if (r == 0 && (request.failed || buffer_failed(&request.target)))
		r = error_set(err, -ENOMEM, "out of memory");
	return r < 0 ? r : perform(remote, &request, ret_answer, err);
}
