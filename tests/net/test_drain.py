# SPDX-License-Identifier: Apache-2.0
"""Open connections after a change: drained, closed by policy, or left alone."""
import contextlib
import re
import resource
import time

import pytest
from weft import SLOWNESS, Node, wait_for

# A worker's connections, by name. What is said of one that failed is its first error.
HELD = """
held, failed = {}, {}

def hold(name, address, port, count):
    held[name] = []
    for _ in range(count):
        s = socket.create_connection((address, port), timeout=10 * SLOWNESS)
        assert s.recv(100)
        held[name].append(s)

def state(s):
    if s in failed:
        return failed[s]
    try:
        s.sendall(b'x')
        return 'open' if s.recv(1) == b'x' else 'closed by peer'
    except OSError as e:
        failed[s] = errno.errorcode[e.errno]
        return failed[s]
"""


class Client:
    """Somebody with connections; `node` is the virtual node it acts for, None: nobody's."""

    def __init__(self, world, node="client", netns=None):
        self.worker = world.worker(node, netns)
        self.worker.run(HELD)

    def hold(self, name, address, port=8080, count=1):
        self.worker.run("hold(*arguments)", name, address, port, count)

    def states(self, name):
        """How many connections are in which state: {"open": 3}."""
        return self.worker.run("""
result = {}
for s in held[arguments[0]]:
    result[state(s)] = result.get(state(s), 0) + 1
""", name)

    def wait_closed(self, name, count=1, deadline_s=10):
        wait_for(lambda: self.states(name) == {"ECONNABORTED": count}, f"{name} is closed: {self.states(name)}", deadline_s)


@contextlib.contextmanager
def world(*options):
    """`web` over a router to web-v1, `lone` to a node of its own; servers on ports of one address for each endpoint."""
    with Node(*options) as node:
        node.mesh()
        node.node("client", port=None, backends=["web", "lone"])
        node.node("other", port=None, backends=["web", "lone"])
        for name in ("web-v1", "web-v2", "lone"):
            node.node(name)
        node.router("web")
        node.route("web", {"web-v1": 1})
        node.service("web", router="web")
        node.service("lone", node="lone")
        node.echo("10.77.0.1:9001", "10.77.0.2:9001", "[fd77::1]:9001", "10.77.0.1:9002", "10.77.0.1:9003")
        node.register("web-v1", "1", "10.77.0.1:9001")
        node.register("web-v2", "2", "10.77.0.1:9002")
        node.register("lone", "3", "10.77.0.1:9003")
        node.workload(["sleep", "1000"])  # so that the nodes stay in the plan between others
        node.workload(["sleep", "1000"], node="other")
        for name in ("client", "other"):
            node.wait_reason("lone:8080", "routed", node=name)
            node.wait_reason("web:8080", "routed", node=name)
        yield node


def deregister(node, name, identifier):
    node.weft("deregister", "--virtual-node", f"mesh/m/virtualNode/{name}", "--id", identifier)


def stat(node, name):
    return node.status()["stats"][name]


def closes(node, to):
    return [record["close"] for record in node.weft("connections", "--to", to)["closed"] if record["close"] != "refused-here"]


def leaving(node):
    return [c for c in node.weft("connections", "--open")["open"] if c["leavesAt"]]


def wait_leaving(node, count):
    wait_for(lambda: len(leaving(node)) == count, f"{count} connections are draining")


def test_only_what_weft_routed_there_is_closed():
    with world("--drain", "0s") as node:
        pod = node.add_namespace("10.77.0.1/32", "10.77.0.2/32", "fd77::1/128")
        node.echo("10.77.0.1:9001", "10.77.0.2:9001", "[fd77::1]:9001", namespace=pod)
        node.register("web-v1", "1v6", "[fd77::1]:9001")
        client, other, pod_client, outsider, pod_outsider = (Client(node), Client(node, "other"), Client(node, "other", pod), Client(node, None),
                                                             Client(node, None, pod))
        node.wait_reason("[" + node.vip("web", 6) + "]:8080", "routed")
        vip = node.vip("web")
        client.hold("v4", vip, count=3)
        client.hold("mapped", "::ffff:" + vip)
        client.hold("v6", node.vip("web", 6), count=2)
        other.hold("v4", vip)
        pod_client.hold("v4", vip)
        stay = [(client, "lone", node.vip("lone"), 8080), (client, "past weft", "10.77.0.1", 9001)]
        stay += [(who, address, address, 9001) for who in (outsider, pod_outsider, pod_client) for address in ("10.77.0.1", "fd77::1")]
        for who, name, address, port in stay:
            who.hold(name, address, port)
        node.register("web-v1", "b", "10.77.0.2:9001")
        wait_for(lambda: len(node.explain("web:8080")["targets"][0]["endpoints"]) == 3, "the second endpoint is there")

        deregister(node, "web-v1", "1")
        client.wait_closed("v4", 3)
        client.wait_closed("mapped")
        other.wait_closed("v4")
        pod_client.wait_closed("v4")
        assert client.states("v6") == {"open": 2}
        wait_for(lambda: stat(node, "drained") == 6, "each is counted")
        assert closes(node, "web") == ["drained"] * 6
        client.hold("v4 to the rest", vip)

        deregister(node, "web-v1", "1v6")
        client.wait_closed("v6", 2)
        for who, name, *_ in (*stay, (client, "v4 to the rest")):
            assert who.states(name) == {"open": 1}, name
        wait_for(lambda: stat(node, "drained") == 8, "each is counted")
        assert [stat(node, name) for name in ("policy-changed", "not-destroyed", "slot-mismatch")] == [0, 0, 0]
        assert closes(node, "web") == ["drained"] * 8
        node.wait_open(2)


def test_a_connection_drains_for_its_time_and_no_longer():
    with world("--drain", f"{SLOWNESS}s") as node:
        client = Client(node)
        client.hold("web", node.vip("web"))
        client.hold("lone", node.vip("lone"))
        began = time.monotonic()
        deregister(node, "web-v1", "1")
        wait_leaving(node, 1)
        assert client.states("web") == {"open": 1}
        assert node.explain("web:8080")["reason"] == "no-endpoint"
        client.wait_closed("web")
        assert SLOWNESS <= time.monotonic() - began < 8 * SLOWNESS
        assert client.states("lone") == {"open": 1}


# Bytes both ways until the file is there, and then what is still on its way. How many were sent, and how many came back.
TRANSFER = """
s = held['web'][0]
s.setblocking(False)
import select
sent = seen = 0
while True:
    more = not os.path.exists(arguments[0])
    if not more and seen == sent:
        break
    readable, writable, _ = select.select([s], [s] if more else [], [], 20 * SLOWNESS)
    assert readable or writable
    if writable:
        sent += s.send(b'y' * 262144)
    if readable:
        data = s.recv(262144)
        assert data, 'closed'
        seen += len(data)
s.close()
result = [sent, seen]
"""


def transfer(node, client, stop):
    """It is under way."""
    client.worker.start(TRANSFER, str(stop))
    wait_for(lambda: max(c["received"] for c in node.weft("connections", "--open")["open"]) > 1_000_000, "a transfer is under way")


def test_a_transfer_that_ends_in_time_is_not_disturbed(tmp_path):
    with world("--drain", f"{30 * SLOWNESS}s") as node:
        client = Client(node)
        client.hold("web", node.vip("web"))
        transfer(node, client, tmp_path / "stop")
        deregister(node, "web-v1", "1")
        wait_leaving(node, 1)
        (tmp_path / "stop").touch()
        sent, seen = client.worker.answer()
        assert sent == seen > 1_000_000
        wait_for(lambda: closes(node, "web") == ["closed"], "it is closed")
        assert stat(node, "drained") == 0


def test_an_endpoint_that_comes_back_keeps_its_connections():
    with world("--drain", f"{2 * SLOWNESS}s") as node:
        client = Client(node)
        client.hold("web", node.vip("web"))
        client.hold("lone", node.vip("lone"))
        deregister(node, "web-v1", "1")
        wait_leaving(node, 1)
        node.register("web-v1", "again", "10.77.0.1:9001")
        wait_leaving(node, 0)
        deregister(node, "lone", "3")  # which is due later than the other was
        client.wait_closed("lone")
        assert client.states("web") == {"open": 1}


def test_addresses_that_dns_names_no_more_drain_but_not_those_of_a_load_balancer():
    with world("--drain", "0s", "--resolver", "10.77.0.53:53", "--time-scale", "10") as node:
        dns = node.resolver(zone={f"{name}.test": {"A": ["10.77.0.1"], "ttl": 5} for name in ("all", "one")})
        for name, response_type in (("all", "ENDPOINTS"), ("one", "LOADBALANCER")):
            node.node(name, port=9001, serviceDiscovery={"dns": {"hostname": f"{name}.test", "responseType": response_type}})
            node.service(name, node=name)
        node.node("client", port=None, backends=["all", "one"])
        client = Client(node)
        for name in ("all", "one"):
            node.wait_reason(f"{name}:9001", "routed")
            client.hold(name, node.vip(name), 9001)
        for name in ("one", "all"):
            dns.set(f"{name}.test", A=["10.77.0.2"], ttl=5)
            wait_for(lambda: node.explain(f"{name}:9001")["endpoint"] == "10.77.0.2:9001", f"{name} has the other address")
        client.wait_closed("all")
        assert client.states("one") == {"open": 1}
        node.node("one", port=9001, serviceDiscovery={"dns": {"hostname": "one.test", "responseType": "ENDPOINTS"}})
        client.wait_closed("one")


DIAL = """
s = socket.socket()
s.setblocking(False)
result = s.connect_ex(tuple(arguments)) == errno.EINPROGRESS
"""
CONNECT_ERROR = "result = errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))"


def test_a_connection_that_was_never_answered_is_ended_as_well():
    with world("--drain", "0s") as node:
        server, client = node.worker(), node.worker("client")
        server.run("""
l = socket.socket()
l.bind(('10.77.0.2', 9009))
l.listen(0)
full = socket.create_connection(('10.77.0.2', 9009))  # nobody accepts it, and more do not fit
""")
        node.register("web-v1", "full", "10.77.0.2:9009")
        deregister(node, "web-v1", "1")
        wait_for(lambda: node.explain("web:8080")["endpoint"] == "10.77.0.2:9009", "it is the only endpoint")
        assert client.run(DIAL, node.vip("web"), 8080)
        wait_for(lambda: [c["state"] for c in node.weft("connections", "--open")["open"]] == ["syn-sent"], "it waits for an answer")
        deregister(node, "web-v1", "full")
        wait_for(lambda: client.run(CONNECT_ERROR) == "ECONNABORTED", "it is ended")
        wait_for(lambda: closes(node, "web")[-1:] == ["drained"], "its record tells")
        assert node.status()["counters"][0]["closed"] == 0
        node.wait_open(0)


def test_routes_and_services_that_go_drain_like_endpoints():
    with world("--drain", "0s") as node:
        client = Client(node)
        client.hold("v1", node.vip("web"))
        client.hold("lone", node.vip("lone"))
        node.route("web", {"web-v1": 0, "web-v2": 1})
        wait_for(lambda: node.explain("web:8080")["targets"][-1]["share"] == 1, "new connections go to the other")
        client.hold("v2", node.vip("web"))
        assert client.states("v1") == {"open": 1}  # no weight, but still of the route
        node.route("web", {"web-v2": 1})
        client.wait_closed("v1")
        (node.config / "service-lone.json").unlink()
        client.wait_closed("lone")
        assert client.states("v2") == {"open": 1}
        assert stat(node, "drained") == 2


@pytest.mark.parametrize("while_dead", (False, True), ids=("agent is back in time", "agent is back too late"))
def test_a_drain_goes_on_over_the_death_of_the_agent(while_dead):
    drain_s = 3 * SLOWNESS
    with world("--drain", f"{drain_s}s") as node:
        client = Client(node)
        client.hold("web", node.vip("web"))
        client.hold("lone", node.vip("lone"))
        began = time.monotonic()
        deregister(node, "web-v1", "1")
        wait_leaving(node, 1)
        leaves_at = leaving(node)[0]["leavesAt"]
        node.kill_agent()
        if while_dead:
            wait_for(lambda: time.monotonic() > began + drain_s + 1, "the time is over", drain_s + 10)
            assert client.states("web") == {"open": 1}  # nobody there to close it
        node.start_agent()
        if not while_dead:
            assert [c["leavesAt"][:-2] for c in leaving(node)] == [leaves_at[:-2]]
        client.wait_closed("web", deadline_s=3 + 10)
        assert drain_s <= time.monotonic() - began
        assert client.states("lone") == {"open": 1}
        wait_for(lambda: closes(node, "web")[-1:] == ["drained"], "its record tells")


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_thousand_at_once(many_files):
    with world("--drain", "0s") as node:
        client = Client(node)
        client.hold("web", node.vip("web"), count=1000)
        client.hold("lone", node.vip("lone"), count=100)
        deregister(node, "web-v1", "1")
        client.wait_closed("web", 1000)
        assert client.states("lone") == {"open": 100}
        wait_for(lambda: closed_lines(node) and sum(count for count, _ in closed_lines(node)) == 1000, "the log says so")


def closed_lines(node):
    """(how many were drained, in how many us) of each time."""
    return [tuple(map(int, pair)) for pair in re.findall(r"connections closed .*drained=(\d+) .*took_us=(\d+)", node.log.read_text())]


def test_a_backend_that_is_taken_away_closes_what_is_open_at_once():
    with world() as node:
        client, other = Client(node), Client(node, "other")
        for who in (client, other):
            who.hold("web", node.vip("web"))
            who.hold("lone", node.vip("lone"))
        transfer(node, client, "/nowhere")
        node.node("client", port=None, backends=["lone"])
        with pytest.raises(AssertionError, match="ConnectionAbortedError"):
            client.worker.answer()
        assert client.states("lone") == other.states("web") == other.states("lone") == {"open": 1}
        wait_for(lambda: stat(node, "policy-changed") == 1, "it is counted")
        assert closes(node, "web") == ["policy-changed"]
        assert stat(node, "drained") == 0


@pytest.mark.parametrize("egress", ("DROP_ALL", "ALLOW_ALL"))
def test_tls_that_is_demanded_now_closes_plain_connections(egress):
    with world() as node:
        node.mesh(egress)
        client, other = Client(node), Client(node, "other")
        client.hold("web", node.vip("web"))
        client.hold("lone", node.vip("lone"))
        other.hold("lone", node.vip("lone"))
        enforced = {"tls": {"enforce": True, "validation": {"trust": {"file": {"certificateChain": "/ca.pem"}}}}}
        backends = [{"virtualService": {"virtualServiceName": "lone", "clientPolicy": enforced}}, {"virtualService": {"virtualServiceName": "web"}}]
        node.write("node-client", meshName="m", virtualNodeName="client", spec={"backends": backends})
        client.wait_closed("lone")
        assert client.states("web") == other.states("lone") == {"open": 1}
        node.node("lone", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "tls": {
            "mode": "STRICT", "certificate": {"file": {"certificateChain": "/c.pem", "privateKey": "/k.pem"}}}}])
        other.wait_closed("lone")
        assert client.states("web") == {"open": 1}
        assert stat(node, "policy-changed") == 2


def test_audit_mode_counts_and_closes_nothing():
    with world("--audit", "m") as node:
        client = Client(node)
        client.hold("web", node.vip("web"))
        client.hold("lone", node.vip("lone"), count=2)
        node.node("client", port=None, backends=["web"])
        wait_for(lambda: stat(node, "audit-kept") == 2, "they are counted")
        node.node("client", port=None, backends=["web"], logging={"accessLog": {"file": {"path": "/dev/stdout"}}})  # another look
        node.route("web", {"web-v1": 1, "web-v2": 1})
        wait_for(lambda: len(node.explain("web:8080")["targets"]) == 2, "it is read")
        assert client.states("lone") == {"open": 2}
        assert [stat(node, name) for name in ("audit-kept", "policy-changed", "drained")] == [2, 0, 0]

        node.kill_agent()
        node.options = ["--config", node.config]
        node.start_agent()
        client.wait_closed("lone", 2)
        assert client.states("web") == {"open": 1}
        wait_for(lambda: stat(node, "policy-changed") == 2, "audit mode is over")


@contextlib.contextmanager
def open_world(*options):
    """As world(), with ALLOW_ALL, and with a server in a pod that the mesh knows nothing of."""
    with world(*options) as node:
        node.outside = node.add_pod()
        node.echo(f"{node.outside.ipv4}:9001", f"[{node.outside.ipv6}]:9001", namespace=node.outside)
        node.mesh("ALLOW_ALL")
        node.wait_reason(f"{node.outside.ipv4}:9001", "allow-all")
        yield node


def test_what_left_the_mesh_is_closed_when_its_filter_closes_and_all_else_goes_on():
    with open_world() as node:
        pod = node.add_pod()
        client, pod_client = Client(node), Client(node, "other", pod)
        early = Client(node, None)
        for who in (client, pod_client, early):
            who.hold("v4", node.outside.ipv4, 9001, count=2)
            who.hold("mapped", "::ffff:" + node.outside.ipv4, 9001)
            who.hold("v6", node.outside.ipv6, 9001)
        for who in (client, pod_client):
            who.hold("lone", node.vip("lone"))
        client.hold("own", "10.77.0.1", 9001)
        node.mesh("DROP_ALL")
        for who in (client, pod_client):
            who.wait_closed("v4", 2)
            who.wait_closed("mapped")
            who.wait_closed("v6")
            assert who.states("lone") == {"open": 1}
        assert client.states("own") == {"open": 1}
        assert [early.states(name) for name in ("v4", "mapped", "v6")] == [{"open": 2}, {"open": 1}, {"open": 1}]
        wait_for(lambda: stat(node, "policy-changed") == 8, "each is counted")
        records = [r for r in node.weft("connections", "--reason", "allow-all")["closed"] if r["close"] == "policy-changed"]
        assert len(records) == 8, records
        assert {r["from"] for r in records} == {"mesh/m/virtualNode/client", "mesh/m/virtualNode/other"}
        assert stat(node, "not-destroyed") == stat(node, "passed-unnoted") == 0
        assert client.worker.connect(node.outside.ipv4, 9001) == "EPERM"


def test_a_filter_that_closes_while_weftd_is_away_closes_connections_when_it_is_back():
    with open_world() as node:
        client = Client(node)
        client.hold("outside", node.outside.ipv4, 9001)
        node.kill_agent()
        node.mesh("DROP_ALL")
        assert client.states("outside") == {"open": 1}
        node.start_agent()
        client.wait_closed("outside")
        assert client.states("outside") == {"ECONNABORTED": 1}


def test_in_audit_mode_what_left_the_mesh_is_counted_and_goes_on():
    with open_world("--audit", "m") as node:
        client = Client(node)
        client.hold("outside", node.outside.ipv4, 9001, count=2)
        node.mesh("DROP_ALL")
        wait_for(lambda: stat(node, "audit-kept") == 2, "they are counted")
        client.hold("audited", node.outside.ipv4, 9001)
        node.node("client", port=None, backends=["web"])  # another look
        node.wait_reason("lone:8080", "audit-not-a-backend")
        assert client.states("outside") == {"open": 2}
        assert [stat(node, name) for name in ("audit-kept", "policy-changed")] == [2, 0]

        node.kill_agent()
        node.options = ["--config", node.config]
        node.start_agent()
        client.wait_closed("outside", 2)
        client.wait_closed("audited")
        wait_for(lambda: stat(node, "policy-changed") == 3, "audit mode is over")
