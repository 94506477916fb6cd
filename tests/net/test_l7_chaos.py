# SPDX-License-Identifier: Apache-2.0
"""What can go wrong around weft-proxy, with real programs at both ends: no request is lost that its policy saves, what cannot be saved is
never taken for whole, nobody else waits, and neither memory nor descriptors stay behind."""
import contextlib
import os
import pathlib
import signal
import time

import pytest

from l7_world import http_servers, make_shop, route
from test_l7_shown import scrape, value
from test_l7_upgrade import IDLE, LOAD, go_on
from weft import BUILD, SLOWNESS, wait_for

pytestmark = pytest.mark.one_kernel

METRICS = "10.77.0.1:9909"
FRAIL = ["10.77.0.1:9101", "10.77.0.2:9102", "10.77.0.2:9103"]
V2 = "10.77.0.1:9002"
BODY_BYTES = 100 << 20
STREAM_GROWTH_BYTES = 2 << 20  # of weft-proxy, for one stalled body: 256 KiB wait for its peer at most, twice
IDLE_COUNT = 10_000
IDLE_EACH_BYTES = 3 * 1024
SLOW_COUNT = 500
SLOW_HEAD_S = 60  # from a head's first byte to its last
LEFT_BYTES = 6 << 20  # what weft-proxy may keep of all this: buffers and tables that the next ones use, and the allocator's own

# In a worker: bodies that are counted and not kept, and connections whose requests never become whole.
BODIES = """
def upload(address, path, headers, count):
    def run():
        s = socket.create_connection((address, 8080), timeout=120)
        lines = "".join(f"{name}: {text}\\r\\n" for name, text in headers.items())
        s.sendall(f"POST {path} HTTP/1.1\\r\\nHost: web.example.com\\r\\n{lines}Content-Length: {count}\\r\\n\\r\\n".encode())
        block = bytes(1 << 18)
        while state["sent"] < count:
            state["sent"] += s.send(block[:count - state["sent"]])
        state["answer"] = s.recv(65536).decode()
        s.close()
    global body_thread, state
    state = {"sent": 0}
    body_thread = threading.Thread(target=run)
    body_thread.start()
def upload_state():
    return state
def begin_download(address, path, count):
    global downloading
    downloading = socket.create_connection((address, 8080), timeout=120)
    downloading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    downloading.sendall(f"GET {path} HTTP/1.1\\r\\nHost: web.example.com\\r\\nx-send: {count}\\r\\nConnection: close\\r\\n\\r\\n".encode())
def finish_download():
    head, got = b"", 0
    while piece := downloading.recv(1 << 18):
        if b"\\r\\n\\r\\n" in head:
            got += len(piece)
        else:
            head += piece
            got = len(head.partition(b"\\r\\n\\r\\n")[2])
    downloading.close()
    return got
slow_ones = []
def open_slow(address, count, text):
    for _ in range(count):
        slow_ones.append(socket.create_connection((address, 8080), timeout=30))
        slow_ones[-1].sendall(text.encode())
    return time.monotonic()
def drip(text):
    for s in slow_ones:
        try:
            s.sendall(text.encode())
        except OSError:  # it is over already
            pass
def slow_ends():
    '''What each was answered until its end, and when the last one ended.'''
    from collections import Counter
    ends = Counter()
    for s in slow_ones:
        s.settimeout(100)
        answer = b""
        try:
            while piece := s.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        s.close()
        ends[answer.split(b"\\r\\n")[0].decode()] += 1
    slow_ones.clear()
    return ends, time.monotonic()
def close_idle():
    for s in idle:
        s.close()
    idle.clear()
"""


def process(node):
    """Own memory and descriptors of weft-proxy. With a sanitizer its memory says nothing: 0."""
    pid = node.proxy_pid()
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = 0 if "san" in BUILD.name else int(status["RssAnon"].split()[0]) * 1024
    return memory, len(os.listdir(f"/proc/{pid}/fd"))


def replies(node, name):
    return value(scrape(node), "weft_proxy_replies_total", reply=name)


def verdicts(node, name):
    return value(scrape(node), "weft_proxy_retry_verdicts_total", verdict=name)


class Shop:
    """The shop, and below /frail a target of three endpoints, each a process of its own that may be ended at any time: requests are tried
    again whatever happens to them."""

    def __init__(self):
        self.node = make_shop("--metrics", METRICS)
        self.client, self.vip = self.node.client_worker, self.node.vip("web.example.com")
        self.client.worker.run(LOAD + IDLE + BODIES)
        self.servers = {endpoint: http_servers(self.node, endpoint) for endpoint in FRAIL}
        self.node.node("frail", protocol="http")
        self.policy(try_ms=5000)
        for number, endpoint in enumerate(FRAIL):
            self.node.register("frail", str(number), endpoint)
        wait_for(lambda: set(self.client.many(12, self.vip, "/frail")) == set(FRAIL), "all are asked")

    def policy(self, try_ms):
        route(self.node, "web", {"frail": 1}, "frail", {"prefix": "/frail"}, priority=0, retryPolicy={
            "httpRetryEvents": ["server-error", "gateway-error"], "tcpRetryEvents": ["connection-error"], "maxRetries": 5,
            "perRetryTimeout": {"unit": "ms", "value": try_ms}})

    def end_server(self, endpoint):
        self.servers[endpoint].kill()
        self.servers[endpoint].wait()

    def start_server(self, endpoint):
        self.servers[endpoint] = http_servers(self.node, endpoint)

    @contextlib.contextmanager
    def load(self, path="/frail"):
        """Requests on connections that stay and on new ones, of which none fails."""
        self.client.start(self.vip, 3, True, 0, path)
        self.client.start(self.vip, 2, False, 0, path)
        go_on(self.client)
        yield
        go_on(self.client)
        result = self.client.finish()
        print(result)
        assert result["failed"] == []


@pytest.fixture(scope="module")
def shop():
    shop = Shop()
    try:
        yield shop
    finally:
        shop.node.close()


@pytest.fixture(scope="module", autouse=True)
def slow_heads(shop):
    """Connections that send a byte now and then, and no whole head: they are there while everything else happens."""
    worker = shop.node.worker("client")
    worker.run("import threading, http.client\n" + BODIES)
    shop.before = process(shop.node)
    worker.opened_s = worker.run("result = open_slow(*arguments)", shop.vip, SLOW_COUNT, "GET /slow HTTP/1.1\r\nHost: web.example.com\r\nx-slow: ")
    return worker


# --- endpoints ------------------------------------------------------------------------------------------------------------------------


def test_endpoints_that_are_killed_cost_no_request(shop):
    before = verdicts(shop.node, "retry")
    with shop.load():
        for turn in range(6):
            shop.end_server(FRAIL[1 + turn % 2])
            go_on(shop.client)
            shop.start_server(FRAIL[1 + turn % 2])
            go_on(shop.client)
    assert verdicts(shop.node, "retry") > before


def test_endpoints_that_come_and_go_cost_no_request(shop):
    with shop.load():
        for turn in range(60):
            number = 1 + turn % 2
            shop.node.weft("deregister", "--virtual-node", "mesh/m/virtualNode/frail", "--id", str(number))
            shop.node.register("frail", str(number), FRAIL[number])


@pytest.mark.parametrize("how", ["a process that is stopped", "a host that does not answer"])
def test_a_stalled_endpoint_costs_a_request_the_time_of_a_try_and_no_more(shop, how):
    shop.policy(try_ms=300)
    before = verdicts(shop.node, "retry")
    if how == "a process that is stopped":
        os.kill(shop.servers[FRAIL[1]].pid, signal.SIGSTOP)
    else:
        shop.node.namespace.ip("route", "add", "blackhole", "10.99.0.2/32")
        shop.node.register("frail", "silent", "10.99.0.2:80")
    try:
        with shop.load():
            wait_for(lambda: verdicts(shop.node, "retry") > before + 10, "requests are tried again")
    finally:
        if how == "a process that is stopped":
            os.kill(shop.servers[FRAIL[1]].pid, signal.SIGCONT)
        else:
            shop.node.weft("deregister", "--virtual-node", "mesh/m/virtualNode/frail", "--id", "silent")
            shop.node.namespace.ip("route", "del", "blackhole", "10.99.0.2/32")
        shop.policy(try_ms=5000)
    wait_for(lambda: set(shop.client.many(12, shop.vip, "/frail")) == set(FRAIL), "all three are asked again")


def test_an_answer_that_is_reset_amid_its_body_is_not_taken_for_whole_and_not_asked_for_again(shop):
    before, retries = replies(shop.node, "response-cut-off"), verdicts(shop.node, "retry")
    for _ in range(5):
        answer = shop.client.ask(shop.vip, "/frail", headers={"x-send": "1000000", "x-cut": "500000"}, keep="cut")
        assert answer["error"] in ("IncompleteRead", "ECONNRESET"), answer
    assert replies(shop.node, "response-cut-off") == before + 5
    assert verdicts(shop.node, "retry") == retries
    assert shop.client.ask(shop.vip, "/frail", headers={"x-send": "1000000"}, keep="cut")["status"] == 200


# --- bodies ---------------------------------------------------------------------------------------------------------------------------


def waiting(node, port, column):
    """Bytes that wait at connections of this port, as `ss` has them: 1 to be read, 2 to be sent."""
    return sum(int(line.split()[column]) for line in node.namespace.command("ss", "-Htn", f"sport = :{port}").splitlines())


def test_a_hundred_megabytes_to_an_endpoint_that_does_not_read_wait_outside_of_weft_proxy(shop):
    before, _ = process(shop.node)
    key = os.urandom(4).hex()
    shop.client.upload(shop.vip, "/v2", {"x-stall": key}, BODY_BYTES)
    seen = []

    def stands_still():
        seen.append((shop.client.upload_state()["sent"], waiting(shop.node, 9002, 1)))
        return len(seen) > 20 and seen[-1][0] > 0 and seen[-20] == seen[-1]
    wait_for(stands_still, "nothing moves")
    assert seen[-1][0] < BODY_BYTES and process(shop.node)[0] < before + STREAM_GROWTH_BYTES
    shop.client.ask(shop.vip, "/v2", headers={"x-release": key})
    state = wait_for(lambda: (s := shop.client.upload_state()).get("answer") and s, "it is answered", 60)
    assert state["sent"] == BODY_BYTES and f'"body": {BODY_BYTES}' in state["answer"]
    assert process(shop.node)[0] < before + STREAM_GROWTH_BYTES


def test_a_hundred_megabytes_to_a_program_that_does_not_read_wait_at_their_endpoint(shop):
    before, _ = process(shop.node)
    shop.client.begin_download(shop.vip, "/v2", BODY_BYTES)
    seen = []

    def stands_still():
        seen.append(waiting(shop.node, 9002, 2))
        return len(seen) > 20 and seen[-1] > 0 and seen[-20] == seen[-1]
    wait_for(stands_still, "nothing moves")
    assert process(shop.node)[0] < before + STREAM_GROWTH_BYTES
    assert shop.client.finish_download() == BODY_BYTES
    assert process(shop.node)[0] < before + STREAM_GROWTH_BYTES


# --- many -----------------------------------------------------------------------------------------------------------------------------


def test_ten_thousand_idle_connections_cost_little_memory_and_nobody_else_anything(shop):
    before, descriptors = process(shop.node)
    assert shop.client.open_idle(shop.vip, IDLE_COUNT) == {"200": IDLE_COUNT}
    memory, open_now = process(shop.node)
    print(f"{(memory - before) / IDLE_COUNT:.0f} bytes each")
    assert open_now >= IDLE_COUNT and memory - before < IDLE_COUNT * IDLE_EACH_BYTES
    with shop.load("/v2"):
        pass
    shop.client.close_idle()
    wait_for(lambda: process(shop.node)[1] < descriptors + 100, "they are closed here, too")


def test_a_configuration_that_changes_a_hundred_times_a_second_fails_no_request(shop):
    before = shop.node.status()["generation"]
    with shop.load("/changes"):
        began, changes = time.monotonic(), 200
        for turn in range(changes):
            route(shop.node, "web", {"web-v1": 1 + turn % 7, "web-v2": 1}, "changes", {"prefix": "/changes"}, priority=0)
            wait_for(lambda: time.monotonic() >= began + turn / 100, "it is time for the next change")
        took_s = time.monotonic() - began
        route(shop.node, "web", {"web-v2": 1}, "changes", {"prefix": "/changes"}, priority=0)
        wait_for(lambda: shop.client.many(20, shop.vip, "/changes") == {V2: 20}, "the last one is in force")
    generations = shop.node.status()["generation"] - before
    print(f"{changes} changes in {took_s:.1f} s, {generations} generations")
    assert generations > changes / 4 / SLOWNESS


# --- who takes their time ---------------------------------------------------------------------------------------------------------------


def test_bodies_that_do_not_come_are_given_up_after_the_idle_time(shop):
    route(shop.node, "web", {"web-v2": 1}, "idle", {"prefix": "/idle"}, priority=0, timeout={"idle": {"unit": "ms", "value": 500}})
    wait_for(lambda: shop.client.ask(shop.vip, "/idle", headers={"x-wait": "1"})["status"] == 504, "the time-out is in force")
    before = replies(shop.node, "slow-request")
    shop.client.open_slow(shop.vip, SLOW_COUNT, "POST /idle HTTP/1.1\r\nHost: web.example.com\r\nContent-Length: 1000\r\n\r\nx")
    assert shop.client.ask(shop.vip, "/v2")["status"] == 200
    ends, _ = shop.client.slow_ends()
    assert ends == {"HTTP/1.1 408 Request Timeout": SLOW_COUNT}
    assert replies(shop.node, "slow-request") == before + SLOW_COUNT


def test_heads_that_never_become_whole_are_given_up_after_a_minute_however_they_drip(shop, slow_heads):
    slow_heads.run("drip(*arguments)", "x")
    looked_s = time.monotonic()
    ends, ended_s = slow_heads.run("result = slow_ends()")
    assert sum(ends.values()) == SLOW_COUNT and set(ends) <= {"", "HTTP/1.1 408 Request Timeout"}, ends
    assert slow_heads.opened_s + SLOW_HEAD_S - 1 < ended_s < max(slow_heads.opened_s + SLOW_HEAD_S, looked_s) + 10


# --- in the end -----------------------------------------------------------------------------------------------------------------------


def test_nothing_of_it_stays_in_weft_proxy(shop, slow_heads):
    memory, descriptors = shop.before
    for worker in (shop.client.worker, slow_heads):
        worker.kill()
    for server in shop.servers.values():
        server.kill()
    wait_for(lambda: process(shop.node)[1] <= descriptors, f"{descriptors} descriptors are left of {process(shop.node)[1]}")
    wait_for(lambda: process(shop.node)[0] < memory + LEFT_BYTES, f"own memory was {memory}, and is {process(shop.node)[0]}")
    print(f"own memory {memory / 2**20:.1f} -> {process(shop.node)[0] / 2**20:.1f} MiB")
    requests = shop.node.status()["requests"]
    assert requests["active"] == requests["open"] == requests["upstreamOpen"] == 0
