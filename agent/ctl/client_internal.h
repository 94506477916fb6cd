/* SPDX-License-Identifier: Apache-2.0 */
/* What client.c and remote.c share of libcurl. */
#pragma once

#include <curl/curl.h>
#include <sys/un.h>

#include "agent/ctl/command.h"

#define CLIENT_CONNECT_TIMEOUT_SECONDS 5L
#define CLIENT_SOCKET_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

/* weftd's. -EINVAL: the name is too long. */
int client_socket(const struct ctl *ctl, char path[CLIENT_SOCKET_BYTES], struct error *err);
/* CURLOPT_WRITEFUNCTION into a struct buffer, up to a limit. */
size_t client_receive(char *data, size_t size, size_t count, void *arg);
/* Nobody answered at the socket: why. */
int client_unreachable(const struct ctl *ctl, const char *socket, CURL *curl, CURLcode result, const char *detail, struct error *err);
