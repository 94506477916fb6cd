# SPDX-License-Identifier: Apache-2.0
"""What bench/proxy.py measured, as tables, and the bounds it is measured against."""

from telling import AT_LEAST, AT_MOST, number, spread, verdict

NAMES = ["direct", "weft", "again", "weft logged", "envoy", "haproxy", "nginx", "envoy pair", "haproxy pair"]
HEADS = {"again": "weft again", "envoy": "Envoy", "envoy pair": "Envoy pair"}
RATIOS = [ # of what, where it is, to whom, sense, must, aim
    ("requests/s of the proxy's CPU time", ("throughput", "one"), "envoy", AT_LEAST, 3.0, None),
    ("requests/s of the proxy's CPU time", ("throughput", "one"), "haproxy", AT_LEAST, 1.4, None),
    ("requests/s of the proxy's CPU time", ("throughput", "one"), "nginx", AT_LEAST, None, 1.1),
    ("whole path, requests/s", ("throughput", "path"), "envoy pair", AT_LEAST, 6, 8),
    ("whole path, requests/s", ("throughput", "path"), "haproxy pair", AT_LEAST, None, None),
    ("whole path, CPU time of a request", ("throughput", "path_cpu"), "envoy pair", AT_MOST, None, None),
    ("whole path, CPU time of a request", ("throughput", "path_cpu"), "haproxy pair", AT_MOST, None, None),
    ("whole path, the serving node logged and checked, requests/s", ("throughput", "logged"), "envoy pair", AT_LEAST, None, None),
    ("whole path, the serving node logged and checked, requests/s", ("throughput", "logged"), "haproxy pair", AT_LEAST, None, None),
    ("whole path, the serving node logged and checked, CPU time", ("throughput", "logged_cpu"), "envoy pair", AT_MOST, None, None),
    ("whole path, the serving node logged and checked, CPU time", ("throughput", "logged_cpu"), "haproxy pair", AT_MOST, None, None),
    ("added at 1,000 requests/s, p50", ("latency", "p50_us"), "envoy pair", AT_MOST, 0.30, 0.22),
    ("added at 1,000 requests/s, p99", ("latency", "p99_us"), "envoy pair", AT_MOST, 0.35, 0.22),
    ("added at 1,000 requests/s, p999", ("latency", "p999_us"), "envoy pair", AT_MOST, None, None),
    ("added at 1,000 requests/s, p50", ("latency", "p50_us"), "haproxy pair", AT_MOST, None, None),
    ("added at 1,000 requests/s, p99", ("latency", "p99_us"), "haproxy pair", AT_MOST, None, None),
    ("added at 1,000 requests/s, p999", ("latency", "p999_us"), "haproxy pair", AT_MOST, None, None),
]
FIGURES = [
    ("requests of the proxies' CPU time", "/s", "throughput", "one"),
    ("whole path, requests", "/s", "throughput", "path"),
    ("whole path, CPU time of a request", "us", "throughput", "path_cpu"),
    ("at 1,000 requests/s, p50", "us", "latency", "p50_us"),
    ("at 1,000 requests/s, p99", "us", "latency", "p99_us"),
    ("at 1,000 requests/s, p999", "us", "latency", "p999_us"),
]
CHANGE_MS = (2, 0.5)
START_MS = {25: (40, 10), 1000: (120, 30)}
MEMORY_MIB = (32, 16)
SERVICE_KIB = (8, 2)
OTHERS = ["envoy", "haproxy", "nginx"]
MIB = 2**20


def bounds(value, sense, must, aim, unit=""):
    """The cells "must", "aim" and "met"."""
    def cell(bound):
        return "" if bound is None else f"{sense} {bound}{unit}"
    if must is None and aim is None:
        return ["", "", ""]
    if must is None:
        return ["", cell(aim), "aim" if verdict(value, sense, aim, aim) == "aim" else "not the aim"]
    never = float("inf") if sense == AT_LEAST else float("-inf")
    return [cell(must), cell(aim), verdict(value, sense, must, never if aim is None else aim)]


def head(name):
    return HEADS.get(name, name)


def ratios(result):
    grid = [["HTTP/1.1", "beside", "weft/that", "must", "aim", "met", "weft again/weft"]]
    for what, (part, key), to, sense, must, aim in RATIOS:
        measured = result[part][key]["ratios"]
        if measured.get(to):
            grid.append([what, head(to), spread(measured[to]), *bounds(measured[to]["median"], sense, must, aim), spread(measured["again"])])
    return grid


def figures(result):
    names = [name for name in NAMES if any(name in result[part][key]["figures"] for _, _, part, key in FIGURES)]
    return [["HTTP/1.1", "unit", *map(head, names)]] + [
        [what, unit, *(spread(result[part][key]["figures"].get(name), number) for name in names)] for what, unit, part, key in FIGURES]


def of_services(services):
    return f"{services:,} services"


def changes(result):
    grid = [["weight change to its first request, ms", "weft", "must", "aim", "met", *map(head, OTHERS)]]
    for row in result["sizes"]:
        ms = row["change_ms"]
        grid.append([of_services(row["services"]), spread(ms["weft"], number), *bounds(ms["weft"]["median"], AT_MOST, *CHANGE_MS),
                     *(spread(ms.get(name), number) for name in OTHERS)])
    for row in result["sizes"]:
        ms = row["api_ms"]
        grid.append([f"{of_services(row['services'])}, by UpdateRoute, from its answer", spread(ms["from_answer"], number),
                     *bounds(ms["from_answer"]["median"], AT_MOST, *CHANGE_MS), "", "", ""])
        grid.append([f"{of_services(row['services'])}, by UpdateRoute, from sending it (one fsync is in it)", spread(ms["all"], number),
                     "", "", "", "", "", ""])
    return grid


def starts(result):
    grid = [["start to first 200, ms", "weft", "must", "aim", "met", *map(head, OTHERS)]]
    for row in result["sizes"]:
        ms = row["start_ms"]
        grid.append([of_services(row["services"]), spread(ms["weft"], number),
                     *bounds(ms["weft"]["median"], AT_MOST, *START_MS.get(row["services"], (None, None))),
                     *(spread(ms.get(name), number) for name in OTHERS)])
    return grid


def memory(result):
    """RSS of weftd and weft-proxy together; of the others, of one that serves one workload."""
    smallest, largest = result["sizes"][0], result["sizes"][-1]
    workloads, idle = result["workloads"], result["idle"]
    grid = [["memory", "weft", "must", "aim", "met", *map(head, OTHERS)]]

    def of_others(value, form):
        return [form(value(name)) if name in smallest["memory"] else "-" for name in OTHERS]

    def mib(value):
        return f"{number(value / MIB)} MiB"

    def kib(value):
        return f"{number(value / 1024)} KiB"

    grid.append([f"{of_services(workloads['services'])} and {workloads['workloads']} workloads, RSS of all", mib(workloads["rss"]),
                 *bounds(workloads["rss"] / MIB, AT_MOST, *MEMORY_MIB, " MiB"),
                 *of_others(lambda name: smallest["memory"][name]["rss"], lambda each: f"{workloads['workloads']} x {mib(each)}")])
    grid.append(["  of that, memory of its own (the rest: kernel maps and programs' text, mapped)", mib(workloads["own"]), "", "", "",
                 *of_others(lambda name: smallest["memory"][name]["own"], lambda each: f"{workloads['workloads']} x {mib(each)}")])
    if largest is not smallest:
        def each(name):
            return (largest["memory"][name]["rss"] - smallest["memory"][name]["rss"]) / (largest["services"] - smallest["services"])
        grid.append([f"a further service, {smallest['services']} to {largest['services']:,}", kib(each("weft")),
                     *bounds(each("weft") / 1024, AT_MOST, *SERVICE_KIB, " KiB"), *of_others(each, kib)])
    grid.append([f"an idle connection, of {idle['weft']['connections']:,}", kib(idle["weft"]["each"]), "", "", "",
                 *(kib(idle[name]["each"]) if name in idle else "-" for name in OTHERS)])
    return grid


def tables(result):
    return [ratios(result), figures(result), changes(result), starts(result), memory(result)]
