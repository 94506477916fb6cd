# SPDX-License-Identifier: Apache-2.0
"""health_server.py ADDRESS:PORT…: HTTP servers for health checks. One process, no threads. A line of input is a command, each gets a
line of output, {"result": …} or {"error": "…"}:

    {"op": "answer", "endpoint": E, "status": 503}   from now on; null: accepts and says nothing
    {"op": "listen", "endpoint": E, "on": false}     connections are refused
    {"op": "seen"}                                   {E: {"paths": [path…], "connections": n}}: since the last time"""
import json
import selectors
import socket
import sys

selector = selectors.DefaultSelector()
listeners, statuses, seen = {}, {}, {}


def listen(endpoint):
    host, port = endpoint.rsplit(":", 1)
    host = host.strip("[]")
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, int(port)))
    server.listen(1024)
    listeners[endpoint] = server
    selector.register(server, selectors.EVENT_READ, lambda: accept(endpoint, server))


def accept(endpoint, server):
    connection, _ = server.accept()
    seen[endpoint]["connections"] += 1
    selector.register(connection, selectors.EVENT_READ, lambda: request(endpoint, connection))


def request(endpoint, connection):
    status = statuses[endpoint]
    try:
        data = connection.recv(65536)
        if data:
            seen[endpoint]["paths"].append(data.split()[1].decode())
            if status is None:
                return
            connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
    except OSError:
        pass
    selector.unregister(connection)
    connection.close()


def forget():
    told = dict(seen)
    seen.update({endpoint: {"paths": [], "connections": 0} for endpoint in statuses})
    return told


def obey(task):
    endpoint = task.get("endpoint")
    if task["op"] == "answer":
        statuses[endpoint] = task["status"]
    elif task["op"] == "listen" and task["on"]:
        listen(endpoint)
    elif task["op"] == "listen":
        selector.unregister(listeners[endpoint])
        listeners.pop(endpoint).close()
    elif task["op"] == "seen":
        return forget()


def command():
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    try:
        answer = {"result": obey(json.loads(line))}
    except Exception as e:
        answer = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer), flush=True)


for endpoint in sys.argv[1:]:
    statuses[endpoint] = 200
    listen(endpoint)
forget()
selector.register(sys.stdin, selectors.EVENT_READ, command)
print(json.dumps({"result": None}), flush=True)
while True:
    for key, _ in selector.select():
        key.data()
