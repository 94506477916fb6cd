/* SPDX-License-Identifier: Apache-2.0 */
/* connect() by io_uring: prints the first line that the server at ADDRESS PORT sends. Exit status 77: no io_uring here. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	struct io_uring_params params = {};
	struct sockaddr_in address = { .sin_family = AF_INET };
	char line[100] = "";
	int ring, fd;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
		return 2;
	address.sin_port = htons(atoi(argv[2]));
	ring = syscall(__NR_io_uring_setup, 1, &params);
	if (ring < 0)
		return errno == ENOSYS || errno == EPERM ? 77 : 1;
	char *queue = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(__u32), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			   IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	char *completions = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
				 MAP_SHARED, ring, IORING_OFF_CQ_RING);

	if (queue == MAP_FAILED || (void *)sqe == MAP_FAILED || completions == MAP_FAILED)
		return 1;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = fd, .addr = (unsigned long)&address, .off = sizeof(address) };
	((__u32 *)(queue + params.sq_off.array))[0] = 0;
	__atomic_store_n((__u32 *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return 1;
	const int result = ((struct io_uring_cqe *)(completions + params.cq_off.cqes))[0].res;

	if (result < 0 || read(fd, line, sizeof(line) - 1) <= 0) {
		fprintf(stderr, "connect: %s\n", strerror(-result));
		return 1;
	}
	fputs(line, stdout);
	return 0;
}
