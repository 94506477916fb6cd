# SPDX-License-Identifier: Apache-2.0
"""Every way a socket can begin and end leaves the open count at 0, and counts the connection once."""
import signal
import subprocess

import pytest
from weft import BUILD, PYTHON, SLOWNESS, wait_for


@pytest.fixture(autouse=True)
def nothing_stays_open(shop):
    yield
    shop.wait_open(0)
    stats = shop.status()["stats"]
    assert stats["row-mismatch"] == stats["slot-mismatch"] == 0


def counter(shop, service):
    total = {}
    for row in shop.status()["counters"]:
        if row["to"].endswith("/" + service):
            for member, value in row.items():
                if isinstance(value, int):
                    total[member] = total.get(member, 0) + value
    return total


def test_a_refused_connect_is_counted_and_its_socket_can_be_used_again(shop):
    code = """
s = socket.socket()
result = []
for vip in (sys.argv[1], sys.argv[1], sys.argv[2]):
    try:
        s.connect((vip, 8080))
        result.append(s.recv(100).decode().strip())
    except OSError as e:
        result.append(errno.errorcode[e.errno])
"""
    before = counter(shop, "closed").get("refused", 0)
    assert shop.client(code, shop.vip("closed"), shop.vip("lone")) == ["ECONNREFUSED", "ECONNREFUSED", "10.77.0.1:9003"]
    assert counter(shop, "closed")["refused"] == before + 2


def test_a_connect_without_a_route_is_given_back_by_the_next_one_or_by_close(shop):
    shop.node("far")
    shop.service("far", node="far")
    shop.node("client", port=None, backends=["web", "lone", "closed", "tls", "http", "far"])
    shop.register("far", "1", "10.200.0.1:80")  # the namespace has no route there
    shop.wait_reason("far:8080", "routed")
    code = """
result = []
s = socket.socket()
for vip in (sys.argv[1], sys.argv[1], sys.argv[2]):
    try:
        s.connect((vip, 8080))
        result.append(s.recv(100).decode().strip())
    except OSError as e:
        result.append(errno.errorcode[e.errno])
left = socket.socket()
left.connect_ex((sys.argv[1], 8080))
"""
    assert shop.client(code, shop.vip("far"), shop.vip("lone")) == ["ENETUNREACH", "ENETUNREACH", "10.77.0.1:9003"]
    wait_for(lambda: counter(shop, "far")["abandoned"] == 3, "three connects that sent nothing")


def test_an_mptcp_connect_without_a_route_is_given_back(shop):
    try:
        shop.namespace.sysctl("net.mptcp.enabled=1")
    except subprocess.CalledProcessError:
        pytest.skip("the kernel has no MPTCP")
    shop.node("farther")
    shop.service("farther", node="farther")
    shop.node("client", port=None, backends=["web", "lone", "closed", "tls", "http", "farther"])
    shop.register("farther", "1", "10.200.0.1:80")  # the namespace has no route there
    shop.wait_reason("farther:8080", "routed")
    code = """
result = []
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
for _ in range(3):
    result.append(errno.errorcode[s.connect_ex((sys.argv[1], 8080))])
"""
    assert shop.client(code, shop.vip("farther")) == ["ENETUNREACH"] * 3
    wait_for(lambda: counter(shop, "farther")["abandoned"] == 3, "three connects that sent nothing")


def test_disconnect_by_af_unspec_ends_the_connection_and_the_socket_connects_again(shop):
    code = """
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket()
result = []
for _ in range(3):
    s.connect((sys.argv[1], 8080))
    result.append(s.recv(100).decode().strip())
    assert libc.connect(s.fileno(), struct.pack('H14x', 0), 16) == 0
"""
    assert shop.client(code, shop.vip("lone")) == ["10.77.0.1:9003"] * 3


def test_non_blocking_connect_and_close(shop):
    code = """
result = 0
for vip in sys.argv[1:]:
    for _ in range(100):
        s = socket.socket()
        s.setblocking(False)
        result += s.connect_ex((vip, 8080)) in (0, errno.EINPROGRESS)
        s.close()
"""
    assert shop.client(code, shop.vip("web"), shop.vip("closed")) == 200


def test_tcp_fast_open(shop):
    shop.namespace.sysctl("net.ipv4.tcp_fastopen=0x603")
    code = """
result = []
for _ in range(2):
    s = socket.socket()
    s.sendto(b'hello', socket.MSG_FASTOPEN, (sys.argv[1], 8080))
    result.append(s.recv(100).decode().split()[0])
for data in (b'x', None):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    s.connect((sys.argv[1], 8080))
    if data:
        s.send(data)
        result.append(s.recv(100).decode().split()[0])
    s.close()
"""
    assert shop.client(code, shop.vip("lone")) == ["10.77.0.1:9003"] * 3


def test_mptcp(shop):
    code = """
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect((sys.argv[1], 8080))
result = s.recv(100).decode().strip()
"""
    try:
        shop.namespace.sysctl("net.mptcp.enabled=1")
    except subprocess.CalledProcessError:
        pytest.skip("the kernel has no MPTCP")
    assert shop.client(code, shop.vip("lone")) == "10.77.0.1:9003"


def test_a_v6only_socket_reaches_ipv6_vips_and_no_mapped_ones(shop):
    code = """
result = []
for address in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        s.connect((address, 8080))
        result.append('connected')
    except OSError as e:
        result.append(errno.errorcode[e.errno])
"""
    assert shop.client(code, shop.vip("web", 6), "::ffff:" + shop.vip("web")) == ["connected", "ENETUNREACH"]


def test_io_uring(shop):
    process = shop.workload([BUILD / "tests/net/uring_connect", shop.vip("lone"), "8080"], stdout=subprocess.PIPE, text=True)
    out = process.communicate(timeout=20 * SLOWNESS)[0].strip()
    if process.returncode == 77:
        pytest.skip("the kernel has no io_uring")
    assert (process.returncode, out) == (0, "10.77.0.1:9003")


HOLD = """
sockets = [socket.create_connection((sys.argv[1], 8080)) for _ in range(30)]
more = socket.socket()
more.setblocking(False)
more.connect_ex((sys.argv[1], 8080))
print('held', flush=True)
signal.pause()
"""


def hold(shop, netns=None):
    program = "import signal,socket,sys\n" + HOLD
    process = shop.workload([PYTHON, "-c", program, shop.vip("lone")], netns=netns, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_kill_9_with_open_connections(shop):
    process = hold(shop)
    shop.wait_open(31)
    connections = shop.weft("connections", "--open")["open"]
    assert len(connections) == 31 and all(c["to"] == "mesh/m/virtualService/lone" for c in connections)
    process.send_signal(signal.SIGKILL)


def test_a_namespace_that_is_destroyed_with_open_connections(shop):
    pod = shop.add_namespace("10.77.9.1/32")
    # the pod has nothing but lo: the endpoint is its own, so the connections live and die inside
    shop.echo("10.77.9.1:9003", namespace=pod)
    shop.node("pod", port=None, backends=["inpod"])
    shop.node("inpod")
    shop.service("inpod", node="inpod")
    shop.register("inpod", "1", "10.77.9.1:9003")
    program = "import signal,socket,sys\n" + HOLD
    vip_known = shop.workload(["sleep", "1000"], node="pod", netns=pod)
    wait_for(lambda: any(w["ownNetns"] for w in shop.status()["workloads"]), "the namespace is enrolled")
    shop.wait_reason("inpod:8080", "routed", node="pod")
    process = shop.workload([PYTHON, "-c", program, shop.vip("inpod")], node="pod", netns=pod, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    shop.wait_open(31)
    for ended in (process, vip_known, shop.processes[-3]):
        ended.kill()
        ended.wait()
    pod.remove()
    shop.wait_open(0)


def test_bytes_are_counted_without_syn_and_fin(shop):
    code = """
s = socket.create_connection((sys.argv[1], 8080))
greeting = s.recv(100)
s.sendall(b'x' * 100000)
seen = 0
while seen < 100000:
    seen += len(s.recv(65536))
s.close()
result = len(greeting)
"""
    before = counter(shop, "lone")
    greeting = shop.client(code, shop.vip("lone"))
    wait_for(lambda: counter(shop, "lone")["closed"] == before["closed"] + 1, "the connection is closed")
    after = counter(shop, "lone")
    assert after["sent"] - before["sent"] == 100000
    assert after["received"] - before["received"] == 100000 + greeting


def test_both_ends_closing_at_once_sends_no_byte_more(shop):
    code = """
for _ in range(3000):
    s = socket.create_connection((sys.argv[1], 8080))
    s.recv(100)
    s.shutdown(socket.SHUT_WR)
    s.close()
"""
    before = counter(shop, "lone")
    shop.client(code, shop.vip("lone"))
    wait_for(lambda: counter(shop, "lone")["closed"] == before["closed"] + 3000, "the connections are closed")
    assert counter(shop, "lone")["sent"] == before["sent"]
