/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dns/resolv_conf.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/address.h"

#define ADDRESS_TEXT_BYTES 128 /* a zone may follow, of any name */

struct word { /* not terminated */
	const char *text;
	size_t length;
};

static bool is_space(char c)
{
	/* NUL: the C libraries see the end of the line there. */
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

/* The next word of what is left of a line; empty at its end. */
static struct word next_word(struct word *line)
{
	struct word word = *line;

	while (word.length > 0 && is_space(*word.text)) {
		word.text++;
		word.length--;
	}
	line->length = word.length;
	for (word.length = 0; word.length < line->length && !is_space(word.text[word.length]);)
		word.length++;
	line->text = word.text + word.length;
	line->length -= word.length;
	return word;
}

static bool word_is(struct word word, const char *text)
{
	return word.length == strlen(text) && !memcmp(word.text, text, word.length);
}

static bool next_line(struct word *rest, struct word *ret_line)
{
	const char *end;

	if (rest->length == 0)
		return false;
	end = memchr(rest->text, '\n', rest->length);
	ret_line->text = rest->text;
	ret_line->length = end ? (size_t)(end - rest->text) : rest->length;
	rest->length -= ret_line->length + (end ? 1 : 0);
	rest->text += ret_line->length + (end ? 1 : 0);
	return true;
}

/* Where connect() to the unspecified address leads. */
static void resolve_unspecified(struct ip *ip)
{
	static const struct ip any = {};

	if (ip_is_v4(ip) && ip->words[3] == htonl(INADDR_ANY))
		ip->words[3] = htonl(INADDR_LOOPBACK);
	else if (ip_equal(ip, &any))
		ip->bytes[15] = 1;
}

static bool parse_address(struct word word, struct ip *ret_ip)
{
	char text[ADDRESS_TEXT_BYTES];
	struct in_addr v4;
	struct ip ip = { .bytes = { [10] = 0xff, [11] = 0xff } };
	char *zone;

	if (word.length >= sizeof(text))
		return false;
	memcpy(text, word.text, word.length);
	text[word.length] = '\0';
	zone = strchr(text, '%');
	if (zone)
		*zone = '\0';
	if (!zone && inet_aton(text, &v4))
		ip.words[3] = v4.s_addr;
	else if (inet_pton(AF_INET6, text, ip.bytes) != 1)
		return false;
	resolve_unspecified(&ip);
	*ret_ip = ip;
	return true;
}

static bool is_link_local(const struct ip *ip)
{
	return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80; /* fe80::/10 */
}

bool resolv_conf_has(const struct resolv_conf *conf, const struct ip *resolver)
{
	for (size_t i = 0; i < conf->count; i++)
		if (ip_equal(&conf->resolvers[i], resolver))
			return true;
	return false;
}

void resolv_conf_add(struct resolv_conf *conf, const struct ip *resolver)
{
	if (resolv_conf_has(conf, resolver))
		return;
	if (conf->count < RESOLVERS_MAX)
		conf->resolvers[conf->count++] = *resolver;
	else
		conf->left_out++;
}

void resolv_conf_parse(const char *text, size_t length, struct resolv_conf *ret_conf)
{
	static const struct ip loopback = { .bytes = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } };
	struct resolv_conf conf = {};
	struct word rest = { text, length }, line;
	bool any = false;

	while (next_line(&rest, &line)) {
		struct ip ip;
		bool valid;

		if (!word_is(next_word(&line), "nameserver"))
			continue;
		valid = parse_address(next_word(&line), &ip);
		any |= valid;
		if (valid && !is_link_local(&ip))
			resolv_conf_add(&conf, &ip);
		else
			conf.left_out++;
	}
	if (!any)
		resolv_conf_add(&conf, &loopback);
	*ret_conf = conf;
}

bool nsswitch_has_resolve(const char *text, size_t length)
{
	struct word rest = { text, length }, line, word;

	while (next_line(&rest, &line)) {
		const char *comment = memchr(line.text, '#', line.length);
		const char *colon;
		struct word database;

		line.length = comment ? (size_t)(comment - line.text) : line.length;
		colon = memchr(line.text, ':', line.length);
		if (!colon)
			continue;
		database = (struct word){ line.text, (size_t)(colon - line.text) };
		line.length -= database.length + 1;
		line.text = colon + 1;
		if (!word_is(next_word(&database), "hosts"))
			continue;
		while ((word = next_word(&line)).length > 0)
			if (word_is(word, "resolve"))
				return true;
	}
	return false;
}
