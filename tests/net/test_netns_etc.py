# SPDX-License-Identifier: Apache-2.0
"""`weft run --netns NAME` shows a program the files of /etc/netns/NAME in /etc, as `ip netns exec` does."""
import os
import subprocess

import pytest
from weft import Node, cgroup2_root


@pytest.fixture(scope="module")
def pods():
    with Node() as node:
        node.mesh()
        node.node("client", port=None)
        node.pod = node.add_namespace()
        yield node


def run(node, program, netns=None, words=()):
    result = subprocess.run([str(word) for word in node.run_argv("client", ["sh", "-c", program], netns, words)], capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    return result


def mounts():
    """What is mounted over this machine's own files; other tests make namespaces meanwhile."""
    return [line for line in open("/proc/self/mountinfo") if " /run/netns" not in line]


def test_files_of_the_namespace_lie_over_etc_for_the_program_alone(pods):
    before, outside = open("/etc/resolv.conf").read(), mounts()
    pods.pod.resolv_conf("nameserver 10.9.8.7")
    assert run(pods, "cat /etc/resolv.conf", pods.pod).stdout == "nameserver 10.9.8.7\n"
    assert run(pods, "cat /etc/resolv.conf", words=["--netns", pods.pod.path]).stdout == "nameserver 10.9.8.7\n"  # its path says as much
    assert open("/etc/resolv.conf").read() == before
    assert mounts() == outside


def test_cgroup2_and_bpffs_stay_in_sight(pods):
    pods.pod.resolv_conf("nameserver 10.9.8.7")
    program = f"cat /proc/self/cgroup; ls {cgroup2_root()}/cgroup.controllers; stat -f -c %T /sys/fs/bpf; ls -d /sys/class/net/eth0 || :"
    lines = run(pods, program, pods.pod).stdout.split("\n")
    assert any(f"/{pods.cgroup.name}/weft/{pods.instance}/run-" in line for line in lines)
    assert f"{cgroup2_root()}/cgroup.controllers" in lines
    assert "bpf_fs" in lines


def test_without_such_a_directory_the_program_keeps_its_mount_namespace(pods):
    bare = pods.add_namespace()
    own = os.readlink("/proc/self/ns/mnt")
    assert run(pods, "readlink /proc/self/ns/mnt", bare).stdout.strip() == own
    assert run(pods, "readlink /proc/self/ns/mnt").stdout.strip() == own
    pods.pod.resolv_conf("nameserver 10.9.8.7")
    inside = pods.spawn(["sleep", "100"], pods.pod)  # a namespace by a path that tells no name
    assert run(pods, "readlink /proc/self/ns/mnt", words=["--netns", f"/proc/{inside.pid}/ns/net"]).stdout.strip() == own


def test_a_file_without_a_counterpart_is_named_and_left_out(pods):
    pods.pod.resolv_conf("nameserver 10.9.8.7")
    (pods.pod.etc / "weft-test-nothing").write_text("x")
    result = run(pods, "cat /etc/resolv.conf; ls /etc/weft-test-nothing || :", pods.pod)
    assert result.stdout == "nameserver 10.9.8.7\n"
    assert "weft run" in result.stderr and f"{pods.pod.etc}/weft-test-nothing" in result.stderr
    (pods.pod.etc / "weft-test-nothing").unlink()


def test_what_cannot_lie_over_etc_refuses_the_run(pods):
    pods.pod.resolv_conf("nameserver 10.9.8.7")
    (pods.pod.etc / "hosts").mkdir()  # a directory over a file
    result = subprocess.run([str(word) for word in pods.run_argv("client", ["true"], pods.pod)], capture_output=True, text=True)
    assert result.returncode == 125
    assert "--netns" in result.stderr and "/etc/hosts" in result.stderr
    (pods.pod.etc / "hosts").rmdir()
