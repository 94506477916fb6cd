# SPDX-License-Identifier: Apache-2.0
"""maxConnections where connections come in: never more than that, counted where they are accepted, and every place given back."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from weft import HERE, PYTHON, Node, wait_for

LIMIT = 50
HANDSHAKE_S = 4  # HANDSHAKE_WINDOW_NS, twice: how long one that is not completed may hold a place

# `count` connects at once; those that succeed are kept in `kept`. The result is how they went.
STORM = """
import collections, select, struct
def storm(address, port, count):
    poll, pending, ends = select.poll(), {}, collections.Counter()
    for _ in range(count):
        s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        s.setblocking(False)
        code = s.connect_ex((address, port))
        if code in (0, errno.EINPROGRESS):
            pending[s.fileno()] = s
            poll.register(s, select.POLLOUT)
        else:
            ends[errno.errorcode[code]] += 1
            s.close()
    while pending:
        for fd, _ in poll.poll(10000):
            poll.unregister(fd)
            s = pending.pop(fd)
            code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            s.setblocking(True)
            s.settimeout(5 * SLOWNESS)
            try:
                if code == 0:
                    s.recv(100)
                    kept.append(s)
            except OSError as e:
                code = e.errno
            ends['ok' if code == 0 else errno.errorcode[code]] += 1
    return ends
if 'kept' not in globals():
    kept = []
"""

# SYNs that nobody will complete, from an address that is nobody's.
SYNS = """
import struct
def syns(source, destination, port, count):
    import array
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    a, b = socket.inet_aton(source), socket.inet_aton(destination)
    for i in range(count):
        tcp = struct.pack('!HHIIBBHHH', 20000 + i, port, 1, 0, 5 << 4, 2, 65535, 0, 0)
        words = array.array('H', a + b + struct.pack('!BBH', 0, 6, len(tcp)) + tcp)
        total = sum(words)
        total = (total >> 16) + (total & 0xffff)
        total += total >> 16
        tcp = tcp[:16] + struct.pack('=H', ~total & 0xffff) + tcp[18:]
        ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(tcp), i, 0, 64, 6, 0) + a + b
        s.sendto(ip + tcp, (destination, 0))
"""


def configure(node, limit=LIMIT):
    node.mesh()
    node.node("client", port=None, backends=["web"])
    node.node("web", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "connectionPool": {"tcp": {"maxConnections": limit}}}])
    node.service("web", node="web")


def listeners_of(node):
    return {one["address"]: one for one in node.status()["listeners"]}


def wait_enforced(node, *addresses):
    def enforced():
        listeners = listeners_of(node)
        return set(listeners) == set(addresses) and all(one["state"] == "enforced" for one in listeners.values())
    wait_for(enforced, f"{addresses} are enforced: {listeners_of(node)}")


def serve(node, *endpoints, netns=None, register=None):
    words = [word for endpoint in register or endpoints for word in ("--register", endpoint)]
    process = node.workload([PYTHON, HERE / "echo.py", *endpoints], "web", netns, words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def sockets_at(namespace, port=8080):
    """How many connections there really are at the port."""
    lines = namespace.command("ss", "-Htan", f"sport = :{port}").splitlines()
    return sum(line.split()[0] in ("ESTAB", "CLOSE-WAIT", "LAST-ACK", "FIN-WAIT-1", "CLOSING") for line in lines)


def wait_count(node, address, count, namespace=None, deadline_s=15):
    """The count is what is open, and that is so many."""
    def same():
        return (listeners_of(node)[address]["open"], sockets_at(namespace or node.namespace)) == (count, count)
    wait_for(same, f"{count} are open and counted: {listeners_of(node)[address]}, {sockets_at(namespace or node.namespace)}", deadline_s)


def pins(node):
    return next(pathlib.Path("/sys/fs/bpf/weft", node.instance).glob("abi*"))


def most(limit):
    """One more for each other CPU that asks at the same moment (bpf/lib/serving.h)."""
    return limit + os.cpu_count() - 1


class Cluster:
    """A node that serves at 10.77.0.1:8080, and client nodes, each with an instance, a kernel part and an agent of its own, by links."""

    def __init__(self, clients):
        self.server = Node(addresses=("10.77.0.1/32",))
        self.clients = [Node(addresses=()) for _ in range(clients)]

    def __enter__(self):
        try:
            self.server.__enter__()
            for number, client in enumerate(self.clients):
                client.__enter__()
                self.link(number, client)
            for node in (self.server, *self.clients):
                configure(node)
            self.process = serve(self.server, "10.77.0.1:8080")
            wait_enforced(self.server, "10.77.0.1:8080")
            self.workers = [self.worker(client) for client in self.clients]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in (*self.clients, self.server):
            if node.namespace:
                node.close()

    def link(self, number, client):
        server = self.server.namespace
        server.ip("link", "add", f"client{number}", "type", "veth", "peer", "name", "eth0", "netns", client.namespace.name)
        for namespace, device, host in ((server, f"client{number}", 1), (client.namespace, "eth0", 2)):
            namespace.ip("link", "set", device, "up")
            namespace.add_address(f"10.79.{number}.{host}/24", device)
        client.namespace.ip("route", "add", "10.77.0.1/32", "via", f"10.79.{number}.1")

    def worker(self, client):
        worker = client.worker("client")
        if not client.weft("instances")["instances"]:
            client.register("web", "1", "10.77.0.1:8080")
        client.wait_reason("web:8080", "routed")
        worker.run(STORM)
        worker.vip = client.vip("web")
        return worker

    def storm(self, count):
        """`count` connects from each client, at once. How they went, each."""
        for worker in self.workers:
            worker.start("result = storm(*arguments)", worker.vip, 8080, count)
        return [worker.answer() for worker in self.workers]


@pytest.fixture(scope="module")
def cluster():
    with Cluster(4) as cluster:
        yield cluster


def check_storm(cluster, ends):
    """As many as there is room for were accepted, all others refused at once."""
    accepted = sum(end.get("ok", 0) for end in ends)
    assert LIMIT <= accepted <= most(LIMIT), ends
    assert accepted + sum(end.get("ECONNREFUSED", 0) for end in ends) == 200, ends
    wait_count(cluster.server, "10.77.0.1:8080", accepted)
    return accepted


def release(cluster, code):
    for worker in cluster.workers:
        worker.run(code)
    wait_count(cluster.server, "10.77.0.1:8080", 0)


ABORT = """
for s in kept:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
kept.clear()
"""
CLOSE = "[s.close() for s in kept]; kept.clear()"


def test_200_parallel_connects_from_four_nodes_get_the_places_that_there_are(cluster):
    before = cluster.server.reasons().get((None, "web", "over-max-connections"), 0)
    for code in (CLOSE, ABORT, CLOSE):
        accepted = check_storm(cluster, cluster.storm(50))
        release(cluster, code)
    listener = listeners_of(cluster.server)["10.77.0.1:8080"]
    assert listener["refused"] >= 3 * (200 - accepted)
    assert cluster.server.reasons()[(None, "web", "over-max-connections")] - before == listener["refused"]


def test_each_client_node_refuses_by_itself_what_is_over_the_limit_of_its_own(cluster):
    worker, node = cluster.workers[0], cluster.clients[0]
    ends = worker.run("result = storm(*arguments)", worker.vip, 8080, 60)
    assert ends["ok"] == LIMIT and ends["ECONNREFUSED"] == 10, ends
    assert node.reasons()[("client", "web", "over-max-connections")] >= 10
    release(cluster, CLOSE)


def test_places_of_clients_that_are_killed_are_given_back(cluster):
    check_storm(cluster, cluster.storm(50))
    for worker in cluster.workers:
        worker.kill()
    wait_count(cluster.server, "10.77.0.1:8080", 0)
    cluster.workers = [cluster.worker(client) for client in cluster.clients]


def test_the_count_is_what_is_open_while_clients_come_go_and_die(cluster):
    for turn in range(3):
        for worker in cluster.workers:
            worker.start("""
for turn in range(6):
    storm(*arguments)
    for s in kept[turn % 3::2]:
        if turn % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()
        kept.remove(s)
result = len(kept)
""", worker.vip, 8080, 40)
        if turn == 1:
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            cluster.workers[0].process.wait()
            cluster.workers[0] = cluster.worker(cluster.clients[0])
            cluster.workers[0].start("result = len(kept)")
        open_count = sum(worker.answer() for worker in cluster.workers)
        assert open_count <= most(LIMIT)
        wait_count(cluster.server, "10.77.0.1:8080", open_count)
    release(cluster, ABORT)


def test_a_client_node_that_vanishes_keeps_what_is_open_at_the_server_and_no_more(cluster):
    worker, node = cluster.workers[3], cluster.clients[3]
    ends = worker.run("result = storm(*arguments)", worker.vip, 8080, 20)
    assert ends == {"ok": 20}
    cluster.server.namespace.ip("link", "del", "client3")  # nobody hears of the end
    worker.kill()
    wait_count(cluster.server, "10.77.0.1:8080", 20)
    cluster.server.namespace.command("ss", "-K", "dst", "10.79.3.2")  # as keep-alive would, in time
    wait_count(cluster.server, "10.77.0.1:8080", 0)
    cluster.link(3, node)
    cluster.workers[3] = cluster.worker(node)


def test_counts_outlive_an_agent_that_is_killed_and_go_on_without_it(cluster):
    server, worker = cluster.server, cluster.workers[0]
    worker.run("storm(*arguments)", worker.vip, 8080, 30)
    wait_count(server, "10.77.0.1:8080", 30)
    server.kill_agent()
    worker.run("[s.close() for s in kept[:10]]; del kept[:10]")
    wait_for(lambda: sockets_at(server.namespace) == 20, "ten are closed")
    ends = cluster.workers[1].run("result = storm(*arguments)", cluster.workers[1].vip, 8080, 50)
    assert 30 <= ends["ok"] <= most(30), ends
    server.start_agent()
    wait_enforced(server, "10.77.0.1:8080")
    wait_count(server, "10.77.0.1:8080", 20 + ends["ok"])
    release(cluster, CLOSE)


def test_a_count_that_is_wrong_is_corrected_by_the_next_agent(cluster):
    server, worker = cluster.server, cluster.workers[0]
    worker.run("storm(*arguments)", worker.vip, 8080, 3)
    wait_count(server, "10.77.0.1:8080", 3)
    server.kill_agent()
    pin = pins(server) / "w_serving_place"
    entries = json.loads(subprocess.run(["/usr/sbin/bpftool", "-j", "map", "dump", "pinned", pin], check=True, capture_output=True).stdout)
    used = [entry for entry in entries if int(entry["value"][0], 16) & 1]
    assert len(used) == 1
    value = [int(byte, 16) for byte in used[0]["value"]]
    assert value[16] == 3
    value[16] = 40
    subprocess.run(["/usr/sbin/bpftool", "map", "update", "pinned", pin, "key", *used[0]["key"], "value", *map(str, value)], check=True)
    server.start_agent()
    wait_count(server, "10.77.0.1:8080", 3)
    release(cluster, CLOSE)


def test_handshakes_that_nobody_completes_hold_places_for_a_time_and_no_longer(cluster):
    server, worker = cluster.server, cluster.workers[0]
    stranger = server.worker()
    stranger.run(SYNS)

    def while_they_hold_places():
        """None where the machine took so long that places may have been let go."""
        began = time.monotonic()
        stranger.run("syns(*arguments)", "10.79.0.77", "10.77.0.1", 8080, LIMIT - 5)
        under_way = listeners_of(server)["10.77.0.1:8080"]["handshakes"]
        ends = worker.run("result = storm(*arguments)", worker.vip, 8080, 10)
        if time.monotonic() - began < HANDSHAKE_S / 2:
            return under_way, ends
        release(cluster, CLOSE)
        wait_for(lambda: listeners_of(server)["10.77.0.1:8080"]["handshakes"] == 0, "no handshake counts any more")
        return None
    under_way, ends = wait_for(while_they_hold_places, "SYNs and connects are sent within two seconds", 60)
    assert under_way == LIMIT - 5
    assert 5 <= ends["ok"] <= most(5) and ends["ok"] + ends["ECONNREFUSED"] == 10, ends
    wait_for(lambda: listeners_of(server)["10.77.0.1:8080"]["handshakes"] == 0, "no handshake counts any more", HANDSHAKE_S + 1)
    assert worker.run("result = storm(*arguments)", worker.vip, 8080, 10) == {"ok": 10}
    release(cluster, CLOSE)
    stranger.kill()


@pytest.fixture
def node():
    with Node() as node:
        yield node


def test_a_pod_has_one_limit_for_all_its_addresses_and_none_on_loopback(node):
    configure(node, 5)
    pod = node.add_pod()
    serve(node, "[::]:8080", "0.0.0.0:8081", netns=pod, register=[f"{pod.ipv4}:8080", f"[{pod.ipv6}]:8080", f"{pod.ipv4}:8081"])
    wait_enforced(node, "*:8080", "*:8081")
    outside, inside = node.worker(), node.worker(netns=pod)
    outside.run(STORM)
    inside.run(STORM)
    assert outside.run("result = storm(*arguments)", pod.ipv4, 8080, 3) == {"ok": 3}  # IPv4, at a socket of IPv6
    assert outside.run("result = storm(*arguments)", pod.ipv6, 8080, 3) == {"ok": 2, "ECONNREFUSED": 1}
    assert outside.run("result = storm(*arguments)", pod.ipv4, 8080, 1) == {"ECONNREFUSED": 1}
    assert outside.run("result = storm(*arguments)", pod.ipv4, 8081, 6) == {"ok": 5, "ECONNREFUSED": 1}
    assert inside.run("result = storm(*arguments)", "127.0.0.1", 8080, 6) == {"ok": 6}
    assert inside.run("result = storm(*arguments)", pod.ipv4, 8080, 1) == {"ECONNREFUSED": 1}
    outside.run("kept[0].close(); kept[3].close()")
    wait_for(lambda: listeners_of(node)["*:8080"]["open"] == 3, "two places are free")
    assert inside.run("result = storm(*arguments)", pod.ipv6, 8080, 3) == {"ok": 2, "ECONNREFUSED": 1}


def test_a_limit_comes_changes_and_goes_with_the_configuration(node):
    configure(node, 2)
    serve(node, "10.77.0.1:8080")
    wait_enforced(node, "10.77.0.1:8080")
    outside = node.worker()
    outside.run(STORM)

    def storm(count):
        return outside.run("result = storm(*arguments)", "10.77.0.1", 8080, count)

    def set_limit(limit):
        configure(node, limit)
        wait_for(lambda: listeners_of(node)["10.77.0.1:8080"]["maxConnections"] == limit, f"the limit is {limit}")
    assert storm(3) == {"ok": 2, "ECONNREFUSED": 1}
    set_limit(5)
    assert storm(4) == {"ok": 3, "ECONNREFUSED": 1}
    set_limit(1)  # those that are open stay
    assert storm(1) == {"ECONNREFUSED": 1}
    outside.run("kept.pop().close()")
    wait_count(node, "10.77.0.1:8080", 4)
    assert storm(1) == {"ECONNREFUSED": 1}
    node.node("web")
    wait_for(lambda: not listeners_of(node), "no limit is left")
    assert storm(6) == {"ok": 6}


def test_what_was_open_before_a_limit_counts_in_it_and_is_given_back(node):
    configure(node)
    node.node("web")
    server = serve(node, "10.77.0.1:8080")
    outside = node.worker()
    outside.run(STORM)

    def storm(count):
        return outside.run("result = storm(*arguments)", "10.77.0.1", 8080, count)
    assert storm(4) == {"ok": 4}
    for limit in (5, 6):  # once it came, and went, and came back
        configure(node, limit)
        wait_enforced(node, "10.77.0.1:8080")
        assert listeners_of(node)["10.77.0.1:8080"]["open"] == limit - 1
        assert storm(2) == {"ok": 1, "ECONNREFUSED": 1}
        node.node("web")
        wait_for(lambda: not listeners_of(node), "no limit is left")
    node.kill_agent()
    configure(node, 4)  # fewer than there are: none of them is closed
    node.start_agent()
    wait_enforced(node, "10.77.0.1:8080")
    wait_count(node, "10.77.0.1:8080", 6)
    assert storm(1) == {"ECONNREFUSED": 1}
    outside.run("[s.close() for s in kept[:3]]; del kept[:3]")
    wait_count(node, "10.77.0.1:8080", 3)
    assert storm(2) == {"ok": 1, "ECONNREFUSED": 1}
    node.kill_agent()
    outside.run("kept.pop().close()")
    wait_for(lambda: sockets_at(node.namespace) == 3, "it is closed")
    node.start_agent()
    wait_enforced(node, "10.77.0.1:8080")
    wait_count(node, "10.77.0.1:8080", 3)
    server.kill()
    wait_for(lambda: sockets_at(node.namespace) == 0, "all are closed")


def test_what_was_open_before_its_listener_was_known_counts(node):
    configure(node, 5)
    process = node.workload([PYTHON, HERE / "echo.py", "10.77.0.1:8080"], "web", stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    outside = node.worker()
    outside.run(STORM)
    assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 4) == {"ok": 4}
    node.register("web", "1", "10.77.0.1:8080")
    wait_enforced(node, "10.77.0.1:8080")
    wait_count(node, "10.77.0.1:8080", 4)
    assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 2) == {"ok": 1, "ECONNREFUSED": 1}


# Connections that come and go, some of them kept, until a time.
CHURN = """
import time
ends, n = collections.Counter(), 0
while time.monotonic() < arguments[2]:
    n += 1
    try:
        s = socket.create_connection((arguments[0], arguments[1]), timeout=5 * SLOWNESS)
        s.recv(100)
        if n % 50:
            s.close()
        else:
            kept.append(s)
        ends['ok'] += 1
    except OSError as e:
        ends[errno.errorcode.get(e.errno, 'timeout')] += 1
result = ends
"""


def test_the_count_is_exact_where_a_limit_comes_while_connections_come_and_go(node):
    configure(node)
    node.node("web")
    serve(node, "10.77.0.1:8080")
    workers = [node.worker() for _ in range(3)]
    for worker in workers:
        worker.run(STORM)
        worker.start(CHURN, "10.77.0.1", 8080, time.monotonic() + 6)
    for _ in range(3):
        configure(node, 1000)
        wait_enforced(node, "10.77.0.1:8080")
        node.node("web")
        wait_for(lambda: not listeners_of(node), "no limit is left")
    configure(node, 1000)
    ends = [worker.answer() for worker in workers]
    assert all(set(end) == {"ok"} for end in ends), ends
    wait_enforced(node, "10.77.0.1:8080")
    kept = sum(worker.run("result = len(kept)") for worker in workers)
    assert kept >= 3
    wait_count(node, "10.77.0.1:8080", kept)
    for worker in workers:
        worker.run(CLOSE)
    wait_count(node, "10.77.0.1:8080", 0)


def test_the_limit_holds_over_an_upgrade_and_while_tables_grow(node):
    configure(node, 3)
    serve(node, "10.77.0.1:8080")
    wait_enforced(node, "10.77.0.1:8080")
    outside = node.worker()
    outside.run(STORM)
    assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 3) == {"ok": 3}
    node.loader("upgrade")
    assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 1) == {"ECONNREFUSED": 1}
    node.kill_agent(signal.SIGTERM)
    node.loader("grow", "--services", "512")
    assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 1) == {"ECONNREFUSED": 1}
    outside.run("kept.pop().close()")
    wait_for(lambda: sockets_at(node.namespace) == 2, "one is closed")
    assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 2) == {"ok": 1, "ECONNREFUSED": 1}
    node.start_agent()
    wait_enforced(node, "10.77.0.1:8080")
    wait_count(node, "10.77.0.1:8080", 3)


def test_a_refusal_leaves_a_record_of_who_asked(node):
    configure(node, 1)
    pod = node.add_pod()
    serve(node, "10.77.0.1:8080", "[fd77::1]:8080")
    wait_enforced(node, "10.77.0.1:8080", "[fd77::1]:8080")
    outside = node.worker(netns=pod)
    outside.run(STORM)
    for own, address in ((pod.ipv4, "10.77.0.1"), (pod.ipv6, "fd77::1")):
        assert outside.run("result = storm(*arguments)", address, 8080, 2) == {"ok": 1, "ECONNREFUSED": 1}

        def record():
            records = node.weft("connections", "--reason", "over-max-connections")["closed"]
            return next((r for r in records if own in r["address"]), None)
        found = wait_for(record, f"{own} has a record")
        assert (found["from"], found["to"], found["close"]) == (None, "mesh/m/virtualNode/web", "refused-here")
        assert found["asked"] == (f"[{address}]:8080" if ":" in address else f"{address}:8080")


@pytest.mark.one_kernel
def test_metrics_have_what_each_listener_has_accepted_and_refused():
    with Node("--metrics", "10.77.0.1:9090") as node:
        configure(node, 2)
        serve(node, "10.77.0.1:8080")
        wait_enforced(node, "10.77.0.1:8080")
        outside = node.worker()
        outside.run(STORM)
        assert outside.run("result = storm(*arguments)", "10.77.0.1", 8080, 5) == {"ok": 2, "ECONNREFUSED": 3}
        text = node.namespace.command("curl", "-s", "http://10.77.0.1:9090/metrics")
        labels = f'{{mesh="m",target="web:8080",address="10.77.0.1:8080",netns="{listeners_of(node)["10.77.0.1:8080"]["netnsCookie"]}"}}'
        for metric, value in (("max_connections", 2), ("open", 2), ("accepted_total", 2), ("refused_total", 3)):
            assert f"weft_listener_{metric}{labels} {value}\n" in text, text
        assert 'weft_decisions_total{mesh="m",source="",service="web",reason="over-max-connections"} 3\n' in text, text


def test_nothing_is_left_of_a_workload_that_ends_with_its_namespace(node):
    configure(node, 3)
    pod = node.add_pod()
    server = serve(node, "0.0.0.0:8080", netns=pod, register=[f"{pod.ipv4}:8080"])
    wait_enforced(node, "*:8080")
    outside = node.worker()
    outside.run(STORM)
    assert outside.run("result = storm(*arguments)", pod.ipv4, 8080, 3) == {"ok": 3}
    assert list(pins(node).glob("netns_*"))
    subprocess.run(["ip", "netns", "del", pod.name], check=True)
    server.kill()
    wait_for(lambda: not listeners_of(node), "the listener is gone")
    wait_for(lambda: not list(pins(node).glob("netns_*")), "its program is gone")
    subprocess.run(["ip", "netns", "add", pod.name], check=True)  # for whoever removes it
