# SPDX-License-Identifier: Apache-2.0
"""`weft doctor`: a node where all is well, and each way of breaking one that the tests can bring about."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
from traffic import web
from weft import BUILD, wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# connect, sendmsg and bind of both families; a UDP socket of each that connects to see how its peer is shown
PROBED_IN_TWO_PLACES = {("client", None, "probe"): 12, ("client", None, "not-tcp"): 4}


@pytest.fixture
def node():
    """A workload by its cgroup, and one by its namespace."""
    with web() as node:
        node.pod = node.add_pod()
        node.shared = node.workload(["sleep", "1000"])
        node.whole = node.workload(["sleep", "1000"], netns=node.pod)
        node.wait_reason("web:8080", "routed")
        wait_for(lambda: len(node.status()["workloads"]) == 2, "both are enrolled")
        wait_for(lambda: node.status()["proxy"]["state"] == "running", "weft-proxy is there")
        yield node


def doctor(node, instance=None):
    """The exit code, and the checks by name."""
    argv = [BUILD / "weft", "doctor", "--json", "--instance", instance or node.instance]
    result = subprocess.run(argv, capture_output=True, text=True)
    assert not result.stderr, result.stderr
    verdict = json.loads(result.stdout)
    assert result.returncode == (0 if verdict["healthy"] else 1)
    return result.returncode, {check["name"]: check for check in verdict["checks"]}


def states(checks):
    """What this machine's kernel, clock and other instances are like is none of the tests' business."""
    return {name: check["state"] for name, check in checks.items() if name not in ("kernel", "clock", "instances")}


def causes(check):
    return [finding["cause"] for finding in check["findings"]]


def cgroup_of(process):
    return pathlib.Path(f"/proc/{process.pid}/cgroup").read_text().split("0::")[1].split("\n")[0]


def pins(node):
    return next(pathlib.Path("/sys/fs/bpf/weft", node.instance).glob("abi*"))


def test_a_node_where_all_is_well_is_probed_everywhere_and_nothing_is_left_of_it(node):
    code, checks = doctor(node)
    assert set(states(checks).values()) == {"ok"}, [check for check in checks.values() if check["state"] != "ok"]
    assert code == 0
    assert node.reasons() == PROBED_IN_TWO_PLACES
    assert not [record for record in node.weft("connections", "--since", "1h")["closed"] if record["reason"] == "probe"]
    for process in (node.shared, node.whole):
        directory = node.cgroup.parent / cgroup_of(process).lstrip("/")
        assert (directory / "cgroup.procs").read_text().split() == [str(process.pid)]


@pytest.mark.one_kernel
def test_what_people_read_says_it_in_words_and_exits_alike(node):
    result = subprocess.run([BUILD / "weft", "doctor", "--instance", node.instance], capture_output=True, text=True)
    assert result.returncode == 0
    assert "all is well" in result.stdout
    node.write_raw("broken", "{")
    wait_for(lambda: node.status()["configuration"]["error"], "the file is refused")
    result = subprocess.run([BUILD / "weft", "doctor", "--instance", node.instance], capture_output=True, text=True)
    assert result.returncode == 1
    assert "configuration  WRONG" in result.stdout and "broken.json" in result.stdout and "do: correct the file" in result.stdout
    assert "1 thing is wrong, " in result.stdout


def test_a_hook_that_was_taken_away_is_found_by_its_link_and_by_its_silence_and_install_mends_it(node):
    (pins(node) / "link_bind4").unlink()
    (pins(node) / "link_connect6").unlink()
    code, checks = doctor(node)
    assert code == 1
    assert [cause.split(":")[0] for cause in causes(checks["hooks"])] == ["the hook bind4 is not attached", "the hook connect6 is not attached"]
    assert len(causes(checks["probes"])) == 2
    for cause in causes(checks["probes"]):
        assert "no answer from connect6" in cause and "bind4 (Cannot assign requested address)" in cause
    node.loader("install")
    code, checks = doctor(node)
    assert code == 0 and set(states(checks).values()) == {"ok"}


def test_a_process_in_a_managed_namespace_but_outside_of_where_weft_is_attached_is_found(node):
    stray = node.spawn(["sleep", "1000"], node.pod)
    code, checks = doctor(node)
    assert code == 1
    assert states(checks)["hooks"] == "ok"
    for name in ("effect", "probes"):
        (cause,) = causes(checks[name])
        assert f"mesh/m/virtualNode/client in the cgroup '{cgroup_of(stray)}'" in cause
        for hook in ("connect4", "sendmsg6", "bind4", "getpeername6"):
            assert hook in cause


def test_programs_of_others_behind_ours_are_found_with_their_ids(node):
    other = f"{node.instance}-b"
    subprocess.run([BUILD / "weft-loader", "install", "--instance", other, "--cgroup", node.cgroup], check=True, capture_output=True)
    try:
        status = json.loads(subprocess.run([BUILD / "weft-loader", "status", "--json", "--instance", other], capture_output=True).stdout)
        identifier = {hook["name"]: hook["programId"] for hook in status["hooks"]}["sendmsg4"]
        code, checks = doctor(node)
        assert code == 1
        behind = f"the program 'sendmsg4' (id {identifier}) runs after weft's at sendmsg4"
        assert any(behind in cause for cause in causes(checks["foreign"]))
        assert any(f"instance '{other}'" in cause and "overlaps" in cause for cause in causes(checks["instances"]))
        # and the other way round: ours run before theirs, which have no workloads of their own
        _, checks = doctor(node, other)
        assert states(checks)["probes"] == "ok" and checks["weftd"]["state"] == "wrong"
    finally:
        subprocess.run([BUILD / "weft-loader", "uninstall", "--instance", other], check=True, capture_output=True)


def test_without_weftd_the_kernel_part_is_still_looked_at(node):
    node.kill_agent()
    code, checks = doctor(node)
    assert code == 1
    assert checks["weftd"]["state"] == "wrong"
    for name in ("hooks", "effect", "foreign", "probes", "records", "tables", "heartbeat", "networks"):
        assert checks[name]["state"] == "ok", checks[name]
    assert checks["configuration"]["state"] == "skipped" and "weftd" in checks["configuration"]["skipped"]
    node.start_agent()
    assert node.reasons() == PROBED_IN_TWO_PLACES


@pytest.mark.one_kernel  # where it takes longer to look than weftd waits for its heart, another one beats by then
def test_a_proxy_that_is_stopped_has_no_heartbeat(node):
    pid = node.proxy_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: doctor(node)[1]["heartbeat"]["state"] == "wrong", "the heart is missed")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_frozen_workload_is_let_alone(node):
    freeze = node.cgroup.parent / cgroup_of(node.shared).lstrip("/") / "cgroup.freeze"
    freeze.write_text("1")
    wait_for(lambda: "frozen 1" in (freeze.parent / "cgroup.events").read_text(), "it is frozen")
    code, checks = doctor(node)
    freeze.write_text("0")
    assert code == 0
    (cause,) = causes(checks["probes"])
    assert checks["probes"]["state"] == "note" and "is frozen" in cause
    assert node.reasons()["client", None, "probe"] == 6  # the other one alone


def test_a_workload_at_its_limit_of_processes_is_let_alone(node):
    root, cgroup = node.cgroup.parent, node.cgroup.parent / cgroup_of(node.shared).lstrip("/")
    if "pids" not in (root / "cgroup.controllers").read_text().split():
        pytest.skip("the cgroup2 hierarchy has no controller of processes")
    for above in reversed([path for path in cgroup.parents if path.is_relative_to(root)]):
        (above / "cgroup.subtree_control").write_text("+pids")
    (cgroup / "pids.max").write_text("1")
    code, checks = doctor(node)
    assert code == 0
    (cause,) = causes(checks["probes"])
    assert checks["probes"]["state"] == "note" and "limit of processes, 1 of 1" in cause
    assert (cgroup / "pids.events").read_text() == "max 0\n"


def test_a_weftd_that_hangs_is_wrong_and_the_rest_is_looked_at(node):
    node.agent.send_signal(signal.SIGSTOP)
    try:
        code, checks = doctor(node)
    finally:
        node.agent.send_signal(signal.SIGCONT)
    assert code == 1
    assert "imed out" in causes(checks["weftd"])[0] or "imeout" in causes(checks["weftd"])[0]
    assert checks["probes"]["state"] == "ok"


def test_a_namespace_without_lo_is_noted_for_what_cannot_be_asked(node):
    node.pod.ip("link", "set", "lo", "down")
    code, checks = doctor(node)
    assert code == 0
    (cause,) = causes(checks["probes"])
    assert "cannot be asked: getpeername4 (Network is unreachable), getpeername6 (Network is unreachable)" in cause


def test_a_route_over_the_networks_of_vips_in_a_workloads_namespace_is_found(node):
    node.pod.ip("route", "add", "240.240.8.0/24", "dev", "lo")
    code, checks = doctor(node)
    (cause,) = causes(checks["networks"])
    assert code == 1
    assert f"process {node.whole.pid}" in cause and "240.240.8.0/24" in cause


@pytest.mark.one_kernel
def test_references_that_lead_nowhere_and_workloads_of_no_node_are_found(node):
    node.service("gone", node="nobody")
    node.workload(["sleep", "1000"], node="stranger")
    wait_for(lambda: len(node.status()["workloads"]) == 3, "the stranger is enrolled")
    wait_for(lambda: len(node.weft("get", "virtualService")["resources"]) == 2, "the file is read")
    code, checks = doctor(node)
    assert code == 1
    assert any("mesh/m/virtualNode/nobody" in cause for cause in causes(checks["configuration"]))
    assert any("mesh/m/virtualNode/stranger" in cause for cause in causes(checks["workloads"]))
    assert checks["probes"]["state"] == "ok"


def test_connections_from_before_enrolment_are_noted(node):
    held = node.add_namespace("10.99.0.1/24")
    server = node.echo("10.99.0.1:9001", namespace=held)
    early = node.worker(netns=held)
    early.run("s = socket.create_connection(('10.99.0.1', 9001))")
    node.workload(["sleep", "1000"], netns=held)
    wait_for(lambda: len(node.status()["workloads"]) == 3, "it is enrolled")
    _, checks = doctor(node)
    assert server.poll() is None
    assert checks["workloads"]["state"] == "note"
    assert "2 connections are older than its enrolment" in causes(checks["workloads"])[0]


@pytest.mark.one_kernel
def test_an_instance_that_is_not_there_is_told_how_to_be_installed():
    code, checks = doctor(None, f"t{os.getpid()}-nobody")
    assert code == 1
    assert "has no kernel part" in causes(checks["hooks"])[0] and "weft-loader install" in checks["hooks"]["findings"][0]["remedy"]
    assert checks["probes"]["state"] == "skipped"


@pytest.mark.one_kernel
def test_every_check_is_documented_with_what_it_is_about_and_no_other(node):
    section = (ROOT / "docs/operations.md").read_text().split("weft doctor\n")[1].split("## Metrics")[0]
    documented = re.findall(r"^\| `([a-z]+)` \| (.*) \|$", section, re.M)
    _, checks = doctor(node)
    assert documented == [(name, check["what"]) for name, check in checks.items()]


@pytest.mark.one_kernel
def test_only_root_can_look():
    result = subprocess.run(["setpriv", "--reuid=65534", BUILD / "weft", "doctor"], capture_output=True, text=True)
    if "execute" in result.stderr:  # the build is where nobody else may read
        pytest.skip("the build directory is root's alone")
    assert result.returncode == 1 and "root" in result.stderr
