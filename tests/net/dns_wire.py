# SPDX-License-Identifier: Apache-2.0
"""DNS messages (RFC 1035 section 4, EDNS by RFC 6891) as far as tests need them. Names keep their case."""
import ipaddress
import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41, "HTTPS": 65,
         "ANY": 255}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
IN = 1


def pack_name(name):
    labels = [label.encode("latin-1") for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def unpack_name(packet, at):
    """The name with its case, without a dot at its end, and what follows it. Pointers lead backwards only, so this ends."""
    labels, after = [], None
    while packet[at]:
        if packet[at] >= 0xc0:
            after = after or at + 2
            to = struct.unpack_from("!H", packet, at)[0] & 0x3fff
            if to >= at:
                raise ValueError("a pointer that leads forwards")
            at = to
            continue
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    return ".".join(labels), after or at + 1


def pack_question(name, kind, klass=IN):
    return pack_name(name) + struct.pack("!HH", TYPES.get(kind, kind), klass)


def pack_query(name, kind="A", ident=0x1234, edns_bytes=None, klass=IN, flags=RD, edns_version=0):
    opt = b"\0" + struct.pack("!HHIH", TYPES["OPT"], edns_bytes, edns_version << 16, 0) if edns_bytes else b""
    return struct.pack("!HHHHHH", ident, flags, 1, 0, 0, 1 if opt else 0) + pack_question(name, kind, klass) + opt


def pack_value(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("CNAME", "NS", "PTR"):
        return pack_name(value)
    if kind == "TXT":
        return bytes([len(value)]) + value.encode()
    if kind == "SOA":
        return pack_name("ns." + value) + pack_name("admin." + value) + struct.pack("!IIIII", 1, 3600, 600, 86400, 1)
    raise ValueError(f"no value of type {kind} can be packed")


def pack_record(name, kind, ttl_seconds, value):
    data = pack_value(kind, value)
    return pack_name(name) + struct.pack("!HHIH", TYPES[kind], IN, ttl_seconds, len(data)) + data


def unpack_value(packet, at, kind, length):
    if kind in ("A", "AAAA"):
        return str(ipaddress.ip_address(packet[at:at + length]))
    if kind in ("CNAME", "NS", "PTR"):
        return unpack_name(packet, at)[0]
    if kind == "TXT":
        return packet[at + 1:at + 1 + packet[at]].decode("latin-1")
    if kind == "SOA":
        name, at = unpack_name(packet, at)
        at = unpack_name(packet, at)[1]
        return [name, *struct.unpack_from("!IIIII", packet, at)]
    return packet[at:at + length].hex()


def unpack_records(packet, at, count):
    records = []
    for _ in range(count):
        name, at = unpack_name(packet, at)
        kind, klass, ttl, length = struct.unpack_from("!HHIH", packet, at)
        at += 10
        kind = TYPE_NAMES.get(kind, f"TYPE{kind}")
        if at + length > len(packet):
            raise ValueError("a record beyond the end")
        value = klass if kind == "OPT" else unpack_value(packet, at, kind, length)
        records.append({"name": name, "type": kind, "ttl": ttl, "value": value})
        at += length
    return records, at


def unpack(packet):
    """Everything in a message; ValueError, IndexError or struct.error where it is none."""
    ident, flags, questions, answers, authorities, more = struct.unpack_from("!HHHHHH", packet)
    message = {"id": ident, "response": bool(flags & QR), "authoritative": bool(flags & AA), "truncated": bool(flags & TC),
               "recursionAvailable": bool(flags & RA), "opcode": flags >> 11 & 15,
               "rcode": RCODES[flags & 15] if flags & 15 < len(RCODES) else flags & 15, "questions": []}
    at = 12
    for _ in range(questions):
        name, at = unpack_name(packet, at)
        kind, klass = struct.unpack_from("!HH", packet, at)
        at += 4
        message["questions"].append({"name": name, "type": TYPE_NAMES.get(kind, f"TYPE{kind}"), "class": klass})
    message["answers"], at = unpack_records(packet, at, answers)
    message["authorities"], at = unpack_records(packet, at, authorities)
    message["additional"], at = unpack_records(packet, at, more)
    message["edns"] = next((record["value"] for record in message["additional"] if record["type"] == "OPT"), None)
    message["ednsRcode"] = next((record["ttl"] >> 24 for record in message["additional"] if record["type"] == "OPT"), 0)
    message["addresses"] = sorted(record["value"] for record in message["answers"] if record["type"] in ("A", "AAAA"))
    message["bytes"] = len(packet)
    return message
