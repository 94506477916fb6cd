# SPDX-License-Identifier: Apache-2.0
"""server.py PORT TEXT: answers every GET with TEXT, over IPv4 and IPv6. /health says 200; after SIGUSR1 it says 503, after the next
one 200 again: a server that is up, and not well. /flaky fails at the first try, and tells at which it did not."""

import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

well = True


def turn(_signal, _frame):
    global well
    well = not well


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        ill = self.path == "/health" and not well
        attempt = int(self.headers.get("x-envoy-attempt-count", 1))
        ill |= self.path == "/flaky" and attempt == 1
        body = b"not well\n" if ill else f"{sys.argv[2]}{f', at try {attempt}' if attempt > 1 else ''}\n".encode()
        self.send_response(503 if ill else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024


signal.signal(signal.SIGUSR1, turn)
server = Server(("::", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
