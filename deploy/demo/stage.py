# SPDX-License-Identifier: Apache-2.0
"""Where the demo happens and how it is told: the place that a run occupies, commands shown as they run, promises that are checked."""

import contextlib
import http.client
import json
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("WEFT_BUILD", HERE.parent.parent / "build"))
RUNS = Path("/run/weft-demo") # a directory for each run, named as its instance
API = "127.0.0.1:9080" # in the node's own namespace
WAIT_SECONDS = 120 # for what takes a second or two where nothing else runs
COLOUR = sys.stdout.isatty()
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Broken(Exception):
    """Something is not as promised."""


def bold(text):
    return f"\033[1m{text}\033[0m" if COLOUR else text


def faint(text):
    return f"\033[2m{text}\033[0m" if COLOUR else text


def say(text=""):
    print(text, flush=True)


def expect(truth, text):
    if not truth:
        raise Broken(text)
    say(f"  {'✓' if COLOUR else 'ok:'} {text}")


def wait_for(condition, what, seconds=WAIT_SECONDS):
    """Polls, since what is waited for is another process's doing."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Broken(f"waited {seconds} s for {what}")
        time.sleep(0.002)


def quiet(*args):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True)
    if done.returncode:
        raise Broken(f"{shlex.join(str(arg) for arg in args)}: {done.stderr.strip()}")
    return done.stdout


def cgroup_root():
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind = line.split()[:3]
        if kind == "cgroup2":
            return Path(where)
    raise Broken("there is no cgroup2 hierarchy")


class Place:
    """What a run occupies, by its name alone, so that another run can remove it."""

    def __init__(self, instance):
        self.instance = instance
        self.directory = RUNS / instance
        self.cgroup = cgroup_root() / f"weft-{instance}"
        self.managed, self.plain = self.cgroup / "mesh", self.cgroup / "plain"

    def namespace(self, name):
        return f"{self.instance}-{name}"

    def remove(self):
        """Ends every process of the run, and removes all that it made."""
        if self.cgroup.exists():
            (self.cgroup / "cgroup.kill").write_text("1")
            wait_for(lambda: "populated 0" in (self.cgroup / "cgroup.events").read_text(), "the demo's processes to end")
        quiet(BUILD / "weft-loader", "uninstall", "--instance", self.instance)
        for namespace in Path("/run/netns").glob(self.namespace("*")):
            quiet("ip", "netns", "delete", namespace.name)
        for files in Path("/etc/netns").glob(self.namespace("*")):
            shutil.rmtree(files)
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            os.rmdir(directory)
        shutil.rmtree(Path("/run/weft", self.instance), ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        for parent in RUNS, Path("/run/weft"), Path("/etc/netns"):
            with contextlib.suppress(OSError):
                parent.rmdir()


class Stage:
    """A place, and what runs there."""

    def __init__(self, mesh):
        self.place = Place(f"demo-{os.getpid()}")
        self.instance = self.place.instance
        self.mesh = mesh
        self.state = self.place.directory / "state"
        self.steps = 0
        self.started = time.monotonic()

    # --- telling ---

    def step(self, title):
        self.steps += 1
        say()
        say(bold(f"{self.steps}. {title}"))

    def show(self, args):
        """A command, without what each has in common; one that a workload runs with the workload's name for a prompt."""
        words = [str(arg) for arg in args]
        if "--instance" in words:
            at = words.index("--instance")
            del words[at:at + 2]
        for where in f"{BUILD}/", f"{HERE}/", f"{self.place.directory}/", "/usr/bin/":
            words = [word.removeprefix(where).replace(f"file://{where}", "file://") for word in words]
        if words[0] == "nsenter" and "--endpoint-url" in words: # from there on, and without what each has in common
            at = words.index("--endpoint-url")
            words = words[at - 1:at] + words[at + 2:words.index("--query")]
        prompt = ""
        if words[:2] == ["weft", "run"] and words[6] == "--": # nothing but whose it is
            prompt, words = words[5].removeprefix(self.place.namespace("")) + " ", words[7:]
        say(faint(f"  {prompt}$ {shlex.join(words)}"))

    def tell(self, output, most=40):
        lines = output.rstrip().splitlines()
        for line in lines[:most]:
            say(f"    {line}".rstrip())
        if len(lines) > most:
            say(f"    ... {len(lines) - most} more lines")

    def explain_failure(self):
        with contextlib.suppress(OSError):
            say("the end of weftd's log:")
            self.tell("\n".join((self.place.directory / "weftd.log").read_text().splitlines()[-15:]))

    # --- doing ---

    def command(self, *args, show=True, code=0, most=40):
        """Runs it as a person would, and shows both; returns what it printed."""
        if show:
            self.show(args)
        done = subprocess.run([str(arg) for arg in args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=ENVIRONMENT, timeout=WAIT_SECONDS)
        if show:
            self.tell(done.stdout + done.stderr, most)
        if done.returncode != code:
            raise Broken(f"{args[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout + done.stderr

    def weft(self, *args, **options):
        return self.command(BUILD / "weft", args[0], "--instance", self.instance, *args[1:], **options)

    def json(self, *args):
        return json.loads(self.weft(*args, "--json", show=False))

    def aws(self, operation, document, query):
        """`aws appmesh OPERATION` with a document of deploy/demo/mesh, or of the run; returns what the query leaves of the answer."""
        return self.command("nsenter", f"--net=/run/netns/{self.place.namespace('node')}", "env", f"AWS_SHARED_CREDENTIALS_FILE={self.state}/credentials",
                            "AWS_REGION=eu-central-1", "/usr/bin/aws", "--endpoint-url", f"http://{API}", "appmesh", operation, "--cli-input-json",
                            f"file://{document}", "--query", query, "--output", "text")

    def full_name(self, node):
        return f"mesh/{self.mesh}/virtualNode/{node}"

    def as_node(self, node, host, *options):
        return [BUILD / "weft", "run", "--instance", self.instance, "--virtual-node", self.full_name(node), "--netns",
                self.place.namespace(host), *options, "--"]

    def start(self, args, prefix=(), cgroup=None, **options):
        """A process that lives on; those that are not `weft run` go to a cgroup of the demo's."""
        def enter():
            os.setsid() # Ctrl-C is for the demo, which ends them
            if cgroup:
                (cgroup / "cgroup.procs").write_text("0")
        return subprocess.Popen([str(arg) for arg in [*prefix, *args]], preexec_fn=enter, env=ENVIRONMENT, text=True, **options)

    def start_beside(self, args, **options):
        """One in the node's own namespace, outside the mesh."""
        return self.start(args, prefix=["nsenter", f"--net=/run/netns/{self.place.namespace('node')}"], cgroup=self.place.plain,
                          stdin=subprocess.DEVNULL, **options)

    def read_line(self, process, what):
        ready, _, _ = select.select([process.stdout], [], [], WAIT_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise Broken(f"{what} does not answer")
        return line

    def read_to(self, wanted, process, what):
        """All that is there up to then; read_line() may not have been asked before."""
        said = b""
        while wanted.encode() not in said:
            ready, _, _ = select.select([process.stdout], [], [], WAIT_SECONDS)
            more = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not more:
                raise Broken(f"{what} does not answer")
            said += more

    def weftd_start(self):
        args = [BUILD / "weftd", "--instance", self.instance, "--api", API, "--region", "eu-central-1", "--state-dir", self.state]
        self.show(args)
        with open(self.place.directory / "weftd.log", "a") as log:
            self.weftd = self.start_beside(args, stdout=log, stderr=log)
        wait_for(self.weftd_answers, "weftd")

    def weftd_answers(self):
        if self.weftd.poll() is not None:
            raise Broken(f"weftd ended with {self.weftd.returncode}")
        connection = http.client.HTTPConnection("weft", timeout=WAIT_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            try:
                connection.sock.connect(f"/run/weft/{self.instance}/weftd.sock")
                connection.request("GET", "/v1/configuration")
                return connection.getresponse().status == 200
            except OSError:
                return False

    # --- building ---

    def build_network(self, hosts, conf):
        """A bridge in the namespace "node"; a namespace for each host, {name: last part of its addresses}, with this resolv.conf."""
        place, node = self.place, self.place.namespace("node")
        for directory in place.cgroup, place.managed, place.plain:
            directory.mkdir()
        quiet("ip", "netns", "add", node)
        quiet("ip", "-n", node, "link", "set", "lo", "up")
        quiet("ip", "-n", node, "link", "add", "br0", "type", "bridge")
        quiet("ip", "-n", node, "address", "add", "10.88.0.1/24", "dev", "br0")
        quiet("ip", "-n", node, "address", "add", "fd88::1/64", "dev", "br0", "nodad")
        quiet("ip", "-n", node, "link", "set", "br0", "up")
        for name, number in hosts.items():
            host = place.namespace(name)
            quiet("ip", "netns", "add", host)
            quiet("ip", "-n", node, "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", host)
            quiet("ip", "-n", node, "link", "set", f"to{number}", "master", "br0", "up")
            quiet("ip", "-n", host, "address", "add", f"10.88.0.{number}/24", "dev", "eth0")
            quiet("ip", "-n", host, "address", "add", f"fd88::{number}/64", "dev", "eth0", "nodad")
            quiet("ip", "-n", host, "link", "set", "lo", "up")
            quiet("ip", "-n", host, "link", "set", "eth0", "up")
            # Each connection leaves a port in TIME_WAIT; a search among few free ones would be what is measured.
            quiet("nsenter", f"--net=/run/netns/{host}", "sh", "-c", "echo 10000 65535 > /proc/sys/net/ipv4/ip_local_port_range")
            files = Path("/etc/netns", host)
            files.mkdir(parents=True)
            (files / "resolv.conf").write_text(conf)
        for name in hosts:
            show = ["ip", "-j", "-n", place.namespace(name), "link", "show", "eth0"]
            wait_for(lambda: json.loads(quiet(*show))[0]["operstate"] == "UP", f"the link of {name}")
