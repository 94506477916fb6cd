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
SEED = 7


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = libc.syscall(SYS_BPF, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf()")
    return result


# In a worker, until there is a file: how connections to the VIP and to an address outside of the mesh end.
ASK_ALL_THE_TIME = """
vip, outside, file = arguments
result = {}
while not os.path.exists(file):
    for address in (vip, 8080), (outside, 9002):
        outcome = connect(*address)
        result[outcome] = result.get(outcome, 0) + 1
    time.sleep(0.005)
"""


class Map:
    """A pinned array that can be mapped."""

    def __init__(self, path):
        text = ctypes.create_string_buffer(str(path).encode())
        self.fd = bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(text), 0, 0))
        info = ctypes.create_string_buffer(256)
        bpf(BPF_OBJ_GET_INFO_BY_FD, struct.pack("IIQ", self.fd, 256, ctypes.addressof(info)))
        kind, _, _, value_bytes, entries, flags = struct.unpack_from("6I", info)
        self.bytes = (value_bytes + 7) // 8 * 8 * entries if kind == BPF_MAP_TYPE_ARRAY and flags & BPF_F_MMAPABLE else 0

    def write(self, make):
        """make(N): the first N bytes."""
        count = min(self.bytes, SCRIBBLED_BYTES)
        with mmap.mmap(self.fd, self.bytes) as memory:
            memory[:count] = make(count)

    def scribble(self):
        self.write(random.Random(SEED).randbytes)


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
        node.maps[name].scribble()
        node.start_agent()
        wait_for(lambda: client.connect(web, 8080) == "10.77.0.1:9001", f"connections are routed again, after {name}")
        wait_for(lambda: client.connect(secret, 8080) == "EPERM", f"and others denied, after {name}")


@pytest.mark.parametrize("make", (random.Random(SEED).randbytes, bytes), ids=("any bytes", "zeros"))
def test_workloads_stay_enrolled_where_all_names_of_objects_are_gone(node, make):
    """Nothing of them is unmanaged for a moment: one asks for what it may not have, from before weftd starts on until it has settled."""
    client, web, secret = node.client_worker, node.vip("web"), node.vip("secret")
    before = node.status()
    node.kill_agent()
    node.maps["w_object"].write(make)
    client.start(ASK_ALL_THE_TIME, secret, "192.0.2.1", str(node.directory / "settled"))
    node.start_agent()
    wait_for(lambda: f"in force generation={before['generation']}" in node.log.read_text().split("put back from the state")[-1], "it has settled")
    assert node.explain("web:8080")["reason"] == "routed"
    (node.directory / "settled").touch()
    outcomes = client.answer()
    assert set(outcomes) == {"EPERM"} and outcomes["EPERM"] > 10, outcomes
    assert client.connect(web, 8080) == "10.77.0.1:9001"
    after = node.status()
    assert [w["id"] for w in after["workloads"]] == [w["id"] for w in before["workloads"]]
    assert after["generation"] == before["generation"]
    assert any("had other names when weftd started" in warning for warning in after["warnings"])
    node.kill_agent()
    node.start_agent()
    assert not any("had other names" in warning for warning in node.status()["warnings"])


@pytest.mark.parametrize("name", REFUSED)
def test_what_weftd_cannot_go_on_with_is_named(node, name):
    node.kill_agent()
    node.maps[name].scribble()
    result = node.spawn([BUILD / "weftd", "--instance", node.instance, "--state-dir", node.state, *node.options], stderr=-1, text=True)
    _, said = result.communicate(timeout=60)
    assert result.returncode == 1 and REFUSED[name] in said, said
