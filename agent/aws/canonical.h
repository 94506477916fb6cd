/* SPDX-License-Identifier: Apache-2.0 */
/* What a signature is made over: the canonical request, and the string to sign (AWS Signature Version 4, "Create a canonical
 * request"). One form for each meaning, and what could be read in two ways is refused by name:
 *  - The path is the raw one, with each of its segments encoded once more ("/a%20b" is signed as "/a%2520b"), as every service but
 *    S3 has it. Segments that are empty, "." or "..", also encoded, are refused: clients differ in whether they fold them before
 *    they sign.
 *  - Names and values of the query are decoded and encoded again, and sorted. A '+' is refused, which some read as a space.
 *  - A header's values are joined by ',', spaces and tabs around them are cut, and those within folded to one space.
 * Bytes beyond ASCII, control characters, and escapes that are malformed or give a NUL or no UTF-8 are refused. */
#pragma once

#include <stdint.h>

#include "agent/aws/digest.h"
#include "agent/aws/text.h"
#include "base/bytes.h"
#include "base/error.h"

#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"

#define CANONICAL_TARGET_MAX_BYTES (16 * 1024)
#define CANONICAL_PARAMETERS_MAX 128
#define CANONICAL_HEADERS_MAX 128
#define CANONICAL_VALUES_MAX_BYTES (32 * 1024) /* of signed headers, all together */
#define CANONICAL_METHOD_MAX_BYTES 32

struct sigv4_header {
	struct span name, value;
};

/* A request as it came, or as it will be sent. Borrowed. */
struct sigv4_request {
	struct span method;
	struct span target; /* path and query, nothing decoded; of "http://host/path" what begins with the path */
	const struct sigv4_header *headers; /* in order, with repeats, Host among them */
	size_t header_count;
	uint8_t body_sha256[DIGEST_BYTES]; /* of the body as it is, decoded from chunks; that of nothing where there is none */
	int64_t now_s; /* wall clock, since the epoch */
};

struct canonical_parameter { /* as the canonical query has it, encoded */
	struct span name, value;
};

/* Memory that is used again from one request to the next. All zero to begin with. */
struct canonical {
	struct buffer path;
	struct buffer query; /* what `parameters` point into */
	struct canonical_parameter parameters[CANONICAL_PARAMETERS_MAX]; /* sorted */
	size_t parameter_count;
	struct buffer request;
	size_t value_bytes; /* of headers, in `request` so far */
	struct buffer to_sign;
};
void canonical_done(struct canonical *c);

/* Each 0, -EINVAL with what is wrong with what, or -ENOMEM. */

/* What is before the first '?', and behind it. */
void canonical_split(struct span target, struct span *ret_path, struct span *ret_query);
int canonical_check_method(struct span method, struct error *err); /* capital letters. -EINVAL */
/* The rules for paths alone: also for requests that need no signature. -EINVAL. */
int canonical_check_path(struct span path, struct error *err);
int canonical_path(struct canonical *c, struct span path, struct error *err);
int canonical_query(struct canonical *c, struct span query, struct error *err);

/* The first parameter of that name, which has no characters to encode, and how many there are; NULL: none. */
const struct canonical_parameter *canonical_parameter(const struct canonical *c, const char *name, size_t *ret_count);
/* Decodes what canonical_query() encoded to the end of `out`. */
void canonical_decode(struct span encoded, struct buffer *out);

/* A list of SignedHeaders is names in lower case, in order, each once, separated by ';'. */
int canonical_check_signed(struct span signed_headers, struct error *err);
bool canonical_is_signed(struct span signed_headers, struct span name);

/* Puts it together in c->request, after canonical_path() and canonical_query(). X-Amz-Signature is left out of the query. */
int canonical_request(struct canonical *c, const struct sigv4_request *request, struct span signed_headers, struct error *err);
/* In c->to_sign, from c->request. `scope`: "20150830/us-east-1/appmesh/aws4_request". 0 or -ENOMEM. */
int canonical_to_sign(struct canonical *c, const char *timestamp, const char *scope);
