# SPDX-License-Identifier: Apache-2.0
"""http_server.py ADDRESS:PORT…: HTTP/1.1 servers that tell what they were asked, as JSON: {"server", "method", "path", "headers", "body": bytes,
"peer", "active": requests under way as this one was answered, with it}. A thread a connection. What a request wants to happen it says itself:

    x-answer: 503            the status
    x-fail: N                503 for the first N requests with this x-key, then 200
    x-close: 1               the connection is reset, and nothing answered
    x-wait: SECONDS          before the answer
    x-hold: KEY              no answer before a request, to any of the servers, has said x-release: KEY
    x-hang: N                no answer for the first N requests with this x-key
    x-stall: KEY             its body is not read before x-release: KEY
    x-send: BYTES            an answer of so many bytes, instead of what is told
    x-cut: BYTES             after so many of them the connection is reset
    upgrade: echo            101, then bytes come back as they were sent

An answer that tells is sent in one piece: a server that is killed has sent all of it, or nothing.
"""
import http.server
import io
import json
import socket
import socketserver
import struct
import sys
import threading
import time

seen = {}
held = {}  # what is released for each key
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        total = 0
        while True:
            size = int(self.rfile.readline(), 16)
            total += len(self.rfile.read(size))
            self.rfile.readline()
            if size == 0:
                return total

    def wait_released(self, key):
        with lock:
            event = held.setdefault(key, threading.Event())
        event.wait()

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def send_many(self, count):
        self.leave()
        self.send_response(200)
        self.send_header("Content-Length", str(count))
        self.end_headers()
        left = int(self.headers.get("x-cut", count))
        block = bytes(1 << 18)
        while left:
            self.wfile.write(block[:left])
            left -= min(left, len(block))
        if "x-cut" in self.headers:
            self.reset()

    def status(self):
        if "x-fail" in self.headers:
            with lock:
                count = seen[self.headers["x-key"]] = seen.get(self.headers["x-key"], 0) + 1
            return 503 if count <= int(self.headers["x-fail"]) else 200
        return int(self.headers.get("x-answer", 200))

    def echo(self):
        self.send_response(101)
        self.send_header("Connection", "upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        while piece := self.connection.recv(65536):
            self.connection.sendall(piece)
        self.close_connection = True

    def answer(self):
        with lock:
            self.server.active += 1
        self.counted = True
        try:
            self.answer_counted()
        finally:
            self.leave()

    def leave(self):
        """It is under way no more; returns how many were, with it. Before the answer goes: who has it may send the next one at once."""
        with lock:
            active = self.server.active
            self.server.active -= self.counted
        self.counted = False
        return active

    def answer_counted(self):
        if "x-stall" in self.headers:
            self.wait_released(self.headers["x-stall"])
        body = self.read_body()
        if "x-wait" in self.headers:
            time.sleep(float(self.headers["x-wait"]))
        if "x-hold" in self.headers:
            self.wait_released(self.headers["x-hold"])
        if "x-release" in self.headers:
            with lock:
                held.setdefault(self.headers["x-release"], threading.Event()).set()
        if "x-hang" in self.headers:
            with lock:
                count = seen[self.headers["x-key"]] = seen.get(self.headers["x-key"], 0) + 1
            if count <= int(self.headers["x-hang"]):
                self.connection.recv(1)  # until the other side gives up
                self.close_connection = True
                return
        if "x-close" in self.headers:
            self.reset()
            return
        if "x-send" in self.headers:
            self.send_many(int(self.headers["x-send"]))
            return
        if self.headers.get("upgrade") == "echo":
            self.echo()
            return
        told = {"server": self.server.name, "method": self.command, "path": self.path, "body": body, "peer": self.client_address[0],
                "active": self.leave(), "headers": {name.lower(): value for name, value in self.headers.items()}}
        text = json.dumps(told).encode()
        file, self.wfile = self.wfile, io.BytesIO()
        self.send_response(self.status())
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        whole, self.wfile = self.wfile.getvalue(), file
        self.wfile.write(whole + (text if self.command != "HEAD" else b""))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = answer

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):
            self.close_connection = True


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, endpoint):
        host, port = endpoint.rsplit(":", 1)
        host = host.strip("[]")
        self.name = endpoint
        self.active = 0
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, int(port)), Handler)

    def server_bind(self):  # without the look-up of a name
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, *_):
        pass


for endpoint in sys.argv[1:]:
    threading.Thread(target=Server(endpoint).serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
