# SPDX-License-Identifier: Apache-2.0
"""Virtual nodes that are found by DNS, from a real server. Spans of discovery are those of users divided by 10: an answer is good
for half a second."""
import contextlib
import json
import subprocess

import pytest
from weft import Node, wait_for

pytestmark = pytest.mark.one_kernel

SERVER = "10.77.0.53:53"
SCALE = ("--time-scale", "10")
ONE, TWO, SIX = "10.77.0.1:8080", "10.77.0.2:8080", "[fd77::1]:8080"
ALL = {"web.test": {"A": ["10.77.0.1", "10.77.0.2"], "AAAA": ["fd77::1"], "ttl": 5}}


@contextlib.contextmanager
def shop(response_type, zone, *options):
    """A client of `web`, whose node is found by `web.test`, with a server at each of its addresses."""
    with Node("--resolver", SERVER, *SCALE, *options) as node:
        node.dns = node.resolver(zone=zone)
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("web", serviceDiscovery={"dns": {"hostname": "web.test", "responseType": response_type}})
        node.service("web", node="web")
        node.echo(ONE, TWO, SIX)
        node.workload(["sleep", "1000"])
        node.vip("web")
        yield node


def endpoints(node):
    """Where the kernel's own decisions lead, and how often of 3,000."""
    shares = {}
    for to in ("web:8080", f"[{node.vip('web', 6)}]:8080"):
        for row in node.explain(to, count=3000)["distribution"]:
            if row["reason"] == "routed":
                shares[row["endpoint"]] = row["count"]
    return shares


def found(node):
    """Endpoints of `web` in the generation that is in force."""
    for entry in node.weft("get", "virtualNode")["resources"]:
        if entry["name"] == "web":
            return sorted(e["address"] for e in entry["endpoints"])
    return None


def known(node):
    """What the agent says of the name."""
    answer = subprocess.run(["curl", "-s", "--unix-socket", f"/run/weft/{node.instance}/weftd.sock", "http://weft/v1/discovery"],
                            capture_output=True, check=True)
    names = json.loads(answer.stdout)["names"]
    return names[0] if names else None


def wait_found(node, *addresses):
    wait_for(lambda: found(node) == sorted(addresses), f"web is at {addresses}, not at {found(node)}")


def test_all_addresses_serve_and_one_that_is_gone_leaves_rotation():
    with shop("ENDPOINTS", ALL) as node:
        wait_found(node, ONE, TWO, SIX)
        client, vip4, vip6 = node.worker("client"), node.vip("web"), node.vip("web", 6)
        assert {client.connect(vip4, 8080) for _ in range(40)} == {ONE, TWO}
        assert client.connect(vip6, 8080) == SIX

        node.dns.set("web.test", A=["10.77.0.2"], AAAA=["fd77::1"], ttl=5)
        wait_found(node, TWO, SIX)
        assert {client.connect(vip4, 8080) for _ in range(40)} == {TWO}

        node.dns.set("web.test", A=["10.77.0.2"], ttl=5)
        wait_found(node, TWO)
        assert node.explain(f"[{vip6}]:8080")["reason"] == "no-endpoint-in-family"
        node.dns.set("web.test")  # NXDOMAIN is an answer
        wait_found(node)
        assert client.connect(vip4, 8080) == "ECONNREFUSED"


def test_of_a_load_balancers_addresses_one_serves_while_it_is_there():
    with shop("LOADBALANCER", {"web.test": {"A": ["10.77.0.2", "10.77.0.1"], "ttl": 5}}) as node:
        wait_found(node, TWO)
        node.dns.set("web.test", A=["10.77.0.1", "10.77.0.2"], ttl=5)  # as resolvers do from one answer to the next
        node.dns.seen("web.test")
        wait_for(lambda: node.dns.seen("web.test"), "it is asked for again")
        wait_for(lambda: node.dns.seen("web.test"), "and once more, so the answer before was taken")
        assert found(node) == [TWO]
        node.dns.set("web.test", A=["10.77.0.1"], ttl=5)
        wait_found(node, ONE)


def test_a_server_that_fails_takes_nothing_away():
    with shop("ENDPOINTS", ALL) as node:
        wait_found(node, ONE, TWO, SIX)
        node.dns.behave("web.test", rcode=2)
        wait_for(lambda: known(node)["state"] == "kept" and known(node)["failures"] >= 2, "questions have failed")
        assert "A: " in known(node)["error"]
        assert found(node) == sorted([ONE, TWO, SIX])
        node.dns.behave("web.test")
        wait_for(lambda: known(node)["state"] == "fresh", "it answers again")


def test_an_agent_that_starts_without_a_resolver_decides_as_the_one_before():
    with shop("ENDPOINTS", ALL) as node:
        wait_found(node, ONE, TWO, SIX)
        before = endpoints(node)
        node.dns.behave("web.test", silent=True)
        node.kill_agent()
        node.start_agent()
        wait_for(lambda: known(node) and known(node)["failures"] >= 2, "questions have failed")
        assert known(node)["state"] == "kept"
        after = endpoints(node)
        assert before.keys() == after.keys() == {ONE, TWO, SIX}
        assert before[SIX] == after[SIX] == 3000
        for address in ONE, TWO:
            assert abs(before[address] - 1500) < 300 and abs(after[address] - 1500) < 300  # ten standard deviations

        node.dns.behave("web.test")
        node.dns.set("web.test", A=["10.77.0.1"], ttl=5)
        wait_found(node, ONE)


def test_servers_are_those_of_resolv_conf_and_follow_it():
    with shop("ENDPOINTS", ALL) as node:
        node.kill_agent()
        conf = node.directory / "resolv.conf"
        conf.write_text("nameserver 10.77.0.54\n")  # where nobody is
        node.options = [*SCALE, "--config", node.config]
        node.agent_wrapper = ["unshare", "--mount", "sh", "-c", f'mount --bind {conf} /etc/resolv.conf && exec "$@"', "sh"]
        node.dns.set("web.test", A=["10.77.0.2"], ttl=5)
        node.start_agent()
        wait_for(lambda: known(node) and known(node)["failures"] >= 2, "questions have failed", deadline_s=40)
        assert found(node) == sorted([ONE, TWO, SIX])
        conf.write_text("nameserver 10.77.0.53\n")
        wait_found(node, TWO)
