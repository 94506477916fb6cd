# SPDX-License-Identifier: Apache-2.0
"""Tables that become too small, under connections that are open and connections that are made."""
import json
import pathlib
import signal
import subprocess

import pytest
from traffic import Traffic, busy_web
from weft import BUILD, wait_for


def mesh_of(node, count):
    """So many more services, each with a node of its own, in place of those that were there. They come all at once."""
    fresh, many = node.directory / "fresh-many", node.config / "many"
    fresh.mkdir()
    for i in range(count):
        (fresh / f"n{i}.json").write_text(json.dumps({"meshName": "m", "virtualNodeName": f"n{i}", "spec": {
            "listeners": [{"portMapping": {"port": 8080, "protocol": "tcp"}}],
            "serviceDiscovery": {"awsCloudMap": {"namespaceName": "test", "serviceName": f"n{i}"}}}}))
        (fresh / f"s{i}.json").write_text(json.dumps({"meshName": "m", "virtualServiceName": f"s{i}", "spec": {
            "provider": {"virtualNode": {"virtualNodeName": f"n{i}"}}}}))
    if many.exists():
        many.rename(node.directory / "former-many")
    fresh.rename(many)


@pytest.fixture
def node():
    with busy_web() as node:
        yield node


def entries(node, name):
    status = json.loads(node.loader("status", "--json"))
    return {m["name"]: m["entries"] for m in status["maps"]}[name]


def pins(node):
    return sorted(path.name for path in pathlib.Path(f"/sys/fs/bpf/weft/{node.instance}").iterdir())


def test_a_mesh_that_does_not_fit_makes_the_tables_grow_under_traffic(node):
    traffic = Traffic(node, held=50, churners=1)
    assert entries(node, "w_service") == 512
    mesh_of(node, 700)
    wait_for(lambda: entries(node, "w_service") > 512, "the tables have grown", 30)
    wait_for(lambda: isinstance(node.weft("status", check=False), dict), "weftd answers again")
    wait_for(lambda: node.vip("s699"), "what did not fit is in force")
    node.wait_reason("web:8080", "routed")
    traffic.check()
    assert len(pins(node)) == 1
    node.client("result = 1")  # enrolls somebody anew
    mesh_of(node, 1)
    wait_for(lambda: len(node.weft("get", "virtualService")["resources"]) == 2, "changes go on")


def test_tables_grow_by_hand_while_no_agent_runs(node):
    traffic = Traffic(node, held=50, churners=1)
    result = subprocess.run([BUILD / "weft-loader", "grow", "--services", "1000", "--instance", node.instance], capture_output=True, text=True)
    assert result.returncode == 1 and "weftd" in result.stderr
    node.kill_agent(signal.SIGTERM)
    node.loader("grow", "--services", "1000")
    assert entries(node, "w_service") == 2048 and entries(node, "w_object") == 3072
    result = subprocess.run([BUILD / "weft-loader", "grow", "--services", "1000", "--instance", node.instance], capture_output=True, text=True)
    assert result.returncode == 1 and "already" in result.stderr
    node.start_agent()
    traffic.check()


def test_where_tables_may_not_grow_the_change_is_refused_with_the_table_s_name():
    with busy_web("--grow", "off") as node:
        mesh_of(node, 700)
        wait_for(lambda: "table of" in json.dumps(node.status()["configuration"]["error"]), "it is refused")
        assert entries(node, "w_service") == 512
        node.wait_reason("web:8080", "routed")


def test_a_loader_that_is_killed_while_tables_grow_leaves_what_the_next_one_completes(node):
    """At whatever moment: they go from the second set of pins to the end."""
    traffic = Traffic(node, held=50, churners=1)
    node.kill_agent(signal.SIGTERM)
    calls = node.loader_calls("grow", "--services", "512")
    made = next(i for i, call in enumerate(calls) if call.startswith("mkdir") and "/next_" in call)
    total, first = (sum(call.startswith("bpf") for call in some) for some in (calls, calls[:made]))
    services, grown = 512, 0
    for step in range(8):
        node.loader_killed("bpf", first + (total - first) * step // 8 + 1, "grow", "--services", str(services + 256))
        node.loader("upgrade")
        assert len(pins(node)) == 1
        assert not [path.name for path in pathlib.Path(f"/sys/fs/bpf/weft/{node.instance}", *pins(node)).iterdir()
                    if path.name.startswith(("base_", "swap_"))]
        grown += entries(node, "w_service") // 2 > services
        services = entries(node, "w_service") // 2
    assert 0 < grown < 8
    node.start_agent()
    traffic.check()
