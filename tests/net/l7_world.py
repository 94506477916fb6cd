# SPDX-License-Identifier: Apache-2.0
"""A shop whose services speak HTTP, behind weft-proxy, and a client that asks them."""
import subprocess

from weft import HERE, PYTHON, Node, wait_for

# In a worker: one request on a connection of its own, or on a kept one.
CLIENT = """
import http.client
kept = {}
def ask(address, path="/", method="GET", headers={}, body=None, keep=None, port=8080, timeout_s=30 * SLOWNESS):
    connection = kept.get(keep)
    if not connection:
        connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
        if keep is not None:
            kept[keep] = connection
    try:
        connection.request(method, path, body, {"Host": "web.example.com", **headers})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as e:
        kept.pop(keep, None)
        return {"error": errno.errorcode.get(getattr(e, "errno", None), type(e).__name__)}
    told = {"status": answer.status, "headers": {k.lower(): v for k, v in answer.getheaders()}, "text": text.decode(errors="replace")}
    if told["headers"].get("content-type") == "application/json" and text:
        told["told"] = json.loads(text)
    if keep is None:
        connection.close()
    return told
def many(count, *arguments, **options):
    from collections import Counter
    result = Counter()
    for _ in range(count):
        answer = ask(*arguments, **options)
        result[answer.get("error") or (answer["told"]["server"] if "told" in answer and answer["status"] == 200 else str(answer["status"]))] += 1
    return result
"""


class Client:
    """A workload of node `client` whose functions are those of CLIENT."""

    def __init__(self, node, netns=None, **options):
        self.worker = node.worker("client", netns, **options)
        self.worker.run(CLIENT)

    def __getattr__(self, name):
        def call(*arguments, **options):
            return self.worker.run(f"result = {name}(*arguments[0], **arguments[1])", arguments, options)
        return call


def http_servers(node, *endpoints, namespace=None):
    process = node.spawn([PYTHON, HERE / "http_server.py", *endpoints], namespace, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def route(node, router, weights, name, match=None, priority=None, **more):
    action = {"weightedTargets": [{"virtualNode": target, "weight": weight} for target, weight in weights.items()]}
    spec = {"httpRoute": {"match": match or {"prefix": "/"}, "action": action, **more}}
    if priority is not None:
        spec["priority"] = priority
    node.write(f"route-{router}-{name}", meshName="m", virtualRouterName=router, routeName=name, spec=spec)


def make_shop(*options):
    """web.example.com: /v2 and x-user: beta lead to web-v2, everything else below / 3:1 to web-v1 and web-v2."""
    node = Node(*options)
    node.__enter__()
    try:
        node.mesh()
        node.node("client", port=None, backends=["web.example.com"])
        for name in ("web-v1", "web-v2", "secret"):
            node.node(name, protocol="http")
        node.router("web", protocol="http")
        route(node, "web", {"web-v2": 1}, "beta", {"prefix": "/", "headers": [{"name": "x-user", "match": {"exact": "beta"}}]}, priority=1)
        route(node, "web", {"web-v2": 1}, "v2", {"prefix": "/v2"}, priority=2)
        route(node, "web", {"web-v1": 3, "web-v2": 1}, "all", {"prefix": "/"}, priority=3)
        node.service("web.example.com", router="web", l7=True)
        node.service("secret.example.com", node="secret", l7=True)
        node.servers = http_servers(node, "10.77.0.1:9001", "10.77.0.1:9002", "[fd77::1]:9001", "[fd77::1]:9002")
        node.register("web-v1", "1", "10.77.0.1:9001")
        node.register("web-v2", "2", "10.77.0.1:9002")
        node.register("web-v1", "1v6", "[fd77::1]:9001")
        node.register("web-v2", "2v6", "[fd77::1]:9002")
        node.client_worker = Client(node)
        node.wait_reason("web.example.com:8080", "proxied")
        wait_for(lambda: node.client_worker.ask(node.vip("web.example.com")).get("status") == 200, "the shop answers")
    except BaseException:
        node.close()
        raise
    return node
