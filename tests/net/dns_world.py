# SPDX-License-Identifier: Apache-2.0
"""What tests of names share: services, a resolver that knows other names, and workloads that ask."""
import contextlib

from weft import Node, wait_for

ZONE = {
    "outside.example.net": {"A": ["198.51.100.7"], "AAAA": ["2001:db8::7"], "TXT": ["hello"]},
    "alias.example.net": {"CNAME": "outside.example.net"},
    "big.example.net": {"A": [f"198.51.100.{i}" for i in range(1, 101)]},
    "huge.example.net": {"TXT": ["x" * 200] * 280},
    "sqs.eu-west-1.amazonaws.com": {"A": ["10.77.0.2"], "ttl": 1},
    "amazonaws.com.example.net": {"A": ["10.77.0.3"]},
    "web.example.com": {"A": ["198.51.100.99"], "AAAA": ["2001:db8::99"]},  # what nobody in the mesh may ever hear
}
RESOLVER, RESOLVER6 = "10.77.0.53", "fd77::53"


class Client:
    """A worker that knows dns_client.py."""

    def __init__(self, worker):
        self.worker = worker
        worker.run("from dns_client import *")

    def call(self, function, *arguments, **options):
        self.start(function, *arguments, **options)
        return self.worker.answer()

    def start(self, function, *arguments, **options):
        self.worker.start(f"result = {function}(*arguments[0], **arguments[1])", arguments, options)

    def __getattr__(self, function):
        return lambda *arguments, **options: self.call(function, *arguments, **options)


def make_names(*options):
    """A node with services of one family, of both and of none, a resolver, and no workload yet."""
    node = Node(*options, addresses=("10.77.0.1/24", "10.77.0.2/24", "10.77.0.3/24", "fd77::1/64"))
    node.__enter__()
    try:
        node.mesh()
        backends = ["web.example.com", "four.example.com", "six.example.com", "http.example.com", "none.example.com",
                    "Mixed.Example.com", "web.shop.svc.cluster.local"]
        node.node("client", port=None, backends=backends)
        node.node("other", port=None, backends=["four.example.com"])
        for name in ("web", "four", "six", "http", "none", "secret"):
            node.node(name)
        for service in (*backends, "secret.example.com"):
            kind = service.split(".")[0].lower()
            node.service(service, node="web" if kind == "mixed" else kind)
        node.echo("10.77.0.1:9001", "[fd77::1]:9001", "10.77.0.2:9001", "10.77.0.3:9001")
        for family, address in (("4", "10.77.0.1"), ("6", "[fd77::1]")):
            node.register("web", f"web{family}", f"{address}:9001")
            node.register("http", f"http{family}", f"{address}:9002")
        node.register("four", "four", "10.77.0.1:9001")
        node.register("six", "six", "[fd77::1]:9001")
        node.register("secret", "secret", "10.77.0.1:9001")
        node.dns = node.resolver(zone=ZONE)
    except BaseException as error:
        node.__exit__(type(error))
        raise
    return node


def make_client(node, *conf, name="client", pod=None):
    """A workload in a pod of its own that asks as resolv.conf says, by weft: it has its names by now."""
    pod = pod or node.add_pod()
    pod.resolv_conf(*(conf or [f"nameserver {RESOLVER}"]))
    client = Client(node.worker(name, pod))
    client.pod = pod
    return client


def wait_for_names(node, client, service="web.example.com", resolver=RESOLVER):
    """Until the name is one of the mesh; its VIPs."""
    vips = [node.vip(service), node.vip(service, 6)]
    wait_for(lambda: client.addresses(resolver, service) == [vips[0]], f"{service} is answered")
    return vips


@contextlib.contextmanager
def named_world(*options):
    """A node with names and a workload, node.client, which is answered by now; node.vips of web.example.com."""
    node = make_names(*options)
    try:
        node.client = make_client(node)
        node.vips = wait_for_names(node, node.client)
        yield node
    finally:
        node.close()


def grown(node, reason, before, who="client"):
    return node.reasons().get((who, None, reason), 0) - before.get((who, None, reason), 0)
