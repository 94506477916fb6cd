/* SPDX-License-Identifier: Apache-2.0 */
/* Packets through the programs of devices, by BPF_PROG_TEST_RUN: needs root. The verifier keeps them from reading what is not theirs; this
 * looks for what it cannot know. Whatever comes in: a packet that goes on has its length, its payload and right checksums if it
 * had them before; one that is sent back is a reset with right checksums; and no count stays taken when all is over.
 *
 * An input is a sequence of packets: what to do with it (1 byte), its length (1 byte), its bytes. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/address.h"
#include "maps/abi/decision.h"
#include "maps/abi/directory.h"
#include "maps/abi/edge.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/row.h"
#include "maps/abi/upgrade.h"
#include "tests/lib/frame.c"
#include "weft.skel.h"

enum { NODE = 1, SERVICE = 2, TARGET = 3, DEVICE = 1, ROW = 16, PACKETS_MAX = 16 };
enum { DO_OUT = 1, DO_ATTACHED = 2, DO_FIX_CHECKSUMS = 4 };
enum { NEXT = -1, DROP = 2, SENT_BACK = 7 };

static struct weft_bpf *weft;
static struct edge_connection *connections;
static struct row *rows;
static struct endpoint *endpoints;

#define MUST(condition)                                                                                                       \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "not so: %s\n", #condition);                                                           \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

static void *memory(const struct bpf_map *map)
{
	void *m = mmap(NULL, (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(map), 0);

	MUST(m != MAP_FAILED);
	return m;
}

static struct ip ip(const char *text)
{
	struct ip ip;

	MUST(ip_parse(text, &ip) == 0);
	return ip;
}

static void put(const struct bpf_map *map, const void *key, const void *value)
{
	MUST(bpf_map_update_elem(bpf_map__fd(map), key, value, 0) == 0);
}

static void name(enum object_kind kind, uint32_t id)
{
	struct directory_page *pages = memory(weft->maps.w_directory);

	pages[directory_page(1, id)].refs[id % DIRECTORY_PAGE_IDS] = REF(kind, id);
}

static void expose(const char *address, const char *vip)
{
	const struct exposed_key key = { .address = ip(address), .port = htons(80) };
	const struct exposed exposed = { .vip = ip(vip), .node = NODE, .port = htons(80) };
	const uint32_t service = SERVICE;

	put(weft->maps.w_exposed, &key, &exposed);
	put(weft->maps.w_vip, &exposed.vip, &service);
}

/* A service with an endpoint of each family, at 10.0.0.80:80 and [fd00::80]:80, exposed at 10.0.0.1:80 and [fd00::1]:80. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct endpoint_ref *refs;

	(void)argc;
	(void)argv;
	libbpf_set_print(NULL);
	weft = weft_bpf__open_and_load();
	if (!weft) {
		fprintf(stderr, "the programs do not load: run it as root\n");
		exit(1);
	}
	connections = memory(weft->maps.w_edge);
	rows = memory(weft->maps.w_row);
	endpoints = memory(weft->maps.w_endpoint);
	refs = memory(weft->maps.w_ref);
	*(struct root *)memory(weft->maps.w_root) = (struct root){ 1, 1 };
	((struct node_record *)memory(weft->maps.w_node))[NODE] = (struct node_record){ .backend_count = 1, .flags = NODE_DROP_ALL };
	((struct backend *)memory(weft->maps.w_backend))[0] = (struct backend){ .service = SERVICE, .row = ROW, .row_count = 1 };
	((struct service_record *)memory(weft->maps.w_service))[SERVICE] =
		(struct service_record){ .port_count = 1, .ports = { htons(80) } };
	((struct route_record *)memory(weft->maps.w_route))[0] =
		(struct route_record){ .target_count = 1, .cumulative = { 1 }, .target = { TARGET } };
	((struct target_record *)memory(weft->maps.w_target))[TARGET] = (struct target_record){ .first = { 0, 1 }, .count = { 1, 1 } };
	refs[0] = (struct endpoint_ref){ .address = ip("10.0.0.80"), .port = htons(80), .slot = 0, .incarnation = 1 };
	refs[1] = (struct endpoint_ref){ .address = ip("fd00::80"), .port = htons(80), .slot = 1, .incarnation = 1 };
	endpoints[0].incarnation = endpoints[1].incarnation = rows[ROW].incarnation = 1;
	name(OBJECT_NODE, NODE);
	name(OBJECT_SERVICE, SERVICE);
	name(OBJECT_TARGET, TARGET);
	expose("10.0.0.1", "240.240.0.2");
	expose("fd00::1", "2001:2::2");
	return 0;
}

static void device_is(uint32_t node)
{
	const struct edge_device device = { .node = node, .masquerade = { ip("10.0.0.9"), ip("fd00::9") } };
	const uint32_t index = DEVICE;

	put(weft->maps.w_edge_device, &index, &device);
}

/* Whether frame.c can say something of it: no options, no extension headers, and the length that the header tells. */
static bool is_plain_tcp(const struct frame *frame)
{
	struct frame_tcp t;
	const bool v6 = frame->length > ETHERNET && frame->bytes[12] == 0x86 && frame->bytes[13] == 0xdd;
	const bool v4 = frame->length > ETHERNET && frame->bytes[12] == 0x08 && !frame->bytes[13];

	return (v6 || (v4 && !((frame->bytes[ETHERNET + 6] & 0x3f) | frame->bytes[ETHERNET + 7]))) && frame_read_tcp(frame, &t);
}

static void fix_checksums(struct frame *frame)
{
	uint8_t *header = frame_ip(frame), *at;
	const size_t bytes = frame->length - l4_at(frame);

	if (!is_v6(frame)) {
		put16(header + 10, 0);
		put16(header + 10, ~sum(header, IP4, 0));
	}
	at = frame->bytes + checksum_at(frame);
	put16(at, 0);
	put16(at, ~sum(frame_l4(frame), bytes, pseudo_sum(frame, bytes)));
}

static void check(const struct frame *in, const struct frame *out, int verdict, bool outwards)
{
	const bool plain = is_plain_tcp(in);
	struct frame_tcp t;

	MUST(verdict == NEXT || verdict == DROP || (verdict == SENT_BACK && !outwards));
	if (verdict == NEXT) {
		MUST(out->length == in->length);
		MUST(!memcmp(out->bytes, in->bytes, 12));
		if (plain) {
			const size_t payload = l4_at(in) + TCP;

			MUST(!memcmp(out->bytes + payload, in->bytes + payload, in->length - payload));
			MUST(!memcmp(out->bytes + l4_at(in) + 4, in->bytes + l4_at(in) + 4, 12)); /* all between ports and checksum */
			MUST(frame_checksums_right(out) || !frame_checksums_right(in));
		}
	}
	if (verdict == SENT_BACK) {
		MUST(frame_read_tcp(out, &t));
		MUST(t.flags & FRAME_RST && !t.payload_bytes);
		MUST(frame_checksums_right(out));
	}
}

static void run(const uint8_t what, struct frame *in)
{
	static struct frame out;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in->bytes, .data_size_in = in->length, .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes));
	const struct bpf_program *program = what & DO_OUT ? weft->progs.edge_egress : weft->progs.edge_ingress;

	if (what & DO_FIX_CHECKSUMS && is_plain_tcp(in))
		fix_checksums(in);
	device_is(what & DO_ATTACHED ? NODE : 0);
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) < 0)
		return; /* the kernel itself takes no such packet: too short */
	out.length = options.data_size_out;
	check(in, &out, (int)options.retval, what & DO_OUT);
}

/* Ends what the input began, as time would. */
static void finish_all(void)
{
	struct edge_sweep request = { .now_ns = 1ull << 62 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &request, .ctx_size_in = sizeof(request));
	struct edge_pair key;

	MUST(bpf_prog_test_run_opts(bpf_program__fd(weft->progs.edge_sweep), &options) == 0);
	MUST(rows[ROW].open == 0 && endpoints[0].open == 0 && endpoints[1].open == 0);
	MUST(bpf_map_get_next_key(bpf_map__fd(weft->maps.w_edge_pair), NULL, &key) < 0);
}

static bool some_in_use(void)
{
	struct edge_pair key;

	return bpf_map_get_next_key(bpf_map__fd(weft->maps.w_edge_pair), NULL, &key) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct frame frame;

	for (int i = 0; i < PACKETS_MAX && size > 2; i++) {
		const uint8_t what = bytes[0];
		const size_t length = bytes[1] < size - 2 ? bytes[1] : size - 2;

		memset(&frame, 0, sizeof(frame));
		memcpy(frame.bytes, bytes + 2, length);
		frame.length = length;
		run(what, &frame);
		bytes += 2 + length;
		size -= 2 + length;
	}
	if (some_in_use())
		finish_all();
	return 0;
}
