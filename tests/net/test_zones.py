# SPDX-License-Identifier: Apache-2.0
"""Zones: connections stay in the caller's own while it can carry them, and go to others in proportion when it cannot."""
import collections
import json
import math
import subprocess

import pytest
from weft import BUILD, Node, wait_for

SIGMAS = 7  # of so many connections: a right choice is off by more once in 10^11 runs
CHECK = {"protocol": "tcp", "healthyThreshold": 2, "unhealthyThreshold": 2, "intervalMillis": 5000, "timeoutMillis": 2000}
ADDRESSES = {"a": ["10.77.0.1:9001", "10.77.0.1:9002"], "b": ["10.77.0.1:9003", "10.77.0.1:9004"], "c": ["10.77.0.1:9005", "10.77.0.1:9006"]}
ZONE_OF = {address: zone for zone, addresses in ADDRESSES.items() for address in addresses}

CONNECTS = """
import collections
ends = collections.Counter(connect(arguments[0], 8080) for _ in range(arguments[1]))
result = ends
"""


class Zones:
    """A client in zone a, and two endpoints in each of three zones, that can be stopped."""

    def __init__(self):
        self.node = Node("--time-scale", "50", "--zone", "a")
        self.servers = {}

    def __enter__(self):
        node = self.node.__enter__()
        try:
            node.mesh()
            node.node("client", port=None, backends=["web"])
            node.node("web", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "healthCheck": CHECK}])
            node.service("web", node="web")
            self.worker = node.worker("client")
            for address, zone in ZONE_OF.items():
                self.servers[address] = node.echo(address)
                self.register(address, zone)
            self.vip = node.vip("web")
            self.wait_up(*ZONE_OF)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.node.close()

    def register(self, address, zone):
        wait_for(lambda: any(r["name"] == "web" for r in self.node.weft("get", "virtualNode")["resources"]), "the agent has read web")
        self.node.weft("register", "--virtual-node", "mesh/m/virtualNode/web", "--id", address.split(":")[1], "--address", address, "--zone", zone)

    def target(self):
        return self.node.explain("web:8080")["targets"][0]

    def wait_up(self, *addresses):
        def up():
            answer = self.node.weft("explain", "--from", "mesh/m/virtualNode/client", "--to", "web:8080", check=False)
            return isinstance(answer, dict) and answer.get("targets") and \
                {e["address"] for e in answer["targets"][0]["endpoints"] if e["health"] == "up"} == set(addresses)
        wait_for(up, f"{addresses} are up", 20)

    def stop(self, *addresses):
        for address in addresses:
            self.servers[address].kill()
            self.servers.pop(address).wait()
        self.wait_up(*self.servers)

    def start(self, *addresses):
        for address in addresses:
            self.servers[address] = self.node.echo(address)
        self.wait_up(*self.servers)

    def shares(self):
        """What explain says each zone should get."""
        return {zone["zone"]: zone["share"] for zone in self.target()["zones"]}


def expect(counts, shares):
    """Counts by zone, against the share of each."""
    total = sum(counts.values())
    for zone, share in shares.items():
        off = abs(counts[zone] - share * total)
        assert off <= SIGMAS * math.sqrt(share * (1 - share) * total) + 1e-3 * total * (0 < share < 1), (counts, shares)


def by_zone(counts):
    zones = collections.Counter()
    for address, count in counts.items():
        zones[ZONE_OF[address]] += count
    return zones


def check(zones, **shares):
    assert zones.shares() == pytest.approx(shares, abs=1e-4)
    distribution = zones.node.explain("web:8080", count=20000)["distribution"]
    expect(by_zone({one["endpoint"]: one["count"] for one in distribution}), shares)
    expect(by_zone(zones.worker.run(CONNECTS, zones.vip, 1500)), shares)


@pytest.fixture(scope="module")
def zones():
    with Zones() as zones:
        yield zones


def test_connections_stay_in_the_callers_zone_while_it_has_its_part(zones):
    check(zones, a=1, b=0, c=0)
    counts = zones.worker.run(CONNECTS, zones.vip, 500)
    assert set(counts) == set(ADDRESSES["a"])  # both of them


def test_what_the_own_zone_cannot_carry_goes_to_the_others_in_proportion(zones):
    zones.stop(ADDRESSES["a"][0])  # a has 1 of 5 that are left, where a third of the callers is
    check(zones, a=0.6, b=0.2, c=0.2)
    zones.stop(ADDRESSES["b"][0])  # 1 of 4; c alone has more than its part
    check(zones, a=0.75, b=0, c=0.25)
    zones.start(ADDRESSES["a"][0], ADDRESSES["b"][0])
    check(zones, a=1, b=0, c=0)


def test_other_zones_get_all_when_the_own_has_none(zones):
    zones.stop(*ADDRESSES["a"])
    check(zones, a=0, b=0.5, c=0.5)
    zones.start(*ADDRESSES["a"])
    check(zones, a=1, b=0, c=0)


def test_zones_are_shown_with_what_each_has_and_gets(zones):
    zones.stop(ADDRESSES["a"][0])
    shown = zones.target()["zones"]
    assert shown[0]["own"]
    assert sorted(shown, key=lambda zone: zone["zone"]) == [
        {"zone": "a", "own": True, "endpoints": 2, "usable": 1, "share": pytest.approx(0.6, abs=1e-4)},
        {"zone": "b", "own": False, "endpoints": 2, "usable": 2, "share": pytest.approx(0.2, abs=1e-4)},
        {"zone": "c", "own": False, "endpoints": 2, "usable": 2, "share": pytest.approx(0.2, abs=1e-4)}]
    words = ["--instance", zones.node.instance]
    text = subprocess.check_output([BUILD / "weft", "explain", *words, "--from", "mesh/m/virtualNode/client", "--to", "web:8080"], text=True)
    assert sorted(line.split()[-5:-1] for line in text.splitlines() if line.endswith(" %")) == \
        [["a", "2", "1", "60.0"], ["b", "2", "2", "20.0"], ["c", "2", "2", "20.0"]], text
    top = json.loads(subprocess.check_output([BUILD / "weft", "top", *words, "--json", "--once"], text=True).splitlines()[-1])
    assert {e["address"]: e["zone"] for e in top["endpoints"]} == ZONE_OF
    zones.start(ADDRESSES["a"][0])


def test_a_caller_without_a_zone_and_endpoints_of_one_zone_make_no_difference(zones):
    node = zones.node
    for address in ADDRESSES["a"] + ADDRESSES["c"]:
        node.weft("deregister", "--virtual-node", "mesh/m/virtualNode/web", "--id", address.split(":")[1])
    zones.wait_up(*ADDRESSES["b"])
    assert zones.target()["zones"] == []
    counts = zones.worker.run(CONNECTS, zones.vip, 300)
    assert set(counts) == set(ADDRESSES["b"])
