# SPDX-License-Identifier: Apache-2.0
"""lookups.py NAME…: looks each name up, fifty times a second in turn, until its input ends. Prints how many rounds there were
after each 25, and at the end, as JSON, for each name how many look-ups there were, how many failed, whether it was found by the last one, the
slowest, and the longest time that it was not found."""

import json
import select
import socket
import sys
import time

seen = {name: {"lookups": 0, "failures": 0, "slowest_s": 0, "missing_s": 0, "found": False} for name in sys.argv[1:]}
missing_since = {}
rounds = 0
while not select.select([sys.stdin], [], [], 0.02)[0]:
    for name, told in seen.items():
        begun = time.monotonic()
        told["lookups"] += 1
        try:
            socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM)
            told["found"] = True
        except socket.gaierror:
            told["found"] = False
        now = time.monotonic()
        told["slowest_s"] = max(told["slowest_s"], now - begun)
        if not told["found"]:
            told["failures"] += 1
            missing_since.setdefault(name, begun)
        elif name in missing_since:
            told["missing_s"] = max(told["missing_s"], now - missing_since.pop(name))
    rounds += 1
    if rounds % 25 == 0:
        print(rounds, flush=True)
print(json.dumps(seen))
