# SPDX-License-Identifier: Apache-2.0
"""Pinned maps whose contents are anything at all, as a hostile program of root's or an older build may have left them, when weftd starts: it
puts them right, or names what cannot be and ends. Types that lie otherwise are tests/fuzz/fuzz_layout.c's."""
import ctypes
import mmap
import os
import pathlib
import random
import struct

import pytest

from weft import BUILD, Node, wait_for

libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF, BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD = 321, 7, 15  # x86-64
BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE = 2, 1 << 10
SCRIBBLED_BYTES = 1 << 20  # of a map, from its beginning
REFUSED = {"w_layout": "run `weft-loader upgrade`", "w_root": "the root of the pinned maps names generations"}
# With all ids taken there is none for workloads, which begin before what nobody names is found to be free.
SCRIBBLED_PART = {"w_object": 2}
SEED = 7


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = libc.syscall(SYS_BPF, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf()")
    return result


class Map:
    """A pinned array that can be mapped."""

    def __init__(self, path):
        text = ctypes.create_string_buffer(str(path).encode())
        self.fd = bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(text), 0, 0))
        info = ctypes.create_string_buffer(256)
        bpf(BPF_OBJ_GET_INFO_BY_FD, struct.pack("IIQ", self.fd, 256, ctypes.addressof(info)))
        kind, _, _, value_bytes, entries, flags = struct.unpack_from("6I", info)
        self.bytes = (value_bytes + 7) // 8 * 8 * entries if kind == BPF_MAP_TYPE_ARRAY and flags & BPF_F_MMAPABLE else 0

    def scribble(self, part=1):
        count = min(self.bytes // part, SCRIBBLED_BYTES)
        with mmap.mmap(self.fd, self.bytes) as memory:
            memory[:count] = random.Random(SEED).randbytes(count)


@pytest.fixture
def node():
    with Node() as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        for number, name in enumerate(("web", "secret")):
            node.node(name)
            node.service(name, node=name)
            node.register(name, "1", f"10.77.0.1:{9001 + number}")
        node.echo("10.77.0.1:9001", "10.77.0.1:9002")
        node.client_worker = node.worker("client")
        node.wait_reason("web:8080", "routed")
        root = next(pathlib.Path("/sys/fs/bpf/weft", node.instance).glob("abi*"))
        node.maps = {path.name: Map(path) for path in sorted(root.glob("w_*")) if not path.name.startswith("w_link")}
        node.maps = {name: one for name, one in node.maps.items() if one.bytes}
        assert len(node.maps) > 10 and set(REFUSED) < set(node.maps)
        yield node
        for one in node.maps.values():
            os.close(one.fd)


def test_whatever_is_in_a_map_weftd_puts_it_right(node):
    client, web, secret = node.client_worker, node.vip("web"), node.vip("secret")
    for name in sorted(set(node.maps) - set(REFUSED)):
        node.kill_agent()
        node.maps[name].scribble(SCRIBBLED_PART.get(name, 1))
        node.start_agent()
        wait_for(lambda: client.connect(web, 8080) == "10.77.0.1:9001", f"connections are routed again, after {name}")
        wait_for(lambda: client.connect(secret, 8080) == "EPERM", f"and others denied, after {name}")


@pytest.mark.parametrize("name", REFUSED)
def test_what_weftd_cannot_go_on_with_is_named(node, name):
    node.kill_agent()
    node.maps[name].scribble()
    result = node.spawn([BUILD / "weftd", "--instance", node.instance, "--state-dir", node.state, *node.options], stderr=-1, text=True)
    _, said = result.communicate(timeout=60)
    assert result.returncode == 1 and REFUSED[name] in said, said
