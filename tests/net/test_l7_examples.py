# SPDX-License-Identifier: Apache-2.0
"""Routes as App Mesh users have them in their repositories, word for word but for the names of nodes."""
import os
import re
import time

import pytest

from l7_world import make_shop
from weft import PYTHON, SLOWNESS, wait_for

pytestmark = pytest.mark.one_kernel

V1, V2 = "10.77.0.1:9001", "10.77.0.1:9002"


@pytest.fixture
def shop():
    node = make_shop()
    yield node
    node.close()


def put_route(node, name, spec, **more):
    node.write(f"route-web-{name}", meshName="m", virtualRouterName="web", routeName=name, spec={**spec, **more})


def test_canary_with_retries(shop):
    put_route(shop, "all", {"httpRoute": {
        "match": {"prefix": "/"},
        "action": {"weightedTargets": [{"virtualNode": "web-v1", "weight": 90}, {"virtualNode": "web-v2", "weight": 10}]},
        "retryPolicy": {"httpRetryEvents": ["server-error", "gateway-error"], "tcpRetryEvents": ["connection-error"], "maxRetries": 3,
                        "perRetryTimeout": {"value": 5, "unit": "s"}},
        "timeout": {"idle": {"value": 30, "unit": "s"}, "perRequest": {"value": 15, "unit": "s"}}}}, priority=3)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.ask(vip, headers={"x-fail": "3", "x-key": os.urandom(4).hex()})["status"] == 200, "the policy is in force")
    seen = client.many(1000, vip, keep="one")
    assert set(seen) == {V1, V2} and 52 < seen[V2] < 148, "100 of 1,000, and five standard deviations"
    assert all(client.ask(vip, headers={"x-fail": "2", "x-key": f"{i}"})["status"] == 200 for i in range(20)), "each is saved"


def test_ab_by_header(shop):
    put_route(shop, "beta", {"httpRoute": {
        "match": {"prefix": "/", "headers": [{"name": "x-user-segment", "match": {"exact": "beta"}}]},
        "action": {"weightedTargets": [{"virtualNode": "web-v2", "weight": 100}]}}}, priority=1)
    put_route(shop, "all", {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "web-v1", "weight": 100}]}}},
              priority=2)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.many(20, vip) == {V1: 20}, "the routes are in force")
    assert client.many(20, vip, headers={"X-User-Segment": "beta"}, keep="one") == {V2: 20}
    assert client.many(20, vip, headers={"X-User-Segment": "beta2"}, keep="one") == {V1: 20}


def test_a_model_that_hangs_is_asked_again_after_three_seconds(shop):
    put_route(shop, "predict", {"httpRoute": {
        "match": {"prefix": "/predict"},
        "action": {"weightedTargets": [{"virtualNode": "web-v1", "weight": 90}, {"virtualNode": "web-v2", "weight": 10}]},
        "timeout": {"perRequest": {"value": 5, "unit": "s"}},
        "retryPolicy": {"httpRetryEvents": ["server-error"], "maxRetries": 2, "perRetryTimeout": {"value": 3, "unit": "s"}}}}, priority=0)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.ask(vip, "/predict", headers={"x-answer": "500", "x-key": "x"})["headers"].get("x-envoy-upstream-service-time") and
             client.ask(vip, "/predict", headers={"x-fail": "2", "x-key": os.urandom(4).hex()})["status"] == 200, "the policy is in force")
    begun = time.monotonic()
    answer = client.ask(vip, "/predict", headers={"x-hang": "1", "x-key": "hangs"})
    assert answer["status"] == 200 and answer["told"]["headers"]["x-envoy-attempt-count"] == "2"
    assert 2.9 < time.monotonic() - begun < 5
    begun = time.monotonic()
    assert client.ask(vip, "/predict", headers={"x-hang": "3", "x-key": "always"})["status"] == 504, "the request's own time-out is 5 s"
    assert time.monotonic() - begun > 4.9


def test_tenants_by_header_have_their_own_time(shop):
    put_route(shop, "enterprise", {"httpRoute": {
        "match": {"prefix": "/api", "headers": [{"name": "x-tenant-tier", "match": {"exact": "enterprise"}}]},
        "action": {"weightedTargets": [{"virtualNode": "web-v2", "weight": 100}]}, "timeout": {"perRequest": {"value": 30, "unit": "s"}}}}, priority=0)
    put_route(shop, "api", {"httpRoute": {
        "match": {"prefix": "/api"}, "action": {"weightedTargets": [{"virtualNode": "web-v1", "weight": 100}]},
        "timeout": {"perRequest": {"value": 1, "unit": "s"}}}}, priority=1)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.ask(vip, "/api", headers={"x-wait": "1.5"})["status"] == 504, "the routes are in force")
    answer = client.ask(vip, "/api", headers={"x-wait": "1.5", "x-tenant-tier": "enterprise"})
    assert answer["status"] == 200 and answer["told"]["server"] == V2


def test_half_an_hour_is_more_than_the_quarter_of_a_minute_that_others_have(shop):
    half_hour = {"perRequest": {"value": 1800, "unit": "s"}, "idle": {"value": 1800, "unit": "s"}}
    for name in "web-v1", "web-v2":
        shop.node(name, listeners=[{"portMapping": {"port": 8080, "protocol": "http"}, "timeout": {"http": half_hour}}])
    put_route(shop, "report", {"httpRoute": {
        "match": {"prefix": "/report"}, "action": {"weightedTargets": [{"virtualNode": "web-v1", "weight": 100}]}, "timeout": half_hour}}, priority=0)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.many(20, vip, "/report") == {V1: 20}, "the route is in force")
    client.worker.run("""
import threading
def ask_later(path):
    threading.Thread(target=lambda: answers.__setitem__(path, ask(arguments[0], path, headers={"x-wait": "16"}))).start()
answers = {}
for path in ("/report", "/other"):
    ask_later(path)
""", vip)
    answers = wait_for(lambda: len(found := client.worker.run("result = {path: a.get('status') for path, a in answers.items()}")) == 2 and found,
                       "both answers", 40)
    assert answers == {"/report": 200, "/other": 504}


# Answers 501 to whatever is POSTed, as http.server does.
FAILING = "import http.server; http.server.ThreadingHTTPServer(('10.77.0.2', 9003), http.server.SimpleHTTPRequestHandler).serve_forever()"
BROKEN = "10.77.0.2:9003"
TIME_SCALE = 20


@pytest.fixture
def quick_shop():
    node = make_shop("--time-scale", str(TIME_SCALE))
    yield node
    node.close()


def test_circuit_breaking_puts_an_endpoint_out_after_five_errors_for_thirty_seconds(quick_shop):
    """The other half of the example, connectionPool, is in test_l7_inbound.py: at the serving side."""
    shop = quick_shop
    shop.node("web-v1", listeners=[{"portMapping": {"port": 8080, "protocol": "http"},
                                    "connectionPool": {"http": {"maxConnections": 100, "maxPendingRequests": 50}},
                                    "outlierDetection": {"maxServerErrors": 5, "interval": {"value": 10, "unit": "s"},
                                                         "baseEjectionDuration": {"value": 30, "unit": "s"}, "maxEjectionPercent": 50}}])
    put_route(shop, "all", {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "web-v1", "weight": 1}]}}}, priority=0)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.many(20, vip) == {V1: 20}, "the route is in force")
    shop.spawn([PYTHON, "-c", FAILING], stderr=open(os.devnull, "w"))
    wait_for(lambda: shop.worker().connect("10.77.0.2", 9003) != "ECONNREFUSED", "the server that fails is there")
    shop.register("web-v1", "broken", BROKEN)

    def statuses(until):
        """When each request ended that failed, until so many did; and how many did not."""
        return client.worker.run("""
failed, went_well, end = [], 0, time.monotonic() + 60
while len(failed) < arguments[1] and time.monotonic() < end:
    answer = ask(arguments[0], "/", "POST", body="x")
    if answer["status"] == 501:
        failed.append(time.monotonic())
    else:
        assert answer["status"] == 200, answer
        went_well += 1
result = [failed, went_well]
""", vip, until)
    failed, _ = statuses(7)  # five put it out, each of the others is a probe
    assert failed[4] - failed[0] < 30 / TIME_SCALE * SLOWNESS
    for times, probe in enumerate(failed[5:], 1):
        assert times * 30 / TIME_SCALE <= probe - failed[3 + times] < times * 30 / TIME_SCALE + 2 * SLOWNESS, failed
    endpoint = {e["address"]: e for e in shop.explain("web.example.com:8080")["targets"][0]["endpoints"]}[BROKEN]
    assert endpoint["health"] == "ejected" and endpoint["ejections"] == 3


def test_an_access_log_in_the_documented_format(shop):
    path = shop.directory / "access.log"
    shop.node("client", port=None, backends=["web.example.com"], logging={"accessLog": {"file": {"path": str(path), "format": {
        "text": "[%START_TIME%] %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% "
                "%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% %REQ(X-FORWARDED-FOR)% %REQ(USER-AGENT)% %REQ(X-REQUEST-ID)% "
                "%REQ(:AUTHORITY)% %UPSTREAM_HOST%\n"}}}})
    client, vip = shop.client_worker, shop.vip("web.example.com")

    def logged():
        client.ask(vip, "/v2/pay?now=1", "POST", {"User-Agent": "tests"}, "12345")
        return path.exists() and path.read_text()
    line = wait_for(logged, "a line").splitlines()[0]
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] POST /v2/pay\?now=1 HTTP/1\.1 200 - 5 \d+ \d+ \d+ - tests [0-9a-f-]{36} "
                        r"web\.example\.com " + re.escape(V2), line), line
