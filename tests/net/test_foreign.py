# SPDX-License-Identifier: Apache-2.0
"""Namespaces where another proxy is: App Mesh's own rules of iptables, which redirect connections to its Envoy."""
import json
import subprocess

import pytest

from l7_world import Client, make_shop
from weft import BUILD, wait_for

# What aws-appmesh-proxy-route-manager does, of the ports that an application has.
INGRESS = [["-N", "APPMESH_INGRESS"], ["-A", "APPMESH_INGRESS", "-p", "tcp", "-m", "multiport", "--dports", "8080", "-j", "REDIRECT", "--to-port", "15000"],
           ["-A", "PREROUTING", "-p", "tcp", "-m", "addrtype", "!", "--src-type", "LOCAL", "-j", "APPMESH_INGRESS"]]
EGRESS = [["-N", "APPMESH_EGRESS"], ["-A", "APPMESH_EGRESS", "-m", "owner", "--uid-owner", "1337", "-j", "RETURN"],
          ["-A", "APPMESH_EGRESS", "-p", "tcp", "-j", "REDIRECT", "--to-port", "15001"],
          ["-A", "OUTPUT", "-p", "tcp", "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "APPMESH_EGRESS"]]
NFT = "table inet mesh { chain out { type nat hook output priority -100; meta l4proto tcp redirect to :15001; }; }"


@pytest.fixture(scope="module")
def shop():
    node = make_shop()
    yield node
    node.close()


class Iptables:
    def __init__(self, program, said, chains=(INGRESS, EGRESS)):
        self.program, self.said, self.chains = program, said, chains

    def run(self, pod, *words):
        return subprocess.run(["nsenter", f"--net={pod.path}", self.program, "-t", "nat", *words], capture_output=True, text=True)

    def add(self, pod):
        for words in sum(self.chains, []):
            result = self.run(pod, *words)
            if result.returncode and any(cause in result.stderr for cause in ("does not exist", "not supported", "Extension")):
                pytest.skip(f"this kernel has no {self.program}, or not what it needs for such rules: {result.stderr.strip()}")
            assert result.returncode == 0, result.stderr

    def remove(self, pod):
        for words in ["-F"], ["-X"]:
            assert self.run(pod, *words).returncode == 0


class Nft:
    said = "nf_tables: table inet mesh, chain out: to port 15001"

    def add(self, pod):
        result = subprocess.run(["nsenter", f"--net={pod.path}", "nft", NFT], capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"this kernel has no nf_tables, or no redirections: {result.stderr.strip()}")

    def remove(self, pod):
        pod.command("nft", "delete table inet mesh")


WAYS = {
    "iptables-nft": Iptables("iptables-nft", "nf_tables: table ip nat, chain APPMESH_INGRESS: to port 15000"),
    "iptables-legacy": Iptables("iptables-legacy", "iptables (legacy): table nat, chain APPMESH_EGRESS: to port 15001"),
    "ip6tables-nft": Iptables("ip6tables-nft", "nf_tables: table ip6 nat, chain APPMESH_EGRESS: to port 15001", [EGRESS]),
    "ip6tables-legacy": Iptables("ip6tables-legacy", "ip6tables (legacy): table nat, chain APPMESH_EGRESS: to port 15001", [EGRESS]),
    "nft": Nft(),
}


def said_of(node, pod):
    """What status says of the workload of that pod."""
    said = [workload["foreignRedirect"] for workload in node.status()["workloads"] if workload["netns"] and workload["netns"].endswith(pod.name)]
    assert len(said) == 1
    return said[0]


def refused(node):
    return node.reasons().get(("client", "web.example.com", "foreign-redirect"), 0)


def doctor(node):
    result = subprocess.run([BUILD / "weft", "doctor", "--json", "--instance", node.instance], capture_output=True, text=True)
    check = next(check for check in json.loads(result.stdout)["checks"] if check["name"] == "redirects")
    return check["state"], [finding["cause"] for finding in check["findings"]]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_for_weft_proxy_is_refused_by_name_where_app_meshs_rules_are_until_they_are_gone(shop, way):
    pod, vip, before = shop.add_pod(), shop.vip("web.example.com"), refused(shop)
    way.add(pod)
    client = Client(shop, pod)
    assert client.ask(vip)["error"] == "ECONNREFUSED", "from the first connection on"
    assert client.ask(shop.vip("web.example.com", 6))["error"] == "ECONNREFUSED"
    assert refused(shop) == before + 2
    assert said_of(shop, pod) == way.said
    assert "foreign-redirect" in shop.log.read_text() and way.said in shop.log.read_text()
    state, causes = doctor(shop)
    assert state == "wrong" and any(way.said in cause for cause in causes)
    text = subprocess.run([BUILD / "weft", "status", "--instance", shop.instance], capture_output=True, text=True).stdout
    assert way.said in text

    way.remove(pod)
    assert doctor(shop) == ("ok", []), "doctor looks itself"
    wait_for(lambda: client.ask(vip).get("status") == 200, "the rules are gone")
    assert said_of(shop, pod) is None
    client.worker.kill()


def test_rules_that_come_later_are_found_and_outlive_weftd(shop):
    pod, vip, way = shop.add_pod(), shop.vip("web.example.com"), WAYS["iptables-nft"]
    client = Client(shop, pod)
    assert client.ask(vip)["status"] == 200
    way.add(pod)
    wait_for(lambda: said_of(shop, pod), "the rules are found")
    assert client.ask(vip)["error"] == "ECONNREFUSED"
    shop.kill_agent()
    assert client.ask(vip)["error"] == "ECONNREFUSED"
    shop.start_agent()
    for _ in range(20):
        assert client.ask(vip)["error"] == "ECONNREFUSED", "the next weftd goes on from what the last one knew"
    assert said_of(shop, pod) == way.said or said_of(shop, pod).startswith("found before")
    way.remove(pod)
    wait_for(lambda: client.ask(vip).get("status") == 200, "the rules are gone")
    client.worker.kill()


def test_rules_of_others_are_nobodys_business(shop):
    pod, vip = shop.add_pod(), shop.vip("web.example.com")
    way = Iptables("iptables-nft", None, [[["-N", "KUBE_MINE"], ["-A", "KUBE_MINE", "-p", "tcp", "--dport", "443", "-j", "REDIRECT", "--to-port", "8443"],
                                           ["-A", "OUTPUT", "-j", "KUBE_MINE"]]])
    way.add(pod)
    client = Client(shop, pod)
    assert client.ask(vip)["status"] == 200 and said_of(shop, pod) is None
    client.worker.kill()
