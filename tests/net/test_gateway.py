# SPDX-License-Identifier: Apache-2.0
"""Virtual gateways: clients that are in no mesh, by a gateway in a namespace of its own, to services of the mesh."""
import subprocess

import pytest

from l7_world import CLIENT, make_shop
from weft import BUILD, wait_for

pytestmark = pytest.mark.one_kernel

V1, V2 = "10.77.0.1:9001", "10.77.0.1:9002"
GATEWAY = "mesh/m/virtualGateway/g"
OF_THE_MESH = "x-envoy-retry-on", "x-weft-trust", "x-forwarded-client-cert", "x-app-mesh-virtual-service"  # what nobody else may say


@pytest.fixture(scope="module")
def shop():
    """Gateway g at 8088 leads what is below /shop to web.example.com; a workload acts for it in a pod of its own."""
    node = make_shop()
    try:
        node.pod = node.add_pod()
        node.gateway("g", 8088)
        route(node, "shop", {"prefix": "/shop"})
        node.outside = node.worker()
        node.outside.run(CLIENT)
        act(node)
        yield node
    finally:
        node.close()


def act(node):
    node.acts = node.spawn(node.run_argv("g", ["sleep", "1000"], node.pod, kind="gateway"))
    wait_for(lambda: status(node, "/shop/v2") == 200, "the gateway answers")


def route(node, name, match, service="web.example.com", **more):
    node.gateway_route("g", name, service, match, **more)


def ask(node, path, address=None, port=8088, **options):
    return node.outside.run("result = ask(arguments[0], arguments[1], **arguments[2])", address or node.pod.ipv4, path, {"port": port, **options})


def status(node, path, **options):
    answer = ask(node, path, **options)
    return answer.get("status") or answer["error"]


def path_seen(node, path, **options):
    return ask(node, path, **options)["told"]["path"]


def test_a_prefix_becomes_the_root_and_the_services_own_routes_see_that(shop):
    told = ask(shop, "/shop/v2/cart?item=1")["told"]
    assert told["server"] == V2, "/v2 of the service's routes"
    assert told["path"] == "/v2/cart?item=1" and told["headers"]["x-envoy-original-path"] == "/shop/v2/cart?item=1"
    assert told["headers"]["host"] == "web.example.com"
    assert path_seen(shop, "/shop") == "/" and path_seen(shop, "/shopping") == "/ping"
    assert status(shop, "/shop/v2", address=shop.pod.ipv6) == 200


def test_a_gateway_gets_to_what_its_routes_name_and_no_other_route_is_taken(shop):
    shop.register("secret", "1", V1)
    route(shop, "secret", {"prefix": "/secret/"}, "secret.example.com")
    wait_for(lambda: status(shop, "/secret/") == 200, "the route is in force")
    told = ask(shop, "/secret/7")["told"]
    assert told["headers"]["host"] == "secret.example.com" and told["path"] == "/7" and told["server"] == V1
    assert status(shop, "/other") == 404
    assert GATEWAY in [workload["virtualNode"] for workload in shop.status()["workloads"]]
    assert shop.weft("explain", "--from", GATEWAY, "--to", "secret.example.com:8080")["reason"] == "proxied"


def test_a_service_that_the_kernel_balances_gets_a_gateways_requests_by_its_weights_and_each_once(shop):
    shop.router("plain", protocol="http")
    shop.route("plain", {"web-v1": 3, "web-v2": 1}, kind="httpRoute", match={"prefix": "/"})
    shop.service("plain.example.com", router="plain")
    route(shop, "plain", {"prefix": "/plain"}, "plain.example.com")
    wait_for(lambda: status(shop, "/plain") == 200, "the route is in force")
    servers = shop.outside.run("result = dict(many(400, arguments[0], '/plain/v2', port=8088))", shop.pod.ipv4)
    assert sum(servers.values()) == 400 and set(servers) == {V1, V2} and 40 < servers[V2] < 160, "100, and seven deviations"
    assert status(shop, "/plain", headers={"x-fail": "1", "x-key": "plain"}) == 503, "the default policy would have tried again"
    assert ask(shop, "/plain/x")["told"]["headers"]["host"] == "plain.example.com"
    said = {resource["name"]: resource for resource in shop.weft("get", "gatewayRoute")["resources"]}
    assert said["plain"]["notInForce"] == []


def test_what_only_the_mesh_may_say_is_not_taken_from_outside(shop):
    told = ask(shop, "/shop/v2", headers={**dict.fromkeys(OF_THE_MESH, "me"), "x-envoy-attempt-count": "9", "x-request-id": "forged", "x-mine": "kept",
                                          "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1"})["told"]["headers"]
    assert told["x-envoy-attempt-count"] == "1" and len(told["x-request-id"]) == 36 and told["x-forwarded-proto"] == "http"
    assert [name for name in OF_THE_MESH if name in told] == []
    assert told["x-forwarded-for"].startswith("192.0.2.1,10.7") and told["x-mine"] == "kept"


def test_rewrites_are_those_of_app_mesh(shop):
    route(shop, "kept", {"prefix": "/kept"}, rewrite={"prefix": {"defaultPrefix": "DISABLED"}})
    route(shop, "red", {"prefix": "/maroon/"}, rewrite={"prefix": {"value": "/red/"}})
    route(shop, "exact", {"path": {"exact": "/exact"}}, rewrite={"path": {"exact": "/whole"}})
    route(shop, "regex", {"path": {"regex": "/r[0-9]+"}})
    route(shop, "host", {"prefix": "/host"}, rewrite={"hostname": {"defaultTargetHostname": "DISABLED"}})
    wait_for(lambda: status(shop, "/host/x") == 200, "the routes are in force")
    assert path_seen(shop, "/kept/x") == "/kept/x"
    assert path_seen(shop, "/maroon/x?y") == "/red/x?y"
    assert path_seen(shop, "/exact?q") == "/whole?q"
    assert path_seen(shop, "/r17") == "/r17"
    assert ask(shop, "/host/x", headers={"Host": "mine.example.net"})["told"]["headers"]["host"] == "mine.example.net"


def test_matches_by_host_header_and_method_come_in_the_order_of_app_mesh(shop):
    route(shop, "byhost", {"prefix": "/", "hostname": {"exact": "a.example.org"}}, rewrite={"prefix": {"value": "/exact/"}})
    route(shop, "bysuffix", {"prefix": "/", "hostname": {"suffix": ".example.org"}}, rewrite={"prefix": {"value": "/suffix/"}})
    route(shop, "byheader", {"prefix": "/m", "headers": [{"name": "x-a", "match": {"exact": "1"}}]}, priority=1, rewrite={"prefix": {"value": "/header/"}})
    route(shop, "bymethod", {"prefix": "/m", "method": "POST"}, priority=2, rewrite={"prefix": {"value": "/method/"}})
    wait_for(lambda: status(shop, "/m", method="POST") == 200, "the routes are in force")
    assert path_seen(shop, "/x", headers={"Host": "a.example.org:8088"}) == "/exact/x"
    assert path_seen(shop, "/x", headers={"Host": "b.example.org"}) == "/suffix/x"
    assert path_seen(shop, "/m", method="POST", headers={"x-a": "1"}) == "/header/"
    assert path_seen(shop, "/m", method="POST") == "/method/"
    assert status(shop, "/m") == 404


def explain(node, url, *words):
    return node.weft("explain", "--from", GATEWAY, "--to", url, *words)["request"]


def explain_text(node, *words, source=GATEWAY):
    return subprocess.run([BUILD / "weft", "explain", "--instance", node.instance, "--from", source, *words], capture_output=True, text=True)


def test_explain_names_the_gateways_route_and_then_the_services_as_a_request_takes_them(shop):
    route(shop, "byagent", {"prefix": "/shop/v2", "method": "POST"})
    wait_for(lambda: any(one["route"].endswith("/byagent") for one in explain(shop, "http://g:8088/")["gateway"]["routes"]), "the route is in force")
    for path in ("/shop/v2/cart?item=1", "/shop/x", "/plain/y"):
        said, told = explain(shop, f"http://shop.example.net:8088{path}"), ask(shop, path, headers={"Host": "shop.example.net:8088"})["told"]
        assert said["gateway"]["host"] == told["headers"]["host"] and said["gateway"]["path"] == told["path"].split("?")[0]
        assert said["host"] == "shop.example.net:8088" and said["path"] == path.split("?")[0] and said["reply"] is None
        assert said["endpoint"] in (V1, V2)
    said = explain(shop, "http://shop.example.net:8088/shop/v2")
    assert said["gateway"]["route"] == f"{GATEWAY}/gatewayRoute/shop"
    results = {one["route"]: (one["result"], one.get("criterion")) for one in said["gateway"]["routes"]}
    assert results[f"{GATEWAY}/gatewayRoute/byagent"] == ("mismatch", "method") and results[f"{GATEWAY}/gatewayRoute/shop"] == ("matches", None)
    assert said["service"] == "mesh/m/virtualService/web.example.com" and said["port"] == 8080
    assert said["route"] == "mesh/m/virtualRouter/web/route/v2" and said["endpoint"] == V2
    assert explain(shop, "http://g:8088/nowhere")["reply"]["name"] == "no-route"
    said = explain(shop, "http://g:8088/plain/x", "--count", "4000")
    assert said["route"] == "mesh/m/virtualRouter/plain/route/route" and said["retry"]["maxRetries"] == 0 and said["targets"][0]["timeouts"]["requestNs"] is None
    counts = {one["endpoint"]: one["count"] for one in said["distribution"]}
    assert 2800 < counts[V1] < 3200 and counts[V1] + counts[V2] == 4000
    text = explain_text(shop, "--to", "http://shop.example.net:8088/shop/v2?q").stdout
    assert "gateway      m/g/shop\nsent on as   /v2?q, Host web.example.com\nservice      m/web.example.com\nroute        m/web/v2\n" in text
    assert "GATEWAY ROUTE" in text and "method does not match" in text


def test_explain_of_a_gateway_names_what_it_cannot_be_asked(shop):
    result = explain_text(shop, "--to", "http://g:80/")
    assert result.returncode == 1 and f"to: {GATEWAY} has no listener of http without TLS at port 80: it has 8088" in result.stderr
    result = explain_text(shop, "--to", "http://g:8088/", source="mesh/m/virtualGateway/none")
    assert result.returncode == 1 and "no workload here acts for mesh/m/virtualGateway/none" in result.stderr


def test_a_change_of_routes_is_in_force_for_the_next_request(shop):
    assert status(shop, "/late") == 404
    route(shop, "late", {"prefix": "/late"})
    wait_for(lambda: status(shop, "/late") == 200, "the new route takes it")
    (shop.config / "gateway-route-g-late.json").unlink()
    wait_for(lambda: status(shop, "/late") == 404, "nobody takes it any more")
    assert status(shop, "/shop/v2") == 200


def test_it_listens_for_as_long_as_somebody_acts_for_it(shop):
    shop.acts.kill()
    shop.acts.wait()
    wait_for(lambda: status(shop, "/shop/v2") == "ECONNREFUSED", "it listens no more")
    act(shop)


def test_a_policy_that_demands_tls_is_not_passed_by(shop):
    shop.gateway("g", 8088, backendDefaults={"clientPolicy": {"tls": {"validation": {"trust": {"file": {"certificateChain": "/ca.pem"}}}}}})
    wait_for(lambda: status(shop, "/shop/v2") == 503, "nothing goes in plaintext")
    shop.gateway("g", 8088)
    wait_for(lambda: status(shop, "/shop/v2") == 200, "there is no such policy any more")


def test_a_gateway_whose_listener_changes_listens_there(shop):
    shop.gateway("g", 8089)
    wait_for(lambda: status(shop, "/shop/v2", port=8089) == 200, "the new port answers")
    wait_for(lambda: status(shop, "/shop/v2") == "ECONNREFUSED", "the old one is closed")


def test_a_workload_acts_for_a_node_or_a_gateway(shop):
    words = [BUILD / "weft", "run", "--instance", shop.instance, "--cgroup-parent", shop.cgroup]
    for actors in ([], ["--virtual-node", "mesh/m/virtualNode/web-v1", "--virtual-gateway", GATEWAY]):
        result = subprocess.run([*words, *actors, "--", "true"], capture_output=True, text=True)
        assert result.returncode != 0 and "give either --virtual-node or --virtual-gateway" in result.stderr
    result = subprocess.run([*words, "--virtual-gateway", "mesh/m/virtualNode/web-v1", "--", "true"], capture_output=True, text=True)
    assert result.returncode == 125 and "virtualGateway" in result.stderr
