# SPDX-License-Identifier: Apache-2.0
"""Names of the mesh, as the programs of workloads see them: whatever library asks, whatever kind of socket it uses."""
import pytest
from control_peer import ControlPeer, large_configuration
from dns_world import RESOLVER, RESOLVER6, ZONE, Client, grown, make_client, make_names, named_world, wait_for_names
from weft import BUILD, PYTHON, wait_for

SEARCH = ["search shop.svc.cluster.local svc.cluster.local cluster.local", "options ndots:5"]


@pytest.fixture(scope="module")
def names():
    with named_world() as node:
        site = node.directory / "site"
        site.mkdir()
        (site / "index.html").write_text("the page\n")
        for address in ("10.77.0.1", "fd77::1"):
            node.spawn([PYTHON, "-m", "http.server", "9002", "--bind", address, "--directory", site], stdout=-3, stderr=-3)
        yield node


@pytest.fixture(scope="module")
def client(names):
    return names.client


@pytest.fixture(scope="module")
def client6(names):
    """One whose resolver has an IPv6 address."""
    client = make_client(names, f"nameserver {RESOLVER6}")
    wait_for_names(names, client, resolver=RESOLVER6)
    return client


# --- libraries --------------------------------------------------------------------------------------------------------------------------


def addresses_of(out):
    return sorted({line.split()[0] for line in out.splitlines() if line})


def nslookup_addresses(out):
    """What follows the line of the name: those of the server come before."""
    return sorted(line.split()[-1] for line in out.partition("Name:")[2].splitlines() if line.startswith("Address"))


LIBRARIES = {
    "glibc": (["getent", "ahosts"], addresses_of),
    "musl": ([str(BUILD / "tests/net/musl-resolve")], addresses_of),
    "go": ([str(BUILD / "tests/net/go-resolve")], addresses_of),
    "busybox-nslookup": (["busybox", "nslookup"], nslookup_addresses),
}


def tool(library):
    argv, read = LIBRARIES[library]
    if argv[0].startswith("/") and not (BUILD / argv[0]).exists():
        pytest.skip(f"{argv[0]} could not be built here")
    return argv, read


def library_addresses(client, library, name):
    argv, read = tool(library)
    done = client.program(*argv, name)
    return read(done["out"]) if done["code"] == 0 else done["err"] + done["out"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("resolver", [4, 6])
def test_every_library_gets_both_vips_of_a_mesh_name(names, client, client6, library, resolver):
    who = client if resolver == 4 else client6
    assert library_addresses(who, library, "web.example.com") == sorted(names.vips)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_gets_other_names_from_the_resolver(client, library):
    for name in ("outside.example.net", "alias.example.net"):
        assert library_addresses(client, library, name) == ["198.51.100.7", "2001:db8::7"]


@pytest.mark.parametrize("library", ["musl", "go"])
def test_what_a_library_resolves_it_can_connect_to(client, library):
    argv, _ = tool(library)
    for family, greeting in (("-4", "10.77.0.1:9001"), ("-6", "[fd77::1]:9001")):
        done = client.program(*argv, family, "web.example.com", "8080")
        assert (done["code"], done["out"].strip()) == (0, greeting), done


@pytest.mark.parametrize("argv", [["curl", "-sS4"], ["curl", "-sS6"], ["busybox", "wget", "-qO-"]], ids=" ".join)
def test_programs_fetch_by_name(client, argv):
    done = client.program(*argv, "http://http.example.com:8080/index.html")
    assert (done["code"], done["out"]) == (0, "the page\n"), done


def test_a_name_has_the_families_that_its_endpoints_have(names, client):
    for library in ("glibc", "musl", "go"):
        if library != "glibc" and not (BUILD / f"tests/net/{library}-resolve").exists():
            continue
        assert library_addresses(client, library, "four.example.com") == [names.vip("four.example.com")]
        assert library_addresses(client, library, "six.example.com") == [names.vip("six.example.com", 6)]
    # without any endpoint it has both, so that its refusal is named
    assert client.resolve("none.example.com") == sorted([names.vip("none.example.com"), names.vip("none.example.com", 6)])
    assert client.worker.connect(names.vip("none.example.com"), 8080) == "ECONNREFUSED"
    assert names.reasons()[("client", "none.example.com", "no-endpoint")] == 1


@pytest.mark.one_kernel
def test_getaddrinfo_gives_the_vip_though_its_own_probe_of_it_is_refused(names, client):
    before = names.reasons().get(("client", "web.example.com", "vip-not-tcp"), 0)
    for _ in range(10):
        assert client.resolve("web.example.com") == sorted(names.vips)
    assert names.reasons()[("client", "web.example.com", "vip-not-tcp")] > before


@pytest.mark.one_kernel
@pytest.mark.parametrize("library", ["glibc", "musl", "go"])
def test_a_search_list_goes_upstream_and_the_exact_name_is_answered(names, library):
    argv, _ = tool(library)
    client = make_client(names, f"nameserver {RESOLVER}", *SEARCH)
    wait_for_names(names, client)
    names.dns.seen()
    assert library_addresses(client, library, "web.example.com") == sorted(names.vips)
    seen = {query["name"] for query in names.dns.seen()}
    assert seen == {f"web.example.com.{domain}" for domain in ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")}
    # a short name is completed by the library; the completed one is a service
    completed = "web.shop.svc.cluster.local"
    assert library_addresses(client, library, "web") == sorted([names.vip(completed), names.vip(completed, 6)])
    assert library_addresses(client, library, "outside.example.net") == ["198.51.100.7", "2001:db8::7"]
    names.dns.seen()
    assert library_addresses(client, library, "web.example.com.") == sorted(names.vips)
    assert names.dns.seen() == []
    client.worker.kill()


@pytest.mark.parametrize("library", LIBRARIES)
def test_resolvers_of_both_families_in_one_resolv_conf(names, library):
    """musl asks all of them at once, by one IPv6 socket."""
    tool(library)
    client = make_client(names, f"nameserver {RESOLVER6}", f"nameserver {RESOLVER}")
    wait_for_names(names, client)
    wait_for_names(names, client, resolver=RESOLVER6)
    assert library_addresses(client, library, "web.example.com") == sorted(names.vips)
    assert library_addresses(client, library, "outside.example.net") == ["198.51.100.7", "2001:db8::7"]
    client.worker.kill()


# --- sockets ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["connect", "sendto", "sendmsg", "mapped-connect", "mapped-sendto", "mapped-sendmsg"])
def test_every_kind_of_socket_is_answered_and_sees_the_resolver_it_asked(names, client, how):
    for name, addresses in (("web.example.com", [names.vips[0]]), ("outside.example.net", ["198.51.100.7"])):
        answer = client.ask(RESOLVER, name, how=how)
        assert answer["addresses"] == addresses
        assert (answer["peer"], answer["peerPort"]) == (RESOLVER, 53)


@pytest.mark.parametrize("how", ["connect", "sendto", "sendmsg"])
def test_ipv6_resolvers_likewise(names, client6, how):
    for name, addresses in (("web.example.com", [names.vips[1]]), ("outside.example.net", ["2001:db8::7"])):
        answer = client6.ask(RESOLVER6, name, "AAAA", how=how)
        assert answer["addresses"] == addresses
        assert (answer["peer"], answer["peerPort"]) == (RESOLVER6, 53)


@pytest.mark.parametrize("how", ["connect", "sendto"])
def test_a_socket_bound_to_the_pods_own_address_is_answered(names, client, client6, how):
    for who, resolver, own in ((client, RESOLVER, client.pod.ipv4), (client6, RESOLVER6, client6.pod.ipv6)):
        answer = who.ask(resolver, "web.example.com", how=how, own=own)
        assert answer["addresses"] == [names.vips[0]] and answer["peer"] == resolver


def test_a_source_address_given_with_the_message_is_answered(names, client):
    answer = client.ask(RESOLVER, "web.example.com", how="sendmsg", pktinfo=client.pod.ipv4)
    assert answer["addresses"] == [names.vips[0]] and answer["peer"] == RESOLVER


def test_a_socket_bound_to_a_device_is_left_alone_and_counted(names, client):
    before = names.reasons()
    names.dns.seen()
    answer = client.ask(RESOLVER, "outside.example.net", device="eth0")
    assert answer["addresses"] == ["198.51.100.7"]
    assert [query["port"] for query in names.dns.seen()] == [answer["port"]], "the resolver saw the program's own socket"
    assert client.ask_tcp(RESOLVER, "outside.example.net", device="eth0")[0]["addresses"] == ["198.51.100.7"]
    assert grown(names, "dns-bypass", before) == 2


@pytest.mark.parametrize("mapped", [False, True])
def test_tcp_queries_are_answered_and_see_the_resolver(names, client, mapped):
    asked = ["big.example.net", "four.example.com", "outside.example.net", "web.example.com"]
    answers = client.ask_tcp(RESOLVER, *asked, mapped=mapped)
    assert sorted(answer["questions"][0]["name"] for answer in answers) == asked
    found = {answer["questions"][0]["name"]: answer for answer in answers}
    assert found["web.example.com"]["addresses"] == [names.vips[0]]
    assert found["outside.example.net"]["addresses"] == ["198.51.100.7"]
    assert len(found["big.example.net"]["addresses"]) == 100
    assert {(answer["peer"], answer["peerPort"]) for answer in answers} == {(RESOLVER, 53)}


def test_tcp_queries_to_an_ipv6_resolver(names, client6):
    answers = client6.ask_tcp(RESOLVER6, "web.example.com", "outside.example.net", kind="AAAA")
    assert {answer["addresses"][0] for answer in answers} == {names.vips[1], "2001:db8::7"}
    assert {answer["peer"] for answer in answers} == {RESOLVER6}


def test_a_client_that_has_sent_all_it_wants_to_still_gets_its_answers(names, client):
    answers = client.ask_tcp(RESOLVER, "web.example.com", "outside.example.net", half_close=True)
    assert sorted(answer["addresses"][0] for answer in answers) == ["198.51.100.7", names.vips[0]]


@pytest.mark.one_kernel
def test_an_answer_of_almost_64_kib(client):
    answer = client.ask_tcp(RESOLVER, "huge.example.net", kind="TXT")[0]
    assert len(answer["answers"]) == 280 and answer["bytes"] > 60000


def test_many_queries_at_once_are_all_answered(client):
    asked = sorted(f"{i}.unknown.example.net" for i in range(1000))
    assert client.ask_at_once(RESOLVER, *asked) == asked


def test_a_steered_query_is_no_connection_of_the_mesh(names, client):
    before = len(names.weft("connections", "--limit", "100000")["closed"])
    client.ask_tcp(RESOLVER, "web.example.com")
    client.ask(RESOLVER, "web.example.com")
    assert len(names.weft("connections", "--limit", "100000")["closed"]) == before
    names.wait_open(0)


# --- messages ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.one_kernel
def test_the_case_of_a_question_is_kept(names, client):
    for name, address in (("wEb.eXaMple.COM", names.vips[0]), ("mixed.example.com", names.vip("Mixed.Example.com")),
                          ("oUtside.example.NET", "198.51.100.7")):
        answer = client.ask(RESOLVER, name)
        assert answer["questions"] == [{"name": name, "type": "A", "class": 1}]
        assert answer["addresses"] == [address]


@pytest.mark.one_kernel
def test_answers_are_forgotten_after_ten_seconds(client):
    for kind in ("A", "AAAA"):
        answer = client.ask(RESOLVER, "web.example.com", kind)
        assert [(record["type"], record["ttl"]) for record in answer["answers"]] == [(kind, 10)]
        assert answer["recursionAvailable"] and answer["response"]


@pytest.mark.one_kernel
def test_other_types_and_families_are_no_data_and_never_nxdomain(client):
    for name, kind in (*(("web.example.com", kind) for kind in ("TXT", "HTTPS", "MX", "ANY", "SRV")),
                       ("four.example.com", "AAAA"), ("six.example.com", "A")):
        answer = client.ask(RESOLVER, name, kind)
        assert (answer["rcode"], answer["answers"]) == ("NOERROR", []), (name, kind)
        soa = answer["authorities"][0]
        assert soa["type"] == "SOA" and min(soa["ttl"], soa["value"][-1]) == 1, "resolvers forget it within a second"


@pytest.mark.one_kernel
def test_edns_is_echoed_where_it_was_asked_for(client):
    assert client.ask(RESOLVER, "web.example.com", edns_bytes=4096)["edns"] == 1232
    assert client.ask(RESOLVER, "web.example.com")["edns"] is None
    bad = client.ask(RESOLVER, "web.example.com", edns_bytes=4096, edns_version=1)
    assert bad["ednsRcode"] == 1 and bad["answers"] == []  # BADVERS: 16, of which EDNS has the upper bits


@pytest.mark.one_kernel
def test_queries_for_other_names_reach_the_resolver_as_they_were_sent(names, client):
    names.dns.seen()
    for options in ({}, {"edns_bytes": 4000}):
        client.ask(RESOLVER, "Outside.example.net", "TXT", **options)
    plain, edns = names.dns.seen()
    for query in plain, edns:
        assert (query["name"], query["type"], query["transport"]) == ("Outside.example.net", "TXT", "udp")
    assert (plain["edns"], edns["edns"], edns["bytes"] - plain["bytes"]) == (None, 4000, 11)
    assert plain["from"] == client.pod.ipv4, "from the pod's own address"


@pytest.mark.one_kernel
def test_forwarded_queries_have_ids_and_ports_that_are_hard_to_guess(names, client):
    names.dns.seen()
    assert all(client.ask(RESOLVER, "outside.example.net")["rcode"] == "NOERROR" for _ in range(300))
    seen = names.dns.seen()
    assert len({query["id"] for query in seen}) > 250
    assert len({query["port"] for query in seen}) > 1


@pytest.mark.one_kernel
def test_a_truncated_answer_is_handed_on_and_asked_for_again_by_tcp(names, client):
    assert client.ask(RESOLVER, "big.example.net")["truncated"]
    names.dns.seen()
    assert len(client.resolve("big.example.net", 2)) == 100
    assert [query["transport"] for query in names.dns.seen("big.example.net")][:2] == ["udp", "tcp"]
    assert len(client.addresses(RESOLVER, "big.example.net", edns_bytes=4096)) == 100


@pytest.mark.one_kernel
@pytest.mark.parametrize("wrong", ["id", "question", "case", "port", "short"])
def test_a_wrong_answer_is_not_handed_on(names, client, wrong):
    names.dns.behave("outside.example.net", wrong=wrong)
    stray = names.weft("dns")["outcomes"]["stray"]
    answer = client.ask(RESOLVER, "outside.example.net")
    names.dns.behave("outside.example.net")
    assert answer["questions"][0]["name"] == "outside.example.net" and answer["addresses"] == ["198.51.100.7"]
    if wrong != "port":  # what comes from another port never reaches a connected socket
        assert names.weft("dns")["outcomes"]["stray"] == stray + 1


@pytest.mark.one_kernel
def test_errors_of_the_resolver_are_handed_on(names, client):
    assert client.ask(RESOLVER, "unknown.example.net")["rcode"] == "NXDOMAIN"
    assert client.resolve("unknown.example.net") == "EAI_NONAME"
    names.dns.behave("outside.example.net", rcode=2)
    assert client.ask(RESOLVER, "outside.example.net")["rcode"] == "SERVFAIL"
    names.dns.behave("outside.example.net")


# --- whom, and who ----------------------------------------------------------------------------------------------------------------------


def test_a_service_that_is_no_backend_resolves_and_is_refused_by_its_name(names, client):
    assert client.resolve("secret.example.com") == [names.vip("secret.example.com")]
    before = names.reasons().get(("client", "secret.example.com", "not-a-backend"), 0)
    assert client.worker.connect(names.vip("secret.example.com"), 8080) == "EPERM"
    assert names.reasons()[("client", "secret.example.com", "not-a-backend")] == before + 1


def test_a_resolver_that_is_not_configured_is_left_alone_and_counted(names, client):
    names.namespace.add_address("10.77.0.55/32")
    other = names.resolver("10.77.0.55:53", zone=ZONE)
    before = names.reasons()
    for how in "connect", "sendto":
        answer = client.ask("10.77.0.55", "web.example.com", how=how)
        assert answer["addresses"] == ["198.51.100.99"] and answer["peer"] == "10.77.0.55"
        assert [query["port"] for query in other.seen()] == [answer["port"]]
    assert grown(names, "dns-other-resolver", before) == 2
    other.kill()


def test_an_unmanaged_program_is_not_steered(names):
    pod = names.add_pod()
    outside = Client(names.worker(netns=pod))
    before = names.reasons()
    assert outside.addresses(RESOLVER, "web.example.com") == ["198.51.100.99"]
    assert names.reasons() == before
    outside.worker.kill()


@pytest.mark.parametrize("address", ["127.0.0.11", "127.0.0.53", "::1"])
def test_a_resolver_inside_the_pod(names, address):
    pod = names.add_pod()
    local = names.resolver(f"[{address}]:53" if ":" in address else f"{address}:53", zone=ZONE, namespace=pod)
    client = make_client(names, f"nameserver {address}", pod=pod)
    wait_for_names(names, client, resolver=address)
    assert client.resolve("web.example.com") == sorted(names.vips)
    assert client.resolve("outside.example.net") == ["198.51.100.7", "2001:db8::7"]
    answer = client.ask(address, "outside.example.net", how="sendto")
    assert (answer["peer"], answer["addresses"]) == (address, ["198.51.100.7"])
    assert {query["name"] for query in local.seen()} == {"outside.example.net"}
    client.worker.kill()
    local.kill()


def test_two_nodes_in_one_namespace_have_each_their_own_names_under_allow_all(own_names):
    """The node's own namespace: workloads are told apart by cgroup, and each has resolvers of its own mount namespace."""
    own_names.mesh("ALLOW_ALL")
    conf = own_names.directory / "resolv.conf"
    conf.write_text(f"nameserver {RESOLVER}\n")
    clients = []
    for name in ("client", "other"):
        worker = own_names.worker(name)
        worker.run("libc = __import__('ctypes').CDLL(None)\nlibc.unshare(0x20000)\n"
                   "subprocess.run(['mount', '--make-rprivate', '/'], check=True)\n"
                   "subprocess.run(['mount', '--bind', arguments[0], '/etc/resolv.conf'], check=True)", str(conf))
        clients.append(Client(worker))
    client, other = clients
    vips = wait_for_names(own_names, client)
    four = own_names.vip("four.example.com")
    wait_for(lambda: other.addresses(RESOLVER, "four.example.com") == [four], "the other's backend is answered")
    assert client.addresses(RESOLVER, "four.example.com") == [four]
    assert client.addresses(RESOLVER, "web.example.com") == [vips[0]]
    assert other.addresses(RESOLVER, "web.example.com") == ["198.51.100.99"], "no backend: as outside of the mesh"
    assert other.ask(RESOLVER, "secret.example.com")["rcode"] == "NXDOMAIN"


@pytest.mark.one_kernel
def test_names_follow_the_egress_filter(own_names):
    client = make_client(own_names)
    wait_for_names(own_names, client)
    secret = own_names.vip("secret.example.com")
    assert client.addresses(RESOLVER, "secret.example.com") == [secret]
    own_names.mesh("ALLOW_ALL")
    wait_for(lambda: client.ask(RESOLVER, "secret.example.com")["rcode"] == "NXDOMAIN", "what is no backend is asked elsewhere")
    assert client.resolve("web.example.com") == sorted([own_names.vip("web.example.com"), own_names.vip("web.example.com", 6)])
    own_names.mesh("DROP_ALL")
    wait_for(lambda: client.addresses(RESOLVER, "secret.example.com") == [secret], "every service has a name again")


@pytest.mark.one_kernel
def test_in_audit_mode_every_service_has_its_name():
    node = make_names("--audit", "m")
    try:
        node.mesh("ALLOW_ALL")
        client = make_client(node)
        wait_for_names(node, client)
        wait_for(lambda: client.addresses(RESOLVER, "secret.example.com") == [node.vip("secret.example.com")], "no backend, yet named")
        assert client.worker.connect(node.vip("secret.example.com"), 8080) == "10.77.0.1:9001"
        assert node.reasons()[("client", "secret.example.com", "audit-not-a-backend")] == 1
    finally:
        node.close()


@pytest.mark.one_kernel
def test_names_come_and_go_with_services_and_families_with_endpoints(own_names):
    client = make_client(own_names)
    wait_for_names(own_names, client)
    assert client.ask(RESOLVER, "new.example.com")["rcode"] == "NXDOMAIN"
    own_names.service("new.example.com", node="four")
    wait_for(lambda: client.addresses(RESOLVER, "new.example.com") == [own_names.vip("new.example.com")], "a new service has its name")
    assert client.addresses(RESOLVER, "four.example.com", "AAAA") == []
    own_names.register("four", "four-six", "[fd77::1]:9001")
    wait_for(lambda: client.addresses(RESOLVER, "four.example.com", "AAAA") == [own_names.vip("four.example.com", 6)], "and its new family")
    (own_names.config / "service-new.example.com.json").unlink()
    wait_for(lambda: client.ask(RESOLVER, "new.example.com")["rcode"] == "NXDOMAIN", "a service that is gone has none")


def test_addresses_of_aws_are_let_through_for_whom_they_were_answered(names, client):
    beside = make_client(names)
    wait_for_names(names, beside)
    assert client.worker.connect("10.77.0.2", 9001) == "EPERM"
    assert client.resolve("sqs.eu-west-1.amazonaws.com") == ["10.77.0.2"]
    assert client.worker.connect("10.77.0.2", 9001) == "10.77.0.2:9001"
    assert names.reasons()[("client", None, "aws-address")] == 1
    assert beside.worker.connect("10.77.0.2", 9001) == "EPERM", "another namespace has not asked"
    assert client.resolve("amazonaws.com.example.net") == ["10.77.0.3"]
    assert client.worker.connect("10.77.0.3", 9001) == "EPERM", "a name that only looks alike"
    beside.worker.kill()


@pytest.mark.one_kernel
def test_weft_dns_says_what_a_workload_gets_and_what_it_asked(names, client):
    asked = names.weft("dns", "web.example.com", "--from", "mesh/m/virtualNode/client")
    assert (asked["source"], asked["v4"], asked["v6"]) == ("mesh", *names.vips)
    assert names.weft("dns", "outside.example.net", "--from", "mesh/m/virtualNode/client")["source"] == "resolver"
    client.ask(RESOLVER, "web.example.com")
    client.ask(RESOLVER, "outside.example.net")
    last = names.weft("dns", "--last", "2", "--from", "mesh/m/virtualNode/client")["queries"]
    assert [(query["name"], query["outcome"]) for query in last] == [("outside.example.net", "forwarded"), ("web.example.com", "answered")]


@pytest.mark.one_kernel
def test_names_are_answered_while_weft_proxy_reads_a_large_configuration(names, client):
    with ControlPeer(names) as peer:
        peer.tell(1000000, large_configuration(20000))
        for _ in range(10):
            assert client.addresses(RESOLVER, "four.example.com") == [names.vip("four.example.com")]
            assert client.addresses(RESOLVER, "outside.example.net") == ["198.51.100.7"]
        assert not peer.has_answer(), "twenty answers came while it was read"
        assert peer.answer() == {"generation": 1000000}
