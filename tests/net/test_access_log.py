# SPDX-License-Identifier: Apache-2.0
"""Access logs in the file systems of workloads, written by root for processes that are less: where lines go, whose rights count, what is
refused, and what a full disk does. A workload here is a process with a root, mounts, a user and groups of its own."""
import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import threading

import pytest

from weft import BUILD, libc

pytestmark = pytest.mark.one_kernel

USER, GROUP, EXTRA_GROUP = 12345, 12346, 12347
CLONE_NEWNS, CLONE_NEWUTS, MS_REC_PRIVATE = 0x20000, 0x4000000, 0x44000
CAPABILITY_VERSION_3 = 0x20080522


def drop_capabilities():
    header, data = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capset(header, data) == 0


class Workload:
    """`root` is where this test sees its files; /hidden is a mount that only the workload has."""

    def __init__(self, directory, user=USER, groups=(), powerless=False, stdout=None, size="1m"):
        self.root = directory / "root"
        self.root.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", self.root], check=True)
        for name in ("dev", "log", "hidden"):
            (self.root / name).mkdir()
        os.chown(self.root / "log", user, GROUP)
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._live(told, user, groups, powerless, stdout)
            finally:
                os._exit(1)
        os.close(told)
        assert os.read(ready, 1) == b"r"
        os.close(ready)

    def _live(self, told, user, groups, powerless, stdout):
        assert libc.unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0
        assert libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) == 0
        assert libc.mount(b"tmpfs", bytes(self.root / "hidden"), b"tmpfs", 0, b"size=1m,mode=777") == 0
        socket.sethostname("pod-1")
        os.chroot(self.root)
        os.chdir("/")
        if stdout is not None:
            os.dup2(stdout, 1)
        os.setgroups(groups)
        os.setgid(GROUP)
        os.setuid(user)
        if powerless:
            drop_capabilities()
        os.write(told, b"r")
        while True:
            signal.pause()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        subprocess.run(["umount", "-l", self.root], check=True)

    def log(self, path, count=1, *more):
        command = [BUILD / "tests/net/access_log", str(self.pid), path, str(count), *more]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        return json.loads(result.stdout)

    def refusal(self, path):
        """Why nothing is written there."""
        outcome = self.log(path)
        assert outcome["lines"] == 0 and outcome["dropped"]["not-open"] == 1
        return outcome["error"]


@pytest.fixture
def workload(tmp_path):
    made = []

    def make(**how):
        made.append(Workload(tmp_path, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_lines_go_into_the_workloads_root_as_its_user(workload):
    w = workload()
    assert w.log("/log/access.log", 3) | {"bytes": 0} == {
        "workload": 1, "path": "/log/access.log", "error": None, "lines": 3, "bytes": 0, "queuedBytes": 0, "opened": 1,
        "dropped": dict.fromkeys(["queue-full", "total-full", "not-open", "write-failed", "line-too-long", "no-memory", "ended"], 0)}
    file = w.root / "log/access.log"
    assert file.read_text() == "line 0\nline 1\nline 2\n"
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (USER, GROUP, 0o644)
    w.log("/log/access.log")
    assert file.read_text().splitlines()[-1] == "line 0", "it is appended to"


def test_mounts_are_the_workloads_own(workload):
    w = workload()
    assert w.log("/hidden/access.log")["lines"] == 1
    assert not (w.root / "hidden/access.log").exists()
    with open(f"/proc/{w.pid}/root/hidden/access.log", encoding="ascii") as file:
        assert file.read() == "line 0\n"


def test_rights_are_the_processs_own(workload):
    w = workload()
    assert w.refusal("/access.log") == "cannot open '/access.log': Permission denied"
    (w.root / "log/roots").write_text("")
    assert w.refusal("/log/roots") == "cannot open '/log/roots': Permission denied"


def test_groups_count(workload):
    w = workload(groups=(EXTRA_GROUP,))
    volume = w.root / "volume"
    volume.mkdir()
    os.chown(volume, 0, EXTRA_GROUP)
    volume.chmod(0o2775)
    assert w.log("/volume/access.log")["lines"] == 1


def test_groups_of_weft_do_not(workload):
    w = workload()
    volume = w.root / "volume"
    volume.mkdir()
    os.chown(volume, USER + 1, 0)
    volume.chmod(0o775)
    assert "Permission denied" in w.refusal("/volume/access.log")


def test_a_root_without_capabilities_has_none_from_weft(workload):
    w = workload(user=0, powerless=True)
    private = w.root / "private"
    private.mkdir(mode=0o755)
    os.chown(private, USER, GROUP)
    assert "Permission denied" in w.refusal("/private/access.log")


def test_a_root_with_capabilities_keeps_them(workload):
    w = workload(user=0)
    private = w.root / "private"
    private.mkdir(mode=0o755)
    os.chown(private, USER, GROUP)
    assert w.log("/private/access.log")["lines"] == 1


def test_no_path_leads_out(workload, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o666)
    w = workload()
    (w.root / "log/link").symlink_to(outside)
    (w.root / "log/up").symlink_to("../../../../../../../../" + str(outside))
    (w.root / "log/directory").symlink_to("/")
    assert w.refusal("/log/link") == "'/log/link' is a link to what is not there"
    w.refusal("/log/up")
    w.refusal("/../../../.." + str(outside))
    assert w.log("/log/directory/log/../../../log/access.log")["lines"] == 1
    assert (w.root / "log/access.log").exists()
    assert outside.read_text() == ""


def test_devices_proc_and_directories_are_refused(workload):
    w = workload()
    os.mknod(w.root / "log/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (w.root / "log/null").chmod(0o666)
    os.mknod(w.root / "log/loop", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    (w.root / "log/loop").chmod(0o666)
    (w.root / "log/proc").mkdir()
    subprocess.run(["nsenter", "-t", str(w.pid), "-m", "mount", "-t", "proc", "proc", w.root / "log/proc"], check=True)
    assert w.refusal("/log/null") == "'/log/null' is a character device: a log is a file or a FIFO"
    assert w.refusal("/log/loop") == "'/log/loop' is a block device: a log is a file or a FIFO"
    assert w.refusal("/log") == "'/log' is a directory: a log is a file or a FIFO"
    assert w.refusal("/log/proc/sys/kernel/core_pattern") == "'/log/proc/sys/kernel/core_pattern' is in proc, an interface of the kernel"
    assert w.refusal("/log/proc/self/root/log/x") == "cannot open '/log/proc/self/root/log/x': Too many levels of symbolic links"


def test_a_fifo_of_the_workload(workload):
    w = workload()
    os.mkfifo(w.root / "log/fifo")
    os.chown(w.root / "log/fifo", USER, GROUP)
    assert w.refusal("/log/fifo") == "nobody reads the FIFO '/log/fifo'"
    reader = os.open(w.root / "log/fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert w.log("/log/fifo", 2)["lines"] == 2
    assert os.read(reader, 100) == b"line 0\nline 1\n"
    os.close(reader)


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1", "/log/link"])
def test_output_is_the_processs_own(workload, path):
    reader, writer = os.pipe()
    w = workload(stdout=writer)
    (w.root / "log/link").symlink_to("/dev/stdout")
    received = []
    thread = threading.Thread(target=lambda: received.append(os.read(reader, 100)))
    thread.start()
    assert w.log(path)["lines"] == 1
    thread.join(10)
    assert received == [b"line 0\n"]
    os.close(reader)
    os.close(writer)


def test_output_may_be_a_socket_or_a_file(workload, tmp_path):
    ours, its = socket.socketpair()
    w = workload(stdout=its.fileno())
    assert w.log("/dev/stdout")["lines"] == 1
    assert ours.recv(100) == b"line 0\n"
    with open(tmp_path / "out", "wb") as file:
        (tmp_path / "second").mkdir()
        second = Workload(tmp_path / "second", stdout=file.fileno())
        try:
            second.log("/dev/stdout", 2)
        finally:
            second.close()
    assert (tmp_path / "out").read_text() == "line 0\nline 1\n"


def test_output_that_is_none_is_refused(workload):
    with open("/dev/full", "wb") as full:
        w = workload(stdout=full.fileno())
        assert w.refusal("/dev/stdout").startswith("descriptor 1 of the workload's process is no output")


def test_a_full_disk_drops_what_does_not_fit_and_says_how_much(workload):
    w = workload(size="64k")
    outcome = w.log("/log/access.log", 20000)
    text = (w.root / "log/access.log").read_text()
    whole = text.count("\n")
    assert 0 < outcome["lines"] == whole < 20000
    assert outcome["dropped"]["write-failed"] == 20000 - whole
    assert outcome["error"] == "cannot write to '/log/access.log': No space left on device"
    assert text.splitlines()[:whole] == [f"line {i}" for i in range(whole)]


def test_the_host_name_is_the_workloads(workload):
    w = workload()
    w.log("/log/access.log", 1, "%HOSTNAME%\n")
    assert (w.root / "log/access.log").read_text() == "pod-1\n"
    assert socket.gethostname() != "pod-1"
