# SPDX-License-Identifier: Apache-2.0
"""Connections that stay and connections that come and go, while something is done to a node; afterwards, what became of them."""
import contextlib

from weft import Node

KEEPER = """
held = []
def hold(address, port, count):
    for _ in range(count):
        s = socket.create_connection((address, port), timeout=10 * SLOWNESS)
        assert s.recv(100)
        held.append(s)

def alive():
    for s in held:
        s.sendall(b"x")
    return sum(s.recv(1) == b"x" for s in held), sum(s.getpeername() == tuple(arguments) for s in held)
"""

# Connects and closes, with a refusal now and then, until the file is there. How often it went well, was refused, and what went wrong.
CHURN = """
address, port, stop, progress = arguments
made, refused, failed = 0, 0, {}
progress_file = open(progress, "w")
while not os.path.exists(stop):
    try:
        with socket.create_connection((address, port), timeout=10 * SLOWNESS) as s:
            assert s.getpeername() == (address, port)
            assert s.recv(100) == b"10.77.0.1:9001\\n"
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        made += 1
        progress_file.seek(0)
        progress_file.write(str(made))
        progress_file.flush()
        if made % 4 == 0:
            assert connect(address, port + 1) == "ECONNREFUSED"
            refused += 1
    except Exception as e:
        failed[repr(e)] = failed.get(repr(e), 0) + 1
    time.sleep(PAUSE_S)
result = [made, refused, failed]
"""


@contextlib.contextmanager
def web(*options):
    """A node with a client, and a service of one endpoint that it calls."""
    with Node(*options) as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("web")
        node.service("web", node="web")
        node.echo("10.77.0.1:9001")
        node.register("web", "1", "10.77.0.1:9001")
        yield node


@contextlib.contextmanager
def busy_web(*options):
    """The same, with a workload, for many connections."""
    with web(*options) as node:
        for setting in "net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1":  # one after the other
            node.namespace.sysctl(setting)
        node.workload(["sleep", "1000"])
        node.wait_reason("web:8080", "routed")
        yield node


class Traffic:
    """Connections that stay, and others one after the other, until check()."""

    def __init__(self, node, held=1000, churners=2):
        self.node, self.held = node, held
        self.stop = node.directory / "stop"
        self.vip = node.vip("web")
        self.keeper = node.worker("client")
        self.keeper.run(KEEPER)
        self.keeper.run("hold(*arguments)", self.vip, 8080, held)
        self.churners = [node.worker("client") for _ in range(churners)]
        self.progress = [node.directory / f"progress{n}" for n in range(churners)]
        for churner, progress in zip(self.churners, self.progress):
            churner.start(CHURN, self.vip, 8080, str(self.stop), str(progress))

    def made(self):
        """Connections until now."""
        return sum(int(path.read_text() or 0) for path in self.progress if path.exists())

    def check(self):
        """None was lost, none was refused that should not be, none went by, and every one was counted, once."""
        self.stop.touch()
        made = refused = 0
        for churner in self.churners:
            m, r, failed = churner.answer()
            assert m > 20 and not failed
            made, refused = made + m, refused + r
        assert self.keeper.run("result = alive()", self.vip, 8080) == [self.held, self.held]
        self.node.wait_open(self.held)
        status = self.node.status()
        counters, stats = status["counters"], status["stats"]
        for member in "attempts", "established":
            assert sum(c[member] for c in counters) == self.held + made, member
        assert sum(c["closed"] for c in counters) == made
        assert self.node.reasons()[("client", "web", "no-listener")] == refused
        assert stats["flows-written"] + stats["flows-lost"] + stats["flows-sampled-out"] == made + refused
        assert stats["slot-mismatch"] == stats["row-mismatch"] == 0
        return made, refused
