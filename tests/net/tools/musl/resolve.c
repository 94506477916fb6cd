/* SPDX-License-Identifier: Apache-2.0 */
/* resolve [-4|-6] NAME [PORT]: the addresses that getaddrinfo() has for a name, a line each, in its order; with PORT, the line that the
 * first one it can connect to greets with. Built with musl, whose resolver asks by an unconnected socket and compares who answers. */
#include <arpa/inet.h>
#include <err.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void print_addresses(const struct addrinfo *found)
{
	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
			errx(1, "an address that cannot be printed");
		puts(text);
	}
}

static void print_greeting(const struct addrinfo *found)
{
	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		int fd = socket(a->ai_family, a->ai_socktype, 0);
		char greeting[256];
		ssize_t length;

		if (fd < 0)
			err(1, "cannot make a socket");
		if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			warn("cannot connect");
			close(fd);
			continue;
		}
		length = read(fd, greeting, sizeof(greeting) - 1);
		if (length < 0)
			err(1, "cannot read");
		greeting[length] = '\0';
		fputs(greeting, stdout);
		return;
	}
	errx(1, "no address could be connected to");
}

int main(int argc, char *argv[])
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	int option, r;

	while ((option = getopt(argc, argv, "46")) != -1)
		hints.ai_family = option == '4' ? AF_INET : option == '6' ? AF_INET6 : -1;
	if (hints.ai_family < 0 || argc - optind < 1 || argc - optind > 2)
		errx(2, "usage: resolve [-4|-6] NAME [PORT]");
	r = getaddrinfo(argv[optind], argv[optind + 1], &hints, &found);
	if (r)
		errx(1, "%s", gai_strerror(r));
	if (argv[optind + 1])
		print_greeting(found);
	else
		print_addresses(found);
	return 0;
}
