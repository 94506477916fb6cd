/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/lives.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "life.skel.h"
#include "tests/lib/test.h"
#include "weft.skel.h"

void lives_init(struct lives *lives, const struct fixture *f)
{
	struct bpf_map *map;

	lives->skeleton = life__open();
	assert_non_null(lives->skeleton);
	bpf_object__for_each_map(map, lives->skeleton->obj) {
		const int fd = bpf_object__find_map_fd_by_name(f->skeleton->obj, bpf_map__name(map));

		if (fd >= 0)
			assert_int_equal(bpf_map__reuse_fd(map, fd), 0);
	}
	assert_int_equal(life__load(lives->skeleton), 0);
	lives->prog_fd = bpf_program__fd(lives->skeleton->progs.life);
}

void lives_done(struct lives *lives)
{
	life__destroy(lives->skeleton);
}

static struct life_step run(const struct lives *lives, struct life_step step)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &step, .ctx_size_in = sizeof(step));

	assert_int_equal(bpf_prog_test_run_opts(lives->prog_fd, &options), 0);
	return step;
}

struct life_step life_connect(const struct lives *lives, uint32_t connection, struct flow flow, uint64_t now_ns)
{
	return run(lives, (struct life_step){ .kind = LIFE_CONNECT, .connection = connection, .flow = flow, .now_ns = now_ns });
}

void life_established(const struct lives *lives, uint32_t connection, uint64_t now_ns)
{
	run(lives, (struct life_step){ .kind = LIFE_ESTABLISHED, .connection = connection, .now_ns = now_ns });
}

void life_end(const struct lives *lives, uint32_t connection, enum flow_close how, uint64_t bytes_received, uint64_t now_ns)
{
	run(lives, (struct life_step){ .kind = LIFE_END, .connection = connection, .how = how, .bytes_received = bytes_received,
				       .now_ns = now_ns });
}
