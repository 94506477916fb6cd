/* SPDX-License-Identifier: Apache-2.0 */
/* Queries are taken and answered by the batch: a program that asks for many names at once pays for few system calls. */
#include <errno.h>
#include <string.h>

#include "agent/dns/responder_internal.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "maps/proxy.h"

struct batched {
	struct sockaddr_in6 client;
	socklen_t client_bytes;
	size_t question_bytes;
	struct own_answer answer;
	uint8_t packet[QUERY_MAX_BYTES];
};
struct udp_batch {
	struct batched slots[UDP_BATCH];
	struct batched *answered[UDP_BATCH];
	struct mmsghdr messages[UDP_BATCH];
	struct iovec vectors[UDP_BATCH];
};

struct udp_batch *udp_batch_new(void)
{
	return calloc(1, sizeof(struct udp_batch));
}

struct udp_batch *udp_batch_free(struct udp_batch *batch)
{
	free(batch);
	return NULL;
}

/* ---- what is answered at once ---- */

static int name_find(const struct pair *pair, const char *name, struct name_entry *ret_entry)
{
	const struct responder_maps *maps = &pair->place->namespace->responder->maps;
	const char *const scopes[] = { pair->place->name->text, pair->place->name->mesh };
	struct name_key key;
	int r = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(scopes) && r == -ENOENT; i++) {
		if (name_key_make(scopes[i], name, &key) < 0)
			return -ENOENT; /* the root, or longer than a service's name can be */
		r = maps->name_get(maps->arg, &key, ret_entry);
	}
	return r;
}

static const struct ip *address_for(const struct name_entry *entry, uint16_t type)
{
	const struct ip *address = type == DNS_TYPE_A ? &entry->vip4 : type == DNS_TYPE_AAAA ? &entry->vip6 : NULL;

	return address && (address->halves[0] || address->halves[1]) ? address : NULL;
}

static void answer_error(const uint8_t *packet, const struct dns_query *query, unsigned rcode, enum dns_outcome outcome,
			 struct own_answer *ret_answer)
{
	ret_answer->outcome = outcome;
	ret_answer->rcode = rcode;
	ret_answer->length = dns_answer_error(packet, query, rcode, ret_answer->bytes);
}

void answer_servfail(const uint8_t *packet, const struct dns_query *query, enum dns_outcome outcome, struct own_answer *ret_answer)
{
	answer_error(packet, query, DNS_SERVFAIL, outcome, ret_answer);
}

static void answer_name(const uint8_t *packet, const struct dns_query *query, const struct name_entry *entry,
			struct own_answer *ret_answer)
{
	const struct ip *address = address_for(entry, query->type);

	if (query->edns_version) {
		answer_error(packet, query, DNS_BADVERS, DNS_NOT_IMPLEMENTED, ret_answer);
		return;
	}
	ret_answer->rcode = DNS_NOERROR;
	ret_answer->outcome = address ? DNS_ANSWERED : DNS_NODATA;
	ret_answer->length = address ? dns_answer_address(packet, query, address, DNS_TTL_SECONDS, ret_answer->bytes) :
				       dns_answer_nodata(packet, query, DNS_NEGATIVE_TTL_SECONDS, ret_answer->bytes);
}

bool answer_at_once(struct pair *pair, const uint8_t *packet, size_t length, struct dns_query *ret_query, struct own_answer *ret_answer)
{
	struct name_entry entry;
	int r;

	r = dns_query_parse(packet, MIN(length, QUERY_MAX_BYTES), ret_query);
	if (r == 0 && length > QUERY_MAX_BYTES)
		r = -EINVAL;
	pair->queries++;
	if (r == -EBADMSG) {
		ret_query->question_bytes = 0;
		*ret_answer = (struct own_answer){ .outcome = DNS_MALFORMED, .rcode = NO_RCODE };
		return true;
	}
	if (r < 0) {
		answer_error(packet, ret_query, r == -EOPNOTSUPP ? DNS_NOTIMP : DNS_FORMERR,
			     r == -EOPNOTSUPP ? DNS_NOT_IMPLEMENTED : DNS_MALFORMED, ret_answer);
		return true;
	}
	if (ret_query->class != DNS_CLASS_IN)
		return false;
	r = name_find(pair, ret_query->name, &entry);
	if (r < 0 && r != -ENOENT) {
		log_limited(LOG_LEVEL_WARN, "cannot look a name up", LOG_F("error", LOG_STR(strerrordesc_np(-r))));
		answer_servfail(packet, ret_query, DNS_UPSTREAM_FAILED, ret_answer);
		return true;
	}
	if (r == 0)
		answer_name(packet, ret_query, &entry, ret_answer);
	return r == 0;
}

void query_ended(struct pair *pair, const struct ended_query *ended, uint64_t now_ns)
{
	struct responder *responder = pair->place->namespace->responder;
	struct query_entry *entry = query_log_next(&responder->log, pair->place->name);
	const uint8_t *question = ended->packet + DNS_HEADER_BYTES;

	responder_count(responder, ended->outcome);
	entry->begun_ns = ended->begun_ns;
	entry->spent_ns = now_ns - ended->begun_ns;
	entry->resolver = pair->resolver;
	entry->outcome = ended->outcome;
	entry->rcode = (uint16_t)ended->rcode;
	entry->tcp = ended->tcp;
	entry->name_bytes = 0;
	if (ended->question_bytes) {
		const uint8_t *type = question + ended->question_bytes - 4;

		entry->type = (uint16_t)(type[0] << 8 | type[1]);
		entry->name_bytes = (uint8_t)(ended->question_bytes - 4);
		memcpy(entry->name, question, entry->name_bytes);
	}
}

/* ---- batches ---- */

static int receive(struct udp_batch *batch, int fd)
{
	for (size_t i = 0; i < UDP_BATCH; i++) {
		struct batched *slot = &batch->slots[i];

		batch->vectors[i] = (struct iovec){ slot->packet, sizeof(slot->packet) };
		batch->messages[i].msg_hdr = (struct msghdr){ .msg_name = &slot->client, .msg_namelen = sizeof(slot->client),
							      .msg_iov = &batch->vectors[i], .msg_iovlen = 1 };
	}
	/* With MSG_TRUNC lengths are those of the packets, not of what was kept of them. */
	return recvmmsg(fd, batch->messages, UDP_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
}

static void send_answers(struct udp_batch *batch, size_t count, int fd)
{
	for (size_t i = 0; i < count; i++) {
		struct batched *slot = batch->answered[i];

		batch->vectors[i] = (struct iovec){ slot->answer.bytes, slot->answer.length };
		batch->messages[i].msg_hdr = (struct msghdr){ .msg_name = &slot->client, .msg_namelen = slot->client_bytes,
							      .msg_iov = &batch->vectors[i], .msg_iovlen = 1 };
	}
	for (size_t sent = 0; sent < count;) {
		int n = sendmmsg(fd, batch->messages + sent, (unsigned)(count - sent), MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		batch->answered[sent]->answer.outcome = DNS_CLIENT_GONE;
		batch->answered[sent]->answer.rcode = NO_RCODE;
		sent++;
	}
}

/* True: there is an answer to send. */
static bool take_query(struct pair *pair, struct batched *slot, size_t length, uint64_t begun_ns)
{
	struct dns_query parsed;
	int r;

	if (answer_at_once(pair, slot->packet, length, &parsed, &slot->answer)) {
		slot->question_bytes = parsed.question_bytes;
		if (slot->answer.length)
			return true;
		query_ended(pair, &(struct ended_query){ begun_ns, slot->packet, 0, false, slot->answer.outcome, NO_RCODE }, begun_ns);
		return false;
	}
	slot->question_bytes = parsed.question_bytes;
	r = forward_udp(pair, &slot->client, slot->packet, length, &parsed, begun_ns);
	if (r < 0)
		answer_servfail(slot->packet, &parsed, outcome_of_failure(r), &slot->answer);
	return r < 0;
}

void serve_udp(struct loop_io *io, uint32_t events, void *arg)
{
	struct pair *pair = arg;
	struct udp_batch *batch = pair->place->namespace->responder->batch;
	const int count = receive(batch, pair->udp_fd);
	uint64_t begun_ns = time_now_ns(), now_ns;
	size_t answered = 0;

	(void)io;
	(void)events;
	for (int i = 0; i < count; i++) {
		struct batched *slot = &batch->slots[i];

		slot->client_bytes = batch->messages[i].msg_hdr.msg_namelen;
		if (take_query(pair, slot, batch->messages[i].msg_len, begun_ns))
			batch->answered[answered++] = slot;
	}
	send_answers(batch, answered, pair->udp_fd);
	now_ns = time_now_ns();
	for (size_t i = 0; i < answered; i++) {
		const struct batched *slot = batch->answered[i];

		query_ended(pair,
			    &(struct ended_query){ begun_ns, slot->packet, slot->question_bytes, false, slot->answer.outcome,
						   slot->answer.rcode },
			    now_ns);
	}
}
