# SPDX-License-Identifier: Apache-2.0
"""Envoy, configured as App Mesh's sidecars are: a virtual host for each service in a route configuration that is read again when its file
changes, a cluster for each virtual node, retries, per-try timeouts, an access log in Envoy's default format. Its counters always count."""

from harness import BUILD
from mesh import PORT, SERVICE
from peers.peer import GROUP, Peer, write_json

TYPE = "type.googleapis.com/envoy."
RETRY = {"retry_on": "5xx,connect-failure,refused-stream", "num_retries": 2, "per_try_timeout": "3s"}
UNLIMITED = {"priority": "DEFAULT", **{f"max_{what}": 1000000 for what in ("connections", "pending_requests", "requests", "retries")}}


def cluster(name, address):
    host, port = address.split(":")
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    http1 = {"@type": f"{TYPE}extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http_protocol_options": {}}}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {"thresholds": [UNLIMITED]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http1},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}


def virtual_host(host, routes):
    return {"name": host, "domains": [host, f"{host}:{PORT}"], "routes": [
        {"match": {"prefix": "/", **match}, "route": {**action, "timeout": "15s", "retry_policy": RETRY}} for match, action in routes]}


class Envoy(Peer):
    name = "envoy"
    program = next(iter((BUILD / "envoy").glob("lib/python3*/site-packages/envoy/_bin/envoy")), None)

    def routes(self, weights):
        beta = {"headers": [{"name": GROUP, "string_match": {"exact": "beta"}}]}
        weighted = {"weighted_clusters": {"clusters": [{"name": name, "weight": weight} for name, weight in zip(("blue", "green"), weights)]}}
        hosts = [virtual_host(SERVICE, [(beta, {"cluster": "green"}), ({}, weighted)])]
        hosts += [virtual_host(host, [({}, {"cluster": host})]) for host in self.others]
        return {"resources": [{"@type": f"{TYPE}config.route.v3.RouteConfiguration", "name": "services", "virtual_hosts": hosts}]}

    def configure(self, weights):
        write_json(self.directory / "routes.json", self.routes(weights))
        log = {"name": "file", "typed_config": {"@type": f"{TYPE}extensions.access_loggers.file.v3.FileAccessLog", "path": str(self.log)}}
        manager = {
            "@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "egress",
            "rds": {"route_config_name": "services", "config_source": {"path_config_source": {"path": str(self.directory / "routes.json")}}},
            "access_log": [log],
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPE}extensions.filters.http.router.v3.Router"}}]}
        clusters = [*zip(("blue", "green"), self.endpoints), *self.others.items()]
        write_json(self.directory / "envoy.json", {
            "node": {"id": "bench", "cluster": "bench"},
            "admin": {"address": {"socket_address": {"address": self.listen, "port_value": 9902}}},
            "static_resources": {
                "listeners": [{"name": "egress", "address": {"socket_address": {"address": self.listen, "port_value": PORT}},
                               "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
                "clusters": [cluster(name, address) for name, address in clusters]}})

    def command(self):
        return [self.program, "-c", self.directory / "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]

    def change(self, weights, tag):
        following = write_json(self.directory / "next.json", self.routes(weights))
        return f"rename {following} {self.directory / 'routes.json'} {tag} 30"
