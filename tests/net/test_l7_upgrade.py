# SPDX-License-Identifier: Apache-2.0
"""One weft-proxy after the other while HTTP requests are under way: no request fails, and what takes long ends where it began."""
import json
import os
import shutil
import signal
import socket

import pytest

from l7_world import Client, http_servers, make_shop, route
from weft import BUILD, SLOWNESS, is_proxy, wait_for

# In a worker: threads that ask until they are told to stop. Nobody asks again what has failed, but who is told "connection: close" asks on
# a new connection.
LOAD = """
import threading
failed, done, stop, threads = [], {"requests": 0, "closes": 0, "connections": 0}, threading.Event(), []
lock = threading.Lock()
def note(what, count=1):
    with lock:
        done[what] += count
def asking(address, keep, pause_s, path):
    connection = None
    while not stop.is_set():
        if not connection:
            connection = http.client.HTTPConnection(address, 8080, timeout=30 * SLOWNESS)
            note("connections")
        try:
            connection.request("POST", path, b"x" * 2000, {"Host": "web.example.com"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as e:
            failed.append(f"{type(e).__name__}: {e}")
            connection = None
            continue
        note("requests")
        if answer.status != 200 or not text:
            failed.append(str(answer.status))
        closes = answer.getheader("connection") == "close"
        note("closes", closes)
        if closes or not keep:
            connection.close()
            connection = None
        stop.wait(pause_s or PAUSE_S)
def start(address, count, keep, pause_s=0, path="/"):
    stop.clear()
    for _ in range(count):
        threads.append(threading.Thread(target=asking, args=(address, keep, pause_s, path)))
        threads[-1].start()
def requests():
    return done["requests"]
def finish():
    stop.set()
    for thread in threads:
        thread.join()
    result = {"failed": list(failed), **done}
    threads.clear()
    failed.clear()
    done.update(dict.fromkeys(done, 0))
    return result
"""

# One request that is answered when it is released; and one whose head is not whole yet, as its proxy sees it.
SLOW = """
def slow(address, key="slow"):
    def run():
        global slow_answer
        slow_answer = ask(address, "/slow", headers={"x-hold": key}, timeout_s=300)
    global slow_thread
    slow_thread = threading.Thread(target=run)
    slow_thread.start()
def release(address, key="slow", path="/"):
    return ask(address, path, headers={"x-release": key}).get("status")
def slow_end():
    slow_thread.join()
    return slow_answer
def begin(address):
    global begun
    begun = socket.create_connection((address, 8080), timeout=30 * SLOWNESS)
    begun.sendall(b"GET / HTTP/1.1\\r\\n")
def complete(host="web.example.com"):
    begun.sendall(f"Host: {host}\\r\\n\\r\\n".encode())
    return begun.recv(65536).decode()
"""

# A connection that has become another protocol's.
TUNNEL = """
tunnels = {}
def open_tunnel(address, name, host="web.example.com"):
    s = socket.create_connection((address, 8080), timeout=30 * SLOWNESS)
    s.sendall(f"GET /chat HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n".encode())
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += s.recv(4096)
    tunnels[name] = s
    return head.split()[1].decode()
def close_tunnel(name):
    tunnels.pop(name).close()
def echoes(name):
    try:
        tunnels[name].sendall(b"ping")
        return tunnels[name].recv(4, socket.MSG_WAITALL) == b"ping"
    except OSError:
        return False
"""


def proxy(node):
    return node.status()["proxy"]


def ended(node, pid):
    return not is_proxy(pid, node.instance)


def former(node):
    """What who has the seat knows of those before it."""
    return node.weft("dns")["former"]


def requests(node):
    """What who has the seat has counted."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(f"/run/weft/{node.instance}/proxy.sock")
        s.send(json.dumps({"op": "requests"}).encode())
        _, fds, _, _ = socket.recv_fds(s, 65536, 4)
        with open(fds[0]) as file:
            file.seek(0)
            return json.load(file)["totals"]


def replies(node, before={}):
    """What all weft-proxies have counted since then of requests that they ended themselves, by its name."""
    now = node.status()["requests"]["totals"]["replies"]
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}


def upgrade_by_hand(node, *options, cgroup=None, environment={}):
    enter = ["sh", "-c", f"echo $$ > {cgroup}/cgroup.procs; exec \"$@\"", "sh"] if cgroup else []
    log = open(node.log, "a")
    process = node.spawn([*enter, BUILD / "weft-proxy", "--instance", node.instance, *options], stdout=log, stderr=log,
                         env={**os.environ, **environment})
    wait_for(lambda: node.proxy_pid() == process.pid, "the successor has the seat")
    requests(node)  # it answers when it accepts, and its predecessor does not any more
    return process.pid


def upgrade_by_weftd(node, programs):
    """weftd and weft-proxy are of another build, which is enough to be replaced."""
    old = node.proxy_pid()
    node.kill_agent(signal.SIGTERM)
    programs.mkdir()
    shutil.copy(BUILD / "weftd", programs)
    (programs / "weft-proxy").write_bytes((BUILD / "weft-proxy").read_bytes() + programs.name.encode())
    (programs / "weft-proxy").chmod(0o755)
    node.programs = programs
    node.start_agent()
    wait_for(lambda: proxy(node).get("pid") not in (None, old), "the successor runs", 15)


def go_on(client):
    before = client.requests()
    wait_for(lambda: client.requests() > before + 100, "requests are answered")


@pytest.fixture
def shop():
    node = make_shop()
    patience = {"perRequest": {"unit": "s", "value": 300}}
    try:
        node.node("web-v1", protocol="http", listeners=[{"portMapping": {"port": 8080, "protocol": "http"}, "timeout": {"http": patience}}])
        route(node, "web", {"web-v1": 1}, "slow", {"prefix": "/slow"}, priority=0, timeout=patience)
        node.address = node.vip("web.example.com")
        node.client_worker.worker.run(LOAD + SLOW + TUNNEL)
        yield node
    finally:
        node.close()


def test_three_upgrades_under_load_with_a_slow_answer_and_a_tunnel_lose_nothing(shop):
    client, first = shop.client_worker, shop.proxy_pid()
    shop.kill_agent()
    client.start(shop.address, 4, True)
    client.start(shop.address, 2, False)
    client.start(shop.address, 4, True, 0.3)
    client.slow(shop.address)
    assert client.open_tunnel(shop.address, "one") == "101"
    assert client.ask(shop.address, keep="idle")["status"] == 200
    port = client.worker.run("result = kept['idle'].sock.getsockname()[1]")
    for _ in range(3):
        go_on(client)
        upgrade_by_hand(shop)
        assert client.echoes("one")
    go_on(client)
    assert client.echoes("one") and not ended(shop, first)
    assert client.release(shop.address) == 200
    answer = client.slow_end()
    assert answer["status"] == 200 and answer["headers"]["connection"] == "close"
    answer = client.ask(shop.address, keep="idle")
    assert answer.get("status") == 200, answer
    assert client.worker.run("result = kept['idle'].sock.getsockname()[1]") == port, "it is still the connection that it was"
    result = client.finish()
    print(result)
    assert result["failed"] == [] and result["closes"] > 0
    client.close_tunnel("one")
    wait_for(lambda: ended(shop, first), "the first one ended")


# Connections that were asked on once, and are asked on again.
IDLE = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
idle = []
def ask_on(s):
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: web.example.com\\r\\n\\r\\n")
    answer = b""
    while b"\\r\\n\\r\\n" not in answer:
        piece = s.recv(65536)
        if not piece:
            return "closed"
        answer += piece
    head, _, body = answer.partition(b"\\r\\n\\r\\n")
    length = int(head.lower().split(b"content-length: ")[1].split()[0])
    while len(body) < length:
        body += s.recv(65536)
    return head.split()[1].decode() + (" closes" if b"connection: close" in head else "")
def open_idle(address, count):
    from collections import Counter
    for _ in range(count):
        idle.append(socket.create_connection((address, 8080), timeout=30 * SLOWNESS))
    return Counter(map(ask_on, idle))
def ask_idle():
    from collections import Counter
    return Counter(map(ask_on, idle))
"""


def test_a_thousand_idle_connections_go_over_as_they_are(shop):
    client, old = shop.client_worker, shop.proxy_pid()
    client.worker.run(IDLE)
    assert client.open_idle(shop.address, 1000) == {"200": 1000}
    upgrade_by_hand(shop)
    wait_for(lambda: ended(shop, old), "the former one ended")
    assert requests(shop)["taken"] == 1000
    assert client.ask_idle() == {"200": 1000}


def test_weftd_replaces_three_builds_under_load_and_nobody_notices(shop, tmp_path):
    client, first = shop.client_worker, shop.proxy_pid()
    client.start(shop.address, 4, True)
    client.start(shop.address, 2, False)
    client.slow(shop.address)
    assert client.open_tunnel(shop.address, "one") == "101"
    for build in "one", "two", "three":
        go_on(client)
        upgrade_by_weftd(shop, tmp_path / build)
        assert client.echoes("one")
    go_on(client)
    assert client.release(shop.address) == 200
    assert client.slow_end()["status"] == 200 and client.echoes("one")
    result = client.finish()
    print(result)
    assert result["failed"] == [] and result["closes"] > 0
    client.close_tunnel("one")
    wait_for(lambda: ended(shop, first), "the first one ended")
    state = proxy(shop)
    assert state["restarts"] == 0 and state["hung"] == 0 and state["lastEnd"] is None, "no end of theirs is a failure"
    wait_for(lambda: former(shop)["now"] == [], "none of them is left")
    ends = former(shop)["ends"]
    assert ends.pop("drained") > 0 and not any(ends.values()), ends


def test_requests_go_on_while_a_build_with_other_maps_takes_over_and_hands_back(shop):
    client = shop.client_worker
    client.start(shop.address, 4, True)
    client.start(shop.address, 2, False)
    client.slow(shop.address)
    assert client.open_tunnel(shop.address, "one") == "101"
    for programs in BUILD / "layout2", BUILD:
        go_on(client)
        old = shop.proxy_pid()
        shop.kill_agent(signal.SIGTERM)
        shop.programs = programs
        shop.loader("upgrade")
        shop.start_agent()
        wait_for(lambda: proxy(shop).get("pid") not in (None, old), "the other build's weft-proxy runs", 15)
        assert os.readlink(f"/proc/{proxy(shop)['pid']}/exe") == str(programs / "weft-proxy")
    go_on(client)
    assert client.echoes("one") and client.release(shop.address) == 200 and client.slow_end()["status"] == 200
    result = client.finish()
    print(result)
    assert result["failed"] == []


@pytest.mark.one_kernel
def test_of_three_that_still_serve_the_eldest_is_ended_and_counted(shop):
    client = shop.client_worker
    pids = [shop.proxy_pid()]
    for name in "first", "second", "third":
        assert client.open_tunnel(shop.address, name) == "101"
        pids.append(upgrade_by_hand(shop))
    wait_for(lambda: ended(shop, pids[0]), "the eldest ended")
    assert not client.echoes("first")
    assert client.echoes("second") and client.echoes("third")
    state = wait_for(lambda: former(shop)["ends"]["drain-limit"] and former(shop), "the one with the seat has counted it")
    assert sorted(each["pid"] for each in state["now"]) == sorted(pids[1:3])
    assert "reason=drain-limit" in shop.log.read_text() and "requests_cut=1" in shop.log.read_text()
    for name in "second", "third":
        client.close_tunnel(name)
    wait_for(lambda: former(shop)["now"] == [] and former(shop)["ends"]["drained"] == 2, "the others ended")
    wait_for(lambda: all(ended(shop, pid) for pid in pids[:3]), "their processes are gone")
    assert client.ask(shop.address)["status"] == 200


@pytest.mark.one_kernel
def test_drain_max_ends_what_goes_on_too_long(shop):
    client = shop.client_worker
    old = upgrade_by_hand(shop, "--drain-max", "2s")
    assert client.open_tunnel(shop.address, "long") == "101"
    upgrade_by_hand(shop)
    assert client.echoes("long")
    wait_for(lambda: ended(shop, old), "its time is over")
    assert not client.echoes("long")
    wait_for(lambda: former(shop)["ends"]["drain-max"] == 1, "which is counted")


def test_a_former_one_in_a_cgroup_of_its_own_still_gets_to_endpoints(shop):
    """Its sockets are in the namespace of a workload that may connect to nothing but its backends."""
    other = shop.cgroup.parent / f"{shop.cgroup.name}-proxy"
    other.mkdir()
    try:
        client, old = shop.client_worker, shop.proxy_pid()
        client.begin(shop.address)
        wait_for(lambda: requests(shop)["requestsActive"] == 1, "it has begun")
        upgrade_by_hand(shop, cgroup=other)
        assert client.ask(shop.address)["status"] == 200
        assert client.complete().startswith("HTTP/1.1 200 OK\r\n"), "the former one had to connect anew"
        wait_for(lambda: ended(shop, old), "the former one ended")
        assert client.ask(shop.address)["status"] == 200
    finally:
        shop.empty(other)


def test_a_workloads_end_closes_what_a_former_one_has_of_it(shop):
    client, old = shop.client_worker, shop.proxy_pid()
    second = Client(shop)
    second.worker.run(LOAD + SLOW + TUNNEL)
    assert client.open_tunnel(shop.address, "ends") == "101" and second.open_tunnel(shop.address, "stays") == "101"
    upgrade_by_hand(shop)
    client.worker.kill()
    wait_for(lambda: [each["pid"] for each in former(shop)["now"]] == [old], "it serves the other one")
    assert second.echoes("stays")
    second.worker.kill()
    wait_for(lambda: ended(shop, old), "nothing is left")


def test_what_a_former_one_lets_out_of_the_mesh_ends_when_the_filter_closes(shop):
    """A tunnel that goes past the mesh, and a request whose head is not whole yet; another tunnel is the mesh's own."""
    client, old, pod = shop.client_worker, shop.proxy_pid(), shop.add_pod()
    http_servers(shop, f"{pod.ipv4}:8080", namespace=pod)
    shop.mesh("ALLOW_ALL")
    wait_for(lambda: client.ask(pod.ipv4, headers={"Host": "stranger.test"}).get("status") == 200, "ALLOW_ALL is in force")
    assert client.open_tunnel(pod.ipv4, "outside", "stranger.test") == client.open_tunnel(shop.address, "inside") == "101"
    client.begin(pod.ipv4)
    wait_for(lambda: requests(shop)["requestsActive"] == 3, "the last one has begun")
    before = replies(shop)
    upgrade_by_hand(shop)
    assert client.echoes("outside") and client.echoes("inside")
    shop.mesh("DROP_ALL")
    wait_for(lambda: not client.echoes("outside"), "it is cut off")
    assert client.complete("stranger.test").startswith("HTTP/1.1 404 ")
    assert client.echoes("inside")
    assert [each["pid"] for each in former(shop)["now"]] == [old]
    client.close_tunnel("inside")
    wait_for(lambda: former(shop)["ends"]["drained"] == 1, "it served the rest to its end")
    wait_for(lambda: replies(shop, before) == {"filter-closed": 1, "no-route": 1}, "each is counted by its name", 20)


@pytest.mark.one_kernel
def test_a_unit_of_its_own_is_replaced_by_a_reload(shop, tmp_path):
    client = shop.client_worker
    shop.kill_agent(signal.SIGTERM)
    shop.options += ["--proxy", "external"]
    shop.start_agent()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10 * SLOWNESS)
        unit = shop.cgroup.parent / f"{shop.cgroup.name}-unit"  # systemd's, which has none but the unit's processes
        unit.mkdir()
        try:
            pids = [upgrade_by_hand(shop, cgroup=unit, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})]
            assert manager.recv(100).decode() == f"MAINPID={pids[0]}\nREADY=1"
            client.start(shop.address, 4, True)
            for _ in range(3):
                go_on(client)
                os.kill(pids[-1], signal.SIGHUP)
                pids.append(int(manager.recv(100).decode().split()[0].removeprefix("MAINPID=")))
                assert shop.proxy_pid() == pids[-1]
            go_on(client)
            assert client.finish()["failed"] == []
            wait_for(lambda: all(ended(shop, pid) for pid in pids[:-1]), "the former ones ended")
            wait_for(lambda: proxy(shop).get("pid") == pids[-1], "weftd has found the last one")
            made = unit / f"weft-proxy-{shop.instance}"
            assert (made / "cgroup.procs").read_text().split() == [str(pids[-1])] and not any(path.is_dir() for path in made.iterdir())
        finally:
            shop.kill_agent()
            for cgroup in (unit / f"weft-proxy-{shop.instance}", unit):
                if cgroup.exists():
                    shop.empty(cgroup)


# --- told to end, or killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.one_kernel
def test_at_sigterm_requests_under_way_are_answered_and_the_next_one_is_there_meanwhile(shop):
    client, old = shop.client_worker, shop.proxy_pid()
    client.slow(shop.address)
    wait_for(lambda: requests(shop)["requestsActive"] == 1, "it is asked")
    os.kill(old, signal.SIGTERM)
    wait_for(lambda: proxy(shop).get("pid") not in (None, old), "weftd has started the next one")
    assert not ended(shop, old)
    wait_for(lambda: client.ask(shop.address).get("status") == 200, "which serves")
    assert client.release(shop.address) == 200
    answer = client.slow_end()
    assert answer["status"] == 200 and answer["headers"]["connection"] == "close"
    wait_for(lambda: ended(shop, old), "it ended")
    wait_for(lambda: proxy(shop)["lastEnd"] == "exited with status 0", "weftd knows how")


@pytest.mark.one_kernel
def test_at_sigterm_what_takes_longer_than_drain_time_is_cut(shop):
    shop.kill_agent()
    client, pid = shop.client_worker, upgrade_by_hand(shop, "--drain-time", "1s")
    client.slow(shop.address)
    wait_for(lambda: requests(shop)["requestsActive"] == 1, "it is asked")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: client.ask(shop.address).get("error") == "ECONNREFUSED", "nothing new is accepted")
    wait_for(lambda: ended(shop, pid), "it ended")
    assert "error" in client.slow_end()
    assert "reason=drain-time" in shop.log.read_text()


def test_killed_it_is_back_within_a_second_and_until_then_nothing_gets_past_it(shop):
    client, old = shop.client_worker, shop.proxy_pid()
    code = """
begun, seen = time.monotonic(), []
while not seen or seen[-1] != 200 and time.monotonic() < begun + arguments[1]:
    answer = ask(arguments[0])
    seen.append(answer.get("status") or answer["error"])
result = [time.monotonic() - begun, seen]
"""
    os.kill(old, signal.SIGKILL)
    took_s, seen = client.worker.run(code, shop.address, 20 * SLOWNESS)
    print(f"killed -9: an answer after {took_s:.3f} s, until then {len(seen) - 1} refused")
    assert seen[0] in ("ECONNREFUSED", "ECONNRESET"), "its sockets are there until it is gone"
    assert seen[-1] == 200 and took_s < SLOWNESS and set(seen[1:-1]) == {"ECONNREFUSED"}, seen
    assert shop.reasons()["client", "web.example.com", "proxy-down"] > 0
    assert client.ask(shop.vip("secret.example.com"))["error"] == "EPERM"
