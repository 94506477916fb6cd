# SPDX-License-Identifier: Apache-2.0
"""Virtual gateways: weft-proxy serves their listeners where a workload acts for one."""
import json
import subprocess

import pytest

from l7_world import http_servers
from weft import BUILD, PYTHON, Node, wait_for

ASK = """
import http.client, json, sys
address, port, path, host = sys.argv[1:5]
connection = http.client.HTTPConnection(address, int(port), timeout=10)
try:
    connection.request("GET", path, headers={"Host": host, **json.loads(sys.argv[5])})
    answer = connection.getresponse()
    text = answer.read().decode()
    result = {"status": answer.status, "told": json.loads(text) if answer.status == 200 else None}
except OSError as e:
    result = {"error": type(e).__name__}
print(json.dumps(result))
"""


@pytest.fixture
def node():
    """Gateway g at 8080 leads hosts of shop.example.com to `web`, and paths below /orders to `orders`; a workload acts for it in a pod of
    its own. node.outside is a pod without a workload."""
    with Node() as node:
        node.mesh()
        for name in ("web", "orders"):
            node.node(f"{name}-node", protocol="http")
            node.service(f"{name}.local", node=f"{name}-node", l7=True)
        node.gateway("g")
        node.gateway_route("g", "web", "web.local", {"hostname": {"exact": "shop.example.com"}})
        node.gateway_route("g", "orders", "orders.local", {"prefix": "/orders/"})
        http_servers(node, "10.77.0.1:9001", "10.77.0.1:9002")
        node.register("web-node", "1", "10.77.0.1:9001")
        node.register("orders-node", "1", "10.77.0.1:9002")
        node.pod, node.outside = node.add_pod(), node.add_pod()
        node.acts = node.spawn(node.run_argv("g", ["sleep", "1000"], node.pod, kind="gateway"))
        wait_for(lambda: ask(node, "/", "shop.example.com").get("status") == 200, "the gateway answers")
        yield node


def ask(node, path, host, address=None, **headers):
    result = subprocess.run([*node.outside.prefix(), PYTHON, "-c", ASK, address or node.pod.ipv4, "8080", path, host, json.dumps(headers)],
                            capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_requests_from_outside_go_where_the_gateways_routes_say(node):
    web, orders = ask(node, "/cart?q=1", "shop.example.com"), ask(node, "/orders/7", "any.example.com", node.pod.ipv6)
    assert web["told"]["server"] == "10.77.0.1:9001" and web["told"]["path"] == "/cart?q=1"
    assert web["told"]["headers"]["host"] == "web.local", "the service's name stands for the gateway's"
    assert orders["told"]["server"] == "10.77.0.1:9002" and orders["told"]["path"] == "/7", "and the prefix is cut"
    assert ask(node, "/", "other.example.com")["status"] == 404
    assert [w["virtualNode"] for w in node.status()["workloads"]] == ["mesh/m/virtualGateway/g"]


def test_a_change_of_routes_is_in_force_for_the_next_request(node):
    node.gateway_route("g", "all", "web.local", {"prefix": "/"})
    wait_for(lambda: ask(node, "/", "other.example.com").get("status") == 200, "the new route takes it")
    (node.config / "gateway-route-g-web.json").unlink()
    (node.config / "gateway-route-g-all.json").unlink()
    wait_for(lambda: ask(node, "/", "shop.example.com").get("status") == 404, "nobody takes it any more")
    assert ask(node, "/orders/7", "any.example.com")["status"] == 200


def test_it_listens_for_as_long_as_somebody_acts_for_it(node):
    node.acts.kill()
    node.acts.wait()
    wait_for(lambda: ask(node, "/", "shop.example.com") == {"error": "ConnectionRefusedError"}, "it listens no more")
    node.acts = node.spawn(node.run_argv("g", ["sleep", "1000"], node.pod, kind="gateway"))
    wait_for(lambda: ask(node, "/", "shop.example.com").get("status") == 200, "it is back")


def test_a_policy_that_demands_tls_is_not_passed_by(node):
    node.gateway("g", backendDefaults={"clientPolicy": {"tls": {"validation": {"trust": {"file": {"certificateChain": "/ca.pem"}}}}}})
    wait_for(lambda: ask(node, "/", "shop.example.com").get("status") == 503, "nothing goes in plaintext")


def test_a_workload_acts_for_a_node_or_a_gateway(node):
    words = ["--instance", node.instance, "--cgroup-parent", node.cgroup]
    for actors in ([], ["--virtual-node", "mesh/m/virtualNode/web-node", "--virtual-gateway", "mesh/m/virtualGateway/g"]):
        result = subprocess.run([BUILD / "weft", "run", *words, *actors, "--", "true"], capture_output=True, text=True)
        assert result.returncode != 0 and "give either --virtual-node or --virtual-gateway" in result.stderr
    result = subprocess.run([BUILD / "weft", "run", *words, "--virtual-gateway", "mesh/m/virtualNode/web-node", "--", "true"], capture_output=True, text=True)
    assert result.returncode == 125 and "virtualGateway" in result.stderr
    assert node.weft("explain", "--from", "mesh/m/virtualGateway/g", "--to", "web.local:8080")["reason"] == "proxied"
