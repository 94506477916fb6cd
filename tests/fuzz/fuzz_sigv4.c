/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that say they are signed: a target, then an Authorization header (empty: none), then other headers, "Name: value", a line
 * each. Whatever they say, the answer has a reason and a message. What can be signed at all is verified, and not with another
 * signature. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/aws/sigv4.h"
#include "agent/aws/text.h"
#include "base/cleanup.h"

#define NOW_S 1440938160 /* 20150830T123600Z */
#define HEADERS_MAX 32

static struct sigv4 *sigv4;
static struct aws_credential credential;
static uint8_t no_body[DIGEST_BYTES];

static struct aws_credential *look_up(const char *id, void *arg)
{
	(void)arg;
	return strcmp(id, credential.id) == 0 ? &credential : NULL;
}

static void fail(const char *what, const struct sigv4_request *request, const struct sigv4_refusal *refusal)
{
	fprintf(stderr, "%s: %.*s\n%s: %s\n%s\n", what, (int)request->target.length, request->target.data,
		sigv4_reason_name(refusal->reason), refusal->message, refusal->detail ? refusal->detail : "");
	abort();
}

/* Takes the input apart. The first header is Authorization, where there is one. */
static void read_input(struct span input, struct sigv4_header headers[HEADERS_MAX], struct sigv4_request *request)
{
	struct span line, value, name;

	if (text_split(&input, '\n', &request->target) && text_split(&input, '\n', &line) && line.length)
		headers[request->header_count++] = (struct sigv4_header){ SPAN("Authorization"), line };
	while (request->header_count < HEADERS_MAX - 2 && text_split(&input, '\n', &line)) {
		value = line;
		text_split(&value, ':', &name);
		headers[request->header_count++] = (struct sigv4_header){ name, text_trim(value) };
	}
}

static void check_as_it_is(const struct sigv4_request *request)
{
	static const char *const regions[] = { "us-east-1", "eu-west-1" };
	const struct sigv4_rules rules = { look_up, NULL, regions, request->target.length % 3 };
	struct sigv4_identity identity;
	struct sigv4_refusal refusal;
	const int r = sigv4_verify(sigv4, &rules, request, &identity, &refusal);

	if (r == 0 && (identity.credential != &credential || identity.signed_headers.length == 0))
		fail("accepted for nobody", request, &refusal);
	if (r == -EACCES && (!refusal.message[0] || !text_is_printable(span_of(refusal.message))))
		fail("refused without words", request, &refusal);
	if (r < 0 && r != -EACCES)
		fail("failed", request, &refusal);
}

/* Reasons that a request of ours may be refused for, since it has more in it than a signature of ours. */
static bool may_be_refused(enum sigv4_reason reason)
{
	return reason == SIGV4_TWO_SIGNATURES || reason == SIGV4_SESSION_TOKEN || reason == SIGV4_UNSIGNED_BODY ||
	       reason == SIGV4_OTHER_BODY;
}

static void check_signed(struct sigv4_request request, const struct sigv4_header given[])
{
	_cleanup_(buffer_done) struct buffer authorization = {};
	const struct sigv4_rules rules = { .lookup = look_up };
	struct sigv4_header headers[HEADERS_MAX + 1];
	struct sigv4_identity identity;
	struct sigv4_refusal refusal;
	size_t count = 0;

	for (size_t i = 0; i < request.header_count; i++)
		if (!span_equal_nocase(given[i].name, SPAN("Authorization")) && !span_equal_nocase(given[i].name, SPAN("X-Amz-Date")))
			headers[count++] = given[i];
	headers[count++] = (struct sigv4_header){ SPAN("Host"), SPAN("example.com") };
	headers[count++] = (struct sigv4_header){ SPAN("X-Amz-Date"), SPAN("20150830T123600Z") };
	request.headers = headers;
	request.header_count = count;
	if (sigv4_sign(sigv4, &credential, "us-east-1", "appmesh", &request, &authorization, NULL) < 0)
		return;
	headers[request.header_count++] = (struct sigv4_header){ SPAN("Authorization"), span_of(buffer_string(&authorization)) };
	if (sigv4_verify(sigv4, &rules, &request, &identity, &refusal) < 0) {
		if (!may_be_refused(refusal.reason))
			fail("signed and refused", &request, &refusal);
		return;
	}
	authorization.data[authorization.length - 1] ^= 1;
	if (sigv4_verify(sigv4, &rules, &request, &identity, &refusal) == 0)
		fail("accepted with another signature", &request, &refusal);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (sigv4_new(&sigv4) < 0 ||
	    aws_credential_init(SPAN("AKIDEXAMPLE"), SPAN("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), &credential, NULL) < 0)
		abort();
	digest_sha256("", 0, no_body);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct sigv4_header headers[HEADERS_MAX];
	struct sigv4_request request = { .method = SPAN("GET"), .headers = headers, .now_s = NOW_S };

	memcpy(request.body_sha256, no_body, sizeof(no_body));
	read_input((struct span){ (const char *)bytes, size }, headers, &request);
	check_as_it_is(&request);
	check_signed(request, headers);
	return 0;
}
