# SPDX-License-Identifier: Apache-2.0
"""HTTP listeners that weft-proxy serves in the place of the application: their pools, and who sees whom."""
import os
import signal
import subprocess
from collections import Counter

import pytest

from l7_world import CLIENT, http_servers
from weft import BUILD, HERE, PYTHON, SLOWNESS, Node, wait_for

# `count` requests at the same time, each on a connection of its own.
AT_ONCE = CLIENT + """
import threading
def at_once(count, *arguments, **options):
    answers = [None] * count
    def one(i):
        answers[i] = ask(*arguments, **options)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
"""
SERVED, LIMITED = "served by weft-proxy", "enforced"
LOG = {"accessLog": {"file": {"path": "/dev/stdout"}}}


def listener(pool=None, port=8080, **more):
    if pool:
        more["connectionPool"] = {"http": dict(zip(("maxConnections", "maxPendingRequests"), pool))}
    return {"portMapping": {"port": port, "protocol": "http"}, **more}


def listeners_of(node):
    return {one["address"]: one["state"] for one in node.status()["listeners"]}


def wait_listeners(node, **states):
    """By the address; of one that serves at any, `any_8080`."""
    wanted = {name.replace("any_", "*:"): state for name, state in states.items()}
    wait_for(lambda: listeners_of(node) == wanted, f"{wanted}, of {listeners_of(node)}")


class Unmanaged:
    """A client that is no workload, whose functions are those of AT_ONCE."""

    def __init__(self, node, netns=None):
        self.worker = node.worker(netns=netns)
        self.worker.run(AT_ONCE)

    def __getattr__(self, name):
        return lambda *arguments, **options: self.worker.run(f"result = {name}(*arguments[0], **arguments[1])", arguments, options)


class World:
    """A pod that serves as `web` at port 8080, at its addresses of both families, and clients elsewhere and beside it."""

    def __init__(self, node):
        self.node, self.server, self.client = node, node.add_pod(), node.add_pod()
        node.mesh()
        node.node("client", port=None, backends=["web.example.com"])
        node.service("web.example.com", node="web", l7=True)
        self.configure((1, 1))
        words = ("--register", f"{self.server.ipv4}:8080", "--register", f"[{self.server.ipv6}]:8080")
        self.application = node.workload([PYTHON, HERE / "http_server.py", "0.0.0.0:8080", f"[{self.server.ipv6}]:8080"], "web", self.server, words,
                                         stdout=subprocess.PIPE, text=True)
        assert self.application.stdout.readline() == "ready\n"
        wait_listeners(node, any_8080=SERVED)
        self.outside, self.beside = Unmanaged(node, self.client), Unmanaged(node, self.server)

    def configure(self, pool=None, **more):
        logging = more.pop("logging", None)
        self.node.node("web", listeners=[listener(pool, **more)], **({"logging": logging} if logging else {}))

    def wait_pool(self, connections, pending):
        """The listener has it, by what it does."""
        def has():
            return self.storm(connections + pending + 1) == {200: connections + pending, 503: 1}
        wait_for(has, f"the pool is {connections}, {pending}")

    def storm(self, count, wait="0.5"):
        return Counter(one.get("status", one.get("error")) for one in self.outside.at_once(count, self.server.ipv4, headers={"x-wait": wait}))


@pytest.fixture(scope="module")
def world():
    with Node() as node:
        yield World(node)


@pytest.fixture
def node():
    with Node() as node:
        yield node


# --- who sees whom -----------------------------------------------------------------------------------------------------------------


def test_the_application_sees_the_client_and_requests_come_by_weft_proxy(world):
    for who, own in ((world.outside, world.client), (world.beside, world.server)):
        for family in ("ipv4", "ipv6"):
            told = who.ask(getattr(world.server, family), "/a//b/../c?q=1")["told"]
            assert told["peer"].removeprefix("::ffff:") == getattr(own, family)
            assert told["path"] == "/a/c?q=1" and told["headers"]["host"] == "web.example.com"
            assert len(told["headers"]["x-request-id"]) == 36
            assert "x-forwarded-for" not in told["headers"]


def test_the_loopback_address_is_the_applications_own(world):
    assert "x-request-id" not in world.beside.ask("127.0.0.1")["told"]["headers"]


def test_a_workload_is_seen_by_its_own_address_through_both_sides(world):
    world.node.worker("client", world.client)  # stays
    world.node.wait_reason("web.example.com:8080", "proxied")
    worker = world.node.worker("client", world.client)
    worker.run(CLIENT)
    answer = wait_for(lambda: (a := worker.run("result = ask(*arguments)", world.node.vip("web.example.com"))).get("status") == 200 and a,
                      "the client is served")
    assert answer["told"]["peer"] == world.client.ipv4
    assert answer["headers"]["server"] == "envoy"


@pytest.mark.one_kernel
def test_what_comes_in_is_in_the_nodes_access_log(world):
    log = world.node.directory / "access.log"
    world.configure(logging={"accessLog": {"file": {"path": str(log), "format": {"text": "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% "
                                                                                         "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\n"}}}})

    def logged():
        world.outside.ask(world.server.ipv4, "/logged")
        return log.exists() and f"GET /logged 200 {world.client.ipv4}\n" in log.read_text()
    wait_for(logged, "a line is there")
    world.configure((1, 1))
    world.wait_pool(1, 1)


# --- pools -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.one_kernel
def test_one_request_is_served_one_waits_and_the_others_are_told_at_once(world):
    for _ in range(3):
        answers = world.outside.at_once(6, world.server.ipv4, headers={"x-wait": "0.5"})
        assert Counter(answer["status"] for answer in answers) == {200: 2, 503: 4}
        for answer in answers:
            if answer["status"] == 200:
                assert answer["told"]["active"] == 1
            else:
                assert answer["headers"]["x-envoy-overloaded"] == "true"
                assert answer["text"].endswith("reset reason: overflow")


def test_clients_of_all_places_share_the_pool(world):
    world.beside.worker.start("result = at_once(*arguments[0], **arguments[1])", (3, world.server.ipv6), {"headers": {"x-wait": "1"}})
    answers = world.outside.at_once(3, world.server.ipv4, headers={"x-wait": "1"}) + world.beside.worker.answer()
    assert Counter(answer["status"] for answer in answers) == {200: 2, 503: 4}


@pytest.mark.one_kernel
def test_a_connection_that_waits_for_its_clients_next_request_holds_no_place(world):
    for i in range(10):
        assert world.outside.ask(world.server.ipv4, keep=f"kept {i % 5}")["status"] == 200


@pytest.mark.one_kernel
def test_a_pool_of_ten_has_ten_and_never_more_under_load(world):
    world.configure((10, 5))
    world.wait_pool(10, 5)
    assert world.storm(25) == {200: 15, 503: 10}
    answers = world.outside.worker.run("""
result = []
def client():
    for _ in range(40):
        result.append(ask(*arguments, headers={"x-wait": "0.005"}))
threads = [threading.Thread(target=client) for _ in range(24)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""", world.server.ipv4)
    served = [answer["told"]["active"] for answer in answers if answer["status"] == 200]
    assert {answer["status"] for answer in answers} <= {200, 503} and len(answers) == 24 * 40
    assert len(served) > 10 and max(served) <= 10
    assert world.outside.at_once(15, world.server.ipv4, headers={"x-wait": "0.1"})[0]["status"] == 200


def test_a_pool_comes_changes_and_goes_with_the_configuration(world):
    world.configure(logging=LOG)  # weft-proxy still serves it, without limits
    wait_for(lambda: world.storm(8) == {200: 8}, "no limit is left")
    assert world.outside.ask(world.server.ipv4, keep="from before")["status"] == 200
    world.configure((2, 1))
    world.wait_pool(2, 1)
    answer = world.outside.ask(world.server.ipv4, keep="from before")  # is counted nowhere
    assert answer["status"] == 200 and answer["headers"]["connection"] == "close"
    world.configure((3, 1))
    world.wait_pool(3, 1)
    for i in range(3):  # three connections that wait
        assert world.outside.ask(world.server.ipv4, keep=f"kept {i}")["status"] == 200
    before = world.node.status()["configuration"]["generation"]
    world.configure((1, 1))

    def told():
        status = world.node.status()
        return before < status["configuration"]["generation"] == status["proxy"]["configuration"]["generation"]
    wait_for(told, "weft-proxy is told")
    answers = world.outside.worker.run("""
result = []
def again(i):
    result.append(ask(arguments[0], keep=f"kept {i}", headers={"x-wait": "0.5"}))
threads = [threading.Thread(target=again, args=(i,)) for i in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""", world.server.ipv4)
    assert sorted(answer["status"] for answer in answers) == [200, 200, 503]
    assert {answer["told"]["active"] for answer in answers if answer["status"] == 200} == {1}


# --- what weft-proxy does not serve ------------------------------------------------------------------------------------------------


def test_a_listener_of_which_nothing_is_asked_is_the_applications(world):
    world.configure()
    wait_listeners(world.node)
    told = world.outside.ask(world.server.ipv4)["told"]
    assert "x-request-id" not in told["headers"] and told["peer"] == world.client.ipv4
    for more in ({"logging": LOG}, {"timeout": {"http": {"perRequest": {"unit": "ms", "value": 300}}}}):
        world.configure(**more)
        wait_listeners(world.node, any_8080=SERVED)
        assert "x-request-id" in world.outside.ask(world.server.ipv4)["told"]["headers"]
    assert world.outside.ask(world.server.ipv4, headers={"x-wait": "1"})["status"] == 504
    world.configure((1, 1))
    world.wait_pool(1, 1)


def test_each_registered_address_of_a_shared_namespace_has_the_pool_of_its_listener(node):
    node.mesh()
    node.node("web", listeners=[listener((1, 1))])
    endpoints = ("10.77.0.1:9001", "10.77.0.1:9002", "[fd77::1]:9001")
    words = [word for endpoint in endpoints for word in ("--register", endpoint)]
    application = node.workload([PYTHON, HERE / "http_server.py", *endpoints], "web", words=words, stdout=subprocess.PIPE, text=True)
    assert application.stdout.readline() == "ready\n"
    wait_for(lambda: listeners_of(node) == dict.fromkeys(endpoints, SERVED), "they are served")
    client = Unmanaged(node)
    client.worker.start("""
answers = {}
def storm(address, port):
    answers[f"{address} {port}"] = [one["status"] for one in at_once(4, address, port=port, headers={"x-wait": "1"})]
threads = [threading.Thread(target=storm, args=one) for one in arguments]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
result = answers
""", ("10.77.0.1", 9001), ("10.77.0.1", 9002), ("fd77::1", 9001))
    for statuses in client.worker.answer().values():
        assert Counter(statuses) == {200: 2, 503: 2}


# --- when something is away --------------------------------------------------------------------------------------------------------


def test_while_weft_proxy_is_away_clients_are_refused_and_then_served_again(world):
    node, before = world.node, world.node.reasons()
    os.kill(node.agent.pid, signal.SIGSTOP)  # it does not start another one
    try:
        os.kill(node.proxy_pid(), signal.SIGKILL)
        wait_for(lambda: world.outside.ask(world.server.ipv4) == {"error": "ECONNREFUSED"}, "clients are refused")
        assert world.beside.ask(world.server.ipv6) == {"error": "ECONNREFUSED"}
    finally:
        os.kill(node.agent.pid, signal.SIGCONT)
    wait_for(lambda: world.outside.ask(world.server.ipv4).get("status") == 200, "the next weft-proxy serves")
    key = (None, "web", "proxy-down")
    assert node.reasons()[key] > before.get(key, 0)
    world.wait_pool(1, 1)  # and it knows the pool


def test_what_weftd_left_in_force_stays_without_it_and_after_it(world):
    node = world.node
    node.kill_agent()
    world.wait_pool(1, 1)
    stop = node.directory / "stop"
    world.outside.worker.start("""
result = 0
while not os.path.exists(arguments[1]):
    answer = ask(arguments[0])
    assert answer["status"] == 200 and "x-request-id" in answer["told"]["headers"], answer
    result += 1
""", world.server.ipv4, str(stop))
    node.start_agent()
    wait_listeners(node, any_8080=SERVED)
    stop.touch()
    assert world.outside.worker.answer() > 10  # and each came by weft-proxy
    world.wait_pool(1, 1)


def test_without_weft_proxy_a_pool_counts_connections_in_the_kernel(world):
    node = world.node
    node.kill_agent(signal.SIGTERM)
    options, node.options = node.options, [*node.options, "--proxy", "off"]
    node.start_agent()
    wait_listeners(node, any_8080=LIMITED)
    web = next(one for one in node.weft("get", "virtualNode")["resources"] if one["name"] == "web")
    assert any("weft-proxy is off" in note["meaning"] for note in web["notInForce"]), web["notInForce"]
    told = world.outside.ask(world.server.ipv4)["told"]
    assert "x-request-id" not in told["headers"]
    ends = Counter(one.get("status", one.get("error")) for one in world.outside.at_once(4, world.server.ipv4, headers={"x-wait": "1"}))
    assert ends[200] < 4 and ends[200] + ends["ECONNREFUSED"] == 4, ends
    node.kill_agent(signal.SIGTERM)
    node.options = options
    node.start_agent()
    wait_listeners(node, any_8080=SERVED)
    world.wait_pool(1, 1)


@pytest.mark.one_kernel
def test_the_default_pool_is_that_of_listeners_without_one_and_exact(world):
    node, options = world.node, world.node.options
    world.configure()
    wait_listeners(node)
    node.kill_agent(signal.SIGTERM)
    node.options = [*options, "--default-pool", "2,1"]
    node.start_agent()
    wait_listeners(node, any_8080=SERVED)
    world.wait_pool(2, 1)
    for _ in range(3):
        answers = world.outside.at_once(7, world.server.ipv4, headers={"x-wait": "0.5"})
        assert Counter(answer["status"] for answer in answers) == {200: 3, 503: 4}
        assert all(answer["told"]["active"] <= 2 if answer["status"] == 200 else answer["headers"]["x-envoy-overloaded"] == "true" for answer in answers)
    client = node.worker("client", world.client)  # stays
    node.wait_reason("web.example.com:8080", "proxied")

    def said():
        result = subprocess.run([BUILD / "weft", "explain", "--instance", node.instance, "--from", "mesh/m/virtualNode/client", "--to",
                                 "http://web.example.com:8080/"], capture_output=True, text=True, check=True)
        return next((line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("pool ")), None)
    assert said() == "2 connections, 1 waiting requests (the default pool)"
    shown = subprocess.run([BUILD / "weft", "get", "virtualNode", "web", "--instance", node.instance], capture_output=True, text=True, check=True)
    assert "pool: port 8080: 2 connections, 1 waiting requests (the default pool)\n" in shown.stdout
    world.configure((1,))
    wait_for(lambda: said() == "1 connections, any number of waiting requests", "the listener's own pool counts")
    web = next(one for one in node.weft("get", "virtualNode")["resources"] if one["name"] == "web")
    assert web["pools"] == [{"port": 8080, "maxConnections": 1, "maxPendingRequests": None, "default": False}]
    wait_for(lambda: world.storm(5, "0.05") == {200: 5}, "any number waits")
    client.kill()
    node.kill_agent(signal.SIGTERM)
    node.options = options
    node.start_agent()
    world.configure()
    wait_listeners(node)
    world.configure((1, 1))
    world.wait_pool(1, 1)


@pytest.mark.one_kernel
def test_circuit_breaking_with_the_numbers_of_the_documentation(world):
    """maxConnections 100, maxPendingRequests 50: of 200 requests at a time 50 are too many."""
    world.configure((100, 50))
    wait_for(lambda: world.storm(3, "0.1") == {200: 3}, "the pool is in force")
    assert world.storm(200, str(2 * SLOWNESS)) == {200: 150, 503: 50}


# --- health checks -----------------------------------------------------------------------------------------------------------------


def check(protocol, **more):
    return {"protocol": protocol, "intervalMillis": 5000, "timeoutMillis": 60000, "healthyThreshold": 2, "unhealthyThreshold": 2, **more}


@pytest.mark.parametrize("from_where", ["agent", "workload"])
def test_a_tcp_check_is_of_the_application_and_an_http_check_goes_by_weft_proxy(from_where):
    with Node("--time-scale", "50", "--health-from", from_where) as node:
        node.mesh()
        node.node("client", port=None, backends=["tcp", "http"])
        node.node("tcp", listeners=[listener((5, 5), 8080, healthCheck=check("tcp"))])
        node.node("http", listeners=[listener((5, 5), 8081, healthCheck=check("http", path="/ping"))])
        node.service("tcp", node="tcp")
        node.service("http", node="http")
        node.workload(["sleep", "1000"], "client")
        servers = {}
        for name, port in (("tcp", 8080), ("http", 8081)):
            pod = node.add_pod()
            node.workload(["sleep", "1000"], name, pod, ("--register", f"{pod.ipv4}:{port}"))
            servers[name] = http_servers(node, f"0.0.0.0:{port}", namespace=pod)

        def health():
            return {one["target"].split("/")[-1]: one["health"] for one in node.weft("health")["checks"]}
        wait_for(lambda: set(listeners_of(node).values()) == {SERVED} and len(listeners_of(node)) == 2, f"they are served: {listeners_of(node)}")
        wait_for(lambda: health() == {"tcp:8080": "up", "http:8081": "up"}, f"they are up: {health()}")
        for name, target in (("tcp", "tcp:8080"), ("http", "http:8081")):
            servers[name].kill()
            servers[name].wait()
            wait_for(lambda target=target: health()[target] == "down", f"{target} is down")
        results = {one["target"].split("/")[-1]: one["lastResult"] for one in node.weft("health")["checks"]}
        assert results == {"tcp:8080": "connection refused", "http:8081": "503"}
