# SPDX-License-Identifier: Apache-2.0
"""Virtual gateways: clients that are in no mesh, by a gateway in a namespace of its own, to services of the mesh."""
import pytest

from l7_world import CLIENT, make_shop
from weft import BUILD, wait_for

V1, V2 = "10.77.0.1:9001", "10.77.0.1:9002"
SHOP = {"virtualService": {"virtualServiceName": "web.example.com"}}


@pytest.fixture(scope="module")
def shop():
    node = make_shop()
    try:
        pod = node.add_pod()
        node.write("gateway", meshName="m", virtualGatewayName="g", spec={"listeners": [{"portMapping": {"port": 8088, "protocol": "http"}}]})
        gateway_route(node, "shop", {"prefix": "/shop"})
        node.spawn([BUILD / "weft", "run", "--instance", node.instance, "--virtual-gateway", "mesh/m/virtualGateway/g", "--cgroup-parent", node.cgroup,
                    "--netns", pod.name, "--", "sleep", "1000"])
        node.at = pod.ipv4, pod.ipv6
        node.outside = node.worker()
        node.outside.run(CLIENT)
        wait_for(lambda: ask(node, "/shop/v2").get("status") == 200, "the gateway answers")
        yield node
    finally:
        node.close()


def gateway_route(node, name, match, priority=None, rewrite=None, target=None):
    action = {"target": target or SHOP}
    if rewrite:
        action["rewrite"] = rewrite
    spec = {"httpRoute": {"match": match, "action": action}}
    if priority is not None:
        spec["priority"] = priority
    node.write(f"gatewayroute-{name}", meshName="m", virtualGatewayName="g", gatewayRouteName=name, spec=spec)


def ask(node, path, family=4, **options):
    address = node.at[0 if family == 4 else 1]
    return node.outside.run("result = ask(arguments[0], arguments[1], port=8088, **arguments[2])", address, path, options)


def path_seen(node, path, **options):
    return ask(node, path, **options).get("told", {}).get("path")


def test_a_prefix_becomes_the_root_and_the_services_own_routes_see_that(shop):
    told = ask(shop, "/shop/v2/cart?item=1")["told"]
    assert told["server"] == V2, "/v2 of the service's routes"
    assert told["path"] == "/v2/cart?item=1" and told["headers"]["x-envoy-original-path"] == "/shop/v2/cart?item=1"
    assert told["headers"]["host"] == "web.example.com"
    assert path_seen(shop, "/shop") == "/" and path_seen(shop, "/shopping") == "/ping"
    assert ask(shop, "/shop/v2", family=6)["status"] == 200


def test_what_no_gateway_route_takes_is_404(shop):
    assert ask(shop, "/other")["status"] == 404


def test_what_only_the_mesh_may_say_is_not_taken_from_outside(shop):
    told = ask(shop, "/shop/v2", headers={"x-envoy-attempt-count": "9", "x-envoy-retry-on": "5xx", "x-weft-trust": "me", "x-request-id": "forged",
                                          "x-forwarded-client-cert": "me", "x-app-mesh-virtual-service": "x", "x-forwarded-proto": "https",
                                          "x-forwarded-for": "192.0.2.1", "x-mine": "kept"})["told"]["headers"]
    assert told["x-envoy-attempt-count"] == "1" and len(told["x-request-id"]) == 36 and told["x-forwarded-proto"] == "http"
    assert [name for name in told if name in ("x-envoy-retry-on", "x-weft-trust", "x-forwarded-client-cert", "x-app-mesh-virtual-service")] == []
    assert told["x-forwarded-for"].startswith("192.0.2.1,10.7") and told["x-mine"] == "kept"


def test_rewrites_are_those_of_app_mesh(shop):
    gateway_route(shop, "kept", {"prefix": "/kept"}, rewrite={"prefix": {"defaultPrefix": "DISABLED"}})
    gateway_route(shop, "red", {"prefix": "/maroon/"}, rewrite={"prefix": {"value": "/red/"}})
    gateway_route(shop, "exact", {"path": {"exact": "/exact"}}, rewrite={"path": {"exact": "/whole"}})
    gateway_route(shop, "regex", {"path": {"regex": "/r[0-9]+"}})
    gateway_route(shop, "host", {"prefix": "/host"}, rewrite={"hostname": {"defaultTargetHostname": "DISABLED"}})
    wait_for(lambda: ask(shop, "/host/x")["status"] == 200, "the routes are in force")
    assert path_seen(shop, "/kept/x") == "/kept/x"
    assert path_seen(shop, "/maroon/x?y") == "/red/x?y"
    assert path_seen(shop, "/exact?q") == "/whole?q"
    assert path_seen(shop, "/r17") == "/r17"
    assert ask(shop, "/host/x", headers={"Host": "mine.example.net"})["told"]["headers"]["host"] == "mine.example.net"


def test_matches_by_host_header_and_method_come_in_the_order_of_app_mesh(shop):
    gateway_route(shop, "byhost", {"prefix": "/", "hostname": {"exact": "a.example.org"}}, rewrite={"prefix": {"value": "/exact/"}})
    gateway_route(shop, "bysuffix", {"prefix": "/", "hostname": {"suffix": ".example.org"}}, rewrite={"prefix": {"value": "/suffix/"}})
    gateway_route(shop, "byheader", {"prefix": "/m", "headers": [{"name": "x-a", "match": {"exact": "1"}}]}, priority=1,
                  rewrite={"prefix": {"value": "/header/"}})
    gateway_route(shop, "bymethod", {"prefix": "/m", "method": "POST"}, priority=2, rewrite={"prefix": {"value": "/method/"}})
    wait_for(lambda: ask(shop, "/m", method="POST")["status"] == 200, "the routes are in force")
    assert path_seen(shop, "/x", headers={"Host": "a.example.org:8088"}) == "/exact/x"
    assert path_seen(shop, "/x", headers={"Host": "b.example.org"}) == "/suffix/x"
    assert path_seen(shop, "/m", method="POST", headers={"x-a": "1"}) == "/header/"
    assert path_seen(shop, "/m", method="POST") == "/method/"
    assert ask(shop, "/m")["status"] == 404


def test_a_gateway_whose_listener_changes_listens_there(shop):
    shop.write("gateway", meshName="m", virtualGatewayName="g", spec={"listeners": [{"portMapping": {"port": 8089, "protocol": "http"}}]})
    wait_for(lambda: shop.outside.run("result = ask(arguments[0], '/shop/v2', port=8089)", shop.at[0]).get("status") == 200, "the new port answers")
    wait_for(lambda: ask(shop, "/shop/v2").get("error") == "ECONNREFUSED", "the old one is closed")
