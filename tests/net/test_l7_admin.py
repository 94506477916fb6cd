# SPDX-License-Identifier: Apache-2.0
"""The administration port of workloads, as those ask who asked Envoy's."""
import json
import os
import signal
import subprocess

import exposition
import pytest

from l7_world import CLIENT, Client, make_shop
from weft import HERE, PYTHON, Node, wait_for

pytestmark = pytest.mark.one_kernel

CLUSTER = "cluster.cds_egress_m_web-v2_http_8080."
READY = "curl -s http://localhost:9901/server_info | grep state | grep -q LIVE"


@pytest.fixture(scope="module")
def shop():
    """With two pods whose workloads act for one node."""
    node = make_shop()
    node.pods = [node.add_pod() for _ in range(2)]
    node.clients = [Client(node, pod) for pod in node.pods]
    for client in node.clients:
        wait_for(lambda: admin(client, "/ready")[0] == 200, "the port is there")
    yield node
    node.close()


@pytest.fixture
def own_shop():
    node = make_shop()
    yield node
    node.close()


def curl(url, *options):
    return ["curl", "-s", "--max-time", "10", "-w", "\n%{http_code}", *options, url]


def told(output):
    """The status, 0 without an answer, and the body."""
    body, _, status = output.rpartition("\n")
    return int(status), body


def admin(client, path, *options, port=9901, host="127.0.0.1"):
    """Asked from within the workload."""
    code = "result = subprocess.run(arguments, capture_output=True, text=True).stdout"
    return told(client.worker.run(code, *curl(f"http://{host}:{port}{path}", *options)))


def from_elsewhere(shop, namespace, url, *options):
    process = shop.spawn(curl(url, *options), namespace, stdout=subprocess.PIPE, text=True)
    return told(process.communicate(timeout=30)[0])


def stats(client, path="/stats", **options):
    status, text = admin(client, path, **options)
    assert status == 200, text
    return {name: value for name, _, value in (line.partition(": ") for line in text.splitlines())}


def test_a_pod_shows_what_it_asked_itself_and_nothing_of_the_other(shop):
    first, second = shop.clients
    vip = shop.vip("web.example.com")
    before = [int(stats(client)[CLUSTER + "upstream_rq_total"]) for client in shop.clients]
    assert first.many(20, vip, "/v2", keep="one") == {"10.77.0.1:9002": 20}
    assert first.ask(vip, "/v2", headers={"x-answer": "404"})["status"] == 404
    shown = stats(first)
    assert int(shown[CLUSTER + "upstream_rq_total"]) == before[0] + 21 and shown[CLUSTER + "upstream_rq_4xx"] == "1"
    assert shown["http.egress.downstream_cx_active"] == shown["listener.0.0.0.0_15001.downstream_cx_active"] == "1"
    assert shown["http.egress.downstream_rq_active"] == shown["server.state"] == "0" and shown["control_plane.connected_state"] == "1"
    assert shown[CLUSTER + "membership_healthy"] == "2", "an endpoint of each family"
    shown = stats(second)
    assert int(shown[CLUSTER + "upstream_rq_total"]) == before[1] and shown["http.egress.downstream_cx_active"] == "0"
    assert not any("secret" in name for name in shown), "a node that is no backend"


def test_clusters_have_their_hosts(shop):
    client = shop.clients[0]
    before = int(host_number(client, "rq_total"))
    client.many(5, shop.vip("web.example.com"), "/v2")
    assert int(host_number(client, "rq_total")) == before + 5 and host_number(client, "rq_active") == "0"
    assert host_number(client, "health_flags") == "healthy"
    clusters = json.loads(admin(client, "/clusters?format=json")[1])["cluster_statuses"]
    hosts = {cluster["name"]: cluster["host_statuses"] for cluster in clusters}
    assert set(hosts) == {"cds_egress_m_web-v1_http_8080", "cds_egress_m_web-v2_http_8080"}
    assert [host["address"]["socket_address"] for host in hosts["cds_egress_m_web-v2_http_8080"]] == [
        {"address": "10.77.0.1", "port_value": 9002}, {"address": "fd77::1", "port_value": 9002}]


def host_number(client, name):
    lines = admin(client, "/clusters?filter=web-v2")[1].splitlines()
    return next(line.rsplit("::", 1)[1] for line in lines if line.startswith(f"cds_egress_m_web-v2_http_8080::10.77.0.1:9002::{name}::"))


def test_what_readiness_probes_ask(shop):
    assert shop.clients[0].worker.run("result = subprocess.run(['sh', '-c', arguments[0]]).returncode", READY) == 0
    assert admin(shop.clients[0], "/ready") == (200, "LIVE\n")
    info = json.loads(admin(shop.clients[0], "/server_info")[1])
    assert info["state"] == "LIVE" and info["node"]["id"] == "mesh/m/virtualNode/client"


def test_prometheus_reads_it(shop):
    shop.clients[0].many(5, shop.vip("web.example.com"), "/v2")
    families = exposition.parse(admin(shop.clients[0], "/stats/prometheus")[1], envoy=True)
    requests = families["envoy_cluster_upstream_rq_xx"].series
    assert requests["", frozenset({("envoy_response_code_class", "2"), ("envoy_cluster_name", "cds_egress_m_web-v2_http_8080")})] >= 5
    assert families["envoy_cluster_upstream_rq_time"].type == "histogram"
    assert exposition.parse(admin(shop.clients[0], "/stats?format=prometheus")[1], envoy=True).keys() == families.keys()
    assert not any(name.startswith("envoy_appmesh") for name in families)


def test_the_configuration_is_shown_to_the_workload(shop):
    configs = {config["@type"].rsplit(".", 1)[1]: config for config in json.loads(admin(shop.clients[0], "/config_dump")[1])["configs"]}
    tables = configs["RoutesConfigDump"]["dynamic_route_configs"]
    assert [table["route_config"]["name"] for table in tables] == ["rds_egress_http_8080"]
    host = tables[0]["route_config"]["virtual_hosts"][0]
    assert host["domains"] == ["web.example.com", "web.example.com:8080"]
    assert [route["name"] for route in host["routes"]] and all(route["spec"]["httpRoute"] for route in host["routes"])
    assert admin(shop.clients[0], "/listeners") == (200, "lds_egress_0.0.0.0_15001::0.0.0.0:15001\n")


def test_from_another_pod_only_what_is_harmless_is_read(shop):
    own, (pod, other) = shop.clients[0], shop.pods
    for host in (pod.ipv4, f"[{pod.ipv6}]"):
        for path in ("/ready", "/server_info", "/stats", "/clusters", "/listeners"):
            assert from_elsewhere(shop, other, f"http://{host}:9901{path}")[0] == 200, path
        for path in ("/config_dump", "/certs"):
            assert from_elsewhere(shop, other, f"http://{host}:9901{path}")[0] == 403, path
        for path in ("/healthcheck/fail", "/quitquitquit", "/reopen_logs", "/stats"):
            assert from_elsewhere(shop, other, f"http://{host}:9901{path}", "-X", "POST")[0] == 403, path
        assert admin(own, "/stats", "-X", "POST", host=host)[0] == 403, "who asks by an address of the pod may be anybody"
    assert admin(own, "/certs")[0] == 200 and admin(own, "/quitquitquit", "-X", "POST") == (200, "OK\n")
    assert admin(own, "/healthcheck/fail", "-X", "POST") == (200, "OK\n") and admin(own, "/ready") == (503, "DRAINING\n")
    assert admin(shop.clients[1], "/ready") == (200, "LIVE\n")
    assert admin(own, "/healthcheck/ok", "-X", "POST") == (200, "OK\n") and admin(own, "/ready") == (200, "LIVE\n")
    assert own.ask(shop.vip("web.example.com"))["status"] == 200, "nothing has ended"


def test_a_workload_says_where_its_port_is_and_what_it_shows(shop):
    pod = shop.add_pod()
    environment = {"ENVOY_ADMIN_ACCESS_PORT": "9990", "APPMESH_METRIC_EXTENSION_VERSION": "1", "ENABLE_ENVOY_STATS_TAGS": "true"}
    client = Client(shop, pod, env={**os.environ, **environment})
    wait_for(lambda: admin(client, "/ready", port=9990)[0] == 200, "the port is where it was asked for")
    assert admin(client, "/ready")[0] == 0
    client.many(3, shop.vip("web.example.com"), "/v2")
    families = exposition.parse(admin(client, "/stats/prometheus", port=9990)[1], envoy=True)
    common = {("Mesh", "m"), ("VirtualNode", "client"), ("appmesh_mesh", "m"), ("appmesh_virtual_node", "client")}
    assert all(common <= labels for family in families.values() for _, labels in family.series)
    target = frozenset(common | {("TargetVirtualService", "web.example.com"), ("TargetVirtualNode", "web-v2")})
    assert families["envoy_appmesh_RequestCountPerTarget"].series["", target] == 3
    assert families["envoy_appmesh_HTTPCode_Target_2XX_Count"].series["", target] == 3
    assert "envoy_appmesh_RequestCount" not in families, "what comes in goes past weft-proxy"


def test_a_port_that_is_none_is_warned_of(shop):
    client = Client(shop, shop.add_pod(), env={**os.environ, "ENVOY_ADMIN_ACCESS_PORT": "70000"})
    wait_for(lambda: admin(client, "/ready")[0] == 200, "the port is the usual one")
    assert "variable=ENVOY_ADMIN_ACCESS_PORT value=70000" in shop.log.read_text()


def test_there_is_none_in_the_hosts_namespace_and_none_without_a_workload(shop):
    assert shop.client_worker.ask(shop.vip("web.example.com"))["status"] == 200, "a workload acts there"
    assert from_elsewhere(shop, shop.namespace, "http://127.0.0.1:9901/ready")[0] == 0
    pod = shop.add_pod()
    workers = [shop.worker("client", pod) for _ in range(2)]
    wait_for(lambda: from_elsewhere(shop, pod, "http://127.0.0.1:9901/ready")[0] == 200, "the port comes with the first workload")
    workers[0].kill()
    assert from_elsewhere(shop, pod, "http://127.0.0.1:9901/ready")[0] == 200
    workers[1].kill()
    wait_for(lambda: from_elsewhere(shop, pod, "http://127.0.0.1:9901/ready")[0] == 0, "the port goes with the last workload")


def test_what_comes_in_is_shown_where_weft_proxy_serves_it():
    with Node() as node:
        server, elsewhere = node.add_pod(), node.add_pod()
        node.mesh()
        node.node("web", listeners=[{"portMapping": {"port": 8080, "protocol": "http"},
                                     "connectionPool": {"http": {"maxConnections": 2, "maxPendingRequests": 7}}}])
        argv = [PYTHON, HERE / "http_server.py", f"{server.ipv4}:8080"]
        environment = {**os.environ, "APPMESH_METRIC_EXTENSION_VERSION": "1"}
        application = node.workload(argv, "web", server, ("--register", f"{server.ipv4}:8080"), stdout=subprocess.PIPE, text=True, env=environment)
        assert application.stdout.readline() == "ready\n"
        wait_for(lambda: [one["state"] for one in node.status()["listeners"]] == ["served by weft-proxy"], "the listener is served")

        def asked(path):
            return from_elsewhere(node, server, f"http://127.0.0.1:9901{path}")
        wait_for(lambda: asked("/ready")[0] == 200, "the port is there")
        client = node.worker(netns=elsewhere)
        client.run(CLIENT)
        for status in ("200", "503"):
            assert client.run("result = ask(*arguments[0], **arguments[1])", [server.ipv4], {"headers": {"x-answer": status}})["status"] == int(status)
        status, text = asked("/stats")
        shown = dict(line.split(": ", 1) for line in text.splitlines())
        cluster = "cluster.cds_ingress_m_web_http_8080."
        assert shown["listener.0.0.0.0_15000.downstream_cx_total"] == shown["http.ingress.downstream_rq_total"] == "2"
        assert shown["http.ingress.downstream_rq_2xx"] == shown["http.ingress.downstream_rq_5xx"] == "1"
        assert shown[cluster + "upstream_rq_total"] == "2" and shown[cluster + "upstream_rq_2xx"] == "1"
        assert shown[cluster + "circuit_breakers.default.cx_open"] == shown[cluster + "upstream_rq_pending_overflow"] == "0"
        hosts = asked("/clusters")[1]
        assert f"cds_ingress_m_web_http_8080::{server.ipv4}:8080::rq_total::2\n" in hosts
        assert "cds_ingress_m_web_http_8080::default_priority::max_pending_requests::7\n" in hosts
        families = exposition.parse(asked("/stats/prometheus")[1], envoy=True)
        own = frozenset({("Mesh", "m"), ("VirtualNode", "web")})
        assert families["envoy_appmesh_RequestCount"].series["", own] == families["envoy_appmesh_NewConnectionCount"].series["", own] == 2
        assert families["envoy_appmesh_ProcessedBytes"].series["", own] > 0


def test_a_successor_has_the_ports(own_shop):
    pod = own_shop.add_pod()
    client = Client(own_shop, pod)
    wait_for(lambda: admin(client, "/ready")[0] == 200, "the port is there")
    before = own_shop.proxy_pid()
    os.kill(before, signal.SIGHUP)
    wait_for(lambda: own_shop.status()["proxy"].get("pid") not in (None, before), "a successor")
    wait_for(lambda: admin(client, "/ready")[0] == 200, "the port is the successor's")
    vip = own_shop.vip("web.example.com")
    assert client.many(3, vip, "/v2") == {"10.77.0.1:9002": 3}
    assert stats(client)[CLUSTER + "upstream_rq_total"] == "3"
