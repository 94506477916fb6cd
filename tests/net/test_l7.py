# SPDX-License-Identifier: Apache-2.0
"""HTTP services behind weft-proxy, seen from real programs."""
import ctypes
import errno
import os
import signal
import socket
import stat
import struct
import subprocess
from collections import Counter

import pytest

from l7_world import Client, http_servers, make_shop, route
from weft import wait_for

V1, V2 = "10.77.0.1:9001", "10.77.0.1:9002"
PIDFD_GETFD = 438
# The level of SO_ORIGINAL_DST, or IP6T_SO_ORIGINAL_DST, and the bytes of its address: family, port, address.
ORIGINAL = {socket.AF_INET: (socket.SOL_IP, 16, slice(4, 8)), socket.AF_INET6: (socket.IPPROTO_IPV6, 28, slice(8, 24))}


@pytest.fixture(scope="module")
def shop():
    node = make_shop()
    yield node
    node.close()


@pytest.fixture
def own_shop():
    """For one test, which may do to it what it wants."""
    node = make_shop()
    yield node
    node.close()


def test_a_request_goes_where_its_path_and_headers_say(shop):
    client, vip = shop.client_worker, shop.vip("web.example.com")
    assert client.many(20, vip, "/v2/cart") == {V2: 20}
    assert client.many(20, vip, "/", headers={"x-user": "beta"}) == {V2: 20}
    assert client.many(20, vip, "/v2", headers={"x-user": "beta"}, keep="one") == {V2: 20}


def test_requests_of_one_connection_follow_the_weights(shop):
    seen = Counter(shop.client_worker.many(1000, shop.vip("web.example.com"), keep="weights"))
    assert set(seen) == {V1, V2}
    assert 182 < seen[V2] < 318, "250 of 1,000, and five standard deviations"


def test_ipv6_goes_to_ipv6(shop):
    assert shop.client_worker.many(20, shop.vip("web.example.com", 6), "/v2") == {"[fd77::1]:9002": 20}


def test_an_application_sees_what_app_mesh_shows_it(shop):
    answer = shop.client_worker.ask(shop.vip("web.example.com"), "/v2//a/./b?q=1", "POST", {"x-mine": "kept", "Connection": "x-hop", "x-hop": "1"}, "body")
    told = answer["told"]
    assert told["path"] == "/v2/a/b?q=1" and told["method"] == "POST" and told["body"] == 4
    assert told["headers"]["host"] == "web.example.com" and told["headers"]["x-mine"] == "kept"
    assert told["headers"]["x-forwarded-proto"] == "http" and told["headers"]["x-envoy-attempt-count"] == "1"
    assert len(told["headers"]["x-request-id"]) == 36
    assert "x-hop" not in told["headers"] and "connection" not in told["headers"]
    assert told["peer"] == "10.77.0.1"
    assert answer["headers"]["server"] == "envoy" and int(answer["headers"]["x-envoy-upstream-service-time"]) >= 0


def originals(pid):
    """What SO_ORIGINAL_DST says of the sockets of weft-proxy that programs are handed to."""
    pidfd, libc, found = os.pidfd_open(pid), ctypes.CDLL(None, use_errno=True), []
    for number in os.listdir(f"/proc/{pid}/fd"):
        fd = libc.syscall(PIDFD_GETFD, pidfd, int(number), 0)
        if fd < 0 or not stat.S_ISSOCK(os.fstat(fd).st_mode):
            if fd >= 0:
                os.close(fd)
            continue
        with socket.socket(fileno=fd) as s:
            if s.type != socket.SOCK_STREAM or s.family not in ORIGINAL or s.getsockname()[1] != 15001:
                continue
            level, size, address = ORIGINAL[s.family]
            try:
                said = s.getsockopt(level, 80, size)
            except OSError as e:
                found.append(e.errno)
            else:
                assert struct.unpack("=H", said[:2])[0] == s.family
                found.append((socket.inet_ntop(s.family, said[address]), struct.unpack("!H", said[2:4])[0]))
    os.close(pidfd)
    return found


def test_so_original_dst_of_a_socket_that_is_handed_over_is_what_its_program_asked_for(shop):
    for family in (4, 6):
        shop.client_worker.ask(shop.vip("web.example.com", family), keep=f"original-{family}")
    found = originals(shop.status()["proxy"]["pid"])
    assert {(shop.vip("web.example.com", family), 8080) for family in (4, 6)} <= set(found)
    assert {one for one in found if isinstance(one, int)} <= {errno.ENOPROTOOPT, errno.ENOENT}, "those that listen: as without weft"


def test_a_program_is_connected_to_what_it_asked_for(shop):
    code = """
s = socket.create_connection((sys.argv[1], 8080))
result = list(s.getpeername())
"""
    assert shop.client(code, shop.vip("web.example.com")) == [shop.vip("web.example.com"), 8080]


def test_a_service_that_is_no_backend_is_denied_before_any_request(shop):
    assert shop.client_worker.ask(shop.vip("secret.example.com"))["error"] == "EPERM"


def test_host_leads_to_the_backend_of_that_name_and_otherwise_the_address_decides(shop):
    vip = shop.vip("web.example.com")
    for host in ("web.example.com:8080", "WEB.example.com", "10.0.0.1", "secret.example.com"):
        assert shop.client_worker.ask(vip, "/v2", headers={"Host": host})["told"]["server"] == V2, host


@pytest.mark.one_kernel
def test_a_retry_saves_a_request(shop):
    route(shop, "web", {"web-v2": 1}, "retry", {"prefix": "/retry"}, priority=0, retryPolicy={
        "httpRetryEvents": ["server-error"], "tcpRetryEvents": ["connection-error"], "maxRetries": 3,
        "perRetryTimeout": {"unit": "s", "value": 5}})
    client, vip = shop.client_worker, shop.vip("web.example.com")

    def saved():
        key = os.urandom(4).hex()
        return client.ask(vip, "/retry", headers={"x-fail": "3", "x-key": key})
    wait_for(lambda: saved()["status"] == 200, "the policy is in force")
    answer = saved()
    assert answer["status"] == 200 and answer["told"]["headers"]["x-envoy-attempt-count"] == "4"
    assert client.ask(vip, "/retry", headers={"x-fail": "4", "x-key": "many"})["status"] == 503
    assert client.ask(vip, "/retry", headers={"x-answer": "404"})["status"] == 404, "what the policy does not name is handed on"


@pytest.mark.one_kernel
def test_a_request_that_takes_too_long_is_answered_with_504(shop):
    route(shop, "web", {"web-v2": 1}, "slow", {"prefix": "/slow"}, priority=0, timeout={"perRequest": {"unit": "ms", "value": 300}})
    client, vip = shop.client_worker, shop.vip("web.example.com")
    wait_for(lambda: client.ask(vip, "/slow", headers={"x-wait": "1"})["status"] == 504, "the time-out is in force")
    assert client.ask(vip, "/slow", headers={"x-wait": "1"})["text"] == "upstream request timeout"
    assert client.ask(vip, "/slow")["status"] == 200


@pytest.mark.one_kernel
def test_what_no_route_takes_is_404(shop):
    shop.router("narrow", protocol="http")
    route(shop, "narrow", {"web-v1": 1}, "only", {"path": {"exact": "/only"}})
    shop.node("client", port=None, backends=["web.example.com", "narrow.example.com"])
    shop.service("narrow.example.com", router="narrow", l7=True)
    vip = shop.vip("narrow.example.com")
    shop.wait_reason("narrow.example.com:8080", "proxied")
    ask = shop.client_worker.ask
    wait_for(lambda: ask(vip, "/only", headers={"Host": "narrow.example.com"}).get("status") == 200, "the route is in force")
    assert ask(vip, "/other", headers={"Host": "narrow.example.com"})["status"] == 404


def test_curl_uploads_and_downloads_what_it_means_to(shop, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(1 << 16) * 320)  # 20 MiB
    curl = ["curl", "-sS", "--max-time", "60", "--data-binary", f"@{big}", f"http://{shop.vip('web.example.com')}:8080/v2"]
    for extra in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], ["-0"]):
        process = shop.workload([*curl, *extra], stdout=subprocess.PIPE)
        out, _ = process.communicate(timeout=90)
        assert process.returncode == 0
        assert f'"body": {20 << 20}'.encode() in out, extra


def test_an_upgraded_connection_is_a_tunnel(shop):
    code = """
s = socket.create_connection((sys.argv[1], 8080))
s.settimeout(20)
s.sendall(b"GET /v2 HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
head = b""
while b"\\r\\n\\r\\n" not in head:
    head += s.recv(65536)
s.sendall(b"hello")
got = s.recv(100)
s.shutdown(socket.SHUT_WR)
result = [head.split(b"\\r\\n")[0].decode(), got.decode(), s.recv(100).decode()]
"""
    assert shop.client(code, shop.vip("web.example.com")) == ["HTTP/1.1 101 Switching Protocols", "hello", ""]


def test_a_change_of_weights_is_followed_by_the_next_request_and_fails_none(own_shop):
    client, vip = own_shop.client_worker, own_shop.vip("web.example.com")
    client.worker.start("""
seen = []
while not os.path.exists(arguments[1]):
    seen.append(ask(arguments[0], keep="one"))
result = [[a.get("status"), a["told"]["server"]] if "told" in a else a for a in seen]
""", vip, str(own_shop.directory / "stop"))
    for weights in ({"web-v1": 1, "web-v2": 0}, {"web-v1": 0, "web-v2": 1}, {"web-v1": 1, "web-v2": 1}, {"web-v1": 0, "web-v2": 1}):
        route(own_shop, "web", weights, "all", {"prefix": "/"}, priority=3)
        want = {node for node, weight in weights.items() if weight}
        other = Client(own_shop)
        wait_for(lambda: {"web-v1" if V1 == s else "web-v2" for s in other.many(20, vip)} == want, "the weights are in force")
        other.worker.kill()
    (own_shop.directory / "stop").touch()
    seen = client.worker.answer()
    assert [answer for answer in seen if not isinstance(answer, list) or answer[0] != 200] == []
    assert seen[-1][1] == V2


def test_requests_go_on_while_weftd_is_away(own_shop):
    client, vip = own_shop.client_worker, own_shop.vip("web.example.com")
    own_shop.kill_agent()
    assert sum(client.many(200, vip).values()) == 200
    assert set(client.many(200, vip)) == {V1, V2}
    own_shop.start_agent()
    assert set(client.many(200, vip)) == {V1, V2}


def test_weft_proxy_that_is_killed_is_back_and_bypasses_nothing(own_shop):
    client, vip = own_shop.client_worker, own_shop.vip("web.example.com")
    os.kill(own_shop.proxy_pid(), signal.SIGKILL)
    seen = []

    def back():
        seen.append(client.ask(vip))
        return seen[-1].get("status") == 200
    wait_for(back, "it answers again", 5)
    assert all(answer.get("status") == 200 or "error" in answer for answer in seen)
    assert client.ask(own_shop.vip("secret.example.com"))["error"] == "EPERM"


@pytest.mark.one_kernel
def test_requests_are_logged_in_a_file_of_the_workload(own_shop):
    path = own_shop.directory / "access.log"
    own_shop.node("client", port=None, backends=["web.example.com"], logging={"accessLog": {"file": {"path": str(path), "format": {
        "text": "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST% %ROUTE_NAME% %UPSTREAM_CLUSTER%\n"}}}})
    client, vip = own_shop.client_worker, own_shop.vip("web.example.com")

    def logged():
        client.ask(vip, "/v2/a?b=c", "POST", body="x")
        return path.exists() and "/v2/a" in path.read_text()
    wait_for(logged, "a line")
    assert path.read_text().splitlines()[0] == f"POST /v2/a?b=c 200 - {V2} v2 cds_egress_m_web-v2_http_8080"
    path.rename(own_shop.directory / "access.log.1")
    wait_for(logged, "a line in the new file")


@pytest.mark.one_kernel
def test_lines_that_are_in_no_file_are_counted_by_why(own_shop):
    path = own_shop.directory / "nowhere" / "access.log"
    own_shop.node("client", port=None, backends=["web.example.com"], logging={"accessLog": {"file": {"path": str(path)}}})

    def log():
        own_shop.client_worker.ask(own_shop.vip("web.example.com"), "/v2")
        return [log for log in own_shop.weft("dns")["accessLogs"] if log["path"] == str(path) and log["dropped"]["not-open"]]
    assert "No such file" in wait_for(log, "a line is dropped")[0]["error"]
    drops = own_shop.status()["requests"]["totals"]["accessLogDrops"]
    assert drops["not-open"] >= 1 and sum(drops.values()) == drops["not-open"]


def test_flow_records_tell_of_connections_that_were_handed_over(shop):
    shop.client_worker.ask(shop.vip("web.example.com"))

    def found():
        return [flow for flow in shop.weft("connections", "--reason", "proxied")["closed"] if flow["to"] == "mesh/m/virtualService/web.example.com"]
    record = wait_for(found, "a record of it")[-1]
    assert record["close"] == "closed" and record["sent"] > 0


def test_an_address_that_the_mesh_does_not_know_is_matched_by_host(own_shop):
    client = own_shop.client_worker
    pod = own_shop.add_pod()
    address = pod.ipv4
    http_servers(own_shop, f"{address}:8080", namespace=pod)
    reach = own_shop.vip("web.example.com")
    assert client.ask(address, "/v2")["told"]["server"] == V2, "Host is that of the backend"
    assert client.ask(address, "/v2", headers={"Host": "web.example.com:8080"})["told"]["server"] == V2
    assert client.ask(address, headers={"Host": "stranger.example.net"})["status"] == 404
    assert client.ask(address, port=8081)["error"] == "EPERM", "no backend has that port"
    own_shop.mesh("ALLOW_ALL")
    wait_for(lambda: client.ask(address, headers={"Host": "stranger.example.net"}).get("status") == 200, "ALLOW_ALL is in force")
    assert client.ask(address, headers={"Host": "stranger.example.net"})["told"]["server"] == f"{address}:8080"
    assert client.ask(address, "/v2")["told"]["server"] == V2
    assert client.ask(reach, "/v2")["told"]["server"] == V2


def test_a_namespace_where_another_program_has_the_port_is_refused_by_name_until_it_is_gone(own_shop):
    pod = own_shop.add_pod()
    envoy = own_shop.worker(netns=pod)
    envoy.run("""
held = []
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    s = socket.socket(family)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, 15001))
    s.listen()
    held.append(s)
""")
    client = Client(own_shop, pod)
    vip = own_shop.vip("web.example.com")
    wait_for(lambda: "foreign-redirect" in own_shop.log.read_text(), "it is told")
    assert client.ask(vip)["error"] == "ECONNREFUSED"
    assert own_shop.reasons()[("client", "web.example.com", "foreign-redirect")] > 0
    envoy.kill()
    wait_for(lambda: "error" not in client.ask(vip), "connections are handed over")
