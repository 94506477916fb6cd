# SPDX-License-Identifier: Apache-2.0
"""What `weft dns` and `weft status` say of names, beside what programs of workloads get."""
import signal
import subprocess

import pytest
from dns_world import RESOLVER, make_client, named_world, wait_for_names
from weft import BUILD, wait_for

pytestmark = pytest.mark.one_kernel

NODE = "mesh/m/virtualNode/client"


@pytest.fixture(scope="module")
def names():
    with named_world() as node:
        yield node


def lookup(node, name, who=NODE):
    return node.weft("dns", name, "--from", who)


def refused(node, *words):
    result = subprocess.run([BUILD / "weft", "dns", "--instance", node.instance, *words], capture_output=True, text=True)
    assert result.returncode in (1, 2), result.stdout
    return result.stderr


def test_a_name_is_told_as_the_workload_gets_it(names):
    for name, service in (("web.example.com", "web.example.com"), ("MIXED.example.com.", "Mixed.Example.com")):
        answer = lookup(names, name)
        assert (answer["source"], answer["reason"], answer["ttlSeconds"]) == ("mesh", "answered", 10)
        assert answer["service"] == f"mesh/m/virtualService/{service}"
        assert answer["from"] == NODE and answer["name"] == name and answer["bypass"] is None
        assert names.client.addresses(RESOLVER, name.rstrip(".")) == [answer["v4"]]
        assert answer["v6"] == names.vip(service, 6)
        assert [(r["resolver"], r["reason"]) for r in answer["resolvers"]] == [(RESOLVER, None)]


def test_a_name_of_one_family_says_so(names):
    four, six = (lookup(names, f"{name}.example.com") for name in ("four", "six"))
    assert four["v4"] and four["v6"] is None and "no AAAA" in four["text"]
    assert six["v6"] and six["v4"] is None and "no A" in six["text"]


def test_other_names_are_the_resolvers(names):
    answer = lookup(names, "outside.example.net")
    assert (answer["source"], answer["reason"], answer["service"], answer["v4"]) == ("resolver", "forwarded", None, None)


def test_what_cannot_be_told_is_refused_by_name(names):
    assert "from" in refused(names, "web.example.com", "--from", "mesh/m/virtualNode/nobody")
    assert "no workload here acts for" in refused(names, "web.example.com", "--from", "mesh/m/virtualNode/nobody")
    assert "from" in refused(names, "web.example.com", "--from", "client")
    assert "name" in refused(names, "a..b", "--from", NODE)
    assert "--from" in refused(names, "web.example.com")


def test_the_last_queries_are_told_with_their_outcome(names):
    names.client.addresses(RESOLVER, "web.example.com")
    names.client.addresses(RESOLVER, "outside.example.net")
    first, second = names.weft("dns", "--last", "2", "--from", NODE)["queries"]
    assert (first["name"], first["outcome"], first["rcode"], first["resolver"]) == ("outside.example.net", "forwarded", "NOERROR", RESOLVER)
    assert (second["name"], second["type"], second["outcome"], second["node"]) == ("web.example.com", "A", "answered", NODE)
    assert second["ns"] > 0 and second["transport"] == "udp"
    assert names.weft("dns", "--last", "5", "--from", "mesh/m/virtualNode/other")["queries"] == []


def test_the_responder_is_told_with_its_places_and_counts(names):
    before = names.weft("dns")
    names.client.addresses(RESOLVER, "web.example.com")
    answer = names.weft("dns")
    assert answer["outcomes"]["answered"] == before["outcomes"]["answered"] + 1
    assert answer["proxy"]["state"] == "running" and answer["proxy"]["pid"] > 0
    place, = [p for p in answer["places"] if p["node"] == NODE]
    assert [r["resolver"] for r in place["resolvers"]] == [RESOLVER]
    workload, = [w for w in answer["workloads"] if w["netnsCookie"] == place["netnsCookie"]]
    assert workload["resolvers"] == [RESOLVER] and not workload["nscd"] and not workload["nssResolve"]
    text = subprocess.run([BUILD / "weft", "dns", "--instance", names.instance], capture_output=True, text=True, check=True).stdout
    assert "weft-proxy" in text and "m/client" in text and RESOLVER in text and "answered" in text


def test_a_resolv_conf_that_is_rewritten_is_followed(names):
    pod = names.client.pod
    pod.resolv_conf(f"nameserver {RESOLVER}", "nameserver 10.77.0.99")

    def asked():
        return [r["resolver"] for r in lookup(names, "web.example.com")["resolvers"]]
    wait_for(lambda: asked() == [RESOLVER, "10.77.0.99"], "the second resolver is known")
    pod.resolv_conf(f"nameserver {RESOLVER}")
    wait_for(lambda: asked() == [RESOLVER], "the second resolver is forgotten", 20)  # it stays for 10 s


def test_what_bypasses_port_53_is_a_warning(names):
    pod = names.client.pod
    keeper = names.worker("client", pod)
    assert not names.status()["warnings"]
    mounts = ["mount -t tmpfs none /run", "mkdir -p /run/nscd", "exec /usr/bin/python3 -c 'import signal, socket; "
              "socket.socket(socket.AF_UNIX).bind(\"/run/nscd/socket\"); print(\"ready\", flush=True); signal.pause()'"]
    cached = names.workload(["unshare", "-m", "sh", "-ec", "; ".join(mounts)], netns=pod, stdout=subprocess.PIPE, text=True)
    assert cached.stdout.readline() == "ready\n"
    wait_for(lambda: any("nscd" in warning for warning in names.status()["warnings"]), "nscd is noticed")
    text = subprocess.run([BUILD / "weft", "status", "--instance", names.instance], capture_output=True, text=True, check=True).stdout
    assert "nscd" in text and "weft-proxy" in text
    cached.kill()
    cached.wait()
    wait_for(lambda: not names.status()["warnings"], "nscd is gone")
    keeper.kill()


def test_without_weft_proxy_a_name_says_that_nobody_answers_it(own_names):
    node = own_names
    client = make_client(node)
    wait_for_names(node, client)
    stopped = node.weft("dns")["proxy"]["pid"]
    subprocess.run(["kill", f"-{int(signal.SIGSTOP)}", str(stopped)], check=True)
    try:
        answer = lookup(node, "web.example.com")
        assert answer["source"] == "mesh" and answer["resolvers"] is None and "weft-proxy" in answer["bypass"]
        assert "weft-proxy" in node.weft("dns", check=False)
    finally:
        subprocess.run(["kill", f"-{int(signal.SIGCONT)}", str(stopped)], check=False)
