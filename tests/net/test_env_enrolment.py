# SPDX-License-Identifier: Apache-2.0
"""Workloads by the App Mesh variables in their environment."""
import os
import signal
import subprocess
from pathlib import Path

import pytest
from weft import PYTHON, HERE, Node, Worker, wait_for

ACCOUNT = "123456789012"
NODE = "mesh/m/virtualNode/client"
ARN = f"arn:aws:appmesh:eu-central-1:{ACCOUNT}:{NODE}"
NOBODY = 65534
SECONDS = 30  # for what takes milliseconds on an idle machine


@pytest.fixture(scope="module")
def mesh():
    """`client` has the backend `web`, which answers at 10.77.0.1:9001; `other` has none."""
    with Node("--account", ACCOUNT, "--region", "eu-central-1") as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("other", port=None)
        node.node("web")
        node.service("web", node="web")
        node.echo("10.77.0.1:9001")
        node.register("web", "1", "10.77.0.1:9001")
        node.worker("client")  # so that its node is in the plan between others
        node.wait_reason("web:8080", "routed")
        yield node


class Claimant:
    """A process with these variables, in a cgroup of its own unless one is given. It does as worker.py does."""
    count = 0

    def __init__(self, node, variables, netns=None, cgroup=None, prefix=()):
        Claimant.count += 1
        self.node = node
        self.own = cgroup is None
        self.cgroup = cgroup or node.cgroup / f"claim-{Claimant.count}"
        self.cgroup.mkdir(exist_ok=True)
        words = [f"{name}={value}" for name, value in variables.items()]
        enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', self.cgroup]
        self.worker = Worker(node.spawn([*enter, *prefix, "env", *words, PYTHON, HERE / "worker.py"], netns,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        self.pid = self.worker.pid
        self.connect = self.worker.connect

    def workload(self):
        found = [w for w in self.node.status()["workloads"] if w["pid"] == self.pid]
        return found[0] if found else None

    def wait_enrolled(self):
        return wait_for(self.workload, f"process {self.pid} is enrolled; {self.node.status()['environment']}", SECONDS)

    def end(self):
        self.worker.kill()
        if self.own:
            self.node.empty(self.cgroup)


def outcomes(node):
    return {row["outcome"]: row["count"] for row in node.status()["environment"]["outcomes"]}


def refused(node, outcome, start):
    """What start() returns, and the words of the refusal that it met."""
    before = outcomes(node)[outcome]
    claimant = start()
    wait_for(lambda: outcomes(node)[outcome] > before, f"{outcome} is counted: {outcomes(node)}", SECONDS)
    assert not claimant.workload()
    refusal = node.status()["environment"]["lastRefusal"]["error"]
    assert refusal.startswith(f"{outcome}: process {claimant.pid} ("), refusal
    return claimant, refusal


def test_a_process_speaks_for_its_network_namespace_until_it_ends(mesh):
    pod = mesh.add_pod()
    client = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, pod)
    workload = client.wait_enrolled()
    assert (workload["virtualNode"], workload["ownNetns"], workload["origin"]) == (NODE, True, "environment")
    assert client.connect(mesh.vip("web"), 8080) != "EPERM"
    assert client.connect("10.99.0.1", 80) == "EPERM"  # DROP_ALL
    beside = mesh.worker(netns=pod)  # all of the namespace, also who says nothing, where the hooks are
    inside = mesh.cgroup / "beside"
    inside.mkdir()
    (inside / "cgroup.procs").write_text(str(beside.pid))
    assert beside.connect("10.99.0.1", 80) == "EPERM"
    client.end()
    wait_for(lambda: workload["id"] not in {w["id"] for w in mesh.status()["workloads"]}, "it is gone", SECONDS)
    assert beside.connect("10.99.0.1", 9) != "EPERM"
    beside.kill()
    mesh.empty(inside)


def test_in_the_hosts_namespace_a_cgroup_acts_where_all_of_it_says_the_same(mesh):
    client = Claimant(mesh, {"APPMESH_RESOURCE_ARN": ARN})
    workload = client.wait_enrolled()
    assert (workload["virtualNode"], workload["ownNetns"]) == (NODE, False)
    assert client.connect(mesh.vip("web"), 8080) == "10.77.0.1:9001"
    child = client.worker.run("result = subprocess.run(['env', '-i', *arguments], stdout=-1, text=True).stdout", PYTHON, "-c",
                              "import socket; print(socket.socket().connect_ex(('10.99.0.1', 80)))")
    assert child == "1\n"  # EPERM: a child is in the cgroup, whatever its environment says
    known = outcomes(mesh)["known"]
    second = Claimant(mesh, {"APPMESH_RESOURCE_ARN": ARN}, cgroup=client.cgroup)
    wait_for(lambda: outcomes(mesh)["known"] > known, "the second one is known", SECONDS)
    assert second.connect("10.99.0.1", 80) == "EPERM"
    client.worker.kill()
    assert second.connect("10.99.0.1", 80) == "EPERM"  # until the last one of the cgroup ends
    second.end()
    wait_for(lambda: workload["id"] not in {w["id"] for w in mesh.status()["workloads"]}, "it is gone", SECONDS)
    mesh.empty(client.cgroup)


def test_a_cgroup_where_one_says_nothing_is_refused_and_told_of_weft_run(mesh):
    cgroup = mesh.cgroup / "mixed"
    silent = Claimant(mesh, {}, cgroup=cgroup)
    client, refusal = refused(mesh, "mixed-cgroup", lambda: Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, cgroup=cgroup))
    assert f"process {silent.pid} of its cgroup does not say the same: use `weft run`" in refusal
    assert client.connect("10.77.0.1", 9001) == "10.77.0.1:9001"  # nobody touches it
    silent.end()
    client.end()
    mesh.empty(cgroup)


def test_the_full_name_goes_before_the_older_ones_and_blanks_do_not_count(mesh):
    client = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": "mesh/m/virtualNode/web", "APPMESH_RESOURCE_NAME": "mesh/m/virtualNode/web",
                             "APPMESH_RESOURCE_ARN": f"  mesh/m@{ACCOUNT}/virtualNode/other "})
    assert client.wait_enrolled()["virtualNode"] == "mesh/m/virtualNode/other"
    client.end()


@pytest.mark.parametrize("variable, value", [
    ("APPMESH_RESOURCE_ARN", f"arn:aws:appmesh:eu-central-1:{ACCOUNT}:mesh/m/virtualGateway/g"),
    ("APPMESH_VIRTUAL_NODE_NAME", "mesh/m/virtualGateway/g"),
])
def test_a_process_may_say_that_it_is_a_virtual_gateway(mesh, variable, value):
    mesh.gateway("g")
    mesh.gateway_route("g", "all", "web")
    client = Claimant(mesh, {variable: value}, mesh.add_pod())
    assert client.wait_enrolled()["virtualNode"] == "mesh/m/virtualGateway/g"
    assert client.connect(mesh.vip("web"), 8080) == "10.77.0.1:9001", "what its routes name are its backends"
    client.end()


@pytest.mark.one_kernel
@pytest.mark.parametrize("outcome, value, words", [
    ("bad-name", "client", "'client' is no virtualNode: must be mesh/MESH/virtualNode/NAME"),
    ("bad-name", "arn:aws:iam::1:role/x", "is no App Mesh name"),
    ("other-account", ARN.replace(ACCOUNT, "999999999999"), f"the account is 999999999999, that of this weftd is {ACCOUNT} (--account)"),
    ("other-account", "mesh/m@999999999999/virtualNode/client", "the account is 999999999999"),
    ("other-region", ARN.replace("eu-central-1", "us-east-1"), "the region is us-east-1, that of this weftd is eu-central-1 (--region)"),
])
def test_what_names_no_node_of_this_mesh_is_refused_with_its_reason(mesh, outcome, value, words):
    client, refusal = refused(mesh, outcome, lambda: Claimant(mesh, {"APPMESH_RESOURCE_ARN": value}))
    assert words in refusal
    client.end()


def test_a_node_that_is_not_configured_is_enrolled_and_its_connections_are_refused(mesh):
    client = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": "mesh/m/virtualNode/missing"})
    assert client.wait_enrolled()["known"] is False
    assert client.connect(mesh.vip("web"), 8080) == "ECONNREFUSED"
    assert mesh.reasons()[("missing", "web", "no-node")] == 1
    client.end()


def test_what_weft_run_says_goes_first(mesh):
    pod = mesh.add_pod()
    run = mesh.worker("other", pod)
    client, refusal = refused(mesh, "other-node", lambda: Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, pod))
    assert "mesh/m/virtualNode/other" in refusal
    client.end()
    run.kill()


AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def test_a_namespace_that_nobody_but_its_user_made_may_not_speak(mesh):
    unshare = [*AS_NOBODY, "unshare", "-Un"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("users may make no user namespaces here: forbidden, or a chroot")
    client, refusal = refused(mesh, "not-roots", lambda: Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, prefix=unshare))
    assert "user namespace" in refusal
    client.end()


def test_in_the_hosts_namespace_a_cgroup_must_be_roots_whoever_runs_there(mesh):
    claim = {"APPMESH_VIRTUAL_NODE_NAME": NODE}
    delegated = mesh.cgroup / "delegated"
    delegated.mkdir()
    os.chown(delegated, NOBODY, NOBODY)
    client, refusal = refused(mesh, "not-roots", lambda: Claimant(mesh, claim, cgroup=delegated, prefix=AS_NOBODY))
    assert "does not belong to root" in refusal
    client.end()
    mesh.empty(delegated)
    service = Claimant(mesh, claim, prefix=AS_NOBODY)
    assert service.wait_enrolled()["virtualNode"] == NODE
    service.end()


@pytest.mark.one_kernel
def test_an_environment_of_any_size_is_understood(mesh):
    # 0.4 KiB, a prefix at each place around the end of what the kernel part reads at once, and more than it reads at all
    for size in (400, *range(240, 260), 70_000):
        client = Claimant(mesh, {"A": "x" * min(size, 100_000), "APPMESH_VIRTUAL_NODE_NAME": NODE}, prefix=["env", "-i", f"PATH={os.environ['PATH']}"])
        assert client.wait_enrolled()["virtualNode"] == NODE
        client.end()


def test_the_window_is_measured_and_ends_before_the_first_refusal(mesh):
    before = mesh.status()["environment"]["window"]
    reasons = mesh.reasons()
    pod = mesh.add_pod()
    client = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": "mesh/m/virtualNode/other"}, pod)
    seen = client.worker.run("""
result = []
end = time.monotonic() + 30
while time.monotonic() < end and 'EPERM' not in result:
    outcome = connect(arguments[0], 8080)
    if outcome not in result:
        result.append(outcome)
""", mesh.vip("web"))
    assert seen[-1] == "EPERM" and "ECONNREFUSED" not in seen, seen  # `other` has no backend: denied, and never for want of its node
    client.wait_enrolled()
    assert mesh.reasons().get(("other", "web", "no-node")) == reasons.get(("other", "web", "no-node"))
    after = mesh.status()["environment"]["window"]
    assert after["count"] == before["count"] + 1
    assert 0 < after["lastNs"] <= after["maxNs"] < SECONDS * 1e9
    client.end()


def test_who_began_while_weftd_was_away_is_found_and_who_stays_is_adopted(mesh):
    pod, late_pod = mesh.add_pod(), mesh.add_pod()
    stays = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, pod)
    before = stays.wait_enrolled()
    mesh.kill_agent()
    early = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, late_pod)
    held = early.worker.run("listener = socket.create_server(('127.0.0.1', 0)); held = socket.create_connection(listener.getsockname()); result = 1")
    mesh.start_agent()
    assert stays.workload() == before
    workload = early.wait_enrolled()
    assert held and workload["earlierSockets"] == 2  # both ends
    assert mesh.status()["environment"]["window"]["count"] == 1  # the kernel part told of it all the same
    assert early.connect("10.99.0.1", 80) == "EPERM"
    stays.end()
    early.end()


def test_a_process_outside_of_where_the_instance_is_attached_is_nobodys(mesh):
    elsewhere = mesh.cgroup.parent / f"{mesh.cgroup.name}-elsewhere"
    try:
        outside = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, mesh.add_pod(), cgroup=elsewhere)
        inside = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE}, mesh.add_pod())
        inside.wait_enrolled()  # it was looked at after the other one
        assert not outside.workload()
        inside.end()
        outside.end()
    finally:
        mesh.empty(elsewhere)


@pytest.mark.one_kernel
def test_it_can_be_turned_off(mesh):
    mesh.kill_agent(signal.SIGTERM)
    options = mesh.options
    mesh.options = [*options, "--environment", "off"]
    mesh.start_agent()
    client = Claimant(mesh, {"APPMESH_VIRTUAL_NODE_NAME": NODE})
    environment = mesh.status()["environment"]
    assert (environment["on"], environment["off"]) == (False, "off by --environment")
    mesh.kill_agent(signal.SIGTERM)
    mesh.options = options
    mesh.start_agent()
    client.wait_enrolled()  # the kernel part did not look either: it is found by a look at all processes
    assert mesh.status()["environment"]["window"]["count"] == 0  # which cannot tell when it began
    client.end()


def test_where_the_kernel_part_does_not_tell_it_is_off_and_said(mesh):
    mesh.kill_agent(signal.SIGTERM)
    next(Path("/sys/fs/bpf/weft", mesh.instance).glob("abi*/exec_claim")).unlink()  # as on a kernel that does not take the program
    mesh.start_agent()
    environment = mesh.status()["environment"]
    assert not environment["on"] and "exec_claim" in environment["off"]
    assert "workloads cannot be found by their environment" in mesh.log.read_text()
    doctor = mesh.weft("doctor", check=False)
    features = next(check for check in doctor["checks"] if check["name"] == "features")
    assert features["state"] == "note" and "exec_claim" in features["findings"][0]["cause"]
    mesh.kill_agent(signal.SIGTERM)
    mesh.loader("upgrade")
    mesh.start_agent()
    assert mesh.status()["environment"]["on"]


def test_weftd_and_weft_proxy_are_never_workloads(mesh):
    cgroup = mesh.cgroup / "agent"
    cgroup.mkdir()
    mesh.kill_agent(signal.SIGTERM)
    mesh.loader("uninstall")  # ends weft-proxy, so that the next one is started from here
    mesh.loader("install", "--cgroup", mesh.cgroup)
    mesh.agent_wrapper = ["env", f"APPMESH_RESOURCE_ARN={ARN}", "sh", "-c", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh"]
    mesh.start_agent()
    wait_for(lambda: mesh.status()["proxy"]["state"] == "running", "weft-proxy runs", SECONDS)
    claimant, refusal = refused(mesh, "mixed-cgroup", lambda: Claimant(mesh, {"APPMESH_RESOURCE_ARN": ARN}, cgroup=cgroup))
    assert f"process {mesh.agent.pid} of its cgroup" in refusal  # which was started after both
    assert [w["pid"] for w in mesh.status()["workloads"] if w["origin"] == "environment"] == []
    claimant.end()
    mesh.kill_agent(signal.SIGTERM)
    mesh.agent_wrapper = []
