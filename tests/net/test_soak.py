# SPDX-License-Identifier: Apache-2.0
"""The soak, for as long as a test may take."""
import pathlib
import subprocess

import pytest

pytestmark = pytest.mark.one_kernel

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_everything_at_once_leaves_nothing_behind():
    result = subprocess.run([ROOT / "tests/soak/run", "--minutes", "0.35", "--quiet"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all as it should be" in result.stdout
