/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4_verify [SECONDS]: how many signatures a core verifies. The request is one as the aws command line sends it, with a body of
 * 200 bytes whose hash is made anew each time, as the API has to. In CPU time of this thread, which neighbours disturb
 * less; a line of JSON. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/aws/sigv4.h"
#include "base/cleanup.h"

enum { NOW_S = 1440938160, BATCH = 1000, BODY_BYTES = 200 };

static struct aws_credential credential;
static struct sigv4_header headers[] = {
	{ SPAN("Host"), SPAN("127.0.0.1:9080") },
	{ SPAN("Accept-Encoding"), SPAN("identity") },
	{ SPAN("Content-Type"), SPAN("application/json") },
	{ SPAN("User-Agent"),
	  SPAN("aws-cli/2.9.19 Python/3.11.2 Linux/6.1.0 source/x86_64.debian.12 command/appmesh.create-virtual-node") },
	{ SPAN("X-Amz-Date"), SPAN("20150830T123600Z") },
	{ SPAN("Content-Length"), SPAN("200") },
	{ SPAN("Authorization") },
};
static struct sigv4_request request = {
	.method = SPAN("PUT"),
	.target = SPAN("/v20190125/meshes/production-mesh/virtualNodes"),
	.headers = headers,
	.now_s = NOW_S,
};

static struct aws_credential *look_up(const char *id, void *arg)
{
	(void)arg;
	return strcmp(id, credential.id) == 0 ? &credential : NULL;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What the command line signs: all but a few. */
static void sign(struct sigv4 *sigv4, struct buffer *authorization)
{
	const struct sigv4_header signed_headers[] = { headers[0], headers[2], headers[4] };
	struct sigv4_request asked = request;
	struct error error = {};

	asked.headers = signed_headers;
	asked.header_count = ARRAY_SIZE(signed_headers);
	if (sigv4_sign(sigv4, &credential, "us-east-1", "appmesh", &asked, authorization, &error) < 0)
		errx(1, "cannot sign: %s", error.message);
	headers[ARRAY_SIZE(headers) - 1].value = span_of(buffer_string(authorization));
	request.header_count = ARRAY_SIZE(headers);
}

/* A second. `kept`: the signing key is, as for all requests of a day but the first. */
static double measure(struct sigv4 *sigv4, bool kept, double seconds)
{
	const struct sigv4_rules rules = { .lookup = look_up };
	const double start = cpu_seconds();
	static const char body[BODY_BYTES];
	struct sigv4_identity identity;
	struct sigv4_refusal refusal;
	size_t count = 0;

	do {
		for (int i = 0; i < BATCH; i++, count++) {
			if (!kept)
				memset(credential.kept, 0, sizeof(credential.kept));
			digest_sha256(body, sizeof(body), request.body_sha256);
			if (sigv4_verify(sigv4, &rules, &request, &identity, &refusal) < 0)
				errx(1, "refused: %s", refusal.message);
		}
	} while (cpu_seconds() - start < seconds);
	return (double)count / (cpu_seconds() - start);
}

int main(int argc, char *argv[])
{
	const double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
	_cleanup_(buffer_done) struct buffer authorization = {};
	static const char body[BODY_BYTES];
	struct sigv4 *sigv4;

	if (sigv4_new(&sigv4) < 0 ||
	    aws_credential_init(span_of("AKIDEXAMPLE"), span_of("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), &credential, NULL) < 0)
		errx(1, "cannot begin");
	digest_sha256(body, sizeof(body), request.body_sha256);
	sign(sigv4, &authorization);
	printf("{\"kept_per_second\": %.0f, \"derived_per_second\": %.0f}\n", measure(sigv4, true, seconds),
	       measure(sigv4, false, seconds));
	sigv4_free(sigv4);
	return 0;
}
