# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no HTTP, no signature, or no document, on the API's port: each is answered or counted, and nothing stays behind."""
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import random
import re
import socket

from api import PORT, Api, sign, wait_for

REQUESTS, CLIENTS = 10000, 4
MESHES = "/v20190125/meshes"
# Whatever changes in them, they are no document that would be taken: the mesh has no name.
DOCUMENTS = [b'{"spec":{"egressFilter":{"type":"DROP_ALL"}},"tags":[{"key":"k","value":"v"}]}', b'{"clientToken":"t"}', b'[[[[[[[[]]]]]]]]',
             b'{"spec":{"serviceDiscovery":{"ipPreference":"IPv6_ONLY"}}}', b"{" * 4000, b'"\xc3\x28\xff"', b"\xef\xbb\xbf{}"]
# What is refused as it is, before or by the check of its signature.
SEEDS = [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"PUT /v20190125/meshes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{\"a\"",
         b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"PUT /v20190125/meshes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         b"PUT /v20190125/meshes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n4;a=b\r\n{\"a\"\r\n0\r\nx: y\r\n\r\n",
         b"GET /v20190125/meshes HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request\r\n\r\n",
         b"GET /v20190125/meshes?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=10&limit=%31 HTTP/1.1\r\nHost: x\r\n\r\n",
         b"PUT /v20190125/meshes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
         b"POST / HTTP/9.9\r\nHost: x\r\n\r\n", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: y\r\n\r\n",
         b"GET /v20190125/meshes HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: v\r\n" % i for i in range(200)) + b"\r\n",
         b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n"]
REFUSED = {b"400", b"403", b"404", b"405", b"413", b"414", b"417", b"431", b"501", b"505"}


def changed(dice, data):
    """Some bytes are others, gone, there twice, or the end is cut off."""
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        at = dice.randrange(len(data))
        how = dice.randrange(4)
        if how == 0:
            data[at] = dice.randrange(256)
        elif how == 1:
            data[at:at] = data[dice.randrange(at + 1):at + 1]
        elif how == 2:
            data[at:at + dice.randrange(1, 9)] = bytes(dice.randrange(256) for _ in range(dice.randrange(4)))
        else:
            del data[max(at, 1):]
        data = data or bytearray(1)
    return bytes(data)


def signed(dice):
    """A good signature of a document that is none."""
    body = changed(dice, dice.choice(DOCUMENTS))
    headers = "".join(f"{name}: {value}\r\n" for name, value in sign("PUT", MESHES, body).items())
    return f"PUT {MESHES} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def requests(seed, count):
    dice = random.Random(seed)
    for i in range(count):
        yield SEEDS[i] if i < len(SEEDS) else signed(dice) if i % 4 == 0 else changed(dice, dice.choice(SEEDS))


def send(seed):
    """The errors by name, and how often; requests that nothing answered, or not as they should be."""
    errors, wrong = collections.Counter(), []
    for request in requests(seed, REQUESTS // CLIENTS):
        answer = b""
        with socket.create_connection(("127.0.0.1", PORT), 20) as connection:
            with contextlib.suppress(ConnectionError):  # it was refused before we had sent all of it
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        found = [status for status in re.findall(rb"^HTTP/1\.1 (\d+) ", answer, re.MULTILINE) if status != b"100"]
        if found and set(found) <= REFUSED:
            errors[re.search(rb"x-amzn-ErrorType: (\w+)", answer, re.IGNORECASE)[1].decode()] += 1
        else:
            wrong.append((request, answer))
    return errors, wrong


def counted(api):
    """What came to the API, and what is no request, by reason."""
    status = api.status()
    server, = (row for row in status["http"] if row["server"] == "api")
    return server, collections.Counter({row["reason"]: row["count"] for row in status["httpRefusals"] if row["server"] == "api"})


def held(api):
    """Memory in KiB, and descriptors."""
    memory = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{api.agent.pid}/status").read_text().splitlines())
    return int(memory["RssAnon"].split()[0]), len(os.listdir(f"/proc/{api.agent.pid}/fd"))


def usable(api):
    assert api.signed("PUT", MESHES, {"meshName": "m"}).status == 200
    assert api.signed("GET", f"{MESHES}/m").json["meshName"] == "m"
    assert api.signed("DELETE", f"{MESHES}/m").status == 200


def test_ten_thousand_malformed_requests_are_answered_and_leave_nothing_behind():
    with Api() as api:
        usable(api)
        assert not send(-1)[1]  # what is allocated once is there now
        before, reasons_before = counted(api)
        memory_kib, descriptors = held(api)
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            results = list(pool.map(send, range(CLIENTS)))
        wrong = [one for _, some in results for one in some]
        assert not wrong, wrong[:3]
        after, reasons = counted(api)
        reasons.subtract(reasons_before)
        assert after["connections"] - before["connections"] == REQUESTS
        assert reasons.total() + after["requests"] - before["requests"] >= REQUESTS
        errors = sum((some for some, _ in results), collections.Counter())
        signatures = errors["MissingAuthenticationTokenException"], errors["IncompleteSignatureException"], errors["InvalidSignatureException"]
        assert all(signatures) and len(+reasons) > 12  # what was tried is of many kinds
        assert after["requests"] - before["requests"] - sum(signatures) > REQUESTS / 5  # and some of it came as far as the document
        wait_for(lambda: counted(api)[0]["open"] == 0, "all connections are closed")
        assert held(api)[1] <= descriptors + 4
        assert held(api)[0] <= memory_kib + 4096
        usable(api)


def test_what_is_no_request_is_refused_by_name():
    refused = {
        b"GET /v20190125/meshes HTTP/2.0\r\nHost: x\r\n\r\n": (b"505", b"HttpVersionNotSupportedException"),
        b"PUT /v20190125/meshes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n": (b"501", b"NotImplemented"),
        b"PUT /v20190125/meshes HTTP/1.1\r\nHost: x\r\nContent-Length: 262145\r\n\r\n": (b"413", b"RequestEntityTooLargeException"),
        b"GET /v20190125/meshes HTTP/1.1\r\n\r\n": (b"400", b"BadRequestException"),
    }
    with Api():
        for request, (status, error) in refused.items():
            answer = b""
            with socket.create_connection(("127.0.0.1", PORT), 20) as connection:
                connection.sendall(request)
                while piece := connection.recv(65536):
                    answer += piece
            assert answer.startswith(b"HTTP/1.1 " + status + b" ") and b"\r\nx-amzn-ErrorType: " + error + b"\r\n" in answer
            assert b'"__type":"' + error + b'"' in answer and b"\r\nx-amzn-RequestId: " in answer
