# SPDX-License-Identifier: Apache-2.0
"""Active health checks, of real servers. Spans are those of the API divided by 50: a check every 100 ms."""
import contextlib
import os
import re
import signal
import subprocess

import pytest

from weft import BUILD, HERE, PYTHON, Node, Told, cgroup2_root, wait_for

ONE, TWO, THREE = "10.77.0.1:9001", "10.77.0.1:9002", "10.77.0.1:9003"
SIX = "[fd77::1]:9001"
SCALE = ("--time-scale", "50")
PATIENT_MS, HASTY_MS = 60000, 2000


class Servers(Told):
    def answer_with(self, endpoint, status):
        self.ask(op="answer", endpoint=endpoint, status=status)

    def listen(self, endpoint, on):
        self.ask(op="listen", endpoint=endpoint, on=on)

    def seen(self):
        return self.ask(op="seen")


def serve(node, *endpoints, namespace=None):
    return Servers(node.spawn([PYTHON, HERE / "health_server.py", *endpoints], namespace, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True))


def checked(node, name, protocol="http", timeout_ms=PATIENT_MS, healthy=2, unhealthy=3, **members):
    """A virtual node whose listener has a health check."""
    if protocol == "http":
        members.setdefault("path", "/ping")
    check = {"protocol": protocol, "intervalMillis": 5000, "timeoutMillis": timeout_ms, "healthyThreshold": healthy,
             "unhealthyThreshold": unhealthy, **members}
    node.node(name, listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "healthCheck": check}])


def populate(node, *endpoints, **check):
    """`web`, on a virtual node with these endpoints, called by a client that stays."""
    node.mesh()
    node.node("client", port=None, backends=["web"])
    checked(node, "web", **check)
    node.service("web", node="web")
    for i, endpoint in enumerate(endpoints):
        node.register("web", str(i), endpoint)
    node.workload(["sleep", "1000"])
    node.vip("web")


def checks(node, *words):
    return {check["address"]: check for check in node.weft("health", *words)["checks"]}


def health(node):
    return {address: check["health"] for address, check in checks(node).items()}


def wait_health(node, **wanted):
    """By the last digit of the port: _1="up"."""
    wanted = {f"10.77.0.1:900{key[1]}": value for key, value in wanted.items()}
    wait_for(lambda: wanted.items() <= health(node).items(), f"{wanted}, of {health(node)}")


def distribution(node, to="web:8080"):
    """Of 1000 connections: how many go to each endpoint, and for which reasons."""
    found = node.explain(to, count=1000)["distribution"]
    return {row["endpoint"]: row["count"] for row in found if row["endpoint"]}, {row["reason"] for row in found}


def test_an_endpoint_that_fails_leaves_rotation_and_comes_back_without_a_generation():
    with Node(*SCALE) as node:
        servers = serve(node, ONE, TWO, SIX)
        populate(node, ONE, TWO, SIX)
        wait_for(lambda: set(health(node).values()) == {"up"}, "all are up")
        generation = node.status()["generation"]
        assert set(distribution(node)[0]) == {ONE, TWO}
        for status, result in ((503, "503"), (None, "timeout"), (301, "301")):
            if status is None:
                checked(node, "web", timeout_ms=HASTY_MS)
            servers.answer_with(ONE, status)
            wait_health(node, _1="down", _2="up")
            assert checks(node)[ONE]["lastResult"] == result and checks(node)[ONE]["inARow"] >= 3
            assert distribution(node) == ({TWO: 1000}, {"routed"})
            assert servers.seen()[ONE]["paths"][0] == "/ping"
            if status is None:
                checked(node, "web")
            servers.answer_with(ONE, 200)
            wait_health(node, _1="up")
            assert set(distribution(node)[0]) == {ONE, TWO}
        assert node.status()["generation"] == generation
        log = node.log.read_text()
        assert len(re.findall(r"the health of an endpoint changed endpoint=10.77.0.1:9001 .* from=up to=down why=503 ", log)) == 1
        assert len(re.findall(r"the health of an endpoint changed endpoint=10.77.0.1:9002 ", log)) == 1


def test_fewer_healthy_than_the_panic_threshold_and_all_are_used():
    with Node(*SCALE) as node:
        servers = serve(node, ONE, TWO, THREE)
        populate(node, ONE, TWO, THREE)
        wait_health(node, _1="up", _2="up", _3="up")
        servers.listen(ONE, False)
        wait_health(node, _1="down")
        assert checks(node)[ONE]["lastResult"] == "connection refused"
        assert set(distribution(node)[0]) == {TWO, THREE}
        servers.listen(TWO, False)
        wait_health(node, _2="down")
        spread, reasons = distribution(node)
        # every endpoint gets its third of those draws that met an unhealthy one; the rest met the healthy one twice
        assert set(spread) == {ONE, TWO, THREE} and "panic" in reasons
        servers.listen(TWO, True)
        wait_health(node, _2="up")
        assert set(distribution(node)[0]) == {TWO, THREE}


def test_a_check_that_is_shared_runs_once():
    with Node(*SCALE) as node:
        servers = serve(node, ONE)
        populate(node, ONE)
        checked(node, "other")
        node.node("client", port=None, backends=["web", "other"])
        node.service("other", node="other")
        node.register("other", "1", ONE)
        node.vip("other")

        def both():
            found = node.weft("health")["checks"]
            return [c["health"] for c in found] == ["up", "up"] and found
        first = wait_for(both, "both are up")
        assert [c["target"] for c in first] == ["mesh/m/virtualNode/other:8080", "mesh/m/virtualNode/web:8080"]
        servers.seen()
        before = node.weft("health")["checks"][0]["checks"]
        wait_for(lambda: node.weft("health")["checks"][0]["checks"] >= before + 10, "ten more checks")
        after = node.weft("health")["checks"]
        assert after[0]["checks"] == after[1]["checks"]
        # the count and the requests are read one after the other: a check or two may come in between
        assert after[0]["checks"] - before <= len(servers.seen()[ONE]["paths"]) + 2 <= after[0]["checks"] - before + 5
        assert [c["target"] for c in checks(node, "--node", "other").values()] == ["mesh/m/virtualNode/other:8080"]


@pytest.mark.parametrize("gone", ["silent", "refusing"])
def test_a_new_agent_changes_nothing_before_its_own_results(gone):
    with Node(*SCALE) as node:
        servers = serve(node, ONE, TWO, THREE)
        servers.answer_with(THREE, 503)
        populate(node, ONE, TWO, THREE, unhealthy=10, intervalMillis=20000)  # so ten failures take 4 s at least
        wait_health(node, _1="up", _2="up", _3="down")
        node.kill_agent(signal.SIGKILL)
        if gone == "silent":  # every check takes 1.2 s to fail
            servers.process.send_signal(signal.SIGSTOP)
        else:
            for endpoint in ONE, TWO, THREE:
                servers.listen(endpoint, False)
        node.start_agent()
        asked = failures = 0
        while failures < (2 if gone == "silent" else 10):
            spread, reasons = distribution(node)
            failures = max((check["failures"] for check in checks(node).values() if check["address"] != THREE), default=0)
            if failures < 10:
                assert set(spread) == {ONE, TWO} and reasons == {"routed"}
                asked += 1
        assert asked, "it was looked at before ten checks had failed"
        if gone == "silent":
            assert health(node) == {ONE: "up", TWO: "up", THREE: "down"}
            servers.process.send_signal(signal.SIGCONT)
            wait_for(lambda: all(check["inARow"] >= 2 and check["lastResult"] != "timeout" for check in checks(node).values()), "results")
            assert health(node) == {ONE: "up", TWO: "up", THREE: "down"}
        else:
            wait_health(node, _1="down", _2="down", _3="down")


@pytest.mark.one_kernel
def test_protocols_that_need_a_proxy_are_checked_as_tcp():
    with Node(*SCALE) as node:
        servers = serve(node, ONE)
        populate(node, ONE, protocol="http2", path="/ping")
        wait_health(node, _1="up")
        check = checks(node)[ONE]
        assert check["protocol"] == "http2" and check["checkAs"] == "tcp" and check["lastResult"] == "connected"
        assert not servers.seen()[ONE]["paths"]
        shown = subprocess.run([BUILD / "weft", "health", "--instance", node.instance], capture_output=True, text=True).stdout
        assert "http2 every 5s, 2 up 3 down (check-as-tcp)" in shown
        servers.listen(ONE, False)
        wait_health(node, _1="down")


@pytest.mark.one_kernel
def test_the_table_shows_the_unhealthy_first_and_status_counts():
    with Node(*SCALE) as node:
        servers = serve(node, ONE, TWO)
        populate(node, ONE, TWO)
        node.node("plain")
        node.node("client", port=None, backends=["web", "plain"])
        node.service("plain", node="plain")
        node.register("plain", "1", THREE)
        servers.answer_with(TWO, 500)
        wait_health(node, _1="up", _2="down", _3="unchecked")
        shown = subprocess.run([BUILD / "weft", "health", "--instance", node.instance], capture_output=True, text=True, check=True).stdout
        lines = shown.splitlines()
        assert [line.split()[2] for line in lines[1:]] == ["down", "up", "unchecked"]
        assert re.search(r"m/web:8080 +10.77.0.1:9002 +down +\S+Z +500 +\d+ +http /ping every 5s, 2 up 3 down$", lines[1])
        assert node.status()["endpoints"] == {"up": 1, "down": 1, "pending": 0, "unchecked": 1, "ejected": 0}
        text = subprocess.run([BUILD / "weft", "status", "--instance", node.instance], capture_output=True, text=True, check=True).stdout
        assert re.search(r"^endpoints +1 up, 1 down, 0 pending, 1 unchecked, 0 ejected$", text, re.M)
        missing = node.weft("health", "--node", "nobody", check=False)
        assert "there is no virtual node 'nobody'" in missing


@contextlib.contextmanager
def inside(cgroup):
    """What this process starts meanwhile is in the cgroup, where the hooks of the node see it."""
    for line in open("/proc/self/cgroup"):
        if line.startswith("0::"):
            home = cgroup2_root() / line[3:].strip().lstrip("/")
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


def test_checks_from_a_workload_reach_what_the_agent_does_not():
    with Node(*SCALE, "--health-from", "workload") as node:
        pod, back = node.add_pod(), node.add_namespace()
        node.kill_agent(signal.SIGTERM)
        with inside(node.cgroup):
            node.start_agent()
        pod.ip("link", "add", "back", "type", "veth", "peer", "name", "eth0", "netns", back.name)
        for namespace, device, address in ((pod, "back", "10.79.0.1/24"), (back, "eth0", "10.79.0.2/24")):
            namespace.ip("link", "set", device, "up")
            namespace.add_address(address, device)
        endpoint = "10.79.0.2:9001"
        servers = serve(node, endpoint, namespace=back)
        node.mesh()
        node.node("client", port=None, backends=["web"])
        checked(node, "web")
        node.service("web", node="web")
        node.register("web", "1", endpoint)
        node.workload(["sleep", "1000"], netns=pod)
        wait_for(lambda: health(node).get(endpoint) == "up", "the endpoint is up")
        assert re.fullmatch(r"workload \d+", checks(node)[endpoint]["from"])
        assert checks(node)[endpoint]["notRun"] <= 3  # while the workload is being enrolled
        # the agent's own connections are no workload's: neither refused nor counted
        assert not [row for row in node.status()["reasons"] if row["reason"] == "not-in-mesh"]
        servers.answer_with(endpoint, 500)
        wait_for(lambda: health(node)[endpoint] == "down", "the endpoint is down")
        # a process in the agent's namespace, and the workload itself, would not get there
        assert node.worker().connect("10.79.0.2", 9001) == "ENETUNREACH"
        assert node.worker("client", pod).connect("10.79.0.2", 9001) == "EPERM"


def test_the_agents_own_cgroup_goes_with_it():
    with Node("--health-from", "workload") as node:
        own = node.cgroup / f"weftd-{node.instance}"
        for how in signal.SIGTERM, signal.SIGKILL:
            node.kill_agent(signal.SIGTERM)
            with inside(node.cgroup):
                node.start_agent()
            assert (own / "cgroup.procs").read_text() == f"{node.agent.pid}\n"
            node.kill_agent(how)
            assert own.exists() == (how == signal.SIGKILL)
        node.loader("uninstall")
        assert not own.exists()


def test_a_loopback_endpoint_is_checked_where_it_is():
    with Node(*SCALE) as node:
        pod = node.add_pod()
        node.mesh()
        node.node("client", port=None, backends=["web"])
        checked(node, "web")
        node.service("web", node="web")
        servers = serve(node, "127.0.0.1:9001", namespace=pod)
        node.workload(["sleep", "1000"])
        node.vip("web")
        node.workload(["sleep", "1000"], netns=pod, node="web", words=["--register", "127.0.0.1:9001"])
        wait_for(lambda: health(node).get("127.0.0.1:9001") == "up", "the endpoint is up")
        assert servers.seen()["127.0.0.1:9001"]["paths"][0] == "/ping"
