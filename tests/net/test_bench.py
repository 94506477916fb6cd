# SPDX-License-Identifier: Apache-2.0
"""bench/run runs: every row has figures, and nothing is left behind. How fast anything is, no test judges."""
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_kernel

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WEFT_BUILD", ROOT / "build"))
CONTESTANTS = ["direct", "again", "weft"] + (["haproxy"] if Path("/usr/sbin/haproxy").exists() else [])


PEERS = [name for name, there in {"envoy": any((BUILD / "envoy").glob("lib/python3*/site-packages/envoy/_bin/envoy")),
                                 "haproxy": Path("/usr/sbin/haproxy").exists(), "nginx": True}.items() if there]
NEEDS = pytest.mark.skipif(not shutil.which("wrk") or not shutil.which("nginx"), reason="wrk or nginx is not installed (make bench does it)")


def positive(value):
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    assert (BUILD / "bench/tcp_load").exists(), "run `make net-build` first"
    report = tmp_path_factory.mktemp("bench") / "report.json"
    with subprocess.Popen([ROOT / "bench/run", "--quick", "--json", report], env={**os.environ, "WEFT_BUILD": str(BUILD)},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            table, errors = run.communicate(timeout=600)
        finally:
            run.kill()
    assert run.returncode == 0, errors
    return {"result": json.loads(report.read_text()), "table": table, "left": leftovers(run.pid)}


def leftovers(pid):
    """What the run with this process id makes outside its namespace, while it is there."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    places = [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup2", "bpf")] + [Path("/run/weft")]
    return {str(path) for place in places if place.is_dir() for pattern in (f"weft-bench-{pid}*", f"*/bench{pid}*", f"bench{pid}*")
            for path in place.glob(pattern)}


@pytest.mark.parametrize("row", ["connect", "pingpong", "bulk"])
def test_every_row_has_a_figure_of_every_contestant(quick, row):
    found = next(r for r in quick["result"]["rows"] if r["name"] == row)
    for figures in found["figures"].values():
        assert sorted(figures) == sorted(CONTESTANTS)
        assert all(positive(figure["median"]) for figure in figures.values())
    ratios = {name for name, ratio in found["ratios"].items() if ratio and positive(ratio["median"])}
    assert {"weft/direct", "again/direct"} <= ratios
    assert found["what"] in quick["table"]


def test_names_have_figures_of_every_contestant_and_their_ratio_to_the_resolver_alone(quick):
    rows = quick["result"]["names"]
    assert {row["name"] for row in rows} == {"rate", "latency"}
    for row in rows:
        assert sorted(row["figures"]) == ["again", "forwarded", "mesh", "resolver"]
        assert all(positive(figure["median"]) for figure in row["figures"].values())
        assert all(positive(ratio["median"]) for ratio in row["ratios"].values())
        assert row["what"] in quick["table"]


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed (make bench does it)")
def test_the_http_stack_has_figures_and_their_ratio_to_nginx(quick):
    rows = quick["result"]["static"]
    assert rows
    contestants = ["again", "nginx", "weft"] if shutil.which("nginx") else ["again", "weft"]
    for row in rows:
        assert sorted(row["figures"]) == contestants
        assert all(positive(figure["median"]) for figure in row["figures"].values())
        assert all(positive(ratio["median"]) for ratio in row["ratios"].values() if ratio)
        assert row["unit"] in quick["table"]


@NEEDS
def test_weft_proxy_has_figures_and_its_ratio_to_each_proxy_that_is_there(quick):
    result = quick["result"]["proxy"]
    pairs = [f"{name} pair" for name in PEERS if name != "nginx"]
    for key, direct, to in (("one", [], PEERS), ("path", ["direct"], pairs), ("path_cpu", ["direct"], pairs), ("logged", ["direct"], pairs)):
        row = result["throughput"][key]
        assert sorted(row["figures"]) == sorted([*direct, "weft", "again", "weft logged", *PEERS, *pairs])
        assert all(positive(figure["median"]) for figure in row["figures"].values())
        assert all(positive(row["ratios"][name]["median"]) for name in [*to, "again"])
    for row in result["latency"].values():
        assert sorted(row["figures"]) == sorted(["direct", "direct again", "weft", "again", "weft logged", *pairs])
        assert all(positive(figure["median"]) for figure in row["figures"].values())
    assert "requests/s of the proxy's CPU time" in quick["table"]


@NEEDS
def test_starts_changes_and_memory_of_weft_proxy_are_told_beside_those_of_others(quick):
    result = quick["result"]["proxy"]
    for row in result["sizes"]:
        for key in ("start_ms", "change_ms"):
            assert sorted(row[key]) == sorted(["weft", *PEERS])
            assert all(positive(ms["median"]) for ms in row[key].values())
        assert all(positive(memory["rss"]) for memory in row["memory"].values())
        assert positive(row["api_ms"]["all"]["median"])
    assert sorted(result["idle"]) == sorted(["weft", *PEERS])
    assert result["workloads"]["workloads"] == 25 and positive(result["workloads"]["rss"])
    assert "25 services and 25 workloads, RSS of all" in quick["table"]


def test_the_api_has_figures_of_creates_and_reads(quick):
    for name, figures in quick["result"]["api"].items():
        for what in ("creates", "reads"):
            assert all(positive(figures[what][key]) for key in ("per_second", "p50_ms", "p99_ms"))
            assert f"{what}, {name}" in quick["table"]
    assert "weft" in quick["result"]["api"]


def test_the_agents_cpu_memory_and_reaction_are_told(quick):
    result = quick["result"]
    for load in ("agent", "agent_all_flows"):
        assert positive(result[load]["per_second"]) and positive(result[load]["cpu_pct_at_20000"])
    assert positive(result["memory"]["VmRSS"]) and positive(result["memory_proxy"]["VmRSS"])
    assert result["switch"] and all(positive(switch["ms"]["median"]) for switch in result["switch"])


def test_verified_signatures_are_counted(quick):
    signatures = quick["result"]["signatures"]
    assert positive(signatures["kept_per_second"]) and positive(signatures["derived_per_second"])
    assert "signatures of the control API verified" in quick["table"]


def test_the_hooks_of_a_connection_ran_as_often_as_connections_were_made(quick):
    hooks = quick["result"]["hooks"]["hooks"]
    assert all(positive(hook["ns_per_run"]) for hook in hooks.values())
    assert hooks["connect4"]["runs_per_connection"] == pytest.approx(1, abs=0.05)
    assert hooks["sock_release"]["runs_per_connection"] >= 0.95


def test_nothing_is_left_behind(quick):
    assert quick["left"] == set()
