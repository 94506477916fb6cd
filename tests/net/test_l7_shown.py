# SPDX-License-Identifier: Apache-2.0
"""What a person sees of requests: `weft status`, metrics."""
import json
import os
import re
import signal
import subprocess

import exposition
import pytest
from l7_world import Client, make_shop
from weft import BUILD, wait_for

ADDRESS = "10.77.0.1:9909"
ALL = {"mesh": "m", "source": "client", "service": "web.example.com"}


@pytest.fixture(scope="module")
def shop():
    node = make_shop("--metrics", ADDRESS)
    yield node
    node.close()


def scrape(node):
    return exposition.parse(node.namespace.command("curl", "-sS", "--max-time", "20", f"http://{ADDRESS}/metrics"))


def value(families, name, suffix="", **labels):
    """The sum of the series with these labels."""
    return sum(v for key, v in families[name].series.items() if key[0] == suffix and labels.items() <= dict(key[1]).items())


def rows(node):
    return {row["target"] and row["target"].split("/")[-1]: row for row in node.status()["requests"]["rows"]
            if row["to"] == "mesh/m/virtualService/web.example.com"}


def requests_of(node, target):
    return rows(node).get(target, {"requests": 0})["requests"]


def test_requests_are_told_by_status_and_by_metrics_and_they_agree(shop):
    client, vip = shop.client_worker, shop.vip("web.example.com")
    before, families = rows(shop), scrape(shop)
    assert client.many(7, vip, "/v2") == {"10.77.0.1:9002": 7}
    assert client.ask(vip, "/v2", headers={"x-answer": "404"})["status"] == 404
    assert client.ask(vip, "/v2", "POST", body="x" * 1000)["status"] == 200
    after, later = rows(shop), scrape(shop)

    def grown(*path):
        old, new = before.get("web-v2:8080", {}), after["web-v2:8080"]
        for step in path:
            old, new = old.get(step, 0 if step == path[-1] else {}), new[step]
        return new - old
    assert grown("requests") == 9 and grown("codes", "2xx") == 8 and grown("codes", "4xx") == 1 and grown("received") == 1000
    assert after["web-v2:8080"]["p50Ns"] > 0 and after["web-v2:8080"]["p50Ns"] <= after["web-v2:8080"]["p99Ns"]
    labels = {**ALL, "target": "web-v2:8080"}
    assert value(later, "weft_requests_total", **labels, code="2xx") - value(families, "weft_requests_total", **labels, code="2xx") == 8
    assert value(later, "weft_requests_total", **labels) == after["web-v2:8080"]["requests"]
    assert value(later, "weft_request_seconds", "_count", **labels) == after["web-v2:8080"]["requests"]
    assert value(later, "weft_request_body_bytes_total", **labels) == after["web-v2:8080"]["received"]
    assert value(later, "weft_proxy_requests_known") == 1 and value(later, "weft_proxy_events_total", event="requests") >= 9


def test_what_weft_proxy_answers_itself_is_told_by_name(shop):
    before = scrape(shop)
    client, vip = shop.client_worker, shop.vip("web.example.com")
    assert client.ask(vip, "/", "GET", {"Host": "web.example.com", "x-close": "1"})["status"] == 503  # and two more tries, by the default policy
    after = scrape(shop)
    assert value(after, "weft_proxy_replies_total", reply="upstream-closed") - value(before, "weft_proxy_replies_total", reply="upstream-closed") == 1
    for verdict, count in (("retry", 2), ("retry-limit", 1)):
        assert value(after, "weft_proxy_retry_verdicts_total", verdict=verdict) - value(before, "weft_proxy_retry_verdicts_total", verdict=verdict) == count
    assert value(after, "weft_request_retries_total", **ALL) - value(before, "weft_request_retries_total", **ALL) == 2
    assert value(after, "weft_requests_total", **ALL, code="5xx") - value(before, "weft_requests_total", **ALL, code="5xx") == 1


def test_status_shows_requests_to_people(shop):
    shop.client_worker.many(1, shop.vip("web.example.com"), "/v2")
    text = subprocess.run([BUILD / "weft", "status", "--instance", shop.instance], capture_output=True, text=True, check=True).stdout
    assert "\nrequests by source, service and target: " in text and "2XX" in text and "\nWEFT-PROXY" in text


def test_top_has_a_table_of_requests(shop):
    client = Client(shop)
    client.worker.start("""
while not os.path.exists(arguments[1]):
    ask(arguments[0], "/v2", keep="one")
""", shop.vip("web.example.com"), str(shop.directory / "stop-top"))
    top = [BUILD / "weft", "top", "--instance", shop.instance, "--interval", "500ms"]
    try:
        answer = json.loads(subprocess.run([*top, "--once", "--json"], capture_output=True, text=True, check=True).stdout)
        row = next(row for row in answer["requests"] if row["target"] == "mesh/m/virtualNode/web-v2:8080")
        assert row["requestsPerSecond"] > 5 and row["successPercent"] == 100 and 0 < row["p50Ns"] <= row["p99Ns"] and row["active"] <= 1
        text = subprocess.run([*top, "--once", "--sort", "req/s", "--filter", "web-v2"], capture_output=True, text=True, check=True).stdout
        assert re.search(r"^client +web\.example\.com +web-v2:8080 +[0-9.]+ +100 ", text.split("REQUESTS OF")[1], re.M), text
    finally:
        (shop.directory / "stop-top").touch()
        client.worker.answer()
        client.worker.kill()


def test_connections_that_are_open_are_told_as_they_are_now(shop):
    client, vip = shop.client_worker, shop.vip("web.example.com")
    client.ask(vip, "/v2", keep="shown")
    now = shop.status()["requests"]
    assert now["known"] and now["open"] >= 1 and now["upstreamOpen"] >= 1 and now["active"] == 0 and now["workers"] >= 1


def test_counts_outlive_weftd_and_weft_proxy(shop):
    client, vip = shop.client_worker, shop.vip("web.example.com")
    client.many(5, vip, "/v2")
    before = requests_of(shop, "web-v2:8080")
    shop.kill_agent()
    client.many(3, vip, "/v2")  # while nobody looks
    shop.start_agent()
    wait_for(lambda: requests_of(shop, "web-v2:8080") == before + 3, "what weft-proxy counted meanwhile is told, once")
    os.kill(shop.proxy_pid(), signal.SIGKILL)
    wait_for(lambda: client.ask(vip, "/v2").get("status") == 200, "the next weft-proxy answers")
    first = requests_of(shop, "web-v2:8080")
    assert first > before + 3
    pid = shop.proxy_pid()
    os.kill(pid, signal.SIGTERM)  # it leaves what was not read yet
    wait_for(lambda: client.ask(vip, "/v2").get("status") == 200 and shop.proxy_pid() != pid, "the one after it answers")
    wait_for(lambda: requests_of(shop, "web-v2:8080") > first, "its requests are told")
    assert not [name for name in os.listdir(f"/run/weft/{shop.instance}") if name.startswith("requests-")]
    shop.kill_agent()
    shop.start_agent()
    assert requests_of(shop, "web-v2:8080") > first


def test_while_weft_proxy_does_not_answer_what_was_known_is_told(shop):
    shop.client_worker.many(2, shop.vip("web.example.com"), "/v2")
    before = requests_of(shop, "web-v2:8080")
    pid = shop.proxy_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        now = shop.status()["requests"]
        assert not now["known"] and now["open"] == 0
        assert requests_of(shop, "web-v2:8080") == before
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: shop.status()["requests"]["known"], "it answers again")
