# SPDX-License-Identifier: Apache-2.0
"""Workloads in namespaces of their own, connected by veth, and several in one."""
import subprocess

import pytest
from weft import SLOWNESS, Node, wait_for


@pytest.fixture(scope="module")
def pods():
    """`client` has the backend `web`, which a process in a pod serves; `other` has none."""
    with Node() as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("other", port=None)
        node.node("web")
        node.service("web", node="web")
        pod = node.add_pod()
        node.server_pod = pod
        node.server = node.worker("web", pod, ["--register", f"{pod.ipv4}:8080", "--register", f"[{pod.ipv6}]:8080"])
        node.server.run("""
import threading
def serve(address):
    listener = socket.create_server((address, 8080), family=socket.AF_INET6 if ':' in address else socket.AF_INET)
    def accept():
        while True:
            connection, peer = listener.accept()
            connection.sendall((peer[0] + '\\n').encode())
            kept.append(connection)
    threading.Thread(target=accept, daemon=True).start()
kept = []
for address in arguments:
    serve(address)
""", pod.ipv4, pod.ipv6)
        node.settled = node.worker("client")  # keeps the client's node in the plan
        node.wait_reason("web:8080", "routed")
        yield node


def workloads(node, **wanted):
    return [w for w in node.status()["workloads"] if all(w[key] == value for key, value in wanted.items())]


def test_a_pod_reaches_a_service_in_another_pod_and_keeps_its_address(pods):
    pod = pods.add_pod()
    client = pods.worker("client", pod)
    for family, own, server in ((4, pod.ipv4, pods.server_pod.ipv4), (6, pod.ipv6, pods.server_pod.ipv6)):
        assert client.connect(pods.vip("web", family), 8080) == own
        assert client.connect(server, 8080) == "EPERM"  # past the mesh, under DROP_ALL
    assert [w["ownNetns"] for w in workloads(pods, pid=client.pid)] == [True]
    client.kill()
    wait_for(lambda: not workloads(pods, pid=client.pid), "the workload is gone", 1)


def test_cgroups_in_one_namespace_act_each_for_its_own_node(pods):
    client, other, outside = pods.worker("client"), pods.worker("other"), pods.worker()
    assert client.connect(pods.vip("web"), 8080) == "10.78.2.1"
    assert other.connect(pods.vip("web"), 8080) == "EPERM"
    assert outside.connect(pods.server_pod.ipv4, 8080) == "10.78.2.1"
    cookies = {w["netnsCookie"] for w in workloads(pods) if w["pid"] in (client.pid, other.pid)}
    assert len(cookies) == 1
    child = "result = subprocess.run(['/usr/bin/python3', '-c', arguments[0], arguments[1]], stdout=-1, text=True).stdout"
    program = "import socket, sys; print(socket.socket().connect_ex((sys.argv[1], 8080)))"
    assert client.run(child, program, pods.vip("web")) == "0\n"
    assert other.run(child, program, pods.vip("web")) == "1\n"
    client.kill()
    wait_for(lambda: not workloads(pods, pid=client.pid), "one workload is gone", 1)
    assert other.connect(pods.vip("web"), 8080) == "EPERM"
    other.kill()


def test_a_namespace_acts_for_one_node_and_is_refused_to_another_by_name(pods):
    pod = pods.add_pod()
    client = pods.worker("client", pod)
    beside = pods.worker("client", pod)  # the same node may have several programs there
    result = subprocess.run(pods.namespace.prefix() + pods.run_argv("other", ["true"], pod), capture_output=True, text=True)
    assert result.returncode == 125
    assert "mesh/m/virtualNode/client" in result.stderr
    client.kill()
    wait_for(lambda: not workloads(pods, pid=client.pid), "the first is gone", 1)
    assert beside.connect(pods.vip("web"), 8080) == pod.ipv4
    beside.kill()
    wait_for(lambda: not workloads(pods, pid=beside.pid), "the last is gone", 1)
    other = pods.worker("other", pod)
    assert other.connect(pods.vip("web"), 8080) == "EPERM"
    other.kill()


def test_sockets_from_before_are_left_alone_and_counted(pods):
    pod = pods.add_pod()
    early = pods.worker(netns=pod)
    beside = pods.cgroup / "beside"  # no workload's, but where the hooks are
    beside.mkdir()
    (beside / "cgroup.procs").write_text(str(early.pid))
    assert early.run("""
s = socket.create_connection((arguments[0], 8080))
result = s.recv(100).decode().strip()
""", pods.server_pod.ipv4) == pod.ipv4
    client = pods.worker("client", pod)
    assert [w["earlierSockets"] for w in workloads(pods, pid=client.pid)] == [1]
    assert early.run("s.sendall(b'x'); s.settimeout(0.05)\ntry: s.recv(1)\nexcept TimeoutError: result = 'open'") == "open"
    assert early.connect(pods.server_pod.ipv4, 8080) == "EPERM"  # the namespace acts as the node, all of it
    client.kill()
    early.kill()
    pods.empty(beside)


def test_an_own_address_is_never_refused_from_the_first_connect_on(pods):
    pod = pods.add_pod()
    churn = pods.worker(netns=pod)
    churn.start("""
end = time.monotonic() + arguments[0]
result = 0
while time.monotonic() < end:
    for word in ('add', 'del'):
        for address in ('10.99.0.1/32', 'fd99::1/128'):
            subprocess.run(['ip', 'addr', word, address, 'dev', 'lo'], check=True)
    result += 1
""", 3 * SLOWNESS)
    outcomes = set()
    for _ in range(10):  # at enrolment
        client = pods.worker("client", pod)
        for address in (pod.ipv4, pod.ipv6):
            outcomes.add(client.connect(address, 9))
        client.kill()
    client = pods.worker("client", pod)
    outcomes |= set(client.run("""
end = time.monotonic() + 1
seen = set()
while time.monotonic() < end:
    for address in arguments:
        seen.add(connect(address, 9))
result = list(seen)
""", pod.ipv4, pod.ipv6))
    assert outcomes == {"ECONNREFUSED"}
    assert churn.answer() > 10
    client.kill()
    churn.kill()


def test_the_next_agent_knows_who_is_left_and_what_changed(pods):
    pod, ended = pods.add_pod(), pods.add_pod()
    client, gone = pods.worker("client", pod), pods.worker("client", ended)
    before = workloads(pods, pid=client.pid)
    pods.kill_agent()
    assert client.connect(pod.ipv4, 9) == "ECONNREFUSED"
    assert client.connect("10.99.1.1", 9) == "EPERM"
    gone.kill()
    pod.add_address("10.99.1.1/32")
    pods.start_agent()
    assert workloads(pods, pid=client.pid) == before
    wait_for(lambda: not workloads(pods, pid=gone.pid), "who ended meanwhile is gone", 1)
    wait_for(lambda: client.connect("10.99.1.1", 9) == "ECONNREFUSED", "the new address is its own", 1)
    assert client.connect(pods.vip("web"), 8080) == pod.ipv4
    client.kill()
