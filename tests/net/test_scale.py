# SPDX-License-Identifier: Apache-2.0
"""A node with 1,000 services: single changes, many at once, and faults, with the rest of the mesh as it is."""
import json
import signal
from pathlib import Path

import pytest
from weft import Node, wait_for

pytestmark = pytest.mark.one_kernel

SERVICES = 1000


@pytest.fixture(scope="module")
def large():
    """`svc-0` to `svc-999`, each with a router, a route and a node; a client that may call them all. Two nodes have an endpoint."""
    with Node() as node:
        node.kill_agent(signal.SIGTERM)
        node.loader("grow", "--services", "1100")
        node.start_agent()
        node.mesh()
        node.node("client", port=None, backends=[f"svc-{i}" for i in range(SERVICES)])
        node.echo("10.77.0.1:9001", "10.77.0.2:9002")
        for i in range(SERVICES):
            node.node(f"n-{i}")
            node.service(f"svc-{i}", router=f"r-{i}")
            node.router(f"r-{i}")
            node.route(f"r-{i}", {f"n-{i}": 1})
        node.workload(["sleep", "1000"])
        node.register("n-0", "1", "10.77.0.1:9001")
        node.register("n-1", "1", "10.77.0.2:9002")
        wait_for(lambda: resolves(node, f"svc-{SERVICES - 1}:8080", "no-endpoint"), "the last service is compiled", 120)
        wait_for(lambda: resolves(node, "svc-0:8080", "routed"), "the first one has its endpoint", 60)
        yield node


def asked(node, to):
    answer = node.weft("explain", "--from", "mesh/m/virtualNode/client", "--to", to, check=False)
    return answer if isinstance(answer, dict) else {}


def resolves(node, to, reason):
    return asked(node, to).get("reason") == reason


def generation(node):
    return node.status()["configuration"]["generation"]


def endpoint(node, to):
    return asked(node, to).get("endpoint")


def test_one_change_is_one_generation_and_leaves_the_others_alone(large):
    before, other = generation(large), asked(large, "svc-1:8080")
    large.route("r-0", {"n-1": 1})
    wait_for(lambda: endpoint(large, "svc-0:8080") == "10.77.0.2:9002", "the route leads elsewhere")
    assert generation(large) == before + 1
    assert endpoint(large, "svc-1:8080") == other["endpoint"]
    large.route("r-0", {"n-0": 1})
    wait_for(lambda: endpoint(large, "svc-0:8080") == "10.77.0.1:9001", "the route leads back")
    assert generation(large) == before + 2


def test_a_file_that_means_the_same_makes_no_generation(large):
    before = generation(large)
    large.route("r-0", {"n-0": 1})
    large.route("r-2", {"n-1": 1})
    wait_for(lambda: resolves(large, "svc-2:8080", "routed"), "the change behind it is in force")
    assert generation(large) == before + 1
    large.route("r-2", {"n-2": 1})
    wait_for(lambda: resolves(large, "svc-2:8080", "no-endpoint"), "as it was")


def test_an_instance_that_comes_and_goes_is_the_next_connections_endpoint(large):
    large.register("n-7", "1", "10.77.0.1:9001")
    wait_for(lambda: resolves(large, "svc-7:8080", "routed"), "the endpoint is there")
    large.weft("deregister", "--namespace", "test", "--service", "n-7", "--id", "1")
    wait_for(lambda: resolves(large, "svc-7:8080", "no-endpoint"), "it is gone")


def test_a_fault_in_one_file_keeps_all_of_the_last_good_state_until_it_is_gone(large):
    before = generation(large)
    large.write_raw("route-r-3-route", "{")
    wait_for(lambda: large.status()["configuration"]["error"], "the fault is told")
    large.route("r-4", {"n-1": 1})
    wait_for(lambda: "route-r-3" in json.dumps(large.status()["configuration"]["error"]), "it still is")
    assert resolves(large, "svc-4:8080", "no-endpoint")
    assert generation(large) == before
    large.route("r-3", {"n-3": 1})
    wait_for(lambda: resolves(large, "svc-4:8080", "routed"), "what was good beside it is in force")
    assert not large.status()["configuration"]["error"]
    large.route("r-4", {"n-4": 1})
    wait_for(lambda: resolves(large, "svc-4:8080", "no-endpoint"), "as it was")


def test_services_come_and_go_among_many(large):
    vip = large.vip("svc-500")
    (large.config / "service-svc-499.json").unlink()
    large.service("svc-new", router="r-0")
    wait_for(lambda: large.vip("svc-new"), "the new service has a VIP")
    wait_for(lambda: not asked(large, "svc-499:8080"), "the old one is gone")
    assert large.vip("svc-500") == vip
    large.service("svc-499", router="r-499")
    (large.config / "service-svc-new.json").unlink()
    wait_for(lambda: resolves(large, "svc-499:8080", "no-endpoint"), "it is back")


def test_a_new_agent_takes_all_of_it_up_without_a_generation(large):
    before = generation(large)
    large.kill_agent()
    large.start_agent()
    wait_for(lambda: generation(large) == before and resolves(large, "svc-0:8080", "routed"), "the mesh is as it was", 30)
    assert generation(large) == before


def test_what_loading_took_goes_back_and_a_service_costs_some_kilobytes(large):
    def own_bytes():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{large.agent.pid}/status").read_text().splitlines())
        return int(status["RssAnon"].split()[0]) * 1024

    assert len(large.weft("get", "virtualService")["resources"]) == SERVICES # an answer of megabytes
    wait_for(lambda: own_bytes() < 14000 * SERVICES, "weftd to have what it needs and no more", 30)
