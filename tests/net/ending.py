# SPDX-License-Identifier: Apache-2.0
"""Whoever tells pytest to end, by Ctrl-C or by SIGTERM as timeout(1) sends it, has its nodes taken away with it: fixtures end as ever. That takes
some seconds, and is asked for once: the same may come from make, from who ends a process group, and five seconds later from execnet."""
import contextlib
import os
import signal

import pytest

SIGNALS = signal.SIGINT, signal.SIGTERM
workers = []  # processes of xdist that this one leads, which ends when they have


def end(_signal, _frame):
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if workers else signal.SIG_IGN)  # a worker may hang
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if not workers:
        raise KeyboardInterrupt


class Leader:
    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node):
        workers.append(node.gateway._io.popen.pid)


def listen(config):
    """For SIGINT as well, which is ignored in what a shell has put in the background: by that execnet ends workers whose leader is gone."""
    for number in SIGNALS:
        signal.signal(number, end)
    config.pluginmanager.register(Leader())
