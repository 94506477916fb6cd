# SPDX-License-Identifier: Apache-2.0
"""Routes as App Mesh users have them in their repositories, word for word but for the names of nodes."""
import os
import time

import pytest

from l7_world import make_shop
from weft import wait_for

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
