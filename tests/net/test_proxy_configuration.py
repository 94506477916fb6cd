# SPDX-License-Identifier: Apache-2.0
"""What weft-proxy has of the configuration: that of the generation in force, whoever of it and weftd was away."""
import errno
import os
import signal

import pytest
from control_peer import ControlPeer, large_configuration
from weft import Node, is_proxy, wait_for

pytestmark = pytest.mark.one_kernel


@pytest.fixture
def node():
    """client calls `web`, whose requests weft-proxy routes to `a`."""
    with Node() as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("a", protocol="http")
        node.router("web", protocol="http")
        node.route("web", {"a": 1}, kind="httpRoute", match={"prefix": "/"})
        node.service("web", router="web", l7=True)
        node.workload(["sleep", "1000"])
        node.register("a", "1", "10.77.0.1:9001")
        wait_for(lambda: has_all(node) and node.explain("web:8080")["reason"] in ("proxied", "proxy-down"), "the configuration is in force and told")
        yield node


def told(node):
    return node.status()["proxy"].get("configuration", {})


def generation(node):
    return node.status()["configuration"]["generation"]


def has_all(node):
    return told(node).get("generation") == generation(node)


def retry(node, retries):
    policy = {"maxRetries": retries, "perRetryTimeout": {"unit": "s", "value": 1}, "httpRetryEvents": ["server-error"]}
    action = {"weightedTargets": [{"virtualNode": "a", "weight": 1}]}
    node.write("route-web-route", meshName="m", virtualRouterName="web", routeName="route",
               spec={"httpRoute": {"match": {"prefix": "/"}, "action": action, "retryPolicy": policy}})


def test_a_change_that_is_nothing_to_the_kernel_is_a_generation_and_told_as_a_change(node):
    before, was = generation(node), told(node)
    retry(node, 3)
    wait_for(lambda: told(node)["generation"] == before + 1, "it is told")
    assert generation(node) == before + 1
    assert told(node)["changes"] == was["changes"] + 1 and told(node)["whole"] == was["whole"]
    assert told(node)["refused"] == told(node)["stale"] == 0 and told(node)["lastRefusal"] is None


def test_the_next_weftd_tells_all(node):
    pid = node.proxy_pid()
    node.kill_agent()
    retry(node, 3)
    node.start_agent()
    wait_for(lambda: has_all(node), "it is told")
    assert node.proxy_pid() == pid and told(node)["whole"] == 1


def test_the_next_weft_proxy_is_told_all(node):
    whole, pid = told(node)["whole"], node.proxy_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: told(node).get("whole", whole) > whole and has_all(node), "the next one is told")  # until it is missed, the last one has all
    assert told(node)["whole"] == whole + 1 and node.proxy_pid() != pid and not is_proxy(pid, node.instance)


def test_of_generations_that_come_while_it_does_not_answer_the_last_is_told(node):
    pid, was, before = node.proxy_pid(), told(node), generation(node)
    os.kill(pid, signal.SIGSTOP)
    try:
        for retries in (1, 2, 3, 4):
            retry(node, retries)
            wait_for(lambda: generation(node) == before + retries, "it is in force")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: has_all(node), "it is told")
    assert told(node)["changes"] == was["changes"] + 2 and told(node)["whole"] == was["whole"]


def test_explain_shows_the_targets_of_all_routes_in_their_order(node):
    node.node("b", protocol="http")
    node.register("b", "1", "10.77.0.1:9002")
    node.route("web", {"a": 3, "b": 1}, name="beta", kind="httpRoute", match={"prefix": "/beta"})
    wait_for(lambda: len(node.explain("web:8080")["targets"]) == 3, "the second route is in force")
    answer = node.explain("web:8080")
    assert [(t["route"], t["target"], t["share"]) for t in answer["targets"]] == [
        ("beta", "mesh/m/virtualNode/a:8080", 0.75), ("beta", "mesh/m/virtualNode/b:8080", 0.25), ("route", "mesh/m/virtualNode/a:8080", 1)]
    assert answer["targets"][1]["endpoints"][0]["address"] == "10.77.0.1:9002"
    assert answer["proxied"] and not answer["l7AsL4"] and answer["route"] is None
    assert answer["note"] == "for clients from outside: route beta: match.prefix"
    node.service("web", router="web")
    wait_for(lambda: node.explain("web:8080")["reason"] == "needs-proxy", "its requests are nobody's")
    answer = node.explain("web:8080")
    assert answer["route"] == "mesh/m/virtualRouter/web/route/beta" and answer["targets"] == [] and answer["note"] == "route beta: match.prefix"


# --- reading takes its time ---------------------------------------------------------------------------------------------------


@pytest.fixture
def peer(node):
    with ControlPeer(node) as peer:
        yield peer


def test_who_else_asks_is_answered_while_a_large_configuration_is_read(node, peer):
    peer.tell(1000000, large_configuration(20000))
    with ControlPeer(node) as other:
        for _ in range(10):
            other.ask("status")
            assert "outcomes" in other.answer()
    assert not peer.has_answer(), "ten answers came while it was read"
    assert peer.answer() == {"generation": 1000000}


def test_answers_come_in_the_order_of_the_questions_though_one_takes_its_time(node, peer):
    peer.tell(1000000, large_configuration(5000))
    peer.ask("hello", build=False)
    peer.ask("requests")
    peer.tell(1000001, '{"targets":[]}')
    peer.ask("takeover")
    peer.ask("snapshot", after=1000000000)
    assert peer.answer() == {"generation": 1000000}
    assert peer.answer()["pid"] == node.proxy_pid()
    assert peer.answer() == {}
    refused = peer.answer()
    assert refused["field"] == "targets" and refused["code"] == -errno.EBADMSG
    assert peer.answer()["error"] == "who tells the configuration is no successor"
    assert peer.answer()["generation"] in (generation(node), 1000000)  # of when it was asked


def test_what_was_told_is_in_force_though_who_told_it_has_hung_up(node):
    with ControlPeer(node) as peer:
        peer.tell(1000000, large_configuration(5000))

    def in_force():
        with ControlPeer(node) as other:
            other.ask("snapshot", after=1000000000)
            return other.answer()["generation"]
    wait_for(lambda: in_force() == 1000000, "it is in force")


def test_a_weft_proxy_that_is_told_to_end_while_it_reads_ends(node, peer):
    pid = node.proxy_pid()
    peer.tell(1000000, large_configuration(5000))
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_proxy(pid, node.instance), "it has ended")
    wait_for(lambda: has_all(node), "the next one is told")
