# SPDX-License-Identifier: Apache-2.0
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import ending  # noqa: E402
from dns_world import make_names  # noqa: E402
from weft import Node, add_logs  # noqa: E402


def pytest_configure(config):
    ending.listen(config)
    config.addinivalue_line("markers", "one_kernel: left out on other kernels (tests/kernels/run), where tests take ten times as long. What it "
                            "asks is answered in user space: texts, files, resources, DNS messages, HTTP inside of weft-proxy, how its processes "
                            "talk to each other; or it measures, or mixes what others test")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    add_logs(outcome.get_result())


@pytest.fixture(scope="module")
def shop():
    """A client whose backends are `web` (90/10 to web-v1 and web-v2, over a router) and `lone` (a node); `secret` is no backend."""
    with Node() as node:
        node.mesh()
        node.node("client", port=None, backends=["web", "lone", "closed", "tls", "http"])
        for name in ("web-v1", "web-v2", "lone", "secret", "closed"):
            node.node(name)
        node.node("tls", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "tls": {
            "mode": "STRICT", "certificate": {"file": {"certificateChain": "/c.pem", "privateKey": "/k.pem"}}}}])
        node.node("http", protocol="http")
        node.router("web")
        node.route("web", {"web-v1": 90, "web-v2": 10})
        node.router("http", protocol="http")
        node.route("http", {"http": 1}, kind="httpRoute", match={"prefix": "/only"})
        node.service("web", router="web")
        node.service("http", router="http")
        for name in ("lone", "secret", "closed", "tls"):
            node.service(name, node=name)
        node.echo("10.77.0.1:9001", "10.77.0.1:9002", "10.77.0.1:9003", "[fd77::1]:9001", "[fd77::1]:9002", "10.77.0.1:9004")
        node.register("web-v1", "1", "10.77.0.1:9001")
        node.register("web-v1", "1v6", "[fd77::1]:9001")
        node.register("web-v2", "2", "10.77.0.1:9002")
        node.register("web-v2", "2v6", "[fd77::1]:9002")
        node.register("lone", "3", "10.77.0.1:9003")
        node.register("secret", "4", "10.77.0.1:9004")
        node.register("closed", "5", "10.77.0.2:1")
        node.workload(["sleep", "1000"])  # a client that stays, so that the node is in the plan between others
        node.vip("http")
        node.wait_reason("closed:8080", "routed")
        yield node


@pytest.fixture
def own_names():
    """A node with names, for one test, which may do to it what it wants."""
    node = make_names()
    yield node
    node.close()
