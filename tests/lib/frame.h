/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet frames that hold TCP or ICMP over IPv4 or IPv6: made, taken apart and checked by other code than that under test. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maps/abi/types.h"

#define FRAME_BYTES 2048
#define FRAME_FIN 1
#define FRAME_SYN 2
#define FRAME_RST 4
#define FRAME_ACK 16

struct frame {
	size_t length;
	uint8_t bytes[FRAME_BYTES];
};

struct frame_tcp { /* ports in host order */
	struct ip source, destination;
	uint16_t source_port, destination_port;
	uint32_t sequence, acknowledged;
	uint8_t flags;
	size_t payload_bytes;
};

/* With an Ethernet header and right checksums. Both addresses are of one family. */
void frame_make_tcp(struct frame *frame, const struct frame_tcp *tcp);
/* An ICMP error, of this type and code, from `source` to the sender of the IP packet in `about`, which it quotes: the IP header and the
 * first 8 bytes behind it. */
void frame_make_error(struct frame *frame, const struct ip *source, uint8_t type, uint8_t code, const struct frame *about);

/* False: this is no TCP packet without options, of its right length. */
bool frame_read_tcp(const struct frame *frame, struct frame_tcp *ret_tcp);
/* The quote of an ICMP error: addresses, ports and sequence number; the error's own source and destination. */
bool frame_read_error(const struct frame *frame, struct frame_tcp *ret_quote, struct ip *ret_source, struct ip *ret_destination);

/* Of the IPv4 header, of TCP or ICMP, and of an IPv4 header that is quoted. */
bool frame_checksums_right(const struct frame *frame);

uint8_t *frame_ip(struct frame *frame);
uint8_t *frame_l4(struct frame *frame);
