# SPDX-License-Identifier: Apache-2.0
"""client.py NAME PORT COUNT [4|6]: so many connections, one after another, each with a look-up of the name and one GET; with COUNT
0 until its input ends. Prints how many there are after each hundred, and at the end, as JSON, who answered and what failed."""

import errno
import json
import select
import socket
import sys
from collections import Counter

name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = {"4": socket.AF_INET, "6": socket.AF_INET6}[sys.argv[4]] if sys.argv[4:] else 0
answers, failures, peers = Counter(), Counter(), Counter()
made = 0
while made < count or (not count and not select.select([sys.stdin], [], [], 0)[0]):
    made += 1
    try:
        kind, _, _, _, address = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(address)
            peers[connection.getpeername()[0]] += 1
            connection.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name.encode())
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        if answer.startswith(b"HTTP/1.1 200 "):
            answers[answer.decode().split("\r\n\r\n")[1].strip()] += 1
        else:
            failures["no answer"] += 1
    except socket.gaierror as failure:
        failures[failure.strerror] += 1
    except OSError as failure:
        failures[errno.errorcode.get(failure.errno, str(failure))] += 1
    if made % 100 == 0:
        print(made, flush=True)
print(json.dumps({"connections": made, "answers": answers, "failures": failures, "peers": peers}))
sys.exit(1 if failures else 0)
