/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/edge_world.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include "tests/bpf/last_flow.h"
#include "weft.skel.h"

void edge_init(struct edge *e)
{
	fixture_init(&e->f);
	e->connections = mmap(NULL, MAX_EDGE_CONNECTIONS * sizeof(*e->connections), PROT_READ | PROT_WRITE, MAP_SHARED,
			      bpf_map__fd(e->f.skeleton->maps.w_edge), 0);
	assert_ptr_not_equal(e->connections, MAP_FAILED);
}

void edge_done(struct edge *e)
{
	munmap(e->connections, MAX_EDGE_CONNECTIONS * sizeof(*e->connections));
	fixture_done(&e->f);
}

void given_route(struct edge *e, unsigned v4, unsigned v6)
{
	given_node(&e->f, NODE_DROP_ALL, (uint32_t[]){ SERVICE, 0 });
	given_service(&e->f, SERVICE, PORT, 1, (unsigned[]){ 1 });
	given_target(&e->f, TARGET, v4, v6);
	for (unsigned row = 16; row < 32; row++)
		e->f.kernel.memory.rows[row].incarnation = 1;
}

void given_device(struct edge *e, uint32_t node)
{
	const struct edge_device device = { .node = node, .masquerade = { ip("192.0.2.1"), ip("2001:db8::1") } };

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(e->f.skeleton->maps.w_edge_device), &(uint32_t){ DEVICE }, &device, 0), 0);
}

void given_exposed(struct edge *e, const char *address, uint16_t port)
{
	struct exposed_key key = { .address = ip(address), .port = htons(port) };
	struct exposed exposed = { .node = NODE, .port = htons(PORT) };

	exposed.vip = ip(ip_is_v4(&key.address) ? "240.240.0.2" : "2001:2::2");
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(e->f.skeleton->maps.w_exposed), &key, &exposed, 0), 0);
}

void given_exposed_service(struct edge *e)
{
	given_route(e, 1, 1);
	given_device(e, 0);
	given_exposed(e, "192.0.2.80", EXPOSED_PORT);
	given_exposed(e, "2001:db8::80", EXPOSED_PORT);
}

static int run(struct edge *e, struct bpf_program *program, const struct frame *in)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in->bytes, .data_size_in = in->length, .data_out = e->out.bytes,
		    .data_size_out = sizeof(e->out.bytes));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &options), 0);
	e->out.length = options.data_size_out;
	return (int)options.retval;
}

int come_in(struct edge *e, const struct frame *in)
{
	return run(e, e->f.skeleton->progs.edge_ingress, in);
}

int go_out(struct edge *e, const struct frame *in)
{
	return run(e, e->f.skeleton->progs.edge_egress, in);
}

struct frame_tcp tcp(const char *source, uint16_t source_port, const char *destination, uint16_t destination_port, uint8_t flags)
{
	return (struct frame_tcp){
		.source = ip(source), .source_port = source_port, .destination = ip(destination), .destination_port = destination_port,
		.flags = flags, .sequence = 1000, .acknowledged = 1001,
	};
}

struct frame frame_of(struct frame_tcp t)
{
	struct frame frame;

	frame_make_tcp(&frame, &t);
	return frame;
}

int tcp_in(struct edge *e, struct frame_tcp t)
{
	const struct frame frame = frame_of(t);

	return come_in(e, &frame);
}

int tcp_out(struct edge *e, struct frame_tcp t)
{
	const struct frame frame = frame_of(t);

	return go_out(e, &frame);
}

void expect_ends(const struct edge *e, const char *source, uint16_t source_port, const char *destination, uint16_t destination_port)
{
	char text[IP_TEXT_BYTES];
	struct frame_tcp t;

	EXPECT(frame_read_tcp(&e->out, &t));
	EXPECT_STR(ip_format(&t.source, text), source);
	EXPECT_EQ(t.source_port, source_port);
	EXPECT_STR(ip_format(&t.destination, text), destination);
	EXPECT_EQ(t.destination_port, destination_port);
	EXPECT(frame_checksums_right(&e->out));
}

uint64_t reason_count(struct edge *e, uint32_t source, uint32_t service, enum reason reason)
{
	const struct reason_key key = { .source = source, .service = service, .reason = reason };
	uint64_t counts[libbpf_num_possible_cpus()], sum = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(e->f.skeleton->maps.w_reason), &key, counts) < 0)
		return 0;
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += counts[i];
	return sum;
}

uint64_t stat_count(struct edge *e, enum statistic stat)
{
	uint64_t counts[libbpf_num_possible_cpus()], sum = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(e->f.skeleton->maps.w_stat), &(uint32_t){ stat }, counts), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += counts[i];
	return sum;
}

struct flow_record last_record(struct edge *e)
{
	return last_flow(bpf_map__fd(e->f.skeleton->maps.w_flow));
}

struct row *row_of_route(struct edge *e)
{
	return &e->f.kernel.memory.rows[16];
}

size_t count_in_use(const struct edge *e)
{
	size_t count = 0;

	for (size_t i = 0; i < MAX_EDGE_CONNECTIONS; i++)
		count += e->connections[i].state != EDGE_FREE;
	return count;
}

size_t count_pairs(struct edge *e)
{
	struct edge_pair key;
	size_t count = 0;

	for (void *before = NULL; bpf_map_get_next_key(bpf_map__fd(e->f.skeleton->maps.w_edge_pair), before, &key) == 0; before = &key)
		count++;
	return count;
}

struct edge_sweep sweep(struct edge *e, uint64_t now_ns)
{
	struct edge_sweep request = { .now_ns = now_ns };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &request, .ctx_size_in = sizeof(request));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(e->f.skeleton->progs.edge_sweep), &options), 0);
	return request;
}

void given_connection(struct edge *e)
{
	struct frame_tcp syn = tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_SYN);
	struct frame_tcp answer = tcp("10.0.10.0", 8080, "198.51.100.7", 40000, FRAME_SYN | FRAME_ACK);
	struct frame_tcp ack = tcp("198.51.100.7", 40000, "192.0.2.80", EXPOSED_PORT, FRAME_ACK);

	EXPECT_EQ(tcp_in(e, syn), NEXT);
	answer.sequence = 5000;
	answer.acknowledged = 1001;
	EXPECT_EQ(tcp_out(e, answer), NEXT);
	ack.sequence = 1001;
	ack.acknowledged = 5001;
	EXPECT_EQ(tcp_in(e, ack), NEXT);
}
