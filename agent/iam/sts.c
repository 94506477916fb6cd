/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iam/sts.h"

#include <string.h>

#include "base/cleanup.h"

#define VERSION "2011-06-15"
#define NAMESPACE "https://sts.amazonaws.com/doc/" VERSION "/"
#define SHOWN_BYTES 128 /* of what the client sent */

static const char *escape_of(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	default:
		return NULL;
	}
}

/* Text as XML may have it: no control characters but tab and line feed, no U+FFFE and U+FFFF, and UTF-8. */
static void add_text(struct buffer *out, const char *text)
{
	size_t left = strlen(text), length;

	for (; left > 0; text += length, left -= length) {
		const char *escape = escape_of(*text);
		const bool is_control = (unsigned char)*text < ' ' && *text != '\t' && *text != '\n';

		length = utf8_sequence(text, left);
		if (escape)
			buffer_add(out, escape);
		else if (length == 0 || is_control || (length == 3 && memcmp(text, "\xef\xbf", 2) == 0 && (text[2] & 0x3f) >= 0x3e))
			buffer_add(out, "?");
		else
			buffer_append(out, text, length);
		length = length ? length : 1;
	}
}

static void add_element(struct buffer *out, const char *name, const char *text)
{
	buffer_printf(out, "<%s>", name);
	add_text(out, text);
	buffer_printf(out, "</%s>", name);
}

void sts_error(const char *code, const char *message, const char *request_id, struct buffer *out)
{
	buffer_add(out, "<ErrorResponse xmlns=\"" NAMESPACE "\"><Error><Type>Sender</Type>");
	add_element(out, "Code", code);
	add_element(out, "Message", message);
	buffer_add(out, "</Error>");
	add_element(out, "RequestId", request_id);
	buffer_add(out, "</ErrorResponse>\n");
}

static int refuse_action(const struct sts_request *request, struct buffer *out)
{
	_cleanup_(buffer_done) struct buffer message = {};

	buffer_printf(&message, "Could not find operation %.*s for version %.*s: only GetCallerIdentity of %s is here", SHOWN_BYTES,
		      request->action, SHOWN_BYTES, request->version ? request->version : "NO_VERSION_SPECIFIED", VERSION);
	sts_error("InvalidAction", buffer_string(&message), request->request_id, out);
	return 400;
}

int sts_answer(const struct sts_request *request, const struct iam_principal *caller, struct buffer *out)
{
	if (!request->action || !*request->action) {
		sts_error("MissingAction", "The request must contain the parameter Action.", request->request_id, out);
		return 400;
	}
	if (strcmp(request->action, "GetCallerIdentity") != 0 || !request->version || strcmp(request->version, VERSION) != 0)
		return refuse_action(request, out);
	buffer_add(out, "<GetCallerIdentityResponse xmlns=\"" NAMESPACE "\"><GetCallerIdentityResult>");
	add_element(out, "Arn", caller->arn);
	add_element(out, "UserId", caller->id);
	add_element(out, "Account", caller->account);
	buffer_add(out, "</GetCallerIdentityResult><ResponseMetadata>");
	add_element(out, "RequestId", request->request_id);
	buffer_add(out, "</ResponseMetadata></GetCallerIdentityResponse>\n");
	return 200;
}
