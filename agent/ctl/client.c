/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/client.h"

#include <errno.h>
#include <string.h>

#include "agent/ctl/client_internal.h"
#include "agent/ctl/format.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#define ANSWER_TIMEOUT_SECONDS 120L /* `explain --count` and the list of open connections may take their time */
#define ANSWER_LIMIT_BYTES (256u * 1024 * 1024) /* 100,000 flow records are some 50 MiB */

static const struct {
	long status;
	int code;
} codes[] = {
	{ 400, -EINVAL }, { 404, -ENOENT }, { 409, -EBUSY }, { 413, -E2BIG }, { 501, -EOPNOTSUPP }, { 507, -ENOSPC },
};

static void cleanup_curl(CURL **curl)
{
	curl_easy_cleanup(*curl);
}
static void cleanup_slist(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

size_t client_receive(char *data, size_t size, size_t count, void *arg)
{
	struct buffer *answer = arg;

	if (answer->length + size * count > ANSWER_LIMIT_BYTES)
		return 0;
	buffer_append(answer, data, size * count);
	return buffer_failed(answer) ? 0 : size * count;
}

static int url_make(CURL *curl, const char *path, const struct parameter *parameters, struct buffer *url)
{
	char separator = '?';

	buffer_printf(url, "http://weft%s", path);
	for (const struct parameter *p = parameters; p && p->name; p++) {
		char *escaped = p->value ? curl_easy_escape(curl, p->value, 0) : NULL;

		if (p->value && !escaped)
			return -ENOMEM;
		if (escaped)
			buffer_printf(url, "%c%s=%s", separator, p->name, escaped);
		separator = escaped ? '&' : separator;
		curl_free(escaped);
	}
	return buffer_failed(url) ? -ENOMEM : 0;
}

/* weftd's own words, where it has any. */
static int answer_error(long status, const json_t *answer, struct error *err)
{
	const char *text = json_path_string(answer, "error"), *field = json_path_string(answer, "field");
	int code = -EIO;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].status == status)
			code = codes[i].code;
	if (!text)
		return error_set(err, code, "weftd answered with status %ld", status);
	return error_set_field(err, code, field ?: "", "%s", text);
}

int client_unreachable(const struct ctl *ctl, const char *socket, CURL *curl, CURLcode result, const char *detail, struct error *err)
{
	long code = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &code);
	if (result != CURLE_COULDNT_CONNECT)
		return error_set(err, -EIO, "weftd at '%s': %s", socket, detail[0] ? detail : curl_easy_strerror(result));
	if (code == EACCES || code == EPERM)
		return error_set(err, -EACCES, "'%s' is for root only", socket);
	return error_set(err, -ECONNREFUSED,
			 "weftd is not running: nobody listens at '%s'. "
			 "`weftd --instance %s` starts it",
			 socket, ctl->instance);
}

int client_socket(const struct ctl *ctl, char path[CLIENT_SOCKET_BYTES], struct error *err)
{
	const int length = ctl->socket ? snprintf(path, CLIENT_SOCKET_BYTES, "%s", ctl->socket) :
					 snprintf(path, CLIENT_SOCKET_BYTES, "/run/weft/%s/weftd.sock", ctl->instance);

	if ((size_t)length >= CLIENT_SOCKET_BYTES)
		return error_set_field(err, -EINVAL, ctl->socket ? "--socket" : "--instance", "too long for the path of a socket");
	return 0;
}

int client_call(const struct ctl *ctl, const char *method, const char *path, const struct parameter *parameters,
		const json_t *body, json_t **ret_answer, struct error *err)
{
	_cleanup_(cleanup_curl) CURL *curl = curl_easy_init();
	_cleanup_(cleanup_slist) struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	_cleanup_(buffer_done) struct buffer url = {}, received = {};
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	_cleanup_json_ json_t *answer = NULL;
	char socket[CLIENT_SOCKET_BYTES], detail[CURL_ERROR_SIZE] = "";
	CURLcode result;
	long status = 0;
	int r;

	if (!curl || !headers || (body && !text) || url_make(curl, path, parameters, &url) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = client_socket(ctl, socket, err);
	if (r < 0)
		return r;
	curl_easy_setopt(curl, CURLOPT_URL, buffer_string(&url));
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CLIENT_CONNECT_TIMEOUT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, ctl->patience_seconds ?: ANSWER_TIMEOUT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, client_receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
	if (text) {
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
	}
	result = curl_easy_perform(curl);
	if (result != CURLE_OK)
		return client_unreachable(ctl, socket, curl, result, detail, err);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	/* Not json_parse(), whose limit is that of configuration files. */
	answer = json_loadb(received.data ?: "", received.length, JSON_REJECT_DUPLICATES, NULL);
	if (answer && !ctl->json && format_clean(answer) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (status < 200 || status > 299)
		return answer_error(status, answer, err);
	if (!json_is_object(answer))
		return error_set(err, -EPROTO, "weftd at '%s' answered with something that is no JSON object", socket);
	*ret_answer = TAKE_PTR(answer);
	return 0;
}
