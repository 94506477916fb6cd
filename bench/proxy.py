# SPDX-License-Identifier: Apache-2.0
"""weft-proxy, beside Envoy, haproxy and nginx: requests of HTTP/1.1 that get an answer of 0 bytes from an nginx, routed, with retries, an
access log and counters on in all of them. A client of weft is a workload, and calls the service by its VIP; weft has one hop where
"pair" is a client-side and a server-side sidecar.

Clients and servers share one CPU, proxies have the other, with one worker each. Contestants alternate within a round and take turns at
being first; a ratio is taken within its round."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from harness import BUILD, PROXY_CPU, TRAFFIC_CPU, WAIT_SECONDS, Node, Tool, cgroup_root, cpu_ns, progress, summary, wait_for
from mesh import PORT, SERVICE, Weft, other_address
from peers.envoy import Envoy
from peers.haproxy import Haproxy
from peers.nginx import PROGRAM as NGINX
from peers.nginx import Nginx, start_server
from peers.peer import GROUP

WRK = shutil.which("wrk", path="/usr/sbin:/usr/bin:/sbin:/bin")
PEERS = [Envoy, Haproxy, Nginx]
CONNECTIONS = 64
RATE = 1000 # requests a second, where the time they take is measured
WORKLOADS = 25
WARM_SECONDS = 0.2
LOGGED = "logged.bench" # the service whose node has an access log and a health check, so that weft-proxy is on the way in as well
ROUTE_PATH = "/v20190125/meshes/bench/virtualRouter/echo/routes/echo-route"
QUOTAS = {"virtualServicesPerMesh": 2000, "virtualNodesPerMesh": 2000, "virtualRoutersPerMesh": 2000, "backendsPerVirtualNode": 2000}


class HttpMesh(Weft):
    """The same mesh for HTTP: with a route by header beside the one by weights, and retries; and one more service, LOGGED."""

    program = BUILD / "weft-proxy"
    protocol = "http"
    more = [LOGGED]
    check = {"protocol": "http", "path": "/", "intervalMillis": 5000, "timeoutMillis": 2000, "healthyThreshold": 2, "unhealthyThreshold": 2}
    tried = {"maxRetries": 2, "perRetryTimeout": {"unit": "s", "value": 3}, "httpRetryEvents": ["server-error", "gateway-error"],
             "tcpRetryEvents": ["connection-error"]}

    def __init__(self, node):
        super().__init__(node)
        self.access_logs = {name: node.directory / f"{name}.log" for name in ("client", "logged")}
        self.client = self.logging("client")

    def logging(self, name):
        return {"logging": {"accessLog": {"file": {"path": str(self.access_logs[name])}}}}

    def action(self, weights):
        return {"weightedTargets": [{"virtualNode": name, "weight": weight} for name, weight in weights.items()]}

    def route(self, router, weights):
        return {"meshName": "bench", "virtualRouterName": router, "routeName": f"{router}-route", "spec": {"priority": 10, "httpRoute": {
            "match": {"prefix": "/"}, "action": self.action(weights), "retryPolicy": self.tried}}}

    def configure(self, services):
        super().configure(services - 1)
        self.services = services
        self.node_spec("logged", listeners=[{"portMapping": {"port": PORT, "protocol": "http"}, "healthCheck": self.check}],
                       **self.logging("logged"))
        self.service(LOGGED, "logged", {"logged": 100})
        match = {"prefix": "/", "headers": [{"name": GROUP, "match": {"exact": "beta"}}]}
        self.write("route-beta", {"meshName": "bench", "virtualRouterName": "echo", "routeName": "beta", "spec": {"priority": 1, "httpRoute": {
            "match": match, "action": self.action({"green": 100}), "retryPolicy": self.tried}}})

    def proxy(self):
        return self.call("GET", "/v1/status")["proxy"]

    def proxy_is_told(self):
        """weft-proxy has what is in force."""
        status = self.call("GET", "/v1/status")
        return status["proxy"].get("configuration", {}).get("generation") == status["configuration"]["generation"]

    def wait_routed(self):
        wait_for(self.is_routed, "every service to have its endpoint")
        wait_for(self.proxy_is_told, "weft-proxy to have the configuration")

    def is_routed(self):
        with contextlib.suppress(RuntimeError): # not compiled yet
            return all(self.call("GET", f"/v1/explain?from=mesh/bench/virtualNode/client&to={name}:{PORT}").get("proxied")
                       for name in [SERVICE, LOGGED, *(f"{name}.bench" for name in self.others[-1:])])
        return False

    def cpu_ns(self):
        return cpu_ns(self.proxy_pid)

    def pids(self):
        return [self.proxy_pid]

    def may_restart(self):
        """weftd starts a weft-proxy at once that has lived for more than 10 s, others later."""
        wait_for(lambda: time.monotonic() > self.proxy_since + 10.5, "weft-proxy to have lived for a while")

    def restart(self):
        """weft-proxy, by killing it; when weftd hears that it is gone."""
        process = os.pidfd_open(self.proxy_pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], WAIT_SECONDS)
        os.close(process)
        return time.monotonic_ns()

    def restarted(self):
        self.proxy_pid = wait_for(lambda: self.proxy().get("pid"), "weft-proxy")
        self.proxy_since = time.monotonic()

    def forget_log(self):
        for log in self.access_logs.values():
            if log.exists():
                os.truncate(log, 0)

    def change(self, weights, tag):
        following = self.node.directory / "next.json"
        following.write_text(json.dumps(self.route("echo", dict(zip(("blue", "green"), weights)))))
        return f"rename {following} {self.config / 'route-echo.json'} {tag} 30"

    def change_by_api(self, weights, tag):
        body = json.dumps({"spec": self.route("echo", dict(zip(("blue", "green"), weights)))["spec"]})
        request = self.node.directory / "request"
        request.write_text(f"PUT {ROUTE_PATH} HTTP/1.1\r\nHost: weft\r\nContent-Type: application/json\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n{body}")
        return f"send /run/weft/{self.node.instance}/weftd.sock {request} {tag} 30"

    def start_with_api(self):
        """The same resources, those of the API's store."""
        options = self.node.directory / "options.json"
        options.write_text(json.dumps({"quotas": QUOTAS}))
        self.start_agent("--options-file", options)
        wait_for(lambda: self.alive() and self.call("GET", "/v1/status"), "weftd")
        self.node.command(BUILD / "weft", "apply", "-f", self.config, "--instance", self.node.instance)
        self.register_others()


class Wrk:
    """A shell that runs wrk when it is told to, so that one workload does all of a contestant's samples."""

    def __init__(self, node, prefix=()):
        shell = ["sh", "-c", 'while read -r host words; do "$0" -H "Host: $host" $words; echo end; done', WRK]
        self.process = node.start([*prefix, *shell], TRAFFIC_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.cgroup = None

    def cpu_ns(self):
        """wrk's as well, which has ended: by their cgroup."""
        if not self.cgroup:
            line = next(line for line in Path(f"/proc/{self.process.pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
            self.cgroup = cgroup_root() / line[4:]
        return int((self.cgroup / "cpu.stat").read_text().split()[1]) * 1000

    def run(self, host, address, seconds):
        self.process.stdin.write(f"{host} -t1 -c{CONNECTIONS} -d{seconds}s --timeout {WAIT_SECONDS}s http://{address}:{PORT}/\n")
        output = "".join(iter(self.process.stdout.readline, "end\n"))
        if "Non-2xx" in output or "Socket errors" in output or "requests in" not in output:
            raise RuntimeError(f"requests failed: {output}")
        return int(re.search(r"(\d+) requests in", output)[1]), float(re.search(r"Requests/sec:\s*([\d.]+)", output)[1])


class Contestant:
    """Where requests go, who sends them, and who serves them."""

    def __init__(self, address, proxies, clients, server, service=SERVICE):
        self.address, self.proxies, self.server = address, proxies, server
        self.host = f"{service}:{PORT}"
        self.wrk, self.place = clients
        self.agent = None # whose CPU time belongs to the path as well
        self.log = None # which lines must be in after a sample
        self.tool = None

    def start_load(self, node):
        self.tool = Tool(node, [*self.place, BUILD / "bench/http_load", f"{self.address}:{PORT}", self.host])

    def throughput(self, seconds):
        def used_ns():
            return sum(proxy.cpu_ns() for proxy in self.proxies), self.wrk.cpu_ns() + cpu_ns(self.server.pid) + (cpu_ns(self.agent.pid) if self.agent else 0)
        before = used_ns()
        count, per_second = self.wrk.run(self.host, self.address, seconds)
        proxy_ns, others_ns = (after - b for after, b in zip(used_ns(), before))
        if self.log and not self.log.stat().st_size:
            raise RuntimeError(f"there is no line in {self.log}")
        for proxy in self.proxies:
            proxy.forget_log()
        return {"per_second": per_second, "per_cpu_second": count / proxy_ns * 1e9 if proxy_ns else None,
                "path_us": (proxy_ns + others_ns) / count / 1000}


# --- contestants ------------------------------------------------------------------------------------------------------------


def start_pair(node, peer, addresses, server, others):
    """The far one is the sidecar of the server, and has but that to route to."""
    far, near = addresses
    return [peer(node, near, [f"{far}:{PORT}"] * 2, others).start(), peer(node, far, [f"{server}:{PORT}"] * 2).start()]


def others_of(weft):
    return {f"{name}.bench": f"{other_address(i)}:{PORT}" for i, name in enumerate(weft.others)}


def start_weft(node, weft):
    """The same twice, and the one with weft-proxy at both ends."""
    managed = [node.address(number) for number in (3, 4, 5)]
    blue, _, logged = (start_server(node, address, name[0], weft.run(name, "--register", f"{address}:{PORT}"))
                       for address, name in zip(managed, ("blue", "green", "logged")))
    place = weft.run("client")
    inside = Wrk(node, place), place
    vip = wait_for(weft.find_vip, f"the VIP of {SERVICE}")
    weft.wait_routed()
    weft.restarted()
    found = {**{name: Contestant(vip, [weft], inside, blue) for name in ("weft", "again")},
             "weft logged": Contestant(weft.find_vip(LOGGED), [weft], inside, logged, LOGGED)}
    for name, contestant in found.items():
        contestant.agent = weft.agent
        contestant.log = weft.access_logs["logged" if name == "weft logged" else "client"]
    return found


def start_contestants(node, weft):
    """{name: Contestant}, those whose programs are there."""
    plain = [node.address(number) for number in (1, 2)]
    servers = [start_server(node, address, tag) for address, tag in zip(plain, "bg")]
    outside = Wrk(node), []
    found = {"direct": Contestant(plain[0], [], outside, servers[0]), **start_weft(node, weft)}
    others, number = others_of(weft), 10
    for peer in PEERS:
        if not peer.is_there():
            progress(f"{peer.name} is missing: measured without it")
            continue
        listen = node.address(number)
        one = peer(node, listen, [f"{address}:{PORT}" for address in plain], others).start()
        found[peer.name] = Contestant(listen, [one], outside, servers[0])
        if peer is not Nginx:
            addresses = [node.address(number + i) for i in (1, 2)]
            pair = start_pair(node, peer, addresses, plain[0], others)
            found[f"{peer.name} pair"] = Contestant(addresses[1], pair, outside, servers[0])
        number += 3
    for contestant in found.values():
        contestant.start_load(node)
        for proxy in contestant.proxies:
            proxy.forget_log()
    return found


# --- measuring --------------------------------------------------------------------------------------------------------------


def in_turn(names, number):
    names = list(names)
    names = names[number % len(names):] + names[:number % len(names)]
    return names if number // len(names) % 2 == 0 else names[::-1]


def rounds(what, names, count, sample):
    """{name: [its samples]}"""
    progress(f"{what}: {count} rounds")
    samples = {name: [] for name in names}
    for number in range(count):
        for name in in_turn(names, number):
            samples[name].append(sample(name))
    return samples


def ratio(samples, name, to, key, base=None):
    """Of a sample to that of the same round; of what is added to `base` where there is one."""
    if name not in samples or to not in samples:
        return None
    values = []
    for i, (a, b) in enumerate(zip(samples[name], samples[to])):
        under = samples[base][i][key] if base else 0
        if b[key] > under: # a difference that was lost in what disturbs both has no ratio
            values.append((a[key] - under) / (b[key] - under))
    return summary(values) if values else None


def figures(samples, key):
    return {name: summary([s[key] for s in samples[name]]) for name in samples if samples[name][0][key] is not None}


def measure_throughput(contestants, size):
    samples = rounds(f"{CONNECTIONS} connections", contestants, size["proxy_rounds"],
                     lambda name: contestants[name].throughput(size["proxy_seconds"]))
    def beside(name, others, key):
        return {"ratios": {**{to: ratio(samples, name, to, key) for to in others}, "again": ratio(samples, "again", "weft", key)},
                "figures": figures(samples, key)}

    pairs = ("envoy pair", "haproxy pair")
    return {"one": beside("weft", ("envoy", "haproxy", "nginx"), "per_cpu_second"),
            "path": beside("weft", pairs, "per_second"), "path_cpu": beside("weft", pairs, "path_us"),
            "logged": beside("weft logged", pairs, "per_second"), "logged_cpu": beside("weft logged", pairs, "path_us")}


def measure_latency(contestants, size):
    names = ("direct", "weft", "again", "weft logged", "envoy pair", "haproxy pair")
    named = {name: contestants[name] for name in names if name in contestants}
    named["direct again"] = contestants["direct"]

    def sample(name):
        answer = named[name].tool.ask(f"rate {RATE} {size['latency_seconds']}")
        for proxy in named[name].proxies:
            proxy.forget_log()
        return answer

    samples = rounds(f"{RATE} requests a second", named, size["proxy_rounds"], sample)
    result = {}
    for key in ("p50_us", "p99_us", "p999_us"):
        added = {to: ratio(samples, "weft", to, key, base="direct") for to in ("envoy pair", "haproxy pair")}
        added["again"] = ratio(samples, "again", "weft", key, base="direct")
        differences = {name: summary([a[key] - b[key] for a, b in zip(samples[name], samples["direct"])]) for name in samples}
        result[key] = {"figures": figures(samples, key), "ratios": added, "added": differences}
    return result


def rss_bytes(pid, field="VmRSS"):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s*(\d+)", status, re.MULTILINE)[1]) * 1024


def memory(proxy):
    """Of those that do the work; weftd is one of them."""
    pids = proxy.pids() + ([proxy.agent.pid] if isinstance(proxy, Weft) else [])
    return {"rss": sum(rss_bytes(pid) for pid in pids), "own": sum(rss_bytes(pid, "RssAnon") for pid in pids)}


def measure_idle(contestants, size):
    """What a connection that waits for its next request takes, on the side of programs: as with keep-alive."""
    result = {}
    for name in ("weft", *(peer.name for peer in PEERS)):
        if name in contestants:
            contestant = contestants[name]
            proxy, count = contestant.proxies[0], size["idle"]
            before = sum(rss_bytes(pid) for pid in proxy.pids())
            contestant.tool.ask(f"idle {count}")
            after = sum(rss_bytes(pid) for pid in proxy.pids())
            contestant.tool.ask("idle 0")
            result[name] = {"connections": count, "before": before, "after": after, "each": (after - before) / count}
    return result


def measure_workloads(node, weft):
    """weftd and weft-proxy with as many workloads as services, each in a namespace of its own."""
    processes = [node.start(["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh",
                             *weft.run(name), "sleep", str(WAIT_SECONDS)], TRAFFIC_CPU) for name in weft.others[:WORKLOADS - 4]] # the client and three that serve are there
    try:
        wait_for(lambda: len(weft.call("GET", "/v1/workloads")["workloads"]) >= WORKLOADS, "the workloads")
        wait_for(lambda: len(weft.call("GET", "/v1/dns")["places"]) >= len(processes) + 1, "weft-proxy to be in their namespaces")
        return {"services": weft.services, "workloads": WORKLOADS, **memory(weft)}
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def warm(program, seconds):
    """A CPU that has done nothing for a while starts programs several times as slowly, at least that of a virtual machine, and weft-proxy's
    start is one after a wait."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        subprocess.run([program, "-v" if Path(program).name in ("haproxy", "nginx") else "--version"], capture_output=True, check=True,
                       preexec_fn=lambda: os.sched_setaffinity(0, {PROXY_CPU}))


def start_ms(contestant):
    """From the start of a proxy to its first answer."""
    proxy = contestant.proxies[0]
    proxy.may_restart()
    warm(proxy.program, WARM_SECONDS)
    begun_ns = proxy.restart()
    took_ms = (contestant.tool.ask("first 60")["at_ns"] - begun_ns) / 1e6
    proxy.restarted()
    return took_ms


def changes(contestant, change, count):
    """What the load tool says of each; the first two warm up."""
    weights = [((0, 100), "g"), ((100, 0), "b")]
    return [contestant.tool.ask(change(*weights[i % 2])) for i in range(count + 2)][2:]


def measure_sizes(node, weft, contestants, size):
    """Starts, changes and memory with more and more services."""
    named = {name: contestants[name] for name in ("weft", *(peer.name for peer in PEERS)) if name in contestants}
    result = []
    for services in size["sizes"]:
        weft.configure(services)
        weft.start()
        weft.wait_routed()
        for name, contestant in named.items():
            if name != "weft":
                before = contestant.proxies[0]
                before.stop()
                contestant.proxies = [type(before)(node, before.listen, before.endpoints, others_of(weft))]
        starts = rounds(f"starts with {services:,} services", named, size["starts"], lambda name: start_ms(named[name]))
        memories = {name: memory(contestant.proxies[0]) for name, contestant in named.items()} # before nginx has two workers
        took = rounds(f"weight changes with {services:,} services", named, size["change_rounds"],
                      lambda name: changes(named[name], named[name].proxies[0].change, size["changes"]))
        row = {"services": services, "start_ms": {name: summary(values) for name, values in starts.items()},
               "change_ms": {name: summary([a["ms"] for sample in samples for a in sample]) for name, samples in took.items()},
               "memory": memories}
        weft.start_with_api()
        weft.wait_routed()
        answers = changes(named["weft"], weft.change_by_api, size["change_rounds"] * size["changes"])
        row["api_ms"] = {"all": summary([a["ms"] for a in answers]), "answer": summary([a["answered_ms"] for a in answers]),
                         "from_answer": summary([a["ms"] - a["answered_ms"] for a in answers])}
        result.append(row)
    return result


def measure(size):
    """None where the programs that it takes are not there."""
    if not WRK or not NGINX:
        progress("wrk or nginx is missing: weft-proxy is not measured")
        return None
    with contextlib.ExitStack() as stack:
        node = Node(stack)
        weft = HttpMesh(node)
        weft.configure(size["sizes"][0])
        weft.start()
        contestants = start_contestants(node, weft)
        result = {"throughput": measure_throughput(contestants, size), "latency": measure_latency(contestants, size)}
        progress(f"{WORKLOADS} workloads, {size['idle']:,} idle connections")
        result["workloads"] = measure_workloads(node, weft)
        result["idle"] = measure_idle(contestants, size)
        for name in list(contestants):
            if name.endswith(" pair"):
                for proxy in contestants.pop(name).proxies:
                    proxy.stop()
        result["sizes"] = measure_sizes(node, weft, contestants, size)
        return result
