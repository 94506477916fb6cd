# SPDX-License-Identifier: Apache-2.0
"""dns_server.py [--zone JSON] ADDRESS:PORT…: a DNS server for tests, over UDP and TCP, that does as it is told. One process, no
threads.

The zone is {NAME: {"A": ["10.0.0.1"], "AAAA": [], "TXT": [], "CNAME": "other.name", "ttl": 60}}; a CNAME is followed within it. Names
that it does not have are NXDOMAIN, other types of those it has NODATA, both with a SOA. A line of input is a command, each gets a line
of output, {"result": …} or {"error": "…"}:

    {"op": "set", "name": N, "records": {"A": […]} or null}     null: the name is gone
    {"op": "behave", "name": N or "", "how": {…}}              for queries of this name, "" for all others; {} is back to normal
    {"op": "seen"}                                             the queries since the last time, each {"name" (with its case), "type",
                                                               "from", "port", "to", "transport", "bytes", "id", "edns"}

    how: "delay_s": 0.5    answers so much later, others meanwhile
         "silent": true    does not answer
         "rcode": 2        answers with this code
         "truncate": true  over UDP, answers without records and with TC
         "close": true     over TCP, closes the connection instead of answering
         "wrong": "id" | "question" | "case" | "port" | "short"
                           sends such an answer before the right one; with "alone": true, instead of it"""
import argparse
import heapq
import itertools
import json
import selectors
import socket
import struct
import sys
import time

import dns_wire as wire

SO_RCVBUFFORCE = 33


class Server:
    def __init__(self, endpoints, zone):
        self.selector = selectors.DefaultSelector()
        self.zone = {name.lower(): records for name, records in zone.items()}
        self.behaviours = {}
        self.seen = []
        self.later = []  # (when, order, action): answers that are delayed
        self.order = itertools.count()
        for endpoint in endpoints:
            host, port = endpoint.rsplit(":", 1)
            host = host.strip("[]")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
            for s in udp, tcp:
                s.bind((host, int(port)))
                s.setblocking(False)
            tcp.listen(1024)
            self.selector.register(udp, selectors.EVENT_READ, self.read_udp)
            self.selector.register(tcp, selectors.EVENT_READ, self.accept)

    # --- the zone ---------------------------------------------------------------------------------------------------------------

    def lookup(self, name, kind):
        """The code, and the records of the answer."""
        found, seen = [], set()
        while name.lower() in self.zone and name.lower() not in seen:
            seen.add(name.lower())
            records = self.zone[name.lower()]
            ttl = records.get("ttl", 60)
            if "CNAME" in records and kind != "CNAME":
                found.append((name, "CNAME", ttl, records["CNAME"]))
                name = records["CNAME"]
                continue
            values = records.get(kind, [])
            return 0, found + [(name, kind, ttl, value) for value in ([values] if isinstance(values, str) else values)]
        return 3, found

    def answer(self, packet, message, transport, how):
        question = message["questions"][0]
        rcode, records = (how["rcode"], []) if how.get("rcode") else self.lookup(question["name"], question["type"])
        soa = [] if records else [(".", "SOA", 1, "test")]
        limit = 65535 if transport == "tcp" else max(512, message["edns"] or 0)
        end = 12 + len(wire.pack_question(question["name"], 1))
        opt = b"\0" + struct.pack("!HHIH", wire.TYPES["OPT"], 1232, 0, 0) if message["edns"] else b""
        flags = wire.QR | wire.RA | (struct.unpack_from("!H", packet, 2)[0] & wire.RD) | rcode

        def assembled(flags, records, soa):
            return (struct.pack("!HHHHHH", message["id"], flags, 1, len(records), len(soa), bool(opt)) + packet[12:end]
                    + b"".join(wire.pack_record(*record) for record in records + soa) + opt)
        whole = assembled(flags, records, soa)
        if len(whole) > limit or (how.get("truncate") and transport == "udp"):
            return assembled(flags | wire.TC, [], [])
        return whole

    @staticmethod
    def spoilt(answer, how):
        """An answer that nobody should take."""
        if how == "id":
            return struct.pack("!H", struct.unpack_from("!H", answer)[0] ^ 0x5555) + answer[2:]
        if how == "question":
            return answer[:13] + bytes([answer[13] ^ 1]) + answer[14:]
        if how == "case":
            return answer[:13] + bytes([answer[13] ^ 0x20]) + answer[14:]
        return answer[:11] if how == "short" else answer

    # --- sockets ----------------------------------------------------------------------------------------------------------------

    def handle(self, packet, transport, peer, local, send):
        """`send(bytes, odd)` answers; `odd`: from a port that was not asked. None closes the connection."""
        try:
            message = wire.unpack(packet)
            question = message["questions"][0]
        except (ValueError, IndexError, struct.error):
            self.seen.append({"name": None, "from": peer[0], "port": peer[1], "to": local[0], "transport": transport,
                              "bytes": len(packet)})
            return
        self.seen.append({"name": question["name"], "type": question["type"], "from": peer[0], "port": peer[1], "to": local[0],
                          "transport": transport, "bytes": len(packet), "id": message["id"], "edns": message["edns"]})
        how = self.behaviours.get(question["name"].lower(), self.behaviours.get("", {}))

        def act():
            if how.get("silent"):
                return
            if how.get("close") and transport == "tcp":
                return send(None, False)
            answer = self.answer(packet, message, transport, how)
            if how.get("wrong"):
                send(self.spoilt(answer, how["wrong"]), how["wrong"] == "port")
            if not how.get("alone"):
                send(answer, False)
        if how.get("delay_s"):
            heapq.heappush(self.later, (time.monotonic() + how["delay_s"], next(self.order), act))
        else:
            act()

    def read_udp(self, udp):
        for _ in range(256):
            try:
                packet, peer = udp.recvfrom(65535)
            except BlockingIOError:
                return

            def send(answer, odd, peer=peer):
                if odd:
                    with socket.socket(udp.family, socket.SOCK_DGRAM) as other:
                        other.bind((udp.getsockname()[0], 0))
                        other.sendto(answer, peer)
                else:
                    udp.sendto(answer, peer)
            self.handle(packet, "udp", peer, udp.getsockname(), send)

    def accept(self, listener):
        connection, _ = listener.accept()
        connection.settimeout(5)
        received = bytearray()
        self.selector.register(connection, selectors.EVENT_READ, lambda c: self.read_tcp(c, received))

    def close(self, connection):
        if connection.fileno() >= 0:
            self.selector.unregister(connection)
            connection.close()

    def read_tcp(self, connection, received):
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            return self.close(connection)
        received += data

        def send(answer, _odd):
            try:
                if answer is None:
                    self.close(connection)
                else:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)
            except OSError:
                self.close(connection)
        while len(received) >= 2 and len(received) >= 2 + (length := struct.unpack_from("!H", received)[0]):
            packet = bytes(received[2:2 + length])
            del received[:2 + length]
            self.handle(packet, "tcp", connection.getpeername(), connection.getsockname(), send)

    # --- commands ---------------------------------------------------------------------------------------------------------------

    def command(self, command):
        if command["op"] == "set":
            if command["records"] is None:
                return self.zone.pop(command["name"].lower(), None) is not None
            self.zone[command["name"].lower()] = command["records"]
        elif command["op"] == "behave":
            self.behaviours[command["name"].lower()] = command["how"]
        elif command["op"] == "seen":
            seen, self.seen = self.seen, []
            return seen
        else:
            raise ValueError(f"no such op: {command['op']}")

    def run(self):
        def obey(stdin):
            line = stdin.readline()
            if not line:
                sys.exit(0)
            try:
                answer = {"result": self.command(json.loads(line))}
            except (ValueError, KeyError) as e:
                answer = {"error": f"{type(e).__name__}: {e}"}
            print(json.dumps(answer), flush=True)
        self.selector.register(sys.stdin, selectors.EVENT_READ, obey)
        print(json.dumps({"result": "ready"}), flush=True)
        while True:
            for key, _ in self.selector.select(max(0, self.later[0][0] - time.monotonic()) if self.later else None):
                if key.fileobj.fileno() >= 0:
                    key.data(key.fileobj)
            while self.later and self.later[0][0] <= time.monotonic():
                heapq.heappop(self.later)[2]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--zone", type=json.loads, default={})
    parser.add_argument("endpoints", nargs="+")
    arguments = parser.parse_args()
    Server(arguments.endpoints, arguments.zone).run()
