# SPDX-License-Identifier: Apache-2.0
"""What a person sees of requests: `weft explain`, `weft get`, `weft status`, `weft top`, metrics."""
import json
import os
import re
import signal
import subprocess

import exposition
import pytest
from l7_world import Client, make_shop, route
from weft import BUILD, wait_for

pytestmark = pytest.mark.one_kernel

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


def routes(node):
    return {row["route"]: row for row in node.status()["requests"]["routes"] if row["to"] == "mesh/m/virtualService/web.example.com"}


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


def test_requests_are_told_by_route_and_by_endpoint(shop):
    client, vip = shop.client_worker, shop.vip("web.example.com")
    client.many(1, vip, "/v2")
    before, families = routes(shop), scrape(shop)
    assert client.many(5, vip, "/v2") == {"10.77.0.1:9002": 5}
    assert client.many(3, vip, "/", headers={"x-user": "beta"}) == {"10.77.0.1:9002": 3}
    assert client.ask(vip, "/v2", headers={"x-fail": "1", "x-key": "by-route"})["status"] == 200  # at its second try
    assert client.ask(vip, "/v2", headers={"x-answer": "404"})["status"] == 404
    after, later = routes(shop), scrape(shop)

    def grown(name, member, code=None):
        old, new = before.get(name, {}), after[name]
        return new["codes"][code] - old.get("codes", {}).get(code, 0) if code else new[member] - old.get(member, 0)
    assert grown("v2", "requests") == 7 and grown("v2", "retries") == 1 and grown("v2", "timeouts") == 0
    assert grown("v2", "codes", "2xx") == 6 and grown("v2", "codes", "4xx") == 1 and grown("beta", "codes", "2xx") == 3
    for name in "v2", "beta":
        labels = {**ALL, "route": name}
        assert value(later, "weft_route_requests_total", **labels) == after[name]["requests"]
        assert value(later, "weft_route_retries_total", **labels) == after[name]["retries"]
    text = subprocess.run([BUILD / "weft", "status", "--instance", shop.instance], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^m/client +m/web\.example\.com +v2 +[0-9,]+ ", text.split("\nrequests by route: ")[1], re.M), text

    def tries():
        row = rows(shop)["web-v2:8080"]
        return row["requests"] + row["retries"]
    wait_for(lambda: value(scrape(shop), "weft_endpoint_requests_total", mesh="m", target="web-v2:8080") == tries(),
             "every try is told by its endpoint, a second later at most")
    failures = {"name": "weft_endpoint_request_failures_total", "target": "web-v2:8080", "address": "10.77.0.1:9002"}
    assert value(scrape(shop), **failures) >= 1 and value(scrape(shop), **failures) > value(families, **failures)


def test_top_shows_requests_by_route(shop):
    client = Client(shop)
    client.worker.start("""
while not os.path.exists(arguments[1]):
    ask(arguments[0], "/v2", keep="one")
""", shop.vip("web.example.com"), str(shop.directory / "stop-routes"))
    top = [BUILD / "weft", "top", "--instance", shop.instance, "--interval", "1500ms", "--once"]
    try:
        answer = json.loads(subprocess.run([*top, "--json"], capture_output=True, text=True, check=True).stdout)
        row = next(row for row in answer["routes"] if row["route"] == "v2")
        assert row["requestsPerSecond"] > 5 and row["successPercent"] == 100 and row["to"] == "mesh/m/virtualService/web.example.com"
        endpoint = next(one for one in answer["endpoints"] if one["address"] == "10.77.0.1:9002" and one["target"].endswith("/web-v2:8080"))
        assert endpoint["requestsPerSecond"] > 0 and endpoint["requestFailuresPerSecond"] == 0
        text = subprocess.run([*top, "--routes", "--sort", "req/s"], capture_output=True, text=True, check=True).stdout
        assert re.search(r"^client +web\.example\.com +v2 +[0-9.]+ +100 ", text.split("REQUESTS OF")[1], re.M), text
    finally:
        (shop.directory / "stop-routes").touch()
        client.worker.answer()
        client.worker.kill()


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
    before, by_route = requests_of(shop, "web-v2:8080"), routes(shop)["v2"]["requests"]
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
    wait_for(lambda: shop.status() and not [name for name in os.listdir(f"/run/weft/{shop.instance}") if name.startswith("requests-")],
             "what was left is taken, and taken away")
    shop.kill_agent()
    shop.start_agent()
    assert requests_of(shop, "web-v2:8080") > first
    assert routes(shop)["v2"]["requests"] - by_route == requests_of(shop, "web-v2:8080") - before, "counts by route go on in the same way"


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


# --- why --------------------------------------------------------------------------------------------------------------------------------

FROM = ("--from", "mesh/m/virtualNode/client")
WEB = "http://web.example.com:8080"


def explain_text(node, *words):
    return subprocess.run([BUILD / "weft", "explain", "--instance", node.instance, *FROM, *words], capture_output=True, text=True)


def test_explain_names_the_route_that_a_request_then_takes_and_why_the_others_do_not(shop):
    client, vip = shop.client_worker, shop.vip("web.example.com")
    for path, headers, wanted, server in (("/v2/x", {}, "v2", "10.77.0.1:9002"), ("/", {"x-user": "beta"}, "beta", "10.77.0.1:9002")):
        words = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        answer = shop.weft("explain", *FROM, "--to", WEB + path, *words)
        said = answer["request"]
        assert answer["reason"] == "proxied" and said["route"] == f"mesh/m/virtualRouter/web/route/{wanted}"
        assert said["endpoint"] == server and client.ask(vip, path, headers=headers)["told"]["server"] == server
    said = shop.weft("explain", *FROM, "--to", WEB + "/a/..//b?c=d", "-X", "POST")["request"]
    assert (said["path"], said["query"]) == ("/b", "c=d")
    assert [(r["route"].split("/")[-1], r["result"], r.get("criterion"), r.get("name")) for r in said["routes"]] == \
        [("beta", "mismatch", "header", "x-user"), ("v2", "mismatch", "path", None), ("all", "matches", None, None)]
    assert {e["address"]: (e["fit"], e["used"]) for t in said["targets"] for e in t["endpoints"]} == {
        "10.77.0.1:9001": ("usable", True), "[fd77::1]:9001": ("usable", False),
        "10.77.0.1:9002": ("usable", True), "[fd77::1]:9002": ("usable", False)}
    assert said["retry"]["default"] and said["retry"]["maxRetries"] == 2
    assert said["targets"][0]["timeouts"] == {"requestNs": 15 * 10**9, "idleNs": 300 * 10**9}


def test_explain_draws_as_weights_say(shop):
    said = shop.weft("explain", *FROM, "--to", WEB + "/", "--count", "10000")["request"]
    drawn = {one["target"].split("/")[-1]: one["count"] for one in said["distribution"]}
    assert sum(drawn.values()) == said["count"] > 0 and set(drawn) == {"web-v1:8080", "web-v2:8080"}
    assert abs(drawn["web-v1:8080"] / said["count"] - 0.75) < 0.05
    # IPv6 for who asks for it
    said = shop.weft("explain", *FROM, "--to", WEB + "/v2", "--ipv6")["request"]
    assert said["endpoint"] == "[fd77::1]:9002"


def test_explain_tells_of_policies_as_they_change(shop):
    route(shop, "web", {"web-v2": 1}, "careful", {"prefix": "/careful", "method": "POST"}, priority=0,
          timeout={"perRequest": {"unit": "s", "value": 60}, "idle": {"unit": "ms", "value": 500}},
          retryPolicy={"httpRetryEvents": ["gateway-error"], "maxRetries": 4, "perRetryTimeout": {"unit": "s", "value": 3}})

    def said():
        return shop.weft("explain", *FROM, "--to", WEB + "/careful", "-X", "POST")["request"]
    wait_for(lambda: said()["route"].endswith("/careful"), "the route is in force")
    answer = said()
    assert answer["retry"] == {"default": False, "events": ["gateway-error"], "maxRetries": 4, "tryTimeoutNs": 3 * 10**9}
    assert answer["timeouts"] == {"requestNs": 60 * 10**9, "idleNs": 500 * 10**6}
    assert answer["targets"][0]["timeouts"] == {"requestNs": 15 * 10**9, "idleNs": 500 * 10**6}, "the lower of both ends"
    text = explain_text(shop, "--to", WEB + "/careful", "-X", "POST").stdout
    assert "route        m/web/careful\n" in text and "up to 4 for gateway-error; 3s for each try\n" in text
    assert "request 15s (route 1m, listener 15s), idle 500ms" in text
    assert re.search(r"^m/web/careful +0 +method does not match$", explain_text(shop, "--to", WEB + "/careful").stdout, re.M)
    (shop.config / "route-web-careful.json").unlink()


def test_explain_shows_a_refusal_of_the_connection_as_ever_and_looks_no_further(shop):
    for to, reason in (("http://secret.example.com:8080/", "not-a-backend"), (WEB.replace("8080", "8081") + "/", "no-listener")):
        answer = shop.weft("explain", *FROM, "--to", to)
        assert answer["reason"] == reason and answer["request"] is None and answer["requestError"] is None
        assert f": {reason} (" in explain_text(shop, "--to", to).stdout


def test_explain_names_what_it_cannot_be_asked(shop):
    for words, text in ((("--to", "https://web.example.com/"), "https: what a program encrypts itself"),
                        (("--to", "ftp://web.example.com/"), "'ftp' is no scheme"), (("--to", "http://"), "it has no host"),
                        (("--to", WEB, "-H", "no colon"), "--header: 'no colon' is not NAME: VALUE"),
                        (("--to", WEB, "-H", "a b: c"), "'a b' is no name of a header"), (("--to", WEB, "-X", "a b"), "'a b' is no method"),
                        (("--to", WEB, "--count", "100001"), "a number from 1 to 100000"),
                        (("--to", WEB, "--generation", "1"), "--generation: is for connections"),
                        (("--to", "web.example.com:8080", "-X", "POST"), "--method: is for requests")):
        result = explain_text(shop, *words)
        assert result.returncode == 2 and text in result.stderr, result.stderr
    result = explain_text(shop, "--to", "http://nobody.example.com:8080/")
    assert result.returncode == 1 and "the name means nothing to the mesh" in result.stderr


def test_explain_says_that_weft_proxy_does_not_say(shop):
    pid = shop.proxy_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        result = explain_text(shop, "--to", WEB + "/")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert result.returncode == 1 and ("weft-proxy does not answer" in result.stderr or "proxy-down" in result.stdout)
    wait_for(lambda: shop.status()["requests"]["known"], "it answers again")


def test_get_says_who_routes_are_in_force_by(shop):
    routes = {r["name"]: r["inForce"] for r in shop.weft("get", "route")["resources"]}
    assert routes["v2"] == "weft-proxy"
    services = {r["name"]: r["ports"] for r in shop.weft("get", "virtualService")["resources"]}
    assert services["web.example.com"] == [{"port": 8080, "inForce": "weft-proxy"}]
    text = subprocess.run([BUILD / "weft", "get", "route", "--instance", shop.instance], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^m/web/v2 +web-v2 1  by weft-proxy, each request ", text, re.M), text
