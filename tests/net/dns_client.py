# SPDX-License-Identifier: Apache-2.0
"""What a worker does about names: each way a program may ask for one. Results are what JSON can carry."""
import errno
import random
import select
import socket
import struct
import subprocess
import time

import dns_wire as wire

SO_BINDTODEVICE, SO_RCVBUFFORCE, IP_PKTINFO = 25, 33, 8


def resolve(name, family=0):
    """The addresses of glibc's getaddrinfo() in order of their text, or the name of its error."""
    try:
        return sorted({a[4][0] for a in socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)})
    except socket.gaierror as e:
        return next(name for name in dir(socket) if name.startswith("EAI_") and getattr(socket, name) == e.errno)


def resolve_timed(name, family=0):
    begun = time.monotonic()
    return resolve(name, family), time.monotonic() - begun


def program(*argv, timeout_s=30):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def udp_socket(server, how, own=None, device=None):
    """A socket as `how` asks, and the address to send to; None: it is connected."""
    mapped = "mapped" in how
    to = ("::ffff:" + server if mapped else server, 53)
    s = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
    if device:
        s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
    if own:
        s.bind((own, 0))
    if "connect" in how:
        s.connect(to)
        return s, None
    return s, to


def told(packet, s, peer, begun):
    """A message, who it seems to come from, and the port it came to."""
    return {**wire.unpack(packet), "peer": peer[0].removeprefix("::ffff:"), "peerPort": peer[1], "port": s.getsockname()[1],
            "seconds": time.monotonic() - begun}


def ask(server, name, kind="A", how="connect", timeout_s=5, own=None, device=None, pktinfo=None, **query):
    """One query and its answer; None where none comes in time, {"rcode": "ECONNREFUSED"} or what else the socket said. how: connect,
    sendto, sendmsg, each also as mapped-…: by an IPv6 socket. own, device: what the socket is bound to; pktinfo: the source that
    sendmsg() names."""
    begun = time.monotonic()
    try:
        return exchange(*udp_socket(server, how, own, device), name, kind, how, timeout_s, pktinfo, query, begun)
    except TimeoutError:
        return None
    except OSError as e:
        return {"rcode": errno.errorcode[e.errno], "addresses": [], "seconds": time.monotonic() - begun}


def exchange(s, to, name, kind, how, timeout_s, pktinfo, query, begun):
    with s:
        s.settimeout(timeout_s)
        packet = wire.pack_query(name, kind, ident=random.randrange(65536), **query)
        if pktinfo:
            source = struct.pack("=I4s4s", 0, socket.inet_aton(pktinfo), b"\0" * 4)
            s.sendmsg([packet], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, to)
        elif "sendmsg" in how:
            s.sendmsg([packet], [], 0, to)
        elif to:
            s.sendto(packet, to)
        else:
            s.send(packet)
        if "sendmsg" in how:
            answer, _, _, peer = s.recvmsg(65535)
        elif to:
            answer, peer = s.recvfrom(65535)
        else:
            answer, peer = s.recv(65535), s.getpeername()
        return told(answer, s, peer, begun)


def addresses(server, name, kind="A", **options):
    """Those of the answer, None where none came."""
    answer = ask(server, name, kind, **options)
    return answer and answer["addresses"]


def ask_tcp(server, *names, kind="A", mapped=False, own=None, device=None, timeout_s=5, half_close=False):
    """The answers to queries that are sent at once over one connection, in the order they come. half_close: nothing more is sent."""
    begun = time.monotonic()
    to = "::ffff:" + server if mapped else server
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET) as s:
        s.settimeout(timeout_s)
        if device:
            s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        if own:
            s.bind((own, 0))
        s.connect((to, 53))
        peer = s.getpeername()
        packets = [wire.pack_query(name, kind, ident=i + 1) for i, name in enumerate(names)]
        s.sendall(b"".join(struct.pack("!H", len(packet)) + packet for packet in packets))
        if half_close:
            s.shutdown(socket.SHUT_WR)
        answers = []
        with s.makefile("rb") as stream:
            for _ in names:
                header = stream.read(2)
                if len(header) < 2:
                    break
                answers.append(told(stream.read(struct.unpack("!H", header)[0]), s, peer, begun))
        return answers


def send_raw(server, *packets, timeout_s=0.2):
    """Each packet as it is (hexadecimal), by a socket of its own; the code of the answer to each, None where none came."""
    codes = []
    for packet in packets:
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((server, 53))
            s.send(bytes.fromhex(packet))
            ready = select.select([s], [], [], timeout_s)[0]
            codes.append(wire.unpack(s.recv(65535))["rcode"] if ready else None)
    return codes


def ask_at_once(server, *names, timeout_s=5):
    """The names of which an answer came, all of them asked for before the first answer is read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        s.connect((server, 53))
        s.settimeout(timeout_s)
        for i, name in enumerate(names):
            s.send(wire.pack_query(name, ident=i))
        answered = set()
        try:
            while len(answered) < len(names):
                answered.add(wire.unpack(s.recv(65535))["questions"][0]["name"])
        except TimeoutError:
            pass
        return sorted(answered)


def flood(server, name, count):
    """So many queries for a name as fast as they can be sent; how many answers came, in how many seconds. A full buffer drops."""
    begun = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((server, 53))
        s.setblocking(False)
        answers = sent = 0
        while sent < count:
            try:
                s.send(wire.pack_query(name, ident=sent & 0xffff))
                sent += 1
            except BlockingIOError:
                select.select([], [s], [], 1)
            except ConnectionRefusedError:
                pass
            try:
                while s.recv(65535):
                    answers += 1
            except (BlockingIOError, ConnectionRefusedError):
                pass
        return {"sent": sent, "answers": answers, "seconds": time.monotonic() - begun}


def watch(server, names, seconds, timeout_s=1):
    """Asks for each name in turn until the time is over: of each, [when, code or None, addresses, seconds it took]."""
    begun = time.monotonic()
    log = {name: [] for name in names}
    while time.monotonic() - begun < seconds:
        for name in names:
            at = time.monotonic()
            answer = ask(server, name, timeout_s=timeout_s)
            log[name].append([at - begun, answer and answer["rcode"], answer and answer["addresses"], time.monotonic() - at])
    return log
