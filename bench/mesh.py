# SPDX-License-Identifier: Apache-2.0
"""A weft instance of a measurement's own, with a mesh of as many services as are asked for."""

import contextlib
import http.client
import json
import shutil
import socket
import sys
from pathlib import Path

from harness import BUILD, PROXY_CPU, WAIT_SECONDS, end, wait_for

PORT = 9000
SERVICE = "echo.bench"
CLOUD_MAP = "bench.local"
MADE_FOR = 256  # services that tables are made for at first (maps/abi/limits.h, DEFAULT_SERVICES)


def other_address(number):
    """Of the one endpoint of a service that nobody calls."""
    return f"10.78.{number // 250}.{number % 250 + 1}"


class Refused(RuntimeError):
    """weftd answered that it will not."""


class Weft:
    """A mesh of `services` services, each with its router, route, virtual node and one endpoint. The client may call them all."""

    protocol = "tcp"
    client = {} # more of the client's spec
    more = []  # of the client's backends

    def __init__(self, node):
        self.node = node
        self.config = node.directory / "config"
        self.config.mkdir()
        self.log = open(node.directory / "weftd.log", "w+")
        self.agent = None
        self.made_for = MADE_FOR
        node.stack.push(self.tell_failure)
        node.stack.callback(shutil.rmtree, f"/run/weft/{node.instance}", ignore_errors=True)
        node.stack.callback(node.command, BUILD / "weft-loader", "uninstall", "--instance", node.instance)
        node.command(BUILD / "weft-loader", "install", "--instance", node.instance, "--cgroup", node.mesh)

    def tell_failure(self, kind, _error, _traceback):
        """What weftd said last, where the measurement failed."""
        if kind:
            self.log.seek(0)
            print(self.log.read()[-4000:], file=sys.stderr)
        self.log.close()

    def write(self, name, value):
        (self.config / f"{name}.json").write_text(json.dumps(value))

    def node_spec(self, name, **spec):
        self.write(f"node-{name}", {"meshName": "bench", "virtualNodeName": name, "spec": {
            "listeners": [{"portMapping": {"port": PORT, "protocol": self.protocol}}],
            "serviceDiscovery": {"awsCloudMap": {"namespaceName": CLOUD_MAP, "serviceName": name}}, **spec}})

    def route(self, router, weights):
        return {"meshName": "bench", "virtualRouterName": router, "routeName": f"{router}-route", "spec": {"tcpRoute": {"action": {
            "weightedTargets": [{"virtualNode": name, "weight": weight} for name, weight in weights.items()]}}}}

    def service(self, service, router, weights):
        self.write(f"service-{router}", {"meshName": "bench", "virtualServiceName": service, "spec": {
            "provider": {"virtualRouter": {"virtualRouterName": router}}}})
        self.write(f"router-{router}", {"meshName": "bench", "virtualRouterName": router, "spec": {
            "listeners": [{"portMapping": {"port": PORT, "protocol": self.protocol}}]}})
        self.write(f"route-{router}", self.route(router, weights))

    def configure(self, services):
        others = [f"other-{i}" for i in range(1, services)]
        self.write("mesh", {"meshName": "bench", "spec": {"egressFilter": {"type": "DROP_ALL"}}})
        self.write("node-client", {"meshName": "bench", "virtualNodeName": "client", "spec": {**self.client, "backends": [
            {"virtualService": {"virtualServiceName": name}} for name in [SERVICE, *self.more, *(f"{name}.bench" for name in others)]]}})
        for name in ["blue", "green", *others]:
            self.node_spec(name)
        self.service(SERVICE, "echo", {"blue": 100, "green": 0})
        for name in others:
            self.service(f"{name}.bench", name, {name: 100})
        self.services, self.others = services, others

    def start(self, *options):
        """Starts weftd, or lets a new one take over; returns when the whole configuration is in force."""
        self.start_agent("--config", self.config, *options)
        files = len(list(self.config.iterdir()))
        wait_for(lambda: self.alive() and (self.call("GET", "/v1/configuration") or {}).get("files") == files, "weftd")
        self.register_others()

    def start_agent(self, *options):
        if self.agent:
            end(self.agent)
        if self.services > self.made_for:  # weftd would do so by itself, and begin again meanwhile
            self.made_for = 2 * self.services
            self.node.command(BUILD / "weft-loader", "grow", "--instance", self.node.instance, "--services", str(self.made_for))
        self.agent = self.node.start([
            BUILD / "weftd", "--state-dir", self.node.directory / "state", "--instance", self.node.instance, *options], PROXY_CPU,
            stdout=self.log, stderr=self.log)

    def register_others(self):
        for i, name in enumerate(self.others):
            self.call("PUT", "/v1/instances", {"namespace": CLOUD_MAP, "service": name, "id": name, "attributes": {
                "AWS_INSTANCE_IPV4": other_address(i), "AWS_INSTANCE_PORT": str(PORT)}})

    def alive(self):
        if self.agent.poll() is None:
            return True
        raise RuntimeError("weftd ended")

    def call(self, method, path, body=None):
        """The local socket's answer; None while nobody listens."""
        connection = http.client.HTTPConnection("weft", timeout=WAIT_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            try:
                connection.sock.connect(f"/run/weft/{self.node.instance}/weftd.sock")
            except OSError:
                return None
            connection.request(method, path, json.dumps(body) if body else None)
            answer = connection.getresponse()
            value = json.loads(answer.read())
            if answer.status >= 400:
                raise Refused(f"{method} {path}: {value}")
            return value

    def is_routed(self):
        """Also the service that is compiled last has an endpoint."""
        with contextlib.suppress(Refused): # not compiled yet
            return all(self.call("GET", f"/v1/explain?from=mesh/bench/virtualNode/client&to={name}:{PORT}").get("endpoint")
                       for name in [SERVICE] + [f"{name}.bench" for name in self.others[-1:]])

    def find_vip(self, service=SERVICE):
        for resource in self.call("GET", "/v1/resources?kind=virtualService")["resources"]:
            if service in (resource["name"], resource["resource"]):
                return next((vip for vip in resource.get("vips") or [] if ":" not in vip), None)

    def run(self, name, *options):
        """What starts a program as the virtual node `name`."""
        return [BUILD / "weft", "run", "--instance", self.node.instance, "--virtual-node", f"mesh/bench/virtualNode/{name}",
                *options, "--"]

    def memory(self, pid=None):
        status = Path(f"/proc/{pid or self.agent.pid}/status").read_text()
        return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(("VmRSS", "Rss"))}
