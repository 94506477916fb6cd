# SPDX-License-Identifier: Apache-2.0
"""A static 200 by weft's HTTP stack, beside nginx's `return 200`: 64 connections that stay, a request at a time on each.

The servers share a CPU, one of them at work at a time; wrk has the other. A server that wrk does not keep busy could answer more: what
counts is how many requests a second of its CPU time is good for."""

import re
import shutil
import subprocess

from harness import BUILD, PROXY_CPU, TRAFFIC_CPU, WAIT_SECONDS, cpu_ns, progress, summary, wait_for

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
NGINX, WRK = shutil.which("nginx", path=PATH), shutil.which("wrk", path=PATH)
PORT = 9080
CONNECTIONS = 64
ANSWER = "hello, world\\n"
FIGURES = [("requests", "/s of the server's CPU time", "per_cpu_second"), ("requests", "/s", "per_second")]


def start_weft(node, address):
    return node.start([BUILD / "bench/http_server", f"{address}:{PORT}"], PROXY_CPU, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def start_nginx(node, address):
    """One process, nothing logged, connections that never end: what it does best."""
    directory = node.directory / "nginx"
    directory.mkdir()
    places = "\n".join(f"    {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = directory / "nginx.conf"
    config.write_text(f"""daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
{places}
    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    default_type text/plain;
    server {{
        listen {address}:{PORT};
        location / {{ return 200 "{ANSWER}"; }}
    }}
}}
""")
    return node.start([NGINX, "-c", config, "-e", directory / "error.log"], PROXY_CPU)


def sample(node, server, address, seconds):
    before_ns = cpu_ns(server.pid)
    load = node.start([WRK, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", f"{WAIT_SECONDS}s", f"http://{address}:{PORT}/"], TRAFFIC_CPU,
                      stdout=subprocess.PIPE, text=True)
    output = load.communicate(timeout=WAIT_SECONDS)[0]
    used_ns = cpu_ns(server.pid) - before_ns
    count = int(re.search(r"(\d+) requests in", output)[1])
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"requests failed: {output}")
    return {"per_cpu_second": count / used_ns * 1e9, "per_second": float(re.search(r"Requests/sec:\s*([\d.]+)", output)[1])}


def answers(node, address):
    done = subprocess.run(["curl", "-s", f"http://{address}:{PORT}/"], capture_output=True, text=True)
    return done.stdout == ANSWER.encode().decode("unicode_escape")


def measure(node, size):
    """Contestants alternate within a round and take turns at being first; a ratio is taken within its round. None without wrk."""
    if not WRK:
        progress("wrk is missing: no static 200")
        return None
    starts = {"weft": start_weft, "again": start_weft}
    if NGINX:
        starts["nginx"] = start_nginx
    else:
        progress("nginx is missing: measured without it")
    addresses = {name: node.address(80 + i) for i, name in enumerate(starts)}
    servers = {name: start(node, addresses[name]) for name, start in starts.items()}
    for name, address in addresses.items():
        wait_for(lambda at=address: answers(node, at), f"{name} to answer")
    progress(f"a static 200: {size['static_rounds']} rounds")
    samples = {name: [] for name in servers}
    for round_number in range(size["static_rounds"]):
        names = list(servers)
        names = names[round_number % len(names):] + names[:round_number % len(names)]
        for name in names:
            samples[name].append(sample(node, servers[name], addresses[name], size["static_seconds"]))
    for server in servers.values():
        server.terminate()

    def ratio(name, to, key):
        return summary([a[key] / b[key] for a, b in zip(samples[name], samples[to])]) if to in samples else None

    return [{"what": what, "unit": unit, "figures": {name: summary([s[key] for s in samples[name]]) for name in samples},
             "ratios": {"weft/nginx": ratio("weft", "nginx", key), "again/weft": ratio("again", "weft", key)}}
            for what, unit, key in FIGURES]


def table(rows, spread, number):
    grid = [["a static 200, 64 connections", "weft/nginx", "must", "weft again/weft", "weft", "weft again", "nginx"]]
    for row in rows:
        grid.append([f"{row['what']} {row['unit']}", spread(row["ratios"]["weft/nginx"]), ">= 1.0" if row is rows[0] else "",
                     spread(row["ratios"]["again/weft"]), *(spread(row["figures"].get(name), number) for name in ("weft", "again", "nginx"))])
    return grid
