# SPDX-License-Identifier: Apache-2.0
"""Outlier detection by what connections tell: who is out, when and for how long, and what shows it."""
import json
import subprocess
import time

import pytest
from weft import BUILD, PYTHON, SLOWNESS, Node, wait_for

SCALE = 60
BASE_S = 30 / SCALE
ERRORS = 3
ALIVE, DEAD = "10.77.0.1:9001", "10.77.0.2:9002"

# Connects until `enough(ends)`, or for 30 s on a machine of usual speed. `ends`: [began, ended, errno name or greeting] of each.
CONNECTS = f"""
import threading
def connects(vip, enough, ends, deadline_s={30 * SLOWNESS}):
    end = time.monotonic() + deadline_s
    while not enough(ends) and time.monotonic() < end:
        began = time.monotonic()
        answer = connect(vip, 8080)
        ends.append([began, time.monotonic(), answer])
    return ends
def failures(ends):
    return [end for end in ends if ':' not in end[2]]
"""

# Accepts, and resets before a byte was sent; with a third argument once it has one, so that who only connects is not reset.
RESETTER = """
import socket, struct, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(100)
print("ready", flush=True)
while True:
    c, _ = s.accept()
    if len(sys.argv) > 3 and not c.recv(1):
        c.close()
        continue
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    c.close()
"""


def outlier(percent=100):
    """Errors count together for a second, and on a slow machine for as much longer as they take."""
    return {"maxServerErrors": ERRORS, "interval": {"value": 60 * SLOWNESS, "unit": "s"}, "baseEjectionDuration": {"value": 30, "unit": "s"},
            "maxEjectionPercent": percent}


def configure(node, endpoints, percent=100, **listener):
    node.mesh()
    node.node("client", port=None, backends=["web"])
    node.node("web", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "outlierDetection": outlier(percent), **listener}])
    node.service("web", node="web")
    worker = node.worker("client")
    for number, endpoint in enumerate(endpoints):
        node.register("web", str(number), endpoint)
    worker.run(CONNECTS)
    worker.vip = node.vip("web")
    wait_for(lambda: len(endpoints_of(node)) == len(endpoints), "all endpoints are known")
    return worker


def endpoints_of(node):
    answer = node.weft("explain", "--from", "mesh/m/virtualNode/client", "--to", "web:8080", check=False)
    return {e["address"]: e for e in answer["targets"][0]["endpoints"]} if isinstance(answer, dict) and answer.get("targets") else {}


def ejected(node):
    return {address for address, endpoint in endpoints_of(node).items() if endpoint["health"] == "ejected"}


def stat(node, name):
    return node.status()["stats"][name]


@pytest.fixture
def node():
    with Node("--time-scale", str(SCALE)) as node:
        yield node


def test_an_endpoint_is_out_for_longer_each_time_and_back_with_the_first_connection_it_takes(node):
    node.echo(ALIVE)
    worker = configure(node, [ALIVE, DEAD])
    ends = worker.run("ends = connects(arguments[0], lambda ends: len(failures(ends)) == 6, []); result = failures(ends)", worker.vip)
    assert [end[2] for end in ends] == ["ECONNREFUSED"] * 6
    first, probes = ends[:ERRORS], ends[ERRORS:]
    assert first[-1][1] - first[0][0] < 10 * SLOWNESS  # at once, by chance of the choice; nothing waits here
    before = first[-1]
    for times, probe in enumerate(probes, 1):
        gap_s = probe[1] - before[0]
        assert times * BASE_S <= gap_s < times * BASE_S + 5 * SLOWNESS, (times, ends)
        before = probe
    assert ejected(node) == {DEAD}
    assert endpoints_of(node)[DEAD]["ejections"] == 1 + len(probes) == stat(node, "ejections")
    assert stat(node, "ejection-probes") == len(probes)

    node.echo(DEAD)
    ends = worker.run("result = connects(arguments[0], lambda ends: sum(end[2] == arguments[1] for end in ends) == 20, [])", worker.vip, DEAD)
    assert all(":" in end[2] for end in ends) and ends[-1][2] == DEAD
    assert ends[0][0] - before[0] >= 0 and next(end for end in ends if end[2] == DEAD)[1] - before[0] >= 4 * BASE_S
    assert ejected(node) == set() and endpoints_of(node)[DEAD]["ejectedForNs"] is None


def test_of_many_clients_at_once_one_is_the_probe(node):
    node.echo(ALIVE)
    worker = configure(node, [ALIVE, DEAD])
    worker.run("connects(arguments[0], lambda ends: len(failures(ends)) == arguments[1], [])", worker.vip, ERRORS)
    wait_for(lambda: ejected(node) == {DEAD}, "the dead endpoint is out")
    failed = worker.run("""
lists = [[] for _ in range(8)]
threads = [threading.Thread(target=connects, args=(arguments[0], lambda ends: sum(len(failures(l)) for l in lists) >= 4, l)) for l in lists]
[t.start() for t in threads]
[t.join() for t in threads]
result = sum(len(failures(l)) for l in lists)
""", worker.vip)
    assert failed >= 4
    assert stat(node, "ejection-probes") == failed
    assert stat(node, "ejections") == 1 + failed


def test_a_share_of_a_target_may_be_out_and_one_always(node):
    dead = [f"10.77.0.2:{port}" for port in range(9002, 9005)]
    node.echo(ALIVE)
    worker = configure(node, [ALIVE, *dead], percent=50)
    worker.run("connects(arguments[0], lambda ends: len(failures(ends)) >= 40, [])", worker.vip)
    assert len(ejected(node)) == 2 and ejected(node) < set(dead)
    assert stat(node, "ejections-capped") > 0
    configure_percent(node, 1)
    for address in dead[:2]:  # a second chance for all
        node.weft("deregister", "--virtual-node", "mesh/m/virtualNode/web", "--id", str(1 + dead.index(address)))
    wait_for(lambda: len(endpoints_of(node)) == 2, "one dead endpoint is left")
    worker.run("connects(arguments[0], lambda ends: len(ends) >= 60, [])", worker.vip)
    assert ejected(node) == {dead[2]}


def configure_percent(node, percent):
    generation = node.status()["generation"]
    node.node("web", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "outlierDetection": outlier(percent)}])
    wait_for(lambda: node.status()["generation"] > generation, "it is in force")


def test_only_what_the_peer_did_counts(node):
    """Endpoints that reset before they answer, that ICMP says are not there, and that do not answer: all out. One whose connections the
    caller ends itself, in whatever way, is not."""
    pod = node.add_pod()
    node.namespace.sysctl("net.ipv4.icmp_ratelimit=0")
    node.namespace.ip("route", "add", "prohibit", "10.99.0.1/32")
    node.namespace.ip("route", "add", "blackhole", "10.99.0.2/32")
    pod.sysctl("net.ipv4.tcp_syn_retries=1")
    pod.sysctl("net.ipv4.tcp_syn_linear_timeouts=0")
    node.echo(ALIVE)
    resetter = node.spawn([PYTHON, "-c", RESETTER, "10.77.0.2", "9009"], stdout=subprocess.PIPE, text=True)
    assert resetter.stdout.readline() == "ready\n"
    node.mesh()
    names = {"good": ALIVE, "resets": "10.77.0.2:9009", "unreachable": "10.99.0.1:1", "silent": "10.99.0.2:1"}
    node.node("client", port=None, backends=list(names))
    for name in names:
        node.node(name, listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "outlierDetection": outlier()}])
        node.service(name, node=name)
    worker = node.worker("client", pod)
    for name, endpoint in names.items():
        node.register(name, "1", endpoint)
    worker.run(CONNECTS)
    for name in names:
        node.wait_reason(f"{name}:8080", "routed")

    def ejections(name):
        return node.explain(f"{name}:8080")["targets"][0]["endpoints"][0]["ejections"]

    # An ICMP error of this very host comes while connect() is at it, and is told by the next one, a second later: so it blocks.
    worker.run("""
ends = []
def attempt(vip):
    with socket.socket() as s:
        try:
            s.connect((vip, 8080))
            ends.append(s.recv(1))
        except OSError as e:
            ends.append(errno.errorcode[e.errno])
""")
    for name, error in (("resets", "ECONNRESET"), ("unreachable", "EHOSTUNREACH"), ("silent", "ETIMEDOUT")):
        ends = worker.run("""
ends.clear()
threads = [threading.Thread(target=attempt, args=arguments[:1]) for _ in range(arguments[1])]
[t.start() for t in threads]
[t.join() for t in threads]
result = ends
""", node.vip(name), ERRORS)
        assert ends == [error] * ERRORS, name
        assert ejections(name) == 1, name
    worker.run("""
import struct
for how in range(30):
    s = socket.socket()
    s.setblocking(how % 3 > 0)
    s.connect_ex((arguments[0], 8080))
    if how % 3 == 1:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
""", node.vip("good"))
    node.wait_open(0)
    assert ejections("good") == 0


def test_a_check_that_passes_ends_an_ejection(node):
    resetter = node.spawn([PYTHON, "-c", RESETTER, "10.77.0.2", "9002", "late"], stdout=subprocess.PIPE, text=True)
    assert resetter.stdout.readline() == "ready\n"
    node.echo(ALIVE)
    check = {"protocol": "tcp", "healthyThreshold": 2, "unhealthyThreshold": 2, "intervalMillis": 300000, "timeoutMillis": 60000}
    worker = configure(node, [ALIVE, DEAD], healthCheck=check)
    worker.run("""
def connect(address, port):
    with socket.create_connection((address, port), 5) as s:
        try:
            s.send(b"x")
            return s.recv(100).decode().strip()
        except OSError as e:
            return errno.errorcode[e.errno]
""")
    wait_for(lambda: all(e["health"] == "up" for e in endpoints_of(node).values()), "both are up", 20)
    began = time.monotonic()
    worker.run("connects(arguments[0], lambda ends: len(failures(ends)) == arguments[1], [])", worker.vip, ERRORS + 2)
    wait_for(lambda: endpoints_of(node)[DEAD]["ejections"] >= 2, "the endpoint was out twice", 20)
    wait_for(lambda: not ejected(node), "a check readmits it", 20)
    assert time.monotonic() - began < 60 * SLOWNESS


def test_an_ejection_is_shown_and_counted_wherever_endpoints_are():
    with Node("--metrics", "10.77.0.1:9090") as node:  # in real time: out for 30 s
        node.echo(ALIVE)
        worker = configure(node, [ALIVE, DEAD])
        worker.run("connects(arguments[0], lambda ends: len(failures(ends)) == arguments[1], [])", worker.vip, ERRORS)
        endpoint = endpoints_of(node)[DEAD]
        assert endpoint["health"] == "ejected" and endpoint["ejections"] == 1
        assert 20e9 < endpoint["ejectedForNs"] <= 30e9
        words = [BUILD / "weft", "explain", "--instance", node.instance, "--from", "mesh/m/virtualNode/client", "--to", "web:8080"]
        assert [line for line in subprocess.check_output(words, text=True).splitlines() if DEAD in line and "ejected" in line]
        top = json.loads(subprocess.check_output([BUILD / "weft", "top", "--instance", node.instance, "--json", "--once"], text=True).splitlines()[-1])
        assert {e["address"]: e["health"] for e in top["endpoints"]} == {ALIVE: "unchecked", DEAD: "ejected"}
        assert node.status()["endpoints"] == {"up": 0, "down": 0, "pending": 0, "unchecked": 1, "ejected": 1}
        assert stat(node, "ejections") == 1
        resource = next(r for r in node.weft("get", "virtualNode")["resources"] if r["name"] == "web")
        assert {e["address"]: (e["health"], e["ejections"]) for e in resource["endpoints"]} == {ALIVE: ("unchecked", 0), DEAD: ("ejected", 1)}
        text = node.namespace.command("curl", "-s", "http://10.77.0.1:9090/metrics")
        for line in ('weft_healthy_host_count{mesh="m",target="web:8080"} 1', 'weft_unhealthy_host_count{mesh="m",target="web:8080"} 1',
                     f'weft_endpoint_ejected{{mesh="m",target="web:8080",address="{DEAD}"}} 1',
                     f'weft_endpoint_ejections_total{{mesh="m",target="web:8080",address="{DEAD}"}} 1',
                     'weft_kernel_events_total{event="ejections"} 1'):
            assert f"{line}\n" in text, text
        node.kill_agent()
        node.start_agent()
        assert endpoints_of(node)[DEAD]["health"] == "ejected"
        node.node("web")  # without outlier detection
        wait_for(lambda: not ejected(node), "nobody is out any more")
