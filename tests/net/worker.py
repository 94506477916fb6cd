# SPDX-License-Identifier: Apache-2.0
"""A process that does what it is told: each line of input is JSON {"code", "arguments"}; the code runs in one lasting set of
names, with `arguments` among them, and what it leaves in `result` is the line of output, or its error."""
import errno
import json
import os
import socket
import subprocess
import sys
import time

SLOWNESS = int(os.environ.get("WEFT_TEST_SLOWNESS", 1))  # as in weft.py
PAUSE_S = (SLOWNESS - 1) / 100  # between two turns of a load, which would take all of a slow machine and change nothing but the time
names = {"errno": errno, "json": json, "os": os, "socket": socket, "subprocess": subprocess, "time": time, "SLOWNESS": SLOWNESS, "PAUSE_S": PAUSE_S}


def connect(address, port):
    """The errno name of one connect(), or the greeting of the server."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(5 * SLOWNESS)
        try:
            s.connect((address, port))
            return s.recv(100).decode().strip()
        except OSError as e:
            return errno.errorcode.get(e.errno, str(e))


names["connect"] = connect
print(json.dumps({"result": os.getpid()}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    names.update(arguments=task["arguments"], result=None)
    try:
        exec(task["code"], names)
        answer = {"result": names["result"]}
    except Exception as e:
        answer = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer), flush=True)
