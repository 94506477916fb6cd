# SPDX-License-Identifier: Apache-2.0
"""The part of the soak that speaks HTTP: requests by weft-proxy to endpoints that fail, flap and are killed, which the route's policy
saves; a pool where connections come in; an access log that is rotated; tunnels and long answers over successors of weft-proxy."""
import collections
import os
import signal
import subprocess

from l7_world import CLIENT, http_servers, route
from test_l7_upgrade import SLOW, TUNNEL, requests, upgrade_by_hand
from weft import HERE, PYTHON, wait_for

SHOP, POOL = "shop.example.com", (2, 2)
STAYS, FLAPS, DIES, PATIENT = "10.77.0.1:9011", "10.77.0.1:9012", "10.77.0.1:9013", "10.77.0.1:9014"
REPLACED_MAX = 2  # of a round: the eldest of three former ones is ended, as it should be
MAY_BE_CUT = {"ECONNRESET", "ECONNREFUSED", "EPIPE", "RemoteDisconnected", "IncompleteRead", "BadStatusLine"}

# In a worker. Outcomes are statuses, or names of errors.
LOAD = CLIENT + """
import collections, random, threading
def told(answer):
    return answer.get("error") or str(answer["status"])
def asking(address, path, end, counts, kept):
    while time.monotonic() < end:
        headers, body = {"Host": "shop.example.com"}, None
        chance = random.random()
        if chance < 0.1:
            headers |= {"x-fail": "1", "x-key": os.urandom(8).hex()}  # by each process, and then 200
        elif chance < 0.2:
            body = b"x" * random.randrange(60000)
        answer = ask(address, path, "POST" if body else "GET", headers, body, keep=kept)
        if answer.get("status") == 200 and body and answer["told"]["body"] != len(body):
            answer = {"error": "another body"}
        counts[told(answer)] += 1
def requests(address, path, seconds):
    counts = [collections.Counter() for _ in range(3)]
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=asking, args=(address, path, end, counts[i], i or None)) for i in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return sum(counts, collections.Counter())
def crowding(address, end, counts):
    while time.monotonic() < end:
        answer = ask(address, headers={"x-wait": "0.01"})
        if "told" in answer and answer["told"]["active"] > arguments[2]:
            answer = {"error": "beyond the pool"}
        counts[told(answer)] += 1
def crowd(address, seconds):
    counts = [collections.Counter() for _ in range(6)]
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=crowding, args=(address, end, each)) for each in counts]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return sum(counts, collections.Counter())
"""


class HttpPart:
    def __init__(self, soak):
        self.soak, self.node = soak, soak.node
        self.log = self.node.directory / "access.log"
        self.rotated = self.replaced = self.round = self.cut = 0
        self.asked = self.refused = self.refused_before = self.drops_before = 0  # of the quiet half
        self.quiet = False

    # --- the mesh ------------------------------------------------------------------------------------------------------------

    def set_up(self):
        """The nodes and the service; before its clients start."""
        node = self.node
        outlier = {"maxServerErrors": 5, "interval": {"value": 1, "unit": "s"}, "baseEjectionDuration": {"value": 1, "unit": "s"},
                   "maxEjectionPercent": 50}
        patience = {"perRequest": {"value": 600, "unit": "s"}}
        node.node("patient", listeners=[{"portMapping": {"port": 8080, "protocol": "http"}, "timeout": {"http": patience}}])
        node.node("shop", listeners=[{"portMapping": {"port": 8080, "protocol": "http"}, "outlierDetection": outlier}])
        node.router("shop", protocol="http")
        for path in "slow", "chat":
            route(node, "shop", {"patient": 1}, path, {"prefix": f"/{path}"}, priority=1, timeout=patience)
        route(node, "shop", {"shop": 1}, "all", priority=2, retryPolicy={
            "httpRetryEvents": ["server-error", "gateway-error"], "tcpRetryEvents": ["connection-error"], "maxRetries": 5,
            "perRetryTimeout": {"value": 5, "unit": "s"}})
        node.service(SHOP, router="shop", l7=True)
        node.node("pooled", listeners=[{"portMapping": {"port": 8080, "protocol": "http"}, "connectionPool": {
            "http": dict(zip(("maxConnections", "maxPendingRequests"), POOL))}}])
        http_servers(node, STAYS, FLAPS, PATIENT)
        self.dying = http_servers(node, DIES)
        for address in (STAYS, FLAPS, DIES):
            node.register("shop", address, address)
        node.register("patient", PATIENT, PATIENT)
        self.pod = node.add_pod()
        application = node.workload([PYTHON, HERE / "http_server.py", "0.0.0.0:8080"], "pooled", self.pod, ("--register", f"{self.pod.ipv4}:8080"),
                                    stdout=subprocess.PIPE, text=True)
        assert application.stdout.readline() == "ready\n"

    def logging(self):
        """Of the client's node: requests are written down, those of all its namespaces into one file."""
        return {"accessLog": {"file": {"path": str(self.log), "format": {"text": "%REQ(:PATH)% %RESPONSE_CODE%\n"}}}}

    def start(self):
        """The clients."""
        node = self.node
        self.vip = node.vip(SHOP)
        self.workers = [self.worker("client", self.soak.pods[0]), self.worker("client")]
        self.crowd = self.worker(None, node.add_pod())  # of no node
        self.lasting = self.worker("client", self.soak.pods[1])
        node.wait_reason(f"{SHOP}:8080", "proxied")
        for worker in self.workers:
            wait_for(lambda: worker.run("result = told(ask(*arguments))", self.vip) == "200", f"{SHOP} answers", 30)
        wait_for(lambda: "503" in self.crowd.run("result = crowd(*arguments[:2])", self.pod.ipv4, 0.1, POOL[0]), "the pool is in force", 30)

    def worker(self, node, netns=None):
        worker = self.node.worker(node, netns)
        worker.run(LOAD + SLOW + TUNNEL)
        return worker

    # --- what is done to it ----------------------------------------------------------------------------------------------------

    def flap(self):
        self.node.weft("deregister", "--virtual-node", "mesh/m/virtualNode/shop", "--id", FLAPS)
        self.node.register("shop", FLAPS, FLAPS)

    def kill_endpoint(self):
        self.dying.kill()
        self.dying.wait()
        self.dying = http_servers(self.node, DIES)

    def rotate(self):
        """What is there has another name; the next line makes the file anew."""
        if self.log.exists():
            self.rotated += 1
            self.log.rename(f"{self.log}.{self.rotated}")

    def replace(self):
        """Another weft-proxy takes over."""
        if self.replaced < REPLACED_MAX:
            self.replaced += 1
            upgrade_by_hand(self.node)

    def kill(self):
        """weft-proxy, with all requests that it has."""
        pid = self.node.proxy_pid()
        os.kill(pid, signal.SIGKILL)
        self.cut += 1
        wait_for(lambda: self.node.status()["proxy"].get("pid") not in (None, pid), "weft-proxy is back", 30)

    # --- a round -----------------------------------------------------------------------------------------------------------------

    def answers(self):
        return self.lasting.run("result = told(ask(*arguments))", self.vip) == "200"

    def begin(self, seconds):
        wait_for(self.answers, f"{SHOP} answers")
        self.round += 1
        self.replaced = self.cut = 0
        assert self.lasting.run("result = open_tunnel(*arguments)", self.vip, "round") == "101"
        self.lasting.run("slow(*arguments)", self.vip, f"round {self.round}")
        for worker in self.workers:
            worker.start("result = requests(*arguments)", self.vip, f"/{self.round}", seconds)
        self.crowd.start("result = crowd(*arguments[:2])", self.pod.ipv4, seconds, POOL[0])

    def end(self, take):
        """`take(what, how, count, may)`: an outcome, and what may be."""
        cut = MAY_BE_CUT if self.cut else set()
        for worker in self.workers:
            for how, count in worker.answer().items():
                take("requests", how, count, {"200"} | cut)
                self.asked += count if self.quiet else 0
        for how, count in self.crowd.answer().items():
            # the application may be at work still on what a weft-proxy that was killed had sent: nobody waits for that
            take("requests to a pool", how, count, {"200", "503"} | cut | ({"beyond the pool"} if self.cut else set()))
            self.refused += count if self.quiet and how == "503" else 0
        take("tunnels", "ok" if self.lasting.run("result = echoes('round')") else "ECONNRESET", 1, {"ok"} | cut)
        self.lasting.run("close_tunnel('round')")
        wait_for(self.answers, f"{SHOP} answers")
        assert self.lasting.run("result = release(*arguments)", self.vip, f"round {self.round}", "/slow") == 200
        take("long answers", self.lasting.run("result = told(slow_end())"), 1, {"200"} | cut)

    def let_go(self):
        """Of connections that wait for a next request."""
        for worker in (*self.workers, self.lasting):
            worker.run("[connection.close() for connection in kept.values()]; kept.clear()")

    def connections(self):
        """Those that weft-proxy has now: to endpoints some wait for the next request, for a minute."""
        totals = requests(self.node)
        return totals["open"] + totals["upstreamOpen"]

    # --- what was counted ------------------------------------------------------------------------------------------------------------

    def begin_quiet(self):
        """From here on all is counted by one weft-proxy."""
        totals = requests(self.node)
        self.refused_before, self.drops_before = totals["replies"]["overflow"], sum(totals["accessLogDrops"].values())
        self.first_quiet, self.quiet = self.round + 1, True

    def lines(self):
        counts = collections.Counter()
        for path in self.log.parent.glob(f"{self.log.name}*"):
            counts.update(int(line.split()[0][1:]) for line in path.read_text().splitlines() if line.split()[0][1:].isdecimal())
        return sum(count for number, count in counts.items() if number >= self.first_quiet)

    def check(self):
        """None, or what is wrong."""
        totals = requests(self.node)
        refused = totals["replies"]["overflow"] - self.refused_before
        if refused != self.refused:
            return f"503 for the pool: {self.refused} seen, {refused} counted"
        if sum(totals["accessLogDrops"].values()) != self.drops_before:
            return f"lines of access logs were dropped: {totals['accessLogDrops']}"
        wait_for(lambda: self.lines() == self.asked, f"{self.asked} lines in {self.rotated + 1} files, of {self.lines()}")
        return None
