# SPDX-License-Identifier: Apache-2.0
"""Look-ups of names: one of the mesh, which weft-proxy answers, and another, which it forwards, beside the same resolver without
weft.

The resolver is dnsmasq, which knows the answers itself. It and weft-proxy share a CPU, the programs that ask have the other.
Those without weft are in cgroups that it is not attached to; all are in one namespace."""

import contextlib
import shutil

from harness import BUILD, PROXY_CPU, Tool, cpu_ns, progress, summary, wait_for

DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/sbin:/bin")
OUTSIDE = "outside.bench"
CONTESTANTS = ["resolver", "again", "mesh", "forwarded"]
ROWS = [ # a sample gives several figures: what it is, its unit, its name in the answer
    {"name": "rate", "sample": "udp 64 0.5", "quick": "udp 64 0.1",
     "figures": [("look-ups, 64 at once", "/s", "per_second"), ("CPU time of each, all processes", "us", "cpu_us")]},
    {"name": "latency", "sample": "lookup 5000", "quick": "lookup 200",
     "figures": [("one look-up at a time, p50", "us", "p50_us"), ("one look-up at a time, p99", "us", "p99_us")]},
]


def start_resolver(node, address):
    return node.start([DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
                       "--user=root", "--bind-interfaces", f"--listen-address={address}", f"--host-record={OUTSIDE},198.51.100.7"],
                      PROXY_CPU)


def is_steered(weft, address):
    """weft-proxy has sockets for this resolver."""
    with contextlib.suppress(RuntimeError): # weft-proxy does not answer yet
        return any(resolver["resolver"] == address and resolver["reason"] is None
                   for place in weft.call("GET", "/v1/dns")["places"] for resolver in place["resolvers"])


def measure(node, weft, service, size, quick):
    """Contestants alternate within a round and take turns at being first; a ratio is taken within its round."""
    address = node.address(53)
    resolver = start_resolver(node, address)
    conf = node.directory / "resolv.conf"
    conf.write_text(f"nameserver {address}\n")
    load = [BUILD / "bench/dns_load", f"{address}:53"]
    # The client's resolv.conf is its own, as a container's is.
    managed = [*weft.run("client"), "unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf; exec "$@"', conf, *load]
    clients = {"resolver": Tool(node, [*load, OUTSIDE]), "again": Tool(node, [*load, OUTSIDE]),
               "mesh": Tool(node, [*managed, service]), "forwarded": Tool(node, [*managed, OUTSIDE])}
    wait_for(lambda: is_steered(weft, address), "weft-proxy to serve the client's resolver")
    processes = [resolver.pid, weft.call("GET", "/v1/status")["proxy"]["pid"]]

    def sample(client, command):
        """The load tool's answer, and what it, the resolver and weft-proxy had of the CPU for each look-up."""
        before_ns = client.cpu_ns() + sum(cpu_ns(pid) for pid in processes)
        answer = client.ask(command)
        if answer["failures"]:
            raise RuntimeError(f"{answer['failures']} look-ups failed: {client.name}")
        answer["cpu_us"] = (client.cpu_ns() + sum(cpu_ns(pid) for pid in processes) - before_ns) / 1000 / answer["count"]
        return answer

    rows = []
    for row in ROWS:
        progress(f"{row['figures'][0][0]}: {size['rounds']} rounds")
        command = row["quick" if quick else "sample"]
        samples = {name: [] for name in CONTESTANTS}
        for number in range(-1, size["rounds"]): # the first one warms up
            names = CONTESTANTS[number % 4:] + CONTESTANTS[:number % 4]
            for name in names if number // 4 % 2 == 0 else reversed(names):
                answer = sample(clients[name], command)
                if number >= 0:
                    samples[name].append(answer)
        rows += [{"name": row["name"], "what": what, "unit": unit,
                  "figures": {name: summary([sample[key] for sample in samples[name]]) for name in CONTESTANTS},
                  "ratios": {name: summary([a[key] / b[key] for a, b in zip(samples[name], samples["resolver"])])
                             for name in CONTESTANTS[1:]}} for what, unit, key in row["figures"]]
    for client in clients.values():
        client.process.stdin.close()
    return rows


def tables(rows, spread, number):
    """The ratios and the figures, as rows of cells."""
    ratios = [["Names", "mesh name/resolver alone", "forwarded/resolver alone", "resolver again/resolver alone"]]
    figures = [["Names", "unit", "resolver alone", "again", "mesh name by weft", "forwarded by weft"]]
    for row in rows:
        ratios.append([row["what"], *(spread(row["ratios"][name]) for name in ("mesh", "forwarded", "again"))])
        figures.append([row["what"], row["unit"], *(spread(row["figures"][name], number) for name in CONTESTANTS)])
    return ratios, figures
