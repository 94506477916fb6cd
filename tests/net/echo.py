# SPDX-License-Identifier: Apache-2.0
"""Servers at ADDRESS:PORT… that greet with their own address in a line and then echo. One process, no threads."""
import contextlib
import selectors
import socket
import sys

selector = selectors.DefaultSelector()
for endpoint in sys.argv[1:]:
    host, port = endpoint.rsplit(":", 1)
    host = host.strip("[]")
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    server.bind((host, int(port)))
    server.listen(1024)
    selector.register(server, selectors.EVENT_READ, endpoint)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.data:
            connection, _ = key.fileobj.accept()
            with contextlib.suppress(OSError):  # who has gone already is found out below
                connection.send(key.data.encode() + b"\n")
            selector.register(connection, selectors.EVENT_READ, None)
            continue
        try:
            data = key.fileobj.recv(65536)
            if data:
                key.fileobj.sendall(data)
        except OSError:
            data = b""
        if not data:
            selector.unregister(key.fileobj)
            key.fileobj.close()
