# SPDX-License-Identifier: Apache-2.0
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from api import Api  # noqa: E402  # which knows where the next ones are
import ending  # noqa: E402
from weft import add_logs  # noqa: E402


def pytest_configure(config):
    ending.listen(config)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    add_logs(outcome.get_result())


@pytest.fixture(scope="session")
def shared():
    """One node for all tests that do nothing to it but call its API."""
    with Api("--api-audit", "all") as api:
        yield api


@pytest.fixture
def api(shared):
    """The same, without any mesh."""
    for region in ("us-east-1", "eu-west-1"):
        shared.clear(region)
    yield shared
