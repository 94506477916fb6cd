# SPDX-License-Identifier: Apache-2.0
"""Listeners that weft-proxy serves in the place of the application: tools/inbound_proxy.c plays it, and the agent's part as well. It is in
no cgroup that hooks see, as weft-proxy may be."""
import signal
import subprocess

import pytest
from weft import BUILD, PYTHON, Node, wait_for

# An application that tells each client in a line what it sees of it, and then echoes until it is told the end.
APPLICATION = r"""
import json, socket, sys, threading
def serve(c, address):
    with c:
        c.sendall(json.dumps([address[:2], c.getpeername()[:2], c.getsockname()[:2]]).encode() + b"\n")
        while data := c.recv(65536):
            c.sendall(data)
server = socket.socket(socket.AF_INET6)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("::", 8080))
server.listen(128)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=server.accept(), daemon=True).start()
"""
# What the application saw, what the client sees, and whether so many bytes came back as they went.
ASK = r"""
def ask(address, bytes=0):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(10 * SLOWNESS)
        try:
            s.connect((address, 8080))
            f = s.makefile("rb")
            answer = {"seen": json.loads(f.readline()), "own": s.getsockname()[:2], "peer": s.getpeername()[:2]}
            data = os.urandom(bytes)
            sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
            sender.start()
            answer["whole"] = f.read() == data
            sender.join()
            return answer
        except OSError as e:
            return errno.errorcode.get(e.errno, str(e))
import threading
"""
LIMIT = 2


class World:
    def __init__(self, node):
        self.node, self.server, self.client = node, node.add_pod(), node.add_pod()
        node.mesh()
        pool = {"tcp": {"maxConnections": LIMIT}}
        node.node("web", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "connectionPool": pool}])
        words = ("--register", f"{self.server.ipv4}:8080", "--register", f"[{self.server.ipv6}]:8080")
        self.application = node.workload([PYTHON, "-c", APPLICATION], "web", self.server, words, stdout=subprocess.PIPE, text=True)
        assert self.application.stdout.readline() == "ready\n"
        wait_for(lambda: [one["state"] for one in self.listeners()] == ["enforced"], "the limit holds")
        self.remote, self.local = node.worker(netns=self.client), node.worker(netns=self.server)
        for worker in (self.remote, self.local):
            worker.run(ASK)
        self.proxy = None

    def start_proxy(self):
        self.proxy = self.node.spawn([BUILD / "tests/net/inbound_proxy", self.node.instance, self.server.path, f"{self.server.ipv4}:8080",
                                      f"[{self.server.ipv6}]:8080"], stdout=subprocess.PIPE, text=True)
        assert self.proxy.stdout.readline() == "ready\n"

    def end_proxy(self):
        self.proxy.send_signal(signal.SIGKILL)
        self.proxy.wait()

    def listeners(self):
        return self.node.status()["listeners"]

    def open(self):
        return self.listeners()[0]["open"]


@pytest.fixture(scope="module")
def world():
    with Node() as node:
        world = World(node)
        world.start_proxy()
        yield world


def mapped(end):
    """As a socket of both families has it."""
    return [end[0] if ":" in end[0] else f"::ffff:{end[0]}", end[1]]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("who", ["remote", "local"])
def test_the_application_sees_the_client_and_the_client_the_application(world, who, family):
    address = getattr(world.server, family)
    answer = getattr(world, who).run(f"result = ask({address!r}, 1 << 20)")
    assert isinstance(answer, dict), answer
    ends = world.proxy.stdout.readline().split()
    client = f"[{answer['own'][0]}]:{answer['own'][1]}" if ":" in address else "{}:{}".format(*answer["own"])
    assert ends == [client, "->", f"[{address}]:8080" if ":" in address else f"{address}:8080"]
    assert answer["seen"] == [mapped(answer["own"]), mapped(answer["own"]), mapped([address, 8080])]
    assert answer["peer"] == [address, 8080]
    assert answer["whole"]
    wait_for(lambda: world.open() == 0, "nothing is open")


def test_the_loopback_address_is_the_applications_own(world):
    answer = world.local.run("result = ask('127.0.0.1')")
    assert answer["seen"][0] == mapped(answer["own"])


def test_a_limit_counts_connections_once(world):
    world.remote.run("""
kept = []
for _ in range(3):
    s = socket.create_connection(arguments, 10)
    kept.append((s, s.makefile("rb").readline()))
result = [bool(line) for _, line in kept]
""", world.server.ipv4, 8080)
    for _ in range(3):
        world.proxy.stdout.readline()
    assert world.open() == LIMIT
    assert world.listeners()[0]["refused"] == 1
    record = next(iter(world.node.weft("connections", "--reason", "over-max-connections")["closed"]))
    assert record["address"].startswith(world.client.ipv4), record  # who asked, and not weft-proxy
    world.remote.run("[s.close() for s, _ in kept]; kept.clear()")
    wait_for(lambda: world.open() == 0, "nothing is open")


def test_while_weft_proxy_is_away_nobody_gets_to_the_application(world):
    before = world.node.reasons()
    world.end_proxy()
    for family in ("ipv4", "ipv6"):
        for worker in (world.remote, world.local):
            assert worker.run(f"result = ask({getattr(world.server, family)!r})") == "ECONNREFUSED"
    refused = {key: count - before.get(key, 0) for key, count in world.node.reasons().items() if key[2] == "proxy-down"}
    assert sum(refused.values()) == 4
    world.start_proxy()
    assert world.remote.run(f"result = ask({world.server.ipv4!r}, 10)")["whole"]
