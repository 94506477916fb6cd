# SPDX-License-Identifier: Apache-2.0
"""The documents name what the sources have, all of it and nothing else."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_kernel

ROOT = Path(__file__).resolve().parent.parent.parent


def read(path):
    return (ROOT / path).read_text()


def section(text, title):
    """From a heading to the next of its level."""
    return re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def options_of_weftd():
    return re.findall(r'\.name = "([^"]+)"', read("agent/options.c"))


def test_every_reason_is_documented_with_its_verdict_and_meaning_and_no_other():
    sources = [(name, verdict.lower(), text) for name, verdict, text in
               re.findall(r'X\(\w+,\s*"([^"]+)",\s*VERDICT_(\w+),\s*"([^"]+)"\)', read("maps/abi/reason.h"))]
    documented = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \|$", section(read("docs/architecture.md"), "Reasons"), re.M)
    assert len(sources) > 20
    assert documented == sources


def test_every_reason_to_refuse_a_signature_is_documented_with_its_error_and_meaning_and_no_other():
    errors = dict(re.findall(r'\[(\w+)\] = "(\w+Exception)"', read("agent/aws/refusal.c")))
    sources = [(name, errors[error], text) for name, error, text in
               re.findall(r'X\(\w+, "([^"]+)", (\w+), "([^"]+)"\)', read("agent/aws/refusal.h"))]
    documented = re.findall(r"^\| `([a-z-]+)` \| `(\w+)` \| (.*) \|$", section(read("docs/api.md"), "Signatures and access keys"), re.M)
    assert len(sources) > 20
    assert documented == sources


def test_every_reason_to_refuse_a_message_is_documented_with_its_status_and_meaning_and_no_other():
    sources = [(name, "closed" if status == "0" else status, text) for name, status, text in
               re.findall(r'X\(HTTP_\w+, "([^"]+)", (\d+), "([^"]+)"\)', read("agent/http/refusal.h"))]
    documented = re.findall(r"^\| `([a-z0-9.-]+)` \| (\w+) \| (.*) \|$", section(read("docs/api.md"), "Requests that are refused"), re.M)
    assert len(sources) > 25
    assert documented == sources


def test_every_answer_of_the_proxy_itself_is_documented_with_its_status_flags_and_meaning_and_no_other():
    flags = dict(re.findall(r'FLAG\((\w+), "(\w+)",', read("agent/access_log/entry.h")))
    table = re.sub(r"\s*\\\n\s*", " ", read("agent/l7/reply.h"))
    sources = [(name, "closed" if status == "0" else status, flags[flag], text) for name, status, flag, text in
               re.findall(r'X\(\w+, "([^"]+)", (\d+), (\w+), "[^"]*", "[^"]*", "([^"]+)"\)', table)]
    documented = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| `(\w+)` \| (.*) \|$", section(read("docs/http.md"), "HTTP services"), re.M)
    assert len(sources) > 20
    assert documented == sources


def test_every_option_of_weftd_is_documented_and_no_other():
    documented = re.findall(r"^\| `--([a-z0-9-]+)", section(read("docs/operations.md"), "Options of weftd"), re.M)
    assert len(documented) > 10
    assert documented == options_of_weftd()


def test_every_metric_is_documented_with_its_type_and_meaning_and_no_other():
    table = read("agent/telemetry/metrics.c").split("families[] = {")[1]
    sources = re.findall(r'\{ "(\w+)", "(\w+)",\s*"([^"]+)"', table)
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| [a-z, ]*\| (.*) \|$", section(read("docs/operations.md"), "Metrics"), re.M)
    assert len(sources) > 20
    assert documented == sources


def test_every_limit_is_documented_with_its_value():
    sources = dict(re.findall(r"^#define (\w+) (\d+)(?: /\*.*)?$", read("maps/abi/limits.h"), re.M))
    documented = re.findall(r"^\| .*\(`(\w+)`\) \| ([\d,]+) \|$", section(read("docs/operations.md"), "Limits"), re.M)
    assert len(sources) > 10
    assert {name: value.replace(",", "") for name, value in documented} == sources


def test_every_array_is_documented_with_its_share_for_a_service():
    sources = re.findall(r'^\tX\(\w+, (\w+), "\w+", (\d+), \w+\)', read("maps/abi/limits.h"), re.M)
    documented = re.findall(r"^\| .*\(`(\w+)`\).* \| (\d+) \| \d+ bytes \|$", section(read("docs/operations.md"), "Limits"), re.M)
    assert len(sources) == 9
    assert documented == sources


def test_the_example_options_file_is_the_documented_one_and_names_options_only():
    example = read("deploy/weftd.json")
    assert example in read("docs/operations.md")
    assert set(json.loads(example)) <= set(options_of_weftd()) | {"workloads"}


def test_every_link_from_a_document_leads_to_a_file_and_a_heading_of_it():
    links = 0
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            assert target.is_file(), f"{document.name}: {link}"
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.M)
            assert not anchor or anchor in [re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings], f"{document.name}: {link}"
            links += 1
    assert links > 20
