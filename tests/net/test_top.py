# SPDX-License-Identifier: Apache-2.0
"""`weft top`: rates as they are, a terminal that is left as it was found."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from weft import BUILD, wait_for

pytestmark = pytest.mark.one_kernel

LOAD = """
import threading
stop = threading.Event()
done = 0
def load(lone, closed, secret):
    global done
    while not stop.is_set():
        connect(lone, 8080)
        connect(closed, 8080)
        connect(secret, 8080)
        done += 1
thread = threading.Thread(target=load, args=arguments)
thread.start()
"""


@pytest.fixture(scope="module")
def busy(shop):
    """Connections to `lone`, to `closed` (refused) and to `secret` (no backend), in turn, and one that stays open."""
    worker = shop.worker("client")
    shop.wait_reason("lone:8080", "routed")
    worker.run("kept = socket.create_connection((arguments[0], 8080)); kept.recv(100)", shop.vip("lone"))
    worker.run(LOAD, shop.vip("lone"), shop.vip("closed"), shop.vip("secret"))
    yield shop
    worker.run("stop.set(); thread.join(); kept.close()")
    shop.wait_open(0)


def top_argv(node, *words):
    return [BUILD / "weft", "top", "--instance", node.instance, *words]


def lines(node, *words):
    result = subprocess.run(top_argv(node, *words), capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_rates_of_all_intervals_add_up_to_what_was_done(shop):
    """All of it between two readings, whatever a reading takes."""
    rates = {"lone": "connectionsPerSecond", "closed": "failuresPerSecond", "secret": "failuresPerSecond"}
    worker = shop.worker("client")
    shop.wait_reason("lone:8080", "routed")
    seen = dict.fromkeys(rates, 0)
    top = subprocess.Popen(top_argv(shop, "--json", "--interval", "100ms", "--count", "300"), stdout=subprocess.PIPE, text=True)
    try:
        top.stdout.readline()  # the first reading was before
        worker.run("for _ in range(200): [connect(address, 8080) for address in arguments]", *(shop.vip(name) for name in rates))
        shop.wait_open(0)
        while min(seen.values()) < 199.5:
            answer = json.loads(top.stdout.readline())
            for row in answer["rows"]:
                name = (row["to"] or "").split("/")[-1]
                if row["from"].endswith("/client") and name in rates:
                    seen[name] += row[rates[name]] * answer["intervalNs"] / 1e9
    finally:
        top.kill()
        top.wait()
        top.stdout.close()
    assert {name: round(count) for name, count in seen.items()} == dict.fromkeys(rates, 200)


def test_json_has_an_object_a_line(busy):
    objects = [json.loads(line) for line in lines(busy, "--json", "--interval", "300ms", "--count", "3")]
    assert len(objects) == 3
    for answer in objects:
        assert answer["openKnown"] and 0.05e9 < answer["intervalNs"] < 20e9  # whatever the machine does
        rows = {(row["to"] or "").split("/")[-1]: row for row in answer["rows"] if row["from"].endswith("/client")}
        lone, closed, secret = rows["lone"], rows["closed"], rows["secret"]
        assert lone["connectionsPerSecond"] > 10 and lone["failuresPerSecond"] == 0
        assert lone["open"] >= 1 and lone["receivedBytesPerSecond"] > 15 * 10
        assert 0 < lone["connectP50Ns"] <= lone["connectP99Ns"] < 5e9
        assert lone["rttNs"] > 0
        assert closed["reason"] == "refused" and closed["failuresPerSecond"] > 10
        assert secret["reason"] == "not-a-backend" and secret["target"] is None
        endpoint = next(e for e in answer["endpoints"] if e["address"] == "10.77.0.1:9003")
        assert endpoint["connectionsPerSecond"] > 10 and endpoint["open"] >= 1


def test_what_is_no_terminal_gets_a_table_each_interval(busy):
    text = lines(busy, "--interval", "200ms", "--count", "2", "--sort", "service", "--filter", "lone")
    titles = [line for line in text if line.startswith("FROM")]
    assert len(titles) == 2 and "CONN/S" in titles[0] and "\033" not in "".join(text)
    rows = [line for line in text if re.match(r"client +lone +lone:8080 ", line)]
    assert len(rows) == 2 and not [line for line in text if "closed" in line]
    assert [line for line in text if line.startswith("ENDPOINT OF")]
    assert len([line for line in lines(busy, "--once") if line.startswith("FROM")]) == 1


def test_options_that_make_no_sense_are_refused(busy):
    for words, text in ((["--sort", "speed"], "--sort"), (["--interval", "1ms"], "--interval"), (["--count", "0"], "count"),
                        (["--filter", "x" * 100], "--filter"), (["extra"], "unexpected argument")):
        result = subprocess.run(top_argv(busy, *words), capture_output=True, text=True, timeout=60)
        assert result.returncode == 2 and text in result.stderr, result.stderr


class Terminal:
    """`weft top` on a terminal of 24 lines of 100 columns; `screen` is what is seen."""

    def __init__(self, argv):
        self.master, slave = pty.openpty()
        self.resize(24, 100, None)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=subprocess.PIPE, start_new_session=True,
                                        env={**os.environ, "TERM": "xterm"}, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave
        self.out = ""

    def resize(self, rows, columns, process):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if process:
            process.send_signal(signal.SIGWINCH)

    def read(self, wait_s=0.01):
        while select.select([self.master], [], [], wait_s)[0]:
            self.out += os.read(self.master, 65536).decode()

    def frames(self):
        self.read()
        return self.out.split("\033[H")[1:]

    def frame(self):
        """The lines of the last whole one."""
        whole = [frame for frame in self.frames() if frame.endswith("\033[J") or "\033[J" in frame]
        return re.sub(r"\033\[[0-9;?]*[a-zA-Z]", "", whole[-1]).split("\r\n") if whole else []

    def shows(self, text, deadline_s=10):
        wait_for(lambda: any(text in line for line in self.frame()), f"{text!r} is on the screen: {self.frame() or self.out}", deadline_s)

    def misses(self, text):
        wait_for(lambda: self.frame() and not any(text in line for line in self.frame()), f"{text!r} leaves the screen: {self.frame()}")

    def type(self, keys):
        os.write(self.master, keys.encode())

    def wait(self):
        def ended():
            self.read()
            return self.process.poll() is not None
        wait_for(ended, "weft top ends")
        self.read()
        return self.process.returncode

    def is_as_before(self):
        settings = termios.tcgetattr(self.slave)
        return settings == self.before and self.out.rstrip().endswith("\033[?1049l") and self.out.count("\033[?25h") == self.out.count("\033[?25l")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(busy):
    with contextlib.closing(Terminal(top_argv(busy, "--interval", "200ms"))) as terminal:
        yield terminal


def test_the_live_table_obeys_keys_and_leaves_the_terminal_as_it_was(terminal):
    terminal.shows("last ")
    terminal.shows("lone:8080")
    assert "\033[?1049h" in terminal.out and not termios.tcgetattr(terminal.slave)[3] & (termios.ICANON | termios.ECHO)
    terminal.shows("ENDPOINT OF")
    terminal.type("e")
    terminal.misses("ENDPOINT OF")
    terminal.type("f")
    terminal.type("clos")
    terminal.shows("filter: clos_")
    terminal.misses("lone:8080")
    terminal.type("\r")
    terminal.misses("clos_")
    terminal.shows("filter: clos")
    terminal.type("f\033")
    terminal.shows("lone:8080")
    terminal.type("s")
    terminal.shows("by open")
    terminal.type("r")
    terminal.shows("by open reversed")
    terminal.type("\033[A\033OB")  # arrows are no keys of ours
    terminal.type("p")
    terminal.shows("PAUSED")
    terminal.read()
    count = len(terminal.frames())
    time_before = time.monotonic()
    while time.monotonic() < time_before + 0.6:  # three intervals
        terminal.read(0.1)
    assert len(terminal.frames()) == count
    terminal.type("p")
    terminal.misses("PAUSED")
    terminal.type("?")
    terminal.shows("sort by the next column")
    terminal.type("x")
    terminal.misses("sort by the next column")
    terminal.type("q")
    assert terminal.wait() == 0
    assert terminal.is_as_before()


def test_the_live_table_follows_the_size_of_the_terminal(terminal):
    terminal.shows("last ")
    for rows, columns in ((10, 60), (5, 200), (2, 30), (50, 160), (1, 10)):
        terminal.resize(rows, columns, terminal.process)

        def fits():
            frame = terminal.frame()
            return len(frame) <= rows and all(len(line) <= columns for line in frame[1:]) and len(frame) >= min(rows, 4)
        wait_for(fits, f"a frame for {rows} lines of {columns}: {terminal.frame()}")
    terminal.resize(24, 160, terminal.process)
    terminal.shows("RESET/S")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(terminal, signal_number):
    terminal.shows("last ")
    terminal.process.send_signal(signal_number)
    assert terminal.wait() == -signal_number
    assert terminal.is_as_before()


def test_while_it_is_stopped_the_terminal_is_as_it_was(busy):
    # under a shell: the process group of a session's leader cannot be stopped from its terminal
    command = " ".join(str(word) for word in top_argv(busy, "--interval", "200ms"))
    shell = ["sh", "-mc", f"{command}; stty -a; echo stopped; read -r line; fg; stty -a; echo ended"]
    with contextlib.closing(Terminal(shell)) as terminal:
        terminal.shows("last ")
        terminal.type("\x1a")
        wait_for(lambda: terminal.read() or "\nstopped" in terminal.out, f"it stops: {terminal.out[-500:]}")
        screen, stopped = terminal.out.rsplit("\033[?1049l", 1)
        assert " icanon" in stopped and " echo " in stopped
        terminal.type("\n")
        wait_for(lambda: terminal.read() or "\033[?1049h" in terminal.out.rsplit("\nstopped", 1)[1], "the other screen is back")
        terminal.out = ""
        terminal.shows("last ")
        assert not termios.tcgetattr(terminal.slave)[3] & (termios.ICANON | termios.ECHO)
        terminal.type("q")
        terminal.wait()
        ended = terminal.out.rsplit("\033[?1049l", 1)[1]
        assert " icanon" in ended and " echo " in ended and "ended" in ended


def test_weftd_may_be_away_for_a_while(busy, terminal):
    terminal.shows("lone:8080")
    busy.kill_agent()
    terminal.shows("weftd is not running")
    terminal.shows("lone:8080")
    busy.start_agent()
    terminal.misses("weftd is not running")
    terminal.type("q")
    assert terminal.wait() == 0


def test_without_weftd_it_says_so_and_ends(busy):
    result = subprocess.run([BUILD / "weft", "top", "--instance", "none-" + busy.instance, "--once"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "weftd is not running" in result.stderr
