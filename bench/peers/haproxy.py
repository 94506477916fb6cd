# SPDX-License-Identifier: Apache-2.0
"""haproxy: a backend for each service, found by a map of hosts, retries, its HTTP log, and its metrics. Weights change by its runtime API."""

from mesh import PORT, SERVICE
from peers.peer import GROUP, Peer


class Haproxy(Peer):
    name, program = "haproxy", "/usr/sbin/haproxy"

    def configure(self, weights):
        blue, green = self.endpoints
        backends = {host: f"server only {address}" for host, address in self.others.items()}
        backends[SERVICE] = f"server blue {blue} weight {weights[0]}\n    server green {green} weight {weights[1]}"
        backends["beta"] = f"server green {green}"
        hosts = self.directory / "hosts"
        hosts.write_text("".join(f"{host} {host}\n" for host in (SERVICE, *self.others)))
        sections = "\n".join(f"backend {name}\n    {servers}" for name, servers in backends.items())
        (self.directory / "haproxy.cfg").write_text(f"""global
    nbthread 1
    maxconn 12000
    no strict-limits
    log stdout format raw local0
    stats socket {self.directory}/socket level admin
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client 1h
    timeout server 15s
    retries 2
    retry-on all-retryable-errors
    http-reuse always
frontend metrics
    bind {self.listen}:9902
    http-request use-service prometheus-exporter
frontend services
    bind {self.listen}:{PORT}
    use_backend beta if {{ req.hdr({GROUP}) beta }} {{ req.hdr(host),field(1,:) {SERVICE} }}
    use_backend %[req.hdr(host),field(1,:),lower,map({hosts},none)]
{sections}
""")

    def command(self):
        return [self.program, "-db", "-f", self.directory / "haproxy.cfg"]

    def change(self, weights, tag):
        command = self.directory / "command"
        named = sorted(zip(("blue", "green"), weights), key=lambda server: -server[1]) # at no time has every server 0
        command.write_text(";".join(f"set server {SERVICE}/{name} weight {weight}" for name, weight in named) + "\n")
        return f"send {self.directory / 'socket'} {command} {tag} 30"
