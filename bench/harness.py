# SPDX-License-Identifier: Apache-2.0
"""What every measurement needs: a place of its own, processes in it, and medians."""

import contextlib
import ctypes
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("WEFT_BUILD", ROOT / "build"))
CLONE_NEWNET, PR_SET_PDEATHSIG = 0x40000000, 1
CPUS = sorted(os.sched_getaffinity(0))
TRAFFIC_CPU, PROXY_CPU = CPUS[0], CPUS[-1]
WAIT_SECONDS = 60
libc = ctypes.CDLL(None, use_errno=True)


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def wait_for(condition, what, seconds=WAIT_SECONDS):
    """Polls, since what is waited for is another process's doing. The deadline names what did not come."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.002)


def summary(values):
    """Median and spread of what was measured."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": statistics.median(values), "q1": quartiles[0], "q3": quartiles[2], "min": min(values), "max": max(values),
            "count": len(values)}


def cgroup_root():
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind = line.split()[:3]
        if kind == "cgroup2":
            return Path(where)
    raise RuntimeError("there is no cgroup2 hierarchy")


class Node:
    """A namespace, two cgroups (one with weft attached, one without), and what runs there. Gone at exit, whatever happens."""

    def __init__(self, stack):
        self.stack = stack
        self.instance = f"bench{os.getpid()}"
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weft-bench-")))
        self.cgroup = cgroup_root() / f"weft-bench-{os.getpid()}"
        self.mesh = self.cgroup / "mesh"
        self.plain = self.cgroup / "plain/weft" / self.instance # as deep as what `weft run` makes
        self.started = 0
        if libc.unshare(CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "cannot make a network namespace")
        self.command("ip", "link", "set", "lo", "up")
        # Each sample leaves as many sockets in TIME_WAIT as it made connections.
        for name, value in {"tcp_tw_reuse": "1", "ip_local_port_range": "10000 65535"}.items():
            Path("/proc/sys/net/ipv4", name).write_text(value)
        stack.callback(self.remove_cgroups)
        self.mesh.mkdir(parents=True)

    def remove_cgroups(self):
        """Children first. What ran there was ended before; its last traces in the cgroup go a moment later."""
        def removed():
            for directory, _, _ in os.walk(self.cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            return not self.cgroup.exists()
        wait_for(removed, f"{self.cgroup} to empty")

    def command(self, *args):
        done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(str(arg) for arg in args)}: {done.stderr.strip()}")
        return done.stdout

    def address(self, number):
        address = f"10.77.0.{number}"
        self.command("ip", "address", "add", f"{address}/32", "dev", "lo")
        return address

    def start(self, args, cpu, **options):
        """Starts a process outside the mesh, in a cgroup of its own: from one to another the scheduler goes a longer way than within
        one, and those of the mesh have each their own. It does not outlive this one. `cpu` None: it may use all of them."""
        self.started += 1
        cgroup = self.plain / f"run-{self.started}"
        cgroup.mkdir(parents=True)

        def enter():
            (cgroup / "cgroup.procs").write_text("0")
            os.sched_setaffinity(0, CPUS if cpu is None else {cpu})
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        process = subprocess.Popen([str(arg) for arg in args], preexec_fn=enter, **options)
        self.stack.callback(end, process)
        return process


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def cpu_ns(pid):
    """User and system time of all of a process's threads, ended ones too: the clock of clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(~pid << 3 | 2)


class Tool:
    """A tcp_server or tcp_load: a line in, a line out."""

    def __init__(self, node, args):
        self.server = None # of a client: the tool at the other end
        self.name = " ".join(str(arg) for arg in args)
        self.process = node.start(args, TRAFFIC_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def cpu_ns(self):
        return cpu_ns(self.process.pid)

    def read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError(f"no answer from: {self.name}")
        return line

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        return json.loads(self.read())
