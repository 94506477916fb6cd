/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/canonical.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

void canonical_done(struct canonical *c)
{
	buffer_done(&c->path);
	buffer_done(&c->query);
	buffer_done(&c->request);
	buffer_done(&c->to_sign);
}

void canonical_split(struct span target, struct span *ret_path, struct span *ret_query)
{
	*ret_query = target;
	if (!text_split(ret_query, '?', ret_path))
		*ret_path = (struct span){};
}

int canonical_check_method(struct span method, struct error *err)
{
	bool good = method.length > 0 && method.length <= CANONICAL_METHOD_MAX_BYTES;

	for (size_t i = 0; good && i < method.length; i++)
		good = isupper((unsigned char)method.data[i]);
	return good ? 0 : error_set_field(err, -EINVAL, "method", "'%s' is none", TEXT_SHOWN(method));
}

/* --- percent-encoding (RFC 3986) ---------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Writes at most three bytes for each. Returns the end. */
static char *encode(char *to, struct span text, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.length; i++) {
		const unsigned char c = (unsigned char)text.data[i];

		if (is_unreserved(c) || (keep_slash && c == '/')) {
			*to++ = (char)c;
			continue;
		}
		*to++ = '%';
		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	return to;
}

/* Of a text that is no longer than CANONICAL_TARGET_MAX_BYTES. `where` is for messages: "path", "query". */
static int decode(struct span raw, const char *where, char to[CANONICAL_TARGET_MAX_BYTES], struct span *ret_text, struct error *err)
{
	size_t length = 0;

	for (size_t i = 0; i < raw.length; i++) {
		char c = raw.data[i];
		int high, low;

		if (c <= ' ' || c > '~' || c == '#')
			return error_set_field(err, -EINVAL, where, "'%s' has a character that must be encoded, at %zu", TEXT_SHOWN(raw),
					       i);
		if (c == '%') {
			high = i + 2 < raw.length ? hex_digit(raw.data[i + 1]) : -1;
			low = i + 2 < raw.length ? hex_digit(raw.data[i + 2]) : -1;
			if (high < 0 || low < 0)
				return error_set_field(err, -EINVAL, where, "'%s' has a '%%' without two hexadecimal digits",
						       TEXT_SHOWN(raw));
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (c == '\0')
			return error_set_field(err, -EINVAL, where, "'%s' has a NUL in it", TEXT_SHOWN(raw));
		to[length++] = c;
	}
	if (!utf8_valid(to, length))
		return error_set_field(err, -EINVAL, where, "'%s' is no UTF-8", TEXT_SHOWN(raw));
	*ret_text = (struct span){ to, length };
	return 0;
}

void canonical_decode(struct span encoded, struct buffer *out)
{
	char *to = buffer_reserve(out, encoded.length);

	if (!to)
		return;
	for (size_t i = 0; i < encoded.length; i++) {
		char c = encoded.data[i];

		if (c == '%') {
			c = (char)(hex_digit(encoded.data[i + 1]) * 16 + hex_digit(encoded.data[i + 2]));
			i += 2;
		}
		*to++ = c;
	}
	*to = '\0';
	out->length = (size_t)(to - out->data);
}

/* --- path --------------------------------------------------------------------------------------------------------------------- */

int canonical_check_path(struct span path, struct error *err)
{
	char text[CANONICAL_TARGET_MAX_BYTES];
	struct span rest = path, segment, decoded;
	int r;

	if (path.length > CANONICAL_TARGET_MAX_BYTES)
		return error_set_field(err, -EINVAL, "path", "has more than %d bytes", CANONICAL_TARGET_MAX_BYTES);
	if (!text_split(&rest, '/', &segment) || segment.length || !rest.data)
		return error_set_field(err, -EINVAL, "path", "'%s' does not begin with '/'", TEXT_SHOWN(path));
	if (!rest.length)
		return 0; /* "/" */
	while (text_split(&rest, '/', &segment)) {
		r = decode(segment, "path", text, &decoded, err);
		if (r < 0)
			return r;
		if (!decoded.length || text_is(decoded, ".") || text_is(decoded, ".."))
			return error_set_field(err, -EINVAL, "path", "'%s' has a segment that is empty, '.' or '..'", TEXT_SHOWN(path));
	}
	return 0;
}

int canonical_path(struct canonical *c, struct span path, struct error *err)
{
	char *to;
	int r = canonical_check_path(path, err);

	if (r < 0)
		return r;
	buffer_clear(&c->path);
	to = buffer_reserve(&c->path, 3 * path.length);
	if (!to)
		return error_set(err, -ENOMEM, "out of memory");
	c->path.length = (size_t)(encode(to, path, true) - to);
	return 0;
}

/* --- query -------------------------------------------------------------------------------------------------------------------- */

static int compare_spans(struct span a, struct span b)
{
	const size_t length = MIN(a.length, b.length);
	const int r = length ? memcmp(a.data, b.data, length) : 0;

	return r ? r : (a.length > b.length) - (a.length < b.length);
}

static int compare_parameters(const void *a, const void *b)
{
	const struct canonical_parameter *p = a, *q = b;
	const int r = compare_spans(p->name, q->name);

	return r ? r : compare_spans(p->value, q->value);
}

/* Its canonical form, behind what c->query has, where there is room for it. */
static int add_component(struct canonical *c, struct span raw, struct span *ret_encoded, struct error *err)
{
	char text[CANONICAL_TARGET_MAX_BYTES], *to = c->query.data + c->query.length;
	struct span decoded;
	int r;

	if (raw.length && memchr(raw.data, '+', raw.length))
		return error_set_field(err, -EINVAL, "query", "'%s' has a '+': a space is %%20, and a plus sign %%2B", TEXT_SHOWN(raw));
	r = decode(raw, "query", text, &decoded, err);
	if (r < 0)
		return r;
	*ret_encoded = (struct span){ to, (size_t)(encode(to, decoded, false) - to) };
	c->query.length += ret_encoded->length;
	return 0;
}

static int add_parameter(struct canonical *c, struct span raw, struct error *err)
{
	struct canonical_parameter *p = &c->parameters[c->parameter_count];
	struct span value = raw, name;
	int r;

	if (!text_split(&value, '=', &name) || !name.length)
		return error_set_field(err, -EINVAL, "query", "has a parameter without a name");
	if (c->parameter_count == CANONICAL_PARAMETERS_MAX)
		return error_set_field(err, -EINVAL, "query", "has more than %d parameters", CANONICAL_PARAMETERS_MAX);
	r = add_component(c, name, &p->name, err);
	if (r == 0)
		r = add_component(c, value, &p->value, err);
	if (r == 0)
		c->parameter_count++;
	return r;
}

int canonical_query(struct canonical *c, struct span query, struct error *err)
{
	struct span part;
	int r;

	c->parameter_count = 0;
	buffer_clear(&c->query);
	if (!query.length)
		return 0;
	if (query.length > CANONICAL_TARGET_MAX_BYTES)
		return error_set_field(err, -EINVAL, "query", "has more than %d bytes", CANONICAL_TARGET_MAX_BYTES);
	/* Once for all, so that what parameters point to stays where it is. */
	if (!buffer_reserve(&c->query, 3 * query.length))
		return error_set(err, -ENOMEM, "out of memory");
	while (text_split(&query, '&', &part)) {
		r = add_parameter(c, part, err);
		if (r < 0)
			return r;
	}
	qsort(c->parameters, c->parameter_count, sizeof(c->parameters[0]), compare_parameters);
	return 0;
}

const struct canonical_parameter *canonical_parameter(const struct canonical *c, const char *name, size_t *ret_count)
{
	const struct canonical_parameter *found = NULL;

	*ret_count = 0;
	for (size_t i = 0; i < c->parameter_count; i++)
		if (text_is(c->parameters[i].name, name)) {
			found = found ? found : &c->parameters[i];
			(*ret_count)++;
		}
	return found;
}

/* --- headers ------------------------------------------------------------------------------------------------------------------ */

static bool is_signed_name(struct span name)
{
	for (size_t i = 0; i < name.length; i++) {
		const char c = name.data[i];

		if (!islower((unsigned char)c) && !isdigit((unsigned char)c) && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return name.length > 0;
}

int canonical_check_signed(struct span signed_headers, struct error *err)
{
	struct span rest = signed_headers, name, last = {};
	size_t count = 0;

	while (text_split(&rest, ';', &name)) {
		if (!is_signed_name(name) || compare_spans(last, name) >= 0)
			return error_set_field(err, -EINVAL, "SignedHeaders",
					       "must be names in lower case, in order, each once, separated by ';', got '%s'",
					       TEXT_SHOWN(signed_headers));
		if (++count > CANONICAL_HEADERS_MAX)
			return error_set_field(err, -EINVAL, "SignedHeaders", "has more than %d names", CANONICAL_HEADERS_MAX);
		last = name;
	}
	return 0;
}

bool canonical_is_signed(struct span signed_headers, struct span name)
{
	struct span one;

	while (text_split(&signed_headers, ';', &one))
		if (span_equal_nocase(one, name))
			return true;
	return false;
}

/* Cut and folded. */
static int add_value(struct canonical *c, struct span name, struct span value, struct error *err)
{
	bool blank = false;
	char *to;

	value = text_trim(value);
	if (value.length > CANONICAL_VALUES_MAX_BYTES - c->value_bytes)
		return error_set_field(err, -EINVAL, "header", "those that are signed have more than %d bytes", CANONICAL_VALUES_MAX_BYTES);
	c->value_bytes += value.length;
	to = buffer_reserve(&c->request, value.length);
	if (!to)
		return 0; /* remembered */
	for (size_t i = 0; i < value.length; i++) {
		const char at = value.data[i];

		if (at == ' ' || at == '\t') {
			blank = true;
			continue;
		}
		if (at < ' ' || at > '~')
			return error_set_field(err, -EINVAL, "header", "'%s' is signed and has a byte that is no printable ASCII, at %zu",
					       TEXT_SHOWN(name), i);
		if (blank)
			*to++ = ' ';
		blank = false;
		*to++ = at;
	}
	*to = '\0';
	c->request.length = (size_t)(to - c->request.data);
	return 0;
}

/* "name:value,value\n" */
static int add_header(struct canonical *c, const struct sigv4_request *request, struct span name, struct error *err)
{
	size_t count = 0;
	int r;

	buffer_append(&c->request, name.data, name.length);
	for (size_t i = 0; i < request->header_count; i++) {
		if (!span_equal_nocase(request->headers[i].name, name))
			continue;
		buffer_add(&c->request, count++ ? "," : ":");
		r = add_value(c, name, request->headers[i].value, err);
		if (r < 0)
			return r;
	}
	buffer_add(&c->request, "\n");
	return count ? 0 : error_set_field(err, -EINVAL, "SignedHeaders", "names '%s', which the request does not have", TEXT_SHOWN(name));
}

static int add_headers(struct canonical *c, const struct sigv4_request *request, struct span signed_headers, struct error *err)
{
	struct span name;
	int r;

	c->value_bytes = 0;
	while (text_split(&signed_headers, ';', &name)) {
		r = add_header(c, request, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

static void add_query(struct canonical *c)
{
	const char *separator = "";

	for (size_t i = 0; i < c->parameter_count; i++) {
		const struct canonical_parameter *p = &c->parameters[i];

		if (text_is(p->name, "X-Amz-Signature"))
			continue;
		buffer_add(&c->request, separator);
		buffer_append(&c->request, p->name.data, p->name.length);
		buffer_add(&c->request, "=");
		buffer_append(&c->request, p->value.data, p->value.length);
		separator = "&";
	}
}

int canonical_request(struct canonical *c, const struct sigv4_request *request, struct span signed_headers, struct error *err)
{
	char hash[DIGEST_HEX_BYTES];
	int r;

	buffer_clear(&c->request);
	buffer_append(&c->request, request->method.data, request->method.length);
	buffer_add(&c->request, "\n");
	buffer_append(&c->request, c->path.data, c->path.length);
	buffer_add(&c->request, "\n");
	add_query(c);
	buffer_add(&c->request, "\n");
	r = add_headers(c, request, signed_headers, err);
	if (r < 0)
		return r;
	digest_hex(request->body_sha256, hash);
	buffer_add(&c->request, "\n");
	buffer_append(&c->request, signed_headers.data, signed_headers.length);
	buffer_add(&c->request, "\n");
	buffer_add(&c->request, hash);
	return buffer_failed(&c->request) ? error_set(err, -ENOMEM, "out of memory") : 0;
}

int canonical_to_sign(struct canonical *c, const char *timestamp, const char *scope)
{
	uint8_t hash[DIGEST_BYTES];
	char text[DIGEST_HEX_BYTES];

	digest_sha256(c->request.data, c->request.length, hash);
	digest_hex(hash, text);
	buffer_clear(&c->to_sign);
	buffer_add(&c->to_sign, SIGV4_ALGORITHM "\n");
	buffer_add(&c->to_sign, timestamp);
	buffer_add(&c->to_sign, "\n");
	buffer_add(&c->to_sign, scope);
	buffer_add(&c->to_sign, "\n");
	buffer_add(&c->to_sign, text);
	return buffer_failed(&c->to_sign) ? -ENOMEM : 0;
}
