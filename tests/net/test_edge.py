# SPDX-License-Identifier: Apache-2.0
"""Clients without a socket of this host: from other hosts at exposed addresses, and behind attached devices."""
import signal
import subprocess

import pytest
from weft import BUILD, PYTHON, Node, wait_for

# A server that tells each client the address that it sees, sends as many bytes as it is asked for, and counts those it gets.
SERVER = r"""
import selectors, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen(1024)
print("ready", flush=True)
import threading
def serve(c, address):
    with c:
        c.sendall(f"{sys.argv[3]} {address[0]}\n".encode())
        line = c.makefile("rb").readline()
        if line.startswith(b"send "):
            left = int(line[5:])
            block = b"x" * 65536
            while left:
                c.sendall(block[:left])
                left -= min(left, len(block))
        elif line:
            c.sendall(line)
while True:
    c, address = server.accept()
    threading.Thread(target=serve, args=(c, address), daemon=True).start()
"""
ASK = r"""
def ask(address, port, text=None, source_port=0):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(10 * SLOWNESS)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source_port:
            s.bind(("::" if ":" in address else "", source_port))
        try:
            s.connect((address, port))
            f = s.makefile("rb")
            line = f.readline().decode().strip()
            if text:
                s.sendall(text.encode())
                return [line, f.readline().decode().strip()]
            return line
        except OSError as e:
            return errno.errorcode.get(e.errno, str(e))
"""


class Lan:
    """A host `client` behind the node's device up0, and a host `remote` behind its up1. The node is 10.88.0.1 and fd88::1 for the
    one, 10.89.0.1 and fd89::1 for the other; hosts do not know of each other."""

    def __init__(self, node):
        self.node = node
        self.client = self.host(node, "up0", 88)
        self.remote = self.host(node, "up1", 89)
        node.namespace.sysctl("net.ipv4.ip_forward=1")
        node.namespace.sysctl("net.ipv6.conf.all.forwarding=1")

    @staticmethod
    def host(node, device, net):
        host = node.add_namespace()
        node.namespace.ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        for namespace, name, last in ((node.namespace, device, 1), (host, "eth0", 2)):
            namespace.ip("link", "set", name, "up")
            namespace.add_address(f"10.{net}.0.{last}/24", name)
            namespace.add_address(f"fd{net}::{last}/64", name)
        return host


def serve(node, namespace, address, port, name):
    process = node.spawn([PYTHON, "-c", SERVER, address, str(port), name], namespace, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"


def asking(node, namespace):
    worker = node.worker(netns=namespace)
    worker.run(ASK)
    return worker


def ask(worker, address, port, text=None, source_port=0):
    return worker.run("result = ask(*arguments)", address, port, text, source_port)


def weft(node, command, *words):
    """Exit code and what was said, for people."""
    result = subprocess.run([BUILD / "weft", command, "--instance", node.instance, *words], capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def expose(node, service, address, *words):
    return node.weft("expose", f"mesh/m/virtualService/{service}", "--address", address, *words)


def flows(node, service):
    return node.weft("connections", "--to", f"mesh/m/virtualService/{service}")["closed"]


@pytest.fixture(scope="module")
def lan():
    """`web` is served by two pods, `far` by a remote host, `here` in the node's own namespace, `down` by nobody. All but `here` are
    exposed with the devices up0 and up1."""
    with Node() as node:
        lan = Lan(node)
        node.mesh()
        for name in ("web", "far", "here", "down", "client"):
            node.node(name, port=8080 if name != "client" else None, backends=["web"] if name == "client" else [])
        for name in ("web", "far", "here", "down"):
            node.service(name, node=name)
        lan.pods = [node.add_pod(), node.add_pod()]
        for i, pod in enumerate(lan.pods):
            for address in (pod.ipv4, pod.ipv6):
                serve(node, pod, address, 8080, f"pod{i}")
                node.register("web", f"{i}-{address}", f"[{address}]:8080" if ":" in address else f"{address}:8080")
        for address in ("10.89.0.2", "fd89::2"):
            serve(node, lan.remote, address, 8080, "remote")
            node.register("far", address, f"[{address}]:8080" if ":" in address else f"{address}:8080")
        serve(node, node.namespace, "10.77.0.1", 9001, "here")
        node.register("here", "1", "10.77.0.1:9001")
        for port, service in ((80, "web"), (81, "far"), (82, "down")):
            for address in (f"10.88.0.1:{port}", f"[fd88::1]:{port}"):
                expose(node, service, address, "--device", "up0,up1", "--port", "8080")
        lan.worker = asking(node, lan.client)
        yield lan


@pytest.fixture(autouse=True)
def nothing_stays_open(lan):
    yield
    lan.node.wait_open(0)
    stats = lan.node.status()["stats"]
    assert stats["row-mismatch"] == stats["slot-mismatch"] == stats["edge-evicted"] == 0


def test_an_exposed_service_is_reached_from_another_host_which_the_endpoint_sees(lan):
    for address, client in (("10.88.0.1", "10.88.0.2"), ("fd88::1", "fd88::2")):
        answers = {ask(lan.worker, address, 80) for _ in range(40)}
        assert answers == {f"pod0 {client}", f"pod1 {client}"}
    lan.node.wait_open(0)
    row = [c for c in lan.node.status()["counters"] if c["from"] == "mesh/m/exposed" and c["to"].endswith("/web")]
    assert sum(c["established"] for c in row) == sum(c["closed"] for c in row) == 80
    record = flows(lan.node, "web")[-1]
    assert record["from"] == "mesh/m/exposed" and record["asked"] == "[fd88::1]:80" and record["close"] == "closed"
    assert record["reason"] == "routed" and record["received"] == len("podN fd88::2\n") and record["sent"] == 0


def test_an_endpoint_on_another_host_answers_by_way_of_this_one(lan):
    for address, node_there in (("10.88.0.1", "10.89.0.1"), ("fd88::1", "fd89::1")):
        for _ in range(10):
            assert ask(lan.worker, address, 81, "echo\n") == [f"remote {node_there}", "echo"]


def test_an_endpoint_in_the_nodes_own_namespace(lan):
    expose(lan.node, "here", "10.88.0.1:84", "--device", "up0", "--port", "8080")
    assert ask(lan.worker, "10.88.0.1", 84, "echo\n") == ["here 10.88.0.2", "echo"]
    lan.node.weft("expose", "--remove", "--address", "10.88.0.1:84")
    wait_for(lambda: ask(lan.worker, "10.88.0.1", 84) == "ECONNREFUSED", "nothing is there")


def test_a_service_without_endpoints_refuses_at_once_with_a_reason(lan):
    before = lan.node.reasons().get(("exposed", "down", "no-endpoint"), 0)
    for address in ("10.88.0.1", "fd88::1"):
        assert ask(lan.worker, address, 82) == "ECONNREFUSED"
    assert lan.node.reasons()[("exposed", "down", "no-endpoint")] == before + 2
    assert flows(lan.node, "down")[-1]["asked"] == "[fd88::1]:82"


def test_an_endpoint_where_nobody_listens_is_counted_as_refused(lan):
    lan.node.register("down", "1", "10.77.0.1:1")
    wait_for(lambda: flows(lan.node, "down")[-1:] and ask(lan.worker, "10.88.0.1", 82) == "ECONNREFUSED" and
             flows(lan.node, "down")[-1]["close"] == "connect-refused", "it is tried, and refused there")
    lan.node.weft("deregister", "--virtual-node", "mesh/m/virtualNode/down", "--id", "1")


def test_a_thousand_connections_and_a_bulk_transfer(lan):
    lan.worker.run("""
sockets = []
for i in range(1000):
    s = socket.create_connection(("10.88.0.1" if i % 2 else "fd88::1", 80 if i % 4 < 2 else 81), timeout=20 * SLOWNESS)
    s.recv(100)
    sockets.append(s)
""")
    lan.node.wait_open(1000)
    open_now = lan.node.weft("connections", "--open")["open"]
    assert len(open_now) == 1000 and all(c["from"] == "mesh/m/exposed" and c["state"] == "established" for c in open_now)
    megabytes = 400
    speed = lan.worker.run("""
def pull(address, port, size):
    with socket.create_connection((address, port), timeout=30 * SLOWNESS) as s:
        f = s.makefile("rb", buffering=1 << 20)
        f.readline()
        s.sendall(f"send {size}\\n".encode())
        start, left = time.monotonic(), size
        while left:
            left -= len(f.read(min(left, 1 << 20)))
        assert not f.read(1)
        return size * 8 / 1e9 / (time.monotonic() - start)
result = [pull(address, port, arguments[0]) for address, port in (("10.88.0.1", 80), ("fd88::1", 80), ("10.88.0.1", 81))]
""", megabytes * 10**6)
    print("Gbit/s:", [round(s, 1) for s in speed])
    assert flows(lan.node, "far")[-1]["received"] == megabytes * 10**6 + len("remote 10.89.0.1\n")
    lan.worker.run("for s in sockets: s.close()\nsockets = []")
    lan.node.wait_open(0)


def test_two_addresses_and_one_source_port_are_two_connections(lan):
    expose(lan.node, "far", "10.88.0.1:85", "--device", "up0,up1", "--port", "8080")
    result = lan.worker.run("""
def held(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.settimeout(5)
    s.bind(("", 25678))
    s.connect(("10.88.0.1", port))
    return s
both = [held(81), held(85)]
result = []
for i, s in enumerate(both):
    f = s.makefile("rb")
    f.readline()
    s.sendall(f"{i}\\n".encode())
    result.append(f.readline().decode().strip())
    f.close()
    s.close()
""")
    assert result == ["0", "1"]
    lan.node.weft("expose", "--remove", "--address", "10.88.0.1:85")


def test_connections_past_the_exposed_address_and_by_it_do_not_meet(lan):
    """The client is connected to the endpoint directly, from the port that it then uses for the service."""
    node = lan.node
    expose(node, "here", "10.88.0.1:86", "--device", "up0", "--port", "8080")
    lan.client.ip("route", "add", "10.77.0.0/24", "via", "10.88.0.1")
    before = node.status()["stats"]["edge-clashes"]
    assert lan.worker.run("""
def open_from(port, address):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.settimeout(30 * SLOWNESS)
    s.bind(("", port))
    s.connect(address)
    return s, s.makefile("rwb")
both = [open_from(25700, ("10.77.0.1", 9001)), open_from(25700, ("10.88.0.1", 86))]
result = []
for i, (s, f) in enumerate(both):
    greeting = f.readline().decode().strip()
    f.write(f"{i}\\n".encode())
    f.flush()
    result.append([greeting, f.readline().decode().strip()])
    f.close()
    s.close()
""") == [["here 10.88.0.2", "0"], ["here 10.88.0.2", "1"]]
    assert node.status()["stats"]["edge-clashes"] == before + 1
    lan.client.ip("route", "del", "10.77.0.0/24")
    node.weft("expose", "--remove", "--address", "10.88.0.1:86")


def test_the_path_mtu_behind_the_node_is_learnt(lan):
    """The answers are too big for the client's link: the ICMP error about them must find the endpoint."""
    lan.client.ip("link", "set", "eth0", "mtu", "1300")
    lan.node.namespace.ip("route", "add", "10.88.0.2/32", "dev", "up0", "mtu", "1300")
    lan.node.namespace.ip("-6", "route", "add", "fd88::2/128", "dev", "up0", "mtu", "1300")
    try:
        assert lan.worker.run("""
result = [pull(address, 80, 200000) > 0 for address in ("10.88.0.1", "fd88::1")]
""") == [True, True]
    finally:
        lan.client.ip("link", "set", "eth0", "mtu", "1500")
        lan.node.namespace.ip("route", "del", "10.88.0.2/32")
        lan.node.namespace.ip("-6", "route", "del", "fd88::2/128")


def test_connections_go_on_while_the_agent_is_away_and_after(lan):
    node = lan.node
    lan.worker.run("""
kept = socket.create_connection(("10.88.0.1", 81), timeout=10 * SLOWNESS).makefile("rwb")
kept.readline()
""")
    node.kill_agent(signal.SIGKILL)
    assert ask(lan.worker, "10.88.0.1", 80).startswith("pod")
    node.start_agent()
    wait_for(lambda: all(e["state"] == "ready" for e in node.weft("expose")["exposed"]), "the exposures are back")
    assert {d["state"] for e in node.weft("expose")["exposed"] for d in e["devices"]} == {"attached"}
    assert ask(lan.worker, "fd88::1", 80).startswith("pod")
    assert lan.worker.run("kept.write(b'still\\n'); kept.flush(); result = kept.readline().decode().strip()") == "still"
    lan.worker.run("kept.close(); del kept")
    node.loader("upgrade")
    assert ask(lan.worker, "10.88.0.1", 81).startswith("remote")


def test_a_device_that_comes_back_is_attached_again(lan):
    node = lan.node
    expose(node, "web", "10.90.0.1:80", "--device", "up0", "--port", "8080")
    host = Lan.host(node, "up2", 90)
    expose(node, "web", "10.90.0.1:80", "--port", "8080")  # the device that has the address
    worker = asking(node, host)
    assert ask(worker, "10.90.0.1", 80).endswith("10.90.0.2")
    node.wait_open(0)  # what is under way when a device goes is not forgotten before long
    node.namespace.ip("link", "del", "up2")
    wait_for(lambda: "no such device" in weft(node, "expose")[1], "the device is missed")
    other = Lan.host(node, "up2", 90)
    worker = asking(node, other)
    wait_for(lambda: ask(worker, "10.90.0.1", 80).endswith("10.90.0.2"), "the new device works")
    node.weft("expose", "--remove", "--address", "10.90.0.1:80")


@pytest.mark.one_kernel
def test_what_cannot_be_exposed_is_refused_with_the_field(lan):
    node = lan.node
    for words, said in (
            (("mesh/m/virtualService/none", "--address", "10.88.0.1:90"), "not in the configuration"),
            (("mesh/m/virtualService/web", "--address", "10.88.0.1"), "not ADDRESS:PORT"),
            (("mesh/m/virtualService/web", "--address", "127.0.0.1:90"), "clients from outside cannot"),
            (("mesh/m/virtualService/web", "--address", f"{node.vip('web')}:90"), "VIPs"),
            (("mesh/m/virtualService/web", "--address", "10.99.0.1:90"), "no device has 10.99.0.1"),
            (("mesh/m/virtualService/web", "--address", "10.88.0.1:90", "--device", "none0"), "no device 'none0'"),
            (("--remove", "--address", "10.88.0.1:90"), "nothing is exposed"),
            (("--remove",), "--address"),
            (("mesh/m/virtualService/web",), "--address")):
        code, text = weft(node, "expose", *words)
        assert code != 0 and said in text, text
    code, text = weft(node, "attach", "--device", "up0", "--virtual-node", "mesh/m/virtualNode/client")
    assert code == 1 and "services are exposed on 'up0'" in text


# --- attached devices ----------------------------------------------------------------------------------------------------------------


def test_a_workload_behind_an_attached_device_is_its_virtual_node(lan):
    node = lan.node
    pod = node.add_pod()
    worker = asking(node, pod)
    device = f"pod{len(node.namespaces)}"
    vips = [node.vip("web"), node.vip("web", 6)]
    node.weft("attach", "--device", device, "--virtual-node", "mesh/m/virtualNode/client")
    try:
        wait_for(lambda: ask(worker, vips[0], 8080) == f"pod0 {pod.ipv4}", "web is routed")
        assert {ask(worker, vips[1], 8080) for _ in range(20)} == {f"pod0 {pod.ipv6}", f"pod1 {pod.ipv6}"}
        record = flows(node, "web")[-1]
        assert record["from"] == "mesh/m/virtualNode/client" and record["asked"] == f"[{vips[1]}]:8080"
        for address, port, service, reason in (
                (node.vip("far"), 8080, "far", "not-a-backend"), (vips[0], 9, "web", "no-listener"), ("10.89.0.2", 8080, None, "not-in-mesh")):
            before = node.reasons().get(("client", service, reason), 0)
            assert ask(worker, address, port) == "ECONNREFUSED"
            assert node.reasons()[("client", service, reason)] == before + 1
        node.mesh("ALLOW_ALL")
        wait_for(lambda: ask(worker, "10.77.0.1", 9001).startswith("here"), "other destinations pass")
        assert node.reasons()[("client", None, "allow-all")] >= 1
    finally:
        node.mesh()
        node.weft("attach", "--device", device, "--remove")
    wait_for(lambda: ask(worker, "10.77.0.1", 9001).startswith("here"), "nothing is decided there any more")


# A connection that is held, and how a byte there and back goes on it.
HOLD = """
held = socket.create_connection(tuple(arguments), timeout=10 * SLOWNESS)
result = held.recv(100).decode()
"""
PING = """
try:
    held.sendall(b'x')
    result = held.recv(1).decode()
except OSError as e:
    result = errno.errorcode[e.errno]
"""


def test_what_left_the_mesh_from_an_attached_device_is_reset_when_its_filter_closes(lan):
    node = lan.node
    pod, server = node.add_pod(), node.add_pod()
    device = f"pod{len(node.namespaces) - 1}"
    node.echo(f"{server.ipv4}:9001", f"[{server.ipv6}]:9001", namespace=server)
    node.echo(f"{pod.ipv4}:9001", namespace=pod)
    workers = [node.worker(netns=pod) for _ in range(2)]
    inward = node.worker(netns=server)
    node.mesh("ALLOW_ALL")
    node.weft("attach", "--device", device, "--virtual-node", "mesh/m/virtualNode/client")
    try:
        wait_for(lambda: {d["state"] for d in node.weft("attach")["attached"]} == {"attached"}, "it is attached")
        before = node.status()["stats"]["policy-changed"]
        for worker, address in zip(workers, (server.ipv4, server.ipv6)):
            wait_for(lambda: worker.run(HOLD, address, 9001) and node.reasons().get(("client", None, "allow-all")), "it passes")
            assert worker.run(HOLD, address, 9001).endswith("9001\n")
            assert worker.run(PING) == "x"
        inward.run(HOLD, pod.ipv4, 9001)
        node.mesh("DROP_ALL")
        for worker in workers:
            wait_for(lambda: worker.run(PING) == "ECONNRESET", "it is reset with its next packet")
        assert inward.run(PING) == "x"  # others connect to it as before
        wait_for(lambda: node.status()["stats"]["policy-changed"] == before + 2, "each is counted once")
        records = [r for r in node.weft("connections", "--reason", "allow-all")["closed"] if r["close"] == "policy-changed"]
        assert {r["asked"] for r in records} == {f"{server.ipv4}:9001", f"[{server.ipv6}]:9001"}
    finally:
        node.mesh()
        node.weft("attach", "--device", device, "--remove")
