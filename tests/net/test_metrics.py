# SPDX-License-Identifier: Apache-2.0
"""/metrics and /v1/top tell what was counted, exactly, with what open connections have moved so far."""
import json
import re
import subprocess
from pathlib import Path

import exposition
import pytest
from weft import Node, wait_for

ADDRESS = "10.77.0.1:9909"
GREETING = len("10.77.0.1:9003\n")


@pytest.fixture(scope="module")
def shop():
    """A client whose backends are `lone` (10.77.0.1:9003, and an IPv6 endpoint) and `closed`, where nobody listens."""
    with Node("--metrics", ADDRESS) as node:
        node.mesh()
        node.node("client", port=None, backends=["lone", "closed"])
        for name in ("lone", "closed", "secret"):
            node.node(name)
            node.service(name, node=name)
        node.echo("10.77.0.1:9003", "[fd77::1]:9003", "10.77.0.1:9004")
        node.register("lone", "1", "10.77.0.1:9003")
        node.register("lone", "1v6", "[fd77::1]:9003")
        node.register("closed", "2", "10.77.0.2:1")
        node.register("secret", "3", "10.77.0.1:9004")
        node.lasting = node.worker("client")
        node.wait_reason("lone:8080", "routed")
        node.wait_reason("closed:8080", "routed")
        for service in ("lone", "closed", "secret"):  # so that every family has series
            node.lasting.connect(node.vip(service), 8080)
        node.wait_open(0)
        yield node


def curl(node, *words):
    return node.namespace.command("curl", "-sS", "--max-time", "20", *words)


def scrape(node):
    return exposition.parse(curl(node, f"http://{ADDRESS}/metrics"))


def value(families, name, suffix="", **labels):
    """Of the one series with these labels, 0 where there is none: rows without traffic have none."""
    found = [v for key, v in families[name].series.items() if key[0] == suffix and labels.items() <= dict(key[1]).items()]
    assert len(found) <= 1, found
    return found[0] if found else 0


def of(families, service, name, suffix="", **more):
    return value(families, name, suffix, mesh="m", source="client", service=service, target=f"{service}:8080", **more)


def top_row(node, service):
    rows = json.loads(curl(node, "--unix-socket", f"/run/weft/{node.instance}/weftd.sock", "http://weft/v1/top"))["rows"]
    return next((row for row in rows if row["to"] == f"mesh/m/virtualService/{service}"), None)  # None: nothing was routed there yet


def moved(node, service):
    """(sent, received) by /metrics and by /v1/top."""
    families, row = scrape(node), top_row(node, service)
    return ((of(families, service, "weft_sent_bytes_total"), of(families, service, "weft_received_bytes_total")),
            (row["sent"] + row["openSent"], row["received"] + row["openReceived"]) if row else (0, 0))


OPEN = """
def open_one(address):
    s = socket.create_connection((address, 8080), 5)
    greeting = b""
    while not greeting.endswith(b"\\n"):
        greeting += s.recv(100)
    return s
def echo(s, count):
    s.sendall(b"x" * count)
    left = count
    while left:
        left -= len(s.recv(left))
"""
EXCHANGE = OPEN + """
for count in arguments[1:]:
    with open_one(arguments[0]) as s:
        echo(s, count)
"""


def test_connections_are_told_with_exact_numbers(shop):
    before = scrape(shop)
    sizes = [1, 10, 1000, 5000]
    shop.lasting.run(EXCHANGE, shop.vip("lone"), *sizes)
    assert [shop.lasting.connect(shop.vip("closed"), 8080) for _ in range(3)] == ["ECONNREFUSED"] * 3
    assert [shop.lasting.connect(shop.vip("secret"), 8080) for _ in range(2)] == ["EPERM"] * 2
    shop.wait_open(0)

    after = scrape(shop)

    def grown(service, name, suffix="", **more):
        return of(after, service, name, suffix, **more) - of(before, service, name, suffix, **more)
    n = len(sizes)
    assert grown("lone", "weft_connection_attempts_total") == n
    assert grown("lone", "weft_connections_established_total") == n
    assert grown("lone", "weft_connections_closed_total") == n
    assert grown("lone", "weft_connect_seconds", "_count") == n
    assert grown("lone", "weft_connection_duration_seconds", "_count") == n
    assert grown("lone", "weft_connection_rtt_seconds", "_count") == n
    assert grown("lone", "weft_sent_bytes_total") == sum(sizes)
    assert grown("lone", "weft_received_bytes_total") == sum(sizes) + n * GREETING
    assert grown("closed", "weft_connection_attempts_total") == 3
    assert grown("closed", "weft_connections_established_total") == 0
    kinds = {kind: grown("closed", "weft_connection_failures_total", kind=kind)
             for kind in ("refused", "timed-out", "unreachable", "abandoned", "other")}
    assert kinds == {"refused": 3, "timed-out": 0, "unreachable": 0, "abandoned": 0, "other": 0}

    def decided(families, reason, service):
        return value(families, "weft_decisions_total", mesh="m", source="client", service=service, reason=reason)
    assert decided(after, "not-a-backend", "secret") - decided(before, "not-a-backend", "secret") == 2
    assert of(after, "lone", "weft_connections_open") == 0
    row = top_row(shop, "lone")
    assert row["established"] == of(after, "lone", "weft_connections_established_total")
    assert sum(row["connectBuckets"]) == row["established"]


def test_what_an_open_connection_has_moved_is_told_and_not_told_again_when_it_closes(shop):
    (sent, received), _ = moved(shop, "lone")
    shop.lasting.run(OPEN + "kept = open_one(arguments[0]); echo(kept, 100000)", shop.vip("lone"))
    expected = (sent + 100000, received + 100000 + GREETING)
    wait_for(lambda: moved(shop, "lone") == (expected, expected), f"{expected} is told while the connection is open")
    row = top_row(shop, "lone")
    assert (row["open"], row["openCounted"]) == (1, 1)
    assert row["meanOpenRttUs"] > 0
    assert of(scrape(shop), "lone", "weft_connections_open") == 1

    shop.lasting.run("kept.close()")
    shop.wait_open(0)
    assert moved(shop, "lone") == (expected, expected)
    row = top_row(shop, "lone")
    assert (row["openSent"], row["openReceived"], row["openCounted"], row["meanOpenRttUs"]) == (0, 0, 0, None)


def test_counters_never_go_back_while_a_thousand_connections_come_and_go(shop):
    churn = 10000
    count = 1000 + churn
    (sent, received), _ = moved(shop, "lone")
    shop.lasting.start(OPEN + """
import collections, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = collections.deque(open_one(arguments[0]) for _ in range(1000))
for s in held:
    echo(s, 100)
for _ in range(arguments[1]):
    held.popleft().close()
    held.append(open_one(arguments[0]))
    echo(held[-1], 100)
result = len(held)
""", shop.vip("lone"), churn)
    told, most_open, scrapes = (sent, received), 0, 0

    def all_done():
        nonlocal told, most_open, scrapes
        families = scrape(shop)
        now = of(families, "lone", "weft_sent_bytes_total"), of(families, "lone", "weft_received_bytes_total")
        assert now[0] >= told[0] and now[1] >= told[1], (told, now)
        assert now[0] <= sent + count * 100
        told, scrapes = now, scrapes + 1
        most_open = max(most_open, of(families, "lone", "weft_connections_open"))
        return told == (sent + count * 100, received + count * (100 + GREETING))
    wait_for(all_done, "all bytes are told", 120)
    assert shop.lasting.answer() == 1000
    assert of(scrape(shop), "lone", "weft_connections_open") == 1000
    assert most_open >= 900 and scrapes > 3
    shop.lasting.run("[s.close() for s in held]")
    shop.wait_open(0)
    assert moved(shop, "lone")[0] == told


@pytest.mark.one_kernel
def test_every_family_is_documented_with_its_type_labels_and_help_and_no_other(shop):
    section = re.search(r"^## Metrics$(.*?)(?=^## )", (Path(__file__).parents[2] / "docs/operations.md").read_text(), re.M | re.S)[1]
    documented = {name: (kind, text, labels) for name, kind, labels, text in
                  re.findall(r"^\| `(\w+)` \| (\w+) \| ([a-z, ]*?) ?\| (.*) \|$", section, re.M)}
    families = scrape(shop)
    assert list(documented) == list(families)
    for name, family in families.items():
        kind, text, labels = documented[name]
        assert (family.type, family.help) == (kind, text), name
        keys = {tuple(label for label in sorted(dict(key[1])) if label != "le") for key in family.series}
        if not name.startswith(("weft_listener_", "weft_request", "weft_response_", "weft_route_", "weft_endpoint_request")):  # none here; test_limits.py and test_l7_shown.py have them
            assert keys == {tuple(sorted(labels.split(", ")) if labels else ())}, name


@pytest.mark.one_kernel
def test_the_node_tells_how_it_is(shop):
    families = scrape(shop)
    status = shop.status()
    assert value(families, "weft_generation") == status["generation"]
    assert value(families, "weft_configuration_error") == 0
    assert value(families, "weft_build_info", version=status["version"]) == 1
    assert value(families, "weft_open_connections_known") == 1
    assert value(families, "weft_metrics_dropped_series") == 0
    assert value(families, "weft_kernel_events_total", event="flows-written") > 0
    assert {dict(key[1])["table"]: v for key, v in families["weft_table_size"].series.items()} == \
        {table["name"]: table["size"] for table in status["tables"]}
    assert 2**20 < value(families, "process_resident_memory_bytes") < 2**30
    assert value(families, "process_cpu_seconds_total") > 0
    started = subprocess.run(["date", "-d", status["startedAt"], "+%s.%3N"], capture_output=True, text=True, check=True).stdout
    assert abs(value(families, "process_start_time_seconds") - float(started)) < 0.002

    wait_for(lambda: value(scrape(shop), "weft_proxy_heartbeat_age_seconds") < 2, "weft-proxy's heart beats")
    shop.write_raw("broken", "{")
    wait_for(lambda: value(scrape(shop), "weft_configuration_error") == 1, "the broken file is told")
    (shop.config / "broken.json").unlink()
    wait_for(lambda: value(scrape(shop), "weft_configuration_error") == 0, "it is gone")


@pytest.mark.one_kernel
def test_endpoints_are_counted_by_target_as_their_checks_find_them(shop):
    shop.node("checked", listeners=[{"portMapping": {"port": 8080, "protocol": "tcp"}, "healthCheck": {
        "protocol": "tcp", "healthyThreshold": 2, "unhealthyThreshold": 2, "intervalMillis": 5000, "timeoutMillis": 2000}}])
    shop.service("checked", node="checked")
    shop.register("checked", "1", "10.77.0.2:1")  # nobody listens there
    shop.register("checked", "2", "10.77.0.1:9004")
    shop.node("client", port=None, backends=["lone", "closed", "checked"])

    def counts(target):
        families = scrape(shop)
        return [value(families, name, mesh="m", target=target) for name in ("weft_healthy_host_count", "weft_unhealthy_host_count")]
    wait_for(lambda: counts("checked:8080") == [1, 1], f"one endpoint passes its check and one fails, of {counts('checked:8080')}")
    assert counts("lone:8080") == [2, 0]
    families = scrape(shop)
    assert value(families, "weft_endpoint_healthy", mesh="m", target="checked:8080", address="10.77.0.2:1") == 0
    assert value(families, "weft_endpoint_healthy", mesh="m", target="checked:8080", address="10.77.0.1:9004") == 1
    assert value(families, "weft_endpoint_healthy", mesh="m", target="lone:8080", address="[fd77::1]:9003") == 1
    assert value(families, "weft_endpoint_open", mesh="m", target="lone:8080", address="10.77.0.1:9003") == 0


@pytest.mark.one_kernel
def test_nothing_but_the_metrics_is_served_and_nothing_can_be_changed(shop):
    def status_of(*words):
        return curl(shop, "-o", "/dev/null", "-w", "%{http_code}", *words)
    url = f"http://{ADDRESS}"
    assert "/metrics" in curl(shop, url + "/")
    assert curl(shop, "-o", "/dev/null", "-w", "%{content_type}", url + "/metrics") == "text/plain; version=0.0.4; charset=utf-8"
    assert status_of("-I", url + "/metrics") == "200"
    for path in ("/v1/status", "/v1/top", "/v1/workloads", "/metrics/", "/%2e%2e/metrics"):
        assert status_of("--path-as-is", url + path) == "404", path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert status_of("-X", method, "-d", "{}", url + "/metrics") == "405", method
    assert status_of("--http0.9", "-X", "BOTCHED REQUEST", url + "/metrics") in ("400", "405")
    assert status_of("-H", "X: " + "x" * 20000, url + "/metrics") == "431"
    scrape(shop)


@pytest.mark.one_kernel
@pytest.mark.parametrize("address, text", [("localhost:1", "'localhost:1' is no ADDRESS:PORT"), ("10.99.99.99:9909", "cannot bind '10.99.99.99:9909'")])
def test_an_address_that_cannot_be_served_ends_the_start_and_names_its_option(address, text):
    with pytest.raises(AssertionError, match=f"(?s)weftd ended: .*weftd: metrics: {text}"), Node("--metrics", address):
        pass
