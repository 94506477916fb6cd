# SPDX-License-Identifier: Apache-2.0
"""Another build takes over, whose maps lie otherwise, and back: under connections that are open, connections that are made, and refusals.
The other build is made of the same sources with -DWEFT_TEST_LAYOUT: members of most structures have moved."""
import pathlib
import re
import signal
import subprocess

import pytest
from traffic import Traffic, busy_web
from weft import BUILD, SLOWNESS, wait_for

OTHER = BUILD / "layout2"


@pytest.fixture
def node():
    assert (OTHER / "weft-loader").exists(), "run `make layout2` first"
    with busy_web() as node:
        yield node


def pins(node):
    root = pathlib.Path(f"/sys/fs/bpf/weft/{node.instance}")
    return sorted(path.name for path in root.iterdir()), [path.name for path in root.glob("*/*") if re.match("base_|swap_", path.name)]


def upgrade(node, programs):
    node.kill_agent(signal.SIGTERM)
    node.programs = programs
    node.loader("upgrade")
    assert pins(node) == (["abi3"], [])
    node.start_agent()


def refused(node, programs, *words):
    result = subprocess.run([programs / "weft-loader", *words, "--instance", node.instance], capture_output=True, text=True)
    assert result.returncode == 1
    return result.stderr


def test_a_build_with_another_layout_takes_over_under_traffic_and_hands_back(node):
    traffic = Traffic(node)
    for programs in OTHER, BUILD, OTHER, BUILD:
        upgrade(node, programs)
        node.wait_reason("web:8080", "routed")
    made, refusals = traffic.check()
    print(f"{traffic.held} connections held, {made} made, {refusals} refused")


def moments(calls):
    """Where to kill a loader that makes these calls: (which, the how-manieth), in each of its steps."""
    def at(text, last=False):
        found = [i for i, call in enumerate(calls) if text in call]
        return found[-1 if last else 0]

    def bpf(place):
        return "bpf", sum(call.startswith("bpf") for call in calls[:place]) + 1

    made, exchanged, dropped = at("/next_abi3\", 0700"), at("RENAME_EXCHANGE"), at('rmdir("/sys/fs/bpf')
    swaps = [i for i, call in enumerate(calls) if "LINK_UPDATE" in call and i < exchanged]
    swaps_again = [i for i, call in enumerate(calls) if "LINK_UPDATE" in call and i > dropped]
    assert made < swaps[0] < exchanged < dropped < swaps_again[0]
    unlinks = [i for i, call in enumerate(calls) if call.startswith("unlink") and i < dropped]
    return [bpf((made + swaps[0]) // 2), bpf(swaps[0]), bpf(swaps[1]), bpf(swaps[len(swaps) // 2]), bpf(swaps[-1]), bpf(swaps[-1] + 1),
            bpf((swaps[-1] + exchanged) // 2), ("renameat2", 1), bpf((2 * exchanged + dropped) // 3), bpf((exchanged + 2 * dropped) // 3),
            ("unlink", len(unlinks) // 2), ("rmdir", 1), bpf(swaps_again[1])]


def test_a_loader_that_is_killed_at_any_step_leaves_a_working_state_that_the_next_one_completes(node):
    traffic = Traffic(node, held=100)
    node.kill_agent()
    node.programs = OTHER
    steps = moments(node.loader_calls("upgrade"))
    for n, (call, count) in enumerate(steps):
        node.programs = BUILD if n % 2 == 0 else OTHER
        node.loader_killed(call, count, "upgrade")
        before = traffic.made()
        wait_for(lambda: traffic.made() > before + 10, f"connections are made after the {count}. {call} was the last")
        node.loader("upgrade")
        assert pins(node) == (["abi3"], [])
    node.start_agent()
    traffic.check()


def test_between_the_steps_of_an_upgrade_no_agent_starts_and_no_other_build_goes_on(node):
    node.kill_agent()
    node.programs = OTHER
    calls = node.loader_calls("upgrade")
    node.programs = BUILD
    node.loader_killed(*moments(calls)[3], "upgrade")
    for programs in BUILD, OTHER:
        result = subprocess.run([*node.namespace.prefix(), programs / "weftd", "--instance", node.instance, "--state-dir", node.state,
                                 "--config", node.config], capture_output=True, text=True, timeout=30 * SLOWNESS)
        assert result.returncode == 1 and "weft-loader upgrade" in result.stderr
    assert "another build" in refused(node, OTHER, "upgrade")
    node.loader("upgrade")
    node.start_agent()
    node.wait_reason("web:8080", "routed")


def test_weftd_has_to_be_stopped_and_neither_build_serves_the_other_s_maps(node):
    assert "weftd" in refused(node, OTHER, "upgrade")
    node.wait_reason("web:8080", "routed")
    node.kill_agent(signal.SIGTERM)
    result = subprocess.run([*node.namespace.prefix(), OTHER / "weftd", "--instance", node.instance, "--state-dir", node.state,
                             "--config", node.config], capture_output=True, text=True, timeout=30 * SLOWNESS)
    assert result.returncode == 1 and "weft-loader upgrade" in result.stderr
    node.start_agent()
    node.wait_reason("web:8080", "routed")


# Some connections with bytes both ways, and one more in each round, until the file is there. How many rounds, and how long the slowest took.
FROM_OUTSIDE = """
import time
address, port, count, stop, progress = arguments
held = [socket.create_connection((address, port), timeout=30 * SLOWNESS) for _ in range(count)]
rounds, slowest = 0, 0
for s in held:
    assert s.recv(100)
while not os.path.exists(stop):
    began = time.monotonic()
    for s in held:
        s.sendall(b'x' * 100)
    for s in held:
        assert len(s.recv(100, socket.MSG_WAITALL)) == 100
    with socket.create_connection((address, port), timeout=30 * SLOWNESS) as s:
        assert s.recv(100)
    slowest = max(slowest, time.monotonic() - began)
    rounds += 1
    open(progress, 'w').write(str(rounds))
for s in held:
    s.close()
result = [rounds, slowest]
"""
HELD_OUTSIDE = 20


def test_connections_without_a_local_socket_go_on_while_their_table_changes_its_layout(node, tmp_path):
    host, stop, progress = node.add_namespace(), tmp_path / "stop", tmp_path / "progress"
    node.namespace.ip("link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", host.name)
    for namespace, device, last in ((node.namespace, "up0", 1), (host, "eth0", 2)):
        namespace.ip("link", "set", device, "up")
        namespace.add_address(f"10.88.0.{last}/24", device)
    node.weft("expose", "mesh/m/virtualService/web", "--address", "10.88.0.1:80", "--port", "8080")
    outside = node.worker(netns=host)
    wait_for(lambda: outside.connect("10.88.0.1", 80) == "10.77.0.1:9001", "it is exposed")
    outside.start(FROM_OUTSIDE, "10.88.0.1", 80, HELD_OUTSIDE, str(stop), str(progress))

    def rounds():
        return int(progress.read_text() or 0) if progress.exists() else 0

    def goes_on(what):
        before = rounds()
        wait_for(lambda: rounds() > before + 1, f"bytes and connections go on {what}", 30)
    goes_on("at first")
    for programs in OTHER, BUILD:
        upgrade(node, programs)
        goes_on(f"by {programs}")
    node.kill_agent(signal.SIGTERM)
    node.programs = OTHER
    calls = node.loader_calls("upgrade")  # and there it is
    goes_on("by the other build")
    node.programs = BUILD
    exchanged = next(i for i, call in enumerate(calls) if "RENAME_EXCHANGE" in call)
    last_swap = [i for i, call in enumerate(calls) if "LINK_UPDATE" in call and i < exchanged][-1]
    node.loader_killed("bpf", sum(call.startswith("bpf") for call in calls[:last_swap]) + 2, "upgrade")
    node.loader("upgrade")
    goes_on("after a loader that was killed")
    node.start_agent()
    stop.touch()
    made, slowest = outside.answer()
    node.wait_open(0)
    records = [r for r in node.weft("connections", "--to", "mesh/m/virtualService/web", "--limit", "100000")["closed"] if r["from"] == "mesh/m/exposed"]
    held = [r for r in records if r["sent"] >= 100 * made]
    print(f"{made} rounds, the slowest took {slowest:.2f} s; {len(held)} of {HELD_OUTSIDE} connections outlived all of it")
    assert len(held) == HELD_OUTSIDE and {r["close"] for r in held} == {"closed"}
    stats = node.status()["stats"]
    assert stats["row-mismatch"] == stats["slot-mismatch"] == stats["edge-evicted"] == 0
