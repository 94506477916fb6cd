# SPDX-License-Identifier: Apache-2.0
"""weft-proxy as a process: who starts it, what it outlives, who takes over from it, and what it leaves behind."""
import array
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from dns_world import RESOLVER, grown, make_client, make_names, named_world, wait_for_names
from weft import BUILD, Node, cgroup2_root, is_proxy, wait_for

MESH, OUTSIDE = "web.example.com", "outside.example.net"


@pytest.fixture
def names():
    """A mesh with a workload that asks, of a test of its own: what is done to weft-proxy here others would notice."""
    with named_world() as node:
        yield node


@pytest.fixture
def node():
    with Node() as node:
        node.mesh()
        node.node("client", port=None)
        yield node


def proxy(node):
    return node.status()["proxy"]


def running(node):
    """The pid, as soon as weftd is connected to it."""
    return wait_for(lambda: proxy(node).get("pid"), "weft-proxy runs")


def cgroup_of(pid):
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text().split("0::")[1].strip()


def own_cgroup():
    return cgroup_of("self").rstrip("/")


def has_names(node, timeout_s=1):
    return node.client.addresses(RESOLVER, MESH, timeout_s=timeout_s) == [node.vips[0]]


def namespaces_held(pid):
    """Inodes of the network namespaces that the process holds descriptors or sockets of."""
    held = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith("net:["):
            held.add(int(target[5:-1]))
    return held


def sockets_in(namespace):
    """The responder's listening and receiving sockets there."""
    return namespace.command("ss", "-Hlntu", "sport", "=", "15053").splitlines()


def start_proxy(node, *options, programs=BUILD):
    """Started by hand, as a unit of its own would be; in weftd's namespace."""
    log = open(node.log, "a")
    return node.spawn([programs / "weft-proxy", "--instance", node.instance, *options], stdout=log, stderr=log)


# --- under weftd ----------------------------------------------------------------------------------------------------------------------------


def test_weftd_starts_it_in_a_cgroup_of_its_own_and_it_says_who_it_is(node):
    pid = running(node)
    state = proxy(node)
    assert pid == node.proxy_pid() and is_proxy(pid, node.instance)
    assert state["state"] == "running" and not state["adopted"] and state["restarts"] == 0 and state["lastEnd"] is None
    assert state["version"] == node.status()["version"]
    assert wait_for(lambda: proxy(node)["beatAgeNs"] < 1e9, "it beats")
    assert cgroup_of(pid) == f"{own_cgroup()}/weft-proxy-{node.instance}"
    assert os.getsid(pid) == pid, "a signal to weftd's terminal is not meant for it"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert node.status()["warnings"] == []


def test_it_outlives_weftd_and_the_next_one_adopts_it(names):
    pid = running(names)
    for how in (signal.SIGKILL, signal.SIGTERM):
        names.kill_agent(how)
        assert is_proxy(pid, names.instance)
        for _ in range(20):
            assert has_names(names)
        names.start_agent()
        assert running(names) == pid
        assert proxy(names)["adopted"] and proxy(names)["restarts"] == 0
        assert has_names(names)
    reasons = names.reasons()
    assert not reasons.get(("client", None, "dns-bypass")), "nothing went around it"


def test_killed_it_is_back_at_once_with_all_its_workloads(names):
    before = running(names)
    begun = time.monotonic()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: has_names(names, timeout_s=0.02), "names are the mesh's again")
    print(f"killed -9: names again after {time.monotonic() - begun:.3f} s")
    after = running(names)
    state = proxy(names)
    assert after != before and state["restarts"] == 1 and state["lastEnd"] == "killed by signal 9" and not state["adopted"]
    assert names.client.addresses(RESOLVER, OUTSIDE) == ["198.51.100.7"]


def test_one_that_was_adopted_is_started_again_as_well(names):
    pid = running(names)
    names.kill_agent()
    names.start_agent()
    assert running(names) == pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: has_names(names), "names are the mesh's again")
    assert running(names) != pid and proxy(names)["lastEnd"] == "ended"


def test_one_that_hangs_is_killed_and_replaced(names):
    pid = running(names)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: names.client.addresses(RESOLVER, OUTSIDE, timeout_s=0.2) == ["198.51.100.7"], "queries go around it")
    wait_for(lambda: not is_proxy(pid, names.instance), "it is killed", 20)
    wait_for(lambda: has_names(names), "names are the mesh's again")
    assert proxy(names)["hung"] == 1 and proxy(names)["restarts"] == 1


@pytest.mark.one_kernel
def test_one_that_ends_at_once_is_started_later_each_time_and_nothing_else_waits(tmp_path):
    with Node() as node:
        node.kill_agent(signal.SIGTERM)
        os.kill(node.proxy_pid(), signal.SIGTERM)
        wait_for(lambda: not is_proxy(node.proxy_pid(), node.instance), "weft-proxy ended")
        shutil.copy(BUILD / "weftd", tmp_path)
        (tmp_path / "weft-proxy").write_text("#!/bin/sh\nexit 7\n")
        (tmp_path / "weft-proxy").chmod(0o755)
        node.programs = tmp_path
        node.start_agent()
        wait_for(lambda: proxy(node)["restarts"] >= 3, "it is started again")
        begun, restarts = time.monotonic(), proxy(node)["restarts"]
        wait_for(lambda: proxy(node)["restarts"] >= restarts + 2, "it is started again", 20)
        assert time.monotonic() - begun > 0.5, "by and by"
        assert proxy(node)["state"] == "starting" and proxy(node)["lastEnd"] == "exited with status 7"
        assert "names go to the resolvers themselves" in node.status()["warnings"][0]
        node.mesh()
        node.node("client", port=None)
        assert node.client("result = 'ran'") == "ran"


def test_the_first_thing_a_program_asks_gets_the_meshs_answer(names):
    code = f"import socket\nresult = sorted({{a[4][0] for a in socket.getaddrinfo('{MESH}', 80)}})"
    for _ in range(10):
        pod = names.add_pod()
        pod.resolv_conf(f"nameserver {RESOLVER}")
        assert Node.client(names, code, netns=pod) == sorted(names.vips)


# --- the end of a workload, of the instance -------------------------------------------------------------------------------------------------


def test_a_workloads_end_closes_everything_of_it_with_weftd_dead(names):
    pod = names.client.pod
    inode = os.stat(pod.path).st_ino
    pid = running(names)
    assert len(sockets_in(pod)) == 2 and inode in namespaces_held(pid)
    names.kill_agent()
    begun = time.monotonic()
    names.client.worker.kill()
    wait_for(lambda: not sockets_in(pod), "its sockets are closed")
    wait_for(lambda: inode not in namespaces_held(pid), "its namespace is let go")
    print(f"a workload's end: closed after {time.monotonic() - begun:.3f} s")
    names.start_agent()
    assert running(names) == pid
    again = make_client(names, pod=pod)
    wait_for_names(names, again)


def test_what_weftd_does_not_name_any_more_goes_and_the_rest_stays(names):
    """The workload ended while neither weftd nor a living weft-proxy could see it."""
    other = make_client(names)
    wait_for_names(names, other)
    pid = running(names)
    names.kill_agent()
    os.kill(pid, signal.SIGKILL)
    other.worker.kill()
    names.start_agent()
    wait_for(lambda: has_names(names), "the workload that lives has its names")
    assert len(names.weft("dns")["workloads"]) == 1


def test_it_ends_when_the_instance_is_uninstalled_and_leaves_nothing(node):
    pid = running(node)
    cgroup = cgroup2_root() / cgroup_of(pid).lstrip("/")
    assert cgroup.exists()
    node.kill_agent(signal.SIGTERM)
    node.loader("uninstall")
    wait_for(lambda: not is_proxy(pid, node.instance), "it ended")
    assert not cgroup.exists()
    assert not pathlib.Path(f"/run/weft/{node.instance}").exists()


def test_what_a_killed_one_left_goes_with_the_instance(node):
    pid = running(node)
    cgroup = cgroup2_root() / cgroup_of(pid).lstrip("/")
    node.kill_agent()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_proxy(pid, node.instance), "it is gone")
    assert cgroup.exists() and os.path.exists(f"/run/weft/{node.instance}/proxy.sock")
    node.loader("uninstall")
    assert not cgroup.exists()
    assert not os.path.exists(f"/run/weft/{node.instance}")


def test_it_ends_also_when_the_instance_was_installed_anew_before_it_looked(node):
    pid = running(node)
    node.kill_agent(signal.SIGTERM)
    node.loader("uninstall")
    node.loader("install", "--cgroup", node.cgroup)
    wait_for(lambda: not is_proxy(pid, node.instance), "it ended: these are other maps")
    node.start_agent()
    assert running(node) != pid
    assert wait_for(lambda: proxy(node)["beatAgeNs"] < 1e9, "the new one beats where the hooks look")


@pytest.mark.one_kernel
def test_a_signal_ends_it_in_order(names):
    names.kill_agent(signal.SIGTERM)
    pid = names.proxy_pid()
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_proxy(pid, names.instance), "it ended")
    assert not os.path.exists(f"/run/weft/{names.instance}/proxy.sock")
    assert not sockets_in(names.client.pod)
    assert names.client.addresses(RESOLVER, MESH) == ["198.51.100.99"], "the resolver itself answers"


# --- taking over ------------------------------------------------------------------------------------------------------------------------------


class Asking(threading.Thread):
    """Asks for a name of the mesh and for one outside, over and over, from a process of the workload; `failed` and `count` tell."""

    CODE = """
import select, sys
failed, count, end = [], 0, time.monotonic() + 60
while time.monotonic() < end and not os.path.exists(arguments[2]):
    for name, expected in arguments[1]:
        for answer in (ask(arguments[0], name, timeout_s=8), ask_tcp(arguments[0], name, timeout_s=8)[0]):
            count += 1
            if not answer or answer["addresses"] != expected:
                failed.append([name, answer])
result = {"failed": failed, "count": count}
"""

    def __init__(self, client, expected, stop):
        super().__init__()
        self.client, self.expected, self.stop_file = client, expected, stop

    def run(self):
        self.result = self.client.worker.run(self.CODE, RESOLVER, self.expected, str(self.stop_file))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop_file.touch()
        self.join()


def test_takeovers_lose_no_query_and_let_none_pass_by(names, tmp_path):
    names.kill_agent(signal.SIGTERM)
    names.options += ["--proxy", "external"]
    names.start_agent()
    pids = [running(names)]
    before = names.reasons()
    asking = make_client(names)
    wait_for_names(names, asking)
    with Asking(asking, [[MESH, [names.vips[0]]], [OUTSIDE, ["198.51.100.7"]]], tmp_path / "stop") as loop:
        for _ in range(3):
            wait_for(lambda: grown_queries(names) > 20, "queries are asked")
            process = start_proxy(names)
            wait_for(lambda: names.proxy_pid() == process.pid, "the successor has the seat")
            wait_for(lambda: not is_proxy(pids[-1], names.instance), "the predecessor ended", 15)
            wait_for(lambda: proxy(names).get("pid") == process.pid, "weftd found the successor")
            pids.append(process.pid)
    assert loop.result["failed"] == [] and loop.result["count"] > 100
    print(f"three takeovers: {loop.result['count']} queries, none lost")
    assert grown(names, "dns-bypass", before) == 0 and grown(names, "dns-other-resolver", before) == 0
    workloads = names.weft("dns")["workloads"]
    assert len(workloads) == 2 and all(w["resolvers"] == [RESOLVER] for w in workloads)
    assert has_names(names)
    assert len(set(pids)) == 4


def test_names_go_on_while_a_build_with_other_maps_takes_over_and_hands_back(names, tmp_path):
    asking = make_client(names)
    wait_for_names(names, asking)
    before = names.reasons()
    with Asking(asking, [[MESH, [names.vips[0]]], [OUTSIDE, ["198.51.100.7"]]], tmp_path / "stop") as loop:
        for programs in BUILD / "layout2", BUILD:
            wait_for(lambda: grown_queries(names) > 20, "queries are asked")
            old = running(names)
            names.kill_agent(signal.SIGTERM)
            names.programs = programs
            names.loader("upgrade")
            names.start_agent()
            wait_for(lambda: proxy(names).get("pid") not in (None, old), "the other build's weft-proxy runs", 15)
            wait_for(lambda: not is_proxy(old, names.instance), "the predecessor ended", 15)
            assert os.readlink(f"/proc/{running(names)}/exe") == str(programs / "weft-proxy")
    assert loop.result["failed"] == [] and loop.result["count"] > 100
    print(f"two upgrades: {loop.result['count']} queries, none lost")
    assert grown(names, "dns-bypass", before) == 0 and grown(names, "dns-other-resolver", before) == 0


def grown_queries(node):
    return sum(node.weft("dns")["outcomes"].values())


def test_what_was_taken_over_ends_with_its_workload_without_weftd(names):
    running(names)
    names.kill_agent()
    old = names.proxy_pid()
    successor = start_proxy(names)
    wait_for(lambda: not is_proxy(old, names.instance), "the predecessor ended", 15)
    assert has_names(names)
    pod = names.client.pod
    inode = os.stat(pod.path).st_ino
    assert inode in namespaces_held(successor.pid)
    names.client.pod.resolv_conf(f"nameserver {RESOLVER}", "nameserver 10.77.0.99")
    wait_for(lambda: len(sockets_in(pod)) == 4, "its resolv.conf is followed")
    names.client.worker.kill()
    wait_for(lambda: inode not in namespaces_held(successor.pid), "its namespace is let go")
    assert not sockets_in(pod)


@pytest.mark.one_kernel
def test_a_predecessor_that_hangs_is_named(names):
    names.kill_agent()
    pid = names.proxy_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        successor = subprocess.run([BUILD / "weft-proxy", "--instance", names.instance], capture_output=True, text=True, timeout=30)
        assert successor.returncode == 1 and f"pid {pid} " in successor.stderr, successor.stderr
        assert 1.5 < time.monotonic() - begun < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: has_names(names), "it goes on")
    assert names.proxy_pid() == pid


@pytest.mark.one_kernel
def test_another_build_is_replaced_by_the_one_beside_weftd(names, tmp_path):
    old = running(names)
    names.kill_agent(signal.SIGTERM)
    shutil.copy(BUILD / "weftd", tmp_path)
    (tmp_path / "weft-proxy").write_bytes((BUILD / "weft-proxy").read_bytes() + b"another")
    (tmp_path / "weft-proxy").chmod(0o755)
    names.programs = tmp_path
    names.start_agent()
    wait_for(lambda: proxy(names).get("pid") not in (None, old), "the successor runs", 15)
    assert os.readlink(f"/proc/{proxy(names)['pid']}/exe") == str(tmp_path / "weft-proxy")
    assert has_names(names)
    wait_for(lambda: not is_proxy(old, names.instance), "the predecessor ended", 15)
    assert proxy(names)["restarts"] == 0
    assert cgroup_of(proxy(names)["pid"]) == f"{own_cgroup()}/weft-proxy-{names.instance}"


# --- without weftd's help -------------------------------------------------------------------------------------------------------------------


@pytest.mark.one_kernel
def test_off_leaves_names_alone_and_ends_what_was_there(names):
    pid = running(names)
    names.kill_agent(signal.SIGTERM)
    names.options += ["--proxy", "off"]
    names.start_agent()
    wait_for(lambda: not is_proxy(pid, names.instance), "it is ended")
    assert proxy(names) == {"state": "off", "restarts": 0, "hung": 0, "lastEnd": None}
    assert names.status()["warnings"] == []
    assert names.client.addresses(RESOLVER, MESH) == ["198.51.100.99"]
    assert Node.client(names, "result = 'ran'", netns=names.add_pod()) == "ran"


@pytest.mark.one_kernel
def test_external_waits_for_a_unit_of_its_own_and_connects():
    node = make_names("--proxy", "external")
    try:
        assert proxy(node)["state"] == "external, not there"
        node.client = make_client(node)
        assert node.client.addresses(RESOLVER, MESH) == ["198.51.100.99"]
        process = start_proxy(node)
        node.vips = wait_for_names(node, node.client)
        assert running(node) == process.pid and proxy(node)["adopted"]
        process.kill()
        process.wait()
        wait_for(lambda: proxy(node)["state"] == "external, not there", "weftd knows that it is gone")
        second = start_proxy(node)
        wait_for(lambda: has_names(node), "the next one has its workloads")
        assert running(node) == second.pid
    finally:
        node.close()


def test_two_instances_run_side_by_side():
    with Node() as one, Node() as two:
        pids = [running(one), running(two)]
        assert pids[0] != pids[1] and cgroup_of(pids[0]) != cgroup_of(pids[1])
        os.kill(pids[0], signal.SIGKILL)
        wait_for(lambda: proxy(one).get("pid") not in (None, pids[0]), "it is back")
        assert proxy(two)["pid"] == pids[1] and proxy(two)["restarts"] == 0


@pytest.mark.one_kernel
def test_misuse_is_told_by_the_option():
    for words, text in ((["--instance"], "instance"), (["--log-level", "loud"], "log-level"), (["extra"], "'extra'")):
        result = subprocess.run([BUILD / "weft-proxy", *words], capture_output=True, text=True)
        assert result.returncode == 2 and text in result.stderr
    result = subprocess.run([BUILD / "weft-proxy", "--instance", f"none{os.getpid()}"], capture_output=True, text=True)
    assert result.returncode == 1 and "weft-loader install" in result.stderr
    assert not os.path.exists(f"/run/weft/none{os.getpid()}")


# --- the control socket ---------------------------------------------------------------------------------------------------------------------


class Control:
    """A connection to the control socket."""

    def __init__(self, node):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(f"/run/weft/{node.instance}/proxy.sock")

    def ask(self, message, *fds):
        packet = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        answer, descriptors = self.receive()
        for fd in descriptors:
            os.close(fd)
        return answer

    def receive(self):
        packet, ancillary, _, _ = self.socket.recvmsg(256 * 1024, socket.CMSG_SPACE(64 * 4))
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data[:len(data) - len(data) % 4])
        return json.loads(packet) if packet else None, list(fds)


@pytest.mark.one_kernel
def test_what_is_malformed_is_refused_by_name_and_changes_nothing(names):
    control = Control(names)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    file = os.open("/proc/self/status", os.O_RDONLY)
    good = {"op": "attach", "workload": 99, "netnsCookie": 1, "node": "mesh/m/virtualNode/client", "nodeId": 1, "cgroup": "/none", "cgroupId": 5}
    assert control.ask({"op": "hello"})["pid"] == names.proxy_pid()  # it has accepted by now
    descriptors = len(os.listdir(f"/proc/{names.proxy_pid()}/fd"))
    for message, fds, field, text in (
            (b"{", [], None, "no JSON"), (b"[]", [], None, "object"), ({}, [], "op", "missing"), ({"op": 3}, [], "op", "missing"),
            ({"op": "dance"}, [], "op", "dance"), ({"op": "hello"}, [here], "op", "0 descriptors, not 1"), (good, [], "op", "1 descriptors, not 0"),
            (good, [here, here], "op", "not 2"), (good, [here] * 65, None, "more descriptors"), (good, [file], None, "no network namespace"), (good, [here], "netnsCookie", "cookie"),
            ({**good, "node": "x"}, [here], "node", "virtualNode"), ({**good, "cgroup": "/a/../.."}, [here], "cgroup", "below"),
            ({**good, "cgroup": "a"}, [here], "cgroup", "below"), ({**good, "workload": -1}, [here], "workload", "integer"),
            ({"op": "detach", "workload": 1}, [], "netnsCookie", "missing"), ({"op": "queries"}, [], "limit", "missing"),
            ({"op": "queries", "limit": 5, "node": 3}, [], "node", "string"), ({"op": "place"}, [], "op", "takeover"), ({"op": "taken"}, [], "op", "takeover"),
            ({"op": "retiring"}, [], "since", "missing"), ({"op": "retired", "reason": "drained"}, [], "op", "retiring"),
            ({"op": "connections", "connections": [{}]}, [], "connections", "0 descriptors")):
        answer = control.ask(message, *fds)
        assert text in answer["error"] and answer.get("field") == field and answer["code"] < 0, (message, answer)
    os.close(here)
    os.close(file)
    assert control.ask({"op": "detach", "workload": 99, "netnsCookie": 7}) == {}
    assert control.ask({"op": "hello"})["pid"] == names.proxy_pid()
    # it opens and closes files of its own meanwhile, and then
    wait_for(lambda: len(os.listdir(f"/proc/{names.proxy_pid()}/fd")) <= descriptors, "no descriptor stays open")
    assert has_names(names)


@pytest.mark.one_kernel
def test_who_does_not_read_is_disconnected_and_the_others_are_served(names):
    control = Control(names)
    control.socket.settimeout(0.2)
    with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
        for _ in range(100000):
            control.socket.send(b'{"op": "status"}')
    assert has_names(names)
    assert Control(names).ask({"op": "hello"})["pid"] == names.proxy_pid()


@pytest.mark.one_kernel
def test_a_successor_that_goes_away_midway_has_taken_nothing(names):
    pid = running(names)
    control = Control(names)
    promise = control.ask({"op": "takeover"})
    assert promise == {"places": 1, "synced": True, "generation": names.status()["generation"]}
    place = control.ask({"op": "place"})
    assert place["node"].endswith("/client") and [s["resolver"] for s in place["sockets"]] == [RESOLVER] and len(place["attachments"]) == 1
    assert control.ask({"op": "place"}) == {"done": True}
    assert has_names(names), "it answers all the while"
    control.socket.close()
    wait_for(lambda: Control(names).ask({"op": "hello"})["pid"] == pid, "others are heard again")
    again = make_client(names)
    wait_for_names(names, again)
    assert running(names) == pid and has_names(names)


@pytest.mark.one_kernel
def test_a_successor_that_dawdles_is_given_up(names):
    control = Control(names)
    control.ask({"op": "takeover"})
    assert control.receive()[0] is None, "disconnected after five seconds"
    assert running(names) == Control(names).ask({"op": "hello"})["pid"]


@pytest.mark.one_kernel
def test_only_root_is_heard(names):
    script = f"import os,socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\nfd=os.open('/run/weft/{names.instance}',os.O_PATH)\nos.chmod('/run/weft/{names.instance}/proxy.sock',0o666)\nos.setuid(65534)\ns.connect(f'/proc/self/fd/{{fd}}/proxy.sock')\ntry:\n s.send(b'{{\"op\": \"hello\"}}')\n print(s.recv(1000))\nexcept OSError: print(b'')"
    result = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, timeout=30)
    assert result.stdout == "b''\n", result.stderr
    assert has_names(names)
