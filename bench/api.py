# SPDX-License-Identifier: Apache-2.0
"""The App Mesh API of weftd beside moto's server, which keeps everything in memory: 8 clients create virtual nodes, then describe them.

Requests are signed before the clock runs. Clients, processes of their own, share a CPU, the server has another; a client connects again
where the server ends the connection after each answer, as moto's does. One run, nothing alternates: it shows the order of magnitude."""

import http.client
import json
import multiprocessing
import os
import shutil
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from harness import BUILD, PROXY_CPU, TRAFFIC_CPU, WAIT_SECONDS, end, progress, wait_for

MOTO = BUILD / "moto/bin/moto_server"
PORT = 9081
CLIENTS, IN_A_MESH = 8, 100
KEY = ("AKIABENCHBENCHBENCH0", "secret-of-the-bench")
MESHES = "/v20190125/meshes"


def start_weft(node, address):
    instance, cgroup = f"{node.instance}api", node.cgroup / "api"
    cgroup.mkdir()
    node.stack.callback(shutil.rmtree, f"/run/weft/{instance}", ignore_errors=True)
    node.stack.callback(node.command, BUILD / "weft-loader", "uninstall", "--instance", instance)
    node.command(BUILD / "weft-loader", "install", "--instance", instance, "--cgroup", cgroup)
    environment = {**os.environ, "WEFT_ROOT_ACCESS_KEY_ID": KEY[0], "WEFT_ROOT_SECRET_ACCESS_KEY": KEY[1]}
    return start(node, "weftd", ["--instance", instance, "--state-dir", node.directory / "api", "--api", f"{address}:{PORT}", "--api-plaintext"],
                 environment)


def start_moto(node, address):
    return start(node, MOTO, ["-H", address, "-p", str(PORT)], dict(os.environ))


def start(node, program, words, environment):
    with open(node.directory / "api.log", "a") as log:
        return node.start([BUILD / program, *words], PROXY_CPU, env=environment, stdout=log, stderr=log)


def signed(address, method, path, document=None):
    body = json.dumps(document).encode() if document else b""
    request = botocore.awsrequest.AWSRequest(method, f"http://{address}:{PORT}{path}", data=body)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(*KEY), "appmesh", "us-east-1").add_auth(request)
    return method, path, body, dict(request.headers)


def send(connection, request):
    connection.request(*request)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{request[0]} {request[1]}: {answer.status} {body[:200]}")


def client(address, requests, ready, go, results):
    """Puts the seconds of each answer, or what went wrong, into the queue."""
    os.sched_setaffinity(0, {TRAFFIC_CPU})
    connection, took = http.client.HTTPConnection(address, PORT, timeout=WAIT_SECONDS), []
    ready.release()
    go.wait()
    try:
        for request in requests:
            begin = time.perf_counter()
            send(connection, request)
            took.append(time.perf_counter() - begin)
        results.put(took)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        results.put(str(error))


def load(address, requests):
    fork = multiprocessing.get_context("fork")
    ready, go, results = fork.Semaphore(0), fork.Event(), fork.Queue()
    clients = [fork.Process(target=client, args=(address, requests[i::CLIENTS], ready, go, results), daemon=True) for i in range(CLIENTS)]
    for one in clients:
        one.start()
    for _ in clients:
        ready.acquire()
    begin = time.perf_counter()
    go.set()
    answers = [results.get(timeout=4 * WAIT_SECONDS) for _ in clients]
    seconds = time.perf_counter() - begin
    for one in clients:
        one.join()
    failed = [one for one in answers if isinstance(one, str)]
    if failed:
        raise RuntimeError(failed[0])
    took = sorted(second for one in answers for second in one)
    return {"per_second": len(took) / seconds, "p50_ms": took[len(took) // 2] * 1e3, "p99_ms": took[len(took) * 99 // 100] * 1e3}


def is_up(address):
    try:
        send(http.client.HTTPConnection(address, PORT, timeout=1), signed(address, "GET", MESHES))
        return True
    except OSError:
        return False


def contest(node, start_server, address, count):
    server = start_server(node, address)
    wait_for(lambda: is_up(address), f"an API at {address}")
    places = [(f"m{i // IN_A_MESH}", f"n{i}") for i in range(count)]
    for mesh in sorted({mesh for mesh, _ in places}):
        send(http.client.HTTPConnection(address, PORT, timeout=WAIT_SECONDS), signed(address, "PUT", MESHES, {"meshName": mesh}))
    figures = {"creates": load(address, [signed(address, "PUT", f"{MESHES}/{mesh}/virtualNodes", {"virtualNodeName": name, "spec": {}})
                                         for mesh, name in places]),
               "reads": load(address, [signed(address, "GET", f"{MESHES}/{mesh}/virtualNodes/{name}") for mesh, name in places])}
    end(server)
    return figures


def measure(node, size):
    """By contestant: creates and reads. Without moto's server, weft alone."""
    starts = {"weft": start_weft}
    if MOTO.exists():
        starts["moto"] = start_moto
    else:
        progress("moto's server is missing: measured without it")
    progress(f"the API: {size['api_resources']} resources")
    return {name: contest(node, begin, node.address(90 + i), size["api_resources"]) for i, (name, begin) in enumerate(starts.items())}


def table(result, number):
    grid = [["the App Mesh API, 8 clients, signed", "requests/s", "p50 ms", "p99 ms"]]
    for what in ("creates", "reads"):
        for name, figures in result.items():
            grid.append([f"{what}, {name}", *(number(figures[what][key]) for key in ("per_second", "p50_ms", "p99_ms"))])
    return grid
