/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sigv4_world.h"

#include "agent/aws/date.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

#define SCOPE "20150830/us-east-1/appmesh/aws4_request"

static const char *keep(struct sigv4_world *w, char *text)
{
	EXPECT(text);
	EXPECT(w->text_count < WORLD_TEXTS_MAX);
	w->texts[w->text_count++] = text;
	return text;
}

void sigv4_world_init(struct sigv4_world *w, const char *method, const char *target)
{
	struct error err = {};

	*w = (struct sigv4_world){};
	EXPECT_OK(sigv4_new(&w->sigv4));
	EXPECT_OK(aws_credential_init(span_of("AKIDEXAMPLE"), span_of("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), &w->credential, &err),
		  &err);
	w->request = (struct sigv4_request){ span_of(method), span_of(keep(w, strdup(target))), w->headers, 0, {}, WORLD_NOW_S };
	sigv4_world_body(w, "");
	sigv4_world_add(w, "Host", "example.amazonaws.com");
	sigv4_world_add(w, "X-Amz-Date", "20150830T123600Z");
}

void sigv4_world_done(struct sigv4_world *w)
{
	for (size_t i = 0; i < w->text_count; i++)
		free(w->texts[i]);
	sigv4_free(w->sigv4);
}

static struct sigv4_header *find(struct sigv4_world *w, const char *name)
{
	for (size_t i = 0; i < w->request.header_count; i++)
		if (span_equal_nocase(w->headers[i].name, span_of(name)))
			return &w->headers[i];
	return NULL;
}

void sigv4_world_add(struct sigv4_world *w, const char *name, const char *value)
{
	EXPECT(w->request.header_count < WORLD_HEADERS_MAX);
	w->headers[w->request.header_count++] =
		(struct sigv4_header){ span_of(keep(w, strdup(name))), span_of(keep(w, strdup(value))) };
}

void sigv4_world_set(struct sigv4_world *w, const char *name, const char *value)
{
	struct sigv4_header *header = find(w, name);

	if (header && value)
		header->value = span_of(keep(w, strdup(value)));
	else if (header)
		*header = w->headers[--w->request.header_count];
	else if (value)
		sigv4_world_add(w, name, value);
}

void sigv4_world_body(struct sigv4_world *w, const char *body)
{
	digest_sha256(body, strlen(body), w->request.body_sha256);
}

void sigv4_world_target(struct sigv4_world *w, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	EXPECT(vasprintf(&text, format, args) >= 0);
	va_end(args);
	w->request.target = span_of(keep(w, text));
}

void sigv4_world_replace(struct sigv4_world *w, const char *header, const char *from, const char *to)
{
	struct span *span = header ? &find(w, header)->value : &w->request.target;
	const char *found = strstr(span->data, from);
	char *text;

	EXPECT(found);
	EXPECT(asprintf(&text, "%.*s%s%s", (int)(found - span->data), span->data, to, found + strlen(from)) >= 0);
	*span = span_of(keep(w, text));
}

void sigv4_world_sign(struct sigv4_world *w)
{
	_cleanup_(buffer_done) struct buffer out = {};
	struct error err = {};

	EXPECT_OK(sigv4_sign(w->sigv4, &w->credential, "us-east-1", "appmesh", &w->request, &out, &err), &err);
	sigv4_world_add(w, "Authorization", buffer_string(&out));
}

static void signature_of(struct sigv4_world *w, const char *signed_headers, char text[DIGEST_HEX_BYTES])
{
	_cleanup_(canonical_done) struct canonical canonical = {};
	const struct aws_scope scope = { "20150830", "us-east-1", "appmesh" };
	struct aws_signing_key key;
	uint8_t signature[DIGEST_BYTES];
	struct span path, query;
	struct error err = {};

	canonical_split(w->request.target, &path, &query);
	EXPECT_OK(canonical_path(&canonical, path, &err), &err);
	EXPECT_OK(canonical_query(&canonical, query, &err), &err);
	EXPECT_OK(canonical_request(&canonical, &w->request, span_of(signed_headers), &err), &err);
	EXPECT_OK(canonical_to_sign(&canonical, "20150830T123600Z", SCOPE));
	aws_signing_key(&w->credential, &scope, &key);
	digest_hmac(key.key, sizeof(key.key), canonical.to_sign.data, canonical.to_sign.length, signature);
	digest_hex(signature, text);
}

void sigv4_world_sign_those(struct sigv4_world *w, const char *signed_headers)
{
	char signature[DIGEST_HEX_BYTES], text[1024];

	signature_of(w, signed_headers, signature);
	snprintf(text, sizeof(text), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" SCOPE ", SignedHeaders=%s, Signature=%s", signed_headers,
		 signature);
	sigv4_world_add(w, "Authorization", text);
}

void sigv4_world_presign(struct sigv4_world *w, const char *expires, const char *more)
{
	const char *target = w->request.target.data;
	char signature[DIGEST_HEX_BYTES];

	sigv4_world_set(w, "X-Amz-Date", NULL);
	sigv4_world_target(w, "%s%cX-Amz-Algorithm=AWS4-HMAC-SHA256"
			      "&X-Amz-Credential=AKIDEXAMPLE%%2F20150830%%2Fus-east-1%%2Fappmesh%%2Faws4_request"
			      "&X-Amz-Date=20150830T123600Z&X-Amz-Expires=%s&X-Amz-SignedHeaders=host%s",
			   target, strchr(target, '?') ? '&' : '?', expires, more);
	signature_of(w, "host", signature);
	sigv4_world_target(w, "%s&X-Amz-Signature=%s", w->request.target.data, signature);
}

static struct aws_credential *look_up(const char *id, void *arg)
{
	struct sigv4_world *w = arg;

	w->look_ups++;
	return strcmp(id, w->credential.id) == 0 ? &w->credential : NULL;
}

int sigv4_world_verify(struct sigv4_world *w)
{
	const struct sigv4_rules rules = { look_up, w, w->regions, w->region_count };

	return sigv4_verify(w->sigv4, &rules, &w->request, &w->identity, &w->refusal);
}
