# SPDX-License-Identifier: Apache-2.0
"""What the systemd units count on."""
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from weft import BUILD, Node

pytestmark = pytest.mark.one_kernel

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"


def programs_of(unit):
    return re.findall(r"^ExecStart=@BINDIR@/(\S+) ?(.*)$", (DEPLOY / unit).read_text(), re.M)


def test_weftd_tells_systemd_when_it_answers_and_what_it_starts_does_not(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, Node() as node:
        node.kill_agent()
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(10)
        node.agent_wrapper = ["env", f"NOTIFY_SOCKET={tmp_path}/notify"]
        node.start_agent()
        assert notified.recv(100) == b"READY=1"
        environment = Path(f"/proc/{node.proxy_pid()}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environment


def test_units_start_programs_that_are_built_with_options_that_they_have():
    for unit in ("weftd.service", "weft-proxy.service"):
        ((program, words),) = programs_of(unit)
        shown = subprocess.run([BUILD / program, "--help"], check=True, capture_output=True, text=True).stdout
        for option in re.findall(r"--[a-z-]+", words):
            assert re.search(rf"^  {option} ", shown, re.M)


def test_the_units_are_well_formed_to_systemd(tmp_path):
    for path in DEPLOY.glob("*.service"):
        (tmp_path / path.name).write_text(path.read_text().replace("@BINDIR@", os.fspath(BUILD)))
    if subprocess.run(["sh", "-c", "command -v systemd-analyze"], capture_output=True).returncode:
        pytest.skip("systemd-analyze is not there")
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.glob("*.service"))], capture_output=True, text=True)
    assert not result.stderr and result.returncode == 0
