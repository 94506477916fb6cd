# SPDX-License-Identifier: Apache-2.0
"""The agent: what it takes up, what it refuses, and what goes on while it is away."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest
from weft import BUILD, PYTHON, SLOWNESS, Node, cgroup2_root, wait_for


@pytest.fixture
def pair():
    """A client with the backend `web`, a node with two endpoints."""
    with Node("--drain", f"{30 * SLOWNESS}s") as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("web")
        node.node("other")
        node.service("web", node="web")
        node.service("other", node="other")
        node.echo("10.77.0.1:9001", "10.77.0.1:9002")
        node.register("web", "1", "10.77.0.1:9001")
        node.workload(["sleep", "1000"])
        node.wait_reason("web:8080", "routed")
        yield node


# Connections, one after the other, on a slow machine with pauses, until it is told to stop, or whoever would tell it is gone. An answer
# may take as long as it wants: what is counted as a failure is what a program would take for one.
LOOP = """
import json, select, socket, sys
print('ready', flush=True)
done, failed = 0, []
while not select.select([sys.stdin], [], [], float(sys.argv[2]))[0]:
    try:
        with socket.create_connection((sys.argv[1], 8080), 120) as s:
            if not s.recv(100):
                raise OSError('closed without a greeting')
        done += 1
    except OSError as e:
        failed.append(str(e))
print(json.dumps([done, failed]))
"""


class Connections:
    """LOOP in a workload, under way."""

    def __init__(self, node, vip):
        self.process = node.workload([PYTHON, "-c", LOOP, vip, str((SLOWNESS - 1) / 100)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        """How many there were, none of which failed."""
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        done, failed = json.loads(self.process.stdout.read())
        assert failed == []
        return done


def attempts(node):
    return sum(row["attempts"] for row in node.status()["counters"])


def test_connections_go_on_while_the_agent_is_killed_and_the_next_one_adopts(pair):
    vip = pair.vip("web")
    held = pair.workload([PYTHON, "-c", f"import socket,sys\ns=socket.create_connection(('{vip}',8080))\nprint('held',flush=True)\nsys.stdin.read()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout.readline() == "held\n"
    loop = Connections(pair, vip)
    wait_for(lambda: attempts(pair) > 20, "connections are made")
    generation = pair.status()["generation"]
    workloads = {w["id"] for w in pair.status()["workloads"]}
    for _ in range(5):
        before = attempts(pair)
        pair.kill_agent()
        pair.start_agent()
        wait_for(lambda: pair.status()["configuration"]["appliedAt"] or pair.status()["generation"] == generation, "it adopted")
        assert attempts(pair) >= before
    assert pair.status()["generation"] == generation, "adoption changes nothing"
    assert pair.vip("web") == vip
    assert {w["id"] for w in pair.status()["workloads"]} == workloads
    done = loop.stop()
    assert done > 20
    held.stdin.close()
    held.wait(timeout=10 * SLOWNESS)
    pair.wait_open(0)
    rows = pair.status()["counters"]
    assert sum(r["attempts"] for r in rows) == sum(r["closed"] for r in rows) == done + 1


@pytest.mark.one_kernel
def test_a_bad_file_is_reported_and_the_last_good_state_stays(pair):
    generation = pair.status()["generation"]
    for text, field, words in (
            ('{"meshName": "m", "virtualNodeName": "bad", "spec": {"listeners": [{"portMapping": {"port": 70000, "protocol": "tcp"}}]}}',
             "spec.listeners[0].portMapping.port", "65535"),
            ('{"meshName": "m", "virtualNodeName": "bad", "spec": {"listenres": []}}', "spec.listenres", ""),
            ('{"meshName": "m"', "", "line 1"),
            ('{"meshName": "m", "meshName": "n", "spec": {}}', "", "meshName")):
        pair.write_raw("bad", text)
        error = wait_for(lambda: pair.status()["configuration"]["error"], "the error is reported")
        assert "bad.json" in error["error"] or "bad.json" in str(error), error
        assert field in error["field"] and words in error["error"], error
        assert pair.connect(pair.vip("web"), 8080) == "10.77.0.1:9001"
        assert pair.status()["generation"] == generation
        (pair.config / "bad.json").unlink()
        wait_for(lambda: not pair.status()["configuration"]["error"], "the error is gone")


def test_a_change_of_weights_meets_the_next_connection(pair):
    pair.register("other", "1", "10.77.0.1:9002")
    pair.router("web")
    pair.route("web", {"web": 1, "other": 0})
    pair.service("web", router="web")
    pair.wait_reason("web:8080", "routed")
    assert pair.connect(pair.vip("web"), 8080) == "10.77.0.1:9001"
    pair.route("web", {"web": 0, "other": 1})
    wait_for(lambda: pair.explain("web:8080")["target"].endswith("/other:8080"), "the new weights are in force")
    assert pair.connect(pair.vip("web"), 8080) == "10.77.0.1:9002"
    pair.route("web", {"web": 0, "other": 0})
    pair.wait_reason("web:8080", "no-target")
    assert pair.connect(pair.vip("web"), 8080) == "ECONNREFUSED"


def test_an_endpoint_that_is_deregistered_gets_no_new_connections_and_keeps_its_open_ones(pair):
    vip = pair.vip("web")
    held = pair.workload([PYTHON, "-c", f"""
import socket, sys
s = socket.create_connection(('{vip}', 8080))
print(s.recv(100).decode().strip(), flush=True)
sys.stdin.readline()
s.sendall(b'still here')
print(s.recv(100).decode(), flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout.readline() == "10.77.0.1:9001\n"
    pair.register("web", "2", "10.77.0.1:9002")
    pair.weft("deregister", "--namespace", "test", "--service", "web", "--id", "1")
    wait_for(lambda: pair.connect(vip, 8080) == "10.77.0.1:9002", "new connections go elsewhere")
    for _ in range(5):
        assert pair.connect(vip, 8080) == "10.77.0.1:9002"
    held.stdin.write("go on\n")
    held.stdin.flush()
    assert held.stdout.readline() == "still here\n"
    held.wait(timeout=10 * SLOWNESS)
    pair.weft("deregister", "--namespace", "test", "--service", "web", "--id", "2")
    pair.wait_reason("web:8080", "no-endpoint")
    assert pair.connect(vip, 8080) == "ECONNREFUSED"


def test_what_weft_run_registers_goes_when_its_cgroup_empties(pair):
    server = pair.workload(["sleep", "1000"], node="other", words=["--register", "10.77.0.1:9002"])
    wait_for(lambda: pair.weft("instances", "--namespace", "test", "--service", "other")["instances"], "it is registered")
    server.kill()
    server.wait()
    wait_for(lambda: not pair.weft("instances", "--namespace", "test", "--service", "other")["instances"], "its registration is gone", 5)
    wait_for(lambda: not [w for w in pair.status()["workloads"] if w["virtualNode"].endswith("/other")], "the workload is gone", 5)


def test_a_loopback_endpoint_is_offered_in_the_registrants_namespace_only(pair):
    pod = pair.add_namespace("10.77.5.1/32")
    pair.node("client", port=None, backends=["web", "other"])
    pair.workload(["sleep", "1000"], node="other", netns=pod, words=["--register", "127.0.0.1:9009"])
    wait_for(lambda: pair.weft("instances", "--namespace", "test", "--service", "other")["instances"], "it is registered")
    pair.wait_reason("other:8080", "no-endpoint")
    assert pair.connect(pair.vip("other"), 8080) == "ECONNREFUSED"


def test_audit_mode_lets_pass_and_counts(pair):
    pair.kill_agent(signal.SIGTERM)
    pair.options += ["--audit", "m"]
    pair.start_agent()
    pair.register("other", "1", "10.77.0.1:9002")
    pair.wait_reason("other:8080", "audit-not-a-backend")
    assert pair.connect(pair.vip("other"), 8080) == "10.77.0.1:9002"
    assert pair.connect("10.99.0.1", 80) == "ENETUNREACH"  # the namespace's own answer
    assert pair.connect(pair.vip("web"), 9) == "ECONNREFUSED"  # every other refusal still refuses
    reasons = pair.reasons()
    assert reasons[("client", "other", "audit-not-a-backend")] >= 1
    assert reasons[("client", None, "audit-not-in-mesh")] >= 1
    assert reasons[("client", "web", "no-listener")] >= 1


def test_flow_records_that_the_ring_cannot_hold_are_counted_exactly(pair):
    vip = pair.vip("web")
    before = pair.status()["stats"]
    client = pair.workload([PYTHON, "-c", f"""
import socket, sys
print('ready', flush=True)
sys.stdin.readline()
for _ in range(40000):
    socket.socket().connect_ex(('{vip}', 9))
print('done', flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "ready\n"
    pair.agent.send_signal(signal.SIGSTOP)
    client.stdin.write("go\n")
    client.stdin.flush()
    assert client.stdout.readline() == "done\n"
    pair.agent.send_signal(signal.SIGCONT)
    after = pair.status()["stats"]
    written = after["flows-written"] - before["flows-written"]
    lost = after["flows-lost"] - before["flows-lost"]
    assert written + lost == 40000 and lost > 0
    records = pair.weft("connections", "--reason", "no-listener", "--limit", "100000")["closed"]
    assert len(records) == written
    assert pair.reasons()[("client", "web", "no-listener")] == 40000


def test_cgroups_that_match_a_pattern_act_for_their_node_from_mkdir_on():
    root = cgroup2_root()
    with Node() as node:
        node.kill_agent(signal.SIGTERM)
        relative = node.cgroup.relative_to(root)
        options = node.directory / "options.json"
        options.write_text(json.dumps({"workloads": [{"cgroup": f"{relative}/pay-*.service", "virtualNode": "mesh/m/virtualNode/client"}]}))
        node.options += ["--options-file", str(options)]
        node.mesh()
        node.node("client", port=None, backends=[])
        node.start_agent()
        unit = node.cgroup / "pay-1.service"
        unit.mkdir()
        code = "import os,socket,sys\nopen(sys.argv[1]+'/cgroup.procs','w').write(str(os.getpid()))\nprint('in',flush=True)\nsys.stdin.readline()\nprint(socket.socket().connect_ex(('10.99.0.1',80)),flush=True)"
        process = node.spawn([PYTHON, "-c", code, unit], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "in\n"
        wait_for(lambda: node.status()["workloads"], "the cgroup is a workload")
        wait_for(lambda: node.status()["generation"] > 0, "its node is in force")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1\n"  # EPERM
        process.wait(timeout=10 * SLOWNESS)


def holds(pid, namespace):
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(fd) == namespace:
                return True
    return False


def test_a_pods_namespace_is_let_go_with_its_last_process(pair):
    pod = pair.add_namespace("10.77.6.1/32")
    process = pair.workload(["sleep", "1000"], netns=pod)
    wait_for(lambda: [w for w in pair.status()["workloads"] if w["ownNetns"]], "the namespace is enrolled")
    namespace = f"net:[{os.stat(pod.path).st_ino}]"
    process.kill()
    process.wait()
    wait_for(lambda: not [w for w in pair.status()["workloads"] if w["ownNetns"]], "the workload is gone", 5)
    wait_for(lambda: not holds(pair.agent.pid, namespace), "its namespace is let go", 1)


@pytest.mark.one_kernel
def test_an_agent_that_is_told_to_end_answers_what_it_was_asked_and_shows_what_it_refused(pair):
    def connect():
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(f"/run/weft/{pair.instance}/weftd.sock")
        return connection

    with connect() as bad, connect() as idle, connect() as asks:
        bad.sendall(b"GET / HTTP/1.1\r\nHost : weft\r\n\r\n")
        assert bad.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        status = pair.status()
        assert {"server": "local", "reason": "bad-header-name", "count": 1} in [
            {key: row[key] for key in ("server", "reason", "count")} for row in status["httpRefusals"]]
        requests = next(row["requests"] for row in status["http"] if row["server"] == "local")
        asks.sendall(b"PUT /v1/instances HTTP/1.1\r\nHost: weft\r\nContent-Length: 2\r\n\r\n{")
        # Half of it is there: whoever is asked something after that has seen it.
        assert next(row["requests"] for row in pair.status()["http"] if row["server"] == "local") > requests
        pair.agent.terminate()
        assert idle.recv(100) == b""
        asks.sendall(b"}")
        answer = asks.recv(1000)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"\r\nConnection: close\r\n" in answer
    assert pair.agent.wait(20) == 0


@pytest.mark.one_kernel
def test_weftd_without_a_kernel_part_names_the_command(tmp_path):
    result = subprocess.run([BUILD / "weftd", "--instance", f"none{os.getpid()}", "--state-dir", tmp_path, "--config", tmp_path], capture_output=True, text=True)
    os.system(f"rm -rf /run/weft/none{os.getpid()}")
    assert result.returncode == 1
    assert "weft-loader install" in result.stderr


def test_uninstall_leaves_nothing(pair):
    pair.kill_agent(signal.SIGTERM)
    assert os.path.exists(f"/sys/fs/bpf/weft/{pair.instance}")
    pair.loader("uninstall")
    assert not os.path.exists(f"/sys/fs/bpf/weft/{pair.instance}")
    pair.loader("install", "--cgroup", pair.cgroup)


def test_an_upgrade_in_place_loses_no_connection_and_no_counter(pair):
    vip = pair.vip("web")
    loop = Connections(pair, vip)
    for _ in range(5):
        before = attempts(pair)
        pair.loader("upgrade")
        wait_for(lambda: attempts(pair) > before, "connections go on, and are counted")
    done = loop.stop()
    pair.wait_open(0)
    assert attempts(pair) == done
