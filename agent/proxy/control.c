/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

union descriptors { /* aligned as the kernel wants it */
	struct cmsghdr header;
	char bytes[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
};

static int socket_error(int error)
{
	return error == ECONNRESET || error == ENOTCONN ? -EPIPE : -error;
}

/* The default buffer may be smaller than the largest message, which could then never be sent. */
static void send_buffer_grow(int fd)
{
	const int bytes = CONTROL_MESSAGE_MAX_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int control_send(int fd, const json_t *message, const int *fds, size_t fd_count)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);
	union descriptors control = {};
	struct iovec part = { .iov_base = text };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;

	if (!text)
		return -ENOMEM;
	part.iov_len = strlen(text);
	if (part.iov_len > CONTROL_MESSAGE_MAX_BYTES || fd_count > CONTROL_FDS_MAX)
		return -E2BIG;
	if (fd_count > 0) {
		control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						   .cmsg_len = CMSG_LEN(fd_count * sizeof(int)) };
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	n = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno == EMSGSIZE) {
		send_buffer_grow(fd);
		n = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	return n < 0 ? socket_error(errno) : 0;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(fds[i]);
}

/* Descriptors of a message, and how many. */
static size_t descriptors_of(struct msghdr *header, int fds[CONTROL_FDS_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		const size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + count, CMSG_DATA(c), bytes);
		count += bytes / sizeof(int);
	}
	return count;
}

int control_receive(int fd, json_t **ret_message, int *ret_fds, size_t fds_max, size_t *ret_fd_count, struct error *err)
{
	union descriptors control;
	struct iovec part;
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *message = NULL;
	int fds[CONTROL_FDS_MAX];
	ssize_t length = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	size_t count;

	if (length < 0)
		return socket_error(errno);
	if (length == 0)
		return -EPIPE;
	if (length > CONTROL_MESSAGE_MAX_BYTES) {
		recv(fd, NULL, 0, MSG_DONTWAIT); /* the rest of a packet goes with it, and so do its descriptors */
		return error_set(err, -EBADMSG, "a message of %zd bytes: %d are possible", length, CONTROL_MESSAGE_MAX_BYTES);
	}
	text = malloc((size_t)length);
	if (!text)
		return -ENOMEM;
	part = (struct iovec){ .iov_base = text, .iov_len = (size_t)length };
	length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return socket_error(errno);
	count = descriptors_of(&header, fds);
	if (header.msg_flags & MSG_CTRUNC || count > fds_max) {
		close_all(fds, count);
		return error_set(err, -EBADMSG, "a message with more descriptors than the %zu that are expected", fds_max);
	}
	if (json_parse(text, (size_t)length, &message, err) < 0 || !json_is_object(message)) {
		close_all(fds, count);
		if (message)
			return error_set(err, -EBADMSG, "a message is a JSON object");
		error_prefix(err, "the message is no JSON");
		if (err)
			err->code = -EBADMSG;
		return -EBADMSG;
	}
	*ret_message = TAKE_PTR(message);
	if (count > 0)
		memcpy(ret_fds, fds, count * sizeof(int));
	*ret_fd_count = count;
	return 0;
}

int control_path(const char *instance, char *buffer, size_t size)
{
	return (size_t)snprintf(buffer, size, "/run/weft/%s/proxy.sock", instance) < size ? 0 : -ENAMETOOLONG;
}

int control_connect(const char *instance, int *ret_fd, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (control_path(instance, address.sun_path, sizeof(address.sun_path)) < 0)
		return error_set_field(err, -ENAMETOOLONG, "instance", "'%s' is too long", instance);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, -errno, "cannot make a socket: %m");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(err, -errno, "cannot connect to '%s': %m", address.sun_path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* --- memory files ----------------------------------------------------------------------------------------------------------- */

int control_file_make(const char *name, const struct buffer *text, int *ret_fd)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write(fd, text->data, text->length);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int control_file_map(int fd, struct span *ret_text, struct error *err)
{
	struct stat st;
	void *text;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > CONTROL_CONFIGURATION_MAX_BYTES)
		return error_set(err, -EBADMSG, "the descriptor is no memory file of 1 to %d bytes", CONTROL_CONFIGURATION_MAX_BYTES);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (text == MAP_FAILED)
		return error_set(err, -errno, "cannot map the configuration: %s", strerror(errno));
	*ret_text = (struct span){ text, (size_t)st.st_size };
	return 0;
}

void control_file_unmap(struct span text)
{
	munmap((void *)text.data, text.length);
}

int control_file_read(int fd, json_t **ret_value, size_t *ret_length, struct error *err)
{
	struct json_place place;
	struct span text;
	size_t offset = 0;
	int r = control_file_map(fd, &text, err);

	if (r < 0)
		return r;
	r = json_parse_next(text.data, text.length, &offset, ret_value, &place, err);
	control_file_unmap(text);
	*ret_length = text.length;
	return r;
}

/* --- what messages say ------------------------------------------------------------------------------------------------------ */

json_t *control_error_json(const struct error *err)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];
	json_t *answer = json_pack("{s:s, s:i}", "error", err->message[0] ? err->message : error_text(err, text, sizeof(text)), "code",
				   err->code);

	if (answer && err->field[0])
		json_object_set_new(answer, "field", json_string(err->field));
	return answer;
}

int control_error_read(const json_t *answer, struct error *err)
{
	const char *text = json_path_string(answer, "error"), *field = json_path_string(answer, "field");
	int64_t code;

	if (!text)
		return 0;
	code = json_path_int(answer, "code", -EPROTO);
	if (code >= 0 || code < -4095) /* MAX_ERRNO of the kernel */
		code = -EPROTO;
	return field ? error_set_field(err, (int)code, field, "%s", text) : error_set(err, (int)code, "%s", text);
}

static int read_number(const json_t *value, json_int_t max, const char *name, json_int_t *ret_number, struct error *err)
{
	const json_int_t number = json_integer_value(value); /* 0 for what is no integer */

	if (number <= 0 || number > max)
		return error_set_field(err, -EINVAL, name, "missing, or not an integer from 1 to %" JSON_INTEGER_FORMAT, max);
	*ret_number = number;
	return 0;
}

int control_members(const json_t *message, const struct control_member *members, void *target, struct error *err)
{
	for (const struct control_member *m = members; m->name; m++) {
		const json_t *value = json_object_get(message, m->name);
		void *member = (char *)target + m->offset;
		json_int_t number = 0;
		int r = 0;

		switch (m->type) {
		case CONTROL_ID:
			r = read_number(value, INT64_MAX, m->name, &number, err);
			*(uint64_t *)member = (uint64_t)number;
			break;
		case CONTROL_U32:
			r = read_number(value, UINT32_MAX, m->name, &number, err);
			*(uint32_t *)member = (uint32_t)number;
			break;
		case CONTROL_TEXT:
			*(const char **)member = json_string_value(value);
			if (!json_string_length(value))
				r = error_set_field(err, -EINVAL, m->name, "missing, empty, or not a string");
			break;
		}
		if (r < 0)
			return r;
	}
	return 0;
}
