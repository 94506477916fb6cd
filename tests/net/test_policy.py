# SPDX-License-Identifier: Apache-2.0
"""Who may go where, seen from real processes."""
from weft import CONNECT, SLOWNESS, wait_for


def flows(node, **options):
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    return node.weft("connections", *words)["closed"]


def test_connections_follow_the_weights(shop):
    code = """
from collections import Counter
result = Counter()
for _ in range(1000):
    s = socket.create_connection((sys.argv[1], 8080))
    result[s.recv(100).decode().strip()] += 1
    s.close()
"""
    for vip in (shop.vip("web"), shop.vip("web", 6)):
        seen = shop.client(code, vip)
        assert sum(seen.values()) == 1000
        # 100 +- 5 standard deviations
        assert 52 < sum(count for name, count in seen.items() if name.endswith(":9002")) < 148
        assert all(name.startswith("[fd77") == (":" in vip) for name in seen)
    shop.wait_open(0)


def test_getpeername_shows_the_vip(shop):
    code = """
s = socket.socket(int(sys.argv[3]))
s.connect((sys.argv[1], 8080))
result = [s.getpeername()[0], s.getpeername()[1]]
"""
    for address, family in ((shop.vip("web"), 2), (shop.vip("web", 6), 10), ("::ffff:" + shop.vip("web"), 10)):
        assert shop.client(code, address, "8080", str(family)) == [address, 8080]


def test_a_service_that_is_no_backend_is_denied_with_its_reason(shop):
    before = shop.reasons().get(("client", "secret", "not-a-backend"), 0)
    assert shop.connect(shop.vip("secret"), 8080) == "EPERM"
    assert shop.connect(shop.vip("secret", 6), 8080) == "EPERM"
    assert shop.reasons()[("client", "secret", "not-a-backend")] == before + 2
    record = flows(shop, reason="not-a-backend")[-1]
    assert record["to"] == "mesh/m/virtualService/secret" and record["close"] == "refused-here"


def test_each_refusal_is_immediate_and_counted(shop):
    vip = shop.vip("web")
    network = vip.rsplit(".", 2)[0]
    for address, port, error, service, reason in (
            (vip, 9999, "ECONNREFUSED", "web", "no-listener"),
            (shop.vip("tls"), 8080, "ECONNREFUSED", "tls", "needs-tls"),
            (shop.vip("http"), 8080, "ECONNREFUSED", "http", "needs-proxy"),
            (shop.vip("lone", 6), 8080, "ECONNREFUSED", "lone", "no-endpoint-in-family"),
            (f"{network}.0.1", 8080, "ECONNREFUSED", None, "no-service"),
            ("10.77.0.9", 80, "EPERM", None, "not-in-mesh"),
            ("fd77::9", 80, "EPERM", None, "not-in-mesh")):
        before = shop.reasons().get(("client", service, reason), 0)
        assert shop.connect(address, port) == error, reason
        assert shop.reasons()[("client", service, reason)] == before + 1


def test_datagrams_to_a_vip_are_refused(shop):
    code = """
result = []
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for call in (lambda: s.connect((sys.argv[1], 8080)), lambda: s.sendto(b'x', (sys.argv[1], 8080))):
    try:
        call()
        result.append('sent')
    except OSError as e:
        result.append(errno.errorcode[e.errno])
"""
    before = shop.reasons().get(("client", "web", "vip-not-tcp"), 0)
    assert shop.client(code, shop.vip("web")) == ["ECONNREFUSED", "ECONNREFUSED"]
    assert shop.reasons()[("client", "web", "vip-not-tcp")] == before + 2


def test_getaddrinfo_still_returns_the_vip(shop):
    """It connects a UDP socket to each address to sort them; a refusal there must not lose the address."""
    hosts = shop.directory / "hosts"
    hosts.write_text(f"{shop.vip('web')} web.test\n{shop.vip('web', 6)} web.test\n")
    code = f"""
import subprocess
program = "import socket; print(sorted({{a[4][0] for a in socket.getaddrinfo('web.test', 8080)}}))"
result = subprocess.run(['unshare', '-m', 'sh', '-c', 'mount --bind {hosts} /etc/hosts && exec /usr/bin/python3 -c "$0"', program],
                        capture_output=True, text=True).stdout.strip()
"""
    assert shop.client(code) == str(sorted([shop.vip("web"), shop.vip("web", 6)]))


def test_exemptions_pass_under_drop_all(shop):
    reached = {}
    for address, port in (("127.0.0.1", 9), ("::1", 9), ("0.0.0.0", 9), ("10.77.0.1", 9), ("fd77::1", 9)):
        reached[address] = shop.connect(address, port)
    assert set(reached.values()) == {"ECONNREFUSED"}, reached  # by the kernel: nobody listens there
    # the namespace has no route there, so the kernel says so, not weft
    assert shop.connect("169.254.169.254", 80) == "ENETUNREACH"
    assert shop.connect("10.88.0.1", 22) == "ENETUNREACH"
    reasons = shop.reasons()
    for reason in ("loopback", "own-address", "ignored-ip", "ignored-port"):
        assert reasons[("client", None, reason)] >= 1


def test_own_addresses_are_never_refused_while_others_come_and_go(shop):
    client = shop.worker("client")
    for i in range(20):
        address = f"10.99.{i}.1"
        shop.namespace.add_address(f"{address}/32")
        wait_for(lambda: shop.explain(f"{address}:80")["reason"] == "own-address", f"{address} is known")
        assert client.connect(address, 80) == "ECONNREFUSED"
        assert client.connect("10.77.0.1", 9) == "ECONNREFUSED"
        shop.namespace.ip("addr", "del", f"{address}/32", "dev", "lo")
        wait_for(lambda: shop.explain(f"{address}:80")["reason"] == "not-in-mesh", f"{address} is forgotten")
    client.kill()


def test_reserved_ports_cannot_be_bound_by_a_workload(shop):
    code = """
result = []
for family, address in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
    s = socket.socket(family)
    try:
        s.bind((address, 15001))
        result.append('bound')
    except OSError as e:
        result.append(errno.errorcode[e.errno])
"""
    assert shop.client(code) == ["EPERM", "EPERM"]
    assert shop.reasons()[("client", None, "reserved-port")] >= 2
    # at this address: weft-proxy itself has the port on loopback
    unmanaged = shop.spawn(["/usr/bin/python3", "-c", "import socket; socket.socket().bind(('10.77.0.1', 15001))"])
    assert unmanaged.wait(timeout=10 * SLOWNESS) == 0


def test_an_unmanaged_process_is_never_touched(shop):
    process = shop.spawn(["/usr/bin/python3", "-c", f"import ctypes,errno,json,os,socket,sys\n{CONNECT}\nprint(result)", "10.77.0.1", "9004"], stdout=-1, text=True)
    assert process.communicate(timeout=10 * SLOWNESS)[0].strip() == "10.77.0.1:9004"
