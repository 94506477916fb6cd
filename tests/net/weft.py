# SPDX-License-Identifier: Apache-2.0
"""A node of the mesh for tests: a namespace without an outside route, a cgroup subtree, the kernel part and an agent, all
of an instance of its own. What it makes it takes away again, also when a test fails."""
import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("WEFT_BUILD", "build")).resolve()
HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
SLOWNESS = int(os.environ.get("WEFT_TEST_SLOWNESS", 1))  # how many times slower than usual the machine is: an emulated one
SANITIZER = re.compile(r"=+\n(WARNING|ERROR): \w+Sanitizer|runtime error: ")  # what a build with SAN=1 or SAN=thread has found
LOG_SHOWN = 6000  # characters of its end, where a test fails
LOADER_CALLS = ("bpf", "link", "renameat2", "unlink", "mkdir", "rmdir")
libc = ctypes.CDLL(None, use_errno=True)
numbers = itertools.count(1)


def wait_for(condition, what, deadline_s=10):
    """The first true value of condition(), asked every 10 ms, and where asking takes long, a third of the time: who waits leaves a slow
    machine to those that have something to do. Fails with `what` at the deadline, which is later on a slow machine."""
    deadline_s *= SLOWNESS
    end = time.monotonic() + deadline_s
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(max(0.01, 2 * (now - asked)))


def cgroup2_root():
    for line in open("/proc/mounts"):
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    raise RuntimeError("no cgroup2 file system is mounted")


def is_proxy(pid, instance):
    """Whether the process is the weft-proxy of this instance, and not one that has its number by now."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[0].endswith(b"/weft-proxy") and instance.encode() in words
    return False


class Namespace:
    """A network namespace with lo up and these addresses on lo."""

    def __init__(self, *addresses):
        self.name = f"weft-t{os.getpid()}-{next(numbers)}"
        self.path = f"/run/netns/{self.name}"
        self.etc = pathlib.Path("/etc/netns", self.name)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "set", "lo", "up")
        for address in addresses:
            self.add_address(address)

    def add_address(self, address, device="lo"):
        """ADDRESS/LENGTH, which can be used at once: one of IPv6 could be bound to only after the kernel's worker had its turn (on lo too,
        and behind whoever makes or removes devices anywhere), but for nodad."""
        self.ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))

    def ip(self, *words):
        subprocess.run(["ip", "-n", self.name, *words], check=True)

    def sysctl(self, setting):
        self.command("sysctl", "-qw", setting)

    def command(self, *argv):
        return subprocess.run(self.prefix() + list(argv), check=True, capture_output=True, text=True).stdout

    def prefix(self):
        return ["nsenter", f"--net={self.path}"]

    def resolv_conf(self, *lines):
        """What workloads that `weft run --netns` starts here find in /etc/resolv.conf, from now on; written in place, and never empty
        meanwhile: who looks just then would take it for one that means 127.0.0.1, and keep that for ten seconds. Nothing but files and
        DNS is asked for names, whatever the machine's nsswitch.conf says."""
        self.etc.mkdir(parents=True, exist_ok=True)
        (self.etc / "nsswitch.conf").write_text("hosts: files dns\n")
        text = "".join(f"{line}\n" for line in lines)
        with open(os.open(self.etc / "resolv.conf", os.O_WRONLY | os.O_CREAT, 0o644), "wb", buffering=0) as file:
            file.write(text.ljust(os.stat(file.fileno()).st_size, "\n").encode())
            file.truncate(len(text))

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)
        shutil.rmtree(self.etc, ignore_errors=True)


class Told:
    """A process that gets a line of JSON and answers with one, {"result"} or {"error"}; the first comes unasked."""

    def __init__(self, process):
        self.process = process
        self.greeting = self.answer()  # it runs by now

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"the process ended: {self.process.wait()}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def tell(self, **task):
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()

    def ask(self, **task):
        self.tell(**task)
        return self.answer()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Resolver(Told):
    """A dns_server.py, which says what can be asked of it."""

    def set(self, name, **records):
        """The records of a name: A=["10.0.0.1"], ttl=5. None of them: the name is gone."""
        self.ask(op="set", name=name, records=records or None)

    def behave(self, name="", **how):
        self.ask(op="behave", name=name, how=how)

    def seen(self, name=None):
        """The queries since the last time: all, or those of a name."""
        return [query for query in self.ask(op="seen") if name is None or query["name"] == name]


class Worker(Told):
    """A process in a workload (or outside of all) that runs Python on command, so that one process makes many calls."""

    def __init__(self, process):
        super().__init__(process)
        self.pid = self.greeting

    def start(self, code, *arguments):
        self.tell(code=code, arguments=arguments)

    def run(self, code, *arguments):
        """What the code leaves in `result`. Names last from one call to the next."""
        self.start(code, *arguments)
        return self.answer()

    def connect(self, address, port):
        return self.run("result = connect(*arguments)", address, port)


class Node:
    alive = []  # those whose logs may tell why a test failed

    def __init__(self, *options, addresses=("10.77.0.1/24", "10.77.0.2/24", "fd77::1/64"), directory=True):
        """directory=False: resources are those that the API is given, not those of files."""
        self.instance = f"t{os.getpid()}-{next(numbers)}"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="weft-test-"))
        self.config = self.directory / "config"
        self.config.mkdir()
        self.state = self.directory / "state"
        self.log = self.directory / "weftd.log"
        self.cgroup = cgroup2_root() / f"weft-test-{self.instance}"
        self.options = list(options) + (["--config", self.config] if directory else [])
        self.programs = BUILD  # of weftd, of the weft-proxy that it starts, and of weft-loader
        self.agent_wrapper = []  # a command that ends in running what follows it
        self.namespace = None
        self.agent = None
        self.processes = []
        self.namespaces = []
        self.addresses = addresses

    def __enter__(self):
        try:
            self.alive.append(self)
            self.cgroup.mkdir()
            self.namespace = self.add_namespace(*self.addresses)
            self.loader("install", "--cgroup", self.cgroup)
            self.start_agent()
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.log_end())
        self.close()

    def add_namespace(self, *addresses):
        namespace = Namespace(*addresses)
        self.namespaces.append(namespace)
        return namespace

    def add_pod(self):
        """A namespace with a veth of its own to the node's, which forwards between its pods and nowhere else. Its addresses are
        pod.ipv4 and pod.ipv6."""
        pod = self.add_namespace()
        n = len(self.namespaces)
        pod.ipv4, pod.ipv6 = f"10.78.{n}.2", f"fd78:{n:x}::2"
        self.namespace.ip("link", "add", f"pod{n}", "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        for namespace, device, host in ((self.namespace, f"pod{n}", 1), (pod, "eth0", 2)):
            namespace.ip("link", "set", device, "up")
            namespace.add_address(f"10.78.{n}.{host}/24", device)
            namespace.add_address(f"fd78:{n:x}::{host}/64", device)
        pod.ip("route", "add", "default", "via", f"10.78.{n}.1")
        pod.ip("route", "add", "default", "via", f"fd78:{n:x}::1")
        self.namespace.sysctl("net.ipv4.ip_forward=1")
        self.namespace.sysctl("net.ipv6.conf.all.forwarding=1")
        return pod

    def loader(self, command, *words):
        result = subprocess.run([self.programs / "weft-loader", command, "--instance", self.instance, *words], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def loader_calls(self, command, *words):
        """The same; the system calls that changed something, or could have, in their order, as strace shows them."""
        trace = self.directory / "trace"
        result = subprocess.run(["strace", "-o", trace, "-e", f"trace={','.join(LOADER_CALLS)}", self.programs / "weft-loader", command,
                                 "--instance", self.instance, *words], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return [line for line in trace.read_text().splitlines() if line.startswith(LOADER_CALLS)]

    def loader_killed(self, call, n, command, *words):
        """The same, killed when it makes the n-th of these system calls, which it does."""
        result = subprocess.run(["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={n}",
                                 self.programs / "weft-loader", command, "--instance", self.instance, *words], capture_output=True, text=True)
        assert result.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, n, result)

    def start_agent(self):
        log = open(self.log, "a")
        self.agent = subprocess.Popen(
            [*self.namespace.prefix(), *self.agent_wrapper, self.programs / "weftd", "--instance", self.instance, "--state-dir", self.state,
             "--log-level", "debug", *self.options], stdout=log, stderr=log)
        wait_for(self.is_ready, "weftd answers")

    def is_ready(self):
        assert self.agent.poll() is None, f"weftd ended: {self.log_end()}"
        result = subprocess.run([BUILD / "weft", "status", "--instance", self.instance, "--json"], capture_output=True, text=True)
        return result.returncode == 0

    def kill_agent(self, how=signal.SIGKILL):
        self.agent.send_signal(how)
        self.agent.wait()

    def weft(self, command, *words, check=True):
        """The JSON answer of a weft command."""
        result = subprocess.run([BUILD / "weft", command, "--instance", self.instance, "--json", *words], capture_output=True, text=True)
        if check:
            assert result.returncode == 0, result.stderr
        return json.loads(result.stdout) if result.stdout.strip() else result.stderr

    def status(self):
        return self.weft("status")

    # --- configuration ---------------------------------------------------------------------------------------------------------

    def write(self, file, **document):
        """Puts a resource file in place at once. The agent reads it soon after."""
        fresh = self.directory / "fresh"
        fresh.write_text(json.dumps(document))
        fresh.rename(self.config / f"{file}.json")

    def write_raw(self, file, text):
        (self.config / f"{file}.json").write_text(text)

    def mesh(self, egress="DROP_ALL"):
        self.write("mesh", meshName="m", spec={"egressFilter": {"type": egress}})

    def node(self, name, port=8080, protocol="tcp", backends=(), **spec):
        if port:
            spec.setdefault("listeners", [{"portMapping": {"port": port, "protocol": protocol}}])
            spec.setdefault("serviceDiscovery", {"awsCloudMap": {"namespaceName": "test", "serviceName": name}})
        spec["backends"] = [{"virtualService": {"virtualServiceName": backend}} for backend in backends]
        self.write(f"node-{name}", meshName="m", virtualNodeName=name, spec=spec)

    def service(self, name, node=None, router=None, l7=False):
        """Its HTTP ports are weft-proxy's where `l7` says so, else the kernel's: connections are balanced by weights."""
        provider = {"virtualNode": {"virtualNodeName": node}} if node else {"virtualRouter": {"virtualRouterName": router}} if router else None
        self.write(f"service-{name}", meshName="m", virtualServiceName=name, spec={"provider": provider} if provider else {},
                   tags=[{"key": "weft/l4-http", "value": "false" if l7 else "true"}])

    def router(self, name, port=8080, protocol="tcp"):
        self.write(f"router-{name}", meshName="m", virtualRouterName=name, spec={"listeners": [{"portMapping": {"port": port, "protocol": protocol}}]})

    def route(self, router, weights, name="route", kind="tcpRoute", match=None):
        action = {"weightedTargets": [{"virtualNode": node, "weight": weight} for node, weight in weights.items()]}
        route = {"action": action}
        if match is not None:
            route["match"] = match
        self.write(f"route-{router}-{name}", meshName="m", virtualRouterName=router, routeName=name, spec={kind: route})

    def gateway(self, name, port=8080, protocol="http", **spec):
        self.write(f"gateway-{name}", meshName="m", virtualGatewayName=name, spec={"listeners": [
            {"portMapping": {"port": port, "protocol": protocol}}], **spec})

    def gateway_route(self, gateway, name, service, match=None, priority=None, **action):
        target = {"virtualService": {"virtualServiceName": service}}
        spec = {"httpRoute": {"match": match or {"prefix": "/"}, "action": {"target": target, **action}}}
        if priority is not None:
            spec["priority"] = priority
        self.write(f"gateway-route-{gateway}-{name}", meshName="m", virtualGatewayName=gateway, gatewayRouteName=name, spec=spec)

    def register(self, node, identifier, address):
        def known():
            return any(resource["name"] == node for resource in self.weft("get", "virtualNode")["resources"])
        wait_for(known, f"the agent has read {node}")
        self.weft("register", "--virtual-node", f"mesh/m/virtualNode/{node}", "--id", identifier, "--address", address)

    def vip(self, service, family=4):
        def look():
            for resource in self.weft("get", "virtualService")["resources"]:
                if resource["name"] == service and resource["vips"]:
                    return resource["vips"][0 if family == 4 else 1]
            return None
        return wait_for(look, f"{service} has a VIP")

    def explain(self, to, node="client", **options):
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        return self.weft("explain", "--from", f"mesh/m/virtualNode/{node}", "--to", to, *words)

    def wait_reason(self, to, reason, node="client"):
        """Until the workload is enrolled and the configuration is read, explain has nothing to say."""
        def asked():
            answer = self.weft("explain", "--from", f"mesh/m/virtualNode/{node}", "--to", to, check=False)
            return isinstance(answer, dict) and answer["reason"] == reason
        wait_for(asked, f"{to} is decided as {reason}")

    # --- processes -----------------------------------------------------------------------------------------------------------------

    def spawn(self, argv, namespace=None, **options):
        process = subprocess.Popen((namespace or self.namespace).prefix() + [str(word) for word in argv], **options)
        self.processes.append(process)
        return process

    def echo(self, *endpoints, namespace=None):
        """Unmanaged servers: each greets with its own ADDRESS:PORT in a line, then echoes."""
        process = self.spawn([PYTHON, HERE / "echo.py", *endpoints], namespace, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def resolver(self, *endpoints, zone=None, namespace=None):
        """An unmanaged DNS server at each ADDRESS:PORT; without any, at 10.77.0.53 and fd77::53 of the node."""
        if not endpoints:
            for address in ("10.77.0.53/32", "fd77::53/128"):
                self.namespace.add_address(address)
            endpoints = ("10.77.0.53:53", "[fd77::53]:53")
        return Resolver(self.spawn([PYTHON, HERE / "dns_server.py", "--zone", json.dumps(zone or {}), *endpoints], namespace,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def run_argv(self, node, argv, netns=None, words=(), kind="node"):
        extra = ["--netns", netns.name] if netns else []
        return [BUILD / "weft", "run", "--instance", self.instance, f"--virtual-{kind}", f"mesh/m/virtual{kind.title()}/{node}", "--cgroup-parent",
                self.cgroup, *extra, *words, "--", *argv]

    def workload(self, argv, node="client", netns=None, words=(), **options):
        """A process that runs on its own; `proof` of it is the caller's."""
        return self.spawn(self.run_argv(node, argv, netns, words), **options)

    def worker(self, node=None, netns=None, words=(), **options):
        """A Worker in a workload of that node; None: unmanaged."""
        argv = [PYTHON, HERE / "worker.py"]
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options}
        if node:
            return Worker(self.workload(argv, node, netns, words, **options))
        return Worker(self.spawn(argv, netns, **options))

    def client(self, code, *arguments, node="client", netns=None):
        """Runs Python in a workload and returns what it left in `result`, by JSON."""
        program = f"import ctypes,errno,json,os,socket,struct,sys,time\nresult=None\n{code}\nprint(json.dumps(result))"
        process = self.spawn(self.run_argv(node, [PYTHON, "-c", program, *arguments], netns), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(timeout=60 * SLOWNESS)
        assert process.returncode == 0, err
        return json.loads(out)

    def connect(self, address, port, **options):
        """The errno name of one connect(), or the greeting of the server."""
        return self.client(CONNECT, address, str(port), **options)

    # --- what was counted ------------------------------------------------------------------------------------------------------

    def open_count(self):
        counters = sum(counter["open"] for counter in self.status()["counters"])
        endpoints = sum(e["open"] for r in self.weft("get", "virtualNode")["resources"] for e in r.get("endpoints", []))
        return counters, endpoints

    def wait_open(self, count):
        wait_for(lambda: self.open_count() == (count, count), f"{count} connections are open, of {self.open_count()}")

    def reasons(self):
        return {(r["from"] and r["from"].split("/")[-1], r["to"] and r["to"].split("/")[-1], r["reason"]): r["count"] for r in self.status()["reasons"]}

    # --- end ---------------------------------------------------------------------------------------------------------------------------

    def log_end(self):
        return self.log.read_text(errors="replace")[-LOG_SHOWN:] if self.log.exists() else ""

    def close(self):
        if self in self.alive:
            self.alive.remove(self)
        for process in [*self.processes, self.agent]:
            if process and process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr, process.stdin) if process else ():
                if stream:
                    with contextlib.suppress(BrokenPipeError):  # what was still to be written has no reader any more
                        stream.close()
        for cgroup in sorted((path for path in self.cgroup.rglob("*") if path.is_dir()), reverse=True) if self.cgroup.exists() else []:
            self.empty(cgroup)
        if self.cgroup.exists():
            self.empty(self.cgroup)
        proxy_pid = self.proxy_pid()
        with contextlib.suppress(FileNotFoundError):  # nothing was built
            subprocess.run([BUILD / "weft-loader", "uninstall", "--instance", self.instance], capture_output=True)
        self.end_proxy(proxy_pid)
        for namespace in self.namespaces:
            namespace.remove()
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(f"/run/weft/{self.instance}", ignore_errors=True)
        found = SANITIZER.search(log)
        assert not found, log[found.start():][:LOG_SHOWN]

    def proxy_pid(self):
        """The process that has the instance's seat, or had it last; None: none ever did."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(pathlib.Path(f"/run/weft/{self.instance}/proxy.lock").read_text())
        return None

    def end_proxy(self, pid):
        """weft-proxy outlives the agent, and ends when the instance is uninstalled. One that does not is killed."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not pid or not is_proxy(pid, self.instance), "weft-proxy ended", 5)
        if pid and is_proxy(pid, self.instance):
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not is_proxy(pid, self.instance), "weft-proxy is gone")
        own = pathlib.Path("/proc/self/cgroup").read_text().split("0::/")[1].split("\n")[0]
        cgroup = cgroup2_root() / own / f"weft-proxy-{self.instance}"
        if cgroup.exists():  # it was killed, or a predecessor of it still answers
            self.empty(cgroup)

    @staticmethod
    def empty(cgroup):
        """Ends what a failed test left in a cgroup of ours, and removes it."""
        def gone():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for pid in (cgroup / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                cgroup.rmdir()
            return not cgroup.exists()
        wait_for(gone, f"{cgroup} is empty")


def add_logs(report):
    """To what is said of a test that failed: the end of what weftd and weft-proxy of each node logged."""
    if report.failed:
        report.sections += [(f"log of {node.instance}", node.log_end()) for node in Node.alive]


CONNECT = f"""
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM)
s.settimeout({5 * SLOWNESS})
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    result = s.recv(100).decode().strip()
except OSError as e:
    result = errno.errorcode.get(e.errno, str(e))
"""
