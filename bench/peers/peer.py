# SPDX-License-Identifier: Apache-2.0
"""What proxies that weft is measured beside have in common."""

import json
import os
import subprocess
import time
from pathlib import Path

from harness import PROXY_CPU, cpu_ns, end, wait_for
from mesh import PORT, SERVICE

# A shell that is where the program shall be, with its affinity, and becomes it when told: what the start of it costs is in no figure.
WAIT = ["sh", "-c", 'read -r go; exec "$@"', "sh"]
GROUP = "x-user-segment"  # a header; who sends "beta" goes to the second endpoint, whatever the weights


class Peer:
    """A proxy on the CPU of proxies, at `listen`:PORT, that routes by host: to `endpoints` (two addresses) for SERVICE, by weights, and to
    one address for each of `others` {host: address}. Retries, log and counters are on."""

    name = program = None

    def __init__(self, node, listen, endpoints, others=()):
        self.node, self.listen, self.endpoints, self.others = node, listen, endpoints, dict(others)
        self.directory = node.directory / f"{self.name}-{listen}"
        self.directory.mkdir(exist_ok=True)
        self.log = self.directory / "access.log"
        self.process = None

    @classmethod
    def is_there(cls):
        return cls.program and Path(cls.program).exists()

    def prepare(self):
        """All but the start of the program itself."""
        self.configure((100, 0))
        output = open(self.log, "a")
        self.process = self.node.start([*WAIT, *self.command()], PROXY_CPU, stdin=subprocess.PIPE, stdout=output,
                                       stderr=open(self.directory / "errors", "a"), text=True)
        output.close()

    def may_restart(self):
        """At any time."""
        self.stop()
        self.prepare()

    def restart(self):
        """Starts it; when."""
        begun_ns = time.monotonic_ns()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return begun_ns

    def restarted(self):
        """For those whose processes have to be found."""

    def start(self):
        self.may_restart()
        self.restart()
        wait_for(self.is_answering, f"{self.name} to answer")
        return self

    def is_answering(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {(self.directory / 'errors').read_text()[-2000:]}")
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-H", f"Host: {SERVICE}:{PORT}", f"http://{self.listen}:{PORT}/"])
        return done.returncode == 0

    def stop(self):
        if self.process:
            end(self.process)

    def pids(self):
        """Those of its processes that do the work."""
        return [self.process.pid]

    def cpu_ns(self):
        return sum(cpu_ns(pid) for pid in self.pids())

    def forget_log(self):
        if self.log.exists():
            os.truncate(self.log, 0)

    def configure(self, weights):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def change(self, weights, tag):
        """What tells it of other weights: a sample of bench/http_load."""
        raise NotImplementedError


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path
