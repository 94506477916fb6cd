# SPDX-License-Identifier: Apache-2.0
"""Whoever speaks to weft-proxy over its control socket, as weftd does."""
import json
import os
import select
import socket


class ControlPeer(socket.socket):
    def __init__(self, node):
        super().__init__(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.settimeout(60)
        self.connect(f"/run/weft/{node.instance}/proxy.sock")

    def ask(self, op, **more):
        self.send(json.dumps({"op": op, **more}).encode())

    def answer(self):
        message, fds, _, _ = socket.recv_fds(self, 65536, 4)
        for fd in fds:
            os.close(fd)
        return json.loads(message)

    def has_answer(self):
        return bool(select.select([self], [], [], 0)[0])

    def tell(self, generation, text):
        """All of a configuration."""
        with open(os.memfd_create("configuration"), "w") as file:
            file.write(text)
            file.flush()
            socket.send_fds(self, [json.dumps({"op": "configuration", "base": 0, "generation": generation}).encode()], [file.fileno()])


def large_configuration(count):
    """Targets that nobody is led to."""
    endpoints = [{"address": f"10.9.{i}.1", "port": 80, "slot": 0, "incarnation": 0} for i in range(20)]
    return json.dumps({"targets": {str(i): {"name": f"mesh/m/virtualNode/n{i}:80", "virtualNode": f"n{i}", "port": 80, "panicPct": 50,
                                            "endpoints": endpoints} for i in range(1, count + 1)}})
